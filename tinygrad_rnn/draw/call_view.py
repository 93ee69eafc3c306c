"""Plans of compiled functions: the calls in order, with the data between them."""

from __future__ import annotations

from collections.abc import Sequence

from ..compilation.plan import Datum, StepPlan, operations, words
from ..compilation.program import ScanCall
from ..console import counted
from .drawing import Drawing
from .layered import layered
from .sketch import Arc, Sketch, Vertex
from .style import PLAIN, Kind
from .symbols import plain, pretty

__all__ = ["draw_calls"]

MOST_NAMES = 4
"""Largest number of arrays that are shown by their names."""
NOUNS = {"memory": ("memory", "memories"), "value": ("array", "arrays"), "residual": ("kept", "kept")}
KEPT = PLAIN._replace(style="dashed")


def draw_calls(plan: StepPlan) -> Drawing:
    """Draw the calls of a compiled function, the first lowest, with the data that they read and write.

    Parameters
    ----------
    plan : StepPlan

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> plan = tr.compile(lambda x: tr.tanh(x * 2) + 1).plan(np.zeros((2, 3)))
    >>> draw_calls(plan).source.splitlines()[0]
    'digraph calls {'
    """
    sketch, bands = Sketch(), {}
    boxes: list[Vertex] = []
    for k, call in enumerate(plan.calls):
        kind, steps = words(call)
        done = operations(call)
        label = "\n".join(part for part in (f"{k + 1}  {kind}", steps, done.partition(":")[0]) if part)
        look = Kind.STEPWISE if isinstance(call, ScanCall) else Kind.ONCE
        boxes.append(Vertex(f"{k + 1} {kind}", call, look, label, tooltip=done.replace(": ", "\n", 1), width=28.0, height=24.0))
        bands[boxes[-1]] = float(k)
    groups: dict[tuple[str, int | None, int | None], list[Datum]] = {}
    for datum in plan.data:
        groups.setdefault((datum.kind, datum.source, datum.target), []).append(datum)
    sketch.vertices += boxes
    for (kind, source, target), data in groups.items():
        if source is not None and target is not None:
            stroke = KEPT if kind == "residual" else PLAIN
            sketch.arcs.append(Arc(boxes[source], boxes[target], stroke, label=_label(data), tooltip=_tooltip(data)))
            continue
        place = f"of {target + 1}" if target is not None else "at the end" if source is None else f"after {source + 1}"
        vertex = Vertex(
            f"{kind} {place}", (kind, place), Kind.DATA, _label(data), tooltip=_tooltip(data), width=28.0, height=24.0
        )
        vertex.fit(24.0)
        sketch.vertices.append(vertex)
        if target is not None:
            bands[vertex] = target - 0.5
            sketch.arcs.append(Arc(vertex, boxes[target], PLAIN, tooltip=vertex.tooltip))
        elif source is not None:
            bands[vertex] = source + 0.5
            sketch.arcs.append(Arc(boxes[source], vertex, PLAIN, tooltip=vertex.tooltip))
    for box in boxes:
        box.fit(16.0)
    layered(sketch, bands)
    said = f"{plan.name}: {counted(len(boxes), 'call')} of a compiled function"
    inside = "; ".join(plain(box.label).replace("\n", ", ") for box in boxes)
    return Drawing(sketch, said, f"{said}. {inside}", "calls")


def _label(data: Sequence[Datum]) -> str:
    """Names of some arrays if all are named and few, or their number."""
    names = _names(data)
    if all(datum.name for datum in data) and len(data) <= MOST_NAMES:
        return ("kept " if data[0].kind == "residual" else "") + ", ".join(names)
    return _count(data) if len(data) > 1 else NOUNS.get(data[0].kind, (data[0].kind,))[0]


def _names(data: Sequence[Datum]) -> list[str]:
    return list(dict.fromkeys(("∂" if datum.kind == "gradient" else "") + pretty(datum.name) for datum in data if datum.name))


def _count(data: Sequence[Datum]) -> str:
    return counted(len(data), *NOUNS.get(data[0].kind, (data[0].kind,)))


def _tooltip(data: Sequence[Datum]) -> str:
    """The number of arrays, and their names."""
    names = ", ".join(map(plain, _names(data)))
    return f"{_count(data)}\n{names}" if names else _count(data)
