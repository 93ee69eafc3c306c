"""The C of each primitive gives what its kernel gives."""

from __future__ import annotations

from dataclasses import replace

import pytest

import tinygrad_rnn as tr
from tinygrad_rnn.testing import GradientCheckError, random_cases
from tinygrad_rnn.testing.c_check import check_c, has_compiler

pytestmark = pytest.mark.skipif(not has_compiler(), reason="there is no C compiler")

OWN = [primitive for primitive in tr.ops.registry.values() if primitive.name not in ("scan", "item")]


@pytest.mark.parametrize(("level", "count"), [("-O0", 6), ("-O3", 1)])
def test_each_primitive_has_c_that_gives_what_its_kernel_gives(level, count):
    assert check_c(((p, case) for p in OWN for case in random_cases(p, count)), level) >= len(OWN) * 2 * count


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
    with pytest.raises(GradientCheckError, match=f"{name}: its C gives"):
        check_c((wrong, case) for case in random_cases(wrong, 8))


def test_braces_in_c_are_those_of_inputs():
    with pytest.raises(ValueError, match=r"twice: \{y0\} in its C 2 \* \{y0\} is not one of x, n, y"):

        @tr.primitive(gradient=(lambda g, y, x: 2 * g,), formula="2 {x}", c="2 * {y0}")
        def twice(x, *, out=None):
            pass
