"""Guards: what a function reads beside its arguments, and whether that has changed since."""

from .glance import Watch
from .guard import Guard, guard

__all__ = ["Guard", "Watch", "guard"]
