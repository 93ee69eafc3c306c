"""Tables: the X and y of estimators, cut into sessions; and results converted to the form of the given data."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_array, check_consistent_length, validate_data

from ..checks import no_such
from ..console import counted
from ..errors import DataError

__all__ = [
    "Outputs",
    "Session",
    "Table",
    "check_numbers",
    "frequency",
    "is_list",
    "label",
    "read_table",
    "times_of",
    "without_groups",
]

Array = npt.NDArray[Any]
GAP = 1.5
"""A time step longer than this multiple of the usual step is a gap."""


class Session(NamedTuple):
    """A part of a series without a gap.

    Attributes
    ----------
    series : object
        The value in the column of groups, or the number of the sequence in a list; 0 for a single series.
    start, end : object
        Labels of the first and the last row: times, or numbers of rows.
    steps : int
    """

    series: Any
    start: Any
    end: Any
    steps: int


@dataclass
class Table:
    """Sessions of X and y, and the way back to the original form of X.

    Attributes
    ----------
    x : list of ndarray, shape (steps, inputs)
        The inputs of each session.
    y : list of ndarray, shape (steps, outputs)
        The given outputs of each session, up to the first unknown value; empty if there is no y.
    rows : list of ndarray of int
        The rows of each session: row numbers of the table, or, for a list, of its concatenated sequences.
    series : list of int
        Number of the series of each session; sessions of one series are in the order of time.
    sessions : list of Session
    ends : list of int
        The row numbers at which the sequences of a list end; for a table, only its end.
    form : {"table", "list", "array"}
    indices : list
        The pandas index of the table, or of each sequence in a list; None if there is no index.
    """

    x: list[Array]
    y: list[Array]
    rows: list[Array]
    series: list[int]
    sessions: list[Session]
    ends: list[int]
    form: str
    indices: list[Any] = field(default_factory=list)

    def restored(self, parts: Sequence[Array], names: Sequence[Any] | None, flat: bool) -> Any:
        """Values of all sessions in the form of X: pandas for pandas, a list for a list, otherwise an array.

        Parameters
        ----------
        parts : sequence of ndarray, shape (steps, outputs)
            One for each session.
        names : sequence of str or None
            Names of the outputs, for pandas.
        flat : bool
            Whether the single output has no separate axis, as in y.
        """
        whole = np.concatenate(list(parts))[np.argsort(np.concatenate(self.rows), kind="stable")]
        pieces = np.split(whole, self.ends[:-1])
        found = [_in_pandas(piece, index, names, flat) for piece, index in zip(pieces, self.indices, strict=True)]
        if self.form == "table":
            return found[0]
        return np.stack(found) if self.form == "array" else found


def _in_pandas(values: Array, index: Any, names: Sequence[Any] | None, flat: bool) -> Any:
    shaped = values[:, 0] if flat else values
    if index is None:
        return shaped
    import pandas as pd

    if flat:
        return pd.Series(shaped, index=index, name=names[0] if names else None)
    return pd.DataFrame(shaped, index=index, columns=list(names) if names else None)


def read_table(estimator: Any, X: Any, y: Any, *, fitting: bool, partial: bool = False) -> Table:
    """Check X and y, and cut them into sessions.

    Parameters
    ----------
    estimator : BaseEstimator
        An estimator with the parameter `groups`. When fitting, `n_features_in_` and similar attributes are set; otherwise
        they are compared.
    X : DataFrame, array, list of sequences, or None
        None if there are no inputs.
    y : Series, DataFrame, array, list of sequences, or None
    fitting : bool
    partial : bool
        Whether y may end before X ends, or be NaN from some row on, because y has only the measurements so far.

    Raises
    ------
    DataError
        If a value, a name, a time or a length is not valid.
    """
    if isinstance(y, str):
        raise DataError(f"y must be the measured values, such as df[{y!r}], not the name {y!r}")
    if X is None and y is None:
        raise DataError("X and y are both missing; give the inputs as X, or for a series without inputs only y")
    if is_list(X, y):
        found = _read_list(estimator, X, y, fitting, partial)
    else:
        found = _read_series(estimator, X, y, fitting, partial)
    if fitting:
        _tell_gaps(found)
    return found


def _read_series(estimator: Any, X: Any, y: Any, fitting: bool, partial: bool) -> Table:
    """One table, which has one series, or several by a column of groups, as sessions."""
    labels = None
    groups = estimator.groups
    if groups is not None:
        X, labels = without_groups(X, groups)
    inputs = _inputs(estimator, X, len(y) if X is None else None, fitting)
    index = getattr(y if X is None else X, "index", None)
    index = index if _is_pandas(y if X is None else X) else None
    if index is not None and index.nlevels > 1:
        raise DataError(
            f"the index has {index.nlevels} levels, {', '.join(map(repr, index.names))}, and the index of a series has one: "
            "the times, or the numbers of the rows. For several series, make a column of the level that names them by "
            "reset_index(level=…), and give it as groups="
        )
    count = len(inputs)
    _check_finite(inputs, _names_of(X), index, "X")
    outputs = None
    if y is not None:
        outputs = _outputs(estimator, y, fitting)
        _check_same_start(index, getattr(y, "index", None) if _is_pandas(y) else None, len(outputs), count, partial)
        if partial:
            outputs = np.concatenate([outputs, np.full((count - len(outputs), outputs.shape[1]), np.nan)])
        else:
            check_consistent_length(inputs, outputs)
            _check_finite(outputs, _names_of(y), index, "y")
    found = Table([], [], [], [], [], [count], "table", [index])
    names: list[Any] = [0] if labels is None else list(dict.fromkeys(labels.tolist()))
    for number, name in enumerate(names):
        rows = np.arange(count) if labels is None else np.flatnonzero(labels == name)
        for part in _cut_at_gaps(rows, index, None if labels is None else name):
            found.rows.append(part)
            found.x.append(inputs[part])
            found.series.append(number)
            first, last = (int(part[0]), int(part[-1])) if index is None else (index[part[0]], index[part[-1]])
            found.sessions.append(Session(name, first, last, len(part)))
            if outputs is not None:
                found.y.append(_measured(outputs[part], partial))
    return found


def is_list(X: Any, y: Any) -> bool:
    """Whether X, or y without inputs, has several series: a list of them, or an array with three axes.

    Examples
    --------
    >>> is_list(None, [np.zeros(5), np.zeros(7)]), is_list(np.zeros((5, 1)), np.zeros(5)), is_list(np.zeros((2, 5, 1)), None)
    (True, False, True)
    """
    if X is not None:
        return _is_list(X) or getattr(X, "ndim", 0) == 3
    return _is_list(y) or (isinstance(y, (list, tuple)) and len(y) > 0 and isinstance(y[0], np.ndarray))


def _is_list(data: Any) -> bool:
    """Whether data are a list of sequences, not a table."""
    return isinstance(data, (list, tuple)) and len(data) > 0 and (_is_pandas(data[0]) or np.ndim(data[0]) >= 2)


def _is_pandas(data: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(data, (pandas.DataFrame, pandas.Series))


def _names_of(data: Any) -> list[Any] | None:
    """Column names of a frame or a series; None for an array."""
    if not _is_pandas(data):
        return None
    return list(data.columns) if hasattr(data, "columns") else [data.name]


# -- sequences ----------------------------------------------------------------------------------


def _read_list(estimator: Any, X: Any, y: Any, fitting: bool, partial: bool) -> Table:
    """Sequences as sessions, from a list or a 3-d array (sequences, time, features)."""
    if estimator.groups is not None:
        raise DataError(
            f"groups={estimator.groups!r} names a column of a table, but X is a list of sequences; leave groups out"
        )
    given = y if X is None else X
    form = "list" if _is_list(given) else "array"
    if y is not None and len(y) != len(given):
        raise DataError(f"X has {counted(len(given), 'sequence')}, but y has {len(y)}")
    found = Table([], [], [], [], [], [], form)
    if hasattr(y, "iloc"):
        y = y.to_numpy()
    one_value = y is not None and np.ndim(y[0]) == 0
    if one_value and not estimator.takes_one_value:
        raise DataError(f"y has one value for each sequence, but {type(estimator).__name__} needs one for each step")
    end = 0
    for i, sequence in enumerate(given):
        own = None if y is None or one_value else y[i]
        try:
            if own is not None and (len(own) > len(sequence) if partial else len(own) != len(sequence)):
                raise DataError(f"it has {counted(len(sequence), 'step')} in X, but {len(own)} in y")
            part = _read_series(estimator, None if X is None else sequence, own, fitting and i == 0, partial)
        except ValueError as error:
            raise DataError(f"sequence {i}: {error}") from None
        if one_value:  # a sequence is whole, with or without gaps
            part.x, part.rows, part.sessions = [np.concatenate(part.x)], [np.concatenate(part.rows)], part.sessions[:1]
            part.y = [np.array([[float(y[i])]])]
            _check_finite(part.y[0], None, None, f"y of sequence {i}")
        found.x += part.x
        found.y += part.y
        found.rows += [rows + end for rows in part.rows]
        found.series += [i] * len(part.x)
        found.sessions += [session._replace(series=i) for session in part.sessions]
        found.indices += part.indices
        found.ends.append(end := end + len(sequence))
    if fitting and one_value:
        estimator.outputs_ = Outputs(None, 1, True, True)
    return found


# -- tables ---------------------------------------------------------------------------------------


class Outputs(NamedTuple):
    """The form of y when an estimator was fitted.

    Attributes
    ----------
    names : list or None
        Names of the columns, for pandas.
    size : int
        Number of columns.
    flat : bool
        Whether y had only one axis.
    one_value : bool
        Whether y had one value for each sequence instead of one value for each step.
    """

    names: list[Any] | None
    size: int
    flat: bool
    one_value: bool = False


def without_groups(X: Any, groups: Any) -> tuple[Any, Array]:
    """X without its column of groups, and the column."""
    if X is None:
        raise DataError(f"groups={groups!r} is a column of X, and X is None; give a table with this column")
    if _is_pandas(X):
        if groups not in X.columns:
            raise DataError(f"groups: {no_such('column', groups, X.columns)}")
        if (unknown := X[groups].isna().to_numpy()).any():
            row = int(unknown.argmax())
            raise DataError(f"column {groups!r} of the groups has no value in row {row}{label(X.index, row)}")
        return X.drop(columns=groups), X[groups].to_numpy()
    array = np.asarray(X)
    if not isinstance(groups, (int, np.integer)) or array.ndim != 2 or not -array.shape[1] <= groups < array.shape[1]:
        raise DataError(f"groups must be the number of a column of X, an array of shape {array.shape}, not {groups!r}")
    return np.delete(array, groups, axis=1), array[:, groups]


def _inputs(estimator: Any, X: Any, count: int | None, fitting: bool) -> Array:
    if X is None:
        if fitting:
            estimator.n_features_in_ = 0
            if hasattr(estimator, "feature_names_in_"):
                del estimator.feature_names_in_
        elif estimator.n_features_in_ and estimator.reads_inputs:
            raise DataError(f"X is missing: {type(estimator).__name__} was fitted with {estimator.n_features_in_} inputs")
        return np.empty((count or 0, 0))
    if not fitting and estimator.n_features_in_ == 0:
        if np.size(X):
            raise DataError(f"{type(estimator).__name__} was fitted without inputs; give None for X")
        return np.empty((len(X), 0))
    check_numbers(X, "X")
    if _is_pandas(X) and hasattr(X, "columns") and not len(X.columns) and len(X):  # a frame with only an index of times
        if fitting:
            estimator.n_features_in_ = 0
        return np.empty((len(X), 0))
    options: dict[str, Any] = {"reset": fitting, "dtype": np.float64, "ensure_all_finite": False}
    return validate_data(estimator, X, **options)


def _outputs(estimator: Any, y: Any, fitting: bool) -> Array:
    check_numbers(y, "y")
    array = check_array(y, ensure_2d=False, dtype=np.float64, ensure_all_finite=False, input_name="y", ensure_min_samples=0)
    flat = array.ndim == 1
    array = array[:, None] if flat else array
    if fitting:
        estimator.outputs_ = Outputs(_names_of(y), array.shape[1], flat)
    elif array.shape[1] != estimator.outputs_.size:
        raise DataError(
            f"y has {counted(array.shape[1], 'column')}, but {type(estimator).__name__} was fitted to {estimator.outputs_.size}"
        )
    return array


def _numbers(data: Any, what: str) -> Array:
    """A sequence as an array of floats."""
    check_numbers(data, what)
    return np.asarray(data, dtype=np.float64)


def check_numbers(data: Any, what: str) -> None:
    """Raise if a column of a frame, or an array, has text or times; the message names the row and the value."""
    if not _is_pandas(data):
        return
    frame = data if hasattr(data, "columns") else data.to_frame()
    for place, name in enumerate(frame.columns):
        column = frame.iloc[:, place]
        if getattr(column.dtype, "kind", "O") in "biuf":
            continue
        if getattr(column.dtype, "kind", "O") == "M":
            raise DataError(f"column {name!r} of {what} has times; make it the index: df.set_index({name!r})")
        for row, value in enumerate(column):
            try:
                float(value)
            except (TypeError, ValueError):
                if value is None or value is getattr(sys.modules.get("pandas"), "NA", None):
                    continue
                raise DataError(
                    f"column {name!r} of {what} must have numbers, but row {row}{label(frame.index, row)} has {value!r:.40}; "
                    "leave the column out, or if it has times, make it the index by set_index and pd.to_datetime"
                ) from None


def label(index: Any, row: int) -> str:
    """The label of a row, if the label is not the row's number."""
    return "" if index is None or index[row] == row else f" ({index[row]})"


def _check_finite(array: Array, names: Sequence[Any] | None, index: Any, what: str) -> None:
    bad = ~np.isfinite(array)
    if not bad.any():
        return
    said = []
    for k in np.flatnonzero(bad.any(axis=0)):
        rows = np.flatnonzero(bad[:, k])
        kind = "NaN" if np.isnan(array[rows, k]).all() else "inf" if np.isinf(array[rows, k]).all() else "NaN or inf"
        column = f"column {k if names is None else repr(names[int(k)])}" if what == "X" or array.shape[1] > 1 else "it"
        said.append(f"{column} has {kind} in {counted(len(rows), 'row')}, first in row {rows[0]}{label(index, int(rows[0]))}")
    more = f"; and {len(said) - 5} more columns" if len(said) > 5 else ""
    raise DataError(
        f"{what} has values that are missing or infinite: {'; '.join(said[:5])}{more}. Fill them in, such as by interpolation; "
        "or leave these rows out of X and y, such as by dropna: the series is then cut at the gaps of its index"
    )


def _check_same_start(index: Any, own: Any, rows: int, count: int, partial: bool) -> None:
    """Raise if a history is longer than X, or if the labels of y and X differ."""
    if partial and rows > count:
        raise DataError(
            f"y_past has {counted(rows, 'row')}, but X has {count}: X must have the inputs of the past, for which y_past has "
            "measurements, and then those of the future, such as pd.concat([X_past, X_future])"
        )
    if index is None or own is None or own[:count].equals(index[:rows]):
        return
    row = next(i for i, (mine, other) in enumerate(zip(index, own, strict=False)) if mine != other)
    raise DataError(
        f"X and y must have the same labels, but row {row} has {index[row]} in X and {own[row]} in y. With y_past, X has the "
        "inputs of the past and then those of the future, such as pd.concat([X_past, X_future])"
    )


def _measured(values: Array, partial: bool) -> Array:
    """The values before the first missing value."""
    if not partial:
        return values
    known = np.asarray(np.isfinite(values).all(axis=1))
    count = int(known.sum())
    if known[count:].any():
        raise DataError(
            f"y_past has NaN in row {int(np.argmin(known))} and values after it; only rows at its end may be missing"
        )
    return values[:count]


# -- times -----------------------------------------------------------------------------------------


def times_of(index: Any) -> npt.NDArray[np.int64] | None:
    """The times of a pandas index as integers; None if the index has no times."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(index, (pandas.DatetimeIndex, pandas.TimedeltaIndex, pandas.PeriodIndex)):
        return None
    return np.asarray(index.astype("int64"))


def frequency(index: Any) -> str | None:
    """The step of regular times, as pandas writes it, such as ``"h"`` or ``"MS"``; None if there is none."""
    import pandas as pd

    if not isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex)) or len(index) < 3:
        return None
    with warnings.catch_warnings():  # later versions of pandas will return an offset instead of a text
        warnings.simplefilter("ignore")
        found = pd.infer_freq(index)
    if found is None and isinstance(index, pd.DatetimeIndex) and index.day_of_week.max() < 5:
        return "B" if index.to_series().diff().median() == pd.Timedelta(days=1) else None  # with holidays
    return getattr(found, "freqstr", found)


def _cut_at_gaps(rows: Array, index: Any, name: Any) -> list[Array]:
    """Rows of one series, cut where the time step is longer than usual."""
    times = times_of(index)
    kind = "time" if times is not None else "index"
    if times is None and getattr(getattr(index, "dtype", None), "kind", "") in ("i", "u", "f"):
        times = np.asarray(index, dtype=np.float64 if index.dtype.kind == "f" else np.int64)
    if times is None or len(rows) < 2:
        return [rows]
    steps = np.diff(times[rows])
    where = "" if name is None else f" of the series {name!r}"
    if (steps <= 0).any():
        at = int(np.argmax(steps <= 0))
        first, second, row = index[rows[at]], index[rows[at + 1]], rows[at + 1]
        other = "if the table has several series, name the column that tells them apart as groups="
        if hasattr(first, "tz_localize") and first.hour in (1, 2) and (first - second).total_seconds() <= 3600:
            other = "if a clock was set back to winter time here, use times in UTC"
        if kind == "index":
            other += "; if the index is not the order of time, reset_index(drop=True)"
        if first == second:
            raise DataError(
                f"two rows{where} have the {kind} {second}, the second of them is row {row}; keep one, "
                f"df[~df.index.duplicated()]; {other}"
            )
        raise DataError(
            f"the rows{where} are not in order: {second} comes after {first}, in row {row}; sort them, df.sort_index(); {other}"
        )
    step = frequency(index[rows])
    if step == "B":
        days = index[rows].tz_localize(None).to_numpy().astype("datetime64[D]")
        steps = np.busday_count(days[:-1], days[1:])
    elif step is not None:
        return [rows]  # months have different lengths
    usual = np.median(steps)
    if np.mean(abs(steps - usual) < usual / 4) < 0.5:
        found = index[rows].to_series().diff()
        raise DataError(
            f"the {kind} is irregular: steps between rows{where} are from {found.min()} to {found.max()}. A model of a series "
            "needs equal steps: resample, such as by df.resample('h').mean(). If the rows were chosen at random, choose them "
            "in order of time instead"
        )
    return np.split(rows, np.flatnonzero(steps > GAP * usual) + 1)


def _tell_gaps(table: Table) -> None:
    gaps = [
        f"{one.end} to {other.start}"
        for one, other, a, b in zip(table.sessions, table.sessions[1:], table.series, table.series[1:], strict=False)
        if a == b
    ]
    if gaps:
        shown = "; ".join(gaps[:5]) + (f"; and {len(gaps) - 5} more" if len(gaps) > 5 else "")
        warnings.warn(
            f"the index has {counted(len(gaps), 'gap')}, and the series is cut there into sessions: {shown}", stacklevel=4
        )
