"""Cells of dynamical systems, with or without an input, and of states to which each step adds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph.context import scope
from ..tensor import Tensor
from .cell import Cell, Nonlinearity, function_of
from .delays import check_input
from .layers import f_or_units, linear, uniform
from .module import Module

__all__ = ["ResidualCell", "SystemCell"]


class SystemCell(Cell):
    """A dynamical system s_t = f(s_{t-1}; θ), or with an input s_t = f(s_{t-1}, x_t; θ).

    Parameters
    ----------
    input_size : int
        0 for a system without an input, which is run with ``(None, steps=T)``.
    state_size : int
        Length of s_t.
    f : callable, optional
        A Module, or a function, called with s, or with s and x. If not given: a layer of
        tanh units, h_t = tanh(b + W s_{t-1} + U x_t), s_t = c + V h_t. With enough units
        this layer approximates any continuous f on a bounded set as closely as you like.
    hidden_size : int, optional
        Number of these tanh units; 10 if not given.
    dtype : dtype
        Dtype of the parameters.

    Raises
    ------
    ValueError
        If both f and hidden_size are given.
    ShapeError
        In a run: if an input is given to a system without an input, or the other way round.

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
        *,
        f: Callable[..., Any] | None = None,
        hidden_size: int | None = None,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.state_shape = (state_size,)
        sizes = {"W": state_size} | ({"U": input_size} if input_size else {})
        self.f = f_or_units(f, hidden_size, sizes, state_size, dtype)

    def step(self, x: Tensor | None, s: Tensor) -> tuple[Tensor, Tensor]:
        """Compute s_t from s_{t-1}, shape (batch, state_size), and x_t, shape (batch, input_size), or None."""
        check_input(x, self.input_size)
        with nullcontext() if isinstance(self.f, Module) else scope("f"):  # a module has the name f already
            s = (self.f(s) if x is None else self.f(s, x)).named("s")
        return s, s


class ResidualCell(Cell):
    """A residual cell: h_t = h_{t-1} + g(x_t; θ), or h_t = h_{t-1} + g(x_t, h_{t-1}; θ).

    Here g(x_t, h_{t-1}) = f(U x_t + b + W h_{t-1} + b'), or f without the terms W h_{t-1} and b'.
    Without these terms, the derivative of h_t with respect to h_{t-1} is the identity, and the state
    is a sum over time of g(x_t), which needs no loop. With them, the derivative is the identity plus
    the derivative of g: over many steps the gradient seldom vanishes, but it may explode.

    The sum is outside of f. With the sum inside f, as in the residual option of some libraries,
    the identity path also passes through f at each step.

    Parameters
    ----------
    input_size, hidden_size : int
        The lengths of x_t and of h_t.
    recurrent : bool
        Whether g also reads h_{t-1}.
    nonlinearity : {"tanh", "relu", "sigmoid"}
        f.
    bias : bool
        Whether biases are added.
    dtype : dtype
        Dtype of the parameters.

    Attributes
    ----------
    weight_ih : Parameter, shape (hidden_size, input_size)
        U.
    weight_hh : Parameter or None, shape (hidden_size, hidden_size)
        W.
    bias_ih, bias_hh : Parameter or None, shape (hidden_size,)
        b and b'. All initial values are uniform within 1/√hidden_size.

    References
    ----------
    He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016, for the
    identity path over depth; here the path goes over time.

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
        *,
        recurrent: bool = True,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.recurrent = input_size, hidden_size, recurrent
        self.state_shape = (hidden_size,)
        self.f = function_of(nonlinearity)
        self.weight_ih = uniform("U", (hidden_size, input_size), hidden_size, dtype)
        self.weight_hh = uniform("W", (hidden_size, hidden_size), hidden_size, dtype) if recurrent else None
        self.bias_ih = uniform("b", (hidden_size,), hidden_size, dtype) if bias else None
        self.bias_hh = uniform("b'", (hidden_size,), hidden_size, dtype) if bias and recurrent else None

    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Compute h_t from x_t, shape (batch, input_size), and h_{t-1}, shape (batch, hidden_size)."""
        a = linear(x, self.weight_ih, self.bias_ih)
        if self.weight_hh is not None:
            a = a + linear(h, self.weight_hh, self.bias_hh)
        a = a.named("a", hidden=True)
        h = (h + self.f(a)).named("h")
        return h, h
