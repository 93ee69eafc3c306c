"""An opened scan equals the graph of `mode="unroll"`: node by node, name by name, to the last bit."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import FoldError
from tinygrad_rnn.graph.node import Results
from tinygrad_rnn.testing.random_cells import CellRun, leaves, outcome
from tinygrad_rnn.testing.strategies import cells

F4 = np.dtype("float32")


def data(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(F4)


class Taps(nn.Cell):
    """A delay line of two steps, and an output that is not a state."""

    def __init__(self) -> None:
        super().__init__()
        self.V, self.A, self.B = (nn.Parameter((2, 3), symbol=symbol) for symbol in "VAB")

    def initial_state(self, batch_size: int) -> tuple[tr.Tensor, ...]:
        return tuple(tr.tensor(np.zeros((batch_size, 2), F4)) for _ in range(2))

    def step(self, x, state):
        one, two = state
        return x @ self.V + one @ self.A + two @ self.B, (x, one)


class Cut(nn.Cell):
    """A cell whose gradient goes only one step back."""

    def __init__(self) -> None:
        super().__init__()
        self.U, self.W = nn.Parameter((2, 3), symbol="U"), nn.Parameter((3, 3), symbol="W")
        self.kept = tr.tensor(np.zeros((3, 3), F4))  # a cut does not keep the graph before it in memory

    def initial_state(self, batch_size: int) -> tr.Tensor:
        return self.kept

    def step(self, x, h):
        h = tr.tanh(x @ self.U + h.detach() @ self.W).named("h")
        return h, h


class Inner(nn.Cell):
    """A loop in the step: a network over the features of x."""

    def __init__(self, mode: str = "unroll") -> None:
        super().__init__()
        self.rnn = nn.Recurrent(nn.RNNCell(1, 3), mode=mode)
        self.state_shape = (3,)

    def step(self, x, h):
        _, last = self.rnn(tr.transpose(x)[:, :, None], h)
        return last, last


class Dropped(nn.Cell):
    """Two dropouts in each step, and a dropout on which nothing depends."""

    def __init__(self) -> None:
        super().__init__()
        self.U, self.W = nn.Parameter((2, 3), symbol="U"), nn.Parameter((3, 3), symbol="W")
        self.before, self.unused, self.after = nn.Dropout(0.4), nn.Dropout(0.5), nn.Dropout(0.3)
        self.state_shape = (3,)

    def step(self, x, h):
        x = self.before(x)
        self.unused(x)
        h = tr.tanh(x @ self.U + h @ self.W).named("h")
        return self.after(h), h


CELLS = {
    "RNN": lambda: nn.RNNCell(2, 3),
    "LSTM": lambda: nn.LSTMCell(2, 3),
    "GRU": lambda: nn.GRUCell(2, 3),
    "taps": Taps,
    "cut": Cut,
    "inner": Inner,
    "dropped": Dropped,
}
OPTIONS = {
    "plain": {},
    "lengths": {"lengths": [4, 2, 0]},
    "forced": {"force": {"h": data(4, 3, 3)}, "force_mask": np.array([True, False, True, False])},
    "last": {"final_state_only": True},
}


def run(name, mode, reverse=False, **options):
    tr.seed(0)
    cell = CELLS[name]()
    xs = tr.tensor(data(4, 3, 2)).named("x")
    with tr.scope("outside"):
        outputs, state = nn.Recurrent(cell, mode=mode, reverse=reverse)(xs, **options)
    state = state if isinstance(state, tuple) else (state,)
    return [*([] if outputs is None else [outputs]), *state], cell


# -- structure -------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", CELLS)
def test_opened_is_unrolled(name, option, reverse):
    if option == "forced" and name == "taps":
        pytest.skip("no slot of it is called h")
    if option == "forced" and name == "inner":
        pytest.skip("its slot has the name that the inner cell gave it")
    found, expected = (tr.graph(*run(name, mode, reverse, **OPTIONS[option])[0]) for mode in ("scan", "unroll"))
    assert any(isinstance(node.value, Results) for node in found.nodes)
    assert found.opened() == expected
    assert found == expected and hash(found) == hash(expected)
    assert set(found.opened().names.values()) == set(expected.names.values())
    for one, other in zip(found.opened().outputs, expected.outputs, strict=True):
        np.testing.assert_array_equal(one.value, other.value)


@pytest.mark.parametrize("name", list(CELLS))
def test_folded_and_drawn_alike(name):
    runs = [run(name, mode) for mode in ("scan", "unroll")]
    found, expected = (tr.graph(*ends) for ends, _ in runs)
    try:
        folded = expected.fold()
    except FoldError as error:
        with pytest.raises(FoldError) as caught:
            found.fold()
        assert str(caught.value) == str(error)
    else:
        assert found.fold() == folded and found.fold().text() == folded.text()
        assert found.fold().unfold() == expected
        assert found.draw(time="folded").source == expected.draw(time="folded").source
    for detail in ("slots", "values", "ops", "layers"):
        assert found.draw(detail=detail).source == expected.draw(detail=detail).source


@given(cells(lengths=True))
def test_random_cells_open_to_what_they_unroll_to(drawn: CellRun) -> None:
    values = leaves(drawn)
    found, expected = (tr.graph(*outcome(drawn, values, mode).values()) for mode in ("scan", "unroll"))
    assert found.opened() == expected
    if drawn.T > 1 and len(expected.unrollings()) == 1:
        try:
            folded = expected.fold()
        except FoldError:
            return
        assert found.fold() == folded


def test_layers_open_one_after_another():
    def made(mode):
        tr.seed(0)
        layers = nn.Recurrent(nn.LSTMCell(2, 3), mode=mode), nn.Recurrent(nn.RNNCell(3, 2), mode=mode, reverse=True)
        model = nn.Sequential(*layers, nn.Linear(2, 2))
        return tr.mse(model(tr.tensor(data(4, 1, 2)).named("x")), data(4, 1, 2, seed=1)).named("L", "loss")

    found, expected = (tr.graph(made(mode)) for mode in ("scan", "unroll"))
    assert found == expected
    assert len(found.unrollings()) == 2
    assert [u.reverse for u in found.unrollings()] == [False, True]


def test_scans_in_the_steps_of_a_loop_that_is_none_open_too():
    found = []
    for inner, outer in (("scan", "unroll"), ("unroll", "scan"), ("unroll", "unroll")):
        tr.seed(0)
        found.append(tr.graph(*nn.Recurrent(Inner(inner), mode=outer)(data(4, 1, 2))))
    assert found[0] == found[1] == found[2]


def test_a_layer_in_a_loop_belongs_to_a_step_of_the_loop():
    def made(mode):
        tr.seed(0)
        layer, h = nn.Recurrent(nn.RNNCell(2, 3), mode=mode), None
        for _, row in tr.steps(tr.tensor(data(3, 4, 1, 2)).named("rows")):
            _, h = layer(row, h)
        return tr.graph(h)

    assert made("scan") == made("unroll")
    assert made("scan").fold().T == 3


def test_under_another_scope_and_name_the_same_trace_opens_to_them():
    layer = nn.Recurrent(nn.RNNCell(2, 3))
    with tr.scope("a"):
        first = tr.graph(layer(tr.tensor(data(3, 1, 2)).named("x"))[1])
    with tr.scope("b"):
        second = tr.graph(layer(tr.tensor(data(3, 1, 2)).named("u"))[1])
    assert "a.x[1]" in first.opened().names.values() and "a.cell.h[3]" in first.opened().names.values()
    assert "b.u[1]" in second.opened().names.values() and "b.cell.h[3]" in second.opened().names.values()


def test_what_depends_on_no_scan_stays():
    x = tr.tensor(data(3, 1, 2)).named("x")
    twice = x * 2
    layer = nn.Recurrent(nn.RNNCell(2, 3))
    outputs, _ = layer(twice)
    g = tr.graph(outputs + 1)
    assert twice.node in g.opened().names
    assert {p.node for p in layer.cell.parameters()} <= set(g.opened().nodes)
    assert tr.graph(twice).opened() is not None and tr.graph(twice).opened().nodes == tr.graph(twice).nodes
    assert g.opened().opened() is g.opened() is g.opened()


def test_symbols_and_no_steps():
    outputs, h = nn.Recurrent(nn.RNNCell(2, 3))(np.zeros((0, 1, 2), F4))
    assert tr.graph(outputs, h).opened() == tr.graph(outputs, h)


def test_depth_is_no_limit():
    _, h = nn.Recurrent(nn.RNNCell(1, 1))(np.zeros((3000, 1, 1), F4))
    assert max(node.step or 0 for node in tr.graph(h).opened()) == 3000


# -- questions -------------------------------------------------------------------------------


def test_questions_are_answered_for_the_steps():
    (outputs, h), cell = run("RNN", "scan")
    W = next(p for p in cell.parameters() if p.symbol == "W")
    g = tr.graph(outputs, h)
    assert [g.names[node] for node in g.uses(W)] == [f"outside.cell.transpose_2[{t}]" for t in (1, 2, 3, 4)]
    assert len(list(g.paths(W, h))) == 4
    assert g.depends("outside.cell.h[3]", W) and not g.depends("outside.cell.h[1]", "outside.cell.h[2]")
    assert g["outside.cell.h[2]"] in g.opened().nodes
    assert g.node(h) is h.node and g.depends(h, "x")
    assert [g.names[node] for node in g.users("outside.cell.h[4]")] == ["outside.stack"]
    with pytest.raises(KeyError):
        g["h[99]"]


def test_the_text_shows_one_node_the_same_in_every_run():
    (outputs, _), _ = run("RNN", "scan")
    line = next(line for line in tr.graph(outputs).text().splitlines() if " scan(" in line)
    assert line.split("  ")[-2:] == [
        "scan(x, h, cell.U, cell.W, cell.b, cell.b', plan=<CompiledScan of 8 operations a step>, steps=4)",
        "results",
    ]


def test_an_opened_graph_keeps_what_was_cut_off_and_no_more():
    layer = nn.Recurrent(nn.RNNCell(2, 3))
    _, h = layer(tr.tensor(data(2, 1, 2)).named("x"))
    _, last = layer(tr.tensor(data(2, 1, 2)).named("x"), h.detach())
    g = tr.graph(last).opened()
    (cut,) = [node for node in g.nodes if "source" in node.attributes]
    assert cut.cut is not None and cut.cut.step == 2
    assert "✂" in tr.graph(last).draw().source or "detached" in tr.graph(last).draw().source
    alive = weakref.ref(cut.cut)
    del g, cut
    gc.collect()
    assert alive() is None


# -- gradients -------------------------------------------------------------------------------


@pytest.mark.parametrize("checkpoint", [None, 1, 2])
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "taps", "cut"])
def test_gradients_open_with_their_values(name, checkpoint):
    tr.seed(0)
    cell = CELLS[name]()
    xs = tr.tensor(data(4, 3, 2).astype("float64"), requires_grad=True).named("x")
    outputs, _ = nn.Recurrent(cell, checkpoint=checkpoint)(xs)
    wanted = [xs, *cell.parameters()]
    first = tr.grad((outputs * outputs).sum(), wanted)
    second = tr.grad(sum((g * g).sum() for g in first), wanted)
    for found in (first, second):
        g = tr.graph(*found).opened()
        assert not any(isinstance(node.value, Results) for node in g.nodes)
        assert len(g.unrollings()) == 1
        for one, other in zip(g.outputs, found, strict=True):
            np.testing.assert_allclose(one.value, other.data, rtol=1e-4, atol=1e-6)


def test_a_gradients_steps_are_those_of_the_forward_run():
    (outputs, _), cell = run("RNN", "scan", reverse=True)
    W = next(p for p in cell.parameters() if p.symbol == "W")
    g = tr.graph(tr.grad(outputs.sum(), W)).opened()
    with_origin = [node for node in g.nodes if node.location.origin is not None and node.step is not None]
    assert {node.step for node in with_origin} == {1, 2, 3, 4}
    tied = [node for node in with_origin if node.location.origin in g.names]
    assert tied and all(node.location.origin.step == node.step for node in tied)
    with pytest.raises(FoldError, match="gradient"):
        tr.graph(tr.grad(outputs.sum(), W)).fold()


# -- random numbers --------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
def test_dropout_draws_the_same_in_both_modes_and_afresh_at_each_step_and_call(reverse):
    found = {}
    for mode in ("scan", "unroll"):
        tr.seed(0)
        layer = nn.Recurrent(Dropped(), mode=mode, reverse=reverse)
        xs = np.ones((6, 2, 2), F4)
        tr.seed(1)
        found[mode] = [layer(xs)[0].data for _ in range(2)]
        tr.seed(1)
        np.testing.assert_array_equal(layer(xs)[0].data, found[mode][0])
    for one, other in zip(found["scan"], found["unroll"], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    first, second = found["scan"]
    assert ((first == 0) != (second == 0)).any(), "another call draws other masks"
    assert len({(step == 0).tobytes() for step in first}) > 1, "another step draws another mask"


def test_dropout_has_the_masks_of_the_forward_run_in_its_gradient():
    gradients = []
    for mode in ("scan", "unroll"):
        tr.seed(0)
        cell = Dropped()
        layer = nn.Recurrent(cell, mode=mode)
        tr.seed(1)
        (layer(np.ones((5, 2, 2), F4))[0] ** 2).sum().backward()
        gradients.append([p.grad.data for p in cell.parameters()])
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_no_dropout_in_evaluation():
    tr.seed(0)
    layer = nn.Recurrent(Dropped())
    xs = np.ones((5, 2, 2), F4)
    dropped = layer(xs)[0].data
    layer.eval()
    np.testing.assert_array_equal(layer(xs)[0].data, layer(xs)[0].data)
    assert (layer(xs)[0].data != 0).all() and (dropped == 0).any()


def test_samples_of_any_kind_in_a_step():
    class Noisy(nn.Cell):
        state_shape = (2,)

        def step(self, x, h):
            h = h + x + tr.sample(lambda generator: generator.standard_normal(2).astype(F4))
            return h, h

    found = []
    for mode in ("scan", "unroll"):
        tr.seed(3)
        found.append(nn.Recurrent(Noisy(), mode=mode)(np.zeros((4, 1, 2), F4)))
    np.testing.assert_allclose(found[0][0].data, found[1][0].data, rtol=1e-6)
    assert tr.graph(*found[0]) == tr.graph(*found[1])


def test_a_cut_off_state_is_found_while_its_run_is_alive():
    rnn = nn.Recurrent(nn.RNNCell(2, 3))
    xs = np.ones((4, 1, 2), F4)
    outputs, h = rnn(xs[:2])
    losses = [outputs.sum()]
    outputs, h = rnn(xs[2:], h.detach())  # the state before the cut no longer has a tensor
    losses.append(outputs.sum())
    opened = tr.graph(*losses).opened()
    (cut,) = [node for node in opened.nodes if node.operation == "detach"]
    assert cut.cut is not None and (cut.cut.name, cut.cut.step) == ("h", 2)
    assert "✂" in tr.graph(*losses).draw(time="unrolled").source
    alone = tr.graph(losses[1])
    del outputs, losses, opened, cut
    assert all(node.cut is None for node in alone.nodes)
