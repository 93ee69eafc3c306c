"""Time delays: as a convolution, in pieces, and without a loop over time; invalid delays and histories."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import DataError, ShapeError
from tinygrad_rnn.testing import check_cell, check_gradients
from tinygrad_rnn.tree import flatten

sizes = st.integers(1, 3)
delay_lists = st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True).map(sorted)
seeds = st.integers(0, 99)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def delayed(history, xs, k):
    """x_{t-k} for all t, from the history and the sequence."""
    line = np.concatenate([history, xs])
    return line[len(history) - k : len(line) - k]


# -- time-delay layers ---------------------------------------------------------------------


@given(delay_lists, sizes, sizes, st.integers(1, 3), st.integers(0, 6), seeds)
def test_a_layer_is_its_equation(delays, I, O, B, T, seed):
    layer = nn.TimeDelay(I, O, delays, dtype=float)
    past, xs = normal(seed, 6, B, I), normal(seed + 1, T, B, I)
    W = {k: getattr(layer.cell.weights, f"W_{k}").data for k in delays}
    expected = np.tanh(sum(delayed(past, xs, k) @ W[k].T for k in delays) + layer.cell.weights.b.data)
    outputs, state = layer(xs, layer.history(past))
    assert outputs.shape == expected.shape or T == 0
    np.testing.assert_allclose(outputs.data, expected.reshape(outputs.shape), atol=1e-12)
    for slot, again in zip(state, layer.history(np.concatenate([past, xs])), strict=True):
        np.testing.assert_array_equal(slot.data, again.data)


@given(st.integers(0, 3), st.integers(1, 3), sizes, sizes, sizes, st.integers(1, 8), st.booleans(), seeds)
def test_as_a_causal_convolution(K, dilation, I, O, B, T, bias, seed):
    torch = pytest.importorskip("torch")
    ours = nn.TimeDelay(I, O, K, dilation=dilation, bias=bias, nonlinearity=None, dtype=float)
    theirs = torch.nn.Conv1d(I, O, K + 1, dilation=dilation, bias=bias, dtype=torch.float64)
    kernel = np.stack([getattr(ours.cell.weights, f"W_{k}").data for k in ours.cell.delays[::-1]], axis=-1)
    state = {"weight": kernel} | ({"bias": ours.cell.weights.b.data} if bias else {})
    theirs.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    xs, weighting = normal(seed, T, B, I), normal(seed + 1, T, B, O)

    x = tr.tensor(xs, requires_grad=True)
    outputs, _ = ours(x)
    (outputs * weighting).sum().backward()
    x_theirs = torch.tensor(xs, requires_grad=True)
    padded = torch.nn.functional.pad(x_theirs.permute(1, 2, 0), (dilation * K, 0))
    expected = theirs(padded).permute(2, 0, 1)
    (expected * torch.tensor(weighting)).sum().backward()

    np.testing.assert_allclose(outputs.data, expected.numpy(force=True), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(x.grad.data, x_theirs.grad.numpy(), rtol=1e-9, atol=1e-11)
    for place, k in enumerate(ours.cell.delays[::-1]):
        found = getattr(ours.cell.weights, f"W_{k}").grad.data
        np.testing.assert_allclose(found, theirs.weight.grad.numpy()[..., place], rtol=1e-9, atol=1e-11)
    if bias:
        np.testing.assert_allclose(ours.cell.weights.b.grad.data, theirs.bias.grad.numpy(), rtol=1e-9, atol=1e-11)


@given(delay_lists, st.sampled_from(["tanh", "sigmoid", None]), st.lists(st.integers(0, 5), min_size=1, max_size=3), seeds)
def test_scan_is_unroll(delays, nonlinearity, lengths, seed):
    layer = nn.TimeDelay(2, 3, delays, nonlinearity=nonlinearity, dtype=float)
    twin = nn.Recurrent(layer.cell, mode="unroll")
    xs, past = normal(seed, 5, len(lengths), 2), normal(seed + 1, 6, len(lengths), 2)
    results = []
    for run in (layer, twin):
        x = tr.tensor(xs, requires_grad=True)
        outputs, state = run(x, layer.history(past), lengths=lengths)
        total = sum(((part * part).sum() for part in flatten(state)), (tr.tanh(outputs) * outputs).sum())
        results.append([outputs, *flatten(state), *tr.grad(total, [x, *layer.parameters()])])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one.data, other.data, atol=1e-12)


@given(delay_lists, st.integers(0, 7), seeds)
def test_pieces_are_as_the_whole(delays, cut, seed):
    layer = nn.TimeDelay(2, 3, delays, dtype=float)
    xs = normal(seed, 7, 2, 2)
    whole, end = layer(xs)
    first, state = layer(xs[:cut])
    second, last = layer(xs[cut:], state)
    pieces = [part.data for part in (first, second) if part.shape[0]]
    np.testing.assert_allclose(np.concatenate(pieces), whole.data, atol=1e-12)
    for one, other in zip(last, end, strict=True):
        np.testing.assert_array_equal(one.data, other.data)


def test_a_stack_sees_the_sum_of_its_delays():
    tdnn = nn.Sequential(nn.TimeDelay(2, 3, 2, dtype=float), nn.TimeDelay(3, 1, [0, 4], dtype=float))
    xs = tr.tensor(normal(0, 12, 1, 2), requires_grad=True)
    tdnn(xs)[9].sum().backward()
    seen = abs(xs.grad.data).sum(axis=(1, 2)) > 0
    assert np.flatnonzero(seen).tolist() == [3, 4, 5, 7, 8, 9]


def test_gradients_of_the_cell():
    report = check_cell(nn.TimeDelayCell, order=2, examples=settings().max_examples // 2)
    assert report.runs and not report.unreached
    without = check_cell(lambda: nn.TimeDelayCell(2, 1, [0, 3], bias=False, nonlinearity=None), examples=5)
    assert without.parameters == ["W_0", "W_3"]


def test_without_any_delay_it_is_a_layer_on_each_step():
    layer = nn.TimeDelay(2, 3, delays=[0], dtype=float)
    xs = normal(0, 4, 2, 2)
    outputs, state = layer(xs)
    assert state == ()
    np.testing.assert_allclose(outputs.data, np.tanh(xs @ layer.cell.weights.W_0.data.T + layer.cell.weights.b.data))
    check_gradients(lambda xs: layer(xs)[0], xs, wrt=[0, *layer.parameters()])


@pytest.mark.parametrize("delays", [[0], 2, [0, 3, 6], [1, 2]])
def test_there_is_no_loop(delays):
    plan = nn.TimeDelay(4, 5, delays).plan(T=100, B=2)
    for one in (plan.forward, plan.backward):
        assert one.counts.inside == one.counts.bytes_inside == one.counts.products == 0
        assert {slot.kind for slot in one.slots} <= {"delay", "unused"}
    assert [slot.steps for slot in plan.forward.slots] == list(range(1, max(np.atleast_1d(delays)) + 1))


@pytest.mark.parametrize(("T", "B"), [(0, 2), (3, 0), (0, 0)])
def test_nothing_is_a_sequence_too(T, B):
    layer = nn.TimeDelay(2, 3)
    outputs, state = layer(np.zeros((T, B, 2), "float32"))
    assert outputs.size == 0 and len(outputs) == T
    assert state.x_2.shape == (B, 2)


def test_the_drawing_is_a_chain_of_delays():
    cell = nn.TimeDelayCell(2, 3, [0, 3, 6])
    source = cell.draw().source
    assert source.count("z<SUP>−1</SUP>") == 6
    for symbol in ("W₀", "W₃", "W₆"):
        assert symbol in source
    assert r"\tanh\left(W_{0} x_t + W_{3} x_{t-3} + W_{6} x_{t-6} + b\right)" in cell.equations()


@pytest.mark.parametrize("make", [nn.TimeDelay, nn.AR, nn.NARX])
def test_copies(make):
    layer = make(2, 1)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert list(twin.state_dict()) == list(layer.state_dict())
        assert type(twin.cell.state_shape) is type(layer.cell.state_shape)
        assert twin.plan(5).forward.slots == layer.plan(5).forward.slots


# -- invalid delays and histories ----------------------------------------------------------

MAKERS = {
    "delays": lambda delays: nn.TimeDelay(2, 3, delays),
    "input_delays": lambda delays: nn.NARX(2, 3, delays, 2),
    "feedback_delays": lambda delays: nn.NARX(2, 3, 2, delays),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(
    ("delays", "message"),
    [
        ([1, -2], "at least .*not -2: a negative delay"),
        (-1, "at least .*not -1: a negative delay"),
        ([1, 2, 1], r"\[1, 2, 1\] repeats 1"),
        ([3, 1], r"from the smallest delay to the largest, \[1, 3\], not \[3, 1\]"),
        ([1, 2.0], r"whole numbers of steps.* not \[1, 2.0\]"),
        (1.5, "whole numbers of steps"),
        (True, "whole numbers of steps"),
        ("12", "whole numbers of steps"),
        ([], "is empty; give at least one delay"),
    ],
)
def test_delays_that_cannot_be(name, delays, message):
    with pytest.raises(ValueError, match=f"^{name} .*{message}"):
        MAKERS[name](delays)


@pytest.mark.parametrize("delays", [0, [0, 1], [0]])
def test_feedback_without_a_delay_is_an_algebraic_loop(delays):
    with pytest.raises(ValueError, match=r"must be at least 1, not 0: .* y_t would be computed from itself, an algebraic loop"):
        nn.NARX(1, 1, 2, delays)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.TimeDelay(2, 3, nonlinearity="sine"), "nonlinearity must be 'tanh', 'relu' or 'sigmoid', not 'sine'"),
        (lambda: nn.TimeDelay(2, 3, dilation=0), "dilation must be a whole number, at least 1, not 0"),
        (lambda: nn.TimeDelay(2, 3, dilation=1.5), "dilation"),
        (lambda: nn.AR([1, 2]), r"order must be a whole number, at least 1, not \[1, 2\]"),
        (lambda: nn.AR(0), "order"),
        (lambda: nn.AR(1.0), "order"),
    ],
)
def test_options_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_history_that_is_too_short():
    with pytest.raises(DataError, match="the history of x has 5 steps, but the longest delay is 6 steps; give at least 6"):
        nn.TimeDelay(2, 3, 3, dilation=2).history(np.zeros((5, 1, 2)))
    with pytest.raises(ShapeError, match=r"the history of x has shape \(6, 2\), but must be \(time, batch, features\) with 2"):
        nn.TimeDelay(2, 3, 3).history(np.zeros((6, 2)))
    with pytest.raises(ShapeError, match=r"feature; for a single series, give ys\[:, None, None\]"):
        nn.AR(2).fit(np.zeros(9))
    with pytest.raises(DataError, match="the history of y has 1 step, but the longest delay is 2 steps; give at least 2"):
        nn.AR(2).history(np.zeros((1, 1, 1)))
