"""The interface of scikit-learn: its own checks, clones, pipelines and searches, also with a user's own cell."""

from __future__ import annotations

import numpy as np
import pytest
from plants import table, tank
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.estimators import ARRegressor, NARXRegressor, RecurrentClassifier, RecurrentRegressor, load

IN_ORDER = {
    "check_methods_sample_order_invariance": "rows are steps of time: in another order they are another series",
    "check_methods_subset_invariance": "a row is predicted from the rows before it, and some rows alone are another series",
}


@parametrize_with_checks(
    [
        NARXRegressor(hidden_size=1, max_iter=1, restarts=1, closed_loop=False),
        ARRegressor(order=1),
        RecurrentRegressor("rnn", 2, max_iter=1),
        RecurrentClassifier("rnn", 2, max_iter=1),
    ],
    expected_failed_checks=lambda estimator: {} if isinstance(estimator, ARRegressor) else IN_ORDER,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


class Leaky(nn.Cell):
    """A user's own cell."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.U = nn.Parameter((input_size, hidden_size))
        self.W = nn.Parameter((hidden_size, hidden_size))
        self.state_shape = (hidden_size,)

    def step(self, x, h):
        h = 0.5 * h + tr.tanh(x @ self.U + h @ self.W)
        return h, h


def test_a_cell_of_ones_own_in_a_pipeline_in_a_search_and_in_a_file(tmp_path):
    data = table(160)
    model = make_pipeline(MinMaxScaler().set_output(transform="pandas"), RecurrentRegressor(Leaky, max_iter=25, random_state=0))
    grid = {"recurrentregressor__hidden_size": [1, 6], "recurrentregressor__cell": [Leaky, "gru"]}
    search = GridSearchCV(model, grid, cv=TimeSeriesSplit(2)).fit(data[["flow", "valve"]], data["level"])
    assert search.best_params_["recurrentregressor__hidden_size"] == 6
    cell = search.best_estimator_[-1].module_[0].cell
    assert isinstance(cell, Leaky) or search.best_params_["recurrentregressor__cell"] == "gru"
    assert search.cv_results_["mean_test_score"].max() > search.cv_results_["mean_test_score"].min()
    assert search.predict(data[["flow", "valve"]]).index.equals(data.index)
    own = RecurrentRegressor(Leaky, 2, max_iter=1, random_state=0).fit(data[["flow", "valve"]], data["level"])
    own.save(tmp_path / "own.safetensors")
    again = load(tmp_path / "own.safetensors", classes=[Leaky])
    assert again.cell is Leaky and again.predict(data[["flow", "valve"]]).equals(own.predict(data[["flow", "valve"]]))


def test_a_search_over_delays_finds_those_of_the_plant():
    u, y = tank(240)
    model = NARXRegressor(hidden_size=3, closed_loop=False, max_iter=15, restarts=1, random_state=0)
    search = GridSearchCV(model, {"input_delays": [[1], [1, 2]], "output_delays": [1, 2]}, cv=TimeSeriesSplit(2)).fit(u, y)
    assert search.best_params_ == {"input_delays": [1, 2], "output_delays": 2}
    assert search.best_score_ > 0.9


def test_the_same_seed_fits_the_same_and_leaves_the_librarys_generator_alone():
    u, y = tank(60)
    model = NARXRegressor(hidden_size=2, max_iter=3, restarts=1, random_state=3)
    tr.seed(5)
    expected = tr.Parameter((2,)).data
    tr.seed(5)
    first = model.fit(u, y).predict(u)
    np.testing.assert_array_equal(tr.Parameter((2,)).data, expected)
    np.testing.assert_array_equal(clone(model).fit(u, y).predict(u), first)
    assert not np.array_equal(clone(model).set_params(random_state=4).fit(u, y).predict(u), first)
