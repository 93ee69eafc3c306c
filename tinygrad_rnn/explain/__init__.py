"""Explanations of models: equations read off their graphs, worked examples, and measurements of what flows through them."""

from .equations import Latex, equations
from .gradient_flow import GradientFlow, gradient_flow
from .jacobians import Jacobians, jacobians, lyapunov
from .worked_example import WorkedExample, worked_example

__all__ = [
    "GradientFlow",
    "Jacobians",
    "Latex",
    "WorkedExample",
    "equations",
    "gradient_flow",
    "jacobians",
    "lyapunov",
    "worked_example",
]
