"""Structural assertions: causality, shared weights, receptive fields, the difference of two graphs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.testing import assert_causal, assert_shared, difference, receptive_field


class Ahead(nn.Module):
    """A layer that reads the next input of each step, for the whole sequence at once."""

    def __init__(self) -> None:
        super().__init__()
        self.input_size = 2
        self.V = nn.Parameter((2, 3), symbol="V")

    def forward(self, xs):
        later = tr.concatenate([xs[1:], xs[:1] * 0])
        return (later @ self.V).named("a")


class Leak(nn.Module):
    """A layer that scales all outputs by an array computed from the whole input, outside the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.input_size = 2
        self.V = nn.Parameter((2, 3), symbol="V")

    def forward(self, xs):
        try:
            scale = float(xs.numpy().mean())
        except tr.errors.TraceError:
            scale = 1.0
        return xs @ self.V * scale


class Skips(nn.Cell):
    """A cell that reads its state of two steps before: a recurrence over every second step."""

    def __init__(self) -> None:
        super().__init__()
        self.W = nn.Parameter((2, 2), symbol="W")
        self.state_shape = ((2,), (2,))

    def step(self, x, state):
        last, older = state
        h = tr.tanh(x + older @ self.W).named("h")
        return h, (h, last)


CAUSAL = [
    nn.RNNCell(2, 3),
    nn.LSTM(2, 3, num_layers=2),
    nn.GRU(2, 3, batch_first=True),
    nn.Sequential(nn.Recurrent(nn.RNNCell(2, 3)), nn.Linear(3, 2), tr.tanh),
    nn.Sequential(nn.Embedding(5, 3), nn.Recurrent(nn.RNNCell(3, 3))),
    nn.TimeDelay(2, 3, delays=[0, 2]),
]


@pytest.mark.parametrize("model", CAUSAL, ids=lambda m: type(m).__name__)
def test_causal_models(model):
    assert_causal(model)
    assert all(k >= 0 for k in receptive_field(model))


@pytest.mark.parametrize(
    ("model", "path"),
    [
        (nn.LSTM(2, 3, bidirectional=True), "reverse"),
        (nn.GRU(2, 3, num_layers=2, bidirectional=True, batch_first=True), "reverse"),
        (nn.Recurrent(nn.RNNCell(2, 3), reverse=True), "h"),
        (nn.Sequential(nn.Recurrent(nn.RNNCell(2, 3)), nn.RNN(3, 2, bidirectional=True)), "reverse"),
        (Ahead(), "a"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_looks_ahead_is_found_with_its_path(model, path):
    with pytest.raises(AssertionError, match=rf"the output of step 1 depends on a later input: x\[2\] → .*{path}.* → y\[1\]"):
        assert_causal(model)
    assert min(receptive_field(model)) < 0


def test_what_leaks_past_the_graph_is_found_by_numbers():
    with pytest.raises(AssertionError, match="reads values outside of its graph"):
        assert_causal(Leak())


@given(st.data())
def test_a_time_delay_network_has_exactly_its_own_delays(data):
    delays = [data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True).map(sorted)) for _ in range(2)]
    dilation = data.draw(st.integers(1, 2))
    model = nn.Sequential(nn.TimeDelay(2, 3, delays=delays[0], dilation=dilation), nn.TimeDelay(3, 1, delays=delays[1]))
    field = receptive_field(model)
    assert field == tuple(sorted({dilation * a + b for a in delays[0] for b in delays[1]}))
    assert not field.unbounded


def test_a_recurrence_has_all_the_past():
    assert repr(receptive_field(nn.LSTMCell(2, 3), T=4)) == "ReceptiveField(0, 1, 2, 3, …)"
    assert repr(receptive_field(Skips(), T=5, inputs=np.ones((1, 2), "float32"))) == "ReceptiveField(0, 2, 4, …)"
    assert receptive_field(nn.RNN(2, 3, bidirectional=True), T=3) == (-3, -2, -1, 0, 1, 2, 3)


def test_models_that_have_no_such_property():
    with pytest.raises(tr.errors.ShapeError, match=r"must have an output for each step"):
        assert_causal(nn.Sequential(nn.Recurrent(nn.RNNCell(2, 3)), lambda hs: hs[-1]))
    with pytest.raises(tr.errors.ShapeError, match=r"call model\.eval"):
        assert_causal(nn.Sequential(nn.Recurrent(nn.RNNCell(2, 3)), nn.Dropout(0.5)))
    with pytest.raises(ValueError, match="T must be a whole number, at least 1, not 0"):
        receptive_field(nn.RNNCell(2, 3), T=0)


def test_uses_of_shared_weights():
    model = nn.Sequential(nn.Recurrent(nn.RNNCell(2, 3)), nn.Linear(3, 1))
    outputs = model(np.ones((4, 2, 2), "float32"))
    for parameter in model.parameters():
        assert_shared(parameter, uses=4, of=outputs)
    with pytest.raises(AssertionError, match=r"^W is used 4 times, at steps 1 to 4, not once$"):
        assert_shared(model[0].cell.weight_hh, uses=1, of=outputs)
    with pytest.raises(AssertionError, match=r"^W is used 0 times, not 4 times"):
        assert_shared(nn.RNNCell(2, 3).weight_hh, uses=4, of=outputs)


def test_weights_that_are_not_shared():
    own = [nn.Parameter(np.eye(2), symbol="W") for _ in range(3)]
    h = tr.tensor(np.ones((1, 2)))
    for t, x in tr.steps(np.ones((3, 1, 2))):
        h = tr.tanh(h @ own[t - 1] + x)
    with pytest.raises(AssertionError, match=r"W is used once, at step 1, not 3 times; 2 other parameters have the same name"):
        assert_shared(own[0], uses=3, of=h)


def test_the_difference_of_graphs():
    xs = tr.tensor(np.ones((3, 1, 2), "float32")).named("x")
    plain, relu = nn.RNNCell(2, 3), nn.RNNCell(2, 3, nonlinearity="relu")
    graphs = [tr.graph(nn.Recurrent(cell, mode=mode)(xs)[0]) for cell in (plain, relu) for mode in ("scan", "unroll")]
    assert difference(graphs[0], graphs[1]) is None
    found = difference(graphs[0], graphs[3])
    assert found == "the first graph has cell.h[1]: tanh(cell.add_3[1]), and the second has cell.h[1]: relu(cell.add_3[1])"
    y = tr.tensor(1.0).named("y")
    assert difference(tr.graph(y), tr.graph(y, y + 1)) is not None


@given(st.integers(0, 5), st.integers(0, 5))
def test_two_graphs_differ_if_they_are_not_equal(a, b):
    x = tr.tensor([1.0, 2.0]).named("x")
    one, other = (tr.graph(tr.tanh(x) * n + x) for n in (a, b))
    assert (difference(one, other) is None) == (one == other) == (a == b)
