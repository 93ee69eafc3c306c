"""Loop: one step of a recurrence as a graph, with its inputs, its carry and its outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from ..graph.node import Node, ancestors

__all__ = ["Loop", "Output", "body", "is_leaf", "is_scalar_constant", "is_ufunc", "is_view"]


class Output(NamedTuple):
    """One output of a loop.

    Attributes
    ----------
    kind : {"stack", "final", "sum"}
        "stack": the node's values at all steps, along a new leading axis. "final": the value that
        a slot carries after the last step; the node is the slot's leaf. "sum": the sum of the
        node's values over all steps.
    node : Node
        Any node of the body.
    residual : bool
        Whether the array stays in the run's own memory, for the gradient, and lives as long as the run.
    """

    kind: Literal["stack", "final", "sum"]
    node: Node
    residual: bool = False


@dataclass(frozen=True, eq=False)
class Loop:
    """One step of a recurrence.

    Its inputs are, in this order: a sequence for each leaf in `sequences`, the initial
    value of each slot, and the consts. A loop never changes: a rewrite makes a new one.

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
        The sequences that lie in the memory of another run, in the layout of this one.
    """

    sequences: tuple[Node, ...]
    carry: tuple[Node, ...]
    consts: tuple[Node, ...]
    next_carry: tuple[Node, ...]
    outputs: tuple[Output, ...]
    reverse: bool = False
    residuals: frozenset[Node] = frozenset()

    def mapped(self, table: Mapping[Node, Node]) -> Loop:
        """The loop with other nodes for some of `next_carry` and `outputs`."""
        next_carry = tuple(table.get(node, node) for node in self.next_carry)
        outputs = tuple(output._replace(node=table.get(output.node, output.node)) for output in self.outputs)
        return replace(self, next_carry=next_carry, outputs=outputs)

    def asking(self, outputs: Iterable[Output]) -> Loop:
        """The loop with further outputs."""
        return replace(self, outputs=(*self.outputs, *outputs))


def body(loop: Loop, roots: Iterable[Node] | None = None) -> list[Node]:
    """All nodes that a loop's outputs need, or that `roots` need, through its slots too; each after its inputs."""
    slot = dict(zip(loop.carry, loop.next_carry, strict=True))
    seen: set[Node] = set()
    stack = [output.node for output in loop.outputs] if roots is None else list(roots)
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(node.inputs)
            if node in slot:
                stack.append(slot[node])
    return ancestors(seen)


def is_leaf(node: Node) -> bool:
    """Whether no primitive made a node."""
    return node.primitive is None


def is_scalar_constant(node: Node, value: float | None = None) -> bool:
    """Whether a node is a number that the step was written with, of this value if one is given."""
    found = node.primitive is None and isinstance(node.value, np.ndarray) and node.value.ndim == 0
    return found and (value is None or node.value == value)


def is_view(node: Node) -> bool:
    """Whether a node's value is a view of its first input's, in any layout."""
    primitive = node.primitive
    if primitive is None or primitive.view is None or node.shape == ():
        return False
    return primitive.view(node.attributes, node.inputs[0].shape)


def is_ufunc(node: Node) -> bool:
    """Whether a NumPy ufunc computes a node element by element, so that the result may overwrite an operand."""
    return node.primitive is not None and node.primitive.is_ufunc
