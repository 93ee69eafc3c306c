"""Estimators with scikit-learn's habits: from a table to a forecast. Needs the extra ``sklearn``."""

from ..errors import MissingExtraError
from ..extras import installing

try:
    import sklearn as _  # noqa: F401
except ImportError as error:  # pragma: no cover
    how = installing("scikit-learn", "sklearn")
    raise MissingExtraError(f"tinygrad_rnn.estimators needs scikit-learn: {how}") from error

from .ar import ARRegressor
from .diagnostics import Diagnostics, Orders, diagnostics, select_order
from .forecasts import Forecast
from .narx import NARXRegressor
from .recurrent import RecurrentClassifier, RecurrentRegressor
from .series import load

__all__ = [
    "ARRegressor",
    "Diagnostics",
    "Forecast",
    "NARXRegressor",
    "Orders",
    "RecurrentClassifier",
    "RecurrentRegressor",
    "diagnostics",
    "load",
    "select_order",
]
