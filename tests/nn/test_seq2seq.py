"""Encoder and decoder: equal to a calculation by hand, for all sizes in between, and independent of padding on both sides."""

import numpy as np
import pytest
from dot_labels import readable
from hypothesis import given, settings
from hypothesis import strategies as st
from test_decoder import AT, CELLS, TwoLayers, decoder

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ShapeError
from tinygrad_rnn.testing import check_gradients
from tinygrad_rnn.tree import flatten

F8 = {"dtype": "float64"}

# encoders that read vectors of 2, the cell with the same state (if there is one), and the size of the whole state
ENCODERS = {
    "rnn": (lambda: nn.RNN(2, 3, **F8), nn.RNNCell, 3),
    "lstm": (lambda: nn.LSTM(2, 3, **F8), nn.LSTMCell, 6),
    "a cell": (lambda: nn.Recurrent(TwoLayers(2, 3, "float64")), TwoLayers, 7),
    "stack": (lambda: nn.GRU(2, 3, num_layers=2, **F8), None, 6),
    "both directions": (lambda: nn.LSTM(2, 3, bidirectional=True, **F8), None, 12),
    "sizes": (lambda: nn.LSTM(2, 3, num_layers=[4, 3], bidirectional=True, **F8), None, 28),
}


@st.composite
def models(draw):
    """Two copies, by scan and by unrolling, of an encoder and a fitting decoder."""
    make, cell, size = ENCODERS[draw(st.sampled_from(list(ENCODERS)))]
    options = {}
    if cell is None or draw(st.booleans()):
        cell = draw(st.sampled_from(list(CELLS.values())))
        options = {"context_size": size, "at": draw(st.sampled_from(AT))}
    seed = draw(st.integers(0, 99))
    found = []
    for mode in ("scan", "unroll"):
        tr.seed(seed)
        model = nn.Seq2Seq(make(), decoder(cell, seed=seed, scale=1.5, mode=mode, **options))
        for _, part in model.modules():
            if isinstance(part, nn.Recurrent):
                part.mode = mode
        found.append(model)
    return found


def test_it_is_the_equations():
    """The h of a plain encoder after its last word is the h_0 of a plain decoder."""
    model = nn.Seq2Seq(nn.RNN(2, 3, **F8), decoder(nn.RNNCell))
    U, W, b, b2 = (p.data for p in model.encoder.parameters())
    U2, W2, c, c2 = (p.data for p in model.decoder.cell.cell.parameters())
    E, V, d = (p.data for p in (model.decoder.cell.embedding.weight, *model.decoder.cell.readout.parameters()))
    rng = np.random.default_rng(0)
    xs, ys, lengths = rng.normal(size=(5, 2, 2)), rng.integers(0, 4, (4, 2)), [5, 2]
    logits = model(xs, ys, lengths=lengths).data
    for i, n in enumerate(lengths):
        h = np.zeros(3)
        for x in xs[:n, i]:
            h = np.tanh(U @ x + b + W @ h + b2)
        for t, y in enumerate([0, *ys[:-1, i]]):
            h = np.tanh(U2 @ E[y] + c + W2 @ h + c2)
            np.testing.assert_allclose(logits[t, i], V @ h + d, atol=1e-12)


@given(models(), st.integers(0, 3), st.integers(0, 3), st.integers(0, 99))
def test_scan_is_unroll_and_padding_changes_nothing(pair, T, N, seed):
    rng = np.random.default_rng(seed)
    xs, ys = rng.normal(size=(T, 3, 2)), rng.integers(0, 4, (N, 3))
    lengths, target_lengths = rng.integers(0, T + 1, 3), rng.integers(0, N + 1, 3)
    outcomes = []
    for model, noise in zip((pair[0], pair[0], pair[1]), (0, 1, 0), strict=True):
        x = np.where(np.arange(T)[:, None, None] < lengths[:, None], xs, 9.0 * noise)
        y = np.where(np.arange(N)[:, None] < target_lengths, ys, -7 * noise)
        log_p = model.log_likelihood(x, y, lengths=lengths, target_lengths=target_lengths)
        total = log_p.sum() + sum((p * 0).sum() for p in model.parameters())
        outcomes.append([log_p.data, *(g.data for g in tr.grad(total, model.parameters()))])
    for a, b, c in zip(*outcomes, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, rtol=1e-9, atol=1e-10)


@settings(max_examples=settings().max_examples // 2)
@given(models())
def test_gradients(pair):
    model, _ = pair
    rng = np.random.default_rng(0)
    xs, ys = rng.normal(size=(3, 2, 2)), rng.integers(0, 4, (3, 2))
    check_gradients(
        lambda x: model.log_likelihood(x, ys, lengths=[3, 2], target_lengths=[2, 3]),
        xs,
        wrt=[0, *model.parameters()],
        order=1,
        directions=2,
    )


@given(models(), st.integers(1, 3), st.integers(0, 99))
def test_what_is_written_is_the_decoders_from_the_encoders_state(pair, B, seed):
    model, _ = pair
    rng = np.random.default_rng(seed)
    xs, lengths = rng.normal(size=(4, B, 2)), rng.integers(0, 5, B)
    given = model.encode(xs, lengths)
    for write, options in (("greedy", {}), ("sample", {"temperature": 0.8}), ("beam", {"width": 3})):
        tr.seed(1)
        mine = getattr(model, write)(xs, max_steps=5, lengths=lengths, **options)
        tr.seed(1)
        theirs = getattr(model.decoder, write)(max_steps=5, **options, **given)
        for a, b in zip(mine, theirs, strict=True):  # under no_grad an encoder's last bits may differ
            np.testing.assert_allclose(a, b, rtol=1e-12)
    best = model.log_likelihood(xs, mine.ys[..., 0], lengths=lengths, target_lengths=mine.lengths[:, 0])
    np.testing.assert_allclose(best.data, mine.log_likelihood[:, 0], atol=1e-9)


def test_all_of_the_state_is_in_the_context():
    for make, _, size in ENCODERS.values():
        model = nn.Seq2Seq(make(), decoder(context_size=size))
        xs = np.random.default_rng(0).normal(size=(4, 2, 2))
        context = model.encode(xs)["context"]
        assert context.shape == (2, size)
        _, state = model.encoder(xs)
        parts = [np.moveaxis(slot.data, -2, 0).reshape(2, -1) for slot in flatten(state)]
        np.testing.assert_array_equal(np.sort(context.data, axis=1), np.sort(np.concatenate(parts, axis=1), axis=1))


def test_codes_go_through_an_embedding():
    embedding = nn.Embedding(7, 2, **F8)
    model = nn.Seq2Seq(nn.GRU(2, 3, **F8), decoder(nn.GRUCell), embedding)
    codes, ys = np.random.default_rng(0).integers(0, 7, (4, 2)), np.zeros((3, 2), int)
    without = nn.Seq2Seq(model.encoder, model.decoder)
    np.testing.assert_array_equal(model(codes, ys).data, without(embedding(codes), ys).data)
    assert model.codes == 7


@pytest.mark.parametrize("context_size", [None, 3])
def test_an_encoder_may_have_the_batch_first(context_size):
    model = nn.Seq2Seq(nn.GRU(2, 3, batch_first=True, **F8), decoder(nn.GRUCell, context_size=context_size))
    turned = nn.Seq2Seq(nn.GRU(2, 3, **F8), model.decoder)
    turned.encoder.load_state_dict(model.encoder.state_dict())
    xs, ys, lengths = np.random.default_rng(0).normal(size=(5, 4, 2)), np.zeros((3, 5), int), [4, 0, 1, 3, 2]
    expected = turned(xs.swapaxes(0, 1), ys, lengths=lengths).data
    np.testing.assert_allclose(model(xs, ys, lengths=lengths).data, expected, atol=1e-12)


def test_scheduled_sampling():
    model = nn.Seq2Seq(nn.GRU(2, 3, **F8), decoder(nn.GRUCell))
    xs, ys = np.random.default_rng(0).normal(size=(4, 2, 2)), np.full((6, 2), 3)
    free = model(xs, ys, force_mask=np.zeros((6, 2), bool))
    own = free.data.argmax(-1)
    np.testing.assert_allclose(model(xs, own).data, free.data, atol=1e-12)


def test_pictures():
    model = nn.Seq2Seq(nn.RNN(2, 3), decoder(nn.RNNCell, dtype="float32"))
    xs, ys = tr.tensor(np.zeros((3, 1, 2), "float32")).named("x"), tr.tensor(np.zeros((3, 1), int)).named("y")
    source = readable(tr.graph(model(xs, ys)).draw(time="unrolled").source)
    for label in ("x₃", "E U", "W", "V", "o₃", "y₀"):
        assert label in source


def test_lengths_are_told_by_name():
    model = nn.Seq2Seq(nn.GRU(2, 3, **F8), decoder(nn.GRUCell))
    with pytest.raises(TypeError, match="positional"):
        model.log_likelihood(np.zeros((3, 2, 2)), np.zeros((3, 2), int), [3, 2])


@pytest.mark.parametrize("name", ["stack", "both directions"])
def test_several_states_need_a_context(name):
    model = nn.Seq2Seq(ENCODERS[name][0](), decoder(nn.GRUCell))
    with pytest.raises(ShapeError, match=r"several layers or directions.* with context_size"):
        model(np.zeros((2, 1, 2)), np.zeros((2, 1), int))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, x: m.beam(x, 3, 0), ValueError, "width must be a whole number, at least 1, not 0"),
        (lambda m, x: m.greedy(x, 0), ValueError, "max_steps"),
        (lambda m, x: m.sample(x, 3, 0), ValueError, "temperature must be above 0"),
        (lambda m, x: m(x, np.zeros((2, 3), int)), ShapeError, r"initial state has shape \(2, 3\), .* need \(3, 3\)"),
        (lambda m, x: m(x, np.zeros((2, 2), int), lengths=[9, 1]), ShapeError, "lengths go from 1 to 9"),
        (lambda m, x: m(x, np.zeros((2, 2), int), target_lengths=[-1, 1]), ShapeError, "lengths go from -1 to 1"),
    ],
)
def test_what_does_not_fit_is_named(call, error, message):
    model = nn.Seq2Seq(nn.GRU(2, 3, **F8), decoder(nn.GRUCell))
    with pytest.raises(error, match=message):
        call(model, np.zeros((4, 2, 2)))
    lstm = nn.Seq2Seq(nn.LSTM(2, 3, **F8), decoder(nn.GRUCell))
    with pytest.raises(ShapeError, match=r"initial state has shape .*, but this cell and batch need \(2, 3\)"):
        lstm.greedy(np.zeros((4, 2, 2)))


def test_layers_of_several_sizes_need_a_context():
    decoder = nn.Decoder(nn.Embedding(4, 3), nn.LSTMCell(3, 5, proj_size=4), nn.Linear(4, 4), start=0)
    with pytest.raises(ShapeError, match="make the decoder with context_size"):
        nn.Seq2Seq(nn.GRU(2, 5, [4, 5]), decoder).greedy(np.zeros((3, 2, 2), "float32"))
