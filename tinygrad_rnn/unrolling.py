"""Loops over the steps of sequences, which tag nodes with their step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .errors import ShapeError
from .graph.context import Location, Unrolling, current, move, outside_left_loops, restore
from .graph.source_loops import askers
from .ops import TensorLike
from .ops.core import as_tensor
from .tensor import Tensor

__all__ = ["Steps", "as_input", "steps"]


def steps(*sequences: TensorLike, reverse: bool = False) -> Iterator[tuple[Any, ...]]:
    """Iterate over sequences step by step, and tag the nodes that the loop makes with their step.

    Parameters
    ----------
    *sequences : array_like, shape (T, …)
        The sequences, all of one length.
    reverse : bool
        Whether to go from the last element to the first. The step t counts 1, 2, … in this case too.

    Yields
    ------
    t : int
        Number of the step, from 1 to T.
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
    tensors = [as_input(sequence) for sequence in sequences]
    if not tensors or any(x.ndim == 0 for x in tensors):
        raise ShapeError("tr.steps needs at least one sequence, an array whose first axis is time")
    if len({len(x) for x in tensors}) > 1:
        raise ShapeError(f"the sequences must have the same length, but have shapes {', '.join(str(x.shape) for x in tensors)}")
    return Steps(tensors, [tensor.name for tensor in tensors], len(tensors[0]), reverse, closed=False)


def as_input(sequence: TensorLike) -> Tensor:
    """A sequence for a loop over steps, as a tensor; an array becomes an input, not a constant."""
    x = as_tensor(sequence)
    if not isinstance(sequence, Tensor):
        x.node.role = "input"
    return x


class Steps(Iterator[tuple[Any, ...]]):
    """The iterator of :func:`steps`, over any number of sequences, possibly none.

    Nodes that are made in the loop are tagged with their step, until the loop has ended or is left.
    A loop that was left can be resumed.

    Parameters
    ----------
    sequences : sequence of Tensor
    names : sequence of (str or None)
        Names for the elements of sequences that are leaves.
    T : int
    reverse : bool
    closed : bool
        Whether the caller always closes the iterator. If not, the iterator finds out whether its loop was left.
    """

    def __init__(
        self, sequences: Sequence[Tensor], names: Sequence[str | None], T: int, reverse: bool = False, closed: bool = True
    ) -> None:
        self._sequences, self._names = sequences, names
        self._T, self._t, self._reverse, self._closed = T, 0, reverse, closed
        self._unrolling: Unrolling | None = None

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        # Only the for statement holds this generator. Leaving the statement ends the tagging, even if the iterator is kept.
        try:
            yield from iter(self.__next__, None)
        finally:
            self.close()

    def __next__(self) -> tuple[Any, ...]:
        if self._unrolling is None:
            before = outside_left_loops()
            self._unrolling = Unrolling(before.scope, before, self._reverse)
        if self._t == self._T:
            self.close()
            raise StopIteration
        self._t += 1
        self._unrolling.over = False
        if not self._closed:
            self._unrolling.askers = askers()
        move(Location(self._unrolling.scope, self._unrolling, self._t))
        position = self._T - self._t if self._reverse else self._t - 1
        return self._t, *[element(x, name, position) for x, name in zip(self._sequences, self._names, strict=True)]

    def close(self) -> None:
        """End the tagging of nodes, and return to the location where the loop was started."""
        if self._unrolling is not None:
            self._unrolling.over = True
            restore(current().location)

    __del__ = close


def element(sequence: Tensor, name: str | None, position: int) -> Tensor:
    """One element of a sequence, with the sequence's name, so that drawings show it as x_t."""
    x = sequence[position]
    if sequence.node.primitive is None:
        x.node.name = name
        x.node.role = "input"
    return x
