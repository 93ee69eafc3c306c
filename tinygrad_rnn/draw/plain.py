"""Picture of any graph, also of a backward graph: one node for each operation, in layers."""

from __future__ import annotations

import numpy as np

from ..graph.graph import Graph, is_constant
from ..graph.node import Node, behind_cuts
from ..views.contraction import inputs_of
from ..views.letters import Letters
from .layered import layered
from .naming import OWN, operation_text
from .numbers import described, gradients_of
from .route import clip, straight
from .sketch import Arc, Sketch, Vertex
from .style import PLAIN, VERMILION, Kind, Stroke
from .symbols import indexed, literal, plain

__all__ = ["any_graph", "join"]

MOST = 160
"""Largest number of nodes that are all drawn; in a larger graph, the middle nodes are left out."""


def any_graph(graph: Graph, values: bool, letters: Letters = OWN) -> tuple[Sketch, dict[Node, Vertex]]:
    """The sketch of a graph: a vertex for each operation and an arc for each operand, without positions.

    Parameters
    ----------
    graph : Graph
    values : bool
        Whether nodes show their numbers.
    letters : Letters
        The reader's symbols for values and parameters.

    Notes
    -----
    Nodes of a gradient have another colour. In a graph of more than 160 nodes, the middle nodes are left out, and
    the picture shows this.
    """
    everything = behind_cuts(graph.outputs)
    constants = {node for node in everything if is_constant(node)}
    nodes = [node for node in everything if node not in constants]
    names = graph.names | Graph(nodes).names if any(node not in graph.names for node in nodes) else graph.names
    left_out = set(nodes[MOST // 2 : -MOST // 2]) if len(nodes) > MOST else set()
    gradients = gradients_of(nodes, graph.outputs) if values else None
    sketch = Sketch()
    shown: dict[Node, Vertex] = {}
    if left_out:
        dots = Vertex("left out", "left out", Kind.ELISION, f"… {len(left_out)} nodes …", width=0.0, height=0.0)
        dots.fit()
        sketch.vertices.append(dots)
        shown |= dict.fromkeys(left_out, dots)
    for node in nodes:
        if node in left_out:
            continue
        lines = [] if node.name is None else [indexed(letters(node.name), node.step if node.primitive or node.step else None)]
        if node.primitive is not None:
            lines.append(operation_text(node, constants))
        lines = lines or [literal(node.operation)]
        if gradients is not None:
            lines += described(node, gradients)
        kind = _kind(node, node in graph.outputs)
        shown[node] = vertex = Vertex(names[node], node, kind, "\n".join(lines), width=28.0, height=24.0)
        vertex.boxed = len(lines) > 1 or len(plain(lines[0])) > 3
        vertex.tooltip = f"{names[node]}\n{node.spec}"
        if node.location.origin is not None:
            vertex.tooltip += f"\nin the gradient of {names.get(node.location.origin, node.location.origin)}"
        vertex.fit(12.0)
        sketch.vertices.append(vertex)
    arcs: dict[tuple[Vertex, Vertex, bool], Arc] = {}
    for node in nodes:
        for read in inputs_of(node):
            cut = node.cut is not None
            if read not in constants and shown[read] is not shown[node]:
                stroke = PLAIN._replace(style="dashed") if cut else PLAIN
                arcs[shown[read], shown[node], cut] = Arc(shown[read], shown[node], stroke, cut=cut)
    sketch.arcs = list(arcs.values())
    return sketch, shown


def join(sketch: Sketch, shown: dict[Node, Vertex]) -> None:
    """Place the nodes of a sketch, and draw a dotted line from each gradient to its operation."""
    layered(sketch)
    for node, vertex in shown.items():
        origin = shown.get(node.location.origin) if node.location.origin is not None else None
        # only for a gradient node that reads no other gradient node of the same origin: one link is enough
        first = all(read.location.origin is not node.location.origin for read in node.inputs)
        if origin is not None and first and Kind.ELISION not in (origin.kind, vertex.kind):
            link = Arc(origin, vertex, Stroke(VERMILION, style="dotted"), head=False, tooltip="the gradient of this operation")
            (x, y), (u, v) = (origin.x, origin.y), (vertex.x, vertex.y)
            link.path = clip(straight(np.array([x, y]), np.array([u, v])), origin, vertex)
            sketch.arcs.append(link)


def _kind(node: Node, is_output: bool) -> Kind:
    if node.location.origin is not None:
        return Kind.GRADIENT
    if node.role == "parameter":
        return Kind.PARAMETER
    if node.role in ("input", "initial", "mask", "loss"):
        return Kind(node.role)
    if node.primitive is None:
        return Kind.INPUT
    if is_output or node.role == "output":
        return Kind.OUTPUT
    return Kind.VALUE if node.name is not None else Kind.OPERATION
