"""Series: yearly sunspot numbers, NARMA-10, Mackey–Glass."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import DataError

__all__ = ["mackey_glass", "narma10", "sunspots"]

Floats = npt.NDArray[np.float64]


def sunspots() -> tuple[npt.NDArray[np.int64], Floats]:
    """Yearly mean sunspot numbers, 1700 to 2008: the series for which autoregression was invented.

    Returns
    -------
    years : ndarray of int64, shape (309,)
    numbers : ndarray of float64, shape (309,)

    Notes
    -----
    These are the Zurich numbers, later the first version of the international numbers; versions
    since 2015 have another scale. Public data of the NOAA's National Geophysical Data Center,
    from the World Data Center SILSO, Royal Observatory of Belgium.

    References
    ----------
    Yule, "On a method of investigating periodicities in disturbed series, with special
    reference to Wolfer's sunspot numbers", 1927.

    Examples
    --------
    >>> years, numbers = sunspots()
    >>> years[0], numbers[0]
    (np.int64(1700), np.float64(5.0))
    >>> numbers[years == 1957]
    array([190.2])
    """
    table = Path(__file__).with_name("sunspots.csv").read_text(encoding="utf-8")
    rows = [line.split(",") for line in table.splitlines() if line[0].isdigit()]
    return np.array([year for year, _ in rows], np.int64), np.array([number for _, number in rows], float)


def narma10(steps: int, *, rng: int | np.random.Generator | None) -> tuple[Floats, Floats]:
    """NARMA-10: a series that depends nonlinearly on its own ten previous values and on its input.

    y_{t+1} = 0.3 y_t + 0.05 y_t (y_t + … + y_{t-9}) + 1.5 u_{t-9} u_t + 0.1, where u_t is
    uniform in [0, 0.5]. The first ten values are 0.

    Parameters
    ----------
    steps : int
        Length of the series.
    rng : int, Generator or None
        A seed, or the generator of the random numbers; None for other numbers at each call.

    Returns
    -------
    u, y : ndarray of float64, shape (steps,)
        The input and the series. ``y[t]`` depends on u at positions before t.

    Raises
    ------
    ValueError
        If steps is negative.
    DataError
        If the series grows without bound, which is rare; try another seed.

    References
    ----------
    Atiya and Parlos, "New results on recurrent network training", 2000.

    Examples
    --------
    >>> u, y = narma10(100, rng=0)
    >>> t = 50
    >>> bool(np.isclose(y[t + 1], 0.3 * y[t] + 0.05 * y[t] * y[t - 9 : t + 1].sum() + 1.5 * u[t - 9] * u[t] + 0.1))
    True
    """
    if steps < 0:
        raise ValueError(f"steps must be at least 0, not {steps}")
    u = np.random.default_rng(rng).uniform(0, 0.5, steps)
    inputs, y = u.tolist(), [0.0] * min(steps, 10)
    for t in range(9, steps - 1):
        y.append(0.3 * y[t] + 0.05 * y[t] * sum(y[t - 9 : t + 1]) + 1.5 * inputs[t - 9] * inputs[t] + 0.1)
    if not all(map(math.isfinite, y)):
        raise DataError(f"for this random input of {steps} steps, NARMA-10 grows without bound; give another seed")
    return u, np.array(y)


def mackey_glass(
    steps: int, tau: int = 17, a: float = 0.2, b: float = 0.1, n: int = 10, x0: float = 1.2, substeps: int = 1
) -> Floats:
    """The Mackey–Glass series: a delay differential equation, chaotic for a delay of 17.

    dx/dt = a x(t-τ) / (1 + x(t-τ)^n) - b x(t), with x(t) = x0 for t ≤ 0.

    Parameters
    ----------
    steps : int
        Length of the series.
    tau : int
        τ, at least 1.
    a, b : float
        The factors a and b of the equation.
    n : int
        The exponent n of the equation.
    x0 : float
        The value up to the start.
    substeps : int
        Number of steps of the integrator in a unit of time.

    Returns
    -------
    ndarray of float64, shape (steps,)
        x(0), x(1), x(2), …

    Raises
    ------
    ValueError
        If tau or substeps is less than 1, or steps is negative.

    Notes
    -----
    The series is integrated by the classical Runge–Kutta method of fourth order. This method also
    needs the delayed value in the middle of a step, where the series was not computed. The value is
    interpolated by the cubic through the values and the slopes at both ends of the step,
    (x_0 + x_1)/2 + h (x'_0 - x'_1)/8, which keeps the order of the method.

    References
    ----------
    Mackey and Glass, "Oscillation and chaos in physiological control systems", 1977.

    Examples
    --------
    >>> mackey_glass(4).round(4)
    array([1.2   , 1.1176, 1.043 , 0.9755])
    """
    if tau < 1 or substeps < 1:
        raise ValueError(f"tau and substeps must be at least 1, not {tau} and {substeps}")
    if steps < 0:
        raise ValueError(f"steps must be at least 0, not {steps}")
    h, lag = 1 / substeps, tau * substeps

    def slope(x: float, delayed: float) -> float:
        return a * delayed / (1 + delayed**n) - b * x

    xs, middles = [x0] * (lag + 1), [x0] * lag  # from t = -τ on
    k1 = slope(x0, x0)
    for _ in range((steps - 1) * substeps):
        x, middle, after = xs[-1], middles[-lag], xs[-lag]
        k2 = slope(x + h * k1 / 2, middle)
        k3 = slope(x + h * k2 / 2, middle)
        k4 = slope(x + h * k3, after)
        xs.append(x + h * (k1 + 2 * k2 + 2 * k3 + k4) / 6)
        start, k1 = k1, slope(xs[-1], after)
        middles.append((x + xs[-1]) / 2 + h * (start - k1) / 8)
    return np.array(xs[lag::substeps][:steps])
