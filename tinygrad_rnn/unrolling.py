"""Steps: going over sequences, and tagging what is made at each."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any

from .errors import ShapeError
from .graph.place import Place, Unrolling, context, restore
from .ops import TensorLike
from .ops.core import as_tensor
from .tensor import Tensor

__all__ = ["fed", "over", "steps"]


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
    tensors = [fed(sequence) for sequence in sequences]
    if not tensors or any(x.ndim == 0 for x in tensors):
        raise ShapeError("tr.steps needs sequences: arrays whose first axis is time")
    if len({len(x) for x in tensors}) > 1:
        raise ShapeError(f"the sequences differ in length: {', '.join(str(x.shape) for x in tensors)}")
    names = [tensor.name for tensor in tensors]
    return ((t, *elements) for t, _, elements in over(tensors, names, len(tensors[0]), reverse))


def fed(sequence: TensorLike) -> Tensor:
    """A sequence that steps are fed with: an array is an input then, and no constant of the code."""
    x = as_tensor(sequence)
    if not isinstance(sequence, Tensor):
        x.node.role = "input"
    return x


def over(
    sequences: Sequence[Tensor], names: Sequence[str | None], T: int, reverse: bool = False
) -> Generator[tuple[int, int, list[Tensor]], None, None]:
    """Go over sequences, as :func:`steps` does; there may be none.

    Parameters
    ----------
    sequences : sequence of Tensor
    names : sequence of (str or None)
        What the elements of a leaf sequence are called.
    T : int
    reverse : bool

    Yields
    ------
    t, position : int
        The step, from 1, and the place in the sequence that it reads.
    elements : list of Tensor
    """
    before = context.state.place
    unrolling = Unrolling(before.scope, before, reverse)
    try:
        for t in range(1, T + 1):
            context.state.place = Place(before.scope, unrolling, t)
            position = T - t if reverse else t - 1
            yield t, position, [element(x, name, position) for x, name in zip(sequences, names, strict=True)]
    finally:
        unrolling.over = True
        restore(context.state.place)


def element(sequence: Tensor, name: str | None, position: int) -> Tensor:
    """One element; it is called as the sequence is, so that x stands for x_t in every picture."""
    x = sequence[position]
    if sequence.node.primitive is None:
        x.node.name = name
        x.node.role = "input"
    return x
