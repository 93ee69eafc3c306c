"""Trace: call a step once with symbolic tensors, and close the resulting graph into a loop."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..graph.context import change, current, mode
from ..graph.node import Node, Spec, leaf
from ..graph.structure import exact
from ..random import generator
from ..tensor import Parameter, Tensor
from .loop import Loop, Output, is_scalar_constant

__all__ = ["Trace", "draw_all", "signature", "trace"]


class Trace(NamedTuple):
    """A traced step.

    Attributes
    ----------
    loop : Loop
        The traced loop. Its last sequences are random numbers drawn at each step, and its last consts
        are random numbers drawn once for all steps: one for each of `draws`.
    consts : tuple of Tensor
        The tensors that the step reads besides its arguments, for the first leaves in ``loop.consts``.
        A Parameter is stored as the object itself, so that each run reads its present array.
    lasting : bool
        Whether the trace can be kept: all consts are Parameters, and the step has read no tensor's
        numbers. Any other const may be another tensor or array at the next call.
    draws : tuple of Node
        Random numbers, in the order of the step. Their attributes are `draw`, a function of a generator, and `once`.
    """

    loop: Loop
    consts: tuple[Tensor, ...]
    lasting: bool
    draws: tuple[Node, ...]

    def difference(self, other: Trace) -> str | None:
        """The difference to another trace of the same step, in words; None if there is none."""
        for mine, theirs in zip(self.consts, other.consts, strict=False):
            if mine.node is not theirs.node and exact(mine.node.value) != exact(theirs.node.value):
                return f"{mine.name or 'a constant'} of shape {mine.shape}"
        if signature(self.loop) == signature(other.loop):
            return None
        before, after = (
            {exact(node.value): node.value for node in t.loop.body if is_scalar_constant(node)} for t in (self, other)
        )
        gone, new = [before[n] for n in before if n not in after], [after[n] for n in after if n not in before]
        return f"the number {gone[0]} (then {new[0]})" if gone and new else "what is computed"


def trace(
    step: Callable[[list[Tensor], list[Tensor]], tuple[Iterable[Tensor], Iterable[Tensor]]],
    sequences: Sequence[tuple[Spec, str | None]],
    state: Sequence[tuple[Spec, str | None]],
    parameters: Collection[Parameter],
    reverse: bool = False,
) -> Trace:
    """Trace a step.

    Parameters
    ----------
    step : callable
        ``step(elements, slots) -> (outputs, next slots)``.
    sequences, state : sequence of (Spec, str or None)
        Shapes, dtypes and names of the arguments.
    parameters : collection of Parameter
        The parameters whose present arrays are read at each run.
    reverse : bool

    Raises
    ------
    TraceError
        If the step looks at the values of its tensors.
    """
    start = Node(None, (), {}, None).serial
    leaves = [leaf(spec, name, "input") for spec, name in sequences]
    slots = [leaf(spec, name, "initial") for spec, name in state]
    before = current()
    draws: list[Node] = []
    looked: list[Node] = []
    change(draws=draws, looked=looked, recorder=None)
    try:
        with mode(tracing=True, recording=True):
            outputs, after = step([Tensor(node) for node in leaves], [Tensor(node) for node in slots])
    finally:
        change(draws=before.draws, looked=before.looked, recorder=before.recorder)
    if before.looked is not None:
        before.looked.extend(looked)
    asked = [*[Output("stack", out.node) for out in outputs], *[Output("final", node) for node in slots]]
    own = {parameter.node: parameter for parameter in parameters}
    ends = [*[output.node for output in asked], *[slot.node for slot in after]]
    table, found = _symbolic(ends, {*leaves, *slots, *draws}, start)
    consts = tuple(own[node] if node in own else Tensor(node) for node in found)
    loop = Loop(
        (*leaves, *[node for node in draws if not node.attributes["once"]]),
        tuple(slots),
        (*[table[node] for node in found], *[node for node in draws if node.attributes["once"]]),
        tuple(table[slot.node] for slot in after),
        tuple(output._replace(node=table[output.node]) for output in asked),
        reverse,
    )
    return Trace(loop, consts, not looked and all(node in own for node in found), tuple(draws))


def _symbolic(ends: Sequence[Node], leaves: set[Node], start: int) -> tuple[dict[Node, Node], list[Node]]:
    """A table of symbolic nodes that stand for the ancestors of `ends`; and the captured nodes, which become consts.

    A node with a value, or with a serial number below `start`, was made before the step was called; its inputs
    are not visited.
    """

    def is_own(node: Node) -> bool:
        return isinstance(node.value, Spec) and node.serial > start

    seen: dict[Node, None] = {}
    stack = list(ends)
    while stack:
        node = stack.pop()
        if node not in seen:
            seen[node] = None
            if is_own(node):
                stack.extend(node.inputs)
    table: dict[Node, Node] = {}
    consts = []
    for node in sorted(seen, key=lambda node: node.serial):
        if node in leaves or "number" in node.attributes:
            table[node] = node
        elif not is_own(node):
            table[node] = leaf(node.spec, node.name, node.role, node.location)
            consts.append(node)
        else:
            inputs = tuple([table[i] for i in node.inputs])
            table[node] = node.again(inputs) if consts else node  # all later nodes are made again, to keep their order
    return table, consts


def draw_all(trace: Trace, steps: int) -> tuple[list[npt.NDArray[Any]], list[npt.NDArray[Any]]]:
    """The random numbers of all steps, and those drawn once, in the order in which a loop in Python would draw them."""
    drawn = {
        node: np.empty(node.shape if node.attributes["once"] else (steps, *node.shape), node.dtype) for node in trace.draws
    }
    for n in range(steps if drawn else 0):
        t = steps - 1 - n if trace.loop.reverse else n
        for node, array in drawn.items():
            if not node.attributes["once"]:
                array[t] = node.attributes["draw"](generator())
            elif n == 0:
                array[...] = node.attributes["draw"](generator())
    found: tuple[list[npt.NDArray[Any]], list[npt.NDArray[Any]]] = [], []
    for node, array in drawn.items():
        found[node.attributes["once"]].append(array)
    return found


def signature(loop: Loop) -> tuple[Hashable, ...]:
    """A hashable value that is equal for two loops that compute the same; the names of consts do not count."""
    known: dict[Node, Hashable] = {}
    lines: list[Hashable] = ["backwards" if loop.reverse else "forwards"]
    for kind, nodes in (("sequence", loop.sequences), ("state", loop.carry), ("captured", loop.consts)):
        for node in nodes:
            known[node] = len(lines)
            lines.append((kind, node.spec))
    for node in loop.body:
        if is_scalar_constant(node):  # by value: traces share nodes of numbers, so their order means nothing
            known[node] = exact(node.value)
        elif node not in known:
            known[node] = len(lines)
            inputs = tuple([known[i] for i in node.inputs])
            lines.append((node.primitive or node.serial, inputs, exact(node.attributes), node.name, node.spec))
    lines += [("carries", known.get(node)) for node in loop.next_carry]
    lines += [(output.kind, known[output.node]) for output in loop.outputs]
    return tuple(lines)
