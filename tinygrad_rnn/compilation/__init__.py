"""Compilation: a whole function, such as a training step, recorded once for each kind of call and run as one program."""

from .compiled import CompiledFunction, compile
from .plan import StepPlan

__all__ = ["CompiledFunction", "StepPlan", "compile"]
