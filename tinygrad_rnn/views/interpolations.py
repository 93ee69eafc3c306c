"""Interpolations: a + z ⊙ (b − a), as cells compute it, is (1 − z) ⊙ a + z ⊙ b, as textbooks write it."""

from __future__ import annotations

from ..graph.context import at, mode
from ..graph.graph import Graph
from ..graph.node import Node, behind_cuts, rebased
from ..ops import add, multiply, subtract
from ..ops.facts import adds, facts_of, multiplies
from ..tensor import Tensor

__all__ = ["interpolations"]


def interpolations(graph: Graph) -> Graph:
    """The graph with (1 − z) ⊙ a + z ⊙ b in place of each a + z ⊙ (b − a).

    The first form has one product less, and is the one that cells compute. The second form shows
    both weights. Only interpolations between values are rewritten, not those with parameters.

    Parameters
    ----------
    graph : Graph

    Returns
    -------
    Graph
        The nodes that are not concerned are those of the given graph.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> a, b, z = (tr.tensor([1.0]).named(name) for name in "abz")
    >>> [node.operation for node in interpolations(tr.graph(a + z * (b - a))) if node.inputs]
    ['subtract', 'multiply', 'multiply', 'add']
    """
    nodes = behind_cuts(graph.outputs)
    values: set[Node] = set()
    instead: dict[Node, Node] = {}
    for node in nodes:
        if not values.isdisjoint(node.inputs) or (node.primitive is None and node.role != "parameter"):
            values.add(node)
        weights = _weights(node)
        if weights is None or not values.issuperset(weights):
            if (made := rebased(node, instead)) is not node:
                instead[node] = made
            continue
        a, b, z = (Tensor(instead.get(i, i)) for i in weights)
        with at(node.location), mode(tracing=True):
            made = add(multiply(subtract(1.0, z), a), multiply(z, b)).node
        made.name, made.role = node.name, node.role
        instead[node] = made
    return Graph([instead.get(node, node) for node in graph.outputs], instead) if instead else graph


def _weights(node: Node) -> tuple[Node, Node, Node] | None:
    """(a, b, z) of a + z ⊙ (b − a), whatever the order of its operands."""
    if len(node.inputs) == 2 and adds(node):
        for a, product in (node.inputs, node.inputs[::-1]):
            if multiplies(product):
                for z, difference in (product.inputs, product.inputs[::-1]):
                    if facts_of(difference).signs == (1, -1) and difference.inputs[1] is a:
                        return a, difference.inputs[0], z
    return None
