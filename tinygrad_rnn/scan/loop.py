"""Loop: one step of a recurrence as a graph, with its inputs, its carry and its outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from ..graph.node import Node, in_order

__all__ = ["Loop", "Output", "is_leaf", "is_scalar_constant", "detaches", "is_ufunc", "is_view"]

Value = TypeVar("Value")


class Output(NamedTuple):
    """One output of a loop.

    Attributes
    ----------
    kind : {"stack", "final", "sum", "once"}
        "stack": the node's values at all steps, along a new leading axis. "final": the value of
        a slot after the last step; the node is the leaf of that slot. "sum": the sum of the
        node's values over all steps. "once": the value of a node that is the same at all steps.
    node : Node
        Any node of the body.
    residual : bool
        Whether the array stays in the run's own memory for the gradient; it then lives as long as the run.
    name : str or None
        A name for the output, if its node has none, such as ∂W for the cotangent of W.
    """

    kind: Literal["stack", "final", "sum", "once"]
    node: Node
    residual: bool = False
    name: str | None = None


@dataclass(frozen=True, eq=False)
class Loop:
    """One step of a recurrence, as a graph with slots.

    The inputs of the loop are, in this order: a sequence for each leaf in `sequences`, the initial
    value of each slot, and the consts. A loop never changes: a rewrite makes a new loop.

    Attributes
    ----------
    sequences : tuple of Node
        Leaves that stand for element t of each input sequence.
    carry : tuple of Node
        Leaves that stand for the values that the slots carry into step t.
    consts : tuple of Node
        Leaves that stand for values that are the same at all steps, such as parameters.
    next_carry : tuple of Node
        The values that the slots carry into the next step.
    outputs : tuple of Output
    reverse : bool
        Whether the steps run from the last element of the sequences to the first.
    residuals : frozenset of Node
        The sequences that lie in the memory of another run, in the layout of this loop.
    """

    sequences: tuple[Node, ...]
    carry: tuple[Node, ...]
    consts: tuple[Node, ...]
    next_carry: tuple[Node, ...]
    outputs: tuple[Output, ...]
    reverse: bool = False
    residuals: frozenset[Node] = frozenset()

    @property
    def inputs(self) -> tuple[Node, ...]:
        """Leaves of all inputs, in order."""
        return (*self.sequences, *self.carry, *self.consts)

    def parts(self, inputs: Sequence[Value]) -> tuple[Sequence[Value], Sequence[Value], Sequence[Value]]:
        """Values of the inputs, split into sequences, slots and consts."""
        first_slot = len(self.sequences)
        first_const = first_slot + len(self.carry)
        return inputs[:first_slot], inputs[first_slot:first_const], inputs[first_const:]

    @cached_property
    def slot(self) -> dict[Node, int]:
        """Number of the slot of each leaf in `carry`."""
        return {node: i for i, node in enumerate(self.carry)}

    @cached_property
    def finals(self) -> dict[Node, int]:
        """Output number of a slot's final value, by the slot's leaf."""
        return {output.node: i for i, output in enumerate(self.outputs) if output.kind == "final"}

    @cached_property
    def final_slots(self) -> dict[int, int]:
        """Slot number of each output that is a final value."""
        return {i: self.slot[node] for node, i in self.finals.items()}

    @property
    def float_inputs(self) -> list[int]:
        """Numbers of the float inputs, which can have cotangents."""
        return [k for k, node in enumerate(self.inputs) if node.dtype.kind == "f"]

    @property
    def float_outputs(self) -> list[int]:
        """Numbers of the float outputs, which can have cotangents."""
        return [k for k, output in enumerate(self.outputs) if output.node.dtype.kind == "f"]

    @property
    def float_slots(self) -> list[int]:
        """Input numbers of float slots, which can have cotangents."""
        return [k for k in self.float_inputs if self.inputs[k] in self.slot]

    def value_of(self, output: Output) -> Node:
        """The body's node of an output at each step; for a "final" output, the slot's next value."""
        return self.next_carry[self.slot[output.node]] if output.kind == "final" else output.node

    @cached_property
    def body(self) -> tuple[Node, ...]:
        """All nodes that the outputs depend on, through the slots too, each after its inputs."""
        return self.needed_for(output.node for output in self.outputs)

    def needed_for(self, roots: Iterable[Node]) -> tuple[Node, ...]:
        """All nodes that given nodes depend on, through the slots too, each after its inputs."""
        slot = dict(zip(self.carry, self.next_carry, strict=True))
        seen: set[Node] = set()
        stack = list(roots)
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                stack.extend(node.inputs)
                if node in slot:
                    stack.append(slot[node])
        return tuple(in_order(seen))

    def mapped(self, table: Mapping[Node, Node]) -> Loop:
        """The loop with replaced nodes in `next_carry` and `outputs`."""
        next_carry = tuple(table.get(node, node) for node in self.next_carry)
        outputs = tuple(output._replace(node=table.get(output.node, output.node)) for output in self.outputs)
        return replace(self, next_carry=next_carry, outputs=outputs)

    def asking(self, outputs: Iterable[Output]) -> Loop:
        """The loop with additional outputs."""
        return replace(self, outputs=(*self.outputs, *outputs))


def is_leaf(node: Node) -> bool:
    """Whether a node has no primitive."""
    return node.primitive is None


def is_scalar_constant(node: Node, value: float | None = None) -> bool:
    """Whether a node is a number written in the step, of a given value if one is passed."""
    found = node.primitive is None and isinstance(node.value, np.ndarray) and node.value.ndim == 0
    return found and (value is None or node.value == value)


def is_view(node: Node) -> bool:
    """Whether a node's value is a view of its first input, in any layout."""
    primitive = node.primitive
    if primitive is None or primitive.view is None or node.shape == ():
        return False
    return primitive.view(node.attributes, node.inputs[0].shape)


def detaches(node: Node) -> bool:
    """Whether a node is a ``.detach()`` in a step."""
    return node.primitive is not None and node.primitive.cuts is not None


def is_ufunc(node: Node) -> bool:
    """Whether a NumPy ufunc computes a node elementwise, so that the result may overwrite an operand."""
    return node.primitive is not None and node.primitive.is_ufunc
