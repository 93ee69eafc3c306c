"""Placement: the storage of each value of a schedule."""

from __future__ import annotations

from collections.abc import Iterator

from ...graph.node import Node, Spec
from ...ops.core import registry
from ..canonical import slice_of
from ..loop import is_scalar_constant, is_ufunc, is_view
from ..partition import first_batched
from ..schedule import Schedule
from ..work import size_of
from .program import Copy, Extent, Storage, root_of

__all__ = ["Placement", "pieces"]

_CONCATENATE, _BROADCAST = registry["concatenate"], registry["broadcast_to"]

WORTH_A_TABLE = 1024
"""Size of a value, in bytes, from which on a view at each step costs less than a copy of the value."""


class Placement:
    """The storage of each value, and the copies that become necessary.

    A value is written where it is needed, if that is possible: a slot's next value into the rows of
    the slot, a piece into its concatenation, an output into the array that is returned.

    Parameters
    ----------
    schedule : Schedule

    Attributes
    ----------
    storage : dict of Node to Storage
    copied : list of Copy
        Sequences that are copied, because a loop reads them step by step.
    carried : dict of int to list of Copy
        For each stage, copies of next values of slots that could not be written in place.
    joined : dict of Node to list of Copy
        For each concatenation, copies of pieces that could not be written in place.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.loop, self.partition, self.readers = schedule.loop, schedule.partition, schedule.readers
        self.storage: dict[Node, Storage] = {}
        self.copied: list[Copy] = []
        self.carried: dict[int, list[Copy]] = {}
        self.joined: dict[Node, list[Copy]] = {}
        self._overwriting: set[Node] = set()
        self._place_leaves()
        self._place_slots()
        self._place_pieces()
        for node in schedule.nodes:
            if node not in self.storage:
                self.storage[node] = self._place(node)
        for node in schedule.summing:
            self.storage.setdefault(node, Storage("view" if is_view(node) else "fresh"))
        self._copy_pieces()

    def extents(self) -> dict[Node, Extent]:
        """The extent of each value that has memory of its own, and of each slot."""
        found: dict[Node, Extent] = {}
        for node, storage in self.storage.items():
            if storage.kind == "before":
                found[node] = "chunk"
            elif storage.kind == "own":
                invariant, sequential = self.partition.is_invariant(node), self.partition.is_sequential(node)
                found[node] = "once" if invariant else "step" if sequential else "chunk"
        for node in self.schedule.read_at_all_steps:
            root = root_of(self.storage, node)
            if root is not None and found[root] == "step":
                found[root] = "chunk"
        for output in self.loop.outputs:
            root = root_of(self.storage, output.node) if output.residual else None
            if root is not None and found[root] != "once":
                found[root] = "whole"
        return found

    # -- values with a place of their own --------------------------------------------------

    def _place_leaves(self) -> None:
        loop = self.loop
        for index, node in enumerate(loop.inputs):
            if node not in loop.carry:
                self.storage[node] = Storage("input", position=index)
        for node in self._sequences_in_loops():
            if node not in loop.residuals or size_of(node.spec) < WORTH_A_TABLE:
                self.storage[node] = Storage("own")  # own memory has the layout of all other values
                self.copied.append(Copy(node, node))
        for node in (*self.schedule.nodes, *self.schedule.summing):
            if is_scalar_constant(node):
                self.storage[node] = Storage("number")

    def _sequences_in_loops(self) -> Iterator[Node]:
        """The sequences that a loop reads step by step."""
        partition, loop = self.partition, self.loop
        core = [node for node in self.schedule.nodes if node.primitive is not None and partition.is_sequential(node)]
        read = {_seen(i) for node in core for i in node.inputs}
        read.update(loop.next_carry[i] for i in self.schedule.live if i in partition.cycle)
        return (node for node in loop.sequences if node in read)

    def _place_slots(self) -> None:
        """Place the next value of each slot in the slot's rows, or copy it there."""
        partition = self.partition
        for i in self.schedule.live:
            slot, value = self.loop.carry[i], self.loop.next_carry[i]
            self.storage[slot] = Storage("before", of=slot)
            after = Storage("after", of=slot)
            is_delay, stage = i not in partition.cycle, partition.stage[value]
            computed = value.primitive is not None and not is_view(value) and not partition.is_invariant(value)
            same_stage = is_delay or stage == partition.stage[slot]
            if computed and same_stage and value not in self.storage and value.spec == slot.spec:
                self.storage[value] = after
            else:
                last = first_batched(stage) if is_delay else partition.stage[slot]
                self.carried.setdefault(last, []).append(self._copy(value, slot.spec, after))

    def _place_pieces(self) -> None:
        """Place the pieces of each concatenation in its memory."""
        stage = self.partition.stage
        for join in reversed(self.schedule.nodes):
            if join.primitive is _CONCATENATE:
                for piece, storage in pieces(join):
                    free = piece not in self.storage and piece.primitive is not None and not is_view(piece)
                    if free and piece.dtype == join.dtype and stage[piece] == stage[join]:
                        self.storage[piece] = storage

    def _copy_pieces(self) -> None:
        """Copy pieces that could not be written in place into their concatenation."""
        for join in self.schedule.nodes:
            if join.primitive is _CONCATENATE:
                self.joined[join] = [
                    self._copy(piece, piece.spec, storage)
                    for piece, storage in pieces(join)
                    if self.storage.get(piece) != storage
                ]

    def _copy(self, source: Node, spec: Spec, storage: Storage) -> Copy:
        target = Node(None, (), {}, spec)
        target.name = source.name
        self.storage[target] = storage
        return Copy(source, target)

    # -- all other values ------------------------------------------------------------------

    def _place(self, node: Node) -> Storage:
        if is_view(node) and not self._is_repeated_once(node):
            return Storage("view")
        return self._returned(node) or self._overwritten(node) or Storage("own")

    def _is_repeated_once(self, node: Node) -> bool:
        """Whether a broadcast is written out once, so that no step has to broadcast."""
        if node.primitive is not _BROADCAST or not self.partition.is_invariant(node):
            return False
        return node in self.readers.ends or any(not self.partition.is_invariant(i) for i in self.readers[node])

    def _returned(self, node: Node) -> Storage | None:
        """The returned array, for a value that is computed once, or for all steps at once and not read in a loop."""
        partition, outputs = self.partition, self.loop.outputs
        if any(output.kind == "once" and output.node is node for output in outputs):
            joins = node.primitive is _CONCATENATE
            return None if joins or node in self.schedule.numbers else Storage("fresh")
        if (
            partition.is_sequential(node)
            or partition.is_invariant(node)
            or node.primitive is _CONCATENATE
            or any(partition.is_sequential(reader) for reader in self.readers[node])
            or any(output.residual for output in outputs)
        ):
            return None
        found = [i for i, output in enumerate(outputs) if output.node is node and output.kind == "stack"]
        return Storage("result", position=found[0]) if found else None

    def _overwritten(self, node: Node) -> Storage | None:
        """Storage of an operand that this node may overwrite: it has no other reader and is a slice of another value.

        An operand with memory of its own needs no such rule: the lifetimes decide which values share memory.
        """
        if not (is_ufunc(node) and self.partition.is_sequential(node)):
            return None
        everywhere = self.schedule.read_at_all_steps
        for operand in node.inputs:
            if operand.spec != node.spec or self.readers.only(operand) is not node or operand in everywhere:
                continue
            storage = self.storage.get(operand)
            if operand in self._overwriting:
                self._overwriting.add(node)
                return storage
            own = storage is not None and storage.kind == "own" and self.partition.is_sequential(operand)
            if own and node in everywhere and node.shape and operand.primitive is not _CONCATENATE:
                self._overwriting.add(node)
                return Storage("piece", of=operand, part=(-1, 0, node.shape[-1]))
            location = slice_of(operand)
            if location is not None and self._is_read_in_slices(operand.inputs[0], operand, location):
                self._overwriting.add(node)
                return Storage("piece", of=operand.inputs[0], part=location)
        return None

    def _is_read_in_slices(self, value: Node, operand: Node, location: tuple[int, int, int]) -> bool:
        """Whether a value with memory of its own is read in slices only, and one of its regions by `operand` alone."""
        storage = self.storage.get(value)
        if storage is None or storage.kind != "own" or not self.partition.is_sequential(value):
            return False
        if value in self.schedule.read_at_all_steps or value in self.readers.ends or value.primitive is _CONCATENATE:
            return False  # the pieces of a concatenation have other readers
        for reader in self.readers[value]:
            other = slice_of(reader)
            if reader is operand:
                continue
            if other is None or other[0] != location[0] or (other[1] < location[2] and location[1] < other[2]):
                return False
        return True


def pieces(join: Node) -> Iterator[tuple[Node, Storage]]:
    """The inputs of a concatenation, and their places in the concatenation."""
    axis, end = join.attributes["axis"], 0
    for piece in join.inputs:
        start, end = end, end + piece.shape[axis]
        yield piece, Storage("piece", of=join, part=(axis, start, end))


def _seen(node: Node) -> Node:
    """The value of which a node is a view."""
    while is_view(node):
        node = node.inputs[0]
    return node
