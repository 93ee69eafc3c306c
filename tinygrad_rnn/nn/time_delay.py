"""Time-delay networks: layers that read some past steps of their input."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..checks import check_int
from ..ops import TensorLike
from ..tensor import Tensor
from .cell import Nonlinearity, State, function_of
from .delays import DelayCell, Delays, as_delays
from .layers import TapSum
from .recurrent import Mode, Recurrent

__all__ = ["TimeDelay", "TimeDelayCell"]


class TimeDelayCell(DelayCell):
    """Time-delay cell: h_t = f(b + Σ_k W_k x_{t-k}), over some delays k.

    The cell's state is the history x_{t-1}, …, x_{t-K} of a :class:`DelayCell`; h is not fed back.
    So each slot of the state is a pure delay, and a whole sequence is computed without a loop
    over time.

    Parameters
    ----------
    input_size, output_size : int
        The lengths of x_t and of h_t.
    delays : int or sequence of int
        K for 0, 1, …, K; or a list, such as ``[0, 3, 6]``.
    dilation : int
        A factor by which all delays are multiplied.
    bias : bool
        Whether biases are added.
    nonlinearity : {"tanh", "relu", "sigmoid"} or None
        f; None for a linear layer.
    dtype : dtype
        Dtype of the parameters.

    Attributes
    ----------
    weights.W_0, weights.W_1, … : Parameter, shape (output_size, input_size)
        One matrix for each delay, numbered by the delay.
    weights.b : Parameter, shape (output_size,)
        The bias, unless `bias` is False. All initial values are uniform within
        1/√(input_size · number of delays), as in PyTorch's convolutions.

    Raises
    ------
    ValueError
        If delays are negative, repeated, unsorted or not integers, the dilation is not
        positive, or the nonlinearity is not one of these.

    References
    ----------
    Waibel, Hanazawa, Hinton, Shikano and Lang, "Phoneme recognition using time-delay neural
    networks", 1989.

    Examples
    --------
    >>> import numpy as np
    >>> cell = TimeDelayCell(3, 5, delays=[0, 2])
    >>> h, history = cell(np.ones((4, 3), "float32"), cell.initial_state(batch_size=4))
    >>> h.shape, history._fields
    ((4, 5), ('x_1', 'x_2'))
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        delays: Delays = 2,
        *,
        dilation: int = 1,
        bias: bool = True,
        nonlinearity: Nonlinearity | None = "tanh",
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        check_int("dilation", dilation)
        dilated = tuple(dilation * k for k in as_delays(delays, "delays"))
        super().__init__(x=(dilated[-1], input_size))
        self.input_size, self.output_size, self.delays = input_size, output_size, dilated
        self.f = None if nonlinearity is None else function_of(nonlinearity)
        self.weights = TapSum({f"W_{k}": input_size for k in self.delays}, output_size, "b" if bias else None, dtype)

    def step(self, x: Tensor, history: Any) -> tuple[Tensor, State]:
        """Compute h_t from x_t, shape (batch, input_size), and x_{t-1}, …, x_{t-K}."""
        xs = (x, *history)
        a = self.weights(*(xs[k] for k in self.delays))
        h = (self.f(a) if self.f else a).named("h")
        return h, history._make(xs[:-1])


class TimeDelay(Recurrent):
    """Time-delay layer: a :class:`TimeDelayCell` over a sequence; several in a row make a TDNN.

    The layer is called like :class:`Recurrent`, ``layer(xs, state) -> (outputs, state)``. The
    inputs before the first step are zeros, or those of the state: see :meth:`history`. So a
    sequence can be run in pieces, with the same outputs as in one run.

    Parameters
    ----------
    input_size, output_size : int
        The lengths of x_t and of h_t.
    delays : int or sequence of int
        K for 0, 1, …, K; or a list, such as ``[0, 3, 6]``.
    dilation : int
        A factor by which all delays are multiplied.
    bias : bool
        Whether biases are added.
    nonlinearity : {"tanh", "relu", "sigmoid"} or None
        f; None for a linear layer.
    dtype : dtype
        Dtype of the parameters.
    mode : {"scan", "unroll"}
        How a sequence is run; see :class:`Recurrent`.

    Raises
    ------
    ValueError
        As in :class:`TimeDelayCell`.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import nn
    >>> tdnn = nn.Sequential(nn.TimeDelay(16, 8, delays=2), nn.TimeDelay(8, 3, delays=4))
    >>> tdnn(np.ones((15, 2, 16), "float32")).shape
    (15, 2, 3)

    The output at a step depends on seven steps of the input. There is no loop:

    >>> tdnn[1].plan(T=15, B=2).forward.counts.inside
    0
    """

    cell: TimeDelayCell

    def __init__(
        self,
        input_size: int,
        output_size: int,
        delays: Delays = 2,
        *,
        dilation: int = 1,
        bias: bool = True,
        nonlinearity: Nonlinearity | None = "tanh",
        dtype: npt.DTypeLike = np.float32,
        mode: Mode = "scan",
    ) -> None:
        cell = TimeDelayCell(
            input_size, output_size, delays, dilation=dilation, bias=bias, nonlinearity=nonlinearity, dtype=dtype
        )
        super().__init__(cell, mode)

    def history(self, xs: TensorLike) -> State:
        """The state after given inputs, the oldest first: (n, batch, input_size).

        Raises
        ------
        DataError
            If there are fewer inputs than the longest delay.
        """
        return self.cell.history(x=xs)
