"""Positions of the parts of a step: horizontal state lines, gates in a row below them, and the input from below."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .positions import Layout
from .step import Diagram, Line, Role, StepPart
from .style import NODE_FONT
from .symbols import text_width

__all__ = ["UNIT", "Places", "joined", "placed", "size"]

UNIT = 10.0
"""Distance between two lines of the grid, in points."""
COLUMN, ROW = 8, 6
"""Distances of neighbours on the grid."""
LINE = 4
"""Distance of two state lines that enter below."""
SMALL = 26.0
"""Diameter of an operation."""
TOP = 1e6
"""A placeholder for the row just below the state lines, which is computed later."""
LANE = 2 * TOP


@dataclass
class Places:
    """Positions of all parts of a step's picture, in grid units.

    Attributes
    ----------
    at : dict of StepPart to pair of int
    frame : tuple of int
        The cell's outline: left, bottom, right, top. Lines turn inside the outline. Only the ends
        of lines are outside.
    lanes : dict of int to list of StepPart
        The slots whose lines are straight, with the operations on each line.
    entries : dict of (StepPart, StepPart) to pair of int
        The point where a line meets the vertical line of a joint.
    """

    at: dict[StepPart, tuple[int, int]]
    frame: tuple[int, int, int, int]
    lanes: dict[int, list[StepPart]]
    entries: dict[tuple[StepPart, StepPart], tuple[int, int]]


def size(part: StepPart) -> tuple[float, float]:
    """Width and height of a part in points."""
    width = text_width(label(part), NODE_FONT)
    if part.role is Role.GATE:
        return max(48.0, width + 10), SMALL
    if part.role is Role.OPERATION:
        return (SMALL, SMALL) if len(part.text) < 3 else (max(42.0, width + 14), SMALL - 2)
    if part.role is Role.JOINT:
        return 6.0, 6.0
    return max(18.0, width + 6), 18.0


def label(part: StepPart) -> str:
    """Text on a part; the name of an operation is at the end of its line."""
    return f"{part.text} {part.name}".strip() if part.role is not Role.OPERATION or len(part.text) > 2 else part.text


def half(part: StepPart) -> tuple[int, int]:
    """Half the width and height of a part, in grid units."""
    width, height = size(part)
    return math.ceil((width / 2 + 4) / UNIT) - 1, math.ceil((height / 2 + 4) / UNIT) - 1


def joined(diagram: Diagram) -> Diagram:
    """The diagram with a joint wherever the same gates read two or more line ends.

    A single gate also gets a joint, if the gate reads nothing else.
    """
    ends = {*diagram.inputs, *diagram.before}
    joints: list[StepPart] = []

    def read(gate: StepPart) -> frozenset[StepPart]:
        return frozenset(source for source, line in gate.reads.items() if source in ends and line.parameters and not line.cut)

    while True:
        reads = {part: found for part in diagram.inner if len(found := read(part)) > 1}
        shared = Counter({a & b: 0 for a in reads.values() for b in reads.values() if len(a & b) > 1})
        for group in shared:
            users = [part for part, found in reads.items() if group <= found]
            if len(users) > 1 or len(users[0].reads) == len(group):
                shared[group] = len(group) * len(users)
        group, gain = max(shared.items(), key=lambda item: item[1], default=(frozenset(), 0))
        if not gain:
            return Diagram(diagram.inputs, diagram.before, [*joints, *diagram.inner], diagram.after, diagram.outputs)
        order = [end for end in (*diagram.inputs, *diagram.before) if end in group]
        names = ", ".join(end.key for end in order)
        joint = StepPart(Role.JOINT, "", "", f"[{names}]", dict.fromkeys(order, Line()), note=f"[{names}]")
        joints.append(joint)
        for part, found in reads.items():
            if group <= found:
                rest = {source: line for source, line in part.reads.items() if source not in group}
                part.reads = {joint: Line(), **rest}


@dataclass
class _Placing:
    diagram: Diagram
    layout: Layout
    lanes: dict[int, list[StepPart]]
    at: dict[StepPart, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lane_of = {part: slot for slot, path in self.lanes.items() for part in path}
        self.users: dict[StepPart, list[StepPart]] = defaultdict(list)
        for read, part, _ in self.diagram.arcs():
            self.users[read].append(part)
        self.right = 7 - COLUMN + 0.0

    def run(self) -> None:
        for part in self._ordered():
            if part.key in self.layout:
                column, row = self.layout[part.key]
                x = 7 + COLUMN * column
                self.at[part] = x, row
            elif part.role is not Role.JOINT:
                self.at[part] = self._spot(part)
            if part in self.at:
                self.right = max(self.right, self.at[part][0] + max(0, half(part)[0] - 3))

    def _ordered(self) -> list[StepPart]:
        """Parts after the parts that they read, each as late as possible; parts on state lines come first."""
        order: dict[StepPart, None] = {}
        roots = [*(part for path in self.lanes.values() for part in path), *self.diagram.after, *self.diagram.outputs]
        stack = [(part, False) for part in reversed([*roots, *self.diagram.inner])]
        inner = set(self.diagram.inner)
        while stack:
            part, done = stack.pop()
            if done and part in inner:
                order[part] = None
            elif part not in order and not done:
                stack.append((part, True))
                stack += [(read, False) for read in reversed(list(part.reads)) if read in inner and read not in order]
        return list(order)

    def _spot(self, part: StepPart) -> tuple[float, float]:
        read = [source for source in part.reads if source in self.at]
        new = self.right + max(COLUMN, half(part)[0] + 5)
        if part in self.lane_of:
            path = self.lanes[self.lane_of[part]]
            before = [other for other in path[: path.index(part)] if other in self.at]
            below = max((self.at[source][0] for source in read if source not in path), default=-1.0)
            free = below >= max((self.at[other][0] + max(COLUMN - 2, _apart(part, other)) for other in before), default=0)
            above = max((row for x, row in self.at.values() if x == below), default=0)
            standing = [self.at[source][1] for source in read if self.at[source][0] == below and source not in path]
            if free and above in standing and self._is_clear(below, half(part)[0], above + 1, TOP):
                return below, LANE
            return new, LANE
        if not read:
            return new, 0
        if len(read) == 1:
            (source,) = read
            row = self.at[source][1]
            if row == LANE:
                return new, TOP
            up = part.role is Role.OPERATION and len(part.reads) == 1 and len(self.users[source]) > 1
            return new, row + (up and row < TOP)
        *others, last = sorted(read, key=lambda source: self.at[source])
        x, row = self.at[last]
        if len(others) == 1:
            other_x, other_row = self.at[others[0]]
            middle = (x + other_x) / 2
            level = row == other_row < TOP and x - other_x <= 2 * COLUMN
            upwards = all(user.role is Role.OPERATION for user in self.users[part])
            if level and upwards and middle == int(middle) and self._is_clear(middle, half(part)[0], row + 1, row + 1):
                return middle, row + 1
            if level and not upwards:
                return new, row
            if other_row != row and other_row < TOP and self._is_clear(x, half(part)[0], other_row, other_row):
                return x, other_row
        if row < TOP and self._is_clear(x, half(part)[0], row + 1, row + 1):
            return x, row + 1
        return new, max((self.at[source][1] for source in read if self.at[source][1] <= TOP), default=0)

    def _is_clear(self, x: float, reach: int, low: float, high: float) -> bool:
        return not any(
            abs(x - other) < reach + half(part)[0] + 2 and (low <= row <= high) for part, (other, row) in self.at.items()
        )


def placed(diagram: Diagram, layout: Layout) -> Places:
    """Positions for all parts of a step's diagram.

    Parameters
    ----------
    diagram : Diagram
        A diagram with its joints.
    layout : mapping of str to pair of float
        Positions chosen by the author for gates and operations, by their keys: the number of columns
        to the right, and the number of rows above the gates.
    """
    lanes = _lanes(diagram)
    placing = _Placing(diagram, layout, lanes)
    placing.run()
    rows = [row for _, row in placing.at.values() if row < TOP]
    top = max([1.0, *rows])
    columns = {x for x, row in placing.at.values() if row == TOP}
    if any(x in columns and row == top for x, row in placing.at.values()):
        top += 1
    joints = [part for part in diagram.inner if part.role is Role.JOINT]
    bus = -ROW - 2 * max(0, len(joints) - 1)
    at: dict[StepPart, tuple[int, int]] = {}
    for part, (x, row) in placing.at.items():
        if part in placing.lane_of and part.key not in layout:
            row = top + 1 + list(lanes).index(placing.lane_of[part])
        at[part] = round(x), round(ROW * (top if row == TOP else row))
    for number, joint in enumerate(joints):
        at[joint] = 2 * number, bus + 2 * number
    right = max((x + half(part)[0] for part, (x, _) in at.items()), default=0) + 4
    heights = {slot: round(ROW * (top + 1 + number)) for number, slot in enumerate(lanes)}
    heights |= {slot: at[path[0]][1] for slot, path in lanes.items()}
    below = [slot for slot in range(len(diagram.before)) if slot not in lanes]
    through = any(read.role is Role.BEFORE for end in diagram.after for read in end.reads)
    heights |= {slot: bus - LINE * (number + through) for number, slot in enumerate(below)}
    columns_of_inputs = _side_by_side(diagram.inputs)
    left = min(columns_of_inputs, default=0) - 5
    for before in diagram.before:
        at[before] = left - _beside(diagram.before), heights[before.slots[0]]
    exits = _exits(diagram, heights, lanes, bus)
    low = min([bus, *heights.values(), *exits.values()])
    high = max([bus, *(y for _, y in at.values())]) + 4
    for part, x in zip(diagram.inputs, columns_of_inputs, strict=True):
        at[part] = x, low - 6 - 2 * max(0, len(diagram.inputs) - 1)
    for end in diagram.outputs:
        (source,) = end.reads
        x = at[source][0] if source.reads else right - 1
        others = [other for other in diagram.outputs if other in at]
        while any(abs(x - at[other][0]) < _apart(end, other) for other in others) or not _is_open(at, x, source):
            x += 2
        at[end] = x, high + 3
    right = max([right, *(at[end][0] + 1 for end in diagram.outputs)])
    for part in diagram.after:
        at[part] = right + _beside(diagram.after), exits[part.slots[0]]
    entries = {}
    for joint in joints:
        x, y = at[joint]
        lines = [at[read][1] for read in joint.reads if read.role is Role.BEFORE and at[read][1] <= y]
        inputs = [read for read in joint.reads if read.role is Role.INPUT]
        for read in joint.reads:
            entry = min(y, at[read][1])
            if read in inputs:
                entry = min([y, *lines]) - 2 * (inputs.index(read) + (x != at[read][0]))
            entries[read, joint] = x, entry
    bottom = min([low, *(y for _, y in entries.values())]) - 3
    return Places(at, (left, bottom, right, high), lanes, entries)


def _apart(one: StepPart, other: StepPart) -> int:
    """Distance between the centres of two parts that stand side by side."""
    return half(one)[0] + half(other)[0] + 2


def _side_by_side(inputs: Sequence[StepPart]) -> list[int]:
    """Columns of the inputs, from right to left."""
    steps = [-max(LINE, _apart(one, other)) for one, other in itertools.pairwise(inputs)]
    return list(itertools.accumulate(steps, initial=0)) if inputs else []


def _beside(ends: Sequence[StepPart]) -> int:
    """Distance of the states' line ends from the frame, all in one column."""
    return max((half(part)[0] for part in ends), default=0) + 3


def _exits(diagram: Diagram, heights: Mapping[int, int], lanes: Mapping[int, list[StepPart]], bus: int) -> dict[int, int]:
    """Heights at which state lines leave the frame: the heights at which they enter, if possible."""
    exits = {slot: heights[slot] for slot in lanes}
    sources = {end.slots[0]: next(iter(end.reads)) for end in diagram.after}
    for slot, source in sources.items():
        if source.role is Role.BEFORE and slot not in exits and heights[source.slots[0]] not in exits.values():
            exits[slot] = heights[source.slots[0]]
    for slot, source in sources.items():
        if slot not in exits:
            free = sorted({y for y in heights.values() if y <= bus} - set(exits.values()), reverse=True)
            lowest = min([bus + LINE, *heights.values(), *exits.values()]) - LINE
            if source.role is Role.INPUT or not free:
                exits[slot] = lowest
            else:
                exits[slot] = heights[slot] if heights[slot] in free else free[0]
    return exits


def _is_open(at: Mapping[StepPart, tuple[int, int]], x: int, source: StepPart) -> bool:
    """Whether nothing stands above the part from which an output leaves."""
    y = at[source][1]
    return not any(abs(x - other) < half(part)[0] + 2 and above > y for part, (other, above) in at.items() if part.reads)


def _lanes(diagram: Diagram) -> dict[int, list[StepPart]]:
    """Slots whose previous and next value are linked by operations alone, with these operations."""
    users: dict[StepPart, list[StepPart]] = {}
    for read, part, line in diagram.arcs():
        if not line.parameters:
            users.setdefault(read, []).append(part)
    taken: set[StepPart] = set()
    lanes: dict[int, list[StepPart]] = {}
    for slot, (before, after) in enumerate(zip(diagram.before, diagram.after, strict=True)):
        path = _longest(before, after, users, taken)
        if path:
            lanes[slot] = path
            taken.update(path)
    return lanes


def _longest(
    before: StepPart, after: StepPart, users: Mapping[StepPart, list[StepPart]], taken: set[StepPart]
) -> list[StepPart]:
    """Operations on the longest path between two ends that crosses no gate."""
    paths: dict[StepPart, list[StepPart]] = {after: []}
    order = list(_reached(before, users, taken))
    for part in reversed(order):
        ways = [[user, *paths[user]] if user is not after else [] for user in users.get(part, ()) if user in paths]
        if ways:
            paths[part] = max(ways, key=len)
    return paths.get(before, [])


def _reached(start: StepPart, users: Mapping[StepPart, list[StepPart]], taken: set[StepPart]) -> Iterator[StepPart]:
    """Operations that follow a part, in order."""
    order: dict[StepPart, None] = {}
    entered: set[StepPart] = set()
    stack = [(start, False)]
    while stack:
        part, done = stack.pop()
        if done:
            order[part] = None
        elif part not in entered and (part is start or (part.role is Role.OPERATION and part not in taken)):
            entered.add(part)
            stack.append((part, True))
            stack += [(user, False) for user in users.get(part, ())]
    return reversed(list(order))
