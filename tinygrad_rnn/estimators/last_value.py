"""LastValueRegressor predicts that the next value equals the last value, a baseline for each model of a series."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .own_past import OwnPast
from .series import SeriesRegressor
from .tables import Table

__all__ = ["LastValueRegressor"]

Array = npt.NDArray[Any]


class LastValueRegressor(OwnPast, SeriesRegressor):
    """A baseline that predicts the last measured value for all later steps.

    Parameters
    ----------
    groups : str or int, optional
        The column of X that distinguishes several series.

    Examples
    --------
    >>> from tinygrad_rnn.estimators import LastValueRegressor
    >>> LastValueRegressor().fit(None, [1.0, 2.0, 4.0]).predict(None, horizon=1, y_past=[5.0, 7.0, 6.0])
    array([5., 5., 7.])
    """

    def __init__(self, *, groups: Any = None) -> None:
        self.groups = groups

    def _learn(self, table: Table) -> None:
        self.reach_ = 1
        self.mean_ = np.concatenate(table.y).mean(axis=0)

    def _rows(self, y: Array, rows: int, n: int) -> Array:
        if not len(y):
            return np.repeat(self.mean_[None], rows, axis=0)
        return y[np.clip(np.arange(rows) - n, 0, len(y) - 1)]
