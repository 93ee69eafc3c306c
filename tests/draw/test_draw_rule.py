"""The contraction to named values: the nodes and edges of a drawing, and their labels."""

import re

import numpy as np
import pytest
from dot_labels import readable
from draw_networks import (
    DelayLine,
    Gated,
    Masked,
    OutputFeedback,
    TwoSlots,
    add_parameters,
    elman,
    loop,
    network,
)

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import FoldError, TinygradError
from tinygrad_rnn.graph.node import Spec


def edges(drawing):
    """(tail, head, label) of every edge, with its attributes, read from the DOT text."""
    found = {}
    for line in re.sub(r"\n(?!\t|\})", " ", readable(drawing.source)).splitlines():
        match = re.match(r'\t("?)(.+?)\1 -> ("?)(.+?)\3 \[(.*)\]$', line)
        if match:
            label = re.search(r'(?:^| )label="?([^"\s]*(?: [^"=\s]+)*?)"?(?: \w+=|$)', match[5])
            found[match[2], match[4], label[1] if label else ""] = match[5]
    return found


def nodes(drawing):
    """Maps each name to its attributes, read from the DOT text."""
    found = {}
    for line in re.sub(r"\n(?!\t|\})", " ", readable(drawing.source)).splitlines():
        match = re.match(r'\t("?)([^">]+?)\1 \[(.*)\]$', line)
        if match and " -> " not in line and match[2] not in ("graph", "node", "edge"):
            found[match[2]] = match[3]
    return found


def test_edges_are_labelled_with_the_parameters_on_their_paths():
    found = set(edges(network("elman", time="unrolled")))
    assert {("x[1]", "0.cell.h[1]", "U"), ("0.cell.h[1]", "0.cell.h[2]", "W"), ("0.cell.h[2]", "1.o[2]", "V")} <= found
    assert {("1.o[3]", "L[3]", ""), ("y[3]", "L[3]", "")} <= found


def test_a_bias_belongs_to_the_node():
    drawing = network("elman", time="unrolled")
    assert not [label for _, _, label in edges(drawing) if "b" in label]
    assert "tanh + b + b′" in nodes(drawing)["0.cell.h[2]"]


def test_the_start_is_a_dashed_node_in_column_0():
    found = nodes(network("elman", time="unrolled"))
    assert "dashed" in found["0.cell.h[0]"]
    assert "h₀" in found["0.cell.h[0]"]


def test_targets_are_dashed_and_feed_nothing_but_losses():
    drawing = network("elman", time="unrolled")
    assert "dashed" in nodes(drawing)["y[1]"]
    assert [head for tail, head, _ in edges(drawing) if tail == "y[1]"] == ["L[1]"]


def test_the_identity_path_is_an_edge_of_its_own():
    found = edges(network("residual", time="unrolled"))
    assert {("h[1]", "h[2]", "W"), ("h[1]", "h[2]", "+")} <= set(found)
    assert ("x[1]", "h[1]", "U") in found


def test_a_value_held_through_a_mask_is_dotted():
    drawing = network("mask", time="unrolled")
    found = edges(drawing)
    assert "dotted" in found["h[1]", "h[2]", "hold"]
    assert "diamond" in nodes(drawing)["m[2]"]
    assert ("m[2]", "h[2]", "") in found


def test_more_than_two_parameters_become_their_stem():
    found = edges(TwoSlots().draw(time="unrolled", detail="slots"))
    assert ("h[1]", "c[2]", "W∗") in found
    assert "W_f" in found["h[1]", "c[2]", "W∗"]
    assert ("h[1]", "h[2]", "W_o") in found


def test_inner_values_are_shown_up_to_two_a_step_unless_asked_for():
    assert "f[1]" not in nodes(TwoSlots().draw(time="unrolled"))
    assert "f[1]" in nodes(TwoSlots().draw(time="unrolled", detail="values"))
    assert "h[1]" in nodes(OutputFeedback().draw(time="unrolled"))
    assert "h[1]" not in nodes(OutputFeedback().draw(time="unrolled", detail="slots"))


@pytest.mark.parametrize(("cell", "gates"), [(TwoSlots, "fiog"), (Gated, "rzn")])
def test_sources_that_meet_the_same_gates_go_through_one_dot(cell, gates):
    found = set(edges(cell().draw()))
    dot = "bundle 1"
    assert {(dot, gate) for gate in gates} <= {(tail, head) for tail, head, _ in found}
    assert ("x", dot, "") in found
    assert not [1 for tail, head, _ in found if tail == "x" and head in gates]


def test_delays_of_two_steps_go_through_two_squares():
    found = set(edges(DelayLine().draw()))
    assert {("x", "x z1", ""), ("x z1", "x z2", ""), ("x z1", "h", "W₁"), ("x z2", "h", "W₂"), ("x", "h", "W₀")} <= found


def test_a_folded_drawing_sees_delays_longer_than_its_first_trace():
    found = nodes(DelayLine(taps=9).draw())
    assert {f"x z{k}" for k in range(1, 10)} <= set(found)
    assert "x z10" not in found


def test_an_unrolled_drawing_is_longer_than_the_longest_delay():
    found = nodes(nn.TimeDelayCell(3, 2, delays=[0, 3, 6]).draw(time="unrolled", steps=4))
    assert "x[7]" in found
    assert {"x₋₅", "x₋₁", "x₀", "x₇"} <= {re.search(r'label="?([^" ]+)', text)[1] for text in found.values() if "label" in text}


def test_what_a_second_line_starts_from_is_of_the_layer_below():
    lines = nn.Sequential(nn.TimeDelay(3, 5, 1), nn.TimeDelay(5, 2, [0, 2]))
    labels = " ".join(nodes(lines.draw(time="unrolled", steps=6)).values())
    assert "h⁽¹⁾₀" in labels and "h⁽¹⁾₋₁" in labels and "h⁽²⁾₀" not in labels


def test_earlier_inputs_are_numbered_backwards_from_0():
    found = nodes(DelayLine().draw(time="unrolled"))
    assert "x₋₁" in found["x[-1]"]
    assert "x₀" in found["x[0]"]


def test_an_output_that_is_fed_back_is_an_output():
    drawing = OutputFeedback().draw(time="unrolled")
    assert "#D55E00" in nodes(drawing)["o[1]"]
    assert "#B07D00" in nodes(drawing)["h[1]"]
    assert ("o[1]", "h[2]", "W") in edges(drawing)


def test_forced_data_is_read_in_place_of_the_output():
    class Forced(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.Recurrent(OutputFeedback())

        def forward(self, xs):
            x, y = xs
            return self.rnn(x, force={"o": y})[0]

    y = tr.tensor(np.zeros((4, 1, 2), "float32")).named("y")
    drawing = Forced().draw(time="unrolled", inputs=(np.zeros((4, 1, 3), "float32"), y))
    assert "#E69F00" in edges(drawing)["y[1]", "rnn.cell.h[2]", "W"]
    assert "o₀" in nodes(drawing)["rnn.cell.o[0]"]


def test_a_mask_says_where_data_is_forced():
    found = {key[:2] for key in edges(network("forced", time="unrolled"))}
    assert {("y[1]", "rnn.cell.h[2]"), ("rnn.cell.o[1]", "rnn.cell.h[2]"), ("m[1]", "rnn.cell.h[2]")} <= found
    assert "diamond" in nodes(network("forced"))["m"]


class Tagger(nn.Module):
    """A layer in both directions, and a further layer at each step or at the last step."""

    def __init__(self, batch_first, last):
        super().__init__()
        self.batch_first, self.last = batch_first, last
        self.rnn = nn.RNN(3, 5, batch_first=batch_first, bidirectional=True)
        self.out = nn.Linear(10, 2)

    def forward(self, xs):
        h, _ = self.rnn(xs)
        if self.last:
            h = h[:, -1] if self.batch_first else h[-1]
        return self.out(h)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("options", [{}, {"time": "unrolled", "loss": nn.cross_entropy}, {"time": "unrolled", "detail": "ops"}])
def test_batch_first_is_drawn_as_time_first_is(options, last):
    assert Tagger(True, last).draw(**options).source == Tagger(False, last).draw(**options).source


@pytest.mark.parametrize("time", ["folded", "unrolled"])
def test_the_targets_are_the_data_that_is_forced(time):
    drawing = OutputFeedback().draw(time=time, loss=nn.mse, force=["o"])
    step = lambda name, t: f"{name}[{t}]" if time == "unrolled" else name  # noqa: E731
    found = edges(drawing)
    assert ("y" if time == "folded" else "y[4]", step("L", 4), "") in found
    source = "y z1" if time == "folded" else "y[1]"
    assert "#E69F00" in found[source, step("h", 2), "W"]
    assert not [1 for tail, head, _ in found if tail.startswith("o[") and tail != "o[0]" and head.startswith("h")]
    assert (step("o", 2), step("L", 2), "") in found


def test_two_panels_training_and_deployment():
    jordan = nn.Jordan(3, 5, 2)
    training = {key[:2] for key in edges(jordan.draw(time="unrolled", loss=nn.mse, force=["o"]))}
    deployment = {key[:2] for key in edges(jordan.draw(time="unrolled"))}
    assert ("y[1]", "cell.h[2]") in training and ("cell.o[1]", "cell.h[2]") not in training
    assert ("cell.o[1]", "cell.h[2]") in deployment


def test_a_slot_that_is_not_there_cannot_be_forced():
    with pytest.raises(TinygradError, match="force: there is no slot 'p'; there is 'o'"):
        nn.Jordan(3, 5, 2).draw(force=["p"])


def test_delay_lines_on_a_recurrent_layer_and_on_each_other_fold():
    over = edges(nn.Sequential(nn.Recurrent(nn.RNNCell(3, 4)), nn.Recurrent(DelayLine())).draw())
    assert {"W₀", "W₁", "W₂", "U", "W", "V"} <= {label for _, _, label in over}
    stacked = set(edges(nn.Sequential(nn.TimeDelay(3, 3, 1), nn.TimeDelay(3, 2, 2)).draw()))
    assert {("0.cell.h z1", "1.cell.h", "W₁⁽²⁾"), ("0.cell.h z2", "1.cell.h", "W₂")} <= stacked


def test_a_symbol_that_is_fed_back_folds():
    cell = nn.DecoderCell(nn.Embedding(4, 3), nn.RNNCell(3, 5), nn.Linear(5, 4), start=0)
    assert {("readout.o", "y"), ("y z1", "cell.h")} <= {key[:2] for key in edges(cell.draw())}


def test_layers_and_directions_have_marks():
    labels = {label for _, _, label in edges(nn.RNN(3, 5, 2, bidirectional=True).draw(time="unrolled", detail="slots"))}
    assert {"U→⁽¹⁾", "U←⁽¹⁾", "W→⁽²⁾", "W←⁽²⁾"} <= labels
    boxes = " ".join(nodes(nn.LSTM(3, 5, 2, bidirectional=True).draw(time="unrolled", detail="layers")).values())
    assert all(title in boxes for title in ("LSTM 1 →", "LSTM 1 ←", "LSTM 2 →", "LSTM 2 ←"))


def test_parameters_are_numbered_as_the_values_they_make():
    decoder = nn.Decoder(nn.Embedding(4, 3), nn.RNNCell(3, 5), nn.Linear(5, 4), start=0, end=1)
    xs, ys = tr.tensor(np.ones((3, 1, 3), "float32")).named("x"), tr.tensor(np.array([[2], [3], [1]])).named("y")
    found = edges(tr.graph(nn.Seq2Seq(nn.RNN(3, 5), decoder)(xs, ys)).draw(time="unrolled"))
    assert {"U⁽¹⁾"} == {label for (tail, _, label) in found if tail.startswith("x[")}


def test_a_constant_input_stands_below_those_of_the_steps():
    decoder = nn.Decoder(nn.Embedding(4, 3), nn.RNNCell(3, 5), nn.Linear(5, 4), start=0, end=1, context_size=2)
    ys, x = tr.tensor(np.zeros((4, 1), int)).named("y"), tr.tensor(np.zeros((1, 2), "float32")).named("x")
    found = nodes(tr.graph(decoder(ys, x)).draw(time="unrolled"))
    places = {name: re.search(r'pos="([^,]+),([^"]+)"', text).groups() for name, text in found.items()}
    assert len(places) == len(set(places.values()))
    (h,) = [place for name, place in places.items() if name.endswith("cell.h[1]")]
    assert float(places["x"][1]) < float(places["y[1]"][1]) < float(h[1])


def test_a_learnt_start_is_a_start():
    class Learnt(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.Recurrent(nn.RNNCell(3, 4))
            self.start = nn.Parameter((1, 4), symbol="s")

        def forward(self, xs):
            return self.rnn(xs, tr.broadcast_to(self.start, (xs.shape[1], 4)))[0]

    found = edges(Learnt().draw(time="unrolled"))
    assert ("rnn.cell.h[0]", "rnn.cell.h[1]", "W") in found


def test_a_cut_is_drawn_with_scissors():
    total, _ = loop(4, cut_at=3)
    source = tr.graph(total).draw().source
    assert source.count('✂"') + source.count("label=✂") >= 1
    assert '"h[2] ✂ h[3]"' in source
    assert '"h[1] ✂ h[2]"' not in source
    found = {key[:2]: text for key, text in edges(tr.graph(total).draw()).items()}
    assert "dashed" in found["h[2]", "h[3]"]
    assert "solid" in found["h[1]", "h[2]"]


@pytest.mark.parametrize("odd", [1, 2, 3, 4])
def test_a_loop_with_another_function_at_one_step_is_not_folded(odd):
    U, W = tr.Parameter([[1.0]], symbol="U"), tr.Parameter([[1.0]], symbol="W")
    h = tr.tensor([[0.0]])
    for t, x in tr.steps(tr.tensor(np.ones((4, 1, 1))).named("x")):
        h = (tr.sigmoid if t == odd else tr.tanh)(x @ U + h @ W).named("h")
    with pytest.raises(FoldError, match=rf"step {2 if odd == 1 else odd} .*(sigmoid|tanh) \(h\) where step 1 makes"):
        tr.graph(h).draw(time="folded")
    assert len(edges(tr.graph(h).draw(time="unrolled"))) == 8


def test_the_output_of_the_last_step_alone_is_dashed_in_a_folded_drawing():
    found = edges(network("many-to-one"))
    assert "dashed" in found["rnn.cell.h", "out.o", "V"]
    assert "solid" in edges(network("elman"))["0.cell.h", "1.o", "V"]


@pytest.mark.parametrize("first", [True, False])
def test_what_only_the_first_step_reads_is_not_its_state(first):
    Q, W = tr.Parameter(np.eye(2), symbol="Q"), tr.Parameter(np.eye(2), symbol="W")
    X, h = tr.tensor(np.ones((1, 2))).named("X"), tr.tensor(np.zeros((1, 2)))
    for t, _ in tr.steps(tr.tensor(np.ones((3, 1, 2))).named("x")):
        extra = (X @ Q,) if t == 1 else ()
        h = tr.tanh(sum((*extra, h @ W)) if first else sum((h @ W, *extra))).named("h")
    found = set(edges(tr.graph(h).draw()))
    assert found == {("X", "h[1]", "Q"), ("h[0]", "h[1]", "W"), ("h[1]", "h[2]", "W"), ("h[2]", "h[3]", "W")}


@pytest.mark.parametrize(
    ("join", "readers"),
    [
        (lambda X: tr.concatenate([X, np.zeros((3, 1, 2))]), {("X[1]", "h[1]")}),
        (lambda X: tr.pad(X, ((0, 3), (0, 0), (0, 0))), {("X[1]", "h[1]")}),
        (lambda X: tr.concatenate([np.zeros((2, 1, 2)), X]), {("X[3]", "h[3]")}),
        (lambda X: tr.concatenate([X, 2 * X]), {("X[1]", "h[1]"), ("X[1]", "h[2]")}),
        (lambda X: tr.stack([X[0], *[np.zeros((1, 2))] * 3]), {("X", "h[1]")}),
    ],
)
def test_a_sequence_behind_another_is_read_where_its_own_steps_are(join, readers):
    X = tr.tensor(np.ones((1, 1, 2))).named("X")
    W, h = tr.Parameter(np.eye(2), symbol="W"), tr.tensor(np.zeros((1, 2)))
    for _, x in tr.steps(join(X)):
        h = tr.tanh(x + h @ W).named("h")
    assert {(tail, head) for tail, head, _ in edges(tr.graph(h).draw()) if tail[0] == "X"} == readers
    if len(readers) == 1:
        with pytest.raises(FoldError, match="differs from step 1"):
            tr.graph(h).draw(time="folded")


def test_steps_that_differ_are_not_folded():
    W, V = tr.Parameter([[1.0]], symbol="W"), tr.Parameter([[1.0]], symbol="V")
    h = tr.tensor([[0.0]])
    for t, x in tr.steps(tr.tensor(np.ones((4, 1, 1))).named("x")):
        h = tr.tanh(x + h @ W if t != 3 else x * V + h @ W).named("h")
    with pytest.raises(FoldError, match="step 3 differs from step 1: it makes multiply where step 1 makes matmul"):
        tr.graph(h).draw(time="folded")


def test_a_sum_of_losses_is_not_drawn():
    total, _ = loop(3)
    found = nodes(tr.graph(total).draw())
    assert {"L[1]", "L[2]", "L[3]"} <= set(found)
    assert not [name for name in found if name.startswith(("add", "total"))]


def test_values_without_names_are_called_as_in_textbooks():
    total, _ = loop(3, names=False)
    found = nodes(tr.graph(total).draw())
    assert "h₂" in found["h[2]"]


def test_whole_sequence_layers_are_drawn_at_each_step():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn, self.out = nn.Embedding(7, 3), nn.Recurrent(nn.RNNCell(3, 4)), nn.Linear(4, 7)

        def forward(self, codes):
            return self.out(self.rnn(self.embed(codes))[0])

    codes = np.zeros((4, 2), int)
    drawing = Tagger().draw(time="unrolled", loss=nn.cross_entropy, inputs=codes, targets=codes)
    found = set(edges(drawing))
    assert ("x[2]", "rnn.cell.h[2]", "E U") in found
    assert ("rnn.cell.h[2]", "out.o[2]", "V") in found


def test_one_loss_over_the_whole_sequence_is_a_loss_at_each_step():
    rnn, out = nn.Recurrent(nn.RNNCell(2, 3)), nn.Linear(3, 4)
    xs = tr.tensor(np.ones((4, 2, 2), "float32")).named("x")
    classes = tr.tensor(np.zeros((4, 2), int)).named("y")
    loss = tr.cross_entropy(out(rnn(xs)[0]), classes)
    found = set(edges(tr.graph(loss).draw()))
    assert {("y[2]", "L[2]", ""), ("y[4]", "L[4]", "")} <= found
    assert not [1 for _, head, _ in found if head == "L"]


def test_an_embedding_model_needs_no_example_input():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn = nn.Embedding(7, 3), nn.Recurrent(nn.RNNCell(3, 4))

        def forward(self, codes):
            return self.rnn(self.embed(codes))[0]

    assert ("x[2]", "rnn.cell.h[2]", "E U") in edges(Tagger().draw(time="unrolled"))


def test_a_cell_without_input_needs_no_example():
    class Counter(nn.Cell):
        def __init__(self):
            super().__init__()
            add_parameters(self, {"A": (3, 3)})
            self.state_shape = (3,)

        def step(self, x, h):
            h = (h @ self.A).named("h")
            return h, h

    assert ("h[1]", "h[2]", "A") in edges(Counter().draw(time="unrolled"))


def test_a_module_that_fits_no_input_says_what_to_give():
    class Picky(nn.Module):
        def forward(self, xs):
            raise TinygradError("never")

    with pytest.raises(TinygradError, match=r"never.*inputs="):
        Picky().draw()


def test_a_mistake_in_a_module_is_not_hidden_by_the_search_for_its_input():
    class Mistaken(nn.Module):
        def forward(self, xs):
            return self.weihgt * xs

    with pytest.raises(AttributeError, match="weihgt"):
        Mistaken().draw()


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="time must be 'folded', 'unrolled' or 'step', not 'sideways'"):
        elman().draw(time="sideways")
    with pytest.raises(ValueError, match="detail must be "):
        elman().draw(detail="all")


def test_drawing_leaves_the_module_as_it_was():
    cell = nn.RNNCell(2, 3)
    model = nn.Sequential(nn.Recurrent(cell))
    before = {name: array.copy() for name, array in model.state_dict().items()}
    scopes = [path for path, _ in model.modules()]
    cell.draw()
    model.draw(time="unrolled")
    assert [path for path, _ in model.modules()] == scopes
    assert cell._name == "cell"
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())


def test_drawing_leaves_the_graph_as_it_was():
    total, parameters = loop(3)
    graph = tr.graph(total)
    text, roles = graph.text(), [node.role for node in graph]
    graph.draw()
    graph.draw(values=True)
    assert graph.text() == text
    assert [node.role for node in graph] == roles
    assert all(parameter.grad is None for parameter in parameters)


def test_layers_of_one_kind_are_numbered():
    drawing = network("stacked", time="unrolled", detail="layers")
    labels = " ".join(nodes(drawing).values())
    assert "TwoSlots 1" in labels
    assert "TwoSlots 2" in labels
    assert ("TwoSlots 1[1]", "TwoSlots 2[1]", "h") in edges(drawing)


def test_operations_are_boxes_tinted_by_parameter():
    drawing = elman().draw(time="unrolled", detail="ops", steps=2)
    found = nodes(drawing)
    labels = [re.search(r'label="?([^"\s]+)', text)[1] for text in found.values() if "label=" in text]
    assert labels.count("·U") == labels.count("·W") == labels.count("·V") == 2
    assert {"legend U", "legend W", "legend V"} <= set(found)
    tint = re.search(r'color="(#\w+)"', found["legend U"])[1]
    assert sum(tint in text for text in found.values()) >= 3


def test_masked_inputs_may_be_given_by_their_shapes():
    inputs = (Spec((4, 2, 3), np.dtype("float32")), Spec((4, 2, 1), np.dtype(bool)))
    assert "m[1]" in nodes(Masked().draw(time="unrolled", inputs=inputs))


class After(nn.Module):
    """A function of a layer's outputs at all steps; drawn without numbers."""

    def __init__(self, function):
        super().__init__()
        self.rnn, self.function = nn.Recurrent(nn.RNNCell(3, 5)), function

    def forward(self, xs):
        return self.function(self.rnn(xs)[0])


def boxes(function, steps):
    """Number of nodes in addition to the nodes of the network."""
    with_it, without = (nodes(After(f).draw(time="unrolled", steps=steps, detail="ops")) for f in (function, lambda ys: ys * 1))
    return len(with_it) - len(without) + steps


PER_STEP = {
    "tanh": tr.tanh,
    "flip": lambda ys: tr.flip(ys, -1),
    "cumsum": lambda ys: tr.cumsum(ys, -1),
    "softmax": lambda ys: tr.log_softmax(ys, -1),
    "sum": lambda ys: ys.sum(axis=-1, keepdims=True),
    "comparison": lambda ys: ys > 0,
}
ACROSS_STEPS = {
    "flip": lambda ys: tr.flip(ys, 0),
    "flip of both": lambda ys: tr.flip(ys, (0, -1)),
    "cumsum": lambda ys: tr.cumsum(ys, 0),
    "softmax": lambda ys: tr.log_softmax(ys, 0),
    "sum": lambda ys: ys.sum(axis=0),
}


@pytest.mark.parametrize("name", PER_STEP)
def test_what_is_alike_at_all_steps_is_a_box_at_each(name):
    assert [boxes(PER_STEP[name], steps) for steps in (2, 4)] == [2, 4]


@pytest.mark.parametrize("name", ACROSS_STEPS)
def test_what_mixes_steps_is_not_a_box_at_each(name):
    assert boxes(ACROSS_STEPS[name], 2) == boxes(ACROSS_STEPS[name], 4)


@pytest.mark.parametrize("steps", [3, 6])
def test_an_edge_that_leaves_a_line_which_it_shares_has_a_dot_there(steps):
    found = nodes(network("gated", time="unrolled", detail="values", steps=steps))
    dots = [name for name in found if name.startswith("branch")]
    assert len(dots) == steps
    assert all("shape=point" in found[name] for name in dots)


@pytest.mark.parametrize("way", ["a running total", "one loss of all steps"])
def test_a_total_loss_that_has_a_name_is_drawn_with_its_own_number(way):
    total, _ = loop(3)
    if way == "one loss of all steps":
        outputs, _ = nn.RNN(3, 4)(np.ones((3, 1, 3), "float32"))
        total = tr.mse(outputs, np.ones((3, 1, 4), "float32"))
    drawn = set(edges(tr.graph(total).draw()))
    named = tr.graph(total.named("J")).draw(values=True)
    (number,) = [label for name, label in nodes(named).items() if name == "J"]
    assert f"{float(total):.3g}" in number
    parts = "L" if way == "a running total" else "J"
    assert {tail for tail, head, _ in edges(named) if head == "J"} == {f"{parts}[{t}]" for t in (1, 2, 3)}
    assert len(edges(named)) == len(drawn) + 3


def test_a_total_that_is_doubled_again_and_again_takes_no_longer():
    total, _ = loop(3)
    for _ in range(60):
        total = total + total
    found = edges(tr.graph(total.named("J")).draw())
    assert sorted(tail for tail, head, _ in found if head == "J") == ["L[1]", "L[2]", "L[3]"]


def test_a_model_of_layers_is_forced_by_the_slot_of_one_of_them():
    model = nn.Sequential(nn.Linear(4, 3), nn.Jordan(3, 5, 2))
    found = edges(model.draw(time="unrolled", force=["o"], loss=nn.mse))
    assert ("y[1]", "1.cell.h[2]", "W") in found
    assert ("y[1]", "L[1]", "") in found


@pytest.mark.parametrize("shared", [True, False])
def test_chunks_of_one_sequence_are_numbered_on(shared):
    """Truncated backpropagation cuts one sequence into chunks; another network that continues a state counts steps from 1."""
    Ws = [tr.Parameter(np.eye(2), symbol="W") for _ in range(2)]
    h, losses = tr.tensor(np.zeros((1, 2))), []
    for W in (Ws[0], Ws[0] if shared else Ws[1]):
        h = h.detach()
        for _, x, y in tr.steps(tr.tensor(np.ones((3, 1, 2))).named("x"), tr.tensor(np.ones((3, 1, 2))).named("y")):
            h = tr.tanh(x + h @ W).named("h")
            losses.append(tr.mse(h, y))
    labels = {name: re.search(r"label=\"?([^ \"]+)", text)[1] for name, text in nodes(tr.graph(*losses).draw()).items()}
    later = [labels[name] for name in ("h_2[1]", "y_2[1]", "x_2[3]")]
    assert (later == ["h₄", "y₄", "x₆"]) is shared
    assert (later[1:] == ["y₁", "x₃"]) is not shared


@pytest.mark.parametrize("steps", [2, 6])
def test_layers_of_delays_are_drawn_over_the_steps_asked_for_or_as_many_as_their_longest_delay_needs(steps):
    model = nn.Sequential(nn.TimeDelay(4, 3, delays=1), nn.TimeDelay(3, 2, delays=[0, 3]))
    assert model.draw(time="unrolled", steps=steps).title.endswith(f"over {max(steps, 4)} steps")


@pytest.mark.parametrize(
    ("module", "signs"),
    [
        (nn.Recurrent(nn.RNNCell(3, 4), reverse=True), ["z⁺¹"]),
        (nn.Recurrent(nn.RNNCell(3, 4)), ["z⁻¹"]),
        (nn.RNN(3, 4, bidirectional=True), ["z⁺¹", "z⁻¹"]),
        (nn.Recurrent(DelayLine(), reverse=True), ["z⁺¹", "z⁺¹"]),
    ],
)
@pytest.mark.parametrize("detail", ["values", "ops", "layers"])
def test_a_run_from_the_end_reads_what_is_later_in_the_sequence(module, signs, detail):
    found = nodes(module.draw(detail=detail))
    assert sorted(set(re.findall("z[⁺⁻]¹", " ".join(found.values())))) == sorted(set(signs))
