"""Optimisers against their papers' formulas, clipping, chunks and vocabularies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim
from tinygrad_rnn.errors import DataError
from tinygrad_rnn.sequences import CharVocabulary, tbptt_chunks

gradients = st.lists(st.lists(st.floats(-2, 2), min_size=2, max_size=2), min_size=1, max_size=6)


def run(optimizer, parameter, gs):
    for g in gs:
        parameter.grad = np.array(g)
        optimizer.step()
    return parameter.data


@given(gradients, st.sampled_from([0.0, 0.9]), st.sampled_from([0.0, 0.1]))
def test_sgd_with_momentum(gs, mu, decay):
    p = nn.Parameter(np.array([1.0, -1.0]))
    found = run(optim.SGD([p], lr=0.1, momentum=mu, weight_decay=decay), p, gs)
    theta, v = np.array([1.0, -1.0]), np.zeros(2)
    for g in gs:
        v = mu * v + np.array(g) + decay * theta
        theta = theta - 0.1 * v
    np.testing.assert_allclose(found, theta, atol=1e-12)


@given(gradients)
def test_adam(gs):
    p = nn.Parameter(np.array([1.0, -1.0]))
    found = run(optim.Adam([p], lr=0.1, betas=(0.8, 0.95)), p, gs)
    theta, m, v = np.array([1.0, -1.0]), np.zeros(2), np.zeros(2)
    for n, g in enumerate(map(np.array, gs), 1):
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        theta = theta - 0.1 * (m / (1 - 0.8**n)) / (np.sqrt(v / (1 - 0.95**n)) + 1e-8)
    np.testing.assert_allclose(found, theta, atol=1e-12)


def test_a_step_leaves_old_graphs_right_and_skips_what_has_no_gradient():
    p, q = nn.Parameter(np.array([3.0])), nn.Parameter(np.array([5.0]))
    loss = (p * p).sum()
    loss.backward()
    optimizer = optim.SGD([p, q], lr=0.5)
    optimizer.step()
    assert p.data == [0.0] and q.data == [5.0]
    optimizer.zero_grad()
    loss.backward()
    assert p.grad.data == [6.0]  # of the value that the loss was computed with


def test_optimisers_refuse_nonsense():
    with pytest.raises(ValueError, match="parameters"):
        optim.Adam([])
    with pytest.raises(ValueError, match="lr is at least 0"):
        optim.SGD([nn.Parameter((1,))], lr=-1)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=5), st.floats(0.1, 20))
def test_clipping_by_norm(values, limit):
    p = nn.Parameter(np.zeros(len(values)), dtype="float64")
    p.grad = np.array(values)
    norm = optim.clip_grad_norm([p], limit)
    assert norm == pytest.approx(np.linalg.norm(values))
    expected = np.array(values) * min(1, limit / norm if norm else 1)
    np.testing.assert_allclose(p.grad.data, expected, rtol=1e-12)


def test_a_small_network_learns():
    tr.seed(0)
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(6, 32, 1)).astype("float32")
    ys = np.cumsum(xs, axis=0)
    model = nn.Sequential(nn.Recurrent(nn.RNNCell(1, 16)), nn.Linear(16, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(150):
        loss = nn.mse(model(xs), ys)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]


# -- sequences -----------------------------------------------------------------------------


@given(st.text(min_size=1))
def test_a_vocabulary_encodes_and_decodes(text):
    vocabulary = CharVocabulary(text)
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert len(vocabulary) == len(set(text))


def test_a_vocabulary_names_what_it_does_not_know():
    vocabulary = CharVocabulary("abc")
    with pytest.raises(DataError, match="'z' at position 2"):
        vocabulary.encode("abz")
    with pytest.raises(DataError, match="code 3"):
        vocabulary.decode([0, 3])
    with pytest.raises(DataError, match="empty"):
        CharVocabulary("")


@given(st.integers(2, 60), st.integers(1, 5), st.integers(1, 7))
def test_chunks_go_on_where_the_last_one_ended(n, batch, length):
    codes = np.arange(n)
    if (n - 1) // batch < 1:
        with pytest.raises(DataError, match="too short"):
            tbptt_chunks(codes, batch, length)
        return
    chunks = list(tbptt_chunks(codes, batch, length))
    inputs, targets = (np.concatenate([chunk[i] for chunk in chunks]) for i in (0, 1))
    rows = (n - 1) // batch
    assert inputs.shape == (rows, batch)
    np.testing.assert_array_equal(inputs.T.ravel(), codes[: rows * batch])
    np.testing.assert_array_equal(targets, inputs + 1)
    assert all(len(x) <= length for x, _ in chunks)


def test_truncated_bptt_equals_the_gradient_of_each_chunk_alone():
    cell = nn.RNNCell(1, 3, dtype="float64")
    xs = np.random.default_rng(0).normal(size=(8, 2, 1))
    model, h = nn.Recurrent(cell), None
    total = np.zeros((3, 3))
    for start in (0, 4):
        outputs, h = model(xs[start : start + 4], None if h is None else h.detach())
        outputs.sum().backward()
    _, last = nn.Recurrent(cell)(xs)
    np.testing.assert_allclose(h.data, last.data)
    truncated, cell.weight_hh.grad = cell.weight_hh.grad, None
    first, h4 = model(xs[:4])
    second, _ = model(xs[4:], tr.tensor(h4.data))
    for part in (first, second):
        (g,) = tr.grad(part.sum(), [cell.weight_hh])
        total += g.data
    np.testing.assert_allclose(truncated.data, total)
