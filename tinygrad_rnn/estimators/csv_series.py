"""A CSV file of a plant or a series as a table: its columns, its gaps, and its missing values."""

from __future__ import annotations

import contextlib
import io
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..checks import no_such
from ..console import counted
from ..errors import DataError
from ..extras import optional
from ..files import read_text
from .series import SeriesRegressor
from .tables import check_numbers, frequency, label

__all__ = ["CsvSeries", "predict_csv", "read_csv_series"]

TIME_NAMES = ("time", "date", "datetime", "timestamp")
"""Names of columns that contain times, without the unit, in upper or lower case; and t, since T is a temperature."""


DATE = re.compile(r" *\d+[-./]\d+[-./]\d")
"""The beginning of a text with a date."""
DECIMAL_COMMA = re.compile(r"(^|[;\t]) *\"?[+-]?\d+,\d+(e[+-]?\d+)?\"? *([;\t]|$)", re.MULTILINE | re.IGNORECASE)
"""A number with a decimal comma, in a table whose columns are separated by semicolons or tabs."""


class CsvSeries(NamedTuple):
    """The contents of a CSV file: a target series and input series with their index.

    Attributes
    ----------
    inputs : DataFrame
        The inputs of all rows; a table without columns if the model has no inputs. Its index has the times.
    target : Series
        The target; NaN in rows at the end in which only the inputs are known.
    found : list of str
        A description of the file's contents, in lines of text.

    Examples
    --------
    >>> import pandas as pd
    >>> CsvSeries(pd.DataFrame({"pump": [1.0, 2.0]}), pd.Series([3.0, None], name="level"), []).measured
    1
    """

    inputs: Any
    target: Any
    found: list[str]

    @property
    def measured(self) -> int:
        """The number of rows before the first row without a target."""
        return int(self.target.notna().sum())


def read_csv_series(
    path: str | os.PathLike[str],
    target: str,
    inputs: Sequence[str] = (),
    time: str | None = None,
    drop_missing: bool = False,
) -> CsvSeries:
    r"""Read a table with a row for each step; its first line names the columns.

    Columns are separated by commas, semicolons or tabs. With semicolons or tabs, numbers may have a decimal comma.

    A column named time, date, datetime, timestamp or t, with or without a unit, has the times: texts, or numbers such as
    seconds. Without such a column, the first column has the times if it has dates. If the times of day stand apart from the
    dates, in the columns date and time, both columns are read.

    Parameters
    ----------
    path : str or path
        The file.
    target : str
        The column to predict. Its last rows may be empty, if their inputs are known in advance.
    inputs : sequence of str
    time : str, optional
        The column of the times, if it has another name.
    drop_missing : bool
        Whether rows with missing values are left out, which makes gaps in the times.

    Raises
    ------
    DataError
        If there is no such file or column, or if a value is missing or no number; the message names the row.

    Examples
    --------
    >>> import tempfile
    >>> from tinygrad_rnn.files import write_bytes
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/plant.csv"
    ...     _ = write_bytes(path, b"time,valve,level\n0,0.1,2\n5,0.2,3\n10,0.2,\n")
    ...     series = read_csv_series(path, "level", ["valve"])
    >>> series.measured, len(series.inputs)
    (2, 3)
    >>> series.found
    ['3 rows; 1 at the end has no level, and is to be forecast', 'time: 0 to 10']
    """
    asked = [target, *inputs]
    if repeated := [name for name in asked if asked.count(name) > 1]:
        raise DataError(
            f"column {repeated[0]!r} is named twice among target and inputs; name it once. The past of the target is an input "
            "anyway"
        )
    frame, unused = _read(path, asked, time)
    table = _as_numbers(frame[asked], path)
    time = table.index.name
    end = _measured(table[target])
    if not end:
        raise DataError(f"column {target!r}, the target, is empty")
    found = [_rows(len(table), len(table) - end, target)]
    table, left_out = _without_missing(table, [target], end, drop_missing)
    found += left_out
    if time is not None:
        step = frequency(table.index)
        found.append(f"{time}: {table.index[0]} to {table.index[-1]}" + (f", every {step}" if step else ""))
    if unused:
        found.append(f"not used: {', '.join(unused)}")
    return CsvSeries(table[list(inputs)], table[target], found)


def predict_csv(
    model: Any,
    path: str | os.PathLike[str],
    horizon: int | None = None,
    time: str | None = None,
    drop_missing: bool = False,
) -> Any:
    r"""Predict the target of a fitted model in each row of a table.

    Parameters
    ----------
    model : estimator
        An estimator that was fitted to a table with column names.
    path : str or path
        A CSV file with the columns of the inputs, and the column of the target for the rows in which it was measured.
    horizon : int, optional
        Number of steps ahead in the rows with a measured target; 1 if not given. In later rows the model runs freely.
    time : str, optional
        The column of the times, as for :func:`read_csv_series`; if not given, the column in the table of the fit.
    drop_missing : bool
        Whether rows with missing values are left out, as for :func:`read_csv_series`.

    Returns
    -------
    DataFrame
        A table with the target, if the file has it, and a column ``predicted``; for a model of several targets, a column
        for each.

    Raises
    ------
    DataError
        If a column is missing, or a value is missing or no number.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from tinygrad_rnn.estimators import LastValueRegressor
    >>> from tinygrad_rnn.files import write_bytes
    >>> model = LastValueRegressor().fit(None, pd.Series([1.0, 2.0], name="level"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/plant.csv"
    ...     _ = write_bytes(path, b"level,other\n5,0\n7,0\n,0\n")
    ...     predict_csv(model, path)
       level  predicted
    0    5.0        5.0
    1    7.0        5.0
    2    NaN        7.0
    """
    pandas = optional("pandas", "sklearn", "tables need")
    names = model.outputs_.names
    if names is None or (model.reads_inputs and model.n_features_in_ and not hasattr(model, "feature_names_in_")):
        raise DataError(
            "the model was fitted to arrays without names of columns, so columns of a table cannot be found by name; call "
            "model.predict in Python, or fit the model to a pandas DataFrame"
        )
    if model.groups is not None:
        raise DataError(f"the model was fitted to several series, by the column {model.groups!r}; call model.predict in Python")
    inputs = list(getattr(model, "feature_names_in_", ())) if model.reads_inputs else []
    frame, _ = _read(path, inputs, time, names, model.past_["name"])
    targets = [name for name in names if name in frame.columns]
    shown = ["predicted"] if len(names) == 1 else [f"{name} predicted" for name in names]
    if len(targets) < len(names) or not isinstance(model, SeriesRegressor):  # a classifier has no use for earlier classes
        found = model.predict(_as_numbers(frame[inputs], path))
        predicted = pandas.DataFrame(np.reshape(found, (len(found), -1)), index=found.index, columns=shown)
        return pandas.concat([frame[targets], predicted], axis=1)
    table = _as_numbers(frame[list(dict.fromkeys([*inputs, *targets]))], path)
    later = len(table) - _measured(table[targets])
    table, _ = _without_missing(table, targets, len(table) - later, drop_missing)
    m = len(table) - later
    X, y = table[inputs], table[targets] if len(names) > 1 or not model.outputs_.flat else table[names[0]]
    measured = model.predict(X.iloc[:m], horizon=horizon or 1, y_past=y.iloc[:m]) if m else y.iloc[:0]
    rest = model.predict(X, y_past=y.iloc[:m] if m else None).iloc[m:] if m < len(X) else y.iloc[:0]
    values = np.concatenate([measured, rest]).reshape(len(table), -1)
    return pandas.concat([table[targets], pandas.DataFrame(values, index=table.index, columns=shown)], axis=1)


def _read(
    path: str | os.PathLike[str], asked: Sequence[str], time: str | None, targets: Sequence[str] = (), likely: str | None = None
) -> tuple[Any, list[str]]:
    """A table whose index has the times, if it has a column of times; and the names of columns without a use.

    `likely` is a column that has the times, if it is there and no other is given.
    """
    pandas = optional("pandas", "sklearn", "tables need")
    text = read_text(path, 200_000_000).lstrip("\ufeff")
    first, _, rest = text.partition("\n")
    if first.lower().startswith("sep="):  # a line for Excel
        text, first = rest, rest.partition("\n")[0]
    separator = max(",;\t", key=re.sub('"[^"]*"', "", first).count)
    decimal = "," if separator != "," and DECIMAL_COMMA.search(text) else "."
    try:
        with warnings.catch_warnings():  # rows with more values than the first line has names
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            frame = pandas.read_csv(
                io.StringIO(text), sep=separator, decimal=decimal, skipinitialspace=True, index_col=False, low_memory=False
            )
    except pandas.errors.ParserWarning:
        raise DataError(f"{os.fspath(path)}: rows have more values than the first line has names of columns") from None
    except (pandas.errors.ParserError, pandas.errors.EmptyDataError, ValueError) as error:
        raise DataError(f"cannot read {os.fspath(path)} as a table: {error}") from None
    frame.columns = columns = [str(name).strip() for name in frame.columns]
    for name in [*asked, *([] if time is None else [time])]:
        if name not in columns:
            raise DataError(f"{os.fspath(path)}: {no_such('column', name, columns)}")
    free = [name for name in columns if name not in asked and name not in targets]
    dates = [name for name in free if columns.index(name) == 0 and len(frame) and DATE.match(str(frame[name].iloc[0]))]
    time = time or (
        likely if likely in free else next((name for name in free if _time_word(name)), None) or next(iter(dates), None)
    )
    read = [] if time is None else [time]
    if time is not None:
        if _time_word(time) == "date":
            read += [name for name in free if _time_word(name) == "time" and frame[name].dtype.kind not in "iuf"][:1]
        frame.index = _times(pandas, frame[read], path)
        frame.index.name = "time" if time.startswith("Unnamed: ") else time
    return frame, [name for name in free if name not in read]


def _as_numbers(table: Any, path: str | os.PathLike[str]) -> Any:
    check_numbers(table, Path(path).name)
    return table.astype(float)


def _measured(columns: Any) -> int:
    """The number of rows up to the last row with a value."""
    known = np.flatnonzero(columns.notna().to_numpy().reshape(len(columns), -1).any(axis=1))
    return int(known[-1]) + 1 if len(known) else 0


def _without_missing(table: Any, targets: Sequence[str], end: int, drop: bool) -> tuple[Any, list[str]]:
    """The table without rows with missing values, and a text with their number; from row `end` on, targets are unknown."""
    needed = table.assign(**{name: table[name].where(np.arange(len(table)) < end, 0.0) for name in targets})
    missing = ~np.isfinite(needed).all(axis=1)
    if not missing.any():
        return table, []
    where = _missing(needed, int(missing.sum()))
    timed = table.index.name is not None
    if not timed:
        raise DataError(f"{where}. Fill them in: rows can be left out only if a column of times shows where they are missing")
    if not drop:
        raise DataError(f"{where}. Fill them in, or leave these rows out by drop_missing=True, which cuts the series there")
    return table[~missing], [f"{where}; left out"]


def _time_word(name: str) -> str | None:
    """The first word of a column's name, if it says that the column has times."""
    word = next(iter(name.replace("[", " ").replace("(", " ").split()), "")
    return word.lower() if word == "t" or word.lower() in TIME_NAMES else None


def _times(pandas: Any, columns: Any, path: Any) -> Any:
    """A column of times, or of dates and one of times of day, as an index; numbers stay numbers."""
    for name in columns.columns:
        if (empty := columns[name].isna()).any():
            row = int(empty.to_numpy().argmax())
            raise DataError(f"column {name!r}, the times, is empty in row {row}; fill the time in, or leave the row out")
    column = columns.iloc[:, 0]
    if column.dtype.kind in "iuf":
        return pandas.Index(column)
    if columns.shape[1] > 1:
        column = column.astype(str) + " " + columns.iloc[:, 1].astype(str)
    sample = [str(text) for text in column.iloc[:: max(len(column) // 20, 1)]]
    order = (True, False) if sample and "." in sample[0][:6] else (False, True)  # 30.3.2024 begins with the day
    found: list[Any] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        guesses = dict.fromkeys(pandas.tseries.api.guess_datetime_format(text, first) for first in order for text in sample)
        formats = [{"format": guess} for guess in guesses if guess is not None]
        mixed = [{"format": "mixed", "dayfirst": first} for first in order]
        for readings in ([{"format": "ISO8601"}], [{"format": "ISO8601", "utc": True}], formats, mixed):
            for reading in readings if not found else []:
                with contextlib.suppress(ValueError, TypeError, OverflowError):
                    found.append(pandas.DatetimeIndex(pandas.to_datetime(column, **reading)))
    if not found:
        bad = pandas.to_datetime(column, format="mixed", utc=True, errors="coerce").isna().to_numpy()
        row = int(bad.argmax())
        raise DataError(
            f"column {column.name!r} of {os.fspath(path)} has {column.iloc[row]!r:.40} in row {row}, which is no time; "
            "write times such as 2026-03-02 08:00:16"
        )
    return min(found, key=_irregular)  # 2.3. and 3.2. cannot be told apart alone, but in a series only one has equal steps


def _irregular(times: Any) -> int:
    """The number of steps that differ from the usual step."""
    steps = np.diff(times.asi8)
    return int((steps != np.median(steps)).sum()) if len(steps) else 0


def _rows(count: int, later: int, target: str) -> str:
    has, is_ = ("has", "is") if later == 1 else ("have", "are")
    return counted(count, "row") + (f"; {later} at the end {has} no {target}, and {is_} to be forecast" if later else "")


def _missing(table: Any, count: int) -> str:
    """A text that names the columns with missing or infinite values, and the first row of each."""
    said = []
    for name in table.columns:
        rows = np.flatnonzero(~np.isfinite(table[name].to_numpy()))
        if len(rows):
            first = int(rows[0])
            said.append(f"{name!r} in {counted(len(rows), 'row')}, first in row {first}{label(table.index, first)}")
    return f"{counted(count, 'row')} {'has' if count == 1 else 'have'} no number: {'; '.join(said)}"
