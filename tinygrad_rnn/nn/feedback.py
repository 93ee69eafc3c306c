"""Output feedback: Jordan's network, whose only state is its previous output."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..tensor import Tensor
from .cell import Cell, Nonlinearity, function_of
from .layers import linear, uniform
from .recurrent import Mode, Recurrent

__all__ = ["Jordan", "JordanCell"]


class JordanCell(Cell):
    """Jordan's cell with output feedback: h_t = f(U x_t + W o_{t-1} + b), o_t = c + V h_t.

    The state is o: only the output o_{t-1} carries information from the past to step t. So the
    network is less powerful than a network that reads h_{t-1}, unless o holds all that matters of
    the past. But it is easier to train: with targets in place of o_{t-1} (teacher forcing) the steps
    do not depend on each other, and are computed all at once.

    Parameters
    ----------
    input_size, hidden_size : int
        The lengths of x_t and of h_t.
    output_size : int, optional
        Length of o; hidden_size if not given. The default lets ``tinygrad-rnn check JordanCell``
        make the cell from two sizes, like every other cell.
    nonlinearity : {"tanh", "relu", "sigmoid"}
        The activation function f.
    bias : bool
        Whether biases are added.
    dtype : dtype
        Dtype of the parameters.

    Attributes
    ----------
    weight_ih : Parameter, shape (hidden_size, input_size)
        U.
    weight_oh : Parameter, shape (hidden_size, output_size)
        W.
    weight_ho : Parameter, shape (output_size, hidden_size)
        V.
    bias_h, bias_o : Parameter or None
        b, shape (hidden_size,), and c, shape (output_size,). All initial values are uniform within
        1/√hidden_size.

    References
    ----------
    Jordan, "Serial order: a parallel distributed processing approach", 1986. Goodfellow,
    Bengio and Courville, *Deep Learning*, 2016, figures 10.4 and 10.6.

    Examples
    --------
    >>> import numpy as np
    >>> cell = JordanCell(3, 5, 2)
    >>> output, o = cell(np.ones((4, 3), "float32"), cell.initial_state(batch_size=4))
    >>> output.shape
    (4, 2)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int | None = None,
        *,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.output_size = n = hidden_size if output_size is None else output_size
        self.state_shape = (n,)
        self.f = function_of(nonlinearity)
        self.weight_ih = uniform("U", (hidden_size, input_size), hidden_size, dtype)
        self.weight_oh = uniform("W", (hidden_size, n), hidden_size, dtype)
        self.weight_ho = uniform("V", (n, hidden_size), hidden_size, dtype)
        self.bias_h = uniform("b", (hidden_size,), hidden_size, dtype) if bias else None
        self.bias_o = uniform("c", (n,), hidden_size, dtype) if bias else None

    def step(self, x: Tensor, o: Tensor) -> tuple[Tensor, Tensor]:
        """Compute o_t from x_t, shape (batch, input_size), and o_{t-1}, shape (batch, output_size)."""
        a = linear(x, self.weight_ih, self.bias_h) + linear(o, self.weight_oh)
        h = self.f(a.named("a", hidden=True)).named("h")
        o = linear(h, self.weight_ho, self.bias_o).named("o")
        return o, o


class Jordan(Recurrent):
    """Jordan's network over a sequence; the equations are those of :class:`JordanCell`.

    Give targets by `force`: ``jordan(xs, force={"o": ys})`` feeds y_{t-1} back in place of
    o_{t-1} (teacher forcing), at all steps or, with `force_mask`, at some steps. Without `force`
    the network reads its own outputs.

    Parameters
    ----------
    input_size, hidden_size, output_size : int
        The lengths of x_t, h_t and o_t.
    nonlinearity : {"tanh", "relu", "sigmoid"}
        The activation function f.
    bias : bool
        Whether biases are added.
    dtype : dtype
        Dtype of the parameters.
    mode : {"scan", "unroll"}
        How the cell is applied; see :class:`Recurrent`.

    Examples
    --------
    >>> import numpy as np
    >>> jordan = Jordan(3, 5, 2)
    >>> xs, ys = np.zeros((7, 4, 3), "float32"), np.zeros((7, 4, 2), "float32")
    >>> outputs, o = jordan(xs, force={"o": ys})
    >>> outputs.shape, o.shape
    ((7, 4, 2), (4, 2))
    >>> print(jordan.plan(T=7).forward.slots[0])
    cycle
    >>> print(jordan.plan(T=7, force=["o"]).forward.slots[0])
    delay of 1 step
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        *,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,
        dtype: npt.DTypeLike = np.float32,
        mode: Mode = "scan",
    ) -> None:
        cell = JordanCell(input_size, hidden_size, output_size, nonlinearity=nonlinearity, bias=bias, dtype=dtype)
        super().__init__(cell, mode)
