"""Vocabularies: symbols and their codes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from ..console import counted
from ..errors import DataError

__all__ = ["CharVocabulary", "Vocabulary", "WordVocabulary"]

Codes = npt.NDArray[np.int64]


class Vocabulary:
    """Symbols and their codes 0, 1, 2, …; the base class of character and word vocabularies.

    Parameters
    ----------
    symbols : iterable of str
        The symbols, in the order of their codes.
    specials : sequence of str
        Symbols that stand for no part of a text, such as ``"<pad>"`` and ``"<end>"``. Special
        symbols have the first codes, so :func:`pad` fills with the first special symbol.
    unknown : str, optional
        The special symbol for all symbols that are not in the vocabulary; added to the
        specials if it is not among them.

    Attributes
    ----------
    symbols : tuple of str
        All symbols by code, including the special symbols.
    specials : tuple of str
    unknown : str or None

    Raises
    ------
    DataError
        If there are no symbols, or a symbol occurs twice.

    Examples
    --------
    >>> vocabulary = Vocabulary(["yes", "no"], specials=["<end>"])
    >>> vocabulary.symbols
    ('<end>', 'yes', 'no')
    >>> vocabulary["<end>"], len(vocabulary)
    (0, 3)
    """

    kind = "symbol"
    separator = " "

    def __init__(self, symbols: Iterable[str], specials: Sequence[str] = (), unknown: str | None = None) -> None:
        if unknown is not None and unknown not in specials:
            specials = (*specials, unknown)
        self.specials, self.unknown = tuple(specials), unknown
        self.symbols = (*self.specials, *symbols)
        if len(self.symbols) == len(self.specials):
            raise DataError(f"the text is empty; a vocabulary needs at least one {self.kind}")
        self._codes = {symbol: code for code, symbol in enumerate(self.symbols)}
        if len(self._codes) < len(self.symbols):
            twice = next(symbol for symbol, n in Counter(self.symbols).items() if n > 1)
            raise DataError(f"the vocabulary has {twice!r} twice; give the special symbol a name that is not in the text")

    def __getstate__(self) -> dict[str, Any]:
        return {"symbols": self.symbols, "specials": self.specials, "unknown": self.unknown}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        symbols, specials = state["symbols"], state["specials"]
        if symbols[: len(specials)] != specials or not all(isinstance(symbol, str) for symbol in symbols):
            raise DataError(
                f"the symbols of a vocabulary must be strings that begin with {specials!r:.60}, not {symbols!r:.60}"
            )
        Vocabulary.__init__(self, symbols[len(specials) :], specials, state["unknown"])

    def __len__(self) -> int:
        return len(self.symbols)

    def __iter__(self) -> Iterator[str]:
        return iter(self.symbols)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._codes

    def __getitem__(self, symbol: str) -> int:
        """The code of one symbol, which may be a special one.

        Raises
        ------
        DataError
            If the symbol is not in the vocabulary.
        """
        if symbol not in self._codes:
            raise DataError(f"{symbol!r} is not in the vocabulary; make the vocabulary with it, or with unknown='<unk>'")
        return self._codes[symbol]

    def split(self, text: str) -> Iterable[str]:
        """Split a text into its symbols: the parts that have codes."""
        return text.split()

    def encode(self, text: str | Iterable[str]) -> Codes:
        """The codes of a text, or of symbols that may be special ones: ``["<start>", *text, "<end>"]``.

        Parameters
        ----------
        text : str or iterable of str
            The text, or its symbols.

        Returns
        -------
        ndarray of int64, shape (n,)

        Raises
        ------
        DataError
            If a symbol is not in the vocabulary, and there is no unknown symbol. The message
            names the symbol and its position.
        """
        parts = list(self.split(text) if isinstance(text, str) else text)
        if self.unknown is not None:
            unknown = self._codes[self.unknown]
            return np.array([self._codes.get(part, unknown) for part in parts], np.int64)
        try:
            return np.array([self._codes[part] for part in parts], np.int64)
        except KeyError:
            position = next(i for i, part in enumerate(parts) if part not in self._codes)
            raise DataError(
                f"{self.kind} {parts[position]!r} at position {position} is not in the vocabulary; make the vocabulary "
                "with it, "
                "or with unknown='<unk>'"
            ) from None

    def decode(self, codes: Iterable[int], specials: bool = True) -> str:
        """The text that a sequence of codes stands for.

        Parameters
        ----------
        codes : iterable of int
            The codes of one text.
        specials : bool
            Whether special symbols are written; otherwise they are left out.

        Raises
        ------
        DataError
            If a code is not in the vocabulary, or is not an integer.
        """
        found = []
        for code in codes:
            try:
                n = index(code)
            except TypeError:
                raise DataError(f"a code must be an integer, not {code}; decode the texts of a batch one by one") from None
            if not 0 <= n < len(self):
                raise DataError(f"codes of this vocabulary must be from 0 to {len(self) - 1}, not {n}")
            if specials or n >= len(self.specials):
                found.append(self.symbols[n])
        return self.separator.join(found)


class CharVocabulary(Vocabulary):
    """The characters of a text, and their codes.

    Parameters
    ----------
    text : str
        The text whose characters make the vocabulary, in sorted order.
    specials, unknown
        As in :class:`Vocabulary`.

    Raises
    ------
    DataError
        If the text is empty, or a special symbol is one of its characters.

    Examples
    --------
    >>> vocabulary = CharVocabulary("hello")
    >>> vocabulary.characters
    'ehlo'
    >>> vocabulary.encode("hole")
    array([1, 3, 2, 0])
    >>> vocabulary.decode([1, 0, 2, 2, 3])
    'hello'

    With a start and an end symbol, which sequences need that are generated symbol by symbol:

    >>> vocabulary = CharVocabulary("hello", specials=["<pad>", "<start>", "<end>"])
    >>> vocabulary.encode(["<start>", *"hole", "<end>"])
    array([1, 4, 6, 5, 3, 2])
    >>> vocabulary.decode([1, 4, 6, 5, 3, 2, 0, 0], specials=False)
    'hole'
    """

    kind = "character"
    separator = ""

    def __init__(self, text: str, specials: Sequence[str] = (), unknown: str | None = None) -> None:
        super().__init__(sorted(set(text)), specials, unknown)

    @property
    def characters(self) -> str:
        """The characters by code, without the special symbols."""
        return "".join(self.symbols[len(self.specials) :])

    def split(self, text: str) -> Iterable[str]:
        """The characters of a text."""
        return text


class WordVocabulary(Vocabulary):
    """Words and their codes, the most frequent word first.

    Parameters
    ----------
    words : str or iterable of str
        A text, which is split at white space, or words. Give words that you have split yourself
        if you want a finer split, such as punctuation marks as separate words.
    size : int, optional
        Largest number of words. The most frequent words are kept; special symbols do not count.
    min_count : int
        Words that occur less often are left out.
    specials, unknown
        As in :class:`Vocabulary`.

    Raises
    ------
    DataError
        If no words are left, or a special symbol is one of the words.
    ValueError
        If `size` or `min_count` is less than 1.

    Notes
    -----
    Words that are equally frequent stand in the order in which they first occur. The unknown
    symbol may occur in the text, and does not count as a word.

    Examples
    --------
    >>> vocabulary = WordVocabulary("the cat and the dog and the bird", min_count=2, unknown="<unknown>")
    >>> vocabulary.symbols
    ('<unknown>', 'the', 'and')
    >>> vocabulary.encode("the cow and the cat")
    array([1, 0, 2, 1, 0])
    >>> vocabulary.decode([1, 0])
    'the <unknown>'
    """

    kind = "word"

    def __init__(
        self,
        words: str | Iterable[str],
        size: int | None = None,
        min_count: int = 1,
        specials: Sequence[str] = (),
        unknown: str | None = None,
    ) -> None:
        if (size is not None and size < 1) or min_count < 1:
            raise ValueError(f"size and min_count must be at least 1, not {size} and {min_count}")
        counts = Counter(self.split(words) if isinstance(words, str) else words)
        for word in counts:
            if not isinstance(word, str):
                raise DataError(f"words must be strings, not {word!r} of type {type(word).__name__}")
        del counts[unknown]
        kept = [word for word, n in counts.most_common(size) if n >= min_count]
        if counts and not kept:
            raise DataError(f"none of the {counted(len(counts), 'word')} occurs {min_count} times; give a smaller min_count")
        super().__init__(kept, specials, unknown)
