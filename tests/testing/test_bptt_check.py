"""Backward passes written by hand: right passes are accepted, and each classic mistake gets its own diagnosis."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.testing import BpttError, check_bptt
from tinygrad_rnn.testing.bptt_check import Draw, _draws
from tinygrad_rnn.testing.bptt_mistakes import changes_of

UNITS = 3
NETWORK = nn.Sequential(nn.Recurrent(nn.RNNCell(2, UNITS)), nn.Linear(UNITS, UNITS))


def half(o, y):
    return 0.5 * ((o - y) ** 2).sum()


def backward(p, xs, ys, wrong=""):
    """Backpropagation through time of h_t = tanh(U x_t + b + W h_{t-1} + b'), o_t = V h_t + c, with one mistake."""
    U, W, V, T = p["U"], p["W"], p["V"], len(xs)
    h = [np.zeros(UNITS)]
    for x in xs:
        h.append(np.tanh(U @ x + p["b"] + W @ h[-1] + p["b'"]))
    a = [0 * h[0], *[np.arctanh(each) for each in h[1:]]]
    dU, dW, dV, db, dc, dh_next = np.zeros_like(U), np.zeros_like(W), np.zeros_like(V), 0 * h[0], 0 * h[0], 0 * h[0]
    first, last = (2, T) if wrong == "first step" else (1, T - 1) if wrong == "last step" else (1, T)
    das = []
    for t in range(last, first - 1, -1):
        do = V @ h[t] + p["c"] - ys[t - 1]
        if wrong == "last loss" and t < T:
            do = 0 * do
        if wrong == "sign":
            do = -do
        dV, dc = dV + np.outer(do, h[t]), dc + do
        dh = (V @ do if wrong == "V transposed" else V.T @ do) + dh_next
        if wrong == "V forgotten" and t < T:
            dh = dh_next
        slope = {"slope": 1.0, "slope at a": 1 - a[t] ** 2, "slope at h": 1 - np.tanh(h[t]) ** 2}.get(wrong, 1 - h[t] ** 2)
        da = dh * slope
        das.append(da)
        if wrong == "one step":
            dU, dW, db = dU * 0, dW * 0, db * 0
        dU = dU + np.outer(da, xs[t - 2] if wrong == "x shifted" else xs[t - 1])
        dW = dW + np.outer(da, h[t] if wrong == "h shifted" else h[t - 1])
        db = da if wrong == "bias once" else db + da
        dh_next = W @ da if wrong == "W transposed" else W.T @ (dh if wrong == "carried slope" else da)
        if wrong == "future":
            dh_next = 0 * dh_next
        if wrong == "truncated" and t == 2:
            dh_next = 0 * dh_next
    if wrong == "mean":
        dU, dW, db, dV, dc = dU / T, dW / T, db / T, dV / T, dc / T
    if wrong == "axis":
        db = np.sum(das[::-1], axis=1)
    if wrong == "outer":
        dW = dW.T
    return {"U": dU, "W": dW, "b": db, "b'": db, "V": dV, "c": dc}


MISTAKES = {
    "future": ("U, W, b, b'", r"the gradient from step t\+1 is missing: each loss counts only at its own step"),
    "W transposed": ("U, W, b, b'", "W is transposed the wrong way"),
    "V transposed": ("U, W, b, b'", "V is transposed the wrong way"),
    "h shifted": ("W", r"h_t is used instead of h_\{t-1\}"),
    "x shifted": ("U", r"x_\{t-1\} is used instead of x_t"),
    "bias once": ("b, b'", "only step 1 is counted, instead of the sum over all steps"),
    "one step": ("U, W, b, b'", "only step 1 is counted, instead of the sum over all steps"),
    "slope": ("U, W, b, b'", "the derivative of tanh is missing"),
    "slope at a": ("U, W, b, b'", "the derivative of tanh is computed from a_t instead of h_t"),
    "slope at h": ("U, W, b, b'", "the derivative of tanh is taken at h_t instead of a_t"),
    "carried slope": ("U, W, b, b'", "the derivative of tanh is missing, in the δ that is carried to the step before"),
    "last loss": ("U, W, b, b', V, c", "only the loss of step 4 is counted"),
    "axis": ("b, b'", "it is summed over the wrong axis: over the units, not over the steps"),
    "mean": ("U, W, b, b', V, c", "it is the mean over the 4 steps, but must be the sum over them"),
    "first step": ("U, b, b', V, c", "step 1 is left out of the sum over the steps"),
    "last step": ("U, W, b, b', V, c", "the loop leaves out step 4, with its loss and its part of the sum"),
    "sign": ("U, W, b, b', V, c", "the sign is wrong"),
    "truncated": ("U, b, b'", "nothing is carried from step 2 to step 1"),
    "V forgotten": ("U, W, b, b'", "the gradient that h_t gets through V is missing at all steps but the last"),
    "outer": ("W", "it is transposed"),
}


def diagnosis(function, model=NETWORK, loss=half, **options):
    with pytest.raises(BpttError) as caught:
        check_bptt(function, model, loss, **options)
    return caught.value


@pytest.mark.parametrize("wrong", MISTAKES)
def test_a_classic_mistake_has_its_diagnosis(wrong):
    error = diagnosis(lambda p, xs, ys: backward(p, xs, ys, wrong), T=4)
    assert not error.unexplained, error
    (mistake,) = error.mistakes
    names, words = MISTAKES[wrong]
    assert set(mistake.gradients) == set(names.split(", ")), error
    assert re.fullmatch(words, mistake.words), error


def test_a_right_one_passes():
    report = check_bptt(backward, NETWORK, half, T=4)
    assert str(report).startswith("the backward pass is right in U, W, b, b', V, c: 4 steps, within ")
    assert report.error < 1e-13


def test_the_letters_of_another_notation():
    def exchanged(named):
        return {{"U": "W", "W": "U"}.get(name, name): array for name, array in named.items()}

    def other(p, xs, ys, wrong=""):
        return exchanged(backward(exchanged(p), xs, ys, wrong))

    assert str(check_bptt(other, NETWORK, half, notation="WU")).startswith("the backward pass is right in W, U, b")
    with pytest.raises(BpttError, match="U is transposed the wrong way"):
        check_bptt(lambda *given: other(*given, wrong="W transposed"), NETWORK, half, notation="WU")


def test_two_mistakes_are_told_apart():
    def both(p, xs, ys):
        found = backward(p, xs, ys)
        return found | {"U": backward(p, xs, ys, "x shifted")["U"], "W": 2 * found["W"], "c": found["c"] + 1}

    error = diagnosis(both)
    assert {(m.gradients, m.words) for m in error.mistakes} == {
        (("U",), "x_{t-1} is used instead of x_t"),
        (("W",), "it is 2 times the right gradient"),
    }
    assert error.unexplained == ("c",)
    assert re.search(r"\n  c: no single known mistake explains these numbers; the gradient at \[\d\] is", str(error))


class Leaky(nn.Cell):
    """Two slots, a gate, a product of both, and a value that two paths share."""

    def __init__(self):
        super().__init__()
        self.input_size = 2
        self.U = nn.Parameter((2, 3), symbol="U")
        self.W = nn.Parameter((3, 3), symbol="W")
        self.R = nn.Parameter((3, 3), symbol="R")
        self.state_shape = ((3,), (3,))

    def step(self, x, state):
        h, m = state
        f = tr.sigmoid(x @ self.U + h @ self.W).named("f")
        m = (f * m + (1 - f) * h @ self.R).named("m")
        h = (tr.tanh(m) * f).named("h")
        return h, (h, m)


def lstm(p, xs, ys, wrong=""):
    """Backpropagation through time of an LSTM; the rows of its gates i, f, g, o are stacked."""
    sigmoid, n = (lambda a: 1 / (1 + np.exp(-a))), 2
    h, c, gates = [np.zeros(n)], [np.zeros(n)], [None]
    for x in xs:
        a = (p["U"] @ x + p["b"] + p["W"] @ h[-1] + p["b'"]).reshape(4, n)
        i, f, g, o = sigmoid(a[0]), sigmoid(a[1]), np.tanh(a[2]), sigmoid(a[3])
        c.append(f * c[-1] + i * g)
        h.append(o * np.tanh(c[-1]))
        gates.append((i, f, g, o))
    dU, dW, db, dh, dc = 0, 0, 0, np.zeros(n), np.zeros(n)
    for t in reversed(range(1, len(xs) + 1)):
        i, f, g, o = gates[t]
        dh = dh + 2 * (h[t] - ys[t - 1]) / n
        dc = dc + (dh if wrong == "slope" else dh * (1 - np.tanh(c[t]) ** 2)) * o
        before = c[t] if wrong == "shifted" else c[t - 1]
        parts = dc * g * i * (1 - i), dc * before * f * (1 - f), dc * i * (1 - g**2), dh * np.tanh(c[t]) * o * (1 - o)
        da = np.concatenate(parts)
        dU, dW, db = dU + np.outer(da, xs[t - 1]), dW + np.outer(da, h[t - 1]), db + da
        dh, dc = p["W"].T @ da, dc * f
        dh, dc = (0 * dh if wrong == "h" else dh), (0 * dc if wrong == "c" else dc)
    return {"U": dU, "W": dW, "b": db, "b'": db}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("h", "the gradient that h_t gets from step t+1 is missing"),
        ("c", "the gradient that c_t gets from step t+1 is missing"),
        ("shifted", "c_t is used instead of c_{t-1}"),
        ("slope", "the derivative of tanh is missing"),
    ],
)
def test_a_cell_with_two_slots_and_gates(wrong, words):
    cell = nn.LSTMCell(3, 2)
    check_bptt(lstm, cell, T=3)
    error = diagnosis(lambda p, xs, ys: lstm(p, xs, ys, wrong), cell, nn.mse, T=3)
    assert [m.words for m in error.mistakes] == [words] and not error.unexplained


LEAKY = _draws(lambda p, xs, ys: {}, Leaky(), half, 3, None, None, 0)[0].hand


@settings(max_examples=12)
@given(st.sampled_from(list(changes_of(LEAKY))), st.sampled_from([(True, True), (True, False)]))
def test_any_change_of_any_operation_is_found(change, where):
    """For an unknown cell, changed gradients are explained by this change or by a change with the same result."""
    given_ = {name: array for name, (_, array) in LEAKY.given.items()}

    def student(p, xs, ys):
        draw = Draw(LEAKY, LEAKY.forward(p, given_, LEAKY.start()), {})
        return draw.changed(change, *where)

    xs, ys = (array for _, array in LEAKY.given.values())
    try:
        check_bptt(student, Leaky(), half, xs=xs, targets=ys)
    except BpttError as error:
        assert not error.unexplained, (change, error)
        assert len(error.mistakes) == 1


def test_codes_and_a_loss_of_classes():
    network = nn.Sequential(nn.Embedding(6, 4), nn.Recurrent(nn.RNNCell(4, UNITS)), nn.Linear(UNITS, 6))

    def student(p, codes, classes, wrong=""):
        h, dE = [np.zeros(UNITS)], np.zeros_like(p["E"])
        for code in codes:
            h.append(np.tanh(p["U"] @ p["E"][code] + p["b"] + p["W"] @ h[-1] + p["b'"]))
        dU, dW, db, dV, dc, dh = 0, 0, 0, 0, 0, 0
        for t in reversed(range(1, len(codes) + 1)):
            o = p["V"] @ h[t] + p["c"]
            do = np.exp(o) / np.exp(o).sum() - np.eye(6)[classes[t - 1]]
            dV, dc = dV + np.outer(do, h[t]), dc + do
            da = (p["V"].T @ do + dh) * (1 - h[t] ** 2)
            dU, dW, db = dU + np.outer(da, p["E"][codes[t - 1]]), dW + np.outer(da, h[t - 1]), db + da
            dE[codes[t - 1 if wrong == "" else t - 2]] += p["U"].T @ da
            dh = p["W"].T @ da
        return {"E": dE, "U": dU, "W": dW, "b": db, "b'": db, "V": dV, "c": dc}

    check_bptt(student, network, nn.cross_entropy)
    error = diagnosis(lambda *given: student(*given, "shifted"), network, nn.cross_entropy)
    assert str(error).endswith("E: x_{t-1} is used instead of x_t")


@pytest.mark.parametrize(("wrong", "step"), [("truncated", "step 1, and right at steps 2 to 4"), ("sign", "step 4")])
def test_a_wrong_delta_is_found_at_its_step(wrong, step):
    def student(p, xs, ys):
        found = backward(p, xs, ys, wrong)
        deltas, right = np.zeros((4, UNITS)), Draw(hand, hand.forward(p, given_, hand.start()), {})
        for t, table in enumerate(right.tables):
            deltas[t] = table[hand.values["h"]][0] * (-1 if wrong == "sign" else 1)
        if wrong == "truncated":
            deltas[0] += 1
        return found | {"h": deltas}

    hand = _draws(lambda p, xs, ys: {}, NETWORK, half, 4, None, None, 0)[0].hand
    given_ = {name: array for name, (_, array) in hand.given.items()}
    xs, ys = (array for _, array in hand.given.values())
    error = diagnosis(student, xs=xs, targets=ys)
    assert str(error).endswith(f"going back in time, δh is first wrong at {step}")


@pytest.mark.parametrize(
    ("function", "model", "options", "kind", "words"),
    [
        (lambda p, xs, ys: None, NETWORK, {}, BpttError, "a dict from symbols to gradients, not of type NoneType"),
        (
            lambda p, xs, ys: {"U": 0},
            NETWORK,
            {},
            BpttError,
            "the gradient of W, b, b', V, c is missing: the backward pass returned U",
        ),
        (
            lambda *a: backward(*a) | {"A": 0},
            NETWORK,
            {},
            BpttError,
            "there is no gradient 'A'; there are 'U', 'W', .*, 'h', 'o'",
        ),
        (
            lambda *a: backward(*a) | {"W": np.ones((2, 3))},
            NETWORK,
            {},
            BpttError,
            r"W: the gradient has shape \(2, 3\), but the parameter has \(3, 3\)",
        ),
        (
            lambda p, xs, ys: p["Wx"],
            NETWORK,
            {},
            BpttError,
            "there is no parameter 'Wx'; there are 'U', 'W', 'b', \"b'\", 'V', 'c'",
        ),
        (backward, NETWORK, {"T": 0}, tr.errors.ShapeError, "T must be a whole number, at least 1, not 0"),
        (backward, NETWORK, {"xs": np.ones((0, 2))}, tr.errors.ShapeError, "the sequence is empty"),
        (backward, nn.Linear(2, 3), {}, tr.errors.TinygradError, "Linear is not a cell"),
        (
            backward,
            nn.Sequential(nn.Linear(2, 3), tr.tanh),
            {},
            tr.errors.TinygradError,
            "Sequential is not a cell, and has no nn.Recurrent",
        ),
    ],
)
def test_what_cannot_be_judged(function, model, options, kind, words):
    with pytest.raises(kind, match=words):
        check_bptt(function, model, half, **options)
