"""Small data sets and problem generators, for experiments that fit on a page.

Random generators of data take an argument `rng`, always given by name: a seed, a NumPy
generator, or None for new random numbers at each call.

A batch has time first. A batch of numbers is float32 with shape (time, batch, features); a batch
of codes is int64 with shape (time, batch). A series is float64 and has one axis, time;
``series[:, None, None]`` is a batch of one series of one feature.
"""

from .long_memory import adding_problem, copy_memory
from .plants import two_tanks
from .published import Record, cascaded_tanks, silverbox, wiener_hammerstein
from .time_series import mackey_glass, narma10, sunspots
from .written import date_in_words, in_words, written_dates, written_numbers

__all__ = [
    "Record",
    "adding_problem",
    "cascaded_tanks",
    "copy_memory",
    "date_in_words",
    "in_words",
    "mackey_glass",
    "narma10",
    "silverbox",
    "sunspots",
    "two_tanks",
    "wiener_hammerstein",
    "written_dates",
    "written_numbers",
]
