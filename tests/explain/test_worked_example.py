"""Worked examples: the sheet is recomputed from its own printed numbers, and is right beside full precision."""

from __future__ import annotations

import ast
import json
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.explain import worked_example
from tinygrad_rnn.explain.by_hand import ByHand


def half(o, y):
    return 0.5 * ((o - y) ** 2).sum()


def read(text: str) -> dict[str, np.ndarray]:
    """The numbers of a sheet, by what stands before the sign of equality."""
    found = {}
    for line in text.splitlines():
        name, equals, numbers = line.strip().partition(" = ")
        try:
            found[name] = np.array(ast.literal_eval(numbers)) if equals else None
        except (ValueError, SyntaxError):  # a formula
            continue
    return {name: array for name, array in found.items() if array is not None}


def printed(array, digits: int):
    """Numbers as one rounds them by hand: to significant digits, a half up."""
    if np.ndim(array):
        return np.array([printed(part, digits) for part in array])
    if abs(array) < 1e-300:
        return 0.0
    exact = Decimal(f"{array:.12g}")
    return float(exact.quantize(Decimal((0, (1,), exact.adjusted() - digits + 1)), ROUND_HALF_UP))


def network(inputs, units, outputs, seed):
    tr.seed(seed)
    return nn.Sequential(nn.Recurrent(nn.RNNCell(inputs, units)), nn.Linear(units, outputs))


@settings(max_examples=30)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(1, 4), st.integers(2, 9), st.integers(0, 99))
def test_the_sheet_is_recomputed_from_its_printed_numbers(inputs, units, outputs, T, digits, seed):
    rng = np.random.default_rng(seed)
    xs, ys = rng.standard_normal((T, inputs)).round(1), rng.standard_normal((T, outputs)).round(1)
    n = read(worked_example(network(inputs, units, outputs, seed), xs, ys, half, digits).text())
    checked = set()

    def same(name, value):
        value = np.asarray(value)
        assert n[name].shape == value.shape and (n[name] == printed(value, digits)).all(), (name, n[name], value)
        checked.add(name)

    U, W, V, b, bb, c = (n[name] for name in ("U", "W", "V", "b", "b'", "c"))
    h, steps = [n[f"h[{t}]"] for t in range(T + 1)], range(1, T + 1)
    for t in steps:
        same(f"a[{t}]", U @ n[f"x[{t}]"] + b + W @ h[t - 1] + bb)
        same(f"h[{t}]", np.tanh(n[f"a[{t}]"]))
        same(f"o[{t}]", V @ h[t] + c)
        same(f"L[{t}]", 0.5 * ((n[f"o[{t}]"] - n[f"y[{t}]"]) ** 2).sum())
        same(f"δo[{t},{t}]", n[f"o[{t}]"] - n[f"y[{t}]"])
        same(f"δh[{t},{t}]", V.T @ n[f"δo[{t},{t}]"])
        same(f"δa[{t},{t}]", n[f"δh[{t},{t}]"] * (1 - h[t] ** 2))
        for k in range(t - 1, 0, -1):
            same(f"δh[{t},{k}]", W.T @ n[f"δa[{t},{k + 1}]"])
            same(f"δa[{t},{k}]", n[f"δh[{t},{k}]"] * (1 - h[k] ** 2))
    for k in steps:
        for value in "ha":
            same(f"δ{value}[{k}]", sum(n[f"δ{value}[{t},{k}]"] for t in range(k, T + 1)))
        same(f"δo[{k}]", n[f"δo[{k},{k}]"])
        da, do = n[f"δa[{k}]"], n[f"δo[{k}]"]
        parts = {"U": np.outer(da, n[f"x[{k}]"]), "W": np.outer(da, h[k - 1]), "b": da, "b'": da}
        for name, part in {**parts, "V": np.outer(do, h[k]), "c": do}.items():
            same(f"∂L/∂{name}[{k}]", part)
    for name in ("U", "W", "b", "b'", "V", "c"):
        same(f"∂L/∂{name}", sum(n[f"∂L/∂{name}[{k}]"] for k in steps))
    assert checked == n.keys() - {"U", "W", "V", "b", "b'", "c", "h[0]", *(f"{v}[{t}]" for v in "xy" for t in steps)}


class Leaky(nn.Cell):
    """Two slots, a delay of two steps, a gate, and an output of its own."""

    def __init__(self):
        super().__init__()
        self.U = nn.Parameter((2, 3), symbol="U")
        self.W = nn.Parameter((3, 3), symbol="W")
        self.state_shape = ((3,), (2,), (2,))

    def step(self, x, state):
        m, last, older = state
        f = tr.sigmoid((x + older) @ self.U).named("f")
        m = (f * m + (1 - f) * tr.tanh(m @ self.W)).named("m")
        return m * f, (m, x, last)


CELLS = {
    "LSTM": nn.Sequential(nn.Recurrent(nn.LSTMCell(2, 3)), nn.Linear(3, 2)),
    "GRU": nn.GRUCell(2, 2),
    "time delay": nn.TimeDelayCell(2, 3, delays=[0, 2]),
    "own": Leaky(),
}


@pytest.mark.parametrize("name", CELLS)
def test_any_cell_beside_separate_gradients_of_each_loss(name):
    model, rng, T = CELLS[name], np.random.default_rng(1), 4
    width = 3 if name in ("time delay", "own") else 2
    xs, ys = rng.standard_normal((T, 2)).round(3), rng.standard_normal((T, width)).round(3)
    sheet = worked_example(model, xs, ys, nn.mse, digits=9)
    assert sheet.error < 1e-5
    hand = ByHand(model, xs, ys, nn.mse)
    state, losses, values = hand.network.initial_state(1), [], []
    for x, y in zip(xs, ys, strict=True):
        with tr.scope("here"):
            output, state = hand.network(tr.tensor(x[None]), state)
        losses.append(nn.mse(output, y[None]))
        nodes = [node for node in tr.graph(losses[-1]).nodes if node.primitive and node.name]
        values.append({node.name: tr.Tensor(node) for node in nodes})
    for t, loss in enumerate(losses):
        for k in range(T):
            for key in sheet.deltas:
                at = sheet.deltas[key][t, k]
                if k > t:
                    assert np.isnan(at).all()
                elif key in ("f", "m", "h", "c") and key in values[k]:
                    assert np.allclose(at, tr.grad(loss, values[k][key]).data[0], atol=1e-6)
    total = sum(losses[1:], losses[0])
    parameters = {p.name: p for p in hand.network.parameters()}
    for key, gradient in sheet.gradients.items():
        right = tr.grad(total, parameters["c" if key == "c'" else key]).data  # the state is c too
        assert np.allclose(gradient, right, atol=1e-6 * max(1, abs(right).max()))
        assert np.allclose(sheet.contributions[key].sum(0), right, atol=1e-6)


def test_digits_are_as_many_as_the_gradients_need():
    cell = nn.RNNCell(1, 1)
    cell.weight_ih.data, cell.weight_hh.data, cell.bias_ih.data, cell.bias_hh.data = [[1.0]], [[2.0]], [1.0], [0.5]
    sheet = worked_example(cell, [[1.0], [1.5], [2.0]], [[0.0]] * 3, half)
    coarse = worked_example(cell, [[1.0], [1.5], [2.0]], [[0.0]] * 3, half, digits=4)
    assert sheet.digits > 4 and sheet.error <= 1e-3 < coarse.error


def test_forms_of_a_sheet():
    sheet = worked_example(network(1, 2, 1, 0), [0.5, 1.0], [0.0, 1.0], nn.mse)
    assert repr(sheet) == "<WorkedExample of RNNCell → Linear, 2 steps, 4 digits>"
    data = json.loads(json.dumps(sheet.to_dict()))
    assert data["values"]["h"] == sheet.values["h"].tolist()
    assert data["deltas"]["h"].keys() == {"1,1", "2,1", "2,2"}
    assert data["start"] == {"h[0]": [0.0, 0.0]}
    latex = sheet._repr_latex_()
    assert latex.startswith("$$\\begin{aligned}\na_t &= ") and latex.count("{") == latex.count("}")
    assert r"\delta^{h}(2,1) &= \begin{pmatrix}" in latex and r"\frac{\partial L}{\partial W} &= \begin{pmatrix}" in latex


def test_a_parameter_and_a_value_of_one_name_are_told_apart():
    sheet = worked_example(CELLS["LSTM"], np.ones((2, 2)), np.ones((2, 2)), nn.mse)
    assert {"c", "o", "\\hat{y}"} <= sheet.values.keys() and sheet.gradients.keys() == {"U", "W", "b", "b'", "V", "c'"}
    assert "  ŷ_t = V h_t + c'\n" in sheet.text() and "  ŷ[2] = [" in sheet.text()


def test_codes_and_classes():
    model = nn.Sequential(nn.Embedding(4, 2), nn.Recurrent(nn.RNNCell(2, 2)), nn.Linear(2, 4))
    sheet = worked_example(model, [1, 3], [3, 0], nn.cross_entropy)
    assert "  x[2] = 3\n  y[2] = 0\n" in sheet.text() and sheet.error <= 1e-3
    assert not sheet.gradients["E"][[0, 2]].any() and sheet.gradients["E"][[1, 3]].all()


@pytest.mark.parametrize(
    ("model", "xs", "ys", "options", "kind", "words"),
    [
        (
            nn.Linear(2, 1),
            [[1.0, 2.0]],
            [[1.0]],
            {},
            tr.errors.TinygradError,
            "a Linear has no recurrent cell: give a cell, or",
        ),
        (nn.LSTM(2, 1), [[1.0, 2.0]], [[1.0]], {}, tr.errors.TinygradError, "a LSTM has no recurrent cell"),
        (nn.RNNCell(2, 1), np.ones((0, 2)), np.ones((0, 1)), {}, tr.errors.ShapeError, "there is no step"),
        (nn.RNNCell(2, 1), np.ones((3, 2)), np.ones((2, 1)), {}, tr.errors.ShapeError, "differ in length"),
        (nn.RNNCell(2, 1), np.ones((3, 4, 2)), np.ones((3, 1)), {}, tr.errors.ShapeError, "not 4 side by side"),
        (nn.RNNCell(2, 1), np.ones((3, 3)), np.ones((3, 1)), {}, tr.errors.ShapeError, "RNNCell: matmul"),
        (nn.RNNCell(2, 1), np.ones((3, 2)), np.ones((3, 1)), {"digits": 1}, ValueError, "digits is a whole number, 2 at least"),
        (nn.RNNCell(2, 1), np.ones((3, 2)), np.ones((3, 1)), {"digits": 12}, ValueError, "digits is a whole number up to 9"),
        (nn.RNNCell(2, 1), [[1, 2]], [[np.nan]], {}, tr.errors.NonFiniteError, "NaN|not finite"),
    ],
)
def test_what_has_no_sheet(model, xs, ys, options, kind, words):
    with pytest.raises(kind, match=words):
        worked_example(model, xs, ys, nn.mse, **options)


def test_whole_numbers_are_features_where_nothing_looks_them_up():
    cell = nn.RNNCell(2, 1)
    sheets = [
        worked_example(cell, np.array([[1, 0], [0, 1]], kind), np.array([[1], [0]], kind), nn.mse) for kind in (int, float)
    ]
    assert sheets[0].text() == sheets[1].text()


def test_a_loss_is_one_number():
    with pytest.raises(tr.errors.ShapeError, match="the loss of a step is one number"):
        worked_example(nn.RNNCell(2, 3), np.ones((3, 2)), np.ones((3, 3)), lambda o, y: (o - y) ** 2)
