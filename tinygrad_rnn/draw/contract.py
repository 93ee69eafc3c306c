"""Contraction: a graph of operations, seen as edges between its named values.

One pass carries, for every node, the values it was made of and the parameters on the way;
paths are never enumerated. Nothing here knows a cell, a layer or a primitive: a state is a
value that a later step reads, a bias is a parameter in a sum, a product names an edge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from ..graph.context import Unrolling
from ..graph.graph import Graph, is_constant, outer_step
from ..graph.node import Node, behind_cuts
from ..ops.facts import facts_of
from .naming import FALLBACK, DrawnRun, edge_label, parameter_symbols, run_marks, runs_of, tooltip
from .numbers import described, gradients_of
from .sketch import Arc, Sketch, Vertex
from .style import PLAIN, Kind
from .symbols import indexed

__all__ = ["Contraction", "contract", "is_copy", "stops_gradient"]

Family: TypeAlias = Hashable

INNER = 2
"""Inner values of a step that an unrolled drawing shows if nobody says how much."""


class Path(NamedTuple):
    """All paths of one kind from a value to a node, merged."""

    firsts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    sums: bool = True
    held: bool = False
    cut: bool = False

    def merged(self, other: Path) -> Path:
        return Path(
            _union(self.firsts, other.firsts),
            _union(self.labels, other.labels),
            self.sums or other.sums,
            self.held and other.held,
            self.cut and other.cut,
        )


Sources: TypeAlias = "dict[tuple[Vertex, bool], Path]"


def _union(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    return a if not b or a == b else tuple(dict.fromkeys(a + b))


def contract(graph: Graph, detail: str | None, values: bool = False, timeless: bool = False) -> Sketch:
    """The graph contracted to its named values.

    Parameters
    ----------
    graph : Graph
        As :func:`per_step` leaves it.
    detail : {"slots", "values", None}
        Whether named values within a step are shown; None shows them up to two a step.
    values : bool
        Whether labels hold numbers.
    timeless : bool
        Whether labels are without their step, for a folded drawing, unless they hold numbers.
    """
    full = Contraction(graph, None)
    sketch = full.run()
    readouts = _readouts(sketch)
    if detail is None:
        inner = {(v.run, v.family) for v in sketch.vertices if v.kind is Kind.VALUE and v.run is not None}
        detail = "slots" if max(Counter(run for run, _ in inner).values(), default=0) > INNER else "values"
    if detail == "slots":
        full = Contraction(graph, readouts)
        sketch = full.run()
    judged = _judged(sketch)
    for vertex in sketch.vertices:
        if (vertex.family in readouts and vertex.kind is Kind.STATE) or (vertex.family in judged and vertex.kind is Kind.VALUE):
            vertex.kind = Kind.OUTPUT
    full.call(sketch, values, timeless)
    sketch.owners = full.owners
    return sketch


def _readouts(sketch: Sketch) -> set[Family]:
    """States that are read out of their own step's values by a product: outputs that are fed back."""
    by_product: set[Family] = set()
    otherwise: set[Family] = set()
    for arc in sketch.arcs:
        if arc.target.kind is not Kind.STATE:
            continue
        within = arc.lag == 0 and arc.source.kind in (Kind.VALUE, Kind.STATE) and arc.source.run == arc.target.run
        if not within:
            otherwise.add(arc.target.family)
        elif not arc.plain:
            by_product.add(arc.target.family)
    return by_product - otherwise


def _judged(sketch: Sketch) -> set[Family]:
    """Values that only losses read: they are outputs."""
    by_losses = {arc.source.family for arc in sketch.arcs if arc.target.kind is Kind.LOSS}
    return by_losses - {arc.source.family for arc in sketch.arcs if arc.target.kind is not Kind.LOSS}


class Contraction:
    """One contraction; `readouts` is None to show all named values."""

    def __init__(self, graph: Graph, readouts: set[Family] | None) -> None:
        self.nodes = behind_cuts(graph.outputs)
        self.outputs = set(graph.outputs)
        self.readouts = readouts
        self.runs = runs_of(self.nodes)
        self.symbols = parameter_symbols(self.nodes)
        self.parameters: dict[Node, tuple[Node, ...]] = {}
        self.constants: set[Node] = set()
        self.sums_of_losses: set[Node] = set()
        self.families = self._families()
        self.names = {family: node.name for node, family in self.families.items()}
        self.roles = {family: node.role for node, family in self.families.items()}
        self.unrollings = {f: m[0] for n, f in self.families.items() if (m := outer_step(n))}
        self.by_name = {(n.name, m[0]): f for n, f in self.families.items() if n.name and (m := outer_step(n))}
        self.states: set[Family] = set()
        self.beside: set[tuple[int, int]] = set()
        self.initials = self._initials()
        self.read_initially = self._read_initially()
        self.owners: dict[str, Family] = {}
        self.biases: dict[Vertex, tuple[str, ...]] = {}
        self.masks = False
        self.sketch = Sketch()
        self.vertices: dict[Hashable, Vertex] = {}
        self.bases: dict[Vertex, tuple[str | None, int | None]] = {}
        self.shown_nodes: dict[Vertex, Node] = {}

    # -- families, states and initial values ------------------------------------------------

    def _families(self) -> dict[Node, Family]:
        """For each node, a key that it shares with the same node of all other steps."""
        counts: Counter[Hashable] = Counter()
        families: dict[Node, Family] = {}
        for node in self.nodes:
            moment = outer_step(node)
            base = (node.scope, node.name or node.operation, None if moment is None else self.runs[moment[0]].number)
            counts[base, moment] += 1
            families[node] = (*base, counts[base, moment])
        return families

    def _initials(self) -> dict[tuple[Node, int], tuple[Family, int]]:
        """The state, and its step, for each input that a first step reads from outside and later steps from earlier ones.

        The states are found on the way, what a later step of the same unrolling reads; and
        which unrollings run beside each other, so that one reads the other's steps alike.
        """
        steps: dict[Unrolling, dict[int, list[Node]]] = {}
        for node in self.nodes:
            moment = outer_step(node)
            if moment is not None:
                steps.setdefault(moment[0], {}).setdefault(moment[1], []).append(node)
        initials: dict[tuple[Node, int], tuple[Family, int]] = {}
        for unrolling, by_step in steps.items():
            later: dict[tuple[Family, int], tuple[Family, int]] = {}
            for t in sorted(by_step, reverse=True):
                now: dict[tuple[Family, int], tuple[Family, int]] = {}
                for node in by_step[t]:
                    key = self.families[node]
                    for position, read in enumerate(_inputs(node)):
                        source = _uncut(read)
                        moment = outer_step(source)
                        if moment is not None and moment[0] is unrolling:
                            if moment[1] < t:
                                now[key, position] = (self.families[source], t - moment[1])
                                self.states.add(self.families[source])
                                self.states |= {self.families[value] for value in _chosen(source)}
                        elif moment is not None and source.primitive is not None and moment[1] <= t:
                            meeting = self.families[source], t - moment[1]
                            if moment[1] < t and moment[0].reverse == unrolling.reverse:
                                now[key, position] = meeting
                            if later.get((key, position)) == meeting:
                                self.beside.add((self.runs[moment[0]].number, self.runs[unrolling].number))
                        elif (key, position) in later and (moment is None or source.primitive is None):
                            now[key, position] = family, lag = later[key, position]
                            initials[node, position] = family, t - lag
                later = now
        return initials

    def _read_initially(self) -> set[Node]:
        """Leaves that are read as the initial value of a state only: they are drawn as the initial state."""
        found = {_inputs(node)[position] for node, position in self.initials}
        for node in self.nodes:
            for position, read in enumerate(_inputs(node)):
                if (node, position) not in self.initials:
                    found.discard(read)
        return found

    # -- the pass ---------------------------------------------------------------------------

    def run(self) -> Sketch:
        """Make the sketch, without labels."""
        sources: dict[Node, Sources] = {}
        biases: dict[Node, tuple[str, ...]] = {}
        for node in self.nodes:
            sources[node] = self._visit(node, sources, biases)
        _forget_unread(self.sketch)
        return self.sketch

    def _visit(self, node: Node, sources: dict[Node, Sources], biases: dict[Node, tuple[str, ...]]) -> Sources:
        inputs = _inputs(node)
        if not inputs:
            return self._leaf(node)
        if node.primitive is not None and self._is_of_parameters(node):
            return {}
        found: Sources = {}
        from_masks = [self.masks and self._from_mask(sources[i]) for i in inputs]
        factors = self.factors(node)
        in_sum = bool(facts_of(node).signs)
        bias = _union((), tuple(b for i in inputs for b in biases.get(i, ()))) + (factors if in_sum else ())
        for position, read in enumerate(inputs):
            before = sources[read]
            if (node, position) in self.initials:
                before = self._initial(node, position, read, before)
            held = self.masks and any(from_masks[other] for other in range(len(inputs)) if other != position)
            cut = node.primitive is None or stops_gradient(node, position)
            for (vertex, _), path in before.items():
                extended = Path(
                    path.firsts or (() if in_sum else factors[:1]),
                    path.labels if in_sum else _union(path.labels, factors),
                    path.sums and (in_sum or is_copy(node)),
                    path.held or held,
                    path.cut or cut,
                )
                key = vertex, not extended.labels
                found[key] = found[key].merged(extended) if key in found else extended
        if self._is_sum_of_losses(node, inputs):
            self.sums_of_losses.add(node)
            return {}
        kind = self.kind(node)
        values = [path for (vertex, _), path in found.items() if vertex.kind is not Kind.MASK]
        forced = bool(values) and all(path.held for path in values)
        if kind is Kind.STATE and node.name is None and not factors and (forced or _chosen(node)):
            kind = None  # a forced slot: which of two values goes on, not a value of its own
        if kind is None:
            biases[node] = bias
            return found
        vertex = self._vertex(node, kind)
        self.biases[vertex] = bias
        self.dressed(vertex, node, bias)
        for symbol in (*(label for path in found.values() for label in path.labels), *bias):
            self.owners.setdefault(symbol, vertex.family)
        self._join(vertex, found)
        return {(vertex, True): Path()}

    def _leaf(self, node: Node) -> Sources:
        if node.role == "parameter":
            self.parameters[node] = (node,)
            return {}
        if is_constant(node):
            self.constants.add(node)
            return {}
        if node in self.read_initially:
            return {}
        kind = Kind.MASK if node.role == "mask" or node.dtype.kind == "b" else Kind.INPUT
        if node.role == "initial":
            kind = Kind.INITIAL
        return {(self._vertex(node, kind), True): Path()}

    def _is_of_parameters(self, node: Node) -> bool:
        if not all(
            (i in self.parameters or i in self.constants) and (node, position) not in self.initials
            for position, i in enumerate(node.inputs)
        ):
            return False
        own = tuple(dict.fromkeys(p for i in node.inputs for p in self.parameters.get(i, ())))
        if own:
            self.parameters[node] = own
        else:
            self.constants.add(node)
        return True

    def _is_sum_of_losses(self, node: Node, inputs: Sequence[Node]) -> bool:
        computed = [i for i in inputs if i not in self.constants]
        if node.role == "loss" and outer_step(node) is not None:
            return False
        return bool(computed) and all(i.role == "loss" or i in self.sums_of_losses for i in computed)

    def factors(self, node: Node) -> tuple[str, ...]:
        """The symbols of the parameters that an operation takes."""
        return tuple(
            self.symbols[p]
            for position, i in enumerate(node.inputs)
            if (node, position) not in self.initials
            for p in self.parameters.get(i, ())
        )

    def dressed(self, vertex: Vertex, node: Node, bias: tuple[str, ...]) -> None:
        """A hook for other views: called with each vertex that is made for an operation."""

    @staticmethod
    def _from_mask(sources: Sources) -> bool:
        return bool(sources) and all(vertex.kind is Kind.MASK for vertex, _ in sources)

    def kind(self, node: Node) -> Kind | None:
        """The kind of vertex that shows an operation; None if the operation is part of an edge."""
        family = self.families[node]
        if node.primitive is None:
            return None  # a cut: its source stands for it
        if node.role in ("input", "mask", "loss"):
            return Kind(node.role)
        in_step = outer_step(node) is not None
        if in_step and family in self.states:
            return Kind.STATE
        if node.role == "output" or node in self.outputs:
            return Kind.OUTPUT
        if node.name is None or (node.dtype.kind == "b"):
            return None
        return Kind.VALUE if self.readouts is None or not in_step else None

    def _vertex(self, node: Node, kind: Kind) -> Vertex:
        moment = outer_step(node)
        run = None if moment is None else self.runs[moment[0]]
        column = None if run is None or moment is None else run.column(moment[1])
        vertex = self._new_vertex(self.families[node], kind, node.name, node.scope, run, column)
        self.masks = self.masks or kind is Kind.MASK
        self.shown_nodes[vertex] = node
        return vertex

    def _new_vertex(
        self, family: Family, kind: Kind, name: str | None, scope: str, run: DrawnRun | None, column: int | None
    ) -> Vertex:
        base = name or (FALLBACK[kind] if kind not in (Kind.OPERATION, Kind.PRODUCT) else str(kind.value))
        base = f"{scope}.{base}" if scope else base
        vertex = Vertex(base, family, kind, column=column, run=None if run is None else run.number)
        self.bases[vertex] = name, column
        self.sketch.vertices.append(vertex)
        return vertex

    def _initial(self, node: Node, position: int, read: Node, before: Sources) -> Sources:
        """The vertex of a state before step 1."""
        family, t = self.initials[node, position]
        if any(vertex.run is not None and vertex.kind is not Kind.INPUT for vertex, _ in before):
            return before  # another unrolling's value: the edge comes from there
        run = self.runs[outer_step(node)[0]]  # type: ignore[index]
        family = self._carrier(family, read)
        run = self.runs[self.unrollings.get(family, run.unrolling)]
        key = family, t
        if key not in self.vertices:
            name = self.names.get(family) or read.name
            vertex = self._new_vertex(family, Kind.INITIAL, name, read.scope or node.scope, run, run.column(t))
            self.shown_nodes[vertex] = read
            self.vertices[key] = vertex
            self._join(vertex, before)
        return {(self.vertices[key], True): Path(cut=_uncut(read) is not read)}

    def _carrier(self, family: Family, initial: Node) -> Family:
        """The slot to which an initial value belongs; a slot that data force has another name than the data."""
        own = self.names.get(family)
        if initial.name in (None, own) or (own is not None and self.roles.get(family) != "input"):
            return family
        return self.by_name.get((initial.name, self.unrollings[family]), family)

    def _join(self, vertex: Vertex, found: Sources) -> None:
        for (source, plain), path in found.items():
            lag = 0
            if (
                (source.run == vertex.run or (source.run, vertex.run) in self.beside)
                and source.column is not None
                and vertex.column is not None
            ):
                lag = abs(vertex.column - source.column)
            arc = Arc(source, vertex, PLAIN, lag, plain=plain, cut=path.cut)
            arc.label, arc.tooltip = edge_label(path.firsts, path.labels)
            if source.kind is Kind.MASK:
                arc.label = ""
            elif path.held and plain:
                arc.held = True
            elif plain and path.sums and (source, False) in found:
                arc.label = "+"
            self.sketch.arcs.append(arc)

    # -- names ------------------------------------------------------------------------------

    def call(self, sketch: Sketch, values: bool, timeless: bool) -> None:
        """Give labels and unique names, now that all kinds are known."""
        marks = run_marks(sketch, self.bases, list(self.runs.values()))
        gradients = gradients_of(self.nodes, self.outputs) if values else {}
        numbers: dict[str, list[Family]] = {}
        for vertex in sketch.vertices:
            name, index = self.bases[vertex]
            base = name or FALLBACK[vertex.kind]
            vertex.tooltip = tooltip(self.shown_nodes[vertex], self.biases.get(vertex, ()))
            lines = described(self.shown_nodes[vertex], gradients) if values else []
            vertex.label = indexed(base + marks.get((vertex.run, base), ""), None if timeless and not lines else index)
            same = numbers.setdefault(vertex.name, [])
            if vertex.family not in same:
                same.append(vertex.family)
            again = same.index(vertex.family) + 1
            step = "" if index is None or timeless else f"[{index}]"
            vertex.name = f"{vertex.name}{f'_{again}' if again > 1 else ''}{step}"
            if lines:
                vertex.label, vertex.boxed, vertex.height = "\n".join([vertex.label, *lines]), True, 0.0
            vertex.fit()


def _inputs(node: Node) -> tuple[Node, ...]:
    """The inputs of a node; for a cut, the node that was cut off."""
    source = node.cut
    return node.inputs if source is None else (source,)


def _chosen(node: Node) -> list[Node]:
    """The named values of one step between which a node without a name chooses, by a mask."""
    moment = outer_step(node)
    if node.name is not None or moment is None or not any(i.dtype.kind == "b" for i in node.inputs):
        return []
    values = [i for i in node.inputs if i.dtype.kind != "b" and outer_step(i) is not None]
    return [i for i in values if i.name is not None] if all(outer_step(i) == moment for i in values) else []


def _uncut(node: Node) -> Node:
    while (source := node.cut) is not None:
        node = source
    return node


def is_copy(node: Node) -> bool:
    """Whether a node has the elements of its input, and passes the gradient on: a drawing sees through it."""
    return node.primitive is None or (node.primitive.facts.copies and not stops_gradient(node, 0))


def stops_gradient(node: Node, position: int) -> bool:
    """Whether a primitive passes a float value on and no gradient back."""
    rules = node.primitive.gradient if node.primitive is not None else ()
    stops = isinstance(rules, tuple) and position < len(rules) and rules[position] is None
    return stops and all(np.dtype(n.dtype).kind == "f" for n in (node, node.inputs[position]))


def _forget_unread(sketch: Sketch) -> None:
    """Leave out inputs that no vertex reads."""
    joined = {end for arc in sketch.arcs for end in (arc.source, arc.target)}
    leaves = (Kind.INPUT, Kind.INITIAL, Kind.MASK)
    sketch.vertices = [v for v in sketch.vertices if v in joined or v.kind not in leaves]
