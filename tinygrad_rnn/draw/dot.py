"""DOT: the sketch written down, every position in it."""

from __future__ import annotations

import graphviz
import numpy as np

from .route import part_of, polyline
from .sketch import Arc, Points, Sketch, Vertex
from .style import ARROW, CARD, CUT, EDGE_FONT, FONT, INK, LOOKS, NODE_FONT, Kind
from .symbols import text_width

__all__ = ["written"]


def written(sketch: Sketch, name: str) -> str:
    """The DOT of a sketch whose nodes have places and whose edges have paths.

    Any Graphviz draws the same from it: nothing is left to a layout.
    """
    graph = graphviz.Digraph(
        name,
        graph_attr={
            "layout": "nop2",
            "bgcolor": CARD,
            "pad": "0.2",
            # a frame would hide the edges
            "outputorder": "nodesfirst" if any(v.kind is Kind.FRAME for v in sketch.vertices) else "edgesfirst",
            "fontname": FONT,
            "bb": _box(sketch),
        },
        node_attr={
            "fontname": FONT,
            "fontsize": f"{NODE_FONT:g}",
            "fontcolor": INK,
            "penwidth": "1.2",
            "fixedsize": "true",
            "style": "filled",
        },
        edge_attr={"fontname": FONT, "fontsize": f"{EDGE_FONT:g}", "arrowsize": "0.8"},
    )
    for vertex in sketch.vertices:
        graph.node(identifier(vertex.name), **_node(vertex))
    for arc in sketch.arcs:
        graph.edge(f"{identifier(arc.source.name)}", f"{identifier(arc.target.name)}", **_edge(arc))
        if arc.cut:
            _scissors(graph, arc)
        elif arc.label_on:
            _label_on(graph, arc)
    return str(graph.source)


def identifier(name: str) -> str:
    """A node's name in DOT, where a colon would start a port, and brackets HTML."""
    return name.translate(_LOOKALIKES)


_LOOKALIKES = str.maketrans({":": "∶", "\\": "∖", "<": "‹", ">": "›", "\n": "↵"})


def _node(vertex: Vertex) -> dict[str, str]:
    look = LOOKS[vertex.kind]
    attributes = {
        "pos": f"{vertex.x:.1f},{vertex.y:.1f}",
        "shape": "box" if vertex.boxed else look.shape,
        "style": f"{look.style},rounded" if vertex.boxed else look.style,
        "width": f"{vertex.width / 72:.3f}",
        "height": f"{vertex.height / 72:.3f}",
        "label": graphviz.escape(vertex.label),
        "color": vertex.color or look.color,
        "fillcolor": vertex.fill,
        "tooltip": graphviz.escape(vertex.tooltip or vertex.label or vertex.name),
    }
    if vertex.font != NODE_FONT:
        attributes["fontsize"] = f"{vertex.font:g}"
    if vertex.kind is Kind.ELISION or (vertex.kind is Kind.NOTE and vertex.font == NODE_FONT):
        attributes["fontcolor"] = look.color
    if vertex.kind is Kind.PORT and vertex.color:
        attributes["fontcolor"] = vertex.color
    return attributes


def _edge(arc: Arc) -> dict[str, str]:
    assert arc.path is not None
    attributes = {
        "pos": _spline(arc.path, arc.head),
        "color": arc.stroke.color,
        "penwidth": f"{arc.stroke.width:g}",
        "style": arc.stroke.style,
        "tooltip": graphviz.escape(arc.tooltip or "no parameter"),
    }
    if not arc.head:
        attributes["dir"] = "none"
    if arc.label and arc.label_at is not None and not arc.cut and not arc.label_on:
        attributes["label"] = graphviz.escape(arc.label)
        attributes["lp"] = f"{arc.label_at[0]:.1f},{arc.label_at[1]:.1f}"
        attributes["fontcolor"] = arc.stroke.color
    return attributes


def _spline(path: Points, head: bool) -> str:
    if not head:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in path)
    tip, last = path[-1], path[-4:]
    low, high = 0.0, 1.0  # the line ends where the arrow's head begins, or there would be a gap
    for _ in range(24):
        middle = (low + high) / 2
        ahead = float(np.hypot(*(part_of(last, 0.0, middle)[-1] - tip)))
        low, high = (middle, high) if ahead > ARROW else (low, middle)
    body = np.concatenate([path[:-4], part_of(last, 0.0, low or 0.5)])
    return f"e,{tip[0]:.1f},{tip[1]:.1f} " + " ".join(f"{x:.1f},{y:.1f}" for x, y in body)


def _scissors(graph: graphviz.Digraph, arc: Arc) -> None:
    assert arc.path is not None
    points = polyline(arc.path)
    x, y = points[len(points) // 2]
    graph.node(
        identifier(f"{arc.source.name} ✂ {arc.target.name}"),
        pos=f"{x:.1f},{y:.1f}",
        shape="plaintext",
        style="",
        width="0.25",
        height="0.25",
        label="✂",
        fontsize="17",
        fontcolor=CUT,
        tooltip="detached: the gradient stops here",
    )


def _label_on(graph: graphviz.Digraph, arc: Arc) -> None:
    """A label that interrupts its edge: nodes are drawn after edges."""
    assert arc.label_at is not None
    graph.node(
        identifier(f"{arc.source.name} → {arc.target.name}"),
        pos=f"{arc.label_at[0]:.1f},{arc.label_at[1]:.1f}",
        shape="box",
        style="filled",
        color=CARD,
        fillcolor=CARD,
        width=f"{(text_width(arc.label, EDGE_FONT) + 2) / 72:.3f}",
        height="0.22",
        fontsize=f"{EDGE_FONT:g}",
        fontcolor=arc.stroke.color,
        label=graphviz.escape(arc.label),
        tooltip=graphviz.escape(arc.tooltip),
    )


def _box(sketch: Sketch) -> str:
    """The bounding box of all nodes, edges and labels."""
    corners = [(v.x - v.width / 2, v.y - v.height / 2) for v in sketch.vertices]
    corners += [(v.x + v.width / 2, v.y + v.height / 2) for v in sketch.vertices]
    for arc in sketch.arcs:
        if arc.path is not None:
            points = polyline(arc.path)
            corners += [tuple(points.min(0)), tuple(points.max(0))]
        if arc.label and arc.label_at is not None:
            w = text_width(arc.label, EDGE_FONT) / 2
            corners += [(arc.label_at[0] - w, arc.label_at[1] - 8), (arc.label_at[0] + w, arc.label_at[1] + 8)]
    xs, ys = zip(*corners, strict=True) if corners else ((0, 1), (0, 1))
    return f"{min(xs):.1f},{min(ys):.1f},{max(xs):.1f},{max(ys):.1f}"
