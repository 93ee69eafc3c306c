"""Graphical models: nodes are the random variables of each step, and edges are the dependences of their distributions."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from ..views.contraction import Contraction, Value
from ..views.dependences import Dependences
from .drawing import Drawing
from .finish import add_note
from .naming import names_of
from .route import bezier, clip, route
from .sketch import Arc, Sketch, Vertex
from .style import FROM_INPUT, FROM_STATE, INTO_OUTPUT, PITCH, RISE, Kind
from .symbols import indexed

__all__ = ["graphical_model"]

BOW = 34.0
"""Additional height of an edge's control points for each step that the edge passes."""
STROKES = {Kind.INPUT: FROM_INPUT, Kind.STATE: FROM_STATE, Kind.OUTPUT: INTO_OUTPUT, Kind.INITIAL: INTO_OUTPUT}


def graphical_model(contraction: Contraction, found: Dependences, notes: Sequence[str], title: str) -> Drawing:
    """Draw the graphical model over the targets of a contracted graph.

    Parameters
    ----------
    contraction : Contraction
    found : Dependences
        The dependences of the contraction.
    notes : sequence of str
        Lines of text below the picture.
    title : str
    """
    names = names_of(contraction)
    y_name = names[next(iter(found.targets))]
    sketch = Sketch()
    shown: dict[Value, Vertex] = {}
    for value, row in _rows(found).items():
        name, step = (y_name, 0) if value in found.starts else (names[value], value.column)
        vertex = Vertex(f"{name}[{step}]" if step is not None else name, value.family, _kind(value, found), indexed(name, step))
        vertex.fit()
        vertex.step, vertex.x, vertex.y = step, (step or 0) * PITCH, row * RISE
        shown[value] = vertex
        sketch.vertices.append(vertex)
    for value, parents in found.parents.items():
        for parent in parents:
            a, b = shown[parent], shown[value]
            arc = Arc(a, b, STROKES[a.kind], tooltip=f"{b.name} depends on {a.name}")
            if a.y == b.y and b.x - a.x > 1.5 * PITCH:  # passes above the nodes in between
                above = a.y + BOW * ((b.x - a.x) / PITCH - 0.4)
                arc.path = clip(bezier((a.x, a.y), (a.x + PITCH / 3, above), (b.x - PITCH / 3, above), (b.x, b.y)), a, b)
            sketch.arcs.append(arc)
    route(sketch)
    for note in notes:
        add_note(sketch, note)
    said = {shown[v].name: ", ".join(shown[p].name for p in parents) for v, parents in found.parents.items()}
    words = "; ".join(f"{name} depends on {parents or 'nothing'}" for name, parents in said.items())
    return Drawing(sketch, title, f"{words}. {' '.join(notes)}", name="graphical_model")


def _kind(value: Value, found: Dependences) -> Kind:
    if value in found.targets:
        return Kind.OUTPUT
    return Kind.INITIAL if value in found.starts else Kind.INPUT if value.role == "input" else Kind.STATE


def _rows(found: Dependences) -> dict[Value, int]:
    """The row of each node: inputs below, then states one above another, targets on top."""
    values = dict.fromkeys([*found.targets, *(p for parents in found.parents.values() for p in parents), *found.parents])
    kinds = {value: _kind(value, found) for value in values}
    states: dict[Hashable, None] = dict.fromkeys(value.family for value in values if kinds[value] is Kind.STATE)
    order = {family: row for row, family in enumerate(states, 1)}
    top = len(order) + 1
    return {v: 0 if kinds[v] is Kind.INPUT else order[v.family] if kinds[v] is Kind.STATE else top for v in values}
