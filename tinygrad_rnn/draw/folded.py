"""The folded drawing: the quotient of the unrolled one by time, closed through delays.

A value that a step reads d steps later goes through a chain of d black squares, z⁻¹ each.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable

from ..errors import FoldError
from .delays import close
from .finish import bundle
from .positions import Layout, place, set_rows
from .sketch import Arc, Sketch, Vertex
from .style import STARTS

__all__ = ["folded", "reads_before_start"]


def reads_before_start(sketch: Sketch) -> bool:
    """Whether the last step still reads what was before the first: the trace is too short."""
    columns: dict[int | None, set[int]] = defaultdict(set)
    for v in sketch.vertices:
        if v.column is not None and v.run is not None and v.kind not in STARTS:
            columns[v.run].add(v.column)
    reads: Counter[tuple[Vertex, int | None]] = Counter()
    for arc in sketch.arcs:
        if arc.source.kind in STARTS and arc.target.run in columns:
            length = len(columns[arc.target.run])
            if arc.source.run is not None and arc.lag >= length:
                return True
            if arc.source.run is None:  # not known as the start of any slot yet
                reads[arc.source, arc.target.run] += 1
    return any(count < len(columns[run]) for (_, run), count in reads.items())


def folded(sketch: Sketch, layout: Layout | None = None) -> Sketch:
    """One step of a sketch with its delays, every node and edge in its place.

    Parameters
    ----------
    sketch : Sketch
    layout : mapping of str to pair of float, optional
        See :func:`place`.

    Raises
    ------
    FoldError
        If the steps differ.
    """
    quotient = _quotient(sketch)
    bundle(quotient)
    for v in quotient.vertices:
        v.name = v.name.partition("[")[0]
    set_rows(quotient)
    place(quotient, free=True, layout=layout)
    close(quotient)
    return quotient


def _quotient(sketch: Sketch) -> Sketch:
    model: dict[Hashable, Vertex] = {}
    columns: dict[int | None, set[int]] = defaultdict(set)
    for v in sketch.vertices:
        if v.kind not in STARTS:
            model.setdefault(v.family, v)
            if v.column is not None:
                columns[v.run].add(v.column)
    lengths = {run: len(found) for run, found in columns.items()}
    there: Counter[Hashable] = Counter(v.family for v in sketch.vertices if v.kind not in STARTS)
    for v in sketch.vertices:
        model.setdefault(v.family, v)
    counts: Counter[tuple[Hashable, ...]] = Counter()
    arcs: dict[tuple[Hashable, ...], Arc] = {}
    starts: dict[tuple[Hashable, ...], Arc] = {}
    for arc in sketch.arcs:
        s, t = arc.source, arc.target
        if s.kind in STARTS and model[s.family] is not s:
            continue
        if t.kind in STARTS:
            if model[t.family] is not t:
                starts[s.family, t.family, arc.plain] = arc
            continue
        key: tuple[Hashable, ...] = (s.family, t.family, arc.lag, arc.plain)
        counts[key] += 1
        arcs.setdefault(key, arc)
    quotient = Sketch(description=sketch.description, owners=sketch.owners)
    for key, arc in arcs.items():
        s, t, lag, plain = model[arc.source.family], model[arc.target.family], arc.lag, arc.plain
        # what the last step made, and nobody read, is not in the graph
        T = min(lengths.get(arc.target.run, 1), max(there[t.family], 2)) if arc.target.run is not None else counts[key]
        if counts[key] < T - lag:
            if arc.source.run != arc.target.run and counts[key] == 1:
                starts[arc.source.family, arc.target.family, plain] = arc
                continue
            raise FoldError(
                f'the steps differ: {s.label} → {t.label} is there at {counts[key]} of {T} steps; draw it with time="unrolled"'
            )
        if s is not t or lag:
            quotient.arcs.append(arc.between(s, t, lag))
    for arc in starts.values():
        made = arc.between(model[arc.source.family], model[arc.target.family])
        made.stroke = made.stroke._replace(style="dashed")
        made.tooltip += "\nat the start only"
        quotient.arcs.append(made)
    joined = {end for arc in quotient.arcs for end in (arc.source, arc.target)}
    quotient.vertices = [v for v in model.values() if v in joined]
    with_numbers = [v for v in quotient.vertices if v.boxed and v.kind not in STARTS]
    quotient.numbered = sorted({v.column for v in with_numbers if v.column is not None})
    for v in quotient.vertices:
        v.column = 0
    return quotient
