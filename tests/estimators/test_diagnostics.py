"""Plots, correlations of residuals and selection of delays."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from plants import ar2, table, tank

from tinygrad_rnn.errors import DataError
from tinygrad_rnn.estimators import ARRegressor, NARXRegressor, diagnostics, select_order


def test_correlations_are_those_of_numpy():
    u, y = tank(200)
    model = NARXRegressor(0, 1, 0, closed_loop=False).fit(u, y)  # too few delays
    found = diagnostics(model, u, y, lags=5)
    e = model.residuals(u, y)[1:]
    inputs = u[1:]
    np.testing.assert_allclose(found.residuals[1:], e)
    for k in (1, 4):
        expected = np.sum((e - e.mean())[k:] * (e - e.mean())[:-k]) / np.sum((e - e.mean()) ** 2)
        assert found.autocorrelation[0, k] == pytest.approx(expected)
    for j in (0, 1):
        v = inputs[:, j] - inputs[:, j].mean()
        expected = np.sum((e - e.mean())[2:] * v[:-2]) / np.sqrt(np.sum((e - e.mean()) ** 2) * np.sum(v**2))
        assert found.input_correlation[0, j, 5 + 2] == pytest.approx(expected)
    # the model lacks the effect of u1 one step before, so the correlation at this delay is large
    assert abs(found.input_correlation[0, 0]).argmax() == 5 + 1
    assert found.bound == pytest.approx(1.96 / np.sqrt(199))
    figure = found.plot()
    assert len(figure.axes) == 4


def test_a_right_model_leaves_residuals_without_correlations():
    y = ar2(2000, np.random.default_rng(1))
    found = diagnostics(ARRegressor(order=2).fit(None, y), None, y)
    assert (abs(found.autocorrelation[0, 1:]) < 1.5 * found.bound).all()
    assert "0 of 20" in repr(found) or "1 of 20" in repr(found) or "2 of 20" in repr(found)
    with pytest.raises(DataError, match="too few for correlations up to lag 3000"):
        diagnostics(ARRegressor(order=2).fit(None, y), None, y, lags=3000)


def test_residuals_of_several_series_are_drawn_one_after_the_other():
    u, y = tank(60)
    model = NARXRegressor(1, 1, 0, closed_loop=False).fit(u, y)
    for xs, ys in (([u[:40], u], [y[:40], y]), (np.stack([u, u]), np.stack([y, y]))):
        (line,) = diagnostics(model, xs, ys, lags=3).plot().axes[0].lines
        np.testing.assert_allclose(line.get_ydata()[-59:], model.residuals(u, y)[1:])


def test_criteria_are_their_formulas_and_find_the_order():
    y = ar2(500, np.random.default_rng(0))
    found = select_order(ARRegressor(), None, y, {"order": [1, 2, 3, 6]})
    assert found.best("bic") == {"order": 2}
    k = 400
    for row in found.rows:
        model = ARRegressor(**row["parameters"]).fit(None, y[:k])
        errors = model.residuals(None, y[:k])[6:]  # the same rows for all models
        n, p = 394, 1 + row["parameters"]["order"]
        assert row["size"] == p
        assert row["aic"] == pytest.approx(n * np.log(np.mean(errors**2)) + 2 * p)
        assert row["bic"] == pytest.approx(n * np.log(np.mean(errors**2)) + p * np.log(n))
        assert row["free_run"] == pytest.approx(np.std(y[k:] - model.forecast(steps=100).mean), rel=0.1)
    assert list(found.to_frame().columns) == ["order", "size", "aic", "bic", "one_step", "free_run"]
    assert repr(found).splitlines()[0].split() == ["order", "numbers", "AIC", "BIC", "one", "step", "free", "run"]
    with pytest.raises(DataError, match=r"criterion must be 'aic', .* not 'AIC'"):
        found.best("AIC")


def test_delays_of_a_table_are_selected():
    data = table(200)
    model = NARXRegressor(hidden_size=3, closed_loop=False, max_iter=15, restarts=1, random_state=0)
    grid = {"input_delays": [[1], [1, 2]], "output_delays": [2]}
    found = select_order(model, data[["flow", "valve"]], data["level"], grid)
    assert found.best() == {"input_delays": [1, 2], "output_delays": 2}
    parts = [table(200 + 20 * seed, seed=seed).assign(plant=seed) for seed in (0, 1)]
    mixed = pd.concat(parts).sort_index(kind="stable")
    of_groups = select_order(model.set_params(groups="plant"), mixed[["flow", "valve", "plant"]], mixed["level"], grid)
    lists = [part[["flow", "valve"]].to_numpy() for part in parts], [part["level"].to_numpy() for part in parts]
    assert repr(of_groups) == repr(select_order(model.set_params(groups=None), *lists, grid))
    assert of_groups.best() == {"input_delays": [1, 2], "output_delays": 2}


def test_a_gap_in_the_last_rows_begins_a_free_run_of_its_own():
    y = pd.Series(ar2(300, np.random.default_rng(0))).drop(index=range(270, 275))
    (row,) = select_order(ARRegressor(), None, y, {"order": [2]}).rows
    model = ARRegressor().fit(None, y[:236])
    runs = [model.forecast(None, y[k - 2 : k], steps=n).mean for k, n in ((236, 34), (272, 23))]
    errors = np.concatenate([y.to_numpy()[236:270] - runs[0], y.to_numpy()[272:] - runs[1]])
    assert row["free_run"] == pytest.approx(np.sqrt(np.mean(errors**2)))


def test_a_plot_has_the_data_the_forecast_and_its_interval():
    data = table(80)
    model = ARRegressor(order=2).fit(None, data["level"])
    figure = model.forecast(steps=5).plot()
    (axis,) = figure.axes
    past, ahead = axis.lines
    np.testing.assert_array_equal(past.get_ydata(), data["level"])
    assert [pd.Timestamp(x) for x in ahead.get_xdata()] == list(data.index[-1] + pd.to_timedelta(range(6), "h"))
    assert axis.get_ylabel() == "level"
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["measured", "forecast", "90 % interval"]
    two = ARRegressor(order=1).fit(None, data[["level", "flow"]].to_numpy()).forecast(steps=5)
    assert len(two.plot().axes) == 2 and list(two.to_frame().columns)[:2] == ["y0 mean", "y0 lower"]
