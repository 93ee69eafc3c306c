"""Generation of sequences symbol by symbol: one for each row, or the best by beam search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..ops import log_softmax
from ..tensor import Tensor, tensor
from ..tree import flatten, rebuild
from .cell import State

__all__ = ["Sequences"]

Step = Callable[[Tensor, State], tuple[Tensor, State]]


class Sequences(NamedTuple):
    """Generated sequences of symbols, with their lengths and log-likelihoods.

    Attributes
    ----------
    ys : ndarray of int, shape (T, batch), or (T, batch, width) of a beam search
        The symbols, including the end symbol, which also fills the padding. T is the length of
        the longest sequence.
    lengths : ndarray of int, shape (batch,) or (batch, width)
        The lengths, including the end symbol.
    log_likelihood : ndarray, shape (batch,) or (batch, width)
        The log-likelihood of each sequence, computed with temperature 1, as by
        :func:`log_likelihood`.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> decoder = nn.Decoder(nn.Embedding(4, 3), nn.GRUCell(3, 5), nn.Linear(5, 4), start=0, end=1)
    >>> ys, lengths, log_likelihood = decoder.sample(max_steps=9)
    >>> ys.shape == (lengths.max(), 1)
    True
    """

    ys: npt.NDArray[np.intp]
    lengths: npt.NDArray[np.intp]
    log_likelihood: npt.NDArray[Any]


def write(step: Step, y: Tensor, state: State, choose: Callable[[Tensor], Tensor], max_steps: int, end: int) -> Sequences:
    """Generate one sequence for each row of the batch.

    Parameters
    ----------
    step : callable
        ``step(y, state) -> (logits, state)``: from symbols, shape (batch,), to the logits of the next symbols.
    y : Tensor of int, shape (batch,)
        The symbols before the first step.
    state : Tensor or nested tuples of them, shape (batch, …)
        The state before the first step.
    choose : callable
        From logits, shape (batch, n), to a symbol for each row.
    max_steps : int
        Largest number of symbols of a sequence.
    end : int
        The symbol that ends a sequence, or -1 if there is none.
    """
    written: list[npt.NDArray[np.intp]] = []
    lengths, total = np.zeros(len(y.data), np.intp), np.zeros(len(y.data))
    going = np.ones(len(y.data), bool)
    while len(written) < max_steps and going.any():
        logits, state = step(y, state)
        y = choose(logits)
        log_p = np.take_along_axis(log_softmax(logits).data, y.data[:, None], axis=-1)[:, 0]
        total += np.where(going, log_p, 0)
        lengths += going
        written.append(np.where(going, y.data, end))
        going &= y.data != end
    return Sequences(np.stack(written) if written else np.zeros((0, len(going)), np.intp), lengths, total)


def beam_search(step: Step, y: Tensor, state: State, width: int, max_steps: int, end: int) -> Sequences:
    """The most likely sequences of each row that a beam search of a given width finds, best first.

    After each symbol the `width` most likely partial sequences are kept, ended or not. A width of 1
    is a greedy search. The search is exact if at most `width` partial sequences exist at each
    step. If fewer than `width` sequences exist, the remaining results have length 0 and
    log-likelihood -inf.

    Parameters
    ----------
    step, y, state, max_steps, end
        As in :func:`write`; each row of the batch is repeated `width` times.
    width : int
        Number of partial sequences that are kept at each step.
    """
    batch_size = len(y.data)
    rows = np.arange(batch_size)[:, None]
    best = np.full((batch_size, width), -np.inf)  # log-likelihoods
    best[:, 0] = 0  # at first only the empty sequence
    written = np.zeros((0, batch_size, width), np.intp)
    lengths, going = np.zeros((batch_size, width), np.intp), np.isfinite(best)
    y, state = _rows(y, np.repeat(rows, width)), _rows(state, np.repeat(rows, width))
    while len(written) < max_steps and going.any():
        logits, state = step(y, state)
        log_p = np.array(log_softmax(logits).data, np.float64).reshape(batch_size, width, -1)
        n = log_p.shape[-1]
        log_p[~going] = np.where(np.arange(n) == end, 0, -np.inf)  # a sequence that has ended does not change
        total = (best[..., None] + log_p).reshape(batch_size, -1)
        chosen = np.argsort(-total, axis=-1, kind="stable")[:, :width]
        parent, symbol = np.divmod(chosen, n)
        best = np.take_along_axis(total, chosen, axis=-1)
        written = np.concatenate([written[:, rows, parent], symbol[None]])
        going = going[rows, parent]
        lengths = lengths[rows, parent] + going
        going = going & (symbol != end) & np.isfinite(best)
        y, state = tensor(symbol.reshape(-1)), _rows(state, (rows * width + parent).reshape(-1))
    return Sequences(written, np.where(np.isfinite(best), lengths, 0), best)


def _rows(state: State, rows: npt.NDArray[np.intp]) -> State:
    return rebuild(state, iter([slot[rows] for slot in flatten(state)]))
