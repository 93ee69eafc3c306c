"""A CSV file of a plant or a series as a table: its columns, its gaps, and its missing values."""

from __future__ import annotations

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
from .tables import check_numbers, frequency, label

__all__ = ["CsvSeries", "predict_csv", "read_csv_series"]

TIME_NAMES = ("time", "date", "datetime", "timestamp", "t")
"""Names of columns that contain times, without the unit, in upper or lower case."""


DECIMAL_COMMA = re.compile(r"(^|;) *[+-]?\d+,\d+ *(;|\r?$)", re.MULTILINE)
"""A number with a decimal comma, in a table whose columns are separated by semicolons."""


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

    Columns are separated by commas, semicolons or tabs. With semicolons, numbers may have a decimal comma. A column named
    time, date, datetime, timestamp or t, with or without a unit, has the times; times that are numbers are in seconds.

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
    ['3 rows; 1 at the end has no level, and is to be forecast', 'time: 0 days 00:00:00 to 0 days 00:00:10, every 5s']
    """
    asked = [target, *inputs]
    if repeated := [name for name in asked if asked.count(name) > 1]:
        raise DataError(
            f"column {repeated[0]!r} is named twice among target and inputs; name it once. The past of the target is an input "
            "anyway"
        )
    frame, columns = _read(path, asked, time)
    table = _as_numbers(frame[asked], path)
    time = table.index.name
    end = _measured(table[target])
    if not end:
        raise DataError(f"column {target!r}, the target, is empty")
    found = [_rows(len(table), len(table) - end, target)]
    table, left_out = _without_missing(table, end, drop_missing)
    found += left_out
    if time is not None:
        step = frequency(table.index)
        found.append(f"{time}: {table.index[0]} to {table.index[-1]}" + (f", every {step}" if step else ""))
    unused = [name for name in columns if name not in (*asked, time)]
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
        The column of the times, as for :func:`read_csv_series`.
    drop_missing : bool
        Whether rows with missing values are left out, as for :func:`read_csv_series`.

    Returns
    -------
    DataFrame
        A table with the target, if the file has it, and a column ``predicted``.

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
    inputs = list(getattr(model, "feature_names_in_", ())) if model.reads_inputs else []
    frame, columns = _read(path, inputs, time)
    if names[0] not in columns:
        return pandas.DataFrame({"predicted": model.predict(_as_numbers(frame[inputs], path))})
    table = _as_numbers(frame[[*inputs, names[0]]], path)
    later = len(table) - _measured(table[names[0]])
    table, _ = _without_missing(table, len(table) - later, drop_missing)
    m = len(table) - later
    X, y = table[inputs], table[names[0]]
    measured = model.predict(X.iloc[:m], horizon=horizon or 1, y_past=y.iloc[:m]) if m else y.iloc[:0]
    rest = model.predict(X, y_past=y.iloc[:m] if m else None).iloc[m:] if m < len(X) else y.iloc[:0]
    return pandas.DataFrame({names[0]: y, "predicted": np.concatenate([measured, rest])}, index=X.index)


def _read(path: str | os.PathLike[str], asked: Sequence[str], time: str | None) -> tuple[Any, list[str]]:
    """A table whose index has the times, if it has a column of times; and the names of its columns in the file."""
    pandas = optional("pandas", "sklearn", "tables need")
    text = read_text(path, 200_000_000).lstrip("\ufeff")
    separator = max(",;\t", key=text.partition("\n")[0].count)
    decimal = "," if separator == ";" and DECIMAL_COMMA.search(text) else "."
    try:
        frame = pandas.read_csv(io.StringIO(text), sep=separator, decimal=decimal, skipinitialspace=True)
    except (pandas.errors.ParserError, pandas.errors.EmptyDataError, ValueError) as error:
        raise DataError(f"cannot read {os.fspath(path)} as a table: {error}") from None
    frame.columns = columns = [str(name).strip() for name in frame.columns]
    for name in [*asked, *([] if time is None else [time])]:
        if name not in columns:
            raise DataError(f"{os.fspath(path)}: {no_such('column', name, columns)}")
    time = time or next((name for name in columns if name not in asked and _is_time(name)), None)
    if time is not None:
        frame = frame.set_index(_times(pandas, frame[time], path))
        frame.index.name = time
    return frame, columns


def _as_numbers(table: Any, path: str | os.PathLike[str]) -> Any:
    check_numbers(table, Path(path).name)
    return table.astype(float)


def _measured(column: Any) -> int:
    """The number of rows up to the last row with a value."""
    known = np.flatnonzero(column.notna())
    return int(known[-1]) + 1 if len(known) else 0


def _without_missing(table: Any, end: int, drop: bool) -> tuple[Any, list[str]]:
    """The table without the rows before `end` with missing values, and a text with the number of rows left out."""
    missing = ~np.isfinite(table.iloc[:end]).all(axis=1)
    if not missing.any():
        return table, []
    where = _missing(table.iloc[:end], int(missing.sum()))
    timed = table.index.name is not None
    if not timed:
        raise DataError(f"{where}. Fill them in: rows can be left out only if a column of times shows where they are missing")
    if not drop:
        raise DataError(f"{where}. Fill them in, or leave these rows out by drop_missing=True, which cuts the series there")
    kept = np.append(~missing.to_numpy(), np.ones(len(table) - end, bool))
    return table[kept], [f"{where}; left out"]


def _is_time(name: str) -> bool:
    words = name.lower().replace("[", " ").replace("(", " ").split()
    return bool(words) and words[0] in TIME_NAMES


def _times(pandas: Any, column: Any, path: Any) -> Any:
    """A column of times as an index."""
    if column.isna().any():
        row = int(column.isna().to_numpy().argmax())
        raise DataError(f"column {column.name!r}, the times, is empty in row {row}; fill the time in, or leave the row out")
    try:
        if column.dtype.kind in "iuf":
            return pandas.TimedeltaIndex(pandas.to_timedelta(column, unit="s"))
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # pandas finds no single format for the column
            return pandas.DatetimeIndex(pandas.to_datetime(column))
    except (ValueError, TypeError, OverflowError, UserWarning) as error:
        first = str(error).splitlines()[0]
        raise DataError(
            f"column {column.name!r} of {os.fspath(path)} must have times in one format, such as 2026-03-01 12:00; pandas "
            f"says: {first}"
        ) from None


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
