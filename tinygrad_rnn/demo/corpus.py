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
"""Symbol for all characters that are too rare in the training part to be learnt."""

RARE = 2  # characters with fewer occurrences than this are unknown
HELD_OUT = 10  # one of this many characters is held out
MOST_HELD_OUT = 50_000  # scoring runs through it one character at a time
MOST = 5_000_000  # characters of a text; more than can be read in the time of training
FEWEST = 100  # characters; a shorter text cannot be split

Codes = npt.NDArray[np.int64]


class Corpus(NamedTuple):
    """A text as codes, in two parts.

    Attributes
    ----------
    vocabulary : CharVocabulary
        The characters of the training part, and `UNKNOWN`.
    training, held_out : ndarray of int
        The text's beginning and its end.
    unknown : int
        Number of unknown characters in the held-out part.
    source : str
        The source of the text, in words.
    """

    vocabulary: CharVocabulary
    training: Codes
    held_out: Codes
    unknown: int
    source: str


def split(text: str, source: str = "a text") -> Corpus:
    """Hold out the end of a text: its last tenth, but not more than 50,000 characters.

    Only the first five million characters of a very long text are used.

    The vocabulary has the characters of the training part. Two kinds of characters become one
    symbol, `UNKNOWN`: characters that occur once in the training part, and characters that occur
    only in the held-out part. Every model has to predict this symbol like any other symbol.

    Parameters
    ----------
    text : str
    source : str
        The source of the text, for the report.

    Raises
    ------
    DataError
        If the text is empty, or too short to be split.

    Examples
    --------
    >>> corpus = split("to be or not to be, " * 20)
    >>> len(corpus.training), len(corpus.held_out)
    (360, 40)
    >>> corpus.vocabulary.decode(corpus.held_out[:6])
    'to be '
    """
    if not text.strip():
        raise DataError(f"{source} is empty; give a text of at least {FEWEST} characters")
    if len(text) < FEWEST:
        raise DataError(
            f"{source} has only {counted(len(text), 'character')}, too few for a part to learn from and a part to test with; "
            f"give at least {FEWEST}"
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

    Tables, code, grammar and headings are left out. Repeated paragraphs are also left out, because
    many topics contain other topics, and a model must not be tested on sentences that it has
    learnt.

    Parameters
    ----------
    topics : Mapping of str to str, optional
        The topics; if not given, the topics of ``pydoc_data.topics``.

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
