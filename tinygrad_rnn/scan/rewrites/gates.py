"""Gates: sigmoids as parts of one tanh, with their columns side by side."""

from __future__ import annotations

from typing import NamedTuple

from ...graph.node import Node
from ...ops.core import registry
from ..canonical import Builder, along
from ..loop import Loop
from ..partition import Partition
from .uses import Uses

__all__ = ["gates"]

_MATMUL, _ADD, _SUBTRACT, _MULTIPLY = registry["matmul"], registry["add"], registry["subtract"], registry["multiply"]
_SIGMOID, _TANH, _GETITEM, _BROADCAST = registry["sigmoid"], registry["tanh"], registry["getitem"], registry["broadcast_to"]


class Piece(NamedTuple):
    """Columns of a value, times a number."""

    start: int
    stop: int
    scale: float


def gates(loop: Loop) -> dict[Node, Node]:
    """σ(a) = ½ + ½ tanh(a/2): one tanh serves all gates.

    The columns of what the gates are slices of are put in another order, sigmoids first,
    and halved there; both is pushed down to the matrices, where it is done once.
    """
    found = _Gates(loop)
    instead: dict[Node, Node] = {}
    for node in found.at.nodes:
        if found.at.is_core(node) and node.dtype.kind == "f" and node.shape:
            instead.update(found.replaced(node))
            if found.moved:  # other slices were moved: what they are now is seen anew
                break
    return instead or {
        node: found.alone(node) for node in found.at.nodes if node.primitive is _SIGMOID and found.at.is_core(node)
    }


def _widest(pieces: list[Piece]) -> list[Piece]:
    """The same columns in as few pieces as can be."""
    found: list[Piece] = []
    for piece in pieces:
        if found and (found[-1].stop, found[-1].scale) == (piece.start, piece.scale):
            found[-1] = found[-1]._replace(stop=piece.stop)
        else:
            found.append(piece)
    return found


class _Gates:
    def __init__(self, loop: Loop) -> None:
        self.at = Partition(loop)
        self.uses = Uses(loop)
        self.builder = Builder()
        self.moved: dict[Node, Node] = {}

    def replaced(self, node: Node) -> dict[Node, Node]:
        """What stands in place of the gates that read this value, if it can be done."""
        slices = self._slices(node)
        if not slices:
            return {}
        sigmoids, others = [], []
        for piece, (start, stop) in slices.items():
            readers = self.uses.readers[piece]
            one = len(readers) == 1 and self.uses.count(piece) == 1
            if one and readers[0].primitive is _SIGMOID:
                sigmoids.append((readers[0], Piece(start, stop, 0.5)))
            else:
                smooth = one and readers[0].primitive is _TANH
                others.append((readers[0] if smooth else piece, Piece(start, stop, 1.0)))
        if not sigmoids:
            return {}
        others.sort(key=lambda pair: pair[0].primitive is not _TANH)
        self.moved = {}
        columns = self._columns(node, _widest([piece for _, piece in (*sigmoids, *others)]), 0)
        return {} if columns is None else self._rebuilt(columns, sigmoids, others) | self.moved

    def alone(self, gate: Node) -> Node:
        """½ + ½ tanh(a/2), where the half cannot be pushed down."""
        make, half = self.builder.make, self.builder.constant(0.5, gate.dtype)
        squashed = make(_TANH, (make(_MULTIPLY, (gate.inputs[0], half)),))
        return make(_ADD, (make(_MULTIPLY, (squashed, half)), half))

    def _rebuilt(
        self, columns: Node, sigmoids: list[tuple[Node, Piece]], others: list[tuple[Node, Piece]]
    ) -> dict[Node, Node]:
        make, part = self.builder.make, self.builder.part
        tanhs = [pair for pair in others if pair[0].primitive is _TANH]
        width = sum(piece.stop - piece.start for _, piece in sigmoids)
        smooth = width + sum(piece.stop - piece.start for _, piece in tanhs)
        squashed = make(_TANH, (part(columns, 0, smooth),))
        half = self.builder.constant(0.5, columns.dtype)
        gate = make(_ADD, (make(_MULTIPLY, (part(squashed, 0, width), half)), half))
        instead, end = {}, 0
        for node, piece in (*sigmoids, *others):
            start, end = end, end + piece.stop - piece.start
            source = gate if end <= width else squashed if end <= smooth else columns
            instead[node] = part(source, start, end)
        return instead

    def _slices(self, node: Node) -> dict[Node, tuple[int, int]]:
        """Disjoint slices of columns, if nothing else reads the value; or all of it."""
        readers = self.uses.readers[node]
        if node in self.uses.ends or not readers or node.primitive is _GETITEM:
            return {}
        if len(readers) == 1 and readers[0].primitive is _SIGMOID:
            return {node: (0, node.shape[-1])}
        found: dict[Node, tuple[int, int]] = {}
        for reader in dict.fromkeys(readers):
            place = along(reader.attributes["index"], node.shape) if reader.primitive is _GETITEM else None
            if place is None or place[0] != -1 or len(reader.inputs) > 1:
                return {}
            found[reader] = place[1:]
        ordered = sorted(found.values())
        if any(a[1] > b[0] for a, b in zip(ordered, ordered[1:], strict=False)) or any(a == b for a, b in ordered):
            return {}
        return found

    def _columns(self, node: Node, pieces: list[Piece], depth: int) -> Node | None:
        """The columns, pushed down to what is the same at all steps or known beforehand."""
        make, at = self.builder.make, self.at
        if not at.is_core(node):
            if node.shape[-1] == 1 != sum(p.stop - p.start for p in pieces):
                wide = (*node.shape[:-1], max(p.stop for p in pieces))
                node = make(_BROADCAST, (node,), {"shape": wide})
            if at.is_outer(node) or node.primitive not in (_MATMUL, _ADD, _SUBTRACT):
                return self.builder.join([self._scaled(node, piece) for piece in pieces])
        elif self.uses.count(node) > 1 and depth:
            return None
        elif node.primitive is _GETITEM:
            return self._columns_of_slice(node, pieces, depth)
        inputs = node.inputs
        if node.primitive is _MATMUL and at.is_outer(inputs[1]):
            right = self._columns(inputs[1], pieces, depth + 1)
            return None if right is None else make(_MATMUL, (inputs[0], right))
        if node.primitive in (_ADD, _SUBTRACT):
            parts = [self._columns(self._ranked(i, node), pieces, depth + 1) for i in inputs]
            if parts[0] is not None and parts[1] is not None and node.primitive is not None:
                return make(node.primitive, (parts[0], parts[1]))
        if not at.is_core(node):
            return self.builder.join([self._scaled(node, piece) for piece in pieces])
        return None

    def _columns_of_slice(self, node: Node, pieces: list[Piece], depth: int) -> Node | None:
        """Columns of a slice: moved within the source, where all others stay in their places."""
        source = node.inputs[0]
        slices = self._slices(source)
        if node not in slices or source in self.moved or len(slices) < 2:
            return None
        start, stop = slices[node]
        if sum(piece.stop - piece.start for piece in pieces) != stop - start:
            return None
        moved = [Piece(piece.start + start, piece.stop + start, piece.scale) for piece in pieces]
        width = source.shape[-1]
        around = [Piece(0, start, 1.0), *moved, Piece(stop, width, 1.0)]
        columns = self._columns(source, _widest([piece for piece in around if piece.stop > piece.start]), 0)
        if columns is None:
            return None
        self.moved |= {other: self.builder.part(columns, *place) for other, place in slices.items() if other is not node}
        return self.builder.part(columns, start, stop)

    def _ranked(self, node: Node, like: Node) -> Node:
        """With a last axis, if it is a number."""
        return node if node.shape else self.builder.make(_BROADCAST, (node,), {"shape": (1,) * len(like.shape)})

    def _scaled(self, node: Node, piece: Piece) -> Node:
        part = self.builder.part(node, piece.start, piece.stop)
        if piece.scale == 1.0:
            return part
        return self.builder.make(_MULTIPLY, (part, self.builder.constant(piece.scale, node.dtype)))
