"""This library: its own layers, and two cells that it does not have, in every backend."""

from __future__ import annotations

import tinygrad_rnn as tr
from tinygrad_rnn import Tensor, nn

from . import EPSILON, Array, Missing, Problem, Run, shapes


class UserCell(nn.Cell):
    """A cell with the parameters of the benchmark."""

    slots = 1

    def __init__(self, name: str, size: int, dtype: str) -> None:
        super().__init__()
        for parameter, shape in shapes(name, size, size).items():
            setattr(self, parameter, nn.Parameter(shape, dtype=dtype))
        self.state_shape = (size,) if self.slots == 1 else ((size,),) * self.slots


class MGU(UserCell):
    """Minimal gated unit: forget gate and candidate."""

    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """One step."""
        a_f, a_n = tr.split(nn.linear(x, self.weight_ih, self.bias), 2, axis=-1)
        f = tr.sigmoid(a_f + nn.linear(h, self.weight_hf))
        n = tr.tanh(a_n + nn.linear(f * h, self.weight_hn))
        h = (1 - f) * h + f * n
        return h, h


class LayerNormLSTM(UserCell):
    """LSTM with layer-normalised gates and cell state."""

    slots = 2

    def step(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One step."""
        h, c = state
        a = normalise(x @ self.weight_ih.T) * self.gain_ih + normalise(h @ self.weight_hh.T) * self.gain_hh + self.bias
        i, f, g, o = tr.split(a, 4, axis=-1)
        c = tr.sigmoid(f) * c + tr.sigmoid(i) * tr.tanh(g)
        h = tr.sigmoid(o) * tr.tanh(normalise(c) * self.gain_c + self.bias_c)
        return h, (h, c)


def normalise(a: Tensor) -> Tensor:
    """Mean 0 and variance 1 over the features."""
    centred = a - a.mean(-1, keepdims=True)
    return centred / tr.sqrt((centred * centred).mean(-1, keepdims=True) + EPSILON)


CELLS = {"MGU": MGU, "LN-LSTM": LayerNormLSTM}
BACKENDS = {"ours": ("scan", "numpy"), "ours, native": ("scan", "native"), "ours, unrolled": ("unroll", "numpy")}
"""The mode of `nn.Recurrent` and of the layers, and the backend, by the name of the contestant."""


def layer(problem: Problem, backend: str) -> nn.Module:
    """The layer, with the parameters of the problem."""
    cell, size, dtype, options = problem.cell, problem.H, problem.dtype, {"mode": BACKENDS[backend][0]}
    own = cell not in CELLS
    if own and not hasattr(nn, cell):
        raise Missing(f"there is no nn.{cell}")
    try:
        if own:
            model = getattr(nn, cell)(size, size, dtype=dtype, **options)
        else:
            model = nn.Recurrent(CELLS[cell](cell, size, dtype), **options)
    except ValueError as error:  # a mode that is not there
        raise Missing(str(error)) from error
    path = "{}_l0" if own else "cell.{}"
    model.load_state_dict({path.format(name): value for name, value in problem.parameters.items()})
    return model


def run(problem: Problem, backend: str) -> Run:
    """Forward and backward of the sum."""
    model = layer(problem, backend)
    parameters = model.parameters()  # in the order of the problem's

    def call() -> list[Array]:
        model.zero_grad()
        x = tr.tensor(problem.x, requires_grad=True)
        with tr.use(BACKENDS[backend][1]):
            outputs, _ = model(x)
            total = outputs.sum()
            total.backward()
        return [total.data, x.grad.data, *(p.grad.data for p in parameters)]

    return call
