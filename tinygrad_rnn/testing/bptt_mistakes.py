"""Mistakes in a backward pass: for any cell, all common ways to get the pullback of an operation in its step wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from ..explain.by_hand import Array, ByHand, HandRun
from ..graph.node import Node, leaf
from ..ops.facts import facts_of

__all__ = ["Change", "Weights", "changes_of", "weightings"]

Outside = Literal["zeros", "wrap"]
"""Substitute for a value before step 1 or after step T: zeros, or the element that a negative Python index reads."""


class Weights(NamedTuple):
    """Weights of a sum over pairs of a loss and a step, for example of a sum that leaves some pairs out.

    Attributes
    ----------
    words : str
    table : ndarray, shape (T, T)
        At [t-1, k-1], the factor of the part of the gradient from the loss of step t and the use at step k.
    """

    words: str
    table: Array


def weightings(T: int) -> Iterator[Weights]:
    """Common mistakes in the sum over time: steps or losses that are left out.

    Examples
    --------
    >>> [each.words for each in weightings(2)][:2]
    ['the gradient from step t+1 is missing: each loss counts only at its own step', 'only the loss of step 2 is counted']
    """
    t, k = np.indices((T, T)) + 1
    tables = [
        ("the gradient from step t+1 is missing: each loss counts only at its own step", t == k),
        (f"only the loss of step {T} is counted", t == T),
        *((f"only step {s} is counted, instead of the sum over all steps", k == s) for s in (T, *range(1, T))),
        (f"the loop leaves out step {T}, with its loss and its part of the sum", t < T),
        *((f"step {s} is left out of the sum over the steps", k != s) for s in (1, *range(2, T + 1))),
        *((f"the loss of step {s} is left out", t != s) for s in range(1, T)),
        *((f"nothing is carried from step {s + 1} to step {s}", (t <= s) | (k > s)) for s in range(1, T)),
        *((f"the sum is truncated: losses of {n} or more steps later are left out", t - k < n) for n in range(2, T)),
    ]
    yield from (Weights(words, table.astype(float)) for words, table in tables)


@dataclass(frozen=True)
class Change:
    """A mistake in one operation of a step: a wrong pullback to one input, or slots that pass no gradient back.

    Attributes
    ----------
    words : str
        Description of the mistake.
    node : Node or None
        The operation.
    position : int
        The input whose cotangent is wrong.
    kind : str
        "dropped": the cotangent is zero. "overwritten": the cotangent is zero except at the last
        step. "identity": the derivative is left out. "argument": the rule reads the argument
        instead of the result. "again": the rule reads the result instead of the argument.
        "transposed", "shifted": the rule reads another input, `other`, transposed, or from
        `shift` steps later.
    other : int
        Position of the input that is read wrongly; −1 for the result.
    shift : int
    outside : {"zeros", "wrap"}
    slots : frozenset of int
    """

    words: str
    node: Node | None = None
    position: int = 0
    kind: str = "dropped"
    other: int = 0
    shift: int = 0
    outside: Outside = "zeros"
    slots: frozenset[int] = frozenset()

    def pulled(self, hand: ByHand, run: HandRun, t: int, node: Node, g: Array) -> list[tuple[int, Array]] | None:
        """Cotangents of an operation's inputs at step t, from 0; None if the change does not concern the operation."""
        if node is not self.node or (self.kind == "overwritten" and t == hand.T - 1):
            return None
        concrete = run[t][node]
        found = [(k, gx) for k, gx in hand.rule(concrete, node, g) if k != self.position]
        if self.kind in ("dropped", "overwritten"):
            return found
        if self.kind == "identity":
            return [*found, (self.position, g)]
        values, result = [i.value for i in concrete.inputs], concrete.value
        if self.kind == "argument":
            result = values[0]
        elif self.kind == "again":
            values, result = [result], np.asarray(concrete.primitive.kernel(result, **node.attributes))  # type: ignore[union-attr]
        elif self.kind == "transposed":
            values[self.other] = values[self.other].T
        elif self.other < 0:
            result = self._shifted(hand, run, t, node)
        else:
            values[self.other] = self._shifted(hand, run, t, node.inputs[self.other])
        other = Node(node.primitive, tuple(map(leaf, values)), node.attributes, result)
        return [*found, *hand.rule(other, node, g, [self.position])]

    def _shifted(self, hand: ByHand, run: HandRun, t: int, node: Node) -> Array:
        """The value of a node a number of steps later, or a substitute outside the sequence."""
        at = t + self.shift
        if 0 <= at < hand.T:
            return _array(run[at][node])
        if at == hand.T and node in hand.slots:
            return _array(run[t][hand.after[hand.slots.index(node)]])
        if at < 0 and node in hand.after:
            return _array(run[0][hand.slots[hand.after.index(node)]])
        return np.zeros_like(run[t][node].value) if self.outside == "zeros" else _array(run[at % hand.T][node])


def changes_of(hand: ByHand) -> Iterator[Change]:
    """All changes of a network's step; a change with a clearer explanation comes first.

    Parameters
    ----------
    hand : ByHand
    """
    names = _Wording(hand)
    for k, slot in enumerate(hand.slots):
        yield Change(f"the gradient that {names.said(slot, 1)} gets from step t+1 is missing", slots=frozenset([k]))
    edges = [(node, k) for node in hand.order for k in range(len(node.inputs)) if hand.has_derivative(node, k)]
    edges.sort(key=lambda edge: not names.knows(edge[0].inputs[edge[1]]))
    for kind in (_transposed, _shifted, _slopes, _dropped):
        for node, k in edges:
            yield from kind(names, node, k)


class _Wording:
    """Names of a step's values in sentences."""

    def __init__(self, hand: ByHand) -> None:
        self.parameters = {node: name for name, node in hand.parameters.items()}
        self.timed = {node: (name, 0) for name, (node, _) in hand.given.items()}
        self.timed |= {node: (name, 0) for name, node in hand.values.items()}
        self.timed[hand.loss] = "the loss", 0
        self.timed |= {slot: (name, step - 1) for slot, (name, step) in zip(hand.slots, hand.held, strict=True)}

    def knows(self, node: Node) -> bool:
        """Whether a value has a name."""
        return node in self.timed or node in self.parameters

    def said(self, node: Node, later: int = 0) -> str:
        """The name of a value in a sentence, such as ``h_{t-1}``."""
        if node in self.parameters:
            return self.parameters[node]
        if node in self.timed:
            name, offset = self.timed[node]
            return f"{name}_{{t{offset + later:+d}}}" if offset + later else f"{name}_t"
        inside = self.matrix(node)
        return inside or f"the argument of {node.operation}" if node.primitive is None else inside or f"the {node.operation}"

    def matrix(self, node: Node) -> str | None:
        """The parameter behind a value, transposed or not."""
        while node.primitive is not None and (facts_of(node).reorders or facts_of(node).copies):
            node = node.inputs[0]
        return self.parameters.get(node)


def _array(node: Node) -> Any:
    return node.value


def _transposed(names: _Wording, node: Node, k: int) -> Iterator[Change]:
    for other, source in enumerate(node.inputs):
        matrix = names.matrix(source)
        if other != k and matrix and len(source.shape) == 2 and source.shape[0] == source.shape[1]:
            yield Change(f"{matrix} is transposed the wrong way", node, k, "transposed", other)


def _shifted(names: _Wording, node: Node, k: int) -> Iterator[Change]:
    sources: Sequence[tuple[int, Node]] = [*enumerate(node.inputs), (-1, node)]
    for other, source in sources:
        if source in names.timed:
            for shift in (1, -1):
                words = f"{names.said(source, shift)} is used instead of {names.said(source)}"
                for outside in ("zeros", "wrap"):
                    yield Change(words, node, k, "shifted", other, shift, outside)


def _slopes(names: _Wording, node: Node, k: int) -> Iterator[Change]:
    primitive = node.primitive
    if primitive and primitive.elementwise and len(node.inputs) == 1 and not primitive.facts.is_jointly_linear:
        f, result = node.operation, names.said(node) if names.knows(node) else "its result"
        argument = names.said(node.inputs[0]) if names.knows(node.inputs[0]) else "its argument"
        yield Change(f"the derivative of {f} is missing", node, k, "identity")
        yield Change(f"the derivative of {f} is computed from {argument} instead of {result}", node, k, "argument")
        yield Change(f"the derivative of {f} is taken at {result} instead of {argument}", node, k, "again")


def _dropped(names: _Wording, node: Node, k: int) -> Iterator[Change]:
    source = node.inputs[k]
    through = [m for other, i in enumerate(node.inputs) if other != k and (m := names.matrix(i))]
    way = f"through {', '.join(through)}" if through else f"from {names.said(node)}"
    words = f"the gradient that {names.said(source)} gets {way} is missing"
    yield Change(words, node, k, "dropped")
    yield Change(f"{words} at all steps but the last", node, k, "overwritten")
