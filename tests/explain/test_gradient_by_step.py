"""The contributions of steps to a gradient, and truncated backpropagation through time."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import explain, nn
from tinygrad_rnn.errors import GradientError, NonFiniteError, ShapeError
from tinygrad_rnn.testing.choices import RandomChoices
from tinygrad_rnn.testing.random_cells import random_cell
from tinygrad_rnn.tree import flatten

T, B = 6, 2
RNG = np.random.default_rng(0)
XS = RNG.normal(size=(T, B, 3))
DOUBLE = {"dtype": np.float64}


def squares(outputs, targets):
    parts = [x for x in flatten(outputs) if x.dtype.kind == "f"]
    return sum((x * x).sum(axis=tuple(range(1, x.ndim))) for x in parts)


class Start(nn.Module):
    """A learnt initial state, weights that are computed outside of the loop, and a path around the loop."""

    def __init__(self):
        super().__init__()
        self.h0 = nn.Parameter((1, 3), symbol="h_0", dtype=np.float64)
        self.below = nn.Linear(3, 3, **DOUBLE)
        self.cell = nn.Recurrent(nn.RNNCell(3, 3, **DOUBLE), reverse=True)
        self.tied = nn.Parameter((3, 3), symbol="M", dtype=np.float64)

    def forward(self, xs):
        xs = tr.tanh(self.below(xs)) @ self.tied
        return self.cell(xs, tr.broadcast_to(self.h0, (B, 3)))[0] @ self.tied.T + xs


class Captured(nn.Cell):
    """A cell that captures a matrix computed outside of the step."""

    input_size, state_shape = 3, (3,)

    def __init__(self, made):
        super().__init__()
        self.made = made

    def step(self, x, h):
        h = tr.tanh(x + h @ self.made()).named("h")
        return h, h


MODELS = {
    "LSTM": lambda: nn.Sequential(nn.LSTM(3, 4, **DOUBLE), nn.Linear(4, 1, **DOUBLE)),
    "both directions": lambda: nn.Sequential(nn.GRU(3, 2, 2, bidirectional=True, **DOUBLE), nn.Linear(4, 1, **DOUBLE)),
    "residual": lambda: nn.Recurrent(nn.ResidualCell(3, 4, **DOUBLE), checkpoint=2),
    "unrolled": lambda: nn.Recurrent(nn.RNNCell(3, 4, **DOUBLE), mode="unroll"),
    "start": Start,
}


def of_all_steps(model, xs, loss, parameter):
    return tr.grad(loss(model(xs)).sum(), parameter).data


@pytest.mark.parametrize("name", MODELS)
def test_the_contributions_add_up_to_the_gradient(name):
    model = MODELS[name]()
    outputs = model(XS)
    losses = squares(outputs[0] if isinstance(outputs, tuple) else outputs, None)
    losses.sum().backward()
    parameters = list(model.named_parameters())
    for path, parameter in parameters[:: 1 + len(parameters) // 6]:
        parts = explain.gradient_by_step(model, XS, None, squares, path)
        assert parts.shape == (T, *parameter.shape)
        whole = parameter.grad.data
        assert np.allclose(parts.sum(axis=0), whole, rtol=1e-12, atol=1e-14 * np.abs(whole).max()), path
        norms = explain.gradient_by_step(model, XS, None, squares, parameter, norms=True)
        assert np.allclose(norms, np.linalg.norm(parts.reshape(T, -1), axis=1), rtol=1e-12)


def test_each_contribution_is_that_of_a_copy_which_one_step_reads():
    """Contributions equal those of a loop in Python in which every step has separate parameters."""
    cell = nn.LSTMCell(3, 4, **DOUBLE)
    copies = {name: [tr.tensor(p.data, requires_grad=True) for _ in range(T)] for name, p in cell.named_parameters()}
    state, total = cell.initial_state(B), 0.0
    for t in range(T):
        a = XS[t] @ copies["weight_ih"][t].T + copies["bias_ih"][t]
        a = a + state[0] @ copies["weight_hh"][t].T + copies["bias_hh"][t]
        i, f, g, o = (a[:, 4 * k : 4 * k + 4] for k in range(4))
        c = tr.sigmoid(f) * state[1] + tr.sigmoid(i) * tr.tanh(g)
        state = tr.sigmoid(o) * tr.tanh(c), c
        total = total + (state[0] ** 2).sum()
    for name, each in copies.items():
        parts = explain.gradient_by_step(nn.Recurrent(cell), XS, None, squares, dict(cell.named_parameters())[name])
        for k, copy in enumerate(each):
            assert np.allclose(parts[k], tr.grad(total, copy).data, rtol=1e-10, atol=1e-14)


def test_a_readout_is_used_at_the_step_of_its_output_and_an_embedding_at_that_of_its_code():
    model = nn.Sequential(nn.Embedding(5, 3, **DOUBLE), nn.GRU(3, 4, **DOUBLE), nn.Linear(4, 5, **DOUBLE))
    codes = RNG.integers(0, 5, (T, 1))
    codes[2] = codes[4] = 0

    def loss(outputs, targets):
        return nn.cross_entropy(outputs, targets, reduction="none")

    parts = explain.gradient_by_step(model, codes, codes, loss, "0.weight")
    for t in range(T):
        assert parts[t][codes[t, 0]].any()
        assert not np.delete(parts[t], codes[t, 0], axis=0).any()
    readout = explain.gradient_by_step(model, codes, codes, loss, "2.weight")
    losses = loss(model(codes), codes)
    for t in range(T):
        assert np.allclose(readout[t], tr.grad(losses[t].sum(), model[2].weight).data, rtol=1e-12)


def test_a_matrix_that_is_made_outside_of_the_step():
    W = nn.Parameter((3, 3), symbol="W", dtype=np.float64)
    layer = nn.Recurrent(Captured(lambda: M[0]))
    M = [None]

    def model(xs):
        M[0] = W * 2.0
        return layer(xs)

    parts = explain.gradient_by_step(model, XS, None, squares, W)
    assert np.allclose(parts.sum(axis=0), tr.grad(squares(model(XS)[0], None).sum(), W).data, rtol=1e-12)
    assert np.abs(parts[1:]).min() > 0
    assert not parts[0].any()  # the first copy of W multiplies the initial state, which is zero


@pytest.mark.parametrize("seed", range(16))
def test_random_cells_too(seed):
    drawn = random_cell(RandomChoices(seed))
    layer = nn.Recurrent(drawn.cell, reverse=drawn.reverse)

    def model(xs):
        return layer(xs, drawn.state, steps=drawn.T, force=drawn.force or None, force_mask=drawn.force_mask)

    def loss(outputs, _):
        return squares((outputs, tr.tensor(np.zeros(drawn.T))), None)

    xs = drawn.inputs()
    outputs = model(xs)[0]
    if not drawn.T or not any(x.dtype.kind == "f" for x in flatten(outputs)):
        return
    total = loss(outputs, None).sum()
    for parameter in layer.parameters():
        try:
            whole = tr.grad(total, parameter).data
            parts = explain.gradient_by_step(model, xs, None, loss, parameter)
        except GradientError:
            continue
        assert np.allclose(parts.sum(axis=0), whole, rtol=1e-12, atol=1e-14 * np.abs(parts).max())


def test_a_large_matrix_has_norms_within_memory():
    model, xs = nn.Recurrent(nn.RNNCell(3, 64)), RNG.normal(size=(50, 1, 3)).astype("float32")
    with pytest.raises(ValueError, match=r"the gradients of 50 steps need 819,200 bytes, .* norms=True"):
        explain.gradient_by_step(model, xs, None, squares, "cell.weight_hh", max_bytes=10_000)
    norms = explain.gradient_by_step(model, xs, None, squares, "cell.weight_hh", norms=True, max_bytes=10_000)
    parts = explain.gradient_by_step(model, xs, None, squares, "cell.weight_hh")
    assert np.allclose(norms, np.linalg.norm(parts, axis=(1, 2)), rtol=1e-5)


class Root(nn.Cell):
    input_size, state_shape = 1, (1,)

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter([1.0], symbol="w", dtype=np.float64)

    def step(self, x, h):
        h = (tr.sqrt(h * x * self.w) + x).named("h")
        return h, h


def test_bad_input_gets_one_clear_error():
    lstm = nn.LSTM(3, 4)
    with pytest.raises(ShapeError, match=r"there is no parameter 'W'; there are 'weight_ih_l0', 'weight_hh_l0', .*"):
        explain.gradient_by_step(lstm, XS, None, squares, "W")
    with pytest.raises(GradientError, match=r"the loss does not depend on U"):
        explain.gradient_by_step(lstm, XS, None, squares, nn.Parameter((2, 2), symbol="U"))
    with pytest.raises(NonFiniteError, match=r"the gradient of the whole loss is NaN: .* gradient of x at step k = 4 is nan"):
        xs = np.array([1.0, 2, 0, 1])[:, None, None]
        explain.gradient_by_step(nn.Recurrent(Root()), xs, None, squares, "cell.w")


@pytest.mark.parametrize("k1, k2", [(1, 1), (2, 3), (4, 6), (5, 100)])
def test_the_truncated_gradient_is_that_of_truncated_bptt(k1, k2):
    layer, head = nn.LSTM(3, 4, 2, **DOUBLE), nn.Linear(4, 1, **DOUBLE)
    model = nn.Sequential(layer, head)
    found = explain.truncation(model, XS, None, squares, k1, k2)
    for at, outputs in nn.truncated_bptt(layer, XS, k1, k2):
        assert np.arange(T)[at].size == len(outputs)
        squares(head(outputs), None).sum().backward()
    for name, parameter in model.named_parameters():
        whole = tr.grad(squares(model(XS), None).sum(), parameter).data
        assert np.allclose(found.whole[name], whole, rtol=1e-12, atol=1e-15)
        assert np.allclose(found.truncated[name], parameter.grad.data, rtol=1e-11, atol=1e-15)
        assert np.allclose(found.bias[name], parameter.grad.data - whole, atol=1e-12)
    assert (max(found.relative_bias.values()) < 1e-12) == (k2 >= T)
    assert found.reaches.shape == (T, T)
    assert not np.triu(found.reaches, 1).any()
    assert np.diag(found.reaches).all()


def test_which_losses_reach_which_steps():
    found = explain.truncation(nn.Recurrent(nn.RNNCell(3, 2)), XS, None, squares, k1=2, k2=3)
    rows = ["100000", "110000", "011000", "011100", "000110", "000111"]
    assert ["".join(map(str, row.astype(int))) for row in found.reaches] == rows
    flow = explain.gradient_flow(nn.Recurrent(nn.RNNCell(3, 2)), XS, None, squares)
    assert flow.norms.shape == found.reaches.shape


def test_truncation_is_refused_where_it_has_no_meaning():
    with pytest.raises(ValueError, match=r"1 <= k1 <= k2"):
        explain.truncation(nn.LSTM(3, 4), XS, None, squares, k1=3, k2=2)
    with pytest.raises(ValueError, match=r"a recurrent part runs backwards"):
        explain.truncation(nn.LSTM(3, 4, bidirectional=True), XS, None, squares, k1=2)
    with pytest.raises(GradientError, match=r"does not depend on any parameter"):
        explain.truncation(lambda xs: nn.LSTM(3, 4)(xs), XS, None, squares, k1=2)


def test_a_learnt_start_is_used_by_the_first_step_alone():
    parts = explain.gradient_by_step(Start(), XS, None, squares, "h0")
    assert parts[-1].any()  # the layer runs backwards
    assert not parts[:-1].any()
    layer = nn.Recurrent(nn.RNNCell(3, 3, **DOUBLE))
    h0 = nn.Parameter((1, 3), symbol="h_0", dtype=np.float64)
    found = explain.truncation(lambda xs: layer(xs, h0), XS[:, :1], None, squares, k1=2, parameters=[h0])
    first = tr.grad(squares(layer(XS[:2, :1], h0)[0], None).sum(), h0).data
    assert np.allclose(found.truncated["h_0"], first, rtol=1e-12)


def test_little_memory_changes_no_number():
    model = nn.Sequential(nn.GRU(3, 4, **DOUBLE), nn.Linear(4, 1, **DOUBLE))
    whole = explain.gradient_by_step(model, XS, None, squares, "1.bias")
    assert np.allclose(explain.gradient_by_step(model, XS, None, squares, "1.bias", max_bytes=400), whole, rtol=1e-12)
