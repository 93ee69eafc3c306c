"""DOT: the text of a sketch, with all positions."""

from __future__ import annotations

from html import escape

import graphviz

from .marks import extent, marks, shaft
from .sketch import Arc, Sketch, Vertex
from .style import CARD, EDGE_FONT, FONTS, INK, LINE, LOOKS, NODE_FONT, PAD, WIDEST, Kind
from .symbols import BASE, LOWERED, RAISED, parts, plain

__all__ = ["written"]


def written(sketch: Sketch, name: str) -> str:
    """The DOT text of a sketch whose nodes have positions and whose edges have paths.

    Each version of Graphviz draws the same picture from this text, because the text fixes all positions.
    """
    box = extent(sketch)
    graph = graphviz.Digraph(
        name,
        graph_attr={
            "layout": "nop2",
            "bgcolor": CARD,
            "pad": f"{PAD / 72:g}",
            # a frame would hide the edges
            "outputorder": "nodesfirst" if any(v.kind is Kind.FRAME for v in sketch.vertices) else "edgesfirst",
            "fontname": FONTS[0],
            "bb": ",".join(f"{edge:.1f}" for edge in box),
        },
        node_attr={
            "fontname": FONTS[0],
            "fontsize": f"{NODE_FONT:g}",
            "fontcolor": INK,
            "penwidth": f"{LINE:g}",
            "fixedsize": "true",
            "style": "filled",
        },
        edge_attr={"fontname": FONTS[0], "fontsize": f"{EDGE_FONT:g}", "arrowsize": "0.8"},
    )
    for vertex in sorted(sketch.vertices, key=lambda vertex: vertex.kind is not Kind.FRAME):
        graph.node(identifier(vertex.name), **_node(vertex))
    for arc in sketch.arcs:
        graph.edge(f"{identifier(arc.source.name)}", f"{identifier(arc.target.name)}", **_edge(arc))
    for mark in marks(sketch):
        graph.node(identifier(mark.name), **_node(mark))
    if sketch.aspect is not None or sketch.page is not None:  # otherwise Graphviz computes the size
        for x, y in (box[:2], box[2:]):
            graph.node(f"corner {x:.0f} {y:.0f}", pos=f"{x:.1f},{y:.1f}", style="invis", width="0", height="0", label="")
    return str(graph.source)


def identifier(name: str) -> str:
    """A node's name quoted for DOT; unquoted, a colon would start a port, and angle brackets would start HTML."""
    return name.translate(_LOOKALIKES)


_LOOKALIKES = str.maketrans({":": "∶", "\\": "∖", "<": "‹", ">": "›", "\n": "↵"})


def _label(label: str) -> str:
    """A label in DOT: HTML if it has subscripts or superscripts, plain text otherwise."""
    found = parts(label)
    if all(level == BASE for _, level in found):
        return str(graphviz.escape(plain(label)))
    return f"<{''.join(_TAGS[level].format(escape(text)) for text, level in found)}>".replace("\n", "<BR/>")


_TAGS = {BASE: "{}", RAISED: "<SUP>{}</SUP>", LOWERED: "<SUB>{}</SUB>"}


def _node(vertex: Vertex) -> dict[str, str]:
    look = LOOKS[vertex.kind]
    attributes = {
        "pos": f"{vertex.x:.1f},{vertex.y:.1f}",
        "shape": vertex.shape,
        "style": f"{look.style},rounded" if vertex.boxed else look.style,
        "width": f"{vertex.width / 72:.3f}",
        "height": f"{vertex.height / 72:.3f}",
        "label": _label(vertex.label),
        "color": vertex.border,
        "fillcolor": vertex.fill,
        "tooltip": graphviz.escape(vertex.tooltip or plain(vertex.label) or vertex.name),
    }
    if look.width != LINE:
        attributes["penwidth"] = f"{look.width:g}"
    if vertex.font != NODE_FONT:
        attributes["fontsize"] = f"{vertex.font:g}"
    if vertex.label and vertex.ink != INK:
        attributes["fontcolor"] = vertex.ink
    return attributes


def _edge(arc: Arc) -> dict[str, str]:
    assert arc.path is not None
    tip = f"e,{arc.path[-1][0]:.1f},{arc.path[-1][1]:.1f} " if arc.head else ""
    attributes = {
        "pos": tip + " ".join(f"{x:.1f},{y:.1f}" for x, y in shaft(arc)),
        "color": arc.stroke.color,
        "penwidth": f"{arc.stroke.width:g}",
        "style": arc.stroke.style,
        "tooltip": graphviz.escape(arc.tooltip or "no parameter"),
    }
    if not arc.head:
        attributes["dir"] = "none"
    elif arc.stroke.width > WIDEST:
        attributes["arrowsize"] = f"{0.8 + (arc.stroke.width - WIDEST) / 10:.2f}"
    if arc.label and arc.label_at is not None and not arc.cut and not arc.label_on:
        attributes["label"] = _label(arc.label)
        attributes["lp"] = f"{arc.label_at[0]:.1f},{arc.label_at[1]:.1f}"
        attributes["fontcolor"] = arc.stroke.color
    return attributes
