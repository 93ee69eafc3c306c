"""JAX: the whole step under one `jit`, with `lax.scan` and Adam by hand; old parameters give their memory back."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import sigmoid

from . import CLIP, EPSILON, LEARNING_RATE, Array, Problem, Step

Values = dict[str, jax.Array]


def rnn(x: jax.Array, h: jax.Array, state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    """h = tanh of the sum of both products."""
    return (jnp.tanh(x + h),)


def lstm(x: jax.Array, h: jax.Array, state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    """Long short-term memory."""
    i, f, g, o = jnp.split(x + h, 4, axis=-1)
    c = sigmoid(f) * state[1] + sigmoid(i) * jnp.tanh(g)
    return sigmoid(o) * jnp.tanh(c), c


def gru(x: jax.Array, h: jax.Array, state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    """Gated recurrent unit, reset after the product."""
    x_r, x_z, x_n = jnp.split(x, 3, axis=-1)
    h_r, h_z, h_n = jnp.split(h, 3, axis=-1)
    z = sigmoid(x_z + h_z)
    return ((1 - z) * jnp.tanh(x_n + sigmoid(x_r + h_r) * h_n) + z * state[0],)


CELLS = {"RNN": rnn, "LSTM": lstm, "GRU": gru}


def make(problem: Problem) -> Step:
    """The step."""
    cell, slots = CELLS[problem.cell], 2 if problem.cell == "LSTM" else 1

    def loss_of(p: Values, x: jax.Array, y: jax.Array) -> jax.Array:
        xs = p["embedding"][x] @ p["weight_ih_l0"].T + p["bias_ih_l0"]

        def body(state: tuple[jax.Array, ...], x: jax.Array) -> tuple[tuple[jax.Array, ...], jax.Array]:
            state = cell(x, state[0] @ p["weight_hh_l0"].T + p["bias_hh_l0"], state)
            return state, state[0]

        start = (jnp.zeros((problem.B, problem.H), jnp.float32),) * slots
        _, outputs = jax.lax.scan(body, start, xs)
        scores = jax.nn.log_softmax(outputs @ p["weight"].T + p["bias"])
        return -jnp.take_along_axis(scores, y[..., None], -1).mean()

    def update(p: Values, m: Values, v: Values, n: jax.Array, x: jax.Array, y: jax.Array) -> tuple[Any, ...]:
        loss, g = jax.value_and_grad(loss_of)(p, x, y)
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(part)) for part in g.values()))
        scale = jnp.where(norm > CLIP, CLIP / norm, 1.0)
        n = n + 1
        new_p, new_m, new_v = {}, {}, {}
        for name in p:
            part = g[name] * scale
            new_m[name] = 0.9 * m[name] + 0.1 * part
            new_v[name] = 0.999 * v[name] + 0.001 * part * part
            step = LEARNING_RATE / (1 - 0.9**n) * new_m[name] / (jnp.sqrt(new_v[name] / (1 - 0.999**n)) + EPSILON)
            new_p[name] = p[name] - step
        return loss, new_p, new_m, new_v, n

    compiled = jax.jit(update, donate_argnums=(0, 1, 2))
    values = {name: jnp.array(value) for name, value in problem.parameters.items()}
    state = [values, *({name: jnp.zeros_like(value) for name, value in values.items()} for _ in range(2)), jnp.float32(0)]

    def step(x: Array, y: Array) -> Any:
        loss, *state[:] = compiled(*state, x, y)
        return loss.block_until_ready()

    return step
