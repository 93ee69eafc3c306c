"""Unfolding: build the nodes of T steps from the one step of a folded graph."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from ..console import counted
from ..errors import FoldError
from .context import Location, Unrolling
from .graph import Graph, is_constant, outer_step
from .node import Node, Spec, leaf
from .structure import with_numbers

if TYPE_CHECKING:
    from .fold import Cut, Folded


def copied(node: Node, inputs: tuple[Node, ...], attributes: Mapping[str, Any], location: Location) -> Node:
    """The same operation on other inputs, without its value."""
    return node.again(inputs, attributes, node.spec, location)


class Unfolding:
    """Builder of a graph of T steps; `refuse` rejects everything that is unknown for another length."""

    def __init__(self, folded: Folded, T: int) -> None:
        self.folded, self.T = folded, T
        self.longer = folded.T != T
        self.new: dict[Node, Node] = {}  # replacements of nodes outside the steps
        self.made: dict[tuple[int, Node], Node] = {}  # (t, node of the body) -> node
        self.slices = {piece.node: piece for piece in folded.slices}
        self.courses = {piece.node: piece.courses(folded.T) for piece in folded.slices}
        self.readings = {reading.node: reading for reading in folded.readings}
        self.delays = {delay.node: delay for delay in folded.delays}
        self.cuts = {cut.node: cut for cut in folded.cuts}
        self.inner: dict[tuple[Unrolling, int], Unrolling] = {}
        self.was = {
            step: (t, node) for node, column in folded.columns.items() for t, step in enumerate(column, 1) if step is not None
        }

    def graph(self) -> Graph:
        """The unfolded graph, with the original outputs at the last step or at every step."""
        folded = self.folded
        if self.longer:
            self._lengthen()
        for t in range(1, self.T + 1):
            for node in folded.body:
                if self.longer or node not in folded.columns or folded.columns[node][t - 1] is not None:
                    self._make(t, node)
        for node in folded.epilogue:
            self._make_after(node)
        outputs = folded.graph.outputs
        return Graph(self._of_each_step(outputs) or [self._after(node) for node in outputs])

    def _refuse(self, why: str) -> NoReturn:
        raise FoldError(f"a graph of {counted(self.folded.T, 'step')} cannot be unfolded to {counted(self.T, 'step')}: {why}")

    # -- input sequences of another length -------------------------------------------------

    def _lengthen(self) -> None:
        """Replace inputs that are read step by step by inputs with an element for each of the new steps."""
        if self.folded.T == 1:
            self._refuse("a single step does not show what the next step reads from it; fold at least two steps")
        called = self.folded.graph.names
        for piece in self.folded.slices:
            source = piece.node.inputs[0]
            if source.primitive is not None or source.role == "parameter":
                self._refuse(
                    f"they read the sequence {called[source]}, which is computed outside of the steps with {source.shape[0]} "
                    "elements; fold a graph that has this sequence as an input"
                )
            if source not in self.new:
                self.new[source] = self._longer_input(piece.node, source)
            elif not self._reads(piece.node, self.new[source].spec):
                self._refuse(
                    f"several operations read parts of {called[source]}, and no single length of it fits them all; read "
                    "it only "
                    "by tr.steps"
                )
        varying = {step for node in self.slices for step in self.folded.columns[node]}
        for node in self.folded.graph.nodes:
            for source in node.inputs:
                if source in self.new and node not in varying:
                    self._refuse(
                        f"{called[node]}, outside of the steps, reads the whole input sequence {called[source]}, so it "
                        "needs this "
                        "length; give it an input of its own"
                    )

    def _longer_input(self, node: Node, source: Node) -> Node:
        """A longer input whose time axis is the axis along which the steps read it."""
        for axis, length in enumerate(source.shape):
            shape = (*source.shape[:axis], length + self.T - self.folded.T, *source.shape[axis + 1 :])
            if shape[axis] > 0 and self._reads(node, Spec(shape, source.dtype)):
                return leaf(Spec(shape, source.dtype), source.name, source.role or "input", source.location)
        self._refuse(
            f"the position that a step reads in {self.folded.graph.names[source]} does not move evenly from step to step; read "
            "one element at each step, as with tr.steps(xs)"
        )

    def _reads(self, node: Node, source: Spec) -> bool:
        """Whether the first and the last step can read their parts of a longer input."""
        assert node.primitive is not None
        others = [i.spec for i in node.inputs[1:]]
        for t in (1, self.T):
            attributes = self._arguments(node, t)
            try:
                if attributes is None or node.primitive.shape(source, *others, **attributes) != node.spec:
                    return False
            except Exception:  # shape rules of primitives raise errors of various types
                return False
        return True

    def _arguments(self, node: Node, t: int) -> Mapping[str, Any] | None:
        """Static arguments, at step t, of a node that reads slices; None if the folded steps do not determine them."""
        known = self.slices[node].attributes
        if not self.longer:
            return known[t - 1]
        courses = self.courses[node]
        if any(course is None for course in courses):
            return None
        return with_numbers(known[0], [course.at(t, self.T) for course in courses if course is not None])

    # -- the steps -------------------------------------------------------------------------

    def _make(self, t: int, node: Node) -> None:
        if node in self.delays:
            delay = self.delays[node]
            known = t > delay.steps
            self.made[t, node] = self.made[t - delay.steps, delay.source] if known else self._out(delay.initial[t - 1])
        elif node in self.readings:
            outside = self.readings[node].outside
            if t <= len(outside):
                self.made[t, node] = self._out(outside[t - 1])
            elif self.longer and len(outside) > 1 and outside[-1] is outside[-2]:
                self.made[t, node] = self._out(outside[-1])  # a state that never changes has reached this step
            elif self.longer:
                self._refuse(
                    "each step reads another value from outside of the steps, the last one "
                    f"{self.folded.graph.names[outside[-1]]}, "
                    "and there is none for a further step; read these values from one sequence, as with tr.steps(xs, values)"
                )
        elif node in self.cuts:
            self.made[t, node] = self._cut(t, self.cuts[node])
        else:
            inputs = tuple(self.made[t, i] if (t, i) in self.made else self._out(i) for i in node.inputs)
            attributes = self._arguments(node, t) if node in self.slices else node.attributes
            assert attributes is not None
            self.made[t, node] = copied(node, inputs, attributes, self._place(node.location, t))

    def _place(self, location: Location, t: int) -> Location:
        """The location of a node at step t; a loop within the step starts again at each step."""
        unrolling = location.unrolling
        if unrolling is self.folded.unrolling or unrolling is None or unrolling.outer is None:
            return location._replace(t=t)
        key = unrolling, t
        if key not in self.inner:
            self.inner[key] = Unrolling(unrolling.scope, self._place(unrolling.outer, t), unrolling.reverse)
        return location._replace(unrolling=self.inner[key])

    def _cut(self, t: int, cut: Cut) -> Node:
        attributes = cut.node.attributes
        if cut.source is not None and t > cut.steps:
            attributes = {"source": weakref.ref(self.made[t - cut.steps, cut.source])}
        return copied(cut.node, (), attributes, self._place(cut.node.location, t))

    # -- after the steps -------------------------------------------------------------------

    def _out(self, node: Node) -> Node:
        return self.new.get(node, node)

    def _after(self, node: Node) -> Node:
        """The counterpart of a value that is read after the loop; only values of the last step are known for any length."""
        if node not in self.was:
            return self._out(node)
        t, body = self.was[node]
        if self.longer and t != self.folded.T:
            self._refuse(
                f"an operation after the steps reads {self.folded.graph.names[node]} of step {t}; only the last step, or all "
                "steps, can be read for another length"
            )
        return self.made[self.T if self.longer else t, body]

    def _of_each_step(self, nodes: Sequence[Node]) -> list[Node] | None:
        """The nodes of one value at every step, in order, if the given nodes are such a value; otherwise None."""
        column = collected(nodes, self.was.get, self.folded.T)
        if column is None or len({body for _, body in column}) > 1:
            return None
        times = range(1, self.T + 1)
        return [self.made[t, column[0][1]] for t in (times if column[0][0] == 1 else reversed(times))]

    def _make_after(self, node: Node) -> None:
        gathered = self._of_each_step(node.inputs)
        inputs = tuple(gathered or [self._after(i) for i in node.inputs])
        moment = outer_step(node)
        last = moment is not None and moment[0] is self.folded.unrolling
        copy = copied(node, inputs, node.attributes, self._place(node.location, self.T) if last else node.location)
        if self.longer and node.primitive is not None:
            name = self.folded.graph.names[node]
            if not gathered and (node.attributes or any(is_constant(i) for i in node.inputs)):
                # a mean divides by the number of steps; a read of the last step holds its position
                self._refuse(
                    f"{name}, after the steps, has a constant or an argument that may depend on the number of steps, as a "
                    "mean does; "
                    "fold the graph of the steps without it"
                )
            try:
                copy.value = node.primitive.shape(*[i.spec for i in inputs], **node.attributes)
            except Exception as error:
                self._refuse(
                    f"{name}, after the steps, does not accept another number of steps ({error}); fold the graph of the steps "
                    "without it"
                )
        self.new[node] = copy


def collected(nodes: Sequence[Node], find: Callable[[Node], tuple[int, Any] | None], T: int) -> list[tuple[int, Any]] | None:
    """(t, position) of one value at each of T steps, in order or in reverse; None if nodes are not such a collection."""
    found = list(_found(nodes, find)) if len(nodes) == T > 1 else []
    order = [t for t, _ in found]
    upwards = list(range(1, T + 1))
    return found if order in (upwards, upwards[::-1]) else None


def _found(nodes: Sequence[Node], find: Callable[[Node], tuple[int, Any] | None]) -> Iterator[tuple[int, Any]]:
    for node in nodes:
        if (row := find(node)) is None:
            return
        yield row
