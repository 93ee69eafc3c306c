"""Dynamic systems, with and without an input; and states that are added to, not replaced."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import init
from ..ops import tanh
from ..tensor import Parameter, Tensor
from .cell import Cell, cell_parameters
from .layers import linear
from .module import Module

__all__ = ["ResidualCell", "SystemCell"]


class SystemCell(Cell):
    """A dynamic system: s_t = f(s_{t-1}; θ), or driven by an input, s_t = f(s_{t-1}, x_t; θ).

    Parameters
    ----------
    input_size : int
        0 for a system without an input: it is run with ``(None, steps=T)``.
    state_size : int
    f : callable, optional
        A Module, or a function, called with s, or s and x. If it is not given: a layer of
        tanh units, h_t = tanh(b + W s_{t-1} + U x_t), s_t = c + V h_t. With enough of them
        it comes as close to any continuous f, on a bounded set, as one likes.
    hidden_size : int
        How many units those are.
    dtype : dtype

    References
    ----------
    Goodfellow, Bengio and Courville, *Deep Learning*, 2016, equations 10.1 and 10.4. Cybenko,
    "Approximation by superpositions of a sigmoidal function", 1989. Schäfer and Zimmermann,
    "Recurrent neural networks are universal approximators", 2006.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> from tinygrad_rnn import nn
    >>> halving = SystemCell(0, 1, f=lambda s: s / 2)
    >>> trajectory, s = nn.Recurrent(halving)(None, tr.tensor([[1.0]]), steps=3)
    >>> trajectory.data.ravel().tolist()
    [0.5, 0.25, 0.125]
    """

    def __init__(
        self,
        input_size: int,
        state_size: int,
        f: Callable[..., Any] | None = None,
        hidden_size: int = 32,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.input_size = input_size or None
        self.state_shape = (state_size,)
        self.f = Approximator(input_size, state_size, hidden_size, dtype) if f is None else f

    def step(self, x: Tensor | None, s: Tensor) -> tuple[Tensor, Tensor]:
        """s_t from s_{t-1}, shape (batch, state_size), and x_t, shape (batch, input_size), or None."""
        s = (self.f(s) if x is None else self.f(s, x)).named("s")
        return s, s


class Approximator(Module):
    """The f of a :class:`SystemCell` that is given none."""

    def __init__(self, input_size: int, state_size: int, hidden_size: int, dtype: npt.DTypeLike) -> None:
        super().__init__()

        def uniform(symbol: str, rows: int, *columns: int) -> Parameter:
            fan_in = hidden_size if symbol in "Vc" else state_size + input_size
            return Parameter(init.uniform((rows, *columns), 1 / math.sqrt(fan_in)), symbol, dtype)

        self.U = uniform("U", hidden_size, input_size) if input_size else None
        self.W, self.b = uniform("W", hidden_size, state_size), uniform("b", hidden_size)
        self.V, self.c = uniform("V", state_size, hidden_size), uniform("c", state_size)

    def forward(self, s: Tensor, x: Tensor | None = None) -> Tensor:
        """c + V tanh(b + W s + U x)."""
        a = linear(s, self.W, self.b)
        if x is not None and self.U is not None:
            a = a + linear(x, self.U)
        return linear(tanh(a).named("h"), self.V, self.c)


class ResidualCell(Cell):
    """A state that is added to: h_t = h_{t-1} + g(x_t; θ), or h_t = h_{t-1} + g(x_t, h_{t-1}; θ).

    With g(x_t, h_{t-1}) = tanh(U x_t + b + W h_{t-1} + b'), or without W and b'. The
    derivative of h_t by h_{t-1} is 1 and something, so gradients do not vanish by themselves; and
    without W it is 1, the sum over time of g(x_t), which needs no loop.

    This is not what some libraries call a residual RNN, where x_t or a projection of it is
    added to the new state, as tanh(W x + U h) + h of one layer's input.

    Parameters
    ----------
    input_size, hidden_size : int
    recurrent : bool
        Whether g reads h_{t-1} too.
    bias : bool
    dtype : dtype

    Attributes
    ----------
    weight_ih : Parameter, shape (hidden_size, input_size)
        U.
    weight_hh : Parameter or None, shape (hidden_size, hidden_size)
        W.
    bias_ih, bias_hh : Parameter or None, shape (hidden_size,)
        b and b'. All start uniform within 1/√hidden_size.

    References
    ----------
    He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016, for the
    identity path over depth; here it goes over time.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import nn
    >>> outputs, h = nn.Recurrent(ResidualCell(3, 5))(np.zeros((7, 2, 3), "float32"))
    >>> outputs.shape
    (7, 2, 5)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        recurrent: bool = True,
        bias: bool = True,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.recurrent = input_size, hidden_size, recurrent
        self.state_shape = (hidden_size,)
        self.weight_ih, W, self.bias_ih, b = cell_parameters(1, input_size, hidden_size, bias, dtype)
        self.weight_hh: Parameter | None = W if recurrent else None
        self.bias_hh: Parameter | None = b if recurrent else None

    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """h_t from x_t, shape (batch, input_size), and h_{t-1}, shape (batch, hidden_size)."""
        a = linear(x, self.weight_ih, self.bias_ih)
        if self.weight_hh is not None:
            a = a + linear(h, self.weight_hh, self.bias_hh)
        h = (h + tanh(a)).named("h")
        return h, h
