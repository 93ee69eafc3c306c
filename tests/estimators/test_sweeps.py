"""Searches on a Dask cluster of two processes: same results as in one process, with a user's cell, with a killed worker."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from plants import ar2, tank
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit

from tinygrad_rnn.estimators import ARRegressor, NARXRegressor, RecurrentRegressor

distributed = pytest.importorskip("distributed", reason="needs the extra dask")
cloudpickle = pytest.importorskip("cloudpickle")
pytestmark = pytest.mark.filterwarnings("ignore")  # of Dask, while processes begin and end

CELL = """
import tinygrad_rnn as tr
from tinygrad_rnn import nn


class Leaky(nn.Cell):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.U, self.W = nn.Parameter((input_size, hidden_size)), nn.Parameter((hidden_size, hidden_size))
        self.state_shape = (hidden_size,)

    def step(self, x, h):
        h = 0.5 * h + tr.tanh(x @ self.U + h @ self.W)
        return h, h
"""
HERE = os.getpid()


class Mortal(NARXRegressor):
    """An estimator whose first fit in another process kills that process; the file `flag` records that this has happened."""

    flag = ""

    def fit(self, X, y=None):
        if os.getpid() != HERE:
            try:
                os.close(os.open(self.flag, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return super().fit(X, y)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(X, y)


def weights(series):
    """An AR model's weights, and the process that found them."""
    return ARRegressor(order=2).fit(None, series).module_.w.ravel(), os.getpid()


@pytest.fixture(scope="module")
def client():
    """Two workers, each a process with one thread; classes of this file are sent by value, as from a notebook."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": logging.CRITICAL}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        client.amm.stop()  # otherwise it would drop all copies of scattered data except one
        yield client
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def scores(search, X, y):
    return search.fit(X, y).cv_results_["mean_test_score"]


def test_a_cell_of_ones_own_in_a_search_once_workers_can_import_it(client, tmp_path, monkeypatch):
    (tmp_path / "my_cells.py").write_text(CELL, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_cells", raising=False)
    model = RecurrentRegressor(importlib.import_module("my_cells").Leaky, max_iter=4, random_state=0)
    search = GridSearchCV(model, {"hidden_size": [1, 2]}, cv=TimeSeriesSplit(2))
    X, y = tank(120)
    expected = scores(search, X, y)
    with pytest.raises(ModuleNotFoundError, match="my_cells"):
        client.run(importlib.import_module, "my_cells")
    client.upload_file(str(tmp_path / "my_cells.py"))
    with joblib.parallel_config("dask", scatter=[X, y]):
        np.testing.assert_array_equal(scores(search, X, y), expected)


def test_many_series_are_fitted_side_by_side(client):
    rng = np.random.default_rng(0)
    many = [ar2(200, rng) for _ in range(12)]
    with joblib.parallel_config("dask", scatter=many):
        found = joblib.Parallel()(joblib.delayed(weights)(series) for series in many)
    np.testing.assert_array_equal([w for w, _ in found], [weights(series)[0] for series in many])
    assert HERE not in {process for _, process in found}


def test_a_worker_killed_in_a_search_loses_nothing(client, tmp_path):
    grid = {"hidden_size": [0, 1, 2], "output_delays": [1, 2]}
    X, y = tank(130)  # not the arrays of another test, which the cluster may be deleting at this moment
    Mortal.flag = str(tmp_path / "killed")
    search = GridSearchCV(Mortal(max_iter=2, restarts=1, closed_loop=False, random_state=0), grid, cv=TimeSeriesSplit(2))
    expected = scores(search, X, y)
    before = set(client.run(os.getpid).values())
    with joblib.parallel_config("dask", scatter=[X, y]):
        np.testing.assert_array_equal(scores(search, X, y), expected)
    assert Path(Mortal.flag).exists() and set(client.run(os.getpid).values()) != before
