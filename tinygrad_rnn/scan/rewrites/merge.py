"""Merging: equal operations on neighbouring slices are one operation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...graph.node import Node, ancestors
from ...graph.structure import exact
from ...ops.core import elementwise, elementwise_float
from ..canonical import NodeBuilder, slice_of
from ..loop import Loop, is_scalar_constant
from ..partition import Partition, partition_of

__all__ = ["merge"]


def merge(loop: Loop) -> dict[Node, Node]:
    """f(z[:, 0:n]) and f(z[:, n:m]) are slices of f(z[:, 0:m]), for any elementwise f of slices.

    Precomputed operands are concatenated before the loop.
    """
    partition, builder = partition_of(loop), NodeBuilder()
    groups: dict[Any, list[Node]] = defaultdict(list)
    for node in partition.nodes:
        signature = _signature(node, partition)
        if signature is not None:
            groups[signature].append(node)
    for group in groups.values():
        for run in _runs(group, partition):
            if not _depend_on_each_other(run):
                return _merged(builder, run, partition)
    return {}


def _signature(node: Node, partition: Partition) -> Any:
    """A value that is equal for nodes that can be merged; None for a node that cannot be merged."""
    if node.primitive is None or not node.shape or not partition.is_sequential(node):
        return None
    if not node.primitive.elementwise or node.primitive.shape not in (elementwise, elementwise_float):
        return None
    kinds: list[Any] = []
    for i in node.inputs:
        if is_scalar_constant(i):
            kinds.append(i)
        elif not partition.is_sequential(i):
            kinds.append(i.dtype)  # a precomputed operand: concatenation keeps the dtype
        elif (place := _slice(i)) is not None and i.shape == node.shape:
            kinds.append((i.inputs[0], place[1] - place[0] == node.shape[-1]))
        else:
            return None
    if not any(isinstance(kind, tuple) for kind in kinds):
        return None
    return node.primitive, exact(node.attributes), partition.stage[node], node.dtype, node.shape[:-1], tuple(kinds)


def _slice(node: Node) -> tuple[int, int] | None:
    place = slice_of(node)
    return None if place is None or place[0] != -1 else place[1:]


def _places(node: Node, partition: Partition) -> list[tuple[int, int]]:
    return [place for i in node.inputs if partition.is_sequential(i) and (place := _slice(i)) is not None]


def _runs(group: list[Node], partition: Partition) -> Iterator[list[Node]]:
    """The runs of nodes whose slices are adjacent in all operands."""
    run: list[Node] = []
    for node in sorted(group, key=lambda node: _places(node, partition)):
        if run:
            pairs = zip(_places(run[-1], partition), _places(node, partition), strict=True)
            if all(before[1] == after[0] for before, after in pairs):
                run.append(node)
                continue
            if len(run) > 1:
                yield run
        run = [node]
    if len(run) > 1:
        yield run


def _depend_on_each_other(run: list[Node]) -> bool:
    members = set(run)
    return any(not members.isdisjoint(ancestors(node.inputs)) for node in run)


def _merged(builder: NodeBuilder, run: list[Node], partition: Partition) -> dict[Node, Node]:
    first = run[0]
    assert first.primitive is not None
    operands = []
    for position, i in enumerate(first.inputs):
        if is_scalar_constant(i):
            operands.append(i)
        elif partition.is_sequential(i):
            first_place, last_place = (_slice(run[k].inputs[position]) or (0, 0) for k in (0, -1))
            operands.append(builder.part(i.inputs[0], first_place[0], last_place[1]))
        else:
            operands.append(_beside(builder, [(node, node.inputs[position]) for node in run]))
    whole = builder.make(first.primitive, tuple(operands), first.attributes)
    instead, end = {}, 0
    for node in run:
        start, end = end, end + node.shape[-1]
        instead[node] = builder.part(whole, start, end)
    return instead


def _beside(builder: NodeBuilder, pairs: list[tuple[Node, Node]]) -> Node:
    """The concatenation of precomputed operands, each broadcast to the width of the node that reads it."""
    leading = np.broadcast_shapes(*[operand.shape[:-1] for _, operand in pairs])
    wide = [builder.broadcast(x, (*leading, node.shape[-1])) for node, x in pairs]
    return builder.join(wide)
