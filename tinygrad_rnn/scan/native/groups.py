"""Groups: the operations of each stage in order; neighbours that loop over the same elements share one loop."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ...graph.node import Node
from ...ops.facts import facts_of
from ..partition import INVARIANT
from .places import CPlaces, is_made, is_seen, literal_of
from .types import form_of

__all__ = ["Group", "Groups"]


class Group(NamedTuple):
    """Elementwise operations on the same elements, each after the operations that it reads."""

    nodes: tuple[Node, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of all values of the group."""
        return self.nodes[0].shape


class Groups:
    """The operations of a schedule in order, by stages, with a place for each value that is not in a register.

    Parameters
    ----------
    places : CPlaces

    Attributes
    ----------
    stages : dict of (int or None) to list of (Group or Node)
        For each stage of the :class:`Partition`, and None for the time after the last step: elementwise operations in
        groups, and all other operations singly.
    """

    def __init__(self, places: CPlaces) -> None:
        self.places, schedule = places, places.schedule
        self._slot = places.loop.slot
        self._running = places.partition.running
        at_stage: dict[int | None, list[Node]] = defaultdict(list)
        for node in schedule.nodes:
            if is_made(node):
                at_stage[places.partition.stage[node]].append(node)
        at_stage[None] += [node for node in schedule.closing if is_made(node)]
        for stage, copy in places.copies:
            at_stage[stage].append(copy)
        self.stages = {
            stage: self._ordered(nodes, once=stage is None or stage == INVARIANT) for stage, nodes in at_stage.items()
        }
        self._group = {
            node: item for items in self.stages.values() for item in items if isinstance(item, Group) for node in item.nodes
        }
        self._place_rest()

    # -- order -----------------------------------------------------------------------------

    def _makers(self, node: Node, own: set[Node], found: set[Node], seen: set[Node]) -> None:
        """Add the operations of a stage that must run before a value exists."""
        if node in seen:
            return
        seen.add(node)
        if node in self._slot:
            if self._slot[node] not in self.places.partition.cycle and node in self.places.fillers:
                filler = self.places.fillers[node]
                if filler in own:
                    found.add(filler)
                elif not is_made(filler):
                    self._makers(filler, own, found, seen)
        elif is_seen(node):
            self._makers(node.inputs[0], own, found, seen)
        elif node in self.places.pieces:
            for piece in self.places.pieces[node]:
                self._makers(piece, own, found, seen)
        elif node in own:
            found.add(node)

    def _needs(self, node: Node, own: set[Node]) -> set[Node]:
        found: set[Node] = set()
        for i in self.read(node):
            self._makers(i, own, found, set())
        return found

    def read(self, node: Node) -> tuple[Node, ...]:
        """The values that must exist before an operation; a running sum reads its slot of the step before."""
        return (self.places.partition.term(node),) if node in self._running else node.inputs

    def _ordered(self, nodes: Sequence[Node], once: bool) -> list[Group | Node]:
        own, number = set(nodes), {node: k for k, node in enumerate(nodes)}
        needs = {node: self._needs(node, own) for node in nodes}
        missing = {node: len(found) for node, found in needs.items()}
        readers: dict[Node, list[Node]] = defaultdict(list)
        for node, found in needs.items():
            for i in found:
                readers[i].append(node)
        loops = self._loops_after(needs, readers) if once else dict.fromkeys(nodes, 0)
        ready = [k for k, node in enumerate(nodes) if not missing[node]]
        heapq.heapify(ready)
        ordered: list[Group | Node] = []

        def done(node: Node) -> None:
            for reader in readers[node]:
                missing[reader] -= 1
                if not missing[reader]:
                    heapq.heappush(ready, number[reader])

        def take(among: Iterable[int]) -> Node:
            k = min(among)
            ready.remove(k)
            heapq.heapify(ready)
            return nodes[k]

        while ready:
            others = [k for k in ready if form_of(nodes[k]) not in ("element", "gather")]
            if others:  # before groups, so that groups become large
                node = take(others)
                ordered.append(node)
                done(node)
                continue
            members: list[Node] = []
            most = max(loops[nodes[k]] for k in ready)
            while fitting := [k for k in ready if loops[nodes[k]] == most and (not members or self._fits(nodes[k], members))]:
                members.append(take(fitting))
                done(members[-1])
            ordered.append(Group(tuple(members)))
        assert sum(len(item.nodes) if isinstance(item, Group) else 1 for item in ordered) == len(nodes), "operations wait"
        return ordered

    def _loops_after(self, needs: Mapping[Node, set[Node]], readers: Mapping[Node, Sequence[Node]]) -> dict[Node, int]:
        """For operations that are done once, the least number of loops that follow; values read late are made late."""
        found = dict.fromkeys(needs, 0)
        waiting = {node: len(readers[node]) for node in needs}
        ready = [node for node, count in waiting.items() if not count]
        while ready:
            reader = ready.pop()
            for node in needs[reader]:
                apart = form_of(node) != "element" or not self._fits(reader, [node])
                found[node] = max(found[node], found[reader] + apart)
                waiting[node] -= 1
                if not waiting[node]:
                    ready.append(node)
        return found

    def _fits(self, node: Node, members: list[Node]) -> bool:
        """Whether an operation loops over the same elements, and reads the members' values only at its own element."""
        if form_of(node) not in ("element", "gather") or node.shape != members[0].shape:
            return False
        inside = set(members)
        elsewhere: set[Node] = set()
        for i in self.read(node):
            if i not in inside or form_of(node) == "gather":
                self._makers(i, inside, elsewhere, set())
        return not elsewhere

    # -- places ----------------------------------------------------------------------------

    def _place_rest(self) -> None:
        places = self.places
        nodes = [*places.schedule.nodes, *places.schedule.closing, *[copy for _, copy in places.copies]]
        elsewhere = set(places.schedule.read_at_the_end)
        for node in nodes:
            if not facts_of(node).joins:  # a concatenation's pieces have places in its memory, or are copied there
                elsewhere.update(i for i in node.inputs if not self.in_register(i, node))
        for node in nodes:
            if is_made(node) and node not in places and (node in elsewhere or form_of(node) not in ("element", "gather")):
                places.new(node, places.own(node))
        places.keep_rows()

    def in_register(self, node: Node, reader: Node) -> bool:
        """Whether an operation has an operand in a register, as a number or from the same group."""
        if not is_made(reader) or form_of(reader) != "element":
            return False
        if literal_of(node) is not None:
            return True
        group = self._group.get(node)
        return group is not None and self._group.get(reader) is group and is_made(node)
