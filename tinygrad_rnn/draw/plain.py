"""Any graph, a node for each operation, laid out by Graphviz itself; backward graphs too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import graphviz

from ..graph.graph import Graph, is_constant
from ..graph.node import Node, behind_cuts
from .dot import identifier
from .numbers import described, gradients_of
from .style import CARD, CUT, EDGE_FONT, FONTS, GREY, INK, LOOKS, NODE_FONT, VERMILION, Kind
from .symbols import indexed, plain

__all__ = ["drawn_plainly"]

MOST = 160
"""Nodes that are drawn before the middle ones are left out."""


def drawn_plainly(graph: Graph, values: bool, name: str) -> str:
    """The DOT of a graph, a node for each operation, gradients beside what they belong to.

    Parameters
    ----------
    graph : Graph
    values : bool
        Whether nodes show their numbers.
    name : str

    Notes
    -----
    A node of a gradient is drawn in another colour, with a dotted line to the forward
    node that it belongs to. Beyond 160 nodes the middle ones are left out, visibly.
    """
    nodes = [node for node in behind_cuts(graph.outputs) if not is_constant(node)]
    names = graph.names | Graph(nodes).names if any(node not in graph.names for node in nodes) else graph.names
    left_out: set[Node] = set()
    if len(nodes) > MOST:
        left_out = set(nodes[MOST // 2 : -MOST // 2])
    dot = graphviz.Digraph(
        name,
        graph_attr={
            "layout": "dot",
            "rankdir": "BT",
            "bgcolor": CARD,
            "pad": "0.2",
            "nodesep": "0.3",
            "ranksep": "0.35",
            "fontname": FONTS[0],
        },
        node_attr={
            "fontname": FONTS[0],
            "fontsize": f"{NODE_FONT:g}",
            "fontcolor": INK,
            "penwidth": "1.2",
            "margin": "0.1,0.05",
        },
        edge_attr={"fontname": FONTS[0], "fontsize": f"{EDGE_FONT:g}", "arrowsize": "0.8", "color": GREY, "penwidth": "1.2"},
    )
    shown = [node for node in nodes if node not in left_out]
    gradients = gradients_of(nodes, graph.outputs) if values else None
    if left_out:
        dot.node("left out", f"… {len(left_out)} nodes …", shape="plaintext", fontcolor=GREY)
    for node in shown:
        dot.node(identifier(names[node]), **_node(node, names, gradients, node in graph.outputs))
    edges: dict[tuple[str, str, str], None] = {}
    for node in nodes:
        for read in node.inputs if node.cut is None else (node.cut,):
            if not is_constant(read):
                kind = "cut" if node.cut is not None else "data"
                edges[_end(read, left_out, names), _end(node, left_out, names), kind] = None
        origin = node.location.origin
        if origin in names and origin is not None and not left_out & {node, origin} and _starts_gradient(node):
            edges[identifier(names[origin]), identifier(names[node]), "origin"] = None
    for tail, head, kind in edges:
        if tail != head:
            dot.edge(tail, head, **_EDGES[kind])
    return str(dot.source)


_EDGES = {
    "data": {},
    "cut": {"style": "dashed", "label": "✂", "fontcolor": CUT, "tooltip": "detached: the gradient stops here"},
    "origin": {
        "style": "dotted",
        "color": VERMILION,
        "arrowhead": "none",
        "constraint": "false",
        "tooltip": "the gradient of this operation",
    },
}


def _end(node: Node, left_out: set[Node], names: dict[Node, str]) -> str:
    return "left out" if node in left_out else identifier(names[node])


def _starts_gradient(node: Node) -> bool:
    """Whether a gradient's node reads no other of the same origin: one link is enough."""
    return all(read.location.origin is not node.location.origin for read in node.inputs)


def _node(node: Node, names: dict[Node, str], gradients: Mapping[Node, Any] | None, is_output: bool) -> dict[str, str]:
    kind = _kind(node, is_output)
    look = LOOKS[kind]
    lines = []
    if node.name is not None:
        lines.append(plain(indexed(node.name, node.step if node.primitive is not None or node.step else None)))
    if node.primitive is not None:
        lines.append(_operation(node))
    if not lines:
        lines.append(node.operation)
    if gradients is not None:
        lines += described(node, gradients)
    origin = node.location.origin
    tooltip = f"{names[node]}\n{node.spec}"
    if origin is not None:
        tooltip += f"\nin the gradient of {names.get(origin, origin)}"
    return {
        "label": graphviz.escape("\n".join(lines)),
        "shape": "box" if look.shape in ("circle", "point") and len("".join(lines)) > 3 else look.shape,
        "style": ",".join(dict.fromkeys([*look.style.split(","), "rounded"])),
        "color": look.color,
        "fillcolor": look.fill,
        "tooltip": graphviz.escape(tooltip),
    }


def _operation(node: Node) -> str:
    assert node.primitive is not None
    numbers = [(k, i.value) for k, i in enumerate(node.inputs) if is_constant(i) and getattr(i.value, "size", 0) == 1]
    shown = node.primitive.symbol
    if len(numbers) == 1 and len(node.inputs) == 2:
        position, value = numbers[0]
        return f"{value.item():g} {shown}" if position == 0 else f"{shown} {value.item():g}"
    return shown


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
