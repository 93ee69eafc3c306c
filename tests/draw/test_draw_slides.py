"""Features for slides and notebooks: an aspect ratio, a picture built up step by step, pictures side by side."""

import itertools
import re
import xml.etree.ElementTree as ET

import pytest
from draw_networks import elman
from sketch_check import faults

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.draw import Drawings
from tinygrad_rnn.draw.marks import extent
from tinygrad_rnn.draw.style import PAD, Kind
from tinygrad_rnn.draw.symbols import plain
from tinygrad_rnn.errors import TinygradError


def size(drawing):
    left, bottom, right, top = extent(drawing.sketch)
    return right - left + 2 * PAD, top - bottom + 2 * PAD


@pytest.mark.parametrize("aspect", [16 / 9, 4 / 3, 1, 0.5])
@pytest.mark.parametrize(
    "draw",
    [
        lambda **k: elman().draw(time="unrolled", loss=nn.mse, total=True, **k),
        lambda **k: nn.NARX(3, 2).draw(**k),
        lambda **k: nn.LSTMCell(3, 5).draw(time="step", **k),
        lambda **k: tr.graph(tr.tanh(tr.tensor([1.0]).named("x"))).draw(**k),
    ],
    ids=["unrolled", "folded", "step", "operations"],
)
def test_a_picture_has_the_aspect_that_it_is_asked_for(draw, aspect):
    drawing = draw(aspect=aspect)
    width, height = size(drawing)
    assert width / height == pytest.approx(aspect, rel=1e-3)
    root = ET.fromstring(drawing.svg())
    assert float(root.get("width")[:-2]) / float(root.get("height")[:-2]) == pytest.approx(aspect, rel=1e-2)
    assert not faults(drawing.sketch, extent(drawing.sketch))


def test_a_wide_picture_has_its_columns_apart_and_not_only_a_border():
    narrow, wide = (elman().draw(time="unrolled", loss=nn.mse, steps=3, **k) for k in ({}, {"aspect": 2}))
    first, last = (next(v.x for v in wide.sketch.vertices if plain(v.label) == label) for label in ("x₁", "x₃"))
    assert last - first > 1.5 * (size(narrow)[0] - size(wide)[0] + last - first) or last - first > 300


@pytest.mark.parametrize("aspect", [0, -1, "16:9", 1000, float("nan")])
def test_an_aspect_that_is_none(aspect):
    with pytest.raises(ValueError, match=r"width of a picture over its height, must be from 0\.05 to 20"):
        elman().draw(aspect=aspect)


def test_a_picture_is_built_up_in_its_places():
    drawing = elman().draw(time="unrolled", loss=nn.mse, total=True, shared="node")
    slides = drawing.build_up()
    assert len(slides) == 4
    shown = [{v.name: (v.x, v.y) for v in slide.sketch.vertices} for slide in slides]
    for before, after in itertools.pairwise(shown):
        assert before.items() < after.items()
    assert shown[-1].keys() == {v.name for v in drawing.sketch.vertices}
    assert {extent(slide.sketch) for slide in slides} == {extent(drawing.sketch)}
    for t, slide in enumerate(slides, 1):
        labels = {plain(v.label) for v in slide.sketch.vertices}
        assert {f"x{'₀₁₂₃₄'[t]}", "h₀", "U, W, b, b′"} <= labels
        assert ("L" in labels) == (t == 4)
        assert not {f"x{'₀₁₂₃₄'[k]}" for k in range(t + 1, 5)} & labels
        ends = {v for arc in slide.sketch.arcs for v in (arc.source, arc.target)}
        assert ends <= set(slide.sketch.vertices)


def test_a_dot_comes_with_the_second_line():
    slides = elman().draw(time="unrolled", shared="node").build_up()
    dots = [sum(v.kind is Kind.JUNCTION for v in slide.sketch.vertices) for slide in slides]
    assert dots == [0, 2, 4, 6]


@pytest.mark.parametrize("draw", [elman().draw, lambda: nn.LSTMCell(3, 5).draw(time="step")])
def test_only_an_unrolled_picture_is_built_up(draw):
    with pytest.raises(TinygradError, match="only an unrolled drawing has steps to build up"):
        draw().build_up()


def test_pictures_side_by_side():
    a, b, c = (elman().draw(time=time) for time in ("folded", "unrolled", "folded"))
    row = a | b | c
    assert isinstance(row, Drawings) and list(row) == [a, b, c] == list(a | (b | c))
    bundle = row._repr_mimebundle_()
    assert bundle["text/html"].count("<svg") == 3
    assert (
        bundle["text/plain"]
        == repr(row)
        == ("<Drawings of Sequential, folded over time | Sequential, unrolled over 4 steps | Sequential, folded over time>")
    )
    assert not re.search(r"</?script|http(?!://www\.w3\.org)", bundle["text/html"])
    with pytest.raises(TypeError):
        a | 3


def test_pictures_side_by_side_are_saved_each_in_its_file(tmp_path):
    row = elman().draw() | elman().draw(time="unrolled")
    assert row.save(tmp_path / "two.gv") == [tmp_path / "two-1.gv", tmp_path / "two-2.gv"]
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == [drawing.source for drawing in row]
