"""Whole-sequence operations, said step by step.

A layer applied to a whole sequence, such as a linear layer after the recurrent one, is the
same layer applied at each step. This pass says so in the graph: pictures and per-step
questions then see it where it happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, TypeAlias

import numpy as np

from ..graph.graph import Graph, is_constant, outer_step
from ..graph.node import Node, Spec, behind_cuts, leaf
from ..graph.place import Place, Unrolling
from ..ops.core import registry

__all__ = ["per_step"]

Moment: TypeAlias = "tuple[Unrolling, int] | None"


def per_step(graph: Graph) -> Graph:
    """The same computation, with whole-sequence operations split into their steps.

    A stack over time, read at one step, is the value of that step. A leaf sequence becomes
    a leaf for each step. A primitive through which the time axis only passes is applied at
    each step: that it does is checked on numbers, so it holds for primitives nobody here
    has heard of. A reduction over time is split into its steps and a last reduction.

    Parameters
    ----------
    graph : Graph

    Returns
    -------
    Graph
        Of new nodes; an output that was a sequence is an output for each step. The graph
        that was given stays as it is.

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
    """One run over the nodes: `new` maps each to what replaces it, `elements` to its steps."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.new: dict[Node, Node] = {}
        self.elements: dict[Node, list[Node]] = {}
        self.sums: dict[Node, list[Node]] = {}
        self.made: set[Node] = set()
        self.moments = _sequences(nodes)

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
            else:
                self._distribute(node)
        elif outer_step(node) is None and len(node.inputs) == 1 and node.inputs[0] in self.elements:
            reduced = self._reduce(node)
            if reduced is not None:
                return reduced
        # every operation is made anew, so that the order of each step stays as it was
        return self._node(node, tuple(self.new[i] for i in node.inputs), node.attributes, node.value, node.place)

    def _node(self, like: Node, inputs: tuple[Node, ...], attributes: Mapping[str, Any], value: Any, place: Place) -> Node:
        made = Node(like.primitive, inputs, attributes, value, place)
        made.name, made.role, made.leaf = like.name, like.role, like.leaf
        self.made.add(made)
        return made

    # -- leaves ----------------------------------------------------------------------------

    def _leaf(self, node: Node) -> Node:
        source = node.cut
        if source is not None:
            if source in self.elements:
                self.elements[node] = [self._cut(node, part, part.place) for part in self.elements[source]]
            return node if self.new[source] is source else self._cut(node, self.new[source], node.place)
        moments = self.moments.get(node)
        if moments is not None:
            self.elements[node] = [self._element(node, t, moment) for t, moment in enumerate(moments)]
        return node

    def _cut(self, like: Node, source: Node, place: Place) -> Node:
        # a strong reference, unlike a cut of the user's: nobody else holds the new source
        return self._node(like, (), {"source": lambda: source}, source.value, place)

    def _element(self, sequence: Node, t: int, moment: Moment) -> Node:
        role = None if is_constant(sequence) else sequence.role or "input"
        place = Place(sequence.scope) if moment is None else Place(sequence.scope, *moment)
        made = leaf(_at(sequence.value, t), sequence.name, role, place)
        self.made.add(made)
        return made

    # -- operations ------------------------------------------------------------------------

    def _read(self, node: Node) -> Node | None:
        """What ``sequence[t]`` is, if the sequence is known step by step."""
        index = node.attributes.get("index")
        if not index or node.inputs[0] not in self.elements:
            return None
        parts, first = self.elements[node.inputs[0]], index[0]
        if isinstance(first, slice) and all(part in (slice(None), Ellipsis) for part in index[1:]):
            self.elements[node] = parts[first]
        if not isinstance(first, int) or any(part not in (slice(None), Ellipsis) for part in index[1:]):
            return None
        element = parts[first]
        if element in self.made and element.name is None and node.role == element.role:
            element.name = node.name
        return element

    def _distribute(self, node: Node) -> None:
        """Apply a primitive at each step, if time only passes through it."""
        known = [i for i in node.inputs if i in self.elements]
        moments = self.moments[node]
        T = len(moments)
        if not known or any(len(self.elements[i]) != T for i in known):
            return
        for ways, attributes in _candidates(node, known):
            if not _passes(node, ways, attributes):
                continue
            firsts = {i: leaf(_at(i.value, 0)) for i, way in zip(node.inputs, ways, strict=True) if way is Way.FIRST}
            self.elements[node] = [
                self._node(
                    node,
                    tuple(
                        self.elements[i][t] if way is Way.STEPS else firsts[i] if way is Way.FIRST else self.new[i]
                        for i, way in zip(node.inputs, ways, strict=True)
                        if way is not Way.DROPPED
                    ),
                    attributes,
                    _at(node.value, t),
                    Place(node.scope) if moment is None else Place(node.scope, *moment, node.place.origin),
                )
                for t, moment in enumerate(moments)
            ]
            return

    def _reduce(self, node: Node) -> Node | None:
        """A reduction over time and other axes: first the others, at each step, then time."""
        (sequence,) = node.inputs
        axes = node.attributes.get("axis")
        ndim = len(sequence.shape)
        if not isinstance(axes, tuple) or -ndim not in axes or node.attributes.get("keepdims"):
            return None
        parts = self.elements[sequence]
        rest = tuple(a for a in axes if a != -ndim)
        if rest:
            attributes = {**node.attributes, "axis": rest}
            parts = [self._part(node, part, attributes) for part in parts]
        shape = parts[0].shape
        value: Any = Spec((len(parts), *shape), node.dtype)
        if isinstance(parts[0].value, np.ndarray):
            value = np.stack([part.value for part in parts])
        stacked = Node(registry["stack"], tuple(parts), {"axis": -len(shape) - 1}, value)
        last = {**node.attributes, "axis": (-len(shape) - 1,)}
        reduced = self._node(node, (stacked,), last, node.value, node.place)
        self.sums[reduced] = parts
        return reduced

    def _part(self, node: Node, part: Node, attributes: Mapping[str, Any]) -> Node:
        assert node.primitive is not None
        spec = node.primitive.shape(part.spec, **attributes)
        value: Any = spec
        if isinstance(part.value, np.ndarray):
            value = np.asarray(node.primitive.kernel(part.value, **attributes))
        moment = outer_step(part)
        place = Place(node.scope) if moment is None else Place(node.scope, *moment)
        made = self._node(node, (part,), attributes, value, place)
        made.name = None
        return made

    def _tell_losses(self, total: Node) -> None:
        """The parts of a loss that is summed over time are the losses of the steps."""
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


def _sequences(nodes: Sequence[Node]) -> dict[Node, list[Moment]]:
    """The nodes that have a leading time axis, with the step of each of its elements."""
    found: dict[Node, list[Moment]] = {}
    for node in nodes:  # downwards from stacks over time
        if outer_step(node) is not None or node.primitive is None:
            continue
        first = (node.attributes.get("index") or (None,))[0]
        if _is_over_time(node):
            moments = [outer_step(i) for i in node.inputs]
            if len({moment for moment in moments if moment}) == len(moments):
                found[node] = moments
        elif isinstance(first, slice) and node.inputs[0] in found:
            found[node] = found[node.inputs[0]][first]
        else:
            for i in node.inputs:
                if i in found and node.shape[:1] == (len(found[i]),):
                    found[node] = found[i]
                    break
    read: dict[Node, dict[int, list[tuple[Unrolling, int]]]] = {}
    for node in reversed(nodes):  # upwards from what the steps read, and from partners of sequences
        moment = outer_step(node)
        if node.primitive is not None and moment is not None:
            index = node.attributes.get("index", ())
            if index and isinstance(index[0], int) and outer_step(node.inputs[0]) is None and node.inputs[0] not in found:
                sequence = node.inputs[0]
                read.setdefault(sequence, {}).setdefault(index[0] % sequence.shape[0], []).insert(0, moment)
            continue
        if node not in found and node in read and node.role != "parameter":
            found[node] = _moments(read[node], node.shape[0])
        if node in found and node.primitive is not None and not _is_over_time(node):
            for i in node.inputs:
                if i not in found and i.role != "parameter" and i.shape[:1] == node.shape[:1]:
                    found[i] = found[node]
    return found


def _moments(read: Mapping[int, Sequence[tuple[Unrolling, int]]], T: int) -> list[Moment]:
    """The step of each element of a sequence, from the steps that read it.

    What only another unrolling reads, which reads others of the same elements too, such as
    the last target where the targets are forced, is of the first one's step all the same.
    """
    found: list[Moment] = [read[t][0] if t in read else None for t in range(T)]
    (unrolling, start), first = next((moment, t) for t, moment in enumerate(found) if moment is not None)
    others = {moment[0] for t, moment in enumerate(found) if moment and moment[0] is unrolling for moment in read[t]}
    for t, moment in enumerate(found):
        if moment is not None and moment[0] is not unrolling and moment[0] in others:
            found[t] = unrolling, start + (first - t if unrolling.reverse else t - first)
    return found


def _is_over_time(node: Node) -> bool:
    """Whether an operation lays values side by side along a new leading axis."""
    return (
        node.primitive is not None
        and node.primitive.arranges == "join"
        and node.attributes["axis"] == -len(node.shape)
        and len(node.shape) > len(node.inputs[0].shape)
    )


# -- does time only pass through? -------------------------------------------------------------


class Way(Enum):
    """How an input of a whole-sequence operation is said at one step."""

    STEPS = "its element of the step"
    WHOLE = "as it is"
    FIRST = "its only element along the time axis"
    DROPPED = "not at all: it only counts the steps"


def _candidates(node: Node, known: list[Node]) -> Iterator[tuple[list[Way], Mapping[str, Any]]]:
    """Ways to say a primitive at one step, with its attributes there."""
    attributes = [node.attributes]
    attributes += [
        {**node.attributes, key: value[1:]} for key, value in node.attributes.items() if isinstance(value, tuple) and value
    ]
    plain = [Way.STEPS if i in known else Way.WHOLE for i in node.inputs]
    ways = [plain]
    if any(_counts(i) for i in node.inputs[1:]):
        ways.append([Way.DROPPED if k and _counts(i) else _first(i, way) for k, (i, way) in enumerate(_zip(node, plain))])
    for candidate in ways:
        for reduced in attributes:
            yield candidate, reduced


def _zip(node: Node, ways: list[Way]) -> Iterator[tuple[Node, Way]]:
    return zip(node.inputs, ways, strict=True)


def _first(node: Node, way: Way) -> Way:
    return Way.FIRST if is_constant(node) and node.shape[:1] == (1,) else way


def _counts(node: Node) -> bool:
    """Whether a constant is 0, 1, 2, … along its first axis: an index that goes with time."""
    value = node.value
    return (
        node.primitive is None
        and isinstance(value, np.ndarray)
        and value.ndim > 0
        and value.size == len(value)
        and np.array_equal(value.ravel(), np.arange(len(value)))
    )


def _passes(node: Node, ways: list[Way], attributes: Mapping[str, Any]) -> bool:
    """Whether the primitive, applied at one step, gives that step of the whole; tried on numbers."""
    assert node.primitive is not None
    kernel: Callable[..., Any] = node.primitive.kernel
    kept = [(i, way) for i, way in _zip(node, ways) if way is not Way.DROPPED]
    specs = [i.spec if way is Way.WHOLE else Spec(i.shape[1:], i.dtype) for i, way in kept]
    try:
        if node.primitive.shape(*specs, **attributes) != Spec(node.shape[1:], node.dtype):
            return False
        values = {i: i.value if isinstance(i.value, np.ndarray) else _example(i.spec) for i in node.inputs}
        with np.errstate(all="ignore"):
            whole = node.value
            if not isinstance(whole, np.ndarray):
                whole = np.asarray(kernel(*[values[i] for i in node.inputs], **node.attributes))
            for t in {0, len(whole) - 1}:
                at: dict[Way, Any] = {Way.WHOLE: ..., Way.STEPS: t, Way.FIRST: 0}
                part = kernel(*[values[i][at[way]] for i, way in kept], **attributes)
                if not np.allclose(part, whole[t], rtol=1e-4, atol=1e-6, equal_nan=True):
                    return False
            return True
    except Exception:  # a primitive's own rules refuse what does not fit in ways of their own
        return False


def _example(spec: Spec) -> Any:
    if spec.dtype.kind == "f":
        return np.random.default_rng(0).standard_normal(spec.shape).astype(spec.dtype)
    return np.zeros(spec.shape, spec.dtype)


def _at(value: Any, t: int) -> Any:
    return value[t] if isinstance(value, np.ndarray) else Spec(value.shape[1:], value.dtype)
