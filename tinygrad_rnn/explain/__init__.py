"""Explanations of models: their equations, read off their graphs."""

from .equations import Latex, equations

__all__ = ["Latex", "equations"]
