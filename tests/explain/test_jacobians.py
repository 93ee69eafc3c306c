"""Step Jacobians equal backward passes for each element; Lyapunov exponents equal those of known systems."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import explain, nn
from tinygrad_rnn.errors import DtypeError, NonFiniteError, ShapeError, TinygradError
from tinygrad_rnn.testing.choices import RandomChoices
from tinygrad_rnn.testing.random_cells import random_cell
from tinygrad_rnn.tree import flatten, rebuild

T, B = 5, 2
RNG = np.random.default_rng(0)
XS = RNG.normal(size=(T, B, 3))
DOUBLE = {"dtype": np.float64}


def by_hand(cell, xs, state, order):
    """∂s_t/∂s_{t−1}, from a backward pass for each element of the next state."""
    found = []
    for t in order:
        slots = [tr.tensor(np.asarray(x), requires_grad=np.asarray(x).dtype.kind == "f") for x in flatten(state)]
        part = None if xs is None else rebuild(xs, iter([tr.tensor(np.asarray(x)[t]) for x in flatten(xs)]))
        after = flatten(cell(part, rebuild(state, iter(slots)))[1])
        floats = [i for i, x in enumerate(slots) if x.dtype.kind == "f"]
        size = sum(slots[i].data[0].size for i in floats)
        jacobian, row = np.zeros((len(slots[0]), size, size)), 0
        for i in floats:
            for place in np.ndindex(slots[i].shape[1:]):
                seed = np.zeros(slots[i].shape)
                seed[(slice(None), *place)] = 1
                grads = tr.grad(tr.sum(after[i] * seed), [slots[j] for j in floats])
                jacobian[:, row] = np.concatenate([g.data.reshape(len(seed), -1) for g in grads], axis=1)
                row += 1
        found.append(jacobian)
        state = rebuild(state, iter([x.data for x in after]))
    return np.array(found)


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell", "ResidualCell"])
@pytest.mark.parametrize("reverse", [False, True])
def test_step_jacobians_are_those_of_separate_backward_passes(name, reverse):
    cell = getattr(nn, name)(3, 4, **DOUBLE)
    found = explain.jacobians(nn.Sequential(nn.Recurrent(cell, reverse=reverse), nn.Linear(4, 1, **DOUBLE)), XS)
    order = range(T)[::-1] if reverse else range(T)
    assert np.allclose(found.arrays, by_hand(cell, XS, cell.initial_state(B), order), rtol=1e-12, atol=1e-15)
    assert np.allclose(found.singular_values, np.linalg.svd(found.arrays, compute_uv=False))
    product = np.eye(found.arrays.shape[-1])
    for t in range(T):
        product = found.arrays[t] @ product
        assert np.allclose(found.running_singular_values[t], np.linalg.svd(product, compute_uv=False), rtol=1e-7, atol=1e-15)


@pytest.mark.parametrize("seed", range(10))
def test_random_cells_too(seed):
    drawn = random_cell(RandomChoices(seed + 100))
    state = drawn.cell.initial_state(1) if drawn.state is None else drawn.state
    state = rebuild(state, iter([np.asarray(getattr(x, "data", x))[:1] for x in flatten(state)]))
    xs = drawn.inputs()
    xs = None if xs is None else rebuild(xs, iter([np.asarray(getattr(x, "data", x))[:, :1] for x in flatten(xs)]))
    layer, options = nn.Recurrent(drawn.cell), {"steps": drawn.T} if xs is None else {}
    if not drawn.T or not any(x.dtype.kind == "f" for x in flatten(state)):
        with pytest.raises((ShapeError, DtypeError), match=r"the sequence is empty|needs a state of floats"):
            explain.jacobians(layer, xs, state=state, **options)
        return
    found = explain.jacobians(layer, xs, state=state, **options)
    assert np.allclose(found.arrays, by_hand(drawn.cell, xs, state, range(drawn.T)), rtol=1e-9, atol=1e-12)


def test_the_blocks_are_the_slots():
    found = explain.jacobians(nn.LSTM(3, 4, **DOUBLE), XS)
    assert list(found.slots) == ["h", "c"]
    assert found.block("c", "c").shape == (T, B, 4, 4)
    diagonal = np.diagonal(found.block("c", "c"), axis1=-2, axis2=-1)
    assert (diagonal > 0).all()
    assert np.allclose(found.block("c", "c"), diagonal[..., None] * np.eye(4))  # the forget gate
    with pytest.raises(ShapeError, match="there is no slot 'f'; there are 'h', 'c'"):
        found.block("f", "h")
    assert repr(found) == "<Jacobians of the state (h, c), T = 5, batch 2, D = 8>"


def test_the_product_of_step_jacobians_is_the_gradient_flow():
    model, xs = nn.Recurrent(nn.GRUCell(3, 4, **DOUBLE)), XS[:, :1]
    steps = explain.jacobians(model, xs).arrays[:, 0]
    flow = explain.gradient_flow(model, xs, None, lambda h, _: (h**2).sum(axis=(1, 2)), arrays=True).arrays[:, :, 0]
    for t in range(T):
        row = flow[t, t]
        for k in range(t - 1, -1, -1):
            row = row @ steps[k + 1]
            assert np.allclose(row, flow[t, k], rtol=1e-10, atol=1e-16)


def system(n, f):
    return nn.Recurrent(nn.SystemCell(0, n, f=f))


def henon(s):
    x, y = s[:, :1], s[:, 1:]
    return tr.concatenate([1 - 1.4 * x * x + y, 0.3 * x], axis=-1)


def lorenz(s):
    x, y, z = s[:, :1], s[:, 1:2], s[:, 2:]
    return tr.concatenate([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], axis=-1)


def runge_kutta(s, h=0.02):
    k1 = lorenz(s)
    k2 = lorenz(s + h / 2 * k1)
    k3 = lorenz(s + h / 2 * k2)
    return s + h / 6 * (k1 + 2 * k2 + 2 * k3 + lorenz(s + h * k3))


W = RNG.normal(size=(5, 5))
SYSTEMS = {
    "logistic map": (system(1, lambda s: 4 * s * (1 - s)), [[0.3]], [np.log(2)]),
    "Hénon": (system(2, henon), [[0.1, 0.1]], [0.419, np.log(0.3) - 0.419]),
    "linear": (system(5, lambda s: s @ W), [[0.0] * 5], np.sort(np.log(np.abs(np.linalg.eigvals(W))))[::-1]),
    "Lorenz": (system(3, runge_kutta), [[1.0, 1, 20]], [0.02 * 0.906]),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_exponents_of_known_systems(name):
    model, start, expected = SYSTEMS[name]
    found = explain.lyapunov(model, None, len(expected), state=np.array(start), steps=20_000)
    assert found.shape == (len(expected),)
    assert np.allclose(found, expected, rtol=0.01)


def test_exponents_of_a_driven_network_and_of_a_delay():
    contracting = nn.Recurrent(nn.SystemCell(2, 2, f=lambda s, x: 0.5 * s + x))
    assert np.allclose(explain.lyapunov(contracting, RNG.normal(size=(50, 3, 2)), 2), np.log(0.5))
    assert np.isneginf(explain.lyapunov(nn.TimeDelay(3, 4, 2), XS, 1)).all()


class Mixing(nn.Cell):
    """The rows of a batch depend on each other."""

    input_size, state_shape = 3, (3,)

    def step(self, x, h):
        h = (tr.tanh(x + h) - h.mean(axis=0)).named("h")
        return h, h


class Counter(nn.Cell):
    input_size, state_shape = 3, (1,)

    def initial_state(self, batch_size):
        return tr.tensor(np.zeros((batch_size, 1), int))

    def step(self, x, n):
        return x, (n + 1).named("n")


@pytest.mark.parametrize(
    "run, error, words",
    [
        (lambda: explain.jacobians(nn.Linear(3, 4), XS), TinygradError, "Linear has no recurrent part"),
        (lambda: explain.jacobians(nn.LSTM(3, 4, 2), XS), ShapeError, "layer must be 'l0' or 'l1', not None"),
        (lambda: explain.jacobians(nn.LSTM(3, 4, 2), XS, layer="l2"), ShapeError, "layer must be 'l0' or 'l1', not 'l2'"),
        (lambda: explain.jacobians(nn.LSTM(3, 4), XS[:0]), ShapeError, "the sequence is empty"),
        (lambda: explain.jacobians(nn.LSTM(3, 4), XS, max_bytes=10), ValueError, "the Jacobians need 5,120 bytes"),
        (lambda: explain.jacobians(nn.Recurrent(Mixing()), XS), ShapeError, "rows of the batch depend on each other"),
        (
            lambda: explain.jacobians(nn.Recurrent(Counter()), XS),
            DtypeError,
            "a Jacobian needs a state of floats: n of int64",
        ),
        (lambda: explain.lyapunov(nn.LSTM(3, 4), XS, 9), ValueError, "from 1 to 8, the number of elements of the state, not 9"),
        (lambda: explain.lyapunov(nn.LSTM(3, 4), XS, 0), ValueError, "k must be a whole number, at least 1"),
        (lambda: explain.lyapunov(system(1, lambda s: s), None, 1), ShapeError, "steps must be the number of steps"),
        (
            lambda: explain.lyapunov(system(1, lambda s: s * s), None, 1, state=np.array([[10.0]]), steps=50),
            NonFiniteError,
            "s has NaN or inf before step t = 7: the state diverges",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_bad_input_gets_one_clear_error(run, error, words):
    with pytest.raises(error, match=words):
        run()
