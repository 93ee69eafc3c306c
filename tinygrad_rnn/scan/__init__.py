"""Scan: a cell's step traced once, taken apart, and run as a program over the whole sequence."""

from .rewrites import REWRITES, without
from .summary import Summary

__all__ = ["REWRITES", "Summary", "without"]
