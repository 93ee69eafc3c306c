"""Worked examples: the sheet can be recomputed from its own printed numbers, and agrees with full precision."""

from __future__ import annotations

import ast
import json
import re
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
    """The numbers of a sheet, by the text before the sign of equality."""
    found = {}
    for line in text.splitlines():
        name, equals, numbers = line.strip().partition(" = ")
        try:
            found[name] = np.array(ast.literal_eval(numbers)) if equals else None
        except (ValueError, SyntaxError):  # a formula
            continue
    return {name: array for name, array in found.items() if array is not None}


def printed(array, digits: int):
    """Numbers rounded as by hand: to significant digits, with halves rounded up."""
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
    """Two slots, a delay of two steps, a gate, and a separate output."""

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


class Formulas:
    """Evaluates the printed formulas with printed numbers: a juxtaposition is a product of matrices, a vector a column."""

    def __init__(self, numbers):
        self.numbers = {name: array[:, None] if array.ndim == 1 else array for name, array in numbers.items()}

    def value(self, text, **at):
        """The value of a formula at step at["t"]; δ has the loss of step at["loss"] only, if there is one."""
        self.at = at
        self.tokens = re.findall(r"tanh|σ|∂ℓ_t/∂[^ ]+|δ?\^?[A-Za-zŷ]'?(?:_\{[^}]*\}|_\w+)*ᵀ?|\d+|[()⊙+ᵀ-]", text)
        found = self.sum()
        assert not self.tokens, (text, self.tokens)
        return found

    def sum(self):
        total = 0.0 if self.tokens[0] == "-" else self.product()
        while self.tokens and self.tokens[0] in "+-":
            total = total + self.product() if self.tokens.pop(0) == "+" else total - self.product()
        return total

    def product(self):
        total = self.atoms()
        while self.tokens and self.tokens[0] == "⊙":
            self.tokens.pop(0)
            total = total * self.atoms()
        return total

    def atoms(self):
        total = self.atom()
        while self.tokens and self.tokens[0] not in ("⊙", "+", "-", ")"):
            total = total @ self.atom()
        return total

    def atom(self):
        token = self.tokens.pop(0)
        if token in ("tanh", "σ"):
            x = self.atom()
            return np.tanh(x) if token == "tanh" else 1 / (1 + np.exp(-x))
        if token == "(":
            found = self.sum()
            assert self.tokens.pop(0) == ")"
            return found.T if self.tokens and self.tokens[0] == "ᵀ" and self.tokens.pop(0) else found
        return float(token) if token.isdigit() else self.symbol(token)

    def symbol(self, token):
        name, turned = token.removesuffix("ᵀ"), token.endswith("ᵀ")
        stem, step = re.fullmatch(r"(.*?)(?:_(t|\{(?:[^{}]*,)?t[-+]?\d*\}))?", name).groups()
        t = self.at["t"] + (int(re.sub(r"[^-+\d]", "", step) or 0) if step else 0)
        inner = re.match(r"\{([^{}]*),t", step or "")
        stem = f"{stem}_{inner[1]}" if inner else stem
        if stem.startswith("∂ℓ"):
            found = self.direct(stem.split("∂")[2].partition("_")[0], t)
        elif stem.startswith("δ"):
            loss = f"{self.at['loss']}," if "loss" in self.at else ""
            found = self.numbers.get(f"{stem}[{loss}{t}]", 0 * self.numbers[f"{stem}[1]"])  # no path from that loss
        else:
            beyond = step and t > 1 and f"{stem}[{t}]" not in self.numbers  # after the last step, times δ = 0
            found = self.numbers[f"{stem}[1]" if beyond else f"{stem}[{t}]" if step else stem]
        return found.T if turned else found

    def direct(self, name, t):
        """The derivative of mse with respect to the output, which is the only value that the loss reads."""
        o, y = self.numbers[f"{name}[{t}]"], self.numbers[f"y[{t}]"]
        return (self.at["loss"] == t) * 2 * (o - y) / o.size


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("digits", [3, 4, 7])
def test_the_sheet_of_any_cell_is_recomputed_from_its_printed_formulas(name, digits):
    rng, T = np.random.default_rng(digits), 3
    width = 3 if name in ("time delay", "own") else 2
    xs, ys = rng.standard_normal((T, 2)).round(2), rng.standard_normal((T, width)).round(2)
    text = worked_example(CELLS[name], xs, ys, nn.mse, digits).text()
    numbers = read(text)
    formulas, checked = Formulas(numbers), set()
    lines = [line.strip() for line in text.splitlines() if re.search(r"_t\b|_\{[^}]*t\}|Σ", line)]

    def same(key, value):
        assert (numbers[key] == printed(value.reshape(numbers[key].shape), digits)).all(), (key, numbers[key], value)
        checked.add(key)

    for left, _, right in (line.partition(" = ") for line in lines):
        stem = re.sub(r"_(t|\{(.*),t\})$", lambda found: f"_{found[2]}" if found[2] else "", left)
        for t in range(1, T + 1):
            if left.startswith("∂L/∂"):
                same(f"{left}[{t}]", formulas.value(right.removeprefix("Σ_t "), t=t))
            elif left.startswith("δ"):
                keys = [(f"{stem}[{loss},{t}]", loss) for loss in range(t, T + 1)]
                for key, loss in (pair for pair in keys if pair[0] in numbers):
                    same(key, formulas.value(right, t=t, loss=loss))
            else:
                same(f"{stem}[{t}]", formulas.value(right, t=t))
    for key in [key for key in numbers if re.fullmatch(r"δ[^\[]*\[\d\]|∂L/∂[^\[]*", key)]:
        stem, _, k = key.removesuffix("]").partition("[")
        parts = [f"{stem}[{t},{k}]" for t in range(int(k), T + 1)] if k else [f"{stem}[{t}]" for t in range(1, T + 1)]
        same(key, sum(numbers[part] for part in parts if part in numbers))
    given = {k for k in numbers if re.fullmatch(r"[UWVbc]'?(_\w+|_\{\w+\})?|[xyL]\[.*|[a-z]\[-?0\]", k)}
    assert checked | given == numbers.keys() and not checked & given


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
        right = tr.grad(total, parameters["c" if key == "c'" else key]).data  # the state is also called c
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


def test_the_letters_of_another_notation():
    """The numbers of the same sheet, with U and W exchanged."""
    sheet, other = (worked_example(CELLS["LSTM"], np.ones((2, 2)), np.ones((2, 2)), nn.mse, notation=n) for n in (None, "WU"))
    numbers, found = ([line for line in one.text().splitlines() if "_t" not in line] for one in (sheet, other))
    assert found != numbers and sorted(line.translate(str.maketrans("UW", "WU")) for line in found) == sorted(numbers)
    assert "  f_t = σ(U_f h_{t-1} + W_f x_t + b_f + b'_f)\n" in other.text()
    with pytest.raises(ValueError, match='notation must be "UW"'):
        worked_example(CELLS["LSTM"], np.ones((2, 2)), np.ones((2, 2)), nn.mse, notation="VW")


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
            "Linear is not a cell, and has no nn.Recurrent",
        ),
        (
            nn.LSTM(2, 1),
            [[1.0, 2.0]],
            [[1.0]],
            {},
            tr.errors.TinygradError,
            "LSTM is not a cell, and has no nn.Recurrent.*give a cell, here LSTMCell,",
        ),
        (nn.RNNCell(2, 1), np.ones((0, 2)), np.ones((0, 1)), {}, tr.errors.ShapeError, "the sequence is empty"),
        (nn.RNNCell(2, 1), np.ones((3, 2)), np.ones((2, 1)), {}, tr.errors.ShapeError, "must have the same length"),
        (nn.RNNCell(2, 1), np.ones((3, 4, 2)), np.ones((3, 1)), {}, tr.errors.ShapeError, "not a batch of 4"),
        (nn.RNNCell(2, 1), np.ones((3, 3)), np.ones((3, 1)), {}, tr.errors.ShapeError, "RNNCell: matmul"),
        (
            nn.RNNCell(2, 1),
            np.ones((3, 2)),
            np.ones((3, 1)),
            {"digits": 1},
            ValueError,
            "digits must be a whole number, at least 2",
        ),
        (
            nn.RNNCell(2, 1),
            np.ones((3, 2)),
            np.ones((3, 1)),
            {"digits": 12},
            ValueError,
            "digits must be a whole number, at most 9",
        ),
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
    with pytest.raises(tr.errors.ShapeError, match="must return a single number, the loss of a step"):
        worked_example(nn.RNNCell(2, 3), np.ones((3, 2)), np.ones((3, 3)), lambda o, y: (o - y) ** 2)
