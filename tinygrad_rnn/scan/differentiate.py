"""The gradient of a loop: another loop, which runs in reverse and is linear in its carry."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..autodiff import pull
from ..graph.context import mode
from ..graph.node import Node, leaf
from ..tensor import Tensor
from .canonical import NodeBuilder, canonical
from .loop import Loop, Output, is_scalar_constant, is_ufunc, is_view
from .partition import partition_of

__all__ = ["Reverse", "differentiate", "step_alone"]


class Reverse(NamedTuple):
    """The gradient of a loop.

    Attributes
    ----------
    loop : Loop
        The sequences of the loop are, in this order: the cotangents of the "stack" outputs, the
        sequences of the forward loop, and the residuals. Its carry starts as the cotangents of
        the "final" outputs. Its consts are the consts of the forward loop, the
        cotangents of the "sum" outputs, and `arrays`.
    residuals : tuple of Node
        Nodes of the forward loop whose values at all steps the gradient reads.
    slots : tuple of int
        The slots of the forward loop whose cotangents are carried.
    read : tuple of int
        The outputs of the forward loop that hold the residuals.
    results : tuple of int
        For each output, in order, the input of the forward loop whose cotangent it is.
    arrays : tuple of Node
        Constant arrays in the rules of gradients.
    """

    loop: Loop
    residuals: tuple[Node, ...]
    slots: tuple[int, ...]
    read: tuple[int, ...]
    results: tuple[int, ...]
    arrays: tuple[Node, ...]


def differentiate(
    forward: Loop,
    given: Sequence[int],
    wanted: Sequence[int],
    saved: Collection[Node] | None = None,
    ends: Collection[int] = (),
) -> Reverse:
    """Derive the loop that computes cotangents of inputs from cotangents of outputs.

    Parameters
    ----------
    forward : Loop
    given : sequence of int
        The outputs that have a cotangent.
    wanted : sequence of int
        The inputs whose cotangents are wanted.
    saved : collection of Node, optional
        Values that the forward run keeps, besides its carry at each step. All other values that
        the gradient rules read are computed again. If not given, any value may be kept and read.
    ends : collection of int
        Slots whose value after the last step has a cotangent, whether or not that value is an output.
    """
    seeds: list[tuple[Node, Tensor]] = []
    cotangents: list[Node] = []
    sums: list[Node] = []
    for i in given:
        kind, node, *_ = forward.outputs[i]
        if kind == "final":
            continue
        g = leaf(node.spec, f"g_{node.name or i}", "cotangent")
        (cotangents if kind == "stack" else sums).append(g)
        seeds.append((node, Tensor(g)))
    slots = _slots_with_cotangents(forward, given, ends)
    names = {i: forward.carry[i].name or forward.next_carry[i].name or i for i in slots}
    carried = {i: leaf(forward.carry[i].spec, f"δ_{name}") for i, name in names.items()}
    seeds += [(forward.next_carry[i], Tensor(g)) for i, g in carried.items()]
    inputs = forward.inputs
    targets = [inputs[k] for k in forward.float_inputs]
    order = forward.body
    before = set(order)
    with mode(tracing=True, recording=True):
        table = pull(order, seeds, targets)
    found = {node: g.node for node, g in table.items()}
    after = [found.get(forward.carry[i]) or _zeros(forward.carry[i]) for i in slots]

    made = found | {forward.carry[i]: g for i, g in carried.items()}
    results = [k for k in wanted if inputs[k] in made]
    outputs = [
        Output(
            "final" if node in forward.slot else "stack" if node in forward.sequences else "sum",
            made[node],
            name=f"∂{node.name}" if node.name else None,
        )
        for node in (inputs[k] for k in results)
    ]

    state = tuple(carried.values())
    raw = Loop(
        (*cotangents, *forward.sequences, *forward.carry),
        state,
        (*forward.consts, *sums),
        tuple(after),
        tuple(outputs),
        not forward.reverse,
    )
    stand_ins = {node: leaf(node.spec, node.name) for node in _reads(forward, raw, before, saved)}
    stand_ins |= {node: leaf(node.spec, f"{node.name}⁻" if node.name else None) for node in forward.carry}
    loop = canonical(raw, stand_ins)
    nodes = loop.body
    reached = set(nodes)
    arrays = tuple([node for node in nodes if isinstance(node.value, np.ndarray) and not is_scalar_constant(node)])
    residuals = [node for node, stand_in in stand_ins.items() if stand_in in reached]
    sequences = (*cotangents, *forward.sequences, *[stand_ins[node] for node in residuals])
    residual_outputs = {output.node: i for i, output in enumerate(forward.outputs) if output.residual}
    read = tuple(residual_outputs.get(node, -1) for node in residuals)  # -1: not an output of the forward loop yet
    held = frozenset(stand_ins[node] for node in residuals)
    loop = replace(loop, sequences=sequences, consts=(*loop.consts, *arrays), residuals=held)
    return Reverse(loop, tuple(residuals), tuple(slots), read, tuple(results), arrays)


def step_alone(forward: Loop) -> Loop:
    """The loop with independent steps: the carry of each step is a sequence, and its next carry an output.

    Inputs and outputs keep their numbers; the next carry of each slot is a further output.
    """
    outputs = [Output("sum" if output.kind == "sum" else "stack", output.node) for output in forward.outputs]
    return Loop(
        (*forward.sequences, *forward.carry),
        (),
        forward.consts,
        (),
        (*outputs, *[Output("stack", node) for node in forward.next_carry]),
    )


def _slots_with_cotangents(forward: Loop, given: Sequence[int], ends: Collection[int]) -> list[int]:
    """The slots whose cotangent must be carried backwards."""
    reached = set(forward.needed_for([*[forward.outputs[i].node for i in given], *[forward.carry[i] for i in ends]]))
    return [i for i, node in enumerate(forward.carry) if node in reached and node.dtype.kind == "f"]


def _zeros(like: Node) -> Node:
    builder = NodeBuilder()
    return builder.broadcast(builder.constant(0.0, like.dtype), like.shape)


def _reads(forward: Loop, reverse: Loop, before: set[Node], saved: Collection[Node] | None) -> list[Node]:
    """Residuals: nodes of the forward body whose values the gradient reads, in order.

    The gradient rules read more values. But the carry is kept in any case, and it costs less to compute values
    again than to keep them, if they follow element by element from the carry and the inputs.
    """
    partition = partition_of(forward)
    asked = [node for made in reverse.body if made not in before for node in made.inputs if node in before]
    asked += [node for node in (*reverse.next_carry, *(output.node for output in reverse.outputs)) if node in before]
    kept = set(forward.next_carry)
    follows: set[Node] = set()
    for node in partition.nodes:
        at_once = (is_view(node) or is_ufunc(node)) and follows.issuperset(node.inputs)
        if node.primitive is None or partition.is_invariant(node) or node in kept or at_once:
            follows.add(node)
    found: set[Node] = set()
    seen: set[Node] = set()
    while asked:
        node = asked.pop()
        if node in seen or node.primitive is None or partition.is_invariant(node):
            continue
        seen.add(node)
        if (node in kept or node not in follows) and (saved is None or node in saved):
            found.add(node)
        else:
            asked.extend(node.inputs)
    return [node for node in partition.nodes if node in found]
