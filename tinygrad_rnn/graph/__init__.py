"""Explicit graphs: nodes, scopes and steps, order, text form, folding. No arrays."""

from .context import Location, Unrolling, scope
from .graph import Graph, graph
from .node import ROLES, Node, Spec, ancestors

__all__ = ["ROLES", "Graph", "Node", "Location", "Spec", "Unrolling", "ancestors", "graph", "scope"]
