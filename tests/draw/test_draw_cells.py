"""Every cell of the library, and cells of users, can be drawn in all ways."""

import json
import re

import numpy as np
import pytest
from dot_labels import readable
from draw_networks import InputsAndOutputs

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.draw.render import render


def decoder(cell):
    return nn.DecoderCell(nn.Embedding(4, 3), cell, nn.Linear(5, 4), start=0)


CELLS = {
    "RNN": nn.RNNCell(3, 5),
    "LSTM": nn.LSTMCell(3, 5),
    "GRU": nn.GRUCell(3, 5),
    "GRU, reset before": nn.GRUCell(3, 5, reset_after=False),
    "Jordan": nn.JordanCell(3, 5, 2),
    "residual": nn.ResidualCell(3, 5),
    "residual without recurrence": nn.ResidualCell(3, 5, recurrent=False),
    "system": nn.SystemCell(2, 3),
    "system without input": nn.SystemCell(0, 3),
    "time delay": nn.TimeDelayCell(3, 5),
    "time delay, dilated": nn.TimeDelayCell(3, 5, delays=[0, 3], dilation=2),
    "NARX": nn.NARXCell(3, 2),
    "NARX without input": nn.NARXCell(0, 2),
    "AR": nn.ARCell(3),
    "decoder of an RNN": decoder(nn.RNNCell(3, 5)),
    "decoder of an LSTM": decoder(nn.LSTMCell(3, 5)),
    "decoder of a GRU": decoder(nn.GRUCell(3, 5)),
}


def nodes(drawing):
    return {o["name"]: o for o in json.loads(render(readable(drawing.source), "json")).get("objects", [])}


def is_whole(drawing):
    """Whether every number in the picture is finite."""
    return drawing.source.startswith("digraph") and not re.search(r"[\s\",](nan|-?inf)[\s\",]", drawing.source)


@pytest.mark.parametrize("detail", [None, "slots", "values", "ops", "layers"])
@pytest.mark.parametrize("time", ["folded", "unrolled"])
@pytest.mark.parametrize("name", CELLS)
def test_every_cell_is_drawn_at_every_detail(name, time, detail):
    assert is_whole(CELLS[name].draw(time=time, detail=detail))


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_is_drawn_gate_by_gate(name):
    assert is_whole(CELLS[name].draw(time="step"))


# -- boxes of layers ---------------------------------------------------------------------------


@pytest.mark.parametrize("name, title", [("decoder of an RNN", "Decoder"), ("NARX", "NARX"), ("time delay", "TimeDelay")])
def test_what_a_state_is_made_of_is_in_one_box_called_after_the_whole_cell(name, title):
    labels = [o.get("label") for o in nodes(CELLS[name].draw(detail="layers")).values()]
    assert title in labels
    assert "o" not in labels


def test_a_cell_that_reads_nothing_has_a_view_of_layers():
    class Constant(nn.Cell):
        state_shape = ()
        input_size = 3

        def step(self, x, state):
            return tr.tensor(np.ones((2, 1))), state

    for time in ("folded", "unrolled"):
        assert is_whole(Constant().draw(time=time, detail="layers"))


def test_a_folded_view_of_layers_has_each_parameter_once():
    found = nodes(CELLS["RNN"].draw(detail="layers"))
    assert sorted(name for name in found if name.startswith("parameter ")) == [f"parameter {s}" for s in ("U", "W", "b", "b′")]


# -- forcing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("detail", ["slots", "values"])
def test_a_slot_that_is_forced_where_a_mask_says_so_keeps_its_name(detail):
    model = nn.Seq2Seq(nn.RNN(2, 5), nn.Decoder(nn.Embedding(4, 3), nn.RNNCell(3, 5), nn.Linear(5, 4), start=0, end=1))
    xs, ys = np.zeros((4, 1, 2), "float32"), np.zeros((3, 1), int)
    found = nodes(tr.graph(model(xs, ys, force_mask=np.zeros((3, 1), bool))).draw(time="unrolled", detail=detail))
    labels = [o.get("label") for o in found.values()]
    assert sorted(label for label in labels if label and label[0] == "y") == ["y₀", "y₁", "y₂"]
    assert sorted(label for label in labels if label and label.startswith("h⁽²⁾")) == ["h⁽²⁾₁", "h⁽²⁾₂", "h⁽²⁾₃"]


def test_numbers_of_a_layer_are_in_its_box_and_edges_carry_names():
    xs = np.ones((4, 1, 4), "float32")
    graph = tr.graph(nn.Recurrent(InputsAndOutputs())(xs)[0])
    for time in ("folded", "unrolled"):
        found = json.loads(render(readable(graph.draw(time=time, detail="layers", values=True).source), "json"))
        assert {edge["label"] for edge in found["edges"] if edge.get("label")} == {"y"}
        (box,) = (o["label"] for o in found["objects"] if o["name"] == ("cell" if time == "folded" else "cell[1]"))
        assert "y₁: " in box
