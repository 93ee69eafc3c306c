"""Diagnostics: correlations that remain in the residuals of a model, and the choice of delays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid

from ..checks import check_int, one_of
from ..console import counted
from ..errors import DataError
from ..plots import BLUE, GREY, INK, new_figure
from .forecasts import set_times
from .series import SeriesRegressor
from .tables import is_list, read_table, without_groups

__all__ = ["Diagnostics", "Orders", "diagnostics", "select_order"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False, repr=False)
class Diagnostics:
    """Residuals of a model and their correlations.

    Attributes
    ----------
    residuals : as y
        Measurements minus predictions one step ahead; NaN in the first rows of each session.
    autocorrelation : ndarray, shape (outputs, lags + 1)
        Autocorrelation of the residuals from lag 0, at which it is 1. If a model uses all information of the past, its
        residuals have no autocorrelation at other lags.
    input_correlation : ndarray, shape (outputs, inputs, 2 lags + 1)
        Correlation of e_t with u_{t-k}, for k from -lags to lags. A large value at a positive k is an effect of the input
        that the model lacks. A large value at a negative k means that the input reacts to y.
    bound : float
        Of 100 correlations of independent series, 95 are within ± bound.
    fit_percent : float or ndarray
        Fit of the predictions one step ahead, in percent.
    inputs : list of str
        Names of the inputs.
    """

    residuals: Any
    autocorrelation: Array
    input_correlation: Array
    bound: float
    fit_percent: Any
    inputs: list[str]

    def plot(self) -> Any:
        """Draw the residuals of the first output, their autocorrelation, and their correlation with each input.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        count = 2 + len(self.inputs)
        figure, axes = new_figure(9, 1.9 * count, count, extra="sklearn")
        parts = self.residuals if isinstance(self.residuals, list) else [self.residuals]
        whole = np.concatenate([np.asarray(part, float).ravel() for part in parts])
        values = whole.reshape(-1, len(self.autocorrelation))[:, 0]
        index = getattr(parts[0], "index", None) if len(parts) == 1 else None
        index = np.arange(len(values)) if index is None else index
        axes[0].plot(set_times(axes[0], index), values, color=INK, linewidth=0.8)
        axes[0].set_title("residuals one step ahead", fontsize=10)
        lags = self.autocorrelation.shape[1] - 1
        bars = [("autocorrelation of the residuals", np.arange(1, lags + 1), self.autocorrelation[0, 1:])]
        bars += [
            (f"correlation with {name}, k steps before", np.arange(-lags, lags + 1), row)
            for name, row in zip(self.inputs, self.input_correlation[0], strict=True)
        ]
        for axis, (title, ks, heights) in zip(axes[1:], bars, strict=True):
            axis.axhspan(-self.bound, self.bound, color=GREY, alpha=0.2, linewidth=0)
            axis.vlines(ks, 0, heights, color=BLUE, linewidth=2)
            axis.axhline(0, color=INK, linewidth=0.6)
            axis.set_title(title, fontsize=10, parse_math=False)
            axis.set_xlabel("k")
        return figure

    def __repr__(self) -> str:
        lags = self.autocorrelation.shape[1] - 1
        outside = (abs(self.autocorrelation[:, 1:]) > self.bound).sum(), (abs(self.input_correlation) > self.bound).sum()
        sizes = self.autocorrelation[:, 1:].size, self.input_correlation.size
        fit = ", ".join(f"{value:.1f}" for value in np.atleast_1d(self.fit_percent))
        inputs = f", {outside[1]} of {sizes[1]} correlations with inputs" if sizes[1] else ""
        return (
            f"<Diagnostics: fit {fit} % one step ahead; outside of ±{self.bound:.2f} are {outside[0]} of {sizes[0]} "
            f"autocorrelations{inputs}, up to lag {lags}>"
        )


def diagnostics(model: SeriesRegressor, X: Any, y: Any, lags: int = 20) -> Diagnostics:
    """Correlate the residuals of a model with each other and with its inputs.

    Parameters
    ----------
    model : fitted estimator
        A fitted :class:`NARXRegressor`, :class:`ARRegressor` or :class:`RecurrentRegressor`.
    X, y : as for its `fit`
    lags : int
        Largest lag of the correlations.

    Returns
    -------
    Diagnostics

    Raises
    ------
    DataError
        If there are not more residuals than lags.

    References
    ----------
    Ljung, *System Identification*, 2nd edition, 1999, section 16.6, on residual analysis.

    Examples
    --------
    >>> from tinygrad_rnn import datasets
    >>> from tinygrad_rnn.estimators import ARRegressor, diagnostics
    >>> years, numbers = datasets.sunspots()
    >>> diagnostics(ARRegressor(order=1).fit(None, numbers), None, numbers, lags=12)
    <Diagnostics: fit 43.3 % one step ahead; outside of ±0.11 are 11 of 12 autocorrelations, up to lag 12>
    """
    check_int("lags", lags)
    residuals = model.residuals(X, y)
    table = read_table(model, X, y, fitting=False)
    first = max(model.reach_, 1)
    flat = [np.asarray(part, float).reshape(len(part), -1) for part in (residuals if table.form != "table" else [residuals])]
    whole = np.concatenate(flat)
    errors = [whole[rows][first:] for rows in table.rows]
    inputs = [x[first:] for x in table.x] if model.reads_inputs else [np.empty((len(e), 0)) for e in errors]
    count = sum(map(len, errors))
    if max(map(len, errors)) <= lags:
        raise DataError(
            f"the longest session has {counted(max(map(len, errors)), 'residual')}, too few for correlations up to lag {lags}; "
            "give more rows, or a smaller lags"
        )
    names = [str(name) for name in getattr(model, "feature_names_in_", [f"input {k}" for k in range(inputs[0].shape[1])])]
    both = _correlations(errors, errors, range(lags + 1))
    return Diagnostics(
        residuals,
        np.diagonal(both, axis1=1, axis2=2).T,
        _correlations(errors, inputs, range(-lags, lags + 1)).transpose(1, 2, 0),
        1.96 / np.sqrt(count),
        model.fit_percent(X, y, horizon=1),
        names if inputs[0].shape[1] else [],
    )


def _correlations(first: Sequence[Array], second: Sequence[Array], lags: Sequence[int]) -> Array:
    """Correlations of first_t with second_{t-k} within sessions: shape (lags, columns of first, columns of second)."""
    pairs = [[part - np.concatenate(parts).mean(axis=0) for part in parts] for parts in (first, second)]
    scales = [np.sqrt(sum(np.square(part).sum(axis=0) for part in parts)) for parts in pairs]
    found = np.zeros((len(lags), len(scales[0]), len(scales[1])))
    for i, k in enumerate(lags):
        for a, b in zip(*pairs, strict=True):
            n = len(a) - abs(k)
            if n > 0:
                found[i] += a[max(k, 0) :][:n].T @ b[max(-k, 0) :][:n]
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(found / (scales[0][:, None] * scales[1]))


class Orders:
    """A table of candidates with their criteria; made by :func:`select_order`.

    Attributes
    ----------
    rows : list of dict
        For each candidate, its ``parameters``, ``size``, ``aic``, ``bic``, ``one_step`` and ``free_run``.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.rows = list(rows)

    def best(self, criterion: str = "free_run") -> dict[str, Any]:
        """The parameters of the candidate with the smallest value of a criterion.

        Parameters
        ----------
        criterion : {"aic", "bic", "one_step", "free_run"}
            The column of the table.
        """
        if criterion not in CRITERIA:
            raise DataError(one_of("criterion", criterion, CRITERIA))
        return dict(min(self.rows, key=lambda row: row[criterion])["parameters"])

    def to_frame(self) -> Any:
        """The table as a DataFrame of pandas."""
        import pandas as pd

        return pd.DataFrame([{**row["parameters"], **{k: v for k, v in row.items() if k != "parameters"}} for row in self.rows])

    def __repr__(self) -> str:
        names = list(self.rows[0]["parameters"])
        lines = [[*names, "numbers", "AIC", "BIC", "one step", "free run"]]
        least = {name: min(row[name] for row in self.rows) for name in CRITERIA}
        for row in self.rows:
            cells = [f"{row[name]:.4g}" + ("*" if row[name] == least[name] else " ") for name in CRITERIA]
            lines.append([*(str(row["parameters"][name]) for name in names), str(row["size"]), *cells])
        widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
        return "\n".join("  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


CRITERIA = ("aic", "bic", "one_step", "free_run")


def select_order(
    estimator: SeriesRegressor, X: Any, y: Any, grid: Mapping[str, Sequence[Any]], validation_fraction: float = 0.2
) -> Orders:
    """Fit a model for each combination of parameters, such as delays, and compare them.

    Each model is fitted to the first rows. AIC = n ln(RSS/n) + 2p and BIC = n ln(RSS/n) + p ln n use the model's errors
    one step ahead in these rows. The n rows are the same for all models; p is the number of parameters. The root mean square
    errors are measured in the last rows, one step ahead, and in a free run that starts from the measurements before them.

    Parameters
    ----------
    estimator : NARXRegressor or ARRegressor
        The estimator with all other parameters.
    X, y : as for its `fit`
        One series or several; the last rows of each series are used for validation.
    grid : mapping of str to sequence
        As for :class:`sklearn.model_selection.GridSearchCV`.
    validation_fraction : float
        The fraction of rows, at the end, that are used for validation.

    Returns
    -------
    Orders
        A table; when printed, a star marks the smallest value of each column.

    Raises
    ------
    DataError
        If a series is too short.

    References
    ----------
    Akaike, "A new look at the statistical model identification", 1974. Schwarz, "Estimating the dimension of a model", 1978.

    Examples
    --------
    >>> from tinygrad_rnn import datasets
    >>> from tinygrad_rnn.estimators import ARRegressor, select_order
    >>> years, numbers = datasets.sunspots()
    >>> found = select_order(ARRegressor(), None, numbers, {"order": [1, 2, 9]})
    >>> found
    order  numbers    AIC    BIC  one step  free run
        1        2  1434   1440     32.02     57.29
        2        3  1285   1295*    22.83     55.43
        9       10  1267*  1302     19.44*    43.06*
    >>> found.best("bic")
    {'order': 2}
    """
    if not 0 < validation_fraction < 1:
        raise DataError(f"validation_fraction must be more than 0 and less than 1, not {validation_fraction!r}")
    xs, ys = _each_series(X, y, estimator.groups)
    lengths = [len(one) for one in ys]
    cuts = [n - round(validation_fraction * n) for n in lengths]
    starts = [0] * len(ys)
    rows = []
    models, fitted, judged = [], [], []
    for parameters in ParameterGrid(dict(grid)):
        model = clone(estimator).set_params(groups=None, **parameters)
        models.append((parameters, model.fit(_rows(xs, starts, cuts), _rows(ys, starts, cuts))))
        fitted.append(_errors(model, xs, ys, starts, cuts, 1))
        before = [k - model.reach_ if model.reach_ else 0 for k in cuts]  # only the history, or all rows that lead to a state
        judged.append([_errors(model, xs, ys, before, lengths, horizon, cuts) for horizon in (1, None)])
    common = np.all([np.isfinite(errors) for errors in fitted], axis=(0, 2))
    known = np.all([np.isfinite(errors) for pair in judged for errors in pair], axis=(0, 2))
    if not known.any():
        raise DataError("the last rows are no more than the longest delay, in each stretch without a gap")
    for (parameters, model), found, (ahead, free) in zip(models, fitted, judged, strict=True):
        errors, n = found[common], int(common.sum())
        size = sum(p.size for name, p in model.module_.named_parameters() if name != "log_sigma")
        spread = n * float(np.log(np.square(errors).mean(axis=0)).sum())
        rows.append(
            {
                "parameters": parameters,
                "size": size,
                "aic": spread + 2 * size,
                "bic": spread + size * np.log(n),
                "one_step": _rms(ahead[known]),
                "free_run": _rms(free[known]),
            }
        )
    return Orders(rows)


def _each_series(X: Any, y: Any, groups: Any) -> tuple[list[Any] | None, list[Any]]:
    """The series of a table, of groups in a table, of a list or of a 3-d array, as lists; no inputs if X is None."""
    if is_list(X, y):
        return None if X is None else list(X), list(y)
    if groups is None:
        return None if X is None else [X], [y]
    X, labels = without_groups(X, groups)
    y = y if hasattr(y, "iloc") else np.asarray(y)
    chosen = [np.flatnonzero(labels == name) for name in dict.fromkeys(labels.tolist())]
    return [_take(X, rows) for rows in chosen], [_take(y, rows) for rows in chosen]


def _take(data: Any, rows: Any) -> Any:
    return data.iloc[rows] if hasattr(data, "iloc") else np.asarray(data)[rows]


def _rows(parts: list[Any] | None, starts: Sequence[int], stops: Sequence[int]) -> list[Any] | None:
    """Rows of each series."""
    if parts is None:
        return None
    return [_take(part, slice(start, stop)) for part, start, stop in zip(parts, starts, stops, strict=True)]


def _errors(
    model: Any, xs: Any, ys: Any, starts: list[int], stops: list[int], horizon: int | None, first: list[int] | None = None
) -> Array:
    """Residuals in rows of each series, (rows, outputs); if `first` is given, without the rows before."""
    found = model.residuals(_rows(xs, starts, stops), _rows(ys, starts, stops), horizon=horizon)
    skipped = [0] * len(found) if first is None else [k - start for k, start in zip(first, starts, strict=True)]
    return np.concatenate([np.asarray(e, float).reshape(len(e), -1)[k:] for e, k in zip(found, skipped, strict=True)])


def _rms(errors: Array) -> float:
    return float(np.sqrt(np.square(errors).mean()))
