"""Estimators with the interface of scikit-learn, which make a forecast from a table. Needs the extra ``sklearn``."""

from ..errors import MissingExtraError
from ..extras import installing

try:
    import sklearn as _  # noqa: F401
except ImportError as error:  # pragma: no cover
    how = installing("scikit-learn", "sklearn")
    raise MissingExtraError(f"tinygrad_rnn.estimators needs scikit-learn: {how}") from error

from .ar import ARRegressor
from .csv_series import CsvSeries, predict_csv, read_csv_series
from .diagnostics import Diagnostics, Orders, diagnostics, select_order
from .forecasts import Forecast
from .last_value import LastValueRegressor
from .narx import NARXRegressor
from .recurrent import RecurrentClassifier, RecurrentRegressor
from .report import ForecastReport, forecast_report
from .series import load

__all__ = [
    "ARRegressor",
    "CsvSeries",
    "Diagnostics",
    "Forecast",
    "ForecastReport",
    "LastValueRegressor",
    "NARXRegressor",
    "Orders",
    "RecurrentClassifier",
    "RecurrentRegressor",
    "diagnostics",
    "forecast_report",
    "load",
    "predict_csv",
    "read_csv_series",
    "select_order",
]
