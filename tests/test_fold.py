"""Folding over time: verified, and inverted by unfold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import FoldError


class RandomCell(nn.Cell):
    """A cell drawn by hypothesis: slots that loop, delay or pass through, and a sum of products."""

    def __init__(self, input_size, size, wiring, nonlinear):
        super().__init__()
        self.U = nn.Parameter((input_size, size), symbol="U")
        self.wiring = wiring
        self.nonlinear = nonlinear
        for i in range(len(wiring)):
            setattr(self, f"W{i}", nn.Parameter((size, size)))
        self.state_shape = tuple((size,) for _ in wiring)

    def step(self, x, state):
        total = x @ self.U
        for i, slot in enumerate(state):
            total = total + slot @ getattr(self, f"W{i}")
        y = (tr.tanh(total) if self.nonlinear else total).named("y")
        sources = [y, *state]
        return y, tuple(sources[k] for k in self.wiring)


def wirings():
    """For each slot, what it takes over: 0 is the output, k is slot k - 1."""
    return st.integers(1, 3).flatmap(lambda n: st.lists(st.integers(0, n), min_size=n, max_size=n))


@st.composite
def runs(draw):
    wiring = draw(wirings())
    cell = RandomCell(2, 3, wiring, draw(st.booleans()))
    steps = draw(st.integers(len(wiring) + 2, len(wiring) + 5))
    reverse = draw(st.booleans())
    xs = tr.tensor(np.ones((steps, 2, 2), "float32")).named("x")
    outputs, state = nn.Recurrent(cell, reverse=reverse)(xs)
    return (outputs, *state) if draw(st.booleans()) else (outputs,)


@given(runs())
def test_unfold_inverts_fold(outputs):
    g = tr.graph(*outputs)
    assert g.fold().unfold() == g


def lines_of_delays():
    """Slots take over the output, an earlier slot or themselves: two that swap have no other length."""
    return st.integers(1, 3).flatmap(lambda n: st.tuples(*[st.integers(0, i + 1) for i in range(n)]))


@given(lines_of_delays(), st.integers(0, 3), st.booleans())
def test_unfold_to_another_length_is_the_graph_of_that_length(wiring, more, reverse):
    cell = RandomCell(2, 3, wiring, True)
    model = nn.Recurrent(cell, reverse=reverse)
    short, long = (tr.graph(model(tr.tensor(np.ones((len(wiring) + 2 + n, 2, 2), "float32")).named("x"))[0]) for n in (0, more))
    assert short.fold().unfold(len(wiring) + 2 + more) == long


@given(st.integers(3, 6), st.integers(3, 6))
def test_the_length_does_not_matter_to_what_is_folded(a, b):
    model = nn.Recurrent(nn.RNNCell(2, 3))
    first, second = (tr.graph(model(np.ones((n, 1, 2), "float32"))[0]).fold() for n in (a, b))
    assert first == second


def own_loop(cell, weights, steps=5, forget=None):
    U, W, b, c = weights
    h = tr.tensor(np.zeros((2, 4), "float32"))
    hs = []
    for t, x in tr.steps(tr.tensor(np.ones((steps, 2, 3), "float32"))):
        V = forget[1] if forget and t == forget[0] else W
        h = tr.tanh((x @ U.T + b) + (h @ V.T + c))
        hs.append(h)
    return tr.graph(*hs)


def test_a_students_own_loop_folds_to_the_same_graph_as_the_layer():
    cell = nn.RNNCell(3, 4)
    weights = cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh
    layer = tr.graph(nn.Recurrent(cell)(np.ones((6, 2, 3), "float32"))[0]).fold()
    assert own_loop(cell, weights).fold() == layer
    assert layer.difference(own_loop(cell, weights).fold()) is None


def test_a_loop_that_computes_something_else_differs_and_says_where():
    cell = nn.RNNCell(3, 4)
    layer = tr.graph(nn.Recurrent(cell)(np.ones((6, 2, 3), "float32"))[0]).fold()
    relu = tr.graph(nn.Recurrent(nn.RNNCell(3, 4, nonlinearity="relu"))(np.ones((6, 2, 3), "float32"))[0]).fold()
    assert relu != layer
    assert "tanh" in layer.difference(relu) and "relu" in layer.difference(relu)


@pytest.mark.parametrize("step", [2, 3, 5])
def test_weights_that_are_not_shared_are_named_with_the_step(step):
    cell = nn.RNNCell(3, 4)
    weights = cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh
    other = nn.Parameter((4, 4), symbol="W_other")
    with pytest.raises(FoldError, match=rf"step {step} differs.*W_other.*shared"):
        own_loop(cell, weights, forget=(step, other)).fold()


def loop(body, steps=5):
    h = tr.tensor(np.zeros((1, 2)))
    for t, x in tr.steps(tr.tensor(np.ones((steps, 1, 2)))):
        h = body(t, x, h)
    return tr.graph(h)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda t, x, h: tr.tanh(x + h) if t != 3 else x + h, "step 3 differs.*tanh"),
        (lambda t, x, h: tr.tanh(x + h) if t != 3 else tr.sigmoid(x + h), "step 3 differs.*sigmoid"),
        (lambda t, x, h: x + h if t != 4 else h + x, "step 4 differs.*add"),
    ],
)
def test_steps_that_differ_are_named(body, message):
    with pytest.raises(FoldError, match=message):
        loop(body).fold()


def test_a_value_that_differs_at_each_step_is_a_reading():
    folded = loop(lambda t, x, h: x + h / t).fold()
    (reading,) = folded.readings
    assert [node.value.item() for node in reading.outside] == [1, 2, 3, 4, 5]
    assert folded.unfold() == folded.graph


def test_nothing_to_fold_says_how_to_tag_a_loop():
    with pytest.raises(FoldError, match=r"tr\.steps"):
        tr.graph(tr.tensor(1.0) * 2).fold()


def test_delays_are_found_with_their_lengths():
    cell = RandomCell(2, 3, [0, 1, 2], True)  # a line of three delays behind the output
    folded = tr.graph(nn.Recurrent(cell)(np.ones((7, 1, 2), "float32"))[0]).fold()
    assert sorted(delay.steps for delay in folded.delays) == [1, 2, 3]
    assert {delay.source.name for delay in folded.delays} == {"y"}


def test_an_output_of_the_last_step_alone_belongs_to_the_epilogue():
    cell = nn.RNNCell(2, 3)
    _, h = nn.Recurrent(cell)(np.ones((5, 1, 2), "float32"))
    g = tr.graph(nn.Linear(3, 1)(h))
    folded = g.fold()
    assert folded.unfold() == g
    assert any(node.operation == "matmul" for node in folded.epilogue)


def test_a_cut_is_set_apart_and_survives():
    W = tr.Parameter([[0.5]], symbol="W")
    h, hs = tr.tensor([[0.0]]), []
    for _, x in tr.steps(tr.tensor(np.ones((4, 1, 1))).named("x")):
        h = tr.tanh(x + h.detach() @ W).named("h")
        hs.append(h)
    g = tr.graph(*hs)
    folded = g.fold()
    assert not folded.delays
    ((_, source, d),) = folded.cuts
    assert (source.name, d) == ("h", 1)
    assert folded.unfold() == g
    assert [node.cut.name for node in folded.unfold().nodes if node.cut is not None] == ["h"] * 3


def test_two_layers_are_folded_one_at_a_time():
    first, second = nn.Recurrent(nn.RNNCell(2, 3)), nn.Recurrent(nn.RNNCell(3, 4))
    h, _ = first(np.ones((5, 1, 2), "float32"))
    y, _ = second(h)
    g = tr.graph(y)
    one, two = g.unrollings()
    with pytest.raises(FoldError, match="2 sequences"):
        g.fold()
    assert g.fold(one).unfold() == g
    assert g.fold(two).unfold() == g


@settings(max_examples=10)
@given(st.integers(2, 6))
def test_text_is_the_same_in_every_run(steps):
    def text():
        model = nn.Sequential(nn.Recurrent(nn.RNNCell(2, 3)), nn.Linear(3, 1))
        return tr.graph(model(np.ones((steps, 1, 2), "float32"))).text()

    assert text() == text()
