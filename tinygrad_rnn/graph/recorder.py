"""Recorder: what a whole function does that is recorded once, beside the graph that its operations make."""

from __future__ import annotations

from typing import Any

from .node import NO_ATTRIBUTES, Node

__all__ = ["Recorder"]


class Recorder:
    """The nodes that a function makes while the graph records nothing, and the conditions under which they hold.

    Such a node is no part of the graph: a leaf stands for it, as for a value that was computed. So gradients
    stop there, as they do without a recorder, and what is to be computed is known all the same.

    Attributes
    ----------
    made : dict of Node to Node
        For each leaf that stands for a node, the node.
    numbers : dict
        Nodes of numbers that are others in each run, by the number and its dtype.
    computed : dict
        Numbers that are computed of others, by function and operands: each is one number, however often the function
        computes it, such as the step size of each parameter.
    finite : list of Node
        Values that must be finite: if one is not, the run does not count.
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
