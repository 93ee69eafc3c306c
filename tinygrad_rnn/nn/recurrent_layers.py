"""RNN, LSTM and GRU with the arguments, parameter names and layouts of PyTorch's layers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import ShapeError
from ..ops import TensorLike, swapaxes
from ..ops.core import as_tensor
from ..tensor import Parameter, Tensor
from .cell import Cell, RNNCell, State, flatten, rebuild
from .gated import GRUCell, LSTMCell
from .module import Module
from .recurrent import Recurrent

__all__ = ["GRU", "LSTM", "RNN", "RecurrentLayer"]

Mode = Literal["scan", "unroll"]


class RecurrentLayer(Module):
    """A cell over a sequence, called as PyTorch's layers are; what RNN, LSTM and GRU share.

    The parameters have PyTorch's names, those of the cell with the layer's number:
    ``weight_hh_l0`` is ``weight_hh`` of the cell of layer ``l0``. So ``state_dict`` has
    PyTorch's keys, and `load_state_dict` takes a PyTorch layer's, turned into arrays.

    Parameters
    ----------
    cell : callable
        Makes the cell from (input_size, hidden_size).
    input_size, hidden_size : int
    num_layers : int
    batch_first : bool
        Whether inputs and outputs are (batch, time, features); states never are.
    dropout : float
    bidirectional : bool
    proj_size : int
    mode : str, optional
        How the cell is applied; see :class:`Recurrent`, whose own choice it is if not given.

    Raises
    ------
    NotImplementedError
        If more than one layer, dropout between layers, both directions or a projection are
        asked for.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import nn
    >>> layer = RecurrentLayer(nn.GRUCell, 3, 5, batch_first=True)
    >>> output, h_n = layer(np.zeros((2, 7, 3), "float32"))
    >>> output.shape, h_n.shape
    ((2, 7, 5), (1, 2, 5))
    >>> list(layer.state_dict())
    ['weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0', 'bias_hh_l0']
    """

    l0: Recurrent

    def __init__(
        self,
        cell: Callable[[int, int], Cell],
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        mode: Mode | None = None,
    ) -> None:
        super().__init__()
        asked = {"num_layers": num_layers, "dropout": dropout, "bidirectional": bidirectional, "proj_size": proj_size}
        there = {"num_layers": 1, "dropout": 0.0, "bidirectional": False, "proj_size": 0}
        if missing := [f"{name}={value!r}" for name, value in asked.items() if value != there[name]]:
            raise NotImplementedError(
                f"{type(self).__name__} has one layer and one direction so far; not there yet: {', '.join(missing)}"
            )
        self.input_size, self.hidden_size, self.batch_first = input_size, hidden_size, batch_first
        options: dict[str, Any] = {} if mode is None else {"mode": mode}
        self.l0 = Recurrent(cell(input_size, hidden_size), **options)

    def forward(self, xs: TensorLike, state: State | None = None, **options: Any) -> tuple[Any, State]:
        """Run the layer over a batch of sequences, or over a single one.

        Parameters
        ----------
        xs : array_like, shape (T, batch, input_size), (batch, T, input_size) if `batch_first`, or (T, input_size)
        state : Tensor, shape (1, batch, hidden_size), or a tuple of two of them for an LSTM, optional
            What step 1 starts from, zeros if not given; (1, hidden_size) for a single sequence.
        **options
            Passed on to :class:`Recurrent` as they are. ``lengths``, shape (batch,): how many
            steps of each sequence are real. ``final_state_only``: whether the outputs are not
            wanted. Data for ``force`` have time first, whatever `batch_first` says.

        Returns
        -------
        output : Tensor, shape as that of `xs`, with hidden_size for input_size
            h of every step.
        state : Tensor, or an LSTMState (h, c), shape as that of `state`
            What the last step carries on.

        Raises
        ------
        ShapeError
            If input or state are of another shape than this layer needs.
        """
        xs = as_tensor(xs)
        alone = xs.ndim == 2
        axes = "(batch, time, features)" if self.batch_first else "(time, batch, features)"
        if xs.ndim not in (2, 3) or xs.shape[-1] != self.input_size:
            raise ShapeError(
                f"the input has shape {xs.shape}; it is {axes}, or (time, features) for a single sequence, "
                f"with {self.input_size} features"
            )
        if alone:
            xs = xs[:, None]
        elif self.batch_first:
            xs = swapaxes(xs, 0, 1)
        if state is not None:
            state = self._first(state, xs.shape[1], alone)
        output, state = self.l0(xs, state, **options)
        if isinstance(output, Tensor):
            output = output[:, 0] if alone else swapaxes(output, 0, 1) if self.batch_first else output
        if not alone:
            state = rebuild(state, iter([slot[None] for slot in flatten(state)]))
        return output, state

    def _first(self, state: State, batch_size: int, alone: bool) -> State:
        """The state as the cell takes it, without the axis of layers and directions."""
        own, given = self.l0.cell.initial_state(batch_size), [as_tensor(slot) for slot in flatten(state)]
        needed = [slot.shape if alone else (1, *slot.shape) for slot in flatten(own)]
        shapes = [slot.shape for slot in given]
        if shapes != needed:
            raise ShapeError(
                f"the initial state has shape {rebuild(state, iter(shapes))}, and this layer and batch need "
                f"{rebuild(own, iter(needed))}"
            )
        return rebuild(own, iter([slot if alone else slot[0] for slot in given]))

    # -- PyTorch's names for the parameters of the cells ---------------------------------------

    def _all_parameters(self) -> Iterator[tuple[str, Parameter]]:
        for path, parameter in super()._all_parameters():
            layer, inside, name = path.partition(".cell.")
            yield f"{name}_{layer}" if inside else path, parameter

    def _home(self, name: str) -> tuple[Cell, str] | None:
        """The cell that has the parameter of this name, and its name there."""
        parts = re.fullmatch(r"(\w+)_(l\d+)", name)
        run = parts and self.__dict__.get(parts[2])
        if parts and isinstance(run, Recurrent) and isinstance(getattr(run.cell, parts[1], None), Parameter):
            return run.cell, parts[1]
        return None

    def __getattr__(self, name: str) -> Any:
        home = self._home(name)
        return getattr(*home) if home else super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        home = self._home(name)
        if not home:
            return super().__setattr__(name, value)
        setattr(*home, value)
        self._tell_paths()


class RNN(RecurrentLayer):
    """Plain recurrent layer: h_t = f(U x_t + b + W h_{t-1} + b'), as :class:`RNNCell` says.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int
        1; stacks are not there yet.
    nonlinearity : {"tanh", "relu", "sigmoid"}
    bias : bool
    batch_first : bool
        Whether inputs and outputs are (batch, time, features); states never are.
    dropout : float
        0; it acts between layers only.
    bidirectional : bool
        False; both directions at once are not there yet.
    dtype : dtype
    mode : str, optional
        How the cell is applied; see :class:`Recurrent`, whose own choice it is if not given.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter
        U, shape (hidden_size, input_size), and W, shape (hidden_size, hidden_size).
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
        num_layers: int = 1,
        nonlinearity: Literal["tanh", "relu", "sigmoid"] = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: npt.DTypeLike = np.float32,
        *,
        mode: Mode | None = None,
    ) -> None:
        cell = partial(RNNCell, bias=bias, nonlinearity=nonlinearity, dtype=dtype)
        super().__init__(cell, input_size, hidden_size, num_layers, batch_first, dropout, bidirectional, mode=mode)


class LSTM(RecurrentLayer):
    """Long short-term memory over a sequence; the equations are those of :class:`LSTMCell`.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int
        1; stacks are not there yet.
    bias : bool
    batch_first : bool
        Whether inputs and outputs are (batch, time, features); states never are.
    dropout : float
        0; it acts between layers only.
    bidirectional : bool
        False; both directions at once are not there yet.
    proj_size : int
        0; projections of h are not there yet.
    dtype : dtype
    mode : str, optional
        How the cell is applied; see :class:`Recurrent`, whose own choice it is if not given.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter
        U, shape (4 hidden_size, input_size), and W, shape (4 hidden_size, hidden_size), with
        the rows of gates i, f, g, o one below the other.
    bias_ih_l0, bias_hh_l0 : Parameter
        b and b', shape (4 hidden_size,), unless `bias` is False.

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
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        dtype: npt.DTypeLike = np.float32,
        *,
        mode: Mode | None = None,
    ) -> None:
        cell = partial(LSTMCell, bias=bias, dtype=dtype)
        super().__init__(cell, input_size, hidden_size, num_layers, batch_first, dropout, bidirectional, proj_size, mode=mode)


class GRU(RecurrentLayer):
    """Gated recurrent units over a sequence; the equations are those of :class:`GRUCell`.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int
        1; stacks are not there yet.
    bias : bool
    batch_first : bool
        Whether inputs and outputs are (batch, time, features); states never are.
    dropout : float
        0; it acts between layers only.
    bidirectional : bool
        False; both directions at once are not there yet.
    dtype : dtype
    mode : str, optional
        How the cell is applied; see :class:`Recurrent`, whose own choice it is if not given.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter
        U, shape (3 hidden_size, input_size), and W, shape (3 hidden_size, hidden_size), with
        the rows of r, z, n one below the other.
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
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: npt.DTypeLike = np.float32,
        *,
        mode: Mode | None = None,
    ) -> None:
        cell = partial(GRUCell, bias=bias, dtype=dtype)
        super().__init__(cell, input_size, hidden_size, num_layers, batch_first, dropout, bidirectional, mode=mode)
