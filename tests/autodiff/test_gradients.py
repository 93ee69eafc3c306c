"""Gradients: of every primitive in its own domain, of functions composed of primitives, and of the engine."""

import gc
import math
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import DtypeError, GradientError, ImmutableError, ShapeError
from tinygrad_rnn.testing import KinkError, check_gradients, check_primitive
from tinygrad_rnn.testing import strategies as gen

EXAMPLES = settings().max_examples

# -- every primitive -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(tr.ops.registry))
def test_every_primitive_keeps_what_it_declares(name):
    check_primitive(tr.ops.registry[name], examples=EXAMPLES // 2)  # and half as many with numbers of other scales


# -- functions composed of them ------------------------------------------------------------------------

few = settings(max_examples=max(10, EXAMPLES // 3))


@st.composite
def array_and_axis(draw, min_side=1, none=True, several=True):
    x = draw(gen.arrays(shape=gen.shapes(1, 3, min_side=min_side)))
    x = x + 1e-3 * np.arange(x.size).reshape(x.shape) * math.pi  # no ties
    single = st.integers(-x.ndim, x.ndim - 1)
    choices = [single]
    if none:
        choices.append(st.none())
    if several:
        choices.append(st.lists(single, min_size=1, max_size=x.ndim, unique_by=lambda a: a % x.ndim).map(tuple))
    return x, draw(st.one_of(*choices))


REDUCTIONS = [tr.sum, tr.mean, tr.var, tr.max, tr.min, tr.prod, tr.logsumexp]


@pytest.mark.parametrize("function", REDUCTIONS, ids=lambda f: f.__name__)
@few
@given(array_and_axis(), st.booleans())
def test_reductions(function, case, keepdims):
    x, axis = case
    check_gradients(lambda t: function(t, axis, keepdims=keepdims), x)


@few
@given(array_and_axis(min_side=2, several=False))
def test_standard_deviation(case):
    x, axis = case
    check_gradients(lambda t: tr.std(t, axis, ddof=1), x + np.arange(x.size).reshape(x.shape) ** 2)


@pytest.mark.parametrize("function", [tr.softmax, tr.log_softmax, tr.cumsum, tr.flip], ids=lambda f: f.__name__)
@few
@given(array_and_axis(none=False, several=False))
def test_functions_along_an_axis(function, case):
    x, axis = case
    check_gradients(lambda t: function(t, axis), x)


def test_products_with_zeros_have_the_right_gradient():
    for zeros in ([], [1], [1, 2], [0, 1, 2, 3]):
        x = np.array([2.0, -1.5, 3.0, 0.5])
        x[zeros] = 0
        check_gradients(tr.prod, x)
        expected = [np.prod(np.delete(x, i)) for i in range(4)]
        np.testing.assert_allclose(tr.grad(tr.prod(t := tr.tensor(x)), t).data, expected)


@few
@given(gen.arrays(shape=gen.shapes(1, 3, min_side=1)), st.data())
def test_shape_functions(x, data):
    axes = data.draw(st.permutations(range(x.ndim)))
    reps = data.draw(st.lists(st.integers(0, 3), min_size=0, max_size=4).map(tuple))
    width = data.draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=x.ndim, max_size=x.ndim))
    a, b = data.draw(st.integers(-x.ndim, x.ndim - 1)), data.draw(st.integers(-x.ndim, x.ndim - 1))
    check_gradients(lambda t: (t.transpose(axes), t.T, t.swapaxes(a, b), tr.moveaxis(t, a, b)), x)
    check_gradients(lambda t: (tr.tile(t, reps), tr.pad(t, width, 2.0), tr.expand_dims(t, a).reshape(-1)), x)
    check_gradients(lambda t: (*tr.split(t, 1, a), tr.stack([t, t * t], a), tr.concatenate([t, t, t * 2], b)), x)


@few
@given(array_and_axis(none=False, several=False), st.data())
def test_take_and_take_along_axis(case, data):
    x, axis = case
    n = x.shape[axis]
    indices = data.draw(hnp.arrays(np.int64, gen.shapes(0, 2), elements=st.integers(-n, n - 1)))
    check_gradients(lambda t: tr.take(t, indices, axis), x)
    along = data.draw(hnp.arrays(np.int64, (*x.shape[:axis], 2, *x.shape[axis:][1:]), elements=st.integers(0, n - 1)))
    check_gradients(lambda t: tr.take_along_axis(t, along, axis), x)


@few
@given(gen.arrays(shape=gen.shapes(1, 3, min_side=1)), st.data())
def test_basic_indexing(x, data):
    index = data.draw(hnp.basic_indices(x.shape, allow_newaxis=True))
    check_gradients(lambda t: t[index] * 2, x)


@few
@given(gen.arrays(shape=gen.shapes(1, 3, min_side=1)), st.data())
def test_advanced_indexing(x, data):
    index = data.draw(hnp.integer_array_indices(x.shape, result_shape=gen.shapes(0, 2)))
    check_gradients(lambda t: t[index] * t[index], x)
    mask = data.draw(hnp.arrays(bool, x.shape))
    check_gradients(lambda t: t[mask] * 2, x)


MIXED = [
    np.s_[:, [0, 2, 2]],
    np.s_[[0, 1], :, [0, 2]],
    np.s_[0, :, [0, 1]],
    np.s_[:, 0, [0, 1]],
    np.s_[..., [1, 1], None],
    np.s_[None, [0, 0], ..., -1],
    np.s_[[[0], [1]], [[0, 1]], ::-1],
    np.s_[[True, False], :, 1:],
    np.s_[np.array([[True, False, True], [False, False, True]])],
    np.s_[np.int64(1), np.array([0, 0]), -1],
    np.s_[[], 0],
    np.s_[()],
    np.s_[...],
]


@pytest.mark.parametrize("index", MIXED, ids=str)
def test_mixed_indexing(index):
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    np.testing.assert_array_equal(tr.tensor(x)[index].data, x[index])
    check_gradients(lambda t: t[index] * t[index], x)


EINSUMS = {
    "ij,jk": [(2, 3), (3, 4)],
    "ij,jk->ki": [(2, 3), (3, 4)],
    "...ij,...jk->...ik": [(5, 2, 3), (3, 4)],
    "...i,...i": [(2, 1, 3), (4, 3)],
    "i...->...": [(2, 3, 4)],
    "ii": [(3, 3)],
    "ii->i": [(3, 3)],
    "iij->ji": [(3, 3, 2)],
    "iii->i": [(2, 2, 2)],
    "ij,ij->": [(2, 3), (2, 3)],
    "i,j,k->kji": [(2,), (3,), (4,)],
    "ij,kj,kl->il": [(2, 3), (4, 3), (4, 2)],
    "tbi,ih->tbh": [(2, 3, 4), (4, 2)],
    "ba": [(2, 3)],
    ",i->i": [(), (3,)],
    "ij->": [(2, 3)],
    "ij,j->i": [(0, 3), (3,)],
}


@pytest.mark.parametrize("subscripts", EINSUMS)
def test_einsum(subscripts):
    rng = np.random.default_rng(1)
    operands = [rng.standard_normal(shape) for shape in EINSUMS[subscripts]]
    np.testing.assert_allclose(tr.einsum(subscripts, *operands).data, np.einsum(subscripts, *operands), atol=1e-13)
    check_gradients(lambda *ts: tr.einsum(subscripts, *ts), *operands)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 2)),
        ((4, 2, 3), (3,)),
        ((3,), (4, 3, 2)),
        ((1, 2, 3), (5, 3, 2)),
        ((0, 3), (3, 2)),
    ],
)
def test_matmul_of_vectors_and_batches(a, b):
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal(a), rng.standard_normal(b)
    np.testing.assert_allclose((tr.tensor(x) @ y).data, x @ y)
    check_gradients(tr.matmul, x, y)


@few
@given(gen.arrays(shape=gen.shapes(2, 3, min_side=1)), st.data())
def test_losses(x, data):
    classes = data.draw(hnp.arrays(np.int64, x.shape[:-1], elements=st.integers(0, x.shape[-1] - 1)))
    p = np.abs(x) + 0.1
    for reduction in ("mean", "sum", "none"):
        check_gradients(lambda t, r=reduction: tr.cross_entropy(t, classes, r), x)
        check_gradients(lambda t, p, r=reduction: tr.cross_entropy(t, p, r), x, p)
        check_gradients(lambda t, u, r=reduction: tr.mse(t, u, r), x, p)


def test_clip_and_other_kinks():
    check_gradients(lambda t: tr.clip(t, -1.0, 1.0), np.array([-2.0, -0.5, 0.5, 2.0]))
    check_gradients(lambda t, low: tr.clip(t, low), np.array([-2.0, -0.5]), np.array([-1.0, -1.0]))
    with pytest.raises(KinkError):
        check_gradients(lambda t: tr.clip(t, -1.0, 1.0), np.array([-2.0, 1.0]))
    check_gradients(lambda a, b: tr.outer(a, b), np.ones(3) * 1.5, np.ones((2, 2)) * 0.5)
    check_gradients(lambda a: a**2 + a**0 + a**1 + a**3 + 2**a, np.array([-1.0, 0.0, 2.0]))


# the documented subgradients
TIES = [
    (tr.relu, [0.0], [0.0]),
    (tr.absolute, [0.0], [0.0]),
    (tr.sign, [0.0], [0.0]),
    (lambda t: tr.maximum(t, t * 1), [1.0], [1.0]),
    (lambda t: tr.maximum(t, 2.0), [2.0], [0.5]),
    (lambda t: tr.minimum(2.0, t), [2.0], [0.5]),
    (tr.max, [1.0, 3.0, 3.0], [0.0, 0.5, 0.5]),
    (tr.min, [1.0, 1.0, 3.0, 1.0], [1 / 3, 1 / 3, 0.0, 1 / 3]),
    (lambda t: tr.clip(t, -1, 1), [-1.0, 1.0, 3.0], [1.0, 1.0, 0.0]),
    (lambda t: t**2, [0.0], [0.0]),
    (lambda t: t**1, [0.0], [1.0]),
    (lambda t: t**0, [0.0], [0.0]),
    (lambda t: 0.0**t, [1.0], [0.0]),
]


@pytest.mark.parametrize(("function", "x", "expected"), TIES)
def test_subgradients_at_kinks(function, x, expected):
    t = tr.tensor(x)
    np.testing.assert_array_equal(tr.grad(function(t).sum(), t).data, expected)


# -- the engine ----------------------------------------------------------------------------------------


def leaf(*values):
    return tr.tensor(values[0] if len(values) == 1 else values, requires_grad=True, dtype=float)


def test_shared_nodes_add_up():
    a = leaf(3.0)
    b = a + a
    c = b + b
    c.backward()
    assert a.grad.item() == 4
    x = leaf(3.0)
    (x * x).backward()
    assert x.grad.item() == 6
    x = leaf(1.0)
    y = x
    for _ in range(60):  # 2⁶⁰ paths, 60 nodes
        y = y + y
    y.backward()
    assert x.grad.item() == 2.0**60


def test_backward_twice_adds_to_grad_and_changes_no_graph():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    before = [node.serial for node in tr.graph(y).nodes]
    y.backward()
    y.backward()
    np.testing.assert_array_equal(x.grad.data, [4, 8])
    assert [node.serial for node in tr.graph(y).nodes] == before
    x.grad = None
    y.backward(2.0)
    np.testing.assert_array_equal(x.grad.data, [4, 8])


def test_backward_through_two_outputs_that_share_a_part():
    x = leaf(2.0)
    h = tr.exp(x)
    (h * 2).backward()
    (h * 3).backward()
    np.testing.assert_allclose(x.grad.item(), 5 * math.exp(2))


def test_grad_of_grad_of_grad():
    x = tr.tensor(2.0)
    y = x**4
    for expected in (32.0, 48.0, 48.0, 24.0, 0.0):
        y = tr.grad(y, x)
        assert y.item() == expected


def test_grad_wrt_values_within_the_graph_and_of_several_outputs():
    x = tr.tensor([1.0, 2.0])
    h = x * x
    y, z = (h * 3).sum(), (h * x).sum()
    dh, dx = tr.grad([y, z], [h, x])
    np.testing.assert_array_equal(dh.data, [4, 5])
    np.testing.assert_array_equal(dx.data, [6 + 3, 12 + 12])
    (unrelated,) = tr.grad([y], [tr.tensor([1.0])])
    np.testing.assert_array_equal(unrelated.data, [0.0])
    assert tr.grad(h, h, [1.0, 2.0]).tolist() == [1.0, 2.0]


def test_jvp_and_jacobian():
    rng = np.random.default_rng(0)
    W = rng.standard_normal((3, 2))
    x = tr.tensor(rng.standard_normal(2))
    y = tr.tanh(tr.tensor(W) @ x)
    J = tr.jacobian(y, x)
    np.testing.assert_allclose(J.data, (1 - y.data**2)[:, None] * W)
    v = rng.standard_normal(2)
    np.testing.assert_allclose(tr.jvp(y, x, v).data, J.data @ v)
    check_gradients(lambda t: tr.jacobian(tr.tanh(tr.tensor(W) @ t), t), x.data)
    assert tr.jacobian(tr.tensor(np.zeros((0, 2))), x).shape == (0, 2, 2)


def test_no_grad_records_nothing_and_nests():
    x = leaf(1.0)
    with tr.no_grad():
        with tr.no_grad():
            pass
        y = x * 2
    assert y.node.inputs == () and not y.requires_grad
    with pytest.raises(GradientError, match="no graph"):
        y.backward()
    assert (x * 2).requires_grad


def test_detach_cuts_and_the_error_names_the_cut():
    x = leaf(2.0)
    y = x * x.detach()
    y.backward()
    assert x.grad.item() == 2
    h = (x * x).named("h")
    with pytest.raises(GradientError, match=r"the detached h .* cuts the graph.*\.detach\(\)"):
        tr.grad(h.detach() * 2, x)
    with pytest.raises(GradientError, match=r"the detached h \(\) cuts the graph"):
        (h.detach() * 2).backward()


def test_errors_name_the_fix():
    t = tr.tensor([1.0, 2.0])
    with pytest.raises(ImmutableError, match=r"tr\.where"):
        t[0] = 3.0
    with pytest.raises(GradientError, match="starts from a single number"):
        leaf(1.0, 2.0).backward()
    with pytest.raises(DtypeError, match="only floats have a gradient"):
        tr.tensor([1, 2], requires_grad=True)
    with pytest.raises(DtypeError, match="only floats have a gradient"):
        tr.grad(t.sum(), tr.tensor([1]))
    with pytest.raises(DtypeError, match=r"tr\.stack"):
        tr.tanh([t, t])
    with pytest.raises(DtypeError):
        tr.add(t, [[1.0], [1.0, 2.0]])
    with pytest.raises(ShapeError, match="cotangent"):
        leaf(1.0, 2.0).backward([1.0])
    with pytest.raises(ShapeError, match=r"add.*in 'rnn'"), tr.scope("rnn"):
        t + np.ones(3)
    with pytest.raises(ValueError), tr.no_grad():
        raise ValueError
    assert leaf(1.0).__mul__(2).requires_grad  # the mode has ended in spite of the error


def test_an_error_in_a_rule_leaves_no_trace():
    def broken(g, y, x):
        raise RuntimeError

    @tr.primitive(gradient=(broken,), formula="{x}")
    def breaks(x, *, out=None):
        return np.positive(x, out=out)

    try:
        with tr.scope("layer"):
            y = breaks(tr.tensor(1.0))
        with pytest.raises(RuntimeError):
            tr.grad(y, y.node.inputs and tr.Tensor(y.node.inputs[0]))
        assert tr.tanh(1.0).node.scope == ""
    finally:
        del tr.ops.registry["breaks"]


def test_rebinding_a_parameter_keeps_an_old_graph_right():
    W = tr.Parameter(np.array([2.0]))
    y = W * W * 3
    W.data = [5.0]
    y.backward(np.ones(1))
    np.testing.assert_array_equal(W.grad.data, [12.0])
    (W * W).sum().backward()
    np.testing.assert_array_equal(W.grad.data, [22.0])


def test_arrays_that_went_in_may_be_changed_afterwards():
    a, g = np.array([1.0, 2.0]), np.array([1.0, 1.0])
    x = tr.tensor(a, requires_grad=True)
    b = np.array([3.0, 4.0])
    y = x * b
    y.backward(g)
    a[:] = b[:] = g[:] = 100
    np.testing.assert_array_equal(y.data, [3, 8])
    np.testing.assert_array_equal(x.grad.data, [3, 4])
    with pytest.raises(ValueError):
        x.data[0] = 1
    with pytest.raises(ValueError):
        x.grad.data[0] = 1
    own = x.numpy()
    own[0] = 7
    assert x.data[0] == 1


def test_backward_leaves_detached_gradients_and_frees_the_graph():
    x = leaf(1.0, 2.0)
    h = tr.tanh(x)
    alive = weakref.ref(h.node)
    h.sum().backward()
    assert x.grad.node.inputs == ()
    del h
    gc.collect()
    assert alive() is None


class Counting:
    """Count the runs of each primitive inside the block."""

    def __enter__(self):
        self.count = 0
        self.kernels = {p: p.kernel for p in tr.ops.registry.values()}
        for p, kernel in self.kernels.items():

            def counted(*args, kernel=kernel, **kwargs):
                self.count += 1
                return kernel(*args, **kwargs)

            p.kernel = counted
        return self

    def __exit__(self, *_):
        for p, kernel in self.kernels.items():
            p.kernel = kernel


def chain(T):
    xs = tr.tensor(np.full((T, 1), 0.01))
    w = leaf(0.5)
    h = tr.tensor(np.zeros(1))
    for t in range(T):
        h = tr.tanh(h * w + xs[t])
    return w, h.sum()


def test_operations_grow_linearly_with_the_steps():
    counts = []
    for T in (100, 200, 400):
        with Counting() as counted:
            _, y = chain(T)
            y.backward()
        counts.append(counted.count)
    assert counts[2] - counts[1] == 2 * (counts[1] - counts[0])


def test_a_hundred_thousand_steps_forward_backward_and_freed():
    w, y = chain(100_000)
    y.backward()
    assert np.isfinite(w.grad.item())
    alive = weakref.ref(y.node)
    del y
    assert alive() is None
    check_gradients(lambda v: tr.tanh(v), w.data)


def test_threads_do_not_meet():
    found, errors = {}, []
    barrier = threading.Barrier(4)

    def work(k):
        try:
            barrier.wait()
            for _ in range(200):
                with tr.scope(f"layer{k}"):
                    x = leaf(float(k))
                    y = x * x
                    if k % 2:
                        with tr.no_grad():
                            assert (y * 2).node.inputs == ()
                    else:
                        assert (y * 2).node.inputs != ()
                    y.backward()
                assert y.node.scope == f"layer{k}"
                found[k] = x.grad.item()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert found == {0: 0.0, 1: 2.0, 2: 4.0, 3: 6.0}


def test_debug_names_the_first_bad_value():
    from tinygrad_rnn.errors import NonFiniteError

    with np.errstate(all="ignore"), tr.debug(), pytest.raises(NonFiniteError, match=r"first appeared in log.*test_gradients"):
        tr.exp(tr.log(tr.tensor([0.0])))


def test_grad_by_a_parameter_that_was_rebound_or_wrapped_since():
    w = tr.Parameter([2.0])
    y = (w * w).sum()
    w.data = [5.0]
    np.testing.assert_array_equal(tr.grad(y, w).data, [4.0])
    layer = nn.Linear(2, 1)
    y = layer(np.ones((1, 2), "float32")).sum()
    nn.Sequential(layer)
    np.testing.assert_array_equal(tr.grad(y, layer.weight).data, [[1.0, 1.0]])


def test_a_parameter_as_cotangent_is_added_like_any_other():
    x, p = tr.tensor([1.0, 2.0], dtype="float32"), tr.Parameter([1.0, 1.0])
    np.testing.assert_array_equal(tr.grad(x + x, x, p).data, [2.0, 2.0])
    one = tr.tensor([1.0], dtype="float32")
    np.testing.assert_array_equal(tr.grad(one + np.zeros(2, "float32"), one, p).data, [2.0])


@pytest.mark.parametrize("rule", [lambda g, y, x: (g * 2).data, lambda g, y, x: (g * 2).tolist()])
def test_a_rule_that_returns_an_array_is_added_like_any_other(rule):
    @tr.primitive(gradient=(rule,), formula="2 {x}")
    def doubled(x, out=None):
        return np.multiply(x, 2, out=out)

    try:
        x = tr.tensor([1.0, 2.0, 3.0])
        np.testing.assert_array_equal(tr.grad((doubled(x) * x).sum(), x).data, [4.0, 8.0, 12.0])
    finally:
        del tr.ops.registry["doubled"]


def test_no_gradient_flows_through_integers():
    x = tr.tensor([1.5, 2.5], requires_grad=True)
    y = (x.astype(int) * 3.7).sum() + x.sum()
    y.backward()
    np.testing.assert_array_equal(x.grad.data, [1.0, 1.0])


def test_jvp_does_not_depend_on_the_mode():
    x = tr.tensor([1.0, 2.0])
    y = x * x
    with tr.no_grad():
        np.testing.assert_array_equal(tr.jvp(y, x, [1.0, 1.0]).data, [2.0, 4.0])


def test_backward_keeps_no_graph_of_the_cotangent():
    x, g = tr.tensor([1.0], requires_grad=True), tr.tensor([1.0]) * 2
    (x + 1).backward(g)
    assert x.grad.node.primitive is None


def test_gradient_errors_are_kept_apart():
    with pytest.raises(GradientError):
        tr.tensor([1.0]).sum().backward()
