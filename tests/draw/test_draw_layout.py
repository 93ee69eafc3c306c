"""Positions, read from the rendered layout."""

import functools
import itertools
import json
import math
import re

import pytest
from dot_labels import readable
from draw_networks import NETWORKS, TwoSlots, loop, network

import tinygrad_rnn as tr
from tinygrad_rnn.draw.render import render
from tinygrad_rnn.draw.symbols import text_width


class Layout:
    """The layout that Graphviz computes for a drawing."""

    def __init__(self, drawing):
        found = json.loads(render(readable(drawing.source), "json"))
        self.nodes = {o["name"]: o for o in found.get("objects", []) if "pos" in o}
        self.by_id = {o["_gvid"]: o["name"] for o in found.get("objects", [])}
        self.edges = found.get("edges", [])

    def at(self, name):
        return tuple(map(float, self.nodes[name]["pos"].split(",")))

    def box(self, name):
        x, y = self.at(name)
        w, h = (float(self.nodes[name][k]) * 36 for k in ("width", "height"))
        return x - w, y - h, x + w, y + h

    def steps(self):
        """Maps each family to its names, by step."""
        families = {}
        for name in self.nodes:
            match = re.fullmatch(r"(.+)\[(-?\d+)\]", name)
            if match:
                families.setdefault(match[1], {})[int(match[2])] = name
        return families

    def labels(self):
        for edge in self.edges:
            if "lp" in edge:
                yield edge, tuple(map(float, edge["lp"].split(",")))


@functools.cache
def layout(name, time, detail=None):
    return Layout(network(name, time=time, detail=detail))


def overlap(a, b, slack=0.5):
    return a[0] < b[2] - slack and b[0] < a[2] - slack and a[1] < b[3] - slack and b[1] < a[3] - slack


def spline(edge):
    return [tuple(map(float, p.removeprefix("e,").split(","))) for p in edge["pos"].replace("e,", "").split()]


def label_box(edge, at):
    half = 0.4 * text_width(edge["label"], 12)
    return at[0] - half, at[1] - 5, at[0] + half, at[1] + 5


every_network = pytest.mark.parametrize("name", NETWORKS)
every_time = pytest.mark.parametrize("time", ["unrolled", "folded"])


@every_network
@pytest.mark.parametrize("detail", [None, "values", "layers"])
def test_time_goes_from_left_to_right_and_rows_are_level(name, detail):
    families = layout(name, "unrolled", detail).steps()
    assert any(len(by_step) > 2 for by_step in families.values())
    for by_step in families.values():
        places = [layout(name, "unrolled", detail).at(by_step[t]) for t in sorted(by_step)]
        assert all(a[0] < b[0] for a, b in itertools.pairwise(places))
        assert len({y for _, y in places}) == 1


@every_network
def test_values_of_one_step_share_a_column(name):
    found = layout(name, "unrolled")
    families = found.steps()
    pitches = {
        round(found.at(by_step[t + 1])[0] - found.at(by_step[t])[0], 1)
        for by_step in families.values()
        for t in by_step
        if t + 1 in by_step
    }
    assert len(pitches) == 1


@every_network
@every_time
@pytest.mark.parametrize("detail", [None, "layers"])
def test_no_boxes_overlap(name, time, detail):
    found = layout(name, time, detail)
    names = list(found.nodes)
    for k, a in enumerate(names):
        for b in names[k + 1 :]:
            assert not overlap(found.box(a), found.box(b)), (a, b)


@every_network
@every_time
def test_labels_are_clear_of_nodes_and_of_each_other(name, time):
    found = layout(name, time)
    boxes = [(edge["label"], label_box(edge, at)) for edge, at in found.labels()]
    for k, (label, box) in enumerate(boxes):
        assert not [node for node in found.nodes if overlap(box, found.box(node))], label
        assert not [other for other, b in boxes[k + 1 :] if overlap(box, b)], label


@every_network
@every_time
def test_each_label_is_near_its_edge(name, time):
    for edge, (x, y) in layout(name, time).labels():
        half = text_width(edge["label"], 12) / 2
        points = spline(edge)
        curve = [
            tuple(sum(c * p[i] for c, p in zip(weights(t), points[k : k + 4], strict=True)) for i in (0, 1))
            for k in range(1, len(points) - 3, 3)
            for t in (n / 20 for n in range(21))
        ]
        gap = min(math.hypot(max(0.0, abs(x - px) - half), max(0.0, abs(y - py) - 7)) for px, py in curve)
        assert gap < 26, edge["label"]


def weights(t):
    return (1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t * t, t**3


@every_network
def test_edges_end_at_the_borders_of_their_nodes(name):
    found = layout(name, "unrolled")
    for edge in found.edges:
        if not edge["pos"].startswith("e,"):
            continue
        head = found.by_id[edge["head"]]
        x, y = spline(edge)[0]
        left, low, right, high = found.box(head)
        assert left - 1 <= x <= right + 1 and low - 1 <= y <= high + 1


SQUARES = {"elman": 1, "two-slots": 2, "gated": 1, "delay-line": 2, "narx": 4, "jordan": 1, "residual": 1, "odd": 4}
SQUARES |= {"mask": 1, "forced": 2, "encoder-decoder": 3, "bidirectional": 2, "stacked": 4, "many-to-one": 1}


@every_network
def test_one_delay_square_for_each_slot(name):
    found = layout(name, "folded")
    squares = [node for node in found.nodes.values() if node.get("shape") == "square"]
    assert len(squares) == SQUARES[name]
    assert all(node["fillcolor"] == "black" for node in squares)


@pytest.mark.parametrize(("name", "count"), [("elman", 6), ("two-slots", 12), ("stacked", 26), ("jordan", 4)])
def test_each_shared_parameter_once_in_the_layer_view(name, count):
    found = layout(name, "unrolled", "layers")
    labels = [n["label"] for key, n in found.nodes.items() if key.startswith("parameter ")]
    assert len(labels) == len(set(labels)) == count
    x = min(found.at(name)[0] for by_step in found.steps().values() for name in by_step.values())
    assert all(found.box(key)[2] < x for key in found.nodes if key.startswith("parameter "))


def test_a_students_own_loop():
    total, _ = loop()
    found = Layout(tr.graph(total).draw())
    assert [found.at(f"h[{t}]")[0] for t in range(5)] == sorted(found.at(f"h[{t}]")[0] for t in range(5))
    assert len({found.at(f"h[{t}]")[1] for t in range(5)}) == 1
    x, h, o, loss, y = (found.at(f"{name}[2]") for name in ("x", "h", "o", "L", "y"))
    assert x[1] < h[1] < o[1] < loss[1] < y[1]
    assert x[0] == h[0] == o[0] == loss[0] == y[0]


def test_a_reversed_run_goes_to_the_left():
    found = layout("bidirectional", "unrolled")
    backward = {t: found.at(f"backwards.cell.h[{t}]")[0] for t in range(1, 6)}
    assert sorted(backward, key=backward.__getitem__) == [1, 2, 3, 4, 5]
    assert "dashed" in found.nodes["backwards.cell.h[5]"]["style"]
    arrows = [
        (found.by_id[e["tail"]], found.by_id[e["head"]]) for e in found.edges if found.by_id[e["head"]] == "backwards.cell.h[2]"
    ]
    assert ("backwards.cell.h[3]", "backwards.cell.h[2]") in arrows


def test_the_decoder_stands_after_the_encoder():
    found = layout("encoder-decoder", "unrolled")
    assert found.at("decoder.cell.s[1]")[0] > found.at("encoder.cell.h[4]")[0]
    assert found.at("decoder.cell.s[1]")[1] == found.at("encoder.cell.h[4]")[1]


def test_a_cells_own_layout_is_honoured():
    cell = TwoSlots()
    cell.layout = {"f": (0, 2), "i": (1, 2), "g": (2, 2), "o": (3, 2), "c": (1, 3), "h": (3, 4)}
    found = Layout(cell.draw())
    xs = {name: found.at(name)[0] for name in cell.layout}
    ys = {name: found.at(name)[1] for name in cell.layout}
    assert xs["f"] < xs["i"] == xs["c"] < xs["g"] < xs["o"] == xs["h"]
    assert ys["f"] == ys["o"] < ys["c"] < ys["h"]
    assert Layout(TwoSlots().draw()).at("h")[0] != xs["h"]
