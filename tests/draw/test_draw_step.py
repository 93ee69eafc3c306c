"""One step of a cell, gate by gate: the content of the picture, and the positions of its parts."""

import itertools
import json
import re

import numpy as np
import pytest
from dot_labels import readable
from draw_networks import Gated, InputsAndOutputs, Odd, TwoSlots, add_parameters
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.draw.maze import EAST, NORTH, SOUTH, WEST, Maze, Port
from tinygrad_rnn.draw.render import render
from tinygrad_rnn.draw.step import Role, diagram
from tinygrad_rnn.draw.style import Kind
from tinygrad_rnn.draw.symbols import plain, pretty
from tinygrad_rnn.graph.node import behind_cuts
from tinygrad_rnn.nn.module_trace import trace_step
from tinygrad_rnn.ops.core import as_tensor
from tinygrad_rnn.testing.choices import RandomChoices
from tinygrad_rnn.testing.random_cells import random_cell
from tinygrad_rnn.tree import flatten, rebuild


class Concatenated(nn.Cell):
    """An LSTM with one matrix for [x, h], as some textbooks write it."""

    def __init__(self, n=3, m=5):
        super().__init__()
        self.input_size, self.m = n, m
        add_parameters(self, {"W": (n + m, 4 * m), "b": (4 * m,)})
        self.state_shape = ((m,), (m,))

    def step(self, x, state):
        h, c = state
        parts = tr.split(tr.concatenate([x, h], axis=-1) @ self.W + self.b, 4, axis=-1)
        f, i, o = (tr.sigmoid(a).named(name) for a, name in zip(parts, "fio", strict=False))
        g = tr.tanh(parts[3]).named("g")
        c = (f * c + i * g).named("c")
        h = (o * tr.tanh(c)).named("h")
        return h, (h, c)


class Peepholes(TwoSlots):
    """Gates that read the memory: f and i read the old memory, o reads the new memory."""

    def __init__(self):
        super().__init__()
        add_parameters(self, {f"p_{gate}": (5,) for gate in "fio"})

    def step(self, x, state):
        h, c = state
        f, i = (tr.sigmoid(self.gate(k, x, h) + c * getattr(self, f"p_{k}")).named(k) for k in "fi")
        c = (f * c + i * tr.tanh(self.gate("g", x, h)).named("g")).named("c")
        o = tr.sigmoid(self.gate("o", x, h) + c * self.p_o).named("o")
        h = (o * tr.tanh(c)).named("h")
        return h, (h, c)


def reads(cell, **options):
    """Maps each gate and operation to its inputs; an end is given by its name."""
    drawn = diagram(trace_step(cell, **options))
    return {part.key: {read.key for read in part.reads} for part in [*drawn.inner, *drawn.after, *drawn.outputs]}


LSTM = {
    "f": {"x", "h⁻"},
    "i": {"x", "h⁻"},
    "g": {"x", "h⁻"},
    "o": {"x", "h⁻"},
    "f×c⁻": {"f", "c⁻"},
    "i×g": {"i", "g"},
    "c": {"f×c⁻", "i×g"},
    "tanh c": {"c"},
    "h": {"o", "tanh c"},
    "h out": {"h"},
    "c out": {"c"},
}


@pytest.mark.parametrize("cell", [nn.LSTMCell(3, 5), TwoSlots(), Concatenated()])
def test_one_matrix_or_eight_or_a_concatenation_give_the_same_picture(cell):
    assert reads(cell) == LSTM


def test_peepholes_are_seen():
    sees = {"f": {"x", "h⁻", "c⁻"}, "i": {"x", "h⁻", "c⁻"}, "o": {"x", "h⁻", "c"}}
    assert reads(Peepholes()) == {**LSTM, **sees}


def test_a_projection_stands_where_h_leaves():
    found = reads(nn.LSTMCell(3, 5, proj_size=2))
    assert found["h out"] == {"h"}
    assert found["h"] == {"o×tanh c"}
    (part,) = [p for p in diagram(trace_step(nn.LSTMCell(3, 5, proj_size=2))).inner if p.key == "h"]
    assert part.text == "P" and part.role is Role.GATE


def test_the_reset_gate_before_the_product_and_after_it():
    before, after = reads(nn.GRUCell(3, 5, reset_after=False)), reads(nn.GRUCell(3, 5))
    assert before["n"] == {"x", "r×h⁻"} and before["r×h⁻"] == {"r", "h⁻"}
    assert after["n"] == {"x", "r×W h⁻"} and after["r×W h⁻"] == {"r", "W h⁻"} and after["W h⁻"] == {"h⁻"}


def test_an_interpolation_shows_both_weights():
    for cell in (nn.GRUCell(3, 5, reset_after=False), Gated()):  # n + z (h − n), and (1 − z) n + z h
        found = reads(cell)
        assert found["1− z"] == {"z"} and found["z×h⁻"] == {"z", "h⁻"} and found["h"] == {"z×h⁻", "1− z×n"}


def test_what_is_like_an_interpolation_and_is_none_stays_as_it_is():
    class Other(Gated):
        def step(self, x, h):
            n, z = tr.tanh(x @ self.U_n).named("n"), tr.sigmoid(x @ self.U_z).named("z")
            h = (n + z * (h - z)).named("h")
            return h, h

    assert "1− z" not in reads(Other())
    (difference,) = [p for p in diagram(trace_step(Other())).inner if p.key == "h⁻+z"]
    assert {read.key: way.minus for read, way in difference.reads.items()} == {"h⁻": False, "z": True}


def test_a_sum_of_a_value_and_its_own_product_shows_both():
    class Both(nn.RNNCell):
        def step(self, x, h):
            h = (h + h @ self.weight_hh).named("h")
            return h, h

    assert reads(Both(3, 5))["h"] == {"h⁻", "W h⁻"}


def test_delays_are_named_after_what_they_delay():
    drawn = diagram(trace_step(InputsAndOutputs()))
    assert [part.name for part in drawn.before] == ["x_{t−1}", "x_{t−2}", "y_{t−1}", "y_{t−2}"]
    assert [part.name for part in drawn.after] == ["x", "x_{t−1}", "y", "y_{t−1}"]


def test_a_cut_is_a_cut():
    class Cut(nn.RNNCell):
        def step(self, x, h):
            h = tr.tanh(x @ self.weight_ih.T + h.detach() @ self.weight_hh.T).named("h")
            return h, h

    assert "✂" in Cut(3, 5).draw(time="step").source
    assert "✂" not in nn.RNNCell(3, 5).draw(time="step").source


class Noisy(nn.Cell):
    """Noise of another size at each step, and random numbers that are the same at all steps."""

    state_shape = (3,)

    def __init__(self):
        super().__init__()
        self.input_size = 3
        add_parameters(self, {"σ": (3,)})

    def step(self, x, h):
        fixed = tr.sample(lambda generator: generator.normal(size=3), once=True)
        h = (tr.tanh(h + x) * fixed + self.σ * tr.sample(lambda generator: generator.normal(size=3))).named("h")
        return h, h


def test_random_numbers_are_an_input_of_what_reads_them():
    """Random numbers are drawn, unlike constants: noise in a sum, dropout in a product."""
    drops = reads(nn.LSTMCell(3, 5, recurrent_dropout=0.5))
    assert drops["h⁻×~"] == {"h⁻", "~"} and drops["f"] == {"x", "h⁻×~"}
    parts = nn.Embedding(4, 3), nn.RNNCell(3, 5), nn.Linear(5, 4)
    drawn = reads(nn.DecoderCell(*parts, start=0, temperature=0.5))
    assert drawn["o+0.5× ~"] == {"o", "0.5× ~"} and drawn["0.5× ~"] == {"~"}
    assert not any("~" in read for read in reads(nn.DecoderCell(*parts, start=0)).values())


def test_several_draws_are_several_inputs():
    drawn = diagram(trace_step(Noisy()))
    notes = [part.note for part in drawn.inputs if part.name == "~"]
    assert sorted("the same at all steps" in note for note in notes) == [False, True]
    (gate,) = [part for part in drawn.inner if part.text == "σ"]
    assert [read.name for read in gate.reads] == ["~"]


# -- any cell ----------------------------------------------------------------------------------


def drawn_at_random(seed):
    run = random_cell(RandomChoices(seed))
    sequences = run.inputs(1)
    example = None if sequences is None else rebuild(sequences, iter([x[0] for x in flatten(sequences)]))
    return run.cell, trace_step(run.cell, 2, example), example


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_every_end_is_made_of_what_the_graph_makes_it_of(seed):
    _, step, _ = drawn_at_random(seed)
    slots = {slot.node: f"slot {k}" for k, slot in enumerate(step.state)}
    inputs = [] if step.x is None else [x.node for x in flatten(step.x)]
    drawn = diagram(step)
    for end, value in zip(drawn.after, step.after, strict=True):
        nodes = set(behind_cuts([as_tensor(value).node]))
        expected = {slots[n] for n in nodes if n in slots} | {n.name for n in nodes if n in inputs}
        found, stack = set(), [end]
        while stack:
            part = stack.pop()
            if part.role is Role.BEFORE:
                found.add(f"slot {part.slots[0]}")
            elif part.role is Role.INPUT and not part.reads:
                found.add(part.key)
            stack += part.reads
        names = {plain(pretty(name)) if not name.startswith("slot") else name for name in expected}
        assert names <= found
        assert {name for name in found if name.startswith("slot")} == {n for n in names if n.startswith("slot")}


# -- places ------------------------------------------------------------------------------------


class Picture:
    """The layout that Graphviz computes for a drawing: boxes of nodes, and points on lines."""

    def __init__(self, cell, inputs=None):
        found = json.loads(render(readable(cell.draw(time="step", inputs=inputs).source), "json"))
        self.nodes = {o["name"]: o for o in found["objects"]}
        self.frame = self.box("cell")
        self.nodes = {o["name"]: o for o in found["objects"] if o["name"] != "cell" and o.get("shape") != "point"}
        self.names = {o["_gvid"]: o["name"] for o in found["objects"]}
        self.edges = found["edges"]

    def at(self, name):
        return tuple(map(float, self.nodes[name]["pos"].split(",")))

    def box(self, name):
        (x, y), w, h = self.at(name), *(float(self.nodes[name][k]) * 36 for k in ("width", "height"))
        return x - w, y - h, x + w, y + h

    def lines(self):
        for edge in self.edges:
            numbers = re.findall(r"(-?[\d.]+),(-?[\d.]+)", edge["pos"])
            points = [tuple(map(float, pair)) for pair in numbers]
            tip = points[:1] if edge["pos"].startswith("e,") else []
            curve = points[len(tip) :]
            dense = []
            for k in range(0, len(curve) - 1, 3):
                a, b, c, d = np.array(curve[k : k + 4])
                t = np.linspace(0, 1, 17)[:, None]
                dense += list((1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t * t * c + t**3 * d)
            yield self.names[edge["tail"]], self.names[edge["head"]], [*map(tuple, dense), *tip]

    def arrowheads(self):
        """The target of an arrow, and the box of the arrowhead."""
        for edge in self.edges:
            for part in edge.get("_hdraw_", ()):
                if part["op"] == "P":
                    xs, ys = zip(*part["points"], strict=True)
                    yield self.names[edge["tail"]], self.names[edge["head"]], (min(xs), min(ys), max(xs), max(ys))


class Crowded(nn.Cell):
    """An operation with more lines than sides."""

    input_size, state_shape = 3, ((3,),) * 5

    def step(self, x, state):
        total = tr.tanh(tr.stack([x, *state], axis=-1)).sum(axis=-1)
        return total, (total, *state[:-1])


CELLS = {"lstm": nn.LSTMCell(3, 5), "gru": nn.GRUCell(3, 5), "gated": Gated(), "odd": Odd(), "narx": InputsAndOutputs()}
CELLS |= {
    "long delays": nn.NARXCell(2, 1, 5, 6),
    "dropout": nn.LSTMCell(3, 5, recurrent_dropout=0.5),
    "noisy": Noisy(),
    "crowded": Crowded(),
    "rnn": nn.RNNCell(3, 5),
    "jordan": nn.JordanCell(3, 5, 2),
    "residual": nn.ResidualCell(3, 5),
    "peepholes": Peepholes(),
}


def within(point, box, margin=1.0):
    (x, y), (left, low, right, high) = point, box
    return left + margin < x < right - margin and low + margin < y < high - margin


def assert_nothing_overlaps(picture):
    """No line runs through a node, and no nodes overlap; scissors are a mark on a line, not a node."""
    boxes = {node: picture.box(node) for node in picture.nodes if "✂" not in node}
    for (one, a), (other, b) in itertools.combinations(boxes.items(), 2):
        assert not (a[0] < b[2] - 1 and b[0] < a[2] - 1 and a[1] < b[3] - 1 and b[1] < a[3] - 1), (one, other)
    for tail, head, points in picture.lines():
        for node, box in boxes.items():
            assert node in (tail, head) or not any(within(point, box) for point in points), (tail, head, node)


def assert_lines_end_at_their_nodes(picture):
    tips = {}
    for tail, head, points in picture.lines():
        if head in picture.nodes and tail != head:
            left, low, right, high = picture.box(head)
            x, y = points[-1]
            assert left - 1 <= x <= right + 1 and low - 1 <= y <= high + 1, (tail, head)
            assert tips.setdefault((round(x), round(y)), tail) == tail, "lines of two values end in one place"


def assert_lines_of_different_values_only_cross(picture):
    """If two lines meet, they are at right angles or belong to one value."""
    lines = [(tail, {(round(x), round(y)) for x, y in points}) for tail, _, points in picture.lines()]
    for (a, here), (b, there) in itertools.combinations(lines, 2):
        assert a == b or len(here & there) <= 3, (a, b)


def assert_no_line_runs_over_an_arrowhead(picture):
    lines = list(picture.lines())
    for source, target, box in picture.arrowheads():
        for tail, head, points in lines:
            assert tail == source or not any(within(point, box, 0.5) for point in points), (tail, head, source, target)


def assert_lines_turn_within_the_frame(picture):
    """Outside the frame are only straight ends: a line that turned there once ran next to the heads of other lines."""
    left, low, right, high = picture.frame
    for tail, head, points in picture.lines():
        outside = [
            {round(y) for x, y in points if x < left - 0.1},
            {round(y) for x, y in points if x > right + 0.1},
            {round(x) for x, y in points if y < low - 0.1},
            {round(x) for x, y in points if y > high + 0.1},
        ]
        assert all(len(places) <= 1 for places in outside), (tail, head)


CHECKS = [
    assert_nothing_overlaps,
    assert_lines_end_at_their_nodes,
    assert_lines_of_different_values_only_cross,
    assert_no_line_runs_over_an_arrowhead,
    assert_lines_turn_within_the_frame,
]


@pytest.mark.parametrize("name", CELLS)
def test_a_picture_is_clear(name):
    picture = Picture(CELLS[name])
    assert len(list(picture.arrowheads())) >= 2
    for check in CHECKS:
        check(picture)


@given(st.integers(0, 10_000))
@settings(max_examples=12, deadline=None)
def test_a_picture_of_any_cell_is_clear(seed):
    cell, _, example = drawn_at_random(seed)
    picture = Picture(cell, example)
    for check in CHECKS:
        check(picture)


@pytest.mark.parametrize(
    ("name", "level"),
    [("lstm", ["c⁻", "f×c⁻", "c", "c out"]), ("gru", ["h⁻", "z×h⁻", "h", "h out"]), ("residual", ["h⁻", "h", "h out"])],
)
def test_a_state_that_only_operations_touch_goes_straight_through(name, level):
    picture = Picture(CELLS[name])
    places = [picture.at(node) for node in level]
    assert len({y for _, y in places}) == 1
    assert [x for x, _ in places] == sorted(x for x, _ in places)


def test_gates_stand_side_by_side_below_the_memory():
    picture = Picture(CELLS["lstm"])
    gates = [picture.at(gate) for gate in "figo"]
    assert len({y for _, y in gates}) == 1 and [x for x, _ in gates] == sorted(x for x, _ in gates)
    assert picture.at("x")[1] < picture.at("h⁻")[1] < gates[0][1] < picture.at("i×g")[1] < picture.at("c")[1]
    assert picture.at("f")[0] == picture.at("f×c⁻")[0] and picture.at("i×g")[0] == picture.at("c")[0]


def test_a_cells_own_places_are_honoured():
    cell = TwoSlots()
    cell.step_layout = {"o": (0, 0), "f": (2, 0)}
    picture, usual = Picture(cell), Picture(TwoSlots())
    assert picture.at("o")[0] < picture.at("f")[0] and usual.at("o")[0] > usual.at("f")[0]


def test_a_model_with_one_kind_of_cell_draws_its_step():
    layers = nn.LSTM(3, 5, num_layers=2)
    assert layers.draw(time="step").source == layers.l0.cell.draw(time="step").source


def test_what_has_no_cell_or_several_says_so():
    with pytest.raises(ValueError, match="the cells in Linear are: none"):
        nn.Linear(3, 2).draw(time="step")
    with pytest.raises(ValueError, match="RNNCell, GRUCell; draw one of them"):
        nn.Sequential(nn.RNN(3, 4), nn.GRU(4, 5)).draw(time="step")
    with pytest.raises(ValueError, match="needs a cell"):
        tr.graph(tr.tensor([1.0]) * 2).draw(time="step")


# -- one gate at a time -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "ends"),
    [
        ("f", {"x", "h⁻", "f", "f×c⁻"}),
        (["i", "g"], {"x", "h⁻", "i", "g", "i×g"}),
        ("c", {"f×c⁻", "i×g", "c", "tanh c", "c out"}),
        (("o", "h"), {"x", "h⁻", "o", "tanh c", "h", "h out"}),
    ],
)
def test_a_highlighted_gate_stands_out_with_its_lines(names, ends):
    sketch = nn.LSTMCell(3, 5).draw(time="step", highlight=names).sketch
    parts = [v for v in sketch.vertices if v.kind not in (Kind.JUNCTION, Kind.FRAME)]
    assert {str(v.family) for v in parts if not v.faint} == ends
    usual = {arc.stroke.color for arc in nn.LSTMCell(3, 5).draw(time="step").sketch.arcs}
    lit = [arc for arc in sketch.arcs if arc.stroke.color in usual]
    assert {str(end.family) for arc in lit for end in (arc.source, arc.target)} - {"[x, h⁻]"} == ends
    for arc in lit:  # a line does not branch off from a faint line
        if arc.source.kind is not Kind.JUNCTION:
            reach = np.array([arc.source.width, arc.source.height]) / 2 + 12
            assert (np.abs(arc.path[0] - (arc.source.x, arc.source.y)) <= reach).all(), arc.tooltip


def test_what_is_highlighted_is_there():
    with pytest.raises(
        ValueError, match="there is no value 'q'; there are 'i', 'f', 'g', 'o', 'f×c⁻', 'i×g', 'c', 'tanh c', 'h'"
    ):
        nn.LSTMCell(3, 5).draw(time="step", highlight="q")
    with pytest.raises(ValueError, match='time="step"'):
        nn.LSTMCell(3, 5).draw(highlight="f")


# -- lines in a maze ---------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(2, 10), st.integers(0, 8)), max_size=30, unique=True))
@settings(max_examples=40, deadline=None)
def test_a_line_is_found_if_there_is_one_and_goes_around_what_is_in_the_way(walls):
    maze = Maze((0, 0), (12, 8))
    for wall in walls:
        maze.block(wall, 0, 0)
    start, end = (0, 4), (12, 4)
    reached, front = {start}, [start]
    while front:
        x, y = front.pop()
        for dx, dy in (EAST, WEST, NORTH, SOUTH):
            spot = x + dx, y + dy
            if 0 <= spot[0] <= 12 and 0 <= spot[1] <= 8 and spot not in reached and spot not in walls:
                reached.add(spot)
                front.append(spot)
    turns = maze.route("a", [Port(start, None)], [Port(end, None)])
    assert bool(turns) == (end in reached)
    passed = {spot for spot, nets in maze.passed.items() if "a" in nets}
    assert not passed & set(walls)
    assert all((a[0] == b[0]) != (a[1] == b[1]) for a, b in itertools.pairwise(turns))


def test_two_lines_cross_rather_than_share_a_stretch():
    maze = Maze((0, 0), (10, 50))
    for y in range(51):
        if y not in (5, 48):
            maze.block((5, y), 0, 0)
    maze.route("a", [Port((0, 5), None)], [Port((10, 5), None)])
    maze.route("b", [Port((2, 0), None)], [Port((2, 10), None)])
    maze.route("c", [Port((0, 4), None)], [Port((10, 4), None)])
    assert maze.passed[5, 48] == {"c"}
    assert all(len(nets) == 1 for nets in maze.stretches.values())
    assert maze.passed[2, 5] == {"a", "b"}
