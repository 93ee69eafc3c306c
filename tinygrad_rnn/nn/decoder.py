"""Decoder: generates sequences of symbols from a vector or a state, one to many."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..autodiff import no_grad
from ..checks import check_int, one_of
from ..errors import ShapeError
from ..graph.node import Spec
from ..ops import TensorLike, broadcast_to, split, where
from ..ops.core import as_tensor
from ..ops.lengths import mask_padding, sequence_mask
from ..tensor import Tensor
from ..tree import flatten, rebuild
from ..unrolling import Steps
from .beam import Sequences, beam_search, write
from .call import as_state, outline
from .cell import Cell, State
from .decoder_cell import DecoderCell, DecoderState, above_zero, choose, code_of
from .layers import Linear
from .likelihood import log_likelihood
from .module import Module
from .module_trace import symbolic
from .recurrent import Mode, Recurrent

__all__ = ["Decoder"]


class Decoder(Module):
    """A network from a vector to sequences of symbols, in which each symbol is read back before the next.

    The vector x, the context, can be read at the start, at every step, or both. These are
    different models:

    ``at="start"``
        h_0 = R_0 x + b_0: later steps know only the part of x that the state has kept.
    ``at="every_step"``
        u_t = E[y_{t-1}] + R x + b: no step has to remember x, and h_0 is the cell's own initial state.
    ``at="both"``
        Both, each with its own matrix.

    Parameters
    ----------
    embedding, cell, readout, start, temperature
        As in :class:`DecoderCell`; the temperature is for the symbols that are not forced.
    end : int, optional
        The symbol that ends a sequence, and is part of the sequence. If not given, sequences end
        only at `max_steps`.
    context_size : int, optional
        Number of features of the context; if not given, there is no context.
    at : {"start", "every_step", "both"}
        Where the context enters: in the initial state, at every step, or at both places.
    mode : {"scan", "unroll"}
        How a sequence is run; see :class:`Recurrent`.

    Raises
    ------
    ValueError
        If `start` or `end` is not a symbol of the embedding, `at` is not one of these three, or the
        temperature is not above 0.
    TinygradError
        If `cell` is not a cell, but for example a layer over time.

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
        *,
        at: Literal["start", "every_step", "both"] = "start",
        temperature: float | None = None,
        mode: Mode = "scan",
    ) -> None:
        super().__init__()
        if at not in ("start", "every_step", "both"):
            raise ValueError(one_of("at, the place where the context comes in,", at, ("start", "every_step", "both")))
        self.recurrent = Recurrent(DecoderCell(embedding, cell, readout, start, temperature), mode)
        self.end = None if end is None else code_of("end", end, embedding)
        self.context_size = context_size
        self.R_0 = self.R = None
        if context_size is not None:
            u = embedding(np.array([start]))
            features = sum(slot.size for slot in flatten(cell.initial_state(1)))
            if at != "every_step":
                self.R_0 = Linear(context_size, features, dtype=u.dtype, symbols=("R_0", "b_0"))
            if at != "start":
                self.R = Linear(context_size, u.shape[-1], dtype=u.dtype, symbols=("R", "b"))

    def drawn_with(self, xs: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """The arguments for drawing a decoder: the target sequence, and a context."""
        ys = symbolic(xs.node.spec, "y", "input")
        if self.context_size is None:
            return (ys,), ys
        dtype = next(parameter.dtype for parameter in self.parameters())
        return (ys, symbolic(Spec((xs.shape[1], self.context_size), dtype), "x", "input")), ys

    @property
    def cell(self) -> DecoderCell:
        """The cell that generates the symbols."""
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
        """The logits of each symbol, where the symbols before it are given (teacher forcing).

        Parameters
        ----------
        ys : array_like of int, shape (T, batch)
            The target sequences, without the start symbol and with the end symbol.
            Step t reads ``ys[t - 1]`` and predicts ``ys[t]``.
        context : array_like, shape (batch, context_size), optional
            The vector x of each row, if the decoder has a context.
        state : Tensor or nested tuples of them, optional
            The initial state, in place of a state made from the context or the cell's own initial
            state.
        lengths : array_like of int, shape (batch,), optional
            The length of each sequence. Logits after its end are zero, and symbols after its end
            are not read.
        force_mask : array_like of bool, shape (T,) or (T, batch), optional
            True where the next step reads the given symbol, and False where it reads the symbol
            that the network chose. For scheduled sampling (Bengio et al., 2015), use
            ``generator.random((T, batch)) < p``, with p falling from 1 in the course of training.

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
            raise ShapeError(f"the target symbols must be integers of shape (time, batch), not {ys.dtype} of shape {ys.shape}")
        T, batch_size = ys.shape
        real = None if lengths is None else sequence_mask(lengths, T, batch_size)
        if real is not None:
            ys = where(real, ys, self.cell.start)
        n, known = self.cell.embedding.codes, ys.node.value
        if n is not None and isinstance(known, np.ndarray) and known.size and not 0 <= known.min() <= known.max() < n:
            raise ShapeError(f"the target symbols go from {known.min()} to {known.max()}, but there are only {n} symbols")
        y, h, *x = self._begin(context, state, batch_size)
        xs = broadcast_to(x[0], (T, *x[0].shape)) if x else None
        logits, _ = self.recurrent(xs, DecoderState(y, h), steps=T, force={"y": ys}, force_mask=force_mask)
        return mask_padding(logits, real)

    def log_likelihood(
        self,
        ys: TensorLike,
        context: TensorLike | None = None,
        *,
        state: State | None = None,
        lengths: npt.ArrayLike | None = None,
    ) -> Tensor:
        """The log-probability of each sequence; see :func:`log_likelihood`.

        Parameters
        ----------
        ys, context, state, lengths
            As in a call.

        Returns
        -------
        Tensor, shape (batch,)
        """
        return log_likelihood(self(ys, context, state=state, lengths=lengths), ys, lengths)

    def greedy(
        self, context: TensorLike | None = None, max_steps: int = 100, *, state: State | None = None, batch_size: int = 1
    ) -> Sequences:
        """Generate sequences by taking the most likely symbol at each step.

        Parameters
        ----------
        context : array_like, shape (batch, context_size), optional
            The vector x of each row, if the decoder has a context.
        max_steps : int
            Length at which sequences are stopped that have not ended before.
        state : Tensor or nested tuples of them, optional
            As in a call.
        batch_size : int
            Number of sequences, if neither context nor state is given.

        Returns
        -------
        Sequences

        Raises
        ------
        ValueError
            If `max_steps` is less than 1, or `batch_size` is negative.
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
        """Draw sequences from the model, symbol by symbol from softmax(o_t / temperature).

        Parameters
        ----------
        context, max_steps, state, batch_size
            As in :meth:`greedy`.
        temperature : float
            A number above 0. 1 draws from the model's distribution; a smaller temperature is closer
            to a greedy choice.

        Returns
        -------
        Sequences

        Raises
        ------
        ValueError
            If the temperature is not above 0, or `max_steps` is less than 1.
        """
        drawn = partial(choose, temperature=above_zero(temperature))
        return self._write(write, context, state, batch_size, max_steps, choose=drawn)

    def beam(
        self,
        context: TensorLike | None = None,
        max_steps: int = 100,
        width: int = 4,
        *,
        state: State | None = None,
        batch_size: int = 1,
    ) -> Sequences:
        """Search the `width` most likely sequences of each row by beam search, best first.

        Parameters
        ----------
        context, max_steps, state, batch_size
            As in :meth:`greedy`.
        width : int
            Number of partial sequences that are kept after each symbol; 1 is a greedy search. If at
            most `width` partial sequences exist at each step, the search is exact. If fewer than
            `width` sequences exist, the remaining results have length 0 and log-likelihood -inf.

        Returns
        -------
        Sequences

        Raises
        ------
        ValueError
            If `width` or `max_steps` is less than 1.
        """
        return self._write(beam_search, context, state, batch_size, max_steps, width=check_int("width", width))

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
        end, most = -1 if self.end is None else self.end, check_int("max_steps", max_steps)
        with no_grad(), closing(Steps((), (), most)) as steps:
            y, *held = self._begin(context, state, batch_size)

            def step(y: Tensor, held: tuple[State, ...]) -> tuple[Tensor, tuple[State, ...]]:
                next(steps)  # marks these as steps of one run, so that numbers drawn once per run stay the same
                logits, h = self.cell.logits(y, *held)
                return logits, (h, *held[1:])

            return search(step, y, tuple(held), max_steps=most, end=end, **how)

    def _begin(self, context: TensorLike | None, state: State | None, batch_size: int) -> tuple[Any, ...]:
        """The start of a run: y_0, h_0, and the context if every step reads it."""
        y, h = self.cell.initial_state(check_int("batch_size", batch_size, least=0))
        needed = None if self.context_size is None else (batch_size, self.context_size)
        if context is None and needed is not None:
            raise ShapeError(f"the context is missing: this decoder and batch need one of shape {needed}")
        if context is not None and (shape := as_tensor(context).shape) != needed:
            wanted = "this decoder reads no context" if needed is None else f"this decoder and batch need {needed}"
            raise ShapeError(f"the context has shape {shape}, but {wanted}")
        if state is not None:
            if self.R_0 is not None:
                raise ShapeError(
                    "this decoder computes its initial state from the context; give no state, or make it with at='every_step'"
                )
            if outline(state) != outline(h):
                raise ShapeError(f"the initial state has shape {outline(state)}, but this cell and batch need {outline(h)}")
            h = rebuild(h, iter(flatten(as_state(state))))
        elif self.R_0 is not None:
            joined, slots = self.R_0(context), flatten(h)
            ends = list(itertools.accumulate(math.prod(slot.shape[1:]) for slot in slots))[:-1]
            parts = split(joined, ends, axis=-1)
            h = rebuild(h, iter([part.reshape(slot.shape) for part, slot in zip(parts, slots, strict=True)]))
        return (y, h) if self.R is None else (y, h, self.R(context))
