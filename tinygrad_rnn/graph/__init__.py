"""Explicit graphs: nodes, scopes and steps, order, text form, folding. No arrays."""

from .graph import Graph, graph
from .node import ROLES, Node, Spec, ancestors
from .place import Place, Unrolling, scope

__all__ = ["ROLES", "Graph", "Node", "Place", "Spec", "Unrolling", "ancestors", "graph", "scope"]
