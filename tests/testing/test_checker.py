"""Tests of the checker: every rule made wrong on purpose must be found if it changes a gradient."""

import contextlib
import functools
import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import settings

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import TinygradError, TraceError
from tinygrad_rnn.ops import REAL, Domain, Primitive, Sparse
from tinygrad_rnn.ops.core import apply, constant
from tinygrad_rnn.ops.indexing import scatter
from tinygrad_rnn.testing import (
    Case,
    GradientCheckError,
    KinkError,
    UndecidedError,
    check_case,
    check_cell,
    check_gradients,
    check_primitive,
    random_cases,
)

EXAMPLES = settings().max_examples
THOROUGH = EXAMPLES > 100

# -- rules made wrong --------------------------------------------------------------------------
# Each takes the right rule, and is called as a rule: wrong(rule, g, y, xs, i, attributes).


def dense(gx, x):
    return scatter([gx], x.shape) if isinstance(gx, Sparse) else gx


def after(change):
    """A corruption of the rule's result."""

    def wrong(rule, g, y, xs, i, attributes):
        return change(dense(rule(g, y, *xs, **attributes), xs[i]), xs[i])

    return wrong


def reversed_(r, x):
    axis = next((a for a in range(-1, -r.ndim - 1, -1) if r.shape[a] > 1), None)
    return r if axis is None else tr.flip(r, axis)


def transposed(r, x):
    return tr.swapaxes(r, -1, -2) if r.ndim > 1 and r.shape[-1] == r.shape[-2] else r


def one_missing(r, x):
    mask = np.ones(r.shape)
    mask.ravel()[:1] = 0
    return r * mask


def not_summed(r, x):
    """Only the first position of an axis that was broadcast."""
    while r.ndim > x.ndim:
        r = r[0] if r.shape[0] else r.sum(0)
    for axis in range(x.ndim):
        if x.shape[axis] == 1 < r.shape[axis]:
            r = r[(slice(None),) * axis + (slice(0, 1),)]
    return r


def averaged(r, x):
    return r * (x.size / r.size) if r.size else r


def only_shape(r, like):
    return r if r.shape == like.shape else None


def passed_on(rule, g, y, xs, i, attributes):
    x = xs[i]
    fits = _broadcasts(x.shape, g.shape) or _broadcasts(g.shape, x.shape)
    return g if fits else rule(g, y, *xs, **attributes)


def _broadcasts(small, large):
    try:
        return np.broadcast_shapes(small, large) == large
    except ValueError:
        return False


def g_missing_one(rule, g, y, xs, i, attributes):
    return rule(one_missing(g, g), y, *xs, **attributes)


def factors_detached(rule, g, y, xs, i, attributes):
    return rule(g, y.detach(), *[x.detach() for x in xs], **attributes)


def cotangent_detached(rule, g, y, xs, i, attributes):
    return rule(g.detach(), y, *xs, **attributes)


def not_linear(rule, g, y, xs, i, attributes):
    return rule(g * tr.absolute(g), y, *xs, **attributes)


def inputs_swapped(rule, g, y, xs, i, attributes):
    return rule(g, y, *xs[::-1], **attributes)


def output_for_input(rule, g, y, xs, i, attributes):
    return rule(g, y, *[y if k == i and x.shape == y.shape else x for k, x in enumerate(xs)], **attributes)


def input_for_output(rule, g, y, xs, i, attributes):
    return rule(g, xs[i] if xs[i].shape == y.shape else y, *xs, **attributes)


WRONG = {
    "negated": after(lambda r, x: -r),
    "doubled": after(lambda r, x: 2 * r),
    "halved": after(lambda r, x: r / 2),
    "slightly off": after(lambda r, x: r * (1 + 1e-6)),
    "zeroed": after(lambda r, x: 0 * r),
    "one too many": after(lambda r, x: r + 1),
    "reversed": after(reversed_),
    "transposed": after(transposed),
    "one element missing": after(one_missing),
    "not summed": after(not_summed),
    "averaged": after(averaged),
    "passed on": passed_on,
    "a term of g missing": g_missing_one,
    "factors detached": factors_detached,
    "cotangent detached": cotangent_detached,
    "not linear": not_linear,
    "inputs swapped": inputs_swapped,
    "y for x": output_for_input,
    "x for y": input_for_output,
    "the neighbour's rule": None,  # made below, because it needs the other rules
}

# -- corruptions without an effect on the domain: {corruption: {reason: primitive.input …}} -----------

CONSTANT = """add.0 add.1 subtract.0 subtract.1 negative.0 astype.0 reshape.0 transpose.0 broadcast_to.0 concatenate.0
    concatenate.1 concatenate.2 stack.0 stack.1 stack.2 getitem.0 scatter.0 scatter.1 sum.0 cumsum.0 where.1 where.2"""
NOT_BROADCAST = "concatenate.0 concatenate.1 concatenate.2 stack.0 stack.1 stack.2 getitem.0 scatter.0 scatter.1"

EQUIVALENT = {
    "passed on": {"the cotangent is g itself": "add.0 add.1 subtract.0 remainder.0 astype.0 reshape.0 broadcast_to.0"},
    "factors detached": {
        "linear: no factor has a derivative": CONSTANT,
        "the factor is a step, flat on both sides": "maximum.0 maximum.1 minimum.0 minimum.1",
        "there is no factor": "remainder.0",
    },
    "inputs swapped": {
        "the rule reads only the shapes or none of its inputs": """add.0 add.1 subtract.0 subtract.1 remainder.0
            stack.0 stack.1 stack.2 scatter.0 scatter.1""",
    },
    "the neighbour's rule": {
        "both rules are the same": "add.0 add.1",
        "the neighbour is the condition, which has no rule": "where.2",
    },
    "y for x": {
        "linear: the rule reads shapes at most": CONSTANT,
        "the rule reads y, or the other input, in place of x": """multiply.0 multiply.1 divide.0 power.1 exp.0 expm1.0 sqrt.0
            tanh.0 sigmoid.0 log_softmax.0 matmul.0 matmul.1 einsum.0 einsum.1 einsum.2 remainder.0""",
        "y is positive where x is": "relu.0",
        "only where nothing is reduced have both one shape, and then they are equal": "max.0 min.0 logsumexp.0",
    },
    "x for y": {
        "linear: the rule does not read y": CONSTANT,
        "the rule reads the inputs alone": """multiply.0 multiply.1 divide.0 power.0 log.0 log1p.0 sin.0 cos.0 absolute.0
            maximum.0 maximum.1 minimum.0 minimum.1 relu.0 softplus.0 matmul.0 matmul.1 einsum.0 einsum.1 einsum.2
             remainder.0 remainder.1""",
        "only where nothing is reduced have both one shape, and then they are equal": "max.0 min.0 logsumexp.0",
    },
    "not summed": {"nothing is broadcast": NOT_BROADCAST, "no case broadcasts the third": "einsum.2"},
    "averaged": {"nothing is broadcast": NOT_BROADCAST, "no case broadcasts the third": "einsum.2"},
    "a term of g missing": {
        "the first element of g is another input's": "concatenate.1 concatenate.2 stack.1 stack.2 scatter.1"
    },
}


def listed(wrong, name, i):
    return any(f"{name}.{i}" in targets.split() for targets in EQUIVALENT.get(wrong, {}).values())


def right_rule(primitive, i):
    rules = primitive.gradient
    return rules[i] if isinstance(rules, tuple) else lambda g, y, *xs, **attributes: rules([i], g, y, *xs, **attributes)[0]


def corrupted(primitive, i, name):
    """The primitive with its rule for input i made wrong."""

    def answer(position, g, y, xs, attributes):
        rule = right_rule(primitive, position)
        if position != i or name == "nothing":
            return rule(g, y, *xs, **attributes) if rule else None
        if rule is None:  # a gradient where there is none
            return g
        if name == "the neighbour's rule":
            return (right_rule(primitive, (i + 1) % len(xs)) or rule)(g, y, *xs, **attributes)
        return WRONG[name](rule, g, y, xs, i, attributes)

    def gradient(positions, g, y, *xs, **attributes):
        return [answer(position, g, y, xs, attributes) for position in positions]

    return replace(primitive, gradient=gradient)


@functools.cache
def drawn(name):
    """Cases of a primitive, the same in every run, without empty cases."""
    found = random_cases(tr.ops.registry[name], 400 if THOROUGH else 60)
    kept = [case for case in found if all(x.size for x in case.inputs)]
    return [case for case in kept if np.size(tr.ops.registry[name].kernel(*case.inputs, **case.attributes))]


def derivatives(primitive, case):
    """First and second derivatives, along fixed random directions, as one vector."""
    rng = np.random.default_rng(0)
    xs = [tr.Tensor(constant(x)) for x in case.inputs]
    y = apply(primitive, xs, case.attributes)
    u = tr.tensor(rng.standard_normal(y.shape))
    wanted = [x for x in xs if x.dtype.kind == "f"]
    first = tr.grad(y, wanted, u)
    second = tr.grad(first, [*wanted, u], [rng.standard_normal(x.shape) for x in wanted])
    return np.concatenate([t.data.ravel() for t in [*first, *second]])


@functools.cache
def right_derivatives(name, k):
    """The derivatives by the right rules, of the k-th drawn case of a primitive."""
    return derivatives(tr.ops.registry[name], drawn(name)[k])


def differs(expected, bad, case):
    try:
        with np.errstate(all="ignore"):
            found = derivatives(bad, case)
    except (TinygradError, ValueError, TypeError):
        return True
    return not np.allclose(expected, found, rtol=1e-9, atol=1e-9)


# these need another input to be swapped with, exchanged with, or broadcast against
OF_SEVERAL = ("inputs swapped", "the neighbour's rule", "not summed", "averaged")


def targets():
    """Every rule, with every way to make it wrong; for an input without a rule, a rule that should not exist."""
    for name, primitive in tr.ops.registry.items():
        if primitive.domain.stops:
            continue
        case = max(drawn(name), key=lambda case: len(case.inputs))
        if apply(primitive, [tr.Tensor(constant(x)) for x in case.inputs], case.attributes).dtype.kind != "f":
            continue
        for i, x in enumerate(case.inputs):
            if x.dtype.kind == "f":
                for wrong in WRONG if right_rule(primitive, i) else ("passed on",):
                    if len(case.inputs) > 1 or wrong not in OF_SEVERAL:
                        yield name, i, wrong


@pytest.mark.parametrize(("name", "i", "wrong"), list(targets()))
def test_a_wrong_rule_is_caught(name, i, wrong):
    primitive = tr.ops.registry[name]
    bad = corrupted(primitive, i, wrong)
    changed = 0
    for k, case in enumerate(drawn(name)):
        if len(case.inputs) <= i or not differs(right_derivatives(name, k), bad, case):
            continue
        changed += 1
        with pytest.raises((GradientCheckError, TinygradError)):
            check_case(bad, case)
        if changed == EXAMPLES // 10 and not THOROUGH:
            break
    if listed(wrong, name, i):
        assert not changed, "it is listed as changing no gradient, and changes one"
    else:
        assert changed, "it changes no gradient on the domain: list it, with the reason"


@pytest.mark.parametrize("name", [name for name, i, wrong in targets() if (i, wrong) == (0, "negated")])
def test_the_same_rule_handed_on_unharmed_passes(name):
    """A rule that is replaced by itself passes, so the replacement alone causes no error above."""
    for case in drawn(name)[: EXAMPLES // 2]:
        check_case(corrupted(tr.ops.registry[name], 0, "nothing"), case)


def test_every_equivalent_corruption_listed_exists():
    known = {(wrong, f"{name}.{i}") for name, i, wrong in targets()}
    for wrong, reasons in EQUIVALENT.items():
        assert {(wrong, target) for targets_ in reasons.values() for target in targets_.split()} <= known


# -- what it says -------------------------------------------------------------------------------------

rng = np.random.default_rng(0)
A, B = rng.standard_normal((3, 3)), rng.standard_normal((4, 3))


def made(kernel, *rules):
    """A primitive that is in no registry."""
    names = ("a", "b")[: len(rules)]
    template = tr.ops.registry["add"]
    return Primitive("made", kernel, rules, template.shape, template.domain, template.formula, names)


def verdict(f, *args, **kwargs):
    with pytest.raises(GradientCheckError) as raised:
        check_gradients(f, *args, **kwargs)
    return str(raised.value)


def product(first, second):
    bad = made(np.matmul, first, second)
    bad.shape = tr.ops.registry["matmul"].shape
    return lambda x, w: tr.tanh(bad(x, w))


GUESSES = {
    "a wrong sign": (made(np.tanh, lambda g, y, x: -g * (1 - y * y)), B),
    "a factor 2: something is counted twice": (made(np.tanh, lambda g, y, x: 2 * g * (1 - y * y)), B),
    "a factor 1/2: one of two uses is not counted": (lambda x: x * x.detach(), B),
    "missing: nothing comes back to it": (made(np.tanh, lambda g, y, x: 0 * g), B),
    "transposed": (product(lambda g, y, a, b: g @ b.T, lambda g, y, a, b: (a.T @ g).T), B, A),
    "reversed along axis 1": (made(np.exp, lambda g, y, x: tr.flip(g * y, 1)), B),
    "not summed over axis 0 of the output: only position 0 is counted": (
        made(np.add, lambda g, y, a, b: g, lambda g, y, a, b: g[0]),
        B,
        A[0],
    ),
    "a mean over axis 0 of the output in place of a sum": (
        made(np.add, lambda g, y, a, b: g, lambda g, y, a, b: g / 4),
        B,
        A[0],
    ),
    "a constant factor 3": (made(np.exp, lambda g, y, x: 3 * g * y), B),
    "exchanged with the gradient of argument 0": (
        made(np.multiply, lambda g, y, a, b: g * a, lambda g, y, a, b: g * b),
        B,
        B[::-1].copy(),
    ),
    "missing at 1 of 12 elements": (made(np.exp, lambda g, y, x: one_missing(g * y, x)), B),
}


@pytest.mark.parametrize("guess", GUESSES)
def test_a_simple_mistake_is_named(guess):
    f, *args = GUESSES[guess]
    assert f"perhaps {guess}\n" in verdict(f, *args)


def test_the_report_names_argument_index_values_and_ratio():
    text = verdict(lambda x, W: made(np.tanh, lambda g, y, x: 2 * g * (1 - y * y))(x @ W), B, A, wrt="W")
    assert text.startswith("the gradient of order 1 is wrong in W (3, 3)\n  at index (")
    assert "analytic" in text and "numeric" in text and "ratio 2\n" in text
    assert "the rule of input 0 of made is wrong by itself" in text


def test_a_large_argument_is_halved_until_the_element_is_found():
    mask = np.zeros((50, 50))
    mask[17, 31] = 1.0
    text = verdict(made(np.tanh, lambda g, y, x: g * (1 - y * y) + g * mask), rng.standard_normal((50, 50)))
    assert "at index (17, 31)" in text


def test_the_second_order_is_checked_by_itself():
    f = made(np.exp, lambda g, y, x: g * y.detach())
    check_gradients(f, B, order=1)
    assert "the gradient of order 2" in verdict(f, B)


def loop(x, W, wrong_at=None, cut_at=None):
    right, wrong = tr.tanh, made(np.tanh, lambda g, y, x: g * (1 - y))
    h = x * 0.5
    with tr.scope("rnn"):
        for t, a in tr.steps(tr.stack([x] * 5)):
            h = (wrong if t == wrong_at else right)(h @ W + a)
            h = h.detach() * 1 if t == cut_at else h
    return (h * h).sum()


def test_the_step_at_which_gradients_part_is_named():
    check_gradients(loop, B, A)
    text = verdict(lambda x, W: loop(x, W, wrong_at=3), B, A)
    assert "the rule of input 0 of made in 'rnn' at step t=3 is wrong by itself" in text
    assert "what step t=2 carries on is the first to get a wrong gradient" in text


def test_a_cut_is_named():
    assert "a .detach() cuts the graph at" in (text := verdict(lambda x, W: loop(x, W, cut_at=2), B, A))
    assert "at step t=2" in text


def test_values_computed_outside_of_the_graph_are_suspected():
    assert "outside of it" in verdict(lambda x: x * x.data, B)


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (tr.relu, 0.0),
        (tr.absolute, 0.0),
        (tr.sign, 0.0),
        (lambda x: tr.maximum(x, 1.0), 1.0),
        (lambda x: tr.max(tr.stack([x, x * 2 - 1])), 1.0),
        (lambda x: tr.where(tr.greater(x, 1.0), x * 2, x), 1.0),
        (lambda x: tr.square(tr.relu(x)), 0.0),
    ],
)
def test_a_kink_is_a_verdict_of_its_own(f, x):
    with pytest.raises(KinkError, match="a kink"):
        check_gradients(f, np.array([2.0, x, -1.0]) if f in (tr.relu, tr.absolute) else x)
    check_gradients(f, x + 0.3)
    check_gradients(f, x + 1e-3)


@pytest.mark.parametrize("f", [lambda x: tr.exp(30 * x), lambda x: 1e-9 * tr.tanh(x), lambda x: tr.tanh(1e9 + x), tr.sin])
def test_steep_flat_and_tiny_functions_pass(f):
    check_gradients(f, B)


def test_a_derivative_that_cannot_be_seen_is_undecided_and_no_pass():
    wrong = made(np.tanh, lambda g, y, x: 2 * g * (1 - y * y))
    with pytest.raises(GradientCheckError):
        check_gradients(lambda x: 1e17 + wrong(x), B)


def test_a_steep_wrong_gradient_is_not_lost_beside_large_ones():
    """No tolerance is absolute or relative to the largest element: errors of small elements next to large ones are found."""
    f = made(np.exp, lambda g, y, x: g * (y + (y.data < 1e-2) * 1e-4))
    assert "wrong" in verdict(f, np.array([-6.0, 3.0, 2.0]))


def test_gradients_that_are_not_finite_are_reported():
    assert "is inf at index (0,)" in verdict(tr.sqrt, np.array([0.0]))
    assert "not finite at this point" in verdict(tr.log, np.array([0.0]))


def test_conduct():
    assert "not deterministic" in verdict(lambda x: x * np.random.default_rng().random(), B)
    assert "must return tensors, not ndarray" in verdict(lambda x: x.data, B)
    assert "no floats" in verdict(lambda x: x > 0, B)
    assert "no argument has floats" in verdict(lambda x: x, np.arange(3))
    assert "i must have floats" in verdict(lambda x, i: x[i], B, np.arange(3), wrt="i")
    assert "is no argument" in verdict(lambda x: x, B, wrt="y")

    def changes(a, out=None):
        a *= 2
        return a

    assert "in place" in verdict(made(changes, lambda g, y, x: 2 * g), B)
    assert "not linear in the cotangent" in verdict(made(np.positive, lambda g, y, x: g + 1), B)
    constant_g = made(np.exp, lambda g, y, x: g.detach() * y)
    assert "grad" in verdict(constant_g, B)


def test_parameters_are_rebound_and_put_back():
    W = tr.Parameter(A, symbol="W", dtype="float32")
    before = W.node
    W.grad = tr.tensor(np.ones((3, 3)))
    report = check_gradients(lambda x: tr.tanh(x @ W), B, wrt=["x", W])
    assert W.node is before and W.dtype == np.float32 and (W.grad.data == 1).all()
    assert report.arguments == ["x (4, 3)", "W (3, 3)"]
    assert "to order 2 in x (4, 3), W (3, 3)" in str(report)


def test_nested_results_and_fixed_arguments():
    check_gradients(lambda x, i: {"a": (x[i], [x * 2, None]), "b": tr.tanh(x)}, B, np.array([0, 0, 2]))
    check_gradients(lambda x: (x.astype("float32"), x * x)[1], B)
    check_gradients(lambda x: x.sum(), np.zeros((0, 3)))
    check_gradients(lambda x: x * 2, 1.5)


def test_what_nothing_depends_on_is_mentioned():
    assert "(zero everywhere in x)" in str(check_gradients(lambda x: x * 0 + 3, B))


def test_a_users_own_primitive_in_one_line():
    @tr.primitive(gradient=(lambda g, y, x: -g * y * y,), formula="1/{x}", domain=tr.ops.Domain(tr.ops.POSITIVE))
    def inverse(x, *, out=None):
        return np.reciprocal(x, out=out)

    try:
        report = check_primitive(inverse)
        assert report.gradients == report.cases > 50 and report.barred == 0
        assert "inverse: kernel, out=" in str(report) and "right to order 2" in str(report)
        with pytest.raises(GradientCheckError, match="perhaps a wrong sign"):
            check_primitive(corrupted(inverse, 0, "negated"))
    finally:
        del tr.ops.registry["inverse"]


KERNELS = {
    "changes its input": lambda a, out=None: np.negative(a, out=a) if out is None else np.negative(a, out=out),
    "does not return the array given as out=": lambda a, out=None: np.negative(a),
    "different values with out= and without": lambda a, out=None: np.negative(a) if out is None else np.add(a, 1, out=out),
    "but the shape rule says": lambda a, out=None: np.negative(a)[..., None],
    "does not accept an additional leading axis": lambda a, out=None: np.add(-a, a.ndim, out=out),
}


@pytest.mark.parametrize("words", KERNELS)
def test_a_kernel_that_breaks_the_contract_is_caught(words):
    bad = made(KERNELS[words], lambda g, y, x: -g)
    with pytest.raises(GradientCheckError, match=words):
        check_case(bad, Case((B.copy(),), {}))


@pytest.mark.parametrize("raised", [ValueError, LookupError, ZeroDivisionError])
@pytest.mark.parametrize("ndim", [3, 4])
def test_a_kernel_that_raises_on_a_further_leading_axis_does_not_pass_it_through(raised, ndim):
    def refuses(a, out=None):
        if a.ndim == ndim:
            raise raised("a matrix is needed")
        return np.negative(a, out=out)

    bad, case = made(refuses, lambda g, y, x: -g), Case((np.ones((2,) * (ndim - 1)),), {})
    with pytest.raises(GradientCheckError, match=r"does not accept an additional leading axis.* \(a matrix is needed\)"):
        check_case(bad, case)


@pytest.mark.parametrize("point", np.linspace(-0.05, 0.05, 11))
def test_a_kink_near_by_misleads_nobody(point):
    for seed in range(3):
        try:
            check_gradients(lambda x, U: tr.relu(x * U), np.array([point]), np.array([0.5429]), order=1, seed=seed)
        except KinkError:
            assert abs(point) < 1e-4


@contextlib.contextmanager
def registered(function, *rules, **options):
    made = tr.primitive(gradient=rules, formula="f", **options)(function)
    try:
        yield made
    finally:
        del tr.ops.registry[made.name]


def hard(u, *, out=None):
    return np.clip(u, -2.5, 2.5, out=out)


def larger(u, v, *, out=None):
    return np.maximum(u, v, out=out)


def above(u, *, least, out=None):
    return np.maximum(u, least, out=out)


def jumps(u, *, out=None):
    return np.add(u, u > 1, out=out)


KINKS = {
    "2.5": (hard, lambda u: np.abs(u) - 2.5, [lambda g, y, u: g * (abs(u) < 2.5)], None),
    "equal": (larger, lambda u, v: u - v, [lambda g, y, u, v: g * (u > v), lambda g, y, u, v: g * (v >= u)], None),
    "0.37": (
        above,
        lambda u, least: u - least,
        [lambda g, y, u, least: g * (u > least)],
        lambda choose, *shapes: {"least": 0.37},
    ),
    "1": (jumps, lambda u: u - 1, [lambda g, y, u: g], None),
}


@pytest.mark.parametrize("where", KINKS)
def test_a_kink_that_the_domain_does_not_declare_is_found(where):
    function, kinks, rules, attributes = KINKS[where]
    shape = (lambda u, least: u) if attributes else tr.ops.core.elementwise
    words = pytest.raises(GradientCheckError, match=rf"has a kink where inputs are -?{where}.*kinks=")
    with registered(function, *rules, shape=shape, domain=Domain(REAL, attributes=attributes)) as p, words:
        check_primitive(p, examples=20)
    with registered(function, *rules, shape=shape, domain=Domain(REAL, attributes=attributes, kinks=kinks)) as p:
        assert check_primitive(p, examples=20).gradients


def test_where_a_function_is_not_defined_is_found():
    def inverse(u, *, out=None):
        return np.reciprocal(u, out=out)

    words = pytest.raises(GradientCheckError, match=r"not finite where inputs are 0, .*Interval")
    with registered(inverse, lambda g, y, u: -g * y * y) as p, words:
        check_primitive(p, examples=20)


def centred(u, *, out=None):
    return np.subtract(u, u.sum(), out=out)


def first_reversed(u, *, out=None):
    value = np.flip(u, 0)
    return value if out is None else np.positive(value, out=out)


LEADING = {
    centred: lambda g, y, u: g - g.sum(),
    first_reversed: lambda g, y, u: tr.flip(g, 0),
}


@pytest.mark.parametrize("function", LEADING, ids=lambda f: f.__name__)
def test_what_leading_says_is_held_to(function):
    domain = Domain(REAL, shapes=lambda choose: [(2, *choose.shape(0, 2))])
    words = pytest.raises(GradientCheckError, match="does not accept an additional leading axis")
    with registered(function, LEADING[function], domain=domain) as p, words:
        check_primitive(p, examples=20)
    with registered(function, LEADING[function], domain=domain, leading=lambda attributes, shapes: NotImplemented) as p:
        report = check_primitive(p, examples=20)
        assert report.barred == report.cases and "does not pass through, as declared" in str(report)


def test_a_leading_axis_passes_through_unequal_ranks_made_equal_and_only_there():
    a, b = B.copy(), B[0].copy()
    assert check_case(tr.ops.registry["add"], Case((a, b), {})).barred == 0
    assert check_case(tr.ops.registry["matmul"], Case((np.stack([a.T, a.T]), a), {})).barred == 0


def test_attributes_that_let_no_leading_axis_through_say_so():
    array, part = tr.ops.indexing.ARRAY, np.array([0, 2, 2])
    getitem, scatter, einsum = (tr.ops.registry[name] for name in ("getitem", "scatter", "einsum"))
    assert check_case(getitem, Case((B.copy(),), {"index": (1, slice(None, None, -1))})).barred == 0
    assert check_case(getitem, Case((B.copy(), part), {"index": (array,)})).barred == 1
    attributes = {"indices": ((array,),), "shape": (4, 3)}
    assert check_case(scatter, Case((B[:3].copy(), part), attributes)).barred == 1
    assert check_case(einsum, Case((B.copy(), B.copy()), {"subscripts": "Zi,Zj->ij"})).barred == 0


@pytest.mark.parametrize("point", [[0.3, 0.1], (0.3, 0.1), [[0.3], [0.1]], [1, 0.5], [np.float32(0.25), 0.5]], ids=str)
def test_a_list_of_numbers_is_an_argument_like_an_array(point):
    def right(a, x):
        return tr.sum(tr.sin(x) * a)

    def wrong(a, x):
        x = tr.tensor(x) if not isinstance(x, tr.Tensor) else x
        return tr.sum(tr.sin(x).detach() * a)

    a = np.full(np.shape(point), 2.0)
    assert "x" in str(check_gradients(right, a, point)) and str(np.shape(point)) in str(check_gradients(right, a, point))
    with pytest.raises(GradientCheckError):
        check_gradients(wrong, a, point)


# -- functions that are hard to see, at points that are hard to see them at ---------------------------------

normal = np.random.default_rng(1).standard_normal
wide_scales = np.array([1e8, 1.0, 1e-8])

HARD = {
    "1/x near 0": (lambda x: 1 / x, [1e-6]),
    "1/x at several scales": (lambda x: 1 / x, [np.array([1e-6, 1.0, -1e5])]),
    "log near 0": (tr.log, [1e-8]),
    "log at several scales": (tr.log, [np.array([1e-100, 1e-8, 1.0, 1e100])]),
    "power near 0": (lambda x: x**0.5, [1e-12]),
    "square roots summed": (lambda x: tr.sqrt(x).sum(), [np.array([1e-12, 1e-3, 4.0])]),
    "fast": (lambda x: tr.sin(1e5 * x), [normal(3)]),
    "faster": (lambda x: tr.sin(1e7 * x), [normal(3)]),
    "one flat, one steep": (lambda a, b: tr.tanh(1e-6 * a) * tr.tanh(1e6 * b), [0.3, 1e-7]),
    "steep": (lambda x: tr.sigmoid(1e4 * x), [np.array([1e-4, -2e-4, 1e-3])]),
    "steep at 0": (lambda x: tr.sigmoid(1e4 * x), [np.zeros(2)]),
    "steep exponentials summed": (lambda x: tr.exp(30 * x).sum(), [normal(5)]),
    "cancelling": (lambda x: (x + 1e8) - 1e8, [0.37]),
    "cancelling small": (lambda x: (x + 1e8) - 1e8, [1e-3]),
    "cancelling tanh": (lambda x: (tr.tanh(x) + 1e8) - 1e8, [normal(4)]),
    "cancelling sum": (lambda x: ((x * x + 1e6) - 1e6).sum(), [normal(4)]),
    "cancelling polynomial": (lambda x: x * x * x - 3 * x * x + 3 * x - 1, [1.0001]),
    "exp, large": (tr.exp, [700.0]),
    "exp, tiny": (tr.exp, [-700.0]),
    "logsumexp of large": (tr.logsumexp, [1e8 + np.arange(3.0)]),
    "logsumexp of both": (tr.logsumexp, [np.array([1e5, 1e5 + 1, 3.0])]),
    "huge values": (lambda x: 1e200 * tr.tanh(x), [normal(3)]),
    "tiny values": (lambda x: 1e-200 * tr.tanh(x), [normal(3)]),
    "huge arguments": (lambda x: x * x, [1e100 * normal(3)]),
    "tiny arguments": (lambda x: x * x, [1e-100 * normal(3)]),
    "many terms": (lambda x: (x * x).sum(), [normal(10_000)]),
    "squares of several scales": (lambda x: (x * x).sum(), [wide_scales]),
    "outputs of several scales": (lambda x: (1e10 * x, tr.tanh(x), 1e-10 * tr.exp(x)), [normal(3)]),
    "a small part": (lambda x: 1 + 1e-9 * tr.tanh(x), [normal(3)]),
    "cos near 0": (tr.cos, [1e-9]),
    "a kink near by": (lambda x: tr.relu(x - 1).sum(), [np.array([1 + 1e-5, 2.0, 0.3])]),
    "nearly its limit": (lambda x: tr.sin(x) / x, [1e-6]),
    "sharp norm": (lambda x: tr.sqrt((x * x).sum()), [1e-8 * normal(4)]),
}
TWISTED = {
    "factor 2": lambda g, y, x: 2 * g,
    "sign": lambda g, y, x: -g,
    "slightly off": lambda g, y, x: 1.001 * g,
    "zero": lambda g, y, x: 0 * g,
    "reversed": lambda g, y, x: reversed_(g, x) if g.ndim and g.shape[-1] > 1 else 2 * g,
}


@pytest.mark.parametrize("name", HARD)
def test_a_right_gradient_passes_wherever_it_can_be_seen(name):
    f, args = HARD[name]
    check_gradients(f, *args)


@pytest.mark.parametrize("f", [tr.sigmoid, tr.tanh, tr.softmax, tr.logsumexp, lambda x: tr.sigmoid(30 * x) * tr.exp(x)])
def test_the_complex_step_judges_what_is_smooth(f):
    assert check_gradients(f, 3 * B).oracles == ["the complex step"]


@pytest.mark.parametrize("name", HARD)
def test_a_wrong_gradient_passes_nowhere(name):
    f, args = HARD[name]
    for words, rule in TWISTED.items():
        twist = made(np.positive, rule)
        with pytest.raises(GradientCheckError) as raised:
            check_gradients(lambda x, *rest, twist=twist: f(twist(x), *rest), *args)
        assert raised.value.verdict in ("wrong", "undecided"), words


STEADY = {
    "a sum that is always 1": (lambda x: tr.softmax(x).sum(), [normal(4)]),
    "a norm that is always 1": (lambda x: tr.sqrt(((x / tr.sqrt((x * x).sum())) ** 2).sum()), [normal(4)]),
}


@pytest.mark.parametrize("name", STEADY)
def test_a_gradient_that_is_zero_but_for_rounding_passes(name):
    f, args = STEADY[name]
    check_gradients(f, *args)


SHARP = {
    "logsumexp": (tr.logsumexp, [np.array([1e300, 1e300])]),
    "softmax": (tr.softmax, [np.array([1e16, 1e16, 0.0])]),
    "branches by value": (lambda x: tr.where(x.data > 1, 2 * x - 1, x), [np.ones(1)]),
}


@pytest.mark.parametrize("name", SHARP)
def test_what_bends_within_the_last_digits_is_undecided(name):
    f, args = SHARP[name]
    with pytest.raises(UndecidedError, match="all operations of its graph are smooth"):
        check_gradients(f, *args)


@pytest.mark.parametrize(("f", "x"), [(tr.sin, 1e12), (lambda x: (1 - tr.cos(x)) / x, 1e-5)], ids=["fast", "nearly 0 / 0"])
@pytest.mark.parametrize("seed", range(5))
def test_rounding_is_never_called_wrong(f, x, seed):
    with contextlib.suppress(UndecidedError):
        check_gradients(f, x, order=1, seed=seed)


CANCELLING = {
    "(1 - cos x) / x": lambda x: (1 - tr.cos(x)) / x,
    "(e^x - 1) / x": lambda x: (tr.exp(x) - 1) / x,
    "(x - sin x) / x^2": lambda x: (x - tr.sin(x)) / x**2,
}


@pytest.mark.parametrize("name", CANCELLING)
@pytest.mark.parametrize("x", ([1e-3], [1e-5], [1e-6, 1.0]), ids=str)
def test_cancellation_is_never_called_wrong(name, x):
    """Checks of slopes, of linearity in the cotangent, and of `grad` against `jvp` do not depend on lost digits."""
    with contextlib.suppress(UndecidedError):
        check_gradients(CANCELLING[name], np.array(x))


def test_points_without_a_finite_derivative_are_undecided():
    for f in (tr.log, tr.sqrt):
        with pytest.raises(UndecidedError, match="move the arguments"):
            check_gradients(f, np.array([0.0, 1.0]))
    assert (GradientCheckError.verdict, KinkError.verdict, UndecidedError.verdict) == ("wrong", "kink", "undecided")


# -- rules that are right only here, or only now ------------------------------------------------------------


def remembering(function, rule, at):
    """A primitive whose rule returns the result of the n-th call from then on."""
    kept = []

    def remembered(g, y, x):
        kept.append(rule(y.detach(), x.detach()))
        return g * kept[min(at, len(kept) - 1)]

    return made(function, remembered)


CACHES = {
    "shape": lambda x: x.shape,
    "first element": lambda x: float(x.ravel()[0]),
    "sum": lambda x: round(float(x.sum()), 1),
    "three digits": lambda x: tuple(np.round(x, 3).ravel()),
    "five digits": lambda x: tuple(np.round(x, 5).ravel()),
    "nothing": lambda x: None,
}


@pytest.mark.parametrize("key", CACHES)
def test_a_factor_that_is_kept_by_a_key_that_is_too_coarse_is_caught(key):
    kept = {}

    def rule(g, y, x):
        return g * kept.setdefault(CACHES[key](x.data), (1 - y * y).detach())

    assert "wrong" in (text := verdict(made(np.tanh, rule), B)) or "remembers" in text
    graphs = {}
    assert (
        "wrong" in (text := verdict(lambda x: x * graphs.setdefault(CACHES[key](x.data), tr.exp(x)), B)) or "remembers" in text
    )


@pytest.mark.parametrize("n", [2, 3, 5, 7, 11])
def test_what_is_wrong_at_every_nth_call_is_caught(n):
    calls = itertools.count()
    verdict(made(np.tanh, lambda g, y, x: g * (1 - y * y) * (1.5 if next(calls) % n == 0 else 1)), B)


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("order", [1, 2])
def test_a_rule_that_remembers_an_earlier_call_is_caught(at, order):
    text = verdict(remembering(np.tanh, lambda y, x: 1 - y * y, at), B, order=order)
    assert "wrong" in text or "remembers" in text


def test_a_function_that_remembers_an_earlier_call_is_caught():
    first = []

    def f(x):
        y = tr.tanh(x)
        first.append(y.data)
        return y - y.detach() + first[0]

    assert "wrong" in verdict(f, B)
    calls = itertools.count()
    assert "remembers" in verdict(lambda x: x * 2 + float(next(calls) > 20), B)


def test_what_is_wrong_in_the_second_order_alone_is_caught_by_the_function_s_own_curvature():
    """The gradient of the gradient and its differences both use the stale rule, and agree."""
    right, stale = 1 - np.tanh(B) ** 2, made(np.tanh, lambda g, y, x: g * right)
    right = tr.tensor(right)
    assert "second differences of the function" in verdict(stale, B) or "wrong" in verdict(stale, B)


SYMMETRIC = A + A.T
COINCIDENCES = {
    "a symmetric matrix": (lambda g, y, a, b: g @ b, lambda g, y, a, b: a.T @ g, (A, SYMMETRIC)),
    "a matrix of ones": (lambda g, y, a, b: g @ b.T, lambda g, y, a, b: a @ g, (np.ones((3, 3)), A)),
    "the identity": (lambda g, y, a, b: g @ b, lambda g, y, a, b: a.T @ g, (A, np.eye(3))),
    "both the same": (lambda g, y, a, b: g @ a.T, lambda g, y, a, b: a.T @ g, (A, A.copy())),
}


@pytest.mark.parametrize("name", COINCIDENCES)
def test_a_rule_that_is_right_by_coincidence_is_caught(name):
    *rules, args = COINCIDENCES[name]
    bad = made(np.matmul, *rules)
    bad.shape = tr.ops.registry["matmul"].shape
    assert "arguments moved by" in verdict(bad, *args, order=1)
    verdict(bad, *args)


@pytest.mark.parametrize("rule", [lambda g, y, x: g * x, lambda g, y, x: g * x * x], ids=["x for 1", "x² for 1"])
def test_a_rule_that_is_right_at_ones_alone_is_caught(rule):
    assert "arguments moved by" in verdict(made(np.positive, rule), np.ones(3), order=1)


def in_place(g, y, x):
    y.data.flags.writeable = True
    y.data[...] = 0
    return g


def test_a_rule_that_changes_a_value_in_place_is_caught():
    with pytest.raises((GradientCheckError, ValueError)):
        check_gradients(made(lambda a, out=None: np.add(a, 1, out=out), in_place), B)


# -- rules that are wrong for some dtypes, sizes or numbers -------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("part", ["kernel", "rule"])
def test_what_is_wrong_in_a_coarser_dtype_alone_is_caught(dtype, part):
    def bends(u, *, out=None):
        off = 1.5 if part == "kernel" and u.dtype == dtype else 1.0
        return np.multiply(np.tanh(u), u.dtype.type(off), out=out)

    def rule(g, y, u):
        return g * (1 - y * y) * (2.0 if part == "rule" and g.dtype == dtype else 1.0)

    with (
        registered(bends, rule) as p,
        pytest.raises(GradientCheckError, match=f"the (kernel|gradient of input 0) in {dtype} differs"),
    ):
        check_primitive(p, examples=10)


FAR = {
    "above 10": lambda x: x > 10,
    "below -10": lambda x: x < -10,
    "above 500": lambda x: x > 500,
    "near 0": lambda x: abs(x) < 0.01,
}


@pytest.mark.parametrize("where", FAR)
def test_a_rule_that_is_wrong_for_large_or_small_numbers_alone_is_caught(where):
    def cube(u, *, out=None):
        return np.multiply(u * u, u, out=out)

    def rule(g, y, u):
        return g * 3 * u * u * tr.where(FAR[where](u), 1.1, 1.0)

    with registered(cube, rule) as p, pytest.raises(GradientCheckError, match="wrong"):
        check_primitive(p)


def wrong_where(condition):
    """A cell whose gradient is wrong in runs that fulfil a condition."""
    doubled = made(np.positive, lambda g, y, x: 2 * g)

    class Cell(nn.Cell):
        def __init__(self, input_size, hidden_size):
            super().__init__()
            self.W = nn.Parameter((input_size, hidden_size), symbol="W")
            self.V = nn.Parameter((hidden_size, hidden_size), symbol="V")
            self.state_shape = (hidden_size,)

        def step(self, x, h):
            a = x @ self.W + h @ self.V
            h = tr.tanh(doubled(a) if condition(x.shape[0], x.shape[1], h.shape[1]) else a)
            return h, h

    return Cell


WHERE = {
    "batch 3": lambda b, n, h: b == 3,
    "equal sizes": lambda b, n, h: n == h > 1,
    "wide": lambda b, n, h: h > 3,
}


@pytest.mark.parametrize("name", WHERE)
def test_a_cell_that_is_wrong_for_some_sizes_alone_is_caught(name):
    with pytest.raises(GradientCheckError, match="wrong"):
        check_cell(wrong_where(WHERE[name]), examples=20)


def test_most_runs_of_a_cell_must_be_decided(monkeypatch):
    calls = itertools.count()

    def judged(*arguments, **options):
        if next(calls) % 3:
            raise UndecidedError("no oracle sees it")
        return check_gradients(*arguments, **options)

    monkeypatch.setattr("tinygrad_rnn.testing.cells.cell_check.check_gradients", judged)
    with pytest.raises(UndecidedError, match="are undecided"):
        check_cell(nn.RNNCell, examples=10)


@pytest.mark.parametrize("leave", [np.asarray, lambda h: h.data, lambda h: h.numpy()])
def test_a_step_that_leaves_the_graph_is_found(leave):
    W = np.array([[0.5, -0.3], [0.2, 0.7]])

    class Leaves(nn.Cell):
        def __init__(self, input_size, hidden_size):
            super().__init__()
            self.state_shape = (hidden_size,)
            self.W = nn.Parameter((hidden_size, hidden_size), symbol="W")

        def step(self, x, h):
            h = tr.tanh(x[:, :1] + tr.tensor(leave(h)) @ self.W).named("h")
            return h, h

    def by_hand(W, xs):
        h = tr.tensor(np.full((1, 2), 0.1))
        for _, x in tr.steps(xs):
            h = tr.tanh(x + leave(h) @ W)
        return h

    with pytest.raises(GradientCheckError):
        check_gradients(by_hand, W, np.ones((3, 1, 2)))
    with pytest.raises(GradientCheckError, match="recorded once for all t"):
        check_cell(Leaves)
    with pytest.raises(TraceError):
        Leaves(2, 3).equations()
