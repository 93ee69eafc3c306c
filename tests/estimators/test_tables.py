"""Results have the form of the input: tables, lists, arrays; sessions end at gaps; each bad input has one clear error."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from plants import table, tank
from sklearn.exceptions import NotFittedError

from tinygrad_rnn import nn
from tinygrad_rnn.errors import DataError
from tinygrad_rnn.estimators import ARRegressor, NARXRegressor, RecurrentClassifier, RecurrentRegressor, load

QUICK = {"hidden_size": 2, "max_iter": 2, "restarts": 1, "random_state": 0}
INPUTS = ["flow", "valve"]


@pytest.fixture(scope="module")
def data():
    return table(80)


@pytest.fixture(scope="module")
def fitted(data):
    return NARXRegressor(**QUICK).fit(data[INPUTS], data["level"])


# -- forms ------------------------------------------------------------------------------------


def test_pandas_in_and_out(data, fitted):
    found = fitted.predict(data[INPUTS])
    assert found.name == "level" and found.index.equals(data.index)
    two = NARXRegressor(**QUICK).fit(data[INPUTS], data[["level", "flow"]]).predict(data[INPUTS])
    assert list(two.columns) == ["level", "flow"] and two.index.equals(data.index)


def test_all_forms_of_the_same_series_give_the_same(data, fitted):
    x, y = data[INPUTS].to_numpy(), data["level"].to_numpy()
    as_arrays = NARXRegressor(**QUICK).fit(x, y).predict(x)
    np.testing.assert_allclose(as_arrays, fitted.predict(data[INPUTS]), rtol=1e-12)
    (of_list,) = NARXRegressor(**QUICK).fit([x], [y]).predict([x])
    np.testing.assert_allclose(of_list, as_arrays, rtol=1e-12)
    np.testing.assert_allclose(NARXRegressor(**QUICK).fit(x[None], y[None]).predict(x[None]), as_arrays[None], rtol=1e-12)


@pytest.mark.parametrize("model", [NARXRegressor(**QUICK), ARRegressor()], ids=lambda m: type(m).__name__)
def test_groups_are_series_wherever_their_rows_stand(model):
    """A table with alternating rows of two series equals a list of the two series."""
    parts = [table(50 - 8 * seed, seed=seed).assign(plant=name) for seed, name in enumerate("ab")]
    mixed = pd.concat(parts).sort_index(kind="stable")
    columns = [*INPUTS, "plant"]
    found = model.set_params(groups="plant").fit(mixed[columns], mixed["level"]).predict(mixed[columns])
    assert [(s.series, s.steps) for s in model.sessions_] == [("a", 50), ("b", 42)]
    lists = [p[INPUTS].to_numpy() for p in parts], [p["level"].to_numpy() for p in parts]
    of_lists = model.set_params(groups=None).fit(*lists).predict(lists[0])
    for name, expected in zip("ab", of_lists, strict=True):
        np.testing.assert_allclose(found[mixed["plant"] == name], expected)


def test_gaps_cut_a_series_and_are_told(data):
    holes = data.drop(data.index[[20, 21, 50]])
    model = NARXRegressor(**QUICK)
    with pytest.warns(UserWarning, match=r"2 gaps.*2024-01-01 19:00:00 to 2024-01-01 22:00:00; 2024-01-03 01:00") as told:
        model.fit(holes[INPUTS], holes["level"])
    assert told[0].filename == __file__
    assert [s.steps for s in model.sessions_] == [20, 28, 29]
    assert model.sessions_[1].start == data.index[22]
    # no history crosses a gap: each session has the same predictions as alone
    found = model.predict(holes[INPUTS])
    np.testing.assert_allclose(found[20:48], model.predict(holes[INPUTS][20:48]))
    residuals = model.residuals(holes[INPUTS], holes["level"])
    assert residuals.isna().sum() == 3 * model.reach_


def test_a_list_of_tables_has_the_checks_of_a_table(data):
    """The gap of a table in a list cuts it; names are kept; columns in another order are refused."""
    holes = data.drop(data.index[20:25])
    with pytest.warns(UserWarning, match="1 gap"):
        model = NARXRegressor(**QUICK).fit([data[INPUTS], holes[INPUTS]], [data["level"], holes["level"]])
    assert [(s.series, s.steps) for s in model.sessions_] == [(0, 80), (1, 20), (1, 55)]
    found = model.predict([data[INPUTS], holes[INPUTS]])
    assert found[1].name == "level" and found[1].index.equals(holes.index)
    np.testing.assert_allclose(found[1][20:], model.predict(holes[INPUTS][20:]))
    with pytest.raises(DataError, match=r"(?s)sequence 1: The feature names .*same order"):
        model.fit([data[INPUTS], data[INPUTS[::-1]]], [data["level"]] * 2)


def test_rows_that_are_left_out_are_gaps_of_whole_numbers_too(data):
    numbered = data.reset_index(drop=True).drop(index=[30, 31])
    with pytest.warns(UserWarning, match="1 gap.*: 29 to 32"):
        model = ARRegressor().fit(numbered[INPUTS], numbered["level"])
    assert [s.steps for s in model.sessions_] == [30, 48]


@pytest.mark.parametrize("freq", ["MS", "B", "QE", "W"])
def test_months_and_weekends_are_no_gaps(freq):
    index = pd.date_range("2020-01-01", periods=40, freq=freq)
    model = ARRegressor().fit(None, pd.Series(np.sin(np.arange(40.0)), index))
    assert len(model.sessions_) == 1
    assert model.forecast(steps=3).mean.index.equals(pd.date_range(index[-1], periods=4, freq=freq)[1:])


def test_a_holiday_is_a_gap_and_a_weekend_is_none():
    index = pd.bdate_range("2024-01-01", periods=40).delete([8])  # without 11 January, a Thursday
    with pytest.warns(UserWarning, match="1 gap"):
        model = ARRegressor().fit(None, pd.Series(np.sin(np.arange(39.0)), index))
    assert [s.steps for s in model.sessions_] == [8, 31]
    assert list(model.forecast(steps=2).mean.index) == list(pd.bdate_range(index[-1], periods=3)[1:])


INDICES = {
    "seconds": pd.Index(np.round(0.1 * np.arange(43), 1), name="t"),
    "elapsed": pd.timedelta_range("1s", periods=43, freq="10s"),
    "a zone": pd.date_range("2024-03-29", periods=43, freq="D", tz="Europe/Berlin"),
}


@pytest.mark.parametrize("what", INDICES)
def test_a_forecast_and_its_plot_go_on_with_the_index(what, tmp_path):
    index = INDICES[what]
    ARRegressor().fit(None, pd.Series(np.sin(np.arange(40.0)), index[:40])).save(tmp_path / "ar.safetensors")
    found = load(tmp_path / "ar.safetensors").forecast(steps=3)
    assert found.mean.index.equals(index[40:]) and found.mean.index.name == index.name
    found.plot().savefig(tmp_path / "plot.svg")


def test_one_value_for_each_sequence():
    rng = np.random.default_rng(0)
    xs = [rng.normal(size=(n, 1)) for n in rng.integers(3, 9, 40)]
    model = RecurrentRegressor("rnn", 6, max_iter=150, random_state=0).fit(xs, [x.sum() for x in xs])
    assert model.score(xs, [x.sum() for x in xs]) > 0.8
    assert model.residuals(xs, [x.sum() for x in xs]).shape == (40,)
    classes = RecurrentClassifier("rnn", 4, max_iter=40, random_state=0).fit(xs, [x.sum() > 0 for x in xs])
    assert classes.score(xs, [x.sum() > 0 for x in xs]) > 0.9
    assert classes.predict_proba(xs).shape == (40, 2)


def test_classes_of_a_table_are_kept_in_a_file(tmp_path):
    """The rows of the classes have labels of their own, as after a selection."""
    rng = np.random.default_rng(0)
    xs = [rng.normal(size=(n, 1)) for n in rng.integers(3, 9, 20)]
    y = pd.Series(["up" if x.sum() > 0 else "down" for x in xs], range(40, 60))
    model = RecurrentClassifier("rnn", 2, max_iter=2, random_state=0).fit(xs, y)
    model.save(tmp_path / "classes.safetensors")
    assert (load(tmp_path / "classes.safetensors").predict(xs) == model.predict(xs)).all()
    assert RecurrentRegressor("rnn", 2, max_iter=2).fit(xs, pd.Series(np.arange(20.0), y.index)).predict(xs).shape == (20,)


def test_a_class_for_each_step():
    u, _ = tank(200)
    y = np.where(np.convolve(u[:, 0], [1, 1])[:200] > 0, "open", "shut")
    model = RecurrentClassifier("rnn", 4, learning_rate=0.05, max_iter=60, random_state=0).fit(u, y)
    assert (model.predict(u) == y).mean() > 0.9
    np.testing.assert_allclose(model.predict_proba(u).sum(axis=1), 1)


# -- errors -------------------------------------------------------------------------------------


def with_value(data, row, column, value):
    changed = data.astype({column: object})
    changed.iloc[row, changed.columns.get_loc(column)] = value
    return changed


BAD = {
    "text": (
        lambda d: with_value(d, 7, "flow", "n/a"),
        r"column 'flow' of X must have numbers, but row 7 \(2024-01-01 07:00:00\) has 'n/a'",
    ),
    "text in y": (
        lambda d: with_value(d, 5, "level", "high"),
        r"column 'level' of y must have numbers, but row 5 \(2024-01-01 05.* has 'high'",
    ),
    "missing": (
        lambda d: d.replace({"valve": {d.iloc[9, 1]: np.nan}}),
        r"X has .*'valve' has NaN in 1 row, first in row 9 \(2024",
    ),
    "missing y": (lambda d: d.assign(level=[np.nan] * 4 + [*d["level"][4:]]), r"y has .*NaN in 4 rows, first in row 0 \(2024"),
    "infinite": (lambda d: d.replace({"flow": {d.iloc[3, 0]: np.inf}}), r"'flow' has inf in 1 row, first in row 3"),
    "repeated": (
        lambda d: pd.concat([d[:5], d[4:]]),
        r"two rows have the time 2024-01-01 04:00:00, the second of them is row 5.*duplicated",
    ),
    "unsorted": (lambda d: pd.concat([d[5:], d[:5]]), r"not in order: 2024-01-01 00:00:00 comes after .*row 75; .*sort_index"),
    "winter time": (
        lambda d: d.set_axis(pd.date_range("2024-10-25", periods=80, freq="h", tz="Europe/Berlin").tz_localize(None)),
        r"two rows have the time 2024-10-27 02:00:00.*if a clock was set back to winter time here, use times in UTC",
    ),
    "short": (lambda d: d[:3], r"too short: it has n_samples = 3; with a longest delay of 2, at least 4 rows"),
    "constant": (lambda d: d.assign(valve=1.0), r"X has the same value .* column 'valve'"),
    "constant y": (lambda d: d.assign(level=1.0), r"y has the same value .* column 'level'"),
    "at random": (
        lambda d: d.sample(20, random_state=0).sort_index(),
        r"irregular: .* from 0 days 01:00:00 to 0 days 15.*chosen at random",
    ),
    "shuffled": (
        lambda d: d.reset_index(drop=True).sample(frac=0.8, random_state=0),
        r"not in order: \d+ comes after \d+, in row",
    ),
    "levels": (lambda d: d.set_index("valve", append=True, drop=False), "the index has 2 levels, .*reset_index.*groups="),
    "times": (lambda d: d.assign(valve=d.index), r"column 'valve' of X has times; make it the index: df.set_index\('valve'\)"),
}


@pytest.mark.filterwarnings("ignore:the index has")
@pytest.mark.parametrize("make, message", BAD.values(), ids=BAD)
def test_bad_data(data, make, message):
    bad = make(data)
    with pytest.raises(DataError, match=message):
        NARXRegressor(**QUICK).fit(bad[INPUTS], bad["level"])


CALLS = {
    "horizon 0": (
        lambda m, d: m.predict(d[INPUTS], horizon=0, y_past=d["level"]),
        "horizon must be a whole number of steps, at least 1, .* not 0",
    ),
    "no measurements": (lambda m, d: m.predict(d[INPUTS], horizon=2), r"y_past is missing: give the measurements"),
    "nothing to run": (lambda m, d: m.predict(d[INPUTS], y_past=d["level"]), r"no row is left to predict.*y\[:2\]"),
    "a column less": (lambda m, d: m.predict(d[["flow"]]), "Feature names seen at fit time, yet now missing:\n- valve"),
    "another column": (
        lambda m, d: m.predict(d.rename(columns={"flow": "Flow"})[["Flow", "valve"]]),
        "unseen at fit time:\n- Flow",
    ),
    "no inputs": (lambda m, d: m.predict(None, y_past=d["level"]), "X is missing: NARXRegressor was fitted with 2 inputs"),
    "steps for inputs": (lambda m, d: m.forecast(3), r"write forecast\(steps=3\)"),
    "no inputs ahead": (lambda m, d: m.forecast(steps=3), "X is missing: the forecast needs the 2 inputs of each step"),
    "a gap before": (
        lambda m, d: m.forecast(d[INPUTS].shift(100, "h")),
        "data end at 2024-01-04 07:00:00, so X must begin at 2024-01-04 08:00:00, not at 2024-01-05 04",
    ),
    "past apart": (
        lambda m, d: m.forecast(d[INPUTS][50:], d["level"][:50]),
        r"X must have the inputs of the past.*pd.concat",
    ),
    "interval": (
        lambda m, d: m.forecast(d[INPUTS].shift(80, "h"), interval=90),
        "interval must be a share .* such as 0.9 .* not 90",
    ),
    "interval as text": (lambda m, d: m.forecast(d[INPUTS].shift(80, "h"), interval="90"), "interval must .*'90'"),
    "no paths": (lambda m, d: m.forecast(d[INPUTS].shift(80, "h"), paths=0), "paths .*0"),
    "no patience": (lambda m, d: NARXRegressor(patience=None).fit(d[INPUTS], d["level"]), "patience .*None"),
    "nothing for a cell": (lambda m, d: RecurrentRegressor(None).fit(d[INPUTS], d["level"]), "NoneType"),
    "no class": (lambda m, d: RecurrentClassifier().fit(d[INPUTS], ["a", None] * 40), "row 1 has None"),
    "a hole in the past": (
        lambda m, d: m.predict(d[INPUTS], y_past=d["level"].where(d.index.hour != 3)),
        "NaN in row 3 and values after",
    ),
    "no y": (lambda m, d: NARXRegressor().fit(d[INPUTS]), r"the target y is None.*fit\(None, y\)"),
    "no group": (
        lambda m, d: NARXRegressor(groups="Valve").fit(d[INPUTS], d["level"]),
        "no column 'Valve'.*did you mean 'valve'",
    ),
    "a row without a group": (
        lambda m, d: ARRegressor(groups="valve").fit(d[INPUTS].assign(valve=["a", None] * 40), d["level"]),
        r"'valve' of the groups has no value in row 1 \(2024",
    ),
    "groups of nothing": (lambda m, d: ARRegressor(groups="plant").fit(None, d["level"]), "groups='plant' .*X is None"),
    "a name": (lambda m, d: NARXRegressor().fit(d[INPUTS], "level"), r"such as df\['level'\], not the name"),
    "no cell": (
        lambda m, d: RecurrentRegressor(nn.GRU).fit(d[INPUTS], d["level"]),
        "'gru', or a function .* makes an nn.Cell; it made a GRU",
    ),
    "solver": (
        lambda m, d: NARXRegressor(solver="sgd").fit(d[INPUTS], d["level"]),
        "solver must be 'auto', 'lm', 'lbfgs' or 'adam'",
    ),
    "fraction": (
        lambda m, d: NARXRegressor(validation_fraction=1).fit(d[INPUTS], d["level"]),
        "validation_fraction must be at least 0",
    ),
    "lengths": (lambda m, d: NARXRegressor().fit(d[INPUTS], d["level"][:70]), "inconsistent numbers of samples"),
    "of a list": (
        lambda m, d: NARXRegressor().fit([d[INPUTS].to_numpy()], [d["level"][:9].to_numpy()]),
        "80 steps in X, but 9 in y",
    ),
    "one value": (
        lambda m, d: NARXRegressor().fit([d[INPUTS].to_numpy()], [1.0]),
        "one value for each sequence, but NARXRegressor needs",
    ),
    "no inputs at all": (lambda m, d: RecurrentRegressor().fit(None, d["level"]), "needs inputs X; for a series without"),
    "one class": (lambda m, d: RecurrentClassifier().fit(d[INPUTS], d["level"] > 0), "y has only one class"),
}


@pytest.mark.parametrize("call, message", CALLS.values(), ids=CALLS)
def test_bad_calls(data, fitted, call, message):
    with pytest.raises(ValueError, match=re.compile(message, re.DOTALL)):
        call(fitted, data)


@pytest.mark.parametrize("kind", [NARXRegressor, ARRegressor, RecurrentRegressor, RecurrentClassifier])
def test_not_fitted(data, kind, tmp_path):
    for call in (lambda: kind().predict(data[INPUTS]), lambda: kind().save(tmp_path / "model.safetensors")):
        with pytest.raises(NotFittedError):
            call()
    assert not any(tmp_path.iterdir())
