"""Loop: one step of a recurrence as a graph, with what goes in, what it carries on and what is asked of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from ..graph.node import Node, ancestors

__all__ = ["Item", "Loop", "body", "is_leaf", "is_scalar_constant"]


class Item(NamedTuple):
    """One thing asked of a loop.

    Attributes
    ----------
    kind : {"stack", "final", "sum"}
        The node's values at all steps, along a new leading axis; what the slot whose leaf
        the node is carries on after the last step; or the sum of the values over the steps.
    node : Node
        Any node of the body.
    lent : bool
        A residual: the array is the run's own memory and lives as long as the run.
    """

    kind: Literal["stack", "final", "sum"]
    node: Node
    lent: bool = False


@dataclass(frozen=True, eq=False)
class Loop:
    """One step of a recurrence.

    Its inputs are, in this order: a sequence for each leaf in `sequences`, the initial
    value of each slot, and the captured values. It never changes: a rewrite makes a new one.

    Attributes
    ----------
    sequences : tuple of Node
        Leaves that stand for element t of each input sequence.
    state : tuple of Node
        Leaves that stand for what each slot carries into step t.
    captured : tuple of Node
        Leaves that stand for values that are the same at all steps, such as parameters.
    after : tuple of Node
        What each slot carries on.
    items : tuple of Item
    reverse : bool
        Whether the steps are made from the last element of the sequences to the first.
    lent : frozenset of Node
        The sequences that lie in the memory of another run: in the layout of this one.
    """

    sequences: tuple[Node, ...]
    state: tuple[Node, ...]
    captured: tuple[Node, ...]
    after: tuple[Node, ...]
    items: tuple[Item, ...]
    reverse: bool = False
    lent: frozenset[Node] = frozenset()

    def mapped(self, table: Mapping[Node, Node]) -> Loop:
        """The loop with other nodes in place of some that are carried on or asked for."""
        after = tuple(table.get(node, node) for node in self.after)
        items = tuple(item._replace(node=table.get(item.node, item.node)) for item in self.items)
        return replace(self, after=after, items=items)

    def asking(self, items: Iterable[Item]) -> Loop:
        """The loop with further items."""
        return replace(self, items=(*self.items, *items))


def body(loop: Loop, roots: Iterable[Node] | None = None) -> list[Node]:
    """All nodes that a loop's items need, or these roots, through its slots too, each after its inputs."""
    slot = dict(zip(loop.state, loop.after, strict=True))
    seen: set[Node] = set()
    stack = [item.node for item in loop.items] if roots is None else list(roots)
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(node.inputs)
            if node in slot:
                stack.append(slot[node])
    return ancestors(seen)


def is_leaf(node: Node) -> bool:
    """Whether no primitive made it."""
    return node.primitive is None


def is_scalar_constant(node: Node, value: float | None = None) -> bool:
    """Whether it is a number that the step was written with, or that very one."""
    found = node.primitive is None and isinstance(node.value, np.ndarray) and node.value.ndim == 0
    return found and (value is None or node.value == value)
