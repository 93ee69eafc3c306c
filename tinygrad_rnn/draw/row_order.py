"""Order of the nodes within a column: the order of each row with the lowest cost."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .sketch import Sketch, Vertex
from .style import STARTS, Kind

__all__ = ["spread"]

Family = Hashable

EXCHANGES = 60
"""Largest number of pairs that are exchanged in a long row."""
MANY = 800
"""Largest number of edges of a step whose rows are sorted; rows of larger steps keep the order of the graph."""
WORK = 20_000_000
"""Largest number of pairs of edges that are compared to sort the rows."""


def spread(sketch: Sketch, gap: float, free: bool) -> dict[Family, float]:
    """Horizontal offsets of nodes in a column, with few crossings and few edges through nodes.

    Parameters
    ----------
    sketch : Sketch
    gap : float
        Distance of two nodes in a row.
    free : bool
        Whether a node that is alone in its row may leave the middle.

    Returns
    -------
    dict
        Maps each family to its distance from the middle of the column.
    """
    columns: dict[Family, dict[int, Vertex]] = defaultdict(dict)
    for v in sketch.vertices:
        if v.kind not in (Kind.NOTE, Kind.DELAY, Kind.MASK) and v.column is not None:
            columns[v.family].setdefault(v.column, v)
    offsets: dict[Family, float] = {}
    while waiting := [family for family in columns if family not in offsets]:
        column = _fullest(columns, waiting)
        _spread_column(
            sketch, column, {f: seen[column].row for f, seen in columns.items() if column in seen}, offsets, gap, free
        )
    return offsets


def _fullest(columns: Mapping[Family, Mapping[int, Vertex]], waiting: Sequence[Family]) -> int:
    """The column with the most unplaced nodes; initial values and dots count only if nothing else is left."""
    counts: Counter[int] = Counter()
    for family in waiting:
        for column, v in columns[family].items():
            counts[column] += 1 if v.kind in (Kind.ELISION, *STARTS) else 1000
    return max(sorted(counts), key=counts.__getitem__)


def _spread_column(
    sketch: Sketch, column: int, heights: dict[Family, float], offsets: dict[Family, float], gap: float, free: bool
) -> None:
    """Give offsets to the unplaced families of one column, next to the placed families."""
    rows: dict[float, list[Family]] = defaultdict(list)
    for family, height in heights.items():
        if family not in offsets:
            rows[height].append(family)
    taken = {height: [offsets[f] for f in heights if f in offsets and heights[f] == height] for height in rows}
    for height, row in rows.items():
        first = max(taken[height]) + gap if taken[height] else -(len(row) - 1) / 2 * gap
        offsets.update({family: first + k * gap for k, family in enumerate(row)})
    arcs = [
        (arc.source.family, arc.target.family)
        for arc in sketch.arcs
        if arc.source.column == arc.target.column == column
        and arc.lag == 0
        and arc.source.family in heights
        and arc.target.family in heights
        and arc.source.kind is not Kind.MASK
    ]
    arcs = list(dict.fromkeys(arcs))
    if len(arcs) > MANY:
        return
    sizes = Counter(heights.values())
    # a node with an input from an earlier step moves to the side of that step; folded, to the side of the delays
    fed = [a.target.family for a in sketch.arcs if a.lag and a.source.family != a.target.family and a.target.family in heights]
    pull = {family: -1.2 if free else 1.2 for family in fed if sizes[heights[family]] > 1}
    if free:  # and a node below a passing edge moves to the other side
        over = [s for s, t in arcs if heights[t] - heights[s] > 1 and sizes[heights[s]] > 1]
        pull |= {family: 1.2 for family in over if family not in pull}
    lone = [family for family, height in heights.items() if sizes[height] == 1]
    _improve(offsets, rows, _Cost(heights, arcs, lone, pull, gap), gap, free)


class _Cost:
    """Cost of an order of the rows for any offsets; the constant part is computed once."""

    def __init__(
        self,
        heights: Mapping[Family, float],
        arcs: Sequence[tuple[Family, Family]],
        lone: Sequence[Family],
        pull: Mapping[Family, float],
        gap: float,
    ) -> None:
        self.gap = gap
        self.number = {family: k for k, family in enumerate(heights)}
        rows = np.array(list(heights.values()), float)
        self.ends = np.array([[self.number[s], self.number[t]] for s, t in arcs], int).reshape(-1, 2)
        self.weights = np.zeros(len(rows))
        for family, weight in pull.items():
            self.weights[self.number[family]] = weight
        self.lone = np.array([self.number[family] for family in lone], int)
        low, high = rows[self.ends].T
        over, self.passed = np.nonzero((rows > np.minimum(low, high)[:, None]) & (rows < np.maximum(low, high)[:, None]))
        self.over = self._points(over, rows[self.passed], rows)
        first, second = np.triu_indices(len(arcs), 1)
        bottom, top = np.maximum(low[first], low[second]), np.minimum(high[first], high[second])
        joined = (self.ends[first][:, :, None] == self.ends[second][:, None]).any((1, 2))
        meet = (bottom < top) & ~joined
        first, second, bottom, top = first[meet], second[meet], bottom[meet], top[meet]
        self.beside = [self._points(arc, at, rows) for at in (bottom, top) for arc in (first, second)]
        self.orders = WORK // (len(first) + len(over) + 1)  # number of orders that may be tried

    def _points(self, arcs: Any, at: Any, rows: Any) -> tuple[Any, ...]:
        """Coefficients of points on arcs at some heights, as fractions of the way between the ends."""
        s, t = self.ends[arcs].T
        return s, t, at - rows[s], rows[t] - rows[s]

    def __call__(self, offsets: Mapping[Family, float]) -> float:
        x = np.array([offsets[family] for family in self.number], float)
        s, t = self.ends.T
        over, a, b, c, d = (x[i] + (x[j] - x[i]) * up / rise for i, j, up, rise in (self.over, *self.beside))
        hits = np.abs(over - x[self.passed]) < 0.36 * self.gap
        sideways = np.abs(x[s] - x[t]).sum() + self.weights @ x + 0.3 * np.abs(x[self.lone]).sum()
        return float(sideways / self.gap + 30 * hits.sum() + 4 * ((a - b) * (c - d) < 0).sum())


def _improve(offsets: dict[Family, float], rows: Mapping[float, list[Family]], cost: _Cost, gap: float, free: bool) -> None:
    """Reorder rows and move single nodes while the cost decreases."""
    best, left = cost(offsets), cost.orders
    for _ in range(4):
        before = best
        for row in rows.values():
            tried = 0
            for candidate in itertools.islice(_orders(row, offsets, gap, free), max(left, 0)):
                kept = {f: offsets[f] for f in candidate}
                offsets.update(candidate)
                now, tried = cost(offsets), tried + 1
                if now < best - 1e-9:
                    best = now
                else:
                    offsets.update(kept)
            left -= tried
        if best >= before - 1e-9:
            return


def _orders(row: list[Family], offsets: Mapping[Family, float], gap: float, free: bool) -> Iterator[dict[Family, float]]:
    """Alternative offsets for the nodes of a row: one node moves, all are permuted, or two are exchanged."""
    if len(row) == 1:
        yield from ({row[0]: step * gap / 2} for step in (0, 1, -1, 2, -2) if free)
    elif len(row) <= 5:
        for places in list(itertools.permutations([offsets[f] for f in row])):
            yield dict(zip(row, places, strict=True))
    else:
        for a, b in itertools.islice(itertools.combinations(row, 2), EXCHANGES):
            yield {a: offsets[b], b: offsets[a]}
