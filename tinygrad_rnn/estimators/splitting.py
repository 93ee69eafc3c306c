"""Splitting: a table is divided into an earlier part for training and a later part for validation."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy.typing as npt

from ..errors import DataError
from .tables import Table

__all__ = ["Part", "split_in_time"]

Array = npt.NDArray[Any]
MANY = 5
"""Smallest number of series of which the last series are held out; with fewer series, the last rows of each."""


class Part(NamedTuple):
    """A part of a session, with the number of rows that only warm the model up.

    Attributes
    ----------
    x, y : ndarray, shape (rows, columns)
    warmup : int
        Number of first rows that belong to the earlier part and only provide the history.
    """

    x: Array
    y: Array
    warmup: int = 0


def split_in_time(table: Table, fraction: float, warmup: int) -> tuple[list[Part], list[Part]]:
    """Split a table by time: the later part has the last rows of each series, or the last series of many.

    Parameters
    ----------
    table : Table
    fraction : float
        The fraction of the later part.
    warmup : int
        Number of rows before the cut that are also in the later part.

    Returns
    -------
    earlier, later : list of Part

    Raises
    ------
    DataError
        If the fraction is not valid.
    """
    if not 0 <= fraction < 1:
        raise DataError(f"validation_fraction must be at least 0 and less than 1, not {fraction!r}")
    parts = [Part(x, y) for x, y in zip(table.x, table.y, strict=True)]
    names = list(dict.fromkeys(table.series))
    if len(names) >= MANY:
        first = len(names) - round(fraction * len(names))
        earlier = [part for part, name in zip(parts, table.series, strict=True) if name in names[:first]]
        return earlier, parts[len(earlier) :]
    earlier, later = [], []
    for name in names:
        own = [part for part, other in zip(parts, table.series, strict=True) if other == name]
        rows = sum(len(part.x) for part in own)
        left = rows - round(fraction * rows)
        for x, y, _ in own:
            k = min(max(left, 0), len(x))
            start = max(k - warmup, 0)
            earlier.append(Part(x[:k], y[:k]))
            later.append(Part(x[start:], y[start:], k - start))
            left -= len(x)
    return [part for part in earlier if len(part.x)], [part for part in later if len(part.x) > part.warmup]
