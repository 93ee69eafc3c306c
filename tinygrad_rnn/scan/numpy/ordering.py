"""Ordering: the calls of a program, each after the calls whose results it reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence

from ...graph.node import Node
from ..schedule import Schedule
from .placement import Placement, pieces
from .program import Call, Copy

__all__ = ["calls_of"]


def calls_of(schedule: Schedule, placement: Placement) -> tuple[list[Call], list[list[Call]]]:
    """The calls that are made once, and the calls of each stage.

    Parameters
    ----------
    schedule : Schedule
    placement : Placement
    """
    partition = schedule.partition
    count = 1 + max([0, *placement.carried, *[partition.stage[node] for node in schedule.nodes]])
    once: list[Call] = []
    stages: list[list[Call]] = [[] for _ in range(count)]
    stages[0] += placement.copied
    for node in schedule.nodes:
        if node.primitive is not None:
            calls = once if partition.is_invariant(node) else stages[partition.stage[node]]
            calls += placement.joined.get(node, [node])
    for stage, copies in placement.carried.items():
        stages[stage] += copies
    for stage in range(0, count, 2):  # step by step, the order is that of the loop's nodes, and slots are copied at the end
        stages[stage] = _Ordering(schedule, placement).ordered(stages[stage])
    return once, stages


class _Ordering:
    """The order of batched calls; a call that reads a delay comes after those that make the delayed value."""

    def __init__(self, schedule: Schedule, placement: Placement) -> None:
        self.storage = placement.storage
        self.joined = placement.joined
        self.partition = schedule.partition
        self.slot = schedule.loop.slot
        self.next_carry = schedule.loop.next_carry

    def ordered(self, calls: Sequence[Call]) -> list[Call]:
        """The calls, each as early as the values that it reads allow."""
        waiting = Counter(value for call in calls for value in self._gives(call))
        ordered: list[Call] = []
        queue = list(calls)
        while queue:
            later: list[Call] = []
            for call in queue:
                own = set(self._gives(call))
                if any(waiting[value] and value not in own for value in self._needs(call)):
                    later.append(call)
                else:
                    ordered.append(call)
                    waiting.subtract(own)
            assert len(later) < len(queue), "calls wait for each other"
            queue = later
        return ordered

    def _gives(self, call: Call) -> Iterator[Hashable]:
        """The value that a call computes, its place in a concatenation, and the slot that it fills."""
        node = call.target if isinstance(call, Copy) else call
        storage = self.storage[node]
        yield node
        if storage.kind == "piece":
            yield storage
        elif storage.kind == "after":
            assert storage.of is not None
            yield storage.of

    def _needs(self, call: Call) -> Iterator[Hashable]:
        """The values and places in concatenations that must exist before a call is made."""
        if isinstance(call, Copy):
            found = [call.source]
        else:  # a running sum reads its slot at the first step only
            found = [self.partition.term(call)] if call in self.partition.running else list(call.inputs)
        seen: set[Node] = set()
        while found:
            node = found.pop()
            if node in seen:
                continue
            seen.add(node)
            yield node
            if node in self.slot:
                if self.slot[node] not in self.partition.cycle:
                    found.append(self.next_carry[self.slot[node]])
            elif node in self.joined:  # a concatenation exists when all of its pieces do
                found += node.inputs
                yield from (storage for _, storage in pieces(node))
