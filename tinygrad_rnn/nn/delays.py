"""Delays of layers, cells whose state is a history of past values, and runs that start from a history."""

from __future__ import annotations

import collections
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..console import counted
from ..errors import DataError, ShapeError
from ..ops import TensorLike
from ..ops.core import as_tensor
from ..tensor import Tensor
from .call import Call, Outcome
from .cell import Cell, State
from .module import Module
from .recurrent import Recurrent, carrier

__all__ = ["DelayCell", "Delays", "FromHistory", "as_delays", "check_input", "sequence"]

LONGEST = 10_000
"""How many steps a cell may look back."""
Delays = int | Sequence[int]
"""A list of delays in steps, such as [0, 3, 6]; or an int K for all up to K."""


def as_delays(given: Delays, name: str, first: int = 0) -> tuple[int, ...]:
    """The delays of a layer as a tuple, checked.

    Parameters
    ----------
    given : int or sequence of int
    name : str
        Name of the argument, for errors.
    first : int
        The smallest allowed delay, with which the delays of an int begin: 1 for values that are
        fed back.

    Raises
    ------
    ValueError
        If delays are not integers, are less than `first`, repeated or unsorted, or if there
        are none.

    Examples
    --------
    >>> as_delays(2, "delays"), as_delays(2, "feedback_delays", first=1), as_delays([0, 3, 6], "delays")
    ((0, 1, 2), (1, 2), (0, 3, 6))
    """
    found = list(given) if np.iterable(given) else [given]
    if any(isinstance(k, (bool, np.bool_)) or not isinstance(k, (int, np.integer)) for k in found):
        raise ValueError(
            f"{name} must be a list of whole numbers of steps, such as [1, 2, 5], or one number for all delays up to it, "
            f"not {given!r}"
        )
    if not found:
        raise ValueError(f"{name} is empty; give at least one delay, such as {[first, first + 1]}")
    if min(found) < 0:
        raise ValueError(f"{name} must be at least {first}, not {min(found)}: a negative delay would read later steps")
    if min(found) < first:
        raise ValueError(
            f"{name} must be at least 1, not 0: with a delay of 0, y_t would be computed from itself, an algebraic loop"
        )
    if not np.iterable(given):
        return tuple(range(first, found[0] + 1))
    if repeated := sorted({k for k in found if found.count(k) > 1}):
        raise ValueError(f"{name} must name each delay once, but {found} repeats {', '.join(map(str, repeated))}")
    if found != sorted(found):
        raise ValueError(f"{name} must go from the smallest delay to the largest, {sorted(found)}, not {found}")
    return tuple(map(int, found))


def sequence(given: TensorLike, name: str, size: int) -> Tensor:
    """A given sequence as a tensor, checked to be (time, batch, features).

    Raises
    ------
    ShapeError
        If the sequence has another shape.
    """
    if hasattr(given, "_fields"):
        raise ShapeError(
            f"{name} must be a sequence, but here is a history; check the order of the arguments, or give history=…"
        )
    found = as_tensor(given)
    if found.ndim != 3 or found.shape[2] != size:
        hint = f"; for a single series, give {name}[:, None, None]" if found.ndim == 1 and size == 1 else ""
        features = counted(size, "feature")
        raise ShapeError(f"{name} has shape {found.shape}, but must be (time, batch, features) with {features}{hint}")
    return found


def check_input(x: object, size: int) -> None:
    """Raise if an input is given where the input size is 0, or is missing where it is not.

    Raises
    ------
    ShapeError
        If an input is given and the input size is 0, or the other way round.
    """
    if x is None and size:
        raise ShapeError(f"xs is missing: this model has an input of {counted(size, 'feature')}")
    if x is not None and not size:
        raise ShapeError("this model has no input, its input_size is 0; give None for xs, and steps=T for the number of steps")


class DelayCell(Cell):
    """A cell whose state is a history: slot ``x_k`` holds the value of x from k steps ago.

    Parameters
    ----------
    **delays : pair of int
        For each name such as ``x`` the longest delay and the number of features.

    Attributes
    ----------
    longest, sizes : dict of str to int
        The longest delay, and the number of features, by name.

    Raises
    ------
    ValueError
        If a delay is longer than 10,000 steps.

    Examples
    --------
    >>> import numpy as np
    >>> cell = DelayCell(x=(2, 3), y=(1, 1))
    >>> cell.state_shape
    History(x_1=(3,), x_2=(3,), y_1=(1,))
    >>> cell.history(x=np.zeros((5, 4, 3)), y=np.zeros((5, 4, 1))).x_2.shape
    (4, 3)
    """

    def __init__(self, **delays: tuple[int, int]) -> None:
        super().__init__()
        for name, (longest, _) in delays.items():
            if longest > LONGEST:
                raise ValueError(
                    f"delays of {name} must be at most {LONGEST} steps, not {longest}: each step takes a slot of the state"
                )
        self.longest = {name: longest for name, (longest, _) in delays.items()}
        self.sizes = {name: size for name, (_, size) in delays.items()}
        shapes = {f"{name}_{k}": (size,) for name, (longest, size) in delays.items() for k in range(1, longest + 1)}
        self.state_shape = _history(tuple(shapes))._make(shapes.values())

    def initial_state(self, batch_size: int, dtype: npt.DTypeLike | None = None) -> State:
        """A history of zeros."""
        return super().initial_state(batch_size, dtype) if self.state_shape else self.state_shape

    def history(self, **past: TensorLike) -> State:
        """The state after given past values.

        Parameters
        ----------
        **past : array_like, shape (n, batch, features)
            The past values, the oldest first. Only the last values are used, as many as the
            longest delay.

        Raises
        ------
        DataError
            If there are fewer past values than the longest delay.
        ShapeError
            If the past values have another shape.
        """
        slots: list[Tensor] = []
        for name, longest in self.longest.items():
            if longest:
                seen = sequence(past[name], f"the history of {name}", self.sizes[name])
                if len(seen) < longest:
                    steps = counted(longest, "step")
                    raise DataError(
                        f"the history of {name} has {counted(len(seen), 'step')}, but the longest delay is {steps}; give at "
                        f"least {longest}"
                    )
                slots += [seen[len(seen) - k] for k in range(1, longest + 1)]
        return self.state_shape._make(slots)


@functools.cache
def _history(names: tuple[str, ...]) -> Any:
    """The named tuple class with these fields, always the same class for the same names."""
    make: Any = collections.namedtuple
    kind = make("History", names)
    kind.__reduce__ = lambda self: (_remade, (names, tuple(self)))  # pickle cannot find a class that was made at run time
    return kind


def _remade(names: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    return _history(names)._make(values)


class FromHistory(Recurrent):
    """A run of a :class:`DelayCell` that needs a history of the data for its initial state."""

    cell: DelayCell

    def _run(self, call: Call) -> Outcome:
        if carrier.get() is None:
            call = call._replace(state=self._checked(call.state))
        return super()._run(call)

    def _checked(self, history: State | None) -> State:
        """Return a history, or raise if it is missing or has another number of values.

        Raises
        ------
        ShapeError
            If the history is missing or does not fit.
        """
        names = self.cell.state_shape._fields
        if isinstance(history, tuple) and len(history) == len(names):
            return history
        found = counted(len(history), "tensor") if isinstance(history, tuple) else f"of type {type(history).__name__}"
        raise ShapeError(
            f"history must be what the model's method history returns, a state of {counted(len(names), 'tensor')}, "
            f"{', '.join(names)}, not {found}"
        )

    def _drawn(self) -> Module:
        """The cell, since a drawing has no history to start from."""
        return self.cell
