"""Prebroadcasting: operands that would be broadcast at every step are broadcast once."""

from __future__ import annotations

from ...graph.node import Node
from ..canonical import NodeBuilder
from ..loop import Loop, is_scalar_constant, is_ufunc
from ..partition import partition_of

__all__ = ["prebroadcast"]


def prebroadcast(loop: Loop) -> dict[Node, Node]:
    """Loop-invariant operands are broadcast once, to the shape of the result: NumPy is fastest on equal shapes."""
    partition, builder, instead = partition_of(loop), NodeBuilder(), {}
    for node in partition.nodes:
        if partition.is_invariant(node) or not is_ufunc(node) or node.primitive is None:
            continue
        inputs = [
            builder.broadcast(i, node.shape)
            if partition.is_invariant(i) and not is_scalar_constant(i) and i.shape != node.shape
            else i
            for i in node.inputs
        ]
        if inputs != list(node.inputs):
            instead[node] = builder.make(node.primitive, tuple(inputs), node.attributes)
    return instead
