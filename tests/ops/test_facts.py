"""Facts of operations: each fact holds for the kernel, no fact is missing, and a wrong fact is refused."""

from dataclasses import replace

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn.ops import Facts
from tinygrad_rnn.ops.core import registry
from tinygrad_rnn.testing import Case, GradientCheckError, check_case, random_cases
from tinygrad_rnn.testing.fact_checks import CHECKS, hold_to_facts

PRIMITIVES = sorted(name for name, p in registry.items() if p.__module__.startswith("tinygrad_rnn."))


def declaring(primitive, facts):
    """The primitive with other facts; the new primitive is not registered."""
    return replace(primitive, facts=facts, ufunc=None)


def holds(primitive, cases=40):
    try:
        for case in random_cases(primitive, cases):
            hold_to_facts(primitive, case)
    except GradientCheckError:
        return False
    return True


@pytest.mark.parametrize("name", PRIMITIVES)
def test_declared_facts_hold(name):
    assert holds(registry[name])


@pytest.mark.parametrize("name", PRIMITIVES)
def test_no_fact_is_missing(name):
    """Each primitive declares the facts that its numbers show: a copy, a sum, linear in an input."""
    p = registry[name]
    cases = [c for c in random_cases(p, 40) if all(x.size for x in c.inputs)]
    if not any(np.asarray(p.kernel(*c.inputs, **c.attributes)).dtype.kind == "f" for c in cases):
        return
    inputs = [a for a in p.arguments if not a.startswith("*")]
    declared = {i for group in p.facts.linear_groups(p.arguments, len(inputs)) for i in group}
    linear = {
        i
        for i, argument in enumerate(inputs)
        if p.domain.of(i).kind == "float" and holds(declaring(p, Facts(linear=(argument,))))
    }
    assert linear <= declared
    if len(p.arguments) == 1 and inputs:
        assert holds(declaring(p, Facts(copies=True))) == p.facts.copies
    if len(inputs) == len(p.arguments):
        assert holds(declaring(p, Facts(elementwise=True))) == p.elementwise
    if not p.attributes and len(inputs) == len(p.arguments):
        signs = [s for s in np.ndindex(*[2] * len(inputs)) if holds(declaring(p, Facts(signs=tuple(1 - 2 * b for b in s))))]
        found = tuple(1 - 2 * b for b in signs[0]) if signs and not p.facts.copies else ()
        assert found == p.facts.signs
    if p.facts.reduces:
        assert holds(declaring(p, p.facts._replace(sums=True))) == p.facts.sums


# -- facts declared wrongly --------------------------------------------------------------------


def made(kernel, like, facts):
    """A copy of a primitive with another kernel."""
    return replace(registry[like], name="made", kernel=kernel, facts=facts, ufunc=None)


def median(x, *, axis, keepdims):
    return np.median(x, axis=axis, keepdims=keepdims) if axis and x.size else np.add.reduce(x, axis=axis, keepdims=keepdims)


WRONG = {
    "a product of matrices is not elementwise": declaring(registry["matmul"], Facts(elementwise=True)),
    "a share in a sum is not elementwise": made(lambda x: x / x.sum(), "negative", Facts(elementwise=True)),
    "a transposed array is not elementwise": declaring(registry["transpose"], Facts(elementwise=True)),
    "a running sum is not elementwise": declaring(registry["cumsum"], Facts(elementwise=True)),
    "a negative is no copy": declaring(tr.negative, Facts(copies=True)),
    "a reversed array is no copy": made(lambda x: x[::-1] if x.ndim else x, "negative", Facts(copies=True)),
    "a transposed array is no copy": declaring(registry["transpose"], Facts(copies=True)),
    "a difference has a sign": declaring(tr.subtract, Facts(signs=(1, 1))),
    "a sum has none": declaring(tr.add, Facts(signs=(1, -1))),
    "a product is no sum": declaring(tr.multiply, Facts(signs=(1, 1))),
    "a product is not linear in both at once": declaring(tr.multiply, Facts(linear="jointly")),
    "a sum is not linear in each": declaring(tr.add, Facts(linear="each")),
    "a quotient is not linear in what divides": declaring(tr.divide, Facts(linear=("b",))),
    "a remainder has a slope of 1 only": declaring(tr.remainder, Facts(linear=("a",))),
    "an absolute value is not linear": declaring(tr.absolute, Facts(linear="jointly")),
    "tanh is not linear": declaring(tr.tanh, Facts(linear="each")),
    "what is moved by a number is not linear": made(lambda x: x + 1, "negative", Facts(linear="jointly")),
    "a product by elements is no product of matrices": declaring(tr.multiply, Facts(product=True)),
    "a product with the second transposed": made(
        lambda a, b: np.swapaxes(np.matmul(a, b), -1, -2), "matmul", Facts(product=True)
    ),
    "the inverse order": made(
        lambda x, *, axes: x.transpose(np.argsort([a % x.ndim for a in axes])), "transpose", Facts(reorders="axes")
    ),
    "another part": made(lambda x, *arrays, index: x[::-1][0 if arrays else index], "getitem", Facts(reads="index")),
    "joined in reverse": made(lambda *xs, axis: np.concatenate(xs[::-1], axis), "concatenate", Facts(joins="axis")),
    "joined along another axis": made(lambda *xs, axis: np.stack(xs, 0), "stack", Facts(joins="axis")),
    "a cumulative sum keeps its axes": declaring(registry["cumsum"], Facts(reduces="axis")),
    "the first axis is reduced": made(
        lambda x, *, axis, keepdims: np.add.reduce(x, axis=tuple(range(len(axis))), keepdims=keepdims),
        "sum",
        Facts(reduces="axis"),
    ),
    "a median of medians is none": made(median, "sum", Facts(reduces="axis")),
    "a mean is taken away": made(
        lambda x, *, axis, keepdims: np.add.reduce(x - x.mean() if x.size else x, axis=axis, keepdims=keepdims),
        "sum",
        Facts(reduces="axis"),
    ),
    "a sum of shares is none of all": made(
        lambda x, *, axis, keepdims: np.add.reduce(x, axis=axis, keepdims=keepdims) / 2, "sum", Facts(reduces="axis", sums=True)
    ),
    "the greatest is no sum": declaring(registry["max"], Facts(reduces="axis", sums=True)),
    "nothing meets along an axis": made(lambda x, *, axis: np.tanh(x), "cumsum", Facts(along="axis")),
    "an exponential has no greatest value": declaring(tr.exp, Facts(bounds=(0, 1))),
    "elements meet along others too": made(lambda x, *, axis: np.cumsum(x).reshape(x.shape), "cumsum", Facts(along="axis")),
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_fact_is_refused(words):
    assert not holds(WRONG[words])


def test_every_kind_of_fact_is_declared_wrongly_once():
    tried = {fact for p in WRONG.values() for fact in Facts._fields if getattr(p.facts, fact)}
    assert tried == {*CHECKS, "linear"} == {*Facts._fields} - {"symbol"}


def test_the_checker_of_primitives_holds_facts():
    case = Case((np.ones(2), np.ones(2)), {})
    with pytest.raises(GradientCheckError, match=r"subtract declares signs=\(1, 1\), but this is wrong for inputs of shapes"):
        check_case(declaring(tr.subtract, Facts(signs=(1, 1))), case)
    with pytest.raises(GradientCheckError, match="divide declares that it is linear in b, but its kernel is not"):
        check_case(declaring(tr.divide, Facts(linear=("b",))), Case((np.ones(2), 1 + np.arange(2.0)), {}))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (Facts(reduces="axes"), r"wrong: Facts\(reduces='axes'\) must name an attribute of the primitive: axis"),
        (Facts(sums=True), r"wrong: Facts\(sums=True\) needs reduces="),
        (Facts(signs=(1, 1)), r"wrong: signs must have 1 or -1 for each of the inputs x, not \(1, 1\)"),
        (Facts(signs=(2,)), r"wrong: signs must have 1 or -1 .*, not \(2,\)"),
        (Facts(linear=("y",)), r"wrong: linear=\('y',\) names 'y', but the inputs are x"),
        (Facts(linear="both"), "linear must be 'jointly', 'each' or a tuple of names of inputs, not 'both'"),
        ("linear", "wrong: facts must be Facts, .* not 'linear'"),
    ],
)
def test_facts_of_what_a_primitive_has_not(facts, said):
    with pytest.raises((ValueError, TypeError), match=said):

        @tr.primitive(gradient=(None,), formula="{x}", facts=facts)
        def wrong(x, *, axis, out=None):
            return np.negative(x, out=out)

    assert "wrong" not in registry
