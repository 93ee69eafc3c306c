"""One rule for dtypes of all primitives, functions, losses and optimisers: right up to rounding in the result's dtype."""

import operator
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim
from tinygrad_rnn.errors import DtypeError, ShapeError, TinygradError
from tinygrad_rnn.graph.context import mode
from tinygrad_rnn.graph.node import Spec, leaf
from tinygrad_rnn.ops.core import apply, constant
from tinygrad_rnn.testing.cases import bounds, random_cases

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

INTEGERS = [np.dtype(code) for code in "?bhiqBHIQ"]
FLOATS = [np.dtype(code) for code in "efdg"]
DTYPES = INTEGERS + FLOATS
REFUSES_BOOLEANS = {"subtract", "negative", "sign"}


def close(found, expected, steps=16):
    """Equal up to a few roundings of the result's dtype; integers wrap around, as in NumPy."""
    assert found.shape == expected.shape
    if found.dtype.kind == "b":
        np.testing.assert_array_equal(found, expected != 0)
    elif found.dtype.kind in "iu":
        np.testing.assert_array_equal(found, expected.astype(np.int64).astype(found.dtype))
    else:
        eps = max(np.finfo(found.dtype).eps, np.finfo(float).eps)
        np.testing.assert_allclose(found.astype(float), expected, rtol=steps * eps, atol=steps * eps)


def drawn_as(x, interval, dtype, rng, natural):
    """Random numbers of this dtype, from the same interval."""
    if interval.kind == "bool":
        return x
    if interval.kind == "int":
        return np.abs(x).astype(dtype) if dtype.kind == "u" else x.astype(dtype) if dtype.kind == "i" else x
    if dtype.kind == "f":
        return x.astype(dtype)
    if dtype.kind == "b":
        return np.asarray(np.ones(x.shape) if interval.low == 0 else rng.random(x.shape) < 0.5).astype(bool)
    low, high = bounds(interval)
    least = max(int(np.floor(low)) + 1, 0 if dtype.kind == "u" or natural else -128)
    return np.asarray(rng.integers(least, int(high) + 1, x.shape), dtype)


def symbolic(arrays):
    return [tr.Tensor(leaf(Spec(x.shape, x.dtype))) for x in arrays]


def traced(call, arrays):
    with mode(tracing=True, recording=True):
        return call(*symbolic(arrays))


# -- primitives ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, p in tr.ops.registry.items() if p.__module__.startswith("tinygrad_rnn.")])
def test_a_primitive_is_right_in_every_dtype_and_its_shape_rule_knows_which(name):
    primitive = tr.ops.registry[name]
    for number, case in enumerate(random_cases(primitive, 25)):
        rng = np.random.default_rng(number)
        for dtype in DTYPES:
            arrays = [
                drawn_as(x, primitive.domain.of(i), dtype, rng, natural=name == "power") for i, x in enumerate(case.inputs)
            ]

            def call(*tensors, attributes=case.attributes):
                return apply(primitive, tensors, attributes)

            given = [tr.Tensor(constant(x)) for x in arrays]
            if dtype.kind == "b" and name in REFUSES_BOOLEANS:
                with pytest.raises(DtypeError, match=r"booleans .*\.astype"):
                    call(*given)
                with pytest.raises(DtypeError, match=r"booleans .*\.astype"):
                    traced(call, arrays)
                continue
            value = np.asarray(primitive.kernel(*arrays, **case.attributes))
            ruled = primitive.shape(*[Spec(x.shape, x.dtype) for x in arrays], **case.attributes)
            assert ruled == Spec(value.shape, value.dtype), dtype
            made, symbol = call(*given), traced(call, arrays)
            assert (made.dtype, made.shape) == (symbol.dtype, symbol.shape) == (value.dtype, value.shape)
            exact = [x.astype(float) if primitive.domain.of(i).kind == "float" else x for i, x in enumerate(arrays)]
            expected = np.asarray(primitive.kernel(*exact, **case.attributes))
            close(made.data, expected)
            out = np.empty(value.shape, value.dtype)
            assert primitive.kernel(*arrays, out=out, **case.attributes) is out
            close(out, value.astype(float) if value.dtype.kind == "f" else value)  # computed in place, so in another order


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_primitive_made_of_a_ufunc_knows_whether_it_is_of_integers(dtype):
    @tr.primitive(np.arctan, gradient=(lambda g, y, x: g / (1 + x * x),), formula=r"\arctan\left({x}\right)")
    def arctan_of_the_test(x):
        """Arc tangent."""

    try:
        x = np.array([0, 1, 1], dtype)
        found = arctan_of_the_test(x)
        assert found.dtype == traced(arctan_of_the_test, [x]).dtype == (dtype if dtype.kind == "f" else np.float64)
        close(found.data, np.arctan(x.astype(float)))
    finally:
        del tr.ops.registry["arctan_of_the_test"]


# -- functions -----------------------------------------------------------------------------------------

UNARY = [
    "exp",
    "expm1",
    "log",
    "log1p",
    "sqrt",
    "sin",
    "cos",
    "tanh",
    "absolute",
    "negative",
    "sign",
    "square",
    "sigmoid",
    "relu",
    "softplus",
    "softmax",
    "log_softmax",
    "logsumexp",
    "sum",
    "mean",
    "var",
    "std",
    "max",
    "min",
    "prod",
    "argmax",
    "cumsum",
    "transpose",
    "squeeze",
    "flip",
    "detach",
]
BINARY = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "power",
    "maximum",
    "minimum",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "equal",
    "not_equal",
    "outer",
]
CALLS = {name: lambda f, a, b: f(a) for name in UNARY} | {name: lambda f, a, b: f(a, b) for name in BINARY}
CALLS |= {
    "where": lambda f, a, b: f(a > 1, a, b),
    "clip": lambda f, a, b: f(a, b, 2 * b),
    "logical_and": lambda f, a, b: f(a > 1, b > 1),
    "logical_or": lambda f, a, b: f(a > 1, b > 1),
    "logical_not": lambda f, a, b: f(a > 1),
    "astype": lambda f, a, b: f(a, dtype=np.dtype(np.float32)),
    "matmul": lambda f, a, b: f(a, b.T),
    "dot": lambda f, a, b: f(a, b.T),
    "floor": lambda f, a, b: f(a),
    "floor_divide": lambda f, a, b: f(a, b),
    "remainder": lambda f, a, b: f(a, b),
    "mod": lambda f, a, b: f(a, b),
    "sort": lambda f, a, b: f(a),
    "argsort": lambda f, a, b: f(a),
    "roll": lambda f, a, b: f(a, 1),
    "einsum": lambda f, a, b: f("ij,ij->j", a, b),
    "concatenate": lambda f, a, b: f([a, b]),
    "stack": lambda f, a, b: f([a, b]),
    "split": lambda f, a, b: f(a, [1])[1],
    "take": lambda f, a, b: f(a, [1, 0], 0),
    "take_along_axis": lambda f, a, b: f(a, np.zeros((1, 4), int), 0),
    "getitem": lambda f, a, b: f(a, 1),
    "reshape": lambda f, a, b: f(a, (2, 6)),
    "broadcast_to": lambda f, a, b: f(a, (2, 3, 4)),
    "expand_dims": lambda f, a, b: f(a, 0),
    "moveaxis": lambda f, a, b: f(a, 0, 1),
    "swapaxes": lambda f, a, b: f(a, 0, 1),
    "tile": lambda f, a, b: f(a, 2),
    "pad": lambda f, a, b: f(a, 1),
    "mse": lambda f, a, b: f(a, b),
    "cross_entropy": lambda f, a, b: f(a, np.array([0, 3, 1])),
}


def result_dtype(name, call, a, b):
    """NumPy's dtype, but float64 if a function of integers gives floats."""
    if name in ("softmax", "log_softmax", "logsumexp", "sigmoid", "softplus", "mse", "cross_entropy"):
        found = np.result_type(a)
    elif hasattr(np, name) and name not in ("astype",):
        found = np.asarray(call(getattr(np, name), a, b)).dtype
        if not (found.kind == "f" and a.dtype.kind in "iub"):
            return found
    else:
        return np.dtype(np.float32) if name == "astype" else a.dtype
    return np.dtype(float) if a.dtype.kind in "iub" else found


@pytest.mark.parametrize("name", tr.ops.functions)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_function_is_right_in_every_dtype(name, dtype):
    function, call = getattr(tr, name, None) or getattr(tr.ops, name), CALLS[name]
    rng = np.random.default_rng(0)
    a, b = (rng.integers(1, 4, (3, 4)).astype(dtype) for _ in range(2))
    if dtype.kind == "b" and name in REFUSES_BOOLEANS:
        with pytest.raises(DtypeError):
            call(function, tr.tensor(a), tr.tensor(b))
        return
    if dtype.kind == "b" and name == "clip":
        pytest.skip("there are no booleans between others")
    found = call(function, tr.tensor(a), tr.tensor(b))
    symbol = traced(lambda a, b: call(function, a, b), [a, b])
    assert (found.dtype, found.shape) == (symbol.dtype, symbol.shape)
    assert found.dtype == result_dtype(name, call, a, b)
    close(found.data, call(function, tr.tensor(a.astype(float)), tr.tensor(b.astype(float))).data)


def extremes(dtype):
    """The ends of the dtype's range, 0, and some numbers in between, in random order."""
    info = np.iinfo(dtype)
    return [x.astype(dtype) for x in (np.array([0, 5, 3], dtype), np.array([info.min, info.max, 1], dtype))]


@pytest.mark.parametrize("dtype", INTEGERS[1:], ids=str)
def test_no_composition_negates_what_has_no_negative(dtype):
    for x in extremes(dtype):
        assert tr.min(x).data == x.min() and tr.max(x).data == x.max()
        assert (tr.argmax(x).data, tr.min(x).dtype) == (x.argmax(), x.dtype)
        exact = x.astype(float)
        for name in ("sigmoid", "softplus", "softmax", "log_softmax", "logsumexp", "mean", "var", "std"):
            f = getattr(tr, name)
            np.testing.assert_allclose(f(x).data, f(exact).data, rtol=1e-12)
            assert f(x).dtype == np.float64
        np.testing.assert_allclose(tr.mse(x, x[::-1].copy()).data, np.square(exact - exact[::-1]).mean(), rtol=1e-12)
        np.testing.assert_allclose(tr.cross_entropy(x, 1).data, -tr.log_softmax(exact).data[1], rtol=1e-12)
        np.testing.assert_allclose(tr.cross_entropy(exact[None], np.array([1], dtype)).data, -tr.log_softmax(exact).data[1])


@given(st.integers(1, 4), st.integers(0, 3), st.sampled_from(FLOATS), st.integers(0, 2**16))
def test_minimum_of_floats_as_numpy_has_it(n, axis, dtype, seed):
    x = np.random.default_rng(seed).integers(-2, 3, (n, 2, 3, 1)).astype(dtype)
    t = tr.tensor(x, requires_grad=True)
    y = tr.min(t, axis, keepdims=True)
    np.testing.assert_array_equal(y.data, x.min(axis, keepdims=True))
    y.sum().backward()
    ties = x == x.min(axis, keepdims=True)
    np.testing.assert_allclose(t.grad.data, (ties / ties.sum(axis, keepdims=True)).astype(dtype))


@pytest.mark.parametrize("code", "FDG")
def test_complex_numbers_are_refused(code):
    for make in (
        lambda: tr.tensor(np.ones(2, code)),
        lambda: tr.tensor([1.0]).astype(code),
        lambda: tr.tensor([1.0]) * np.ones(1, code),
        lambda: tr.tanh(np.ones(1, code)),
        lambda: nn.mse(np.ones(2, code), np.ones(2)),
        lambda: tr.Parameter(np.ones(2, code)),
    ):
        with pytest.raises(DtypeError):
            make()


# -- accumulation --------------------------------------------------------------------------------------

LONG = 70_000
SUMS = {
    "mean": lambda x: tr.mean(x, 0),
    "var": lambda x: tr.var(x, 0),
    "std": lambda x: tr.std(x, 0),
    "sum": lambda x: tr.sum(x, 0),
    "cumsum": lambda x: tr.cumsum(x, 0),
    "prod": lambda x: tr.prod(1 + x[:20], 0),
    "softmax": lambda x: tr.softmax(x, 0),
    "log_softmax": lambda x: tr.log_softmax(x, 0),
    "logsumexp": lambda x: tr.logsumexp(x, 0),
    "max": lambda x: tr.max(x, 0),
    "einsum": lambda x: tr.einsum("ij->j", x),
    "matmul": lambda x: tr.matmul(x.T, x),
    "mse": lambda x: tr.mse(x, np.zeros((LONG, 2), np.float16)),
    "cross_entropy": lambda x: tr.cross_entropy(x, np.ones(LONG, int)),
    "probabilities": lambda x: tr.cross_entropy(x, np.full((LONG, 2), 0.5, np.float16)),
    "embedding": lambda x: x[np.zeros(LONG, int)].mean(),
}


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("level", [0.0, 0.25])
def test_sums_of_many_halves_and_their_gradients(name, level):
    f = SUMS[name]
    x = (np.random.default_rng(0).integers(-1, 2, (LONG, 2)) * level * 2 + level / 2**6).astype(np.float16)
    half, double = tr.tensor(x, requires_grad=True), tr.tensor(x.astype(float), requires_grad=True)
    found, expected = f(half), f(double)
    assert found.dtype == np.float16
    np.testing.assert_allclose(
        found.data, expected.data.astype(np.float16), rtol=4e-3, atol=4e-3 if name != "softmax" else 1e-7
    )
    if level == 0.0 and name == "std":
        return  # there is no derivative
    y = np.random.default_rng(1).integers(0, 2, found.shape).astype(np.float16)
    (slope,), (exact,) = (tr.grad([z], [t], [y.astype(z.dtype)]) for z, t in ((found, half), (expected, double)))
    assert slope.dtype == np.float16
    exact = exact.data.astype(np.float16).astype(float)  # rounded as in float16, also for very small and very large numbers
    np.testing.assert_allclose(
        slope.data.astype(float), exact, rtol=6e-3, atol=2e-7 + 2e-3 * np.abs(exact[np.isfinite(exact)]).mean()
    )


def test_the_gradient_of_a_value_that_many_steps_read():
    for mode_ in ("scan", "unroll"):
        cell = Adds()
        outputs, _ = nn.Recurrent(cell, mode=mode_)(np.zeros((5000, 1, 2), np.float16))
        (outputs * np.float16(0.125)).sum().backward()
        assert cell.b.grad.dtype == np.float16
        np.testing.assert_array_equal(cell.b.grad.data, [625, 625])


class Adds(nn.Cell):
    def __init__(self):
        super().__init__()
        self.b = nn.Parameter(np.zeros(2, np.float16), "b")
        self.state_shape = (2,)

    def step(self, x, h):
        h = tr.tanh(x + self.b)
        return h + 0 * x, h


# -- steps over integers -------------------------------------------------------------------------------


class Counts(nn.Cell):
    """A step that applies all kinds of functions to integers."""

    def __init__(self):
        super().__init__()
        self.state_shape = (3,)

    def step(self, x, h):
        mean = x.mean(axis=-1, keepdims=True)
        parts = [tr.tanh(x), tr.sigmoid(x), tr.softmax(x), tr.min(x, -1, keepdims=True) / 2, tr.std(x, -1, keepdims=True)]
        parts += [
            tr.exp(x / 8),
            tr.log1p(tr.absolute(x)),
            tr.relu(x) * 1.0,
            tr.where(x > 1, x, 2) / 4,
            tr.sqrt(tr.maximum(x, 1)),
        ]
        y = sum((p - mean for p in parts), tr.cumsum(x, -1) * 0.5)
        return (y + h, tr.max(x, -1), x * x), tr.tanh(h + y)


@pytest.mark.parametrize("dtype", INTEGERS[1:], ids=str)
def test_scan_is_unroll_for_small_integers(dtype):
    xs = np.random.default_rng(0).integers(0, 6, (4, 2, 3)).astype(dtype)
    results = []
    for mode_ in ("scan", "unroll"):
        layer = nn.Recurrent(Counts(), mode=mode_)
        outputs, h = layer(xs, np.zeros((2, 3)))
        results.append([*outputs, h])
    exact, h = nn.Recurrent(Counts(), mode="unroll")(xs.astype(float), np.zeros((2, 3)))
    for scan, unroll, right in zip(*results, [*exact, h], strict=True):
        assert scan.dtype == unroll.dtype
        np.testing.assert_allclose(scan.data, unroll.data, rtol=1e-12)
        np.testing.assert_allclose(scan.data, right.data, rtol=1e-12)


STEPS = [
    lambda a, b: a + b,
    lambda a, b: a - b,
    lambda a, b: a * b,
    lambda a, b: tr.maximum(a, b),
    lambda a, b: tr.where(a > b, a, b),
    lambda a, b: -a,
    lambda a, b: tr.min(a, -1, keepdims=True) + b,
    lambda a, b: tr.sum(a, -1, keepdims=True) + b,
    lambda a, b: tr.tanh(a),
    lambda a, b: a / (tr.absolute(b) + 1),
    lambda a, b: tr.sigmoid(a) * b,
    lambda a, b: tr.concatenate([a[:, :1], b[:, 1:]], -1),
    lambda a, b: a * 2,
    lambda a, b: a + 1,
]


class Random(nn.Cell):
    """A step made of random operations on its input, its state and an array."""

    def __init__(self, seed, state, array):
        super().__init__()
        self.seed, self.state, self.array = seed, state, array
        self.state_shape = (3,)

    def initial_state(self, batch_size):
        return tr.tensor(np.ones((batch_size, 3), self.state))

    def step(self, x, h):
        rng = np.random.default_rng(self.seed)

        def made(depth):
            if not depth:
                return [x, h, h, tr.tensor(self.array)][rng.integers(4)]
            return STEPS[rng.integers(len(STEPS))](made(depth - 1), made(depth - 1))

        y, z = made(3), made(3)
        return (y, z), z.astype(self.state)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(st.integers(0, 10**6), *[st.sampled_from([*INTEGERS, np.dtype(float)])] * 3)
def test_scan_is_unroll_for_random_steps_over_integers(seed, state, inputs, array):
    rng = np.random.default_rng(seed)
    xs, array = rng.integers(0, 5, (4, 2, 3)).astype(inputs), rng.integers(0, 3, (2, 3)).astype(array)
    results = []
    for mode_ in ("scan", "unroll"):
        try:
            outputs, h = nn.Recurrent(Random(seed, state, array), mode=mode_)(xs)
            results.append([*outputs, h])
        except DtypeError as error:
            results.append(type(error))
    if DtypeError in results:
        assert results == [DtypeError, DtypeError]
        return
    for scan, unroll in zip(*results, strict=True):
        assert scan.dtype == unroll.dtype
        np.testing.assert_allclose(scan.data, unroll.data, rtol=1e-12, atol=1e-12)


def test_booleans_without_a_sign_are_refused_in_both_modes():
    class Negates(nn.Cell):
        state_shape = (3,)

        def step(self, x, h):
            return -(x > 1) * h, h

    for mode_ in ("scan", "unroll"):
        with pytest.raises(DtypeError, match="booleans"):
            nn.Recurrent(Negates(), mode=mode_)(np.zeros((2, 2, 3)), np.zeros((2, 3)))


# -- diagonals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("subscripts, shapes", [
    ("ii->i", [(3, 3)]), ("ii", [(3, 3)]), ("ii", [(0, 0)]), ("iji->ji", [(3, 2, 3)]), ("iii->i", [(2, 2, 2)]),
    ("bii,ij->bj", [(2, 3, 3), (3, 4)]), ("iijj->ij", [(2, 2, 3, 3)]), ("...ii->...i", [(2, 3, 3)]),
])  # fmt: skip
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_diagonal_reads_nothing_beside_it(subscripts, shapes, dtype):
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 3, shape).astype(dtype) for shape in shapes]
    np.testing.assert_array_equal(tr.einsum(subscripts, *arrays).data, np.einsum(subscripts, *arrays))
    if dtype.kind == "f":
        x = np.full((3, 3), np.inf, dtype)
        np.fill_diagonal(x, [1, 2, 3])
        np.testing.assert_array_equal(tr.einsum("ii->i", x).data, [1, 2, 3])


def test_a_diagonal_of_a_matrix_that_is_not_square():
    with pytest.raises(ShapeError, match=r"'i' of \(1, 3\) have different lengths"):
        tr.einsum("ii->i", np.ones((1, 3)))


# -- optimisers ----------------------------------------------------------------------------------------

OPTIMISERS = {
    "sgd": lambda ps: optim.SGD(ps, 0.05, momentum=0.9, weight_decay=0.1),
    "adam": lambda ps: optim.Adam(ps, 0.05),
    "adamw": lambda ps: optim.AdamW(ps, 0.05, weight_decay=0.1),
    "rmsprop": lambda ps: optim.RMSProp(ps, 0.01, momentum=0.5),
    "centered": lambda ps: optim.RMSProp(ps, 0.01, centered=True),
}


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("scale", [1.0, 2.0**-12, 2.0**-20, 0.0])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_an_optimiser_goes_where_that_of_float64_goes(name, scale, dtype):
    ends = []
    gradients = (np.random.default_rng(0).integers(-2, 4, (20, 3)) * scale).astype(dtype)
    for kind in (dtype, np.dtype(float)):
        p = tr.Parameter(np.array([1.0, 0.0, -1.0], kind))
        optimizer = OPTIMISERS[name]([p])
        for g in gradients:
            p.grad = tr.tensor(g.astype(kind))
            optimizer.step()
        assert p.dtype == kind
        ends.append(p.data.astype(float))
        again = OPTIMISERS[name]([p])
        again.load_state_dict(optimizer.state_dict())
        for key, value in optimizer.state_dict().items():
            np.testing.assert_array_equal(again.state_dict()[key], value)
    # a rounding of the parameter at each step
    np.testing.assert_allclose(*ends, atol=20 * max(np.finfo(dtype).eps, 1e-16))
    assert np.isfinite(ends[0]).all()


def test_clipping_halves_measures_what_float64_measures():
    p = tr.Parameter(np.zeros(LONG, np.float16))
    p.grad = tr.tensor(np.full(LONG, 300, np.float16))
    assert optim.clip_grad_norm([p], 1.0) == pytest.approx(300 * np.sqrt(LONG))
    assert p.grad.dtype == np.float16


def test_every_function_has_a_row():
    assert CALLS.keys() == set(tr.ops.functions)


def test_empty_and_0d_arrays_in_every_dtype():
    for dtype in DTYPES:
        for shape in ((), (0,), (0, 3), (3, 0)):
            x = np.ones(shape, dtype)
            for name in UNARY:
                f = getattr(tr, name, None) or getattr(tr.ops, name)
                results = []
                for call in (lambda f=f, x=x: f(tr.tensor(x)), lambda f=f, x=x: traced(f, [x])):
                    try:
                        with warnings.catch_warnings():
                            warnings.simplefilter("ignore")
                            results.append((call().dtype, call().shape))
                    except TinygradError as error:
                        results.append(type(error))
                assert results[0] == results[1], (name, dtype, shape)


# -- Python numbers, and arrays of other kinds -----------------------------------------------------------


NUMBERS = [-(2**63), -32769, -129, -1, 0, 127, 128, 255, 256, 65536, 2**31, 2**63 - 1, 2**63, 2**64 - 1]
COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


@pytest.mark.parametrize("compare", COMPARISONS)
@pytest.mark.parametrize("dtype", INTEGERS[1:], ids=str)
def test_integers_are_compared_with_any_number_of_64_bits(compare, dtype):
    info = np.iinfo(dtype)
    x = np.array([info.min, 0, 1, info.max], dtype)
    for number in NUMBERS:
        exact = [compare(int(value), number) for value in x]
        for call in (lambda t, n=number: compare(t, n), lambda t, n=number: getattr(np, compare_name(compare))(t, n)):
            assert call(tr.tensor(x)).data.tolist() == exact
            assert traced(call, [x]).dtype == bool


def compare_name(compare):
    return {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal", "ne": "not_equal"}[
        compare.__name__
    ]


def test_a_step_compares_small_integers_with_large_numbers():
    class Step(nn.Cell):
        state_shape = (1,)

        def step(self, x, h):
            return tr.where((x == -1) | (x > 300), 0.0, x / 300), h

    xs = np.array([[[0]], [[150]], [[255]]], np.uint8)
    for mode_ in ("scan", "unroll"):
        ys, _ = nn.Recurrent(Step(), mode=mode_)(xs)
        np.testing.assert_array_equal(ys.data.ravel(), [0, 0.5, 0.85])


@pytest.mark.parametrize(
    "call",
    [
        lambda: tr.tensor(np.uint8([200])) + 300,
        lambda: tr.tensor(np.uint8([200])) * -1,
        lambda: tr.where(True, np.uint8([1]), -1),
        lambda: tr.tensor(np.int64([1])) < 2**64,
        lambda: tr.tensor([1.0]) * 10**400,
        lambda: tr.tensor(2**70),
        lambda: tr.tensor([300], dtype="int8"),
        lambda: tr.pad(np.uint8([1]), 1, -1),
        lambda: tr.Parameter([[1.0], [1.0, 2.0]]),
    ],
)
def test_numbers_that_no_dtype_here_has_are_told(call):
    with pytest.raises(DtypeError):
        call()


@pytest.mark.parametrize("value", [[None], ["a"], [1j], np.array(["2020"], "M8[D]"), np.array([1], "m8[s]"), [[1], [1, 2]]])
def test_a_parameter_becomes_no_array_of_another_kind(value):
    w = tr.Parameter([1.0])
    with pytest.raises(DtypeError):
        w.data = value
    assert w.item() == 1.0


@pytest.mark.parametrize("code", ["i2", "u4", "f2", "f4", "f8", "c8"])
def test_the_order_of_bytes_is_the_machines(code):
    foreign = np.dtype(code).newbyteorder("S")
    x = np.array([[[1, 0], [3, 2]]]).astype(foreign)
    if foreign.kind == "c":
        with pytest.raises(DtypeError):
            tr.tensor(x)
        return
    made = [tr.tensor(x), tr.tensor([1.0]).astype(foreign), tr.max(x, -1), tr.sort(x), tr.tensor(1, dtype=foreign)]
    if foreign.kind == "f":
        made += [tr.Parameter(x), tr.Parameter((2, 3), dtype=foreign), nn.GRU(2, 3, dtype=foreign)(x)[0]]
    assert all(t.dtype == np.dtype(code) and t.dtype.isnative for t in made)
    np.testing.assert_array_equal(made[3].data, np.sort(x))


# -- gradients of any size -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in OPTIMISERS if name != "sgd"])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("pattern", ["all", "alternating", "one"])
def test_gradients_whose_squares_overflow_stop_no_optimiser(name, dtype, pattern):
    largest = np.finfo(dtype).max
    p = tr.Parameter(np.ones(2, dtype))
    optimizer = OPTIMISERS[name]([p])
    for n in range(2000):
        g = {"all": largest, "alternating": largest * (-1) ** n, "one": largest if n == 0 else 1}[pattern]
        p.grad = tr.tensor(np.full(2, g, dtype))
        optimizer.step()
    assert np.isfinite(p.data).all()
    assert all(np.isfinite(array).all() for array in optimizer.state_dict().values())
