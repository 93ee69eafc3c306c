"""Cells with gates: LSTM and GRU."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import ShapeError
from ..ops import sigmoid, split, tanh
from ..tensor import Tensor
from .cell import Cell, cell_parameters
from .layers import linear

__all__ = ["GRUCell", "LSTMCell", "LSTMState"]


class LSTMState(NamedTuple):
    """What an LSTM carries from step to step; it unpacks as the tuple ``(h, c)`` that it is.

    Attributes
    ----------
    h : Tensor, shape (batch, hidden_size)
        The output.
    c : Tensor, shape (batch, hidden_size)
        The memory that the gates write to, keep and read.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> h, c = nn.LSTMCell(3, 5).initial_state(batch_size=2)
    >>> h.shape, c.shape
    ((2, 5), (2, 5))
    """

    h: Tensor
    c: Tensor


class LSTMCell(Cell):
    """Long short-term memory: a state c that gates write to, keep and read.

    With ⊙ for the product of elements, and a_t in four parts of length hidden_size::

        a_t = U x_t + b + W h_{t-1} + b'
        i_t = σ(a_t[i])                     input gate
        f_t = σ(a_t[f])                     forget gate
        g_t = tanh(a_t[g])                  candidate
        o_t = σ(a_t[o])                     output gate
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
        h_t = o_t ⊙ tanh(c_t)

    The output is h_t, and the state an :class:`LSTMState`.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
    dtype : dtype

    Attributes
    ----------
    weight_ih : Parameter, shape (4 hidden_size, input_size)
        U, the rows of gates i, f, g, o one below the other.
    weight_hh : Parameter, shape (4 hidden_size, hidden_size)
        W.
    bias_ih, bias_hh : Parameter or None, shape (4 hidden_size,)
        b and b'. Names, layout and start, uniform within 1/√hidden_size, are PyTorch's.

    References
    ----------
    Hochreiter and Schmidhuber, "Long short-term memory", 1997. Gers, Schmidhuber and
    Cummins, "Learning to forget: continual prediction with LSTM", 2000, for the forget gate.

    Examples
    --------
    >>> import numpy as np
    >>> cell = LSTMCell(3, 5)
    >>> state = cell.initial_state(batch_size=2)
    >>> output, state = cell(np.ones((2, 3), "float32"), state)
    >>> output.shape, state.c.shape
    ((2, 5), (2, 5))
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, dtype: npt.DTypeLike = np.float32) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.state_shape = LSTMState._make([(hidden_size,)] * 2)
        self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh = cell_parameters(4, input_size, hidden_size, bias, dtype)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, LSTMState]:
        """One time step; see :meth:`step`.

        Raises
        ------
        ShapeError
            If the state is not a pair (h, c).
        """
        if not isinstance(state, tuple) or len(state) != 2:  # a single tensor would be unpacked along its batch
            found = f"{len(state)} parts" if isinstance(state, tuple) else f"a {type(state).__name__}"
            raise ShapeError(f"the state is a pair of tensors, (h, c), not {found}")
        return self.step(x, state)

    def step(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, LSTMState]:
        """h_t and c_t from x_t, shape (batch, input_size), and (h_{t-1}, c_{t-1}), each (batch, hidden_size)."""
        h, c = state
        a = (linear(x, self.weight_ih, self.bias_ih) + linear(h, self.weight_hh, self.bias_hh)).named("a")
        a_i, a_f, a_g, a_o = split(a, 4, axis=-1)
        i = sigmoid(a_i).named("i")
        f = sigmoid(a_f).named("f")
        g = tanh(a_g).named("g")
        o = sigmoid(a_o).named("o")
        c = (f * c + i * g).named("c")
        h = (o * tanh(c)).named("h")
        return h, LSTMState(h, c)


class GRUCell(Cell):
    """Gated recurrent unit: a gate z between the state before and a candidate n.

    With ⊙ for the product of elements, and U, W, b and b' in three parts::

        r_t = σ(U_r x_t + b_r + W_r h_{t-1} + b'_r)            reset gate
        z_t = σ(U_z x_t + b_z + W_z h_{t-1} + b'_z)            update gate
        n_t = tanh(U_n x_t + b_n + r_t ⊙ (W_n h_{t-1} + b'_n)) candidate
        h_t = n_t + z_t ⊙ (h_{t-1} - n_t)                      = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}

    The reset gate acts on the product with W_n, as in PyTorch, so that all of W h_{t-1} is
    one product. In the paper it acts before: W_n (r_t ⊙ h_{t-1}). The output is h_t.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
    dtype : dtype

    Attributes
    ----------
    weight_ih : Parameter, shape (3 hidden_size, input_size)
        U, the rows of r, z, n one below the other.
    weight_hh : Parameter, shape (3 hidden_size, hidden_size)
        W.
    bias_ih, bias_hh : Parameter or None, shape (3 hidden_size,)
        b and b'. Names, layout and start, uniform within 1/√hidden_size, are PyTorch's.

    References
    ----------
    Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical
    machine translation", 2014.

    Examples
    --------
    >>> import numpy as np
    >>> cell = GRUCell(3, 5)
    >>> output, h = cell(np.ones((2, 3), "float32"), cell.initial_state(batch_size=2))
    >>> output.shape
    (2, 5)
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, dtype: npt.DTypeLike = np.float32) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.state_shape = (hidden_size,)
        self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh = cell_parameters(3, input_size, hidden_size, bias, dtype)

    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """h_t from x_t, shape (batch, input_size), and h_{t-1}, shape (batch, hidden_size)."""
        x_r, x_z, x_n = split(linear(x, self.weight_ih, self.bias_ih), 3, axis=-1)
        h_r, h_z, h_n = split(linear(h, self.weight_hh, self.bias_hh), 3, axis=-1)
        r = sigmoid(x_r + h_r).named("r")
        z = sigmoid(x_z + h_z).named("z")
        n = tanh(x_n + r * h_n).named("n")
        h = (n + z * (h - n)).named("h")
        return h, h
