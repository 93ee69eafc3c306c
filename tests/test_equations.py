"""Equations are read off the graph; the BPTT that is printed is the BPTT that is computed."""

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn


class Gated(nn.Cell):
    def __init__(self, input_size=2, hidden_size=3):
        super().__init__()
        self.V = nn.Parameter((input_size, hidden_size), symbol="U")
        self.W = nn.Parameter((hidden_size, hidden_size), symbol="W^z")
        self.state_shape = ((hidden_size,), (input_size,))

    def step(self, x, state):
        h, before = state
        z = tr.sigmoid(x @ self.V + h @ self.W).named("z")
        h = (z * h + (1 - z) * tr.tanh(before @ self.V)).named("h")
        return h.sum(axis=-1, keepdims=True) / 2, (h, x)


def lines(text):
    return [line.removesuffix(r" \\").replace("&= ", "= ") for line in text.splitlines()[1:-1]]


def test_the_plain_cell_reads_as_in_the_textbook():
    assert lines(nn.RNNCell(2, 3).equations()) == [r"h_t = \tanh\left(U x_t + b + W h_{t-1} + b'\right)"]
    assert lines(nn.RNNCell(2, 3, bias=False, nonlinearity="sigmoid").equations()) == [
        r"h_t = \sigma\left(U x_t + W h_{t-1}\right)"
    ]


def test_its_backpropagation_through_time():
    delta = r"\delta^{h}_t \odot \left(1 - h_t \odot h_t\right)"
    assert lines(nn.RNNCell(2, 3, bias=False).equations(backward=True)) == [
        r"\delta^{h}_t = \frac{\partial \ell_t}{\partial h_t} + W^{\top} "
        r"\left(\delta^{h}_{t+1} \odot \left(1 - h_{t+1} \odot h_{t+1}\right)\right)",
        rf"\frac{{\partial L}}{{\partial U}} = \sum_t \left({delta}\right) x_t^{{\top}}",
        rf"\frac{{\partial L}}{{\partial W}} = \sum_t \left({delta}\right) h_{{t-1}}^{{\top}}",
    ]


def test_a_users_cell_with_gates_a_delay_and_an_unnamed_output():
    assert lines(Gated().equations()) == [
        r"z_t = \sigma\left(U^{\top} x_t + {W^z}^{\top} h_{t-1}\right)",
        r"h_t = z_t \odot h_{t-1} + \left(1 - z_t\right) \odot \tanh\left(U^{\top} x_{t-1}\right)",
        r"o_t = \frac{\sum h_t}{2}",
    ]
    backward = Gated().equations(backward=True)
    for part in (r"\delta^{o}_t &= \frac{\partial \ell_t}{\partial o_t}", r"\delta^{z}_t &=", r"W^z \left(\delta^{z}_{t+1}"):
        assert part in backward, backward


def test_the_printed_recursion_is_the_computed_one():
    """Carry out the printed BPTT of the plain cell in NumPy, and compare."""
    T, H = 4, 3
    cell = nn.RNNCell(2, H, dtype="float64")
    xs = np.random.default_rng(1).normal(size=(T, 1, 2))
    outputs, _ = nn.Recurrent(cell)(xs)
    (outputs**2).sum().backward()
    h = [np.zeros(H), *outputs.data[:, 0]]
    W = cell.weight_hh.data
    delta = np.zeros((T + 2, H))
    for t in range(T, 0, -1):
        later = W.T @ (delta[t + 1] * (1 - h[t + 1] * h[t + 1])) if t < T else 0
        delta[t] = 2 * h[t] + later
    for parameter, factor in ((cell.weight_ih, xs[:, 0]), (cell.weight_hh, h[:-1])):
        total = sum(np.outer(delta[t] * (1 - h[t] * h[t]), factor[t - 1]) for t in range(1, T + 1))
        np.testing.assert_allclose(parameter.grad.data, total, atol=1e-12)


def test_a_cell_that_cannot_be_called_says_so():
    class Broken(nn.Cell):
        state_shape = (2,)

        def step(self, x, h):
            raise tr.errors.ShapeError("never fits")

    with pytest.raises(tr.errors.ShapeError, match="never fits"):
        Broken().equations()
