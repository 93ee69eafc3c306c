"""Each rewrite finds its pattern in both orders of the operands."""

from __future__ import annotations

import numpy as np
import pytest
from planting import planted, replace
from scan_cases import patched, plans

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.scan.rewrites import REWRITES

N = 4


class Ordered(nn.Cell):
    """A cell with a given step, weights, and a function of two values that takes the values in either order."""

    state_shape = (N,)

    def __init__(self, step, operation, is_swapped):
        super().__init__()
        rng = np.random.default_rng(0)
        for name, shape in {"U": (N, N), "W": (N, N), "V": (N, 2 * N), "k": (N,), "k2": (2 * N,)}.items():
            setattr(self, name, nn.Parameter(rng.uniform(-1, 1, shape), symbol=name, dtype=np.float64))
        self.given = step
        self.both = (lambda a, b: operation(b, a)) if is_swapped else operation

    def step(self, x, h):
        h = self.given(self, x, h)
        return h, h


def halves(z):
    return z[:, :N], z[:, N:]


def joined(a, b):
    return tr.concatenate([a, b], axis=-1)


CASES = {
    "scale concat": ("*", lambda c, x, h: tr.tanh(c.both(joined(h * c.k, h * x), c.k2) @ c.V.T)),
    "scale concat, of factors that go with time": (
        "*",
        lambda c, x, h: tr.tanh(c.both(joined(h * c.k, -h), joined(x, x)) @ c.V.T),
    ),
    "scale concat, of products": ("*", lambda c, x, h: tr.tanh(joined(c.both(h, c.k), c.both(h, x)) * c.k2 @ c.V.T)),
    "associate": ("*", lambda c, x, h: tr.tanh(c.both(c.both(h, x), c.k))),
    "associate, of sums": ("+", lambda c, x, h: tr.tanh(c.both(c.both(h, x), c.k))),
    "associate, of multiples": ("*", lambda c, x, h: tr.tanh(c.both(h, x) + c.both(h, c.k))),
    "sigmoid as tanh": ("+", lambda c, x, h: tr.sigmoid(c.both(h @ c.W, x @ c.U)) * tr.tanh(h)),
    "sigmoid as tanh, of multiples": ("*", lambda c, x, h: tr.sigmoid(c.both(tr.sin(h), x)) * tr.tanh(h)),
    "fold linear": ("*", lambda c, x, h: tr.tanh(c.both(h @ c.W, 0.5) + x)),
    "fold linear, of differences": (
        "-",
        lambda c, x, h: tr.tanh(c.both(h @ c.W, tr.sum(h @ c.W, axis=-1, keepdims=True) @ c.k.reshape(1, -1))),
    ),
    "merge": ("*", lambda c, x, h: c.both(*[c.both(tr.sin(z), c.k) for z in halves(h @ c.V)])),
    "prebroadcast": ("+", lambda c, x, h: tr.tanh(tr.sin(c.both(tr.cos(h), c.k)))),
    "split concat": ("join", lambda c, x, h: tr.tanh(c.both(h, x) @ c.V.T)),
    "concat matrices": ("+", lambda c, x, h: c.both(tr.sin(h @ c.W), tr.cos(h @ c.U))),
}
"""For each rewrite, the operation whose operands are exchanged, and a step in which the rewrite finds its pattern."""

OPERATIONS = {
    "*": lambda a, b: a * b,
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "join": joined,
}


def cell_of(name, is_swapped):
    operation, step = CASES[name]
    return Ordered(step, OPERATIONS[operation], is_swapped)


def fired(name, is_swapped):
    """Number of matches of each rewrite, in a run without a gradient, which saves no residuals."""
    with plans() as made, tr.no_grad():
        nn.Recurrent(cell_of(name, is_swapped))(np.ones((5, 2, N)))
    (plan,) = made
    return plan.fired


def work(name, is_swapped):
    """Operations at each step, forward and backward; a rewrite with a match may save less than in the other order."""
    found = nn.Recurrent(cell_of(name, is_swapped)).plan(T=5, B=2, inputs=np.zeros((5, 2, N)))
    return [(one.counts.inside, one.counts.products) for one in (found.forward, found.backward)]


@pytest.mark.parametrize("name", CASES)
def test_a_rewrite_finds_as_much_in_either_order(name):
    rewrite = name.split(",")[0]
    counts = [fired(name, is_swapped).get(rewrite, 0) for is_swapped in (False, True)]
    assert counts[0] == counts[1] > 0
    if CASES[name][0] != "-":  # an exchanged difference may need a further sign
        assert work(name, False) == work(name, True)


def test_every_rewrite_has_a_case():
    assert {name.split(",")[0] for name in CASES} == set(REWRITES) - {"concat scatters"}  # whose operands are sorted


BLIND = [
    (
        "scale concat",
        "scale_concat",
        "node.inputs if partition.stage[node.inputs[1]] < partition.stage[node] else node.inputs[::-1]",
        "node.inputs",
    ),
    (
        "scale concat",
        "scale_concat",
        "node.inputs if partition.stage[node.inputs[1]] < partition.stage[node] else node.inputs[::-1]",
        "node.inputs[::-1]",
    ),
    ("associate, of multiples", "_Associate._parts", "inputs if self._lower(inputs[1], node) else inputs[::-1]", "inputs"),
    (
        "associate, of multiples",
        "_Associate._parts",
        "inputs if self._lower(inputs[1], node) else inputs[::-1]",
        "inputs[::-1]",
    ),
    (
        "fold linear",
        "_folded",
        "inputs[::-1] if multiplies(node) and is_scalar_constant(inputs[0]) else inputs",
        "inputs",
    ),
    (
        "sigmoid as tanh, of multiples",
        "_Gates._scaled",
        "[i for i in inputs if not partition.is_sequential(i)]",
        "[i for i in inputs[1:] if not partition.is_sequential(i)]",
    ),
    (
        "sigmoid as tanh, of multiples",
        "_Gates._scaled",
        "[i for i in inputs if not partition.is_sequential(i)]",
        "[i for i in inputs[:1] if not partition.is_sequential(i)]",
    ),
]


@pytest.mark.parametrize(("name", "function", "both", "one"), BLIND)
def test_a_rewrite_that_looks_at_one_order_only_is_noticed(name, function, both, one):
    with patched(planted(function, replace(both, one))):
        found = [(fired(name, is_swapped), work(name, is_swapped)) for is_swapped in (False, True)]
    assert found[0] != found[1]
