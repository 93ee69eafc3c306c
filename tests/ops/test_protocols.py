"""NumPy's and Python's own functions, called with tensors: the same results as for arrays, or a clear error."""

import copy
import inspect
import operator
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import DtypeError, TinygradError, TraceError

X = np.array([[3.0, -1.0, 2.5], [0.5, 4.0, -2.0]])
Y = np.array([[1.0, 2.0, 0.5], [4.0, 0.25, 3.0]])
V = np.array([2.0, -1.0, 0.5])
I = np.array([[1, 0, 1], [0, 1, 1]])

# First arguments of every function that NumPy also has and that is not a ufunc.
FIRST = {
    "argmax": [(X,), (X, 1)],
    "argsort": [(X,), (X, 0), (X, None)],
    "clip": [(X, -1.0, 1.0), (X, None, 1.0), (X, -1.0)],
    "concatenate": [([X, Y],), ([X, Y], 1), ([X, Y], None)],
    "cumsum": [(X,), (X, 1)],
    "dot": [(X, V), (V, V), (X, Y.T), (2.0, X), (X[None], np.stack([Y.T, Y.T]))],
    "einsum": [("ij,ij->i", X, Y), ("ij->ji", X)],
    "broadcast_to": [(V, (2, 3))],
    "expand_dims": [(X, 0), (X, (0, -1))],
    "flip": [(X,), (X, 0)],
    "max": [(X,), (X, 0)],
    "mean": [(X,), (X, 0)],
    "min": [(X,), (X, 1)],
    "moveaxis": [(X, 0, 1)],
    "outer": [(X, V)],
    "pad": [(X, 1), (X, ((0, 1), (1, 0)))],
    "prod": [(X,), (X, 0)],
    "reshape": [(X, (3, 2)), (X, -1)],
    "roll": [(X, 1), (X, -1, 1), (X, (1, 2), (0, 1)), (X, 4)],
    "sort": [(X,), (X, 0), (X, None)],
    "split": [(X, 2), (X, [1], 1)],
    "squeeze": [(X[None],), (X[None], 0)],
    "stack": [([X, Y],), ([X, Y], -1)],
    "std": [(X,), (X, 0)],
    "sum": [(X,), (X, 0)],
    "swapaxes": [(X, 0, 1)],
    "take": [(X, I), (X, I, 1)],
    "take_along_axis": [(X, I, 1)],
    "tile": [(V, 2), (X, (2, 1))],
    "transpose": [(X,), (X, (1, 0))],
    "var": [(X,), (X, 1)],
    "where": [(X > 0, X, Y), (X > 0,), (X > 0, 1.0, Y)],
}
OPTIONS = {
    "axis": [0, 1, -1, None],
    "dtype": [None, np.float32, np.float64],
    "out": [None],
    "keepdims": [True, False, np._NoValue],
    "initial": [np._NoValue, 1.0, None],
    "where": [True, np._NoValue, X > 0],
    "ddof": [0, 1],
    "order": ["C", "F"],
    "mode": ["constant", "edge", "raise", "clip"],
    "kind": [None, "stable"],
    "a_min": [-1.0, None],
    "a_max": [1.0, None],
    "min": [-1.0, None],
    "max": [1.0, None],
    "casting": ["same_kind", "unsafe"],
    "copy": [None, True],
    "optimize": [False, True],
    "constant_values": [0.0, 2.0],
    "subok": [False, True],
    "correction": [np._NoValue, 1],
    "mean": [np._NoValue, np.zeros(())],
    "nonsense": [1],
}


def test_every_function_that_is_numpys_too_is_in_the_table():
    shared = {name for name in tr.ops.functions if callable(getattr(np, name, None))}
    assert {name for name in shared if not isinstance(getattr(np, name), np.ufunc)} - {"astype"} == set(FIRST)


def as_tensors(x):
    if isinstance(x, np.ndarray) and x.dtype.kind == "f":
        return tr.tensor(x)
    return type(x)(map(as_tensors, x)) if isinstance(x, (tuple, list)) else x


def same(ours, numpys):
    if isinstance(numpys, (tuple, list)):
        assert len(ours) == len(numpys)
        for a, b in zip(ours, numpys, strict=True):
            same(a, b)
        return
    assert ours.dtype == numpys.dtype
    np.testing.assert_allclose(np.asarray(ours), numpys, rtol=1e-12)


def equal_or_refused(function, args, options=None):
    """NumPy's result for arrays; or an error of this library, or NumPy's error."""
    try:
        expected = function(*args, **(options or {}))
    except Exception:
        return False
    try:
        found = function(*as_tensors(args), **(options or {}))
    except TinygradError as error:
        assert isinstance(error, (TypeError, ValueError))
        return False
    same(found, expected)
    return True


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", FIRST)
@given(st.data())
def test_numpys_functions_whichever_way_they_are_called(name, data):
    function = getattr(np, name)
    args = data.draw(st.sampled_from(FIRST[name]))
    options = {}
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:
        parameters = []
    if data.draw(st.booleans()) and name not in ("einsum", "where"):  # further arguments by position
        more = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][len(args) :]
        more = [] if name in ("stack", "split", "take_along_axis") else more
        for p in more[: data.draw(st.integers(0, len(more)))]:
            args = (*args, data.draw(st.sampled_from(OPTIONS.get(p.name, [p.default]))))
    known = [p.name for p in parameters] + ["nonsense"]
    if name == "pad":
        known.append("constant_values")
    if name in ("stack", "split", "take_along_axis", "sort", "argsort"):
        known.remove("axis")
    if name in ("sort", "argsort"):
        known.remove("order")
    for key in data.draw(st.lists(st.sampled_from([k for k in known if k in OPTIONS]), max_size=2, unique=True)):
        options[key] = data.draw(st.sampled_from(OPTIONS[key]))
    if data.draw(st.booleans()) and name not in ("einsum", "where", "concatenate"):  # and by keyword
        names = [p.name for p in parameters[: len(args)]]
        n = data.draw(st.integers(1, len(args)))
        if all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters[n : len(args)]):
            options |= dict(zip(names[n:], args[n:], strict=True))
            args = args[:n]
    equal_or_refused(function, args, options)


@pytest.mark.parametrize(
    "call",
    [
        lambda t: np.prod(t, 0, None),
        lambda t: np.pad(t, 1, "constant"),
        lambda t: np.pad(t, 1, "constant", constant_values=2.0),
        lambda t: np.pad(t, 1, constant_values=2.0),
        lambda t: np.clip(t, a_min=0, a_max=1),
        lambda t: np.clip(t, 0, 1, None),
        lambda t: np.clip(t, min=0),
        lambda t: np.where(t > 0),
        lambda t: np.std(t, 0, None),
        lambda t: np.std(t, 0, None, None, 1, True),
        lambda t: np.sum(t, 1, None, None, True),
        lambda t: np.sum(t, where=True),
        lambda t: np.max(t, axis=1, keepdims=True),
        lambda t: np.reshape(a=t, shape=(3, 2)) if False else np.reshape(t, (3, 2), "C"),
        lambda t: np.einsum("ij,kj->ik", t, t, optimize=True),
        lambda t: np.concatenate((t, t), 1, None),
        lambda t: np.split(ary=t, indices_or_sections=[1, 2], axis=1),
        lambda t: np.sort(t, kind="stable"),
        lambda t: np.dot(t, t.T),
        lambda t: np.moveaxis(a=t, source=0, destination=1),
        lambda t: np.add(t, t, where=True, dtype=None),
        lambda t: np.mod(t, 2.0),
        lambda t: np.floor_divide(t, 2.0),
    ],
)
def test_what_has_a_counterpart_is_done(call):
    same(call(tr.tensor(X)), call(X))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda t: np.prod(t, 0, np.float32), r"np\.prod .* has no option dtype=.*tr\.prod\(x, axis, keepdims\)"),
        (lambda t: np.std(t, 0, np.float32), r"np\.std .* has no option dtype="),
        (lambda t: np.pad(t, 1, "edge"), r"np\.pad .* has no option mode="),
        (lambda t: np.sum(t, where=X > 0), r"np\.sum .* has no option where="),
        (lambda t: np.sum(t, initial=1.0), r"has no option initial="),
        (lambda t: np.sum(t, out=np.zeros(())), r"has no option out="),
        (lambda t: np.add(t, t, where=X > 0), r"np\.add .* has no option where="),
        (lambda t: np.add(t, t, out=np.zeros((2, 3))), r"np\.add .* has no option out="),
        (lambda t: np.add(t, t, np.zeros((2, 3))), r"np\.add .* has no option out="),
        (lambda t: np.tanh(t, dtype=np.float32), r"np\.tanh .* has no option dtype="),
        (lambda t: np.reshape(t, (3, 2), "F"), r"has no option order="),
        (lambda t: np.take(t, [0], 0, None, "clip"), r"has no option mode="),
        (lambda t: np.add.reduce(t), r"np\.add\.reduce"),
        (lambda t: np.add.accumulate(t), r"np\.add\.accumulate"),
        (lambda t: np.multiply.outer(t, t), r"np\.multiply\.outer"),
        (lambda t: np.add.at(np.zeros(3), [0], t[0]), r"np\.add\.at"),
        (lambda t: np.add.at(t, 0, 1.0), r"np\.add\.at"),
        (lambda t: np.copyto(np.zeros((2, 3)), t), r"np\.copyto"),
        (lambda t: np.put(np.zeros(6), [0], t[0]), r"np\.put"),
        (lambda t: np.median(t), r"np\.median"),
        (lambda t: np.linalg.norm(t), r"np\.linalg\.norm"),
        (lambda t: np.fft.fft(t), r"np\.fft"),
    ],
)
def test_what_has_none_is_refused_by_its_name(call, words):
    with pytest.raises(DtypeError, match=words):
        call(tr.tensor(X))
    with pytest.raises(TypeError):
        call(tr.tensor(X))


def test_a_wrong_keyword_is_said_as_numpy_says_it():
    with pytest.raises(TypeError, match="min is given twice"):
        np.clip(tr.tensor(X), -1.0, 1.0, min=0.0)
    with pytest.raises(TypeError, match="nonsense"):
        np.sum(tr.tensor(X), nonsense=1)


UFUNCS = sorted(name for name in tr.ops.functions if isinstance(getattr(np, name, None), np.ufunc))


@pytest.mark.parametrize("name", UFUNCS)
def test_methods_of_ufuncs_equal_or_are_refused(name):
    ufunc = getattr(np, name)
    for a in (np.abs(X), I):
        if ufunc.nin == 2 and ufunc.signature is None:
            equal_or_refused(ufunc.reduce, (a,))
            equal_or_refused(ufunc.accumulate, (a, 1))
            equal_or_refused(ufunc.outer, (a, a))
        if ufunc.signature is not None:  # NumPy itself refuses tensors
            continue
        with pytest.raises(DtypeError):
            ufunc.at(tr.tensor(a), 0, *[1] * (ufunc.nin - 1))


# -- functions that NumPy has ----------------------------------------------------------------------------

NUMBERS = [5.3, -5.3, 0.0, 7.0, -7.0, 0.7]


@pytest.mark.parametrize("operation", [operator.mod, operator.floordiv, divmod, np.mod, np.remainder, np.floor_divide])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int8, np.uint8])
def test_remainders_of_either_side(operation, dtype):
    a = np.abs(NUMBERS).astype(dtype) if np.dtype(dtype).kind == "u" else np.array(NUMBERS).astype(dtype)
    for b in (np.array([2, 3, 1, 4, 5, 6]).astype(dtype), 3, dtype(2)):
        same(operation(tr.tensor(a), b), operation(a, b))
        same(operation(tr.tensor(a), tr.tensor(b)), operation(a, np.asarray(b)))
    same(operation(17, tr.tensor(np.arange(1, 5).astype(dtype))), operation(17, np.arange(1, 5).astype(dtype)))
    same(operation(np.arange(9, 13), tr.tensor(np.arange(1, 5))), operation(np.arange(9, 13), np.arange(1, 5)))


def test_the_gradients_of_remainder_and_floor():
    a, b = tr.tensor([5.3, -5.3]), tr.tensor([2.0, 3.0])
    da, db = tr.grad((a % b).sum(), [a, b])
    np.testing.assert_array_equal(da.data, [1, 1])
    np.testing.assert_array_equal(db.data, [-2, 2])
    assert not tr.grad((tr.floor(a) + a // b).sum(), a).data.any()


@given(st.lists(st.sampled_from([0.0, -1.0, 2.5, 3.0, 7.0]), min_size=1, max_size=6), st.integers(-7, 7))
def test_sort_and_roll_carry_each_elements_gradient(values, shift):
    x = np.array(values)
    g = np.arange(1.0, len(x) + 1)
    t = tr.tensor(x)
    np.testing.assert_array_equal(tr.grad(tr.sort(t), t, g).data[np.argsort(x, kind="stable")], g)
    np.testing.assert_array_equal(tr.grad(tr.roll(t, shift), t, g).data, np.roll(g, -shift))


def test_a_clockwork_network_runs_in_a_step():
    class Clockwork(nn.Cell):
        state_shape = (3,)

        def __init__(self):
            super().__init__()
            self.periods = np.array([1.0, 2.0, 4.0])

        def initial_state(self, batch_size):
            return tr.tensor(np.zeros((batch_size, 3))), tr.tensor(np.zeros((batch_size, 1)))

        def step(self, x, state):
            h, t = state
            new = tr.where(t % self.periods == 0, tr.tanh(tr.sort(x) + tr.roll(h, 1, -1)), h).named("h")
            return new, (new, t + 1)

    xs = np.random.default_rng(0).standard_normal((6, 2, 3))
    scan, unroll = (nn.Recurrent(cell, mode=mode)(xs)[0] for cell in [Clockwork()] for mode in ("scan", "unroll"))
    np.testing.assert_allclose(scan.data, unroll.data)
    np.testing.assert_array_equal(scan.data[1, :, 1], scan.data[0, :, 1])


# -- Python's own ----------------------------------------------------------------------------------------

PYTHON = {
    "float": float,
    "int": int,
    "bool": bool,
    "complex": complex,
    "index": operator.index,
    "range": range,
    "format": lambda x: format(x, ".2f"),
    "f-string": lambda x: f"{x:>8.3e}",
    "round": round,
    "len": len,
    "iter": iter,
    "list": list,
    "in": lambda x: 1.0 in x,
    "not in": lambda x: 9.0 in x,
    "iterable": np.iterable,
    "equal to a word": lambda x: bool(np.any(x == "a")),
    "unequal to a word": lambda x: bool(np.all(x != "a")),
    "star": lambda x: (*x,),
    "math": lambda x: __import__("math").sqrt(x),
}


@pytest.mark.parametrize("value", [1.0, 2.5, 0.0, 3, True, [1.0], [1.0, 9.0], [[1.0]], []], ids=str)
@pytest.mark.parametrize("name", PYTHON)
def test_what_python_asks_of_a_tensor_is_what_it_gets_of_an_array(name, value):
    ask = PYTHON[name]
    array = np.array(value)
    one_element = array.shape == (1,) or array.shape == (1, 1)
    try:
        expected = ask(array)
    except (TypeError, ValueError) as error:
        if one_element and name in ("float", "int", "complex", "format", "f-string", "math"):
            assert ask(tr.tensor(value)) == ask(array.reshape(())[()])  # a loss of shape (1,), as before
            return
        with pytest.raises(type(error)):
            ask(tr.tensor(value))
        return
    found = ask(tr.tensor(value))
    if name not in ("iter", "list", "star"):
        assert found == expected and type(found) is type(expected)
    assert name not in ("list", "star") or len(found) == len(expected)


def test_copies_keep_the_graph_and_hashes_the_object():
    W = tr.Parameter([1.0, 2.0], symbol="W")
    y = W * 2
    leaf = tr.tensor([1.0], requires_grad=True)
    for duplicate in (copy.copy, copy.deepcopy):
        assert duplicate(y) is y and tr.grad(duplicate(y).sum(), W).data.any()
        twin = duplicate(W)
        assert twin is not W and twin.symbol == "W" and twin.requires_grad
        assert duplicate(leaf).requires_grad and duplicate(leaf) is not leaf
    assert pickle.loads(pickle.dumps(y)).tolist() == [2.0, 4.0]
    assert len({y, y, copy.copy(y), leaf}) == 2
    assert (y == None) is False  # noqa: E711


# -- in a step -------------------------------------------------------------------------------------------

ONCE = " needs a value, but a step is recorded once for all t, before there are values; "
IN_A_STEP = {
    "if": (lambda x, h: 1 if h.sum() > 0 else 0, ONCE + r"use tr\.where\(condition, a, b\)"),
    "while": (lambda x, h: [0 for _ in iter(lambda: not (h.sum() > 0), True)], ONCE + r"use tr\.where"),
    "and": (lambda x, h: h.sum() > 0 and 1, "use tr\\.where"),
    "in": (lambda x, h: 1.0 in h, "use tr\\.where"),
    "data": (lambda x, h: x.data, r"data of x \(1, 3\)" + ONCE + "compute with functions of tinygrad_rnn"),
    "numpy()": (lambda x, h: x.numpy(), r"numpy\(\) of x .*compute with functions"),
    "asarray": (lambda x, h: np.asarray(x), r"np\.asarray of x .*compute with functions"),
    "float": (lambda x, h: float(x.sum()), r"float\(\) of sum .*compute with functions"),
    "int": (lambda x, h: int(x.sum()), r"int\(\) of sum .*compute with functions"),
    "item": (lambda x, h: x.sum().item(), r"item\(\) of sum"),
    "format": (lambda x, h: f"{x.sum():.3f}", r"format\(\) of sum"),
    "tolist": (lambda x, h: x.tolist(), r"tolist\(\) of x"),
    "an index of a list": (lambda x, h: [1, 2][x.argmax(axis=-1)[0]], r"index .*tr\.stack"),
    "range": (lambda x, h: range(x.argmax(axis=-1)[0]), "index"),
    "any": (lambda x, h: (h > 0).any(), r"any\(\) .*tr\.max"),
    "all": (lambda x, h: (h > 0).all(), r"all\(\) .*tr\.m"),
    "argmin": (lambda x, h: h.argmin(), r"argmin\(\) .*\(-x\)\.argmax\(\)"),
    "a mask": (lambda x, h: x[x > 0], r"number of True .*tr\.where"),
    "no such function": (lambda x, h: np.median(h), r"np\.median needs values, but a step is recorded once.*use functions"),
    "no such ufunc": (lambda x, h: np.arctan2(h, h), r"np\.arctan2 needs values, but a step is recorded"),
    "a method of a ufunc": (lambda x, h: np.add.reduce(h), r"np\.add\.reduce needs values, but a step is recorded"),
    "an option": (lambda x, h: np.sum(h, dtype=np.float32), r"np\.sum of a tensor has no option dtype="),
}


@pytest.mark.parametrize("name", IN_A_STEP)
def test_what_a_step_cannot_do_gets_its_own_advice(name):
    wrong, words = IN_A_STEP[name]

    class Wrong(nn.Cell):
        state_shape = (3,)

        def step(self, x, h):
            wrong(x, h)
            return h + x, h + x

    with pytest.raises((TraceError, DtypeError), match=words) as caught:
        nn.Recurrent(Wrong())(tr.tensor(np.ones((4, 1, 3), "float32")).named("x"))
    if "where" not in words:
        assert "tr.where" not in str(caught.value)


@pytest.mark.parametrize(
    "right",
    [
        lambda x, h: np.dot(x, np.eye(3)),
        lambda x, h: x % np.array([1.0, 2.0, 3.0]),
        lambda x, h: np.array([4.0, 5.0, 6.0]) % (x + 1),
        lambda x, h: sum(row for row in x),
        lambda x, h: tr.stack([x, h])[x.argmax(axis=-1) % 2][0],
        lambda x, h: np.sort(h),
        lambda x, h: round(2.4) * h,
        lambda x, h: copy.copy(x),
        lambda x, h: h if len(x) == 1 and hash(x) and repr(x) else x,
    ],
)
def test_what_a_step_can_do(right):
    class Right(nn.Cell):
        state_shape = (3,)

        def step(self, x, h):
            h = h + right(x, h)
            return h, h

    for mode in ("scan", "unroll"):
        nn.Recurrent(Right(), mode=mode)(np.ones((4, 1, 3)))


# -- methods ---------------------------------------------------------------------------------------------


def test_defaults_of_methods_are_those_of_their_functions():
    for name, method in vars(tr.Tensor).items():
        function = getattr(tr, name, None)
        if not inspect.isfunction(method) or not callable(function) or name not in tr.ops.functions:
            continue
        own = list(inspect.signature(method).parameters.values())[1:]
        if any(p.kind is p.VAR_POSITIONAL for p in own):
            continue  # reshape and transpose: lengths and axes may be separate arguments
        of_function = [p for p in list(inspect.signature(function).parameters.values())[1:] if p.name != "out"]
        if name == "astype":
            continue  # takes the same arguments as np.dtype
        assert [(p.name, p.default) for p in own] == [(p.name, p.default) for p in of_function], name


def test_reductions_of_one_argument_drop_all_axes():
    t = tr.tensor(X)
    for name in ("sum", "mean", "var", "std", "max", "min", "prod"):
        assert getattr(t, name)().shape == () and getattr(t, name)(0).shape == (3,)


def test_answers_outside_the_graph_are_plain_arrays():
    t = tr.tensor(X)
    for found, expected in ((t.argmin(), X.argmin()), (t.argmin(0), X.argmin(0)), (t.all(), True), (t.any(1), (X != 0).any(1))):
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, expected)


def test_an_index_of_numpys_is_the_same_graph():
    x = tr.tensor(X)
    for a, b in (
        (x[np.int64(1)], x[1]),
        (x[np.int8(-1), np.uint8(2)], x[-1, 2]),
        (x[np.int64(0) : np.int32(1)], x[0:1]),
        (x[:, np.intp(1)], x[:, 1]),
        (x[np.array(1)], x[np.array(1)]),
    ):
        assert tr.graph(a) == tr.graph(b)
        assert [node.attributes for node in tr.graph(a).nodes] == [node.attributes for node in tr.graph(b).nodes]
        assert all(type(i) is int for i in a.node.attributes["index"] if isinstance(i, (int, np.integer)))


def test_outputs_of_integers_have_no_gradient():
    x = tr.tensor([1.0, 2.0], requires_grad=True)
    for y in (x > 0, x.argmax(), (x > 0).sum(), x.astype(int)):
        for call in (
            lambda y=y: y.backward(np.ones(y.shape, int)),
            lambda y=y: y.sum().backward(),
            lambda y=y: tr.grad(y, x, np.ones(y.shape)),
            lambda y=y: tr.grad(y.sum(), x),
        ):
            with pytest.raises(DtypeError, match="only floats have a gradient"):
                call()
    assert x.grad is None


def test_concatenate_without_an_axis_flattens_and_logic_is_of_booleans():
    t = tr.tensor([[1.0], [2.0]])
    np.testing.assert_array_equal(np.concatenate([t, t], axis=None).data, [1, 2, 1, 2])
    with pytest.raises(DtypeError, match="booleans"):
        tr.tensor([6]) & 3
    with pytest.raises(DtypeError, match="booleans"):
        ~tr.tensor([5])


def test_looking_at_values_makes_no_noise():
    W = tr.Parameter(np.eye(2), symbol="W")
    loss = (tr.tanh(tr.tensor(np.ones((1, 2))) @ W) ** 2).mean()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(loss, np.tanh(1) ** 2, rtol=1e-6)
        assert np.asarray(loss).shape == () and np.array([loss, loss]).shape == (2,) and float(loss) > 0
        assert list(np.histogram(loss.data)[0])
    loss.backward()
    assert W.grad is not None


def test_data_cannot_be_made_writeable():
    t = tr.tensor([1.0])
    with pytest.raises(ValueError, match="WRITEABLE"):
        t.data.flags.writeable = True


def test_small_comforts():
    t = tr.tensor([[1.0, 2.0]])
    assert f"{t.sum():.2f}" == "3.00"
    assert (t == None) is False and t != None  # noqa: E711
    assert np.shape(t) == (1, 2) and np.nonzero(t)[1].tolist() == [0, 1]
    assert np.zeros_like(t).shape == (1, 2)
    assert t.flatten().shape == (2,)
    assert (t > 0).all() and t.argmin() == 0
    assert tr.prod(tr.tensor([100_000, 100_000], dtype="int32")).item() == 10**10
