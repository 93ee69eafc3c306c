"""Delays: which ones a layer has, and cells whose state is what there was some steps ago."""

from __future__ import annotations

import collections
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import init
from ..errors import DataError, ShapeError
from ..ops import TensorLike
from ..ops.core import as_tensor
from ..tensor import Parameter, Tensor
from .cell import Cell, State
from .layers import linear
from .module import Module

__all__ = ["DelayCell", "Delays", "TapSum", "as_delays", "sequence"]

Delays = int | Sequence[int]
"""A list of delays in steps, such as [0, 3, 6]; or an int K for all up to K."""


def as_delays(given: Delays, name: str, first: int = 0) -> tuple[int, ...]:
    """Delays as a layer was given them, checked.

    Parameters
    ----------
    given : int or sequence of int
    name : str
        What errors call them.
    first : int
        The smallest delay there may be, and with which those of an int begin: 1 for what is
        fed back.

    Raises
    ------
    ValueError
        If they are not integers, negative, zero where they are fed back, repeated or
        unsorted, or if there are none.

    Examples
    --------
    >>> as_delays(2, "delays"), as_delays(2, "feedback_delays", first=1), as_delays([0, 3, 6], "delays")
    ((0, 1, 2), (1, 2), (0, 3, 6))
    """
    found = list(given) if np.iterable(given) else [given]
    if any(isinstance(k, (bool, np.bool_)) or not isinstance(k, (int, np.integer)) for k in found):
        raise ValueError(f"{name}: delays are whole numbers of steps, a list of them or one for all up to it, not {given!r}")
    if not found:
        raise ValueError(f"{name}: there are none; give a list such as {[first, first + 1]}")
    if min(found) < 0:
        raise ValueError(f"{name}: a delay says how many steps to look back, and {min(found)} would look ahead")
    if min(found) < first:
        raise ValueError(
            f"{name}: with a delay of 0 y_t would be computed from itself, an algebraic loop; feedback starts at 1"
        )
    if not np.iterable(given):
        return tuple(range(first, found[0] + 1))
    if repeated := sorted({k for k in found if found.count(k) > 1}):
        raise ValueError(f"{name}: {', '.join(map(str, repeated))} is there more than once, in {found}")
    if found != sorted(found):
        raise ValueError(f"{name}: give them from the smallest to the largest, {sorted(found)}, not {found}")
    return tuple(map(int, found))


def sequence(given: TensorLike, name: str, size: int) -> Tensor:
    """A sequence that was given, if it has three axes and this many features."""
    found = as_tensor(given)
    if found.ndim != 3 or found.shape[2] != size:
        hint = f"; one series is {name}[:, None, None]" if found.ndim == 1 and size == 1 else ""
        raise ShapeError(f"{name} has shape {found.shape}; it is (time, batch, features) with {size} features{hint}")
    return found


class DelayCell(Cell):
    """A cell whose state is a history: slot ``x_k`` holds what x was k steps ago.

    Parameters
    ----------
    **lines : pair of int
        For each name such as ``x`` the longest delay and the number of features.

    Examples
    --------
    >>> import numpy as np
    >>> cell = DelayCell(x=(2, 3), y=(1, 1))
    >>> cell.state_shape
    History(x_1=(3,), x_2=(3,), y_1=(1,))
    >>> cell.history(x=np.zeros((5, 4, 3)), y=np.zeros((5, 4, 1))).x_2.shape
    (4, 3)
    """

    def __init__(self, **lines: tuple[int, int]) -> None:
        super().__init__()
        self.lines = lines
        shapes = {f"{name}_{k}": (size,) for name, (longest, size) in lines.items() for k in range(1, longest + 1)}
        self.state_shape = _history(tuple(shapes))._make(shapes.values())

    def initial_state(self, batch_size: int, dtype: npt.DTypeLike | None = None) -> State:
        """Zeros, as if there had been nothing before."""
        return super().initial_state(batch_size, dtype) if self.state_shape else self.state_shape

    def history(self, **past: TensorLike) -> State:
        """The state after these steps.

        Parameters
        ----------
        **past : array_like, shape (n, batch, features)
            What there was, the oldest first. The last values count, as many as the longest
            delay.

        Raises
        ------
        DataError
            If there are fewer.
        ShapeError
            If they have another shape.
        """
        slots: list[Tensor] = []
        for name, (longest, size) in self.lines.items():
            if longest:
                seen = sequence(past[name], f"the history of {name}", size)
                if len(seen) < longest:
                    steps = f"{longest} step{'s' * (longest > 1)}"
                    raise DataError(f"the history of {name} has {len(seen)} steps, and a delay of {steps} needs {longest}")
                slots += [seen[len(seen) - k] for k in range(1, longest + 1)]
        return self.state_shape._make(slots)

    def known(self, history: State) -> State:
        """The history that was given, which has no default: only the data can tell what came before.

        Raises
        ------
        ShapeError
            If it is none.
        """
        names = self.state_shape._fields
        if isinstance(history, tuple) and len(history) == len(names):
            return history
        found = f"{len(history)} tensors" if isinstance(history, tuple) else f"a {type(history).__name__}"
        raise ShapeError(
            f"a prediction depends on what came before: the history is the state that the method history makes of it, "
            f"with {len(names)} tensors {', '.join(names)}, and not {found}"
        )


@functools.cache
def _history(names: tuple[str, ...]) -> Any:
    """The named tuple with these fields: one class, so that equal cells have states of one type."""
    make: Any = collections.namedtuple
    kind = make("History", names)
    kind.__reduce__ = lambda self: (_remade, (names, tuple(self)))  # pickle finds no class that is made as it is needed
    return kind


def _remade(names: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    return _history(names)._make(values)


class TapSum(Module):
    """b + Σ_k W_k u_k: the sum of products of several vectors u_k, each with its matrix.

    Parameters
    ----------
    sizes : mapping of str to int
        For each matrix what it is called, such as ``"W_3"``, and the length of its vector.
    output_size : int
    bias : str or None
        What the bias is called, if there is one.
    dtype : dtype

    Attributes
    ----------
    W_0, … : Parameter, shape (output_size, length of the vector)
        By their names. With the bias they start uniform within 1/√(sum of the lengths), as
        if they stood side by side in one matrix.

    Examples
    --------
    >>> import numpy as np
    >>> total = TapSum({"W_0": 3, "W_2": 3}, 2, "b")
    >>> total([np.ones((4, 3), "float32"), np.zeros((4, 3), "float32")]).shape
    (4, 2)
    >>> [name for name, _ in total.named_parameters()]
    ['W_0', 'W_2', 'b']
    """

    def __init__(
        self, sizes: Mapping[str, int], output_size: int, bias: str | None = "b", dtype: npt.DTypeLike = np.float32
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(max(1, sum(sizes.values())))
        for name, size in sizes.items():
            setattr(self, name, Parameter(init.uniform((output_size, size), bound), name, dtype))
        if bias is not None:
            setattr(self, bias, Parameter(init.uniform((output_size,), bound), bias, dtype))
        self.names, self.bias = tuple(sizes), bias

    def forward(self, taps: Sequence[TensorLike]) -> Tensor:
        """The sum, of vectors in the order of their matrices, each of shape (batch, length)."""
        first, *others = (linear(tap, getattr(self, name)) for tap, name in zip(taps, self.names, strict=True))
        total = sum(others, first)
        return total if self.bias is None else total + getattr(self, self.bias)
