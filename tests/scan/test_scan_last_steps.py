"""Missing cotangents: at the last steps nothing may read a slot's next value, whose derivative may even be infinite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn


class OneSlot(nn.Cell):
    """Only the outputs of the last step are read; the square root of the state has an infinite derivative at 0."""

    state_shape = ((2,),)

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(np.array([0.8, 1.1]), symbol="w", dtype=np.float64)

    def step(self, x, state):
        (h,) = state
        return tr.square(h * self.w * x), (tr.sqrt(h * self.w * x),)


class Chain(OneSlot):
    """A value is read three steps later, so the values of the last three steps are not read."""

    state_shape = ((2,), (2,), (2,))

    def step(self, x, state):
        a, b, c = state
        return c * self.w, (tr.sqrt(x * self.w + 0 * c), a, b)


class Swapped(OneSlot):
    """If one slot is read at the end, the slots have cotangents by turns."""

    state_shape = ((2,), (2,))

    def step(self, x, state):
        a, b = state
        return x * 2.0, (tr.sqrt(b * self.w * x), tr.sqrt(a * self.w * x))


class Beside(OneSlot):
    """A cycle that is read, and an independent cycle."""

    state_shape = ((2,), (2,))

    def step(self, x, state):
        a, b = state
        return tr.tanh(a * self.w), (tr.tanh(a + x), tr.sqrt(b * x))


READ = {
    "outputs": lambda outputs, state: (outputs * outputs).sum(),
    "first slot": lambda outputs, state: (state[0] ** 3).sum(),
    "last slot and outputs": lambda outputs, state: (state[-1] ** 2).sum() + (outputs**3).sum(),
    "outputs but the last": lambda outputs, state: outputs[:-1].sum(),
}


class Gradients:
    """Gradients of one cell, run in several ways; the trace of each way is used again."""

    def __init__(self, cell: type[nn.Cell]) -> None:
        self.cell: Any = cell()
        self.layers: dict[Any, nn.Recurrent] = {}

    def __call__(self, xs: Any, read: Any, order: int, lengths: Any = None, **options: Any) -> list[Any]:
        """Gradients of order 0, by ``.backward()``, which records nothing, and of order 1 and 2, by ``tr.grad``."""
        layer = self.layers.setdefault(tuple(options.items()), nn.Recurrent(self.cell, **options))
        x = tr.tensor(xs, requires_grad=True)
        start = tuple(tr.tensor(np.full((xs.shape[1], 2), 0.5), requires_grad=True) for _ in self.cell.state_shape)
        wanted = [x, self.cell.w, *start]
        loss = read(*layer(x, start, lengths=lengths)) + sum((0.0 * p).sum() for p in wanted)
        if order == 0:
            self.cell.w.grad = None
            loss.backward()
            return [p.grad.data for p in wanted]
        found = tr.grad(loss, wanted)
        if order == 2:
            found = tr.grad(sum((g * g * np.arange(1.0, g.size + 1).reshape(g.shape)).sum() for g in found), wanted)
        return [g.data for g in found]


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("cell", [OneSlot, Chain, Swapped, Beside], ids=lambda cell: cell.__name__)
def test_an_infinite_derivative_of_what_nothing_reads_is_not_met(cell, read):
    met, gradients = 0, Gradients(cell)
    with np.errstate(all="ignore"):
        for T, zero, reverse in [
            (1, 0, False),
            (2, 0, True),
            (4, 3, False),
            (4, 2, False),
            (4, 1, True),
            (5, 1, True),
            (4, 9, False),
        ]:
            xs = np.random.default_rng(T).uniform(0.5, 1, (T, 2, 2))
            xs[zero : zero + 1, 0, 0] = 0.0
            for order in (0, 1, 2):
                expected = gradients(xs, READ[read], order, mode="unroll", reverse=reverse)
                met += all(np.isfinite(g).all() for g in expected) and zero < T
                for checkpoint in (None, 1, 2):
                    found = gradients(xs, READ[read], order, reverse=reverse, checkpoint=checkpoint)
                    case = f"T={T}, zero at {zero}, reverse={reverse}, order {order}, checkpoint={checkpoint}"
                    for one, other in zip(expected, found, strict=True):
                        assert np.allclose(one, other, rtol=1e-10, equal_nan=True), case
    if read.startswith("outputs"):
        assert met  # unroll has finite gradients somewhere, and zeros in place of what is missing had none


@pytest.mark.parametrize("lengths", [[3, 3], [3, 1], [2, 3], [0, 2]])
def test_rows_that_end_earlier_are_as_in_an_explicit_graph(lengths):
    xs = np.random.default_rng(1).uniform(0.5, 1, (3, 2, 2))
    xs[2, 0, 0] = 0.0
    with np.errstate(all="ignore"):
        for cell in (OneSlot, Chain, Beside):
            gradients = Gradients(cell)
            for order in (0, 1, 2):
                expected = gradients(xs, READ["outputs"], order, lengths, mode="unroll")
                for checkpoint in (None, 1, 2):
                    found = gradients(xs, READ["outputs"], order, lengths, checkpoint=checkpoint)
                    for one, other in zip(expected, found, strict=True):
                        assert np.allclose(one, other, rtol=1e-10, equal_nan=True), (cell, order, checkpoint)


def test_a_gradient_that_is_finite_is_one_loop():
    """The more expensive program is made only if it is needed."""
    cell = OneSlot()
    layer = nn.Recurrent(cell)
    x = tr.tensor(np.ones((4, 2, 2)), requires_grad=True)
    plans = []
    for first in (1.0, 0.0):
        outputs, _ = layer(np.concatenate([np.ones((3, 2, 2)), np.full((1, 2, 2), first)]) * x, (np.ones((2, 2)),))
        with np.errstate(all="ignore"):
            assert np.isfinite(tr.grad(outputs.sum(), x).data).all()
        plans.append(outputs.node.inputs[0].attributes["plan"])
        assert bool(plans[-1]._steps) == (first == 0.0)
