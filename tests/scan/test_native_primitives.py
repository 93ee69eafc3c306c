"""The C code of each primitive gives the same results as its kernel."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import settings

import tinygrad_rnn as tr
from tinygrad_rnn.graph.node import Node, Spec, leaf
from tinygrad_rnn.scan.native import libraries
from tinygrad_rnn.scan.native.types import form_of
from tinygrad_rnn.testing import Case, GradientCheckError, random_cases
from tinygrad_rnn.testing.c_check import check_c, has_compiler

pytestmark = pytest.mark.skipif(not has_compiler(), reason="there is no C compiler")

THOROUGH = settings().max_examples > 40
OWN = [primitive for primitive in tr.ops.registry.values() if primitive.name not in ("scan", "item")]
SOME = OWN if THOROUGH else [primitive for primitive in OWN if primitive.c is None]
"""Primitives with C code in addition to their formula; `check_primitive` checks them, with their gradients."""


@pytest.mark.parametrize(("level", "count"), [("-O0", 6), ("-O3", 3)] if THOROUGH else [("-O0", 6)])
def test_each_primitive_has_c_that_gives_what_its_kernel_gives(level, count):
    assert check_c(((p, case) for p in SOME for case in random_cases(p, count)), level) >= len(SOME) * 2 * count


@pytest.mark.parametrize(
    ("name", "c"),
    [
        ("tanh", "sin_({x})"),
        ("subtract", "{b} - {a}"),
        ("maximum", "{a} > {b} ? {a} : {b}"),  # NaN of a is lost
        ("absolute", "-{x}"),
        ("where", "{condition} ? {b} : {a}"),
        ("less", "{a} <= {b}"),
        ("sum", "max_({n}, {x})"),
        ("cumsum", "log_softmax_({n}, {x}, {y})"),
        ("argmax", "{n} - 1"),
    ],
)
def test_wrong_c_is_found(name, c):
    wrong = replace(tr.ops.registry[name], c=c)
    with pytest.raises(GradientCheckError, match=f"{name}: the C code gives"):
        check_c((wrong, case) for case in random_cases(wrong, 8))


def test_braces_in_c_are_those_of_inputs():
    with pytest.raises(ValueError, match=r"twice: the placeholder \{y0\} in c='2 \* \{y0\}' must be one of x, n, y"):

        @tr.primitive(gradient=(lambda g, y, x: 2 * g,), formula="2 {x}", c="2 * {y0}")
        def twice(x, *, out=None):
            pass


def test_c_needs_facts():
    with pytest.raises(ValueError, match=r"twice: c= needs facts .* facts=tr.Facts\(elementwise=True\)"):

        @tr.primitive(gradient=(lambda g, y, x: 2 * g,), formula="2 {x}", c="2 * {x}")
        def twice(x, *, out=None):
            pass

    assert "twice" not in tr.ops.registry


def test_attributes_are_written_if_they_are_numbers():
    @tr.primitive(
        gradient=(lambda g, y, x, slope, kind: g * tr.where(x > 0, 1, slope),),
        formula="leaky {x}",
        facts=tr.Facts(elementwise=True),
        shape=lambda x, slope, kind: x,
        c="{x} > 0 ? {x} : {slope} * {x}",
    )
    def leaky_in_c(x, *, slope, kind, out=None):
        return np.where(x > 0, x, slope * x).astype(x.dtype)

    x = np.linspace(-2, 2, 5)
    try:
        for slope, kind in ((0.1, "1; exit(1)"), (np.float32(0.5), None), (2, 3)):
            assert check_c([(leaky_in_c, Case((x,), {"slope": slope, "kind": kind}))])
        made = Node(leaky_in_c, (leaf(Spec((5,), x.dtype)),), {"slope": "exit(1)", "kind": ""}, Spec((5,), x.dtype))
        assert form_of(made) is None
    finally:
        del tr.ops.registry["leaky_in_c"]


class Past(NamedTuple):
    p: object
    x_1: object


class Unnamed(tr.nn.Cell):
    """A cell whose step names no value; the slots have names, and the parameter has one."""

    input_size, state_shape = 2, Past((2,), (2,))

    def __init__(self):
        super().__init__()
        self.A = tr.nn.Parameter((2, 2), symbol="A")

    def step(self, x, state):
        h = tr.tanh(state.p @ self.A) * state.x_1 + x
        return h, Past(h, x)


def test_slots_and_gradients_have_the_names_of_the_plan():
    plan = tr.nn.Recurrent(Unnamed(), backend="native").plan(T=3, B=2)
    assert [slot.name for slot in plan.forward.slots] == ["p", "x_1"]
    forward, backward = (
        set(re.findall(r"^ +(?:const )?\w+ \*(\w+) =", one.source, re.M)) for one in (plan.forward, plan.backward)
    )
    assert {"ps_all", "p_end", "x_1s", "x_1_end", "p_A"} <= forward
    assert {"ps_before", "delta_ps", "delta_p_end", "delta_x_1s", "dA", "dxs_all"} <= backward


def test_names_never_become_code():
    class Named(tr.nn.Cell):
        input_size, state_shape = 2, (2,)

        def __init__(self):
            super().__init__()
            self.W = tr.nn.Parameter((2, 2), symbol="W")

        def step(self, x, h):
            a = (x @ self.W).named("*/ exit(1); /*")
            h = tr.tanh(a + h @ self.W).named('h"; int run(void)')
            return h, h

    source = tr.nn.Recurrent(Named(), backend="native").plan(T=3, B=2).source
    assert "exit(1)" not in source and "(void)" not in source
    assert source.isascii() or set(source) - set(map(chr, range(128))) <= set("ᵀ")


@pytest.mark.parametrize("names", [("S", "tanh_f", "linux", "x"), ("xs_all", "first", "exp_f", "T")])
def test_names_that_every_program_has_are_names_of_values_too(names, recwarn, monkeypatch):
    monkeypatch.setattr(libraries, "_told", set())

    class Named(tr.nn.Cell):
        input_size, state_shape = 2, (2,)

        def __init__(self):
            super().__init__()
            self.a, self.b = (tr.Parameter(np.float32([0.5, k]), symbol=name) for k, name in enumerate(names[:2]))

        def step(self, x, h):
            a = tr.tanh(x * self.a + h).named(names[2])
            h = tr.tanh(tr.exp(a) * self.b).named(names[3])
            return h + a, h

    x = np.random.default_rng(0).normal(size=(3, 1, 2)).astype(np.float32)
    cell = Named()
    found, right = [tr.nn.Recurrent(cell, backend=name)(x)[0].data for name in ("native", "numpy")]
    np.testing.assert_allclose(found, right, rtol=1e-6)
    assert not recwarn.list
