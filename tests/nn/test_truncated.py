"""Truncated BPTT: exactly the terms of the gradient that reach too far back are left out."""

import re

import numpy as np
import pytest
from dot_labels import readable
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn, tree
from tinygrad_rnn.errors import ShapeError

times = st.integers(0, 9)
ks = st.tuples(st.integers(1, 5), st.integers(0, 7)).map(lambda pair: (pair[0], sum(pair)))


def array(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def total_gradient(layer, xs, ys, k1, k2=None, state=None, parameters=None):
    """The sum of the gradients of all chunks, without updates in between."""
    parameters = parameters or layer.parameters()
    total = [np.zeros(p.shape) for p in parameters]
    for at, outputs in nn.truncated_bptt(layer, xs, k1, k2, state):
        for sum_, g in zip(total, tr.grad(nn.mse(outputs, ys[at], "sum"), parameters), strict=True):
            sum_ += g.data
    return total


@given(times, ks, st.sampled_from(["scan", "unroll"]), st.integers(0, 99))
def test_the_sum_of_the_terms_within_reach(T, k, mode, seed):
    """δ(t, k) by hand, for h_t = tanh(U x_t + b + W h_{t-1} + b'), loss |h_t - y_t|²."""
    k1, k2 = k
    cell = nn.RNNCell(2, 3, dtype=float)
    W, U, b = cell.weight_hh.data, cell.weight_ih.data, cell.bias_ih.data + cell.bias_hh.data
    xs, ys = array(T, 1, 2, seed=seed), array(T, 1, 3, seed=seed + 1)
    h = [np.zeros(3)]
    for x in xs[:, 0]:
        h.append(np.tanh(U @ x + b + W @ h[-1]))
    dW, dU = np.zeros_like(W), np.zeros_like(U)
    for t in range(1, T + 1):
        end_of_turn = min(-(-t // k1) * k1, T)
        delta = 2 * (h[t] - ys[t - 1, 0])
        for step in range(t, max(0, end_of_turn - k2), -1):
            delta = (1 - h[step] ** 2) * delta
            dW += np.outer(delta, h[step - 1])
            dU += np.outer(delta, xs[step - 1, 0])
            delta = W.T @ delta
    layer = nn.Recurrent(cell, mode=mode)
    found = total_gradient(layer, xs, ys, k1, k2, parameters=[cell.weight_hh, cell.weight_ih])
    np.testing.assert_allclose(found[0], dW, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found[1], dU, rtol=1e-9, atol=1e-12)


class Pair(nn.Cell):
    """Two inputs, two outputs and two slots, to test that structures are kept."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(array(3))
        self.state_shape = ((3,), (3,))

    def step(self, x, state):
        (a, b), (u, v) = x, state
        u, v = tr.tanh(a + self.w * v), tr.tanh(b * u)
        return (u, (v, u * v)), (u, v)


LAYERS = {
    "recurrent": lambda: nn.Recurrent(nn.GRUCell(2, 3, dtype=float)),
    "rnn": lambda: nn.RNN(2, 3, num_layers=2, dtype=float),
    "lstm": lambda: nn.LSTM(2, 3, dtype=float),
    "gru": lambda: nn.GRU(2, 3, dtype=float),
}


@pytest.mark.parametrize("kind", LAYERS)
@settings(max_examples=15)
@given(times, ks, st.booleans(), st.booleans())
def test_outputs_go_on_and_the_gradient_is_that_of_a_loop_with_detach(kind, T, k, as_tensor, given_state):
    (k1, k2), layer = k, LAYERS[kind]()
    xs, ys = array(T, 2, 2), array(T, 2, 3, seed=1)
    _, zeros = layer(xs[:0])
    state = tree.rebuild(zeros, iter([slot + 0.5 for slot in tree.flatten(zeros)])) if given_state else None
    whole, _ = layer(xs, state)
    given_xs = tr.tensor(xs) if as_tensor else xs
    turns = list(nn.truncated_bptt(layer, given_xs, k1, k2, state))
    assert [at for at, _ in turns] == [slice(i, min(i + k1, T)) for i in range(0, T, k1)]
    for at, outputs in turns:
        np.testing.assert_allclose(outputs.data, whole.data[at], rtol=1e-12, atol=1e-14)
    expected = [np.zeros(p.shape) for p in layer.parameters()]
    for start in range(0, T, k1):
        since = max(0, min(start + k1, T) - k2)
        carried = state
        if since:
            _, carried = layer(xs[:since], state)
            carried = tree.rebuild(carried, iter([slot.detach() for slot in tree.flatten(carried)]))
        outputs, _ = layer(xs[since : start + k1], carried)
        loss = nn.mse(outputs[start - since :], ys[start : start + k1], "sum")
        for sum_, g in zip(expected, tr.grad(loss, layer.parameters()), strict=True):
            sum_ += g.data
    for found, by_hand in zip(total_gradient(layer, given_xs, ys, k1, k2, state), expected, strict=True):
        np.testing.assert_allclose(found, by_hand, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", LAYERS)
@settings(max_examples=15)
@given(st.integers(1, 9), st.integers(1, 9))
def test_reaching_over_the_whole_sequence_is_full_bptt(kind, T, k1):
    layer, xs, ys = LAYERS[kind](), array(T, 2, 2), array(T, 2, 3, seed=1)
    outputs, _ = layer(xs)
    full = tr.grad(nn.mse(outputs, ys, "sum"), layer.parameters())
    for found, expected in zip(total_gradient(layer, xs, ys, k1, max(k1, T)), full, strict=True):
        np.testing.assert_allclose(found, expected.data, rtol=1e-9, atol=1e-12)
    if k1 < T:
        truncated = total_gradient(layer, xs, ys, k1)
        assert not all(np.allclose(a, b.data, rtol=1e-9) for a, b in zip(truncated, full, strict=True))


@settings(max_examples=15)
@given(times, ks)
def test_batch_first(T, k):
    layer = nn.GRU(2, 3, dtype=float)
    other = nn.GRU(2, 3, batch_first=True, dtype=float)
    other.load_state_dict(layer.state_dict())
    xs, ys = array(T, 2, 2), array(T, 2, 3, seed=1)
    expected = total_gradient(layer, xs, ys, *k)
    found = total_gradient(other, xs.swapaxes(0, 1), ys.swapaxes(0, 1), *k)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@settings(max_examples=15)
@given(times, ks)
def test_nested_inputs_and_outputs(T, k):
    layer, xs = nn.Recurrent(Pair()), (array(T, 2, 3), tr.tensor(array(T, 2, 3, seed=1)))
    (u, (v, product)), _ = layer(xs)
    for at, (u_at, (v_at, product_at)) in nn.truncated_bptt(layer, xs, *k):
        for found, expected in ((u_at, u), (v_at, v), (product_at, product)):
            np.testing.assert_allclose(found.data, expected.data[at], rtol=1e-12)


def test_single_sequences_and_codes():
    layer, xs = nn.GRU(2, 3, batch_first=True, dtype=float), array(7, 2)
    whole, _ = layer(xs)
    turns = list(nn.truncated_bptt(layer, xs, 3))
    assert [at for at, _ in turns] == [slice(0, 3), slice(3, 6), slice(6, 7)]
    for at, outputs in turns:
        np.testing.assert_allclose(outputs.data, whole.data[at], rtol=1e-12)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.rnn = nn.Embedding(5, 2), nn.LSTM(2, 3)

        def forward(self, codes, state=None):
            return self.rnn(self.embedding(codes), state)

    model, codes = Model(), np.arange(8).reshape(4, 2) % 5
    whole, _ = model(codes)
    for at, outputs in nn.truncated_bptt(model, codes, 3, 4):
        np.testing.assert_allclose(outputs.data, whole.data[at], rtol=1e-6)


def test_a_window_is_run_with_the_parameters_of_its_turn():
    layer, xs = nn.Recurrent(nn.RNNCell(2, 3, dtype=float)), array(4, 1, 2)
    states = []
    for _, outputs in nn.truncated_bptt(layer, xs, 2):
        states.append(outputs.data[-1])
        layer.cell.bias_ih.data = layer.cell.bias_ih.data + 1
    second, _ = layer(xs[2:], tr.tensor(states[0]))
    assert not np.allclose(states[1], second.data[-1])
    layer.cell.bias_ih.data = layer.cell.bias_ih.data - 1
    second, _ = layer(xs[2:], tr.tensor(states[0]))
    np.testing.assert_allclose(states[1], second.data[-1])


def test_an_initial_state_can_be_learnt_and_others_are_cut():
    layer = nn.Recurrent(nn.RNNCell(2, 3, dtype=float), mode="unroll")
    h0 = tr.tensor(array(1, 3), requires_grad=True)
    turns = nn.truncated_bptt(layer, array(4, 1, 2), 2, state=h0)
    _, first = next(turns)
    assert tr.grad(first.sum(), h0).data.any()
    _, second = next(turns)
    with pytest.raises(tr.errors.GradientError, match="detach"):
        tr.grad(second.sum(), h0)


def test_the_cut_is_drawn():
    layer, head, losses = nn.Recurrent(nn.RNNCell(2, 3), mode="unroll"), nn.Linear(3, 2), []
    us, ys = tr.tensor(array(6, 1, 2)).named("u"), array(6, 1, 2)
    for at, outputs in nn.truncated_bptt(layer, us, 2):
        losses.append(nn.mse(head(outputs), tr.tensor(ys[at]).named("y")))
    source = readable(tr.graph(*losses).draw(time="unrolled").source)
    assert len(re.findall('label="?✂', source)) == 2
    for t in "₁₂₃₄₅₆":  # a part of an input is an input, and chunks continue the numbering
        assert len(re.findall(f'label="?u{t}', source)) == len(re.findall(f'label="?y{t}', source)) == 1


@pytest.mark.parametrize("k", [(0, 1), (3, 2), (-1, None), (1.5, None), (2, 3.0)])
def test_wrong_numbers_of_steps(k):
    with pytest.raises(ValueError, match="1 <= k1 <= k2"):
        nn.truncated_bptt(nn.Recurrent(nn.RNNCell(2, 3)), array(4, 1, 2), *k)


def test_what_cannot_be_cut():
    for layer in (nn.Recurrent(nn.RNNCell(2, 3), reverse=True), nn.GRU(2, 3, bidirectional=True)):
        with pytest.raises(ValueError, match="forwards"):
            nn.truncated_bptt(layer, array(4, 1, 2), 2)
    with pytest.raises(ShapeError, match=r"the same length.*\(4, 1, 3\), \(5, 1, 3\)"):
        nn.truncated_bptt(nn.Recurrent(Pair()), (array(4, 1, 3), array(5, 1, 3)), 2)
    with pytest.raises(ShapeError, match="the same length"):
        nn.truncated_bptt(nn.Recurrent(Pair()), 1.0, 2)


def test_truncated_bptt_equals_the_gradient_of_each_chunk_alone():
    cell = nn.RNNCell(1, 3, dtype="float64")
    xs = np.random.default_rng(0).normal(size=(8, 2, 1))
    model, h = nn.Recurrent(cell), None
    total = np.zeros((3, 3))
    for start in (0, 4):
        outputs, h = model(xs[start : start + 4], None if h is None else h.detach())
        outputs.sum().backward()
    _, last = nn.Recurrent(cell)(xs)
    np.testing.assert_allclose(h.data, last.data)
    truncated, cell.weight_hh.grad = cell.weight_hh.grad, None
    first, h4 = model(xs[:4])
    second, _ = model(xs[4:], tr.tensor(h4.data))
    for part in (first, second):
        (g,) = tr.grad(part.sum(), [cell.weight_hh])
        total += g.data
    np.testing.assert_allclose(truncated.data, total)
