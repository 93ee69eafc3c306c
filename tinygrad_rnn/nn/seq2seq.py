"""Seq2Seq: an encoder reads a sequence, and a decoder writes one of another length."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..autodiff import no_grad
from ..errors import ShapeError
from ..graph.node import Spec
from ..ops import TensorLike, concatenate, swapaxes
from ..tensor import Tensor
from ..tree import flatten, rebuild
from .beam import Sequences
from .decoder import Decoder
from .likelihood import log_likelihood
from .module import Module
from .module_trace import symbolic
from .stacked import RecurrentLayer

__all__ = ["Seq2Seq"]


class Seq2Seq(Module):
    """An encoder and a decoder: the decoder generates a sequence from the encoder's final state.

    Only the encoder's final state passes to the decoder. A decoder without a context takes it
    as its initial state, so the decoder's cell has to be of the encoder's kind and size. A decoder
    with a ``context_size`` takes it as one vector, the context, with all parts side by side. The
    decoder's ``at`` says where the context is read: at the start, through a matrix that fits any
    two sizes, at every step, or both.

    Parameters
    ----------
    encoder : Module
        ``encoder(xs, lengths=…, final_state_only=True) -> (outputs, state)``: a recurrent
        layer of any number of layers and directions, :class:`Recurrent`, or your own.
    decoder : Decoder
        The network that writes the output sequence.
    embedding : Module, optional
        A layer before the encoder, for inputs that are codes.

    References
    ----------
    Sutskever, Vinyals and Le, "Sequence to sequence learning with neural networks", 2014, for
    the state at the start; Cho et al., "Learning phrase representations using RNN
    encoder-decoder for statistical machine translation", 2014, for the context at every step.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import nn
    >>> decoder = nn.Decoder(nn.Embedding(4, 3), nn.GRUCell(3, 5), nn.Linear(5, 4), start=0, end=1)
    >>> model = nn.Seq2Seq(nn.GRU(2, 5), decoder)
    >>> xs = np.ones((7, 2, 2), "float32")
    >>> ys, target_lengths = np.array([[3, 2], [2, 1], [1, 0]]), [3, 2]
    >>> logits = model(xs, ys, lengths=[7, 4], target_lengths=target_lengths)
    >>> nn.cross_entropy(logits, ys, lengths=target_lengths).backward()
    >>> model.beam(xs, width=3, max_steps=5, lengths=[7, 4]).lengths.shape
    (2, 3)
    """

    def __init__(self, encoder: Module, decoder: Decoder, embedding: Module | None = None) -> None:
        super().__init__()
        self.embedding, self.encoder, self.decoder = embedding, encoder, decoder
        self.codes = None if embedding is None else embedding.codes

    def drawn_with(self, xs: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """A sequence to read, and a sequence to write, which is the target as well."""
        ys = symbolic(Spec(xs.shape[:2], np.dtype(np.int64)), "y", "input")
        return (xs, ys), ys

    def encode(self, xs: TensorLike, lengths: npt.ArrayLike | None = None) -> dict[str, Any]:
        """The encoder's final state as an argument of the decoder: ``{"state": …}`` or ``{"context": …}``.

        Parameters
        ----------
        xs, lengths
            As in a call.

        Raises
        ------
        ShapeError
            If the encoder has several layers or directions, and the decoder has no context.
        """
        inputs = xs if self.embedding is None else self.embedding(xs)
        _, state = self.encoder(inputs, lengths=lengths, final_state_only=True)
        slots = flatten(state)
        if self.decoder.context_size is None:
            if isinstance(self.encoder, RecurrentLayer):
                if len(list(self.encoder.cells())) != 1:
                    raise ShapeError(
                        "the encoder has several layers or directions, so its final state cannot be the decoder's initial "
                        "state; "
                        "make the decoder with context_size, the sum of the sizes of these states"
                    )
                state = rebuild(state, iter([slot[0] for slot in slots]))
            return {"state": state}
        if isinstance(self.encoder, RecurrentLayer):
            slots = [swapaxes(slot, 0, 1) for slot in slots]
        return {"context": concatenate([slot.reshape(slot.shape[0], -1) for slot in slots], axis=-1)}

    def forward(
        self,
        xs: TensorLike,
        ys: TensorLike,
        *,
        lengths: npt.ArrayLike | None = None,
        target_lengths: npt.ArrayLike | None = None,
        force_mask: TensorLike | None = None,
    ) -> Tensor:
        """The logits of each symbol of `ys`, where the symbols before it are given (teacher forcing).

        Parameters
        ----------
        xs : array_like
            The input of the embedding or of the encoder, (time, batch, …).
        ys : array_like of int, shape (T, batch)
            The symbols, as codes.
        lengths, target_lengths : array_like of int, shape (batch,), optional
            The lengths of the rows of `xs` and of `ys`.
        force_mask : array_like of bool, shape (T,) or (T, batch), optional
            See :class:`Decoder`.

        Returns
        -------
        Tensor, shape (T, batch, n)
        """
        return self.decoder(ys, **self.encode(xs, lengths), lengths=target_lengths, force_mask=force_mask)

    def log_likelihood(
        self,
        xs: TensorLike,
        ys: TensorLike,
        *,
        lengths: npt.ArrayLike | None = None,
        target_lengths: npt.ArrayLike | None = None,
    ) -> Tensor:
        """The log-probability of each target sequence; see :func:`log_likelihood`."""
        return log_likelihood(self(xs, ys, lengths=lengths, target_lengths=target_lengths), ys, target_lengths)

    def greedy(self, xs: TensorLike, max_steps: int = 100, *, lengths: npt.ArrayLike | None = None) -> Sequences:
        """Generate a sequence for each row by taking the most likely symbols; see :meth:`Decoder.greedy`."""
        with no_grad():
            return self.decoder.greedy(max_steps=max_steps, **self.encode(xs, lengths))

    def sample(
        self, xs: TensorLike, max_steps: int = 100, temperature: float = 1.0, *, lengths: npt.ArrayLike | None = None
    ) -> Sequences:
        """Draw a sequence for each row; see :meth:`Decoder.sample`."""
        with no_grad():
            return self.decoder.sample(max_steps=max_steps, temperature=temperature, **self.encode(xs, lengths))

    def beam(self, xs: TensorLike, max_steps: int = 100, width: int = 4, *, lengths: npt.ArrayLike | None = None) -> Sequences:
        """Search the most likely sequences for each row by beam search; see :meth:`Decoder.beam`."""
        with no_grad():
            return self.decoder.beam(max_steps=max_steps, width=width, **self.encode(xs, lengths))
