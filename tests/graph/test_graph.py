"""Graphs: names, order, queries, scopes and steps."""

import gc
import weakref

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn


def test_every_node_comes_after_its_inputs_and_has_one_name():
    model = nn.Sequential(nn.Recurrent(nn.RNNCell(2, 3)), nn.Linear(3, 1))
    g = tr.graph(model(np.ones((4, 1, 2), "float32")))
    seen = set()
    for node in g.nodes:
        assert all(i in seen for i in node.inputs)
        seen.add(node)
    named = [name for node, name in g.names.items() if node.primitive is not None or node in g.inputs]
    assert len(named) == len(set(named))


def test_x_times_x_keeps_its_multiplicity():
    x = tr.tensor(3.0).named("x")
    g = tr.graph(x * x)
    assert g.nodes[-1].inputs == (x.node, x.node)
    assert "multiply(x, x)" in g.text()


def test_queries():
    x, z = tr.tensor([1.0]).named("x"), tr.tensor([1.0]).named("z")
    y = tr.exp(x) + x * z
    g = tr.graph(y)
    assert g.depends(y, "x") and g.depends(y, z)
    assert not g.depends("exp", z)
    assert len(list(g.paths(x, y))) == 2
    assert [g.names[node] for node in g.uses("z")] == ["multiply"]
    with pytest.raises(KeyError, match="nothing"):
        g["nothing"]


def test_the_ledger_of_a_shared_weight_has_an_entry_for_each_step():
    cell = nn.RNNCell(2, 3)
    g = tr.graph(nn.Recurrent(cell)(np.ones((6, 1, 2), "float32"))[0])
    assert [node.step for node in g.uses(cell.weight_hh)] == [1, 2, 3, 4, 5, 6]


def test_scopes_nest_and_steps_are_tagged():
    model = nn.Sequential(nn.Recurrent(nn.RNNCell(2, 3)), nn.Linear(3, 1))
    with tr.scope("outside"):
        g = tr.graph(model(np.ones((2, 1, 2), "float32"))).opened()
    assert "outside.0.cell.h[2]" in g.names.values()
    assert {node.scope for node in g.nodes if node.operation == "matmul"} == {"outside.0.cell", "outside.1"}


def test_a_loop_within_a_loop_belongs_to_a_step_of_the_outer_one():
    rows = tr.tensor(np.ones((3, 4, 2)))
    h = tr.tensor([0.0, 0.0])
    for _, row in tr.steps(rows):
        g = tr.tensor([0.0, 0.0])
        for _, x in tr.steps(row):
            g = g + x
        h = tr.tanh(h + g)
    folded = tr.graph(h).fold()
    assert folded.T == 3
    assert folded.unfold() == tr.graph(h)
    assert [node.operation for node in folded.body].count("add") == 5


def test_leaving_a_loop_early_takes_the_tag_off():
    for t, x in tr.steps(tr.tensor([1.0, 2.0])):
        inside = x * 2
        if t == 1:
            break
    assert inside.node.step == 1
    assert (tr.tensor(1.0) * 2).node.step is None


@pytest.mark.parametrize(
    ("sequences", "message"), [((), "time"), ((1.0,), "time"), (([1.0], [1.0, 2.0]), "must have the same length")]
)
def test_steps_of_what_is_no_sequence(sequences, message):
    with pytest.raises(tr.errors.ShapeError, match=message):
        tr.steps(*sequences)


def test_text_can_be_cut_short():
    h = tr.tensor(1.0)
    for _ in range(100):
        h = h * 2
    assert len(tr.graph(h).text(limit=10).splitlines()) < 15


def test_a_graph_is_freed_with_its_last_tensor():
    x = tr.tensor(np.ones(3), requires_grad=True)
    y = tr.tanh(x)
    middle = weakref.ref(y.node)
    loss = y.sum()
    del y
    loss.backward()
    gc.disable()
    try:
        del loss
        assert middle() is None  # freed at once, so there was no cycle
    finally:
        gc.enable()
    assert x.grad is not None


def test_detach_does_not_keep_what_was_before_it():
    h = tr.tanh(tr.tensor([1.0]))
    before = weakref.ref(h.node)
    h = h.detach()
    assert before() is None


def test_numbers_in_text_and_their_dtype():
    x = tr.tensor([1.0], dtype="float32")
    assert (x * 2.5).dtype == np.float32
    assert "multiply(input, 2.5)" in tr.graph(x * 2.5).text()


# -- equality --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.array([1.0, 2.0]), np.array([1.0, 3.0])),
        (1.0000001, 1.0000002),
        (0.0, -0.0),
        (np.array([1.0, 2.0]), np.array([1.0, 2.0], "float32")),
        (np.float64(2), np.array([2.0])),
    ],
)
def test_graphs_with_other_constants_differ(a, b):
    def times(constant):
        return tr.graph(tr.tensor([1.0, 2.0]).named("x") * constant)

    assert times(a) != times(b)
    assert times(a) == times(np.array(a) if isinstance(a, np.ndarray) else a)
    assert hash(times(a)) == hash(times(a))


def test_graphs_with_other_arguments_differ_to_the_last_bit():
    x = tr.tensor(np.ones((2, 2))).named("x")
    assert tr.graph(x.sum(axis=0)) != tr.graph(x.sum(axis=1))
    assert tr.graph(x[0]) != tr.graph(x[1])
    assert tr.graph(x[:1]) != tr.graph(x[1:]) and tr.graph(x[:1]) == tr.graph(x[:1])


def test_the_order_in_which_independent_operations_are_made_does_not_count():
    x = tr.tensor([1.0]).named("x")
    first, second = tr.exp(x), tr.tanh(x)
    g = tr.graph(first + second)
    second, first = tr.tanh(x), tr.exp(x)
    assert tr.graph(first + second) == g
    assert tr.graph(second + first) != g


def test_one_value_read_twice_is_not_two_values():
    x = tr.tensor([1.0]).named("x")
    once = tr.exp(x)
    assert tr.graph(once * once) != tr.graph(tr.exp(x) * tr.exp(x))


def test_names_scopes_and_steps_count():
    def one(name, scope, T):
        for t, x in tr.steps(tr.tensor([[1.0]] * 2).named("x")):
            if t == T:
                with tr.scope(scope):
                    return tr.graph(tr.tanh(x).named(name))

    assert one("h", "a", 1) == one("h", "a", 1)
    assert len({one("h", "a", 1), one("g", "a", 1), one("h", "b", 1), one("h", "a", 2)}) == 4


def test_equality_takes_as_long_as_the_graph_is():
    def chain(n):
        h = tr.tensor([1.0]).named("h")
        for _ in range(n):
            h = tr.tanh(h * h + np.ones(1))
        return tr.graph(h)

    assert chain(20_000) == chain(20_000)  # every h is read twice: a walk along all paths would never end


@pytest.mark.parametrize("T", [1, 3])
def test_a_scan_can_be_asked_about_itself(T):
    xs = tr.tensor(np.ones((T, 2, 3), "float32")).named("x")
    rnn = nn.Recurrent(nn.RNNCell(3, 4))
    outputs, _ = rnn(xs)
    g = tr.graph((outputs * 2).named("y"))
    (scan,) = [node for node in g.nodes if node.operation == "scan"]
    U = rnn.cell.weight_ih
    assert list(g.paths(xs, scan)) == [(xs.node, scan)]
    assert list(g.paths(U, scan)) == [(U.node, scan)]
    assert [path[-1].name for path in g.paths(scan, "y")] == ["y"]
    assert all(path[0] is scan and len(path) == 3 for path in g.paths(scan, "y"))
    assert list(g.paths(scan, xs)) == [] and list(g.paths(scan, scan)) == [(scan,)]
    assert g.depends(scan, xs) and g.depends("y", scan) and not g.depends(xs, scan)
    assert len(list(g.paths("x", "y"))) >= T  # other nodes are queried step by step
