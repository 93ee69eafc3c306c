"""Places: the memory in which each value of a program lies."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from ...graph.node import Node, Spec
from ...ops.core import registry
from ...ops.facts import facts_of
from ..loop import is_scalar_constant
from ..partition import INVARIANT, When, first_batched
from ..schedule import Schedule

__all__ = ["CMemory", "CPlace", "CPlaces", "contiguous", "is_made", "is_seen", "literal_of"]

_ASTYPE = registry["astype"]


@dataclass(eq=False)
class CMemory:
    """The memory of one value, or of several values that are parts of it.

    Attributes
    ----------
    kind : {"input", "result", "once", "step", "chunk", "whole"}
        "input", "result": an array that the caller gave, or that is returned to the caller. "once": one row for all
        steps. "step": one row, which every step overwrites. "chunk", "whole": a row for each step of a chunk, or of the
        sequence.
    spec : Spec
        Shape and dtype of one row.
    name : str or None
    over_time : bool
        Whether there is a row for each step.
    carry : bool
        Whether there is one additional row: a slot's initial value, and then the next carry of each step.
    position : int
        Index of the input or of the output.
    """

    kind: Literal["input", "result", "once", "step", "chunk", "whole"]
    spec: Spec
    name: str | None = None
    over_time: bool = False
    carry: bool = False
    position: int = -1

    @property
    def given(self) -> bool:
        """Whether the array belongs to the caller."""
        return self.kind in ("input", "result")


class CPlace(NamedTuple):
    """The place of a value: the positions of its elements within a row of a memory.

    Attributes
    ----------
    memory : CMemory
    strides : tuple of int
        The stride of each axis of the value, in elements.
    offset : int
        Position of the first element.
    row : int
        Number of rows after the row of the step: 1 for one side of a slot.
    """

    memory: CMemory
    strides: tuple[int, ...]
    offset: int = 0
    row: int = 0

    def part(self, axis: int, start: int, drop: bool = False) -> CPlace:
        """The place of a piece that begins at `start` of an axis; `drop` removes this axis from the piece."""
        strides = list(self.strides)
        offset = self.offset + start * strides[axis]
        if drop:
            del strides[axis]
        return self._replace(strides=tuple(strides), offset=offset)


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of an array without gaps, in elements.

    Examples
    --------
    >>> contiguous((2, 3, 4))
    (12, 4, 1)
    """
    return tuple(math.prod(shape[k + 1 :]) for k in range(len(shape)))


def is_seen(node: Node) -> bool:
    """Whether a value is a view of its first input, whatever the layout, and not a number."""
    primitive = node.primitive
    if primitive is None or primitive.view is None or literal_of(node) is not None:
        return False
    return primitive.view(node.attributes, node.inputs[0].shape)


def literal_of(node: Node) -> Node | None:
    """The number that a value is, or that it repeats; None for any other value."""
    while node.primitive is not None and node.primitive.view is not None and len(node.inputs) == 1:
        node = node.inputs[0]
    return node if is_scalar_constant(node) else None


def is_made(node: Node) -> bool:
    """Whether an operation writes a value: the node is not a leaf, a view or a concatenation."""
    return node.primitive is not None and not is_seen(node) and not facts_of(node).joins


class CPlaces:
    """The place of each value of a schedule, and the copies that become necessary.

    A value is written where it is needed, if that is possible: a slot's next value into the rows of the slot, an output
    into the returned array, a piece into its concatenation. Otherwise, a copy is an additional operation.

    Parameters
    ----------
    schedule : Schedule

    Attributes
    ----------
    copies : list of (int or None, Node)
        The copies, each with its stage; None for the time after the last step.
    fillers : dict of Node to Node
        For the leaf of each slot, the node that is written into the slot's rows.
    pieces : dict of Node to list of Node
        For each concatenation, the nodes that are written into its memory.
    ends : dict of Node to CMemory
        For the leaf of each slot, the memory of the latest next carry.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule, self.loop, self.partition = schedule, schedule.loop, schedule.partition
        self.copies: list[tuple[int | None, Node]] = []
        self.fillers: dict[Node, Node] = {}
        self.pieces: dict[Node, list[Node]] = {}
        self.ends: dict[Node, CMemory] = {}
        self._found: dict[Node, CPlace] = {}
        kept = [output.node for output in self.loop.outputs if output.residual and self._may_keep(output.node)]
        self._kept = {*kept, *map(_root, kept)}
        self._place_leaves()
        self._place_slots()
        self._place_outputs()
        for node in reversed([*schedule.nodes, *schedule.closing]):
            if facts_of(node).joins:
                self._place_pieces(node)

    def __getitem__(self, node: Node) -> CPlace:
        """The place of a value; the place of a view is found from that of its input."""
        if node not in self._found:
            self._found[node] = self._viewed(node)
        return self._found[node]

    def __contains__(self, node: Node) -> bool:
        return node in self._found or is_seen(node)

    def new(self, node: Node, needed: Literal["once", "step", "chunk"]) -> CPlace:
        """Give a value its own memory."""
        memory = CMemory(needed, node.spec, called(node), over_time=needed == "chunk")
        self._found[node] = CPlace(memory, contiguous(node.shape))
        return self._found[node]

    def stage(self, node: Node) -> int | None:
        """The stage at which a value is computed; None for the time after the last step."""
        return self.partition.stage.get(node)

    def own(self, node: Node) -> Literal["once", "step", "chunk"]:
        """The smallest kind of memory that a value needs."""
        stage = self.stage(node)
        if stage is None or stage == INVARIANT:
            return "once"
        return "step" if When.of(stage) is When.LOOP else "chunk"

    def keep_rows(self) -> None:
        """Give memories a row for each step, if values of all steps are read."""
        late = {i for stage, copy in self.copies for i in copy.inputs if self.stage(i) != stage}
        for node in [*self.schedule.read_at_all_steps, *late]:
            if node in self and self[node].memory.kind == "step":
                self[node].memory.kind, self[node].memory.over_time = "chunk", True
        for node in self._kept:
            self[node].memory.kind, self[node].memory.over_time = "whole", True

    def keeps(self, node: Node) -> bool:
        """Whether a residual stays in the memory of the run; if not, it is written into an array of its own."""
        return node in self._kept

    # -- values with a place of their own --------------------------------------------------

    def _place_leaves(self) -> None:
        loop = self.loop
        for k, node in enumerate(loop.inputs):
            if node not in loop.slot:
                memory = CMemory("input", node.spec, node.name, over_time=node in loop.sequences, position=k)
                self._found[node] = CPlace(memory, contiguous(node.shape))

    def _place_slots(self) -> None:
        """Place the next value of each slot in the slot's rows, or copy it there."""
        partition, loop = self.partition, self.loop
        for i in self.schedule.live:
            slot, value = loop.carry[i], loop.next_carry[i]
            memory = CMemory("chunk", slot.spec, slot.name or value.name, over_time=True, carry=True)
            before = CPlace(memory, contiguous(slot.shape), row=int(loop.reverse))
            after = before._replace(row=1 - before.row)
            self._found[slot] = before
            stage = partition.stage[value]
            is_delay = i not in partition.cycle
            free = self._is_free(value) and not partition.is_invariant(value) and value.spec == slot.spec
            free = free and partition.running.get(value, i) == i
            if free and (is_delay or stage == partition.stage[slot]):
                self._found[value] = after
                self.fillers[slot] = value
            else:
                self.fillers[slot] = self._copy(
                    value, slot.spec, after, first_batched(stage) if is_delay else partition.stage[slot]
                )
            k = loop.finals.get(slot)
            kind: Literal["once", "result"] = "once" if k is None else "result"
            self.ends[slot] = CMemory(kind, slot.spec, f"{memory.name or 'slot'}_end", position=-1 if k is None else k)

    def _place_outputs(self) -> None:
        """Place each output in the returned array, or copy it there."""
        sums = {time_sum.leaf for time_sum in self.schedule.time_sums}
        late = sums.union(self.schedule.closing)
        for k, (output, node) in enumerate(zip(self.loop.outputs, self.schedule.results, strict=True)):
            if output.kind == "final" or (output.residual and self.keeps(node)):
                continue
            at_end, over_time = output.kind == "sum", output.kind == "stack"
            name = node.name or output.name
            place = CPlace(CMemory("result", node.spec, name, over_time=over_time, position=k), contiguous(node.shape))
            if output.kind == "once":
                free = self._is_free(node)
            elif at_end:
                free = node in late and (self._is_free(node) or (node in sums and node not in self._found))
            else:
                free = self._is_free(node) and node not in self._kept and not self.partition.is_invariant(node)
            if free:
                self._found[node] = place
            else:
                stage = None if at_end else self.partition.stage[node]
                self._copy(node, node.spec, place, max(0, stage) if over_time and stage is not None else stage)
        for leaf in sums:
            if leaf not in self._found:
                self._found[leaf] = CPlace(CMemory("once", leaf.spec), contiguous(leaf.shape))

    def _is_free(self, node: Node) -> bool:
        """Whether a value can be written to any place: it is computed, is not a view or a number, and has no place yet."""
        return node.primitive is not None and not is_seen(node) and literal_of(node) is None and node not in self._found

    def _may_keep(self, node: Node) -> bool:
        """Whether a residual can stay in the memory of the run: it is computed or carried, and has no gaps there."""
        root = _root(node)
        if self.partition.is_invariant(root) or literal_of(root) is not None:
            return False
        return (root.primitive is not None or root in self.loop.slot) and not _has_gaps(node)

    def _place_pieces(self, join: Node) -> None:
        """Place the pieces of each concatenation in its memory, or copy them there."""
        if join not in self._found:
            self.new(join, self.own(join))
        self.pieces[join] = []
        for piece, place in self._parts(join):
            free = self._is_free(piece) and piece not in self._kept
            alike = piece.dtype == join.dtype and self.stage(piece) == self.stage(join)
            if free and alike and place.strides[-1:] in ((1,), ()) and not _is_flat(piece):
                self._found[piece] = place
                self.pieces[join].append(piece)
            else:
                spec = Spec(piece.shape, join.dtype)
                self.pieces[join].append(self._copy(piece, spec, place, self.stage(join)))

    def _parts(self, join: Node) -> Iterator[tuple[Node, CPlace]]:
        axis, start = join.attributes[str(facts_of(join).joins)], 0
        stacks = len(join.shape) > len(join.inputs[0].shape)
        for piece in join.inputs:
            yield piece, self[join].part(axis, start, drop=stacks)
            start += 1 if stacks else piece.shape[axis]

    def _copy(self, source: Node, spec: Spec, place: CPlace, stage: int | None) -> Node:
        made = Node(_ASTYPE, (source,), {"dtype": spec.dtype}, spec)
        self._found[made] = place
        self.copies.append((stage, made))
        return made

    # -- views -----------------------------------------------------------------------------

    def _viewed(self, node: Node) -> CPlace:
        assert is_seen(node) and node.primitive is not None, node
        place = self[node.inputs[0]]
        strides, first = _seen(node, place.strides)
        return place._replace(strides=strides, offset=place.offset + first)


def called(node: Node) -> str | None:
    """The name of a value: the author's, the factors of a product, or the value whose gradient it is part of."""
    if node.name is None and facts_of(node).product:
        left, right = (_root(i).name for i in node.inputs)
        if left and right:
            return f"{left}_{right}"
    origin = node.location.origin
    return node.name or (f"d_{origin.name}" if origin is not None and origin.name else None)


def _seen(node: Node, strides: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """The strides and the first element of a view, found by calling its kernel on an array with the input's strides."""
    primitive, shape, attributes = node.primitive, node.inputs[0].shape, node.attributes
    assert primitive is not None
    if 0 in node.shape:
        return contiguous(node.shape), 0
    if primitive.leading is not None:
        attributes = primitive.leading(attributes, [(1, *shape)])
    nothing = np.lib.stride_tricks.as_strided(np.empty(1, np.int8), (1, *shape), (1, *strides))
    view = primitive.kernel(nothing, **attributes)
    first, offset = (x.__array_interface__["data"][0] for x in (nothing, view))
    return view.strides[1:], offset - first


def _has_gaps(node: Node) -> bool:
    """Whether a value is a view that leaves out or reorders elements, of a value without gaps."""
    views = [node]
    while is_seen(views[-1]):
        views.append(views[-1].inputs[0])
    root = views.pop()
    strides = contiguous(root.shape)
    for view in reversed(views):
        strides, _ = _seen(view, strides)
    return strides != contiguous(node.shape) or math.prod(node.shape) < math.prod(root.shape)


def _is_flat(node: Node) -> bool:
    """Whether a value is a copy in another shape, which needs memory without gaps."""
    return node.primitive is not None and facts_of(node).copies and not node.primitive.elementwise


def _root(node: Node) -> Node:
    """The value of which a node is a view; the node itself, if it is not a view."""
    while is_seen(node):
        node = node.inputs[0]
    return node
