"""Explanations of models: equations read off their graphs, worked examples, and measurements of what flows through them."""

from .compare import Comparison, compare
from .equations import Latex, equations
from .gradient_by_step import gradient_by_step
from .gradient_flow import GradientFlow, gradient_flow
from .jacobians import Jacobians, jacobians, lyapunov
from .truncation import Truncation, truncation
from .worked_example import WorkedExample, worked_example

__all__ = [
    "Comparison",
    "GradientFlow",
    "Jacobians",
    "Latex",
    "Truncation",
    "WorkedExample",
    "compare",
    "equations",
    "gradient_by_step",
    "gradient_flow",
    "jacobians",
    "lyapunov",
    "truncation",
    "worked_example",
]
