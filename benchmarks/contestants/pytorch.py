"""PyTorch: its own layers, and cells as modules in a Python loop."""

from __future__ import annotations

import os

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import EPSILON, Array, Missing, Problem, Run

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


class Cell(nn.Module):
    """A step, with the parameters of a problem."""

    def __init__(self, parameters: dict[str, Array]) -> None:
        super().__init__()
        for name, value in parameters.items():
            self.register_parameter(name, nn.Parameter(torch.tensor(value)))


class RNN(Cell):
    """h = tanh(U x + W h + b)."""

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        """One step."""
        return (torch.tanh(F.linear(x, self.weight_ih, self.bias_ih) + F.linear(h, self.weight_hh, self.bias_hh)),)


class LSTM(Cell):
    """Long short-term memory."""

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        """One step."""
        a = F.linear(x, self.weight_ih, self.bias_ih) + F.linear(h, self.weight_hh, self.bias_hh)
        i, f, g, o = a.chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class GRU(Cell):
    """Gated recurrent unit, reset after the product."""

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        """One step."""
        x_r, x_z, x_n = F.linear(x, self.weight_ih, self.bias_ih).chunk(3, dim=-1)
        h_r, h_z, h_n = F.linear(h, self.weight_hh, self.bias_hh).chunk(3, dim=-1)
        r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
        n = torch.tanh(x_n + r * h_n)
        return ((1 - z) * n + z * h,)


class MGU(Cell):
    """Minimal gated unit."""

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        """One step."""
        a_f, a_n = F.linear(x, self.weight_ih, self.bias).chunk(2, dim=-1)
        f = torch.sigmoid(a_f + F.linear(h, self.weight_hf))
        n = torch.tanh(a_n + F.linear(f * h, self.weight_hn))
        return ((1 - f) * h + f * n,)


class LayerNormLSTM(Cell):
    """LSTM with layer-normalised gates and cell state."""

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        """One step."""
        gates, units = self.gain_ih.shape, self.gain_c.shape
        a = F.layer_norm(F.linear(x, self.weight_ih), gates, self.gain_ih, self.bias, EPSILON)
        a = a + F.layer_norm(F.linear(h, self.weight_hh), gates, self.gain_hh, None, EPSILON)
        i, f, g, o = a.chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(F.layer_norm(c, units, self.gain_c, self.bias_c, EPSILON)), c


CELLS = {"RNN": RNN, "LSTM": LSTM, "GRU": GRU, "MGU": MGU, "LN-LSTM": LayerNormLSTM}


def loop(problem: Problem) -> Run:
    """A Python loop over the steps."""
    cell = CELLS[problem.cell](problem.parameters)

    def call() -> list[Array]:
        cell.zero_grad()
        xs = torch.from_numpy(problem.x).requires_grad_()
        state = (xs.new_zeros(problem.B, problem.H),) * problem.slots
        outputs = []
        for x in xs.unbind(0):
            state = cell(x, *state)
            outputs.append(state[0])
        total = torch.stack(outputs).sum()
        total.backward()
        return [value.detach().numpy() for value in (total, xs.grad, *(p.grad for p in cell.parameters()))]

    return call


def built_in(problem: Problem) -> Run:
    """`torch.nn`'s layer of that name."""
    if not hasattr(nn, problem.cell):
        raise Missing(f"there is no torch.nn.{problem.cell}")
    layer = getattr(nn, problem.cell)(problem.H, problem.H, dtype=getattr(torch, problem.dtype))
    layer.load_state_dict({f"{name}_l0": torch.tensor(value) for name, value in problem.parameters.items()})

    def call() -> list[Array]:
        layer.zero_grad()
        x = torch.from_numpy(problem.x).requires_grad_()
        outputs, _ = layer(x)
        total = outputs.sum()
        total.backward()
        return [value.detach().numpy() for value in (total, x.grad, *(p.grad for p in layer.parameters()))]

    return call
