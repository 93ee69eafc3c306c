"""Remove padding: a run with lengths is drawn as if all rows had full length.

Padding is a property of the data, not of the network.
"""

from __future__ import annotations

from ..graph.graph import Graph
from ..graph.node import Node, behind_cuts, rebased

__all__ = ["without_padding"]


def without_padding(graph: Graph) -> Graph:
    """The graph without padding: each value replaces its masked version.

    At each step, a run with lengths selects by a mask between a value and the value that is kept
    past the end of the row. The run has marked the mask.
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
            made.serial = node.serial  # keeps the order of the nodes
            for sequence in map(instead.get, node.inputs):
                if sequence is not None and sequence.primitive is None and sequence.role == "input":  # an element of the input
                    made.name, made.role = sequence.name or "x", "input"
            instead[node] = made
    return Graph([instead.get(node, node) for node in graph.outputs], instead) if instead else graph
