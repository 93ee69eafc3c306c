"""Graphical models: the edges are the dependences found by perturbing the network."""

from __future__ import annotations

import numpy as np
import pytest

from tinygrad_rnn import explain, nn
from tinygrad_rnn.errors import TinygradError

T = 4
LANGUAGE = nn.Sequential(nn.Embedding(10, 3), nn.RNN(3, 4), nn.Linear(4, 10))


def edges(drawing):
    return {(arc.source.name, arc.target.name) for arc in drawing.sketch.arcs}


def test_a_language_model_is_a_full_table():
    drawing = explain.draw_graphical_model(LANGUAGE, nn.cross_entropy, T, shifted=True)
    assert edges(drawing) == {(f"y[{k}]", f"y[{t}]") for t in range(1, T + 1) for k in range(t)}
    assert "10^4 − 1 = 9,999 numbers" in drawing.description
    assert f"{sum(p.data.size for p in LANGUAGE.parameters())} parameters" in drawing.description


def test_states_stand_between():
    found = edges(explain.draw_graphical_model(LANGUAGE, nn.cross_entropy, T, shifted=True, states=True))
    steps = range(1, T + 1)
    assert found == {
        *((f"y[{t - 1}]", f"h[{t}]") for t in steps),
        *((f"h[{t}]", f"h[{t + 1}]") for t in steps[:-1]),
        *((f"h[{t}]", f"y[{t}]") for t in steps),
    }


def test_without_feedback_the_targets_are_independent_given_x():
    drawing = explain.draw_graphical_model(nn.Sequential(nn.LSTM(3, 4), nn.Linear(4, 2)), nn.mse, T)
    assert edges(drawing) == {(f"x[{k}]", f"y[{t}]") for t in range(1, T + 1) for k in range(1, t + 1)}
    assert "independent" in drawing.description


def test_teacher_forcing_feeds_targets_back():
    jordan = nn.Recurrent(nn.JordanCell(3, 4, 2))
    forced = edges(explain.draw_graphical_model(jordan, nn.mse, T, force=["o"]))
    assert forced == {(f"{v}[{k}]", f"y[{t}]") for t in range(1, T + 1) for v, k in (("x", t), ("y", t - 1)) if k}
    assert edges(explain.draw_graphical_model(jordan, nn.mse, T)) == {
        (f"x[{k}]", f"y[{t}]") for t in range(1, T + 1) for k in range(1, t + 1)
    }


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_edges_are_what_changes_an_output(bidirectional):
    model = nn.Sequential(nn.RNN(3, 4, bidirectional=bidirectional, dtype=np.float64), nn.Linear(8 if bidirectional else 4, 2))
    xs = np.random.default_rng(0).normal(size=(T, 1, 3))
    found = set()
    for k in range(T):
        moved = xs.copy()
        moved[k] += 1
        changed = np.abs(model(moved).data - model(xs).data).max(axis=(1, 2)) > 1e-9
        found |= {(f"x[{k + 1}]", f"y[{t}]") for t in np.flatnonzero(changed) + 1}
    assert edges(explain.draw_graphical_model(model, nn.mse, T)) == found


def test_a_loss_without_a_target():
    with pytest.raises(TinygradError, match="needs a loss with a target"):
        explain.draw_graphical_model(LANGUAGE, lambda o, y: (o * o).sum(), T)
