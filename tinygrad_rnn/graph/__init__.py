"""Explicit graphs: nodes, scopes and steps, order, text form, folding. No arrays."""

from .node import ROLES, Node, Spec, ancestors
from .place import Place, Unrolling, scope

__all__ = ["ROLES", "Node", "Place", "Spec", "Unrolling", "ancestors", "scope"]
