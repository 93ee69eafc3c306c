"""Delays of a folded drawing: edges between steps go through black squares; each square is one delay z⁻¹."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np

from .route import TURN, bezier, clip, evenly, rounded, straight
from .sketch import Arc, Points, Sketch, Vertex
from .style import EDGE_FONT, NOTE_FONT, SQUARE, Kind
from .symbols import plain, text_width

__all__ = ["close"]

LOOP = 30.0
"""Radius of a self-loop's circle."""
REACH = 52.0
"""Distance from a node's border to its first square."""
LINK = 64.0
"""Distance between two squares of a chain."""
LANE = 30.0
"""Distance between the outermost node and a trunk, which is the shared line of several edges."""


def close(sketch: Sketch) -> None:
    """Draw every edge between steps through black squares, the delays."""
    delayed: dict[Vertex, list[Arc]] = defaultdict(list)
    for arc in sketch.arcs:
        if arc.lag:
            delayed[arc.source].append(arc)
    sketch.arcs = [arc for arc in sketch.arcs if not arc.lag]
    loops = {s: arcs for s, arcs in delayed.items() if all(a.target is s and a.lag == 1 for a in arcs)}
    chains = {s: arcs for s, arcs in delayed.items() if max(a.lag for a in arcs) > 1}
    trunks = [(s, arcs) for s, arcs in delayed.items() if s not in loops and s not in chains]
    for source, arcs in loops.items():
        _loop(sketch, source, arcs)
    for source, arcs in chains.items():
        _chain(sketch, source, arcs)
    free: dict[Vertex, list[float]] = {}
    for target, n in Counter(a.target for source, arcs in trunks for a in arcs if a.target is not source).items():
        alone = n < 2 or target.kind is Kind.JUNCTION  # lines that enter a dot share its point
        free[target] = [0.0] * n if alone else [9.0, -9.0, *[0.0] * (n - 2)]
    trunks.sort(key=lambda item: max(abs(a.target.y - item[0].y) for a in item[1]))
    for number, (source, arcs) in enumerate(trunks):
        edge = max(v.x + v.width / 2 for v in sketch.vertices)
        own = [text_width(a.label, EDGE_FONT) for a in arcs if a.target is source]
        lane = max(edge + LANE, source.x + (source.width + SQUARE) / 2 + max(own, default=0.0) + 20)
        _trunk(sketch, source, arcs, lane, free, 11.0 + 9 * (number % 3))


def _square(sketch: Sketch, source: Vertex, k: int, x: float, y: float, note_at: tuple[int, int]) -> Vertex:
    square = Vertex(f"{source.name} z{k}", (source.family, "delay", k), Kind.DELAY, "", source.column, source.run)
    later = source.run in sketch.backwards  # a run in reverse reads later elements of the sequence
    square.tooltip = f"{'from one step later' if later else 'a delay of one step'}: {plain(source.base)}"
    square.x, square.y, square.width, square.height = x, y, SQUARE, SQUARE
    note = Vertex(f"{square.name} note", (square.family, "note"), Kind.NOTE, "", source.column, source.run)
    note.label = "z^{+1}" if later else "z^{−1}"
    note.font, note.width, note.height = NOTE_FONT, 22.0, 14.0
    note.tooltip = square.tooltip
    note.x, note.y = x + note_at[0], y + note_at[1]
    sketch.vertices += [square, note]
    return square


def _loop(sketch: Sketch, source: Vertex, arcs: list[Arc]) -> None:
    """A self-loop: two arcs of one circle, with the square on the far side."""
    right = source.x + source.width / 2
    cx, cy = right + 22, source.y
    square = _square(sketch, source, 1, cx + LOOP, cy, (20, 0))
    near = math.asin(SQUARE / 2 / LOOP)
    stroke = arcs[0].stroke
    out = Arc(source, square, stroke, head=False, tooltip="no parameter")
    out.path = clip(_circle(cx, cy, math.pi, near), source, None)
    sketch.arcs.append(out)
    ordered = sorted(arcs, key=lambda a: a.plain)
    back = ordered[0].between(square, source)
    back.path = clip(_circle(cx, cy, -near, -math.pi), None, source)
    sketch.arcs.append(back)
    for arc in ordered[1:]:
        middle = arc.between(square, source)
        middle.path = straight(np.array([square.x - SQUARE / 2, cy]), np.array([right, cy]))
        middle.label_at = (round((square.x + right) / 2, 1), round(cy - 10, 1))
        sketch.arcs.append(middle)


def _circle(cx: float, cy: float, start: float, end: float) -> Points:
    """An arc of a self-loop's circle, as cubic curves of at most a quarter."""
    n = max(1, math.ceil(abs(end - start) / (math.pi / 2)))
    step = (end - start) / n
    k = 4 / 3 * math.tan(step / 4)
    points = []
    for i in range(n):
        a, b = start + i * step, start + (i + 1) * step
        p, q = (math.cos(a), math.sin(a)), (math.cos(b), math.sin(b))
        if i == 0:
            points.append(p)
        points += [(p[0] - k * p[1], p[1] + k * p[0]), (q[0] + k * q[1], q[1] - k * q[0]), q]
    return bezier(*points) * LOOP + np.array([cx, cy])


def _chain(sketch: Sketch, source: Vertex, arcs: list[Arc]) -> None:
    """Tapped delays: squares in a row to the right of the delayed value."""
    x = max(v.x + v.width / 2 for v in sketch.vertices if abs(v.y - source.y) < 20) + REACH
    side = 16 if sum(a.target.y - source.y for a in arcs) < 0 else -16  # on the side away from the lines
    squares = [_square(sketch, source, k + 1, x + LINK * k, source.y, (0, side)) for k in range(max(a.lag for a in arcs))]
    before = source
    for square in squares:
        sketch.arcs.append(Arc(before, square, arcs[0].stroke, tooltip="no parameter"))
        before = square
    sketch.arcs += [arc.between(squares[arc.lag - 1], arc.target) for arc in arcs]


def _trunk(sketch: Sketch, source: Vertex, arcs: list[Arc], lane: float, free: dict[Vertex, list[float]], depth: float) -> None:
    """A rounded right-angled line to the right, with the square on it."""
    others = [arc for arc in arcs if arc.target is not source]
    itself = [arc for arc in arcs if arc.target is source]
    stroke = arcs[0].stroke
    right = source.x + source.width / 2
    farthest = max(others, key=lambda a: abs(a.target.y - source.y)).target.y
    if itself:
        square = _square(sketch, source, 1, lane, source.y, (20, 0))
        lift = 4.0
        start = source.x + _beside(source, lift)
        out = Arc(source, square, stroke, head=False, tooltip="no parameter")
        out.path = straight(np.array([start, source.y + lift]), np.array([lane - SQUARE / 2, source.y + lift]))
        sketch.arcs.append(out)
        for arc in itself:
            back = arc.between(square, source)
            back.path = straight(np.array([lane - SQUARE / 2, source.y - lift]), np.array([start, source.y - lift]))
            if not _is_clear(sketch, back):
                out.path = back.path = None
            elif back.label:
                back.label_at = ((start + lane) / 2, source.y - lift - 10)
            sketch.arcs.append(back)
    else:
        middle = source.y + (farthest - source.y) * 0.5
        first = min(others, key=lambda a: abs(a.target.y - source.y)).target.y
        if first == source.y:
            middle = source.y
        square = _square(sketch, source, 1, lane, middle, (20, 0))
        out = Arc(source, square, stroke, head=False, tooltip="no parameter")
        sign = 1 if farthest > source.y else -1
        end = (lane, middle - sign * SQUARE / 2)
        out.path = rounded([(right, source.y), (lane, source.y), end])
        if not _is_clear(sketch, out):
            out.path = None
        sketch.arcs.append(out)
    others.sort(key=lambda a: abs(a.target.y - square.y))
    for k, arc in enumerate(others):
        wanted = 9.0 if source.y > arc.target.y else -9.0
        shift = min(free[arc.target], key=lambda height: abs(height - wanted))
        free[arc.target].remove(shift)
        sketch.arcs.append(_branch(sketch, square, arc, lane, shift, depth, k < len(others) - 1))


def _branch(sketch: Sketch, square: Vertex, arc: Arc, lane: float, shift: float, depth: float, goes_on: bool) -> Arc:
    """A line from the square along the trunk into one target."""
    target = arc.target
    back = arc.between(square, target)
    border = target.x + _beside(target, shift)
    blocked = any(
        v is not target and target.x < v.x < lane and abs(v.y - target.y) < v.height / 2 + 8
        for v in sketch.vertices
        if v.kind is not Kind.NOTE
    )
    y = target.y - target.height / 2 - depth if blocked else target.y + shift
    start = (lane, square.y + (SQUARE / 2 if y > square.y else -SQUARE / 2))
    ends = [(border, y)]
    if blocked:  # enter the target from below, next to other lines
        aside = target.width / 4
        ends = [(target.x + aside, y), (target.x + aside, target.y - _above(target, aside))]
    back.path = rounded([start, (lane, y), *ends])
    if not _is_clear(sketch, back):
        back.path, goes_on = None, False  # routed with the other edges
    elif back.label and not blocked:
        width = text_width(back.label, EDGE_FONT)
        back.label_at = (round(border + 10 + width / 2, 1), round(y + (11 if shift > 0 else -11), 1))
    if goes_on:
        dot = Vertex(f"{square.name} branch {target.name}", (square.family, target.family), Kind.JUNCTION, "", 0)
        # the point where the line leaves the trunk, before its corner
        dot.x, dot.y, dot.width, dot.height = lane, y + (TURN if y < square.y else -TURN), 5.0, 5.0
        dot.color = arc.stroke.color
        sketch.vertices.append(dot)
    return back


def _is_clear(sketch: Sketch, arc: Arc) -> bool:
    """Whether an edge crosses no node except its own ends."""
    assert arc.path is not None
    points = evenly(arc.path)
    others = (v for v in sketch.vertices if v not in (arc.source, arc.target) and v.kind is not Kind.JUNCTION)
    return not any(((np.abs(points - (v.x, v.y)) < (v.width / 2, v.height / 2)).all(1)).any() for v in others)


def _beside(v: Vertex, up: float) -> float:
    """Distance from a node's middle to its side, at a given height above the middle."""
    return v.width / 2 * (math.sqrt(max(0.0, 1 - (2 * up / v.height) ** 2)) if v.round else 1.0)


def _above(v: Vertex, aside: float) -> float:
    """Distance from a node's middle to its top, at a given offset beside the middle."""
    return v.height / 2 * (math.sqrt(max(0.0, 1 - (2 * aside / v.width) ** 2)) if v.round else 1.0)
