"""Scan: a cell's step traced once, taken apart, and run as a program over the whole sequence."""

from . import open as open  # this module gives the primitive its rule `expand`
from .plan import Plan
from .rewrites import REWRITES, without

__all__ = ["REWRITES", "Plan", "without"]
