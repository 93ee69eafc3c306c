"""One step of a cell as a sketch: its parts with positions, and the lines between the parts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from .maze import EAST, NORTH, SOUTH, WEST, Maze, Port, Spot
from .positions import Layout
from .route import rounded
from .sketch import Arc, Sketch, Vertex
from .step import Diagram, Line, Role, StepPart
from .step_place import UNIT, Places, half, joined, label, placed, size
from .style import FROM_BUNDLE, FROM_INPUT, FROM_STATE, LOOKS, PLAIN, THICK, Kind, Stroke
from .symbols import plain, pretty

__all__ = ["step_sketch"]

RADIUS = 9.0
"""Radius of a rounded corner."""
SPARE = 40.0
"""Cost of a line that meets an operation away from the middle of a side; needed if there are more lines than sides."""
ENDS = (Role.INPUT, Role.BEFORE, Role.AFTER, Role.OUTPUT)


def step_sketch(diagram: Diagram, layout: Layout) -> Sketch:
    """The sketch of a step, with positions of all parts and paths of all lines.

    Parameters
    ----------
    diagram : Diagram
    layout : mapping of str to pair of float
        Positions of gates and operations that the cell chose; see :func:`placed`.
    """
    diagram = joined(diagram)
    places = placed(diagram, layout)
    return _Lines(diagram, places).sketch


class _Lines:
    def __init__(self, diagram: Diagram, places: Places) -> None:
        self.diagram, self.places = diagram, places
        self.sketch = Sketch()
        self.lane_of = {part: slot for slot, path in places.lanes.items() for part in path}
        for slot in places.lanes:
            self.lane_of |= {diagram.before[slot]: slot, diagram.after[slot]: slot}
        self._frame()
        self.vertices = {part: self._vertex(part) for part in diagram.parts}
        left, bottom, right, top = places.frame
        self.maze = Maze((left + 1, bottom + 1), (right - 1, top - 1))
        for part in diagram.parts:
            if part.role is not Role.JOINT:
                self.maze.block(places.at[part], *half(part))
        self.dots: dict[tuple[StepPart, Spot], None] = {}
        self.corners: dict[Arc, tuple[StepPart, list[tuple[float, float]]]] = {}
        for joint in (part for part in diagram.parts if part.role is Role.JOINT):
            self._upright(joint)
        for source, target, line in sorted(diagram.arcs(), key=self._urgency):
            self._line(source, target, line)
        self._draw()

    # -- nodes -----------------------------------------------------------------------------------

    def _frame(self) -> None:
        left, bottom, right, top = (UNIT * n for n in self.places.frame)
        frame = Vertex("cell", "cell", Kind.FRAME)
        frame.x, frame.y, frame.width, frame.height = (left + right) / 2, (bottom + top) / 2, right - left, top - bottom
        self.sketch.vertices.append(frame)

    def _vertex(self, part: StepPart) -> Vertex:
        again = sum(1 for v in self.sketch.vertices if v.family == part.key)
        vertex = Vertex(f"{part.key}{f' {again + 1}' if again else ''}", part.key, self._kind(part), label(part))
        vertex.width, vertex.height = size(part)
        vertex.boxed = vertex.width > vertex.height and vertex.kind in (Kind.VALUE, Kind.STATE, Kind.OUTPUT)
        vertex.tooltip = part.note
        vertex.x, vertex.y = (UNIT * n for n in self.places.at[part])
        vertex.color = self._color(part) if part.role in ENDS else None
        self.sketch.vertices.append(vertex)
        return vertex

    def _kind(self, part: StepPart) -> Kind:
        if part.role in ENDS:
            return Kind.PORT
        if part.role is Role.JOINT:
            return Kind.JUNCTION
        if part.slots:
            return Kind.STATE
        if any(part in end.reads for end in self.diagram.outputs):
            return Kind.OUTPUT
        return Kind.VALUE if part.role is Role.GATE else Kind.FUNCTION

    def _color(self, part: StepPart) -> str:
        kinds = {Role.INPUT: Kind.INPUT, Role.OUTPUT: Kind.OUTPUT}
        return LOOKS[kinds.get(part.role, Kind.STATE)].color

    # -- lines -----------------------------------------------------------------------------------

    def _urgency(self, line: tuple[StepPart, StepPart, Line]) -> tuple[bool, int, str, str]:
        source, target, _ = line
        (x, y), (u, v) = self.places.at[source], self.places.at[target]
        return not self._is_on_lane(source, target), abs(x - u) + abs(y - v), source.key, target.key

    def _is_on_lane(self, source: StepPart, target: StepPart) -> bool:
        """Whether a line is a part of a state's straight line."""
        slot = self.lane_of.get(source, -1)
        if slot < 0 or self.lane_of.get(target) != slot:
            return False
        path = [self.diagram.before[slot], *self.places.lanes[slot], self.diagram.after[slot]]
        return path.index(target) == path.index(source) + 1

    def _upright(self, joint: StepPart) -> None:
        """The vertical line on which lines enter a joint."""
        spots = sorted({self.places.entries[read, joint] for read in joint.reads} | {self.places.at[joint]})
        if len(spots) > 1:
            self.maze.take(joint, [spots[0], spots[-1]])
            arc = Arc(self.vertices[joint], self.vertices[joint], FROM_BUNDLE._replace(width=THICK), head=False)
            self.corners[arc] = joint, [(UNIT * x, UNIT * y) for x, y in (spots[0], spots[-1])]
            arc.tooltip = joint.note
            self.sketch.arcs.append(arc)
        self.dots |= {(joint, spot): None for spot in spots[:-1]}

    def _line(self, source: StepPart, target: StepPart, line: Line) -> None:
        lane = self._is_on_lane(source, target)
        starts, ends = self._ports(source, True), self._ports(target, False)
        if target.role is Role.JOINT:
            ends = [Port(self.places.entries[source, target], None)]
        if source.role is Role.JOINT:
            starts = [Port(starts[0].spot, EAST)]
            ends = [port for port in ends if port.outwards == SOUTH]
        if lane:
            starts = [port for port in starts if port.outwards == EAST]
            ends = [port for port in ends if port.outwards == WEST]
        before = {spot for spot, nets in self.maze.passed.items() if source in nets}
        turns = self.maze.route(source, starts, ends)
        path = [self._border(source, turns[0]), *turns, self._border(target, turns[-1])] if turns else []
        points = [(UNIT * x, UNIT * y) for x, y in path] or [self.places.at[part] for part in (source, target)]
        points = self._onwards(source, points, before)
        stroke = self._stroke(source, target, lane)
        arc = Arc(self.vertices[source], self.vertices[target], stroke, cut=line.cut)
        arc.head = target.role is not Role.JOINT and not (lane and target.role is Role.OPERATION)
        self.corners[arc] = source, _simple(points)
        arc.tooltip = plain(", ".join(map(pretty, line.parameters))) or f"{source.key} → {target.key}"
        if line.minus:
            (x, y), (a, b) = points[-1], points[-2]
            arc.label = "−"
            arc.label_at = x + (9 if a == x else 12 * np.sign(a - x)), y + (9 if b == y else 10 * np.sign(b - y))
        self.sketch.arcs.append(arc)

    def _onwards(self, source: StepPart, points: list[tuple[float, float]], before: set[Spot]) -> list[tuple[float, float]]:
        """The part of a line after the dot at which it leaves the other lines of the same source."""
        spots = list(_spots(points))
        last = max((k for k, spot in enumerate(spots) if spot in before), default=None)
        if last is None:
            return points
        x, y = UNIT * spots[last][0], UNIT * spots[last][1]
        self.dots[source, spots[last]] = None
        rest = [point for k, point in enumerate(points) if _after(points, k, (x, y))]
        return [(x, y), *rest]

    def _border(self, part: StepPart, port: Spot) -> tuple[float, float]:
        """The point where a line touches a node."""
        x, y = self.places.at[part]
        width, height = size(part)
        dx, dy = port[0] - x, port[1] - y
        if part.role is Role.JOINT:
            return port
        a, b = width / 2 / UNIT, height / 2 / UNIT
        oval = not self.vertices[part].boxed and part.role is Role.OPERATION
        if abs(dx) > half(part)[0]:
            return x + np.sign(dx) * a * (np.sqrt(1 - (dy / b) ** 2) if oval else 1), port[1]
        return port[0], y + np.sign(dy) * b * (np.sqrt(1 - (dx / a) ** 2) if oval else 1)

    def _ports(self, part: StepPart, leaving: bool) -> list[Port]:
        x, y = self.places.at[part]
        w, h = (n + 1 for n in half(part))
        if part.role is Role.JOINT:
            return [Port((x, y), None)]
        if part.role in ENDS:
            (left, bottom), (right, top) = self.maze.low, self.maze.high
            ends = {Role.INPUT: Port((x, bottom), NORTH), Role.BEFORE: Port((left, y), EAST)}
            ends |= {Role.AFTER: Port((right, y), WEST), Role.OUTPUT: Port((x, top), SOUTH)}
            return [ends[part.role]]
        sides = {EAST: Port((x + w, y), EAST), WEST: Port((x - w, y), WEST)}
        sides |= {NORTH: Port((x, y + h), NORTH), SOUTH: Port((x, y - h), SOUTH)}
        if part.role is not Role.GATE:
            dear = {WEST: 4.0} if leaving else {EAST: 2.0}
        else:
            dear = {WEST: 8.0, SOUTH: 6.0} if leaving else {NORTH: 12.0, EAST: 12.0}
        ports = [port._replace(cost=dear.get(side, 0.0)) for side, port in sides.items()]
        if part.role is Role.OPERATION:
            ports += [Port((x + k, y + j * h), (0, j), SPARE) for j in (-1, 1) for k in (-1, 1)]
            ports += [Port((x + j * w, y + k), (j, 0), SPARE) for j in (-1, 1) for k in (-1, 1)]
        if part.role is Role.GATE:
            edge = y + h if leaving else y - h
            ports += [Port((x + dx, edge), NORTH if leaving else SOUTH, 3.0) for dx in (-2, -1, 1, 2)]
        return ports

    def _stroke(self, source: StepPart, target: StepPart, lane: bool) -> Stroke:
        if lane or target.role is Role.AFTER:
            return FROM_STATE._replace(width=2.4)
        if source.role is Role.INPUT:
            return FROM_INPUT._replace(width=THICK if target.role is Role.JOINT else 1.3)
        if source.role is Role.BEFORE or source.slots:
            return FROM_STATE._replace(width=THICK if target.role is Role.JOINT else 1.3)
        if target.role is Role.OUTPUT:
            return Stroke(LOOKS[Kind.OUTPUT].color, 1.8)
        return FROM_BUNDLE if source.role is Role.JOINT else PLAIN._replace(width=1.3)

    def _draw(self) -> None:
        """Draw a line with rounded corners, except where another line of the same source branches off."""
        for arc, (source, points) in self.corners.items():
            pieces, sharp = [[points[0]]], {(UNIT * x, UNIT * y) for part, (x, y) in self.dots if part is source}
            for point in points[1:]:
                pieces[-1].append(point)
                if point in sharp and point != points[-1]:
                    pieces.append([point])
            paths = [rounded(piece, RADIUS) for piece in pieces]
            arc.path = np.concatenate([paths[0], *(path[1:] for path in paths[1:])])
        for source, spot in self.dots:
            self._dot(source, spot)

    def _dot(self, source: StepPart, spot: Spot) -> None:
        color = next(arc.stroke.color for arc in self.sketch.arcs if arc.source is self.vertices[source])
        dot = Vertex(f"{self.vertices[source].name} branch {spot[0]} {spot[1]}", "branch", Kind.JUNCTION, color=color)
        dot.x, dot.y, dot.width, dot.height = UNIT * spot[0], UNIT * spot[1], 5.0, 5.0
        self.sketch.vertices.append(dot)


def _simple(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """A line without the interior points of straight stretches."""
    found: list[tuple[float, float]] = []
    for point in points:
        if found and abs(found[-1][0] - point[0]) + abs(found[-1][1] - point[1]) < 1e-9:
            continue
        if len(found) > 1 and (found[-2][0] == found[-1][0] == point[0] or found[-2][1] == found[-1][1] == point[1]):
            found.pop()
        found.append(point)
    return found


def _spots(points: list[tuple[float, float]]) -> Iterable[Spot]:
    """Grid points of a line, in order."""
    for (x, y), (u, v) in itertools.pairwise(points):
        n = round(max(abs(u - x), abs(v - y)) / UNIT) or 1
        for k in range(n + 1):
            a, b = x + (u - x) * k / n, y + (v - y) * k / n
            if a % UNIT == 0 and b % UNIT == 0:
                yield round(a / UNIT), round(b / UNIT)


def _after(points: list[tuple[float, float]], k: int, at: tuple[float, float]) -> bool:
    """Whether a corner of a line comes after a given point of it."""
    for n, ((x, y), (u, v)) in enumerate(itertools.pairwise(points)):
        if min(x, u) <= at[0] <= max(x, u) and min(y, v) <= at[1] <= max(y, v):
            last = n
    return k > last
