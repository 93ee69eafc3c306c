"""Sums over time: what can be summed before it is computed, is."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from ..graph.node import Node, leaf
from ..ops.core import registry
from ..ops.shapes import is_index_array
from .canonical import Builder
from .partition import Partition

__all__ = ["TimeSum", "TimeSums"]

_ADD, _SUBTRACT, _NEGATIVE, _MULTIPLY = (registry[name] for name in ("add", "subtract", "negative", "multiply"))
_MATMUL, _TRANSPOSE, _RESHAPE = registry["matmul"], registry["transpose"], registry["reshape"]
_SUM, _GETITEM, _SCATTER, _BROADCAST = registry["sum"], registry["getitem"], registry["scatter"], registry["broadcast_to"]
_CONCATENATE = registry["concatenate"]

_LINEAR = (_NEGATIVE, _TRANSPOSE, _RESHAPE, _SUM, _BROADCAST)


Kind: TypeAlias = Literal["product", "flipped product", "scatter", "plain", "steps"]


class TimeSum(NamedTuple):
    """A sum over all steps that is computed from arrays of all steps.

    Attributes
    ----------
    leaf : Node
        Stands for the sum.
    kind : {"product", "flipped product", "scatter", "plain", "steps"}
        A sum of products of matrices is one product over the rows of all steps; a flipped
        one is its transpose. A sum of scatters is one scatter. "steps" is how many steps
        there are.
    operands : tuple of Node
    """

    leaf: Node
    kind: Kind
    operands: tuple[Node, ...]

    @property
    def reads(self) -> tuple[Node, ...]:
        """The values whose arrays it is computed from."""
        return self.operands[0].inputs if self.kind == "scatter" else self.operands


class TimeSums:
    """Rewrites Σ_t of nodes into operations, done once, on few sums over time.

    Σ_t passes through what is linear. Σ_t a_tᵀ b_t is one product over the rows of all
    steps, however many they are.
    """

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.found: list[TimeSum] = []
        self._builder = Builder()
        self._memo: dict[Node, Node] = {}
        self._leaves: dict[tuple[str, tuple[Node, ...]], Node] = {}

    def of(self, node: Node) -> Node:
        """A node that is computed once, after the loop, and is Σ_t of this one."""
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
        if partition.is_sequential(node) or node.primitive is None or node.dtype.kind != "f":
            return self._leaf("plain", node, node)
        primitive, inputs = node.primitive, node.inputs
        outer = [partition.is_invariant(i) for i in inputs]
        if primitive is _MATMUL:
            left, right = inputs
            if outer[1]:
                return make(_MATMUL, (self.of(left), right))
            if outer[0]:
                return make(_MATMUL, (left, self.of(right)))
            if len(node.shape) == 2:
                return self._leaf("product", node, left, right)
        elif primitive is _TRANSPOSE and inputs[0].primitive is _MATMUL and len(node.shape) == 2:
            if not any(partition.is_invariant(i) for i in inputs[0].inputs):
                return self._leaf("flipped product", node, *inputs[0].inputs)
            return make(primitive, (self.of(inputs[0]),), node.attributes)
        elif primitive in _LINEAR or (primitive is _GETITEM and len(inputs) == 1):
            return make(primitive, (self.of(inputs[0]),), node.attributes)
        elif primitive in (_ADD, _SUBTRACT) and all(i.shape == node.shape for i in inputs):
            return make(primitive, (self.of(inputs[0]), self.of(inputs[1])))
        elif primitive is _CONCATENATE:
            return make(primitive, tuple(self.of(i) for i in inputs), node.attributes)
        elif primitive is _MULTIPLY and any(outer):
            return make(_MULTIPLY, tuple(i if once else self.of(i) for i, once in zip(inputs, outer, strict=True)))
        elif primitive is _SCATTER and _one_scatter(node):
            return self._leaf("scatter", node, node)
        return self._leaf("plain", node, node)


def _one_scatter(node: Node) -> bool:
    """Whether the indices are integer arrays that stand first, so that those of all steps make one scatter."""
    arrays = [[is_index_array(part) for part in index] for index in node.attributes["indices"]]
    counts = [sum(index) for index in arrays]
    return all(n and all(index[:n]) for n, index in zip(counts, arrays, strict=True))
