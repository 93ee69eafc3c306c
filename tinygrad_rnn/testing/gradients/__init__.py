"""Checks of the gradients of functions, by numeric oracles."""

from .function_check import check_gradients
from .verdicts import GradientCheckError, KinkError, PrimitiveReport, Report, UndecidedError

__all__ = ["GradientCheckError", "KinkError", "PrimitiveReport", "Report", "UndecidedError", "check_gradients"]
