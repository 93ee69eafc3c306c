"""Decoders: teacher forcing, generation and beam search, compared with NumPy and with enumeration."""

import itertools
from typing import NamedTuple

import numpy as np
import pytest
from dot_labels import readable
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import DtypeError, ShapeError, TinygradError
from tinygrad_rnn.testing import check_gradients

CELLS = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}
AT = ("start", "every_step", "both")


class TwoLayers(nn.Cell):
    """A user's own cell: a GRU on an LSTM, with a nested state."""

    class State(NamedTuple):
        below: object
        above: object

    def __init__(self, input_size, hidden_size, dtype="float32"):
        super().__init__()
        self.below, self.above = nn.LSTMCell(input_size, 2, dtype=dtype), nn.GRUCell(2, hidden_size, dtype=dtype)
        self.state_shape = self.State(self.below.state_shape, self.above.state_shape)

    def step(self, x, state):
        h, below = self.below(x, state.below)
        h, above = self.above(h, state.above)
        return h, self.State(below, above)


def decoder(cell=nn.GRUCell, symbols=4, hidden=3, dtype="float64", start=0, end=1, scale=3.0, seed=0, **options):
    """A decoder with weights so large that its output depends on the symbols read before."""
    tr.seed(seed)
    parts = nn.Embedding(symbols, 2, dtype=dtype), cell(2, hidden, dtype=dtype), nn.Linear(hidden, symbols, dtype=dtype)
    made = nn.Decoder(*parts, start=start, end=end, **options)
    for parameter in made.parameters():
        parameter.data = parameter.data * scale
    return made


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def log_softmax(a):
    return a - np.log(np.exp(a).sum(-1, keepdims=True))


configurations = st.fixed_dictionaries(
    {
        "cell": st.sampled_from([*CELLS.values(), TwoLayers]),
        "symbols": st.integers(2, 4),
        "seed": st.integers(0, 99),
        "context_size": st.sampled_from([None, 1, 3]),
        "at": st.sampled_from(AT),
    }
)


def context_of(made, batch_size, seed=0):
    size = made.context_size
    return None if size is None else np.random.default_rng(seed).normal(size=(batch_size, size))


# -- the model -----------------------------------------------------------------------------


@pytest.mark.parametrize("at", AT)
def test_it_is_the_equations(at):
    """By hand, one row and one step at a time."""
    made = decoder(nn.RNNCell, context_size=2, at=at)
    E, V, c = made.cell.embedding.weight.data, made.cell.readout.weight.data, made.cell.readout.bias.data
    U, W, b, b2 = (p.data for p in made.cell.cell.parameters())
    rng = np.random.default_rng(1)
    xs, ys = rng.normal(size=(2, 2)), rng.integers(0, 4, (5, 2))
    logits = made(ys, xs).data
    for i, x in enumerate(xs):
        h = made.R_0.weight.data @ x + made.R_0.bias.data if at != "every_step" else np.zeros(3)
        r = made.R.weight.data @ x + made.R.bias.data if at != "start" else np.zeros(2)
        for t, y in enumerate([0, *ys[:-1, i]]):
            h = np.tanh(U @ (E[y] + r) + b + W @ h + b2)
            np.testing.assert_allclose(logits[t, i], V @ h + c, atol=1e-12)


def test_the_places_of_the_context_are_different_models():
    """Without the state, the last step depends on a context at every step, but not on a context at the start."""
    xs = np.random.default_rng(0).normal(size=(2, 2))
    ys = np.zeros((6, 2), int)
    for at, reaches in (("start", False), ("every_step", True), ("both", True)):
        made = decoder(nn.RNNCell, context_size=2, at=at)
        made.cell.cell.weight_hh.data = np.zeros((3, 3))  # each step forgets the state
        last = made(ys, xs).data[-1]
        assert (not np.allclose(last[0], last[1])) == reaches
        assert {"R_0", "R"} & {p.symbol for p in made.parameters()} == {
            "start": {"R_0"},
            "every_step": {"R"},
            "both": {"R_0", "R"},
        }[at]


@given(configurations, st.integers(0, 4), st.integers(1, 3), st.data())
def test_scan_is_unroll(configuration, T, B, data):
    """Forced, free and partly forced: values, and the gradients of all parameters and of the context."""
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    ys = rng.integers(0, configuration["symbols"], (T, B))
    given = {"lengths": rng.integers(0, T + 1, B)} if data.draw(st.booleans()) else {}
    if data.draw(st.booleans()):
        given["force_mask"] = rng.random((T, B)) < data.draw(st.sampled_from([0, 0.5]))
    temperature = data.draw(st.sampled_from([None, 0.7]))
    found = []
    for mode in ("scan", "unroll"):
        made = decoder(mode=mode, temperature=temperature, **configuration)
        context = context_of(made, B)
        wrt = made.parameters()
        if context is not None:
            context = tr.tensor(context, requires_grad=True)
            wrt.append(context)
        tr.seed(3)
        logits = made(ys, context, **given)
        weights = np.cos(np.arange(logits.size)).reshape(logits.shape)
        found.append([logits, *tr.grad((logits * weights).sum() + sum((p * 0).sum() for p in wrt), wrt)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-9, atol=1e-10)


@settings(max_examples=settings().max_examples // 2)
@given(configurations, st.integers(1, 3))
def test_gradients_under_teacher_forcing(configuration, T):
    made = decoder(scale=1.0, **configuration)
    rng = np.random.default_rng(0)
    ys = rng.integers(0, configuration["symbols"], (T, 2))
    context = context_of(made, 2)
    lengths = [T, T - 1]
    if context is None:
        check_gradients(lambda *_: made.log_likelihood(ys, lengths=lengths), wrt=made.parameters(), directions=2)
    else:
        check_gradients(
            lambda x: made.log_likelihood(ys, x, lengths=lengths), context, wrt=[0, *made.parameters()], directions=2
        )


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_under_teacher_forcing_embeddings_are_looked_up_for_all_steps_at_once(cell):
    made = decoder(cell, context_size=2)
    free = made.recurrent.plan(T=10, B=3)
    forced = made.recurrent.plan(T=10, B=3, force=["y"])
    assert [slot.kind for slot in free.forward.slots if slot.name == "y"] == ["cycle"]
    assert [slot.kind for slot in forced.forward.slots if slot.name == "y"] == ["delay"]
    assert forced.forward.counts.products == 1  # W h; U E y and V h are computed for all steps at once
    assert free.forward.counts.products == 3
    assert "argmax" not in forced.forward.source


@given(configurations, st.integers(1, 5), st.data())
def test_what_stands_in_the_padding_changes_nothing(configuration, T, data):
    made = decoder(**configuration)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    lengths = rng.integers(0, T + 1, 3)
    ys = rng.integers(0, configuration["symbols"], (T, 3))
    context = context_of(made, 3)
    real = np.arange(T)[:, None] < lengths
    outcomes = []
    for padding in (0, -1, 99):
        padded = np.where(real, ys, padding)
        log_p = made.log_likelihood(padded, context, lengths=lengths)
        logits = made(padded, context, lengths=lengths).data
        assert not logits[~real].any()
        outcomes.append([logits, log_p.data, *(g.data for g in tr.grad(log_p.sum(), made.parameters()))])
    for other in outcomes[1:]:
        for a, b in zip(outcomes[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    for i, n in enumerate(lengths):  # a single row, cut at its end, gives the same result
        one = made.log_likelihood(ys[:n, i : i + 1], None if context is None else context[i : i + 1])
        np.testing.assert_allclose(one.data[0], outcomes[0][1][i], atol=1e-12)


def test_where_the_mask_does_not_force_its_own_symbol_is_read():
    made = decoder(seed=2)
    ys = np.array([[3], [3], [2], [3], [2]])
    own = made.greedy(max_steps=5, batch_size=1).ys
    free = made(ys, force_mask=np.zeros(5, bool)).data
    np.testing.assert_allclose(free[: len(own)].argmax(-1), own)
    np.testing.assert_allclose(made(ys, force_mask=np.ones(5, bool)).data, made(ys).data)
    assert not np.allclose(free, made(ys).data)


def test_an_input_at_every_step_and_feedback():
    """N to N: y_t depends on x_1, …, x_t and on the earlier y."""
    made = decoder(nn.LSTMCell).cell
    model = nn.Sequential(nn.Linear(5, 2, dtype="float64", symbols=("R", "b")), nn.Recurrent(made))
    xs = np.random.default_rng(0).normal(size=(6, 3, 5))
    logits = model(xs)
    state, read = made.initial_state(3), model[0](xs)
    for t in range(6):
        o, state = made(read[t], state)
        np.testing.assert_allclose(o.data, logits.data[t], atol=1e-12)
    later = xs.copy()
    later[3:] += 1
    np.testing.assert_allclose(model(later).data[:3], logits.data[:3], atol=1e-12)


# -- generation ----------------------------------------------------------------------------


def everything(made, context, T):
    """All sequences that end within T steps, and all unfinished prefixes of T symbols, with log p, by enumeration."""
    n = made.cell.embedding.codes
    found = []
    for length in range(1, T + 1):
        for ys in itertools.product(range(n), repeat=length):
            ended = made.end is not None and ys[-1] == made.end
            if (ended or length == T) and made.end not in ys[:-1]:
                found.append(ys)
    codes = np.zeros((T, len(found)), int)
    lengths = np.array([len(ys) for ys in found])
    for i, ys in enumerate(found):
        codes[: len(ys), i] = ys
    many = None if context is None else np.repeat(context, len(found), axis=0)
    log_p = made.log_likelihood(codes, many, lengths=lengths).data
    return sorted(zip(found, log_p, strict=True), key=lambda pair: -pair[1])


def sequences(found, i, k=None):
    """Row i of the generated sequences, as tuples."""
    pick = (i,) if k is None else (i, k)
    return tuple(int(y) for y in found.ys[(slice(None), *pick)][: found.lengths[pick]])


@given(configurations, st.integers(1, 4), st.booleans())
def test_a_wide_beam_is_exhaustive(configuration, T, ends):
    made = decoder(end=1 if ends else None, scale=1.5, **configuration)
    context = context_of(made, 2)
    n = configuration["symbols"]
    width = n**T + 1
    found = made.beam(context, T, width, batch_size=2)
    for i in range(2):
        expected = everything(made, None if context is None else context[i : i + 1], T)
        log_p = found.log_likelihood[i]
        np.testing.assert_allclose(log_p[: len(expected)], [p for _, p in expected], atol=1e-9)
        assert {sequences(found, i, k) for k in range(len(expected))} == {ys for ys, _ in expected}
        assert np.isneginf(log_p[len(expected) :]).all() and not found.lengths[i, len(expected) :].any()
        np.testing.assert_allclose(np.exp(log_p).sum(), 1, atol=1e-9)


@given(configurations, st.integers(1, 3), st.integers(1, 6), st.integers(2, 5))
def test_beams(configuration, B, T, width):
    """Width 1 is greedy; likelihoods equal the model's; rows are independent; the best is first, without duplicates."""
    made = decoder(**configuration)
    context = context_of(made, B)
    greedy, one = made.greedy(context, T, batch_size=B), made.beam(context, T, 1, batch_size=B)
    assert [sequences(greedy, i) for i in range(B)] == [sequences(one, i, 0) for i in range(B)]
    np.testing.assert_allclose(one.log_likelihood[:, 0], greedy.log_likelihood)
    found = made.beam(context, T, width, batch_size=B)
    assert (found.log_likelihood[:, 1:] <= found.log_likelihood[:, :-1]).all() and len(found.ys) == found.lengths.max()
    for i in range(B):
        alone = made.beam(None if context is None else context[i : i + 1], T, width)
        np.testing.assert_allclose(alone.log_likelihood[0], found.log_likelihood[i], atol=1e-9)
        there = [k for k in range(width) if np.isfinite(found.log_likelihood[i, k])]
        assert len({sequences(found, i, k) for k in there}) == len(there)
        for k in there:
            y = np.array(sequences(found, i, k))[:, None]
            log_p = made.log_likelihood(y, None if context is None else context[i : i + 1])
            np.testing.assert_allclose(log_p.data[0], found.log_likelihood[i, k], atol=1e-9)


@given(configurations, st.integers(1, 4), st.sampled_from([None, 0.5, 2.0]))
def test_what_is_written_ends_once_and_has_its_likelihood(configuration, B, temperature):
    made = decoder(**configuration)
    context = context_of(made, B)
    if temperature is None:
        ys, lengths, log_p = made.greedy(context, 7, batch_size=B)
        np.testing.assert_array_equal(made(ys, context).data.argmax(-1)[0], ys[0])
    else:
        ys, lengths, log_p = made.sample(context, 7, temperature, batch_size=B)
    assert ys.shape == (lengths.max(), B) and lengths.min() >= 1 and lengths.max() <= 7
    for y, n in zip(ys.T, lengths, strict=True):
        assert 1 not in y[: n - 1] and (y[n:] == 1).all() and (y[n - 1] == 1 or n == len(ys) == 7)
    np.testing.assert_allclose(made.log_likelihood(ys, context, lengths=lengths).data, log_p, atol=1e-9)


def test_samples_are_as_frequent_as_probable():
    """20,000 samples agree with the model's probabilities at temperature 1, otherwise with those of the scaled logits."""
    made = decoder(symbols=3, scale=1.0, seed=4)
    drawn = made.sample(max_steps=3, batch_size=20_000)
    expected = {ys: np.exp(log_p) for ys, log_p in everything(made, None, 3)}
    counts = dict.fromkeys(expected, 0)
    for i in range(20_000):
        counts[sequences(drawn, i)] += 1
    for ys, p in expected.items():
        assert abs(counts[ys] / 20_000 - p) < 5 * np.sqrt(p * (1 - p) / 20_000) + 1e-9
    cold = made.sample(max_steps=1, temperature=0.5, batch_size=20_000).ys[0]
    p = np.exp(log_softmax(made(np.zeros((1, 1), int)).data[0, 0] / 0.5))
    np.testing.assert_allclose(np.bincount(cold, minlength=3) / 20_000, p, atol=0.02)


@pytest.mark.parametrize("temperature", [1e-40, 1e-300])
def test_the_colder_the_greedier(temperature):
    """Tiny temperatures work too: logits divided by such a small number would be infinite, and all equal."""
    made = decoder(scale=2.0, seed=1, dtype="float32")
    with np.errstate(all="raise", under="ignore"):
        cold = made.sample(max_steps=9, temperature=temperature, batch_size=4).ys
    np.testing.assert_array_equal(cold, made.greedy(max_steps=9, batch_size=4).ys)


def test_generation_stops_when_all_have_ended_and_records_nothing():
    class Counted(nn.Linear):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x)

    readout = Counted(3, 4)
    made = nn.Decoder(nn.Embedding(4, 2), nn.GRUCell(2, 3), readout, start=0, end=1)
    readout.weight.data, readout.bias.data = np.zeros((4, 3)), np.array([0.0, 9.0, 0.0, 0.0])
    for write in (made.greedy, made.sample, made.beam):
        readout.calls = 0
        ys, lengths, _ = write(max_steps=1000)
        assert readout.calls == len(ys) == lengths.max() < 100
    o, _ = made.cell.logits(*made.cell.initial_state(1))
    assert o.requires_grad  # the generated symbols are arrays
    assert all(type(part) is np.ndarray for part in made.greedy(max_steps=3))


def test_the_same_under_a_seed():
    made = decoder()
    drawn = []
    for _ in range(2):
        tr.seed(5)
        drawn.append(made.sample(max_steps=9, batch_size=4).ys)
    np.testing.assert_array_equal(*drawn)
    free = nn.Recurrent(nn.DecoderCell(*(getattr(made.cell, part) for part in ("embedding", "cell", "readout")), 0, 1.0))
    tr.seed(5)
    logits, _ = free(None, free.cell.initial_state(4), steps=len(drawn[0]))
    n = 1 + (drawn[0] == 1).any(axis=1).argmax()  # until a sequence ends, all draws are the same
    np.testing.assert_allclose(logits.data[:n], made(drawn[0]).data[:n], atol=1e-12)


def test_from_a_state():
    made = decoder(nn.LSTMCell)
    state = nn.LSTMState(*np.random.default_rng(0).normal(size=(2, 5, 3)))
    ys = np.random.default_rng(0).integers(0, 4, (3, 5))
    assert not np.allclose(made(ys, state=state).data, made(ys).data)
    found = made.greedy(max_steps=4, state=state)
    log_p = made.log_likelihood(found.ys, state=state, lengths=found.lengths)
    np.testing.assert_allclose(log_p.data, found.log_likelihood)


@pytest.mark.parametrize("B", [0, 2])
@pytest.mark.parametrize("T", [0, 3])
def test_nothing_to_do(T, B):
    made = decoder(context_size=2, at="both")
    context = np.ones((B, 2))
    assert made(np.zeros((T, B), int), context).shape == (T, B, 4)
    assert made.log_likelihood(np.zeros((T, B), int), context).shape == (B,)
    if B == 0:
        assert made.greedy(context, 3).ys.shape == (0, 0) and made.beam(context, 3, 2).ys.shape == (0, 0, 2)


def test_pictures():
    """The textbook's letters: E from y, R from x, W along the state, V to the output."""
    made = decoder(nn.RNNCell, context_size=2, at="both")
    ys, x = tr.tensor(np.zeros((3, 1), int)).named("y"), tr.tensor(np.zeros((1, 2))).named("x")
    source = readable(tr.graph(made(ys, x)).draw(time="unrolled").source)
    for label in ("E U", "R U", "R₀", "W", "V", "h₀", "y₀", "o₃"):
        assert label in source
    folded = made.cell.draw().source
    assert folded.count("a delay of one step: y") and folded.count("a delay of one step: h") and "E U" in folded


def test_equations():
    written = decoder(nn.RNNCell).cell.equations()
    for line in (r"U \left(E{}_{[y_{t-1}]} + x_t\right)", r"o_t &= V h_t + c", r"y_t &= \operatorname{argmax}\left(o_t\right)"):
        assert line in written


# -- bad input -----------------------------------------------------------------------------

PARTS = nn.Embedding(4, 2), nn.GRUCell(2, 3), nn.Linear(3, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": None}, "start, the code .* from 0 to 3, not None"),
        ({"start": 4}, "start, the code .* not 4"),
        ({"start": -1}, "not -1"),
        ({"start": 0, "end": 9}, "end, the code .* not 9"),
        ({"start": 0, "end": 0.5}, "end, the code .* not 0.5"),
        ({"start": 0, "at": "end"}, "at, the place .*, must be 'start', 'every_step' or 'both', not 'end'"),
        ({"start": 0, "temperature": 0}, "temperature must be above 0, not 0"),
    ],
    ids=str,
)
def test_options_that_are_none(options, message):
    with pytest.raises(ValueError, match=message):
        nn.Decoder(*PARTS, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d, x: d.beam(x, 3, 0), "width must be a whole number, at least 1, not 0"),
        (lambda d, x: d.beam(x, width=-2), "width .* not -2"),
        (lambda d, x: d.beam(x, 3, 2.5), "width .* not 2.5"),
        (lambda d, x: d.beam(x, 0, 2), "max_steps must be a whole number, at least 1, not 0"),
        (lambda d, x: d.greedy(x, 0), "max_steps .* not 0"),
        (lambda d, x: d.sample(x, -1), "max_steps .* not -1"),
        (lambda d, x: d.sample(x, 3, 0), "temperature must be above 0, not 0; .* greedy"),
        (lambda d, x: d.sample(x, 3, -1.0), "above 0, not -1.0"),
        (lambda d, x: d.sample(x, 3, float("nan")), "above 0, not nan"),
    ],
)
def test_numbers_that_are_too_small(call, message):
    made = nn.Decoder(*PARTS, start=0, end=1, context_size=2)
    with pytest.raises(ValueError, match=message):
        call(made, np.ones((1, 2), "float32"))


YS = np.zeros((3, 2), int)
X = np.ones((2, 5), "float32")


@pytest.mark.parametrize(
    ("options", "call", "message"),
    [
        ({}, lambda d: d(YS, X), r"the context has shape \(2, 5\), but this decoder reads no context"),
        ({"context_size": 5}, lambda d: d(YS), r"the context is missing: .* need one of shape \(2, 5\)"),
        ({"context_size": 5}, lambda d: d.greedy(X[:, :4]), r"has shape \(2, 4\), .* need \(2, 5\)"),
        ({"context_size": 5}, lambda d: d(YS, X[:1]), r"has shape \(1, 5\), .* need \(2, 5\)"),
        (
            {"context_size": 5},
            lambda d: d(YS, X, state=np.zeros((2, 3))),
            "computes its initial state from the context; give no state",
        ),
        ({}, lambda d: d(YS, state=np.zeros((2, 4))), r"initial state has shape \(2, 4\), .* need \(2, 3\)"),
        ({}, lambda d: d(YS, state=(np.zeros((2, 3)),) * 2), r"\(\(2, 3\), \(2, 3\)\), .* need \(2, 3\)"),
        ({}, lambda d: d(YS[0]), r"integers of shape \(time, batch\), not int64 of shape \(2,\)"),
        ({}, lambda d: d(YS * 1.0), r"integers of shape \(time, batch\), not float64 of shape \(3, 2\)"),
        ({}, lambda d: d(YS, lengths=[4, 1]), "lengths go from 1 to 4, but the sequence has 3 steps"),
        ({}, lambda d: d(YS + 4), "target symbols go from 4 to 4, but there are only 4"),
        ({}, lambda d: d(YS - 1), "go from -1 to -1, but there are only 4"),
    ],
)
def test_what_does_not_fit_is_named(options, call, message):
    with pytest.raises(ShapeError, match=message):
        call(nn.Decoder(*PARTS, start=0, end=1, **options))


def test_a_likelihood_is_of_given_symbols():
    """Options that would change the model are refused, and options are given by name."""
    made = nn.Decoder(*PARTS, start=0)
    with pytest.raises(TypeError, match="force_mask"):
        made.log_likelihood(YS, force_mask=np.zeros((3, 2), bool))
    with pytest.raises(TypeError, match="positional"):
        made.log_likelihood(YS, None, None, [3, 2])


@pytest.mark.parametrize("batch_size", [-1, 2.5, None])
def test_a_batch_of_less_than_nothing(batch_size):
    with pytest.raises(ValueError, match=f"batch_size must be a whole number, at least 0, not {batch_size}"):
        nn.Decoder(*PARTS, start=0).greedy(batch_size=batch_size)


def test_a_layer_is_no_cell():
    with pytest.raises(TinygradError, match=r"needs a cell, such as nn\.GRUCell\(8, 16\), not GRU"):
        nn.Decoder(PARTS[0], nn.GRU(2, 3), PARTS[2], start=0)


def test_lengths_are_integers():
    with pytest.raises(DtypeError, match="lengths must be integers"):
        nn.Decoder(*PARTS, start=0)(YS, lengths=[1.0, 2.0])


@pytest.mark.parametrize("search", ["greedy", "sample", "beam"])
def test_writing_is_one_run_for_what_is_drawn_once(search, monkeypatch):
    drawn = []
    true = nn.Dropout.forward

    def forward(self, x):
        y = true(self, x)
        drawn.append(y.data == 0)
        return y

    monkeypatch.setattr(nn.Dropout, "forward", forward)
    decoder = nn.Decoder(nn.Embedding(4, 3), nn.GRUCell(3, 50, recurrent_dropout=0.5), nn.Linear(50, 4), start=0)
    getattr(decoder, search)(max_steps=4)
    assert len(drawn) == 4
    np.testing.assert_array_equal(drawn[1], drawn[2])
    np.testing.assert_array_equal(drawn[1], drawn[3])
