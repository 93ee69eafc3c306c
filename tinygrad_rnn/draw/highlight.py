"""Highlighting: some parts of a step's picture in full colour and all others faint, to explain a cell in several pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..checks import no_such
from .route import evenly, part_of, point_at
from .sketch import Arc, Points, Sketch, Vertex
from .style import Kind, lighter

__all__ = ["highlight"]

ON = 2.0
"""Largest distance of a dot from its line."""


def highlight(sketch: Sketch, names: Sequence[str]) -> None:
    """Fade all nodes and edges except nodes of given names and the edges that start or end there.

    The complete line from its source node is shown, including joints, and including the parts that
    it shares with other lines of the same source.

    Parameters
    ----------
    sketch : Sketch
        A sketch with the paths of its edges.
    names : sequence of str
        Names of nodes, without markup.

    Raises
    ------
    ValueError
        If no node has one of the names; the message lists the names that exist.
    """
    inner = {str(v.family): v for v in sketch.vertices if v.kind not in (Kind.FRAME, Kind.JUNCTION, Kind.PORT)}
    if missing := [name for name in names if name not in inner]:
        raise ValueError(f"highlight: {no_such('value', missing[0], inner)}")
    chosen = {inner[name] for name in names}
    lit = [arc for arc in sketch.arcs if arc.source in chosen or arc.target in chosen]
    for arc in lit:  # the list grows by the edges that lead to a joint
        lit += [other for other in sketch.arcs if other.target is arc.source and other not in lit and _is_joint(arc.source)]
    for arc in lit:
        arc.path = _whole(arc, sketch.arcs)
    shown = {end for arc in lit for end in (arc.source, arc.target)} | chosen
    paths = np.concatenate([evenly(arc.path) for arc in lit if arc.path is not None] or [np.empty((0, 2))])
    for vertex in sketch.vertices:
        is_dot = vertex.kind is Kind.JUNCTION and np.hypot(*(paths - (vertex.x, vertex.y)).T).min(initial=np.inf) < ON
        vertex.faint = vertex.kind is not Kind.FRAME and vertex not in shown and not is_dot
    for arc in sketch.arcs:
        if arc not in lit:
            arc.stroke = arc.stroke._replace(color=lighter(arc.stroke.color))


def _is_joint(vertex: Vertex) -> bool:
    return vertex.kind is Kind.JUNCTION


def _whole(arc: Arc, arcs: Sequence[Arc]) -> Points:
    """The complete path of an edge from its source, including a part that is drawn with another edge."""
    assert arc.path is not None
    for before in arcs:
        if before is arc or before.source is not arc.source or before.path is None:
            continue
        for k in range(0, len(before.path) - 1, 3):
            piece = before.path[k : k + 4]
            t = np.linspace(0, 1, 65)
            away = np.hypot(*(np.stack([point_at(piece, end) for end in t]) - arc.path[0]).T)
            if away.min() < ON and (k > 0 or away.argmin() > 0):
                start = Arc(before.source, before.target, before.stroke)
                start.path = np.concatenate([before.path[:k], part_of(piece, 0, t[away.argmin()])])
                return np.concatenate([_whole(start, [other for other in arcs if other is not before]), arc.path[1:]])
    return arc.path
