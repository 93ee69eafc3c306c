"""A contracted graph as a sketch: labels, names and tooltips for its values and the paths between them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from ..graph.node import Node
from ..views.contraction import Contraction, Value
from ..views.edge_gradients import edge_gradients
from ..views.full_lengths import only_holds
from ..views.functions import functions_of
from ..views.letters import Letters
from .naming import FALLBACK, OWN, edge_label, names_of, parameter_symbols, run_marks, tooltip
from .numbers import described, gradients_of, symbols_of
from .sketch import Arc, Sketch, Vertex
from .style import PLAIN, STARTS, Kind
from .symbols import indexed, pretty

__all__ = ["Options", "Shared", "sketched"]


Shared = Literal["label", "node"]


class Options(NamedTuple):
    """Options of a picture over time, such as labels, notation and detail.

    Attributes
    ----------
    values : bool
        Whether nodes show their numbers.
    labels : sequence of str, optional
        Texts that are shown instead of the codes 0, 1, 2, ….
    shared : {"label", "node"}
        Whether a parameter is shown as a label of edges, or as a node.
    aspect : float, optional
        Width of the picture divided by its height.
    letters : Letters
        The reader's symbols for values and parameters.
    seeds : mapping of Node to array_like, optional
        Cotangents of values, for a picture of the backward pass, in which edges have gradients.
    """

    values: bool = False
    labels: Sequence[str] | None = None
    shared: Shared = "label"
    aspect: float | None = None
    letters: Letters = OWN
    seeds: Mapping[Node, Any] | None = None


def sketched(
    contraction: Contraction, options: Options, timeless: bool, functional: bool = False
) -> tuple[Sketch, dict[Value, Vertex]]:
    """The sketch of a graph over time, a vertex for each value and an arc for each edge, without positions.

    Parameters
    ----------
    contraction : Contraction
    options : Options
    timeless : bool
        Whether labels omit the step, for a folded drawing. Labels with numbers keep the step.
    functional : bool
        Whether the label of an edge is the function that computes its target, if such a function
        exists, instead of parameters.

    Returns
    -------
    Sketch
    dict of Value to Vertex
    """
    options.letters.check([*names_of(contraction).values(), *(p.name or "θ" for p in parameter_symbols(contraction))])
    symbols = parameter_symbols(contraction, options.letters)
    continued = contraction.continued()
    names = names_of(contraction, options.letters)
    marks = run_marks(names, continued)
    gradients = gradients_of(contraction.nodes, contraction.outputs, options.seeds) if options.values else {}
    sketch = Sketch(backwards={run.number for run in contraction.runs if run.reverse})
    if options.values:
        found = {symbol: described(node, gradients) for node, symbol in symbols.items()}
        sketch.numbers = {symbol: lines for symbol, lines in found.items() if lines}
    shown: dict[Value, Vertex] = {}
    alike: dict[tuple[str, bool], list[Hashable]] = {}
    for value in contraction.values:
        base = names[value]
        run = None if value.run is None else value.run.number
        lines = symbols_of(value.node, options.labels) if options.labels else []
        lines = lines or (described(value.node, gradients) if options.values else [])
        _, before = continued.get(value.run, (value.run, 0)) if value.run is not None else (None, 0)
        index = None if value.column is None or (timeless and not lines) else value.column + before
        vertex = Vertex(_unique(value, alike, timeless), value.family, Kind(value.role), column=value.column, run=run)
        vertex.label = indexed(base + marks.get((value.run, base), ""), index)
        vertex.base, vertex.step = pretty(base), index
        vertex.tooltip = tooltip(value.node, [symbols[p] for p in value.biases])
        if lines:
            vertex.label, vertex.boxed, vertex.height = "\n".join([vertex.label, *lines]), True, 0.0
        vertex.fit()
        shown[value] = vertex
        sketch.vertices.append(vertex)
    for source, target, lag, link, adds in contraction.edges:
        arc = Arc(shown[source], shown[target], PLAIN, lag, plain=not link.parameters, cut=link.cut)
        labels = [symbols[p] for p in link.parameters]
        arc.label, arc.tooltip = edge_label([symbols[p] for p in link.firsts], labels)
        arc.held = link.held and arc.plain and source.role != "mask"
        if source.role == "mask":
            arc.label = ""
        elif adds and not arc.held:
            arc.label = "+"
        sketch.arcs.append(arc)
    for source, target, lag, _, _ in contraction.edges:
        if lag and source.family == target.family and only_holds(target.node):
            shown[target].faint = True
    if options.seeds is not None:
        for arc, gradient in zip(sketch.arcs, edge_gradients(contraction, options.seeds), strict=True):
            arc.gradient = gradient
    _tell_functions(sketch, {shown[value]: f for value, f in functions_of(contraction).items()}, functional)
    for value, weights in contraction.weights().items():
        for parameter in weights:
            families = sketch.owners.setdefault(symbols[parameter], [])
            if value.family not in families:
                families.append(value.family)
    return sketch, shown


def _tell_functions(sketch: Sketch, functions: Mapping[Vertex, str], functional: bool) -> None:
    """Label edges with the function that computes their target, on edges from states if there are any."""
    of_states = {arc.target for arc in sketch.arcs if arc.lag or arc.source.kind in STARTS}
    for arc in sketch.arcs:
        f = functions.get(arc.target)
        if f is None or not (functional or arc.plain) or arc.held or arc.source.kind is Kind.MASK or arc.label == "+":
            continue
        is_from_state = arc.lag or arc.source.kind in STARTS
        arc.label = pretty(f) if is_from_state or arc.target not in of_states else ""
        arc.tooltip = f"{f}: {arc.tooltip}"


def _unique(value: Value, alike: dict[tuple[str, bool], list[Hashable]], timeless: bool) -> str:
    """A unique name for a vertex, from scope, name and step."""
    base = value.name or (value.role if value.role in ("operation", "product") else FALLBACK[value.role])
    base = f"{value.scope}.{base}" if value.scope else base
    families = alike.setdefault((base, timeless or value.column is None), [])
    if value.family not in families:
        families.append(value.family)
    again = families.index(value.family) + 1
    step = "" if value.column is None or timeless else f"[{value.column}]"
    return f"{base}{f'_{again}' if again > 1 else ''}{step}"
