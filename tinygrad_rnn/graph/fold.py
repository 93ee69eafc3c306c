"""Folding: the verified quotient of a graph by the time of one unrolling, and its inverse.

The nodes of step 1 become the body. Every other step is matched with step 1, operation by
operation. Each input of an operation is then one of five things: a value of the same step, the
same value d steps earlier (a delay), one value for all steps (a parameter), another value
from outside at each step, or another part of one sequence at each step (an input). Nodes that
were computed from the steps are the epilogue; all other nodes are the prologue.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..errors import FoldError
from .align import Alignment, Earlier, SameStep, Shared, cut_name, is_cut, static_arguments
from .context import Location, Unrolling
from .graph import Graph, is_constant, outer_step, shown
from .node import Node, Spec, leaf
from .structure import exact, exactly, numbers, same_value, with_numbers
from .unfold import Unfolding, copied

if TYPE_CHECKING:
    from ..draw import Drawing

__all__ = ["Cut", "Delay", "Folded", "Reading", "Slice", "fold"]


class Delay(NamedTuple):
    """A value of the body as a later step reads it: the black square z⁻ᵈ.

    Attributes
    ----------
    node : Node
        The leaf of the body that stands for the earlier value.
    source : Node
        The node of the body that computes the value.
    steps : int
        The delay d.
    initial : tuple of Node
        Values from outside that are read at t = 1..d.
    """

    node: Node
    source: Node
    steps: int
    initial: tuple[Node, ...]


class Reading(NamedTuple):
    """A leaf of the body that stands for another outside value at each step."""

    node: Node
    outside: tuple[Node, ...]


class Slice(NamedTuple):
    """A node of the body that reads another part of a sequence at each step.

    Attributes
    ----------
    node : Node
    attributes : tuple of Mapping
        The static arguments at t = 1, 2, …; only integers in them differ, such as positions.
    """

    node: Node
    attributes: tuple[Mapping[str, Any], ...]

    def courses(self, T: int) -> tuple[Course | None, ...]:
        """The course of each integer of the index over T steps; None where it changes unevenly."""
        return tuple(_course(column, T) for column in zip(*self.numbers(), strict=True))

    def numbers(self) -> tuple[tuple[int, ...], ...]:
        """The integers of the index at each step."""
        return tuple(numbers(attributes)[1] for attributes in self.attributes)


class Course(NamedTuple):
    """An integer that changes evenly with the step, given by its `value` at the first or at the last step."""

    anchor: str
    value: int
    slope: int

    def at(self, t: int, T: int) -> int:
        return self.value + self.slope * (t - (1 if self.anchor == "first" else T))

    def __str__(self) -> str:
        """The course as a formula for the element's number, counted from 1 as steps are."""
        if self.slope == 0:
            return str(self.value)
        if self.value or abs(self.slope) > 1:
            return "…"
        return "t" if self.slope > 0 else "T+1-t"


def _course(values: Sequence[int], T: int) -> Course | None:
    slope = values[1] - values[0] if len(values) > 1 else 0
    mixed = min(values) < 0 <= max(values)  # some count from the end of the sequence, others from its start
    if mixed or any(value != values[0] + slope * k for k, value in enumerate(values)):
        return None
    # a position keeps its distance from the end of the sequence from which it is counted
    if slope and (slope > 0) is (values[0] < 0):
        return Course("last", values[0] + slope * (T - 1), slope)
    return Course("first", values[0], slope)


class Cut(NamedTuple):
    """A leaf of the body behind a ``.detach()``: the value passes, the gradient does not.

    Attributes
    ----------
    node : Node
        The leaf of the body.
    source : Node or None
        Node of the body that the leaf was cut off from; None if that node lies outside or was freed.
    steps : int
        How many steps earlier the source was computed.
    """

    node: Node
    source: Node | None
    steps: int


class Folded:
    """One step of a graph, with the delays that close it; made by `Graph.fold`.

    Two folded graphs are equal if their steps compute the same, operation by operation. The
    comparison covers primitives, static arguments, shapes and dtypes; constants to the last bit;
    which weights are shared; each delay, and the kind of value that the delay starts from; how
    inputs are read (from which end, which part); and the values from outside that are read at
    each step. It ignores names, scopes, the length, the prologue and the epilogue. A value from
    before the steps counts as data of its shape and dtype.

    Attributes
    ----------
    graph : Graph
        The graph that was folded.
    T : int
        Number of steps of the graph.
    body : tuple of Node
        The nodes of one step, each after its inputs.
    delays : tuple of Delay
    readings : tuple of Reading
    slices : tuple of Slice
    cuts : tuple of Cut
    prologue, epilogue : tuple of Node
        Nodes that do not depend on the steps, and nodes that were computed from the steps.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> W = tr.Parameter([[0.5]], symbol="W")
    >>> xs = tr.tensor([[[1.0]], [[2.0]], [[3.0]]]).named("x")
    >>> h = tr.tensor([[0.0]]).named("h", role="initial")
    >>> for t, x in tr.steps(xs):
    ...     h = tr.tanh(x + h @ W).named("h")
    >>> folded = tr.graph(h).fold()
    >>> folded
    step t = 1..3
      x          getitem(x, index=(t,))
      h[t-1]     the delayed h; at the start h[0]
      matmul     matmul(h[t-1], W)
      add        add(x, matmul)
      h          tanh(add)
    >>> folded.unfold() == tr.graph(h)
    True
    """

    def __init__(
        self,
        graph: Graph,
        unrolling: Unrolling,
        T: int,
        parts: tuple[Sequence[Node], Sequence[Node], Sequence[Node]],
        links: tuple[Sequence[Delay], Sequence[Reading], Sequence[Slice], Sequence[Cut]],
        columns: Mapping[Node, Sequence[Node | None]],
    ) -> None:
        self.graph = graph
        self.unrolling = unrolling
        self.T = T
        self.prologue, self.body, self.epilogue = map(tuple, parts)
        self.delays: tuple[Delay, ...] = tuple(links[0])
        self.readings: tuple[Reading, ...] = tuple(links[1])
        self.slices: tuple[Slice, ...] = tuple(links[2])
        self.cuts: tuple[Cut, ...] = tuple(links[3])
        self.columns = columns  # for each node of the body, the node at each step; None where the node was left out

    # -- comparing -------------------------------------------------------------------------

    def difference(self, other: Folded) -> str | None:
        """The first operation in which two folded graphs differ, or None.

        Parameters
        ----------
        other : Folded

        Returns
        -------
        str or None
            Both operations, and how they differ. Names and scopes do not count: a loop written by hand
            and a layer are equal if they compute the same.
        """
        for (node, mine), (twin, theirs) in zip(self._signatures, other._signatures, strict=False):
            if mine != theirs:
                what = next(aspect for aspect, a, b in zip(Signature._fields, mine, theirs, strict=True) if a != b)
                why = "" if what == "operation" else f"; they differ in {what.replace('_', ' ')}"
                return f"the first graph has {self._say(node)}, and the second has {other._say(twin)}{why}"
        if len(self._signatures) != len(other._signatures):
            longer, shorter = sorted((self, other), key=lambda f: -len(f._signatures))
            extra = longer._say(longer._signatures[len(shorter._signatures)][0])
            return f"only the {'first' if longer is self else 'second'} graph has {extra}"
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Folded) and self.difference(other) is None

    def __hash__(self) -> int:
        return hash(tuple(signature for _, signature in self._signatures))

    @cached_property
    def _signatures(self) -> list[tuple[Node, Signature]]:
        """The signature of each node of the body, free of names."""
        position = {node: i for i, node in enumerate(self.body)}
        slices = {piece.node: piece for piece in self.slices}
        origin: dict[Node, Hashable] = {}
        for delay in self.delays:
            initial = tuple((i.role == "parameter", i.spec) for i in delay.initial)
            origin[delay.node] = ("delay", position[delay.source], delay.steps, initial)
        for reading in self.readings:
            origin[reading.node] = ("reading", tuple(same_value(i) if is_constant(i) else i.spec for i in reading.outside))
            if not any(map(is_constant, reading.outside)):
                origin[reading.node] = ("reading", reading.node.spec)
        for cut in self.cuts:
            origin[cut.node] = ("cut", position.get(cut.source) if cut.source else None, cut.steps)
        outside: dict[Hashable, int] = {}

        def read(source: Node, sequence: bool) -> Hashable:
            if source in position:
                return position[source]
            if is_constant(source) and not sequence:
                return "constant", same_value(source)
            number = outside.setdefault(source, len(outside))  # numbered, so that shared weights are compared
            shape = len(source.shape) if sequence else source.shape  # the length along time does not count
            return number, source.role == "parameter", shape, source.dtype

        found = []
        for node in self.body:
            piece = slices.get(node)
            inputs = tuple(read(i, piece is not None) for i in node.inputs)
            arguments: Hashable = None if node.primitive is None else exact(node.attributes)
            if piece is not None:
                courses = piece.courses(self.T)
                arguments = numbers(node.attributes)[0], piece.numbers() if None in courses else courses
            found.append((node, Signature(node.primitive, node.spec, arguments, inputs, origin.get(node))))
        return found

    # -- looking ---------------------------------------------------------------------------

    def text(self) -> str:
        """The step in words, a line for each node."""
        width = max((len(name) for name in self._names.values()), default=0)
        lines = [f"  {self._names[node]:{width}}  {self._say(node)}" for node in self.body]
        return "\n".join([f"step t = 1..{self.T}", *lines])

    __repr__ = __str__ = text

    @cached_property
    def _names(self) -> dict[Node, str]:
        """Names of the body's nodes, without the step."""
        names: dict[Node, str] = {}
        for node, column in self.columns.items():
            name = self.graph.names[next(n for n in column if n is not None)]
            names[node] = name[: name.rindex("[")] if name.endswith("]") else name
        for delay in self.delays:
            names[delay.node] = f"{names[delay.source]}[t-{delay.steps}]"
        for reading in self.readings:
            names[reading.node] = f"{reading.outside[0].name or reading.outside[0].operation}[t]"
        return names

    @cached_property
    def _origins(self) -> dict[Node, str]:
        """Origins of the body's leaves in words."""
        said: dict[Node, str] = {}
        for delay in self.delays:
            source = self._names[delay.source]
            start = ", ".join(f"{source}[{t}]" for t in range(1 - delay.steps, 1))
            said[delay.node] = f"the delayed {source}; at the start {start}"
        for cut in self.cuts:
            source = f"{self._names[cut.source]}{f'[t-{cut.steps}]' if cut.steps else ''}" if cut.source else "…"
            said[cut.node] = f"detach({source})"
        return said

    def _say(self, node: Node) -> str:
        if node.primitive is None:
            return self._origins.get(node, "a value from outside of the steps, another at each step")
        called = {i: self._names.get(i) or self.graph.names[i] for i in node.inputs}
        arguments = [exactly(i) if is_constant(i) and i not in self._names else called[i] for i in node.inputs]
        attributes = node.attributes
        for piece in self.slices:
            if piece.node is node:
                courses = [_Word(course or "…") for course in piece.courses(self.T)]
                attributes = with_numbers(attributes, courses)
        arguments += [f"{key}={shown(value)}" for key, value in attributes.items()]
        return f"{node.operation}({', '.join(arguments)})"

    def draw(
        self,
        time: Literal["folded", "unrolled"] = "folded",
        detail: Literal["slots", "values", "ops", "layers"] | None = None,
        steps: int | None = None,
        values: bool = False,
        backward: bool = False,
        name: str = "graph",
        labels: Iterable[str] | None = None,
        shared: Literal["label", "node"] = "label",
        aspect: float | None = None,
        symbols: Mapping[str, str] | None = None,
        notation: Literal["UW", "WU"] | None = None,
    ) -> Drawing:
        """Draw the folded graph, with the options of :meth:`Graph.draw`."""
        return self.graph.draw(time, detail, steps, values, backward, name, labels, shared, aspect, symbols, notation)

    # -- unfolding -------------------------------------------------------------------------

    def unfold(self, T: int | None = None) -> Graph:
        """The graph of T steps; for the number of steps that were folded, the original graph.

        Another length is possible under three conditions: at least two steps were folded; from step
        to step only the positions differ at which input sequences are read, at even distances; and no
        node after the steps has a constant or a static argument, which may stand for the old length,
        as in a mean. A stack of one value of every step is allowed.

        Parameters
        ----------
        T : int, optional

        Raises
        ------
        FoldError
            If the graph cannot have another length; the message gives the reason.
        """
        T = self.T if T is None else T
        if T < 1:
            raise FoldError(f"T must be at least 1, not {T}")
        return Unfolding(self, T).graph()


class Signature(NamedTuple):
    """The computation of one node of a body; two folded graphs differ at the first unequal signature."""

    operation: Any
    shape_or_dtype: Spec
    arguments: Hashable
    inputs: Hashable
    what_it_stands_for: Hashable


class _Word(str):
    """A word that is printed without quotes in a static argument."""

    __repr__ = str.__str__


# -- folding -------------------------------------------------------------------------------


def fold(graph: Graph, unrolling: Unrolling) -> Folded:
    """The verified quotient of a graph by the time of one unrolling; see :class:`Folded`.

    Constants that an operation reads are either the same at all steps, or new at each step, such as
    t itself. A constant that returns counts as a mistake, such as a 0.5 at every step but the third.
    So does any value from outside that all of four or more steps share, except one step after the first.
    Two steps are too few to tell: constants that differ count as new at each step.

    Parameters
    ----------
    graph : Graph
    unrolling : Unrolling

    Raises
    ------
    FoldError
        If two steps differ: the message names the step and its first operation that differs.
    """
    steps: dict[int, list[Node]] = {}
    for node in graph.nodes:
        step = outer_step(node)
        if step is not None and step[0] is unrolling:
            steps.setdefault(step[1], []).append(node)
    if not steps:
        raise FoldError(
            "the graph has no steps of this loop; give one of graph.unrollings(), the loops over time of this graph"
        )
    T = max(steps)
    missing = [t for t in range(1, T + 1) if t not in steps]
    if missing:
        cuts = [(t, node) for t, nodes in sorted(steps.items()) for node in nodes if is_cut(node)]
        why = ""
        if cuts:
            t, node = cuts[0]
            why = f": step {t} detaches {cut_name(node)}, and the graph does not hold what is before a .detach()"
        raise FoldError(
            f"the outputs do not depend on step {missing[0]} of {T}{why}; "
            "to fold all steps, give tr.graph the value of every step"
        )
    return _folded(Alignment(graph, unrolling, [steps[t] for t in range(1, T + 1)]))


def _folded(steps: Alignment) -> Folded:
    """Merge steps that are alike into one step."""
    body: list[Node] = []
    twin: list[Node] = []  # position in step 1 -> node of the body
    shared: dict[Hashable, Node] = {}
    delays: list[tuple[Node, int, int, tuple[Node, ...]]] = []
    readings: list[Reading] = []
    slices: list[Slice] = []
    location = Location(unrolling=steps.unrolling)
    for position, (first, column) in enumerate(zip(steps.firsts, steps.columns, strict=True)):
        inputs: list[Node] = []
        for slot in range(len(first.inputs)):
            read, source = steps.source(position, slot), first.inputs[slot]
            if isinstance(read, SameStep):
                inputs.append(twin[read.position])
            elif isinstance(read, Shared):
                inputs.append(read.node)
            elif isinstance(read, Earlier):
                key: Hashable = (read.position, read.steps, *map(same_value, read.initial))
                if key not in shared:
                    shared[key] = leaf(source.spec, source.name, "delay", location)
                    body.append(shared[key])
                    delays.append((shared[key], *read))
                inputs.append(shared[key])
            else:
                key = ("another at each step", *map(same_value, read.nodes))
                if key not in shared:
                    shared[key] = leaf(source.spec, source.name, "reading", location)
                    body.append(shared[key])
                    readings.append(Reading(shared[key], read.nodes))
                inputs.append(shared[key])
        at = first.location._replace(t=None) if first.location.unrolling is steps.unrolling else first.location
        node = copied(first, tuple(inputs), first.attributes, at)
        attributes = [static_arguments(n) for n in column if n is not None]
        if len({numbers(a)[1] for a in attributes}) > 1:
            slices.append(Slice(node, tuple(attributes)))
        twin.append(node)
        body.append(node)
    closed = [Delay(node, twin[source], d, initial) for node, source, d, initial in delays]
    cuts = [
        Cut(node, *_cut_from(steps, column, twin)) for node, column in zip(twin, steps.columns, strict=True) if is_cut(node)
    ]
    after: set[Node] = set(steps.row)
    for n in steps.graph.nodes:
        if not after.isdisjoint(n.inputs):
            after.add(n)
    prologue = [n for n in steps.graph.nodes if n not in after]
    epilogue = [n for n in steps.graph.nodes if n in after and n not in steps.row]
    columns = dict(zip(twin, steps.columns, strict=True))
    return Folded(steps.graph, steps.unrolling, steps.T, (prologue, body, epilogue), (closed, readings, slices, cuts), columns)


def _cut_from(steps: Alignment, column: list[Node | None], twin: list[Node]) -> tuple[Node | None, int]:
    """The value that the last step's leaf was detached from, and how many steps earlier that value was made."""
    last = [(t, node.cut) for t, node in enumerate(column, 1) if node is not None][-1]
    t, source = last
    if source is None or source not in steps.row:
        return None, 0
    earlier, position = steps.row[source]
    return twin[position], t - earlier
