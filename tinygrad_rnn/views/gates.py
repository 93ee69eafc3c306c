"""Gates: one step of a cell, contracted to gates and the operations between them.

This module knows no cell. A gate includes the linear maps and biases that it reads, whether they are
written as one matrix, as eight matrices, or as a product with a concatenation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

from ..graph.graph import Graph
from ..graph.node import Node
from ..ops.facts import facts_of
from .contraction import Contraction, inputs_of, is_copy

__all__ = ["Gates"]

Terms: TypeAlias = "dict[Node, bool]"
"""The values that a sum adds, each with whether all its paths into the sum pass a product with parameters."""


class Gates(Contraction):
    """A step contracted to its gates: linear operations merge into the operation that reads them.

    An operation is called linear if it is a sum of values, each multiplied by parameters or not. A
    function of one value can include such a sum. A product of two values cannot, so the product
    reads the sum as a separate part.

    Parameters
    ----------
    graph : Graph
        A graph whose outputs are the ends of the step: copies of the cell's outputs and next states.

    Notes
    -----
    The roles of the values are "initial" for a slot, "input", "mask", "operation" and "end".

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> U, b = tr.Parameter([[1.0]], symbol="U"), tr.Parameter([0.0], symbol="b")
    >>> x = tr.tensor([[1.0]]).named("x")
    >>> gates = Gates(tr.graph((tr.sigmoid(x @ U + b) * x).astype("float32")))
    >>> [value.node.operation for value in gates.values if value.role == "operation"]
    ['sigmoid', 'multiply']
    """

    draws = True

    def __init__(self, graph: Graph) -> None:
        self.terms: dict[Node, Terms] = {}
        self.biased: set[Node] = set()
        self.kept: set[Node] = set()
        self.parts: set[Node] = set()
        super().__init__(graph)

    def role(self, node: Node) -> str | None:
        """Role of the value that a drawing shows for an operation; None for an operation within an edge."""
        return "end" if node in self.outputs else "operation" if node in self.parts else None

    def is_linear(self, node: Node) -> bool:
        """Whether a value is a sum of other values or of linear maps of them."""
        return node not in self.terms.get(node, (node,))

    def is_weighted(self, node: Node) -> bool:
        """Whether parameters multiply each term of a linear value."""
        return all(self.terms[node].values())

    def passes(self, node: Node) -> bool:
        """Whether a linear value is a copy of another value."""
        return self.is_linear(node) and list(self.terms[node].values()) == [False] and node not in self.biased

    def _contract(self) -> None:
        self._classify()
        for node in reversed(self.nodes):
            if node in self.outputs or (node in self.kept and is_copy(node)):
                self.kept.update(self._read(node))
        for node in self.nodes:
            if self.is_value(node):
                self.terms[node] = self._terms(node) or {node: False}
        self._choose()
        super()._contract()

    def _read(self, node: Node) -> list[Node]:
        """Values that an operation reads."""
        return [i for i in inputs_of(node) if self.is_value(i)]

    def _terms(self, node: Node) -> Terms | None:
        """Terms of a linear operation; None if the operation is not linear, or should be drawn."""
        facts, read, weighted = facts_of(node), self._read(node), bool(self.factors(node))
        if not read:
            return None
        keeps = node.primitive is None or facts.copies or facts.reads  # a row of a parameter is a product with a code
        if facts.joins or (len(read) == 1 and (keeps or (facts.is_linear_in_each and weighted))):
            return self._sum(node, read, weighted)
        if len(facts.signs) > 1 and self.constants.isdisjoint(node.inputs):
            counts = Counter(value for i in read for value in self._seen(i))
            each_once = all(n == 1 or all(self._seen(i).get(value, True) for i in read) for value, n in counts.items())
            if each_once and (weighted or any(i not in self._seen(i) and not self.passes(i) for i in read)):
                self.biased.update([node] if weighted else [])
                return self._sum(node, read, False)
        return None

    def _sum(self, node: Node, read: Sequence[Node], weighted: bool) -> Terms:
        self.biased.update([node] if any(i in self.biased and i not in self._seen(i) for i in read) else [])
        return {value: weighted or own for i in read for value, own in self._seen(i).items()}

    def _seen(self, node: Node) -> Terms:
        """The links of a value for its readers: an end of the step counts as one value, even if it is a sum."""
        return {node: False} if node in self.kept and not self.passes(node) else self.terms[node]

    def _choose(self) -> None:
        """Select the operations that become parts, from the ends backwards."""
        whole: set[Node] = set()  # values that a part reads as one value
        split: set[Node] = set()  # the terms of a sum that is a part
        for node in reversed(self.nodes):
            read = self._read(node) if self.is_value(node) else []
            joins = facts_of(node).joins is not None
            if node in self.outputs:
                whole.update(read)
            elif not self.is_linear(node) and read:
                first, *others = read
                self.parts.add(node)
                takes_in = not others and (first in self.biased or any(self.terms[first].values()))
                whole.update(() if takes_in else read)
            elif read and self.passes(node):
                whole.update(read if node in whole else ())
                split.update(read if node in split else ())
            elif read and (node in whole or (node in split and (joins or self.is_weighted(node)))):
                self.parts.add(node)
                if not self.is_weighted(node):
                    (whole if joins else split).update(read)
            elif node in split:
                split.update(read)
