"""Scaling of concatenations: a precomputed factor is moved into each piece."""

from __future__ import annotations

from ...graph.node import Node
from ...ops.core import registry
from ...ops.facts import facts_of, multiplies
from ..canonical import NodeBuilder, joined_axis
from ..loop import Loop
from ..partition import Partition, partition_of
from ..readers import Readers

__all__ = ["scale_concat"]

_MULTIPLY = registry["multiply"]


def scale_concat(loop: Loop) -> dict[Node, Node]:
    """[a, b] · k = [a · k₁, b · k₂], if a and b are products whose factors can be multiplied beforehand."""
    partition, readers, builder, instead = partition_of(loop), Readers.of_loop(loop), NodeBuilder(), {}
    for node in partition.nodes:
        if not multiplies(node) or not partition.is_sequential(node):
            continue
        # the factor is the precomputed operand, which may be a concatenation too
        join, factor = node.inputs if partition.stage[node.inputs[1]] < partition.stage[node] else node.inputs[::-1]
        axis = joined_axis(join)
        if axis is None or partition.stage[factor] >= partition.stage[node] or readers.count(join) != 1:
            continue
        if not all(_takes_a_factor(piece, partition, readers) for piece in join.inputs) or join.spec != node.spec:
            continue
        end, pieces = 0, []
        for piece in join.inputs:
            start, end = end, end + piece.shape[axis]
            # a number, or a factor that is constant along the axis, is moved into each piece unchanged
            alike = len(factor.shape) < -axis or factor.shape[axis] == 1
            part = factor if alike else builder.part(factor, start, end, axis)
            pieces.append(builder.make(_MULTIPLY, (piece, part)))
        instead[node] = builder.join(pieces, axis)
    return instead


def _takes_a_factor(piece: Node, partition: Partition, readers: Readers) -> bool:
    """Whether an additional factor of a piece costs nothing in the loop."""
    if not partition.is_sequential(piece):
        return True
    if readers.count(piece) != 1:
        return False
    known = any(partition.stage[i] < partition.stage[piece] for i in piece.inputs)
    return facts_of(piece).signs == (-1,) or (multiplies(piece) and known)
