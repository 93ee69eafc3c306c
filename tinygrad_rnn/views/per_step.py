"""Whole-sequence operations, split into their steps.

A layer applied to a whole sequence, such as a linear layer after the recurrent layer, is the
same layer applied at each step. This pass rewrites the graph in this way, so that pictures and
questions about one step see the layer at each step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ..graph.context import Location, Unrolling, mode
from ..graph.graph import Graph, is_constant, outer_step
from ..graph.node import Node, behind_cuts, leaf
from ..ops.facts import facts_of
from ..ops.shapes import stack
from ..tensor import Tensor
from .time_axis import Way, at_one_step, element, moved, moves_only, read_along, rearranges

__all__ = ["per_step"]

Moment: TypeAlias = "tuple[Unrolling, int] | None"


def per_step(graph: Graph) -> Graph:
    """The same computation, with whole-sequence operations split into steps.

    A stack over time that is read at one step is replaced by the value of that step. A leaf sequence
    becomes one leaf for each step. A primitive is applied at each step if the time axis only passes
    through it. The facts of the primitive, and its treatment of leading axes, show whether it does,
    so users' primitives work as well. A reduction over time becomes a reduction of each step and a
    last reduction over the steps.

    Parameters
    ----------
    graph : Graph

    Returns
    -------
    Graph
        A graph of new nodes. An output that was a sequence becomes one output for each step. The
        given graph is not changed.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> V = tr.Parameter([[2.0]], symbol="V")
    >>> hs = [x.named("h") for t, x in tr.steps(tr.tensor([[[1.0]], [[2.0]]]))]
    >>> split = per_step(tr.graph(tr.stack(hs) @ V))
    >>> [split.names[node] for node in split.outputs]
    ['matmul[1]', 'matmul[2]']
    """
    outputs = graph.opened().outputs
    return Graph(_Pass(behind_cuts(outputs)).run(outputs))


class _Pass:
    """One pass over the nodes: `new` maps each node to its replacement, `elements` to its steps."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.new: dict[Node, Node] = {}
        self.elements: dict[Node, list[Node]] = {}
        self.sums: dict[Node, list[Node]] = {}
        self.made: set[Node] = set()
        sequences = _sequences(nodes)
        self.moments = {node: along.moments for node, along in sequences.items()}
        self.axes = {node: along.axis for node, along in sequences.items()}

    def run(self, outputs: Sequence[Node]) -> list[Node]:
        for node in self.nodes:
            self.new[node] = self._replacement(node)
        for node in self.nodes:
            if node.role == "loss" and outer_step(node) is None:
                self._tell_losses(self.new[node])
        return [part for node in outputs for part in self.elements.get(node, [self.new[node]])]

    def _replacement(self, node: Node) -> Node:
        if node.primitive is None:
            return self._leaf(node)
        if (element := self._read(node)) is not None:
            return element
        if node in self.moments:
            if _is_over_time(node):
                self.elements[node] = [self.new[i] for i in node.inputs]
            elif _lengthens(node, self.axes[node]):
                if all(i in self.elements for i in node.inputs):
                    self.elements[node] = [part for i in node.inputs for part in self.elements[i]]
            else:
                self._distribute(node)
        elif outer_step(node) is None and len(node.inputs) == 1 and node.inputs[0] in self.elements:
            reduced = self._reduce(node)
            if reduced is not None:
                return reduced
        # every operation is made again, so that the operations of each step keep their order
        return self._node(node, tuple(self.new[i] for i in node.inputs), node.attributes, node.value, node.location)

    def _node(self, like: Node, inputs: tuple[Node, ...], attributes: Mapping[str, Any], value: Any, place: Location) -> Node:
        if place.origin is not None:
            place = place._replace(origin=self.new.get(place.origin, place.origin))
        made = like.again(inputs, attributes, value, place)
        self.made.add(made)
        return made

    # -- leaves ----------------------------------------------------------------------------

    def _leaf(self, node: Node) -> Node:
        source = node.cut
        if source is not None:
            if source in self.elements:
                self.elements[node] = [self._cut(node, part, part.location) for part in self.elements[source]]
            return node if self.new[source] is source else self._cut(node, self.new[source], node.location)
        moments = self.moments.get(node)
        if moments is not None:
            self.elements[node] = [self._element(node, t, step) for t, step in enumerate(moments)]
        return node

    def _cut(self, like: Node, source: Node, place: Location) -> Node:
        # a strong reference, unlike in a user's cut, because nothing else holds the new source
        return self._node(like, (), {"source": lambda: source}, source.value, place)

    def _element(self, sequence: Node, t: int, step: Moment) -> Node:
        role = None if is_constant(sequence) else sequence.role or "input"
        place = Location(sequence.scope) if step is None else Location(sequence.scope, *step)
        made = leaf(element(sequence.value, t, self.axes[sequence]), sequence.name, role, place)
        self.made.add(made)
        return made

    # -- operations ------------------------------------------------------------------------

    def _read(self, node: Node) -> Node | None:
        """The replacement of ``sequence[t]``, if the sequence is split into steps."""
        if not node.inputs or node.inputs[0] not in self.elements:
            return None
        sequence = node.inputs[0]
        parts, axis = self.elements[sequence], self.axes.get(sequence, -len(sequence.shape))
        first = read_along(node, axis)
        if isinstance(first, slice):
            self.elements[node], self.axes[node] = parts[first], axis
        if not isinstance(first, int):
            return None
        element = parts[first]
        if element in self.made and element.name is None and node.role == element.role:
            element.name = node.name
        return element

    def _distribute(self, node: Node) -> None:
        """Apply a primitive at each step, if the time axis only passes through it."""
        known = [i for i in node.inputs if i in self.elements]
        moments = self.moments[node]
        T = len(moments)
        if not known or any(len(self.elements[i]) != T for i in known):
            return
        axes = {i: self.axes.get(i, -len(i.shape)) for i in node.inputs}
        if len(known) == 1 and moves_only(node, axes[known[0]], self.axes[node]):
            self.elements[node] = self.elements[known[0]]
            return
        at = at_one_step(node, {i: axes[i] for i in known}, self.axes[node])
        if at is None:
            return
        read = list(zip(node.inputs, at.ways, at.axes, strict=True))
        firsts = {i: leaf(element(i.value, 0, axis)) for i, way, axis in read if way is Way.FIRST}
        self.elements[node] = [
            self._node(
                node,
                tuple(
                    self.elements[i][t] if way is Way.STEPS else firsts[i] if way is Way.FIRST else self.new[i]
                    for i, way, _ in read
                    if way is not Way.DROPPED
                ),
                at.attributes,
                element(node.value, t, self.axes[node]),
                Location(node.scope) if step is None else Location(node.scope, *step, node.location.origin),
            )
            for t, step in enumerate(moments)
        ]

    def _reduce(self, node: Node) -> Node | None:
        """Split a reduction over time and other axes: first over the other axes at each step, then over time."""
        (sequence,) = node.inputs
        reduces = facts_of(node).reduces
        axes = node.attributes[reduces] if reduces else None
        time = self.axes.get(sequence, -len(sequence.shape))
        if not isinstance(axes, tuple) or time not in axes or len(node.shape) == len(sequence.shape):
            return None
        assert reduces is not None
        parts = self.elements[sequence]
        rest = tuple(a + (a < time) for a in axes if a != time)
        if rest:
            attributes = {**node.attributes, reduces: rest}
            parts = [self._part(node, part, attributes) for part in parts]
        with mode(tracing=not isinstance(parts[0].value, np.ndarray), recording=True):
            stacked = stack([Tensor(part) for part in parts]).node
        last = {**node.attributes, reduces: (-len(stacked.shape),)}
        reduced = self._node(node, (stacked,), last, node.value, node.location)
        self.sums[reduced] = parts
        return reduced

    def _part(self, node: Node, part: Node, attributes: Mapping[str, Any]) -> Node:
        assert node.primitive is not None
        spec = node.primitive.shape(part.spec, **attributes)
        value: Any = spec
        if isinstance(part.value, np.ndarray):
            value = np.asarray(node.primitive.kernel(part.value, **attributes))
        step = outer_step(part)
        place = Location(node.scope) if step is None else Location(node.scope, *step)
        made = self._node(node, (part,), attributes, value, place)
        made.name = None
        return made

    def _tell_losses(self, total: Node) -> None:
        """Mark the terms of a loss that is summed over time as the losses of the steps."""
        node = total
        while node not in self.sums:
            computed = [i for i in node.inputs if not is_constant(i)]
            if len(computed) != 1:
                return
            node = computed[0]
        for part in self.sums[node]:
            if part in self.made:
                part.role, part.name = "loss", total.name


# -- which nodes are sequences ---------------------------------------------------------------


class Along(NamedTuple):
    """The time axis of a sequence, counted from the end, and the step of each element along it."""

    moments: list[Moment]
    axis: int


def _sequences(nodes: Sequence[Node]) -> dict[Node, Along]:
    """Nodes that have a time axis, with the axis."""
    found: dict[Node, Along] = {}
    for node in nodes:  # downwards from stacks over time
        if outer_step(node) is not None or node.primitive is None:
            continue
        if _is_over_time(node):
            moments = [outer_step(i) for i in node.inputs]
            if len({step for step in moments if step}) == len(moments):
                found[node] = Along(moments, -len(node.shape))
        else:
            for i in node.inputs:
                if i in found and (along := _onwards(node, i, found[i])) is not None:
                    found[node] = along
                    break
    read: dict[Node, dict[int, list[tuple[Unrolling, int]]]] = {}
    for node in reversed(nodes):  # upwards from what the steps read, and from partners of sequences
        step = outer_step(node)
        if node.primitive is not None and step is not None:
            reads = facts_of(node).reads
            index = node.attributes[reads] if reads else ()
            if index and isinstance(index[0], int) and outer_step(node.inputs[0]) is None and node.inputs[0] not in found:
                sequence = node.inputs[0]
                read.setdefault(sequence, {}).setdefault(index[0] % sequence.shape[0], []).insert(0, step)
            continue
        if node not in found and node in read and node.role != "parameter":
            found[node] = Along(_moments(read[node], node.shape[0]), -len(node.shape))
        if node in found and _lengthens(node, found[node].axis):
            start = 0
            for i in node.inputs:
                end = start + i.shape[found[node].axis]
                if i.role != "parameter":
                    found.setdefault(i, Along(found[node].moments[start:end], found[node].axis))
                start = end
        elif node in found and node.primitive is not None and not _is_over_time(node):
            for i in node.inputs:
                if i not in found and i.role != "parameter" and (axis := _backwards(node, i, found[node].axis)) is not None:
                    found[i] = Along(found[node].moments, axis)
    return found


def _onwards(node: Node, read: Node, along: Along) -> Along | None:
    """Time axis of a result, from the time axis of one of its inputs."""
    part = read_along(node, along.axis)
    if isinstance(part, slice):
        return Along(along.moments[part], along.axis)
    if rearranges(node):
        axis = moved(node, along.axis)
        return None if axis is None else Along(along.moments, axis)
    leading = [-len(node.shape)] if along.axis == -len(read.shape) else []
    for axis in (*leading, along.axis + len(read.shape) - len(node.shape)):
        if -len(node.shape) <= axis < 0 and node.shape[axis] == len(along.moments):
            return Along(along.moments, axis)
    return None


def _backwards(node: Node, read: Node, axis: int) -> int | None:
    """Time axis of an input, from the time axis of the result."""
    if rearranges(node):
        return next((a for a in range(-len(read.shape), 0) if moved(node, a) == axis), None)
    leading = axis == -len(node.shape)
    own = -len(read.shape) if leading else axis
    return own if 0 < -own <= len(read.shape) and read.shape[own] == node.shape[axis] else None


def _moments(read: Mapping[int, Sequence[tuple[Unrolling, int]]], T: int) -> list[Moment]:
    """Step of each element of a sequence, from the steps that read the element.

    An element may be read only by another unrolling that also reads other elements of the sequence,
    as the last target if the targets are forced. The element still gets a step of the first unrolling.
    """
    found: list[Moment] = [read[t][0] if t in read else None for t in range(T)]
    (unrolling, start), first = next((step, t) for t, step in enumerate(found) if step is not None)
    others = {step[0] for t, step in enumerate(found) if step and step[0] is unrolling for step in read[t]}
    for t, step in enumerate(found):
        if step is not None and step[0] is not unrolling and step[0] in others:
            found[t] = unrolling, start + (first - t if unrolling.reverse else t - first)
    return found


def _is_over_time(node: Node) -> bool:
    """Whether an operation stacks the values of steps along a new leading axis."""
    joins = facts_of(node).joins
    return joins is not None and node.attributes[joins] == -len(node.shape) and len(node.shape) > len(node.inputs[0].shape)


def _lengthens(node: Node, axis: int) -> bool:
    """Whether an operation joins sequences along their time axis."""
    joins = facts_of(node).joins
    return joins is not None and not _is_over_time(node) and node.attributes[joins] % len(node.shape) == axis + len(node.shape)
