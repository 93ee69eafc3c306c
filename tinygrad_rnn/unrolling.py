"""Steps of a user's own loop: facts that folding and drawing read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .errors import ShapeError
from .graph.place import Place, Unrolling, context
from .ops import TensorLike
from .ops.core import as_tensor
from .tensor import Tensor

__all__ = ["steps"]


def steps(*sequences: TensorLike, reverse: bool = False) -> Iterator[tuple[Any, ...]]:
    """Go over sequences step by step, and tag what the loop makes with its step.

    Parameters
    ----------
    *sequences : array_like, shape (T, …)
        Of one length.
    reverse : bool
        Go from the last element to the first; t counts the steps that are made.

    Yields
    ------
    t : int
        From 1 to T.
    x : Tensor
        Element t of each sequence.

    Raises
    ------
    ShapeError
        If the sequences have no time axis or differ in length.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> h = tr.tensor(0.0)
    >>> for t, x in steps([1.0, 2.0, 3.0]):
    ...     h = h + x
    >>> print(t, h)
    3 tensor(6.)
    """
    tensors = [as_tensor(sequence) for sequence in sequences]
    if not tensors or any(x.ndim == 0 for x in tensors):
        raise ShapeError("tr.steps needs sequences: arrays whose first axis is time")
    if len({len(x) for x in tensors}) > 1:
        raise ShapeError(f"the sequences differ in length: {', '.join(str(x.shape) for x in tensors)}")
    return _steps(tensors, reverse)


def _steps(sequences: list[Tensor], reverse: bool) -> Iterator[tuple[Any, ...]]:
    state = context.state
    before = state.place
    unrolling = Unrolling(before.scope, before if before.unrolling else None, reverse)
    T = len(sequences[0])
    try:
        for t in range(1, T + 1):
            state.place = Place(before.scope, unrolling, t)
            yield (t, *[_read(sequence, T - t if reverse else t - 1) for sequence in sequences])
    finally:
        state.place = before


def _read(sequence: Tensor, position: int) -> Tensor:
    """One element; it is called as the sequence is, so x stands for x_t in every picture."""
    x = sequence[position]
    if sequence.node.primitive is None and x.node.primitive is not None:
        x.node.name = sequence.name
        x.node.role = "input"
    return x
