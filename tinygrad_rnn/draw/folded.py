"""The folded drawing: one step of a verified fold, closed through delays.

If a value is read d steps later, its edge goes through a chain of d black squares; each square is one delay z⁻¹.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable
from dataclasses import replace

from .delays import close
from .finish import bundle
from .positions import Layout, place, set_rows
from .sketch import Arc, Sketch, Vertex
from .style import STARTS

__all__ = ["folded"]


def folded(sketch: Sketch, layout: Layout | None = None) -> Sketch:
    """One step of a sketch with its delays, with positions and paths.

    Parameters
    ----------
    sketch : Sketch
        The sketch of a graph in which all runs can be folded, because their steps are alike.
    layout : mapping of str to pair of float, optional
        See :func:`place`.
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
    """A sketch with one vertex for all steps of a value, and one arc for all steps of an edge."""
    model: dict[Hashable, Vertex] = {}
    columns: dict[int | None, set[int | None]] = defaultdict(set)
    for v in sorted(sketch.vertices, key=lambda v: v.kind in STARTS):
        model.setdefault(v.family, v)  # an initial value represents its state only if no step computes the state
        if v.kind not in STARTS:
            columns[v.run].add(v.column)
    counts: Counter[tuple[Hashable, ...]] = Counter()
    arcs: dict[tuple[Hashable, ...], Arc] = {}
    for arc in sketch.arcs:
        s, t = arc.source, arc.target
        if not (s.kind in STARTS and model[s.family] is not s):
            key: tuple[Hashable, ...] = (s.family, t.family, arc.lag, arc.plain, t.kind in STARTS and model[t.family] is not t)
            counts[key] += 1
            arcs.setdefault(key, arc)
    quotient = replace(sketch, vertices=[], arcs=[])
    once: list[Arc] = []
    for key, arc in arcs.items():
        made = arc.between(model[arc.source.family], model[arc.target.family], arc.lag)
        between_runs = counts[key] == 1 and arc.source.run != arc.target.run
        if key[-1] or (between_runs and len(columns[arc.target.run]) > 1 and arc.target.run is not None):
            when = "at the start only"
        elif between_runs and len(columns[arc.source.run]) > 1 and arc.source.run is not None:
            when = "after the last step only"
        else:
            when = ""
        if when:
            made.lag, made.stroke, made.tooltip = 0, made.stroke._replace(style="dashed"), f"{made.tooltip}\n{when}"
        if made.source is not made.target or made.lag:
            (once if when else quotient.arcs).append(made)
    quotient.arcs += once
    joined = {end for arc in quotient.arcs for end in (arc.source, arc.target)}
    quotient.vertices = [v for v in model.values() if v in joined]
    numbered = [v.column for v in quotient.vertices if v.boxed and v.kind not in STARTS and v.run is not None]
    quotient.numbered = sorted({column for column in numbered if column is not None})
    for v in quotient.vertices:
        v.column = 0
    return quotient
