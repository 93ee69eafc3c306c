"""Changes to a contracted graph before its nodes get places: roles, line styles, bundles of edges, elision of steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import TypeAlias
from unicodedata import normalize

import numpy as np

from .sketch import Arc, Points, Sketch, Vertex
from .style import (
    FROM_BUNDLE,
    FROM_FORCED,
    FROM_INPUT,
    FROM_MASK,
    FROM_STATE,
    FROM_TARGET,
    FROM_VALUE,
    GREY,
    HELD,
    INTO_OUTPUT,
    LOOKS,
    NOTE_FONT,
    PLAIN,
    STARTS,
    THICK,
    Kind,
    Stroke,
)
from .symbols import plain, text_width

__all__ = ["add_note", "bundle", "elide", "give_strokes", "tell_targets"]

Meeting: TypeAlias = "tuple[Hashable, int]"
"""The family of a source, and the number of steps after which the source is read."""


def tell_targets(sketch: Sketch) -> None:
    """Mark as targets the inputs that only a loss reads, and put a hat on values of the same name."""
    uses: dict[Hashable, set[Kind]] = defaultdict(set)
    for arc in sketch.arcs:
        if arc.source.kind is Kind.INPUT and arc.lag == 0:
            uses[arc.source.family].add(arc.target.kind)
    for vertex in sketch.vertices:
        if vertex.kind is Kind.INPUT and uses[vertex.family] == {Kind.LOSS}:
            vertex.kind = Kind.TARGET
    wanted = {(v.column, v.label) for v in sketch.vertices if v.kind is Kind.TARGET}
    made = (Kind.OUTPUT, Kind.STATE, Kind.VALUE)
    alike = {v.family for v in sketch.vertices if v.kind in made and (v.column, v.label) in wanted}
    for vertex in sketch.vertices:
        if vertex.family in alike:  # the prediction of y is ŷ
            vertex.label = normalize("NFC", f"{vertex.label[0]}\u0302{vertex.label[1:]}")


def give_strokes(sketch: Sketch) -> None:
    """Colour each edge by its kind: from an input, recurrent, or into an output."""
    kinds = {v.family: v.kind for v in sketch.vertices if v.kind not in STARTS}
    read_at_once = {arc.source.family for arc in sketch.arcs if arc.lag == 0 and arc.target.kind is not Kind.LOSS}
    for vertex in sketch.vertices:
        if vertex.kind in STARTS and kinds.get(vertex.family) is Kind.INPUT:
            vertex.color = LOOKS[Kind.INPUT].color
    for arc in sketch.arcs:
        kind = kinds.get(arc.source.family, arc.source.kind)
        if arc.source.kind in STARTS and arc.source.family in kinds and kind is Kind.TARGET:
            kind = Kind.STATE
        # data that only later steps read replaces values of the steps, if the steps also have an input
        besides = any(family != arc.source.family and kinds.get(family) is Kind.INPUT for family in read_at_once)
        forced = arc.source.family not in read_at_once and (kind is Kind.TARGET or besides)
        arc.stroke = _stroke(arc, kind, forced)
        if arc.held:
            arc.stroke = arc.stroke._replace(style=HELD)
            arc.label = "hold"
        if arc.cut:
            arc.stroke = PLAIN._replace(style="dashed", width=arc.stroke.width)


def _stroke(arc: Arc, kind: Kind, forced: bool) -> Stroke:
    target = arc.target.kind
    if kind is Kind.MASK:
        return FROM_MASK
    if kind in (Kind.TARGET, Kind.INPUT) and arc.lag and forced and arc.source.kind not in STARTS:
        return FROM_FORCED
    if target is Kind.LOSS:
        return FROM_TARGET if kind is Kind.TARGET else PLAIN
    if kind is Kind.INPUT:
        return FROM_INPUT._replace(width=THICK) if arc.lag else FROM_INPUT
    carried = arc.source.run != arc.target.run and arc.source.column != arc.target.column and target is Kind.STATE
    if arc.lag or kind in STARTS or (carried and kind is Kind.STATE and arc.source.run is not None):
        return FROM_STATE._replace(width=THICK)
    if target is Kind.OUTPUT:
        return INTO_OUTPUT
    return {Kind.VALUE: FROM_VALUE, Kind.STATE: FROM_STATE, Kind.OUTPUT: INTO_OUTPUT, Kind.JUNCTION: FROM_BUNDLE}.get(
        kind, PLAIN
    )


def bundle(sketch: Sketch) -> None:
    """Merge edges from two or more sources to the same three or more sinks through one dot."""
    number = 0
    while (shared := _shared_sinks(sketch)) is not None:
        number += 1
        _through_dot(sketch, number, *shared)


def _through_dot(sketch: Sketch, number: int, sources: set[Meeting], sinks: set[Hashable]) -> None:
    by_sink: dict[Vertex, list[Arc]] = defaultdict(list)
    for arc in sketch.arcs:
        if (arc.source.family, arc.lag) in sources and arc.target.family in sinks and not arc.plain:
            by_sink[arc.target].append(arc)
    dots: dict[int | None, Vertex] = {}
    gone: set[Arc] = set()
    made: list[Arc] = []
    for sink, arcs in by_sink.items():
        if sink.column not in dots:
            step = "" if sink.column is None else f"[{sink.column}]"
            dot = Vertex(f"bundle {number}{step}", ("bundle", number), Kind.JUNCTION, "", sink.column, sink.run)
            dot.width = dot.height = 6.0
            dot.tooltip = f"[{', '.join(plain(arc.source.label) for arc in arcs)}]"
            dots[sink.column] = dot
            sketch.vertices.append(dot)
            for arc in arcs:
                into = Arc(arc.source, dot, arc.stroke, arc.lag, head=False, tooltip="no parameter", cut=arc.cut)
                into.gradient = _added(
                    other.gradient for read in by_sink.values() for other in read if _leaves_alike(other, arc)
                )
                made.append(into)
        joined = Arc(dots[sink.column], sink, FROM_BUNDLE, plain=False)
        joined.label = " ".join(dict.fromkeys(symbol for arc in arcs for symbol in arc.label.split(" ")))
        joined.label_on = True
        joined.gradient = _side_by_side(arc.gradient for arc in arcs)
        joined.tooltip = "\n".join(f"{plain(arc.source.label)}: {arc.tooltip}" for arc in arcs)
        made.append(joined)
        gone.update(arcs)
    sketch.arcs = [arc for arc in sketch.arcs if arc not in gone] + made


def _leaves_alike(a: Arc, b: Arc) -> bool:
    """Whether two edges start at one value and lead to one step."""
    return a.source is b.source and a.target.column == b.target.column


def _added(gradients: Iterable[Points | None]) -> Points | None:
    """Sum of the gradients of several edges; None if no edge has a gradient."""
    known = [g for g in gradients if g is not None]
    return sum(known[1:], known[0]) if known else None


def _side_by_side(gradients: Iterable[Points | None]) -> Points | None:
    """Gradients of several values, concatenated; None if no value has a gradient."""
    known = [g.ravel() for g in gradients if g is not None]
    return np.concatenate(known) if known else None


def _shared_sinks(sketch: Sketch) -> tuple[set[Meeting], set[Hashable]] | None:
    sinks: dict[Meeting, dict[Hashable, None]] = defaultdict(dict)
    for arc in sketch.arcs:
        if not arc.plain and arc.target.kind is not Kind.LOSS:
            sinks[arc.source.family, arc.lag][arc.target.family] = None
    best: tuple[int, list[Meeting], list[Hashable]] | None = None
    keys = list(sinks)
    for i, a in enumerate(keys):
        for b in keys[i + 1 :]:
            common = [family for family in sinks[a] if family in sinks[b]]
            if len(common) < 3:
                continue
            through = [key for key in keys if all(family in sinks[key] for family in common)]
            gain = len(through) * len(common)
            if best is None or gain > best[0]:
                best = gain, through, common
    return None if best is None else (set(best[1]), set(best[2]))


def elide(sketch: Sketch, shown: int) -> None:
    """Replace the middle steps of each unrolling by a column of dots.

    Parameters
    ----------
    sketch : Sketch
    shown : int
        Largest number of columns that are all shown.
    """
    spans = _spans(sketch)
    columns = sorted({column for first, last in spans for column in range(first, last + 1)})
    if len(columns) <= max(shown, 5):
        return
    keep = {column for first, last in spans for column in (first, first + 1, last - 1, last)}
    gaps = _gaps([column for column in columns if column not in keep])
    gap_of = {column: gap for gap in gaps for column in range(gap[0], gap[1] + 1)}
    dots: dict[tuple[Hashable, tuple[int, int]], Vertex] = {}

    def placeholder(vertex: Vertex) -> Vertex:
        gap = gap_of.get(vertex.column) if vertex.column is not None else None
        if gap is None:
            return vertex
        if (vertex.family, gap) not in dots:
            name = vertex.name.rpartition("[")[0]
            again = sum(1 for family, _ in dots if family == vertex.family)
            made = Vertex(f"{name}[…{again or ''}]", vertex.family, Kind.ELISION, "· · ·", gap[0], vertex.run)
            made.width, made.height, made.font = 44.0, 17.0, 15.0
            dots[vertex.family, gap] = made
        return dots[vertex.family, gap]

    arcs: dict[tuple[Vertex, Vertex, bool], Arc] = {}
    for arc in sketch.arcs:
        ends = [end for end in (arc.source, arc.target) if end.column in gap_of]
        if len(ends) == 2 or (ends and arc.source.column == arc.target.column):
            continue
        if ends:
            arc.source, arc.target = placeholder(arc.source), placeholder(arc.target)
        arcs.setdefault((arc.source, arc.target, arc.plain), arc)
    sketch.arcs = list(arcs.values())
    sketch.vertices = [v for v in sketch.vertices if v.column not in gap_of] + list(dots.values())
    for gap in gaps:
        start = max(first for first, last in spans if first <= gap[0] and gap[1] <= last) - 1
        note = Vertex(f"elided {gap[0]}", "elided", Kind.NOTE, f"t = {gap[0] - start} … {gap[1] - start}", gap[0])
        note.fit()
        note.height, note.color = 18.0, GREY
        sketch.vertices.append(note)
        sketch.description += f" Steps {gap[0] - start} to {gap[1] - start} are left out."
    for vertex in sketch.vertices:
        if vertex.column is not None:
            vertex.column -= sum(last - first for first, last in gaps if last < vertex.column)


def _spans(sketch: Sketch) -> list[tuple[int, int]]:
    """The first and last columns of each unrolling."""
    columns: dict[int, list[int]] = defaultdict(list)
    for v in sketch.vertices:
        if v.run is not None and v.column is not None and v.kind not in STARTS:
            columns[v.run].append(v.column)
    return sorted({(min(found), max(found)) for found in columns.values()})


def _gaps(columns: list[int]) -> list[tuple[int, int]]:
    """First and last column of each run of neighbouring columns."""
    gaps: list[tuple[int, int]] = []
    for column in columns:
        if gaps and gaps[-1][1] == column - 1:
            gaps[-1] = gaps[-1][0], column
        else:
            gaps.append((column, column))
    return gaps


def add_note(sketch: Sketch, text: str) -> None:
    """Add a line of text below the graph."""
    note = Vertex(text, "note", Kind.NOTE, text, font=NOTE_FONT, height=NOTE_FONT * 1.3)
    note.width = text_width(text, NOTE_FONT)
    left = min(v.x - v.width / 2 for v in sketch.vertices)
    right = max(v.x + v.width / 2 for v in sketch.vertices)
    note.x, note.y = (left + right) / 2, min(v.y - v.height / 2 for v in sketch.vertices) - 2 * NOTE_FONT
    sketch.vertices.append(note)
