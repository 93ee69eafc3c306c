"""MyGrad: a Python loop."""

from __future__ import annotations

import mygrad as mg
import numpy as np
from mygrad.nnet import sigmoid

from . import EPSILON, Array, Problem, Run

State = tuple[mg.Tensor, ...]
Parameters = dict[str, mg.Tensor]


def rnn(p: Parameters, x: mg.Tensor, state: State) -> State:
    """h = tanh(U x + W h + b)."""
    (h,) = state
    return (mg.tanh(x @ p["weight_ih"].T + p["bias_ih"] + h @ p["weight_hh"].T + p["bias_hh"]),)


def lstm(p: Parameters, x: mg.Tensor, state: State) -> State:
    """Long short-term memory."""
    h, c = state
    i, f, g, o = split(x @ p["weight_ih"].T + p["bias_ih"] + h @ p["weight_hh"].T + p["bias_hh"], 4)
    c = sigmoid(f) * c + sigmoid(i) * mg.tanh(g)
    return sigmoid(o) * mg.tanh(c), c


def gru(p: Parameters, x: mg.Tensor, state: State) -> State:
    """Gated recurrent unit, reset after the product."""
    (h,) = state
    x_r, x_z, x_n = split(x @ p["weight_ih"].T + p["bias_ih"], 3)
    h_r, h_z, h_n = split(h @ p["weight_hh"].T + p["bias_hh"], 3)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = mg.tanh(x_n + r * h_n)
    return (n + z * (h - n),)  # a number in 1 - z would make it float64


def mgu(p: Parameters, x: mg.Tensor, state: State) -> State:
    """Minimal gated unit."""
    (h,) = state
    a_f, a_n = split(x @ p["weight_ih"].T + p["bias"], 2)
    f = sigmoid(a_f + h @ p["weight_hf"].T)
    n = mg.tanh(a_n + (f * h) @ p["weight_hn"].T)
    return (h + f * (n - h),)


def layer_norm_lstm(p: Parameters, x: mg.Tensor, state: State) -> State:
    """LSTM with layer-normalised gates and cell state."""
    h, c = state
    a = normalise(x @ p["weight_ih"].T) * p["gain_ih"] + normalise(h @ p["weight_hh"].T) * p["gain_hh"] + p["bias"]
    i, f, g, o = split(a, 4)
    c = sigmoid(f) * c + sigmoid(i) * mg.tanh(g)
    return sigmoid(o) * mg.tanh(normalise(c) * p["gain_c"] + p["bias_c"]), c


def normalise(a: mg.Tensor) -> mg.Tensor:
    """Mean 0 and variance 1 over the features."""
    centred = a - mg.mean(a, axis=-1, keepdims=True)
    return centred / mg.sqrt(mg.mean(centred * centred, axis=-1, keepdims=True) + a.dtype.type(EPSILON))


def split(a: mg.Tensor, parts: int) -> list[mg.Tensor]:
    """Equal parts of the last axis."""
    n = a.shape[-1] // parts
    return [a[:, k * n : (k + 1) * n] for k in range(parts)]


STEPS = {"RNN": rnn, "LSTM": lstm, "GRU": gru, "MGU": mgu, "LN-LSTM": layer_norm_lstm}


def run(problem: Problem) -> Run:
    """Each step's input is a tensor of its own: the gradient of an index would be as large as the whole sequence."""
    step = STEPS[problem.cell]
    parameters = {name: mg.tensor(value) for name, value in problem.parameters.items()}

    def call() -> list[Array]:
        for p in parameters.values():
            p.null_grad()
        xs = [mg.tensor(x) for x in problem.x]
        state = (mg.zeros((problem.B, problem.H), problem.dtype, constant=True),) * problem.slots
        outputs = []
        for x in xs:
            state = step(parameters, x, state)
            outputs.append(state[0])
        total = mg.stack(outputs).sum()
        total.backward()
        return [total.data, np.stack([x.grad for x in xs]), *(p.grad for p in parameters.values())]

    return call
