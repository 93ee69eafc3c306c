"""Routes: every edge gets the cheapest curve, every label the freest place beside its edge.

Edges that are the same but for their step have the same shape: it is chosen on the middle
one and moved to the others.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from .sketch import Arc, Points, Sketch, Vertex
from .style import EDGE_FONT, Kind
from .symbols import text_width

__all__ = ["bezier", "branch_dots", "clip", "polyline", "route", "rounded"]

CLEAR = 6.0
"""How far an edge stays away from the nodes it passes."""
LABEL_HEIGHT = 14.0
TURN = 10.0
"""Radius of a rounded corner."""
_T = np.linspace(0, 1, 33)


def route(sketch: Sketch) -> None:
    """Give every edge without a path one, and every label its place."""
    groups: dict[Hashable, list[Arc]] = {}
    fixed = [arc for arc in sketch.arcs if arc.path is not None]
    for arc in sketch.arcs:
        if arc.path is None:
            groups.setdefault(_shape_of(arc), []).append(arc)
    obstacles = _Obstacles(sketch.vertices)
    for arc in fixed:
        assert arc.path is not None
        obstacles.add_curve(polyline(arc.path))
    for group in sorted(groups.values(), key=_urgency):
        model = group[len(group) // 2]
        tried = dict.fromkeys((model, group[0], group[-1]))  # at the ends there are other nodes in the way

        curve = _cheapest(model, tried, obstacles)
        for arc in group:
            arc.path = clip(curve + (_centre(arc.source) - _centre(model.source)), arc.source, arc.target)
            obstacles.add_curve(polyline(arc.path))
    labelled = [*([arc] for arc in fixed), *groups.values()]
    for group in sorted(labelled, key=_urgency):
        model = group[len(group) // 2]
        if not model.label or model.label_at is not None:
            continue
        at = _on_edge(model) if model.label_on else _label_place(model, group, obstacles)
        for arc in group:
            arc.label_at = (
                round(at[0] + arc.source.x - model.source.x, 1),
                round(at[1] + arc.source.y - model.source.y, 1),
            )
            obstacles.add_label(*arc.label_at, text_width(arc.label, EDGE_FONT), LABEL_HEIGHT)


def _cheapest(model: Arc, tried: Iterable[Arc], obstacles: _Obstacles) -> Points:
    """The first of the cheapest curves, where each of some edges of one shape is to have it."""
    best, found, curve = np.inf, 0, np.empty((0, 2))
    for number, (candidate, form) in sorted(enumerate(_candidates(model)), key=lambda item: item[1][1]):
        if form > best:
            break
        moved = ((arc, candidate + (_centre(arc.source) - _centre(model.source))) for arc in tried)
        cost = form + max(obstacles.cost(path, arc) for arc, path in moved)
        if (cost, number) < (best, found):
            best, found, curve = cost, number, candidate
    return curve


def branch_dots(sketch: Sketch) -> None:
    """A dot where an edge to a bundle leaves the line that it shares with another edge."""
    onwards = {arc.source for arc in sketch.arcs if arc.lag and arc.source.row == arc.target.row}
    for arc in list(sketch.arcs):
        if arc.source not in onwards or arc.target.kind is not Kind.JUNCTION or arc.path is None or len(arc.path) == 4:
            continue
        xs = [x for x, y in arc.path if min(arc.source.y, arc.target.y) + 15 < y < max(arc.source.y, arc.target.y) - 15]
        dot = Vertex(f"branch {arc.source.name}", ("branch", arc.source.family), Kind.JUNCTION, color=arc.stroke.color)
        dot.width = dot.height = 5.0
        turn = -TURN if xs[0] > arc.source.x else TURN
        dot.x, dot.y = round(float(xs[0]) + turn, 1), arc.source.y
        sketch.vertices.append(dot)


def _shape_of(arc: Arc) -> Hashable:
    dx, dy = arc.target.x - arc.source.x, arc.target.y - arc.source.y
    kinds = arc.source.kind is Kind.ELISION, arc.target.kind is Kind.ELISION
    return arc.source.family, arc.target.family, round(dx), round(dy), arc.plain, arc.label, kinds


def _urgency(group: Sequence[Arc]) -> tuple[Any, ...]:
    arc = group[0]
    length = abs(arc.target.x - arc.source.x) + abs(arc.target.y - arc.source.y)
    return arc.plain and bool(arc.label), round(length), arc.source.name, arc.target.name, arc.plain


def _centre(vertex: Vertex) -> Points:
    return np.array([vertex.x, vertex.y])


# -- curves ----------------------------------------------------------------------------------


def bezier(*points: Sequence[float]) -> Points:
    """Control points as an array."""
    return np.array(points, float)


def straight(p: Points, q: Points) -> Points:
    """A straight line, as a cubic."""
    return np.stack([p, p + (q - p) / 3, p + (q - p) * 2 / 3, q])


def rounded(corners: Sequence[Any], radius: float = TURN) -> Points:
    """A path of straight lines with rounded corners."""
    points = [np.array(c, float) for c in corners]
    parts: list[Points] = []
    start = points[0]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        a, b = corner - before, after - corner
        r = min(radius, float(np.hypot(*a)) / 2, float(np.hypot(*b)) / 2)
        enter = corner - a / (np.hypot(*a) or 1) * r
        leave = corner + b / (np.hypot(*b) or 1) * r
        turn = np.stack([enter, enter + (corner - enter) * 0.55, leave + (corner - leave) * 0.55, leave])
        parts += [straight(start, enter), turn]
        start = leave
    parts.append(straight(start, points[-1]))
    return np.concatenate([parts[0], *[part[1:] for part in parts[1:]]])


def _candidates(arc: Arc) -> Iterator[tuple[Points, float]]:
    """Curves from centre to centre, each with what its form costs."""
    p, q = _centre(arc.source), _centre(arc.target)
    chord = q - p
    length = float(np.hypot(*chord)) or 1.0
    corners = (0.25, 0.33, 0.4, 0.5, 0.6) if min(abs(chord)) > 30 else ()
    for share in corners:
        x = p[0] + chord[0] * share
        yield rounded([p, (x, p[1]), (x, q[1]), q]), 5.0 + abs(share - 0.4)
    if corners and arc.lag and arc.target.kind is Kind.JUNCTION:
        return  # through the gap between two steps, not over the gates
    along, normal = chord / length, np.array([-chord[1], chord[0]]) / length
    yield straight(p, q), 0.0
    for rise in (34.0, 46.0, 60.0, 78.0, 100.0):
        if rise > 0.75 * length:
            continue
        for side in (-1.0, 1.0):
            lift = normal * side * rise / 0.75
            spread = along * length * 0.2
            yield np.stack([p, p + spread + lift, q - spread + lift, q]), 2.0 + rise / 25 + (0.1 if side < 0 else 0.0)
    if abs(chord[0]) > 30 and abs(chord[1]) > 30:
        half = np.array([chord[0] * 0.5, 0.0])
        yield np.stack([p, p + half, q - half, q]), 3.0
        half = np.array([0.0, chord[1] * 0.5])
        yield np.stack([p, p + half, q - half, q]), 3.2


def polyline(path: Points) -> Points:
    """Points along curves."""
    return np.concatenate([_evaluate(path[k : k + 4], _T) for k in range(0, len(path) - 1, 3)])


def _evaluate(c: Points, t: Any) -> Points:
    t = np.asarray(t)[:, None]
    s = 1 - t
    return s**3 * c[0] + 3 * s * s * t * c[1] + 3 * s * t * t * c[2] + t**3 * c[3]


def clip(curve: Points, source: Vertex, target: Vertex) -> Points:
    """The part of a curve between the borders of its nodes."""
    if len(curve) > 4:  # of several cubics, the first and the last are in the nodes
        first, last = curve[:4], curve[-4:]
        first = part_of(first, _leaves(first, source), 1.0)
        last = part_of(last, 0.0, 1 - _leaves(last[::-1], target))
        return np.concatenate([first, curve[4:-4], last])
    start = _leaves(curve, source)
    end = 1 - _leaves(curve[::-1], target)
    return part_of(curve, start, max(end, start + 1e-3))


def part_of(c: Points, t0: float, t1: float) -> Points:
    """The cubic between two parameters."""

    def blossom(a: float, b: float, d: float) -> Points:
        points = c
        for t in (a, b, d):
            points = points[:-1] * (1 - t) + points[1:] * t
        return points[0]

    return np.stack([blossom(t0, t0, t0), blossom(t0, t0, t1), blossom(t0, t1, t1), blossom(t1, t1, t1)])


def _leaves(curve: Points, vertex: Vertex) -> float:
    """Where a curve that starts at a node's centre leaves it for the last time."""
    low, high = 0.0, 1.0
    for n in (64, 1024, 1024):  # ever finer
        t = np.linspace(low, high, n + 1)
        inside = np.nonzero(_inside(vertex, _evaluate(curve, t)))[0]
        if not len(inside):
            return low
        low, high = t[inside[-1]], t[min(inside[-1] + 1, n)]
    return float(high)


def _inside(vertex: Vertex, points: Points) -> Any:
    x, y = np.abs(points - _centre(vertex)).T
    w, h = vertex.width / 2, vertex.height / 2
    if vertex.kind is Kind.MASK:
        return x / w + y / h < 1
    if vertex.round:
        return np.hypot(x, y) < w
    return (x < w) & (y < h)


# -- obstacles -------------------------------------------------------------------------------


class _Obstacles:
    """What is on the card already."""

    def __init__(self, vertices: Sequence[Vertex]) -> None:
        self.vertices = {v: k for k, v in enumerate(vertices)}
        self.centres = np.array([[v.x, v.y] for v in vertices], float).reshape(-1, 2)
        self.halves = np.array([[v.width / 2, v.height / 2] for v in vertices], float).reshape(-1, 2)
        self.curves: list[Points] = []
        self.boxes: list[Points] = []
        self.labels: list[tuple[float, float, float, float]] = []

    def add_curve(self, points: Points) -> None:
        self.curves.append(points)
        self.boxes.append(np.stack([points.min(0), points.max(0)]))

    def add_label(self, x: float, y: float, width: float, height: float) -> None:
        self.labels.append((x, y, width / 2, height / 2))

    def near(self, points: Points, margin: float) -> Points:
        """The points of all curves in the bounding box of some points."""
        low, high = points.min(0) - margin, points.max(0) + margin
        boxes = np.reshape(self.boxes, (-1, 2, 2))
        close = np.nonzero(((boxes[:, 1] >= low) & (boxes[:, 0] <= high)).all(1))[0]
        return np.concatenate([*(self.curves[k] for k in close), np.empty((0, 2))])

    def cost(self, curve: Points, arc: Arc) -> float:
        """What a curve costs: hits of nodes, and running along or across others."""
        points = polyline(clip(curve, arc.source, arc.target))
        low, high = points.min(0) - CLEAR, points.max(0) + CLEAR
        close = ((self.centres + self.halves >= low) & (self.centres - self.halves <= high)).all(1)
        close[[self.vertices[arc.source], self.vertices[arc.target]]] = False
        distance = np.maximum(np.abs(points[:, None] - self.centres[close]) - self.halves[close], 0)
        away = np.hypot(distance[..., 0], distance[..., 1]).min(0)
        cost = 60.0 * float((away < 2).sum()) + 8.0 * float(((away >= 2) & (away < CLEAR)).sum())
        low, high = points.min(0) - 5.0, points.max(0) + 5.0
        others = self.near(points, 5.0)
        others = others[((others >= low) & (others <= high)).all(1)]
        if len(others):
            gaps = np.hypot(*(points[3:-3, None] - others[None]).transpose(2, 0, 1)).min(1)
            running = int((gaps < 4.5).sum())
            cost += 1.2 * running
        return cost


# -- labels ----------------------------------------------------------------------------------


def _on_edge(arc: Arc) -> tuple[float, float]:
    assert arc.path is not None
    points = polyline(arc.path)
    x, y = points[int(len(points) * 0.56)]
    return float(x), float(y)


def _label_place(arc: Arc, group: Sequence[Arc], obstacles: _Obstacles) -> tuple[float, float]:
    """The freest place beside an edge; to the right of, or below it, if there is a choice."""
    assert arc.path is not None
    width, height = text_width(arc.label, EDGE_FONT), LABEL_HEIGHT
    points = polyline(arc.path)
    steps = np.hypot(*np.diff(points, axis=0).T)
    lengths = np.concatenate([[0.0], np.cumsum(steps)])
    curves = obstacles.near(points, width + 40)
    others = curves[np.hypot(*(curves[:, None] - points[None]).transpose(2, 0, 1)).min(1) > 1e-6] if len(curves) else curves
    best, place = np.inf, (0.0, 0.0)
    for order, share in enumerate((0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74, 0.18, 0.82)):
        k = int(np.searchsorted(lengths, share * lengths[-1]))
        k = min(max(k, 1), len(points) - 2)
        tangent = points[k + 1] - points[k - 1]
        tangent = tangent / (np.hypot(*tangent) or 1)
        normal = np.array([tangent[1], -tangent[0]])
        if normal[0] < -0.3 or (abs(normal[0]) <= 0.3 and normal[1] > 0):
            normal = -normal
        reach = abs(normal[0]) * width / 2 + abs(normal[1]) * height / 2
        for far, extra in ((4.0, 0.0), (8.0, 1.2), (13.0, 3.0)):
            for side in (1, -1):
                at = points[k] + normal * side * (reach + far)
                cost = order * 0.9 + (0.5 if side < 0 else 0.0) + extra
                cost += _label_cost(at, width, height, curves, others, obstacles)
                if cost < best:
                    best, place = cost, (float(at[0]), float(at[1]))
    return place


def _label_cost(at: Points, width: float, height: float, curves: Points, others: Points, obstacles: _Obstacles) -> float:
    half = np.array([width / 2, height / 2])
    cost = 0.0
    on = (np.abs(curves - at) < half + np.array([0.5, -1.0])).all(1).sum()
    cost += min(40.0, 4.0 * float(on))
    cost += min(6.0, 0.8 * float((np.abs(others - at) < half + 5).all(1).sum()))
    room = obstacles.halves + half + 1 - np.abs(obstacles.centres - at)
    cost += 60.0 * float((room > 0).all(1).sum())
    for x, y, w, h in obstacles.labels:
        if abs(at[0] - x) < w + half[0] + 1 and abs(at[1] - y) < h + half[1]:
            cost += 60.0
    return cost
