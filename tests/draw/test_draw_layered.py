"""Layered layout: nothing overlaps, lines run upwards between nodes, and bands do not mix."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.draw.layered import layered
from tinygrad_rnn.draw.route import polyline
from tinygrad_rnn.draw.sketch import Arc, Sketch, Vertex
from tinygrad_rnn.draw.style import PLAIN, Kind


@st.composite
def graphs(draw):
    n = draw(st.integers(1, 12))
    vertices = [
        Vertex(f"v{k}", k, Kind.OPERATION, width=draw(st.sampled_from([7.0, 30.0, 120.0])), height=24.0) for k in range(n)
    ]
    pairs = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=20, unique=True))
    arcs = [Arc(vertices[i], vertices[k], PLAIN, lag=int(i > k)) for i, k in pairs if i != k]
    cuts = sorted(draw(st.lists(st.integers(0, n), max_size=2)))
    bands = {vertex: float(sum(k >= cut for cut in cuts)) for k, vertex in enumerate(vertices)}
    return Sketch(vertices, arcs), bands


@given(graphs())
def test_nothing_hides_anything(drawn):
    sketch, bands = drawn
    layered(sketch, bands)
    for k, a in enumerate(sketch.vertices):
        for b in sketch.vertices[k + 1 :]:
            assert abs(a.x - b.x) >= (a.width + b.width) / 2 or abs(a.y - b.y) >= (a.height + b.height) / 2
            if bands[a] < bands[b]:
                assert a.y + a.height / 2 < b.y - b.height / 2
    for arc in sketch.arcs:
        points = polyline(arc.path)[:: -1 if arc.lag else 1]
        assert all(np.diff(points[:, 1]) >= -1e-9)
        for vertex in sketch.vertices:
            inside = (abs(points - (vertex.x, vertex.y)) < (vertex.width / 2 - 0.2, vertex.height / 2 - 0.2)).all(1)
            assert not inside.any(), (arc.source.name, arc.target.name, vertex.name)


def test_a_chain_is_straight():
    vertices = [Vertex(f"v{k}", k, Kind.OPERATION, width=30.0 + k, height=24.0) for k in range(6)]
    layered(sketch := Sketch(vertices, [Arc(a, b, PLAIN) for a, b in itertools.pairwise(vertices)]))
    assert len({vertex.x for vertex in sketch.vertices}) == 1


def test_a_cycle_is_broken_where_it_is_met():
    a, b = (Vertex(name, name, Kind.OPERATION) for name in "ab")
    layered(sketch := Sketch([a, b], [Arc(a, b, PLAIN), Arc(b, a, PLAIN)]))
    assert a.y < b.y and all(np.isfinite(arc.path).all() for arc in sketch.arcs)


@pytest.mark.parametrize("n", [0, 1])
def test_hardly_anything(n):
    layered(Sketch([Vertex("v", 0, Kind.OPERATION)] * n))
