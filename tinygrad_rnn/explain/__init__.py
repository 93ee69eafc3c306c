"""Explanations of models: equations, examples worked out with numbers, states over a text, and measurements of gradients."""

from .backward_pass import draw_backward_pass
from .beams import draw_beams
from .compare import Comparison, compare
from .equations import Latex, equations
from .gradient_by_step import gradient_by_step
from .gradient_flow import GradientFlow, gradient_flow
from .graphical_model import draw_graphical_model
from .heatmaps import colored_text, draw_embedding, heatmap
from .jacobians import Jacobians, jacobians, lyapunov
from .properties import PROPERTIES, after_space, inside_quotes, measure, passage, position_in_line
from .report import ModelReport, report
from .states import Saturation, States, Unit, neighbours, states
from .truncation import Truncation, truncation
from .worked_example import WorkedExample, worked_example

__all__ = [
    "PROPERTIES",
    "Comparison",
    "GradientFlow",
    "Jacobians",
    "Latex",
    "ModelReport",
    "Saturation",
    "States",
    "Truncation",
    "Unit",
    "WorkedExample",
    "after_space",
    "colored_text",
    "compare",
    "draw_backward_pass",
    "draw_beams",
    "draw_embedding",
    "draw_graphical_model",
    "equations",
    "gradient_by_step",
    "gradient_flow",
    "heatmap",
    "inside_quotes",
    "jacobians",
    "lyapunov",
    "measure",
    "neighbours",
    "passage",
    "position_in_line",
    "report",
    "states",
    "truncation",
    "worked_example",
]
