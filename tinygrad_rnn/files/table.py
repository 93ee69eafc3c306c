"""Tables of numbers: CSV files."""

from __future__ import annotations

import csv

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .paths import AnyPath
from .text import read_text

__all__ = ["read_table"]


def read_table(path: AnyPath) -> npt.NDArray[np.float64]:
    """Read a CSV file of numbers, with or without a line of names at its top.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    ndarray, shape (rows, columns)

    Raises
    ------
    DataError
        If the file cannot be read, has no numbers, or a line differs in form from the others; the message has its number.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "spots.csv"
    ...     _ = path.write_text("year,number\\n1700,5\\n1701,11\\n")
    ...     read_table(path)
    array([[1700.,    5.],
           [1701.,   11.]])
    """
    found: list[list[float]] = []
    text = read_text(path)
    separator = next((mark for mark in ";\t" if mark in text.partition("\n")[0]), ",")
    rows = csv.reader(text.splitlines(), delimiter=separator)
    for row in rows:
        try:
            numbers = [float(cell) for cell in row]
        except ValueError:
            if not found and rows.line_num == 1:  # the names of the columns
                continue
            raise DataError(f"{path}, line {rows.line_num}: a row must have only numbers, not {','.join(row)!r:.60}") from None
        if not numbers:
            continue
        if found and len(numbers) != len(found[0]):
            raise DataError(
                f"{path}, line {rows.line_num}: the number of columns is {len(numbers)}, but {len(found[0])} in the lines "
                "before"
            )
        if not np.isfinite(numbers).all():
            raise DataError(f"{path}, line {rows.line_num}: a value is missing or infinite; fill it in, or leave the line out")
        found.append(numbers)
    if not found:
        raise DataError(f"{path} has no row of numbers; a row for each step is needed")
    return np.array(found)
