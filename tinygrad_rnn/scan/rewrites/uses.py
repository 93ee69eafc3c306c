"""Who reads a value."""

from __future__ import annotations

from ...graph.node import Node
from ..loop import Loop, body

__all__ = ["Uses"]


class Uses:
    """The readers of each value of a loop.

    Attributes
    ----------
    readers : dict of Node to list of Node
        With multiplicity.
    ends : set of Node
        What is carried on or asked for.
    """

    def __init__(self, loop: Loop) -> None:
        self.nodes = body(loop)
        self.readers: dict[Node, list[Node]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for i in node.inputs:
                self.readers[i].append(node)
        self.ends = {*loop.next_carry, *(output.node for output in loop.outputs)}

    def count(self, node: Node) -> int:
        """How often it is read."""
        return len(self.readers[node]) + (node in self.ends)
