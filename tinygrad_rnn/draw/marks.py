"""Geometry shared by all output formats of a sketch: arrowheads, marks on edges, drawing order, and size of the picture."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from .route import part_of, point_at, polyline
from .sketch import Arc, Box, Points, Sketch, Vertex
from .style import ARROW, EDGE_FONT, PAD, WIDEST, Kind
from .symbols import text_width

__all__ = ["extent", "head", "layers", "marks", "shaft"]


def shaft(arc: Arc) -> Points:
    """The line of an edge, shortened to where its arrowhead begins."""
    assert arc.path is not None
    if not arc.head:
        return arc.path
    tip, last = arc.path[-1], arc.path[-4:]
    length = ARROW + _more(arc)
    low, high = 0.0, 1.0
    for _ in range(24):
        middle = (low + high) / 2
        ahead = math.dist(point_at(last, middle), tip)
        low, high = (middle, high) if ahead > length else (low, middle)
    return np.concatenate([arc.path[:-4], part_of(last, 0.0, low or 0.5)])


def head(arc: Arc, body: Points) -> Points:
    """Corners of an arrowhead, in proportion to the width of its line."""
    assert arc.path is not None
    tip, base = arc.path[-1], body[-1]
    along = (tip - base) / (float(np.hypot(*(tip - base))) or 1.0)
    aside = np.array([-along[1], along[0]]) * (0.4 * ARROW + arc.stroke.width / 2 + 0.3 * _more(arc))
    return np.stack([tip, base + aside, base - aside])


def _more(arc: Arc) -> float:
    """Additional length of the arrowhead of a thick edge."""
    return max(0.0, arc.stroke.width - WIDEST)


def layers(sketch: Sketch) -> tuple[list[Vertex], list[Vertex]]:
    """Nodes drawn below the edges, and nodes drawn above them."""
    frames = [vertex for vertex in sketch.vertices if vertex.kind is Kind.FRAME]
    return frames, [vertex for vertex in sketch.vertices if vertex.kind is not Kind.FRAME]


def marks(sketch: Sketch) -> Iterator[Vertex]:
    """Scissors on cut edges, and labels that interrupt their edge; both are drawn after all edges."""
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
    """The bounding box of all nodes, edges and labels, widened to the sketch's aspect ratio."""
    if sketch.page is not None:
        return sketch.page
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
    left, bottom, right, top = min(xs), min(ys), max(xs), max(ys)
    if sketch.aspect is None:
        return left, bottom, right, top
    width, height = right - left + 2 * PAD, top - bottom + 2 * PAD
    aside, above = max(0.0, height * sketch.aspect - width) / 2, max(0.0, width / sketch.aspect - height) / 2
    return left - aside, bottom - above, right + aside, top + above
