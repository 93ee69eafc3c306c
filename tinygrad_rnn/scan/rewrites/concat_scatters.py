"""Concatenation of scatters: the gradients of disjoint slices, added up, are one concatenation."""

from __future__ import annotations

from typing import Any

from ...graph.node import Node
from ...ops.core import registry
from ..canonical import NodeBuilder, along
from ..loop import Loop

__all__ = ["concat_scatters"]

_SCATTER = registry["scatter"]


def concat_scatters(loop: Loop) -> dict[Node, Node]:
    """Values that are scattered into disjoint slices of zeros are one concatenation."""
    builder, instead = NodeBuilder(), {}
    for node in loop.body:
        if node.primitive is _SCATTER:
            joined = _joined(builder, node)
            if joined is not None:
                instead[node] = joined
    return instead


def _joined(builder: NodeBuilder, node: Node) -> Node | None:
    shape, indices = node.attributes["shape"], node.attributes["indices"]
    if len(indices) != len(node.inputs) or any(value.dtype != node.dtype for value in node.inputs):
        return None
    places: list[Any] = [along(index, shape) for index in indices]
    if None in places or len({axis for axis, start, stop in places if (start, stop) != (0, shape[axis])}) != 1:
        return None
    (axis,) = {axis for axis, start, stop in places if (start, stop) != (0, shape[axis])}
    if any(place[0] != axis for place in places):
        return None
    pieces, end = [], 0
    for (_, start, stop), value in sorted(zip(places, node.inputs, strict=True), key=lambda pair: pair[0]):
        if start < end or stop == start:
            return None
        pieces += [_zeros(builder, node, axis, start - end)] if start > end else []
        pieces.append(value)
        end = stop
    pieces += [_zeros(builder, node, axis, shape[axis] - end)] if end < shape[axis] else []
    return builder.join(pieces, axis)


def _zeros(builder: NodeBuilder, like: Node, axis: int, length: int) -> Node:
    shape = list(like.shape)
    shape[axis] = length
    return builder.broadcast(builder.constant(0.0, like.dtype), tuple(shape))
