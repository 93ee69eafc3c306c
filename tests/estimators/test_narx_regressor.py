"""NARXRegressor is compared with loops in NumPy; training in open and closed loop; intervals; files."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from plants import table, tank, tank_outputs

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import DataError
from tinygrad_rnn.estimators import NARXRegressor, RecurrentRegressor, load
from tinygrad_rnn.estimators.loops import ClosedLoop, OpenLoop
from tinygrad_rnn.estimators.splitting import Part, split_in_time
from tinygrad_rnn.estimators.tables import read_table
from tinygrad_rnn.optim.second_order import parameter_jacobian

INPUTS = ["flow", "valve"]


@pytest.fixture(scope="module")
def plant():
    """A model of the tank, fitted to all but the last 60 rows."""
    data = table(560, noise=0.1)
    model = NARXRegressor([1, 2], 2, 5, restarts=1, max_iter=25, random_state=0)
    return model.fit(data[INPUTS][:500], data["level"][:500]), data


def by_hand(model, x, y, known):
    """Predictions one by one, from the weights: measured y is fed back in rows below `known`, predictions in later rows."""
    state = {name: p.data for name, p in model.module_.named_parameters()}
    weights = {name.rpartition(".")[2]: value for name, value in state.items()}
    ux, uy = model.x_scaler_, model.y_scaler_
    x, y = (x - ux.mean_) / ux.scale_, (y - uy.mean_[0]) / uy.scale_[0]
    found = []
    for t in range(len(x)):
        a = weights["b"].copy()
        for k in (1, 2):
            past = y[0] if t - k < 0 else y[t - k] if t - k < known else found[t - k]
            a += weights[f"A_{k}"] @ x[max(t - k, 0)] + weights[f"B_{k}"][:, 0] * past
        found.append(float((weights["weight"] @ np.tanh(a) + weights["bias"])[0]))
    return np.array(found) * uy.scale_[0] + uy.mean_[0]


@pytest.mark.parametrize("known", [0, 2, 30, 59, 60])
def test_one_step_and_free_run_are_the_loop_by_hand(plant, known):
    model, data = plant
    x, y = data[INPUTS][500:], data["level"][500:]
    if known == 60:
        found = model.predict(x, horizon=1, y_past=y)
    else:
        found = model.predict(x, y_past=y[:known] if known else None)
    start = y.to_numpy() if known else np.full(60, model.y_scaler_.mean_[0])
    np.testing.assert_allclose(found, by_hand(model, x.to_numpy(), start, known), rtol=1e-9)


@pytest.mark.parametrize("n", [2, 7, 70])
def test_n_steps_are_runs_from_each_row(plant, n):
    model, data = plant
    x, y = data[INPUTS][500:], data["level"][500:]
    found = model.predict(x, horizon=n, y_past=y)
    if n > len(x):
        np.testing.assert_allclose(found, by_hand(model, x.to_numpy(), y.to_numpy(), 0), rtol=1e-9)
    for t in range(n, len(x), 13):
        run = model.predict(x[: t + 1], y_past=y[: t - n + 1])
        assert found.iloc[t] == pytest.approx(run.iloc[t], rel=1e-9)


def test_the_plant_is_learnt_and_the_horizons_have_the_errors_they_should(plant):
    model, data = plant
    x, y = data[INPUTS][500:], data["level"][500:]
    _, later = split_in_time(read_table(model, data[INPUTS][:500], data["level"][:500], fitting=False), 0.2, model.reach_)
    assert ClosedLoop(model.module_, model._scaled(later)).error() == pytest.approx(model.validation_error_)
    assert model.score(x, y) > 0.95 and model.score(x, y, horizon=1) > model.score(x, y)
    # the noise of one step has a standard deviation of 2.5, and noise of earlier steps adds to it in a free run
    assert 2 < model.residuals(x, y).std() < 3.2 < 5
    assert 100 * (1 - np.sqrt(1 - model.score(x, y))) == pytest.approx(model.fit_percent(x, y), abs=1e-9)


def test_a_forecast_goes_on_where_training_ended(plant):
    model, data = plant
    ahead = model.forecast(data[INPUTS][500:])
    same = model.forecast(data[INPUTS], data["level"][:500])
    pd.testing.assert_series_equal(ahead.mean, same.mean)
    pd.testing.assert_series_equal(ahead.upper, same.upper)
    run = model.predict(data[INPUTS], y_past=data["level"][:500])[500:]
    np.testing.assert_allclose(ahead.mean, run, rtol=1e-9)
    assert ahead.mean.name == "level" and ahead.mean.index.equals(data.index[500:])
    assert ((ahead.lower < data["level"][500:]) & (data["level"][500:] < ahead.upper)).mean() > 0.8


def test_intervals_have_the_share_of_later_values_that_they_say():
    """Coverage of three models, each compared with 200 futures of the true plant from five rows, at horizons 1, 10 and 50."""
    inside, rng = [], np.random.default_rng(0)
    for seed in range(3):
        model = NARXRegressor([1, 2], 2, 5, closed_loop=False, restarts=1, max_iter=25, random_state=0)
        model.fit(*tank(500, 0.1, seed))
        u, y = tank(360, 0.1, seed + 10)
        for start in range(0, 300, 60):
            found = model.forecast(u[start : start + 60], y[start : start + 10], paths=400)
            e = 0.1 * rng.normal(size=(52, 200))
            futures = tank_outputs(u[start + 8 : start + 60], e, y[start + 8 : start + 10])[2:]
            inside.append(((found.lower[:, None] < futures) & (futures < found.upper[:, None])).mean(axis=1))
    shares = np.mean(inside, axis=0)[[0, 9, 49]]
    assert ((shares > 0.85) & (shares < 0.95)).all(), shares


def test_limits_are_quantiles_of_the_paths(plant):
    model, data = plant
    found = model.forecast(data[INPUTS][500:505], interval=0.8)
    np.testing.assert_allclose(found.lower, np.quantile(found.paths[..., 0], 0.1, axis=0))
    np.testing.assert_allclose(found.upper, np.quantile(found.paths[..., 0], 0.9, axis=0))
    # one step ahead, a path is the forecast plus an error of the validation part
    steps = model.residuals_[:, 0] - model.residuals_.mean()
    np.testing.assert_allclose(
        np.unique(found.paths[:, 0, 0] - found.mean.iloc[0])[[0, -1]], [steps.min(), steps.max()], rtol=1e-6
    )


@pytest.mark.parametrize("sizes, delays, lengths", [((2, 1), (2, [1, 3]), [30, 12, 21]), ((0, 2), (None, 2), [15, 9])])
def test_the_jacobian_of_a_free_run_is_that_of_the_unrolled_loop(sizes, delays, lengths):
    """The recursion of sensitivities equals backpropagation through all steps; with padding, and several outputs."""
    rng = np.random.default_rng(0)
    model = nn.NARX(*sizes, *delays, hidden_size=3, dtype=float)
    parts = [Part(rng.normal(size=(n, sizes[0])), rng.normal(size=(n, sizes[1]))) for n in lengths]
    run = ClosedLoop(model, parts)
    expected = parameter_jacobian(run.residuals(), list(model.parameters()))
    np.testing.assert_allclose(run.jacobian(), expected, rtol=1e-9, atol=1e-12)
    one_step = OpenLoop(model, parts)
    assert one_step.residuals().shape == (sum(lengths) - model.reach * len(lengths), sizes[1])
    first = np.concatenate([part.y[model.reach :] for part in parts])
    np.testing.assert_array_equal(one_step.ys, first)


def test_closed_loop_training_is_better_in_free_run_where_measurements_are_noisy():
    """A model trained in open loop relies too little on the past, as for NARMA-10."""
    u, true = tank(400, noise=0.0)
    y = true + 0.6 * np.random.default_rng(0).normal(size=400)
    errors = {}
    for closed in (False, True):
        model = NARXRegressor([1, 2], 2, 3, closed_loop=closed, restarts=1, max_iter=20, random_state=0).fit(u[:300], y[:300])
        errors[closed] = np.std(model.predict(u[300:], y_past=true[300:302])[2:] - true[302:])
    assert errors[True] < 0.8 * errors[False]


def test_without_inputs_it_runs_on_its_past_alone():
    t = np.arange(130)
    y = pd.Series(np.sin(0.4 * t), name="wave")
    model = NARXRegressor(output_delays=2, hidden_size=0).fit(None, y[:100])
    found = model.forecast(steps=30)
    np.testing.assert_allclose(found.mean, y[100:], atol=1e-4)
    assert found.mean.index.equals(pd.RangeIndex(100, 130))
    np.testing.assert_allclose(model.forecast(None, y[20:90], steps=10).mean, y[90:100], atol=1e-4)
    assert model.predict(None, horizon=1, y_past=y[:50]).shape == (50,)


def test_a_function_of_ones_own_in_place_of_the_units(tmp_path):
    u, y = tank(150)
    made = []

    def f(regressor_size, output_size):
        made.append((regressor_size, output_size))
        return nn.Sequential(nn.Linear(regressor_size, 3, dtype=float), tr.relu, nn.Linear(3, output_size, dtype=float))

    model = NARXRegressor([1, 2], 2, f=f, max_iter=15, restarts=1, random_state=0).fit(u, y)
    assert set(made) == {(6, 1)} and model.score(u, y, horizon=1) > 0.9
    model.save(tmp_path / "own.safetensors")
    again = load(tmp_path / "own.safetensors")
    np.testing.assert_array_equal(again.predict(u), model.predict(u))
    with pytest.raises(DataError, match=r"does not hold the code of the function .*\.f, .*set_params\(f="):
        again.fit(u, y)


def test_a_file_has_all_that_a_forecast_needs(plant, tmp_path):
    model, data = plant
    model.save(tmp_path / "plant.safetensors")
    again = load(tmp_path / "plant.safetensors")
    assert again.get_params() == model.get_params()
    pd.testing.assert_series_equal(again.forecast(data[INPUTS][500:]).upper, model.forecast(data[INPUTS][500:]).upper)
    with pytest.raises(ValueError, match="yet now missing"):
        again.predict(data[["flow"]])
    assert isinstance(tr.load(tmp_path / "plant.safetensors"), nn.NARX)
    tr.save(model.module_, tmp_path / "bare.safetensors")
    with pytest.raises(DataError, match="there is no value 'estimator'"):
        load(tmp_path / "bare.safetensors")


def test_a_recurrent_model_forecasts_from_the_state_that_the_past_leads_to(tmp_path):
    data = table(300)
    model = RecurrentRegressor("gru", 8, max_iter=80, window=60, random_state=0).fit(data[INPUTS][:250], data["level"][:250])
    found = model.forecast(data[INPUTS][250:])
    whole = model.predict(data[INPUTS])[250:]
    np.testing.assert_allclose(found.mean, whole, rtol=1e-4)  # the run begins 200 rows earlier, longer than the model's memory
    assert model.score(data[INPUTS][250:], data["level"][250:]) > 0.8
    model.save(tmp_path / "gru.safetensors")
    pd.testing.assert_series_equal(load(tmp_path / "gru.safetensors").forecast(data[INPUTS][250:]).lower, found.lower)
