"""Decoder: a cell that reads the symbol that it wrote last, and what is built on it: one to many."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ..autodiff import no_grad
from ..errors import ShapeError
from ..ops import TensorLike, argmax, broadcast_to, split, where
from ..ops.core import as_tensor
from ..ops.lengths import beside, real_steps
from ..sampling import sample
from ..tensor import Tensor
from .beam import Sequences, beam_search, write
from .cell import Cell, State, flatten, rebuild
from .layers import Linear
from .likelihood import log_likelihood
from .module import Module
from .recurrent import Recurrent
from .steps import as_state, outline

__all__ = ["Decoder", "DecoderCell", "DecoderState"]


class DecoderState(NamedTuple):
    """What a decoder carries from step to step.

    Attributes
    ----------
    y : Tensor of int, shape (batch,)
        The last symbol.
    h : Tensor or nested tuples of them
        The state of the cell within.

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
    """A cell that reads the symbol that it wrote at the step before, and what else there is.

    With f for the step of the cell within::

        u_t = E[y_{t-1}] + x_t          x_t only if there is an input
        h_t = f(u_t, h_{t-1})
        o_t = c + V h_t                 logits
        y_t = argmax o_t                or drawn from softmax(o_t / temperature)

    The output is o_t, and the state a :class:`DecoderState`. Force its slot ``y``, and what
    is read are the true symbols: all that depends on them alone is then computed for all
    steps at once.

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
        Above 0: the symbols are drawn, by the Gumbel-max method. The likeliest is taken if
        it is not given.

    Raises
    ------
    ValueError
        If `start` is no symbol of the embedding, or the temperature is not above 0.

    References
    ----------
    Goodfellow, Bengio and Courville, *Deep Learning*, 2016, figures 10.9 and 10.10.

    Examples
    --------
    Twenty letters, drawn one after another; what an input would be read through is a layer
    before: ``nn.Sequential(nn.Linear(7, 3, symbols=("R", "b")), nn.Recurrent(cell))``.

    >>> from tinygrad_rnn import nn
    >>> cell = nn.DecoderCell(nn.Embedding(4, 3), nn.RNNCell(3, 5), nn.Linear(5, 4), start=0, temperature=1.0)
    >>> logits, (y, h) = nn.Recurrent(cell)(None, steps=20)
    >>> logits.shape, y.shape
    ((20, 1, 4), (1,))
    """

    def __init__(self, embedding: Module, cell: Cell, readout: Module, start: int, temperature: float | None = None) -> None:
        super().__init__()
        self.embedding, self.cell, self.readout = embedding, cell, readout
        self.start = _symbol("start", start, embedding)
        self.temperature = None if temperature is None else _above_zero(temperature)

    def initial_state(self, batch_size: int, dtype: npt.DTypeLike | None = None) -> DecoderState:
        """The start symbol, and the initial state of the cell within."""
        return DecoderState(as_tensor(np.full(batch_size, self.start)), self.cell.initial_state(batch_size, dtype))

    def logits(self, y: Tensor, h: State, x: Tensor | None = None) -> tuple[Tensor, State]:
        """o_t and h_t from y_{t-1}, shape (batch,), h_{t-1}, and x_t, shape (batch, embedding_dim), if there is one."""
        u = self.embedding(y) if x is None else self.embedding(y) + x
        output, h = self.cell(u, h)
        return self.readout(output).named("o", role="output"), h

    def step(self, x: Tensor | None, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """The logits of one more symbol, and that symbol."""
        o, h = self.logits(*state, x)
        return o, DecoderState(choose(o, self.temperature).named("y"), h)


def choose(logits: Tensor, temperature: float | None = None) -> Tensor:
    """The likeliest symbols, or symbols drawn from softmax(logits / temperature), one for each row."""
    if temperature is not None:
        shape, dtype = logits.shape, logits.dtype
        logits = logits / temperature + sample(lambda generator: generator.gumbel(size=shape).astype(dtype))
    return argmax(logits, axis=-1)


class Decoder(Module):
    """One to many: sequences of symbols, each read back before the next, that a vector conditions.

    The vector x, the context, can come in at two places, which make different models:

    ``at="start"``
        h_0 = R_0 x + b_0: what later steps know of x is what the state has kept.
    ``at="every_step"``
        u_t = E[y_{t-1}] + R x + b: no step has to remember x, and h_0 is the cell's own.
    ``at="both"``
        Both, each with its matrix.

    Parameters
    ----------
    embedding, cell, readout, start, temperature
        As for :class:`DecoderCell`; the temperature is for the symbols that are not forced.
    end : int, optional
        The symbol that ends a sequence, and is part of it; without one they go on.
    context_size : int, optional
        Number of features of the context; none is read if not given.
    at : {"start", "every_step", "both"}
    mode : {"scan", "unroll"}
        See :class:`Recurrent`.

    Raises
    ------
    ValueError
        If `start` or `end` are no symbols, `at` is none of the three, or the temperature is
        not above 0.

    References
    ----------
    Goodfellow, Bengio and Courville, *Deep Learning*, 2016, section 10.2.4.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import nn
    >>> decoder = nn.Decoder(nn.Embedding(4, 3), nn.GRUCell(3, 5), nn.Linear(5, 4), start=0, end=1, context_size=2)
    >>> context = np.ones((2, 2), "float32")
    >>> ys, lengths = np.array([[3, 2], [2, 1], [1, 0]]), [3, 2]  # time first; the last 0 is padding
    >>> loss = nn.cross_entropy(decoder(ys, context, lengths=lengths), ys, lengths=lengths)
    >>> loss.backward()
    >>> best = decoder.beam(context, max_steps=5, width=3)
    >>> best.lengths.shape, best.log_likelihood.shape
    ((2, 3), (2, 3))
    """

    def __init__(
        self,
        embedding: Module,
        cell: Cell,
        readout: Module,
        start: int,
        end: int | None = None,
        context_size: int | None = None,
        at: Literal["start", "every_step", "both"] = "start",
        temperature: float | None = None,
        mode: Literal["scan", "unroll"] = "scan",
    ) -> None:
        super().__init__()
        if at not in ("start", "every_step", "both"):
            raise ValueError(f"at says where the context comes in, 'start', 'every_step' or 'both', not {at!r}")
        self.recurrent = Recurrent(DecoderCell(embedding, cell, readout, start, temperature), mode)
        self.end = None if end is None else _symbol("end", end, embedding)
        self.context_size = context_size
        self.R_0 = self.R = None
        if context_size is not None:
            slots = flatten(cell.initial_state(1))
            features, dtype = sum(slot.size for slot in slots), slots[0].dtype
            if at != "every_step":
                self.R_0 = Linear(context_size, features, dtype=dtype, symbols=("R_0", "b_0"))
            if at != "start":
                u = embedding(np.array([start]))
                self.R = Linear(context_size, u.shape[-1], dtype=dtype, symbols=("R", "b"))

    @property
    def cell(self) -> DecoderCell:
        """The cell that writes."""
        cell: DecoderCell = self.recurrent.cell  # type: ignore[assignment]
        return cell

    def forward(
        self,
        ys: TensorLike,
        context: TensorLike | None = None,
        *,
        state: State | None = None,
        lengths: npt.ArrayLike | None = None,
        force_mask: TensorLike | None = None,
    ) -> Tensor:
        """The logits of each symbol, where those before it are given: teacher forcing.

        Parameters
        ----------
        ys : array_like of int, shape (T, batch)
            The sequences to be written, without the start symbol and with the end symbol.
            Step t reads ``ys[t - 1]`` and predicts ``ys[t]``.
        context : array_like, shape (batch, context_size), optional
        state : Tensor or nested tuples of them, optional
            The cell's initial state, instead of one made of the context or the cell's own.
        lengths : array_like of int, shape (batch,), optional
            How long each sequence is. Logits past its end are zero, and what stands there is
            not read.
        force_mask : array_like of bool, shape (T,) or (T, batch), optional
            Where the next step reads the given symbol; where not, it reads the one that the
            network would have written. ``generator.random((T, batch)) < p`` is scheduled
            sampling (Bengio et al., 2015), with p falling from 1 in the course of training.

        Returns
        -------
        Tensor, shape (T, batch, n)

        Raises
        ------
        ShapeError, DtypeError
            If sequences, context and state do not fit each other.
        """
        ys = as_tensor(ys)
        if ys.dtype.kind not in "iu" or ys.ndim != 2:
            raise ShapeError(f"the symbols to be written are integers of shape (time, batch), not {ys.dtype} {ys.shape}")
        T, batch_size = ys.shape
        real = None if lengths is None else real_steps(lengths, T, batch_size)
        if real is not None:
            ys = where(real, ys, self.cell.start)
        n, known = self.cell.embedding.codes, ys.node.value
        if n is not None and isinstance(known, np.ndarray) and known.size and not 0 <= known.min() <= known.max() < n:
            raise ShapeError(f"the symbols to be written go from {known.min()} to {known.max()}, and there are {n}")
        y, h, *x = self._begin(context, state, batch_size)
        xs = broadcast_to(x[0], (T, *x[0].shape)) if x else None
        logits, _ = self.recurrent(xs, DecoderState(y, h), steps=T, force={"y": ys}, force_mask=force_mask)
        return logits if real is None else where(beside(real, logits), logits, 0)

    def log_likelihood(self, ys: TensorLike, context: TensorLike | None = None, **options: Any) -> Tensor:
        """Logarithm of the probability of each sequence; see :func:`log_likelihood`.

        Parameters
        ----------
        ys, context
            As for a call.
        **options
            `state` and `lengths`, as for a call.

        Returns
        -------
        Tensor, shape (batch,)
        """
        return log_likelihood(self(ys, context, **options), ys, options.get("lengths"))

    def greedy(
        self, context: TensorLike | None = None, max_steps: int = 100, *, state: State | None = None, batch_size: int = 1
    ) -> Sequences:
        """Sequences of which each symbol is the likeliest after those before it.

        Parameters
        ----------
        context : array_like, shape (batch, context_size), optional
        max_steps : int
            Where to stop sequences that have not ended by then.
        state : Tensor or nested tuples of them, optional
            As for a call.
        batch_size : int
            How many sequences, if neither context nor state tell.

        Returns
        -------
        Sequences

        Raises
        ------
        ValueError
            If `max_steps` is less than 1.
        ShapeError
            If context or state do not fit.
        """
        return self._write(write, context, state, batch_size, max_steps, choose=choose)

    def sample(
        self,
        context: TensorLike | None = None,
        max_steps: int = 100,
        temperature: float = 1.0,
        *,
        state: State | None = None,
        batch_size: int = 1,
    ) -> Sequences:
        """Sequences drawn from the model, symbol by symbol from softmax(o_t / temperature).

        Parameters
        ----------
        context, max_steps, state, batch_size
            As for :meth:`greedy`.
        temperature : float
            Above 0: 1 is the model itself, less is closer to greedy.

        Returns
        -------
        Sequences

        Raises
        ------
        ValueError
            If the temperature is not above 0, or `max_steps` is less than 1.
        """
        drawn = partial(choose, temperature=_above_zero(temperature))
        return self._write(write, context, state, batch_size, max_steps, choose=drawn)

    def beam(
        self,
        context: TensorLike | None = None,
        width: int = 4,
        max_steps: int = 100,
        *,
        state: State | None = None,
        batch_size: int = 1,
    ) -> Sequences:
        """The `width` likeliest sequences of each row that a beam search finds, best first.

        Parameters
        ----------
        context, max_steps, state, batch_size
            As for :meth:`greedy`.
        width : int
            How many beginnings are kept after each symbol. 1 is greedy. With at least as many
            as there are, the search is exact; where there are fewer sequences than that, the
            rest has length 0 and log-likelihood -inf.

        Returns
        -------
        Sequences

        Raises
        ------
        ValueError
            If `width` or `max_steps` is less than 1.
        """
        return self._write(beam_search, context, state, batch_size, max_steps, width=_count("width", width))

    def _write(
        self,
        search: Callable[..., Sequences],
        context: TensorLike | None,
        state: State | None,
        batch_size: int,
        max_steps: int,
        **how: Any,
    ) -> Sequences:
        given = [as_tensor(x) for x in ([] if context is None else [context]) + flatten(() if state is None else state)]
        batch_size = next((x.shape[0] for x in given if x.ndim), batch_size)
        with no_grad():
            y, *held = self._begin(context, state, batch_size)

            def step(y: Tensor, held: tuple[State, ...]) -> tuple[Tensor, tuple[State, ...]]:
                logits, h = self.cell.logits(y, *held)
                return logits, (h, *held[1:])

            end = -1 if self.end is None else self.end
            return search(step, y, tuple(held), max_steps=_count("max_steps", max_steps), end=end, **how)

    def _begin(self, context: TensorLike | None, state: State | None, batch_size: int) -> tuple[Any, ...]:
        """y_0, h_0, and, if the context comes in at every step, what is read beside the symbols."""
        y, h = self.cell.initial_state(batch_size)
        shape = None if context is None else as_tensor(context).shape
        needed = None if self.context_size is None else (batch_size, self.context_size)
        if shape != needed:
            raise ShapeError(f"the context has shape {shape}, and this decoder and batch need {needed}")
        if state is not None:
            if self.R_0 is not None:
                raise ShapeError("this decoder's initial state is made of the context; give it no state, or another `at`")
            if outline(state) != outline(h):
                raise ShapeError(f"the initial state has shape {outline(state)}, and this cell and batch need {outline(h)}")
            h = rebuild(h, iter(flatten(as_state(state))))
        elif self.R_0 is not None:
            whole, slots = self.R_0(context), flatten(h)
            ends = list(itertools.accumulate(math.prod(slot.shape[1:]) for slot in slots))[:-1]
            parts = split(whole, ends, axis=-1)
            h = rebuild(h, iter([part.reshape(slot.shape) for part, slot in zip(parts, slots, strict=True)]))
        return (y, h) if self.R is None else (y, h, self.R(context))


def _symbol(name: str, code: Any, embedding: Module) -> int:
    n = embedding.codes
    if not isinstance(code, (int, np.integer)) or code < 0 or (n is not None and code >= n):
        known = "" if n is None else f", from 0 to {n - 1}"
        raise ValueError(f"{name} is the code of the symbol at the {name} of sequences{known}, not {code!r}")
    return int(code)


def _count(name: str, n: Any) -> int:
    if not isinstance(n, (int, np.integer)) or n < 1:
        raise ValueError(f"{name} is a number, 1 at least, not {n!r}")
    return int(n)


def _above_zero(temperature: float) -> float:
    if not temperature > 0:
        raise ValueError(f"a temperature is above 0, not {temperature!r}; greedy() takes the likeliest symbols")
    return temperature
