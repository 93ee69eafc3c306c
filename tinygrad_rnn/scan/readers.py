"""Readers: the operations that read a value."""

from __future__ import annotations

from collections.abc import Iterable

from ..graph.node import Node
from .loop import Loop

__all__ = ["Readers"]


class Readers:
    """The readers of each value of a loop's body.

    Parameters
    ----------
    nodes : iterable of Node
        The nodes of the body, each after its inputs.
    ends : iterable of Node
        Values that are also read outside the body: next values of slots, and outputs.

    Attributes
    ----------
    ends : set of Node
    """

    def __init__(self, nodes: Iterable[Node], ends: Iterable[Node]) -> None:
        self.ends = set(ends)
        self._operations: dict[Node, list[Node]] = {}
        for node in nodes:
            self._operations.setdefault(node, [])
            for i in node.inputs:
                self._operations[i].append(node)

    @classmethod
    def of_loop(cls, loop: Loop) -> Readers:
        """The readers in a whole loop."""
        return cls(loop.body, (*loop.next_carry, *(output.node for output in loop.outputs)))

    def __getitem__(self, node: Node) -> list[Node]:
        """The operations that read a value; an operation is listed once for each operand that is the value."""
        return self._operations[node]

    def count(self, node: Node) -> int:
        """The number of times that a value is read."""
        return len(self[node]) + (node in self.ends)

    def only(self, node: Node) -> Node | None:
        """The only operation that reads a value; None if several operations read it, or none."""
        return self[node][0] if self.count(node) == 1 and self[node] else None
