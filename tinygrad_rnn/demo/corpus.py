"""The demo's text: its source, and its split into a training and a held-out part."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..console import counted
from ..errors import DataError
from ..files import read_text
from ..sequences import CharVocabulary

__all__ = ["UNKNOWN", "Corpus", "prose", "read_text", "split"]

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""Stands for every character that is too rare in the training part to learn anything about."""

RARE = 2  # characters that occur less often than this are unknown
HELD_OUT = 10  # one character in so many is held out
MOST_HELD_OUT = 50_000  # scoring runs through it one character at a time
MOST = 5_000_000  # characters of a text: more than can be read in the time there is
FEWEST = 100  # characters, below which there is nothing to split

Codes = npt.NDArray[np.int64]


class Corpus(NamedTuple):
    """A text as codes, in two parts.

    Attributes
    ----------
    vocabulary : CharVocabulary
        Made from the training part alone, with `UNKNOWN` among its characters.
    training, held_out : ndarray of int
        The text's beginning and its end.
    unknown : int
        How many characters of the held-out part are unknown.
    source : str
        Where the text is from, in words.
    """

    vocabulary: CharVocabulary
    training: Codes
    held_out: Codes
    unknown: int
    source: str


def split(text: str, source: str = "a text") -> Corpus:
    """Hold out the end of a text: its last tenth, though never more than 50,000 characters.

    Of a very long text the first five million characters are taken.

    The vocabulary is that of the training part. Characters seen once there, and those of
    the held-out part never seen, all become one symbol, `UNKNOWN`, which every model has
    to predict like any other.

    Parameters
    ----------
    text : str
    source : str
        Where it is from, for the report.

    Raises
    ------
    DataError
        If the text is empty, or so short that there is nothing to hold out.

    Examples
    --------
    >>> corpus = split("to be or not to be, " * 20)
    >>> len(corpus.training), len(corpus.held_out)
    (360, 40)
    >>> corpus.vocabulary.decode(corpus.held_out[:6])
    'to be '
    """
    if not text.strip():
        raise DataError(f"{source} is empty: there is nothing to learn from")
    if len(text) < FEWEST:
        raise DataError(
            f"{source} has {counted(len(text), 'character')}: "
            f"too few to learn from one part and hold out another; give {FEWEST} at least"
        )
    if len(text) > MOST:
        text, source = text[:MOST], f"the first {MOST:,} characters of {source}"
    border = len(text) - min(len(text) // HELD_OUT, MOST_HELD_OUT)
    counts = Counter(text[:border])
    vocabulary = CharVocabulary("".join(c for c, n in counts.items() if n >= RARE) + UNKNOWN)
    known = "".join(c if c in vocabulary else UNKNOWN for c in text)
    codes = vocabulary.encode(known)
    return Corpus(vocabulary, codes[:border], codes[border:], known[border:].count(UNKNOWN), source)


def prose(topics: Mapping[str, str] | None = None) -> str:
    """The English sentences of Python's own help texts, which every installation has.

    Tables, code, grammar and headings are left out, and so is every paragraph that was
    there before, since many topics contain others whole: a model is not to be tested on
    sentences that it has learnt.

    Parameters
    ----------
    topics : Mapping of str to str, optional
        Those of ``pydoc_data.topics`` if not given.

    Examples
    --------
    >>> prose({"b": "Twice told paragraphs are kept once only,\\nand their lines are joined.\\n\\n   x = code(y)",
    ...        "a": "Topics are taken in the order of their names, so that this one comes first."})
    'Topics are taken in the order of their names, so that this one comes first.\\nTwice told ... lines are joined.\\n'
    """
    if topics is None:
        from pydoc_data.topics import topics as all_topics

        topics = all_topics
    paragraphs = (p for name in sorted(topics) for p in _paragraphs(topics[name]))
    found = dict.fromkeys(filter(_is_prose, paragraphs))
    return "".join(f"{p}\n" for p in found)


def _paragraphs(text: str) -> Iterator[str]:
    return (" ".join(block.split()) for block in re.split(r"\n[ \t]*\n", text))


_plain_word = re.compile(r"[(\"'“‘]?[A-Za-z][a-z'’-]*[\"'”’)]?[.,;:?!)]*")


def _is_prose(paragraph: str) -> bool:
    """Whether a paragraph ends like a sentence, and four in five of its words are plain words."""
    words = paragraph.split()
    plain = sum(_plain_word.fullmatch(word) is not None for word in words)
    return len(paragraph) >= 60 and paragraph[-1] in '.:;?!)"”' and plain >= 0.8 * len(words)
