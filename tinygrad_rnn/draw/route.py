"""Routes: every edge gets the cheapest curve, and every label gets the place next to its edge with the most room.

Edges that differ only in their step have the same shape. The shape is chosen for the middle
edge, and copied to the other edges.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from .sketch import Arc, Points, Sketch, Vertex
from .style import EDGE_FONT, WIDEST, Kind
from .symbols import text_width

__all__ = ["bezier", "branch_dots", "clip", "polyline", "route", "rounded"]

CLEAR = 6.0
"""Smallest distance between an edge and a node that it passes."""
LABEL_HEIGHT = 14.0
TURN = 10.0
"""Radius of a rounded corner."""
SPACING = 4.0
"""Distance between the points at which the cost of a curve is measured."""
LANE = 7.0
"""Distance between two lines through one gap."""
HIT = 400.0
"""Cost of running through a node or over a label; higher than all other costs."""
_T = np.linspace(0, 1, 33)


def route(sketch: Sketch) -> None:
    """Give a path to every edge without one, and a position to every label."""
    groups: dict[Hashable, list[Arc]] = {}
    fixed = [arc for arc in sketch.arcs if arc.path is not None]
    for arc in sketch.arcs:
        if arc.path is None:
            groups.setdefault(_shape_of(arc), []).append(arc)
    obstacles = _Obstacles(sketch.vertices)
    for arc in fixed:
        assert arc.path is not None
        obstacles.add_curve(evenly(arc.path))
    for group in sorted(groups.values(), key=_urgency):
        model = group[len(group) // 2]
        tried = dict.fromkeys((model, group[0], group[-1]))  # other nodes may be in the way at the first and last step

        following = _centre(group[1].source) - _centre(group[0].source) if len(group) > 1 else None
        curve = _cheapest(model, tried, following, obstacles)
        for arc in group:
            arc.path = clip(curve + (_centre(arc.source) - _centre(model.source)), arc.source, arc.target)
            obstacles.add_curve(evenly(arc.path))
    labelled = [*([arc] for arc in fixed), *groups.values()]
    for group in sorted(labelled, key=_urgency):
        model = group[len(group) // 2]
        if not model.label or model.label_at is not None:
            continue
        at = _label_place(model, list(dict.fromkeys((model, group[0], group[-1]))), obstacles)
        for arc in group:
            arc.label_at = (
                round(at[0] + arc.source.x - model.source.x, 1),
                round(at[1] + arc.source.y - model.source.y, 1),
            )
            obstacles.add_label(*arc.label_at, text_width(arc.label, EDGE_FONT), LABEL_HEIGHT)


def _cheapest(model: Arc, tried: Iterable[Arc], following: Points | None, obstacles: _Obstacles) -> Points:
    """The first of the cheapest curves; edges of one shape all get the same curve."""
    best, curve = np.inf, np.empty((0, 2))
    offsets = [(arc, _centre(arc.source) - _centre(model.source)) for arc in tried]
    for candidates in (sorted(_candidates(model), key=lambda item: item[1]), _detours(model, obstacles)):
        if best < HIT:
            break  # no detour is needed
        for candidate, form in candidates:
            if form >= best:
                break
            points = evenly(candidate)
            cost = form + max(obstacles.hits(points + offset, arc) for arc, offset in offsets)
            if cost < best:
                cost += 0.0 if following is None else _running(points, points + following)
            if cost < best:
                cost += max(_running(points + offset, obstacles.near(points + offset, 5.0)) for arc, offset in offsets)
            if cost < best:
                best, curve = cost, candidate
    return curve


def branch_dots(sketch: Sketch) -> None:
    """Dots where an edge leaves the line that it shares with another edge to a bundle."""
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
    """Control points of a curve as an array."""
    return np.array(points, float)


def straight(p: Points, q: Points) -> Points:
    """A straight line as a cubic curve."""
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
    """Candidate curves from centre to centre, each with the cost of its form."""
    p, q = _centre(arc.source), _centre(arc.target)
    chord = q - p
    length = float(np.hypot(*chord)) or 1.0
    corners = (0.25, 0.33, 0.4, 0.5, 0.6) if min(abs(chord)) > 30 else ()
    for share in corners:
        x = p[0] + chord[0] * share
        yield rounded([p, (x, p[1]), (x, q[1]), q]), 5.0 + abs(share - 0.4)
    if corners and arc.lag and arc.target.kind is Kind.JUNCTION:
        return  # through the gap between two steps, not across the gates
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


def _detours(arc: Arc, obstacles: _Obstacles) -> Iterator[tuple[Points, float]]:
    """Right-angled paths between rows and through gaps in them, the shortest first."""
    s, t = arc.source, arc.target
    found = []
    for out, into in itertools.product((1, -1), (1, -1)):
        for near in (13.0, 20.0):
            low, high = s.y + out * (s.height / 2 + near), t.y + into * (t.height / 2 + near)
            for x in obstacles.gaps(min(low, high), max(low, high), (s.x, t.x)):
                if any(abs(x - v.x) < v.width / 2 + CLEAR and min(low, high) < v.y < max(low, high) for v in (s, t)):
                    continue  # would pass through its own source or target
                corners = [(s.x, s.y), (s.x, low), (x, low), (x, high), (t.x, high), (t.x, t.y)]
                length = abs(s.x - x) + abs(low - high) + abs(t.x - x)
                found.append((8.0 + length / 100 + near / 50 + (into > 0) / 2, corners))
    for form, corners in sorted(found):
        yield rounded([a for a, b in itertools.pairwise([*corners, None]) if a != b]), form


def polyline(path: Points) -> Points:
    """Points along curves, at equal parameters."""
    return np.concatenate([_evaluate(path[k : k + 4], _T) for k in range(0, len(path) - 1, 3)])


def evenly(path: Points) -> Points:
    """Points along curves, at equal distances."""
    points = polyline(path)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    at = np.linspace(0.0, along[-1], int(along[-1] / SPACING) + 2)
    return np.stack([np.interp(at, along, points[:, 0]), np.interp(at, along, points[:, 1])], axis=1)


def _evaluate(c: Points, t: Any) -> Points:
    t = np.asarray(t)[:, None]
    s = 1 - t
    return s**3 * c[0] + 3 * s * s * t * c[1] + 3 * s * t * t * c[2] + t**3 * c[3]


def clip(curve: Points, source: Vertex | None, target: Vertex | None) -> Points:
    """The part of a curve between the borders of its start and end nodes."""
    if source is not None:
        curve = _outside(curve, source)
    return curve if target is None else _outside(curve[::-1], target)[::-1]


def _outside(curve: Points, vertex: Vertex) -> Points:
    """The part of a curve after it last leaves its start node."""
    k = max((k for k in range(0, len(curve) - 1, 3) if _inside(vertex, curve[k : k + 1])[0]), default=0)
    leaving = curve[k : k + 4]
    return np.concatenate([part_of(leaving, min(_leaves(leaving, vertex), 0.999), 1.0), curve[k + 4 :]])


def part_of(c: Points, t0: float, t1: float) -> Points:
    """The part of a cubic curve between two parameters."""
    return np.array([_blossom(c, *ts) for ts in ((t0, t0, t0), (t0, t0, t1), (t0, t1, t1), (t1, t1, t1))])


def point_at(c: Points, t: float) -> tuple[float, float]:
    """The point of a cubic curve at a parameter."""
    return _blossom(c, t, t, t)


def _blossom(c: Points, *ts: float) -> tuple[float, float]:
    points = c.tolist()  # of so few numbers, Python is faster than NumPy
    for t in ts:
        points = [(x * (1 - t) + u * t, y * (1 - t) + v * t) for (x, y), (u, v) in itertools.pairwise(points)]
    (point,) = points
    return point


def _leaves(curve: Points, vertex: Vertex) -> float:
    """The parameter at which a curve from a node's centre leaves the node for the last time."""
    low, high = 0.0, 1.0
    for n in (64, 1024, 1024):  # finer each time
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
    """Nodes, curves and labels that are already placed."""

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
        """Points of all curves in the bounding box of some points, enlarged by a margin."""
        low, high = points.min(0) - margin, points.max(0) + margin
        boxes = np.reshape(self.boxes, (-1, 2, 2))
        close = np.nonzero(((boxes[:, 1] >= low) & (boxes[:, 0] <= high)).all(1))[0]
        found = np.concatenate([*(self.curves[k] for k in close), np.empty((0, 2))])
        return found[((found >= low) & (found <= high)).all(1)]

    def gaps(self, low: float, high: float, wanted: Sequence[float]) -> list[float]:
        """Free positions of a horizontal line, nearest to each of some wanted positions."""
        y, h = self.centres[:, 1], self.halves[:, 1] + CLEAR
        there = (y + h > low) & (y - h < high)
        x, w = self.centres[there, 0], self.halves[there, 0] + CLEAR
        edges = np.concatenate([*(end + side * k * LANE for k in range(4) for side, end in ((-1, x - w), (1, x + w))), wanted])
        free = np.unique(edges[~(np.abs(edges[:, None] - x) < w - 1e-6).any(1)].round(1))
        nearest = np.abs(free[:, None] - np.array(wanted)).argsort(axis=0)[:5].ravel()
        return sorted({float(free[k]) for k in nearest})

    def hits(self, points: Points, arc: Arc) -> float:
        """Cost of a curve that runs through nodes or close to them."""
        points = points[~(_inside(arc.source, points) | _inside(arc.target, points))]
        if not len(points):
            return 0.0
        low, high = points.min(0) - CLEAR, points.max(0) + CLEAR
        close = ((self.centres + self.halves >= low) & (self.centres - self.halves <= high)).all(1)
        close[[self.vertices[arc.source], self.vertices[arc.target]]] = False
        distance = np.maximum(np.abs(points[:, None] - self.centres[close]) - self.halves[close], 0)
        away = np.hypot(distance[..., 0], distance[..., 1]).min(0)
        return HIT * float((away < 2).sum()) + 8.0 * float(((away >= 2) & (away < CLEAR)).sum())


def _running(points: Points, others: Points) -> float:
    """Cost of running along other curves or across them: the number of shared squares of a fine grid."""
    if not len(others):
        return 0.0
    cells, taken = (np.unique((p // 6.0).astype(np.int64) @ (1 << 24, 1)) for p in (points[3:-3], others))
    return 1.5 * len(np.intersect1d(cells, taken, assume_unique=True))


# -- labels ----------------------------------------------------------------------------------


def _label_place(arc: Arc, tried: Sequence[Arc], obstacles: _Obstacles) -> tuple[float, float]:
    """The position on or next to an edge with the most room, for all edges of one shape; right and below are preferred."""
    half = np.array([text_width(arc.label, EDGE_FONT) / 2, LABEL_HEIGHT / 2])
    around = []
    for other in tried:
        assert other.path is not None
        own = evenly(other.path)
        curves = obstacles.near(own, float(half[0]) * 2 + 40)
        apart = curves[:, None] - own[None]
        foreign = curves[np.einsum("ijk,ijk->ij", apart, apart).min(1, initial=np.inf) > 1e-9]
        around.append((_centre(other.source) - _centre(arc.source), foreign if arc.label_on else curves, foreign))
    best, place = np.inf, (0.0, 0.0)
    for at, form in sorted(_label_candidates(arc, half), key=lambda item: item[1]):
        if form >= best:
            break
        cost = form + max(_label_cost(at + offset, half, curves, foreign, obstacles) for offset, curves, foreign in around)
        if cost < best:
            best, place = cost, (float(at[0]), float(at[1]))
    return place


def _label_candidates(arc: Arc, half: Points) -> Iterator[tuple[Points, float]]:
    """Candidate positions of a label, each with the cost of its distance from the usual position."""
    assert arc.path is not None
    points = polyline(arc.path)
    lengths = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    middle = 0.56 if arc.label_on else 0.5
    for order, step in enumerate((0.0, -0.08, 0.08, -0.16, 0.16, -0.24, 0.24, -0.32, 0.32, -0.4, 0.4)):
        k = int(np.searchsorted(lengths, (middle + step) * lengths[-1]))
        k = min(max(k, 1), len(points) - 2)
        if arc.label_on:
            yield points[k], order * 0.9
            continue
        tangent = points[k + 1] - points[k - 1]
        tangent = tangent / (np.hypot(*tangent) or 1)
        normal = np.array([tangent[1], -tangent[0]])
        if normal[0] < -0.3 or (abs(normal[0]) <= 0.3 and normal[1] > 0):
            normal = -normal
        reach = float(np.abs(normal) @ half) + max(0.0, arc.stroke.width - WIDEST)
        for far, extra in ((4.0, 0.0), (8.0, 1.2), (13.0, 3.0), (18.0, 5.0)):
            for side in (1, -1):
                yield points[k] + normal * side * (reach + far), order * 0.9 + (0.5 if side < 0 else 0.0) + extra


def _label_cost(at: Points, half: Points, curves: Points, foreign: Points, obstacles: _Obstacles) -> float:
    """Cost of a label over nodes, labels and curves, or close to other edges' curves."""
    on = (np.abs(curves - at) < half + np.array([0.5, -1.0])).all(1).sum()
    cost = min(80.0, 8.0 * float(on))
    cost += min(6.0, 0.8 * float((np.abs(foreign - at) < half + 5).all(1).sum()))
    room = obstacles.halves + half + 1 - np.abs(obstacles.centres - at)
    cost += HIT * float((room > 0).all(1).sum())
    if obstacles.labels:
        x, y, w, h = np.array(obstacles.labels).T
        cost += HIT * float(((np.abs(at[0] - x) < w + half[0] + 1) & (np.abs(at[1] - y) < h + half[1])).sum())
    return cost
