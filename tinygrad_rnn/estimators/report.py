"""A report about a forecast: data, errors compared with simpler models, the next steps with limits, residuals, network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checks import check_int
from ..console import counted, joined
from ..errors import DataError
from ..explain.mathml import mathml
from ..explain.page import definitions, figure, formulas, page, section, table
from ..files import make_folder, write_bytes
from ..plots import BLUE, GREY, INK, figure_svg, new_figure
from .ar import ARRegressor
from .csv_series import CsvSeries
from .diagnostics import Diagnostics, diagnostics
from .forecasts import Forecast, set_times
from .last_value import LastValueRegressor
from .narx import NARXRegressor
from .series import SeriesRegressor
from .tables import read_table

__all__ = ["ForecastReport", "forecast_report"]

Array = npt.NDArray[Any]
HELD_BACK = 0.2
"""The fraction of the rows that are not used for training."""
LAGS = 20


@dataclass(frozen=True, eq=False, repr=False)
class ForecastReport:
    """A page about a model of a series, compared with simpler models.

    Attributes
    ----------
    series : CsvSeries
    models : dict of str to estimator
        Models fitted to the first rows; the network is the first model.
    horizon : int
        Number of steps of a forecast.
    errors : dict of str to tuple of float
        For each model, its root mean square errors in the held-out rows: one step ahead, `horizon` steps ahead, and in a
        free run.
    judged : int
        Smallest number of predictions from which an error is computed.
    forecast : Forecast
        Forecast of the last `horizon` measured rows.
    truth : Series
        The measurements in the rows of `forecast`.
    later : Forecast or None
        Forecast of the steps after the last measured row; None if the model has inputs that are unknown there.
    residuals : Diagnostics
        Diagnostics of the residuals in the held-out rows.

    Examples
    --------
    >>> import pandas as pd
    >>> from tinygrad_rnn import datasets
    >>> u, y = datasets.two_tanks(200, rng=0)
    >>> series = CsvSeries(pd.DataFrame({"pump": u}), pd.Series(y, name="level"), [])
    >>> report = forecast_report(series, horizon=5, hidden_size=1)
    >>> list(report.errors), report.judged, len(report.truth), report.later
    (['NARX', 'AR(2)', 'last value'], 34, 5, None)
    """

    series: CsvSeries
    models: Mapping[str, SeriesRegressor]
    horizon: int
    errors: Mapping[str, tuple[float, float, float]]
    judged: int
    forecast: Forecast
    truth: Any
    later: Forecast | None
    residuals: Diagnostics

    @property
    def model(self) -> NARXRegressor:
        """The network."""
        return next(iter(self.models.values()))

    @property
    def target(self) -> str:
        """The name of the predicted column."""
        return str(self.series.target.name)

    def __repr__(self) -> str:
        return f"<ForecastReport of {self.target}: {', '.join(self.models)}>"

    @property
    def lead(self) -> str:
        """The result in two sentences."""
        names = list(self.models)
        own = self.errors[names[0]]
        inputs = self.series.inputs.columns
        said = f" from {', '.join(inputs)}" if len(inputs) else ""
        best: dict[str, list[str]] = {}
        for when, column in zip(self._horizons, zip(*self.errors.values(), strict=True), strict=True):
            best.setdefault(names[int(np.argmin(column))], []).append(when)
        least = ", and ".join(f"{name} has the least error {joined(whens)}" for name, whens in best.items())
        one, several, free = self._horizons
        return (
            f"A NARX network predicts {self.target}{said}. Its error {one} is {own[0]:.3g}, {several} {own[1]:.3g}, "
            f"and {free} {own[2]:.3g}. Of all models {least}."
        )

    @property
    def _horizons(self) -> tuple[str, str, str]:
        return "one step ahead", f"{counted(self.horizon, 'step')} ahead", "in a free run"

    def parts(self) -> list[str]:
        """The sections as HTML."""
        return [self._data(), self._errors(), self._forecast(), self._residuals(), self._network()]

    def html(self) -> str:
        """The page as a document that loads no other files and runs no scripts."""
        title = f"Forecast of {self.target}"
        about = (
            "Below each picture is the Python expression that makes it: <code>model</code> is "
            "<code>estimators.load('model.safetensors')</code>, <code>X</code> and <code>y</code> are the columns of the file."
        )
        return page(
            title, [f'<h1>{escape(title)}</h1>\n<p class="lead">{escape(self.lead)}</p>\n<p>{about}</p>', *self.parts()]
        )

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``report.html``, ``model.safetensors`` and ``forecast.csv`` into a folder, which is created if needed.

        Raises
        ------
        DataError
            If a file cannot be written.
        """
        content = self.html().encode("utf-8", "replace")
        shown = (self.later or self.forecast).to_frame().to_csv().encode()
        place = make_folder(folder)
        report = write_bytes(place / "report.html", content, "the report")
        self.model.save(place / "model.safetensors")
        return [report, place / "model.safetensors", write_bytes(place / "forecast.csv", shown, "the forecast")]

    # -- sections ------------------------------------------------------------------------------

    def _data(self) -> str:
        y, inputs = self.series.target, self.series.inputs
        columns = [y, *[inputs[name] for name in inputs.columns]]
        plot, axes = new_figure(9, 1.7 * len(columns) + 0.3, len(columns), extra="sklearn")
        start, stretches = _held_back(self.series), _stretches(self.model, inputs, y)
        for axis, column in zip(np.atleast_1d(axes), columns, strict=True):
            times = set_times(axis, column.index)
            for rows in stretches:
                axis.plot(times[rows], column.to_numpy()[rows], color=INK if column is y else GREY, linewidth=0.8)
            axis.axvspan(times[start], times[self.series.measured - 1], color=BLUE, alpha=0.12, linewidth=0)
            axis.set_ylabel(column.name, parse_math=False)
            axis.margins(x=0.01)
        sessions = self.model.sessions_
        words = (
            f"{counted(start, 'row')} were for training, in {counted(len(sessions), 'stretch', 'stretches')} without a gap. "
            f"The last {self.series.measured - start}, shaded, were not used for training."
        )
        described = y.iloc[: self.series.measured].describe()
        units = definitions(
            [(f"{self.target}, mean", f"{described['mean']:.4g}"), ("standard deviation", f"{described['std']:.4g}")]
        )
        found = "".join(f"<li>{escape(line)}</li>" for line in self.series.found)
        return section("Data", f"<p>{words}</p><ul>{found}</ul>", units, figure(figure_svg(plot), "Measured.", True))

    def _errors(self) -> str:
        rows = []
        for k, (name, errors) in enumerate(self.errors.items()):
            cells = f"<td>{escape(name)}</td>" + "".join(f'<td class="number">{error:.4g}</td>' for error in errors)
            rows.append(("own" if k == 0 else "", cells))
        words = (
            f"Root mean square errors in the unit of {self.target}, in the rows that were not used for training: "
            f"{self._horizons[0]}, from all measurements before; {self._horizons[1]}, from the measurements up to "
            f"{self.horizon} steps before; and {self._horizons[2]}, from only the first {self.model.reach_} rows of each "
            f"stretch. Each error is a mean over at least {self.judged} predictions, the same for all models."
        )
        return section("Errors", f"<p>{escape(words)}</p>", table(["", *self._horizons], rows))

    def _forecast(self) -> str:
        found, truth = self.forecast, np.asarray(self.truth)
        inside = np.mean((np.asarray(found.lower) <= truth) & (truth <= np.asarray(found.upper)))
        plot = found.plot()
        axis = plot.axes[0]
        times = set_times(axis, self.truth.index)
        axis.plot(times, truth, color=INK, linewidth=0.9, linestyle=":", label="measured later")
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, fontsize=9)
        words = (
            f"The last {counted(len(truth), 'row')}, forecast from the rows before. The interval contains "
            f"{100 * inside:.0f} % of "
            f"the measurements, and should contain {100 * found.interval:g} %."
        )
        n = len(truth)
        code = f"model.forecast(X, y_past=y[:-{n}], steps={n}).plot()"
        parts = [f"<p>{escape(words)}</p>", figure(figure_svg(plot), "Forecast of rows that were held back.", True, code)]
        if self.later is not None:
            words = f"The {counted(len(self.later.mean), 'step')} after the last measured row."
            given = "X, " if len(self.series.inputs.columns) else ""
            code = f"model.forecast({given}y_past=y, steps={len(self.later.mean)}).plot()"
            parts += [f"<p>{words}</p>", figure(figure_svg(self.later.plot()), "Forecast of what comes.", True, code)]
        return section("Forecast", *parts)

    def _residuals(self) -> str:
        found = self.residuals
        own = np.abs(found.autocorrelation[0, 1:])
        outside, lags = int((own > found.bound).sum()), len(own)
        fit = float(np.atleast_1d(found.fit_percent)[0])
        said = f"is {fit:.1f} %" if np.isfinite(fit) else f"has no value, since {self.target} does not change in these rows"
        words = (
            f"One step ahead the fit {said}. Of {lags} autocorrelations of the "
            f"residuals, {outside} are outside of ±{found.bound:.2f}; by chance, 1 of 20 would be: "
            + ("a longer delay may help." if outside > lags / 10 else "the network uses almost all that the past tells.")
        )
        code = f"estimators.diagnostics(model, X, y, lags={lags}).plot()"
        return section("Residuals", f"<p>{escape(words)}</p>", figure(figure_svg(found.plot()), "Residuals.", True, code))

    def _network(self) -> str:
        module: Any = self.model.module_
        folded, unrolled = module.draw(), module.draw(time="unrolled", steps=3)
        size = sum(p.size for p in module.parameters())
        words = (
            f"{counted(size, 'number')} were learnt, from columns scaled to mean 0 and standard deviation 1. As y of the steps "
            "before, the network reads the measurement where there is one, and otherwise its own prediction."
        )
        return section(
            "The network",
            f"<p>{words}</p>",
            formulas(mathml(module.equations())),
            "<pre>model.module_.equations()</pre>",
            figure(folded.svg(), folded.title, False, "model.module_.draw()"),
            figure(unrolled.svg(), unrolled.title, False, "model.module_.draw(time='unrolled', steps=3)"),
        )


def forecast_report(
    series: CsvSeries,
    delays: Sequence[int] = (1, 2),
    horizon: int = 10,
    *,
    hidden_size: int = 5,
    interval: float = 0.9,
    random_state: int | None = 0,
    verbose: int = 0,
) -> ForecastReport:
    """Train a NARX network on a series, and compare it with an AR model and the last value in held-out rows.

    Parameters
    ----------
    series : CsvSeries
        The series, as :func:`read_csv_series` returns it.
    delays : sequence of int
        Delays of the inputs. The delays of the target are the same without 0.
    horizon : int
        Number of steps to forecast.
    hidden_size : int
        Number of hidden units of the network.
    interval : float
        The probability that a measured value is within the interval.
    random_state : int or None
        Seed of the initial weights.
    verbose : int
        1 shows a progress bar.

    Raises
    ------
    DataError
        If the delays or the horizon are not valid, or the series is too short for them.

    Examples
    --------
    >>> import pandas as pd
    >>> from tinygrad_rnn import datasets
    >>> years, numbers = datasets.sunspots()
    >>> frame = pd.DataFrame(index=pd.RangeIndex(len(years)))
    >>> report = forecast_report(CsvSeries(frame, pd.Series(numbers, frame.index, name="spots"), []), delays=[1, 2], horizon=5)
    >>> report
    <ForecastReport of spots: NARX, AR(2), last value>
    >>> len(report.later.mean)
    5
    """
    check_int("horizon", horizon)
    delays = sorted({check_int("a delay", k, 0) for k in delays})
    feedback = [k for k in delays if k]
    if not feedback:
        raise DataError(
            f"delays={list(delays)} must have a delay of at least 1, such as in 1-3, so that the model reads the past"
        )
    m, start = series.measured, _held_back(series)
    X, y = series.inputs, series.target
    if m - start < horizon + delays[-1] + 2:  # check first, before training
        raise DataError(
            f"the last fifth of the {counted(m, 'row')} is for testing: {counted(m - start, 'row')}, too few to forecast "
            f"{counted(horizon, 'step')} from the {counted(delays[-1], 'row')} before; give more rows, or a smaller horizon"
        )
    model = NARXRegressor(delays, feedback, hidden_size, random_state=random_state, verbose=verbose)
    models = {"NARX": model, f"AR({feedback[-1]})": ARRegressor(feedback[-1]), "last value": LastValueRegressor()}
    for one in models.values():
        one.fit(X.iloc[:start], y.iloc[:start])
    errors, judged = _errors(models, X.iloc[start:m], y.iloc[start:m], horizon)
    first = int(_stretches(model, X, y.iloc[:m])[-1][0])
    if m - first < horizon + model.reach_:
        raise DataError(
            f"after its last gap, the series has {counted(m - first, 'row')}, too few to forecast "
            f"{counted(horizon, 'step')} from "
            f"the {counted(model.reach_, 'row')} before; give a smaller horizon"
        )
    past = y.iloc[first : m - horizon]
    has_inputs = bool(len(X.columns))
    forecast = model.forecast(X.iloc[first:m], past, interval=interval)
    later = None
    if len(X) > m:
        later = model.forecast(X.iloc[first:], y.iloc[first:m], interval=interval)
    elif not has_inputs:
        later = model.forecast(None, y.iloc[first:m], steps=horizon, interval=interval)
    found = diagnostics(model, X.iloc[start:m], y.iloc[start:m], min(LAGS, (m - start) // 3))
    return ForecastReport(series, models, horizon, errors, judged, forecast, y.iloc[m - horizon : m], later, found)


def _held_back(series: CsvSeries) -> int:
    """The first held-out row."""
    return series.measured - round(HELD_BACK * series.measured)


def _errors(
    models: Mapping[str, SeriesRegressor], X: Any, y: Any, horizon: int
) -> tuple[dict[str, tuple[float, float, float]], int]:
    """Root mean square errors of all models at three horizons, each in rows that all models predict."""
    columns: list[list[float]] = []
    judged = len(y)
    for steps in (1, horizon, None):
        found = {name: np.asarray(model.residuals(X, y, horizon=steps), float) for name, model in models.items()}
        common = np.all([np.isfinite(errors) for errors in found.values()], axis=0)
        judged = min(judged, int(common.sum()))
        columns.append([float(np.sqrt(np.square(errors[common]).mean())) for errors in found.values()])
    return dict(zip(models, zip(*columns, strict=True), strict=True)), judged


def _stretches(model: SeriesRegressor, X: Any, y: Any) -> list[Array]:
    """The rows of each stretch without a gap."""
    return read_table(model, X, y, fitting=False, partial=True).rows
