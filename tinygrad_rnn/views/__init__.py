"""Views of a graph: a graph in, a graph out; opened into steps, split by step, without padding, traced from a module."""

from .full_lengths import without_padding
from .per_step import per_step
from .symbolic_run import traced

__all__ = ["per_step", "traced", "without_padding"]
