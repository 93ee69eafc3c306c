"""Positions of nodes: the column of a node is its step, and the row is its longest path within the step."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeAlias

from .row_order import spread
from .sketch import Sketch, Vertex
from .style import EDGE_FONT, NODE, PAD, PITCH, RISE, STARTS, Kind
from .symbols import text_width

__all__ = ["Layout", "place", "set_rows", "share_columns"]

Family = Hashable
Layout: TypeAlias = "Mapping[str, tuple[float, float]]"


def share_columns(sketch: Sketch, lengths: dict[int, int]) -> None:
    """Move each unrolling next to the unrollings that it reads, or after them.

    Parameters
    ----------
    sketch : Sketch
    lengths : dict of int to int
        Number of steps of each unrolling.
    """
    offsets: dict[int, int] = {}
    shifts: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for arc in sketch.arcs:
        s, t = arc.source, arc.target
        if s.run is not None and t.run is not None and s.run != t.run and s.column is not None and t.column is not None:
            shifts[t.run].append((s.run, t.column - s.column - arc.lag))
    inputs: dict[Family, set[int]] = defaultdict(set)
    for arc in sketch.arcs:
        if arc.source.run is None and arc.target.run is not None:
            inputs[arc.source.family].add(arc.target.run)
    for run in sorted(lengths):
        read = [(other, shift) for other, shift in shifts[run] if other in offsets]
        if not read:
            offsets[run] = 0
        elif all(shift == 0 for _, shift in read):
            offsets[run] = offsets[read[0][0]]
        else:
            offsets[run] = max(offsets[other] + lengths[other] for other, _ in read)
    for vertex in sketch.vertices:
        if vertex.run is not None and vertex.column is not None:
            vertex.column += offsets[vertex.run]
    _columns_of_others(sketch)


def _columns_of_others(sketch: Sketch) -> None:
    """Columns of nodes without a step: after all inputs of the node, or else in the middle of its readers."""
    incoming: dict[Vertex, list[Vertex]] = defaultdict(list)
    outgoing: dict[Vertex, list[Vertex]] = defaultdict(list)
    for arc in sketch.arcs:
        incoming[arc.target].append(arc.source)
        outgoing[arc.source].append(arc.target)
    loose = [v for v in sketch.vertices if v.column is None and not _sums_up(v, incoming[v])]
    for vertex in loose:
        known = [s.column for s in incoming[vertex] if s.column is not None]
        if known:
            vertex.column = max(known)
    for vertex in reversed(loose):
        known = [t.column for t in outgoing[vertex] if t.column is not None]
        if vertex.column is None and known:
            vertex.column = sorted(known)[len(known) // 2]
    for vertex in loose:
        vertex.column = vertex.column or 0


def _sums_up(vertex: Vertex, sources: Sequence[Vertex]) -> bool:
    """Whether a node is the total of several losses; the total is placed after the losses."""
    return vertex.kind is Kind.LOSS and sum(source.kind is Kind.LOSS for source in sources) > 1


def set_rows(sketch: Sketch) -> None:
    """Set rows by the longest path within a step; a recurrent value has a row of its own."""
    families = list(dict.fromkeys(v.family for v in sketch.vertices if v.kind not in (Kind.NOTE, Kind.DELAY)))
    kinds = {v.family: v.kind for v in sorted(sketch.vertices, key=lambda v: v.kind not in STARTS)}
    columns: dict[Family, set[int]] = defaultdict(set)
    for v in sketch.vertices:
        columns[v.family].add(v.column or 0)
    spans = {family: (min(found), max(found)) for family, found in columns.items()}
    before: dict[Family, dict[Family, None]] = defaultdict(dict)
    own_row: set[Family] = set()
    for arc in sketch.arcs:
        s, t = arc.source, arc.target
        if s.family == t.family and arc.lag and t.kind is not Kind.JUNCTION:
            own_row.add(t.family)
        if arc.lag and s.column == t.column and s.kind is not Kind.INPUT:
            own_row.add(s.family)  # folded drawing: its delay is next to it
        if arc.lag == 0 and (s.column == t.column or s.run is None) and s.family != t.family and s.kind not in STARTS:
            before[t.family][s.family] = None
        elif t.kind in STARTS:
            before[t.family].setdefault(s.family, None)
    rows: dict[Family, int] = {}

    def is_taken(row: int, family: Family) -> bool:
        return any(
            other is not family
            and found == row
            and (family in own_row or other in own_row)
            and _overlap(spans[family], spans[other])
            for other, found in rows.items()
        )

    order = [family for family in _ordered(families, before) if kinds[family] not in (Kind.TARGET, Kind.MASK)]
    for family in order:
        row = max((rows[s] + 1 for s in before[family] if s in rows), default=0)
        if row == 0 and kinds[family] is not Kind.INPUT and any(k is Kind.INPUT for k in kinds.values()):
            row = 1
        while is_taken(row, family):
            row += 1
        rows[family] = row
    # a value computed only from earlier steps is placed just below its reader
    fed = {family for family in order if kinds[family] is Kind.INPUT}
    after: dict[Family, list[Family]] = defaultdict(list)
    for family in order:
        if any(source in fed for source in before[family]):
            fed.add(family)
        for source in before[family]:
            after[source].append(family)
    for family in reversed(order):
        if fed and family not in fed and family not in own_row and after[family]:
            highest = min(rows[t] for t in after[family] if t in rows) - 1
            rows[family] = next((row for row in range(highest, rows[family], -1) if not is_taken(row, family)), rows[family])
    _even_ends(rows, kinds)
    _lower_constants(sketch, rows, kinds)
    for arc in sketch.arcs:
        if kinds[arc.source.family] is Kind.TARGET and arc.target.kind is Kind.LOSS:
            rows[arc.source.family] = rows[arc.target.family] + 1
    for vertex in sketch.vertices:
        vertex.row = rows.get(vertex.family, 0)


def _even_ends(rows: dict[Family, int], kinds: dict[Family, Kind]) -> None:
    """Move all losses to the top row."""
    losses = [family for family in rows if kinds[family] is Kind.LOSS]
    others = [row for family, row in rows.items() if kinds[family] is not Kind.LOSS]
    for family in losses:
        rows[family] = max(rows[family], max(others, default=0) + 1)


def _lower_constants(sketch: Sketch, rows: dict[Family, int], kinds: dict[Family, Kind]) -> None:
    """Move inputs without a step below the inputs of the steps."""
    of_steps = {v.family for v in sketch.vertices if v.run is not None}
    constant = {f for f, row in rows.items() if row == 0 and kinds[f] is Kind.INPUT and f not in of_steps}
    if any(row == 0 and family in of_steps for family, row in rows.items()):
        rows |= dict.fromkeys(constant, -1)


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]


def _ordered(families: list[Family], before: dict[Family, dict[Family, None]]) -> list[Family]:
    """Families of values, each after the families that it depends on; a cycle is broken at its first visited family."""
    order: dict[Family, None] = {}
    entered: set[Family] = set()
    stack = [(family, False) for family in reversed(families)]
    while stack:
        family, done = stack.pop()
        if done:
            order[family] = None
        elif family not in entered:
            entered.add(family)
            stack.append((family, True))
            stack += [(source, False) for source in reversed(list(before[family])) if source not in entered]
    return list(order)


def place(sketch: Sketch, free: bool = False, layout: Layout | None = None) -> None:
    """Set the coordinates of every node.

    Parameters
    ----------
    sketch : Sketch
        A sketch whose nodes have rows.
    free : bool
        See :func:`spread`.
    layout : mapping of str to pair of float, optional
        Positions chosen by the author, by name: the number of nodes to the right, and the row.
    """
    widest = max((v.width for v in sketch.vertices if v.kind not in (Kind.NOTE, Kind.MASK)), default=NODE)
    crowded = any(v.kind is Kind.JUNCTION for v in sketch.vertices)
    labels = [text_width(a.label, EDGE_FONT) for a in sketch.arcs if a.lag == 0 and a.label]
    on_edges = [text_width(a.label, EDGE_FONT) for a in sketch.arcs if a.label_on]
    gap = max(
        widest + (62 if crowded else 36),
        widest + 0.5 * max(labels, default=0) + 20,
        (max(on_edges, default=0) + 20) / 0.56,  # labels are side by side, at 0.56 of their edges
    )
    gap = 2.0 * math.ceil(gap / 2)
    offsets = spread(sketch, gap, free)
    span = max(offsets.values(), default=0) - min(offsets.values(), default=0)
    across = [text_width(a.label, EDGE_FONT) for a in sketch.arcs if a.lag and a.label]
    skips = _skips(sketch)
    pitch = max(PITCH, widest + 62, widest + max(across, default=0) + 38) + span + (26 if skips and across else 0)
    longest = max((a.lag for a in sketch.arcs if a.lag > 1 and a.source.row != a.target.row), default=0)
    slope = 24 + 22 * min(6, longest - 2) if longest else 0  # otherwise lines of different delays would coincide
    pitch = math.ceil(pitch)
    rise = max(RISE + slope, max((v.height for v in sketch.vertices), default=NODE) + 36)
    for vertex in sketch.vertices:
        vertex.x = round((vertex.column or 0) * pitch + offsets.get(vertex.family, 0.0), 1)
        vertex.y = round(vertex.row * rise, 1)
        chosen = (layout or {}).get(vertex.name.rpartition(".")[2])
        if chosen is not None:
            vertex.x, vertex.y = round(chosen[0] * gap, 1), round(chosen[1] * rise, 1)
    if sketch.aspect is not None:
        _stretch(sketch, sketch.aspect)
    _make_room(sketch, pitch)
    _place_masks(sketch)
    _place_notes(sketch)


WIDEST = 2.0
"""Largest factor by which distances of nodes are stretched to reach the wanted aspect ratio."""


def _stretch(sketch: Sketch, aspect: float) -> None:
    """Stretch columns or rows so that the picture has nearly the wanted aspect ratio."""
    xs, ys = ([getattr(v, axis) for v in sketch.vertices] for axis in "xy")
    width, height = max(xs) - min(xs), max(ys) - min(ys)
    border = NODE + 2 * PAD
    wider = (aspect * (height + border) - border) / (width or 1.0)
    higher = ((width + border) / aspect - border) / (height or 1.0)
    for vertex in sketch.vertices:
        vertex.x = round(vertex.x * min(max(wider, 1.0), WIDEST), 1)
        vertex.y = round(vertex.y * min(max(higher, 1.0), WIDEST), 1)


def _make_room(sketch: Sketch, pitch: float) -> None:
    """Move an initial value between the columns if its position is occupied."""
    standing = [v for v in sketch.vertices if v.kind not in (*STARTS, Kind.MASK, Kind.NOTE)]
    for vertex in sketch.vertices:
        if vertex.kind in STARTS and any(_meet(vertex, other) for other in standing):
            vertex.x += round(pitch / 2, 1)


def _skips(sketch: Sketch) -> int:
    """Edges within one step that pass over a row."""
    return sum(
        1 for a in sketch.arcs if a.lag == 0 and a.source.column == a.target.column and abs(a.source.row - a.target.row) > 1
    )


ASIDE = ((-45, -40), (-60, -24), (45, -40), (-45, 40), (45, 40), (-70, -40), (70, -40), (-110, -40), (110, -40))
"""Possible offsets of a mask from the value that it selects; the first free one is used."""


def _place_masks(sketch: Sketch) -> None:
    """Place each family of masks at one side of the values that the mask selects."""
    others = [v for v in sketch.vertices if v.kind not in (Kind.MASK, Kind.NOTE)]
    deciding: dict[Family, dict[Vertex, Vertex]] = defaultdict(dict)
    for arc in sketch.arcs:
        if arc.source.kind is Kind.MASK:
            deciding[arc.source.family].setdefault(arc.source, arc.target)
    for targets in deciding.values():
        for dx, dy in ASIDE:
            for mask, target in targets.items():
                mask.width = mask.height = 36.0
                mask.x, mask.y = target.x + dx, target.y + dy
            if not any(_meet(mask, other) for mask in targets for other in others):
                break
        others += targets


def _meet(a: Vertex, b: Vertex) -> bool:
    return abs(a.x - b.x) < (a.width + b.width) / 2 + 2 and abs(a.y - b.y) < (a.height + b.height) / 2 + 2


def _place_notes(sketch: Sketch) -> None:
    bottom = min((v.y for v in sketch.vertices if v.kind is not Kind.NOTE), default=0)
    if any(v.kind is Kind.ELISION and v.y < bottom + 20 for v in sketch.vertices):
        bottom -= 38
    for vertex in sketch.vertices:
        if vertex.kind is Kind.NOTE:
            vertex.y = bottom
