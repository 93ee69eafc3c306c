"""Cell, one time step of a recurrent network, and the plain recurrent cell."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..checks import check_int, one_of
from ..console import counted
from ..errors import ShapeError, TinygradError
from ..ops import relu, sigmoid, tanh
from ..tensor import Parameter, Tensor, tensor
from ..tree import rebuild
from .layers import Dropout, linear, uniform
from .module import Module

__all__ = ["Cell", "RNNCell", "State"]

State = Any
"""A Tensor, or nested tuples (named ones too) of Tensors."""

Nonlinearity = Literal["tanh", "relu", "sigmoid"]
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": tanh, "relu": relu, "sigmoid": sigmoid}


class Cell(Module):
    """One time step of a recurrent network, written once.

    Write ``step(x, state) -> (output, next state)``, and set ``state_shape``: the shape of
    the state without the batch axis, such as ``(hidden_size,)``, or nested tuples of shapes. Override `initial_state`
    for a start other than zeros. State, input and output are Tensors or nested tuples of
    Tensors. Name values with ``.named("h")``: pictures, equations and errors use these names.

    The step is called once for all t, and again when a value that it reads has changed: an
    attribute, a global, a closure. So a step that changes such a value, for example to count its
    calls, is refused, and so is a step that draws from NumPy's random generator. Use
    :func:`tinygrad_rnn.sample` for random numbers that are new at each step, and
    :func:`tinygrad_rnn.where` in place of a condition on a tensor.

    Attributes
    ----------
    state_shape : tuple of int, or nested tuples of them
    input_name : str
        Name of the input in drawings and equations.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> from tinygrad_rnn import nn
    >>> class MyCell(nn.Cell):
    ...     def __init__(self, input_size, hidden_size):
    ...         super().__init__()
    ...         self.U = nn.Parameter((input_size, hidden_size), symbol="U")
    ...         self.W = nn.Parameter((hidden_size, hidden_size), symbol="W")
    ...         self.state_shape = (hidden_size,)
    ...     def step(self, x, h):
    ...         h = tr.tanh(x @ self.U + h @ self.W).named("h")
    ...         return h, h
    >>> outputs, h = nn.Recurrent(MyCell(3, 5))(tr.tensor([[[1.0, 2.0, 3.0]]]))
    >>> outputs.shape, h.shape
    ((1, 1, 5), (1, 5))
    """

    state_shape: Any = None
    input_name = "x"

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """One time step.

        Parameters
        ----------
        x : Tensor, shape (batch, features), nested tuples of Tensors, or None
            The input x_t.
        state : Tensor or nested tuples of Tensors
            The state after the step before.

        Returns
        -------
        output, next state
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no step method; write step(self, x, state), which returns (output, next state)"
        )

    def forward(self, x: Any, state: Any) -> tuple[Any, Any]:
        """One time step; see :meth:`step`.

        Raises
        ------
        ShapeError
            If the state has another structure than ``state_shape``.
        TinygradError
            If `step` does not take an input and a state.
        """
        if self.state_shape is not None:
            _check_structure(state, self.state_shape)
        try:
            return self.step(x, state)
        except TypeError as error:
            made_here = error.__traceback__ is not None and error.__traceback__.tb_next is None
            if not made_here:  # the error comes from inside the step
                raise
            raise TinygradError(
                f"step{inspect.signature(type(self).step)} must take an input and a state: write step(self, x, state), "
                "where a state of several slots is one tuple"
            ) from error

    def initial_state(self, batch_size: int, dtype: npt.DTypeLike | None = None) -> State:
        """Zeros of ``state_shape``, with a leading batch axis.

        Parameters
        ----------
        batch_size : int
            Number of sequences in the batch.
        dtype : dtype, optional
            The dtype of the first parameter if not given.
        """
        if self.state_shape is None:
            raise NotImplementedError(
                f"{type(self).__name__} has no initial state; set self.state_shape in __init__, or write initial_state"
            )
        if dtype is None:
            parameters = self.parameters()
            dtype = parameters[0].dtype if parameters else np.float32

        def zeros(shape: Any) -> State:
            if isinstance(shape, (int, np.integer)):
                shape = (shape,)
            if _is_one(shape):
                return tensor(np.zeros((batch_size, *shape), dtype))
            return rebuild(shape, iter([zeros(part) for part in shape]), depth=1)

        return zeros(self.state_shape)


class RNNCell(Cell):
    """Plain recurrent cell: h_t = f(U x_t + b + W h_{t-1} + b').

    Parameters
    ----------
    input_size, hidden_size : int
        The lengths of x_t and of h_t.
    bias : bool
        Whether biases are added.
    nonlinearity : {"tanh", "relu", "sigmoid"}
        The activation function f.
    dtype : dtype
        Dtype of the parameters.
    recurrent_dropout : float
        Probability that an element of h_{t-1} is dropped before the product with W, while
        training. All steps of a run drop the same elements (Gal and Ghahramani, 2016).

    Attributes
    ----------
    weight_ih : Parameter, shape (hidden_size, input_size)
        U.
    weight_hh : Parameter, shape (hidden_size, hidden_size)
        W.
    bias_ih, bias_hh : Parameter or None, shape (hidden_size,)
        b and b'. Names, layout and initial values, uniform within 1/√hidden_size, are PyTorch's.

    Raises
    ------
    ValueError
        If the nonlinearity is not one of these three.

    References
    ----------
    Elman, "Finding structure in time", 1990. Goodfellow, Bengio and Courville, *Deep
    Learning*, 2016, equations 10.8 and 10.9.

    Examples
    --------
    >>> import numpy as np
    >>> cell = RNNCell(3, 5)
    >>> h = cell.initial_state(batch_size=2)
    >>> output, h = cell(np.ones((2, 3), "float32"), h)
    >>> output.shape
    (2, 5)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Nonlinearity = "tanh",
        dtype: npt.DTypeLike = np.float32,
        *,
        recurrent_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.state_shape = (hidden_size,)
        self.f = function_of(nonlinearity)
        self.drop = Dropout(recurrent_dropout, once=True)
        self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh = cell_parameters(1, input_size, hidden_size, bias, dtype)

    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Compute h_t from x_t, shape (batch, input_size), and h_{t-1}, shape (batch, hidden_size)."""
        a = linear(x, self.weight_ih, self.bias_ih) + linear(self.drop(h), self.weight_hh, self.bias_hh)
        h = self.f(a.named("a", hidden=True)).named("h")
        return h, h


def function_of(nonlinearity: str) -> Callable[[Tensor], Tensor]:
    """The activation function of a given name.

    Raises
    ------
    ValueError
        If there is no function of this name.
    """
    if nonlinearity not in FUNCTIONS:
        raise ValueError(one_of("nonlinearity", nonlinearity, FUNCTIONS))
    return FUNCTIONS[nonlinearity]


def cell_parameters(
    gates: int, input_size: int, hidden_size: int, bias: bool, dtype: npt.DTypeLike, recurrent_size: int | None = None
) -> tuple[Parameter, Parameter, Parameter | None, Parameter | None]:
    """Parameters U, W, b and b' of a cell, the rows of all gates one below another.

    The vector that W multiplies has `recurrent_size` elements, or hidden_size if not given.

    Raises
    ------
    ValueError
        If the sizes are not whole numbers, or hidden_size is 0.
    """
    rows = gates * check_int("hidden_size", hidden_size)
    U = uniform("U", (rows, input_size), hidden_size, dtype)
    W = uniform("W", (rows, recurrent_size or hidden_size), hidden_size, dtype)
    if not bias:
        return U, W, None, None
    return U, W, uniform("b", (rows,), hidden_size, dtype), uniform("b'", (rows,), hidden_size, dtype)


def _is_one(shape: Any) -> bool:
    """Whether a shape is that of one tensor, not a tuple of shapes."""
    return isinstance(shape, (int, np.integer)) or all(isinstance(n, (int, np.integer)) for n in shape)


def _check_structure(state: Any, shape: Any) -> None:
    """Raise if a state has another structure than its shapes, since a tensor would unpack along its batch."""
    if _is_one(shape):
        return
    if not isinstance(state, tuple) or len(state) != len(shape):
        found = counted(len(state), "part") if isinstance(state, tuple) else f"a {type(state).__name__}"
        names = getattr(shape, "_fields", None)
        what = f"{len(shape)} tensors" + (f", ({', '.join(names)})" if names else "")
        raise ShapeError(f"the state must be a tuple of {what}, not {found}")
    for part, inner in zip(state, shape, strict=True):
        _check_structure(part, inner)
