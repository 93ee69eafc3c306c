"""Folding of linear maps: sums over features are products with a column, and linear maps of products are products."""

from __future__ import annotations

from ...graph.node import Node
from ...ops.core import registry
from ...ops.facts import facts_of, multiplies, scales
from ..canonical import NodeBuilder
from ..loop import Loop, is_scalar_constant
from ..partition import Partition, partition_of
from ..readers import Readers

__all__ = ["fold_linear"]

_MATMUL, _NEGATIVE, _SUM, _RESHAPE = (registry[name] for name in ("matmul", "negative", "sum", "reshape"))


def fold_linear(loop: Loop) -> dict[Node, Node]:
    """Σ_j a_j = a 1, (h W) V = h (W V), k (h W) = h (k W), h A − h B = h (A − B).

    A product minus its mean over the features, as in a normalised layer, is then one product:
    h W − mean(h W) = h (W − mean(W)). The matrix W − mean(W) is computed once.
    """
    partition, readers, builder = partition_of(loop), Readers.of_loop(loop), NodeBuilder()
    instead: dict[Node, Node] = {}
    for node in partition.nodes:
        if (
            not partition.is_sequential(node)
            or node.dtype.kind != "f"
            or any(i in instead or i.dtype != node.dtype for i in node.inputs)
        ):
            continue
        better = _folded(node, partition, readers, builder)
        if better is not None and better.spec == node.spec:
            instead[node] = better
    return instead


def _folded(node: Node, partition: Partition, readers: Readers, builder: NodeBuilder) -> Node | None:
    make, inputs, primitive, facts = builder.make, node.inputs, node.primitive, facts_of(node)
    if primitive is _SUM and len(inputs[0].shape) == 2 and node.attributes["axis"] == (-1,):
        x = inputs[0]
        if x.dtype != node.dtype:
            return None
        ones = builder.broadcast(builder.constant(1.0, x.dtype), (x.shape[-1], 1))
        total = make(_MATMUL, (x, ones))
        return total if node.attributes["keepdims"] else make(_RESHAPE, (total,), {"shape": node.shape})
    if facts.product and partition.is_invariant(inputs[1]) and len(inputs[1].shape) == 2:
        return _product_of(inputs[0], inputs[1], partition, builder)
    if primitive is not None and scales(node):
        product, number = inputs[::-1] if multiplies(node) and is_scalar_constant(inputs[0]) else inputs
        if _is_product(product, partition) and is_scalar_constant(number) and readers.count(product) == 1:
            return make(_MATMUL, (product.inputs[0], make(primitive, (product.inputs[1], number))))
    if primitive is not None and len(facts.signs) == 2 and all(_is_product(i, partition) for i in inputs):
        (left, a), (other, b) = inputs[0].inputs, inputs[1].inputs
        if left is other and readers.count(inputs[0]) + readers.count(inputs[1]) <= 3:
            return make(_MATMUL, (left, make(primitive, (a, b))))
    return None


def _is_product(node: Node, partition: Partition) -> bool:
    if not facts_of(node).product or any(i.dtype != node.dtype for i in node.inputs):
        return False
    return partition.is_sequential(node) and partition.is_invariant(node.inputs[1]) and len(node.inputs[1].shape) == 2


def _product_of(left: Node, right: Node, partition: Partition, builder: NodeBuilder) -> Node | None:
    """The product of a product, or of a negative, with a column."""
    make = builder.make
    if facts_of(left).signs == (-1,) and right.shape[-1] == 1:
        return make(_MATMUL, (left.inputs[0], make(_NEGATIVE, (right,))))
    if _is_product(left, partition) and right.shape[-1] == 1:
        return make(_MATMUL, (left.inputs[0], make(_MATMUL, (left.inputs[1], right))))
    return None
