"""Base classes of all estimators of series: sessions, units, horizons, forecasts, errors and files."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from .. import nn, storing
from ..checks import check_int, is_int
from ..console import counted
from ..errors import DataError
from .forecasts import Forecast, check_interval
from .splitting import Part
from .tables import Outputs, Table, frequency, read_table, times_of

__all__ = ["SeriesEstimator", "SeriesRegressor", "check_constant", "check_long_enough", "load"]

Array = npt.NDArray[Any]
PATHS = 1000
"""Number of simulated paths, whose quantiles are the limits of a forecast."""
SHOWN = 200
"""Largest number of past steps in a plot of a forecast."""
KINDS: dict[str, type[SeriesEstimator]] = {}
"""Classes of estimators, by their names in files."""


class SeriesEstimator(BaseEstimator):  # type: ignore[misc]
    """Base class of estimators whose rows are steps of time.

    A subclass has the parameter `groups`, and the methods `_learn` and `_run`.

    Attributes
    ----------
    module_ : Module
        The model.
    sessions_ : list of Session
        The parts without gaps into which the data were cut.
    """

    groups: Any
    reach_: int
    reads_inputs = True
    """Whether the model has inputs; if not, only the rows of X are used."""
    takes_one_value = False
    """Whether y may have one value for each sequence."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        KINDS[cls.__name__] = cls

    def _learn(self, table: Table) -> None:
        """Fit the model to the sessions of a table; sets `reach_` first."""
        raise NotImplementedError

    def _run(self, table: Table, horizon: int | None) -> list[Array]:
        """Predict each row of each session, with the known values of y."""
        raise NotImplementedError

    def fit(self, X: Any, y: Any = None) -> Any:
        """Fit the model.

        Parameters
        ----------
        X : DataFrame, array of shape (rows, inputs), list of arrays, array of shape (sequences, time, inputs), or None
            Rows are steps of time. None if there are no inputs.
        y : Series, DataFrame, array, or list of arrays
            The measurements at these steps.

        Returns
        -------
        self

        Raises
        ------
        DataError
            If a value is missing or no number; if all values of a column are the same; if times are
            repeated or unsorted; if a series is too short.
        """
        if y is None:
            raise DataError(
                f"{type(self).__name__} requires y to be passed, but the target y is None; for a series without inputs, call "
                "fit(None, y)"
            )
        table = read_table(self, X, self._encoded(y, fitting=True), fitting=True)
        self.sessions_ = table.sessions
        self._learn(table)
        self._remember(table)
        return self

    def _encoded(self, y: Any, fitting: bool) -> Any:
        """The values of y as numbers."""
        return y

    def _remember(self, table: Table) -> None:
        """Keep the end of the training data as the start of forecasts."""
        keep = max(self.reach_, SHOWN)
        index = table.indices[0] if table.form == "table" else None
        self.past_ = {
            "x": table.x[-1][-keep:],
            "y": table.y[-1][-keep:],
            "series": len(set(table.series)),
            **_labels(None if index is None else index[table.rows[-1][-keep:]]),
        }

    # -- units ---------------------------------------------------------------------------------------

    def _set_units(self, parts: Sequence[Part]) -> None:
        """Learn the mean and standard deviation of each column from the training part."""
        x, y = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
        names = list(getattr(self, "feature_names_in_", range(x.shape[1])))
        check_constant(x, names, "X")
        check_constant(y, self.outputs_.names or range(y.shape[1]), "y")
        self.x_scaler_ = StandardScaler().fit(x) if x.shape[1] else None
        self.y_scaler_ = StandardScaler().fit(y)

    def _scaled_x(self, x: Array) -> Array:
        return x if self.x_scaler_ is None else self.x_scaler_.transform(x)

    def _scaled(self, parts: Sequence[Part]) -> list[Part]:
        return [Part(self._scaled_x(x), self.y_scaler_.transform(y), warmup) for x, y, warmup in parts]

    # -- files ---------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], classes: Sequence[type] = ()) -> None:
        """Write the fitted estimator to a model file. :func:`load` reads the estimator, ``tr.load`` only its module.

        Parameters
        ----------
        path : str or path
            The file.
        classes : sequence of type
            As for :func:`tinygrad_rnn.save`.

        Raises
        ------
        DataError
            In the same cases as :func:`tinygrad_rnn.save`.
        """
        check_is_fitted(self)
        fitted = {name: value for name, value in vars(self).items() if name[-1] == "_" and name not in NOT_KEPT}
        if getattr(fitted.get("classes_"), "dtype", np.dtype(bool)).kind == "U":
            fitted["classes_"] = fitted["classes_"].tolist()
        names = getattr(self, "feature_names_in_", None)
        described = {
            "class": type(self).__name__,
            "parameters": {name: _stored(value) for name, value in self.get_params(deep=False).items()},
            "fitted": fitted,
            "outputs": list(self.outputs_),
            "names": None if names is None else [str(name) for name in names],
        }
        storing.save(self.module_, path, classes=(StandardScaler, *classes), estimator=described)


class SeriesRegressor(RegressorMixin, SeriesEstimator):  # type: ignore[misc]
    """Base class of regressors whose rows are steps of time; a subclass also defines `_simulate`."""

    def _simulate(self, x: Array, past: Table, paths: int) -> tuple[Array, Array | None, Array | None]:
        """Continue the single session of the past: mean (steps, outputs), paths, and standard deviations if known."""
        raise NotImplementedError

    # -- predicting ------------------------------------------------------------------------------

    def predict(self, X: Any, horizon: int | None = None, y_past: Any = None) -> Any:
        """Predict y in each row.

        Parameters
        ----------
        X : as for `fit`
            The inputs, of the past and of the future.
        horizon : int, optional
            Number of steps between a row and the last measurement that its prediction may use. If
            not given, all measurements in `y_past` are used, and after them the model runs freely.
        y_past : as y for `fit`, optional
            The measurements in the first rows of X. They may end before X ends, or be NaN from some
            row on. If not given, the model runs freely from the mean of y and the first inputs.

        Returns
        -------
        Series, DataFrame, array or list of arrays
            Predictions in the form of X, with a row for each row of X. Before the first row, inputs
            and outputs are assumed to be the same as in the first row.

        Raises
        ------
        DataError
            If X has other columns than in `fit`, or a value that cannot be used.
        NotFittedError
            If the estimator was not fitted.
        """
        check_is_fitted(self)
        _check_horizon(horizon)
        table = self._read(X, y_past)
        whole = [len(y) == len(x) for x, y in zip(table.x, table.y, strict=False)]
        if horizon is None and whole and all(whole):
            raise DataError(
                "y_past has a measurement for each row of X, so no row is left to predict; give horizon=1 for predictions one "
                f"step ahead, or only the first measurements, such as y_past=y[:{max(self.reach_, 1)}]"
            )
        self._check_known(table, horizon)
        return self._restored(table, self._run(table, horizon))

    def _check_known(self, table: Table, horizon: int | None) -> None:
        """Raise if a measurement that a horizon needs is missing."""
        known = [len(y) for y in table.y] or [0] * len(table.x)
        for x, m in zip(table.x, known, strict=True):
            if horizon is not None and m < len(x) - horizon:
                lack = f"has only the first {m} of {len(x)} rows" if m else "is missing: give the measurements, y_past=y"
                raise DataError(
                    f"horizon={horizon} predicts each row from measurements up to {counted(horizon, 'row')} before it, but "
                    f"y_past {lack}; without a horizon, the model continues from its own predictions after the known rows"
                )

    def forecast(
        self, X: Any = None, y_past: Any = None, *, steps: int | None = None, interval: float = 0.9, paths: int = PATHS
    ) -> Forecast:
        """Forecast the next steps, with an interval for each.

        Parameters
        ----------
        X : as for `fit`, optional
            Without `y_past`: the inputs of the steps that follow the training data. With `y_past`:
            the inputs of the rows of `y_past`, and then the future inputs.
        y_past : as y for `fit`, optional
            Measurements of a single series, if the forecast does not follow the training data.
        steps : int, optional
            Number of steps, for a model without inputs.
        interval : float
            The probability that a later value is in the interval, for each step.
        paths : int
            Number of simulated series.

        Returns
        -------
        Forecast

        Raises
        ------
        DataError
            If X does not follow the measurements, or is missing.
        ValueError
            If the number of steps or the interval is not valid.
        """
        check_is_fitted(self)
        check_interval(interval)
        check_int("paths", paths)
        if steps is not None and not is_int(steps):
            raise DataError(f"steps must be a whole number, at least 1, not {steps!r}")
        if is_int(X):
            raise DataError(f"X must be a table of inputs, not {X}; for a number of steps, write forecast(steps={X})")
        past, future, indices = self._past_and_future(X, y_past, steps)
        mean, found, sd = self._simulate(future, past, paths)
        if found is not None:
            lower, upper = np.quantile(found, [(1 - interval) / 2, (1 + interval) / 2], axis=0)
        else:
            from scipy.stats import norm

            assert sd is not None  # a model has paths or standard deviations
            width = norm.ppf((1 + interval) / 2) * sd
            lower, upper = mean - width, mean + width
        names, flat = self.outputs_.names, self.outputs_.flat
        shown = [_piece(data, indices[1], names, flat) for data in (mean, lower, upper)]
        return Forecast(shown[0], shown[1], shown[2], interval, _piece(past.y[0][-SHOWN:], indices[0], names, flat), found)

    def _past_and_future(self, X: Any, y_past: Any, steps: int | None) -> tuple[Table, Array, tuple[Any, Any]]:
        """The measured session, the inputs after it, and the indices of both."""
        inputs = self.reads_inputs and self.n_features_in_ > 0
        if y_past is None:
            if self.past_["series"] > 1:
                raise DataError(
                    "the model was fitted to several series; give the one to forecast as y_past, and its inputs as X"
                )
            future, index = self._future(X, steps)
            own = _index_of(self.past_, len(self.past_["y"]), 0)
            index = _index_of(self.past_, 0, len(future)) if index is None else index
            _check_follows(own, index, self.past_)
            return _one_session(self.past_["x"], self.past_["y"]), future, (None if own is None else own[-SHOWN:], index)
        if X is None and not inputs:
            table = self._read(None, y_past)
            if steps is None:
                raise DataError("give the number of steps to forecast, such as steps=12")
            future = np.empty((steps, 0))
        else:
            table = self._read(X, y_past)
            future = table.x[0][len(table.y[0]) :] if table.x else np.empty((0, 0))
        if len(table.x) != 1:
            raise DataError(
                f"a forecast continues a single series without gaps, but here are {counted(len(table.x), 'session')}; "
                "give only "
                "the rows after the last gap"
            )
        m = len(table.y[0])
        if not m:
            raise DataError("y_past has no measurement, only NaN; give at least one")
        future = future if steps is None else future[:steps]
        if not len(future) or (steps is not None and len(future) < steps):
            raise DataError(
                f"X has {counted(len(table.x[0]), 'row')}: {m} of the past, for which y_past has measurements, and "
                f"{len(future)} "
                "of the future. X must have the inputs of the past and then those of the future, a row for each step to "
                "forecast"
            )
        index = table.indices[0]
        if index is None:
            pair = None, None
        elif X is None:
            pair = index[-SHOWN:], _index_of(_labels(index), 0, len(future))
        else:
            pair = index[:m][-SHOWN:], index[m : m + len(future)]
        return _one_session(table.x[0][:m], table.y[0]), future, pair

    def _future(self, X: Any, steps: int | None) -> tuple[Array, Any]:
        """Inputs after the training data, and their index."""
        if X is None:
            if self.reads_inputs and self.n_features_in_:
                raise DataError(f"X is missing: the forecast needs the {counted(self.n_features_in_, 'input')} of each step")
            if steps is None:
                raise DataError("give the number of steps to forecast, such as steps=12")
            return np.empty((steps, 0)), None
        table = self._read(X, None)
        if len(table.x) != 1 or (steps is not None and steps > len(table.x[0])):
            raise DataError(
                "a forecast needs the inputs of one session"
                + ("" if steps is None else f" of at least {counted(steps, 'row')}")
                + f", but X has {counted(len(table.x), 'session')} of {[len(x) for x in table.x][:5]} rows"
            )
        index = table.indices[0]
        return table.x[0][:steps], None if index is None else index[:steps]

    def _read(self, X: Any, y_past: Any) -> Table:
        return read_table(self, X, y_past, fitting=False, partial=True)

    def _restored(self, table: Table, parts: Sequence[Array]) -> Any:
        return table.restored(parts, self.outputs_.names, self.outputs_.flat)

    # -- errors ------------------------------------------------------------------------------------

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, horizon: int | None = None) -> float:
        """The coefficient of determination R² of predictions; of a free run if no horizon is given.

        The first rows of each session are the history, and do not count.

        Parameters
        ----------
        X, y : as for `fit`
        sample_weight : array of shape (rows,), optional
            Weights of the rows.
        horizon : int, optional
            As for `predict`.

        Returns
        -------
        float
            1 for perfect predictions, 0 for predictions as good as the mean of y.
        """
        true, found, weights = self._judged(X, y, horizon, sample_weight)
        return float(r2_score(true, found, sample_weight=weights))

    def fit_percent(self, X: Any, y: Any, *, horizon: int | None = None) -> Any:
        """The fit in percent of each output, 100 (1 - ‖y - ŷ‖ / ‖y - mean of y‖).

        Parameters
        ----------
        X, y : as for `fit`
        horizon : int, optional
            As for `predict`; if not given, the predictions of a free run are used.

        Returns
        -------
        float, or ndarray of several outputs
            -inf or NaN if y has the same value in all rows.
        """
        true, found, _ = self._judged(X, y, horizon)
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.linalg.norm(true - found, axis=0) / np.linalg.norm(true - true.mean(axis=0), axis=0)
        return 100 * (1 - float(distance[0])) if self.outputs_.flat else 100 * (1 - distance)

    def residuals(self, X: Any, y: Any, *, horizon: int | None = 1) -> Any:
        """Measurements minus predictions, one step ahead unless a horizon is given.

        Parameters
        ----------
        X, y : as for `fit`
        horizon : int or None
            As for `predict`; None for a free run.

        Returns
        -------
        As y
            The residuals in the form of y; NaN in the first rows of each session, which are the history.
        """
        check_is_fitted(self)
        table, found, first = self._judge(X, y, horizon)
        parts = [np.where(np.arange(len(y))[:, None] < first, np.nan, y - p) for y, p in zip(table.y, found, strict=True)]
        return self._restored(table, parts)

    def _judge(self, X: Any, y: Any, horizon: int | None) -> tuple[Table, list[Array], int]:
        """The table with all of y, predictions for its rows, and the number of history rows of each session."""
        _check_horizon(horizon)
        table = read_table(self, X, y, fitting=False)
        reach = self.reach_
        first = reach + (horizon or 1) - 1 if reach else 0
        if all(len(x) <= first for x in table.x):
            raise DataError(
                f"the longest session has {counted(max(map(len, table.x)), 'row')}, but the first {first} of each session are "
                "its history, so no prediction is left to score; give more rows"
            )
        known = table.y if horizon else [y[:reach] for y in table.y]
        run = Table(table.x, known, table.rows, table.series, table.sessions, table.ends, table.form, table.indices)
        return table, self._run(run, horizon), first

    def _judged(self, X: Any, y: Any, horizon: int | None, weights: Any = None) -> tuple[Array, Array, Array | None]:
        check_is_fitted(self)
        table, found, first = self._judge(X, y, horizon)
        true, guessed = (np.concatenate([part[first:] for part in parts]) for parts in (table.y, found))
        if weights is None:
            return true, guessed, None
        return true, guessed, np.concatenate([np.asarray(weights)[rows[first:]] for rows in table.rows])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True  # scikit-learn's test rows are not a series
        tags.non_deterministic = False
        return tags


NOT_KEPT = ("module_", "outputs_", "feature_names_in_", "sessions_")


def load(path: str | os.PathLike[str], classes: Sequence[type] = ()) -> Any:
    """Read a fitted estimator from a file that its method `save` wrote.

    Parameters
    ----------
    path : str or path
        The file.
    classes : sequence of type
        Your own classes in the file, such as a cell.

    Raises
    ------
    DataError
        In the same cases as :func:`tinygrad_rnn.load`, or if the file has a model without an estimator.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from tinygrad_rnn.estimators import ARRegressor, load
    >>> series = np.sin(np.arange(50))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ARRegressor(order=2).fit(None, series).save(f"{folder}/ar.safetensors")
    ...     again = load(f"{folder}/ar.safetensors")
    >>> again, again.forecast(steps=2).mean.round(3), np.sin([50, 51]).round(3)
    (ARRegressor(), array([-0.262,  0.67 ]), array([-0.262,  0.67 ]))
    """
    module, described = storing.load(path, "model", "estimator", classes=(StandardScaler, *classes))
    if not isinstance(described, dict) or described.get("class") not in KINDS:
        raise DataError(f"{os.fspath(path)} is not the file of an estimator; read a model by tr.load")
    found: Any = KINDS[described["class"]](
        **{name: _restored_parameter(name, value) for name, value in described["parameters"].items()}
    )
    vars(found).update(described["fitted"])
    if isinstance(getattr(found, "classes_", None), list):
        found.classes_ = np.array(found.classes_)
    found.module_ = module
    found.outputs_ = Outputs(*described["outputs"])
    if described["names"] is not None:
        found.feature_names_in_ = np.array(described["names"], dtype=object)
    return found


def _stored(value: Any) -> Any:
    """A parameter of an estimator for a file; None for a part of the model, which is already stored."""
    if callable(value) and not (isinstance(value, type) and issubclass(value, nn.Module)):
        return {"function": str(getattr(value, "__qualname__", type(value).__name__))}
    return None if isinstance(value, np.random.RandomState) else value


def _restored_parameter(name: str, value: Any) -> Any:
    return functools.partial(_lost, name, value["function"]) if isinstance(value, dict) and "function" in value else value


def _lost(parameter: str, function: str, *arguments: Any) -> Any:
    raise DataError(
        f"the file does not hold the code of the function {function}, which a fit needs; set it by set_params({parameter}=…)"
    )


def _check_horizon(horizon: int | None) -> None:
    if horizon is not None and not is_int(horizon):
        raise DataError(f"horizon must be a whole number of steps, at least 1, or None for a free run, not {horizon!r}")


def check_long_enough(table: Table, rows: int, reach: int) -> None:
    """Raise if less than two training rows are left after the histories.

    Raises
    ------
    DataError
        If fewer than two rows are left; the message names the longest session.
    """
    if rows >= 2:
        return
    longest, count = max(map(len, table.x)), len(table.x)
    where = "it has" if count == 1 else f"of its {count} sessions between gaps the longest has"
    hint = "; if the rows were chosen at random, choose them in order of time instead" if count > 5 else ""
    raise DataError(
        f"the series is too short: {where} n_samples = {longest}; with a longest delay of {reach}, at least "
        f"{counted(reach + 2, 'row')} in one session are needed, besides those for validation{hint}"
    )


def check_constant(values: Array, names: Any, what: str) -> None:
    """Raise if a column has the same value in all rows.

    Raises
    ------
    DataError
        If a column is constant; the message names the column.
    """
    same = [repr(name) for name, width in zip(names, np.ptp(values, axis=0), strict=True) if width == 0]
    if same:
        raise DataError(
            f"{what} has the same value in each row for training, in column {', '.join(same)}; "
            + ("leave the column out, for a constant says nothing about y" if what == "X" else "there is nothing to learn")
        )


def _one_session(x: Array, y: Array) -> Table:
    return Table([x], [y], [np.arange(len(y))], [0], [], [len(y)], "table", [None])


def _piece(values: Array, index: Any, names: Any, flat: bool) -> Any:
    return Table([], [], [np.arange(len(values))], [0], [], [len(values)], "table", [index]).restored([values], names, flat)


# -- the index of a forecast --------------------------------------------------------------------------


def _labels(index: Any) -> Mapping[str, Any]:
    """The index of the past for a file: its name, end and step; times as text, numbers as numbers."""
    if index is None or not len(index):
        return {"name": None, "end": None, "step": None}
    found: dict[str, Any] = {"name": None if index.name is None else str(index.name), "end": None, "step": None}
    tz = getattr(index, "tz", None)
    if zone := getattr(tz, "key", None) or getattr(tz, "zone", None):
        found["zone"] = zone
    times = times_of(index)
    if times is not None and hasattr(index, "to_timestamp"):
        return {**found, "end": str(index[-1]), "step": f"period {index.freqstr}"}
    if times is not None:
        usual = int(np.median(np.diff(times))) if len(index) > 1 else 1
        return {**found, "end": str(index[-1]), "step": frequency(index) or f"{usual}{index.unit}"}
    kind = getattr(index.dtype, "kind", "O")
    if kind in "iuf":
        number = float if kind == "f" else int
        return {**found, "end": number(index[-1]), "step": number(np.median(np.diff(index)) if len(index) > 1 else 1)}
    return found


def _index_of(labels: Mapping[str, Any], before: int, after: int) -> Any:
    """An index that ends or begins at the end of the past; None if the past has no index."""
    end, step = labels["end"], labels["step"]
    if end is None:
        return None
    import pandas as pd

    if isinstance(end, int):
        return pd.RangeIndex(end - (before - 1) * step, end + (after + 1) * step, step, name=labels["name"])
    if isinstance(end, float):
        numbers = end + step * np.arange(1 - before, after + 1)
        return pd.Index([float(f"{number:.12g}") for number in numbers], name=labels["name"])
    if step.startswith("period "):
        last = pd.Period(end, freq=step.removeprefix("period "))
        return pd.period_range(last - (before - 1), periods=before + after, freq=last.freq, name=labels["name"])
    elapsed = " days " in end
    make = pd.timedelta_range if elapsed else pd.date_range
    last = pd.Timedelta(end) if elapsed else pd.Timestamp(end)
    past = make(end=last if "zone" not in labels else last.tz_convert(labels["zone"]), periods=max(before, 1), freq=step)
    whole = make(past[0], periods=max(before, 1) + after, freq=step, name=labels["name"])
    return whole[max(before, 1) - before :]


def _check_follows(past: Any, index: Any, labels: Mapping[str, Any]) -> None:
    """Raise if the inputs of a forecast do not begin where the training data end."""
    if times_of(index) is None or times_of(past) is None:
        return
    due = _index_of(labels, 0, 1)[0]
    if index[0] != due:
        raise DataError(
            f"the training data end at {past[-1]}, so X must begin at {due}, not at {index[0]}; to forecast from another time, "
            "give the measurements before it as y_past, and X from the first row of y_past on"
        )
