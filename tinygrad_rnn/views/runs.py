"""Runs: the unrollings of a graph in order, and the gradients through them, with the places of their steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..errors import FoldError
from ..graph.context import Unrolling
from ..graph.graph import Graph, outer_step
from ..graph.node import Node

__all__ = ["Run", "Runs", "longest_delay"]


class Run(NamedTuple):
    """One unrolling of a graph, or its backward pass.

    Attributes
    ----------
    number : int
        Number of the run, from 0, in the order in which the runs start.
    unrolling : Unrolling
    length : int
        Number of steps.
    backward : bool
        Whether the run is a backward pass.
    """

    number: int
    unrolling: Unrolling
    length: int
    backward: bool = False

    @property
    def reverse(self) -> bool:
        """Whether the run starts at the end of the sequence."""
        return self.unrolling.reverse != self.backward

    def column(self, t: int) -> int:
        """Position of step t in the sequence, as :meth:`Runs.step` counts steps."""
        t = -t if self.backward else t
        return self.length + 1 - t if self.unrolling.reverse else t


class Runs:
    """All runs of a graph, in the order of their start.

    Parameters
    ----------
    nodes : sequence of Node
        All nodes, each after its inputs.

    Attributes
    ----------
    gradient : set of Node
        Nodes made by gradient rules, and all nodes computed from these.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> xs = [x for t, x in tr.steps(tr.tensor([[1.0], [2.0], [3.0]]))]
    >>> [(run.number, run.length) for run in Runs(tr.graph(*xs).nodes)]
    [(0, 3)]
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.gradient: set[Node] = set()
        lengths: dict[tuple[Unrolling, bool], int] = {}
        for node in nodes:
            if node.location.origin is not None or not self.gradient.isdisjoint(node.inputs):
                self.gradient.add(node)
            if (step := outer_step(node)) is not None:
                key = step[0], node in self.gradient
                lengths[key] = max(lengths.get(key, 0), step[1])
        self._runs = {
            key: Run(number, key[0], max(length, lengths.get((key[0], not key[1]), 0)), key[1])
            for number, (key, length) in enumerate(lengths.items())
        }

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs.values())

    def step(self, node: Node) -> tuple[Run, int] | None:
        """Run and step of a node, or None; backward steps are counted −T, …, −1, in their order."""
        found = outer_step(node)
        if found is None:
            return None
        backward = node in self.gradient
        return self._runs[found[0], backward], -found[1] if backward else found[1]

    def back(self, step: tuple[Run, int]) -> tuple[Run, int]:
        """The same step of the backward run."""
        run, t = step
        return self._runs[run.unrolling, True], -t


def longest_delay(graph: Graph) -> int:
    """The longest delay, in steps, with which a step reads a value; the number of steps if none is found.

    If the steps of a run differ, its delays are unknown.

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
    for run in Runs(graph.nodes):
        try:
            folded = graph.fold(run.unrolling)
        except FoldError:
            continue
        starts = [sum(node.role == "initial" for node in reading.outside) for reading in folded.readings]
        longest = max([longest, *starts, *(delay.steps for delay in folded.delays)])
    return longest
