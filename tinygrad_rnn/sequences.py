"""Sequences as networks eat them: character vocabularies and chunks for truncated BPTT."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import DataError

__all__ = ["CharVocabulary", "tbptt_chunks"]

Codes = npt.NDArray[np.int64]


class CharVocabulary:
    """The characters of a text, and their codes 0, 1, 2, …

    Parameters
    ----------
    text : str
        Its characters are sorted.

    Raises
    ------
    DataError
        If the text is empty.

    Examples
    --------
    >>> vocabulary = CharVocabulary("hello")
    >>> vocabulary.characters
    'ehlo'
    >>> vocabulary.encode("hole")
    array([1, 3, 2, 0])
    >>> vocabulary.decode([1, 0, 2, 2, 3])
    'hello'
    """

    def __init__(self, text: str) -> None:
        self.characters = "".join(sorted(set(text)))
        if not self.characters:
            raise DataError("the text is empty: there are no characters to make a vocabulary of")
        self._codes = {character: code for code, character in enumerate(self.characters)}

    def __len__(self) -> int:
        return len(self.characters)

    def __contains__(self, character: object) -> bool:
        return character in self._codes

    def encode(self, text: str) -> Codes:
        """The codes of a text.

        Raises
        ------
        DataError
            If a character is not in the vocabulary; it is named, with its position.
        """
        try:
            return np.array([self._codes[character] for character in text], np.int64)
        except KeyError:
            position = next(i for i, character in enumerate(text) if character not in self._codes)
            raise DataError(f"character {text[position]!r} at position {position} is not in the vocabulary") from None

    def decode(self, codes: Iterable[int]) -> str:
        """The text of codes.

        Raises
        ------
        DataError
            If a code is not one of the vocabulary's.
        """
        found = []
        for code in codes:
            if not 0 <= code < len(self):
                raise DataError(f"code {code} is not one of the {len(self)} of this vocabulary")
            found.append(self.characters[code])
        return "".join(found)


def tbptt_chunks(codes: npt.ArrayLike, batch_size: int, length: int) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """Cut a long sequence into chunks for truncated backpropagation through time.

    The sequence is laid out as `batch_size` rows that run in parallel, and each chunk goes
    on where the one before ended: carry the state over, detached.

    Parameters
    ----------
    codes : array_like, shape (n, …)
    batch_size : int
    length : int
        Steps in a chunk; the last one may be shorter.

    Yields
    ------
    inputs, targets : ndarray, shape (length, batch_size, …)
        The targets are the inputs one step later.

    Raises
    ------
    DataError
        If the sequence is too short for one step of each row, or a size is not positive.

    Examples
    --------
    >>> for x, y in tbptt_chunks(range(7), batch_size=2, length=2):
    ...     print(x.T.tolist(), y.T.tolist())
    [[0, 1], [3, 4]] [[1, 2], [4, 5]]
    [[2], [5]] [[3], [6]]
    """
    codes = np.asarray(codes)
    if batch_size < 1 or length < 1:
        raise DataError(f"batch_size and length are at least 1, not {batch_size} and {length}")
    rows = (len(codes) - 1) // batch_size
    if rows < 1:
        raise DataError(f"a sequence of {len(codes)} is too short for {batch_size} rows of one step and its target")

    def laid_out(start: int) -> npt.NDArray[Any]:
        part = codes[start : start + rows * batch_size]
        return part.reshape(batch_size, rows, *codes.shape[1:]).swapaxes(0, 1)

    inputs, targets = laid_out(0), laid_out(1)
    return ((inputs[i : i + length], targets[i : i + length]) for i in range(0, rows, length))
