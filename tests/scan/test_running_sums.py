"""Slots that are running sums are computed for all steps at once, and equal the steps computed one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scan_cases import chunks

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.scan.partition import NARROW

FORMS = {
    "slot + term": lambda c, x, h: h + tr.tanh(x @ c.W),
    "term + slot": lambda c, x, h: tr.tanh(x @ c.W) + h,
    "a constant term": lambda c, x, h: h + c.b,
    "a term that is a slice": lambda c, x, h: h + (x @ tr.concatenate([c.W, c.W], axis=-1))[:, 1:3],
    "two terms": lambda c, x, h: (h + x) + tr.sin(x @ c.W),
}


class Running(nn.Cell):
    """A sum of terms, a step counter, and a delay of the sum; the output reads all of them."""

    def __init__(self, form: str, dtype: str = "float64") -> None:
        super().__init__()
        self.form, self.input_size = FORMS[form], 2
        self.W = nn.Parameter(np.array([[0.5, -0.3], [0.2, 0.7]]), symbol="W", dtype=dtype)
        self.b = nn.Parameter(np.array([0.3, -0.1]), symbol="b", dtype=dtype)
        self.state_shape = ((2,), (1,), (2,))

    def step(self, x, state):
        h, count, before = state
        after = self.form(self, x, h)
        return tr.sin(h) * after + before * count, (after, count + 1.0, after)


class Wide(nn.Cell):
    """A running sum of a given number of values."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.input_size, self.state_shape = size, (size,)

    def step(self, x, h):
        h = h + tr.tanh(x)
        return h, h


def everything(cell, mode, xs, starts, final_state_only=False, lengths=None, **options):
    """Outputs, final states, and gradients to second order."""
    xs = tr.tensor(xs, requires_grad=True)
    starts = [tr.tensor(start, requires_grad=True) for start in starts]
    model = nn.Recurrent(cell, mode=mode, **(options if mode == "scan" else {"reverse": options["reverse"]}))
    ys, state = model(xs, tuple(starts), lengths=lengths, final_state_only=final_state_only)
    found = [end for end in (ys, *state) if end is not None]
    leaves = [xs, *starts, cell.W, cell.b]
    zero = sum((0.0 * leaf).sum() for leaf in leaves)
    first = tr.grad(sum((end * end * end).sum() for end in found) + zero, leaves)
    second = tr.grad(sum((g * g).sum() for g in first) + zero, leaves)
    return [value.data for value in (*found, *first, *second)]


@given(
    form=st.sampled_from(list(FORMS)),
    T=st.integers(1, 5),
    B=st.integers(1, 3),
    reverse=st.booleans(),
    final_state_only=st.booleans(),
    checkpoint=st.sampled_from([None, 1, 2]),
    chunk=st.sampled_from([1, 2, 10**6]),
    with_lengths=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_running_sum_equals_its_steps(form, T, B, reverse, final_state_only, checkpoint, chunk, with_lengths, seed):
    rng = np.random.default_rng(seed)
    xs, starts = rng.normal(size=(T, B, 2)), [rng.normal(size=(B, n)) for n in (2, 1, 2)]
    options = {"reverse": reverse, "checkpoint": checkpoint, "final_state_only": final_state_only}
    lengths = rng.integers(1, T + 1, B) if with_lengths else None
    cell = Running(form)
    with chunks(chunk):
        found = everything(cell, "scan", xs, starts, lengths=lengths, **options)
    expected = everything(cell, "unroll", xs, starts, lengths=lengths, **options)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_each_term_is_added_and_rounded_as_at_a_step(dtype, reverse):
    xs = (np.random.default_rng(0).uniform(-100, 100, (300, 2, 3))).astype(dtype)
    model, steps = (nn.Recurrent(Wide(3), mode=mode, reverse=reverse) for mode in ("scan", "unroll"))
    start = np.ones((2, 3), dtype)
    for found, expected in zip(model(xs, start), steps(xs, start), strict=True):
        assert found.dtype == dtype
        np.testing.assert_array_equal(found.data, expected.data)


@pytest.mark.parametrize("reverse", [False, True])
def test_integers_are_counted(reverse):
    class Counter(nn.Cell):
        input_size = 1

        def initial_state(self, batch_size):
            return tr.tensor(np.full((batch_size, 1), 5, np.int64))

        def step(self, x, n):
            n = n + 2
            return n * x, n

    xs = np.ones((4, 2, 1), np.float32)
    (found, n), (expected, steps) = (nn.Recurrent(Counter(), mode=mode, reverse=reverse)(xs) for mode in ("scan", "unroll"))
    assert n.dtype == steps.dtype == np.int64
    np.testing.assert_array_equal(n.data, 13)
    np.testing.assert_array_equal(found.data, expected.data)


def test_narrow_sums_need_no_loop_in_either_direction():
    plan = nn.Recurrent(Wide(NARROW)).plan(T=10)
    assert plan.forward.counts.inside == plan.backward.counts.inside == 0
    assert str(plan.forward.slots[0]).startswith("additive")
    wide = nn.Recurrent(Wide(NARROW + 1)).plan(T=10)
    assert wide.forward.counts.inside == wide.backward.counts.inside == 1


def test_a_term_that_depends_on_the_sum_stays_in_the_loop():
    class Leaky(Wide):
        def step(self, x, h):
            h = h + (x - h) * 0.1
            return h, h

    assert nn.Recurrent(Leaky(3)).plan(T=10).forward.counts.inside > 0
