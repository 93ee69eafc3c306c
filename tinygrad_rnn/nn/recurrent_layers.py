"""RNN, LSTM and GRU with the arguments, parameter names and layouts of PyTorch's layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .cell import Nonlinearity, RNNCell
from .gated import GRUCell, LSTMCell
from .recurrent import Mode
from .stacked import RecurrentLayer

__all__ = ["GRU", "LSTM", "RNN"]


_OF_THE_CLASS = frozenset({"self", "__class__"})


def _arguments(found: Mapping[str, Any]) -> dict[str, Any]:
    """A constructor's arguments from its local variables, to be passed on to RecurrentLayer by name."""
    return {name: value for name, value in found.items() if name not in _OF_THE_CLASS}


class RNN(RecurrentLayer):
    """Plain recurrent layer: h_t = f(U x_t + b + W h_{t-1} + b'); see :class:`RNNCell`.

    Parameters
    ----------
    input_size, hidden_size : int
        The lengths of x_t and of h_t.
    num_layers : int or sequence of int
        Number of layers, each of which reads the outputs of the layer below; or the hidden size
        of each layer, the last equal to `hidden_size`.
    nonlinearity : {"tanh", "relu", "sigmoid"}
        The activation function f.
    bias : bool
        Whether biases are added.
    batch_first : bool
        Whether inputs and outputs are (batch, time, features). It does not change states.
    dropout : float
        Probability that an element is dropped between two layers, while training.
    bidirectional : bool
        Whether each layer also runs from the end to the start.
    dtype : dtype
        Dtype of the parameters.
    recurrent_dropout : float
        Probability that an element of h_{t-1} is dropped, while training. All steps of a run
        drop the same elements (Gal and Ghahramani, 2016).
    mode : {"scan", "unroll"}
        How a sequence is run; see :class:`Recurrent`.
    checkpoint : int, optional
        Which values are kept for the gradient; see :class:`Recurrent`.
    backend : {"numpy", "native"}, optional
        The backend that runs the cells; see :class:`Recurrent`.
    threads : int, optional
        Number of threads of the native backend; see :class:`Recurrent`.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter
        U, shape (hidden_size, input_size), and W, shape (hidden_size, hidden_size).
        For layer k the names end in ``_lk``, and for the reverse direction in ``_lk_reverse``.
    bias_ih_l0, bias_hh_l0 : Parameter
        b and b', shape (hidden_size,), unless `bias` is False.

    Examples
    --------
    >>> import numpy as np
    >>> output, h_n = RNN(3, 5)(np.zeros((7, 2, 3), "float32"))
    >>> output.shape, h_n.shape
    ((7, 2, 5), (1, 2, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int | Sequence[int] = 1,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: npt.DTypeLike = np.float32,
        *,
        recurrent_dropout: float = 0.0,
        mode: Mode = "scan",
        checkpoint: int | None = None,
        backend: str | None = None,
        threads: int | None = None,
    ) -> None:
        super().__init__(RNNCell, **_arguments(locals()))


class LSTM(RecurrentLayer):
    """Long short-term memory layer; see :class:`LSTMCell` for the equations.

    Parameters
    ----------
    input_size, hidden_size : int
        The lengths of x_t and of h_t.
    num_layers : int or sequence of int
        Number of layers, each of which reads the outputs of the layer below; or the hidden size
        of each layer, the last equal to `hidden_size`.
    bias : bool
        Whether biases are added.
    batch_first : bool
        Whether inputs and outputs are (batch, time, features). It does not change states.
    dropout : float
        Probability that an element is dropped between two layers, while training.
    bidirectional : bool
        Whether each layer also runs from the end to the start.
    proj_size : int
        Length of h_t with a projection, less than hidden_size; 0 for no projection.
    dtype : dtype
        Dtype of the parameters.
    forget_bias : float, optional
        Initial value of b + b' of the forget gate; with 1 the gate is mostly open at first.
    recurrent_dropout : float
        Probability that an element of h_{t-1} is dropped, while training. All steps of a run
        drop the same elements (Gal and Ghahramani, 2016).
    mode : {"scan", "unroll"}
        How a sequence is run; see :class:`Recurrent`.
    checkpoint : int, optional
        Which values are kept for the gradient; see :class:`Recurrent`.
    backend : {"numpy", "native"}, optional
        The backend that runs the cells; see :class:`Recurrent`.
    threads : int, optional
        Number of threads of the native backend; see :class:`Recurrent`.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter
        U, shape (4 hidden_size, input_size), and W, shape (4 hidden_size, hidden_size), the rows
        of gates i, f, g, o one below the other.
        For layer k the names end in ``_lk``, and for the reverse direction in ``_lk_reverse``.
    bias_ih_l0, bias_hh_l0 : Parameter
        b and b', shape (4 hidden_size,), unless `bias` is False.
    weight_hr_l0 : Parameter
        P, shape (proj_size, hidden_size), with a projection.

    Examples
    --------
    >>> import numpy as np
    >>> output, (h_n, c_n) = LSTM(3, 5)(np.zeros((7, 2, 3), "float32"))
    >>> output.shape, h_n.shape, c_n.shape
    ((7, 2, 5), (1, 2, 5), (1, 2, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int | Sequence[int] = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        dtype: npt.DTypeLike = np.float32,
        *,
        forget_bias: float | None = None,
        recurrent_dropout: float = 0.0,
        mode: Mode = "scan",
        checkpoint: int | None = None,
        backend: str | None = None,
        threads: int | None = None,
    ) -> None:
        super().__init__(LSTMCell, **_arguments(locals()))


class GRU(RecurrentLayer):
    """Gated recurrent layer; see :class:`GRUCell` for the equations.

    Parameters
    ----------
    input_size, hidden_size : int
        The lengths of x_t and of h_t.
    num_layers : int or sequence of int
        Number of layers, each of which reads the outputs of the layer below; or the hidden size
        of each layer, the last equal to `hidden_size`.
    bias : bool
        Whether biases are added.
    batch_first : bool
        Whether inputs and outputs are (batch, time, features). It does not change states.
    dropout : float
        Probability that an element is dropped between two layers, while training.
    bidirectional : bool
        Whether each layer also runs from the end to the start.
    dtype : dtype
        Dtype of the parameters.
    reset_after : bool
        Whether the reset gate acts after the product with W, as in PyTorch.
    recurrent_dropout : float
        Probability that an element of h_{t-1} is dropped, while training. All steps of a run
        drop the same elements (Gal and Ghahramani, 2016).
    mode : {"scan", "unroll"}
        How a sequence is run; see :class:`Recurrent`.
    checkpoint : int, optional
        Which values are kept for the gradient; see :class:`Recurrent`.
    backend : {"numpy", "native"}, optional
        The backend that runs the cells; see :class:`Recurrent`.
    threads : int, optional
        Number of threads of the native backend; see :class:`Recurrent`.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter
        U, shape (3 hidden_size, input_size), and W, shape (3 hidden_size, hidden_size), the rows
        of r, z, n one below the other.
        For layer k the names end in ``_lk``, and for the reverse direction in ``_lk_reverse``.
    bias_ih_l0, bias_hh_l0 : Parameter
        b and b', shape (3 hidden_size,), unless `bias` is False.

    Examples
    --------
    >>> import numpy as np
    >>> output, h_n = GRU(3, 5, batch_first=True)(np.zeros((2, 7, 3), "float32"))
    >>> output.shape, h_n.shape
    ((2, 7, 5), (1, 2, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int | Sequence[int] = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: npt.DTypeLike = np.float32,
        *,
        reset_after: bool = True,
        recurrent_dropout: float = 0.0,
        mode: Mode = "scan",
        checkpoint: int | None = None,
        backend: str | None = None,
        threads: int | None = None,
    ) -> None:
        super().__init__(GRUCell, **_arguments(locals()))
