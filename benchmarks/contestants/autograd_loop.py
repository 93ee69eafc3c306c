"""HIPS autograd: a Python loop."""

from __future__ import annotations

import autograd.numpy as np
from autograd import value_and_grad
from autograd.scipy.special import expit as sigmoid

from . import EPSILON, Array, Problem, Run

State = tuple[Array, ...]
Parameters = dict[str, Array]


def rnn(p: Parameters, x: Array, state: State) -> State:
    """h = tanh(U x + W h + b)."""
    (h,) = state
    return (np.tanh(np.dot(x, p["weight_ih"].T) + p["bias_ih"] + np.dot(h, p["weight_hh"].T) + p["bias_hh"]),)


def lstm(p: Parameters, x: Array, state: State) -> State:
    """Long short-term memory."""
    h, c = state
    i, f, g, o = split(np.dot(x, p["weight_ih"].T) + p["bias_ih"] + np.dot(h, p["weight_hh"].T) + p["bias_hh"], 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru(p: Parameters, x: Array, state: State) -> State:
    """Gated recurrent unit, reset after the product."""
    (h,) = state
    x_r, x_z, x_n = split(np.dot(x, p["weight_ih"].T) + p["bias_ih"], 3)
    h_r, h_z, h_n = split(np.dot(h, p["weight_hh"].T) + p["bias_hh"], 3)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = np.tanh(x_n + r * h_n)
    return ((1 - z) * n + z * h,)


def mgu(p: Parameters, x: Array, state: State) -> State:
    """Minimal gated unit."""
    (h,) = state
    a_f, a_n = split(np.dot(x, p["weight_ih"].T) + p["bias"], 2)
    f = sigmoid(a_f + np.dot(h, p["weight_hf"].T))
    n = np.tanh(a_n + np.dot(f * h, p["weight_hn"].T))
    return ((1 - f) * h + f * n,)


def layer_norm_lstm(p: Parameters, x: Array, state: State) -> State:
    """LSTM with layer-normalised gates and cell state."""
    h, c = state
    a_x, a_h = np.dot(x, p["weight_ih"].T), np.dot(h, p["weight_hh"].T)
    i, f, g, o = split(normalise(a_x) * p["gain_ih"] + normalise(a_h) * p["gain_hh"] + p["bias"], 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(normalise(c) * p["gain_c"] + p["bias_c"]), c


def normalise(a: Array) -> Array:
    """Mean 0 and variance 1 over the features."""
    centred = a - np.mean(a, axis=-1, keepdims=True)
    return centred / np.sqrt(np.mean(centred * centred, axis=-1, keepdims=True) + EPSILON)


def split(a: Array, parts: int) -> list[Array]:
    """Equal parts of the last axis."""
    n = a.shape[-1] // parts
    return [a[:, k * n : (k + 1) * n] for k in range(parts)]


STEPS = {"RNN": rnn, "LSTM": lstm, "GRU": gru, "MGU": mgu, "LN-LSTM": layer_norm_lstm}


def run(problem: Problem) -> Run:
    """Value and gradients for the input and each parameter."""
    step = STEPS[problem.cell]
    arrays = [problem.x, *problem.parameters.values()]
    start = (np.zeros((problem.B, problem.H), problem.dtype),) * problem.slots

    def loss(xs: Array, *weights: Array) -> Array:
        p = dict(zip(problem.parameters, weights, strict=True))
        state, outputs = start, []
        for t in range(problem.T):
            state = step(p, xs[t], state)
            outputs.append(state[0])
        return np.sum(np.stack(outputs))

    gradient = value_and_grad(loss, argnum=tuple(range(len(arrays))))

    def call() -> list[Array]:
        total, gradients = gradient(*arrays)
        return [total, *gradients]

    return call
