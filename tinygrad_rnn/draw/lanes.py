"""Lanes: lines between two rows that join one node to the same value of all steps.

A parameter that is a separate node has an edge to each of its uses, and the total loss has an edge
from each loss. Straight edges would cross the whole picture. In a lane these edges run together. A
dot marks where an edge leaves the lane.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from .route import rounded
from .sketch import Arc, Sketch, Vertex
from .style import GREY, NODE, NOTE_FONT, RISE, STARTS, TINTS, Kind, Stroke
from .symbols import plain, pretty, text_width

__all__ = ["add_shared_parameters", "is_total", "place_totals"]

ASIDE = 13.0
"""Distance from a node's middle to the point where a line of a lane enters or leaves the node, next to other edges."""
CLEAR = 18.0
"""Distance between a node and the lane above or below it."""
APART = 9.0
"""Distance between two lanes of one gap."""
CORNER = 5.0
"""Radius of a lane's corners."""
TALL = 20.0
"""Height of a parameter's box."""


def is_total(vertex: Vertex) -> bool:
    """Whether a node of an unrolled drawing is the total of the losses of all steps."""
    return vertex.kind is Kind.LOSS and vertex.run is None and vertex.column is None


def place_totals(sketch: Sketch) -> None:
    """Place each total behind the losses that it sums, at the end of a line above them."""
    for total in filter(is_total, sketch.vertices):
        arcs = sorted((arc for arc in sketch.arcs if arc.target is total), key=lambda arc: arc.source.x)
        # a lane that starts before the elision passes above its dots
        losses = [arc for arc in arcs if arc is arcs[0] or arc.source.kind is not Kind.ELISION]
        sketch.arcs = [arc for arc in sketch.arcs if arc.target is not total or arc in losses]
        xs, last = [arc.source.x for arc in losses], losses[-1].source
        gap = min(xs[-1] - xs[-2], 2 * RISE) if len(xs) > 1 else RISE
        total.x, total.y = last.x + max(gap / 2, NODE + 8), last.y + last.height / 2 + CLEAR
        for arc in losses:
            v = arc.source
            start = (v.x + ASIDE, v.y + _border(v))
            arc.path = rounded([start, (start[0], total.y), (total.x - total.width / 2, total.y)], CORNER)
            if arc is not losses[0]:
                _dot(sketch, total, arc, start[0] + CORNER, total.y)


class _Lane(NamedTuple):
    """A horizontal line below a row, and the nodes of the row that branches of the line enter."""

    height: float
    aside: float
    uses: list[Vertex]


def add_shared_parameters(sketch: Sketch) -> None:
    """Add a node for each group of shared parameters, with an edge to every value computed with them.

    The rows of the sketch have their places, and its edges have none yet.
    """
    groups: dict[tuple[Hashable, ...], list[str]] = defaultdict(list)
    for symbol, families in sketch.owners.items():
        groups[tuple(families)].append(symbol)
    rows: dict[Hashable, list[Vertex]] = defaultdict(list)
    for vertex in sorted(sketch.vertices, key=lambda v: v.x):
        if vertex.kind not in (*STARTS, Kind.ELISION):
            rows[vertex.family].append(vertex)
    start = min((v.x - v.width / 2 for v in sketch.vertices), default=0.0) - 16
    found = {group: [rows[family] for family in group if family in rows] for group in groups}
    shares = Counter(uses[0].y for rows_of in found.values() for uses in rows_of)
    taken: Counter[float] = Counter()
    boxes: list[Vertex] = []
    for group, symbols in groups.items():
        lanes = []
        for uses in found[group]:
            lanes.append(_lane(uses, taken[uses[0].y], shares[uses[0].y]))
            taken[uses[0].y] += 1
        if lanes:
            box = _box(symbols, start, min(lane.height for lane in lanes), boxes)
            if max(shares.values()) > 1:  # distinguish parallel lanes
                box.color = TINTS[len(boxes) % len(TINTS)]
            _join(sketch, box, start - 2 - 4 * len(boxes), lanes)
            boxes.append(box)
    sketch.vertices += boxes


def _lane(uses: list[Vertex], number: int, of: int) -> _Lane:
    """One of several horizontal lines in the gap below a row; alternate lines enter their nodes at alternate sides."""
    middle = uses[0].y - max(use.height for use in uses) / 2 - CLEAR
    return _Lane(middle + (number - (of - 1) / 2) * min(APART, CLEAR / of), -ASIDE if number % 2 == 0 else ASIDE, uses)


def _box(symbols: Sequence[str], start: float, y: float, others: Sequence[Vertex]) -> Vertex:
    """A node for some parameters, left of a position, at a free spot."""
    label = ", ".join(map(pretty, symbols))
    box = Vertex(f"parameters {plain(label)}", ("parameters", label), Kind.PARAMETER, label, font=NOTE_FONT)
    box.width, box.height = text_width(label, NOTE_FONT) + 12, TALL
    box.tooltip = f"{plain(label)}: shared by all steps"
    box.x = start - box.width / 2 - 12
    while near := [other.y for other in others if abs(other.y - y) < TALL + 4]:
        y = min(near) - TALL - 4
    box.y = y
    return box


def _join(sketch: Sketch, box: Vertex, trunk: float, lanes: Sequence[_Lane]) -> None:
    """Connect a box to each node that reads it, by a vertical line beside the box and a horizontal one below the node."""
    for height, aside, uses in lanes:
        for vertex in uses:
            x = vertex.x + aside
            corners = [(trunk, box.y), (trunk, height)] if abs(height - box.y) > 1 else []
            arc = Arc(box, vertex, Stroke(box.color or GREY), tooltip=box.tooltip)
            ends = [(x, height), (x, vertex.y - _border(vertex))]
            arc.path = rounded([(box.x + box.width / 2, box.y), *corners, *ends], CORNER)
            sketch.arcs.append(arc)
            if vertex is not uses[-1]:
                _dot(sketch, box, arc, x - CORNER, height)


def _dot(sketch: Sketch, owner: Vertex, arc: Arc, x: float, y: float) -> None:
    """A dot where an edge leaves or enters a horizontal line."""
    end = arc.source if arc.target is owner else arc.target
    dot = Vertex(f"{owner.name} at {end.name}", (owner.family, "at", end.family), Kind.JUNCTION, color=arc.stroke.color)
    dot.x, dot.y, dot.width, dot.height = x, y, 5.0, 5.0
    sketch.vertices.append(dot)


def _border(v: Vertex) -> float:
    """Distance from a node's middle to its border, above or below, where a line enters."""
    if v.shape not in ("circle", "ellipse"):
        return v.height / 2
    return v.height / 2 * (1 - (2 * ASIDE / v.width) ** 2) ** 0.5
