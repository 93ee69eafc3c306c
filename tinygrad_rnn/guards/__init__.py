"""Guards: what a function reads beside its arguments, and whether that has changed since."""

from .glance import Watch
from .guard import Guard, guard
from .walk import Unread, UnreadDict

__all__ = ["Guard", "Unread", "UnreadDict", "Watch", "guard"]
