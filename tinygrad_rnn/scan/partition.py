"""Partition: separate the values that depend on earlier steps through a cycle from all others.

Each cycle's core is a loop; every other node is computed for all steps at once.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Literal
from weakref import WeakKeyDictionary

from ..graph.node import Node, ancestors
from ..ops.facts import adds
from .loop import Loop

__all__ = ["INVARIANT", "Partition", "When", "first_batched", "partition_of"]

NARROW = 96
"""Size of a slot up to which NumPy computes a running sum faster for all steps at once than in a loop."""

INVARIANT = -1
"""The stage of values that are the same at all steps."""


class When(enum.Enum):
    """When a value is computed: once before all steps, for all steps at once, step by step, or once after all steps."""

    ONCE = "once"
    BATCHED = "at all steps"
    LOOP = "at each step"
    END = "once, after the last step"

    @classmethod
    def of(cls, stage: int) -> When:
        """The kind of a stage of a :class:`Partition`.

        Examples
        --------
        >>> [When.of(stage).name for stage in (-1, 0, 1, 2)]
        ['ONCE', 'BATCHED', 'LOOP', 'BATCHED']
        """
        return cls.ONCE if stage == INVARIANT else cls.LOOP if stage % 2 else cls.BATCHED


class Partition:
    """When each node of a loop's body is computed.

    Stages are numbered in the order in which they run. Stage −1, `INVARIANT`, is computed once for the
    whole sequence. At even stages, nodes are computed for all steps at once. At odd stages, they are
    computed step by step, in a loop.

    Parameters
    ----------
    loop : Loop

    Attributes
    ----------
    nodes : tuple of Node
        All nodes that the outputs need, in order.
    stage : dict of Node to int
    live : list of int
        The slots that the outputs need.
    cycle : dict of int to frozenset of int
        For each slot in a cycle, all slots of that cycle.
    running : dict of Node to int
        The slots that are running sums, and their next values: h_t = h_{t-1} + g_t where g does not depend
        on h. Such a slot, if it is narrow, is in no cycle.
    """

    def __init__(self, loop: Loop) -> None:
        self._carry = loop.carry  # not the loop itself, which would then live as long as its partition is cached
        self.nodes = loop.body
        known = set(self.nodes)
        self.live = [i for leaf, i in loop.slot.items() if leaf in known]
        self._reads = _slots_read(self.nodes, loop.slot)
        cycle = self._cycles(loop)
        self.running = {loop.next_carry[i]: i for i, slots in cycle.items() if slots == {i} and self._is_running_sum(loop, i)}
        self.cycle = {i: slots for i, slots in cycle.items() if i not in self.running.values()}
        self._cores = self._find_cores(loop)
        self.stage = self._stages(loop)

    def is_sequential(self, node: Node) -> bool:
        """Whether a node is computed step by step."""
        return When.of(self.stage[node]) is When.LOOP

    def is_invariant(self, node: Node) -> bool:
        """Whether a node's value is the same at all steps."""
        return self.stage.get(node, INVARIANT) == INVARIANT

    def kind(self, slot: int) -> Literal["cycle", "sum", "delay", "unused"]:
        """Whether a slot is part of a cycle, is a running sum, delays another value, or is not needed."""
        if slot in self.cycle:
            return "cycle"
        return "sum" if slot in self.running.values() else "delay" if slot in self.live else "unused"

    def term(self, node: Node) -> Node:
        """The value that a running sum adds at each step."""
        one, other = node.inputs
        return other if one is self._carry[self.running[node]] else one

    @cached_property
    def stages(self) -> int:
        """The number of stages, without stage −1."""
        return 1 + max(self.stage.values(), default=0)

    def _cycles(self, loop: Loop) -> dict[int, frozenset[int]]:
        reach = {i: self._reads[loop.next_carry[i]] for i in self.live}
        changed = True
        while changed:
            wider = {i: found.union(*[reach[j] for j in found]) for i, found in reach.items()}
            changed, reach = wider != reach, wider
        return {i: frozenset(j for j in found if i in reach[j]) for i, found in reach.items() if i in found}

    def _is_running_sum(self, loop: Loop, slot: int) -> bool:
        before, after = loop.carry[slot], loop.next_carry[slot]
        if not adds(after) or len(after.inputs) != 2 or after.spec != before.spec or math.prod(after.shape) > NARROW:
            return False
        terms = [i for i in after.inputs if i is not before]
        return len(terms) == 1 and after.dtype.kind in "fiu" and slot not in self._reads[terms[0]]

    def _find_cores(self, loop: Loop) -> dict[Node, frozenset[int]]:
        cores: dict[Node, frozenset[int]] = {}
        for slots in set(self.cycle.values()):
            for node in ancestors([loop.next_carry[i] for i in slots]):
                if self._reads[node] & slots:
                    cores[node] = slots
        return cores

    def _stages(self, loop: Loop) -> dict[Node, int]:
        """The stage of each node: a node comes after its inputs, and a delay after the value that is delayed."""
        of_cycle = dict.fromkeys(set(self.cycle.values()), 1)
        of_delay = dict.fromkeys([i for i in self.live if i not in self.cycle], 0)
        while True:
            stage: dict[Node, int] = {}
            starts = dict(of_cycle)
            for node in self.nodes:
                if node in self._cores:
                    slots = self._cores[node]
                    outside = [stage[i] for i in node.inputs if self._cores.get(i) != slots]
                    starts[slots] = max(starts[slots], 1 + max((first_batched(s) for s in outside), default=0))
                    stage[node] = of_cycle[slots]
                elif node in loop.slot:
                    stage[node] = of_delay[loop.slot[node]]
                elif node in self.running:
                    stage[node] = first_batched(stage[self.term(node)])
                elif node.primitive is None:
                    stage[node] = 0 if node in loop.sequences else INVARIANT
                else:
                    latest = max([stage[i] for i in node.inputs], default=INVARIANT)
                    stage[node] = INVARIANT if latest == INVARIANT else first_batched(latest)
            delays = {i: max(0, first_batched(stage[loop.next_carry[i]])) for i in of_delay}
            if starts == of_cycle and delays == of_delay:
                return stage
            of_cycle, of_delay = starts, delays


_remembered: WeakKeyDictionary[Loop, Partition] = WeakKeyDictionary()


def partition_of(loop: Loop) -> Partition:
    """The partition of a loop; it is computed only once."""
    found = _remembered.get(loop)
    if found is None:
        found = _remembered[loop] = Partition(loop)
    return found


def first_batched(stage: int) -> int:
    """The first batched stage that can read a value of a given stage."""
    return max(0, stage + stage % 2)


def _slots_read(nodes: Sequence[Node], slot: dict[Node, int]) -> dict[Node, frozenset[int]]:
    """The slots on which each node depends within a step."""
    reads: dict[Node, frozenset[int]] = {}
    for node in nodes:
        if node in slot:
            reads[node] = frozenset([slot[node]])
        else:
            found = {reads[i] for i in node.inputs}
            reads[node] = found.pop() if len(found) == 1 else frozenset().union(*found)
    return reads
