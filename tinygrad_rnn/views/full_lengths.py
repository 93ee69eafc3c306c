"""Padding is of the data, not of the network: a run with lengths is drawn as if all rows were full."""

from __future__ import annotations

from ..graph.graph import Graph
from ..graph.node import Node, behind_cuts, rebased

__all__ = ["without_padding"]


def without_padding(graph: Graph) -> Graph:
    """The graph without padding: each value replaces its masked version.

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
        elif (made := rebased(node, instead)) is not node:
            made.serial = node.serial  # the order stays
            for sequence in map(instead.get, node.inputs):
                if sequence is not None and sequence.primitive is None and sequence.role == "input":  # its element
                    made.name, made.role = sequence.name or "x", "input"
            instead[node] = made
    return Graph([instead.get(node, node) for node in graph.outputs], instead) if instead else graph
