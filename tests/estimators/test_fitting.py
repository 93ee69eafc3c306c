"""Early stopping keeps the best parameters, whatever the solver does later; the later part is last in time."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn.console import NoBar
from tinygrad_rnn.estimators.fitting import EarlyStopping, search
from tinygrad_rnn.estimators.splitting import split_in_time
from tinygrad_rnn.estimators.tables import Table


def stopped(solver, patience=5):
    """A search from 0 to 10, in which 3 is best on later data."""
    w = tr.Parameter([0.0], dtype=float)
    stopping = EarlyStopping([w], lambda: abs(w.data.item() - 3), patience, NoBar())
    search(stopping, solver, 100, residuals=lambda: w - [10.0], rate=0.5)
    return w.data.item(), stopping


@pytest.mark.parametrize("solver", ["adam", "lbfgs", "lm", "auto"])
def test_the_best_parameters_are_kept(solver):
    w, stopping = stopped(solver)
    assert abs(w - 3) == stopping.least <= 3
    if solver == "adam":
        assert stopping.least < 0.3


def test_patience_ends_the_search():
    few, many = (stopped("adam", patience)[1].iterations for patience in (2, 12))
    assert few < many < 30
    assert many - few == 10


def table(lengths, series):
    ends = np.cumsum(lengths)
    parts = [np.arange(end - n, end, dtype=float)[:, None] for n, end in zip(lengths, ends, strict=True)]
    return Table(parts, parts, [], series, [], [], "list")


def test_the_later_part_is_the_last_of_each_series_with_what_leads_up_to_it():
    """Two series; the first has two sessions of 6 and 4 rows, and its last 3 rows are held out."""
    earlier, later = split_in_time(table([6, 4, 5], [0, 0, 1]), 0.3, warmup=2)
    assert [part.y.ravel().tolist() for part in earlier] == [[0, 1, 2, 3, 4, 5], [6], [10, 11, 12]]
    assert [part.y.ravel().tolist() for part in later] == [[6, 7, 8, 9], [11, 12, 13, 14]]
    assert [part.warmup for part in later] == [1, 2]


def test_of_many_series_the_last_are_held_back_whole():
    earlier, later = split_in_time(table([3] * 10, list(range(10))), 0.2, warmup=2)
    assert len(earlier) == 8
    assert [part.y.ravel().tolist() for part in later] == [[24, 25, 26], [27, 28, 29]]
