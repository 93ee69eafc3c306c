"""States over a text or a series: every named value, saturation, units that respond to a property, neighbours."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.explain import States, inside_quotes, measure, neighbours, passage, position_in_line, states
from tinygrad_rnn.sequences import CharVocabulary

TEXT = 'He said "no (never)" twice.\nOh'
VOCABULARY = CharVocabulary(TEXT)


class Reader(nn.Module):
    """A network for text that knows its vocabulary."""

    def __init__(self, cell, **options):
        super().__init__()
        self.vocabulary = VOCABULARY
        self.embedding = nn.Embedding(len(VOCABULARY), 3)
        self.recurrent = nn.Recurrent(cell, **options)
        self.output = nn.Linear(4, len(VOCABULARY))

    def forward(self, codes):
        hidden, state = self.recurrent(self.embedding(codes))
        return self.output(hidden), state


# -- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", [nn.RNNCell(3, 4), nn.LSTMCell(3, 4), nn.GRUCell(3, 4)], ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("mode", ["scan", "unroll"])
def test_the_values_of_a_layer_in_a_network(cell, mode):
    model = Reader(cell, mode=mode)
    found = states(model, TEXT)
    expected = nn.Recurrent(cell).states(model.embedding(VOCABULARY.encode(TEXT)[:, None]))
    assert found.values.keys() == expected.keys() and len(TEXT) == found.steps
    assert all(np.allclose(found[name], x.data[:, 0], atol=1e-6) for name, x in expected.items())
    assert json.loads(json.dumps(found.to_dict()))["text"] == TEXT


@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"reverse": True}])
def test_layers_and_directions_keep_their_places(options):
    rng = np.random.default_rng(0)
    xs = rng.standard_normal((2, 5, 3) if "batch_first" in options else (5, 2, 3)).astype("float32")
    if "reverse" in options:
        for mode in ("scan", "unroll"):
            layer = nn.Recurrent(nn.RNNCell(3, 4), mode, reverse=True)
            assert np.allclose(states(layer, xs, example=1)["h"], layer(xs)[0].data[:, 1])
        return
    model = nn.LSTM(3, 4, num_layers=2, bidirectional=True, **options)
    found, outputs = states(model, xs, example=1), model(xs)[0].data
    last = outputs[1] if options else outputs[:, 1]
    assert np.allclose(np.hstack([found["h_l1"], found["h_l1_reverse"]]), last, atol=1e-6)
    assert len(found.values) == 4 * len("ifgoch")


def test_a_hidden_name_is_there_when_it_is_asked_for():
    xs, cell = np.ones((4, 1, 3), "float32"), nn.RNNCell(3, 4)
    for mode in ("scan", "unroll"):
        found = states(nn.Recurrent(cell, mode=mode), xs, names=["a"])
        assert list(found.values) == ["a", "h"]
        assert np.allclose(np.tanh(found["a"]), found["h"], atol=1e-6)


class Attending(nn.Cell):
    """Reads S source vectors, weighted by their similarity to the state; the weights are named α."""

    def __init__(self, source, size, dtype=float):
        super().__init__()
        self.Q = nn.Parameter((size, size), symbol="Q", dtype=dtype)
        self.U = nn.Parameter((size, size), symbol="U", dtype=dtype)
        self.state_shape = ((size,), (source, size))

    def step(self, x, state):
        h, memory = state
        scores = memory @ (h @ self.Q)[..., None]
        weights = tr.softmax(scores[..., 0]).named("α")
        h = tr.tanh(x @ self.U + (weights[..., None] * memory).sum(axis=1)).named("h")
        return h, (h, memory)


@pytest.mark.parametrize("mode", ["scan", "unroll"])
def test_attention_weights_are_there_by_the_name_that_their_cell_gives(mode):
    rng = np.random.default_rng(0)
    cell = Attending(source=4, size=3)
    xs, h, memory = rng.normal(size=(5, 2, 3)), rng.normal(size=(2, 3)), rng.normal(size=(2, 4, 3))
    found = states(nn.Recurrent(cell, mode=mode), xs, example=1, state=(h, memory))
    assert list(found.values) == ["α", "h"]
    h, memory, alphas = h[1], memory[1], []
    for x in xs[:, 1]:  # in NumPy, for one example
        scores = np.array([source @ (h @ cell.Q.data) for source in memory])
        alphas.append(np.exp(scores) / np.exp(scores).sum())
        h = np.tanh(x @ cell.U.data + sum(a * source for a, source in zip(alphas[-1], memory, strict=True)))
    assert np.allclose(found["α"], alphas)  # (step, source position)
    assert np.allclose(found["h"][-1], h)
    cells = [vertex.tooltip for vertex in found.draw("α").sketch.vertices if vertex.family == "cell"]
    assert len(cells) == 5 * 4 and cells[0].startswith("unit 0, 1: ")


def test_a_loop_of_a_users_own():
    W = nn.Parameter((3, 3), symbol="W")

    class Own(nn.Module):
        def forward(self, xs):
            h, hs = tr.tensor(np.zeros((1, 3), "float32")), []
            for _, x in tr.steps(xs):
                h = tr.tanh(x + h @ W).named("h")
                hs.append(h)
            return tr.stack(hs)

    xs = np.random.default_rng(0).standard_normal((6, 1, 3)).astype("float32")
    found = states(Own(), xs)
    assert np.allclose(found["h"], Own()(xs).data[:, 0]) and found.bounds == {"h": (-1, 1)}


# -- saturation ------------------------------------------------------------------------------------


def test_saturation_of_bounded_values():
    model = nn.LSTM(1, 2)
    found = states(model, 100 * np.sign(np.arange(6) - 1.5).reshape(6, 1, 1).astype("float32"))
    assert found.bounds == {"i": (0, 1), "f": (0, 1), "g": (-1, 1), "o": (0, 1)}
    for name, near in found.saturation().items():
        low, high = found.bounds[name]
        assert (near.low == (found[name] < low + 0.1 * (high - low)).mean(0)).all()
        assert (near.high == (found[name] > high - 0.1 * (high - low)).mean(0)).all()
        assert near.share > 0.3
    values = np.array([[0.05, 0.12, -0.85, -0.95]]).T
    near = States(None, {"f": np.abs(values), "g": values}, {"f": (0, 1), "g": (-1, 1)}).saturation()
    assert (near["f"].low, near["f"].high, near["g"].low, near["g"].high) == (0.25, 0.25, 0.5, 0)
    assert all(near.share == 0 for near in states(model, np.zeros((3, 1, 1), "float32")).saturation(0.01).values())


# -- units and properties --------------------------------------------------------------------------


def test_properties_are_what_they_say():
    found = measure(TEXT)
    marked = {name: "".join(c for c, v in zip(TEXT, values, strict=True) if v) for name, values in found.items()}
    assert marked["between quotation marks"] == "no (never)"
    assert marked["in brackets"] == "never"
    assert marked["a capital"] == "HO"
    assert marked["a word begins"] == "HsnntO"
    assert marked["a word ends here"] == "edoreh"


@given(st.text(alphabet='ab "\n', max_size=30).filter(lambda text: '""' not in text))
def test_quotes_and_positions_against_counts(text):
    for i, c in enumerate(text):
        before = text[:i].rpartition("\n")[2]
        assert position_in_line(text, i) == len(before)
        assert inside_quotes(text, i) == (before.count('"') % 2 == 1 and c not in '"\n')


@given(st.text(min_size=1, max_size=80), st.integers(1, 4))
def test_units_and_passages_of_any_text(text, units):
    h = np.random.default_rng(0).standard_normal((len(text), units)).astype("float32")
    found = States(text, {"h": h}, {}).units()
    assert len({unit.number for unit in found}) == len(found) <= units
    assert all(abs(unit.correlation) <= 1 + 1e-6 for unit in found)
    shown = passage(text, 20)
    assert 0 <= shown.start < len(text)
    assert len(text[shown]) == min(20, len(text))


def test_the_unit_that_follows_a_property_is_found():
    rng, T = np.random.default_rng(0), len(TEXT)
    planted = np.array([-float(inside_quotes(TEXT, i)) for i in range(T)])
    values = {
        "h": rng.standard_normal((T, 3)),
        "c": np.stack([rng.standard_normal(T), planted + 0.01 * rng.standard_normal(T)], 1),
    }
    found = States(TEXT, values, {}).units({"quoted": inside_quotes})
    assert (found[0].value, found[0].number, found[0].property) == ("c", 1, "quoted") and found[0].correlation < -0.99
    assert States(TEXT, values, {}).units({"quoted": inside_quotes}, values=["h"], least=0.99) == []


def test_a_property_of_a_series():
    xs = np.random.default_rng(0).standard_normal((50, 1, 1)).astype("float32")
    found = states(nn.RNN(1, 2), xs).units(lambda series, t: series[t, 0, 0], least=0.1)
    assert found and found[0].value == "h"


# -- neighbours ------------------------------------------------------------------------------------


def test_neighbours_of_a_symbol():
    model = Reader(nn.RNNCell(3, 4))
    model.embedding.weight.data = np.random.default_rng(0).standard_normal((len(VOCABULARY), 3))
    vectors = model.embedding.weight.data / np.linalg.norm(model.embedding.weight.data, axis=1, keepdims=True)
    cosines = {s: vectors[VOCABULARY[s]] @ vectors[VOCABULARY["e"]] for s in VOCABULARY.symbols if s != "e"}
    found = neighbours(model, "e", n=3)
    assert [s for s, _ in found] == sorted(cosines, key=lambda s: -cosines[s])[:3]
    assert all(abs(c - cosines[s]) < 1e-6 for s, c in found)


# -- bad input -------------------------------------------------------------------------------------

READER = Reader(nn.RNNCell(3, 4))
RNN = nn.RNN(3, 4)
XS = np.ones((4, 2, 3), "float32")


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: states(READER, "né"), tr.errors.DataError, "'é' at position 1 is not in the vocabulary"),
        (lambda: states(READER, ""), tr.errors.DataError, "the text is empty"),
        (lambda: states(RNN, XS[:0]), tr.errors.DataError, "the sequence is empty"),
        (lambda: states(RNN, "text"), tr.errors.DataError, "a text needs a vocabulary"),
        (lambda: states(nn.Linear(3, 4), XS), tr.errors.TinygradError, "Linear has no recurrent part"),
        (lambda: states(RNN, XS, names=["k"]), tr.errors.ShapeError, "there is no value 'k'; there is 'h'"),
        (lambda: states(RNN, XS)["c"], tr.errors.ShapeError, "there is no value 'c'; there is 'h'"),
        (lambda: states(RNN, XS, example=2), tr.errors.ShapeError, "example must be from 0 to 1, .* not 2"),
        (lambda: states(RNN, XS).units(), tr.errors.DataError, "give properties="),
        (lambda: neighbours(READER, "é"), tr.errors.DataError, "'é' is not in the vocabulary"),
        (lambda: neighbours(RNN, "a"), tr.errors.DataError, "a symbol needs a vocabulary"),
        (
            lambda: neighbours(RNN, "e", vocabulary=VOCABULARY),
            tr.errors.TinygradError,
            "RNN must have one layer with a vector for each symbol",
        ),
        (lambda: neighbours(np.eye(2), "e", vocabulary=VOCABULARY), tr.errors.DataError, "but the model has 2 vectors"),
    ],
)
def test_what_cannot_be_shown(call, kind, words):
    with pytest.raises(kind, match=words):
        call()
