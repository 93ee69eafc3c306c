"""Operations that declare no facts are opaque, but still right in scan, gradients, drawings and equations."""

import re

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.graph.node import Spec
from tinygrad_rnn.ops import REAL, Domain, Facts
from tinygrad_rnn.ops.core import registry
from tinygrad_rnn.testing import check_cell, check_primitive

NAMES = ("same", "plus", "first_half", "feature_sum", "by_matrix")


def _half(x):
    return x.shape[-1] // 2


def _define(facts):
    """A copy, a sum, a slice, a reduction and a product; `facts` has the declared facts of each, or none."""

    @tr.primitive(gradient=(lambda g, y, x: g,), formula="{x}", facts=facts.get("same", Facts()))
    def same(x, *, out=None):
        return np.positive(x, out=out)

    @tr.primitive(
        np.add,
        gradient=(lambda g, y, a, b: g, lambda g, y, a, b: g),
        formula=tr.Formula("{a:sum} + {b:sum}", 2),
        facts=facts.get("plus", Facts()),
    )
    def plus(a, b):
        pass

    @tr.primitive(
        gradient=(lambda g, y, x: tr.concatenate([g, np.zeros((*g.shape[:-1], x.shape[-1] - g.shape[-1]), g.dtype)], -1),),
        formula=r"{x:symbol}^{{\ast}}",
        shape=lambda x: Spec((*x.shape[:-1], _half(x)), x.dtype),
        domain=Domain(REAL, shapes=lambda choose: [choose.shape(1)]),
    )
    def first_half(x, *, out=None):
        found = x[..., : _half(x)]
        return found.copy() if out is None else (np.copyto(out, found), out)[1]

    @tr.primitive(
        gradient=(lambda g, y, x, axis: tr.expand_dims(g, axis),),
        formula=r"\Sigma {x:product}",
        shape=lambda x, axis: Spec(x.shape[:-1], x.dtype),
        domain=Domain(REAL, shapes=lambda choose: [choose.shape(1)], attributes=lambda choose, x: {"axis": -1}),
        facts=facts.get("feature_sum", Facts()),
    )
    def feature_sum(x, *, axis, out=None):
        return np.add.reduce(x, axis=axis, out=out)

    @tr.primitive(
        np.matmul,
        gradient=(lambda g, y, a, b: g @ tr.swapaxes(b, -1, -2), lambda g, y, a, b: tr.swapaxes(a, -1, -2) @ g),
        formula="{a} {b}",
        shape=registry["matmul"].shape,
        domain=registry["matmul"].domain,
        facts=facts.get("by_matrix", Facts()),
    )
    def by_matrix(a, b):
        pass


DECLARED = {
    "same": Facts(copies=True),
    "plus": Facts(signs=(1, 1)),
    "feature_sum": Facts(reduces="axis", linear="jointly"),
    "by_matrix": Facts(product=True),
}


@pytest.fixture(params=["opaque", "declared"])
def facts(request):
    found = DECLARED if request.param == "declared" else {}
    _define(found)
    yield found
    for name in NAMES:
        del registry[name]


class Opaque(nn.Cell):
    """A gated cell that uses the primitives above where possible."""

    state_shape = (4,)
    input_size = 3

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(1)
        self.U = nn.Parameter(rng.normal(size=(3, 8)), symbol="U", dtype=np.float64)
        self.W = nn.Parameter(rng.normal(size=(4, 8)) / 3, symbol="W", dtype=np.float64)
        self.b = nn.Parameter(rng.normal(size=(8,)), symbol="b", dtype=np.float64)

    def step(self, x, h):
        by_matrix, plus, same, first_half, feature_sum = (
            registry[name] for name in ("by_matrix", "plus", "same", "first_half", "feature_sum")
        )
        a = plus(plus(by_matrix(x, self.U), by_matrix(h, self.W)), self.b)
        z = tr.sigmoid(first_half(a)).named("z")
        n = tr.tanh(plus(same(a[:, 4:]), tr.expand_dims(feature_sum(h, axis=-1), -1))).named("n")
        h = (same(h) + z * (n - h)).named("h")
        return same(h), h


class Written(Opaque):
    """The same cell with the library's own operations."""

    def step(self, x, h):
        a = x @ self.U + h @ self.W + self.b
        z = tr.sigmoid(a[:, :4]).named("z")
        n = tr.tanh(a[:, 4:] + h.sum(-1, keepdims=True)).named("n")
        h = (h + z * (n - h)).named("h")
        return h, h


def results(cell, mode):
    """Outputs, gradients, and the gradients of a function of the gradients."""
    x = tr.tensor(np.random.default_rng(0).normal(size=(6, 2, 3)), requires_grad=True)
    h = tr.tensor(np.random.default_rng(2).normal(size=(2, 4)), requires_grad=True)
    outputs, last = nn.Recurrent(cell, mode=mode)(x, h)
    wanted = [x, h, *cell.parameters()]
    first = tr.grad((outputs * outputs).sum() + tr.sin(last).sum(), wanted)
    second = tr.grad(sum((g * g).sum() for g in first), wanted)
    return [t.data for t in (outputs, last, *first, *second)]


def test_they_are_as_they_declare(facts):
    for name in NAMES:
        check_primitive(registry[name], examples=10, order=1)


def test_scan_is_unroll_to_second_order(facts):
    expected = results(Written(), "unroll")
    for mode in ("unroll", "scan"):
        for a, b in zip(results(Opaque(), mode), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_a_cell_of_them_is_checked(facts):
    check_cell(Opaque, examples=5)


@pytest.mark.parametrize("options", [{}, {"time": "unrolled"}, {"time": "step"}, {"detail": "ops"}], ids=str)
def test_drawings_show_what_is_not_declared(facts, options):
    found = Opaque().draw(**options).source
    expected = Written().draw(**options).source
    shows_operations = options == {"time": "step"} or "detail" in options
    shown = set(re.findall(r"label=\"?([^\" ]+)", found))
    assert ("first_half" in shown) == shows_operations
    assert ({"plus", "same"} <= shown) == (shows_operations and not facts)
    if not shows_operations:
        assert shown >= set(re.findall(r"label=\"?([hznx][^\" ]*)", expected))


def test_a_whole_sequence_of_them_is_drawn_by_its_steps(facts):
    model = nn.Recurrent(Opaque())
    outputs, _ = model(tr.tensor(np.ones((3, 2, 3))))
    shown = tr.graph(registry["same"](registry["first_half"](outputs)).named("y")).draw(time="unrolled").source
    assert all(f'"y[{t}]"' in shown for t in (1, 2, 3)) or all(f"y[{t}]" in shown for t in (1, 2, 3))


def test_equations_print_their_formulas(facts):
    forward, backward = Opaque().equations(), Opaque().equations(backward=True)
    assert r"z_t &= \sigma" in forward and r"^{\ast}" in forward and r"\Sigma h_{t-1}" in forward
    assert r"\delta^{z}_t" in backward and r"\frac{\partial L}{\partial W}" in backward


def test_a_rule_may_be_written_with_an_array():
    """The value is an input of the scan's reverse loop, which once read memory that was not yet filled."""

    @tr.primitive(gradient=(lambda g, y, x: g * np.full(g.shape[-1:], 3.0),), formula=r"3 {x:product}")
    def triple(x, *, out=None):
        return np.multiply(x, 3.0, out=out)

    class Tripled(nn.Cell):
        state_shape = (2,)
        input_size = 2

        def step(self, x, h):
            h = tr.tanh(triple(h) + x)
            return h, h

    def gradients(mode, **options):
        xs = tr.tensor(np.linspace(-1, 1, 6).reshape(3, 1, 2), requires_grad=True)
        first = tr.grad(nn.Recurrent(Tripled(), mode=mode, **options)(xs)[0].sum(), [xs])[0]
        second = tr.grad((first * first).sum(), [xs])[0] if not options else first
        return first.data, second.data

    try:
        expected = gradients("unroll")
        for options in ({}, {"checkpoint": 1}, {"checkpoint": 2}):
            for a, b in zip(gradients("scan", **options), expected if not options else expected[:1] * 2, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    finally:
        del registry["triple"]


def test_neighbouring_slices_are_merged_for_elementwise_operations_only():
    """A kernel that keeps the input's shape is not assumed to be elementwise: each half is divided by its own sum."""

    def rule(g, y, x):
        total = x.sum(-1, keepdims=True)
        return (g - (g * y).sum(-1, keepdims=True)) / total

    @tr.primitive(gradient=(rule,), formula=r"\operatorname{{shares}}\left({x}\right)")
    def shares(x, *, out=None):
        return np.divide(x, x.sum(-1, keepdims=True), out=out)

    class Shares(nn.Cell):
        state_shape = (4,)
        input_size = 4

        def step(self, x, h):
            z = tr.exp(h + x)
            h = tr.concatenate([shares(z[:, :2]), shares(z[:, 2:])], axis=-1)
            return h, h

    try:
        xs = np.linspace(-1, 1, 12).reshape(3, 1, 4)
        scanned, unrolled = (nn.Recurrent(Shares(), mode=mode)(xs)[0].data for mode in ("scan", "unroll"))
        np.testing.assert_allclose(scanned, unrolled, rtol=1e-12)
    finally:
        del registry["shares"]
