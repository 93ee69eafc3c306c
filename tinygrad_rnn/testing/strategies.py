"""Hypothesis strategies: shapes, arrays, tensors, parameters, and a primitive's own cases.

Needs the extra ``test``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
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
from .cases import LAYOUTS, Case, bounds, laid_out, make_case
from .choices import RandomChoices
from .random_cells import CellRun, random_cell

__all__ = [
    "CellRun",
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


def repeatable(examples: int, **options: Any) -> settings:
    """Hypothesis' settings for a check: the same examples in every run, without a time limit, and without storing them."""
    every = list(HealthCheck)
    return settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=every, **options
    )


# -- shapes --------------------------------------------------------------------------------


def shapes(min_ndim: int = 0, max_ndim: int = 3, *, min_side: int = 0, max_side: int = 4) -> st.SearchStrategy[Shape]:
    """Draw small shapes, including empty shapes and lengths of 1.

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


def broadcastable_shapes(count: int = 2, *, max_ndim: int = 3, min_side: int = 0) -> st.SearchStrategy[list[Shape]]:
    """Draw shapes that broadcast together, with axes missing or of length 1.

    Examples
    --------
    >>> import numpy as np
    >>> from hypothesis import given
    >>> @given(broadcastable_shapes(3))
    ... def holds(shapes):
    ...     np.broadcast_shapes(*shapes)
    >>> holds()
    """
    found = hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=max_ndim, min_side=min_side, max_side=4)
    return found.map(lambda drawn: list(drawn.input_shapes))


# -- values --------------------------------------------------------------------------------


def elements(interval: Interval = REAL) -> st.SearchStrategy[Any]:
    """Draw numbers well inside an interval, simple numbers first.

    Parameters
    ----------
    interval : Interval
        An interval of floats, integers or booleans.
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
    """Draw arrays with values in an interval, or in a domain's first interval, in any memory layout.

    Parameters
    ----------
    domain : Interval or Domain
    shape : tuple of int or strategy, optional
    dtype : dtype, optional
        The dtype. If not given, it is float64, int64 or bool, according to the kind of the interval.

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
    """Draw tensors with the values of :func:`arrays`; some are not contiguous.

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
    """Draw parameters; their dtype is float64 if not given.

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


@st.composite
def cases(draw: st.DrawFn, primitive: Primitive) -> Case:
    """Draw inputs and attributes from a primitive's own domain, away from its kinks.

    Hypothesis draws and shrinks shapes and attributes. The numbers come from a drawn seed, so that
    all numbers are different.

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
    case = make_case(primitive, RandomChoices(draw(st.randoms(use_true_random=False))))
    if case is None:
        reject()
    return case


# -- cells ---------------------------------------------------------------------------------


@st.composite
def cells(draw: st.DrawFn, *, lengths: bool = False) -> CellRun:
    """Draw cells, each with a run, to test a way to run cells.

    A cell has up to four slots. Slots may be delays, cycles of one or several slots, cycles that
    feed other cycles, additive, linear, copied, swapped or never read. The equations are drawn
    from motifs: gates that are slices of one product, concatenations, layer normalisation,
    attention, fast weights, masks, weights computed in the step, and many more. Weights keep
    values near 1. A failing cell shrinks to a few equations.

    Parameters
    ----------
    lengths : bool
        Whether sequences of different lengths are also drawn.

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
    """Choices that hypothesis shrinks part by part.

    Parts are numbered. Otherwise hypothesis would replace parts by copies of other parts of the
    same kind, and cells would be too similar.
    """

    def __init__(self, draw: st.DrawFn) -> None:
        super().__init__(draw(st.randoms(use_true_random=False)))
        self._draw = draw
        self._numbers = itertools.count()

    def part(self, write: Callable[[], Result]) -> Result:
        return self._draw(st.builds(lambda number: write(), st.just(next(self._numbers))))
