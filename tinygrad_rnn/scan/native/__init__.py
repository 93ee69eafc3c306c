"""The native backend: a schedule as C, compiled on this machine."""

from ..backend import Backend
from .executable import accepts, build

__all__ = ["NATIVE"]

NATIVE = Backend("native", lambda loop: None, build, accepts, frozenset(["merge", "sigmoid as tanh", "prebroadcast"]))
