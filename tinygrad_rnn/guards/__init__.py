"""Guards: whether anything that a function reads, apart from its arguments, has changed since an earlier call."""

from .code import is_ours
from .glance import Watch
from .guard import Guard, guard
from .walk import Unread, UnreadDict, rule_of

__all__ = ["Guard", "Unread", "UnreadDict", "Watch", "guard", "is_ours", "rule_of"]
