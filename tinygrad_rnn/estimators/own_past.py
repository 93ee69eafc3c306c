"""OwnPast: predictions of estimators that read only the past of each series."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .tables import Table

__all__ = ["OwnPast"]

Array = npt.NDArray[Any]


class OwnPast:
    """A part of an estimator without inputs: each series is predicted from its own known values.

    A subclass has `_rows`.
    """

    outputs_: Any
    reads_inputs = False

    def _run(self, table: Table, horizon: int | None) -> list[Array]:
        """Predict each row of each session, with the known values of y."""
        known = table.y or [np.empty((0, self.outputs_.size))] * len(table.x)
        return [self._rows(y, len(x), horizon or 1) for x, y in zip(table.x, known, strict=True)]

    def _rows(self, y: Array, rows: int, n: int) -> Array:
        """Predictions of one series n steps ahead, for a number of rows that may be larger than that of the known values."""
        raise NotImplementedError
