"""Joins: a product of a concatenation with what is known beforehand is taken into its pieces."""

from __future__ import annotations

from ...graph.node import Node
from ...ops.core import registry
from ..canonical import Builder
from ..loop import Loop
from ..partition import Partition
from .uses import Uses

__all__ = ["scale_concat"]

_MULTIPLY, _CONCATENATE, _NEGATIVE = registry["multiply"], registry["concatenate"], registry["negative"]


def scale_concat(loop: Loop) -> dict[Node, Node]:
    """[a, b] · k = [a · k₁, b · k₂]: where a and b are products, the factors join theirs."""
    partition, uses, builder, instead = Partition(loop), Uses(loop), Builder(), {}
    for node in partition.nodes:
        if node.primitive is not _MULTIPLY or not partition.is_sequential(node):
            continue
        # the factor is what is known beforehand, which may be a concatenation too
        join, factor = node.inputs if partition.stage[node.inputs[1]] < partition.stage[node] else node.inputs[::-1]
        if join.primitive is not _CONCATENATE or partition.stage[factor] >= partition.stage[node] or uses.count(join) != 1:
            continue
        if not all(_takes_a_factor(piece, partition, uses) for piece in join.inputs) or join.spec != node.spec:
            continue
        axis, end, pieces = join.attributes["axis"], 0, []
        for piece in join.inputs:
            start, end = end, end + piece.shape[axis]
            # factors that are alike along the axis, or numbers, go to each piece as they are
            alike = len(factor.shape) < -axis or factor.shape[axis] == 1
            part = factor if alike else builder.part(factor, start, end, axis)
            pieces.append(builder.make(_MULTIPLY, (piece, part)))
        instead[node] = builder.join(pieces, axis)
    return instead


def _takes_a_factor(piece: Node, partition: Partition, uses: Uses) -> bool:
    """Whether another factor costs nothing in the loop."""
    if not partition.is_sequential(piece):
        return True
    if uses.count(piece) != 1 or piece.primitive not in (_MULTIPLY, _NEGATIVE):
        return False
    return any(partition.stage[i] < partition.stage[piece] for i in piece.inputs) or piece.primitive is _NEGATIVE
