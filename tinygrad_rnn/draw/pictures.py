"""Pictures of graphs and modules: the two doors of this room."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from ..errors import DataError
from ..graph.graph import Graph
from ..graph.per_step import behind_cuts, per_step
from ..nn.module import Module
from .contract import contract, runs_of
from .dot import written
from .drawing import Drawing
from .finish import bundle, elide, give_strokes, tell_targets
from .fold import folded
from .place import place, set_rows, share_columns
from .route import route
from .sketch import Sketch
from .trace import traced

__all__ = ["draw", "draw_module"]

Time = Literal["folded", "unrolled"]
Detail = Literal["slots", "values", "ops", "layers"]

COLUMNS = 10
"""Steps that are drawn before the middle ones are left out."""


def draw(
    graph: Graph,
    time: Time | None = None,
    detail: Detail | None = None,
    steps: int | None = None,
    values: bool = False,
    name: str = "graph",
) -> Drawing:
    split = per_step(graph)
    if not split.unrollings():
        raise NotImplementedError
    return _draw_time(split, time or "unrolled", detail, steps or COLUMNS, values, name, graph)


def draw_module(
    module: Module,
    time: Time = "folded",
    detail: Detail | None = None,
    steps: int = 4,
    loss: Callable[[Any, Any], Any] | None = None,
    targets: Any = None,
    inputs: Any = None,
    values: bool = False,
) -> Drawing:
    T = max(steps, 4) if time == "folded" else steps
    graph = traced(module, T, inputs, loss, targets)
    return _draw_time(graph, time, detail, COLUMNS, values, type(module).__name__, graph)


def _draw_time(
    graph: Graph, time: Time, detail: Detail | None, shown: int, values: bool, name: str, original: Graph
) -> Drawing:
    if time == "folded" and detail is None:
        detail = "values"
    sketch = contract(graph, detail, values, timeless=time == "folded")
    tell_targets(sketch)
    lengths = {run.number: run.length for run in runs_of(behind_cuts(graph.outputs)).values()}
    share_columns(sketch, lengths)
    give_strokes(sketch)
    if time == "folded":
        sketch = folded(sketch)
    else:
        bundle(sketch)
        elide(sketch, shown)
        set_rows(sketch)
        place(sketch)
    route(sketch)
    title = f"{name}, {time}"
    return Drawing(written(sketch, name), title, _described(sketch), original.text(limit=60))


def _described(sketch: Sketch) -> str:
    edges = [f"{a.source.label} → {a.target.label}" + (f" by {a.label}" if a.label else "") for a in sketch.arcs[:60]]
    return ("; ".join(edges) + "." + sketch.description).replace("\n", " ")


_ = DataError
