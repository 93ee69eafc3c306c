"""Sigmoids as tanh: the gates of a cell, which are slices of one value, become one tanh."""

from __future__ import annotations

import itertools

from ...graph.node import Node
from ...ops.core import registry
from ...ops.facts import facts_of, multiplies
from ..canonical import NodeBuilder, slice_of
from ..loop import Loop
from ..partition import partition_of
from ..readers import Readers

__all__ = ["sigmoid_as_tanh"]

_MATMUL, _ADD, _MULTIPLY = registry["matmul"], registry["add"], registry["multiply"]
_SIGMOID, _TANH = registry["sigmoid"], registry["tanh"]


def sigmoid_as_tanh(loop: Loop) -> dict[Node, Node]:
    """σ(a) = ½ + ½ tanh(a/2): one tanh serves all gates that are slices of one value.

    The factor ½ before the tanh is pushed down to the matrices, which are halved only once.
    """
    found = _Gates(loop)
    sequential = [node for node in found.partition.nodes if found.partition.is_sequential(node)]
    for node in sequential:
        if node.dtype.kind == "f" and node.shape:
            instead = found.replaced(node)
            if instead:
                return instead
    return {node: found.alone(node) for node in sequential if node.primitive is _SIGMOID}


class _Gates:
    def __init__(self, loop: Loop) -> None:
        self.partition = partition_of(loop)
        self.readers = Readers.of_loop(loop)
        self.builder = NodeBuilder()
        self.moved: dict[Node, Node] = {}

    def replaced(self, node: Node) -> dict[Node, Node]:
        """The nodes that replace the gates that read a value, if the factor ½ can be pushed down."""
        slices = self._slices(node)
        readers = {piece: self._reader(piece) for piece in slices}
        halved = [place for piece, place in slices.items() if readers[piece].primitive is _SIGMOID]
        if not halved:
            return {}
        self.moved = {}
        scaled = self._scaled(node, self._vector(node, halved, 0.5, 1.0), True)
        if scaled is None:
            return {}
        make, part = self.builder.make, self.builder.part
        squashed = make(_TANH, (scaled,))
        halves = make(_MULTIPLY, (squashed, self._vector(node, halved, 0.5, 1.0)))
        gate = make(_ADD, (halves, self._vector(node, halved, 0.5, 0.0)))
        instead = dict(self.moved)
        for piece, place in slices.items():
            reader = readers[piece]
            smooth = reader.primitive in (_SIGMOID, _TANH)
            instead[reader if smooth else piece] = part(gate if smooth else scaled, *place)
        return instead

    def alone(self, gate: Node) -> Node:
        """½ + ½ tanh(a/2), for a gate where the factor ½ cannot be pushed down."""
        make, half = self.builder.make, self.builder.constant(0.5, gate.dtype)
        squashed = make(_TANH, (make(_MULTIPLY, (gate.inputs[0], half)),))
        return make(_ADD, (make(_MULTIPLY, (squashed, half)), half))

    def _reader(self, piece: Node) -> Node:
        """The sigmoid or tanh that reads a slice, if nothing else reads the slice; otherwise the slice."""
        reader = self.readers.only(piece)
        return reader if reader is not None and reader.primitive in (_SIGMOID, _TANH) else piece

    def _slices(self, node: Node) -> dict[Node, tuple[int, int]]:
        """Disjoint slices of columns, if nothing else reads the value; otherwise one slice with all columns."""
        readers = self.readers[node]
        if node in self.readers.ends or not readers or facts_of(node).reads:
            return {}
        if len(readers) == 1 and readers[0].primitive is _SIGMOID:
            return {node: (0, node.shape[-1])}
        found: dict[Node, tuple[int, int]] = {}
        for reader in dict.fromkeys(readers):
            place = slice_of(reader)
            if place is None or place[0] != -1:
                return {}
            found[reader] = place[1:]
        ordered = sorted(found.values())
        if any(a[1] > b[0] for a, b in itertools.pairwise(ordered)) or any(a == b for a, b in ordered):
            return {}
        return found

    def _vector(self, like: Node, places: list[tuple[int, int]], inside: float, outside: float) -> Node:
        """A row with the number `inside` at some columns and `outside` elsewhere; a scalar if these are all columns."""
        width, end, pieces = like.shape[-1], 0, []
        if places == [(0, width)]:
            return self.builder.constant(inside, like.dtype)
        for start, stop in [*sorted(places), (width, width)]:
            for length, value in ((start - end, outside), (stop - start, inside)):
                if length:
                    shape = (1,) * (len(like.shape) - 1) + (length,)
                    pieces.append(self.builder.broadcast(self.builder.constant(value, like.dtype), shape))
            end = stop
        return self.builder.join(pieces)

    def _scaled(self, node: Node, scale: Node, top: bool = False) -> Node | None:
        """Push a row scale into loop-invariant or precomputed operands."""
        make, partition = self.builder.make, self.partition
        facts = facts_of(node)
        pushes = facts.product or len(facts.signs) == 2
        if not partition.is_sequential(node) and not (pushes and not partition.is_invariant(node)):
            return make(_MULTIPLY, (node, scale))
        if partition.is_sequential(node) and not top and self.readers.count(node) > 1:
            return None
        inputs = node.inputs
        if facts.reads:
            return self._scaled_slice(node, scale)
        if facts.product and partition.is_invariant(inputs[1]) and len(inputs[1].shape) == 2:
            return make(_MATMUL, (inputs[0], make(_MULTIPLY, (inputs[1], scale))))
        if node.primitive is not None and len(facts.signs) == 2:
            one, other = self._scaled(inputs[0], scale), self._scaled(inputs[1], scale)
            if one is not None and other is not None:
                return make(node.primitive, (one, other))
        elif multiplies(node):
            known = [i for i in inputs if not partition.is_sequential(i)]
            if len(known) == 1:
                (core,) = (i for i in inputs if i is not known[0])
                return make(_MULTIPLY, (core, make(_MULTIPLY, (known[0], scale))))
        return None if partition.is_sequential(node) else make(_MULTIPLY, (node, scale))

    def _scaled_slice(self, node: Node, scale: Node) -> Node | None:
        """Scale a slice within its source; all other slices of the source stay as they are."""
        source = node.inputs[0]
        slices = self._slices(source)
        if node not in slices or source in self.moved or len(slices) < 2 or (scale.shape and scale.shape[-1] == 1):
            return None
        start, stop = slices[node]
        width = source.shape[-1]
        shape = (1,) * (len(source.shape) - 1)
        pieces = [
            self.builder.broadcast(x, (*shape, length))
            for x, length in (
                (self.builder.constant(1.0, node.dtype), start),
                (scale, stop - start),
                (self.builder.constant(1.0, node.dtype), width - stop),
            )
            if length
        ]
        scaled = self._scaled(source, self.builder.join(pieces), True)
        if scaled is None:
            return None
        self.moved |= {other: self.builder.part(scaled, *place) for other, place in slices.items() if other is not node}
        return self.builder.part(scaled, start, stop)
