"""Heatmaps: each cell shows its number, and cells that are zero, cut off, absent or tiny look different."""

from __future__ import annotations

import numpy as np
import pytest

from tinygrad_rnn import explain, nn
from tinygrad_rnn.draw.colors import ink_on, magnitudes, signed
from tinygrad_rnn.draw.heatmap import blocks
from tinygrad_rnn.draw.numbers import short_number
from tinygrad_rnn.draw.style import Kind
from tinygrad_rnn.draw.symbols import literal, text_width
from tinygrad_rnn.errors import DataError
from tinygrad_rnn.sequences import CharVocabulary

RNG = np.random.default_rng(0)
T, B = 8, 2
XS = RNG.normal(size=(T, B, 3))
YS = np.zeros((T, B, 2))
MODEL = nn.Sequential(nn.Recurrent(nn.RNNCell(3, 4, dtype=np.float64)), nn.Linear(4, 2, dtype=np.float64))


def squared(outputs, targets):
    return ((outputs - targets) ** 2).sum(axis=-1)


def cells(drawing):
    return {v.name: v for v in drawing.sketch.vertices if v.family == "cell"}


def test_the_triangle_has_the_norms_in_their_places():
    flow = explain.gradient_flow(MODEL, XS, YS, squared)
    drawing = flow.draw()
    found = cells(drawing)
    pairs = [(t, k) for t in range(1, T + 1) for k in range(1, t + 1)]
    assert set(found) == {f"t = {t}, k = {k}" for t, k in pairs}
    for t, k in pairs:
        cell, norm = found[f"t = {t}, k = {k}"], flow.norms[t - 1, k - 1]
        assert cell.label == short_number(norm) and cell.tooltip.endswith(short_number(norm))
        assert cell.fill == magnitudes(1e-6, 10.0).color(norm)
        assert cell.x - found["t = 8, k = 1"].x == pytest.approx((k - 1) * cell.width)
        assert cell.y - found["t = 1, k = 1"].y == pytest.approx((1 - t) * cell.height)
    assert f"the smallest number is {short_number(np.nanmin(flow.norms))}" in drawing.description


def test_zero_cut_absent_and_tiny_cells_look_different():
    flow = explain.gradient_flow(MODEL, XS, YS, squared)
    flow.norms[4, 2], flow.norms[5, 2] = 0.0, 1e-30
    truncated = explain.truncation(MODEL, XS, YS, squared, k1=2, k2=4)
    found = cells(truncated.draw(flow))
    reached = {f"t = {t}, k = {k}" for t, k in np.argwhere(truncated.reaches) + 1}
    assert {name for name, cell in found.items() if cell.kind is Kind.LOST} == set(found) - reached
    cut, zero, tiny = found["t = 8, k = 1"], found["t = 5, k = 3"], found["t = 6, k = 3"]
    assert [(v.kind, v.label) for v in (cut, zero, tiny)] == [(Kind.LOST, "✂"), (Kind.ZERO, "0"), (Kind.CELL, "1e−30")]
    assert "t = 1, k = 2" not in found


def test_every_number_has_room_in_its_cell():
    found = cells(explain.heatmap(np.array([[-7.9e-3, 0.5], [float("nan"), -1.2e-10]]), "ab"))
    assert [v.label for v in found.values()] == ["−7.9e−3", "·", "0.5", "−1.2e−10"]
    assert all(text_width(literal(v.label), v.font) < v.width for v in found.values())


def test_long_triangles_are_drawn_in_blocks_of_their_largest_norms():
    table = np.tril(RNG.random((90, 90)) + 0.1)
    table[np.triu_indices(90, 1)] = np.nan
    small, n = blocks(table)
    assert n == 3 and small.shape == (30, 30)
    for i, j in [(0, 0), (29, 0), (17, 5), (3, 3)]:
        assert small[i, j] == np.nanmax(table[3 * i : 3 * i + 3, 3 * j : 3 * j + 3])
    assert np.isnan(small[3, 4])


def test_states_over_a_text():
    text = "a _b\n$c"
    values = RNG.normal(size=(len(text), 3))
    values[4, 1] = np.nan
    drawing = explain.heatmap(values, text, units=[2, 1], width=4)
    found = cells(drawing)
    assert found["unit 2, 1 a"].fill == signed(np.nanmax(np.abs(values))).color(values[0, 2])
    assert found["unit 1, 5 ↵"].kind is Kind.ABSENT
    assert found["unit 2, 5 ↵"].y < found["unit 1, 4 b"].y  # on the next line
    assert "￿" not in drawing.svg() and "$" in drawing.svg()
    numbered = explain.heatmap(values, text)
    assert cells(numbered)["unit 0, 3 _"].label == short_number(values[2, 0])


def test_states_of_a_network_draw_themselves():
    text = "hello hello"
    model = nn.Sequential(nn.Embedding(5, 2), nn.LSTM(2, 3))
    found = explain.states(model, text, vocabulary=CharVocabulary("helo "))
    drawing = found.draw("f", units=[0])
    assert drawing.title == "f over 11 steps"
    assert cells(drawing)["unit 0, 2 e"].fill == signed(1.0).color(found["f"][1, 0])


def test_a_text_page_has_ink_that_can_be_read():
    found = list(cells(explain.colored_text([1.0, 0.0, -1.0, np.nan], "a b\n", bound=1.0)).values())
    assert [v.label for v in found] == ["a", "␣", "b", "↵"]
    assert [v.ink for v in found[:3]] == ["white", ink_on("#ffffff"), "white"]
    assert found[3].kind is Kind.ABSENT


def test_other_measurements_draw_themselves():
    jacobians = explain.jacobians(MODEL, XS)
    found = cells(jacobians.draw(example=1))
    assert found["singular value 1, t = 3"].label == short_number(jacobians.singular_values[2, 1, 0])
    models = {"RNN": nn.RNNCell, "GRU": nn.GRUCell}
    compared = explain.compare(models, (XS, YS, squared), hidden_size=4)
    assert cells(compared.draw())["GRU, lag 3"].label == short_number(compared.flows["GRU"].decay[3])


def test_contributions_stand_below_the_columns_of_their_steps():
    W = MODEL[0].cell.weight_hh
    drawing = explain.draw_backward_pass(MODEL, XS, YS, squared, parameters=[W])
    parts = explain.gradient_by_step(MODEL, XS, YS, squared, W, norms=True)
    places = {v.step: v for v in drawing.sketch.vertices if v.kind is Kind.INPUT}
    for t in range(1, T + 1):
        cell = cells(drawing)[f"∂L/∂W, t = {t}"]
        assert cell.label == short_number(parts[t - 1]) and cell.x == places[t].x and cell.y < places[t].y


def test_contributions_are_named_in_the_letters_of_the_picture():
    drawing = explain.draw_backward_pass(MODEL, XS, YS, squared, parameters=[MODEL[0].cell.weight_hh], notation="WU")
    assert "∂L/∂U, t = 1" in cells(drawing)


def test_numbers_that_are_not_finite_have_the_colours_of_the_ends():
    found = cells(explain.heatmap([[np.inf, -2.0, -np.inf]]))
    assert [v.fill for v in found.values()] == [signed(2.0).color(x) for x in (2.0, -2.0, -2.0)]
    assert [v.label for v in found.values()] == ["∞", "−2", "−∞"]


def test_a_network_without_a_state_of_its_own_has_contributions_too():
    jordan = nn.Recurrent(nn.JordanCell(3, 4, 2, dtype=np.float64))
    found = cells(explain.draw_backward_pass(jordan, XS, YS, squared, parameters=[jordan.cell.parameters()[0]]))
    assert len(found) == T


def test_symbols_stand_where_their_vectors_are():
    angle = 0.3
    plane = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]]) @ [[np.cos(angle), np.sin(angle), 0], [0, 0, 1]]
    a, b, c, d = explain.draw_embedding(plane, "abcd").sketch.vertices[:4]
    assert abs(a.x - b.x) == pytest.approx(3 * abs(c.y - d.y), rel=1e-2)
    assert abs(a.y - b.y) < 1 > abs(c.x - d.x)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: explain.heatmap(np.zeros((3, 2)), "ab"), "text must have one entry for each of the 3 numbers, but 2"),
        (lambda: explain.heatmap(np.full((3, 2), np.nan)), "no finite number to draw"),
        (lambda: explain.heatmap(np.zeros(3)), "must have 2 axes"),
        (lambda: explain.draw_embedding(np.eye(2), "abc"), "symbols must have one entry for each of the 2 numbers, but 3"),
    ],
)
def test_what_does_not_fit(draw, message):
    with pytest.raises(DataError, match=message):
        draw()
