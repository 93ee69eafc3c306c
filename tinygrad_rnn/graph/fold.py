"""Folding: the verified quotient of a graph by the time of one unrolling, and its inverse.

The nodes of step 1 become the body. Every other step is laid beside it, operation by
operation; what an operation reads is then one of five things: a value of the same step, the
same value d steps earlier (a delay), one value for all steps (a parameter), another value
from outside at each step, or another part of one sequence at each step (an input). What
was made before the steps is the prologue, what was made of them the epilogue.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import FoldError
from .graph import Graph, outer_step
from .node import Node, Spec, ancestors, leaf
from .place import Place, Unrolling

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
        The body's node whose value it is.
    steps : int
        d.
    initial : tuple of Node
        What is read at t = 1..d, from outside.
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
    """A node of the body that reads another part of a sequence at each step."""

    node: Node
    attributes: tuple[Mapping[str, Any], ...]


class Cut(NamedTuple):
    """A leaf of the body behind a ``.detach()``: the value goes on, the gradient does not.

    Attributes
    ----------
    node : Node
        The leaf.
    source : Node or None
        The node of the body that it was cut off from; None if that lies outside, or is gone.
    steps : int
        How many steps earlier.
    """

    node: Node
    source: Node | None
    steps: int


class Folded:
    """One step of a graph, with the delays that close it; made by `Graph.fold`.

    Attributes
    ----------
    graph : Graph
        What was folded.
    T : int
        How many steps it had.
    body : tuple of Node
        One step, each node after its inputs.
    delays : tuple of Delay
    readings : tuple of Reading
    slices : tuple of Slice
    cuts : tuple of Cut
    prologue, epilogue : tuple of Node
        What was made before the steps and of them.

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
        self._columns = columns  # what a node of the body was at each step; None where it was left out

    # -- comparing -------------------------------------------------------------------------

    def difference(self, other: Folded) -> str | None:
        """The first operation in which two folded graphs differ, or None.

        Names and scopes don't count: a loop written by hand and a layer are the same if
        they compute the same.
        """
        mine, theirs = self._signatures(), other._signatures()
        for (node, a), (twin, b) in zip(mine, theirs, strict=False):
            if a != b:
                return f"{self._say(node)}, where the other has {other._say(twin)}"
        if len(mine) != len(theirs):
            longer, rest = (self, mine[len(theirs) :]) if len(mine) > len(theirs) else (other, theirs[len(mine) :])
            return f"{longer._say(rest[0][0])} has no counterpart"
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Folded) and self.difference(other) is None

    def __hash__(self) -> int:
        return hash(tuple(repr(signature) for _, signature in self._signatures()))

    def _signatures(self) -> list[tuple[Node, tuple[Any, ...]]]:
        """Each node of the body with what it computes, free of names."""
        numbers: dict[Node, int] = {}
        delays = {delay.node: delay for delay in self.delays}
        varying = {piece.node for piece in self.slices}
        found = []
        position = {node: i for i, node in enumerate(self.body)}
        for node in self.body:
            inputs = [position[i] if i in position else ("outside", numbers.setdefault(i, len(numbers))) for i in node.inputs]
            attributes = () if node in varying else _key(node.attributes)
            back = (position[delays[node].source], delays[node].steps) if node in delays else None
            found.append((node, (node.primitive, tuple(inputs), attributes, tuple(node.spec), back)))
        return found

    # -- looking ---------------------------------------------------------------------------

    def text(self) -> str:
        """One step in words, a line for each node."""
        names = self._names()
        width = max((len(name) for name in names.values()), default=0)
        lines = [f"  {names[node]:{width}}  {self._say(node)}" for node in self.body]
        return "\n".join([f"step t = 1..{self.T}", *lines])

    __repr__ = __str__ = text

    def _names(self) -> dict[Node, str]:
        """The names of the graph, with the step left out."""
        names: dict[Node, str] = {}
        for node, column in self._columns.items():
            name = self.graph.names[next(n for n in column if n is not None)]
            names[node] = name[: name.rindex("[")] if name.endswith("]") else name
        for delay in self.delays:
            names[delay.node] = f"{names[delay.source]}[t-{delay.steps}]"
        for reading in self.readings:
            names[reading.node] = f"{reading.outside[0].name or reading.outside[0].operation}[t]"
        return names

    def _say(self, node: Node) -> str:
        names = self._names()
        for delay in self.delays:
            if delay.node is node:
                source = names[delay.source]
                return f"the delayed {source}; at the start {', '.join(f'{source}[{t}]' for t in range(1 - delay.steps, 1))}"
        for cut in self.cuts:
            if cut.node is node:
                source = f"{names[cut.source]}{f'[t-{cut.steps}]' if cut.steps else ''}" if cut.source else "…"
                return f"detach({source})"
        if node.primitive is None:
            return "another value from outside at each step"
        called = {**self.graph.names, **names}
        arguments = [called[i] for i in node.inputs]
        varying = node in {piece.node for piece in self.slices}
        arguments += [f"{key}={'(t,)' if varying else value}" for key, value in node.attributes.items()]
        return f"{node.operation}({', '.join(arguments)})"

    def draw(self, **options: Any) -> Drawing:
        """A picture of the folded graph; see :func:`tinygrad_rnn.draw.draw`."""
        return self.graph.draw(**{"time": "folded", **options})

    # -- unfolding -------------------------------------------------------------------------

    def unfold(self, T: int | None = None) -> Graph:
        """The graph of T steps; of as many as were folded, it is the graph that was folded.

        Parameters
        ----------
        T : int, optional

        Raises
        ------
        FoldError
            If the graph cannot have another length, since what it reads from outside at
            each step, or makes of the steps, is not known for it.
        """
        T = self.T if T is None else T
        if T < 1:
            raise FoldError(f"a graph has one step at least, not {T}")
        new = _Unfolding(self, T)
        return new.graph()


class _Unfolding:
    """Makes the nodes of T steps anew."""

    def __init__(self, folded: Folded, T: int) -> None:
        self.folded, self.T = folded, T
        self.outside: dict[Node, Node] = {}
        self.made: dict[tuple[int, Node], Node] = {}  # (t, node of the body) -> node
        self.slices = {piece.node: piece for piece in folded.slices}
        self.reads = {reading.node: reading for reading in folded.readings}
        self.delays = {delay.node: delay for delay in folded.delays}
        self.cuts = {cut.node: cut for cut in folded.cuts}
        self.inner: dict[tuple[Unrolling, int], Unrolling] = {}

    def graph(self) -> Graph:
        folded = self.folded
        self._resize_sequences()
        for t in range(1, self.T + 1):
            for node in folded.body:
                self._make(t, node)
        was: dict[Node, tuple[int, Node]] = {}
        for node, column in folded._columns.items():
            was.update({step: (t, node) for t, step in enumerate(column, 1) if step is not None})
        for node in folded.epilogue:
            self._make_after(node, was)
        outputs = [self._after(node, was) for node in folded.graph.outputs]
        return Graph(outputs)

    def _resize_sequences(self) -> None:
        """Inputs of T elements become inputs of as many as there are steps now."""
        if self.T == self.folded.T:
            return
        for piece in self.folded.slices:
            for source in piece.node.inputs:
                if source.primitive is not None or not source.shape or source.shape[0] != self.folded.T:
                    raise FoldError(
                        f"to unfold to another length, {source!r} would have to be an input of {self.folded.T} steps"
                    )
                if source not in self.outside:
                    spec = Spec((self.T, *source.shape[1:]), source.dtype)
                    self.outside[source] = leaf(spec, source.name, source.role, source.place)

    def _make(self, t: int, node: Node) -> None:
        if node in self.delays:
            delay = self.delays[node]
            if t > delay.steps:
                self.made[t, node] = self.made[t - delay.steps, delay.source]
            else:
                self.made[t, node] = self._out(delay.initial[t - 1])
            return
        if node in self.reads:
            outside = self.reads[node].outside
            if t > self.folded.T and outside[-1] is not outside[-2]:
                raise FoldError(f"step {t} would read a value from outside that is known for {self.folded.T} steps only")
            self.made[t, node] = self._out(outside[min(t, self.folded.T) - 1])
            return
        if node in self.cuts:
            self.made[t, node] = self._cut(t, self.cuts[node])
            return
        inputs = tuple(self.made[t, i] if (t, i) in self.made else self._out(i) for i in node.inputs)
        attributes = self._attributes_at(node, t)
        self.made[t, node] = _copy(node, inputs, attributes, self._place(node.place, t))

    def _place(self, place: Place, t: int) -> Place:
        """The place at step t; a loop within the step runs anew in each."""
        unrolling = place.unrolling
        if unrolling is self.folded.unrolling or unrolling is None or unrolling.outer is None:
            return place._replace(t=t)
        key = unrolling, t
        if key not in self.inner:
            self.inner[key] = Unrolling(unrolling.scope, self._place(unrolling.outer, t), unrolling.reverse)
        return place._replace(unrolling=self.inner[key])

    def _cut(self, t: int, cut: Cut) -> Node:
        if cut.source is None or t <= cut.steps:
            return _copy(cut.node, (), cut.node.attributes, self._place(cut.node.place, t))
        source = self.made[t - cut.steps, cut.source]
        return _copy(cut.node, (), {"source": weakref.ref(source)}, self._place(cut.node.place, t))

    def _attributes_at(self, node: Node, t: int) -> Mapping[str, Any]:
        if node not in self.slices:
            return node.attributes
        known = self.slices[node].attributes
        if self.T == self.folded.T:
            return known[t - 1]
        positions = [_position(attributes) for attributes in known]
        if positions == list(range(len(known))):
            return _moved(known[0], t - 1)
        if positions == list(range(len(known)))[::-1]:
            return _moved(known[0], self.T - t)
        raise FoldError(f"the parts that {node!r} reads are not one element after another, so no other length is known")

    def _out(self, node: Node) -> Node:
        return self.outside.get(node, node)

    def _after(self, node: Node, was: Mapping[Node, tuple[int, Node]]) -> Node:
        if node in was:
            t, body = was[node]
            if self.T != self.folded.T and t != self.folded.T:
                raise FoldError(f"what is made of step {t} alone is not known for another length")
            return self.made[self.T if t == self.folded.T else t, body]
        return self._out(node)

    def _make_after(self, node: Node, was: Mapping[Node, tuple[int, Node]]) -> None:
        if node.primitive is None:
            return  # a leaf is the same in both
        steps = [was[i] for i in node.inputs if i in was]
        order, bodies = [t for t, _ in steps], {body for _, body in steps}
        upwards = list(range(1, self.folded.T + 1))
        if len(bodies) == 1 and len(steps) == len(node.inputs) and order in (upwards, upwards[::-1]):
            (body,) = bodies  # it takes one value of every step, as a stack over time does
            times = range(1, self.T + 1) if order == upwards else range(self.T, 0, -1)
            inputs = tuple(self.made[t, body] for t in times)
        else:
            inputs = tuple(self._after(i, was) for i in node.inputs)
        copy = _copy(node, inputs, node.attributes, node.place)
        if self.T != self.folded.T and node.primitive is not None:
            try:
                copy.value = node.primitive.shape(*[i.spec for i in inputs], **node.attributes)
            except Exception as error:
                raise FoldError(f"{node!r}, made of all steps, cannot have another length: {error}") from None
        self.outside[node] = copy


def _copy(node: Node, inputs: tuple[Node, ...], attributes: Mapping[str, Any], place: Place) -> Node:
    copy = Node(node.primitive, inputs, attributes, node.spec, place)
    copy.name, copy.role = node.name, node.role
    return copy


def _is_cut(node: Node) -> bool:
    return node.primitive is None and "source" in node.attributes


def _position(attributes: Mapping[str, Any]) -> int | None:
    first = (attributes.get("index") or (None,))[0]
    return first if isinstance(first, int) else None


def _moved(attributes: Mapping[str, Any], position: int) -> Mapping[str, Any]:
    return {**attributes, "index": (position, *attributes["index"][1:])}


def _key(attributes: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(sorted((name, repr(value)) for name, value in attributes.items()))


# -- folding -------------------------------------------------------------------------------


def fold(graph: Graph, unrolling: Unrolling) -> Folded:
    """The verified quotient of a graph by the time of one unrolling; see :class:`Folded`.

    Raises
    ------
    FoldError
        If two steps differ: it names the step and the first operation that does.
    """
    steps: dict[int, list[Node]] = {}
    for node in graph.nodes:
        moment = outer_step(node)
        if moment is not None and moment[0] is unrolling:
            steps.setdefault(moment[1], []).append(node)
    T = max(steps, default=0)
    if set(steps) != set(range(1, T + 1)):
        missing = next(t for t in range(1, T + 2) if t not in steps)
        raise FoldError(f"the outputs do not depend on step {missing} of {T}; fold a graph that has all of them")
    return _Folding(graph, unrolling, [steps[t] for t in range(1, T + 1)]).folded()


class _Folding:
    """Lays the steps beside step 1 and finds out what each operation reads."""

    def __init__(self, graph: Graph, unrolling: Unrolling, steps: list[list[Node]]) -> None:
        self.graph, self.unrolling, self.steps = graph, unrolling, steps
        self.T = len(steps)
        self.row: dict[Node, tuple[int, int]] = {}  # node -> (t, position in step 1)
        self.extra: set[Node] = set()  # of the last step, of use only after it
        self.columns: list[list[Node | None]] = [[node] for node in steps[0]]
        self.row.update({node: (1, i) for i, node in enumerate(steps[0])})
        for t in range(2, self.T + 1):
            self._align(t)

    def _align(self, t: int) -> None:
        nodes = self.steps[t - 1]
        at = 0
        for node in nodes:
            found = next((i for i in range(at, len(self.columns)) if self._alike(self.columns[i][0], node, t)), None)
            if found is None:
                if t < self.T:
                    self._differ(t, node, self.steps[0][at] if at < len(self.columns) else None)
                self.extra.add(node)
                continue
            for column in self.columns[at:found]:
                self._leave_out(t, column)
            self.columns[found].append(node)
            self.row[node] = (t, found)
            at = found + 1
        for column in self.columns[at:]:
            self._leave_out(t, column)

    def _leave_out(self, t: int, column: list[Node | None]) -> None:
        """An operation that nothing after step t reads is no part of the graph at the end."""
        if t == 2 and self.T > 2:
            self._differ(t, None, column[0])
        column.append(None)

    def _alike(self, first: Node | None, node: Node, t: int) -> bool:
        """Whether a node of step t does what one of step 1 does; what it reads is judged later."""
        if first is None or node.primitive is not first.primitive or node.spec != first.spec:
            return False
        if (node.scope, len(node.inputs)) != (first.scope, len(first.inputs)):
            return False
        if node.primitive is not None and node.name != first.name:
            return False
        if node.attributes != first.attributes and not (self._outside_only(node) and self._outside_only(first)):
            return False
        for mine, other in zip(node.inputs, first.inputs, strict=True):
            if mine in self.row and self.row[mine][0] == t and other in self.row and self.row[mine][1] != self.row[other][1]:
                return False
        return True

    def _outside_only(self, node: Node) -> bool:
        return all(self._moment(i) is None for i in node.inputs)

    def _moment(self, node: Node) -> int | None:
        moment = outer_step(node)
        return moment[1] if moment is not None and moment[0] is self.unrolling else None

    def _differ(self, t: int, node: Node | None, first: Node | None, why: str = "") -> None:
        def say(n: Node | None) -> str:
            return "nothing" if n is None else f"{n.operation}{f' ({n.name})' if n.name and n.primitive else ''} {n.spec}"

        where = (node or first).place  # type: ignore[union-attr]
        scope = f" in {where.scope!r}" if where.scope else ""
        raise FoldError(
            why
            or f"step {t} differs from step 1: it makes {say(node)}{scope} where step 1 makes {say(first)}; "
            "take Python's if out of the loop, or use tr.where"
        )

    # -- what each operation reads ---------------------------------------------------------

    def folded(self) -> Folded:
        self._check_left_out()
        body: list[Node] = []
        twin: list[Node] = []  # position in step 1 -> node of the body
        shared: dict[tuple[Any, ...], Node] = {}
        delays: list[tuple[Node, int, int, tuple[Node, ...]]] = []
        readings: list[Reading] = []
        slices: list[Slice] = []
        place = Place(unrolling=self.unrolling)
        for position, column in enumerate(self.columns):
            first = column[0]
            assert first is not None
            inputs: list[Node] = []
            for slot in range(len(first.inputs)):
                kind, *facts = self._source(position, slot)
                if kind == "same step":
                    inputs.append(twin[facts[0]])
                elif kind == "outside":
                    inputs.append(facts[0])
                else:
                    key = (kind, *facts)
                    if key not in shared:
                        shared[key] = leaf(first.inputs[slot].spec, first.inputs[slot].name, kind, place)
                        body.append(shared[key])
                        if kind == "delay":
                            delays.append((shared[key], *facts))
                        else:
                            readings.append(Reading(shared[key], facts[0]))
                    inputs.append(shared[key])
            at = first.place._replace(t=None) if first.place.unrolling is self.unrolling else first.place
            node = _copy(first, tuple(inputs), first.attributes, at)
            attributes = [n.attributes for n in column if n is not None]
            if any(a != attributes[0] for a in attributes):
                slices.append(Slice(node, tuple(attributes)))
            twin.append(node)
            body.append(node)
        closed = [Delay(node, twin[source], d, initial) for node, source, d, initial in delays]
        cuts = [
            Cut(node, *self._cut_from(column, twin)) for node, column in zip(twin, self.columns, strict=True) if _is_cut(node)
        ]
        inside = set(self.row)
        needed = set(ancestors(inside)) - inside
        prologue = [n for n in self.graph.nodes if n in needed]
        epilogue = [n for n in self.graph.nodes if n not in needed and n not in inside]
        columns = dict(zip(twin, self.columns, strict=True))
        return Folded(self.graph, self.unrolling, self.T, (prologue, body, epilogue), (closed, readings, slices, cuts), columns)

    def _cut_from(self, column: list[Node | None], twin: list[Node]) -> tuple[Node | None, int]:
        """What the last step's leaf was cut off from, and how many steps earlier that is."""
        last = [(t, node.cut) for t, node in enumerate(column, 1) if node is not None][-1]
        t, source = last
        if source is None or source not in self.row:
            return None, 0
        earlier, position = self.row[source]
        return twin[position], t - earlier

    def _source(self, position: int, slot: int) -> tuple[Any, ...]:
        """Where one input of one operation comes from, at every step alike, or an error."""
        read = [(t, n.inputs[slot]) for t, n in enumerate(self.columns[position], 1) if n is not None]
        rows = [self.row.get(source) for _, source in read]
        if rows[0] is not None:  # step 1 reads a value of its own, so every step has to
            source = rows[0][1]
            for (t, _), row in zip(read, rows, strict=True):
                if row != (t, source):
                    self._unlike(t, position, slot)
            return "same step", source
        inside = [(t, *row) for row, (t, _) in zip(rows, read, strict=True) if row]
        if not inside:
            sources = tuple(source for _, source in read)
            if any(source.role == "parameter" for source in sources) or len(set(sources)) == 1:
                for t, this in enumerate(sources, 1):
                    if this is not sources[0]:
                        self._unlike(t, position, slot)
                return "outside", sources[0]
            if len(sources) < self.T:
                self._differ(len(sources) + 1, None, self.columns[position][0])
            return "reading", sources
        t, earlier, source = inside[0]
        d = t - earlier
        expected = [None if t <= d else (t - d, source) for t, _ in read]
        for (t, _), row, want in zip(read, rows, expected, strict=True):
            if row != want or d < 1:
                self._unlike(t, position, slot)
        initial = tuple(node for t, node in read if t <= d)
        return "delay", source, d, initial

    def _unlike(self, t: int, position: int, slot: int) -> None:
        node, first = self.columns[position][t - 1], self.columns[position][0]
        assert node is not None and first is not None
        names = self.graph.names
        other, own = node.inputs[slot], first.inputs[slot]
        hint = "; are the weights shared?" if "parameter" in (other.role, own.role) else ""
        scope = f" in {node.scope!r}" if node.scope else ""
        called = f" ({node.name})" if node.name else ""
        reads = f"{node.operation}{called}{scope} reads {names[other]} where step 1 reads {names[own]}"
        raise FoldError(f"step {t} differs from step 1: {reads}{hint}")

    def _check_left_out(self) -> None:
        """A node may be missing at the end only, where no later step is left to read it."""
        for column in self.columns:
            gone = False
            for t, node in enumerate(column, 1):
                if gone and node is not None:
                    self._differ(t - 1, None, column[0])
                gone = node is None
