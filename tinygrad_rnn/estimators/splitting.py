"""Splitting: the later part of each series, on which training is judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..console import counted
from ..errors import DataError
from .tables import Table

__all__ = ["Parts", "later_part"]

Array = npt.NDArray[Any]
Parts = list[tuple[Array, Array]]


def later_part(table: Table, fraction: float, reach: int) -> tuple[Parts, Parts]:
    """Split each series in the order of time.

    Parameters
    ----------
    table : Table
    fraction : float
        The share of rows in the later part.
    reach : int
        How many rows a session needs as its history. A session that is cut in two keeps
        as many rows from before the cut in its later part.

    Returns
    -------
    earlier, later : list of (x, y)
        The later part is empty, if no session would have a row after its history.

    Raises
    ------
    DataError
        If no session is long enough.
    """
    if not 0 <= fraction < 1:
        raise DataError(f"validation_fraction is a part of the rows, from 0 to less than 1, and not {fraction!r}")
    earlier, later = [], []
    for number in dict.fromkeys(table.series):
        parts = [(x, y) for x, y, s in zip(table.x, table.y, table.series, strict=True) if s == number]
        rows = sum(len(x) for x, _ in parts)
        cut, before = rows - round(fraction * rows), 0
        for x, y in parts:
            k = int(np.clip(cut - before, 0, len(x)))
            earlier.append((x[:k], y[:k]))
            start = max(k - reach, 0)
            if k < len(x):
                later.append((x[start:], y[start:]))
            before += len(x)
    earlier, later = ([(x, y) for x, y in parts if len(x) > reach] for parts in (earlier, later))
    if sum(len(x) - reach for x, _ in earlier) < 2:
        longest, count = max(len(x) for x in table.x), len(table.x)
        some = f" {count} sessions between gaps, of which the longest has" if count > 1 else ""
        hint = "; a table whose rows were chosen at random is no series any more: choose them in order" if count > 5 else ""
        raise DataError(
            f"the series is too short: it has{some} n_samples = {longest} {'row' if longest == 1 else 'rows'}, and the longest "
            f"delay is {reach}; at least {counted(reach + 3, 'row')} are needed, beside those for validation{hint}"
        )
    return earlier, later
