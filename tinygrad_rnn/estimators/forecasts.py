"""Forecasts: the next values of a series, with limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..extras import optional
from ..plots import BLUE, INK, new_figure
from .tables import times_of

__all__ = ["Forecast", "check_interval", "set_times"]


def check_interval(interval: float) -> float:
    """Return the coverage of an interval, or raise an error if it is not between 0 and 1.

    Raises
    ------
    ValueError
        If the coverage is not between 0 and 1.

    Examples
    --------
    >>> check_interval(0.9)
    0.9
    """
    if not isinstance(interval, (int, float, np.number)) or not 0 < interval < 1:
        raise ValueError(f"interval must be a share between 0 and 1, such as 0.9 for 90 % of the values, not {interval!r}")
    return float(interval)


def set_times(axis: Any, index: Any) -> Any:
    """Shorten the labels of a time axis; return the values that matplotlib draws for an index."""
    times = index.to_timestamp() if hasattr(index, "to_timestamp") else index
    name = getattr(index, "name", None) or ("time" if times_of(times) is not None else "step")
    if hasattr(times, "total_seconds"):
        times, name = times.total_seconds(), f"{name} [s]"
    elif times_of(times) is not None:
        dates = optional("matplotlib.dates", "sklearn", "a plot needs")
        locator = dates.AutoDateLocator()
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    axis.set_xlabel(name, parse_math=False)
    return times


@dataclass(frozen=True, eq=False, repr=False)
class Forecast:
    """A forecast of a series, with an interval for each step.

    Attributes
    ----------
    mean, lower, upper : Series, DataFrame or ndarray, shape (steps,) or (steps, outputs)
        The forecast and the limits of the interval, as pandas objects if the estimator was fitted to pandas objects.
    interval : float
        The probability that a later value is between the limits, for each single step.
    past : as mean
        The last measured values.
    paths : ndarray, shape (paths, steps, outputs), or None
        Simulated series, whose quantiles are the limits; None if the limits are exact.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import datasets
    >>> from tinygrad_rnn.estimators import ARRegressor
    >>> years, numbers = datasets.sunspots()
    >>> found = ARRegressor(order=2).fit(None, numbers).forecast(steps=3)
    >>> found
    <Forecast of 3 steps with 90 % intervals>
    >>> bool((found.lower < found.mean).all() and (found.mean < found.upper).all())
    True
    """

    mean: Any
    lower: Any
    upper: Any
    interval: float
    past: Any
    paths: npt.NDArray[Any] | None = None

    def plot(self) -> Any:
        """Draw the data, the forecast and its interval.

        Returns
        -------
        matplotlib.figure.Figure
            The figure, which a notebook shows; ``figure.savefig("forecast.svg")`` writes a file.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        mean, lower, upper, past = (_columns(data) for data in (self.mean, self.lower, self.upper, self.past))
        names = _names(self.mean)
        figure, axes = new_figure(9, 2.6 * mean.shape[1] + 0.4, mean.shape[1], extra="sklearn")
        indices = [getattr(data, "index", None) for data in (self.past, self.mean)]
        if any(index is None for index in indices):
            indices = [np.arange(-len(past), 0), np.arange(len(mean))]
        # the lines continue from the last measurement
        mean, lower, upper = (np.concatenate([past[-1:], part]) for part in (mean, lower, upper))
        for k, axis in enumerate(np.atleast_1d(axes)):
            before, after = (set_times(axis, index) for index in indices)
            joined = [*before[-1:], *after]
            axis.plot(before, past[:, k], color=INK, label="measured")
            axis.plot(joined, mean[:, k], color=BLUE, label="forecast")
            label = f"{100 * self.interval:g} % interval"
            axis.fill_between(joined, lower[:, k], upper[:, k], color=BLUE, alpha=0.2, linewidth=0, label=label)
            axis.set_ylabel(names[k], parse_math=False)
            axis.margins(x=0.01)
        np.atleast_1d(axes)[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=9)
        return figure

    def to_frame(self) -> Any:
        """The forecast and its limits as a DataFrame of pandas.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        pandas = optional("pandas", "sklearn", "a frame needs")
        parts = {"mean": self.mean, "lower": self.lower, "upper": self.upper}
        names = _names(self.mean)
        several = len(names) > 1
        columns = {
            f"{name} {part}" if several else part: _columns(data)[:, k]
            for k, name in enumerate(names)
            for part, data in parts.items()
        }
        return pandas.DataFrame(columns, index=getattr(self.mean, "index", None))

    def __repr__(self) -> str:
        return f"<Forecast of {len(self.mean)} steps with {100 * self.interval:g} % intervals>"


def _columns(data: Any) -> npt.NDArray[Any]:
    array = np.asarray(data)
    return array[:, None] if array.ndim == 1 else array


def _names(data: Any) -> list[str]:
    if hasattr(data, "columns"):
        return [str(name) for name in data.columns]
    name = getattr(data, "name", None)
    count = _columns(data).shape[1]
    return [str(name)] if name is not None else ["y"] if count == 1 else [f"y{k}" for k in range(count)]
