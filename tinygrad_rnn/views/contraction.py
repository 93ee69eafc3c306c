"""Contraction: a graph of operations, seen as its named values and the paths between them.

One pass computes, for every node, the named values that the node depends on and the parameters
between them. The pass never enumerates paths. This module knows no cell, layer or primitive: a
state is a value that a later step reads, a bias is a parameter in a sum, and the parameter of a
product names an edge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from ..graph.context import mode
from ..graph.graph import Graph, is_constant
from ..graph.node import Node, behind_cuts
from ..ops import astype
from ..ops.core import apply
from ..ops.facts import adds, facts_of
from ..tensor import Tensor
from .runs import Run, Runs

__all__ = ["Contraction", "Edge", "Family", "Link", "Value", "contract", "copy_of", "cotangents", "inputs_of", "is_copy"]

Family: TypeAlias = Hashable
"""Key that a value of one step shares with the same value of all other steps."""

INNER = 2
"""Largest number of inner values of a step that are shown by default."""


class Link(NamedTuple):
    """All paths of one kind from a value to a node, merged.

    Attributes
    ----------
    firsts : tuple of Node
        The first parameter on each path.
    parameters : tuple of Node
        All parameters that enter a product on a path.
    sums : bool
        Whether a path has only sums and copies.
    held : bool
        Whether every path passes a mask.
    cut : bool
        Whether the gradient stops on every path.
    minus : bool
        Whether every path has the sign −, from differences on the way.
    """

    firsts: tuple[Node, ...] = ()
    parameters: tuple[Node, ...] = ()
    sums: bool = True
    held: bool = False
    cut: bool = False
    minus: bool = False

    def merged(self, other: Link) -> Link:
        """A link with the paths of two links."""
        return Link(
            union(self.firsts, other.firsts),
            union(self.parameters, other.parameters),
            self.sums or other.sums,
            self.held and other.held,
            self.cut and other.cut,
            self.minus and other.minus,
        )


@dataclass(eq=False)
class Value:
    """A value that a contracted graph shows.

    Attributes
    ----------
    role : str
        "input", "mask", "initial", "state", "value", "output", "loss" or "gradient". In a view
        of operations also "operation" or "product".
    family : hashable
    node : Node
        The node of the value; for an initial state, the node that a step reads.
    name : str or None
    scope : str
    run : Run or None
        The run of the value; None if the value belongs to no step.
    column : int or None
        The position of the value's step in the sequence; 0 or less before the first step.
    biases : tuple of Node
        Parameters that are added to the value.
    """

    role: str
    family: Family
    node: Node
    name: str | None
    scope: str
    run: Run | None
    column: int | None
    biases: tuple[Node, ...] = ()


class Edge(NamedTuple):
    """An edge between two values: all paths with parameters, or all paths without, merged.

    Attributes
    ----------
    source, target : Value
    lag : int
        How many steps earlier the source is.
    link : Link
    adds : bool
        Whether the edge is the identity, drawn next to a path with parameters, as in a residual connection.
    """

    source: Value
    target: Value
    lag: int
    link: Link
    adds: bool


Sources: TypeAlias = "dict[tuple[Value, bool], Link]"
"""The paths into a node, by the value at their start and by whether the paths have no parameter."""


def union(a: tuple[Node, ...], b: tuple[Node, ...]) -> tuple[Node, ...]:
    """The nodes of both collections, in order and without repetition."""
    return a if not b or a == b else tuple(dict.fromkeys(a + b))


def contract(graph: Graph, detail: str | None = "values") -> Contraction:
    """Contract a graph to its named values.

    Parameters
    ----------
    graph : Graph
        A graph made by :func:`per_step`. If the graph is a gradient's, only the gradient is shown: the
        cotangents of named values, each a linear function of the cotangents after it.
    detail : {"slots", "values", None}
        Whether named values within a step are shown. None shows them if a step has at most two.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> from tinygrad_rnn.views import per_step
    >>> W = tr.Parameter([[1.0]], symbol="W")
    >>> h = tr.tensor([[0.0]])
    >>> for t, x in tr.steps(tr.tensor([[[1.0]], [[2.0]]]).named("x")):
    ...     h = tr.tanh(x + h @ W).named("h")
    >>> for edge in contract(per_step(tr.graph(h))).edges:
    ...     symbols = [parameter.name for parameter in edge.link.parameters]
    ...     print(edge.source.name, edge.source.column, "→", edge.target.name, edge.target.column, symbols)
    x 1 → h 1 []
    h 0 → h 1 ['W']
    x 2 → h 2 []
    h 1 → h 2 ['W']
    """
    found = Contraction(graph)
    readouts = _readouts(found)
    if detail is None:
        inner = {(v.run, v.family) for v in found.values if v.role == "value" and v.run is not None}
        detail = "slots" if max(Counter(run for run, _ in inner).values(), default=0) > INNER else "values"
    if detail == "slots":
        found = Contraction(graph, inner=False)
    judged = _judged(found)
    for value in found.values:
        if (value.family in readouts and value.role == "state") or (value.family in judged and value.role == "value"):
            value.role = "output"
    return found


def _readouts(contraction: Contraction) -> set[Family]:
    """States that are linear readouts of values of the same step, such as outputs that are fed back."""
    by_product: set[Family] = set()
    otherwise: set[Family] = set()
    for source, target, lag, link, _ in contraction.edges:
        if target.role != "state":
            continue
        within = lag == 0 and source.role in ("value", "state") and source.run == target.run
        if not within:
            otherwise.add(target.family)
        elif link.parameters:
            by_product.add(target.family)
    return by_product - otherwise


def _judged(contraction: Contraction) -> set[Family]:
    """Values that only losses read, which are outputs."""
    by_losses = {edge.source.family for edge in contraction.edges if edge.target.role == "loss"}
    return by_losses - {edge.source.family for edge in contraction.edges if edge.target.role != "loss"}


class Contraction:
    """Contracts a graph to the values that a drawing shows.

    Parameters
    ----------
    graph : Graph
    inner : bool
        Whether named values within a step are shown.

    Attributes
    ----------
    nodes : list of Node
        All nodes, including those behind cuts.
    runs : Runs
    values : list of Value
    edges : list of Edge
    constants : set of Node
        Nodes that depend on no parameter and no value.
    """

    draws = False
    """Whether random numbers count as inputs; otherwise they are constants, which are not shown."""

    def __init__(self, graph: Graph, inner: bool = True) -> None:
        self.nodes = behind_cuts(graph.outputs)
        self.outputs = set(graph.outputs)
        self.inner = inner
        self.runs = Runs(self.nodes)
        self.cotangents = cotangents(self.nodes, self.runs)
        self.values: list[Value] = []
        self.edges: list[Edge] = []
        self.parameters: dict[Node, tuple[Node, ...]] = {}
        self.constants: set[Node] = set()
        self.families = self._families()
        self.states: set[Family] = set()
        self.side_by_side: set[tuple[int, int]] = set()
        self.initials = self._initials()
        self.read_initially = self._read_initially()
        self.names = {family: self.name(node) for node, family in self.families.items()}
        self.roles = {family: node.role for node, family in self.families.items()}
        self.homes = {family: step[0] for node, family in self.families.items() if (step := self.step(node))}
        self.by_name = {(self.names[family], run): family for family, run in self.homes.items() if self.names[family]}
        self.starts: dict[tuple[Family, int], Value] = {}
        self.masks = False
        self._sums_of_losses: set[Node] = set()
        self._contract()

    def name(self, node: Node) -> str | None:
        """The author's name of a node; the cotangent of h is named ∂h."""
        return f"∂{self.cotangents[node].name}" if node in self.cotangents else node.name

    def step(self, node: Node) -> tuple[Run, int] | None:
        """Run and step of a node; a cotangent has the step of its value, in the backward run."""
        step = self.runs.step(self.cotangents.get(node, node))
        return self.runs.back(step) if step is not None and node in self.cotangents else step

    def factors(self, node: Node) -> tuple[Node, ...]:
        """Parameters that are operands of an operation."""
        return tuple(
            p
            for position, i in enumerate(node.inputs)
            if (node, position) not in self.initials
            for p in self.parameters.get(i, ())
        )

    def weights(self) -> dict[Value, tuple[Node, ...]]:
        """Parameters used to compute each value: first those on its paths, then those that are added."""
        found: dict[Value, tuple[Node, ...]] = dict.fromkeys(self.values, ())
        for edge in self.edges:
            found[edge.target] = union(found[edge.target], edge.link.parameters)
        return {value: union(weights, value.biases) for value, weights in found.items()}

    def continued(self) -> dict[Run, tuple[Run, int]]:
        """For each run that continues an earlier run with the same parameters: the first run, and the number of steps before.

        Truncated backpropagation through time makes such runs, a chunk of a sequence each.
        """
        weights = self.weights()
        found: dict[Run, tuple[Run, int]] = {}
        for source, target, *_ in self.edges:
            before, run = source.run, target.run
            if before is None or run is None or before == run or run in found or source.column is None:
                continue
            of_state = weights[source]
            same = (source.scope, source.name, of_state)
            alike = any((v.scope, v.name, weights[v]) == same for v in self.values if v.run == run)
            if of_state and alike and not run.reverse and (before.number, run.number) not in self.side_by_side:
                first, steps = found.get(before, (before, 0))
                found[run] = first, steps + source.column
        return found

    def role(self, node: Node) -> str | None:
        """Role of the value that a drawing shows for an operation; None for an operation within an edge."""
        if node.primitive is None:
            return None  # a cut: its source is shown instead
        if node.role in ("input", "mask", "loss"):
            return node.role
        in_step = self.step(node) is not None
        if node in self.runs.gradient:
            return (
                "gradient" if (in_step and node in self.cotangents) or node in self.outputs or node.name is not None else None
            )
        if in_step and self.families[node] in self.states:
            return "state"
        if node.role == "output" or node in self.outputs:
            return "output"
        if self.name(node) is None or node.dtype.kind == "b":
            return None
        return "value" if self.inner or not in_step else None

    # -- families, states and initial values ------------------------------------------------

    def _families(self) -> dict[Node, Family]:
        """A key of each node, shared with the same node of all other steps.

        Parameters that several steps share distinguish operations. So an operation that only the
        first step has is not confused with an operation of all steps.
        """
        used: dict[Node | None, set[tuple[Run, int]]] = {}
        for node in self.nodes:
            if (step := self.step(node)) is not None:
                for i in node.inputs:
                    used.setdefault(_weight(i), set()).add(step)
        counts: Counter[Hashable] = Counter()
        families: dict[Node, Family] = {}
        for node in self.nodes:
            step = self.step(node)
            run = None if step is None else step[0].number
            weights = map(_weight, node.inputs if self.name(node) is None else ())
            shared = tuple(id(w) for w in weights if w is not None and len(used.get(w, ())) > 1)
            base = (node.scope, self.name(node) or node.operation, shared, run)
            counts[base, step] += 1
            families[node] = (*base, counts[base, step])
        return families

    def _initials(self) -> dict[tuple[Node, int], tuple[Family, int]]:
        """State and step of each initial value, which a first step reads instead of a value of an earlier step.

        The method also finds the states, which are values that a later step of the same run reads,
        and the parallel runs, of which one run reads the same steps of another run.
        """
        steps: dict[Run, dict[int, list[Node]]] = {}
        for node in self.nodes:
            step = self.step(node)
            if step is not None and not step[0].backward:
                steps.setdefault(step[0], {}).setdefault(step[1], []).append(node)
        initials: dict[tuple[Node, int], tuple[Family, int]] = {}
        for run, by_step in steps.items():
            later: dict[tuple[Family, str, int], tuple[Family, int]] = {}
            for t in sorted(by_step, reverse=True):
                now: dict[tuple[Family, str, int], tuple[Family, int]] = {}
                for node in by_step[t]:
                    for position, read in enumerate(inputs_of(node)):
                        key = self.families[node], node.operation, position
                        source = _uncut(read)
                        step = self.step(source)
                        if step is not None and step[0] is run:
                            if step[1] < t:
                                now[key] = self.families[source], t - step[1]
                                self.states.add(self.families[source])
                                self.states |= {self.families[value] for value in self._chosen(source)}
                        elif step is not None and source.primitive is not None and step[1] <= t:
                            meeting = self.families[source], t - step[1]
                            if step[1] < t and step[0].reverse == run.reverse:
                                now[key] = meeting
                            if later.get(key) == meeting:
                                self.side_by_side.add((step[0].number, run.number))
                        elif key in later and (step is None or source.primitive is None):
                            now[key] = family, lag = later[key]
                            initials[node, position] = family, t - lag
                later = now
        return initials

    def _chosen(self, node: Node) -> list[Node]:
        """The named values and inputs of one step between which an unnamed node selects by a mask."""
        step = self.step(node)
        if node.name is not None or step is None or not any(i.dtype.kind == "b" for i in node.inputs):
            return []
        values = [i for i in node.inputs if i.dtype.kind != "b" and self.step(i) is not None]
        known = [i for i in values if i.name is not None or i.role == "input"]
        return known if all(self.step(i) == step for i in values) else []

    def _read_initially(self) -> set[Node]:
        """Leaves that are read only as the initial value of a state, and are drawn as the initial state."""
        found = {inputs_of(node)[position] for node, position in self.initials}
        for node in self.nodes:
            for position, read in enumerate(inputs_of(node)):
                if (node, position) not in self.initials:
                    found.discard(read)
        return found

    # -- the pass ---------------------------------------------------------------------------

    def _contract(self) -> None:
        self._classify()
        sources: dict[Node, Sources] = {}
        biases: dict[Node, tuple[Node, ...]] = {}
        for node in self.nodes:
            sources[node] = self._visit(node, sources, biases) if inputs_of(node) else self._leaf(node)
        shown = set(self.values)
        if self.runs.gradient:
            shown = {value for value in self.values if value.role == "gradient"}
            self.edges = [edge for edge in self.edges if edge.target in shown]
        joined = {end for edge in self.edges for end in (edge.source, edge.target)}
        self.values = [v for v in self.values if v in joined or (v in shown and v.role not in ("input", "initial", "mask"))]

    def _classify(self) -> None:
        """Find the nodes that depend on no value: those of parameters, and constants."""
        for node in self.nodes:
            inputs = inputs_of(node)
            if any((node, k) in self.initials or self.is_value(i) for k, i in enumerate(inputs)):
                continue
            own = (
                (node,)
                if node.role == "parameter"
                else tuple(dict.fromkeys(p for i in inputs for p in self.parameters.get(i, ())))
            )
            if own:
                self.parameters[node] = own
            elif inputs or (is_constant(node) and not (self.draws and "draw" in node.attributes)):
                self.constants.add(node)

    def is_value(self, node: Node) -> bool:
        """Whether a node depends on more than parameters and constants."""
        return node not in self.parameters and node not in self.constants

    def _leaf(self, node: Node) -> Sources:
        if not self.is_value(node) or node in self.read_initially:
            return {}
        role = "mask" if node.role == "mask" or node.dtype.kind == "b" else "input"
        return {(self._value(node, "initial" if node.role == "initial" else role), True): Link()}

    def _visit(self, node: Node, sources: dict[Node, Sources], biases: dict[Node, tuple[Node, ...]]) -> Sources:
        inputs = inputs_of(node)
        if not self.is_value(node):
            return {}
        if self._is_sum_of_losses(node, inputs):
            self._sums_of_losses.add(node)
            if node.name is not None:  # a total loss without a name is not shown
                self._join(self._value(node, "loss"), {k: v for i in self._summed(node) for k, v in sources[i].items()})
            return {}
        factors = self.factors(node)
        in_sum = bool(facts_of(node).signs)
        bias = union((), tuple(b for i in inputs for b in biases.get(i, ()))) + (factors if in_sum else ())
        found = self._paths(node, inputs, sources, () if in_sum else factors)
        role = self.role(node)
        if role == "state" and node.name is None and not factors and (self._is_forced(found) or self._chosen(node)):
            role = None  # a forced slot selects one of two values and is not a separate value
        if role is None:
            biases[node] = bias
            return found
        value = self._value(node, role, bias)
        self._join(value, found)
        return {(value, True): Link()}

    def _paths(self, node: Node, inputs: Sequence[Node], sources: dict[Node, Sources], factors: tuple[Node, ...]) -> Sources:
        """The paths into a node, computed from the paths into its inputs."""
        found: Sources = {}
        signs = facts_of(node).signs
        in_sum, negative = bool(signs), {k for k, sign in enumerate(signs) if sign < 0}
        from_masks = [self.masks and _from_mask(sources[i]) for i in inputs]
        for position, read in enumerate(inputs):
            if node in self.runs.gradient and read not in self.runs.gradient:
                continue  # a gradient is linear in the cotangents it reads; other inputs are coefficients
            before = sources[read]
            if (node, position) in self.initials:
                before = self._initial(node, position, read, before)
            held = self.masks and any(other for k, other in enumerate(from_masks) if k != position)
            cut = node.primitive is None or stops_gradient(node, position)
            for (value, _), link in before.items():
                extended = Link(
                    link.firsts or factors[:1],
                    union(link.parameters, factors),
                    link.sums and (in_sum or is_copy(node)),
                    link.held or held,
                    link.cut or cut,
                    link.minus ^ (position in negative),
                )
                key = value, not extended.parameters
                found[key] = found[key].merged(extended) if key in found else extended
        return found

    @staticmethod
    def _is_forced(found: Sources) -> bool:
        values = [link for (value, _), link in found.items() if value.role != "mask"]
        return bool(values) and all(link.held for link in values)

    def _is_sum_of_losses(self, node: Node, inputs: Sequence[Node]) -> bool:
        """Whether a node is just the sum of the losses of the steps."""
        computed = [i for i in inputs if i not in self.constants]
        if not computed or not all(i.role == "loss" or i in self._sums_of_losses for i in computed):
            return False
        if node.role != "loss" or self.step(node) is None:
            return True
        return len({self.step(loss) for i in computed for loss in self._summed(i)}) > 1

    def _summed(self, total: Node) -> Sequence[Node]:
        """The losses in a sum of losses, in order."""
        found: dict[Node, None] = {}
        stack = [total]
        while stack:
            node = stack.pop()
            if node not in found and node in self._sums_of_losses:
                stack += node.inputs
            found[node] = None
        return [node for node in reversed(found) if node not in self._sums_of_losses]

    def _value(self, node: Node, role: str, biases: tuple[Node, ...] = ()) -> Value:
        result = node in self.outputs and node in self.runs.gradient and node not in self.cotangents
        step = None if result or node in self._sums_of_losses else self.step(node)
        run = None if step is None else step[0]
        column = None if run is None or step is None else run.column(step[1])
        self.masks = self.masks or role == "mask"
        self.values.append(Value(role, self.families[node], node, self.name(node), node.scope, run, column, biases))
        return self.values[-1]

    def _initial(self, node: Node, position: int, read: Node, before: Sources) -> Sources:
        """The initial value of a state, before step 1."""
        family, t = self.initials[node, position]
        if any(value.run is not None and value.role != "input" for value, _ in before):
            return before  # the value of another run: the edge starts at this value
        family = self._carrier(family, read)
        if (family, t) not in self.starts:
            run, name = self.homes[family], self.names.get(family) or read.name
            start = Value("initial", family, read, name, read.scope or node.scope, run, run.column(t))
            self.starts[family, t] = start
            self.values.append(start)
            self._join(start, before)
        return {(self.starts[family, t], True): Link(cut=_uncut(read) is not read)}

    def _carrier(self, family: Family, initial: Node) -> Family:
        """The slot of an initial value; forced slots and their data have different names."""
        own = self.names.get(family)
        if initial.name in (None, own) or (own is not None and self.roles.get(family) != "input"):
            return family
        return self.by_name.get((initial.name, self.homes[family]), family)

    def _join(self, target: Value, found: Sources) -> None:
        for (source, plain), link in found.items():
            lag = 0
            same = source.run == target.run or (
                source.run is not None
                and target.run is not None
                and (source.run.number, target.run.number) in self.side_by_side
            )
            if same and source.column is not None and target.column is not None:
                lag = abs(target.column - source.column)
            adds = plain and link.sums and (source, False) in found
            self.edges.append(Edge(source, target, lag, link, adds))


def cotangents(nodes: Sequence[Node], runs: Runs) -> dict[Node, Node]:
    """The named value of each cotangent: the value that the first operation of its gradient reads.

    A sum of two cotangents has the origin of the second cotangent, and is not such a first operation.
    """
    found: dict[Node, Node] = {}
    known: set[Node] = set()
    for node in nodes:
        origin = node.location.origin
        if origin is None or origin.name is None or origin in known or adds(node) or runs.step(origin) is None:
            continue
        for read in node.inputs:
            if read in runs.gradient and read.location.origin is not origin:
                found.setdefault(read, origin)
                known.add(origin)
    return found


def inputs_of(node: Node) -> tuple[Node, ...]:
    """Inputs of a node; for a cut, the node that was detached."""
    source = node.cut
    return node.inputs if source is None else (source,)


def copy_of(node: Node) -> Node:
    """A separate node for a value that another node or a leaf already holds.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.tensor([1.0]).node
    >>> is_copy(copy_of(x)), copy_of(x).inputs == (x,)
    (True, True)
    """
    with mode(tracing=True):
        return apply(astype, (Tensor(node),), {"dtype": node.dtype}).node


def is_copy(node: Node) -> bool:
    """Whether a node only copies its input and passes the gradient, so that drawings hide the node."""
    return node.primitive is None or (node.primitive.facts.copies and not stops_gradient(node, 0))


def stops_gradient(node: Node, position: int) -> bool:
    """Whether a primitive passes a float value forwards but no gradient backwards."""
    rules = node.primitive.gradient if node.primitive is not None else ()
    stops = isinstance(rules, tuple) and position < len(rules) and rules[position] is None
    return stops and all(np.dtype(n.dtype).kind == "f" for n in (node, node.inputs[position]))


def _weight(node: Node) -> Node | None:
    """The parameter that a node is a view of, or None."""
    while len(node.inputs) == 1:
        (node,) = node.inputs
    return node if node.role == "parameter" else None


def _uncut(node: Node) -> Node:
    while (source := node.cut) is not None:
        node = source
    return node


def _from_mask(sources: Sources) -> bool:
    return bool(sources) and all(value.role == "mask" for value, _ in sources)
