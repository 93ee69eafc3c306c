"""Explanations of cells: their equations, read off their graphs."""

from .equations import equations

__all__ = ["equations"]
