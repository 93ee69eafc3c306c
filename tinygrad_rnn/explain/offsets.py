"""Offsets: sequences of zeros that are added to a value, so that the offset's cotangent is the value's at every step."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..graph.context import mode
from ..graph.node import Node, ancestors, leaf
from ..ops import einsum, max, maximum, min, minimum, sqrt
from ..scan.compiled import CompiledScan
from ..scan.loop import Loop
from ..tensor import Tensor
from .loop_run import LoopRun
from .model_run import RecurrentPart

__all__ = ["norm", "run_with_offsets", "slots_behind", "with_offset_of_each_path", "with_offsets"]


def with_offsets(loop: Loop, *nodes: Node) -> Loop:
    """The loop with offsets added to some values; the offsets are the last sequences of the loop, in order.

    Parameters
    ----------
    loop : Loop
    *nodes : Node
        Values of the loop's body.
    """
    offsets = {node: leaf(node.spec, f"δ_{node.name}") for node in nodes}
    ends = [*loop.next_carry, *[output.node for output in loop.outputs]]
    table = _rebuilt(ends, offsets)
    return replace(loop.mapped(table), sequences=(*loop.sequences, *offsets.values()))


def slots_behind(loop: Loop, node: Node) -> list[int]:
    """Slots whose next value depends on a value of the same step."""
    return [i for i, end in enumerate(loop.next_carry) if node in ancestors([end])]


def with_offset_of_each_path(loop: Loop, node: Node) -> Loop:
    """The loop with separate offsets of one value: one for each slot of :func:`slots_behind`, and one for outputs.

    The sum of the offsets' cotangents is the cotangent of the value.
    """
    offsets = {i: leaf(node.spec, node.name) for i in [*slots_behind(loop, node), -1]}

    def moved(i: int, end: Node) -> Node:
        return _rebuilt([end], {node: offsets[i]}).get(end, end) if i in offsets else end

    after = tuple([moved(i, end) for i, end in enumerate(loop.next_carry)])
    outputs = tuple([output._replace(node=moved(-1, output.node)) for output in loop.outputs])
    return replace(loop, sequences=(*loop.sequences, *offsets.values()), next_carry=after, outputs=outputs)


def run_with_offsets(part: RecurrentPart, plan: CompiledScan) -> LoopRun:
    """Run a part's loop with offsets, which are sequences of zeros after the loop's own sequences."""
    sequences, state, consts = part.loop.parts(part.inputs)
    added = plan.traced.sequences[len(sequences) :]
    zeros = [np.broadcast_to(np.zeros((), node.dtype), (part.steps, *node.shape)) for node in added]
    return LoopRun(plan, [*sequences, *zeros, *state, *consts], part.steps)


def _rebuilt(ends: Sequence[Node], offsets: Mapping[Node, Node]) -> dict[Node, Node]:
    """Replacements of the nodes that depend on a value with an offset."""
    found: dict[Node, Node] = {}
    for node in ancestors(ends):
        made = node
        if not found.keys().isdisjoint(node.inputs):
            made = node.again(tuple([found.get(i, i) for i in node.inputs]))
        if node in offsets:
            with mode(tracing=True, recording=True):
                made = (Tensor(made) + Tensor(offsets[node])).node
        if made is not node:
            found[node] = made
    return found


def norm(x: Tensor) -> Tensor:
    """Euclidean norm of all elements, without avoidable overflow or underflow.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> norm(tr.tensor([3e-300, 4e-300]))
    tensor(5.e-300)
    """
    limits = np.finfo(x.dtype)
    largest = minimum(maximum(maximum(max(x), -min(x)), limits.tiny), limits.max)
    scaled = x / largest
    letters = string.ascii_letters[: x.ndim]
    return largest * sqrt(einsum(f"{letters},{letters}->", scaled, scaled))
