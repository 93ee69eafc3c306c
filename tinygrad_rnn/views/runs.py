"""Runs: the unrollings of a graph in order, with their lengths and the places of their steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..errors import FoldError
from ..graph.context import Unrolling
from ..graph.graph import Graph, outer_step
from ..graph.node import Node

__all__ = ["Run", "longest_delay", "runs_of"]


class Run(NamedTuple):
    """One unrolling of a graph.

    Attributes
    ----------
    number : int
        Counted from 0, in the order in which the runs start.
    unrolling : Unrolling
    length : int
        Number of steps.
    """

    number: int
    unrolling: Unrolling
    length: int

    def column(self, t: int) -> int:
        """The place of step t in the sequence: a reversed run comes from its end."""
        return self.length + 1 - t if self.unrolling.reverse else t


def runs_of(nodes: Iterable[Node]) -> dict[Unrolling, Run]:
    """The outermost unrollings of some nodes, in order of their start.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> xs = [x for t, x in tr.steps(tr.tensor([[1.0], [2.0], [3.0]]))]
    >>> [(run.number, run.length) for run in runs_of(tr.graph(*xs).nodes).values()]
    [(0, 3)]
    """
    lengths: dict[Unrolling, int] = {}
    for node in nodes:
        if (step := outer_step(node)) is not None:
            lengths[step[0]] = max(lengths.get(step[0], 0), step[1])
    return {unrolling: Run(number, unrolling, length) for number, (unrolling, length) in enumerate(lengths.items())}


def longest_delay(graph: Graph) -> int:
    """How many steps earlier a step of the graph reads a value; the number of steps, if the longest is not seen yet.

    A run whose steps are not alike has no delays that are known.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> before, last = (tr.tensor(0.0).named(name, role="initial") for name in ("b", "a"))
    >>> changes = []
    >>> for t, x in tr.steps(tr.tensor([1.0, 2.0, 3.0, 4.0])):
    ...     changes.append(x - before)
    ...     before, last = last, x
    >>> longest_delay(tr.graph(tr.stack(changes)))
    2
    """
    longest = 0
    for run in runs_of(graph.nodes).values():
        try:
            folded = graph.fold(run.unrolling)
        except FoldError:
            continue
        unseen = any(node.role == "initial" for reading in folded.readings for node in reading.outside)
        longest = max([longest, *(delay.steps for delay in folded.delays), run.length * unseen])
    return longest
