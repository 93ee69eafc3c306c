"""Faults of a sketch: parts of the picture that are hidden, touch each other, or look like other parts."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tinygrad_rnn.draw.sketch import Arc, Points, Sketch, Vertex
from tinygrad_rnn.draw.style import EDGE_FONT, LOOKS, Kind
from tinygrad_rnn.draw.symbols import text_width

__all__ = ["CLAUSES", "faults"]

SLACK = 0.5
"""Largest overlap in points, because places are rounded."""
LABEL = 12.0
"""Height of an edge's label."""
POINTS = 60
"""Number of points on each curve of an edge with which its length is measured."""
SPACING = 2.0
"""Distance between the checked points of an edge."""
STRETCH = 24.0
"""Largest length in points that two edges may share where they cross."""

CLAUSES = (
    "nodes overlap",
    "label over a node",
    "labels overlap",
    "edge through a node",
    "edge through a label",
    "edge over another",
    "same label",
    "outside",
    "edge ends in the air",
    "text too wide",
)

NAMELESS = (Kind.OPERATION, Kind.PRODUCT, Kind.FUNCTION, Kind.ELISION, Kind.NOTE, Kind.JUNCTION, Kind.DELAY, Kind.FRAME)
"""Nodes whose label is an operation, or empty; several nodes may have the same label."""


class Box(NamedTuple):
    """A rectangle with horizontal and vertical sides."""

    left: float
    low: float
    right: float
    high: float

    def overlaps(self, other: Box) -> bool:
        return (
            self.left < other.right - SLACK
            and other.left < self.right - SLACK
            and self.low < other.high - SLACK
            and other.low < self.high - SLACK
        )


def faults(sketch: Sketch, page: tuple[float, float, float, float] | None = None) -> list[str]:
    """All hidden or ambiguous parts, one line each; a line begins with one of the `CLAUSES`.

    Parameters
    ----------
    sketch : Sketch
        A sketch with places and paths.
    page : tuple of float, optional
        The picture's bounding box: left, bottom, right, top.
    """
    nodes = [v for v in sketch.vertices if v.kind is not Kind.FRAME]
    labels = [(arc, _label_box(arc)) for arc in sketch.arcs if arc.label and not arc.cut]
    curves = {arc: _points(arc) for arc in sketch.arcs if arc.path is not None}
    return [
        *_overlaps(nodes, labels),
        *_hits(nodes, curves, sketch.arcs),
        *_struck(labels, curves),
        *_on_top(curves),
        *_ambiguous(nodes),
        *_outside(page, nodes, labels, curves),
        *_ends(sketch, curves),
        *_too_wide(nodes),
    ]


def _box(v: Vertex) -> Box:
    return Box(v.x - v.width / 2, v.y - v.height / 2, v.x + v.width / 2, v.y + v.height / 2)


def _label_box(arc: Arc) -> Box:
    assert arc.label_at is not None, f"{_said(arc)} has a label and no place for it"
    (x, y), half = arc.label_at, text_width(arc.label, EDGE_FONT) / 2
    return Box(x - half, y - LABEL / 2, x + half, y + LABEL / 2)


def _points(arc: Arc) -> Points:
    """Points on an edge, evenly close to each other."""
    assert arc.path is not None
    t = np.linspace(0, 1, POINTS)[:, None]
    parts = []
    for k in range(0, len(arc.path) - 1, 3):
        a, b, c, d = arc.path[k : k + 4]
        parts.append((1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t * t * c + t**3 * d)
    points = np.concatenate(parts)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    at = np.append(np.arange(0.0, along[-1], SPACING), along[-1])
    return np.stack([np.interp(at, along, points[:, 0]), np.interp(at, along, points[:, 1])], axis=1)


def _depth(v: Vertex, points: Points) -> Points:
    """Distance of points from the border of a node, in points; negative outside of the node."""
    x, y = np.abs(points - (v.x, v.y)).T
    shape = "box" if v.boxed else LOOKS[v.kind].shape
    if shape in ("circle", "point"):
        return v.width / 2 - np.hypot(x, y)
    if shape == "diamond":
        return (1 - 2 * x / v.width - 2 * y / v.height) * v.width / 2**1.5
    if shape == "ellipse":
        return (1 - np.hypot(2 * x / v.width, 2 * y / v.height)) * min(v.width, v.height) / 2
    return np.minimum(v.width / 2 - x, v.height / 2 - y)


def _named(v: Vertex) -> str:
    return f"{v.name} ({v.label})"


def _said(arc: Arc) -> str:
    return f"{arc.source.name} → {arc.target.name}" + (f" ({arc.label})" if arc.label else "")


def _overlaps(nodes: list[Vertex], labels: list[tuple[Arc, Box]]) -> Iterator[str]:
    boxes = [_box(v) for v in nodes]
    for (a, one), (b, other) in itertools.combinations(zip(nodes, boxes, strict=True), 2):
        if one.overlaps(other) and not a.kind is b.kind is Kind.JUNCTION:
            yield f"nodes overlap: {_named(a)}, {_named(b)}"
    for k, (arc, box) in enumerate(labels):
        for v, other in zip(nodes, boxes, strict=True):
            if box.overlaps(other):
                yield f"label over a node: {_said(arc)}, {_named(v)}"
        for another, other in labels[k + 1 :]:
            if box.overlaps(other):
                yield f"labels overlap: {_said(arc)}, {_said(another)}"


def _hits(nodes: list[Vertex], curves: dict[Arc, Points], arcs: list[Arc]) -> Iterator[str]:
    """Edges that run through nodes in which they do not end; a dot on a line joins lines from one value, or to one value."""
    ends = {v for arc in arcs for v in (arc.source, arc.target)}
    for v in nodes:
        through = [arc for arc in _within(curves, _box(v)) if _depth(v, curves[arc]).max() > 1.0]
        if v.kind is Kind.JUNCTION and v not in ends:
            joined = {arc.source.name: _origin(arc.source, arcs) for arc in through}
            is_joint = any(source.kind is Kind.JUNCTION for source in joined.values())  # a junction may join several values
            is_joint = is_joint or len({arc.target for arc in through}) == 1
            if len(set(joined.values())) > 1 and not is_joint:
                yield f"edge through a node: {', '.join(joined)}, the dot {v.name}"
        else:
            yield from (f"edge through a node: {_said(a)}, {_named(v)}" for a in through if v not in (a.source, a.target))


def _within(curves: dict[Arc, Points], box: Box) -> list[Arc]:
    """The edges with a point in a rectangle."""
    if not curves:
        return []
    found = (np.concatenate(list(curves.values())) - (box.left, box.low)).T
    inside = (found[0] > 0) & (found[0] < box.right - box.left) & (found[1] > 0) & (found[1] < box.high - box.low)
    owners = np.repeat(np.arange(len(curves)), [len(points) for points in curves.values()])
    arcs = list(curves)
    return [arcs[k] for k in np.unique(owners[inside])]


def _origin(v: Vertex, arcs: list[Arc]) -> Vertex:
    """The value that a delay delays."""
    while v.kind is Kind.DELAY:
        v = next(arc.source for arc in arcs if arc.target is v)
    return v


def _struck(labels: list[tuple[Arc, Box]], curves: dict[Arc, Points]) -> Iterator[str]:
    """Edges that run through a label; a label that is on its own edge may be crossed by this edge."""
    for owner, (left, low, right, high) in labels:
        for arc in _within(curves, Box(left + 1, low + 2, right - 1, high - 2)):
            if arc is not owner or not owner.label_on:
                yield f"edge through a label: {_said(arc)}, the label of {_said(owner)}"


def _on_top(curves: dict[Arc, Points]) -> Iterator[str]:
    """Edges of different values that overlap for some length, so that they look like one edge."""
    at: dict[tuple[int, int], set[Arc]] = defaultdict(set)
    for arc, points in curves.items():
        for x, y in points.round().astype(int).tolist():
            at[x, y].add(arc)
    shared = Counter(pair for arcs in at.values() for pair in itertools.combinations(sorted(arcs, key=id), 2))
    for (a, b), places in shared.items():
        if places * SPACING > STRETCH and a.source is not b.source and a.target is not b.target:
            yield f"edge over another: {_said(a)}, {_said(b)}"


def _ambiguous(nodes: list[Vertex]) -> Iterator[str]:
    """Different values in one column with the same label."""
    called: dict[tuple[int | None, str], Vertex] = {}
    for v in nodes:
        if v.kind in NAMELESS or not v.label:
            continue
        other = called.setdefault((v.column, v.label), v)
        if other.kind is not v.kind:
            yield f"same label: {_named(v)}, {_named(other)}"


def _outside(
    page: tuple[float, float, float, float] | None,
    nodes: list[Vertex],
    labels: list[tuple[Arc, Box]],
    curves: dict[Arc, Points],
) -> Iterator[str]:
    if page is None:
        return
    left, low, right, high = page

    def leaves(box: tuple[float, float, float, float]) -> bool:
        a, b, c, d = box
        return a < left - SLACK or b < low - SLACK or c > right + SLACK or d > high + SLACK

    yield from (f"outside: {_named(v)}" for v in nodes if leaves(_box(v)))
    yield from (f"outside: the label of {_said(arc)}" for arc, box in labels if leaves(box))
    yield from (f"outside: {_said(arc)}" for arc, p in curves.items() if leaves((*p.min(0), *p.max(0))))


def _ends(sketch: Sketch, curves: dict[Arc, Points]) -> Iterator[str]:
    """Edges that do not begin at the border of their source or on its other lines, or do not end at their target's border."""
    for arc in sketch.arcs:
        if arc not in curves:
            yield f"edge ends in the air: {_said(arc)} has no path"
            continue
        points = curves[arc]
        if not np.isfinite(points).all():
            yield f"edge ends in the air: {_said(arc)} is not a number"
            continue
        for end, v in ((points[0], arc.source), (points[-1], arc.target)):
            if abs(float(_depth(v, end[None])[0])) < 2.0 or (v.kind is Kind.JUNCTION and np.hypot(*(end - (v.x, v.y))) < 4):
                continue
            if not any(
                other.source in (arc.source, v) and other is not arc and np.hypot(*(points_of - end).T).min() < 1.5
                for other, points_of in curves.items()
            ) and not (arc.source is arc.target and v.kind is Kind.JUNCTION):
                yield f"edge ends in the air: {_said(arc)} at {v.name}"


def _too_wide(nodes: list[Vertex]) -> Iterator[str]:
    for v in (v for v in nodes if v.label):
        lines = v.label.split("\n")
        if max(text_width(line, v.font) for line in lines) > v.width + SLACK or len(lines) * v.font * 1.1 > v.height + SLACK:
            yield f"text too wide: {_named(v)}"
