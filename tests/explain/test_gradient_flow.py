"""Gradient flow is compared with separate backward passes over an unrolled graph, and with finite differences."""

from __future__ import annotations

import re
import tracemalloc

import numpy as np
import pytest
from counting import calls

import tinygrad_rnn as tr
from tinygrad_rnn import explain, nn
from tinygrad_rnn.errors import DtypeError, NonFiniteError, ShapeError, TinygradError
from tinygrad_rnn.explain.model_run import run_model
from tinygrad_rnn.graph.node import ancestors
from tinygrad_rnn.tensor import Tensor
from tinygrad_rnn.testing.choices import RandomChoices
from tinygrad_rnn.testing.random_cells import random_cell
from tinygrad_rnn.tree import flatten

T, B = 6, 2
RNG = np.random.default_rng(0)
XS = RNG.normal(size=(T, B, 3))
DOUBLE = {"dtype": np.float64}


def squares(outputs, targets):
    """The loss of each step, for any structure of outputs."""
    parts = [x for x in flatten(outputs) if x.dtype.kind == "f"]
    return sum((x * x).sum(axis=tuple(range(1, x.ndim))) for x in parts)


class Gated(nn.Cell):
    """An unusual cell: two slots, weights that are computed in the step, a delay."""

    def __init__(self):
        super().__init__()
        self.W = nn.Parameter((3, 3), symbol="W", dtype=np.float64)
        self.v = nn.Parameter((3,), symbol="v", dtype=np.float64)
        self.state_shape = ((3,), (3,), (3,))

    def step(self, x, state):
        h, c, before = state
        z = tr.sigmoid(x @ (self.W * self.v) + c).named("z")
        c = (z * c + tr.tanh(h @ self.W + before)).named("c")
        h = (c * z - 0.1 * c * c).named("h")
        return h, (h, c, x)


class Shuffled(nn.Cell):
    """An index with an array in the loop: a further axis does not pass through it."""

    input_size, state_shape = 3, (3,)

    def step(self, x, h):
        h = tr.tanh(x + 0.9 * h[:, np.array([1, 2, 0])]).named("h")
        return h, h


def narx():
    layer = nn.NARX(3, 2, hidden_size=4, **DOUBLE)
    xs, history, _ = layer.prepare(np.concatenate([XS[:2], XS]), RNG.normal(size=(T + 2, B, 2)))
    return lambda xs: layer(xs, history), xs, layer


def decoder():
    layer = nn.Decoder(nn.Embedding(4, 3, **DOUBLE), nn.GRUCell(3, 5, **DOUBLE), nn.Linear(5, 4, **DOUBLE), start=0)
    return layer, RNG.integers(0, 4, (T, B)), layer


def plain(model, xs=XS):
    return model, xs, model


MODELS = {
    "user's cell": lambda: plain(nn.Recurrent(Gated())),
    "index with an array": lambda: plain(nn.Recurrent(Shuffled())),
    "bare cell": lambda: plain(nn.RNNCell(3, 4, **DOUBLE)),
    "backwards": lambda: plain(nn.Recurrent(nn.GRUCell(3, 4, **DOUBLE), reverse=True)),
    "residual": lambda: plain(nn.Recurrent(nn.ResidualCell(3, 4, **DOUBLE))),
    "Jordan": lambda: plain(nn.Jordan(3, 4, 2, **DOUBLE)),
    "stack": lambda: plain(nn.Sequential(nn.Linear(3, 3, **DOUBLE), nn.LSTM(3, 4, 2, **DOUBLE), nn.Linear(4, 2, **DOUBLE))),
    "both directions": lambda: plain(nn.Sequential(nn.GRU(3, 2, num_layers=2, bidirectional=True, **DOUBLE), tr.tanh)),
    "checkpoints": lambda: plain(nn.Recurrent(nn.LSTMCell(3, 4, **DOUBLE), checkpoint=2)),
    "NARX": narx,
    "decoder": decoder,
}  # fmt: skip


def one_by_one(model, modules, xs, loss, names):
    """δ(t,k) of named values by a backward pass for each t, over an explicit graph of all steps."""
    layers = [part for _, part in modules.modules() if isinstance(part, nn.Recurrent)]
    model = nn.Recurrent(model, mode="unroll") if isinstance(model, nn.Cell) else model
    for layer in layers:
        layer.mode = "unroll"
    outputs = model(xs)
    for layer in layers:
        layer.mode = "scan"
    losses = loss(outputs[0] if isinstance(outputs, tuple) else outputs, None)
    count = len(losses)
    found = {name: [None] * count for name in names}
    for node in ancestors([losses.node]):
        layer = re.search(r"l\d(_reverse)?", node.scope)
        name = f"{node.name or node.hidden}" + (f"_{layer[0]}" if layer else "")
        if name in found and node.step is not None:
            found[name][count - node.step if node.location.unrolling.reverse else node.step - 1] = Tensor(node)
    return {
        name: np.array([[g.data for g in tr.grad(losses[t], nodes)] for t in range(count)])
        for name, nodes in found.items()
        if not any(node is None for node in nodes)
    }


def sizes(arrays):
    return np.sqrt((arrays**2).sum(axis=tuple(range(2, arrays.ndim))))


@pytest.mark.parametrize("name", MODELS)
def test_the_gradients_of_each_loss_are_those_of_a_backward_pass_of_its_own(name):
    model, xs, modules = MODELS[name]()
    places = run_model(model, xs, None, squares).places
    floats = [at for at, (_, node) in places.items() if node.dtype.kind == "f" and node.primitive is not None]
    floats = floats[:: 1 + len(floats) // 10]
    expected = one_by_one(model, modules, xs, squares, floats)
    assert len(expected) >= len(floats) - 1, (floats, list(expected))
    for at, arrays in expected.items():
        flow = explain.gradient_flow(model, xs, None, squares, at=at, arrays=True)
        assert np.allclose(flow.arrays, arrays, rtol=1e-10, atol=1e-14 * np.abs(arrays).max()), at
        present = np.isfinite(flow.norms)
        assert np.allclose(flow.norms[present], sizes(arrays)[present], rtol=1e-10, atol=1e-15)
        assert not sizes(arrays)[~present].any()
        assert np.allclose(flow.totals, np.linalg.norm(arrays.sum(axis=0).reshape(T, -1), axis=1), rtol=1e-10)


@pytest.mark.parametrize("seed", range(16))
def test_random_cells_too(seed):
    drawn = random_cell(RandomChoices(seed))
    layer = nn.Recurrent(drawn.cell, reverse=drawn.reverse)
    xs = drawn.inputs()

    def model(xs, mode="scan"):
        layer.mode = mode
        return layer(xs, drawn.state, steps=drawn.T, force=drawn.force or None, force_mask=drawn.force_mask)

    def loss(outputs, _):
        return squares((outputs, tr.tensor(np.zeros(drawn.T))), None)

    if not drawn.T or not any(x.dtype.kind == "f" for x in flatten(model(xs)[0])):
        with pytest.raises(TinygradError, match=r"the sequence is empty|does not depend on a recurrent part"):
            explain.gradient_flow(model, xs, None, loss)
        return
    places = run_model(model, xs, None, loss).places
    expected = one_by_one(lambda xs: model(xs, "unroll"), layer, xs, loss, list(places))
    for at, (_, node) in places.items():
        if at in expected and node.dtype.kind == "f" and node.primitive is not None:
            found = explain.gradient_flow(model, xs, None, loss, at=at, arrays=True).arrays
            assert np.allclose(found, expected[at], rtol=1e-9, atol=1e-12 * np.abs(expected[at]).max()), at


def test_finite_differences_of_one_loss_alone():
    """The same step in NumPy, with a perturbation at step k."""
    cell = nn.LSTMCell(3, 4, **DOUBLE)
    U, W, b, b2 = (p.data for p in cell.parameters())
    sigmoid = lambda a: 1 / (1 + np.exp(-a))  # noqa: E731

    def losses(at, k, epsilon):
        h, c, found = np.zeros((B, 4)), np.zeros((B, 4)), []
        for t in range(T):
            a = XS[t] @ U.T + b + h @ W.T + b2
            a = a + (epsilon if at == "a" and t == k else 0)
            i, f, g, o = a[:, :4], a[:, 4:8], a[:, 8:12], a[:, 12:]
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            c = c + (epsilon if at == "c" and t == k else 0)
            h = sigmoid(o) * np.tanh(c)
            h = h + (epsilon if at == "h" and t == k else 0)
            found.append((h**3).sum())
        return np.array(found)

    for at in ("a", "c", "h"):
        flow = explain.gradient_flow(cell, XS, None, lambda h, _: (h**3).sum(axis=(1, 2)), at=at, arrays=True)
        for k in (0, 3):
            by_hand = np.zeros(flow.arrays[:, k].shape)
            for place in np.ndindex(by_hand.shape[1:]):
                step = np.zeros(by_hand.shape[1:])
                step[place] = 1e-5
                by_hand[(slice(None), *place)] = (losses(at, k, step) - losses(at, k, -step)) / 2e-5
            assert np.allclose(by_hand, flow.arrays[:, k], atol=1e-9)


def test_the_parts_by_each_slot_add_up_to_the_whole():
    model = nn.Recurrent(nn.LSTMCell(3, 1, **DOUBLE))  # one unit, so that norms are absolute values
    flow = explain.gradient_flow(model, XS[:, :1], None, squares, at="c")
    assert list(flow.paths) == ["h", "c", "output"]
    signed = [sign_h * flow.paths["h"] + sign_c * flow.paths["c"] for sign_h in (1, -1) for sign_c in (1, -1)]
    below = np.tril(np.ones((T, T), bool), -1)
    assert np.min([np.abs(np.abs(x) - flow.norms) for x in signed], axis=0)[below].max() < 1e-15
    assert not flow.paths["output"][below].any()
    assert np.allclose(np.diag(flow.paths["output"]), np.diag(flow.norms))
    assert not explain.gradient_flow(model, XS[:, :1], None, squares, at="h").paths
    gates = model.recorded(XS[:, :1])[2]
    expected = flow.norms[1:, 1:] * gates["f"].data[1:, 0, 0]
    assert np.allclose(
        flow.paths["c"][1:, :-1][below[1:, 1:] | np.eye(T - 1, dtype=bool)], expected[below[1:, 1:] | np.eye(T - 1, dtype=bool)]
    )


def test_a_linear_network_has_the_line_of_the_textbook():
    steps = 400
    cell = nn.SystemCell(1, 2, f=lambda h, x: 0.05 * h + x)
    flow = explain.gradient_flow(cell, np.ones((steps, 1, 2)), None, lambda h, _: h.sum(axis=(1, 2)), at="s")
    lags = np.subtract.outer(np.arange(steps), np.arange(steps))
    seen = (lags >= 0) & (lags < 230)  # at longer lags, floats underflow
    assert np.allclose(flow.norms[seen], np.sqrt(2) * 0.05 ** lags[seen], rtol=1e-12)
    assert np.isnan(flow.norms[lags < 0]).all()
    assert flow.gamma == pytest.approx(0.05, rel=1e-6)
    assert flow.r_squared > 0.9999
    assert np.allclose(flow.line[:200], flow.decay[:200], rtol=1e-3)
    assert "γ = 0.05 (R² = 1.00)" in repr(flow)
    assert list(flow.to_dict())[:3] == ["at", "norms", "totals"]


def test_norms_neither_overflow_nor_underflow():
    cell = nn.SystemCell(1, 2, f=lambda h, x: 1e-60 * h + x)
    flow = explain.gradient_flow(cell, np.ones((5, 1, 2)), None, lambda h, _: h.sum(axis=(1, 2)), at="s")
    assert flow.norms[4, 0] == pytest.approx(np.sqrt(2) * 1e-240)
    cell = nn.SystemCell(1, 2, f=lambda h, x: 1e60 * h + x)
    flow = explain.gradient_flow(cell, np.ones((5, 1, 2)), None, lambda h, _: h.sum(axis=(1, 2)), at="s")
    assert flow.norms[4, 0] == pytest.approx(np.sqrt(2) * 1e240)


def test_two_hundred_steps_take_a_fifth_of_the_calls_of_separate_passes():
    model = nn.Sequential(nn.Recurrent(nn.RNNCell(2, 32, **DOUBLE)), nn.Linear(32, 1, **DOUBLE))
    xs = tr.tensor(RNG.normal(size=(200, 1, 2)), requires_grad=True)

    def loss(outputs, _):
        return (outputs * outputs).sum(axis=(1, 2))

    def separate():
        losses = loss(model(xs), None)
        for t in range(200):
            tr.grad(losses[t], xs)

    def together():
        explain.gradient_flow(model, xs, None, loss, at="a")

    for run in (separate, together):
        run()  # first compiled, then counted
    assert calls(together) < calls(separate) / 5


def test_memory_is_bounded():
    model = nn.Sequential(nn.Recurrent(nn.RNNCell(2, 8)), nn.Linear(8, 1))
    xs = RNG.normal(size=(600, 1, 2)).astype("float32")
    peaks = []
    for limit in (1 << 21, 1 << 26):
        tracemalloc.start()
        flow = explain.gradient_flow(model, xs, None, squares, max_bytes=limit)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] < (1 << 21) + 2 * flow.norms.nbytes * 4, peaks
    with pytest.raises(ValueError, match=r"all δ.* need 11,520,000 bytes, but max_bytes is 1,000"):
        explain.gradient_flow(model, xs, None, squares, arrays=True, max_bytes=1000)


class Root(nn.Cell):
    """The derivative of the square root is infinite at 0."""

    input_size, state_shape = 1, (1,)

    def step(self, x, h):
        q = (h * x).named("q")
        h = (tr.sqrt(q) + x).named("h")
        return h, h


def test_a_nan_is_told_with_the_step_and_the_value_where_it_began():
    xs = np.array([1.0, 2, 0, 1, 1])[:, None, None]
    with pytest.raises(NonFiniteError, match=r"the loss at step t = 3 is NaN: .* the gradient of q at step k = 3 is inf"):
        explain.gradient_flow(nn.Recurrent(Root()), xs, None, lambda h, _: h.sum(axis=(1, 2)) * 1.0)
    xs[2] = -1
    with pytest.raises(NonFiniteError, match=r"h at step k = 3 is nan already in the forward pass"), np.errstate(all="ignore"):
        explain.gradient_flow(nn.Recurrent(Root()), xs, None, lambda h, _: h.sum(axis=(1, 2)))


def test_a_nan_of_another_layer_is_told_with_the_layer():
    stack = nn.Sequential(nn.Recurrent(nn.ResidualCell(1, 1, **DOUBLE)), tr.absolute, nn.Recurrent(Root()))
    xs = np.array([1.0, 2, 0, 1, 1])[:, None, None]
    stack[0].cell.bias_ih.data = stack[0].cell.bias_hh.data = np.zeros(1)
    with pytest.raises(NonFiniteError, match=r"the gradient of q_2 at step k = 1 is inf"):
        explain.gradient_flow(stack, xs, None, lambda h, _: h.sum(axis=(1, 2)), at="h_0")


@pytest.mark.parametrize(
    "model, xs, loss, at, error, words",
    [
        (nn.LSTM(3, 4), XS, squares, "q", ShapeError, "there is no value 'q'; there are 'x', 'a', 'i', .* 'h'"),
        (nn.LSTM(3, 4, 2), XS, squares, "h", ShapeError, "2 values have the name 'h'; give one of .*, h_l0, .*, h_l1"),
        (nn.LSTM(3, 4), XS, lambda o, _: o.sum(), "h", ShapeError, r"the loss must have a value for each step, .* not \(\)"),
        (nn.LSTM(3, 4), XS, lambda o, _: o[1:].sum(axis=-1), "h", ShapeError, "loss has shape .* model ran over 6 steps"),
        (nn.LSTM(3, 4), XS[:0], lambda o, _: o.sum(axis=-1), "h", ShapeError, "the sequence is empty"),
        (nn.LSTM(3, 4), XS, lambda o, _: o.argmax(axis=-1), "h", DtypeError, "the loss has dtype int64, and only floats"),
        (nn.Linear(3, 4), XS, squares, "h", TinygradError, "does not depend on a recurrent part of Linear; .* nn.Recurrent"),
        (nn.Recurrent(nn.SystemCell(0, 1, f=lambda s: s)), None, squares, "h", ShapeError, "steps must be the number of steps"),
        (decoder()[0], np.zeros((3, 2), int), squares, "y", DtypeError, "y has dtype int64, and only floats have a gradient"),
        ("LSTM", XS, squares, "h", TinygradError, "model must be a Module, or a function"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_clear_error(model, xs, loss, at, error, words):
    with pytest.raises(error, match=words):
        explain.gradient_flow(model, xs, None, loss, at=at)


def test_a_part_behind_a_detach_has_no_gradient():
    lower, upper = nn.Recurrent(nn.RNNCell(3, 4)), nn.Recurrent(nn.RNNCell(4, 4))
    with pytest.raises(TinygradError, match=r"there is no value 'h_0'; there are '\w+'"):
        explain.gradient_flow(lambda xs: upper(lower(xs)[0].detach()), XS, None, squares, at="h_0")


def test_batch_first_and_classes():
    model = nn.Sequential(nn.LSTM(3, 4, batch_first=True, **DOUBLE), nn.Linear(4, 5, **DOUBLE))
    classes = RNG.integers(0, 5, (B, T))

    def loss(outputs, targets):
        return nn.cross_entropy(outputs, targets, reduction="none")

    flow = explain.gradient_flow(model, XS.swapaxes(0, 1), classes, loss, at="c")
    layer = nn.LSTM(3, 4, **DOUBLE)
    turned = nn.Sequential(layer, nn.Linear(4, 5, **DOUBLE))
    turned.load_state_dict(model.state_dict())
    other = explain.gradient_flow(turned, XS, classes.T, loss, at="c")
    assert np.allclose(flow.norms, other.norms, rtol=1e-12, equal_nan=True)
    assert np.allclose(flow.totals, other.totals, rtol=1e-12)


def test_an_encoder_has_steps_of_its_own_and_padding_has_no_gradient():
    encoder, (decode, ys, _) = nn.GRU(3, 5, **DOUBLE), decoder()

    def model(xs):
        return decode(ys[:4], state=encoder(xs)[1][0])

    def loss(outputs, _):
        return nn.cross_entropy(outputs, ys[:4], reduction="none")

    flow = explain.gradient_flow(model, XS, None, loss, at="h_l0")
    assert flow.norms.shape == (4, T)
    assert (flow.norms > 0).all()
    assert np.isnan(flow.gamma)
    parts = explain.gradient_by_step(model, XS, None, loss, encoder.weight_hh_l0)
    whole = tr.grad(loss(model(XS), None).sum(), encoder.weight_hh_l0).data
    assert parts.shape == (T, 15, 5)
    assert np.allclose(parts.sum(axis=0), whole, rtol=1e-12, atol=1e-15)

    padded = explain.gradient_flow(lambda xs: encoder(xs, lengths=[T, 3]), XS, None, squares, arrays=True)
    assert not padded.arrays[:, 3:, 1].any()
    assert padded.arrays[:3, :3, 1].any(axis=-1).sum() == 6
