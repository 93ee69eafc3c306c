"""Guards: whether anything that a function reads, apart from its arguments, has changed since an earlier call."""

from .glance import Watch
from .guard import Guard, guard
from .walk import Unread, UnreadDict

__all__ = ["Guard", "Unread", "UnreadDict", "Watch", "guard"]
