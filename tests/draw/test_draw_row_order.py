"""The order of rows: its cost equals a plain sum over pairs, and the work is bounded."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn import nn
from tinygrad_rnn.draw import route, row_order
from tinygrad_rnn.draw.symbols import plain

GAP = 80.0


def at(x, rows, s, t, height):
    return x[s] + (x[t] - x[s]) * (height - rows[s]) / (rows[t] - rows[s])


def by_hand(x, rows, arcs, lone, pull):
    total = sum(abs(x[s] - x[t]) for s, t in arcs) / GAP
    for s, t in arcs:
        low, high = sorted((rows[s], rows[t]))
        total += 30 * sum(low < rows[v] < high and abs(at(x, rows, s, t, rows[v]) - x[v]) < 0.36 * GAP for v in rows)
    for (a, b), (c, d) in itertools.combinations(arcs, 2):
        low, high = max(rows[a], rows[c]), min(rows[b], rows[d])
        if low < high and not {a, b} & {c, d}:
            before, after = (at(x, rows, a, b, h) - at(x, rows, c, d, h) for h in (low, high))
            total += 4 * (before * after < 0)
    return total + (sum(w * x[v] for v, w in pull.items()) + 0.3 * sum(abs(x[v]) for v in lone)) / GAP


@given(st.integers(0, 10**6))
def test_the_cost_of_an_order_is_the_sum_over_pairs(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 10))
    rows = {f"v{k}": float(rng.integers(0, 5)) for k in range(n)}
    arcs = [pair for pair in itertools.permutations(rows, 2) if rng.random() < 0.4]
    lone, pull = [v for v in rows if rng.random() < 0.3], {v: 1.2 for v in rows if rng.random() < 0.3}
    cost = row_order._Cost(rows, arcs, lone, pull, GAP)
    for _ in range(3):
        x = {v: float(rng.integers(-4, 5)) * GAP / 2 for v in rows}
        assert cost(x) == pytest.approx(by_hand(x, rows, arcs, lone, pull))


def test_curves_that_cannot_be_the_cheapest_are_not_looked_at(monkeypatch):
    looked, offered = [], []
    hits, candidates = route._Obstacles.hits, route._candidates
    monkeypatch.setattr(route._Obstacles, "hits", lambda self, *args: looked.append(1) or hits(self, *args))
    monkeypatch.setattr(route, "_candidates", lambda arc: [offered.append(1) or found for found in candidates(arc)])
    nn.GRUCell(3, 5).draw(time="unrolled", detail="ops")
    assert len(looked) < 1.5 * len(offered)  # otherwise each curve would be tested on up to three edges of its shape


@pytest.mark.parametrize("name", ["WORK", "MANY"])
def test_too_large_a_step_keeps_the_order_of_the_graph(monkeypatch, name):
    def drawn():
        return nn.GRUCell(3, 5).draw(detail="ops").source

    ordered = drawn()
    monkeypatch.setattr(row_order, name, 0)
    kept = drawn()
    assert kept != ordered
    assert kept.count("->") == ordered.count("->")


def test_two_values_of_a_long_row_never_have_one_place():
    drawing = nn.LSTM(3, 5, bidirectional=True).draw(detail="values")
    gates = [
        (v.x, v.y) for v in drawing.sketch.vertices if plain(v.label) in {f"{gate}{way}" for gate in "ifo" for way in "→←"}
    ]
    assert len(gates) == len(set(gates)) == 6
