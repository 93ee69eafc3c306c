"""DecoderCell: a cell that reads the symbol that it wrote at the step before."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..checks import is_int
from ..errors import TinygradError
from ..ops import argmax
from ..ops.core import as_tensor
from ..sampling import sample
from ..tensor import Tensor
from .cell import Cell, State
from .module import Module

__all__ = ["DecoderCell", "DecoderState"]


class DecoderState(NamedTuple):
    """The state of a decoder: the previous symbol, and the state of its inner cell.

    Attributes
    ----------
    y : Tensor of int, shape (batch,)
        The previous symbol.
    h : Tensor or nested tuples of them
        The state of the inner cell.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> cell = nn.DecoderCell(nn.Embedding(4, 3), nn.LSTMCell(3, 5), nn.Linear(5, 4), start=2)
    >>> y, (h, c) = cell.initial_state(batch_size=2)
    >>> y
    tensor([2, 2])
    """

    y: Tensor
    h: State


class DecoderCell(Cell):
    """A cell that reads the symbol that it wrote at the step before, and an optional input.

    With f for the step of the inner cell::

        u_t = E[y_{t-1}] + x_t          x_t only if there is an input
        h_t = f(u_t, h_{t-1})
        o_t = c + V h_t                 logits
        y_t = argmax o_t                or drawn from softmax(o_t / temperature)

    The output is o_t, and the state is a :class:`DecoderState`. To make the cell read the true
    symbols, force the slot ``y``. Values that depend only on the true symbols are then computed
    for all steps at once.

    Parameters
    ----------
    embedding : Module
        From codes to vectors of the size that the cell takes: E.
    cell : Cell
        Any cell, with any state.
    readout : Module
        From the cell's output to a logit for each symbol: V and c.
    start : int
        The symbol before the first one, y_0.
    temperature : float, optional
        If given, above 0: symbols are drawn at this temperature, by the Gumbel-max method. If
        not given, the most likely symbol is taken.

    Raises
    ------
    ValueError
        If `start` is not a symbol of the embedding, or the temperature is not above 0.
    TinygradError
        If `cell` is not a cell, but for example a layer over time.

    References
    ----------
    Goodfellow, Bengio and Courville, *Deep Learning*, 2016, figures 10.9 and 10.10.

    Examples
    --------
    Twenty letters, drawn one after another. For an input of another size, put a layer
    before the cell: ``nn.Sequential(nn.Linear(7, 3, symbols=("R", "b")), nn.Recurrent(cell))``.

    >>> from tinygrad_rnn import nn
    >>> cell = nn.DecoderCell(nn.Embedding(4, 3), nn.RNNCell(3, 5), nn.Linear(5, 4), start=0, temperature=1.0)
    >>> logits, (y, h) = nn.Recurrent(cell)(None, steps=20)
    >>> logits.shape, y.shape
    ((20, 1, 4), (1,))
    """

    def __init__(self, embedding: Module, cell: Cell, readout: Module, start: int, temperature: float | None = None) -> None:
        super().__init__()
        if not isinstance(cell, Cell):
            raise TinygradError(f"a decoder needs a cell, such as nn.GRUCell(8, 16), not {type(cell).__name__}")
        self.embedding, self.cell, self.readout = embedding, cell, readout
        self.start = code_of("start", start, embedding)
        self.temperature = None if temperature is None else above_zero(temperature)

    def initial_state(self, batch_size: int, dtype: npt.DTypeLike | None = None) -> DecoderState:
        """The start symbol, and the initial state of the inner cell."""
        return DecoderState(as_tensor(np.full(batch_size, self.start)), self.cell.initial_state(batch_size, dtype))

    def logits(self, y: Tensor, h: State, x: Tensor | None = None) -> tuple[Tensor, State]:
        """Compute o_t and h_t from y_{t-1}, shape (batch,), h_{t-1}, and optionally x_t, shape (batch, embedding_dim)."""
        u = self.embedding(y) if x is None else self.embedding(y) + x
        output, h = self.cell(u, h)
        return self.readout(output).named("o", role="output"), h

    def step(self, x: Tensor | None, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """The logits of the next symbol, and the state with this symbol."""
        o, h = self.logits(*state, x)
        return o, DecoderState(choose(o, self.temperature).named("y"), h)


def choose(logits: Tensor, temperature: float | None = None) -> Tensor:
    """The most likely symbols, or symbols drawn from softmax(logits / temperature), one for each row."""
    if temperature is not None:
        shape, dtype = logits.shape, logits.dtype
        logits = logits + temperature * sample(lambda generator: generator.gumbel(size=shape).astype(dtype))
    return argmax(logits, axis=-1)


def code_of(name: str, code: Any, embedding: Module) -> int:
    """Return the code of a symbol, or raise if the embedding has no such code."""
    n = embedding.codes
    if not is_int(code, least=0) or (n is not None and code >= n):
        known = "" if n is None else f" from 0 to {n - 1}"
        raise ValueError(
            f"{name}, the code of the symbol at the {name} of a sequence, must be a whole number{known}, not {code!r}"
        )
    return int(code)


def above_zero(temperature: float) -> float:
    """Return a temperature, or raise if it is not above zero."""
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, not {temperature!r}; for the likeliest symbols, use greedy()")
    return temperature
