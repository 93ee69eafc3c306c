"""Sums over time: the sum of a linear operation is computed as the operation on a sum."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from ..graph.node import Node, leaf
from ..ops.core import registry
from ..ops.facts import facts_of, multiplies
from ..ops.indexing import is_index_array
from .canonical import NodeBuilder
from .partition import Partition

__all__ = ["TimeSum", "TimeSums"]

_MULTIPLY, _SCATTER = registry["multiply"], registry["scatter"]


Kind: TypeAlias = Literal["product", "flipped product", "scatter", "plain", "steps"]


class TimeSum(NamedTuple):
    """A sum over all steps, computed from arrays of all steps.

    Attributes
    ----------
    leaf : Node
        A leaf that stands for the sum.
    kind : {"product", "flipped product", "scatter", "plain", "steps"}
        "product": a sum of matrix products is one product over the rows of all steps; a "flipped
        product" is its transpose. "scatter": a sum of scatters is one scatter. "steps": the number
        of steps. "plain": any other sum.
    operands : tuple of Node
    """

    leaf: Node
    kind: Kind
    operands: tuple[Node, ...]

    @property
    def reads(self) -> tuple[Node, ...]:
        """The values whose arrays are summed."""
        return self.operands[0].inputs if self.kind == "scatter" else self.operands


class TimeSums:
    """Rewrites Σ_t of nodes into operations on few sums over time, which run only once.

    Σ_t passes through linear operations. Σ_t a_tᵀ b_t is one product over the rows of all
    steps, whatever their number.
    """

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.found: list[TimeSum] = []
        self._builder = NodeBuilder()
        self._memo: dict[Node, Node] = {}
        self._leaves: dict[tuple[str, tuple[Node, ...]], Node] = {}

    def of(self, node: Node) -> Node:
        """The sum of a node's values over all steps, as a node that is computed once after the loop."""
        if node not in self._memo:
            self._memo[node] = self._time_sum(node)
        return self._memo[node]

    def _leaf(self, kind: Kind, node: Node, *operands: Node) -> Node:
        key = (kind, operands or (node,))
        if key not in self._leaves:
            self._leaves[key] = leaf(node.spec)
            self.found.append(TimeSum(self._leaves[key], kind, operands))
        return self._leaves[key]

    def _time_sum(self, node: Node) -> Node:
        partition, make = self.partition, self._builder.make
        if partition.is_invariant(node):
            count = self._leaf("steps", leaf(np.zeros((), node.dtype)))
            return make(_MULTIPLY, (node, count))
        if partition.is_sequential(node) or node in partition.running or node.primitive is None or node.dtype.kind != "f":
            return self._leaf("plain", node, node)
        inputs, facts = node.inputs, node.primitive.facts
        if self._is_product(node):
            return self._leaf("product", node, *inputs)
        if facts.reorders and len(node.shape) == 2 and self._is_product(inputs[0]):
            return self._leaf("flipped product", node, *inputs[0].inputs)
        if node.primitive is _SCATTER and _one_scatter(node):
            return self._leaf("scatter", node, node)
        varying = {k for k, i in enumerate(inputs) if not partition.is_invariant(i)}
        for group in facts.linear_groups(node.primitive.arguments, len(inputs)) if _passes(node) else ():
            if varying.issubset(group) and all(inputs[k].dtype.kind == "f" for k in group):  # the sum of masks is no mask
                parts = tuple([self.of(i) if k in group else i for k, i in enumerate(inputs)])
                return make(node.primitive, parts, node.attributes)
        return self._leaf("plain", node, node)

    def _is_product(self, node: Node) -> bool:
        """Whether a node is a product of two matrices that both change from step to step."""
        return facts_of(node).product and len(node.shape) == 2 and not any(map(self.partition.is_invariant, node.inputs))


def _passes(node: Node) -> bool:
    """Whether a sum over time commutes with an operation: one that moves elements, adds or multiplies them.

    A sum over time would commute with every linear operation, but the last bits of the result would change.
    """
    facts = facts_of(node)
    if facts.signs:
        return all(i.shape == node.shape for i in node.inputs)
    if facts.copies:
        return node.inputs[0].dtype == node.dtype
    return facts.product or multiplies(node) or bool(facts.reorders or facts.reads or facts.joins or facts.reduces)


def _one_scatter(node: Node) -> bool:
    """Whether the indices of a scatter begin with integer arrays; the scatters of all steps are then one scatter."""
    arrays = [[is_index_array(part) for part in index] for index in node.attributes["indices"]]
    counts = [sum(index) for index in arrays]
    return all(n and all(index[:n]) for n, index in zip(counts, arrays, strict=True))
