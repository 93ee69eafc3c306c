"""The native backend: a schedule as C, compiled on this machine."""

from ..backend import Backend
from .executable import accepts, build, is_ready
from .together import together

__all__ = ["NATIVE", "is_ready"]

NATIVE = Backend("native", lambda loop: None, build, accepts, together, frozenset(["merge", "sigmoid as tanh", "prebroadcast"]))
