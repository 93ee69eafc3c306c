"""Explaining: the equations of a cell, read off its graph."""

from .equations import equations

__all__ = ["equations"]
