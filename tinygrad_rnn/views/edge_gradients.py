"""Gradients on a contracted graph: the part of a gradient that flows back along each edge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..autodiff import no_grad, pull
from ..graph.node import Node
from ..ops.facts import facts_of
from ..tensor import Tensor, tensor
from .contraction import Contraction, Edge, Value

__all__ = ["edge_gradients"]

Array: TypeAlias = npt.NDArray[Any]


def edge_gradients(contraction: Contraction, seeds: Mapping[Node, Any]) -> list[Array | None]:
    """For each edge, the part of its source's gradient that flows back along the edge.

    The gradient of a value is the sum over the edges that leave the value. The function visits each
    value once, from the last to the first, so it costs as much as one backward pass.

    Parameters
    ----------
    contraction : Contraction
        The contraction of a graph with numbers.
    seeds : mapping of Node to array_like
        Cotangents of values that the contraction shows, such as 1 for a loss.

    Returns
    -------
    list of ndarray or None
        The gradients, in the order of ``contraction.edges``. An item is None if no gradient flows along
        the edge: at a cut, at values of integers, and if no seed depends on the target.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> from tinygrad_rnn.views import per_step
    >>> from tinygrad_rnn.views.contraction import contract
    >>> h = tr.tensor(1.0)
    >>> for t, x in tr.steps(tr.tensor([1.0, 1.0]).named("x")):
    ...     h = (0.5 * h + x).named("h")
    >>> graph = per_step(tr.graph(h))
    >>> found = contract(graph)
    >>> for edge, g in zip(found.edges, edge_gradients(found, {graph.outputs[0]: 1.0})):
    ...     print(edge.source.name, edge.source.column, float(g))
    h 0 0.25
    x 1 0.5
    h 1 0.5
    x 2 1.0
    """
    place = {node: k for k, node in enumerate(contraction.nodes)}
    into: dict[Value, list[int]] = {}
    for k, edge in enumerate(contraction.edges):
        into.setdefault(edge.target, []).append(k)
    shown = Counter(value.node for value in contraction.values)
    shared = {node for node, values in shown.items() if values > 1}  # a value of two slots: its edge is unknown
    totals: dict[Node, Tensor] = {}
    found: list[Array | None] = [None] * len(contraction.edges)
    with no_grad():
        for node, seed in seeds.items():
            totals[node] = tensor(np.broadcast_to(np.asarray(seed, node.dtype), node.shape))
        for target in sorted(into, key=lambda value: -place[value.node]):
            if target.node not in totals:
                continue
            edges = [k for k in into[target] if _differentiable(contraction.edges[k], shared)]
            order = _between(target.node, shown, place)
            plain_order = [node for node in order if facts_of(node).signs or not contraction.factors(node)]
            for node, ks in _by_source(contraction.edges, edges).items():
                back = _pulled(order, target.node, totals[target.node], node)
                totals[node] = totals[node] + back if node in totals else back
                parts = [back]
                if len(ks) > 1:  # the paths without a parameter, and the paths with one
                    alone = _pulled(plain_order, target.node, totals[target.node], node)
                    parts = [alone, back - alone]
                    ks = sorted(ks, key=lambda k: len(contraction.edges[k].link.parameters))
                for k, part in zip(ks, parts, strict=True):
                    found[k] = part.data
    return found


def _differentiable(edge: Edge, shared: set[Node]) -> bool:
    node = edge.source.node
    return not edge.link.cut and node.dtype.kind == "f" and node not in shared


def _by_source(edges: Sequence[Edge], chosen: Sequence[int]) -> dict[Node, list[int]]:
    found: dict[Node, list[int]] = {}
    for k in chosen:
        found.setdefault(edges[k].source.node, []).append(k)
    return found


def _between(end: Node, shown: Container[Node], place: Mapping[Node, int]) -> list[Node]:
    """The node of a value, and the operations between it and the values that it is computed from."""
    found, stack = {end}, [end]
    while stack:
        for node in stack.pop().inputs:
            if node not in shown and node not in found:
                found.add(node)
                stack.append(node)
    return sorted(found, key=place.__getitem__)


def _pulled(order: Sequence[Node], end: Node, g: Tensor, source: Node) -> Tensor:
    """The gradient of a source from the cotangent of the last node of a path; zeros if no gradient passes."""
    found = pull([source, *order], [(end, g)], [source]).get(source)
    return tensor(np.zeros(source.shape, source.dtype)) if found is None else found
