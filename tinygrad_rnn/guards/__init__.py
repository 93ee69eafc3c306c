"""Guards: what a function reads, apart from its arguments, and whether that has changed since an earlier call."""

from .glance import Watch
from .guard import Guard, guard
from .walk import Unread, UnreadDict

__all__ = ["Guard", "Unread", "UnreadDict", "Watch", "guard"]
