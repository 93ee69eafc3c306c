"""Cells proved, and the parts of which random cells are made."""

from .cell_check import CellReport, check_cell, make_cell, takes_sizes

__all__ = ["CellReport", "check_cell", "make_cell", "takes_sizes"]
