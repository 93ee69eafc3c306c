"""Pictures of the backward pass: nodes have the places of the forward picture, and gradients equal those of the engine."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import explain, nn
from tinygrad_rnn.autodiff import pull
from tinygrad_rnn.draw.backwards import width_of
from tinygrad_rnn.draw.numbers import short_number
from tinygrad_rnn.draw.style import Kind
from tinygrad_rnn.errors import ShapeError
from tinygrad_rnn.graph.graph import Graph
from tinygrad_rnn.tensor import Tensor
from tinygrad_rnn.testing.choices import RandomChoices
from tinygrad_rnn.testing.random_cells import random_cell
from tinygrad_rnn.tree import flatten
from tinygrad_rnn.views import per_step, with_held_states, without_padding
from tinygrad_rnn.views.contraction import contract
from tinygrad_rnn.views.edge_gradients import edge_gradients

T, B = 6, 2
XS = np.random.default_rng(0).normal(size=(T, B, 3))
YS = np.zeros((T, B, 2))
DOUBLE = {"dtype": np.float64}


def squared(outputs, targets):
    return ((outputs - targets) ** 2).sum(axis=-1)


def readout(layer, size=4):
    return nn.Sequential(layer, nn.Linear(size, 2, **DOUBLE))


MODELS = {
    "elman": lambda: readout(nn.Recurrent(nn.RNNCell(3, 4, **DOUBLE))),
    "residual": lambda: readout(nn.Recurrent(nn.ResidualCell(3, 4, **DOUBLE))),
    "lstm": lambda: readout(nn.LSTM(3, 4, **DOUBLE)),
    "both ways": lambda: readout(nn.RNN(3, 2, bidirectional=True, **DOUBLE)),
}


@pytest.mark.parametrize("name", MODELS)
def test_nodes_have_the_places_of_the_forward_picture(name):
    model = MODELS[name]()
    backward = explain.draw_backward_pass(model, XS, YS, squared).sketch
    forward = model.draw(time="unrolled", steps=T, loss=squared, inputs=XS).sketch
    places = [{(v.name, v.x, v.y) for v in sketch.vertices if v.kind is not Kind.NOTE} for sketch in (backward, forward)]
    assert places[0] == places[1]
    turned = {(arc.source.name, arc.target.name) for arc in backward.arcs if arc.source.kind is Kind.LOSS}
    assert turned == {
        (arc.target.name, arc.source.name)
        for arc in forward.arcs
        if arc.target.kind is Kind.LOSS and arc.source.kind is Kind.OUTPUT
    }


def test_the_numbers_are_the_gradient_flow():
    model = MODELS["elman"]()
    flow = explain.gradient_flow(model, XS, YS, squared)
    for step in (2, T):
        arcs = explain.draw_backward_pass(model, XS, YS, squared, step).sketch.arcs
        found = {arc.target.step: arc for arc in arcs if arc.gradient is not None and arc.target.kind is Kind.STATE}
        assert sorted(found) == list(range(1, step + 1))
        for k, arc in found.items():
            norm = flow.norms[step - 1, k - 1]
            assert np.linalg.norm(arc.gradient) == pytest.approx(norm, rel=1e-12)
            assert arc.label == short_number(norm)
            assert arc.stroke.width == width_of(norm)


def test_padded_steps_count_for_nothing():
    layer = nn.RNN(3, 4, **DOUBLE)

    def model(xs):
        return layer(xs, lengths=[T, 2])[0]

    def squares(outputs, _):
        return (outputs**2).sum(axis=-1)

    flow = explain.gradient_flow(model, XS, None, squares)
    arcs = explain.draw_backward_pass(model, XS, None, squares, T).sketch.arcs
    for k in range(1, T):  # while one row of two is held, a second line comes from the state that is held
        back = [arc.gradient for arc in arcs if arc.gradient is not None and (arc.source.step, arc.target.step) == (k + 1, k)]
        assert np.linalg.norm(sum(back)) == pytest.approx(flow.norms[T - 1, k - 1], rel=1e-12)


PADDED = [seed for seed in range(40) if random_cell(RandomChoices(seed), lengths=True).lengths is not None]


@pytest.mark.parametrize("seed", PADDED[:8])
def test_held_states_do_not_change_gradients(seed):
    """For random cells and lengths: gradients of all leaves, from outputs and from final states."""
    drawn = random_cell(RandomChoices(seed), lengths=True)
    results = nn.Recurrent(drawn.cell, reverse=drawn.reverse)(
        drawn.inputs(),
        drawn.state,
        steps=drawn.T,
        lengths=drawn.lengths,
        force=drawn.force or None,
        force_mask=drawn.force_mask,
    )
    parts = [x for x in flatten(results) if x.dtype.kind == "f"]
    total = sum((x * np.random.default_rng(k).normal(size=x.shape)).sum() for k, x in enumerate(parts))
    graph = per_step(Graph([total.node]).opened())
    held = with_held_states(graph)
    leaves = [node for node in held.nodes if node.primitive is None and node in set(graph.nodes) and node.dtype.kind == "f"]
    with tr.no_grad():
        right, found = (pull(g.nodes, [(g.outputs[0], tr.tensor(np.ones_like(total.data)))], leaves) for g in (graph, held))
    assert not any(node.role == "mask" and node.name == "lengths" for node in held.nodes)
    for node in leaves:
        one, other = (table[node].data if node in table else np.zeros(node.shape) for table in (right, found))
        np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-9)


def test_a_padded_step_is_a_faint_state_that_holds_the_state_before():
    for layer, fades, last in (
        (nn.LSTM(3, 4, **DOUBLE), ["h_{4}", "h_{5}", "h_{6}"], "c_{3}"),
        (nn.Recurrent(nn.JordanCell(3, 4, 2, **DOUBLE)), ["o_{4}", "o_{5}", "o_{6}"], "h_{3}"),
        (nn.Recurrent(nn.RNNCell(3, 4, **DOUBLE), reverse=True), ["h_{4}", "h_{5}", "h_{6}"], "h_{3}"),
    ):

        def model(xs, layer=layer):
            return layer(xs, lengths=[3, 2])[0]

        sketch = explain.draw_backward_pass(model, XS, None, lambda outputs, _: (outputs**2).sum(axis=-1)).sketch
        labels = {vertex.label for vertex in sketch.vertices}
        assert sorted(vertex.label for vertex in sketch.vertices if vertex.faint) == fades
        assert last in labels and not any(vertex.kind is Kind.MASK for vertex in sketch.vertices)
        assert {"x_{3}"} <= labels and "x_{4}" not in labels
        for vertex in sketch.vertices:
            if vertex.faint:  # one line to the state before, and lines from the loss and from the next state
                assert {arc.target.base for arc in sketch.arcs if arc.source is vertex} == {vertex.base}


def graph_of(outputs):
    return per_step(without_padding(Graph([x.node for x in flatten(outputs) if x.dtype.kind == "f"]).opened()))


@pytest.mark.parametrize("seed", range(12))
def test_the_gradient_of_a_value_is_the_sum_over_its_edges(seed):
    """For random cells and both details, gradients equal the engine's gradient of the value."""
    drawn = random_cell(RandomChoices(seed))
    outputs = nn.Recurrent(drawn.cell, reverse=drawn.reverse)(
        drawn.inputs(), drawn.state, steps=drawn.T, force=drawn.force or None, force_mask=drawn.force_mask
    )
    if not drawn.T:
        return
    graph = graph_of(outputs)
    seeds = {node: np.random.default_rng(k).normal(size=node.shape) for k, node in enumerate(graph.outputs)}
    for detail in ("slots", "values"):
        found = contract(graph, detail)
        if not {value.node for value in found.values}.issuperset(seeds):
            continue
        edges = edge_gradients(found, seeds)
        for value in found.values:
            parts = [g for edge, g in zip(found.edges, edges, strict=True) if edge.source is value and g is not None]
            if not parts or value.node.cut is not None:
                continue
            own = seeds.get(value.node, 0.0)
            whole = tr.grad([Tensor(n) for n in seeds], Tensor(value.node), list(seeds.values())).data
            assert np.allclose(sum(parts) + own, whole, rtol=1e-6, atol=1e-6 * np.abs(whole).max()), value


def test_zero_nan_cut_and_tiny_gradients_look_different():
    W = tr.Parameter(np.array([[1e-9]]), symbol="W", dtype=np.float64)

    def model(xs):
        h, found = tr.tensor(np.zeros((1, 1))), []
        for t, x in tr.steps(xs):
            h = h.detach() if t == 2 else h
            h = ({3: 0.0, 5: np.nan}.get(t, 1.0) * (h @ W) + x).named("h")
            found.append(h)
        return tr.stack(found)

    xs = tr.tensor(np.ones((5, 1, 1))).named("x")
    strokes, labels = {}, {}
    for step in (2, 3, 4, 5):
        arcs = explain.draw_backward_pass(model, xs, None, lambda h, _: h.sum(axis=(1, 2)), step).sketch.arcs
        (arc,) = [arc for arc in arcs if arc.lag and arc.source.step == step and (arc.cut or arc.gradient is not None)]
        strokes[step], labels[step] = (arc.stroke.style, arc.stroke.width, arc.cut), arc.label
    assert labels == {2: labels[2], 3: "0", 4: "1e−9", 5: "NaN"}
    assert strokes[2][2] and strokes[2][0] == strokes[3][0] == "dashed" and not strokes[3][2]
    assert strokes[4] == ("solid", 1.0, False) and strokes[5][0] == "dotted"


def test_a_board_shows_values_with_their_gradients():
    model = nn.Recurrent(nn.RNNCell(1, 1, bias=False, **DOUBLE))
    model.cell.weight_ih.data, model.cell.weight_hh.data = [[0.5]], [[-1.0]]
    drawing = explain.draw_backward_pass(model, [[[1.0]], [[2.0]]], [[[0.5]], [[0.0]]], squared, values=True)
    sheet = explain.worked_example(model.cell, [[1.0], [2.0]], [[0.5], [0.0]], nn.mse)
    shown = {v.name: v.label.split("\n") for v in drawing.sketch.vertices}
    for t in (1, 2):
        _, value, gradient = shown[f"cell.h[{t}]"]
        assert float(value.replace("−", "-")) == pytest.approx(sheet.values["h"][t - 1, 0], rel=5e-3)
        assert float(gradient.removeprefix("∂ ").replace("−", "-")) == pytest.approx(sheet.totals["h"][t - 1, 0], rel=5e-3)


def test_what_cannot_be_drawn():
    model = MODELS["elman"]()
    with pytest.raises(ValueError, match=r"step must be from 1 to 6, .* not 7"):
        explain.draw_backward_pass(model, XS, YS, squared, step=7)
    with pytest.raises(ValueError, match="'slots' or 'values'"):
        explain.draw_backward_pass(model, XS, YS, squared, detail="ops")
    with pytest.raises(ShapeError, match="the loss must have a value for each step"):
        explain.draw_backward_pass(model, XS, YS, nn.mse)
