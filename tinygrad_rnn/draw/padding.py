"""Padding is of the data, not of the network: a run with lengths is drawn as if all rows were full."""

from __future__ import annotations

import weakref

from ..graph.graph import Graph
from ..graph.node import Node, behind_cuts

__all__ = ["without_padding"]


def without_padding(graph: Graph) -> Graph:
    """The graph with each value in place of what it is where its row has ended.

    A run with lengths chooses at each step between a value and what stands past the end of
    the row, by a mask that it has marked.
    """
    nodes = behind_cuts(graph.outputs)
    masks: set[Node] = set()
    instead: dict[Node, Node] = {}
    for node in nodes:
        marked = node.role == "mask" and node.name == "lengths"
        if marked or (node.inputs and masks.issuperset(node.inputs)):
            masks.add(node)
        elif not masks.isdisjoint(node.inputs):
            value = next(i for i in node.inputs if i not in masks)
            instead[node] = instead.get(value, value)
        elif not instead.keys().isdisjoint(node.inputs) or node.cut in instead:
            instead[node] = _again(node, instead)
    if not instead:
        return graph
    found = Graph([instead.get(node, node) for node in graph.outputs])
    found._instead = instead  # it also keeps alive what was cut off
    return found


def _again(node: Node, instead: dict[Node, Node]) -> Node:
    attributes = node.attributes
    if node.cut is not None:
        attributes = {**attributes, "source": weakref.ref(instead.get(node.cut, node.cut))}
    made = Node(node.primitive, tuple([instead.get(i, i) for i in node.inputs]), attributes, node.value, node.place)
    made.name, made.role, made.leaf, made.serial = node.name, node.role, node.leaf, node.serial  # the order stays
    for read in node.inputs:
        sequence = instead.get(read)
        if sequence is not None and sequence.primitive is None and sequence.role == "input":  # an element of an input
            made.name, made.role = sequence.name or "x", "input"
    return made
