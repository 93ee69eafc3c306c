"""Likelihoods: sums of conditional log-probabilities equal an enumeration of all sequences over a small alphabet."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_decoder import configurations, context_of, decoder, everything, log_softmax

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import DtypeError, ShapeError


def every_sequence(n, T):
    """All sequences of T symbols, shape (T, n**T)."""
    return np.array(list(itertools.product(range(n), repeat=T)), int).reshape(-1, T).T


@given(st.integers(0, 4), st.integers(1, 3), st.integers(1, 4), st.integers(0, 99))
def test_it_is_the_sum_of_conditionals(T, B, n, seed):
    rng = np.random.default_rng(seed)
    logits, ys, lengths = rng.normal(size=(T, B, n)), rng.integers(0, n, (T, B)), rng.integers(0, T + 1, B)
    log_p = log_softmax(logits)
    found, padded = nn.log_likelihood(logits, ys), nn.log_likelihood(logits, ys, lengths)
    assert found.shape == padded.shape == (B,)
    for i in range(B):
        conditionals = [log_p[t, i, ys[t, i]] for t in range(T)]
        np.testing.assert_allclose(found.data[i], sum(conditionals), atol=1e-12)
        np.testing.assert_allclose(padded.data[i], sum(conditionals[: lengths[i]]), atol=1e-12)


def tagger(n, seed):
    """N to N without feedback: logits of y_t from x_1, …, x_t."""
    tr.seed(seed)
    model = nn.Sequential(nn.GRU(2, 4, dtype="float64"), nn.Linear(4, n, dtype="float64"))
    for parameter in model.parameters():
        parameter.data = parameter.data * 3
    return lambda xs, ys: model(xs)


def feeding_back(n, seed):
    """N to N with feedback: logits of y_t from x_1, …, x_t and y_1, …, y_{t-1}."""
    cell = nn.Recurrent(decoder(symbols=n, end=None, seed=seed, scale=1.5).cell)
    return lambda xs, ys: cell(xs, force={"y": ys})[0]


def joint(model, n, T, seed):
    """p(y_1, …, y_T | xs) of every sequence, shape (n,) * T, for an input."""
    ys = every_sequence(n, T)
    xs = np.repeat(np.random.default_rng(seed).normal(size=(T, 1, 2)), n**T, axis=1)
    return np.exp(nn.log_likelihood(model(xs, ys), ys).data).reshape((n,) * T)


@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 99), st.sampled_from([tagger, feeding_back]))
def test_the_probabilities_of_all_sequences_sum_to_one(n, T, seed, make):
    assert np.isclose(joint(make(n, seed), n, T, seed).sum(), 1, atol=1e-9)


def product_of_marginals(p):
    found = np.ones(())
    for t in range(p.ndim):
        found = np.multiply.outer(found, p.sum(axis=tuple(k for k in range(p.ndim) if k != t)))
    return found


@given(st.integers(2, 3), st.integers(2, 4), st.integers(0, 99))
def test_without_feedback_outputs_are_independent_given_the_input_and_with_it_they_are_not(n, T, seed):
    p = joint(tagger(n, seed), n, T, seed)
    np.testing.assert_allclose(p, product_of_marginals(p), atol=1e-12)
    p = joint(feeding_back(n, seed), n, T, seed)
    assert abs(p - product_of_marginals(p)).max() > 1e-6  # a million times the rounding error above


@given(configurations, st.integers(1, 4))
def test_with_an_end_the_ended_and_the_unfinished_sum_to_one(configuration, T):
    made = decoder(scale=1.5, **configuration)
    found = everything(made, context_of(made, 1), T)
    assert np.isclose(sum(np.exp(log_p) for _, log_p in found), 1, atol=1e-9)
    ended = sum(np.exp(log_p) for ys, log_p in found if ys[-1] == made.end)
    assert 0 < ended < 1


@given(st.integers(2, 4), st.integers(1, 3), st.integers(0, 99))
def test_a_conditional_is_a_ratio_of_joints(n, T, seed):
    """The chain rule in reverse: p(y_t | y_1, …, y_{t-1}) = p(y_1, …, y_t) / p(y_1, …, y_{t-1})."""
    made = decoder(symbols=n, end=None, seed=seed)
    ys = every_sequence(n, T)
    conditional = np.exp(np.take_along_axis(log_softmax(made(ys).data), ys[..., None], -1))[-1, :, 0]
    ratio = np.exp(made.log_likelihood(ys).data - made.log_likelihood(ys[:-1]).data)
    np.testing.assert_allclose(conditional, ratio, atol=1e-9)


def test_bits_per_symbol():
    """A source of n equally likely symbols has log2 n bits per symbol."""
    logits, ys, lengths = np.zeros((5, 2, 8)), np.zeros((5, 2), int), np.array([5, 3])
    bits = -nn.log_likelihood(logits, ys, lengths).data / np.log(2) / lengths
    np.testing.assert_allclose(bits, [3, 3])


def test_what_does_not_fit_is_named():
    with pytest.raises(ShapeError, match="classes"):
        nn.log_likelihood(np.zeros((3, 2, 4)), np.zeros((2, 2), int))
    with pytest.raises(ShapeError, match="lengths go from 1 to 4"):
        nn.log_likelihood(np.zeros((3, 2, 4)), np.zeros((3, 2), int), [1, 4])
    with pytest.raises(DtypeError, match="lengths must be integers"):
        nn.log_likelihood(np.zeros((3, 2, 4)), np.zeros((3, 2), int), [0.5, 1.0])
