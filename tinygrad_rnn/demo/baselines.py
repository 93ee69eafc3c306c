"""Scores of the network and of n-gram models, on the same characters."""

from __future__ import annotations

from typing import NamedTuple

from .corpus import Corpus
from .model import CharModel
from .ngram import NGram, bits_per_character

__all__ = ["LONGEST", "Score", "count_models", "score_all"]

NAMES = ("unigram", "bigram", "trigram", "4-gram", "5-gram", "6-gram")
LONGEST = len(NAMES)
CONTEXT = 1000  # characters of the training part that the network reads before the first held-out character


class Score(NamedTuple):
    """The score of a model in bits per character.

    Attributes
    ----------
    name : str
    bits : float
        Bits per held-out character.
    """

    name: str
    bits: float


def count_models(corpus: Corpus, longest: int = 3) -> list[NGram]:
    """N-gram models of the training part, from unigrams up to the largest n whose n-grams can be numbered with 64 bits."""
    symbols = len(corpus.vocabulary)
    return [NGram(corpus.training, n, symbols) for n in range(1, longest + 1) if symbols**n < 2**63]


def score_all(model: CharModel, counted: list[NGram], corpus: Corpus) -> list[Score]:
    """Bits per character of every model on the whole held-out part; the network comes last.

    Each model predicts every held-out character once, from all characters before it.

    Examples
    --------
    >>> from tinygrad_rnn.demo import split
    >>> corpus = split("to be or not to be, " * 20)
    >>> network = CharModel(corpus.vocabulary, embedding=3, hidden=5)
    >>> [score.name for score in score_all(network, count_models(corpus), corpus)]
    ['unigram', 'bigram', 'trigram', 'this network']
    """
    before = corpus.training[-CONTEXT:]
    scores = [
        Score(name, bits_per_character(counts.score(corpus.held_out, before)))
        for name, counts in zip(NAMES, counted, strict=False)
    ]
    return [*scores, Score("this network", bits_per_character(model.score(corpus.held_out, before)))]
