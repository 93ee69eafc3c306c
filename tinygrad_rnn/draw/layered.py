"""Layered layout of any graph: each node is above its inputs, and lines run upwards through gaps between other nodes."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from .route import point_at, straight
from .sketch import Arc, Points, Sketch, Vertex
from .style import EDGE_FONT, Kind
from .symbols import text_width

__all__ = ["layered"]

ASIDE, GAP, APART = 16.0, 34.0, 30.0
"""Distance between two neighbours of a layer, distance between two layers, and additional distance between two bands."""
SWEEPS = 12
"""Number of sweeps that sort the layers, and number of sweeps that shift the nodes."""


def layered(sketch: Sketch, bands: Mapping[Vertex, float] | None = None) -> None:
    """Give every vertex a position and every arc a path, by a layered layout.

    Parameters
    ----------
    sketch : Sketch
        A sketch; an arc with a lag runs downwards, from its source to the previous value.
    bands : mapping of Vertex to float, optional
        Band of each vertex; a vertex is above all vertices of smaller bands.
    """
    if not sketch.vertices:
        return
    bands = bands or {}
    ups = {arc: (arc.target, arc.source) if arc.lag else (arc.source, arc.target) for arc in sketch.arcs}
    level = _levels(sketch.vertices, list(ups.values()), bands)
    chains = {arc: _chain(arc, low, high, level) for arc, (low, high) in ups.items()}
    layers: dict[int, list[Vertex]] = defaultdict(list)
    links: dict[Vertex, list[Vertex]] = defaultdict(list)
    for vertex in dict.fromkeys([*sketch.vertices, *itertools.chain(*chains.values())]):
        layers[level[vertex]].append(vertex)
    for chain in chains.values():
        for low, high in itertools.pairwise(chain):
            links[low].append(high)
            links[high].append(low)
    rows = [layers[n] for n in sorted(layers)]
    _order(rows, links, level)
    _shift(rows, links, level)
    y, tops = 0.0, {}
    for below, row in zip([None, *rows], rows, strict=False):
        height = max(vertex.height for vertex in row)
        apart = below is not None and _band(below, bands) != _band(row, bands)
        y += 0.0 if below is None else GAP + height / 2 + (APART if apart else 0)
        for vertex in row:
            vertex.x, vertex.y, tops[vertex] = round(vertex.x, 1), round(y, 1), height / 2
        y += height / 2
    _draw(chains, tops)


def _band(row: Iterable[Vertex], bands: Mapping[Vertex, float]) -> float | None:
    return next((bands[vertex] for vertex in row if vertex in bands), None)


def _levels(
    vertices: Sequence[Vertex], ups: Sequence[tuple[Vertex, Vertex]], bands: Mapping[Vertex, float]
) -> dict[Vertex, int]:
    """Level of each vertex by longest paths; inputs stand just below their first reader, and bands do not overlap."""
    below: dict[Vertex, list[Vertex]] = {vertex: [] for vertex in vertices}
    above: dict[Vertex, list[Vertex]] = {vertex: [] for vertex in vertices}
    for low, high in ups:
        below[high].append(low)
        above[low].append(high)
    level: dict[Vertex, int] = {}
    start = 0
    for _, group in itertools.groupby(sorted(vertices, key=lambda v: bands.get(v, 0)), key=lambda v: bands.get(v, 0)):
        inside = dict.fromkeys(group)
        waiting = {vertex: sum(low in inside for low in below[vertex]) for vertex in inside}
        ready = [vertex for vertex in inside if not waiting[vertex]]
        while waiting:  # a cycle is broken at the first node found in it
            vertex = ready.pop(0) if ready else next(iter(waiting))
            if waiting.pop(vertex, None) is None:
                continue
            level[vertex] = max([start, *(level[low] + 1 for low in below[vertex] if low in level)])
            for high in above[vertex]:
                if high in waiting:
                    waiting[high] -= 1
                    if not waiting[high]:
                        ready.append(high)
        for vertex in inside:
            readers = [level[high] for high in above[vertex] if high in inside and level[high] > level[vertex]]
            if readers and not below[vertex]:
                level[vertex] = min(readers) - 1
        start = max(level[vertex] for vertex in inside) + 1
    return level


def _chain(arc: Arc, low: Vertex, high: Vertex, level: dict[Vertex, int]) -> list[Vertex]:
    """The ends of a line with a bend in each layer between them; one bend has room for the label."""
    n, m = level[low], level[high]
    bends = [Vertex("bend", arc, Kind.JUNCTION, width=2.0, height=0.0) for _ in range(abs(m - n) - 1)]
    for k, bend in enumerate(bends, 1):
        level[bend] = n + k * (1 if m > n else -1)
    if arc.label and bends:  # the label stands to the right of the line
        bends[len(bends) // 2].width += 2 * (text_width(arc.label, EDGE_FONT) + 6)
    return [low, *bends, high]


def _order(rows: list[list[Vertex]], links: Mapping[Vertex, list[Vertex]], level: Mapping[Vertex, int]) -> None:
    """Sort each layer by the positions of neighbours, in sweeps down and up; keep the order with the fewest crossings."""
    best = [list(row) for row in rows]
    least = math.inf
    for sweep in range(2 * SWEEPS):
        step = 1 if sweep % 2 else -1
        for row in rows[::-step]:
            place = {vertex: k for other in rows for k, vertex in enumerate(other)}
            found = {
                vertex: [place[other] for other in links[vertex] if level[other] == level[vertex] + step] for vertex in row
            }
            row.sort(key=lambda v: float(np.mean(found[v])) if found[v] else place[v])
        crossings = _crossings(rows, links, level)
        if crossings < least:
            best, least = [list(row) for row in rows], crossings
    for row, kept in zip(rows, best, strict=True):
        row[:] = kept


def _crossings(rows: Sequence[Sequence[Vertex]], links: Mapping[Vertex, list[Vertex]], level: Mapping[Vertex, int]) -> int:
    place = {vertex: k for row in rows for k, vertex in enumerate(row)}
    total = 0
    for row in rows:
        ends = [sorted(place[high] for high in links[low] if level[high] == level[low] + 1) for low in row]
        heights = [end for found in ends for end in found]
        total += int(np.triu(np.subtract.outer(heights, heights) > 0, 1).sum())
    return total


def _shift(rows: Sequence[Sequence[Vertex]], links: Mapping[Vertex, list[Vertex]], level: Mapping[Vertex, int]) -> None:
    """Move nodes towards their neighbours in the previous layer, in sweeps up and down."""
    for row in rows:
        _spread(row, [0.0] * len(row))
    for sweep in range(2 * SWEEPS + 1):
        step = -1 if sweep % 2 else 1
        for row in rows[::step]:
            wanted = []
            for vertex in row:
                near = [other.x for other in links[vertex] if level[other] == level[vertex] - step]
                wanted.append(float(np.mean(near or [other.x for other in links[vertex]] or [vertex.x])))
            _spread(row, wanted)


def _spread(row: Sequence[Vertex], wanted: Sequence[float]) -> None:
    """Positions nearest to the wanted positions, in order and without overlap; overlapping neighbours move together."""
    gaps = [(a.width + b.width) / 2 + ASIDE for a, b in itertools.pairwise(row)]
    offsets = list(itertools.accumulate(gaps, initial=0.0))
    blocks: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=False):
        mean, count = want - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, n = blocks.pop()
            mean, count = (mean * count + other * n) / (count + n), count + n
        blocks.append((mean, count))
    shifts = [mean for mean, count in blocks for _ in range(count)]
    for vertex, shift, offset in zip(row, shifts, offsets, strict=False):
        vertex.x = shift + offset


def _draw(chains: Mapping[Arc, list[Vertex]], tops: Mapping[Vertex, float]) -> None:
    """Draw lines that leave nodes at the top and enter nodes at the bottom, side by side."""
    ports: dict[tuple[Vertex, bool], list[Arc]] = defaultdict(list)
    toward: dict[tuple[Arc, bool], float] = {}
    for arc, chain in chains.items():
        for end, other, leaves in ((chain[0], chain[1], True), (chain[-1], chain[-2], False)):
            ports[end, leaves].append(arc)
            toward[arc, leaves] = other.x
    port: dict[tuple[Arc, bool], Points] = {}
    for (vertex, leaves), arcs in ports.items():
        for k, arc in enumerate(sorted(arcs, key=lambda a: toward[a, leaves])):
            aside = (k - (len(arcs) - 1) / 2) * min(9.0, 0.6 * vertex.width / len(arcs))
            rounded = vertex.shape in ("circle", "ellipse", "point")
            rise = vertex.height / 2 * (math.sqrt(1 - (2 * aside / vertex.width) ** 2) if rounded else 1.0)
            port[arc, leaves] = np.array([vertex.x + aside, vertex.y + (rise if leaves else -rise)])
    for arc, chain in chains.items():
        points = [port[arc, True]]
        for bend in chain[1:-1]:
            points += [np.array([bend.x, bend.y - tops[bend]]), np.array([bend.x, bend.y + tops[bend]])]
        points.append(port[arc, False])
        pieces = [straight(p, q) if k % 2 else _curve(p, q) for k, (p, q) in enumerate(itertools.pairwise(points))]
        path = np.concatenate([pieces[0], *(piece[1:] for piece in pieces[1:])])
        if arc.label:
            bend = chain[len(chain) // 2]
            x, y = (bend.x, bend.y) if len(chain) > 2 else point_at(pieces[-1], 0.6)
            arc.label_at = round(float(x) + 5 + text_width(arc.label, EDGE_FONT) / 2, 1), round(float(y), 1)
        arc.path = path[::-1].copy() if arc.lag else path


def _curve(p: Points, q: Points) -> Points:
    """A curve that leaves and enters nodes vertically."""
    half = np.array([0.0, (q[1] - p[1]) / 2])
    return np.stack([p, p + half, q - half, q])
