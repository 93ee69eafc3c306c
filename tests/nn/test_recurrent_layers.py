"""Whole layers: stacks, both directions, projections, lengths; all options of PyTorch's layers give PyTorch's results."""

import warnings

import numpy as np
import pytest
import pytorch_goldens as goldens
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import DtypeError, ShapeError, TinygradError
from tinygrad_rnn.testing import check_cell
from tinygrad_rnn.tree import flatten

sizes = st.integers(1, 4)
KINDS = ("RNN", "LSTM", "GRU")


def normal(rng, *shape):
    return rng.normal(size=shape)


@st.composite
def configurations(draw):
    """A layer's class, arguments and options, all of which PyTorch also has."""
    kind = draw(st.sampled_from(KINDS))
    I, H = draw(sizes), draw(st.integers(2, 5))
    options = {name: draw(st.booleans()) for name in ("bias", "batch_first", "bidirectional")}
    options["num_layers"] = draw(st.integers(1, 3))
    if kind == "RNN":
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    if kind == "LSTM":
        options["proj_size"] = draw(st.integers(0, H - 1))
    return kind, I, H, options


def twins(torch, kind, I, H, options, rng):
    """PyTorch's layer and our layer, with the same random parameters."""
    theirs = getattr(torch.nn, kind)(I, H, dtype=torch.float64, **options)
    ours = getattr(nn, kind)(I, H, dtype="float64", **options)
    arrays = {key: normal(rng, *p.shape) for key, p in theirs.named_parameters()}
    theirs.load_state_dict({key: torch.tensor(array) for key, array in arrays.items()})
    ours.load_state_dict(arrays)
    return theirs, ours


def weighted(outcome, lift=lambda x: x):
    """A scalar that depends on each element of output and states with a different weight."""
    parts = [part for value in outcome for part in flatten(value)]
    return sum((part * lift(goldens.weights(tuple(part.shape), k))).sum() for k, part in enumerate(parts))


def compare(torch, ours, theirs, found, expected, leaves, their_leaves):
    for one, other in zip([p for v in found for p in flatten(v)], [p for v in expected for p in flatten(v)], strict=True):
        assert one.shape == tuple(other.shape)
        np.testing.assert_allclose(one.data, other.numpy(force=True), rtol=1e-9, atol=1e-9)
    gradients = tr.grad(weighted(found), [*leaves, *ours.parameters()])
    wanted = torch.autograd.grad(weighted(expected, torch.tensor), [*their_leaves, *theirs.parameters()])
    for one, other in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(one.data, other.numpy(force=True), rtol=1e-9, atol=1e-9)


@given(configurations(), sizes, sizes, st.booleans(), st.booleans(), st.integers(0, 99))
def test_as_pytorch_computes(configuration, T, B, single, with_state, seed):
    torch = pytest.importorskip("torch")
    kind, I, H, options = configuration
    rng = np.random.default_rng(seed)
    theirs, ours = twins(torch, kind, I, H, options, rng)
    shape = (T, I) if single else (B, T, I) if options["batch_first"] else (T, B, I)
    arrays = [normal(rng, *shape)]
    if with_state:
        rows = options["num_layers"] * (1 + options["bidirectional"])
        widths = [options.get("proj_size") or H, H][: 1 + (kind == "LSTM")]
        arrays += [normal(rng, rows, *(() if single else (B,)), n) for n in widths]

    def run(layer, xs, *state):
        return layer(xs, *([] if not state else [tuple(state)] if kind == "LSTM" else state))

    leaves = [tr.tensor(array, requires_grad=True) for array in arrays]
    their_leaves = [torch.tensor(array, requires_grad=True) for array in arrays]
    assert list(ours.state_dict()) == list(theirs.state_dict())
    compare(torch, ours, theirs, run(ours, *leaves), run(theirs, *their_leaves), leaves, their_leaves)


@given(configurations(), st.integers(1, 5), st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 99))
def test_lengths_are_as_packed_sequences(configuration, longest, lengths, seed):
    torch = pytest.importorskip("torch")
    rnn = torch.nn.utils.rnn
    kind, I, H, options = configuration
    options |= {"batch_first": False}
    rng = np.random.default_rng(seed)
    lengths = np.minimum(lengths, longest)
    theirs, ours = twins(torch, kind, I, H, options, rng)
    xs = normal(rng, longest, len(lengths), I)
    leaf, their_leaf = tr.tensor(xs, requires_grad=True), torch.tensor(xs, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch does not support packing in every mode
        packed = rnn.pack_padded_sequence(their_leaf, torch.tensor(lengths), enforce_sorted=False)
        output, state = theirs(packed)
    output, _ = rnn.pad_packed_sequence(output, total_length=longest)
    compare(torch, ours, theirs, ours(leaf, lengths=lengths), (output, state), [leaf], [their_leaf])


@given(configurations(), st.integers(0, 99))
def test_padding_changes_nothing_and_an_empty_row_gives_its_initial_state(configuration, seed):
    kind, I, H, options = configuration
    options |= {"batch_first": False}
    rng = np.random.default_rng(seed)
    layer = getattr(nn, kind)(I, H, dtype="float64", **options)
    lengths = np.array([3, 0, 5])
    rows = options["num_layers"] * (1 + options["bidirectional"])
    widths = [options.get("proj_size") or H, H][: 1 + (kind == "LSTM")]
    state = tuple(normal(rng, rows, 3, n) for n in widths)
    state = state if kind == "LSTM" else state[0]
    xs = normal(rng, 5, 3, I)
    outcomes = []
    for padding in (0.0, np.nan, 1e300):
        padded = np.where((np.arange(5)[:, None] < lengths)[..., None], xs, padding)
        leaf = tr.tensor(padded, requires_grad=True)
        outcome = layer(leaf, state, lengths=lengths)
        gradients = tr.grad(weighted(outcome), [leaf, *layer.parameters()])
        outcomes.append([part.data for value in outcome for part in flatten(value)] + [g.data for g in gradients])
    for other in outcomes[1:]:
        for one, two in zip(outcomes[0], other, strict=True):
            np.testing.assert_array_equal(one, two)
    output, *_ = outcomes[0]
    assert (output[3:, 0] == 0).all() and (output[:, 1] == 0).all()
    final = flatten(layer(xs, state, lengths=lengths)[1])
    for end, start in zip(final, flatten(state), strict=True):
        np.testing.assert_array_equal(end.data[:, 1], start[:, 1])
    # each row alone, without padding
    for row, n in enumerate(lengths):
        own = tuple(slot[:, row : row + 1] for slot in flatten(state))
        alone = layer(xs[:n, row : row + 1], own if kind == "LSTM" else own[0])
        np.testing.assert_allclose(alone[0].data, output[:n, row : row + 1], rtol=1e-12, atol=1e-12)
        for end, part in zip(final, flatten(alone[1]), strict=True):
            np.testing.assert_allclose(part.data, end.data[:, row : row + 1], rtol=1e-12, atol=1e-12)


@given(configurations(), st.integers(0, 99))
def test_scan_is_unroll(configuration, seed):
    kind, I, H, options = configuration
    rng = np.random.default_rng(seed)
    layers = [getattr(nn, kind)(I, H, dtype="float64", mode=mode, **options) for mode in ("scan", "unroll")]
    layers[1].load_state_dict(layers[0].state_dict())
    xs = tr.tensor(normal(rng, 4, 4, I), requires_grad=True)
    lengths = rng.integers(0, 5, 4)
    one, other = (layer(xs, lengths=lengths) for layer in layers)
    for a, b in zip(flatten((one[0], one[1])), flatten((other[0], other[1])), strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-10, atol=1e-12)
    gradients = [
        tr.grad(weighted(outcome), [xs, *layer.parameters()]) for outcome, layer in zip((one, other), layers, strict=True)
    ]
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-9, atol=1e-12)


# -- options that PyTorch does not have ------------------------------------------------------


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


@given(sizes, sizes, sizes, st.booleans(), st.integers(0, 9))
def test_reset_before_is_the_papers(B, I, H, bias, seed):
    rng = np.random.default_rng(seed)
    cell = nn.GRUCell(I, H, bias=bias, reset_after=False, dtype="float64")
    x, h = normal(rng, B, I), normal(rng, B, H)
    U, W, *biases = (np.split(p.data, 3) for p in cell.parameters())
    b, d = biases if bias else ([0, 0, 0], [0, 0, 0])
    r, z = (sigmoid(x @ U[k].T + b[k] + h @ W[k].T + d[k]) for k in range(2))
    n = np.tanh(x @ U[2].T + b[2] + (r * h) @ W[2].T + d[2])
    np.testing.assert_allclose(cell(x, tr.tensor(h))[0].data, (1 - z) * n + z * h, atol=1e-12)


def test_gradients_of_every_form_are_right():
    for make_cell in (
        lambda: nn.GRUCell(2, 2, reset_after=False),
        lambda: nn.LSTMCell(2, 3, proj_size=2),
        lambda: nn.LSTMCell(2, 2, forget_bias=1.0),
    ):
        report = check_cell(make_cell, order=2, examples=settings().max_examples // 3)
        assert report.runs and not report.unreached


def test_a_forget_bias_opens_the_forget_gate():
    cell = nn.LSTMCell(3, 4, forget_bias=2.5)
    total = cell.bias_ih.data + cell.bias_hh.data
    np.testing.assert_array_equal(total[4:8], 2.5)
    assert not (np.delete(total, slice(4, 8)) == 2.5).any()
    layer = nn.LSTM(3, 4, num_layers=2, bidirectional=True, forget_bias=1.0)
    for name, parameter in layer.named_parameters():
        if name.startswith("bias"):
            np.testing.assert_array_equal(parameter.data[4:8], 1.0 if "_ih_" in name else 0.0)


class Joined(nn.Cell):
    """The LSTM as some textbooks write it, with one matrix for [h, x] for each gate."""

    def __init__(self, like):
        super().__init__()
        self.input_size = like.input_size
        W = np.concatenate([like.weight_hh.data, like.weight_ih.data], axis=1)
        for gate, rows, b in zip("ifgo", np.split(W, 4), np.split(like.bias_ih.data + like.bias_hh.data, 4), strict=True):
            setattr(self, f"W_{gate}", nn.Parameter(rows.T, dtype="float64"))
            setattr(self, f"b_{gate}", nn.Parameter(b, dtype="float64"))
        self.state_shape = like.state_shape

    def step(self, x, state):
        h, c = state
        hx = tr.concatenate([h, x], axis=-1)
        i, f, g, o = (hx @ getattr(self, f"W_{gate}") + getattr(self, f"b_{gate}") for gate in "ifgo")
        c = (tr.sigmoid(f) * c + tr.sigmoid(i) * tr.tanh(g)).named("c")
        h = (tr.sigmoid(o) * tr.tanh(c)).named("h")
        return h, nn.LSTMState(h, c)


@given(sizes, sizes, sizes, sizes, st.integers(0, 9))
def test_the_joined_form_of_the_gates_equals_the_split_form(T, B, I, H, seed):
    split = nn.LSTMCell(I, H, dtype="float64")
    joined = Joined(split)
    xs = tr.tensor(normal(np.random.default_rng(seed), T, B, I), requires_grad=True)
    outcomes = [nn.Recurrent(cell)(xs) for cell in (split, joined)]
    for a, b in zip(*[flatten(outcome) for outcome in outcomes], strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-11, atol=1e-13)
    cells = (split, joined)
    ours, theirs = (tr.grad(weighted(y), [xs, *cell.parameters()]) for y, cell in zip(outcomes, cells, strict=True))
    np.testing.assert_allclose(ours[0].data, theirs[0].data, rtol=1e-9, atol=1e-12)
    whole = np.concatenate([g.data.T for g in theirs[1::2]])
    np.testing.assert_allclose(np.concatenate([ours[2].data, ours[1].data], axis=1), whole, rtol=1e-9, atol=1e-12)


def test_the_part_of_x_leaves_the_loop_in_both_forms():
    cells = nn.LSTMCell(3, 4, dtype="float64"), Joined(nn.LSTMCell(3, 4, dtype="float64"))
    assert [nn.Recurrent(cell).plan(T=9, B=2).forward.counts.products for cell in cells] == [1, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_recurrent_dropout_drops_the_same_elements_at_every_step(kind):
    tr.seed(0)
    layer = getattr(nn, kind)(3, 40, recurrent_dropout=0.5)
    xs = np.random.default_rng(0).normal(size=(6, 4, 3)).astype("float32")
    modes = {}
    for mode in ("scan", "unroll"):
        layer.l0.mode = mode
        tr.seed(1)
        modes[mode] = layer(xs)[0].data
    np.testing.assert_allclose(modes["scan"], modes["unroll"], atol=1e-6)
    assert not np.allclose(layer(xs)[0].data, layer(xs)[0].data)
    np.testing.assert_array_equal(layer.eval()(xs)[0].data, layer(xs)[0].data)
    layer.train()
    # a row of W's gradient is zero if its element is dropped at every step; with new masks at each step, no row would be
    gradient = tr.grad((layer(xs[:, :1])[0] ** 2).sum(), layer.weight_hh_l0).data
    dropped = (gradient == 0).all(axis=0)
    assert 5 < dropped.sum() < 35


@pytest.mark.parametrize("mode", ["scan", "unroll"])
def test_a_run_within_a_step_draws_for_itself(mode):
    class Outer(nn.Cell):
        state_shape = (4,)

        def __init__(self):
            super().__init__()
            self.inner = nn.Recurrent(nn.RNNCell(4, 4, recurrent_dropout=0.5))

        def step(self, x, h):
            return self.inner(tr.stack([x, x, x]))[0][2], h

    tr.seed(0)
    outer = nn.Recurrent(Outer(), mode=mode)
    tr.seed(1)
    y = outer(np.ones((5, 2, 4), "float32"))[0].data
    assert not (y[0] == y[1:]).all(axis=(1, 2)).any()
    outer.mode = "unroll"
    tr.seed(1)
    np.testing.assert_allclose(outer(np.ones((5, 2, 4), "float32"))[0].data, y, atol=1e-6)


def test_dropout_is_between_layers_only():
    layer = nn.LSTM(3, 50, num_layers=2, dropout=0.5)
    xs = np.ones((4, 2, 3), "float32")
    tr.seed(0)
    found = layer.states(xs)
    tr.seed(1)
    other = layer.states(xs)
    np.testing.assert_array_equal(found["h_l0"].data, other["h_l0"].data)
    assert not np.allclose(found["h_l1"].data, other["h_l1"].data)
    layer.eval()
    np.testing.assert_array_equal(layer(xs)[0].data, layer(xs)[0].data)
    with pytest.warns(UserWarning, match="acts between layers, and num_layers is 1"):
        nn.LSTM(3, 5, dropout=0.5)


@given(st.sampled_from(KINDS), st.lists(sizes, min_size=1, max_size=3), st.booleans(), st.booleans(), st.integers(0, 9))
def test_layers_of_several_sizes(kind, hidden, bidirectional, single, seed):
    rng = np.random.default_rng(seed)
    layer = getattr(nn, kind)(3, hidden[-1], num_layers=hidden, bidirectional=bidirectional, dtype="float64")
    xs = normal(rng, 5, 3) if single else normal(rng, 5, 2, 3)
    output, state = layer(xs)
    directions = 1 + bidirectional
    assert output.shape == (*xs.shape[:-1], hidden[-1] * directions)
    # by hand: one cell after another
    below = xs[:, None] if single else xs
    for k in range(len(hidden)):
        runs = [getattr(layer, f"l{k}" + suffix) for suffix in ("", "_reverse")[:directions]]
        below = np.concatenate([run(below)[0].data for run in runs], axis=-1)
    np.testing.assert_allclose(output.data, below[:, 0] if single else below, rtol=1e-12)
    again, _ = layer(xs[2:], layer(xs[:2])[1]) if not bidirectional else (None, None)
    if again is not None:
        np.testing.assert_allclose(again.data, output.data[2:], rtol=1e-10)
    slot = state.h if kind == "LSTM" else state
    assert isinstance(slot, tuple) == (len(set(hidden)) > 1)
    layer(xs, state)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_what_a_stack_returns_it_takes_back(bidirectional):
    layer = nn.LSTM(3, 4, num_layers=[5, 4], proj_size=2, bidirectional=bidirectional)
    _, (h, c) = layer(X)
    assert h.shape == (2 * (1 + bidirectional), 2, 2) and isinstance(c, tuple)
    _, after = layer(X, (h, c))
    assert after.h.shape == h.shape


# -- states ----------------------------------------------------------------------------------


@given(configurations(), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 9))
def test_states_are_every_named_value(configuration, unroll, recording, padded, seed):
    kind, I, H, options = configuration
    layer = getattr(nn, kind)(I, H, dtype="float64", mode="unroll" if unroll else "scan", **options)
    xs = normal(np.random.default_rng(seed), 3, 3, I)
    given = {"lengths": np.array([3, 1, 0])} if padded else {}
    with tr.no_grad() if not recording else warnings.catch_warnings():
        found = layer.states(xs, **given)
        output, _ = layer(xs, **given)
    gates = {"RNN": ["h"], "LSTM": ["i", "f", "g", "o", "c", "h"], "GRU": ["r", "z", "n", "h"]}[kind]
    assert set(found) == {f"{gate}_{name}" for gate in gates for name, _ in layer.cells()}
    last = f"l{options['num_layers'] - 1}"
    h = [found[f"h_{last}"]] + ([found[f"h_{last}_reverse"]] if options["bidirectional"] else [])
    np.testing.assert_array_equal(np.concatenate([x.data for x in h], axis=-1), output.data)
    if kind == "LSTM" and not padded:
        named = {gate: found[f"{gate}_l0"].data for gate in gates}
        if options["batch_first"]:
            named = {gate: x.swapaxes(0, 1) for gate, x in named.items()}
        before = np.concatenate([np.zeros_like(named["c"][:1]), named["c"][:-1]])
        np.testing.assert_allclose(named["c"], named["f"] * before + named["i"] * named["g"], rtol=1e-12)
    if recording:
        total = sum(x.sum() for name, x in found.items() if name.startswith("h"))
        assert tr.grad(total, layer.parameters())[0].shape == layer.weight_ih_l0.shape


def test_states_of_a_cell_of_ones_own():
    class Twice(nn.Cell):
        state_shape = (2,)

        def step(self, x, h):
            a = (x + h).named("a")
            b = (a * 2).named("a")
            return b, (a + b).named("h")

    xs = np.ones((3, 1, 2))
    for mode in ("scan", "unroll"):
        run = nn.Recurrent(Twice(), mode=mode)
        found = run.states(xs)
        assert list(found) == ["a", "a_2", "h"]
        np.testing.assert_array_equal(found["a_2"].data, 2 * found["a"].data)
        np.testing.assert_array_equal(found["h"].data[:, 0, 0], [3, 12, 39])
        assert {name: x.shape for name, x in run.states(xs[:0]).items()} == dict.fromkeys(["a", "a_2", "h"], (0, 1, 2))
        assert list(run.states(xs, names=["h", "a_2"])) == ["a_2", "h"]
        with pytest.raises(ShapeError, match="there is no named value 'b'; there are 'a', 'a_2', 'h'"):
            run.states(xs, names=["a", "b"])


def test_what_is_only_taken_apart_is_a_state_if_it_is_asked_for():
    layer = nn.LSTM(3, 4, num_layers=2)
    found = layer.states(X, names=["a", "f"])
    assert list(found) == ["a_l0", "f_l0", "a_l1", "f_l1"]
    np.testing.assert_allclose(found["f_l1"].data, sigmoid(found["a_l1"].data[..., 4:8]), rtol=1e-5)


# -- forcing, and what is empty ----------------------------------------------------------------


def test_a_cell_among_several_is_forced_by_its_name():
    layer = nn.GRU(3, 4, num_layers=2, dtype="float64")
    rng = np.random.default_rng(0)
    xs, ys = normal(rng, 5, 2, 3), normal(rng, 5, 2, 4)
    output, _ = layer(xs, force={"h_l1": ys})
    by_hand, _ = layer.l1(layer.l0(xs)[0], force={"h": ys})
    np.testing.assert_array_equal(output.data, by_hand.data)
    with pytest.raises(ShapeError, match=r"force: 'h' names no cell; write h_l0, and so on: the cells are l0, l1"):
        layer(xs, force={"h": ys})
    alone = nn.GRU(3, 4, dtype="float64")
    one, other = (alone(xs, force={name: ys})[0].data for name in ("h", "h_l0"))
    np.testing.assert_array_equal(one, other)


def test_counts_and_one_hot_codes_are_numbers_of_the_layers_dtype():
    layer, xs = nn.LSTM(3, 5), np.eye(3, dtype=int)[:, None]
    output, state = layer(xs)
    assert output.dtype == state.c.dtype == np.float32
    np.testing.assert_array_equal(output.data, layer(xs.astype("float32"))[0].data)
    for run in (nn.RNN(3, 5), nn.Recurrent(nn.ResidualCell(3, 5))):
        start = np.ones((1, 1, 5) if isinstance(run, nn.RNN) else (1, 5), int)
        assert run(xs.astype("float32"), start)[0].dtype == np.float32


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(0, 2, 3), (4, 0, 3), (0, 0, 3)])
def test_no_steps_and_empty_batches_work(kind, shape):
    layer = getattr(nn, kind)(3, 5, num_layers=2, bidirectional=True)
    output, state = layer(np.zeros(shape, "float32"))
    assert output.shape == (*shape[:2], 10)
    assert all(slot.shape == (4, shape[1], 5) for slot in flatten(state))
    tr.grad(output.sum() + sum(slot.sum() for slot in flatten(state)), layer.parameters())
    assert layer(np.zeros(shape, "float32"), final_state_only=True)[0] is None


X = np.zeros((4, 2, 3), "float32")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.LSTM(3, 5, num_layers=0), ValueError, "num_layers must be a whole number, at least 1"),
        (lambda: nn.LSTM(3, 5, num_layers=[4, 4]), ValueError, "and end with hidden_size=5"),
        (lambda: nn.LSTM(3, 5, num_layers=[]), ValueError, "and end with hidden_size"),
        (lambda: nn.LSTM(3, 5, proj_size=5), ValueError, "proj_size must be less than hidden_size=5"),
        (
            lambda: nn.LSTM(3, 5, bias=False, forget_bias=1.0),
            ValueError,
            "forget_bias=1.0 sets a bias, but the layer has bias=False",
        ),
        (lambda: nn.GRU(3, 5, num_layers=2, dropout=1.5), ValueError, r"dropped, must be at least 0 and below 1, not 1.5"),
        (lambda: nn.LSTM(3, 0), ValueError, "hidden_size must be a whole number, at least 1, not 0"),
        (lambda: nn.GRUCell(3, 4.0), ValueError, "hidden_size must be a whole number, at least 1, not 4.0"),
        (lambda: nn.RNN(-1, 4), ValueError, r"sizes must be whole numbers, .* U cannot have shape \(4, -1\)"),
        (lambda: nn.GRU(3, 5, recurrent_dropout=-1), ValueError, r"dropped, must be at least 0 and below 1, not -1"),
        (lambda: nn.GRU(3, 5)(X, lengths=[5, 1]), ShapeError, "lengths go from 1 to 5, but the sequence has 4 steps"),
        (lambda: nn.GRU(3, 5)(X, lengths=[-1, 1]), ShapeError, "lengths go from -1 to 1"),
        (lambda: nn.GRU(3, 5)(X, lengths=[1.0, 1.0]), DtypeError, "lengths must be integers, not float64"),
        (lambda: nn.GRU(3, 5)(X, force=X), ShapeError, "force must be a dict from names of slots to data"),
        (lambda: nn.Recurrent(nn.SystemCell(0, 2))(None, steps=2.5), ShapeError, r"\(None, steps=10\), not 2.5"),
        (lambda: nn.GRU(3, 5, num_layers=1.0), ValueError, "num_layers must be .* not 1.0"),
        (
            lambda: setattr(nn.GRU(3, 5), "weight_hh_l0", np.ones((15, 5))),
            TinygradError,
            "weight_hh is a parameter and cannot become an array",
        ),
        (lambda: nn.GRU(3, 5)(X, lengths=[1]), ShapeError, r"lengths have shape \(1,\), but a batch of 2"),
        (lambda: nn.GRU(3, 5, num_layers=2)(X, np.zeros((1, 2, 5))), ShapeError, r"\(1, 2, 5\), but .* need \(2, 2, 5\)"),
        (
            lambda: nn.GRU(3, 5, num_layers=[4, 5])(X, np.zeros((2, 2, 5))),
            ShapeError,
            r"need \(\(1, 2, 4\), \(1, 2, 5\)\)",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_an_array_that_a_layer_is_fed_with_is_drawn():
    output, _ = nn.RNN(2, 5)(np.zeros((3, 1, 2), "float32"))
    assert "x[1]" in tr.graph(output).draw().source
