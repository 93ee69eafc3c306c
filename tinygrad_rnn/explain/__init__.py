"""Explanations of models: their equations, read off their graphs, and examples worked out with numbers."""

from .equations import Latex, equations
from .worked_example import WorkedExample, worked_example

__all__ = ["Latex", "WorkedExample", "equations", "worked_example"]
