"""Losses over padded batches: equal to PyTorch's on the real elements, and independent of the values in the padding."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import DtypeError, NonFiniteError, ShapeError

REDUCTIONS = ("mean", "sum", "none")


@st.composite
def batches(draw):
    """Lengths, the mask of the real steps, a generator, and the layout."""
    T, batch = draw(st.integers(0, 5)), draw(st.integers(0, 4))
    lengths = np.array(draw(st.lists(st.integers(0, T), min_size=batch, max_size=batch)), int)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return lengths, np.arange(T)[:, None] < lengths, rng, draw(st.booleans())


def laid_out(x, batch_first):
    return x.swapaxes(0, 1) if batch_first else x


def spoiled(x, real, rng):
    """The same sequences, with other values in the padding."""
    anything = rng.choice([np.nan, np.inf, -1e300, 7.0], x.shape) if x.dtype.kind == "f" else rng.integers(-99, 99, x.shape)
    return np.where(real.reshape(real.shape + (1,) * (x.ndim - 2)), x, anything)


def value_and_gradient(loss, outputs, targets, **options):
    x = tr.tensor(outputs, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = loss(x, targets, **options)
        gradient = tr.grad(value.sum(), x)
    return value.data, gradient.data


def check(loss, torch_loss, outputs, targets, per_element, batch):
    """`torch_loss(outputs, targets)` gives a loss for each real element, as a flat array."""
    torch = pytest.importorskip("torch")
    lengths, real, rng, batch_first = batch
    padded = [laid_out(spoiled(x, real, rng), batch_first) for x in (outputs, targets)]
    x = torch.tensor(outputs, requires_grad=True)
    at = torch.tensor(real)
    losses = torch_loss(x[at], torch.tensor(targets)[at])
    for reduction in REDUCTIONS:
        options = {"reduction": reduction, "lengths": lengths, "batch_first": batch_first}
        value, gradient = value_and_gradient(loss, *padded, **options)
        expected = losses.sum() / max(1, losses.numel()) if reduction == "mean" else losses.sum()
        (slope,) = torch.autograd.grad(expected, x, retain_graph=True)
        np.testing.assert_allclose(laid_out(gradient, batch_first), slope.numpy(), rtol=1e-12, atol=1e-14)
        if reduction == "none":
            value = laid_out(value, batch_first)
            assert value.shape == per_element and (value[~real] == 0).all()
            value, expected = value[real].ravel(), losses.reshape(-1)
        np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-12)


@given(batches(), st.integers(1, 4))
def test_cross_entropy_of_classes(batch, n):
    torch = pytest.importorskip("torch")
    _, real, rng, _ = batch
    logits, classes = rng.normal(size=(*real.shape, n)), rng.integers(0, n, real.shape)
    each = torch.nn.CrossEntropyLoss(reduction="none")
    check(nn.cross_entropy, each, logits, classes, real.shape, batch)


@given(batches(), st.integers(1, 4))
def test_cross_entropy_of_probabilities(batch, n):
    torch = pytest.importorskip("torch")
    _, real, rng, _ = batch
    logits, p = rng.normal(size=(*real.shape, n)), rng.dirichlet(np.ones(n), real.shape)
    each = torch.nn.CrossEntropyLoss(reduction="none")
    check(nn.cross_entropy, each, logits, p, real.shape, batch)


@given(batches(), st.sampled_from([(), (1,), (3,), (2, 2), (0,)]))
def test_mse(batch, features):
    torch = pytest.importorskip("torch")
    _, real, rng, _ = batch
    prediction, target = rng.normal(size=(2, *real.shape, *features))
    each = torch.nn.MSELoss(reduction="none")
    check(nn.mse, each, prediction, target, target.shape, batch)


@given(batches())
def test_padding_inside_a_network(batch):
    """A batch with lengths has the same loss and gradients as its rows run one by one."""
    lengths, real, rng, batch_first = batch
    model, head = nn.Recurrent(nn.GRUCell(2, 3, dtype=float)), nn.Linear(3, 4, dtype=float)
    parameters = [*model.parameters(), *head.parameters()]
    xs, ys = rng.normal(size=(*real.shape, 2)), rng.integers(0, 4, real.shape)
    outputs, _ = model(spoiled(xs, real, rng), lengths=lengths)
    logits, classes = (laid_out(x, batch_first) for x in (head(outputs), spoiled(ys, real, rng)))
    together = nn.cross_entropy(logits, classes, "sum", lengths, batch_first)
    alone = tr.tensor(0.0)
    for row, n in enumerate(lengths):
        outputs, _ = model(xs[:n, row : row + 1])
        alone = alone + nn.cross_entropy(head(outputs), ys[:n, row : row + 1], "sum")
    np.testing.assert_allclose(together.data, alone.data, rtol=1e-12)
    for found, expected in zip(tr.grad(together, parameters), tr.grad(alone, parameters), strict=True):
        np.testing.assert_allclose(found.data, expected.data, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss, targets", [(nn.cross_entropy, np.zeros((3, 2), int)), (nn.mse, np.zeros((3, 2, 4)))])
def test_rows_of_no_length_have_a_loss_of_zero(loss, targets):
    value, gradient = value_and_gradient(loss, np.full((3, 2, 4), np.nan), targets, lengths=[0, 0])
    assert value == 0 and not gradient.any()


def test_the_dtype_stays():
    x = np.zeros((3, 2, 4), "float32")
    for reduction in REDUCTIONS:
        assert nn.mse(x, x, reduction, lengths=[1, 2]).dtype == "float32"
        assert nn.cross_entropy(x, np.zeros((3, 2), "uint8"), reduction, lengths=[1, 2]).dtype == "float32"


@pytest.mark.parametrize(
    "lengths, error, said",
    [
        ([1, 4], ShapeError, "3 steps"),
        ([-1, 2], ShapeError, "3 steps"),
        ([1, 2, 3], ShapeError, "batch of 2"),
        (2, ShapeError, "batch of 2"),
        ([1.0, 2.0], DtypeError, "integers"),
        ([True, False], DtypeError, "integers"),
    ],
)
@pytest.mark.parametrize("batch_first", [False, True])
def test_wrong_lengths(lengths, error, said, batch_first):
    x, y = np.zeros((3, 2, 4)), np.zeros((3, 2), int)
    with pytest.raises(error, match=said):
        nn.mse(laid_out(x, batch_first), laid_out(x, batch_first), lengths=lengths, batch_first=batch_first)
    with pytest.raises(error, match=said):
        nn.cross_entropy(laid_out(x, batch_first), laid_out(y, batch_first), lengths=lengths, batch_first=batch_first)


def test_lengths_need_axes_of_time_and_batch():
    with pytest.raises(ShapeError, match=r"cross_entropy.*time and batch.*\(3,\)"):
        nn.cross_entropy(np.zeros((3, 4)), [0, 1, 2], lengths=[1])
    with pytest.raises(ShapeError, match=r"mse.*time and batch"):
        nn.mse([1.0], [1.0], lengths=[1])


def test_a_real_class_that_does_not_exist_is_still_refused():
    with pytest.raises(ShapeError, match="from 0 to 7"):
        nn.cross_entropy(np.zeros((2, 2, 3)), [[0, 7], [9, 9]], lengths=[1, 1])


LOSSES = {
    "mse": (nn.mse, lambda rng: rng.normal(size=(4, 3, 2)), lambda rng: rng.normal(size=(4, 3, 2))),
    "cross_entropy": (nn.cross_entropy, lambda rng: rng.normal(size=(4, 3, 2)), lambda rng: rng.random((4, 3, 2))),
}


def test_every_loss_that_takes_floats_is_looked_at():
    assert LOSSES.keys() == set(tr.ops.losses.__all__)


@pytest.mark.parametrize("name", LOSSES)
@given(
    st.lists(st.tuples(st.integers(0, 23), st.sampled_from([np.nan, np.inf, -np.inf])), min_size=1, max_size=4),
    st.sampled_from([np.float16, np.float32, np.float64]),
    st.sampled_from(REDUCTIONS),
    st.sampled_from([None, [4, 2, 0]]),
    st.booleans(),
)
def test_a_target_that_is_not_finite_is_named_and_counted(name, spoilt, dtype, reduction, lengths, batch_first):
    loss, outputs, targets = LOSSES[name]
    rng = np.random.default_rng(0)
    x, y = outputs(rng), targets(rng).astype(dtype)
    for i, value in spoilt:
        y.flat[i] = value
    real = np.ones((4, 3), bool) if lengths is None else np.arange(4)[:, None] < np.array(lengths)
    count = np.sum(~np.isfinite(y) & real[:, :, None])
    x, y = laid_out(x, batch_first), laid_out(y, batch_first)
    options = {"reduction": reduction, "lengths": lengths, "batch_first": batch_first}
    if not count:
        assert np.isfinite(loss(x, y, **options).data).all()
        return
    with pytest.raises(NonFiniteError, match=rf"^{name}: {count} of the 24 values of the target .*(is|are) NaN or inf"):
        loss(x, tr.tensor(y), **options)


def test_an_output_that_serves_as_a_target_is_no_data():
    x = tr.tensor([0.0, 1.0], requires_grad=True)
    with np.errstate(divide="ignore"):
        assert nn.mse([1.0, 1.0], tr.log(x)).item() == np.inf


def test_classes_that_are_not_finite_are_not_told_to_become_integers():
    classes = np.array([[0.0, 1.0], [np.nan, 1.0]])
    with pytest.raises(NonFiniteError, match="1 of the 4 values of the target"):
        nn.cross_entropy(np.zeros((2, 2, 3)), classes)
    with pytest.raises(DtypeError, match=r"give targets\.astype\(int\)"):
        nn.cross_entropy(np.zeros((2, 2, 3)), classes, lengths=[1, 2])
