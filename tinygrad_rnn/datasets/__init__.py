"""Small data sets and problem generators, for experiments that fit on a page.

What is random takes an argument `rng`, always given by name: a seed, a NumPy generator, or
None for fresh randomness. Arrays are (time, batch, features).
"""

from .memory import adding_problem, copy_memory
from .series import mackey_glass, narma10, sunspots
from .written import date_in_words, in_words, written_dates, written_numbers

__all__ = [
    "adding_problem",
    "copy_memory",
    "date_in_words",
    "in_words",
    "mackey_glass",
    "narma10",
    "sunspots",
    "written_dates",
    "written_numbers",
]
