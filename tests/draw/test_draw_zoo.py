"""Nothing in a sketch is hidden or ambiguous; this property is tested for a zoo of networks and for random cells."""

import re
from dataclasses import replace

import numpy as np
import pytest
from draw_networks import elman
from hypothesis import given, settings
from hypothesis import strategies as st
from sketch_check import CLAUSES, faults
from zoo import DETAILS, STEPS, ZOO, drawn

from tinygrad_rnn.draw.sketch import Vertex
from tinygrad_rnn.draw.style import Kind
from tinygrad_rnn.draw.symbols import plain
from tinygrad_rnn.testing.choices import RandomChoices
from tinygrad_rnn.testing.random_cells import random_cell
from tinygrad_rnn.tree import flatten, rebuild


def page(drawing):
    return tuple(map(float, re.search(r'bb="([^"]+)"', drawing.source)[1].split(",")))


def found(drawing):
    return faults(drawing.sketch, page(drawing))


SAMPLE = [name for k, name in enumerate(ZOO) if " 3" not in name and k % 3 == 0]
"""A third of the zoo, each network in one way over time; without the networks of three layers, which take longest."""


@pytest.mark.parametrize("name", SAMPLE)
def test_nothing_is_hidden_in_the_zoo(name):
    number = SAMPLE.index(name)
    for k, time in enumerate(("folded", "unrolled")):
        detail = DETAILS[(number + k) % 4]
        assert not found(drawn(name, time, detail)) or (name, time, detail) in LEFT


@pytest.mark.parametrize("name", STEPS)
def test_nothing_is_hidden_in_a_step(name):
    assert not found(STEPS[name]().draw(time="step")) or name in LEFT


@pytest.mark.parametrize("name", ["translator LSTM", "translator GRU, context", "own encoder-decoder"])
@pytest.mark.parametrize("detail", ["values", "ops"])
def test_what_runs_after_another_network_has_places_of_its_own(name, detail):
    assert not [fault for fault in found(drawn(name, "unrolled", detail)) if fault.startswith("nodes overlap")]


LEFT = {
    ("GRU 1", "folded", "ops"),
    ("GRU 2 both ways", "unrolled", "values"),
    ("TDNN 5", "unrolled", "values"),
    ("translator GRU, context", "folded", "ops"),
    "clockwork",
}
"""Pictures that are still crowded: labels under lines, and lines on lines."""


@pytest.mark.parametrize("crowded", sorted(LEFT, key=str), ids=str)
def test_what_is_left_is_still_crowded(crowded):
    assert found(STEPS[crowded]().draw(time="step") if isinstance(crowded, str) else drawn(*crowded))


@given(st.integers(0, 10_000))
@settings(max_examples=6, deadline=None)
def test_no_nodes_overlap_in_pictures_of_random_cells(seed):
    run = random_cell(RandomChoices(seed))
    sequences = run.inputs(1)
    example = None if sequences is None else rebuild(sequences, iter([x[0] for x in flatten(sequences)]))
    wrong = found(run.cell.draw(time="step", inputs=example))
    assert not [fault for fault in wrong if fault.startswith(("nodes overlap", "outside"))]


# -- the property finds planted faults ----------------------------------------------------------


def plant(clause, sketch):
    named = {plain(v.label): v for v in sketch.vertices}
    arc = next(a for a in sketch.arcs if a.label == "U")
    other = next(a for a in sketch.arcs if a.label == "W")
    h, x = named["h₁"], named["x₁"]
    if clause == "nodes overlap":
        x.y = h.y - 30
    elif clause == "label over a node":
        arc.label_at = h.x, h.y
    elif clause == "labels overlap":
        arc.label_at = other.label_at
    elif clause == "edge through a node":
        middle = Vertex("m", "m", Kind.VALUE, "m", 1, x=h.x, y=(h.y + x.y) / 2, width=10.0, height=10.0)
        sketch.vertices.append(middle)
    elif clause == "edge through a label":
        arc.label_at = arc.source.x, (arc.source.y + arc.target.y) / 2
    elif clause == "edge over another":
        sketch.arcs.append(replace(arc, source=named["o₁"], target=named["L₁"], label="", path=arc.path + 0.3))
    elif clause == "same label":
        x.label = h.label
    elif clause == "outside":
        named["x₄"].x += 500
    elif clause == "edge ends in the air":
        arc.path = arc.path + np.array([0.0, 9.0])
    else:
        h.label = "hidden state"


@pytest.mark.parametrize("clause", CLAUSES)
def test_a_planted_fault_is_found(clause):
    drawing = elman().draw(time="unrolled", loss=lambda o, y: ((o - y) ** 2).sum())
    assert not found(drawing)
    before = page(drawing)
    plant(clause, drawing.sketch)
    assert clause in {fault.split(":")[0] for fault in faults(drawing.sketch, before)}
