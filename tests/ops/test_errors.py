"""Bad input gets one clear error of the library's own kind, in the words of recurrent networks."""

import re
from pathlib import Path

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import errors, nn
from tinygrad_rnn.errors import DtypeError, GradientError, ImmutableError, NonFiniteError, ShapeError, TinygradError
from tinygrad_rnn.ops import Domain, Formula, Interval


def test_every_kind_is_one_of_the_librarys():
    kinds = [getattr(errors, name) for name in errors.__all__]
    assert all(issubclass(kind, TinygradError) for kind in kinds)
    assert issubclass(ShapeError, ValueError) and issubclass(DtypeError, TypeError)


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda x, y: x + y, ("add", "(2, 3)", "(4,)")),
        (lambda x, y: x @ y.reshape(4, 1), ("matmul", "(2, 3) @ (4, 1)")),
        (lambda x, y: tr.concatenate([x, y.reshape(1, 4)]), ("concatenate", "(1, 4)")),
        (lambda x, y: tr.stack([x, y]), ("stack", "must have the same shape")),
        (lambda x, y: x.reshape(4), ("reshape", "6 elements")),
        (lambda x, y: x.sum(axis=2), ("sum", "axis 2", "2 dimensions")),
        (lambda x, y: x.transpose(0, 0), ("transpose", "each of the 2 axes")),
        (lambda x, y: x[5], ("getitem", "out of bounds")),
        (lambda x, y: tr.einsum("ij,jk->ik", x, y), ("'jk'", "(4,)")),
        (lambda x, y: tr.broadcast_to(x, (3, 3)), ("broadcast_to", "(3, 3)")),
        (lambda x, y: tr.cross_entropy(x, [0, 3]), ("0 to 3", "3 logits")),
        (lambda x, y: tr.mse(x, y), ("(2, 3)", "(4,)")),
        (lambda x, y: x.max(axis=()).reshape(0, 1), ("reshape",)),
    ],
)
def test_shapes_that_do_not_fit(call, parts):
    with pytest.raises(ShapeError) as caught:
        call(tr.tensor(np.ones((2, 3))), tr.tensor(np.ones(4)))
    assert all(part in str(caught.value) for part in parts), str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: tr.tensor(["a"]),
        lambda: tr.tensor([1j]),
        lambda: tr.tensor([[1.0], [1.0, 2.0]]),
        lambda: tr.tensor([1, 2], requires_grad=True),
        lambda: tr.tensor([True]).sum().backward(1),
        lambda: tr.grad(tr.tensor(1.0) * 2, tr.tensor(1)),
        lambda: tr.tensor([1.0])[tr.tensor([0.5])],
        lambda: tr.tensor([1.0])["a"],
        lambda: -tr.tensor([True]),
        lambda: tr.tensor([1.0]) + "a",
        lambda: tr.tensor([1.0]) + None,
    ],
)
def test_wrong_dtypes(call):
    with pytest.raises((DtypeError, GradientError)):
        call()


def test_a_tensor_is_not_written_to():
    t = tr.tensor([1.0, 2.0])
    with pytest.raises(ImmutableError, match=r"tr\.where, tr\.concatenate or tr\.stack"):
        t[0] = 3.0
    with pytest.raises(ImmutableError, match="Parameter"):
        t.data = [1.0, 2.0]
    with pytest.raises(ValueError, match="read-only"):
        t.data[0] = 3.0


def test_backward_of_what_is_no_scalar():
    h = tr.tanh(tr.tensor([1.0, 2.0], requires_grad=True)).named("h")
    with pytest.raises(GradientError, match=r"starts from a single number, but the output h \(2,\) has 2 elements.*\.sum\(\)"):
        h.backward()


def test_gradients_that_nobody_asked_for():
    with pytest.raises(GradientError, match="requires_grad=True"):
        (tr.tensor(1.0) * 2).backward()
    with tr.no_grad():
        y = tr.tensor(1.0, requires_grad=True) * 2
    with pytest.raises(GradientError, match="no_grad"):
        y.backward()


def test_a_leaf_behind_a_cut_is_told_where_the_cut_is():
    W = tr.Parameter([[1.0]], symbol="W")
    h = tr.tensor([[1.0]])
    kept = []
    for t, x in tr.steps(tr.tensor(np.ones((4, 1, 1)))):
        h = tr.tanh(x + h @ W).named("h")
        kept.append(h)
        h = h.detach() if t == 4 else h
    with pytest.raises(GradientError, match=r"back to the input W \(1, 1\): the detached h \(1, 1\) at step t=4 cuts"):
        tr.grad(h.sum(), W)
    with pytest.raises(GradientError, match=r"the detached h \(1, 1\) at step t=4 cuts"):
        h.sum().backward()


def test_what_nothing_depends_on_has_a_gradient_of_zeros():
    x, y = tr.tensor([1.0, 2.0]), tr.tensor([1.0])
    np.testing.assert_array_equal(tr.grad((y * 2).sum(), x).data, [0.0, 0.0])


def test_debug_names_the_first_bad_value_its_place_and_its_line():
    class Exploding(nn.Cell):
        state_shape = (1,)

        def step(self, x, h):
            h = (h + x).named("h")
            y = tr.log(4.0 - h)  # the error names this line
            return y, h

    model = nn.Sequential(nn.Recurrent(Exploding()))
    with np.errstate(all="ignore"), tr.debug(), pytest.raises(NonFiniteError) as caught:
        model(np.ones((6, 1, 1)))
    message = str(caught.value)
    source = re.search(r"computed at (.*):(\d+)", message)
    assert source and source[1] == __file__
    line = Path(__file__).read_text().splitlines()[int(source[2]) - 1]
    assert "the error names this line" in line
    for part in ("-inf", "log", "t=4", "'0.cell'", "(0, 0)"):
        assert part in message, message


def test_debug_looks_at_gradients_too():
    x = tr.tensor([0.0, 1.0], requires_grad=True)
    y = tr.sqrt(x).sum()
    with np.errstate(all="ignore"), tr.debug(), pytest.raises(NonFiniteError, match="gradient of"):
        y.backward()
    with np.errstate(all="ignore"):
        y.backward()
    assert np.isinf(x.grad.data[0])


def test_without_debug_numpys_inf_passes():
    with np.errstate(all="ignore"):
        assert np.isinf(tr.log(tr.tensor(0.0)).item())


def test_primitives_refuse_what_they_do_not_take():
    with pytest.raises(TypeError, match=r"takes 2 inputs \(a, b\), but 1 were given"):
        tr.add(1.0)
    with pytest.raises(TypeError, match="beta"):
        tr.softplus([1.0], beta=2)


def test_a_primitive_is_made_once_and_has_a_rule_for_each_input():
    with pytest.raises(ValueError, match="exists already"):

        @tr.primitive(gradient=(None,), formula="{x}")
        def tanh(x, out=None):
            return x

    with pytest.raises(ValueError, match="2 inputs and 1"):

        @tr.primitive(gradient=(None,), formula="{x}")
        def two_inputs_one_rule(x, y, out=None):
            return x


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        (r"\operatorname{foo}({x})", r"\{foo\}.* must be one of x, slope, over; double .*: \{\{foo\}\}"),
        (r"\frac{x}{2}", r"TeX needs braces of its own: write \{\{\{x\}\}\}"),
        (r"e^{x}", "TeX needs braces"),
        (r"\left\{x\right\}", "braces of TeX"),
        (r"{x", "single braces"),
        ("{}", r"\{\} .* must be one of"),
        ("{x.data}", "must be one of"),
        ("{x!r}", "unknown format"),
        ("{x:tight}", r"\{x:tight\} .* unknown format"),
        ("{slope:sum} {x}", "unknown format"),
        ("{x:own,tight}", r"\{x:own,tight\} .* unknown format"),
        ("{x:tight,own}", r"\{x:tight,own\} .* unknown format"),
        ("{x:product,T,tight}", "unknown format"),
        ("{x:own,own,}", "unknown format"),
        ("{slope:index,typed,T} {x}", "unknown format"),
        ("{slope:own,index} {x}", "unknown format"),
        ("{rest}", "must be one of"),
        (r"\left(x\right)", r"plain text in .*; write \{x\}"),
        (Formula("{x}", transposed="{y}"), "must be one of"),
        (Formula("{x}", special=(("x", 1, "{y}"),)), "must be one of"),
        (Formula("{x}", special=(("y", 1, "{x}"),)), "names the input 'y', but the inputs are x"),
    ],
)
def test_a_formula_that_would_print_wrong_is_refused_at_once(formula, words):
    with pytest.raises(ValueError, match=words):

        @tr.primitive(gradient=(None,), formula=formula)
        def misprinted(x, *, slope, out=None):
            return np.multiply(x, slope, out=out)

    assert "misprinted" not in tr.ops.registry


@pytest.mark.parametrize("domain", [Interval(0, 1), (0, 1), Domain((0, 1)), Domain])
def test_a_domain_is_made_of_intervals(domain):
    with pytest.raises(TypeError, match=r"bounded: .* Domain\(Interval\(0, 1\)\)"):

        @tr.primitive(gradient=(None,), formula="{x}", domain=domain)
        def bounded(x, out=None):
            return np.positive(x, out=out)


def test_a_kernel_takes_out():
    def without(x):
        return np.positive(x)

    for kernel in (without, lambda x, out: np.positive(x, out=out), lambda x: np.positive(x)):
        with pytest.raises(TypeError, match="add out=None"):
            tr.primitive(kernel, gradient=(None,), formula="{x}")(without)
    try:
        tr.primitive(lambda x, **options: np.positive(x, **options), gradient=(None,), formula="{x}")(without)
    finally:
        del tr.ops.registry["without"]


@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM])
@pytest.mark.parametrize("loss", [nn.mse, nn.cross_entropy])
def test_a_loss_of_outputs_and_state_says_to_unpack_them(layer, loss):
    xs = np.zeros((4, 2, 3), "float32")
    model = layer(3, 5)
    with pytest.raises(DtypeError, match=rf"{loss.__name__}: .*outputs, state = model\(xs\)"):
        loss(model(xs), np.zeros((4, 2, 5), "float32"))
    outputs, _ = model(xs)
    assert loss(outputs, np.zeros((4, 2, 5), "float32")).shape == ()
    assert nn.mse((1.0, 2.0), (0.0, 0.0)).item() == 2.5


def test_numpy_functions_without_a_gradient_say_so_instead_of_dropping_it():
    t = tr.tensor([1.0, 2.0])
    with pytest.raises(DtypeError, match=r"np\.median.*\.data"):
        np.median(t)
    with pytest.raises(DtypeError, match=r"np\.rint"):
        np.rint(t)
    with pytest.raises(DtypeError, match=r"np\.add\.reduce"):
        np.add.reduce(t)
    assert np.isfinite(t).all() and np.allclose(t, [1.0, 2.0])


def test_debug_does_not_blame_an_operation_for_its_input():
    with tr.debug(), pytest.raises(NonFiniteError, match=r"^x \(1,\), an input of add, has NaN"):
        tr.tensor([np.nan]).named("x") + 1


def test_a_forgotten_comma_in_a_gradient_is_told_at_once():
    with pytest.raises(ValueError, match=r"gradient=\(rule,\)"):

        @tr.primitive(gradient=lambda g, y, x: g, formula="{x}")
        def forgot_the_comma(x, out=None):
            return x


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
