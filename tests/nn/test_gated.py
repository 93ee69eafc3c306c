"""Gated cells and recurrent layers: numbers, names and layouts equal PyTorch's, and gradients are right."""

import copy
import pickle

import numpy as np
import pytest
import pytorch_goldens as goldens
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_goldens import stored

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import DtypeError, ShapeError, StateDictError
from tinygrad_rnn.testing import check_cell
from tinygrad_rnn.tree import flatten

EXAMPLES = settings().max_examples
sizes = st.integers(1, 4)
LAYERS = (nn.RNN, nn.LSTM, nn.GRU)
CELLS = (nn.LSTMCell, nn.GRUCell)


def lstm(x, h, c, U, W, b, d):
    """The LSTM of textbooks, one gate at a time; gate order i, f, g, o."""
    i, f, g, o = (x @ u.T + h @ w.T + p + q for u, w, p, q in zip(*(np.split(a, 4) for a in (U, W, b, d)), strict=True))
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru(x, h, U, W, b, d):
    """The GRU of textbooks, but with the reset after the product; gate order r, z, n."""
    (Ur, Uz, Un), (Wr, Wz, Wn), (br, bz, bn), (dr, dz, dn) = (np.split(a, 3) for a in (U, W, b, d))
    r, z = sigmoid(x @ Ur.T + br + h @ Wr.T + dr), sigmoid(x @ Uz.T + bz + h @ Wz.T + dz)
    n = np.tanh(x @ Un.T + bn + r * (h @ Wn.T + dn))
    return (1 - z) * n + z * h


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


@given(sizes, sizes, sizes, st.integers(0, 9))
def test_a_step_is_the_textbooks(B, I, H, seed):
    rng = np.random.default_rng(seed)
    x, h, c = rng.normal(size=(B, I)), rng.normal(size=(B, H)), rng.normal(size=(B, H))
    cell = nn.LSTMCell(I, H, dtype="float64")
    output, state = cell(x, nn.LSTMState(tr.tensor(h), tr.tensor(c)))
    expected = lstm(x, h, c, *(p.data for p in cell.parameters()))
    assert isinstance(state, nn.LSTMState) and output is state.h
    np.testing.assert_allclose(state.h.data, expected[0], atol=1e-12)
    np.testing.assert_allclose(state.c.data, expected[1], atol=1e-12)
    cell = nn.GRUCell(I, H, dtype="float64")
    output, state = cell(x, tr.tensor(h))
    assert output is state
    np.testing.assert_allclose(state.data, gru(x, h, *(p.data for p in cell.parameters())), atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_right_to_second_order(cell):
    report = check_cell(cell, order=2, examples=EXAMPLES // 2, input_size=2, hidden_size=2)
    assert report.runs and not report.unreached
    without = check_cell(lambda: cell(2, 1, bias=False), examples=3)
    assert without.parameters == ["U", "W"]


@pytest.mark.parametrize("cell", CELLS)
def test_parameters_start_as_in_pytorch(cell):
    gates = 4 if cell is nn.LSTMCell else 3
    made = cell(3, 16)
    assert made.weight_ih.shape == (gates * 16, 3) and made.weight_hh.shape == (gates * 16, 16)
    assert made.bias_ih.shape == made.bias_hh.shape == (gates * 16,)
    for parameter in made.parameters():
        assert parameter.dtype == np.float32
        assert 0.2 < abs(parameter.data).max() <= 0.25  # 1/√16
    assert [p.symbol for p in made.parameters()] == ["U", "W", "b", "b'"]
    assert cell(3, 2, bias=False).bias_hh is None


# -- as PyTorch ----------------------------------------------------------------------------


def run(layer, arrays):
    """Output, final states, and the gradients of a fixed weighted sum of them, under the names of the goldens."""
    leaves = {key: tr.tensor(arrays[key], requires_grad=True) for key in arrays if key == "xs" or key.startswith("state")}
    state = [leaf for key, leaf in leaves.items() if key != "xs"]
    leaves |= dict(layer.named_parameters())
    output, final = layer(leaves["xs"], *([] if not state else [tuple(state)] if len(state) > 1 else state))
    results = {"output": output} | {f"final {k}": part for k, part in enumerate(flatten(final))}
    total = sum((y * goldens.weights(y.shape, k)).sum() for k, y in enumerate(results.values()))
    gradients = tr.grad(total, list(leaves.values()))
    return results | {f"gradient {key}": g for key, g in zip(leaves, gradients, strict=True)}


@pytest.mark.parametrize("name", goldens.LAYERS)
@pytest.mark.parametrize("mode", ["scan", "unroll"])
def test_as_pytorch_says(name, mode):
    kind, options, shape, _ = goldens.LAYERS[name]
    arrays = {key.partition("/")[2]: array for key, array in stored().items() if key.partition("/")[0] == name}
    layer = getattr(nn, kind)(shape[-1], goldens.HIDDEN, dtype="float64", mode=mode, **options)
    layer.load_state_dict({key: array for key, array in arrays.items() if key.startswith(("weight", "bias"))})
    found = run(layer, arrays)
    assert set(found) == {key for key in arrays if key.startswith(("output", "final", "gradient"))}
    for key, tensor in found.items():
        assert tensor.shape == arrays[key].shape
        np.testing.assert_allclose(tensor.data, arrays[key], rtol=1e-9, atol=1e-11, err_msg=key)


# -- layers --------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", LAYERS)
def test_parameters_have_pytorchs_names_wherever_the_layer_stands(layer):
    names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    assert list(layer(3, 5).state_dict()) == names
    assert list(layer(3, 5, bias=False).state_dict()) == names[:2]
    model = nn.Sequential(layer(3, 5), nn.Linear(5, 2))
    assert list(model.state_dict())[:4] == [f"0.{name}" for name in names]
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert list(twin.state_dict()) == list(model.state_dict())
        assert twin[0].weight_hh_l0 is twin[0].l0.cell.weight_hh is not model[0].weight_hh_l0
    with pytest.raises(StateDictError, match="not known: weight_hh_l1"):
        layer(3, 5).load_state_dict(layer(3, 5).state_dict() | {"weight_hh_l1": np.zeros((5, 5))})


def test_a_parameter_set_by_pytorchs_name_is_the_cells():
    layer, other = nn.GRU(3, 5), nn.GRU(3, 5)
    layer.weight_hh_l0 = other.weight_hh_l0
    assert layer.l0.cell.weight_hh is other.weight_hh_l0
    assert list(layer.state_dict()) == list(other.state_dict())
    layer.penalty_l2 = 0.1
    assert layer.penalty_l2 == 0.1 and len(layer.parameters()) == 4
    with pytest.raises(AttributeError, match="weight_hh_l1"):
        layer.weight_hh_l1  # noqa: B018


def test_an_lstm_gives_its_state_as_a_tuple_with_names():
    layer = nn.LSTM(3, 5)
    output, state = layer(np.ones((4, 2, 3), "float32"))
    assert isinstance(state, nn.LSTMState) and output.shape == (4, 2, 5)
    first, middle = layer(np.ones((2, 2, 3), "float32"))
    second, last = layer(np.ones((2, 2, 3), "float32"), middle)
    np.testing.assert_allclose(np.concatenate([first.data, second.data]), output.data, rtol=1e-6)
    np.testing.assert_allclose(last.c.data, state.c.data, rtol=1e-6)


def test_a_layer_of_ones_own_cell():
    class Leaky(nn.Cell):
        def __init__(self, input_size, hidden_size):
            super().__init__()
            self.U = nn.Parameter((input_size, hidden_size))
            self.state_shape = (hidden_size,)

        def step(self, x, h):
            h = (0.5 * h + x @ self.U).named("h")
            return h, h

    layer = nn.RecurrentLayer(Leaky, 3, 2, batch_first=True)
    output, h = layer(np.ones((4, 7, 3), "float32"))
    assert output.shape == (4, 7, 2) and h.shape == (1, 4, 2)
    assert list(layer.state_dict()) == ["U_l0"]


@pytest.mark.parametrize("layer", LAYERS)
def test_pictures_and_folding(layer):
    made = layer(3, 5, mode="unroll")
    output, _ = made(np.ones((4, 2, 3), "float32"))
    folded = tr.graph((output**2).sum()).fold()
    assert {delay.node.name for delay in folded.delays} == ({"h", "c"} if layer is nn.LSTM else {"h"})
    text = made.draw().source
    for name in {nn.RNN: "xh", nn.LSTM: "xifgoch", nn.GRU: "xrznh"}[layer]:
        assert f"label={name} " in text


def test_equations():
    equations = nn.LSTMCell(3, 5).equations()
    for line in (
        r"f_t &= \sigma\left(U_{f} x_t + b_{f} + W_{f} h_{t-1} + b'_{f}\right)",
        r"c_t &= f_t \odot c_{t-1} + i_t \odot g_t",
    ):
        assert line in equations
    assert r"h_t &= \left(1 - z_t\right) \odot n_t + z_t \odot h_{t-1}" in nn.GRUCell(3, 5).equations()
    assert r"\delta^{c}_{t+1} \odot f_{t+1}" in nn.LSTMCell(3, 5).equations(backward=True)
    assert r"\delta^{h}_{t+1} \odot z_{t+1}" in nn.GRUCell(3, 5).equations(backward=True)


# -- errors --------------------------------------------------------------------------------


X = np.zeros((4, 2, 3), "float32")
H = np.zeros((1, 2, 5), "float32")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.LSTM(3, 5)(X[..., :2]), r"LSTM: the input has shape \(4, 2, 2\), but must be \(time, batch.* 3 features"),
        (lambda: nn.GRU(3, 5, batch_first=True)(X[0, 0]), r"GRU: the input has shape \(3,\), but must be \(batch, time"),
        (lambda: nn.LSTM(3, 5)(X, H), r"LSTM: the initial state has shape \(1, 2, 5\), .* need .*c=\(1, 2, 5\)"),
        (lambda: nn.GRU(3, 5)(X, (H, H)), r"GRU: the initial state has shape \(\(1, 2, 5\), \(1, 2, 5\)\)"),
        (lambda: nn.RNN(3, 5)(X, H[0]), r"RNN: the initial state has shape \(2, 5\), .* need \(1, 2, 5\)"),
        (lambda: nn.RNN(3, 5)(X[:, 0], H), r"RNN: the initial state has shape \(1, 2, 5\), .* need \(1, 5\)"),
        (
            lambda: nn.LSTMCell(3, 5)(X[0], tr.tensor(H[0])),
            r"LSTMCell:.* a tuple of 2 tensors, \(h, c\), not a T",
        ),
        (lambda: nn.LSTMCell(3, 5)(X[0], (H[0],)), "not 1 part"),
        (lambda: nn.GRUCell(4, 5)(X[0], H[0]), r"GRUCell: .*\(2, 3\).*transpose\(U\)"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ShapeError, match=message):
        call()


def test_a_list_is_no_state():
    with pytest.raises(DtypeError, match="LSTM: a list of tensors"):
        nn.LSTM(3, 5)(X, [tr.tensor(H), tr.tensor(H)])


def test_a_nonlinearity_that_is_none():
    with pytest.raises(ValueError, match="nonlinearity"):
        nn.RNN(3, 5, nonlinearity="sine")
