"""JAX: `lax.scan` over a step, compiled by `jit`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import sigmoid

from . import EPSILON, Array, Problem, Run

State = tuple[jax.Array, ...]
Parameters = dict[str, jax.Array]


def rnn(p: Parameters, x: jax.Array, state: State) -> State:
    """h = tanh(U x + W h + b)."""
    (h,) = state
    return (jnp.tanh(x @ p["weight_ih"].T + p["bias_ih"] + h @ p["weight_hh"].T + p["bias_hh"]),)


def lstm(p: Parameters, x: jax.Array, state: State) -> State:
    """Long short-term memory."""
    h, c = state
    a = x @ p["weight_ih"].T + p["bias_ih"] + h @ p["weight_hh"].T + p["bias_hh"]
    i, f, g, o = jnp.split(a, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
    return sigmoid(o) * jnp.tanh(c), c


def gru(p: Parameters, x: jax.Array, state: State) -> State:
    """Gated recurrent unit, reset after the product."""
    (h,) = state
    x_r, x_z, x_n = jnp.split(x @ p["weight_ih"].T + p["bias_ih"], 3, axis=-1)
    h_r, h_z, h_n = jnp.split(h @ p["weight_hh"].T + p["bias_hh"], 3, axis=-1)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = jnp.tanh(x_n + r * h_n)
    return ((1 - z) * n + z * h,)


def mgu(p: Parameters, x: jax.Array, state: State) -> State:
    """Minimal gated unit."""
    (h,) = state
    a_f, a_n = jnp.split(x @ p["weight_ih"].T + p["bias"], 2, axis=-1)
    f = sigmoid(a_f + h @ p["weight_hf"].T)
    n = jnp.tanh(a_n + (f * h) @ p["weight_hn"].T)
    return ((1 - f) * h + f * n,)


def layer_norm_lstm(p: Parameters, x: jax.Array, state: State) -> State:
    """LSTM with layer-normalised gates and cell state."""
    h, c = state
    a = normalise(x @ p["weight_ih"].T) * p["gain_ih"] + normalise(h @ p["weight_hh"].T) * p["gain_hh"] + p["bias"]
    i, f, g, o = jnp.split(a, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
    return sigmoid(o) * jnp.tanh(normalise(c) * p["gain_c"] + p["bias_c"]), c


def normalise(a: jax.Array) -> jax.Array:
    """Mean 0 and variance 1 over the features."""
    return (a - a.mean(-1, keepdims=True)) / jnp.sqrt(a.var(-1, keepdims=True) + EPSILON)


STEPS = {"RNN": rnn, "LSTM": lstm, "GRU": gru, "MGU": mgu, "LN-LSTM": layer_norm_lstm}


def run(problem: Problem) -> Run:
    """Value and gradients, compiled."""
    jax.config.update("jax_enable_x64", problem.dtype == "float64")
    step = STEPS[problem.cell]
    parameters = {name: jnp.asarray(value) for name, value in problem.parameters.items()}
    start = (jnp.zeros((problem.B, problem.H), problem.dtype),) * problem.slots

    def loss(p: Parameters, xs: jax.Array) -> jax.Array:
        def body(state: State, x: jax.Array) -> tuple[State, jax.Array]:
            state = step(p, x, state)
            return state, state[0]

        return jax.lax.scan(body, start, xs)[1].sum()

    gradient = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))

    def call() -> list[Array]:
        total, (dp, dx) = gradient(parameters, jnp.asarray(problem.x))
        return [np.asarray(value) for value in (total, dx, *(dp[name] for name in parameters))]

    return call
