"""Saving and showing drawings, with and without a renderer."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from dot_labels import readable
from draw_networks import elman, network

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.draw import render
from tinygrad_rnn.errors import DataError, RendererError

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def no_renderer(monkeypatch):
    monkeypatch.setattr(render.shutil, "which", lambda name: None)
    monkeypatch.setattr(render.importlib.util, "find_spec", lambda name: None)


@pytest.mark.parametrize(
    ("suffix", "start"),
    [("svg", b"<svg"), ("png", b"\x89PNG"), ("pdf", b"%PDF"), ("gv", b"digraph"), ("tex", b"% Sequential"), ("SVG", b"<svg")],
)
def test_the_suffix_is_the_format(tmp_path, suffix, start):
    path = elman().draw().save(tmp_path / f"net.{suffix}")
    assert path.read_bytes().startswith(start)


@pytest.mark.parametrize("name", ["net.jpeg", "net", "net.svg.zip"])
def test_another_suffix_is_an_error_that_names_those_there_are(tmp_path, name):
    with pytest.raises(DataError, match=r"\.svg, \.png, \.pdf, \.tex or \.gv"):
        elman().draw().save(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["gv", "svg"])
def test_a_path_that_cannot_be_written(tmp_path, suffix):
    with pytest.raises(DataError, match="cannot write the drawing"):
        elman().draw().save(tmp_path / "nowhere" / f"net.{suffix}")


def test_the_svg_can_be_read_aloud():
    root = ET.fromstring(network("elman", time="unrolled").svg())
    assert root.tag == f"{SVG}svg"
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == "Sequential, unrolled over 4 steps"
    assert "x₁ → h₁ by U" in root.find(f"{SVG}desc").text


def ids(svg):
    return re.findall(r'\bid="([^"]+)"', svg)


def test_two_figures_on_a_page_share_no_id():
    figures = [network(name, time=time).svg() for name in ("elman", "jordan") for time in ("folded", "unrolled")]
    figures += [elman().draw(time="unrolled", steps=steps).svg() for steps in (2, 3)]
    found = [name for svg in figures for name in ids(svg)]
    assert len(found) == len(set(found)) > 60


def test_what_is_drawn_can_be_found_by_its_name_and_by_its_kind():
    root = ET.fromstring(network("elman", time="unrolled").svg())
    groups = {group.attrib["id"].rpartition("-Sequential")[2].partition("-")[2]: group for group in root.iter(f"{SVG}g")}
    suffixes = {name.partition("-")[2]: group.attrib["class"] for name, group in groups.items()}
    assert suffixes["x-1"] == "node input" and suffixes["0.cell.h-2"] == "node state"
    assert suffixes["x-1-to-0.cell.h-1"] == "edge from-input to-state"
    assert suffixes["0.cell.h-1-to-0.cell.h-2"] == "edge from-state to-state recurrent"


def test_the_card_is_opaque_and_light():
    root = ET.fromstring(elman().draw().svg())
    card, box = root.find(f"{SVG}rect").attrib, root.attrib["viewBox"].split()
    assert card["fill"] == "white"
    assert [card["x"], card["y"], card["width"], card["height"]] == box


def test_a_notebook_gets_the_picture():
    bundle = elman().draw()._repr_mimebundle_()
    assert bundle["image/svg+xml"].startswith("<svg")
    assert bundle["text/plain"] == "<Drawing of Sequential, folded over time>"


@pytest.mark.parametrize("time", ["folded", "unrolled", "step"])
def test_svg_needs_no_renderer(monkeypatch, tmp_path, time):
    monkeypatch.setattr(render.subprocess, "run", lambda *args, **options: pytest.fail("a renderer was called"))
    monkeypatch.setattr(render.shutil, "which", lambda name: pytest.fail("a renderer was looked for"))
    drawing = elman().draw(time=time)
    assert drawing._repr_svg_() == drawing.svg() == drawing.save(tmp_path / "net.svg").read_text(encoding="utf-8")
    assert "<svg" in tr.graph(tr.tensor([1.0]) * 2).draw().svg()
    assert "<svg" in nn.Recurrent(nn.RNNCell(2, 3)).plan(T=5).draw().svg()
    shown = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    drawing.show()
    assert shown[0].endswith(".svg")


def test_a_graph_in_a_notebook_never_raises(no_renderer, monkeypatch):
    graph = tr.graph(tr.tensor([1.0]) * 2)
    assert "<svg" in graph._repr_mimebundle_()["image/svg+xml"]
    monkeypatch.setattr("tinygrad_rnn.draw.draw", lambda graph, **options: 1 / 0)
    assert "multiply" in graph._repr_mimebundle_()["text/plain"]


def test_without_a_renderer_saving_says_how_and_leaves_the_dot(no_renderer, tmp_path):
    with pytest.raises(RendererError, match=re.escape(render.HOW)):
        elman().draw().save(tmp_path / "net.png")
    assert (tmp_path / "net.gv").read_text().startswith("digraph")
    assert elman().draw().save(tmp_path / "other.gv").exists()


def test_a_renderer_that_fails_says_so():
    with pytest.raises(RendererError, match="Graphviz could not draw the picture"):
        render.render("digraph {", "png")


def test_a_picture_that_takes_too_long():
    with pytest.raises(RendererError, match="took more than"):
        render.render("digraph { a }", "svg", limit=1e-6)


def test_pygraphviz_is_used_where_there_is_no_dot(monkeypatch, tmp_path):
    pytest.importorskip("pygraphviz")
    monkeypatch.setattr(render.shutil, "which", lambda name: None)
    assert sys.executable in render._command("png")
    assert elman().draw().save(tmp_path / "net.png").read_bytes().startswith(b"\x89PNG")


def shapes(svg):
    """Ellipses of a picture, and the starting points of its other nodes and edges, relative to the card's corner."""
    root = ET.fromstring(svg)
    left, top = map(float, root.attrib["viewBox"].split()[:2])
    (move,) = [
        re.search(r"translate\(([-\d.]+)[ ,]([-\d.]+)\)", g.attrib["transform"])
        for g in root.iter(f"{SVG}g")
        if "transform" in g.attrib
    ] or [None]
    dx, dy = map(float, move.groups()) if move else (-left, -top)
    found = {"ellipse": [], "path": [], "text": []}
    for element in root.iter():
        kind, at = element.tag.removeprefix(SVG), element.attrib
        if kind == "ellipse":
            found[kind].append((float(at["cx"]) + dx, float(at["cy"]) + dy, float(at["rx"]), float(at["ry"])))
        elif kind == "text":
            found[kind].append((float(at["x"]) + dx, float(at["y"]) + dy))
        elif kind == "path" and at["fill"] == "none":
            numbers = [float(n) for n in re.findall(r"-?\d+\.?\d*", at["d"])]
            found[kind].append((numbers[0] + dx, numbers[1] + dy, numbers[-2] + dx, numbers[-1] + dy))
    return {kind: sorted(numbers) for kind, numbers in found.items()}


@pytest.mark.parametrize("library", [pytest.param(False, marks=pytest.mark.dot), True])
@pytest.mark.parametrize(
    ("name", "time"),
    [("elman", "unrolled"), ("two-slots", "folded"), ("mask", "unrolled"), ("bidirectional", "unrolled"), ("odd", "unrolled")],
)
def test_graphviz_draws_the_same_picture(name, time, library, monkeypatch):
    if library:
        pytest.importorskip("pygraphviz")
        monkeypatch.setattr(render.shutil, "which", lambda name: None)
    drawing = network(name, time=time)
    ours, theirs = shapes(drawing.svg()), shapes(render.render(readable(drawing.source), "svg").decode())
    for kind, found in ours.items():
        assert len(found) == len(theirs[kind]) > 0, kind
        for a, b in zip(found, theirs[kind], strict=True):
            assert all(abs(m - n) <= 4 for m, n in zip(a, b, strict=True)), (kind, a, b)


AWKWARD = [
    'a"b',
    "back\\slash",
    "new\nline",
    "a:b:c",
    "<b>bold</b>",
    "{x|y}",
    "-> b;",
    "ünï",
    "\\N",
    "#",
    "h[1]",
    "a -> b",
    "",
    '<b>&"',
    "\x00\x1f\ud800",
]


@pytest.mark.parametrize("name", AWKWARD)
def test_names_are_escaped(name):
    W = tr.Parameter([[1.0]], symbol=name)
    h = tr.tensor([[0.0]])
    for _, x in tr.steps(tr.tensor([[[1.0]], [[2.0]], [[3.0]]]).named(name)):
        h = tr.tanh(x + h @ W).named(name)
    graph = tr.graph(h)
    for drawing in (graph.draw(), graph.draw(time="folded"), graph.draw(detail="ops"), tr.graph(tr.grad(h.sum(), W)).draw()):
        svg = drawing.svg()
        ET.fromstring(svg)
        assert len(ids(svg)) == len(set(ids(svg))) > 0
    texts = " ".join(t.text or "" for t in ET.fromstring(graph.draw().svg()).iter(f"{SVG}text"))
    if name == "<b>bold</b>":
        assert "<b>bold</b>" in texts
    if name == 'a"b':
        assert 'a"b' in texts


def test_importing_the_library_imports_no_graphviz():
    code = "import sys, tinygrad_rnn; sys.exit('graphviz' in sys.modules or 'pygraphviz' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


SNAPSHOTS = [
    (name, time) for name in ("elman", "two-slots", "gated", "narx", "encoder-decoder") for time in ("folded", "unrolled")
]
SNAPSHOTS += [(name, "step") for name in ("two-slots", "gated", "narx", "odd")]


@pytest.mark.parametrize(("name", "time"), SNAPSHOTS)
def test_the_dot_is_as_it_was(name, time):
    """Rewrite with ``PYTHONPATH=tests/helpers python tests/draw/test_draw_files.py`` after looking at the pictures."""
    assert network(name, time=time).source == snapshot(name, time).read_text()


def test_the_dot_is_the_same_in_every_run():
    code = "import sys; sys.path.insert(0, 'tests/helpers'); from draw_networks import network; print(network('odd').source)"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=Path(__file__).parents[2],
            env={"PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8", "PYTHONPATH": "."},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1
    assert "digraph" in runs.pop()


def snapshot(name, time):
    return Path(__file__).parent / "pictures" / f"{name}-{time}.gv"


def test_a_drawing_prints_as_its_dot():
    drawing = nn.RNNCell(2, 3).draw()
    assert str(drawing) == drawing.source


if __name__ == "__main__":
    for case, when in SNAPSHOTS:
        snapshot(case, when).write_text(network(case, time=when).source)
