"""A picture built up step by step: the part visible after each step, with the nodes in their final places."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace

import numpy as np

from .marks import extent
from .route import evenly
from .sketch import Box, Sketch, Vertex
from .style import STARTS, Kind

__all__ = ["built_up"]


def built_up(sketch: Sketch) -> list[Sketch]:
    """Sketches of the picture after each step; the last one is complete.

    Parameters
    ----------
    sketch : Sketch
        The sketch of an unrolled drawing, with places and paths.
    """
    stages = _stages(sketch)
    page = extent(sketch)
    return [_until(sketch, stages, stage, page) for stage in sorted(set(stages.values()) - {-math.inf})]


def _stages(sketch: Sketch) -> dict[Vertex, float]:
    """The step, as a column, at which each node appears; nodes without a step and without neighbours appear first."""
    made_of: dict[Vertex, list[Vertex]] = defaultdict(list)
    read_by: dict[Vertex, list[Vertex]] = defaultdict(list)
    for arc in sketch.arcs:
        made_of[arc.target].append(arc.source)
        read_by[arc.source].append(arc.target)
    stages: dict[Vertex, float] = {}
    for v in sketch.vertices:
        if v.column is not None and v.kind not in STARTS and (v.run is not None or v.kind is Kind.NOTE):
            stages[v] = float(v.column)
    for v in sketch.vertices:  # others appear with their last input, or else with their first reader
        if v not in stages:
            before = [stages[source] for source in made_of[v] if source in stages]
            after = [stages[target] for target in read_by[v] if target in stages]
            stages[v] = max(before) if before else min(after, default=-math.inf)
    return stages


def _until(sketch: Sketch, stages: dict[Vertex, float], stage: float, page: Box) -> Sketch:
    """The part of a sketch that is visible after one step."""
    shown = {v for v, first in stages.items() if first <= stage}
    arcs = [arc for arc in sketch.arcs if arc.source in shown and arc.target in shown]
    lines = [evenly(arc.path) for arc in arcs if arc.path is not None]
    ends = {v for arc in sketch.arcs for v in (arc.source, arc.target)}
    for v in sketch.vertices:
        if v.kind is Kind.JUNCTION and v not in ends:  # a dot is needed only where two lines part
            passing = sum(float(np.hypot(*(line - (v.x, v.y)).T).min()) < v.width for line in lines)
            shown = shown if passing > 1 else shown - {v}
    return replace(sketch, vertices=[v for v in sketch.vertices if v in shown], arcs=arcs, page=page)
