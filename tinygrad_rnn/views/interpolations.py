"""Interpolations: rewrite a + z ⊙ (b − a), as cells compute it, to (1 − z) ⊙ a + z ⊙ b, as textbooks write it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..graph.context import at, mode
from ..graph.graph import Graph
from ..graph.node import Node, behind_cuts, rebased
from ..ops import add, multiply, subtract
from ..ops.facts import adds, facts_of, multiplies
from ..tensor import Tensor

__all__ = ["Interpolation", "interpolations", "ways_to_interpolate", "with_both_weights"]


def interpolations(graph: Graph) -> Graph:
    """The graph in which each a + z ⊙ (b − a) is replaced by (1 − z) ⊙ a + z ⊙ b.

    Cells compute the first form, because it has one product less. The second form shows both
    weights. Only interpolations between values are rewritten, not interpolations with parameters.

    Parameters
    ----------
    graph : Graph

    Returns
    -------
    Graph
        A graph that reuses the unchanged nodes of the given graph.

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
        found = next(ways_to_interpolate(node), None)
        if found is None or not values.issuperset(found[:3]):
            if (made := rebased(node, instead)) is not node:
                instead[node] = made
            continue
        with at(node.location), mode(tracing=True):
            made = with_both_weights(*(Tensor(instead.get(i, i)) for i in found[:3])).node
        made.name, made.role = node.name, node.role
        instead[node] = made
    return Graph([instead.get(node, node) for node in graph.outputs], instead) if instead else graph


class Interpolation(NamedTuple):
    """The parts of a + z ⊙ (b − a), and the two operations inside.

    Attributes
    ----------
    start, end, weight : Node
        a, b and z.
    product, difference : Node
        z ⊙ (b − a) and b − a.
    """

    start: Node
    end: Node
    weight: Node
    product: Node
    difference: Node


def ways_to_interpolate(node: Node) -> Iterator[Interpolation]:
    """All ways to match a node with a + z ⊙ (b − a), for any order of its operands.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> a, b, z = (tr.tensor([1.0]).named(name) for name in "abz")
    >>> [(found.start.name, found.end.name, found.weight.name) for found in ways_to_interpolate(((b - a) * z + a).node)]
    [('a', 'b', 'z')]
    """
    if len(node.inputs) == 2 and adds(node):
        for a, product in (node.inputs, node.inputs[::-1]):
            if multiplies(product):
                for z, difference in (product.inputs, product.inputs[::-1]):
                    if facts_of(difference).signs == (1, -1) and difference.inputs[1] is a:
                        yield Interpolation(a, difference.inputs[0], z, product, difference)


def with_both_weights(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """Make (1 − z) ⊙ a + z ⊙ b.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> with_both_weights(tr.tensor(2.0), tr.tensor(4.0), tr.tensor(0.25))
    tensor(2.5)
    """
    return add(multiply(subtract(1.0, weight), start), multiply(weight, end))
