"""Comparison of cells."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import explain, nn
from tinygrad_rnn.errors import ShapeError, TinygradError

XS = np.random.default_rng(0).normal(size=(40, 2, 3)).astype("float32")
CELLS = {"RNN": nn.RNNCell, "LSTM": nn.LSTMCell, "GRU": nn.GRUCell, "residual": nn.ResidualCell}


def squares(outputs, targets):
    return ((outputs - targets) ** 2).sum(axis=-1)


@pytest.fixture(autouse=True)
def seeded():
    tr.random.seed(0)


def test_equal_parameters_and_equal_width():
    found = explain.compare(CELLS, (XS, XS[..., :1], squares), hidden_size=24)
    counts = list(found.parameters.values())
    assert counts[0] == sum(p.size for p in found.models["RNN"].parameters())
    assert max(abs(n - counts[0]) for n in counts) < 0.1 * counts[0]
    found = explain.compare(CELLS, (XS, XS[..., :1], squares), hidden_size=7, equal="width")
    assert [model[0].cell.hidden_size for model in found.models.values()] == [7] * 4


def test_the_gradient_vanishes_without_a_path_that_keeps_it():
    found = explain.compare(CELLS, (XS, XS, squares))
    gammas = found.gammas
    assert gammas["RNN"] < 0.75 < gammas["residual"]
    for name, flow in found.flows.items():
        alone = explain.gradient_flow(found.models[name], XS, XS, squares)
        assert np.array_equal(flow.norms, alone.norms, equal_nan=True)
        assert flow.decay[0] == 1
        assert found.exponents[name] == pytest.approx(explain.lyapunov(found.models[name], XS, 1)[0])
        assert np.exp(found.exponents[name]) == pytest.approx(gammas[name], abs=0.2)
    lines = repr(found).splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(CELLS)
    assert lines[0].split()[:3] == ["parameters", "γ", "R²"]
    assert found.to_dict()["flows"]["RNN"]["gamma"] == gammas["RNN"]


def test_models_of_all_kinds_and_classes():
    codes = np.random.default_rng(1).integers(0, 5, (40, 2))

    def loss(outputs, targets):
        return nn.cross_entropy(outputs, targets, reduction="none")

    ready = nn.Sequential(nn.LSTM(3, 4, 2), nn.Linear(4, 5))
    found = explain.compare({"stack": ready, "GRU": nn.GRUCell}, (XS, codes, loss), at={"stack": "c_l0", "GRU": "h"})
    assert found.flows["stack"].at == "c_l0"
    assert found.models["GRU"][1].V.shape[1] == 5


@pytest.mark.parametrize(
    "models, options, error, words",
    [
        ({}, {}, ValueError, "compare needs at least one model"),
        (CELLS, {"equal": "speed"}, ValueError, "equal must be 'width' or 'parameters', not 'speed'"),
        ({"LSTM": "LSTM"}, {}, TinygradError, "LSTM must be a Module, or a function of .* that makes a cell"),
        ({"LSTM": nn.LSTM}, {}, TinygradError, "the function must make a cell, not of type LSTM"),
        ({"line": nn.Linear(3, 3)}, {}, TinygradError, "not depend on a recurrent part of Linear"),
        (CELLS, {"at": "c"}, ShapeError, "there is no value 'c'"),
    ],
)
def test_bad_input_gets_one_clear_error(models, options, error, words):
    with pytest.raises(error, match=words):
        explain.compare(models, (XS, XS, squares), **options)
