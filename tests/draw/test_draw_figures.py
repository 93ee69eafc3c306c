"""The figures of textbooks: one shared node, totals, functions on edges, letters for codes, conditional models."""

import contextlib
import re

import numpy as np
import pytest
from draw_networks import elman
from hypothesis import given, settings
from hypothesis import strategies as st
from sketch_check import faults

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.draw.marks import extent, marks
from tinygrad_rnn.draw.style import STARTS, Kind
from tinygrad_rnn.draw.symbols import plain, pretty
from tinygrad_rnn.testing.choices import RandomChoices
from tinygrad_rnn.testing.random_cells import random_cell


def decoder(at="every_step"):
    return nn.Decoder(nn.Embedding(4, 3), nn.RNNCell(3, 5), nn.Linear(5, 4), start=0, end=1, context_size=3, at=at)


def hello(**options):
    letters = tr.sequences.CharVocabulary("helo")
    net = nn.Sequential(nn.Embedding(4, 4), nn.Recurrent(nn.RNNCell(4, 3)), nn.Linear(3, 4))
    xs, ys = (np.array(letters.encode(text))[:, None] for text in ("hell", "ello"))
    loss = nn.cross_entropy(net(tr.tensor(xs).named("x")), tr.tensor(ys).named("y")).named("L", role="loss")
    return tr.graph(loss).draw(labels=letters, **options)


def dynamic_system(T=3):
    s = tr.tensor([1.0]).named("s", role="initial")
    for _, _ in tr.steps(np.zeros(T)):
        with tr.scope("f"):
            s = (s / 2).named("s")
    return tr.graph(s)


def first_step_only():
    x, h = tr.tensor(np.ones((1, 3))).named("x"), tr.tensor(np.zeros((1, 5))).named("h", role="initial")
    U, W, V = (nn.Parameter(shape, symbol=s, dtype=float) for s, shape in (("U", (3, 5)), ("W", (5, 5)), ("V", (5, 2))))
    outputs = []
    for t, _ in tr.steps(np.zeros((4, 1))):
        h = (tr.tanh(x @ U + h @ W) if t == 1 else tr.tanh(h @ W)).named("h")
        outputs.append((h @ V).named("y"))
    return tr.graph(*outputs)


FIGURES = {
    "total": lambda: elman().draw(time="unrolled", loss=nn.mse, total=True),
    "total, folded": lambda: elman().draw(loss=nn.mse, total=True),
    "total, elided": lambda: elman().draw(time="unrolled", loss=nn.mse, total=True, steps=30),
    "total of two": lambda: two_losses().draw(),
    "total of elided steps": lambda: some_losses({14, 15}).draw(),
    "total of the last steps": lambda: some_losses({15, 30}).draw(),
    "total of chunks": lambda: chunks().draw(),
    "one node": lambda: elman().draw(time="unrolled", shared="node"),
    "one node, folded": lambda: elman().draw(shared="node"),
    "one node, layers": lambda: elman().draw(time="unrolled", detail="layers", shared="node"),
    "one node, elided": lambda: elman().draw(time="unrolled", shared="node", loss=nn.mse, total=True, steps=30),
    "one node, LSTM": lambda: nn.LSTM(3, 5).draw(time="unrolled", shared="node"),
    "one node, both ways": lambda: nn.RNN(3, 5, bidirectional=True).draw(time="unrolled", shared="node"),
    "one node, two layers": lambda: nn.GRU(3, 5, num_layers=2).draw(time="unrolled", shared="node"),
    "system": lambda: nn.SystemCell(0, 3).draw(time="unrolled", detail="slots"),
    "system with input": lambda: nn.SystemCell(2, 3).draw(time="unrolled", detail="slots"),
    "system, folded": lambda: nn.SystemCell(2, 3).draw(detail="slots"),
    "system of a function": lambda: nn.SystemCell(0, 1, f=lambda s: s / 2).draw(time="unrolled"),
    "own system": lambda: dynamic_system().draw(),
    "hello": hello,
    "hello, folded": lambda: hello(time="folded"),
    "layer": lambda: nn.Linear(3, 2).draw(),
    "layer with f": lambda: nn.Sequential(nn.Linear(3, 2, symbols=("W", "b")), tr.tanh).draw(),
    "context at every step": lambda: decoder().draw(time="unrolled", loss=nn.cross_entropy),
    "context, folded": lambda: decoder().draw(loss=nn.cross_entropy),
    "context at the start": lambda: decoder("start").draw(time="unrolled", loss=nn.cross_entropy),
    "x beside y": lambda: nn.Recurrent(decoder().cell).draw(time="unrolled", loss=nn.cross_entropy, force=["y"]),
    "encoder and decoder": lambda: nn.Seq2Seq(nn.RNN(3, 3), decoder()).draw(time="unrolled", loss=nn.cross_entropy),
    "x at the first step": lambda: first_step_only().draw(),
}


def two_losses():
    _, h = nn.RNN(2, 3)(tr.tensor(np.ones((3, 1, 2), "float32")).named("x"))
    losses = [nn.mse(nn.Linear(3, 1)(h[0]), np.ones((1, 1))).named(name, role="loss") for name in ("A", "B")]
    return tr.graph((losses[0] + losses[1]).named("L", role="loss"))


def some_losses(steps):
    h, W, losses = tr.tensor([[0.0]]).named("h", role="initial"), nn.Parameter([[0.5]], symbol="W", dtype=float), []
    for t, x in tr.steps(tr.tensor(np.ones((30, 1, 1))).named("x")):
        h = tr.tanh(x + h @ W).named("h")
        losses += [(h * h).sum().named("L", role="loss")] if t in steps else []
    return tr.graph(h, sum(losses).named("L", role="loss"))


def chunks():
    rnn, read, h, losses = nn.Recurrent(nn.RNNCell(3, 5)), nn.Linear(5, 2), None, []
    for _ in range(2):
        out, h = rnn(tr.tensor(np.ones((2, 1, 3), "float32")).named("x"), h)
        h = h.detach()
        losses.append(nn.mse(read(out), tr.tensor(np.ones((2, 1, 2), "float32")).named("y")).named("L", role="loss"))
    return tr.graph(*losses)


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_hidden_in_a_figure(name):
    drawing = FIGURES[name]()
    assert not faults(drawing.sketch, extent(drawing.sketch))


@given(st.integers(0, 10_000))
@settings(max_examples=8, deadline=None)
def test_parameters_of_random_cells_are_nodes_of_their_own_and_every_writer_has_all(seed):
    run = random_cell(RandomChoices(seed))
    drawing = nn.Recurrent(run.cell).draw(time="unrolled", inputs=run.inputs(3), steps=3, shared="node")
    boxes = [v for v in drawing.sketch.vertices if v.kind is Kind.PARAMETER]
    names = {symbol.strip() for box in boxes for symbol in box.label.split(",")}
    assert names == {pretty(symbol) for symbol in drawing.sketch.owners}
    assert not [fault for fault in faults(drawing.sketch) if fault.startswith("nodes overlap") and "parameters " in fault]
    assert drawing.svg().count("<g ") == len(drawing.sketch.vertices) + len(drawing.sketch.arcs) + len([*marks(drawing.sketch)])
    assert drawing.tikz().count(r"\node[") == len(drawing.sketch.vertices) + len([*marks(drawing.sketch)])
    columns = {v.column for v in drawing.sketch.vertices if v.run is not None and v.kind not in STARTS}
    *slides, last = drawing.build_up() if len(columns) > 1 else [drawing]
    assert len(last.sketch.arcs) == len(drawing.sketch.arcs)
    assert all(len(slide.sketch.vertices) < len(last.sketch.vertices) for slide in slides)


def said(drawing):
    return {(plain(a.source.label), plain(a.label), plain(a.target.label)) for a in drawing.sketch.arcs}


def test_the_total_has_an_edge_from_each_loss():
    drawing = FIGURES["total"]()
    assert {source for source, _, target in said(drawing) if target == "L"} == {"L₁", "L₂", "L₃", "L₄"}
    assert "L" not in {target for _, _, target in said(elman().draw(time="unrolled", loss=nn.mse))}


def test_the_total_stands_behind_the_losses_at_the_end_of_a_lane():
    sketch = FIGURES["total"]().sketch
    total, last = (next(v for v in sketch.vertices if plain(v.label) == label) for label in ("L", "L₄"))
    assert total.x > last.x and total.y > last.y
    assert {arc.path[-1][1] for arc in sketch.arcs if arc.target is total} == {total.y}


def test_a_sum_that_a_loop_of_ones_own_makes_is_the_total():
    losses = 0.0
    for _, o, y in tr.steps(tr.tensor(np.ones((3, 1, 2))).named("o"), tr.tensor(np.ones((3, 1, 2))).named("y")):
        losses = losses + nn.mse(o, y).named("L", role="loss")
    drawing = tr.graph(losses.named("L", role="loss")).draw()
    assert {source for source, _, target in said(drawing) if target == "L"} == {"L₁", "L₂", "L₃"}


def test_targets_count_on_in_the_next_chunk():
    labels = {plain(v.label) for v in FIGURES["total of chunks"]().sketch.vertices if v.kind is Kind.TARGET}
    assert labels == {"y₁", "y₂", "y₃", "y₄"}


@pytest.mark.parametrize("name", ["one node", "one node, folded", "one node, layers"])
def test_a_shared_parameter_is_one_node_with_an_edge_to_each_use(name):
    drawing = FIGURES[name]()
    boxes = {plain(v.label) for v in drawing.sketch.vertices if v.kind is Kind.PARAMETER}
    assert boxes == {"U, W, b, b′", "V, c"}
    uses = [plain(a.target.label) for a in drawing.sketch.arcs if plain(a.source.label) == "V, c"]
    assert uses == (["o"] if "folded" in name else ["o₁", "o₂", "o₃", "o₄"])
    assert not {"U", "W", "V"} & {label for _, label, _ in said(drawing)}


def test_no_use_is_where_steps_are_left_out():
    sketch = FIGURES["one node, elided"]().sketch
    assert not [arc for arc in sketch.arcs if arc.source.kind is Kind.PARAMETER and arc.target.kind is Kind.ELISION]


def test_parameters_of_other_uses_are_other_nodes():
    labels = {plain(v.label) for v in FIGURES["one node, two layers"]().sketch.vertices if v.kind is Kind.PARAMETER}
    assert labels == {"U⁽¹⁾, W⁽¹⁾, b⁽¹⁾, b′⁽¹⁾", "U⁽²⁾, W⁽²⁾, b⁽²⁾, b′⁽²⁾"}


def test_operations_have_a_box_for_each_use():
    with pytest.raises(ValueError, match="a box for each use"):
        elman().draw(detail="ops", shared="node")
    with pytest.raises(ValueError, match="shared must be 'label' or 'node'"):
        elman().draw(shared="edge")


@pytest.mark.parametrize("name", ["system", "system with input", "system of a function", "own system"])
def test_the_edges_of_a_dynamic_system_say_f(name):
    found = said(FIGURES[name]())
    assert {label for source, label, _ in found if source.startswith("s")} == {"f"}
    assert {label for source, label, _ in found if source.startswith("x")} <= {""}


@pytest.mark.parametrize("then", [None, "g"])
def test_f_is_no_label_of_what_is_only_partly_made_by_it(then):
    s = tr.tensor([1.0]).named("s", role="initial")
    for _, x in tr.steps(tr.tensor(np.ones(2)).named("x")):
        with tr.scope("f"):
            inner = s / 2
        with tr.scope(then) if then else contextlib.nullcontext():
            s = (inner * x).named("s")
    assert {label for _, label, _ in said(tr.graph(s).draw())} == {""}


def test_a_word_is_no_function():
    labels = {label for _, label, _ in said(nn.RNN(3, 5, num_layers=2).draw(detail="slots"))}
    assert labels == {"U⁽¹⁾", "W⁽¹⁾", "U⁽²⁾", "W⁽²⁾", ""}


def test_codes_show_their_letters():
    labels = [plain(v.label) for v in hello().sketch.vertices]
    assert {"x₁\n“h”", "x₂\n“e”", "y₁\n“e”", "y₄\n“o”", "h₁"} <= set(labels)


def test_codes_that_stand_for_nothing_stay_codes():
    x = tr.tensor(np.array([[7], [1]])).named("x")
    graph = tr.graph(tr.stack([(x_t * 2).named("h") for _, x_t in tr.steps(x)]))
    labels = [plain(v.label) for v in graph.draw(labels="ab").sketch.vertices]
    assert sorted(labels) == ["h₁", "h₂", "x₁", "x₂\n“b”"]


def test_a_layer_without_memory_shows_its_bias_and_its_function():
    assert [plain(v.label) for v in sorted(FIGURES["layer with f"]().sketch.vertices, key=lambda v: v.y)] == [
        "x",
        "·W",
        "+ b",
        "o\ntanh",
    ]


def test_a_fixed_context_enters_every_step_and_each_y_stands_once():
    found = said(FIGURES["context at every step"]())
    assert {target for source, label, target in found if source == "x"} == {"h₁", "h₂", "h₃", "h₄"}
    for name in ("context at every step", "x beside y"):
        vertices = FIGURES[name]().sketch.vertices
        assert sorted(plain(v.label) for v in vertices if "y" in v.label) == ["y₀", "y₁", "y₂", "y₃", "y₄"]
    assert {("y₁", "E U", "h₂"), ("y₁", "", "L₁"), ("o₁", "", "L₁")} <= said(FIGURES["x beside y"]())


def test_x_at_the_first_step_only():
    found = said(FIGURES["x at the first step"]())
    assert {(s, t) for s, _, t in found if s in "x h₀"} == {("x", "h₁"), ("h₀", "h₁")}


def test_what_is_forced_may_stand_behind_another_layer():
    model = nn.Sequential(nn.Linear(3, 4), nn.Jordan(4, 5, 2))
    found = said(model.draw(time="unrolled", loss=nn.mse, force=["o"]))
    assert {("y₁", "W", "h₂"), ("y₁", "", "L₁")} <= found


# -- the reader's letters ----------------------------------------------------------------------


def labels_of(drawing):
    return {plain(v.label) for v in drawing.sketch.vertices} | {plain(a.label) for a in drawing.sketch.arcs} - {""}


@pytest.mark.parametrize("time", ["folded", "unrolled", "step"])
@pytest.mark.parametrize("detail", ["slots", "values", "ops", "layers"])
def test_the_readers_letters_are_in_every_picture(time, detail):
    if time == "step" and detail != "values":
        return
    cell = nn.RNNCell(3, 5)
    own, read = (cell.draw(time=time, detail=detail, **k) for k in ({}, {"symbols": {"h": "s", "x": "u"}, "notation": "WU"}))
    letters = dict(zip("hxUW", "suWU", strict=True))
    assert labels_of(read) == {re.sub("(?<![a-z])[hxUW]", lambda m: letters[m[0]], label) for label in labels_of(own)}


def test_the_notation_of_a_graph_that_has_run():
    outputs, _ = nn.RNN(2, 3)(np.ones((3, 1, 2), "float32"))
    found = said(tr.graph(outputs).draw(notation="WU"))
    assert {("x₁", "W", "h₁"), ("h₁", "U", "h₂")} <= found


def test_a_symbol_for_nothing_is_an_error():
    for time in ("unrolled", "step"):
        with pytest.raises(ValueError, match=r"there is no name 'q'; there are .*'h'"):
            nn.RNNCell(2, 3).draw(time=time, symbols={"q": "r"})
    with pytest.raises(ValueError, match="notation must be"):
        nn.RNNCell(2, 3).draw(notation="VU")


def test_a_gate_is_highlighted_by_the_readers_letter():
    drawing = nn.LSTMCell(3, 5).draw(time="step", symbols={"g": r"\tilde{c}"}, highlight="c̃")
    assert [plain(v.label) for v in drawing.sketch.vertices if not v.faint and v.kind is Kind.VALUE] == ["tanh c̃"]
