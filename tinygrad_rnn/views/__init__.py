"""Views: functions that make another graph of a graph, such as one split into steps, or one without padding."""

from .full_lengths import with_held_states, without_padding
from .per_step import per_step
from .symbolic_run import traced

__all__ = ["per_step", "traced", "with_held_states", "without_padding"]
