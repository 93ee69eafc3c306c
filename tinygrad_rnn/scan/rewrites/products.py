"""Products: split the product of a concatenation into a sum; join products of one operand with several matrices."""

from __future__ import annotations

from collections import defaultdict

from ...graph.node import Node
from ...ops.core import registry
from ...ops.facts import facts_of
from ..canonical import NodeBuilder, joined_axis
from ..loop import Loop
from ..partition import partition_of

__all__ = ["concat_matrices", "split_concat"]

_MATMUL, _ADD = registry["matmul"], registry["add"]


def split_concat(loop: Loop) -> dict[Node, Node]:
    """[h, x] W = h W₁ + x W₂, so that the product without the state can leave the loop."""
    partition, builder, instead = partition_of(loop), NodeBuilder(), {}
    for node in partition.nodes:
        if not facts_of(node).product or not partition.is_sequential(node):
            continue
        join, weight = node.inputs
        if joined_axis(join) != -1 or not partition.is_invariant(weight):
            continue
        if all(partition.is_sequential(piece) for piece in join.inputs) or len(weight.shape) != 2:
            continue
        end, total = 0, None
        for piece in join.inputs:
            start, end = end, end + piece.shape[-1]
            product = builder.make(_MATMUL, (piece, builder.part(weight, start, end, axis=-2)))
            total = product if total is None else builder.make(_ADD, (total, product))
        if total is not None and total.spec == node.spec:
            instead[node] = total
    return instead


def concat_matrices(loop: Loop) -> dict[Node, Node]:
    """[h W₁, h W₂] = h [W₁, W₂]: products of one operand with several matrices are slices of one product."""
    partition, builder, instead = partition_of(loop), NodeBuilder(), {}
    groups: dict[tuple[Node, int], list[Node]] = defaultdict(list)
    for node in partition.nodes:
        if facts_of(node).product and partition.is_invariant(node.inputs[1]) and len(node.inputs[1].shape) == 2:
            groups[node.inputs[0], partition.stage[node]].append(node)
    for (left, stage), products in groups.items():
        dtypes = {product.inputs[1].dtype for product in products}
        if len(products) < 2 or stage < 0 or len(dtypes) > 1:
            continue
        whole = builder.make(_MATMUL, (left, builder.join([product.inputs[1] for product in products])))
        end = 0
        for product in products:
            start, end = end, end + product.shape[-1]
            instead[product] = builder.part(whole, start, end)
    return instead
