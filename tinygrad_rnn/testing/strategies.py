"""Hypothesis strategies: shapes, arrays, tensors, parameters, and a primitive's own cases.

Needs the extra ``test``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import MissingExtraError
from ..extras import installing

try:
    from hypothesis import HealthCheck, given, reject, settings
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp
except ImportError as error:  # pragma: no cover
    how = installing("hypothesis", "test")
    raise MissingExtraError(f"tinygrad_rnn.testing.strategies needs hypothesis: {how}") from error

from ..ops.core import Primitive, constant
from ..ops.domains import REAL, Domain, Interval
from ..tensor import Parameter, Tensor
from .choices import LAYOUTS, Case, RandomChoices, bounds, laid_out, make_case
from .random_cells import CellRun, random_cell

__all__ = [
    "CellRun",
    "Choices",
    "HealthCheck",
    "arrays",
    "broadcastable_shapes",
    "cases",
    "cells",
    "elements",
    "given",
    "parameters",
    "settings",
    "shapes",
    "tensors",
]

Shape = tuple[int, ...]
Array = npt.NDArray[Any]
Result = TypeVar("Result")

# -- shapes --------------------------------------------------------------------------------


def shapes(min_ndim: int = 0, max_ndim: int = 3, *, min_side: int = 0, max_side: int = 4) -> st.SearchStrategy[Shape]:
    """Small shapes; empty ones and lengths of 1 among them.

    Parameters
    ----------
    min_ndim, max_ndim : int
    min_side, max_side : int

    Examples
    --------
    >>> from hypothesis import given
    >>> @given(shapes(1, 2))
    ... def holds(shape):
    ...     assert 1 <= len(shape) <= 2
    >>> holds()
    """
    return hnp.array_shapes(min_dims=min_ndim, max_dims=max_ndim, min_side=min_side, max_side=max_side)


@st.composite
def broadcastable_shapes(draw: st.DrawFn, count: int = 2, *, max_ndim: int = 3, min_side: int = 0) -> list[Shape]:
    """Shapes that broadcast together, with axes missing or of length 1.

    Examples
    --------
    >>> import numpy as np
    >>> from hypothesis import given
    >>> @given(broadcastable_shapes(3))
    ... def holds(shapes):
    ...     np.broadcast_shapes(*shapes)
    >>> holds()
    """
    full = draw(shapes(0, max_ndim, min_side=min_side))
    found = []
    for _ in range(count):
        skip = draw(st.integers(0, len(full)))
        found.append(tuple(1 if draw(st.booleans()) and draw(st.booleans()) else n for n in full[skip:]))
    return found


# -- values --------------------------------------------------------------------------------


def elements(interval: Interval = REAL) -> st.SearchStrategy[Any]:
    """Numbers well inside an interval, simple ones first.

    Parameters
    ----------
    interval : Interval
        Of floats, integers or booleans.
    """
    if interval.kind == "bool":
        return st.booleans()
    low, high = bounds(interval)
    if interval.kind == "int":
        return st.integers(int(np.floor(low)) + 1, int(np.ceil(high)) - 1)
    first, last = int(np.floor(low * 64)) + 2, int(np.ceil(high * 64)) - 2
    if first < last:
        return st.integers(first, last).map(lambda n: n / 64)
    return st.floats(low, high, exclude_min=True, exclude_max=True)


def _dtype(interval: Interval, dtype: npt.DTypeLike | None) -> np.dtype[Any]:
    return np.dtype(dtype or {"float": np.float64, "int": np.int64, "bool": np.bool_}[interval.kind])


@st.composite
def arrays(
    draw: st.DrawFn,
    domain: Interval | Domain = REAL,
    shape: Shape | st.SearchStrategy[Shape] | None = None,
    dtype: npt.DTypeLike | None = None,
) -> Array:
    """Arrays with values in an interval, or in the first interval of a domain; in any memory layout.

    Parameters
    ----------
    domain : Interval or Domain
    shape : tuple of int or strategy, optional
    dtype : dtype, optional
        float64, int64 or bool if not given, as the interval says.

    Examples
    --------
    >>> from hypothesis import given
    >>> from tinygrad_rnn.ops import POSITIVE
    >>> @given(arrays(POSITIVE, (2, 3)))
    ... def holds(x):
    ...     assert x.shape == (2, 3) and (x > 0).all()
    >>> holds()
    """
    interval = domain.of(0) if isinstance(domain, Domain) else domain
    lengths = draw(shape if isinstance(shape, st.SearchStrategy) else st.just(shape) if shape is not None else shapes())
    value = draw(hnp.arrays(_dtype(interval, dtype), lengths, elements=elements(interval), fill=st.nothing()))
    return laid_out(value, draw(st.sampled_from(LAYOUTS)))


def tensors(
    domain: Interval | Domain = REAL,
    shape: Shape | st.SearchStrategy[Shape] | None = None,
    dtype: npt.DTypeLike | None = None,
) -> st.SearchStrategy[Tensor]:
    """Tensors, with :func:`arrays` for values (and not always contiguous).

    Examples
    --------
    >>> from hypothesis import given
    >>> @given(tensors(shape=(2,)))
    ... def holds(t):
    ...     assert (t + t).shape == (2,)
    >>> holds()
    """
    return arrays(domain, shape, dtype).map(lambda value: Tensor(constant(value)))


def parameters(
    shape: Shape | st.SearchStrategy[Shape] | None = None,
    dtype: npt.DTypeLike = np.float64,
    symbol: str = "W",
) -> st.SearchStrategy[Parameter]:
    """Parameters, of float64 unless told otherwise.

    Examples
    --------
    >>> from hypothesis import given
    >>> @given(parameters((2, 2)))
    ... def holds(W):
    ...     assert W.requires_grad and W.name == "W"
    >>> holds()
    """
    return arrays(REAL, shape, dtype).map(lambda value: Parameter(value, symbol, dtype))


# -- cases of a primitive ------------------------------------------------------------------


class Choices:
    """The choices that a primitive's domain asks for (the protocol ``Choose``), made by hypothesis."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        """An integer, both ends included."""
        return self._draw(st.integers(low, high))

    def flag(self) -> bool:
        """True or False."""
        return self._draw(st.booleans())

    def pick(self, options: Sequence[Any]) -> Any:
        """One of the options."""
        return self._draw(st.sampled_from(list(options)))

    def shape(self, min_ndim: int = 0, max_ndim: int = 3) -> Shape:
        """A small shape; lengths of 0 and 1 occur, but not often, for little can go wrong in them."""
        side = st.sampled_from((2, 3, 2, 3, 1, 4, 2, 3, 0))
        return tuple(self._draw(st.lists(side, min_size=min_ndim, max_size=max_ndim)))

    def axes(self, ndim: int) -> tuple[int, ...]:
        """Distinct negative axes, sorted; maybe none, maybe all."""
        return tuple(a for a in range(-ndim, 0) if self.flag())

    def permutation(self, n: int) -> tuple[int, ...]:
        """An order of ``range(n)``."""
        return tuple(self._draw(st.permutations(range(n))))

    def index(self, shape: Shape) -> tuple[Any, ...]:
        """A basic index into an array of this shape."""
        index = self._draw(hnp.basic_indices(shape, allow_newaxis=True))
        return index if isinstance(index, tuple) else (index,)


@st.composite
def cases(draw: st.DrawFn, primitive: Primitive) -> Case:
    """Inputs and attributes from a primitive's own declared domain, away from its kinks.

    Shapes and attributes are what hypothesis draws and shrinks; the numbers come from a drawn
    seed, so that they are all different.

    Parameters
    ----------
    primitive : Primitive

    Examples
    --------
    >>> from hypothesis import given
    >>> import tinygrad_rnn as tr
    >>> @given(cases(tr.log))
    ... def holds(case):
    ...     assert (case.inputs[0] > 0).all()
    >>> holds()
    """
    case = make_case(primitive, Choices(draw))
    if case is None:
        reject()
    return case


# -- cells ---------------------------------------------------------------------------------


@st.composite
def cells(draw: st.DrawFn, *, lengths: bool = False) -> CellRun:
    """Whole cells, each with a run: what a way to run cells can be proved with.

    Cells of up to four slots that are delays, cycles of one or several slots, cycles that
    feed others, additive, linear, passed on, swapped or never read. What they compute is
    drawn from motifs: gates that are slices of one product, concatenations, layer
    normalisation, attention, fast weights, masks, weights computed in the step, and many
    more. Weights are such that values stay near 1. It shrinks to a few equations.

    Parameters
    ----------
    lengths : bool
        Whether sequences of different lengths are drawn too.

    Examples
    --------
    >>> from hypothesis import given
    >>> from tinygrad_rnn.testing import random_cells
    >>> @given(cells())
    ... def holds(drawn):
    ...     found = random_cells.run(drawn, mode="unroll")
    ...     assert all(np.isfinite(array).all() for array in found.values())
    >>> holds()
    """
    return random_cell(_Parts(draw), lengths)


class _Parts(RandomChoices):
    """Choices of which those that belong together are one part, which is shrunk as a whole.

    Parts are numbered: hypothesis tries copies of a part in place of others of its kind, and
    the cells would be too much alike.
    """

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._random = draw(st.randoms(use_true_random=False))
        self._numbers = itertools.count()

    def integer(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def flag(self) -> bool:
        return self.integer(0, 1) == 1

    def part(self, write: Callable[[], Result]) -> Result:
        return self._draw(st.builds(lambda number: write(), st.just(next(self._numbers))))
