"""Faults that were found once, each with the smallest case that shows it."""

import copy
import pickle
import warnings

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import DtypeError, GradientError, NonFiniteError, ShapeError, TinygradError, TraceError
from tinygrad_rnn.testing import GradientCheckError, check_cell, check_gradients


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


def test_sequential_applies_functions_too_and_refuses_the_rest():
    model = nn.Sequential(nn.Linear(2, 2), tr.tanh)
    x = np.ones((1, 2), "float32")
    np.testing.assert_array_equal(model(x).data, np.tanh(model[0](x).data))
    with pytest.raises(TinygradError, match="3"):
        nn.Sequential(nn.Linear(2, 2), 3)


def test_a_sequence_without_a_batch_axis_is_refused_with_the_fix():
    with pytest.raises(ShapeError, match=r"xs\[:, None\]"):
        nn.Recurrent(nn.RNNCell(3, 5))(np.zeros((7, 3), "float32"))
    with pytest.raises(ShapeError, match=r"h.*\(4, 5\).*\(1, 5\)"):
        nn.Recurrent(nn.RNNCell(3, 5))(np.zeros((7, 1, 3), "float32"), tr.tensor(np.zeros((4, 5))))


def test_a_parameter_is_not_replaced_by_a_tensor_without_a_word():
    layer = nn.Linear(2, 1)
    with pytest.raises(TinygradError, match=r"weight\.data"):
        layer.weight = layer.weight - 0.1
    layer.bias = None
    assert list(layer.state_dict()) == ["weight"]


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


def test_copies_of_a_module_have_parameters_of_their_own():
    model = nn.Sequential(nn.Recurrent(nn.RNNCell(2, 3)), nn.Linear(3, 1))
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        before = twin.state_dict()
        assert not set(map(id, twin.parameters())) & set(map(id, model.parameters()))
        for p in model.parameters():
            p.data = p.data + 1
        for name, array in twin.state_dict().items():
            np.testing.assert_array_equal(array, before[name])
        loss = twin(np.ones((3, 1, 2), "float32")).sum()
        loss.backward()
        assert twin[1].weight.grad is not None and model[1].weight.grad is None
    shallow = copy.copy(model[1])
    shallow.weight = nn.Parameter((1, 3))
    assert dict(model[1].named_parameters())["weight"] is model[1].weight


def test_dropout_of_integers_is_refused():
    with pytest.raises(DtypeError, match="float"):
        nn.Dropout(0.5)(tr.tensor([1, 2, 3]))


def test_concatenate_without_an_axis_flattens_and_logic_is_of_booleans():
    t = tr.tensor([[1.0], [2.0]])
    np.testing.assert_array_equal(np.concatenate([t, t], axis=None).data, [1, 2, 1, 2])
    with pytest.raises(DtypeError, match="booleans"):
        tr.tensor([6]) & 3
    with pytest.raises(DtypeError, match="booleans"):
        ~tr.tensor([5])


def test_steps_leave_no_tag_behind():
    a, b = tr.tensor([1.0, 2.0]), tr.tensor([1.0, 2.0])
    for _ in zip(tr.steps(a), tr.steps(b), strict=True):
        pass
    assert (a * 2).node.step is None
    loop = tr.steps(a)
    next(loop)
    with tr.scope("encoder"):
        del loop
        y = a * 2
    assert y.node.scope == "encoder"
    assert (a * 2).node.step is None and (a * 2).node.scope == ""


def test_debug_does_not_blame_an_operation_for_its_input():
    with tr.debug(), pytest.raises(NonFiniteError, match=r"^x \(1,\), an input of add, holds NaN"):
        tr.tensor([np.nan]).named("x") + 1


class OneSlot(nn.Cell):
    state_shape = 2

    def __init__(self, result):
        super().__init__()
        self.result = result

    def step(self, x, h):
        return self.result(x, h)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda x, h: h, r"\(output, next state\)"),
        (lambda x, h: None, r"\(output, next state\)"),
        (lambda x, h: (None, h), "output"),
        (lambda x, h: ({"y": h}, h), "output"),
        (lambda x, h: (h, [h]), "tuple"),
        (lambda x, h: (h, (h, h)), "state of 2 tensors"),
        (lambda x, h: (h, h[:, :1]), r"\(1, 1\).*\(1, 2\)"),
    ],
)
def test_what_a_step_returns_is_checked(result, message):
    with pytest.raises(ShapeError, match=message) as caught:
        nn.Recurrent(OneSlot(result))(np.zeros((3, 1, 2)))
    assert "OneSlot" in str(caught.value)


def test_a_state_shape_may_be_a_number_and_outputs_may_be_arrays():
    outputs, _ = nn.Recurrent(OneSlot(lambda x, h: (np.ones((1, 2)), h)))(np.zeros((3, 1, 2)))
    assert outputs.shape == (3, 1, 2)


@pytest.mark.parametrize(
    ("state", "message"), [(np.zeros((1, 3)), r"\(1, 3\).*\(1, 2\)"), ((np.zeros((1, 2)),) * 2, "2 tensors")]
)
def test_a_state_that_is_not_the_cells(state, message):
    with pytest.raises(ShapeError, match=message):
        nn.Recurrent(OneSlot(lambda x, h: (h, h)))(np.zeros((3, 1, 2)), state)


def test_state_and_forced_data_take_the_dtype_of_the_network():
    model = nn.Recurrent(nn.RNNCell(2, 3))
    xs = np.zeros((3, 1, 2), "float32")
    outputs, h = model(xs, np.zeros((1, 3)), force={"h": np.zeros((3, 1, 3))})
    assert outputs.dtype == h.dtype == np.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"force": {"h": np.zeros((3, 1, 2))}, "force_mask": np.ones(3)}, "booleans"),
        ({"force": {"h": np.zeros((3, 1, 2))}, "force_mask": np.ones((3, 5), bool)}, r"\(3, 5\)"),
    ],
)
def test_masks_of_forcing(options, message):
    def step(x, h):
        h = (h + x).named("h")
        return h, h

    with pytest.raises(TinygradError, match=message):
        nn.Recurrent(OneSlot(step))(np.zeros((3, 1, 2)), **options)


def test_a_negative_number_of_steps():
    with pytest.raises(ShapeError, match="-1"):
        nn.Recurrent(OneSlot(lambda x, h: (h, h)))(None, steps=-1)


def test_files_and_names(tmp_path):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.file = nn.Parameter([1.0])

    model = Named()
    model.save(tmp_path / "m.npz")
    model.file.data = [2.0]
    model.load(tmp_path / "m.npz")
    assert model.file.data == [1.0]
    content = bytearray((tmp_path / "m.npz").read_bytes())
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    np.save(tmp_path / "array.npy", np.ones(1))
    for name in ("cut.npz", "array.npy"):
        with pytest.raises(tr.errors.DataError, match=r"not an \.npz file"):
            model.load(tmp_path / name)


def test_modules_in_a_circle_are_refused():
    parent, child = nn.Sequential(), nn.Linear(1, 1)
    parent.child = child
    with pytest.raises(TinygradError, match="contains"):
        child.parent = parent


def test_a_forgotten_comma_in_a_gradient_is_told_at_once():
    with pytest.raises(ValueError, match=r"gradient=\(rule,\)"):

        @tr.primitive(gradient=lambda g, y, x: g, formula="{x}")
        def forgot_the_comma(x, out=None):
            return x


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


def test_backward_keeps_no_graph_of_the_cotangent():
    x, g = tr.tensor([1.0], requires_grad=True), tr.tensor([1.0]) * 2
    (x + 1).backward(g)
    assert x.grad.node.primitive is None


def test_small_comforts():
    t = tr.tensor([[1.0, 2.0]])
    assert f"{t.sum():.2f}" == "3.00"
    assert (t == None) is False and t != None  # noqa: E711
    assert np.shape(t) == (1, 2) and np.nonzero(t)[1].tolist() == [0, 1]
    assert np.zeros_like(t).shape == (1, 2)
    assert t.flatten().shape == (2,)
    assert (t > 0).all() and t.argmin() == 0
    assert tr.prod(tr.tensor([100_000, 100_000], dtype="int32")).item() == 10**10


def test_optimisers_take_each_parameter_once():
    w = tr.Parameter([1.0])
    assert len(tr.optim.SGD([w, w]).parameters) == 1
    with pytest.raises(TypeError, match="named_parameters"):
        tr.optim.SGD(nn.Linear(1, 1).named_parameters())


def test_tensors_in_a_list_are_stacked_by_name():
    with pytest.raises(DtypeError, match=r"tr\.stack"):
        tr.tensor([tr.tensor(1.0), tr.tensor(2.0)])


def test_a_kernel_error_that_is_not_about_shapes():
    with pytest.raises(DtypeError, match="power"):
        tr.tensor([2]) ** -1
    with pytest.raises(DtypeError):
        tr.tensor([1], dtype="int8") + 300
    with pytest.raises(DtypeError):
        nn.Parameter("abc")
    with pytest.raises(DtypeError, match="float"):
        nn.Parameter([1, 2], dtype=int)


def test_gradient_errors_are_kept_apart():
    with pytest.raises(GradientError):
        tr.tensor([1.0]).sum().backward()
