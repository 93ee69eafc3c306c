"""OneStep: one step of a loop as calls on arrays that stay in place, for data that arrive one step at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ...graph.node import Node
from ...ops.facts import facts_of
from ..loop import Loop, is_leaf, is_ufunc, is_view

__all__ = ["OneStep"]

Array = npt.NDArray[Any]


class OneStep:
    """One step of a loop, with memory of its own.

    Every value has an array of its own, so views are made only once. Values that depend on the consts
    alone are computed only once.

    Parameters
    ----------
    loop : Loop
    consts : sequence of numpy.ndarray
        The consts, in the order of the loop's.

    Attributes
    ----------
    elements : list of numpy.ndarray
        Arrays into which the caller writes the elements of the sequences.
    state : list of numpy.ndarray
        Values of the slots: before a run those that enter the step, after the run those that enter the next step.
    outputs : list of numpy.ndarray
        The values of the "stack" outputs; the next run overwrites them.
    """

    def __init__(self, loop: Loop, consts: Sequence[Array]) -> None:
        memory = {node: np.zeros(node.shape, node.dtype) for node in (*loop.sequences, *loop.carry)}
        self.elements = [memory[node] for node in loop.sequences]
        self.state = [memory[node] for node in loop.carry]
        changing = set(memory)
        memory.update(zip(loop.consts, consts, strict=True))
        self._calls: list[Callable[[], Any]] = []
        for node in loop.body:
            if node not in memory:
                self._place(node, memory, changing)
        self.outputs = [self._kept(memory[output.node]) for output in loop.outputs if output.kind == "stack"]
        self._calls += _copies([(memory[node], slot) for node, slot in zip(loop.next_carry, self.state, strict=True)])

    def _place(self, node: Node, memory: dict[Node, Array], changing: set[Node]) -> None:
        """Give a value an array, and add the call that computes the value."""
        if is_leaf(node):
            memory[node] = node.value
            return
        assert node.primitive is not None
        inputs = [memory[i] for i in node.inputs]
        alone = len(inputs) == 1 and facts_of(node).joins is not None  # a concatenation of one value
        if is_view(node) or alone:
            view = inputs[0].reshape(node.shape) if alone else node.primitive.kernel(*inputs, **node.attributes)
            if np.shares_memory(view, inputs[0]):
                changes = not changing.isdisjoint(node.inputs)
                changing.update({node} if changes else ())
                memory[node] = view if changes or view.flags.c_contiguous else view.copy()  # products of a copy are faster
                return
        memory[node] = out = np.empty(node.shape, node.dtype)
        if is_ufunc(node) and not node.attributes and node.primitive.ufunc is not None and node.dtype.kind == "f":
            call: Callable[[], Any] = partial(node.primitive.ufunc, *inputs, out=out)
        else:
            call = partial(node.primitive.kernel, *inputs, out=out, **node.attributes)
        if changing.intersection(node.inputs):
            changing.add(node)
            self._calls.append(call)
        else:
            call()

    def _kept(self, output: Array) -> Array:
        """The array of an output, or a copy if the array is also that of the next state."""
        if not any(np.may_share_memory(output, slot) for slot in self.state):
            return output
        self._calls.append(partial(np.copyto, copy := np.empty_like(output), output))
        return copy

    def run(self) -> None:
        """Compute the outputs and the next state from the present contents of `elements` and `state`."""
        for call in self._calls:
            call()


def _copies(moves: list[tuple[Array, Array]]) -> list[Callable[[], Any]]:
    """Copies from sources to targets, in an order in which no target is overwritten before it is read."""
    waiting = [(source, target) for source, target in moves if source is not target]
    ordered: list[Callable[[], Any]] = []
    while waiting:
        for k, (_, target) in enumerate(waiting):
            if not any(np.may_share_memory(source, target) for j, (source, _) in enumerate(waiting) if j != k):
                break
        else:  # a circle of copies: one value is saved elsewhere first
            source, target = waiting[0]
            aside = np.empty_like(source)
            ordered.append(partial(np.copyto, aside, source))
            waiting[0] = aside, target
            continue
        source, target = waiting.pop(k)
        ordered.append(partial(np.copyto, target, source))
    return ordered
