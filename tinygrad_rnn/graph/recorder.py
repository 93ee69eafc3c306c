"""Recorder: the operations of a function that is recorded as a whole, kept beside the graph."""

from __future__ import annotations

from typing import Any

from .node import NO_ATTRIBUTES, Node

__all__ = ["Recorder"]


class Recorder:
    """The nodes that a function makes while the graph records nothing, and the conditions under which they hold.

    Such a node is not part of the graph: a leaf replaces the node, as a leaf replaces a computed value. So
    gradients stop at the leaf, as they do without a recorder, but the computation is still known.

    Attributes
    ----------
    made : dict of Node to Node
        For each leaf that stands for a node, the node.
    numbers : dict
        Nodes of numbers that differ from run to run, by the number and its dtype.
    computed : dict
        Numbers that are computed from other numbers, by function and operands. Each is one number, however often the
        function computes it, such as the step size of each parameter.
    finite : list of Node
        Values that must be finite: if one of them is not, the run does not count.
    """

    def __init__(self) -> None:
        self.made: dict[Node, Node] = {}
        self.numbers: dict[Any, Node] = {}
        self.computed: dict[Any, Any] = {}
        self.finite: list[Node] = []

    def aside(self, node: Node) -> Node:
        """The leaf that replaces a node in the recording."""
        leaf = Node(None, (), NO_ATTRIBUTES, node.value, node.location)
        self.made[leaf] = node
        return leaf
