"""Cells with gates: LSTM and GRU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..ops import sigmoid, split, tanh
from ..tensor import Tensor
from .cell import Cell, cell_parameters
from .layers import Dropout, linear, uniform

__all__ = ["GRUCell", "LSTMCell", "LSTMState"]


class LSTMState(NamedTuple):
    """The state of an LSTM, the tuple ``(h, c)`` of output and memory.

    Attributes
    ----------
    h : Tensor, shape (batch, hidden_size), or (batch, proj_size) with a projection
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
    """Long short-term memory: gates write to, keep and read a memory c.

    With ⊙ for the product of elements, and a_t in four parts of length hidden_size::

        a_t = U x_t + b + W h_{t-1} + b'
        i_t = σ(a_t[i])                     input gate
        f_t = σ(a_t[f])                     forget gate
        g_t = tanh(a_t[g])                  candidate
        o_t = σ(a_t[o])                     output gate
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
        h_t = o_t ⊙ tanh(c_t)               or P (o_t ⊙ tanh(c_t)) with a projection

    The output is h_t, and the state an :class:`LSTMState`.

    Parameters
    ----------
    input_size, hidden_size : int
        The lengths of x_t and of h_t.
    bias : bool
        Whether biases are added.
    dtype : dtype
        Dtype of the parameters.
    proj_size : int
        Length of h_t with a projection, less than hidden_size; 0 for no projection.
    forget_bias : float, optional
        Initial value of b + b' of the forget gate; with 1 the gate is mostly open at first. If
        not given, uniform like all other parameters.
    recurrent_dropout : float
        Probability that an element of h_{t-1} is dropped before the product with W, while
        training. All steps of a run drop the same elements (Gal and Ghahramani, 2016).

    Attributes
    ----------
    weight_ih : Parameter, shape (4 hidden_size, input_size)
        U, the rows of gates i, f, g, o one below the other.
    weight_hh : Parameter, shape (4 hidden_size, hidden_size)
        W; (4 hidden_size, proj_size) with a projection.
    bias_ih, bias_hh : Parameter or None, shape (4 hidden_size,)
        b and b'. Names, layout and initial values, uniform within 1/√hidden_size, are PyTorch's.
    weight_hr : Parameter or None, shape (proj_size, hidden_size)
        P, with a projection.

    Raises
    ------
    ValueError
        If a projection does not make h_t shorter, or `forget_bias` is given without a bias.

    References
    ----------
    Hochreiter and Schmidhuber, "Long short-term memory", 1997. Gers, Schmidhuber and
    Cummins, "Learning to forget: continual prediction with LSTM", 2000, for the forget gate.
    Sak, Senior and Beaufays, "Long short-term memory recurrent neural network
    architectures for large scale acoustic modeling", 2014, for the projection. Jozefowicz,
    Zaremba and Sutskever, "An empirical exploration of recurrent network architectures",
    2015, for the forget bias.

    Examples
    --------
    >>> import numpy as np
    >>> cell = LSTMCell(3, 5)
    >>> state = cell.initial_state(batch_size=2)
    >>> output, state = cell(np.ones((2, 3), "float32"), state)
    >>> output.shape, state.c.shape
    ((2, 5), (2, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        dtype: npt.DTypeLike = np.float32,
        *,
        proj_size: int = 0,
        forget_bias: float | None = None,
        recurrent_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if proj_size and not 0 < proj_size < hidden_size:
            raise ValueError(f"proj_size must be less than hidden_size={hidden_size}, or 0 for no projection, not {proj_size}")
        self.input_size, self.hidden_size = input_size, hidden_size
        self.output_size = proj_size or hidden_size
        self.state_shape = LSTMState((self.output_size,), (hidden_size,))  # type: ignore[arg-type]
        self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh = cell_parameters(
            4, input_size, hidden_size, bias, dtype, self.output_size
        )
        self.weight_hr = uniform("P", (proj_size, hidden_size), hidden_size, dtype) if proj_size else None
        self.drop = Dropout(recurrent_dropout, once=True)
        if forget_bias is not None:
            self._set_forget_bias(forget_bias)

    def _set_forget_bias(self, value: float) -> None:
        if self.bias_ih is None or self.bias_hh is None:
            raise ValueError(f"forget_bias={value} sets a bias, but the layer has bias=False; leave one of them out")
        for parameter, start in ((self.bias_ih, value), (self.bias_hh, 0.0)):
            b = parameter.numpy()
            b[self.hidden_size : 2 * self.hidden_size] = start
            parameter.data = b

    def step(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, LSTMState]:
        """Compute h_t and c_t from x_t, shape (batch, input_size), and (h_{t-1}, c_{t-1}); see :class:`LSTMState`."""
        h, c = state
        a = (linear(x, self.weight_ih, self.bias_ih) + linear(self.drop(h), self.weight_hh, self.bias_hh)).named("a")
        a_i, a_f, a_g, a_o = split(a, 4, axis=-1)
        i = sigmoid(a_i).named("i")
        f = sigmoid(a_f).named("f")
        g = tanh(a_g).named("g")
        o = sigmoid(a_o).named("o")
        c = (f * c + i * g).named("c")
        h = o * tanh(c)
        if self.weight_hr is not None:
            h = linear(h, self.weight_hr)
        h = h.named("h")
        return h, LSTMState(h, c)


class GRUCell(Cell):
    """Gated recurrent unit: a gate z interpolates between the state before and a candidate n.

    With ⊙ for the product of elements, and U, W, b and b' in three parts::

        r_t = σ(U_r x_t + b_r + W_r h_{t-1} + b'_r)            reset gate
        z_t = σ(U_z x_t + b_z + W_z h_{t-1} + b'_z)            update gate
        n_t = tanh(U_n x_t + b_n + r_t ⊙ (W_n h_{t-1} + b'_n)) candidate
        h_t = n_t + z_t ⊙ (h_{t-1} - n_t)                      = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}

    The reset gate acts after the product with W_n, as in PyTorch, so that all of W h_{t-1} is
    one product. In the paper the reset gate acts before the product::

        n_t = tanh(U_n x_t + b_n + W_n (r_t ⊙ h_{t-1}) + b'_n) with reset_after=False

    The output is h_t.

    Parameters
    ----------
    input_size, hidden_size : int
        The lengths of x_t and of h_t.
    bias : bool
        Whether biases are added.
    dtype : dtype
        Dtype of the parameters.
    reset_after : bool
        Whether the reset gate acts after the product.
    recurrent_dropout : float
        Probability that an element of h_{t-1} is dropped before the product with W, while
        training. All steps of a run drop the same elements (Gal and Ghahramani, 2016).

    Attributes
    ----------
    weight_ih : Parameter, shape (3 hidden_size, input_size)
        U, the rows of r, z, n one below the other.
    weight_hh : Parameter, shape (3 hidden_size, hidden_size)
        W.
    bias_ih, bias_hh : Parameter or None, shape (3 hidden_size,)
        b and b'. Names, layout and initial values, uniform within 1/√hidden_size, are PyTorch's.

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

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        dtype: npt.DTypeLike = np.float32,
        *,
        reset_after: bool = True,
        recurrent_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.state_shape = (hidden_size,)
        self.reset_after = reset_after
        self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh = cell_parameters(3, input_size, hidden_size, bias, dtype)
        self.drop = Dropout(recurrent_dropout, once=True)

    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Compute h_t from x_t, shape (batch, input_size), and h_{t-1}, shape (batch, hidden_size)."""
        x_r, x_z, x_n = split(linear(x, self.weight_ih, self.bias_ih), 3, axis=-1)
        read = self.drop(h)
        if self.reset_after:
            h_r, h_z, h_n = split(linear(read, self.weight_hh, self.bias_hh), 3, axis=-1)
        else:
            (W_r, W_z, W_n), (b_r, b_z, b_n) = self._recurrent_parts()
            h_r, h_z = linear(read, W_r, b_r), linear(read, W_z, b_z)
        r = sigmoid((x_r + h_r).named("a_r", hidden=True)).named("r")
        z = sigmoid((x_z + h_z).named("a_z", hidden=True)).named("z")
        a_n = x_n + (r * h_n if self.reset_after else linear(r * read, W_n, b_n))
        n = tanh(a_n.named("a_n", hidden=True)).named("n")
        h = (n + z * (h - n)).named("h")
        return h, h

    def _recurrent_parts(self) -> tuple[Sequence[Tensor], Sequence[Tensor | None]]:
        """W and b' of each gate, as separate tensors."""
        return split(self.weight_hh, 3), (None,) * 3 if self.bias_hh is None else split(self.bias_hh, 3)
