"""N-gram models of text: the baselines that a neural language model has to beat."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["NGram", "bits_per_character"]

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

HELD_IN = 5  # one of this many characters of the training part is used to fit the weights
ROUNDS = 50  # rounds of expectation maximisation; the likelihood has a single maximum, which is reached soon


class NGram:
    """An n-gram model: the probability of a character given the n - 1 characters before it, from counts.

    The counts are smoothed by interpolation with the next shorter model, down to the
    uniform distribution (Jelinek and Mercer, 1980)::

        P(c | context) = λ count(context c) / count(context) + (1 - λ) P(c | shorter context)

    The weight λ depends on the count of the context, in powers of two. The weights are fitted
    by expectation maximisation to the last fifth of the codes, with counts from the first four
    fifths. Afterwards all codes are counted. Each weight stays below 1, so that no symbol has
    probability 0.

    Parameters
    ----------
    codes : array_like of int
        The training part.
    n : int
        1 for a unigram model, 2 for a bigram model, and so on.
    symbols : int
        Size of the vocabulary.

    Attributes
    ----------
    weights : ndarray
        λ for contexts with the counts 0, 1, 2 to 3, 4 to 7, and so on.
    shorter : NGram or None
        The model of n - 1; None for the uniform distribution.

    Examples
    --------
    >>> codes = np.array([0, 1] * 50 + [2])
    >>> bigram = NGram(codes, n=2, symbols=3)
    >>> float(bigram.probabilities(context=[0]).sum().round(9))
    1.0
    >>> int(bigram.probabilities(context=[0]).argmax())
    1

    References
    ----------
    Chen and Goodman, "An empirical study of smoothing techniques for language modeling", 1999.
    """

    def __init__(self, codes: npt.ArrayLike, n: int, symbols: int) -> None:
        if n < 1:
            raise ValueError(f"n must be at least 1, not {n}")
        codes = np.asarray(codes, np.int64)
        self.n, self.symbols = n, symbols
        self.weights: Floats = np.zeros(1)
        self.shorter: NGram | None = None
        border = len(codes) - len(codes) // HELD_IN
        self._count(codes[:border])
        if n > 1:
            self.shorter = NGram(codes[:border], n - 1, symbols)
        self.weights = self._fitted(codes[max(0, border - n + 1) :])
        self._count(codes)
        if n > 1:
            self.shorter = NGram(codes, n - 1, symbols)

    # -- counting --------------------------------------------------------------------------

    def _count(self, codes: Codes) -> None:
        """Count how often each context was followed by each symbol, and by any symbol."""
        grams = _windows(codes, self.n, self.symbols)
        self._grams, self._gram_counts = _counted(grams, self.symbols**self.n)
        self._contexts, self._context_counts = _counted(grams // self.symbols, self.symbols ** (self.n - 1))

    def _frequencies(self, grams: Codes) -> tuple[Floats, Floats]:
        """For each n-gram, count(context c) / count(context), or 0, and count(context)."""
        together = _look_up(self._grams, self._gram_counts, grams)
        before = _look_up(self._contexts, self._context_counts, grams // self.symbols)
        return together / np.maximum(before, 1), before

    def _fitted(self, codes: Codes) -> Floats:
        grams = _windows(codes, self.n, self.symbols)
        own, seen = self._frequencies(grams)
        other = self._of_shorter(grams)
        buckets = _bucket(seen)
        weights = np.full(int(_bucket(self._context_counts.max(initial=0))) + 1, 0.5)
        weights[0] = 0.0  # an unseen context has no counts
        sizes = np.bincount(buckets, minlength=len(weights))
        for _ in range(ROUNDS):
            weight = weights[buckets]
            share = weight * own / (weight * own + (1 - weight) * other)
            # add one success and one failure: no weight becomes 1, so no symbol has probability 0
            weights[1:] = (np.bincount(buckets, share, len(weights))[1:] + 1) / (sizes[1:] + 2)
        return weights

    # -- predicting ------------------------------------------------------------------------

    def _of_shorter(self, grams: Codes) -> Floats:
        if self.shorter is None:
            return np.full(len(grams), 1 / self.symbols)
        return self.shorter._probability(grams % self.symbols ** (self.n - 1))

    def _probability(self, grams: Codes) -> Floats:
        own, seen = self._frequencies(grams)
        # the whole training part has contexts seen more often than any of its first four fifths
        weight = self.weights[np.minimum(_bucket(seen), len(self.weights) - 1)]
        return weight * own + (1 - weight) * self._of_shorter(grams)

    def probabilities(self, context: npt.ArrayLike = ()) -> Floats:
        """The probability of every symbol after a context.

        Parameters
        ----------
        context : array_like of int
            The codes before the symbol; the last n - 1 are used. For fewer codes, a shorter model is used.

        Returns
        -------
        ndarray, shape (symbols,)
        """
        context = np.asarray(context, np.int64)
        if self.shorter is not None and len(context) < self.n - 1:
            return self.shorter.probabilities(context)
        grams = np.arange(self.symbols)
        for power, code in enumerate(context[::-1][: self.n - 1], start=1):
            grams = grams + code * self.symbols**power
        return self._probability(grams)

    def score(self, codes: npt.ArrayLike, before: npt.ArrayLike = ()) -> Floats:
        """The probability that the model assigns to each code, given the codes before it.

        Parameters
        ----------
        codes : array_like of int, shape (N,)
        before : array_like of int
            The codes before the first of `codes`.

        Returns
        -------
        ndarray, shape (N,)
        """
        codes, before = np.asarray(codes, np.int64), np.asarray(before, np.int64)
        context = before[max(0, len(before) - self.n + 1) :]
        found = self._probability(_windows(np.concatenate([context, codes]), self.n, self.symbols))
        missing = len(codes) - len(found)  # the context of the first codes is too short
        if missing and self.shorter is not None:
            found = np.concatenate([self.shorter.score(codes[:missing], context), found])
        return found


def bits_per_character(probabilities: npt.ArrayLike) -> float:
    """The mean of -log2 p over a text, for the probabilities p that a model assigned to the characters.

    Examples
    --------
    >>> bits_per_character([0.5, 0.125])
    2.0
    """
    return float(-np.log2(np.asarray(probabilities, float)).mean())


def _windows(codes: Codes, n: int, symbols: int) -> Codes:
    """Each run of n codes as one integer, in base `symbols`."""
    if symbols**n >= 2**63:
        raise ValueError(f"{symbols} symbols are too many for n={n}; give a smaller n")
    grams = np.zeros(max(0, len(codes) - n + 1), np.int64)
    for i in range(n):
        grams = grams * symbols + codes[i : i + len(grams)]
    return grams


def _counted(grams: Codes, limit: int) -> tuple[Codes, Codes]:
    """The distinct n-grams in order, and how often each occurs."""
    if limit > max(1_000_000, len(grams)):
        return np.unique(grams, return_counts=True)
    counts = np.bincount(grams, minlength=limit)  # no sorting if memory allows a count for each possible n-gram
    occurring = np.flatnonzero(counts)
    return occurring, counts[occurring]


def _look_up(keys: Codes, values: Any, wanted: Codes) -> Floats:
    """The values of the wanted keys; 0 for a missing key."""
    if not len(keys):
        return np.zeros(len(wanted))
    position = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[position] == wanted, values[position], 0).astype(float)


def _bucket(counts: Any) -> Any:
    """The bucket of a count: 0 for 0, 1 for 1, 2 for 2 and 3, 3 for 4 to 7, …"""
    return np.frexp(np.asarray(counts, float))[1]
