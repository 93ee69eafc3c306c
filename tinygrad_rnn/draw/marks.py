"""What both writers of a sketch need: arrow heads, marks on edges, and how large it is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .route import part_of, polyline
from .sketch import Arc, Points, Sketch, Vertex
from .style import ARROW, EDGE_FONT, Kind
from .symbols import text_width

__all__ = ["Box", "extent", "marks", "shaft"]

Box = tuple[float, float, float, float]
"""Left, bottom, right and top."""


def shaft(arc: Arc) -> Points:
    """The line of an edge: it ends where the arrow's head begins."""
    assert arc.path is not None
    if not arc.head:
        return arc.path
    tip, last = arc.path[-1], arc.path[-4:]
    low, high = 0.0, 1.0
    for _ in range(24):
        middle = (low + high) / 2
        ahead = float(np.hypot(*(part_of(last, 0.0, middle)[-1] - tip)))
        low, high = (middle, high) if ahead > ARROW else (low, middle)
    return np.concatenate([arc.path[:-4], part_of(last, 0.0, low or 0.5)])


def marks(sketch: Sketch) -> Iterator[Vertex]:
    """Scissors where an edge is cut, and labels that interrupt their edge: they are drawn after all edges."""
    for arc in sketch.arcs:
        if arc.cut:
            assert arc.path is not None
            points = polyline(arc.path)
            mark = Vertex(f"{arc.source.name} ✂ {arc.target.name}", "cut", Kind.SCISSORS, "✂", font=17.0)
            mark.x, mark.y = points[len(points) // 2]
            mark.width = mark.height = 18.0
            mark.tooltip = "detached: the gradient stops here"
            yield mark
        elif arc.label_on and arc.label_at is not None:
            mark = Vertex(f"{arc.source.name} → {arc.target.name}", "label", Kind.LABEL, arc.label, font=EDGE_FONT)
            mark.x, mark.y = arc.label_at
            mark.width, mark.height = text_width(arc.label, EDGE_FONT) + 2, 16.0
            mark.color, mark.tooltip = arc.stroke.color, arc.tooltip
            yield mark


def extent(sketch: Sketch) -> Box:
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
    return min(xs), min(ys), max(xs), max(ys)
