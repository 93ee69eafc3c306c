"""Values, shapes and dtypes equal NumPy's."""

import inspect
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_rnn as tr
from tinygrad_rnn.errors import DtypeError, ShapeError, TinygradError
from tinygrad_rnn.ops import POSITIVE, REAL, Interval
from tinygrad_rnn.testing import strategies as gen

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def same(ours, numpys, exact=True):
    """Equal in shape, dtype and values, up to one or two roundings, because NumPy's results depend on the memory layout."""
    numpys = np.asarray(numpys)
    assert isinstance(ours, tr.Tensor)
    assert (ours.shape, ours.dtype) == (numpys.shape, numpys.dtype)
    if numpys.dtype.kind != "f":
        np.testing.assert_array_equal(ours.data, numpys)
    elif exact:
        np.testing.assert_allclose(ours.data, numpys, rtol=4 * np.finfo(numpys.dtype).eps)
    else:
        tolerance = 1e-12 if numpys.dtype == np.float64 else 1e-5
        np.testing.assert_allclose(ours.data, numpys, rtol=tolerance, atol=tolerance)


# -- elementwise ---------------------------------------------------------------------------------------

UNARY = {
    "negative": REAL,
    "exp": REAL,
    "expm1": REAL,
    "log": POSITIVE,
    "log1p": Interval(-1, float("inf")),
    "sqrt": POSITIVE,
    "square": REAL,
    "absolute": REAL,
    "sign": REAL,
    "sin": REAL,
    "cos": REAL,
    "tanh": REAL,
    "floor": REAL,
}
BINARY = ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "remainder", "floor_divide"]
COMPARISONS = ["less", "less_equal", "greater", "greater_equal", "equal", "not_equal"]
DTYPES = [np.float64, np.float32]


@pytest.mark.parametrize("name", UNARY)
@given(st.data())
def test_functions_of_one_array(name, data):
    x = data.draw(gen.arrays(UNARY[name], dtype=data.draw(st.sampled_from(DTYPES))))
    expected = getattr(np, name)(x)
    same(getattr(tr, name)(tr.tensor(x)), expected)
    same(getattr(np, name)(tr.tensor(x)), expected)
    same(getattr(tr, name)(x), expected)


@pytest.mark.parametrize("name", BINARY + COMPARISONS)
@given(st.data())
def test_functions_of_two_arrays(name, data):
    a, b = data.draw(gen.broadcastable_shapes(2))
    x = data.draw(gen.arrays(POSITIVE, a, data.draw(st.sampled_from(DTYPES))))
    y = data.draw(gen.arrays(REAL, b, data.draw(st.sampled_from(DTYPES))))
    expected = getattr(np, name)(x, y)
    same(getattr(tr, name)(tr.tensor(x), tr.tensor(y)), expected)
    same(getattr(np, name)(tr.tensor(x), y), expected)
    same(getattr(np, name)(x, tr.tensor(y)), expected)


@given(gen.arrays(dtype=np.float64), st.sampled_from([np.float32, np.float64, np.int64, bool]))
def test_operators_with_arrays_on_either_side(x, dtype):
    a = np.asarray(x, dtype)
    t, u = tr.tensor(x), tr.tensor(x.astype(np.float32))
    for left, right in ((t, a), (a, t), (u, a), (a, u)):
        plain = [np.asarray(side.data) if isinstance(side, tr.Tensor) else side for side in (left, right)]
        for operation in (
            lambda p, q: p + q,
            lambda p, q: p - q,
            lambda p, q: p * q,
            lambda p, q: p / q,
            lambda p, q: p < q,
            lambda p, q: p == q,
            lambda p, q: p >= q,
        ):
            same(operation(left, right), operation(*plain))


SCALARS = [2, 2.5, True, 0, 0.0, -0.0, -3, 1e-3, np.float32(1.5), np.float64(1.5), np.int64(3), np.array(2.0), np.array(2)]


@pytest.mark.parametrize("scalar", SCALARS, ids=lambda s: f"{type(s).__name__} {s}")
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32, bool])
def test_promotion_with_scalars(scalar, dtype):
    x = np.array([1, 2, 0]).astype(dtype)
    t = tr.tensor(x)
    assert t.dtype == dtype
    same(t + scalar, x + scalar)
    same(scalar * t, scalar * x)
    same(t / scalar, x / scalar)
    same(scalar / t, scalar / x)
    same(tr.maximum(t, scalar), np.maximum(x, scalar))
    same(tr.where(x > 0, t, scalar), np.where(x > 0, x, scalar))
    if dtype is not bool:
        same(t - scalar, x - scalar)
        if not (np.dtype(dtype).kind == "i" and scalar < 0 and np.asarray(scalar).dtype.kind == "i"):
            same(t**scalar, np.power(x, scalar))  # NumPy 2.2 treats ** by a 0-d array like ** by a number


@given(gen.arrays(), st.sampled_from([np.float32, np.float64]))
def test_where_and_clip(x, dtype):
    x = x.astype(dtype)
    t = tr.tensor(x)
    same(tr.where(t > 0, t, -1.5), np.where(x > 0, x, -1.5).astype(dtype))
    same(tr.clip(t, -1, 1), np.clip(x, -1, 1))
    same(t.clip(max=0.5), np.minimum(x, dtype(0.5)))
    same(t.clip(), x)
    same(np.clip(t, -1.0, None), np.clip(x, -1.0, None))
    for flag in ((t > 0) & (t < 1), (t > 0) | (t < 1), ~(t > 0)):
        assert flag.dtype == bool


def test_integers_and_booleans():
    x = np.array([3, -1, 2])
    t = tr.tensor(x)
    for name in ("exp", "log1p", "sin", "tanh", "sqrt", "negative", "absolute", "sign"):
        same(getattr(tr, name)(t), getattr(np, name)(x))
    same(tr.sum(t), x.sum())
    same(tr.sum(t > 0), (x > 0).sum())
    same(tr.mean(t), x.mean())
    same(tr.cumsum(t > 0), (x > 0).cumsum())
    same(t @ t, x @ x)
    same(tr.sigmoid(t), 1 / (1 + np.exp(-x)), exact=False)


# -- reductions ----------------------------------------------------------------------------------------

REDUCTIONS = ["sum", "mean", "var", "std", "max", "min", "prod"]


@pytest.mark.parametrize("name", REDUCTIONS)
@given(st.data())
def test_reductions(name, data):
    empty = name in ("sum", "prod")
    x = data.draw(gen.arrays(shape=gen.shapes(min_side=0 if empty else 1), dtype=data.draw(st.sampled_from(DTYPES))))
    single = st.integers(-x.ndim, x.ndim - 1)
    axes = st.lists(single, max_size=x.ndim, unique_by=lambda a: a % x.ndim).map(tuple) if x.ndim else st.just(())
    axis = data.draw(st.one_of(st.none(), axes, *([single] if x.ndim else [])))
    keepdims = data.draw(st.booleans())
    expected = getattr(np, name)(x, axis=axis, keepdims=keepdims)
    same(getattr(tr, name)(tr.tensor(x), axis, keepdims=keepdims), expected, exact=False)
    same(getattr(np, name)(tr.tensor(x), axis=axis, keepdims=keepdims), expected, exact=False)
    same(getattr(tr.tensor(x), name)(axis, keepdims=keepdims), expected, exact=False)


@given(st.lists(st.integers(1, 3), max_size=3), st.data())
def test_argmax(shape, data):
    x = data.draw(hnp.arrays(np.int64, tuple(shape), elements=st.integers(0, 3)))  # with ties
    axis = data.draw(st.sampled_from([None, *range(-x.ndim, x.ndim)]))
    keepdims = data.draw(st.booleans())
    same(tr.argmax(tr.tensor(x), axis, keepdims), np.argmax(x, axis, keepdims=keepdims))
    same(np.argmax(tr.tensor(x), axis=axis, keepdims=keepdims), np.argmax(x, axis, keepdims=keepdims))
    with pytest.raises(ShapeError, match=r"argmax needs at least one element, but x of shape \(2, 0\)"):
        tr.argmax(np.zeros((2, 0)), axis=1)


@given(gen.arrays(shape=gen.shapes(1, 3)), st.data())
def test_cumsum_and_the_softmax_family(x, data):
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    same(tr.cumsum(x, axis), np.cumsum(x, axis), exact=False)
    same(tr.tensor(x).cumsum(), np.cumsum(x), exact=False)
    if x.size:
        e = np.exp(x)
        same(tr.softmax(x, axis), e / e.sum(axis, keepdims=True), exact=False)
        same(tr.log_softmax(x, axis), np.log(e / e.sum(axis, keepdims=True)), exact=False)
        same(tr.logsumexp(x, axis), np.log(e.sum(axis)), exact=False)
        same(tr.logsumexp(x), np.log(e.sum()), exact=False)
    else:
        assert tr.softmax(x, axis).shape == x.shape


def test_sums_are_as_exact_as_numpys():
    x = np.random.default_rng(0).standard_normal(100_000) * 1e3
    assert abs(tr.sum(x).item() - x.sum()) <= 1e-12 * abs(x).sum()
    assert abs(tr.mean(x).item() - x.mean()) <= 1e-12 * abs(x).mean()
    assert abs(tr.var(x).item() - x.var()) <= 1e-12 * x.var()


# -- stability -----------------------------------------------------------------------------------------

HUGE = [0.0, 1.0, 30.0, 1e3, 1e5, 1e30, 1e308]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", DTYPES)
def test_stable_functions_of_any_finite_number(dtype):
    x = np.array([v for v in HUGE if v < np.finfo(dtype).max], dtype)
    x = np.concatenate([-x[::-1], x])
    one = np.ones(1, dtype)
    with np.errstate(under="ignore"):
        assert np.isfinite(tr.sigmoid(x).data).all() and tr.sigmoid(x).dtype == dtype
        np.testing.assert_array_equal(tr.sigmoid(x).data[[0, -1]], [0, 1])
        np.testing.assert_allclose(tr.sigmoid(x).data + tr.sigmoid(-x).data, np.ones_like(x))
        np.testing.assert_array_equal(tr.softplus(x).data[[0, 1, -2, -1]], np.maximum(x, 0)[[0, 1, -2, -1]])
        np.testing.assert_array_equal(tr.tanh(x).data[[0, -1]], [-1, 1])
        for f in (tr.sigmoid, tr.softplus, tr.tanh, tr.relu, tr.absolute):
            t = tr.tensor(x)
            first = tr.grad(f(t), t, np.ones_like(x))
            assert np.isfinite(first.data).all() and first.dtype == dtype
            assert np.isfinite(tr.grad(first, t, np.ones_like(x)).data).all()
        for shift in x / 4:
            z = tr.tensor(np.array([0.0, 1.0, -1.0], dtype) + shift)
            assert np.isfinite(tr.logsumexp(z).item())
            np.testing.assert_allclose(tr.softmax(z).data.sum(), one[0], rtol=1e-6)
            loss = tr.cross_entropy(z, 1)
            assert np.isfinite(loss.item())
            g = tr.grad(loss, z)
            assert np.isfinite(g.data).all() and abs(g.data.sum()) < 1e-6
        apart = tr.tensor(np.array([x[0] / 4, 0.0, x[-1] / 4]))
        np.testing.assert_array_equal(tr.softmax(apart).data, [0, 0, 1])
        assert tr.logsumexp(apart).item() == x[-1] / 4
        assert tr.cross_entropy(apart, 2).item() == 0
        assert tr.cross_entropy(apart, 0).item() == x[-1] / 2


def test_accuracy_near_zero():
    x = np.array([1e-12, -1e-15, 1e-300])
    np.testing.assert_allclose(tr.expm1(x).data, x)
    np.testing.assert_allclose(tr.log1p(x).data, x)
    np.testing.assert_allclose(tr.softplus(np.array([-40.0])).data, np.exp([-40.0]), rtol=1e-15)
    np.testing.assert_allclose(tr.sigmoid(np.array([-40.0])).data, np.exp([-40.0]), rtol=1e-15)


# -- shapes --------------------------------------------------------------------------------------------


@given(gen.arrays(), st.data())
def test_shape_functions(x, data):
    t = tr.tensor(x)
    axes = data.draw(st.permutations(range(-x.ndim, 0)))
    same(t.T, x.T)
    same(t.transpose(*axes) if axes else t.transpose(), x.transpose(axes))
    same(tr.transpose(t, axes), x.transpose(axes))
    same(t.reshape(-1) if x.size else t.reshape(0), x.reshape(x.size))
    same(t.reshape((1, *x.shape)), x.reshape(1, *x.shape))
    same(tr.expand_dims(t, 0), x[None])
    same(tr.expand_dims(t, (0, -1)), np.expand_dims(x, (0, -1)))
    same(t.squeeze(), x.squeeze())
    same(tr.flip(t), np.flip(x))
    same(np.broadcast_to(t, (2, *x.shape)), np.broadcast_to(x, (2, *x.shape)))
    reps = data.draw(st.lists(st.integers(0, 2), max_size=4))
    same(tr.tile(t, reps), np.tile(x, reps))
    same(np.tile(t, 2), np.tile(x, 2))
    same(tr.pad(t, 1), np.pad(x, 1))
    if x.ndim:
        a, b = data.draw(st.integers(-x.ndim, x.ndim - 1)), data.draw(st.integers(-x.ndim, x.ndim - 1))
        same(t.swapaxes(a, b), x.swapaxes(a, b))
        same(tr.moveaxis(t, a, b), np.moveaxis(x, a, b))
        same(tr.flip(t, a), np.flip(x, a))
        same(np.flip(t, a), np.flip(x, a))
        width = data.draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=x.ndim, max_size=x.ndim))
        same(tr.pad(t, width, constant_values=2.0), np.pad(x, width, constant_values=2.0))
        same(np.concatenate([t, x], a), np.concatenate([x, x], a))
        same(tr.concatenate([x, t], axis=a), np.concatenate([x, x], a))
        same(np.stack([t, t], b), np.stack([x, x], b))
        positions = sorted(data.draw(st.lists(st.integers(0, x.shape[a]), max_size=3)))
        for ours, numpys in zip(tr.split(t, positions, a), np.split(x, positions, a), strict=True):
            same(ours, numpys)
        for ours, numpys in zip(np.split(t, 1, a), np.split(x, 1, a), strict=True):
            same(ours, numpys)
    same(tr.outer(t, x), np.outer(x, x))
    same(tr.moveaxis(np.zeros((2, 3, 4, 5)), (0, 1), (-1, 0)), np.moveaxis(np.zeros((2, 3, 4, 5)), (0, 1), (-1, 0)))


@given(gen.arrays(shape=gen.shapes(1, 3, min_side=1)), st.data())
def test_indexing(x, data):
    t = tr.tensor(x)
    basic = data.draw(hnp.basic_indices(x.shape, allow_newaxis=True))
    same(t[basic], x[basic])
    arrays = data.draw(hnp.integer_array_indices(x.shape))
    same(t[arrays], x[arrays])
    same(t[tuple(tr.tensor(a) for a in arrays)], x[arrays])
    mask = data.draw(hnp.arrays(bool, x.shape))
    same(t[mask], x[mask])
    same(t[tr.tensor(mask)], x[mask])
    same(t[t > 0], x[x > 0])
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    n = x.shape[axis]
    indices = data.draw(hnp.arrays(np.int64, gen.shapes(0, 2), elements=st.integers(-n, n - 1)))
    same(tr.take(t, indices, axis), np.take(x, indices, axis))
    same(np.take(t, indices, axis=axis), np.take(x, indices, axis=axis))
    same(t.take(indices % x.size), x.take(indices % x.size))
    along = np.argsort(x, axis)
    same(tr.take_along_axis(t, along, axis), np.take_along_axis(x, along, axis))
    assert [row.shape for row in t] == [row.shape for row in x]


def test_matmul_operators():
    rng = np.random.default_rng(0)
    for a, b in [
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 4)),
        ((5, 1, 2, 3), (4, 3, 2)),
        ((2, 0), (0, 3)),
        ((0, 2), (2, 3)),
        ((0,), (0,)),
    ]:
        x, y = rng.standard_normal(a), rng.standard_normal(b)
        same(tr.tensor(x) @ y, x @ y, exact=False)
        same(x @ tr.tensor(y), x @ y, exact=False)
        same(np.matmul(x, tr.tensor(y)), x @ y, exact=False)
    same(np.einsum("ij,jk->k", tr.tensor(np.eye(2)), np.eye(2)), np.ones(2))
    same(np.outer(tr.tensor([1.0]), [2.0]), np.outer([1.0], [2.0]))


# -- NumPy's protocols ---------------------------------------------------------------------------------


def test_numpys_functions_return_tensors_that_have_gradients():
    t = tr.tensor([1.0, 2.0])
    a = np.array([3.0, 4.0])
    made = [np.tanh(t), a @ t, a * t, np.concatenate([t, a]), np.sum(t), np.stack([a, t]), np.where(a > 3, t, a), np.mean(t)]
    for y in made:
        assert isinstance(y, tr.Tensor)
        assert tr.grad(tr.sum(y), t).data.any()


def test_what_has_no_gradient_is_refused_by_name():
    t = tr.tensor([1.0, 2.0])
    for call, name in (
        (lambda: np.arctan2(t, t), "arctan2"),
        (lambda: np.add.reduce(t), "add.reduce"),
        (lambda: np.tanh(t, out=np.zeros(2)), "tanh"),
        (lambda: np.linalg.inv(tr.tensor(np.eye(2))), "inv"),
        (lambda: np.partition(t, 0), "partition"),
    ):
        with pytest.raises(DtypeError, match=name):
            call()
    for data in (1j, "text", [None], [[1], [1, 2]]):
        with pytest.raises(DtypeError):
            tr.tensor(data)


def test_leaving_the_graph_is_explicit():
    t = tr.tensor([[1.0, 2.0]])
    np.testing.assert_array_equal(np.asarray(t), [[1, 2]])
    assert np.array(t, dtype=np.float32).dtype == np.float32
    assert t.tolist() == [[1.0, 2.0]] and float(t[0, 0]) == 1.0 and int(t[0, 1]) == 2
    assert 2.0 in t and len(t) == 1 and t.argmax() == 1
    assert [10, 20, 30][tr.tensor(1)] == 20
    with pytest.raises(DtypeError):
        [1][tr.tensor(0.0)]
    with pytest.raises(ShapeError):
        t.item()
    with pytest.raises(ValueError):
        bool(t)
    assert hash(t) == hash(t) and t in {t: 1}


WRONG = [
    lambda t: t + np.ones(4),
    lambda t: t.reshape(5),
    lambda t: t.reshape(-1, -1),
    lambda t: t.transpose(0, 0),
    lambda t: t.transpose(0),
    lambda t: t.sum(2),
    lambda t: t.sum((0, 0)),
    lambda t: t.squeeze(0),
    lambda t: t.broadcast_to((2, 2)),
    lambda t: t @ np.ones((2, 2)),
    lambda t: t @ 2.0,
    lambda t: t[2],
    lambda t: t[0, 0, 0],
    lambda t: t[:, [5]],
    lambda t: t[0.5],
    lambda t: t["a"],
    lambda t: tr.concatenate([]),
    lambda t: tr.stack([t, t.T]),
    lambda t: tr.concatenate([t, t.T]),
    lambda t: tr.concatenate([t, t], axis=2),
    lambda t: tr.split(t, 2, 1),
    lambda t: tr.pad(t, -1),
    lambda t: tr.pad(t, [1, 2, 3]),
    lambda t: tr.einsum("ij,jk", t, t),
    lambda t: tr.einsum("ijk", t),
    lambda t: tr.einsum("ij->k", t),
    lambda t: tr.einsum("i?", t),
    lambda t: tr.einsum("ij", t, t),
    lambda t: tr.max(t[:0]),
    lambda t: tr.mean(t[:0]),
    lambda t: tr.logsumexp(t[:0]),
    lambda t: tr.var(t[:1], 0, ddof=1),
    lambda t: tr.take_along_axis(t, [0], 0),
    lambda t: tr.cross_entropy(t, [0]),
    lambda t: tr.cross_entropy(t, [0, 3]),
    lambda t: tr.cross_entropy(t, [0, -1]),
    lambda t: tr.cross_entropy(t, [True, False]),
    lambda t: tr.cross_entropy(t, np.ones((2, 2))),
    lambda t: tr.mse(t, t[0]),
    lambda t: tr.moveaxis(t, (0, 1), 0),
]


@pytest.mark.parametrize("call", range(len(WRONG)))
def test_bad_input_gets_an_error_of_our_own(call):
    with pytest.raises(TinygradError) as raised:
        WRONG[call](tr.tensor(np.arange(6.0).reshape(2, 3)))
    assert len(str(raised.value)) > 20


def test_no_function_warns_on_ordinary_input():
    x = np.linspace(0.5, 2, 6).reshape(2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in [*UNARY, "sigmoid", "softplus", "relu", "softmax", "logsumexp"]:
            t = tr.tensor(x)
            tr.grad(getattr(tr, name)(t).sum(), t)


@settings(max_examples=20)
@given(gen.tensors(), gen.parameters())
def test_tensors_and_parameters_are_drawn(t, p):
    assert isinstance(t, tr.Tensor) and isinstance(p, tr.Parameter)
    same((t * 2).sum(), (t.data * 2).sum(), exact=False)


# -- axes ----------------------------------------------------------------------------------------------

CUBE = np.random.default_rng(0).normal(size=(2, 3, 4))
ALONG = {
    name: lambda module, axis, name=name: getattr(module, name)(CUBE, axis=axis)
    for name in [
        "sum",
        "mean",
        "var",
        "std",
        "max",
        "min",
        "prod",
        "argmax",
        "cumsum",
        "flip",
        "expand_dims",
        "squeeze",
        "sort",
        "argsort",
    ]
}
ALONG |= {
    "roll": lambda module, axis: module.roll(CUBE, 1, axis=axis),
    "squeeze of ones": lambda module, axis: module.squeeze(CUBE[:1, :, :1], axis=axis),
    "concatenate": lambda module, axis: module.concatenate([CUBE, CUBE], axis=axis),
    "stack": lambda module, axis: module.stack([CUBE, CUBE], axis=axis),
    "split": lambda module, axis: module.split(CUBE, 1, axis=axis)[0],
    "take": lambda module, axis: module.take(CUBE, [0, 1], axis=axis),
    "take_along_axis": lambda module, axis: module.take_along_axis(CUBE, np.zeros((2, 3, 4), int), axis=axis),
    "transpose": lambda module, axis: module.transpose(CUBE, axis),
    "swapaxes": lambda module, axis: module.swapaxes(CUBE, axis, 1),
    "moveaxis": lambda module, axis: module.moveaxis(CUBE, axis, 0),
    "moveaxis of two": lambda module, axis: module.moveaxis(CUBE, axis, (0, -1)),
}
AXES = [0, 1, 2, -1, -3, 3, -4, None, (), (0,), (0, 1), (2, 0), (-1, 0), (0, 0), (0, -3), (0, 3), (0, 1, 2), (2, 0, 1)]
AXES += [[0], [0, 1], np.int64(1), (np.int8(0), 2), 1.0, (0, 1.0), "0"]


def answer(call):
    try:
        return np.asarray(call())
    except (ValueError, TypeError, IndexError) as error:
        return error


@pytest.mark.parametrize("name", ALONG)
@pytest.mark.parametrize("axis", AXES, ids=repr)
def test_every_axis_is_minded_as_numpy_minds_it(name, axis):
    ours, numpys = (answer(lambda module=module: ALONG[name](module, axis)) for module in (tr, np))
    if isinstance(numpys, Exception):
        assert isinstance(ours, TypeError if isinstance(numpys, TypeError) else ValueError), ours
    else:
        np.testing.assert_allclose(ours, numpys)


# NumPy has none of these functions; they sum over axes as NumPy's functions do
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
@pytest.mark.parametrize("axis", AXES, ids=repr)
def test_every_axis_of_a_softmax_is_minded(name, axis):
    total = answer(lambda: np.log(np.exp(CUBE).sum(axis, keepdims=True)))
    ours = answer(lambda: getattr(tr, name)(CUBE, axis=axis))
    if isinstance(total, Exception):
        assert isinstance(ours, TypeError if isinstance(total, TypeError) else ValueError), ours
        return
    expected = {"softmax": np.exp(CUBE - total), "log_softmax": CUBE - total, "logsumexp": total}[name]
    np.testing.assert_allclose(ours.reshape(expected.shape), expected, atol=1e-14)


def test_every_function_of_an_axis_is_in_the_table():
    known = {name.split()[0] for name in ALONG} | {"softmax", "log_softmax", "logsumexp"}
    axes = {"axis", "axes", "axis1", "source"}
    assert known == {name for name in tr.ops.functions if axes & inspect.signature(getattr(tr, name)).parameters.keys()}


@pytest.mark.parametrize("flag", [True, np.True_])
def test_a_boolean_is_no_axis(flag):
    for call in (lambda: tr.sum(CUBE, flag), lambda: tr.cumsum(CUBE, flag), lambda: tr.mean(CUBE, (0, flag))):
        with pytest.raises(TypeError, match="axis must be an integer, not"):
            call()


@pytest.mark.parametrize("name", ["argmax", "argsort", "cumsum", "sort"])
@pytest.mark.parametrize("axis", [(0, 1), (0,), (), [0], 1.0, "0"], ids=repr)
def test_what_goes_along_one_axis_takes_no_several(name, axis):
    with pytest.raises(TypeError, match=f"^{name}: axis must be an integer, not"):
        getattr(tr, name)(CUBE, axis)


@pytest.mark.parametrize("mask", [[True, False], [True] * 5, [[True, False, True]]])
def test_a_mask_has_the_shape_of_its_axes(mask):
    with pytest.raises(ShapeError, match="mask"):
        tr.tensor([1.0, 2.0, 3.0])[np.array(mask)]
    with pytest.raises(ShapeError, match="mask"):
        tr.tensor([1.0])[True]


def test_masks_in_every_place():
    a = np.arange(24.0).reshape(2, 3, 4)
    m = np.array([[True, False, True], [False, True, True]])
    v = np.array([True, False, True, True])
    t = tr.tensor(a)
    np.testing.assert_array_equal(t[m].data, a[m])
    np.testing.assert_array_equal(t[..., v].data, a[..., v])
    np.testing.assert_array_equal(t[:, None, :, v].data, a[:, None, :, v])
    np.testing.assert_array_equal(t[m, 1].data, a[m, 1])
