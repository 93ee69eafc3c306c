"""Builder of random steps: writes equations one after another, and converts values to the needed shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from ...autodiff import no_grad
from ...tensor import Tensor, tensor
from ..choices import RandomChoices
from .recipe import BATCH, Equation

__all__ = ["StepBuilder", "StepValue"]

Array = npt.NDArray[Any]
Shape = tuple[Any, ...]
Result = TypeVar("Result")

ROWS = 29  # rows of the sample on which values are tested while a step is written; no other axis has this length
WIDEST = 4
LARGEST = 2.0  # values beyond it are made smaller


class StepValue(NamedTuple):
    """A value of the step that is being written, with a sample of it.

    Attributes
    ----------
    name : str
    sample : Tensor
        The value for a batch of typical rows.
    slots : frozenset of str
        The slots that the value depends on.
    """

    name: str
    sample: Tensor
    slots: frozenset[str] = frozenset()

    @property
    def shape(self) -> Shape:
        """Shape of the value, with ``"B"`` for the batch size."""
        return tuple(BATCH if n == ROWS else n for n in self.sample.shape)

    @property
    def size(self) -> int:
        """Number of features of the value."""
        return self.sample.shape[-1]

    @property
    def is_vector(self) -> bool:
        """Whether the value has the shape (batch, features) and a float dtype."""
        return self.sample.ndim == 2 and self.sample.shape[0] == ROWS and self.sample.dtype.kind == "f"


class StepBuilder:
    """The equations written so far, with the values and weights that further equations may use.

    Parameters
    ----------
    choose : RandomChoices
        The source of all choices, and of a seed for the numbers.

    Examples
    --------
    >>> from tinygrad_rnn.testing.choices import RandomChoices
    >>> b = StepBuilder(RandomChoices(0))
    >>> x = b.add_source("x", 3)
    >>> y = b("tanh", b("matmul", x, b.weight(3, 2)))
    >>> print(*b.equations, sep="; ")
    a1 = x @ ...; a2 = tanh(a1)
    """

    def __init__(self, choose: RandomChoices) -> None:
        self.choose = choose
        self.rng = np.random.default_rng(choose.integer(0, 99))
        self.equations: list[Equation] = []
        self.pool: list[StepValue] = []
        self.codes: list[StepValue] = []
        self.parameters: dict[str, Array] = {}
        self.captured: dict[str, Array | Tensor] = {}
        self.shapes: dict[str, Shape] = {}
        self.allowed: frozenset[str] = frozenset()
        self._weights: dict[Shape, list[StepValue]] = {}
        self._kinds: dict[str, set[str]] = {}

    # -- equations -------------------------------------------------------------------------

    def __call__(self, operation: str, *arguments: StepValue | float, **options: Any) -> StepValue:
        """Append an equation, and return the value that it makes."""
        name = f"a{len(self.equations) + 1}"
        names = tuple(a.name if isinstance(a, StepValue) else a for a in arguments)
        equation = Equation(name, operation, names, tuple(options.items()))
        with no_grad():
            sample = equation({a.name: a.sample for a in arguments if isinstance(a, StepValue)}, ROWS)
        self.equations.append(equation)
        slots = frozenset().union(*[a.slots for a in arguments if isinstance(a, StepValue)])
        return StepValue(name, sample, slots)

    def tag(self, value: StepValue, *kinds: str) -> StepValue:
        """Record names of the motifs of which the value is an instance."""
        self._kinds.setdefault(value.name, set()).update(kinds)
        return value

    def tagged(self) -> tuple[Equation, ...]:
        """The equations, each with the names of its motifs."""
        return tuple(e._replace(kinds=frozenset(self._kinds.get(e.name, ()))) for e in self.equations)

    def number(self, low: float = 0.1, high: float = 0.9) -> float:
        """Draw a number at random, which no value equals by chance."""
        return float(self.rng.uniform(low, high))

    def rarely(self) -> bool:
        """Draw True with probability 1/4."""
        return bool(self.choose.integer(0, 3) == 3)

    # -- values ----------------------------------------------------------------------------

    def add_source(self, name: str, *shape: int, slot: bool = False) -> StepValue:
        """Add an input or a state slot."""
        self.shapes[name] = (BATCH, *shape)
        sample = tensor(self.rng.uniform(-1, 1, (ROWS, *shape)))
        value = StepValue(name, sample, frozenset([name] if slot else []))
        self.pool.append(value)
        return value

    def add_codes(self, name: str, count: int) -> StepValue:
        """Add an input of integer codes."""
        self.shapes[name] = (BATCH,)
        value = StepValue(name, tensor(self.rng.integers(0, count, ROWS)))
        self.codes.append(value)
        return value

    def keep(self, value: StepValue) -> StepValue:
        """Add a value to those that later equations may use, scaled down if it is large."""
        largest = float(np.abs(value.sample.data).max(initial=0))
        if largest > LARGEST and self.choose.flag():
            value = self("multiply", value, 1 / largest)
        elif largest > LARGEST:
            value = self("tanh", value)
        self.pool.append(value)
        return value

    def some(self, motifs: Sequence[Callable[[StepBuilder], StepValue]], most: int) -> StepValue | None:
        """Write up to a given number of values by motifs, keep all of them, and return the last value, or None."""
        value = None
        for _ in range(most):
            value = self.choose.part(lambda: self._one(motifs)) or value
        return value

    def _one(self, motifs: Sequence[Callable[[StepBuilder], StepValue]]) -> StepValue | None:
        if not self.choose.flag():
            return None
        motif = self.choose.pick(motifs)
        return self.keep(self.tag(motif(self), motif.__name__))

    def weight(self, *shape: int, share: bool = True) -> StepValue:
        """Draw a new parameter, an existing parameter, or a captured tensor or array."""
        there = [v for v in self._weights.get(shape, []) if share]
        if there and self.choose.flag():
            return self.choose.pick(there)
        scale = 1.0 if len(shape) < 2 else 0.9 / np.sqrt(shape[-2])
        array = self.rng.uniform(-scale, scale, shape)
        form = self.choose.pick(("parameter", "parameter", "parameter", "parameter", "tensor", "array"))
        if form == "parameter":
            name = f"{'W' if len(shape) > 1 else 'w'}{len(self.parameters) + 1}"
            self.parameters[name] = array
            sample = tensor(array)
        else:
            name = f"c{len(self.captured) + 1}"
            sample = tensor(array, requires_grad=form == "tensor")
            self.captured[name] = sample if form == "tensor" else array
        self.shapes[name] = shape
        value = StepValue(name, sample)
        self._weights.setdefault(shape, []).append(value)
        return value

    def constant(self, array: Array) -> StepValue:
        """Add a captured array of integers or booleans."""
        name = f"c{len(self.captured) + 1}"
        self.captured[name] = array
        self.shapes[name] = array.shape
        return StepValue(name, tensor(array))

    def usable(self) -> list[StepValue]:
        """Values that depend only on slots in `allowed`."""
        return [v for v in self.pool if v.slots <= self.allowed]

    def vector(self, size: int | None = None) -> StepValue:
        """Choose, or make, a value of shape (batch, features)."""
        there = [v for v in self.usable() if size is None or v.size == size] or self.usable()
        if not there:
            size = size or self.features()
            return self("broadcast_to", self.weight(size), shape=(BATCH, size))
        value = self.choose.pick(there)
        if size is not None:
            return self.fit(value, size)
        return value if value.is_vector and value.size <= 2 * WIDEST else self.fit(value, self.features())

    def features(self) -> int:
        """Draw a number of features."""
        return self.choose.pick((2, 3, 1, 4))

    # -- fitting ---------------------------------------------------------------------------

    def fit(self, value: StepValue, *shape: int) -> StepValue:
        """Convert a value to the shape (batch, *shape) by products, sums, slices or broadcasting."""
        if value.shape == (BATCH, *shape):
            return value
        vector = self._as_vector(value)
        if not shape:
            return self._as_scalar(vector)
        if len(shape) == 2:
            left, right = self._with_size(vector, shape[0]), self._with_size(vector, shape[1])
            return self.tag(self("einsum", left, right, subscripts="bi,bj->bij"), "outer product")
        return self._with_size(vector, shape[0])

    def _as_vector(self, value: StepValue) -> StepValue:
        if value.is_vector:
            return value
        if value.shape == (BATCH,):
            return self("reshape", value, shape=(BATCH, 1))
        if value.sample.ndim == 3:
            if self.choose.flag():
                return self("sum", value, axis=-2)
            return self.tag(self("getitem", value, index=(slice(None), slice(None), -1)), "part of a matrix")
        size = value.size if value.sample.ndim else 1
        return self("broadcast_to", value, shape=(BATCH, size))

    def _as_scalar(self, vector: StepValue) -> StepValue:
        how = self.choose.pick(("part", "sum", "mean", "product"))
        if how == "part":
            return self("getitem", vector, index=(slice(None), 0))
        if how == "product":
            return self("einsum", vector, self.weight(vector.size), subscripts="bi,i->b")
        return self(how, vector, axis=-1)

    def _with_size(self, vector: StepValue, size: int) -> StepValue:
        have = vector.size
        if have == size:
            return vector
        hows = ["matrix"]
        hows += ["part"] if size < have else []
        hows += ["spread"] if have == 1 else []
        hows += ["repeat"] if have < size <= 2 * have else []
        how = self.choose.pick(hows)
        if how == "part":
            start = self.choose.integer(0, have - size)
            return self("getitem", vector, index=(slice(None), slice(start, start + size)))
        if how == "spread":
            return self("broadcast_to", vector, shape=(BATCH, size))
        if how == "repeat":
            return self("getitem", self("concatenate", vector, vector, axis=-1), index=(slice(None), slice(0, size)))
        return self("matmul", vector, self.weight(have, size))
