"""Folding over time is verified, and unfold inverts it."""

import numpy as np
import pytest
from counting import calls
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import FoldError


class RandomCell(nn.Cell):
    """A cell drawn by hypothesis: slots that loop, delay or copy, and a sum of products."""

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
    """For each slot, the source of its next value: 0 is the output, k is slot k - 1."""
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
    """Slots copy the output, an earlier slot or themselves: two slots that swap could not have another length."""
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
    with pytest.raises(FoldError, match=rf"step {step} differs.*W_other.*use the same parameter"):
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
    cell = RandomCell(2, 3, [0, 1, 2], True)  # a line of three delays after the output
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
    with pytest.raises(FoldError, match="2 loops over time"):
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


# -- equality of folded graphs -----------------------------------------------------------------


def sequence(T=5):
    return tr.tensor(np.ones((T, 1, 2))).named("x")


W = tr.Parameter(np.eye(2), symbol="W")


@pytest.mark.parametrize(
    ("one", "other", "aspect"),
    [
        (lambda t, x, h: tr.tanh(x + h * 2), lambda t, x, h: tr.tanh(x + h * 3), "inputs"),
        (lambda t, x, h: 0.5 * (h @ W), lambda t, x, h: -7.0 * (h @ W), "inputs"),
        (lambda t, x, h: h + x * np.ones(2), lambda t, x, h: h + x * np.array([1.0, 2.0]), "inputs"),
        (lambda t, x, h: h / t, lambda t, x, h: h / (t + 1), "stands for"),
        (lambda t, x, h: x + h @ W, lambda t, x, h: x + h @ np.eye(2), "inputs"),
        (lambda t, x, h: x.sum(axis=-1, keepdims=True) + h, lambda t, x, h: x.sum(axis=-2, keepdims=True) + h, "shape"),
    ],
)
def test_steps_that_compute_something_else_are_not_equal(one, other, aspect):
    a, b = loop(one).fold(), loop(other).fold()
    assert a != b and aspect in a.difference(b)
    assert a == loop(one).fold() and hash(a) == hash(loop(one).fold())


def reading(read, T=5):
    xs, h = sequence(T), tr.tensor(np.zeros((1, 2)))
    for t, _ in tr.steps(xs):
        h = tr.tanh(read(xs, t, T) + h)
    return tr.graph(h)


READS = {
    "forwards": lambda xs, t, T: xs[t - 1],
    "backwards": lambda xs, t, T: xs[T - t],
    "from the end": lambda xs, t, T: xs[-t],
    "each turned round": lambda xs, t, T: xs[t - 1, ::-1],
    "the half": lambda xs, t, T: xs[t - 1, :, :1],
    "the first only": lambda xs, t, T: xs[0],
    "in no order": lambda xs, t, T: xs[t * t % T],
}


def test_how_inputs_are_read_counts_and_their_length_does_not():
    folded = {name: reading(read).fold() for name, read in READS.items()}
    for name, a in folded.items():
        assert [other for other, b in folded.items() if a == b] == [name]
    for name in ("forwards", "backwards", "from the end", "the half"):
        assert folded[name] == reading(READS[name], 7).fold()
        assert folded[name].unfold(7) == reading(READS[name], 7)
        assert folded[name].unfold(3) == reading(READS[name], 3)


def test_time_is_the_axis_along_which_steps_read():
    def batch_first(T):
        xs, h = tr.tensor(np.ones((4, T, 2))).named("x"), tr.tensor(np.zeros((4, 2)))
        for t, _ in tr.steps(np.ones(T)):
            h = tr.tanh(xs[:, t - 1] + h)
        return tr.graph(h)

    assert batch_first(4).fold().unfold(6) == batch_first(6)


def test_a_layer_that_runs_backwards_is_another():
    cell = nn.RNNCell(2, 3)
    one, other = (tr.graph(nn.Recurrent(cell, reverse=r)(np.ones((5, 1, 2), "float32"))[0]).fold() for r in (False, True))
    assert one != other and "index=(t,)" in one.difference(other) and "index=(T+1-t,)" in one.difference(other)


def test_what_a_delay_starts_from_counts_by_kind_and_shape():
    def start(h):
        for _, x in tr.steps(sequence()):
            h = tr.tanh(x + h)
        return tr.graph(h).fold()

    data, number, learnt = start(tr.tensor(np.zeros((1, 2)))), start(tr.tensor(0.0)), start(tr.Parameter(np.zeros((1, 2))))
    assert data == start(tr.tensor(np.ones((1, 2)))) and data != number and data != learnt


# -- steps that differ ---------------------------------------------------------------------------


@st.composite
def perturbed_steps(draw):
    """The step t of a loop, with one difference from the other steps."""
    T = draw(st.integers(4, 7))
    t = draw(st.integers(2, T))
    kinds = {
        "0.25": lambda x, h: tr.tanh(x + (h * 0.25) @ W).named("h"),
        "V": lambda x, h: tr.tanh(x + (h * 0.5) @ V).named("h"),
        "sigmoid": lambda x, h: tr.sigmoid(x + (h * 0.5) @ W).named("h"),
        "matmul": lambda x, h: tr.tanh((h * 0.5) @ W + x).named("h"),
        "add": lambda x, h: tr.tanh((x + 0.5) @ W + h).named("h"),
        "detach": lambda x, h: tr.tanh(x + (h.detach() * 0.5) @ W).named("h"),
        "'other'": lambda x, h: scoped("other", lambda: tr.tanh(x + (h * 0.5) @ W).named("h")),
        "astype": lambda x, h: tr.tanh((x + (h * 0.5) @ W).astype("float32")).named("h"),
        "input": lambda x, h: tr.tanh(x + (tr.tensor(np.zeros((1, 2))) * 0.5) @ W).named("h"),
    }
    word = draw(st.sampled_from(sorted(kinds)))
    return T, t, word, kinds[word]


V = tr.Parameter(np.eye(2), symbol="V")


def scoped(name, make):
    with tr.scope(name):
        return make()


@given(perturbed_steps(), st.booleans())
def test_one_thing_that_differs_is_found_and_named_with_its_step(perturbed, every_output):
    T, at, word, other = perturbed
    h, hs = tr.tensor(np.zeros((1, 2))), []
    for t, x in tr.steps(sequence(T)):
        h = other(x, h) if t == at else tr.tanh(x + (h * 0.5) @ W).named("h")
        hs.append(h)
    every_output = every_output or word == "detach" or word == "input"  # otherwise the graph has no node before these
    with pytest.raises(FoldError, match=rf"step {at} differs from step 1.*{word}"):
        tr.graph(*(hs if every_output else hs[-1:])).fold()


@given(st.integers(4, 7).flatmap(lambda T: st.tuples(st.just(T), st.integers(2, T))))
def test_a_weight_that_is_plain_data_has_to_be_shared_too(lengths):
    T, at = lengths
    U, other = tr.tensor(np.eye(2)).named("U"), tr.tensor(np.eye(2)).named("U_other")
    with pytest.raises(FoldError, match=rf"step {at} differs.*U_other"):
        loop(lambda t, x, h: tr.tanh(x + h @ (other if t == at else U)), T).fold()


@given(st.integers(3, 6).flatmap(lambda T: st.tuples(st.just(T), st.integers(2, T))))
def test_a_stack_of_something_else_at_one_step_is_found(lengths):
    T, at = lengths
    h, taken = tr.tensor(np.zeros((1, 2))), []
    for t, x in tr.steps(sequence(T)):
        a = (x + h).named("a")
        h = tr.tanh(a).named("h")
        taken.append(a if t == at else h)
    for g in (tr.graph(tr.stack(taken)), tr.graph(*taken)):
        if T > 3 or at == 2:  # a last h without a reader is not in the graph
            with pytest.raises(FoldError, match=rf"step {at} differs.*a\[{at}\]"):
                g.fold()


def test_numbers_that_come_back_are_a_difference_and_new_ones_at_each_step_are_not():
    with pytest.raises(FoldError, match=r"step 3 differs.*0\.25 where step 1 reads 0\.5.*tr\.steps"):
        loop(lambda t, x, h: h * (0.5 if t != 3 else 0.25)).fold()
    with pytest.raises(FoldError, match=r"step 2 differs.*tr\.steps"):
        loop(lambda t, x, h: h * (t % 2)).fold()
    assert loop(lambda t, x, h: h * 2.0**t).fold().readings


def test_an_initial_state_of_another_dtype_is_named_with_the_cast():
    weight, h = tr.Parameter(np.eye(2), symbol="W", dtype="float32"), tr.tensor(np.zeros((1, 2), "float32"))
    for _, x in tr.steps(sequence()):
        h = tr.tanh(x + h @ weight)
    with pytest.raises(
        FoldError, match=r"step 2 differs.*matmul is float64, and step 1's is float32.*casting the initial state"
    ):
        tr.graph(h).fold()


def test_a_gradient_is_not_folded_and_says_why():
    weight, h = tr.Parameter(np.eye(2), symbol="W"), tr.tensor(np.zeros((1, 2)))
    for _, x in tr.steps(sequence()):
        h = tr.tanh(x + h @ weight)
    (gradient,) = tr.grad(h.sum(), [weight])
    with pytest.raises(FoldError, match=r"has a gradient.*backwards through time; fold the graph of the forward values"):
        tr.graph(gradient).fold()


@pytest.mark.parametrize("when", [lambda t: True, lambda t: t % 2 == 0])
def test_steps_behind_a_cut_are_missed_with_the_reason(when):
    h, hs = tr.tensor(np.zeros((1, 2))), []
    for t, x in tr.steps(sequence(4)):
        h = tr.tanh(x + (h.detach() if when(t) else h))
        hs.append(h)
    last = tr.graph(h)
    with pytest.raises(FoldError, match=r"not depend on step 1 of 4: step 4 detaches.*give tr\.graph the value of every step"):
        last.fold()
    if when(1):
        assert tr.graph(*hs).fold().unfold() == tr.graph(*hs)
    else:
        with pytest.raises(FoldError, match=r"step 2 differs.*detach at every step or at none"):
            tr.graph(*hs).fold()


def test_a_sequence_of_another_graph_has_no_steps_here():
    with pytest.raises(FoldError, match=r"graph\.unrollings\(\)"):
        loop(lambda t, x, h: x + h).fold(loop(lambda t, x, h: x + h).unrollings()[0])


# -- other lengths, and the way back ---------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [lambda t, x, h: tr.where(x > 0, h + x, 0), lambda t, x, h: tr.maximum(h + x, 0.0), lambda t, x, h: h * np.ones(2)]
)
def test_equal_constants_made_at_each_step_are_one(body):
    folded = loop(body, 3).fold()
    assert not folded.readings
    assert folded.unfold(5) == loop(body, 5)


def test_one_step_has_no_other_length():
    folded = loop(lambda t, x, h: x + h, 1).fold()
    assert folded.unfold() == folded.graph
    with pytest.raises(FoldError, match="a single step does not show"):
        folded.unfold(3)


def collected_loop(after, T=3):
    h, hs = tr.tensor(np.zeros((1, 2))), []
    for _, x in tr.steps(sequence(T)):
        h = tr.tanh(x + h @ W)
        hs.append(h)
    return tr.graph(after(hs))


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (lambda hs: tr.stack(hs).mean(), "a constant or an argument that may depend on the number of steps"),
        (lambda hs: tr.stack(hs)[2], "a constant or an argument that may depend on the number of steps"),
        (lambda hs: hs[-1] / len(hs), "a constant or an argument that may depend on the number of steps"),
        (lambda hs: tr.stack(hs) + tr.tensor(np.ones((3, 1, 2))), "does not accept another number of steps"),
        (lambda hs: hs[0] + hs[-1], r"after the steps reads tanh\[1\] of step 1"),
    ],
)
def test_what_may_belong_to_the_old_length_is_refused(after, message):
    folded = collected_loop(after).fold()
    assert folded.unfold() == folded.graph
    with pytest.raises(FoldError, match=message):
        folded.unfold(5)


@pytest.mark.parametrize("after", [tr.stack, lambda hs: tr.stack(hs) @ W, lambda hs: hs[-1] @ W, lambda hs: tr.stack(hs[::-1])])
def test_what_does_not_know_the_length_is_unfolded_to_any(after):
    assert collected_loop(after).fold().unfold(5) == collected_loop(after, 5)


def test_outputs_of_every_step_are_outputs_of_every_new_step():
    def outputs(T):
        h, hs = tr.tensor(np.zeros((1, 2))), []
        for _, x in tr.steps(sequence(T)):
            h = tr.tanh(x + h)
            hs.append(h)
        return tr.graph(*hs)

    assert outputs(3).fold().unfold(5) == outputs(5)


def test_an_input_that_something_else_reads_as_a_whole_keeps_its_length():
    xs, h = sequence(), tr.tensor(np.zeros((1, 2)))
    for _, x in tr.steps(xs):
        h = h + x
    folded = tr.graph(h / xs.max()).fold()
    with pytest.raises(FoldError, match="max, outside of the steps, reads the whole input sequence x"):
        folded.unfold(6)


def test_a_value_of_each_step_is_not_known_for_more():
    with pytest.raises(FoldError, match=r"there is none for a further step.*tr\.steps"):
        loop(lambda t, x, h: x + h / t).fold().unfold(6)


@pytest.mark.parametrize("backwards", [False, True])
def test_one_cell_in_two_layers(backwards):
    cell = nn.RNNCell(2, 3)
    xs = tr.tensor(np.ones((4, 1, 2), "float32")).named("x")
    g = tr.graph(nn.Recurrent(cell)(xs)[0] + nn.Recurrent(cell, reverse=backwards)(xs)[0])
    for unrolling in g.unrollings():
        folded = g.fold(unrolling)
        assert folded.unfold() == g
        assert len(folded.epilogue) == 2  # its stack and the sum; the other layer does not depend on this one
        with pytest.raises(FoldError, match="cannot be unfolded to 6"):
            folded.unfold(6)


def test_layers_on_each_other_have_no_other_length():
    h, _ = nn.Recurrent(nn.RNNCell(2, 3))(np.ones((5, 1, 2), "float32"))
    g = tr.graph(nn.Recurrent(nn.RNNCell(3, 4))(h)[0])
    for unrolling, why in zip(
        g.unrollings(), ("argument that may depend on the number of steps", "they read the sequence stack"), strict=True
    ):
        with pytest.raises(FoldError, match=why):
            g.fold(unrolling).unfold(6)


@given(st.integers(3, 6), st.integers(3, 6), st.booleans())
def test_an_output_that_was_made_before_the_last_state(T, longer, reverse):
    def last_output(T):
        xs, h = sequence(T), tr.tensor(np.zeros((1, 2)))
        for _, x in tr.steps(xs, reverse=reverse):
            o = (h * 2).named("o")
            h = tr.tanh(x + h)
        return tr.graph(o)

    folded = last_output(T).fold()
    assert folded.unfold() == last_output(T)
    assert folded == last_output(longer).fold()


@pytest.fixture
def weighted():
    @tr.primitive(gradient=(lambda g, y, x, weights: g * weights,), formula=r"w {x}")
    def weighted_by_an_array(x, *, weights, out=None):
        return np.multiply(x, weights, out=out)

    yield weighted_by_an_array
    del tr.ops.registry["weighted_by_an_array"]


def test_a_primitive_may_have_an_array_as_an_argument(weighted):
    def folded(*weights):
        return loop(lambda t, x, h: x + weighted(h, weights=np.array(weights))).fold()

    assert folded(1.0, 2.0).unfold() == folded(1.0, 2.0).graph
    assert folded(1.0, 2.0) == folded(1.0, 2.0) != folded(1.0, 3.0)
    with pytest.raises(FoldError, match=r"step 4 differs.*weights="):
        loop(lambda t, x, h: x + weighted(h, weights=np.array([1.0, 2.0 if t != 4 else 3.0]))).fold()


def test_work_is_linear_in_the_number_of_steps():
    def work(T):
        g = loop(lambda t, x, h: tr.tanh(x + h @ W), T)

        def there_and_back():
            assert g.fold().unfold() == g
            g.fold().unfold(T + 1)

        return calls(there_and_back)

    assert work(2000) < 11 * work(200)


def test_an_operation_on_the_state_has_the_same_arguments_at_every_step():
    def square(odd):
        h = tr.tensor(np.zeros((2, 2)))
        for t, x in tr.steps(tr.tensor(np.ones((5, 2, 2)))):
            h = tr.tanh(x + h.sum(axis=1 if t == odd else 0))
        return tr.graph(h)

    assert square(None).fold().unfold(7).fold() == square(None).fold()
    with pytest.raises(FoldError, match=r"step 5 differs.*sum\[5\]"):
        square(5).fold()
    for step in (2, 4):
        with pytest.raises(FoldError, match=rf"step {step} differs.*axis=\(-1,\), and step 1's axis=\(-2,\)"):
            square(step).fold()
