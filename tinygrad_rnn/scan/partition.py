"""What is truly recurrent, and what only looks so: each cycle's core is a loop, every other node is batched."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

from ..graph.node import Node, ancestors
from .loop import Loop, body

__all__ = ["Partition"]

INVARIANT = -1


class Partition:
    """When each node of a loop's body is computed.

    Stage −1 is once for the whole sequence. At even stages, nodes are computed for all
    steps at once; at odd stages, step by step, in a loop.

    Parameters
    ----------
    loop : Loop

    Attributes
    ----------
    nodes : list of Node
        All that the outputs need, in order.
    stage : dict of Node to int
    live : list of int
        The slots that the outputs need.
    cycle : dict of int to frozenset of int
        For each slot in a cycle, the slots of that cycle.
    """

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.nodes = body(loop)
        slot = {leaf: i for i, leaf in enumerate(loop.carry)}
        self.live = [i for leaf, i in slot.items() if leaf in set(self.nodes)]
        self._reads = _reached(self.nodes, slot)
        self.cycle = self._cycles()
        self._cores = self._find_cores()
        self.stage = self._stages(slot)

    def is_sequential(self, node: Node) -> bool:
        """Whether it is computed step by step."""
        return self.stage[node] % 2 == 1 and self.stage[node] > 0

    def is_invariant(self, node: Node) -> bool:
        """Whether it is the same at all steps."""
        return self.stage.get(node, INVARIANT) == INVARIANT

    def core(self, stage: int) -> list[Node]:
        """The operations of the loop at an odd stage, in order."""
        return [node for node in self.nodes if node.primitive is not None and self.stage[node] == stage]

    def kind(self, slot: int) -> Literal["cycle", "delay", "unused"]:
        """What a slot is."""
        return "cycle" if slot in self.cycle else "delay" if slot in self.live else "unused"

    @cached_property
    def stages(self) -> int:
        """How many there are, not counting −1."""
        return 1 + max(self.stage.values(), default=0)

    def _cycles(self) -> dict[int, frozenset[int]]:
        reach = {i: self._reads[self.loop.next_carry[i]] for i in self.live}
        changed = True
        while changed:
            wider = {i: found.union(*[reach[j] for j in found]) for i, found in reach.items()}
            changed, reach = wider != reach, wider
        return {i: frozenset(j for j in found if i in reach[j]) for i, found in reach.items() if i in found}

    def _find_cores(self) -> dict[Node, frozenset[int]]:
        cores: dict[Node, frozenset[int]] = {}
        for slots in set(self.cycle.values()):
            for node in ancestors([self.loop.next_carry[i] for i in slots]):
                if self._reads[node] & slots:
                    cores[node] = slots
        return cores

    def _stages(self, slot: dict[Node, int]) -> dict[Node, int]:
        """Repeat until nothing moves: a node waits for its inputs, a delay for what it delays."""
        loop = self.loop
        once = set(loop.consts)
        of_cycle = dict.fromkeys(set(self.cycle.values()), 1)
        of_delay = dict.fromkeys([i for i in self.live if i not in self.cycle], 0)
        while True:
            stage: dict[Node, int] = {}
            starts = dict(of_cycle)
            for node in self.nodes:
                if node in self._cores:
                    slots = self._cores[node]
                    outside = [stage[i] for i in node.inputs if self._cores.get(i) != slots]
                    starts[slots] = max(starts[slots], 1 + max((_even(s) for s in outside), default=0))
                    stage[node] = of_cycle[slots]
                elif node in slot:
                    stage[node] = of_delay[slot[node]]
                elif node.primitive is None:
                    stage[node] = INVARIANT if node in once or node not in loop.sequences else 0
                else:
                    latest = max((stage[i] for i in node.inputs), default=INVARIANT)
                    stage[node] = INVARIANT if latest == INVARIANT else _even(latest)
            delays = {i: max(0, _even(stage[loop.next_carry[i]])) for i in of_delay}
            if starts == of_cycle and delays == of_delay:
                return stage
            of_cycle, of_delay = starts, delays


def _even(stage: int) -> int:
    """The first batched stage at which a value of this stage is there."""
    return max(0, stage + stage % 2)


def _reached(nodes: Sequence[Node], slot: dict[Node, int]) -> dict[Node, frozenset[int]]:
    """The slots that each node reads, by way of others too."""
    reads: dict[Node, frozenset[int]] = {}
    for node in nodes:
        if node in slot:
            reads[node] = frozenset([slot[node]])
        elif not node.inputs:
            reads[node] = frozenset()
        else:
            reads[node] = frozenset().union(*[reads[i] for i in node.inputs])
    return reads
