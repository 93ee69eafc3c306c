"""Check of a cell's gradients, and the parts of random cells."""

from .cell_check import CellReport, check_cell, make_cell, takes_sizes

__all__ = ["CellReport", "check_cell", "make_cell", "takes_sizes"]
