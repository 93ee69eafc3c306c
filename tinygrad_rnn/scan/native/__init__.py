"""The native backend: a schedule as C, compiled on this machine."""

import functools

from ..backend import Backend
from .executable import accepts, build, is_ready
from .together import together

__all__ = ["NATIVE", "in_threads", "is_ready"]

NATIVE = Backend("native", lambda loop: None, build, accepts, together, frozenset(["merge", "sigmoid as tanh", "prebroadcast"]))


@functools.cache
def in_threads(count: int | None) -> Backend:
    """The native backend with a number of threads; None for the number that `tr.use` sets."""
    return NATIVE if count is None else NATIVE._replace(build=functools.partial(build, threads=count))
