"""ARRegressor is compared with least squares and simulations in NumPy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from plants import ar2

from tinygrad_rnn.errors import DataError
from tinygrad_rnn.estimators import ARRegressor


@pytest.fixture(scope="module")
def series():
    return 20 + 3 * ar2(300, np.random.default_rng(0))


def test_weights_are_those_of_least_squares(series):
    model = ARRegressor(order=3).fit(None, series)
    lagged = np.column_stack([series[3 - k : len(series) - k] for k in (1, 2, 3)] + [np.ones(len(series) - 3)])
    w, rss, *_ = np.linalg.lstsq(lagged, series[3:], rcond=None)
    np.testing.assert_allclose([*model.module_.w.ravel(), *model.module_.w_0], w, rtol=1e-8)
    assert model.covariance_.item() == pytest.approx(rss[0] / (len(series) - 3 - 4))
    np.testing.assert_allclose(model.residuals(None, series)[3:], series[3:] - lagged @ w, atol=1e-8)


def test_sessions_and_groups_are_fitted_together(series):
    """Rows are ignored if their history would cross a gap."""
    index = pd.date_range("2000", periods=300, freq="D").delete(range(100, 110))
    y = pd.Series(np.delete(series, range(100, 110)), index)
    with pytest.warns(UserWarning, match="1 gap"):
        model = ARRegressor(order=2).fit(None, y)
    rows = [t for t in range(2, 290) if t not in (100, 101)]
    lagged = np.column_stack([y.to_numpy()[np.array(rows) - k] for k in (1, 2)] + [np.ones(len(rows))])
    w = np.linalg.lstsq(lagged, y.to_numpy()[rows], rcond=None)[0]
    np.testing.assert_allclose([*model.module_.w.ravel(), *model.module_.w_0], w, rtol=1e-8)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_horizons_are_runs_by_hand(series, n):
    model = ARRegressor(order=2).fit(None, series)
    (w1, w2), w0 = model.module_.w.ravel(), model.module_.w_0[0]
    found = model.predict(None, horizon=n, y_past=series[:40])
    for t in range(n + 1, 40):
        past = [*series[t - n - 1 : t - n + 1]]
        for _ in range(n):
            past.append(w0 + w1 * past[-1] + w2 * past[-2])
        assert found[t] == pytest.approx(past[-1])


def test_a_free_run_is_the_forecast(series):
    model = ARRegressor(order=2).fit(None, series)
    x = np.zeros((60, 1))
    fitted = ARRegressor(order=2).fit(np.zeros((300, 1)), series)
    run = fitted.predict(x, y_past=series[:40])
    np.testing.assert_allclose(run[40:], model.forecast(None, series[:40], steps=20).mean)
    np.testing.assert_allclose(run[:40], model.predict(None, horizon=1, y_past=series[:40]))
    np.testing.assert_allclose(fitted.predict(x) * (1 - fitted.module_.w.sum()), fitted.module_.w_0[0])


def test_intervals_have_the_share_of_later_values_that_they_say():
    """Coverage of models of 25 series, each compared with 200 futures of the true system, at horizons 1, 10 and 50."""
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(25):
        y = ar2(150, rng)
        found = ARRegressor(order=2).fit(None, y).forecast(steps=50, interval=0.9)
        futures = ar2(50, rng, np.repeat(y[-2:, None], 200, axis=1))
        inside.append(((found.lower[:, None] < futures) & (futures < found.upper[:, None])).mean(axis=1))
    shares = np.mean(inside, axis=0)[[0, 9, 49]]
    assert ((shares > 0.85) & (shares < 0.95)).all(), shares


def test_several_outputs_have_the_deviations_of_simulated_paths():
    rng = np.random.default_rng(0)
    w, mix = np.array([[0.6, 0.3], [-0.2, 0.7]]), np.array([[1.0, 0.0], [0.8, 0.5]])
    y = np.zeros((2000, 2))
    for t in range(1, 2000):
        y[t] = w @ y[t - 1] + mix @ rng.normal(size=2)
    model = ARRegressor(order=1).fit(None, pd.DataFrame(y, columns=["a", "b"]))
    np.testing.assert_allclose(model.covariance_, mix @ mix.T, atol=0.1)
    found = model.forecast(steps=6, interval=0.5)
    assert list(found.mean.columns) == ["a", "b"]
    paths = np.repeat(y[-1:], 20_000, axis=0)
    for t in range(6):
        paths = paths @ w.T + rng.normal(size=paths.shape) @ mix.T
        width = np.subtract(*np.quantile(paths, [0.75, 0.25], axis=0))
        np.testing.assert_allclose((found.upper - found.lower).iloc[t], width, rtol=0.1)


def test_too_short():
    with pytest.raises(DataError, match=r"n_samples = 5, of which 3 are left .* to fit 3 weights, at least 4"):
        ARRegressor(order=2).fit(None, np.arange(5.0))
    with pytest.raises(DataError, match="number of steps to forecast"):
        ARRegressor(order=1).fit(None, np.sin(np.arange(9.0))).forecast()
