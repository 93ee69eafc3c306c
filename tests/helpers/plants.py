"""Plants and series with known equations, as tables."""

from __future__ import annotations

import numpy as np
import pandas as pd


def tank(rows, noise=0.05, seed=0):
    """y depends on two inputs with delays of at most two steps, on u1 through a tanh and on u2 linearly."""
    rng = np.random.default_rng(seed)
    u = rng.uniform(-1, 1, (rows, 2))
    e = noise * rng.normal(size=rows)
    return u, tank_outputs(u, e)


def tank_outputs(u, e, before=()):
    """The outputs of the tank after two given outputs, whose inputs are the first two rows; a column for each column of e."""
    y = np.zeros_like(e)
    for t, value in enumerate(before):
        y[t] = value
    for t in range(2, len(u)):
        y[t] = 0.7 * y[t - 1] - 0.2 * y[t - 2] + np.tanh(2 * u[t - 1, 0]) + 0.3 * u[t - 2, 1] + e[t]
    return y


def table(rows=120, noise=0.05, seed=0):
    """The tank in physical units by the hour: columns flow and valve, and the level y."""
    u, y = tank(rows, noise, seed)
    index = pd.date_range("2024-01-01", periods=rows, freq="h")
    return pd.DataFrame({"flow": 50 + 10 * u[:, 0], "valve": u[:, 1], "level": 300 + 25 * y}, index=index)


def ar2(steps, rng, before=(0.0, 0.0), w=(1.2, -0.6)):
    """An AR(2) series with disturbances of standard deviation 1; several series if `before` has several columns."""
    y = [np.asarray(value, float) for value in before]
    for _ in range(steps):
        y.append(w[0] * y[-1] + w[1] * y[-2] + rng.normal(size=y[-1].shape))
    return np.array(y[2:])
