"""Lifting: the same operations for many values at once, along an additional leading axis."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ..errors import TinygradError
from ..graph.context import current, mode
from ..graph.node import Node, Spec, leaf
from ..ops import broadcast_to, stack
from ..ops.core import apply
from ..ops.facts import facts_of
from ..tensor import Tensor
from .loop import Loop, is_scalar_constant

__all__ = ["NotLiftableError", "lift", "lifted_loop"]


class NotLiftableError(TinygradError):
    """An additional leading axis does not pass through some operation, such as an index with arrays."""


def lift(nodes: Sequence[Node], given: Mapping[Node, Tensor], n: int) -> dict[Node, Tensor]:
    """Compute nodes with an additional leading axis of length n wherever they depend on a leaf that has the axis.

    Outside a trace the operations are run; in a trace they are recorded.

    Parameters
    ----------
    nodes : sequence of Node
        The nodes, each after its inputs. A node that has a value is not computed again, unless it depends on a given leaf.
    given : mapping of Node to Tensor
        The given leaves, as tensors with the axis.
    n : int

    Returns
    -------
    dict of Node to Tensor
        The values of all nodes that have the axis.

    Raises
    ------
    NotLiftableError
        In a trace, if the axis does not pass through an operation.

    Examples
    --------
    >>> import numpy as np, tinygrad_rnn as tr
    >>> from tinygrad_rnn.graph.node import ancestors
    >>> x = tr.tensor([1.0, 2.0])
    >>> y = (x * x).sum()
    >>> lift(ancestors([y.node]), {x.node: tr.tensor([[1.0, 2.0], [3.0, 4.0]])}, 2)[y.node]
    tensor([ 5., 25.])
    """
    found = dict(given)
    plain: dict[Node, Tensor] = {}
    for node in nodes:
        if node in found or node.primitive is None:
            continue
        lifts = any(i in found for i in node.inputs)
        if lifts or (not current().tracing and isinstance(node.value, Spec)):
            inputs = [found[i] if i in found else plain[i] if i in plain else Tensor(i) for i in node.inputs]
            if lifts:
                found[node] = _lifted(node, inputs, found, n)
            else:
                plain[node] = apply(node.primitive, inputs, node.attributes)
    return found


def _lifted(node: Node, inputs: Sequence[Tensor], found: Collection[Node], n: int) -> Tensor:
    """Compute one operation for inputs with the additional axis."""
    primitive = node.primitive
    assert primitive is not None
    shapes = [i.shape for i in node.inputs]
    has = [i in found for i in node.inputs]
    if facts_of(node).product and has == [True, False] and len(shapes[1]) == 2:  # one product over all rows
        a, b = inputs
        return apply(primitive, (a.reshape(-1, a.shape[-1]), b)).reshape((*a.shape[:-1], b.shape[-1]))
    meets = primitive.elementwise or facts_of(node).product
    rank = max(map(len, shapes)) if primitive.leading is None else 0
    given = []
    for i, x, shape, lifted in zip(node.inputs, inputs, shapes, has, strict=True):
        wide = (1,) * (rank - len(shape)) + shape
        if lifted:
            given.append(x if wide == shape else x.reshape((n, *wide)))
        elif meets or is_scalar_constant(i):  # NumPy broadcasts the input
            given.append(x)
        else:
            given.append(broadcast_to(x.reshape((1, *wide)), (n, *wide)))
    attributes = node.attributes
    if primitive.leading is not None:
        attributes = primitive.leading(attributes, [x.shape for x in given])
    if attributes is not NotImplemented:
        return apply(primitive, given, attributes)
    if current().tracing:
        raise NotLiftableError(f"{primitive.name} does not accept an additional leading axis")
    parts = [[x[k] if lifted else x for x, lifted in zip(inputs, has, strict=True)] for k in range(n)]
    return stack([apply(primitive, part, node.attributes) for part in parts])


def lifted_loop(loop: Loop, leaves: Collection[Node], n: int) -> Loop:
    """The loop for n values of some inputs at once: these inputs and all outputs get an additional leading axis.

    A slot gets the axis too, if its values depend on such an input. The order of the inputs is unchanged.

    Parameters
    ----------
    loop : Loop
    leaves : collection of Node
        Inputs that have the axis.
    n : int

    Raises
    ------
    NotLiftableError
        If the axis does not pass through an operation.
    """
    body = loop.body
    having = set(leaves)
    size = -1
    while size != len(having):
        size = len(having)
        depends = set(having)
        for node in body:
            if not depends.isdisjoint(node.inputs):
                depends.add(node)
        having |= {slot for slot, after in zip(loop.carry, loop.next_carry, strict=True) if after in depends}
    wide = {node: leaf(Spec((n, *node.shape), node.dtype), node.name, node.role) for node in loop.inputs if node in having}
    with mode(tracing=True, recording=True):
        found = lift(body, {node: Tensor(made) for node, made in wide.items()}, n)

        def at_all(node: Node) -> Node:
            """The node with the additional axis; a node that does not depend on the axis is broadcast."""
            return (found[node] if node in found else broadcast_to(Tensor(node), (n, *node.shape))).node

        after = [at_all(node) if slot in wide else node for slot, node in zip(loop.carry, loop.next_carry, strict=True)]
        outputs = [
            output._replace(node=wide.get(output.node, output.node) if output.kind == "final" else at_all(output.node))
            for output in loop.outputs
        ]
    sequences, carry, consts = loop.parts([wide.get(node, node) for node in loop.inputs])
    return Loop(tuple(sequences), tuple(carry), tuple(consts), tuple(after), tuple(outputs), loop.reverse)
