"""The layer view: a box for each unrolling and step, and each shared parameter once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import replace

from .sketch import Arc, Sketch, Vertex
from .style import NOTE_FONT, PLAIN, TINTS, Kind
from .symbols import indexed, plain, pretty, text_width

__all__ = ["add_parameters", "merged"]

CHIP = 20.0
"""Height of a parameter's box."""


def merged(sketch: Sketch, titles: Mapping[int, str]) -> Sketch:
    """The sketch with one box for all values of one unrolling and step.

    Parameters
    ----------
    sketch : Sketch
        A sketch contracted to its slots.
    titles : mapping of int to str
        Title of the box of each unrolling.
    """
    inside = _members(sketch)
    boxes: dict[tuple[int | None, int | None, bool], Vertex] = {}
    box_of: dict[Vertex, Vertex] = {}
    for vertex in sketch.vertices:
        if vertex.family not in inside or (vertex.kind is Kind.INITIAL and vertex.color):
            continue
        start = vertex.kind is Kind.INITIAL
        key = vertex.run, vertex.column, start
        if key not in boxes:
            title = titles.get(vertex.run or 0, "layer")
            name = f"{title}{' start' if start else ''}[{vertex.column}]"
            box = Vertex(name, ("layer", vertex.run), Kind.START if start else Kind.LAYER, "", vertex.column, vertex.run)
            box.height, box.width = 36.0 if not start else 28.0, 56.0
            box.label = "" if start else title
            boxes[key] = box
        box_of[vertex] = boxes[key]
        _, *numbers = vertex.label.split("\n")
        if numbers:  # the box shows the numbers, so the edges do not repeat them
            lines = [boxes[key].label, f"{indexed(vertex.base, vertex.step)}: {numbers[0]}", *numbers[1:]]
            boxes[key].label = "\n".join(line for line in lines if line)
            boxes[key].boxed = not start
        elif start:
            boxes[key].label = f"{boxes[key].label} {indexed(vertex.base, vertex.step)}".strip()
        if not start:
            boxes[key].tooltip = f"{boxes[key].tooltip}\n{plain(vertex.label)}: {vertex.tooltip}".strip()
    for box in boxes.values():
        box.fit()
    joined: dict[tuple[Vertex, Vertex], list[Arc]] = defaultdict(list)
    for arc in sketch.arcs:
        s, t = box_of.get(arc.source, arc.source), box_of.get(arc.target, arc.target)
        if s is not t:
            joined[s, t].append(arc)
    result = replace(sketch, vertices=[], arcs=[], owners={})
    within = {vertex.family: box.family for vertex, box in box_of.items()}
    for symbol, families in sketch.owners.items():
        result.owners[symbol] = list(dict.fromkeys(within.get(family, family) for family in families))
    result.vertices = [*boxes.values(), *(v for v in sketch.vertices if v not in box_of)]
    for (s, t), arcs in joined.items():
        arc = Arc(s, t, PLAIN, max(a.lag for a in arcs), plain=False, cut=all(a.cut for a in arcs))
        arc.stroke = max((a.stroke for a in arcs), key=lambda stroke: stroke.width)
        carried = dict.fromkeys(a.source.base for a in arcs if a.source in box_of)
        arc.label = ", ".join(carried)
        arc.tooltip = "\n".join(f"{plain(a.source.label)} → {plain(a.target.label)}: {a.tooltip}" for a in arcs)
        result.arcs.append(arc)
    return result


def _members(sketch: Sketch) -> set[Hashable]:
    """Families of values in each box: states, and the values of the same step from which they are computed."""
    inside = {v.family for v in sketch.vertices if v.kind is Kind.STATE}
    inside |= {a.source.family for a in sketch.arcs if a.lag and a.source.kind is Kind.OUTPUT}
    runs = {v.run for v in sketch.vertices if v.family in inside}
    for v in sketch.vertices:  # an unrolling without a state of its own, such as a delay line
        if v.run is not None and v.run not in runs and v.kind in (Kind.OUTPUT, Kind.VALUE):
            inside.add(v.family)
    while True:
        more = {
            a.source.family
            for a in sketch.arcs
            if a.target.family in inside and a.lag == 0 and a.source.run == a.target.run
            if a.source.kind in (Kind.VALUE, Kind.OUTPUT)
        }
        if more <= inside:
            return inside
        inside |= more


def add_parameters(sketch: Sketch) -> None:
    """Add each shared parameter once, at the start of its row."""
    start = min((v.x - v.width / 2 for v in sketch.vertices), default=0.0) - 24
    lefts: dict[float, float] = {}  # left borders of the existing boxes, by row
    rows = {v.family: v.y for v in sketch.vertices}
    shared: dict[Hashable, list[str]] = defaultdict(list)
    for symbol, (family, *_) in sketch.owners.items():
        shared[family].append(symbol)
    number = 0
    for family, symbols in shared.items():
        if family not in rows:
            continue
        left = lefts.get(rows[family], start)
        tall = min(3, len(symbols))
        columns = -(-len(symbols) // tall)
        width = max(text_width(pretty(symbol), NOTE_FONT) for symbol in symbols) + 12
        lefts[rows[family]] = left - columns * (width + 6) - 12
        for k, symbol in enumerate(symbols):
            chip = Vertex(f"parameter {plain(pretty(symbol))}", ("parameter", symbol), Kind.PARAMETER, pretty(symbol))
            chip.width, chip.height, chip.font = width, CHIP, NOTE_FONT
            chip.color = TINTS[number % len(TINTS)]
            chip.x = left - (columns - 1 - k // tall + 0.5) * (width + 6)
            chip.y = rows[family] + ((tall - 1) / 2 - k % tall) * (CHIP + 4)
            chip.tooltip = f"{plain(pretty(symbol))}: shared by all steps"
            sketch.vertices.append(chip)
            number += 1
