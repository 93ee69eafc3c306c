"""ARRegressor: a series as a linear function of its own past, with exact intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import nn
from ..autodiff import no_grad
from ..checks import check_int
from ..errors import DataError
from ..sequences import pad, windows
from .own_past import OwnPast
from .series import SeriesRegressor, check_constant
from .tables import Table

__all__ = ["ARRegressor"]

Array = npt.NDArray[Any]


class ARRegressor(OwnPast, SeriesRegressor):
    """Autoregressive model: y_t = w_0 + Σ_k w_k y_{t-k} + ε_t, for k = 1, …, order, fitted by least squares.

    This model is the baseline for other models. Only the rows of X are used, not its numbers: give None, or a table with
    the column of `groups`. The intervals of a forecast are exact if ε is normal and the fitted weights are the true ones.

    Parameters
    ----------
    order : int
        Number of earlier values that each prediction reads.
    groups : str or int, optional
        The column of X that distinguishes several series: its name, or its number if X is an array.

    Attributes
    ----------
    module_ : tinygrad_rnn.nn.AR
        The model, with the weights, the poles and the standard deviation of ε.
    covariance_ : ndarray, shape (outputs, outputs)
        Unbiased estimate of the covariance of ε.
    sessions_ : list of Session
    reach_ : int
        The order.

    Examples
    --------
    >>> from tinygrad_rnn import datasets
    >>> from tinygrad_rnn.estimators import ARRegressor
    >>> years, numbers = datasets.sunspots()
    >>> model = ARRegressor(order=2).fit(None, numbers[years <= 1920])
    >>> model.module_.w.ravel().round(2)
    array([ 1.35, -0.66])
    >>> found = model.forecast(steps=2)
    >>> found.mean.round(1), (found.upper - found.lower).round(1)
    (array([22.3, 18.8]), array([49.7, 83.4]))
    """

    def __init__(self, order: int = 2, *, groups: Any = None) -> None:
        self.order = order
        self.groups = groups

    def _learn(self, table: Table) -> None:
        self.reach_ = check_int("order", self.order)
        size = self.outputs_.size
        rows = sum(max(len(y) - self.reach_, 0) for y in table.y)
        weights = 1 + self.reach_ * size
        if rows <= weights:
            raise DataError(
                f"the series is too short: n_samples = {sum(map(len, table.y))}, of which {rows} are left after the first rows "
                f"of each session, the history; to fit {weights} weights, at least {weights + 1} are needed. Give more "
                "rows, or fewer delays"
            )
        check_constant(np.concatenate(table.y), self.outputs_.names or range(size), "y")
        ys, lengths = pad([y for y in table.y if len(y) > self.reach_])
        self.module_ = nn.AR(self.reach_, size, dtype=np.float64).fit(ys, lengths=lengths)
        self.residuals_ = np.concatenate([(y - self._rows(y, len(y), 1))[self.reach_ :] for y in table.y])
        self.covariance_ = self.residuals_.T @ self.residuals_ / (rows - weights)

    def _rows(self, y: Array, rows: int, n: int) -> Array:
        """Predictions n steps ahead, followed by the predictions of a free run."""
        model: nn.AR = self.module_
        first = y[:1] if len(y) else self._mean()[None]
        starts: Any = windows(np.concatenate([np.repeat(first, self.reach_, axis=0), y]), self.reach_)
        with no_grad():
            before = model.forecast(model.history(starts[:, :1]), n - 1).data[:, 0]
            each = model.forecast(model.history(starts), n).data[-1]
            after = model.forecast(model.history(starts[:, -1:]), max(rows - len(y), 0)).data[n:, 0]
        return np.concatenate([before, each, after])[:rows]

    def _mean(self) -> Array:
        """The mean that the model's free run approaches."""
        model: nn.AR = self.module_
        return np.linalg.lstsq(np.eye(self.outputs_.size) - model.w.sum(axis=0), model.w_0, rcond=None)[0]

    def _simulate(self, x: Array, past: Table, paths: int) -> tuple[Array, Array | None, Array | None]:
        model: nn.AR = self.module_
        with no_grad():
            mean = model.forecast(model.history(past.y[0][:, None]), len(x)).data[:, 0]
        responses = [np.eye(self.outputs_.size)]  # responses of later values to ε
        for j in range(1, len(x)):
            responses.append(sum(w_k @ responses[j - k] for k, w_k in enumerate(model.w[:j], 1)))
        variances = np.cumsum([np.diag(psi @ self.covariance_ @ psi.T) for psi in responses], axis=0)
        return mean, None, np.sqrt(variances)
