"""A character-level language model: Embedding, then a plain recurrent cell, then Linear."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ..autodiff import no_grad
from ..nn import Embedding, Linear, Module, Recurrent, RNNCell
from ..ops import TensorLike, softmax
from ..random import generator
from ..sequences import CharVocabulary
from ..tensor import Tensor

__all__ = ["CharModel"]

Array = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int64]

PIECE = 1000  # steps read at a time without learning, to limit memory


class CharModel(Module):
    """A network that predicts each character of a text from all characters before it.

    The embedding and the output layer compute all steps of a chunk at once. Only the cell runs
    step by step.

    Parameters
    ----------
    vocabulary : CharVocabulary
    embedding : int
        Length of the vector that represents a character.
    hidden : int
        Number of units of the cell.

    Examples
    --------
    >>> model = CharModel(CharVocabulary("hello"), embedding=3, hidden=5)
    >>> logits, state = model(np.array([[1], [0], [2]]))  # h e l, a batch of one
    >>> logits.shape, state.shape
    ((3, 1, 4), (1, 5))

    A file holds all of it, with the vocabulary:

    >>> import tempfile
    >>> import tinygrad_rnn as tr
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tr.save(model, f"{folder}/model.safetensors")
    ...     again = tr.load(f"{folder}/model.safetensors", classes=[CharModel])
    >>> again.vocabulary.characters
    'ehlo'
    """

    def __init__(self, vocabulary: CharVocabulary, embedding: int, hidden: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.embedding = Embedding(len(vocabulary), embedding)
        self.recurrent = Recurrent(RNNCell(embedding, hidden))
        self.output = Linear(hidden, len(vocabulary))
        self.sizes = {"embedding": embedding, "hidden": hidden}

    def forward(self, codes: TensorLike, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits of each next character, and the state after the last character.

        Parameters
        ----------
        codes : array_like of int, shape (T, batch)
        state : Tensor, shape (batch, hidden), optional
        """
        hidden, state = self.recurrent(self.embedding(codes), state)
        return self.output(hidden), state

    # -- using it --------------------------------------------------------------------------

    def read(self, codes: Codes, state: Tensor | None = None) -> Iterator[tuple[Array, Array, Tensor]]:
        """Read one long sequence in pieces, without learning.

        Yields
        ------
        probabilities : ndarray, shape (T, symbols)
            Probabilities of the character after each step.
        hidden : ndarray, shape (T, hidden)
        state : Tensor
        """
        for start in range(0, len(codes), PIECE):
            with no_grad():
                hidden, state = self.recurrent(self.embedding(codes[start : start + PIECE, None]), state)
                probabilities = softmax(self.output(hidden))
            yield probabilities.data[:, 0], hidden.data[:, 0], state

    def score(self, codes: Codes, before: Codes) -> npt.NDArray[np.float64]:
        """The probability that the model assigns to each code, given the codes before it.

        Parameters
        ----------
        codes : ndarray of int, shape (N,)
        before : ndarray of int
            The codes before the first of `codes`, at least one. The network reads them first, and carries
            its state on.

        Returns
        -------
        ndarray, shape (N,)
        """
        everything = np.concatenate([before, codes])
        found, done = [], 1  # the first code is not predicted
        for probabilities, _, _ in self.read(everything[:-1]):
            came = everything[done : done + len(probabilities)]
            found.append(probabilities[np.arange(len(came)), came])
            done += len(came)
        return np.concatenate(found)[len(before) - 1 :].astype(float)

    def sample(self, length: int, temperatures: Sequence[float], prompt: str) -> list[str]:
        """Texts that the model generates, with each character fed back as the next input.

        Parameters
        ----------
        length : int
        temperatures : sequence of float
            One temperature for each text. The logits are divided by the temperature. Below 1, likely
            characters become more likely; at 0, the most likely character is chosen.
        prompt : str
            The text that the model reads first: at least one character, all from the vocabulary.
        """
        codes = np.tile(self.vocabulary.encode(prompt)[:, None], len(temperatures))
        divisor = np.maximum(np.asarray(temperatures, float), 1e-6)[:, None]
        written: list[Codes] = []
        with no_grad():
            logits, state = self.forward(codes)
            for _ in range(length):
                scores = logits.data[-1] / divisor
                # the largest of logits with Gumbel noise is a sample of their softmax
                noise = generator().gumbel(size=scores.shape) * (divisor > 1e-6)
                written.append((scores + noise).argmax(-1))
                logits, state = self.forward(written[-1][None], state)
        return [self.vocabulary.decode(column) for column in np.array(written, np.int64).reshape(length, len(temperatures)).T]
