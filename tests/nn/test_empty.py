"""Every model runs on sequences without steps or without rows, forwards and backwards."""

from collections import namedtuple

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ShapeError
from tinygrad_rnn.tree import flatten

F4 = "float32"
SHAPES = [(0, 2), (3, 0), (0, 0)]


def zeros(*shape):
    return np.zeros(shape, F4)


def seq2seq(T, B):
    decoder = nn.Decoder(nn.Embedding(4, 3), nn.GRUCell(3, 5), nn.Linear(5, 4), start=0, end=1)
    model = nn.Seq2Seq(nn.GRU(2, 5), decoder)
    return model, lambda: model(zeros(T, B, 2), np.zeros((T, B), int), lengths=np.full(B, T), target_lengths=np.full(B, T))


def decoder(T, B):
    model = nn.Decoder(nn.Embedding(4, 3), nn.RNNCell(3, 5), nn.Linear(5, 4), start=0, end=1, context_size=2, at="both")
    return model, lambda: model(np.zeros((T, B), int), zeros(B, 2))


def narx(T, B):
    model = nn.NARX(2, 1)
    history = model.history(zeros(2, B, 2), zeros(2, B, 1))
    return model, lambda: (model.free_run(zeros(T, B, 2), history), model.one_step(zeros(T, B, 2), history, zeros(T, B, 1)))


def ar(T, B):
    model = nn.AR(2)
    history = model.history(zeros(2, B, 1))
    return model, lambda: (model.one_step(zeros(T, B, 1), history), model.forecast(history, T), model.sample(history, T))


def layer(make):
    def made(T, B):
        model = make()
        return model, lambda: model(zeros(T, B, 3))

    return made


def system(T, B):
    model = nn.Recurrent(nn.SystemCell(0, 3))
    return model, lambda: model(None, tr.tensor(zeros(B, 3)), steps=T)


MODELS = {
    "rnn": layer(lambda: nn.RNN(3, 4)),
    "lstm": layer(lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True, proj_size=2)),
    "gru": layer(lambda: nn.GRU(3, 4, num_layers=[2, 4], bidirectional=True)),
    "jordan": layer(lambda: nn.Jordan(3, 4, 2)),
    "residual": layer(lambda: nn.Recurrent(nn.ResidualCell(3, 4))),
    "sum": layer(lambda: nn.Recurrent(nn.ResidualCell(3, 4, recurrent=False))),
    "system": system,
    "time delay": layer(lambda: nn.Sequential(nn.TimeDelay(3, 4), nn.TimeDelay(4, 2, [0, 3]))),
    "narx": narx,
    "ar": ar,
    "decoder": decoder,
    "seq2seq": seq2seq,
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_it_runs_forwards_and_backwards(name, shape):
    model, run = MODELS[name](*shape)
    parts = flatten(run())
    total = sum(part.sum() for part in parts if part.dtype.kind == "f")
    assert parts and all(np.isfinite(part.data).all() for part in parts)
    assert float(total.data) == 0 or 0 not in shape[1:]
    for gradient, parameter in zip(tr.grad(total, model.parameters()), model.parameters(), strict=True):
        assert gradient.shape == parameter.shape and np.isfinite(gradient.data).all()


@pytest.mark.parametrize("search", ["greedy", "sample", "beam"])
def test_no_rows_are_decoded_to_no_sequences(search):
    model, _ = seq2seq(3, 0)
    found = getattr(model, search)(zeros(3, 0, 2), max_steps=4)
    assert found.lengths.shape[0] == 0


class Counter(nn.Cell):
    """Counts steps in a slot of a named tuple, and returns a NumPy array as output."""

    state_shape = namedtuple("State", ["n"])((1,))

    def step(self, x, state):
        return np.ones((1, 2)), state._replace(n=state.n + 1)


@pytest.mark.parametrize("mode", ["scan", "unroll"])
def test_a_run_of_no_steps_says_what_a_run_of_one_step_says(mode):
    start = [tr.tensor(zeros(1, 1)) for _ in range(2)]
    none, one = (
        nn.Recurrent(Counter(), mode).recorded(None, Counter.state_shape._replace(n=n), steps=T) for T, n in enumerate(start)
    )
    assert none[0].shape == (0, 1, 2) and one[0].shape == (1, 1, 2)
    assert (
        {name: x.shape[1:] for name, x in none[2].items()} == {name: x.shape[1:] for name, x in one[2].items()} == {"n": (1, 1)}
    )
    assert [(x.name, x.node.role) for x in start] == [("n", "initial")] * 2
    with pytest.raises(ShapeError, match="there is no slot 'm'"):
        nn.Recurrent(Counter(), mode)(None, steps=0, force={"m": zeros(0, 1, 1)})
