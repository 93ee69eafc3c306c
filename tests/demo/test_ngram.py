"""The n-gram models are compared with naive counting and with the rules of probability."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.demo import NGram, bits_per_character

texts = st.integers(1, 5).flatmap(
    lambda symbols: st.tuples(st.just(symbols), st.lists(st.integers(0, symbols - 1), max_size=60))
)
orders = st.integers(1, 4)


def naive(
    codes: Sequence[int], n: int, symbols: int, weights: dict[int, Sequence[float]], context: Sequence[int], c: int
) -> float:
    """P(c | context), computed with dictionaries; `weights` has λ by n and by the logarithm of the context's count."""
    if n == 0:
        return 1 / symbols
    shorter = naive(codes, n - 1, symbols, weights, context, c)
    if len(context) < n - 1:
        return shorter
    key = tuple(context[len(context) - n + 1 :])
    grams = Counter(tuple(codes[i : i + n]) for i in range(len(codes) - n + 1))
    seen = sum(grams[(*key, d)] for d in range(symbols))
    bucket = min(seen.bit_length(), len(weights[n]) - 1)
    weight = weights[n][bucket]
    return weight * (grams[(*key, c)] / seen if seen else 0.0) + (1 - weight) * shorter


def weights_of(model: NGram) -> dict[int, Sequence[float]]:
    found: dict[int, Sequence[float]] = {}
    current: NGram | None = model
    while current is not None:
        found[current.n] = current.weights.tolist()
        current = current.shorter
    return found


@given(texts, orders, st.lists(st.integers(0, 4), max_size=6))
def test_probabilities_sum_to_one_after_every_context(text: tuple[int, list[int]], n: int, context: list[int]) -> None:
    symbols, codes = text
    p = NGram(codes, n, symbols).probabilities([c % symbols for c in context])
    assert p.shape == (symbols,)
    assert (p >= 0).all()
    assert p.sum() == pytest.approx(1)


@given(texts, orders, st.lists(st.integers(0, 4), max_size=6))
def test_equals_a_naive_count(text: tuple[int, list[int]], n: int, context: list[int]) -> None:
    symbols, codes = text
    context = [c % symbols for c in context]
    model = NGram(codes, n, symbols)
    expected = [naive(codes, n, symbols, weights_of(model), context, c) for c in range(symbols)]
    np.testing.assert_allclose(model.probabilities(context), expected, rtol=1e-12)


@given(texts, orders, st.lists(st.integers(0, 4), min_size=1, max_size=20), st.lists(st.integers(0, 4), max_size=5))
def test_scores_are_the_probabilities_one_after_another(
    text: tuple[int, list[int]], n: int, held_out: list[int], before: list[int]
) -> None:
    symbols, codes = text
    held_out, before = [c % symbols for c in held_out], [c % symbols for c in before]
    model = NGram(codes, n, symbols)
    everything = before + held_out
    expected = [model.probabilities(everything[: len(before) + i])[c] for i, c in enumerate(held_out)]
    np.testing.assert_allclose(model.score(held_out, before), expected, rtol=1e-12)


@given(texts, orders)
def test_weights_mix_and_never_extrapolate(text: tuple[int, list[int]], n: int) -> None:
    symbols, codes = text
    for weights in weights_of(NGram(codes, n, symbols)).values():
        assert all(0 <= w < 1 for w in weights)
        assert weights[0] == 0  # no count is known after an unseen context


@given(texts, orders, st.lists(st.integers(0, 4), max_size=6))
def test_no_symbol_is_impossible(text: tuple[int, list[int]], n: int, context: list[int]) -> None:
    """No symbol has probability 0, not even an unseen one: a single zero would make the bits per character infinite."""
    symbols, codes = text
    assert (NGram(codes, n, symbols).probabilities([c % symbols for c in context]) > 0).all()


def test_weights_maximise_the_likelihood_of_the_last_fifth() -> None:
    rng = np.random.default_rng(0)
    codes = rng.choice(4, size=500, p=[0.6, 0.2, 0.15, 0.05])
    model = NGram(codes, 1, 4)
    counts = np.bincount(codes[:400], minlength=4)
    bucket = int(counts.sum()).bit_length()

    def likelihood(weight: float) -> float:
        return float(
            np.log(weight * counts / counts.sum() + (1 - weight) / 4)[codes[400:]].sum() + np.log(weight) + np.log(1 - weight)
        )

    grid = np.linspace(0.001, 0.999, 999)
    best = grid[np.argmax([likelihood(w) for w in grid])]
    assert model.weights[bucket] == pytest.approx(best, abs=0.005)


def test_longer_contexts_predict_a_cycle_better() -> None:
    codes = np.array([0, 1, 0, 2] * 100)
    bits = [bits_per_character(NGram(codes, n, 3).score(codes[:100], codes)) for n in (1, 2, 3)]
    assert bits[0] == pytest.approx(1.5, abs=0.01)
    assert bits[1] == pytest.approx(0.5, abs=0.05)
    assert bits[2] == pytest.approx(0.0, abs=0.1)


def test_refuses_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="at least"):
        NGram([0], 0, 2)
    with pytest.raises(ValueError, match="too many"):
        NGram([0], 8, 100_000)
