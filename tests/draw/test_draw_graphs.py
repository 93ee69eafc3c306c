"""Drawings of all kinds of graphs: long graphs, backward graphs, graphs with numbers, graphs without time."""

import json
import re

import numpy as np
import pytest
from counting import calls
from dot_labels import readable
from draw_networks import Bidirectional, EncoderDecoder, elman, loop

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.draw.render import render
from tinygrad_rnn.errors import FoldError, TinygradError
from tinygrad_rnn.views.per_step import per_step


def names(drawing):
    return {o["name"]: o for o in json.loads(render(readable(drawing.source), "json")).get("objects", [])}


def test_long_runs_leave_out_the_middle():
    found = names(elman().draw(time="unrolled", steps=50, loss=nn.mse))
    shown = sorted(int(m[1]) for name in found if (m := re.fullmatch(r"x\[(\d+)\]", name)))
    assert shown == [1, 2, 49, 50]
    assert found["elided 3"]["label"] == "t = 3 … 48"
    dots, before, after = (float(found[f"0.cell.h[{t}]"]["pos"].split(",")[0]) for t in ("…", 2, 49))
    assert before < dots < after


def test_an_encoder_and_a_decoder_are_elided_apart():
    found = names(EncoderDecoder(30).draw(time="unrolled", steps=20))
    assert {o["label"] for name, o in found.items() if name.startswith("elided")} == {"t = 3 … 18", "t = 3 … 28"}
    xs = [float(found[name]["pos"].split(",")[0]) for name in ("encoder.cell.h[20]", "decoder.cell.s[1]", "decoder.cell.s[30]")]
    assert xs == sorted(xs)
    assert found["encoder.cell.h[20]"]["pos"].split(",")[1] == found["decoder.cell.s[1]"]["pos"].split(",")[1]


def test_the_user_says_how_many_steps_are_shown():
    total, _ = loop(8)
    assert "x[4]" in names(tr.graph(total).draw())
    assert "x[4]" not in names(tr.graph(total).draw(steps=5))


@pytest.mark.parametrize("when", ["folded", "unrolled"])
def test_work_is_linear_in_the_number_of_steps(when):
    short, long = (tr.graph(loop(T)[0]) for T in (150, 900))
    assert calls(lambda: long.draw(time=when)) < 7 * calls(lambda: short.draw(time=when))


def test_work_on_a_module_is_linear_in_the_number_of_steps():
    short, long = (calls(lambda T=T: elman().draw(time="unrolled", steps=T)) for T in (150, 900))
    assert long < 7 * short


@pytest.mark.parametrize("when", ["folded", "unrolled"])
def test_five_thousand_steps_are_drawn(when):
    drawing = tr.graph(loop(5000)[0]).draw(time=when)
    assert len(drawing.source) < 20_000
    assert ("x[5000]" in drawing.source) == (when == "unrolled")


def test_a_gradient_over_time_is_drawn_as_its_recursion():
    total, (_, W, _) = loop(3)
    source = tr.graph(tr.grad(total, W).named("G")).draw().source
    found = set(re.findall(r'^\t"?([^"\t]+?)"? -> "?([^"\n]+?)"? \[(?:label=(\S+))?', source, re.M))
    back = {(f"∂h[{t + 1}]", f"∂h[{t}]", "W") for t in (1, 2)}
    assert found == back | {(f"∂o[{t}]", f"∂h[{t}]", "V") for t in (1, 2, 3)} | {(f"∂h[{t}]", "G", "") for t in (1, 2, 3)}


def test_a_gradient_has_no_folded_drawing():
    total, (_, W, _) = loop(3)
    with pytest.raises(FoldError, match="the graph has a gradient"):
        tr.graph(tr.grad(total, W)).draw(time="folded")


def test_a_backward_graph_is_tied_to_its_forward_nodes():
    total, parameters = loop(2)
    drawing = tr.graph(*tr.grad(total, parameters)).draw(backward=True)
    dotted = [line for line in drawing.source.splitlines() if "style=dotted" in line]
    assert any('"h[2]" -> "dh' in line or '"h[2]" -> ' in line for line in dotted)
    assert "in the gradient of h[2]" in drawing.source
    assert drawing.svg().startswith("<svg")


def test_a_graph_without_time_is_drawn_by_operation():
    x = tr.tensor([1.0, 2.0]).named("x")
    found = names(tr.graph(tr.tanh(x * 2 + 1).sum()).draw())
    labels = {o.get("label") for o in found.values()}
    assert {"x", "× 2", "+ 1", "tanh", "Σ"} <= labels
    heights = [float(found[name]["pos"].split(",")[1]) for name in ("x", "multiply", "add", "tanh", "sum")]
    assert heights == sorted(heights)


def test_a_graph_without_time_cannot_be_folded():
    with pytest.raises(FoldError, match=r"tr\.steps"):
        tr.graph(tr.tensor([1.0]) * 2).draw(time="folded")


def test_big_graphs_without_time_leave_out_the_middle():
    x = tr.tensor(1.0).named("x")
    for _ in range(2000):
        x = tr.sin(x)
    found = names(tr.graph(x).draw())
    assert len(found) < 200
    assert "1841 nodes" in found["left out"]["label"]


def test_numbers_and_gradients_on_nodes():
    total, _ = loop(3)
    found = names(tr.graph(total).draw(values=True))
    h = tr.graph(total)["h[2]"]
    gradient = tr.grad(total, tr.Tensor(h)).data
    shown = found["h[2]"]["label"].replace("−", "-").split("\n")
    assert np.allclose([float(n) for n in shown[1].split()], h.value.ravel(), rtol=1e-2)
    assert np.allclose([float(n) for n in shown[2].removeprefix("∂ ").split()], gradient.ravel(), rtol=1e-2)


@pytest.mark.parametrize("detail", ["slots", "values", "ops"])
def test_numbers_in_a_folded_drawing_say_which_step_they_are_of(detail):
    total, _ = loop(3)
    drawing = tr.graph(total).draw(time="folded", values=True, detail=detail)
    found = names(drawing)
    assert found["h"]["label"].split("\n")[0] == "h₁" and found["numbers of step 1"]["shape"] == "plaintext"
    assert drawing.title.endswith("folded over time, numbers of step 1")
    without = tr.graph(total).draw(time="folded", detail=detail)
    assert names(without)["h"]["label"].split("\n")[0] == "h" and "numbers" not in without.source + without.title


@pytest.mark.parametrize("time", ["folded", "unrolled"])
@pytest.mark.parametrize("detail", ["slots", "values", "ops", "layers"])
def test_parameters_show_their_value_and_their_gradient(time, detail):
    total, parameters = loop(3)
    found = names(tr.graph(total.named("J")).draw(time=time, values=True, detail=detail))
    for parameter, gradient in zip(parameters, tr.grad(total, parameters), strict=True):
        _, value, slope = found[f"legend {parameter.name}"]["label"].replace("−", "-").split("\n")
        assert np.allclose([float(n) for n in value.split()], parameter.data.ravel(), rtol=1e-2)
        assert np.allclose([float(n) for n in slope.removeprefix("∂ ").split()], gradient.data.ravel(), rtol=1e-2)
    assert ("numbers of step 1" in found) is (time == "folded")


def test_numbers_of_a_folded_pair_are_of_the_step_that_each_comes_to_first():
    model = Bidirectional()
    model.forwards.mode = model.backwards.mode = "unroll"
    drawing = tr.graph(model(np.ones((3, 1, 3), "float32"))).draw(time="folded", values=True, detail="slots")
    assert "numbers of step 1 and 3" in drawing.source


def test_a_folded_network_of_symbols_has_no_numbers():
    assert "numbers" not in nn.RNNCell(2, 3).draw(values=True).source


def test_large_arrays_are_summed_up():
    x = tr.tensor(np.arange(100.0).reshape(10, 10)).named("x")
    assert "10×10: 0 … 49.5 … 99" in tr.graph(x.sum()).draw(values=True).source


def test_symbols_have_no_numbers():
    found = names(nn.RNNCell(2, 3).draw(time="unrolled", values=True))
    assert found["h[2]"]["label"] == "h₂"
    assert "\n" in found["h[0]"]["label"]  # the initial state is zeros, so its value is known


# -- what is an input ----------------------------------------------------------------------------


@pytest.mark.parametrize("time", ["folded", "unrolled"])
def test_an_array_is_drawn_as_a_tensor_is_and_other_constants_are_not(time):
    cell, array = nn.RNNCell(2, 3), np.ones((3, 1, 2), "float32")
    W = tr.Parameter(np.eye(2), symbol="W")

    def loop(sequence):
        h = tr.tensor(np.zeros((1, 2)))
        for _, x in tr.steps(sequence):
            h = tr.tanh(x * np.full((1, 2), 0.5) + h @ W).named("h")
        return h

    for run in (lambda xs: nn.Recurrent(cell, mode="unroll")(xs)[0], loop):
        drawn = [tr.graph(run(xs)).draw(time=time).source for xs in (array, tr.tensor(array))]
        assert drawn[0] == drawn[1] and len(re.findall('label=["<]?x', drawn[0])) == (1 if time == "folded" else 3)


# -- whole-sequence operations, step by step ---------------------------------------------------


def steps_of(graph, primitive):
    return [node.step for node in graph if node.primitive is not None and node.primitive.name == primitive]


@pytest.fixture
def outputs():
    rnn = nn.Recurrent(nn.RNNCell(3, 4))
    return rnn(tr.tensor(np.random.default_rng(0).normal(size=(3, 2, 3)).astype("float32")).named("x"))[0]


@pytest.mark.parametrize(
    "layer",
    [
        lambda y: tr.exp(y),
        lambda y: y + np.ones(4, "float32"),
        lambda y: tr.softmax(y),
        lambda y: y.sum(axis=-1),
        lambda y: y.reshape(3, 8),
        lambda y: tr.swapaxes(y, 1, 2),
        lambda y: tr.concatenate([y, y], axis=2),
        lambda y: y @ np.ones((4, 2), "float32"),
        lambda y: y[:, 0],
        lambda y: tr.stack([y, y], axis=3),
    ],
)
def test_what_time_only_passes_through_is_said_at_each_step(outputs, layer):
    whole = layer(outputs)
    split = per_step(tr.graph(whole))
    assert len(split.outputs) == 3
    assert [node.step for node in split.outputs] == [1, 2, 3]
    for t, node in enumerate(split.outputs):
        assert np.allclose(node.value, whole.data[t], atol=1e-6)
        inputs = [i.value for i in node.inputs]
        assert np.allclose(node.primitive.kernel(*inputs, **node.attributes), node.value, atol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        lambda y: tr.cumsum(y, axis=0),
        lambda y: y.reshape(6, 4),
        lambda y: tr.softmax(y, axis=0),
        lambda y: tr.concatenate([y, y], axis=0),
        lambda y: y.sum(axis=0),
    ],
)
def test_what_mixes_steps_stays_whole(outputs, layer):
    whole = layer(outputs)
    split = per_step(tr.graph(whole))
    assert len(split.outputs) == 1
    assert split.outputs[0].step is None
    assert split.outputs[0].shape == whole.shape


@pytest.mark.parametrize(
    ("layer", "axis"),
    [
        (lambda y: tr.swapaxes(y, 0, 1), 1),
        (lambda y: tr.exp(tr.swapaxes(y, 0, 1)), 1),
        (lambda y: tr.swapaxes(y, 0, 1) @ np.ones((4, 2), "float32"), 1),
        (lambda y: tr.swapaxes(y, 0, 2), 2),
        (lambda y: tr.swapaxes(y, 0, 1).sum(axis=-1), 1),
        (lambda y: tr.swapaxes(tr.tanh(tr.swapaxes(y, 0, 1)), 0, 1), 0),
    ],
)
def test_time_may_be_another_axis_than_the_first(outputs, layer, axis):
    whole = layer(outputs)
    split = per_step(tr.graph(whole))
    assert [node.step for node in split.outputs] == [1, 2, 3]
    for t, node in enumerate(split.outputs):
        assert np.allclose(node.value, np.take(whole.data, t, axis), atol=1e-6)


def test_a_step_read_out_of_a_later_axis_is_that_step(outputs):
    split = per_step(tr.graph(tr.swapaxes(outputs, 0, 1)[:, -1] * 2))
    assert split.outputs[0].inputs[0].step == 3


def test_a_mean_over_time_is_losses_and_their_mean(outputs):
    target = tr.tensor(np.zeros((3, 2, 4), "float32")).named("y")
    loss = tr.mse(outputs, target)
    split = per_step(tr.graph(loss))
    losses = [node for node in split if node.role == "loss" and node.step is not None]
    assert [node.step for node in losses] == [1, 2, 3]
    assert np.isclose(sum(float(node.value) for node in losses) / 24, loss.item())


def test_reading_a_shifted_sequence_finds_the_right_step(outputs):
    split = per_step(tr.graph(outputs[1:] * 2))
    assert [node.inputs[0].step for node in split.outputs] == [2, 3]


def test_the_order_of_a_step_stays(outputs):
    graph = tr.graph(outputs).opened()
    split = per_step(graph)
    for t in (1, 2, 3):
        assert [n.operation for n in split if n.step == t and n.primitive is not None] == [
            n.operation for n in graph if n.step == t and n.primitive is not None and n.operation != "getitem"
        ]


def test_a_cell_among_several_is_forced_by_its_full_name():
    stack = nn.GRU(3, 4, num_layers=2)
    source = stack.draw(time="unrolled", force=["h_l1"]).source
    assert "forced" in source or "#E69F00" in source
    with pytest.raises(TinygradError, match=r"there are 'h', 'h_l0', 'h_l1'"):
        stack.draw(force=["s"])


def test_a_model_of_several_inputs_says_how_it_is_drawn():
    class Two(nn.Module):
        def forward(self, xs, ys):
            return xs + ys

    with pytest.raises(TinygradError, match=r"needs more than one input .*'ys'.*tr\.graph\(model\(…\)\)\.draw"):
        Two().draw(inputs=np.ones((4, 1, 2)))


@pytest.mark.parametrize("when", ["unrolled", "folded"])
@pytest.mark.parametrize("mode", ["scan", "unroll"])
@pytest.mark.parametrize(
    "make",
    [
        lambda mode: nn.RNN(2, 3, mode=mode),
        lambda mode: nn.LSTM(2, 3, num_layers=2, bidirectional=True, mode=mode),
        lambda mode: nn.TimeDelay(2, 3, mode=mode),
        lambda mode: nn.Recurrent(nn.JordanCell(2, 3, 1), mode, reverse=True),
    ],
    ids=["rnn", "stack", "delays", "reverse"],
)
def test_a_run_with_lengths_is_drawn_as_one_without(make, mode, when):
    xs, layer = np.ones((4, 2, 2), "float32"), make(mode)
    padded, whole = layer(xs, lengths=[4, 2])[0], layer(xs)[0]
    assert tr.graph(padded).draw(time=when).source == tr.graph(whole).draw(time=when).source
