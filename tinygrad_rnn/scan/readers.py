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
        The values, each after its inputs.
    ends : iterable of Node
        Values that are read outside the body too: a slot carries them on, or they are outputs.

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
        """The operations that read a value, once for each operand that it is."""
        return self._operations[node]

    def count(self, node: Node) -> int:
        """The number of times that a value is read."""
        return len(self[node]) + (node in self.ends)

    def only(self, node: Node) -> Node | None:
        """The operation that is the one reader of a value; None if there are several, or none."""
        return self[node][0] if self.count(node) == 1 and self[node] else None
