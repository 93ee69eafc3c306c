"""TikZ for papers and slides: the content of the file, and that TeX accepts it."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from draw_networks import elman, network

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.draw.sketch import Arc, Sketch, Vertex
from tinygrad_rnn.draw.style import PLAIN, Kind
from tinygrad_rnn.draw.tex import tex
from tinygrad_rnn.draw.tikz import tikz


class Named(nn.Cell):
    """A cell whose names are in Chinese, or have characters with a special meaning in TeX."""

    def __init__(self, state="隐藏状态", weights="权重"):
        super().__init__()
        self.input_size, self.state_shape = 3, (3,)
        self.names = state, weights
        self.W = nn.Parameter((3, 3), symbol=weights)

    def step(self, x, h):
        h = tr.tanh(x + h @ self.W).named(self.names[0])
        return h, h


PICTURES = {
    "unrolled": lambda: network("elman", time="unrolled"),
    "folded": lambda: nn.NARX(3, 2).draw(),
    "ops": lambda: elman().draw(detail="ops"),
    "step": lambda: nn.LSTMCell(3, 5).draw(time="step"),
    "masked and cut": lambda: network("odd", time="unrolled"),
    "special": lambda: Named("a_%&#$~^{}\\", "50 %_x").draw(time="unrolled", steps=2),
    "plan": lambda: nn.RNN(3, 5).plan(T=4, B=2).draw(),
}
CHINESE = {"unrolled": lambda: Named().draw(time="unrolled"), "step": lambda: Named().draw(time="step")}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_has_each_node_and_each_edge_once(name):
    drawing = PICTURES[name]()
    text = drawing.tikz()
    assert text.count(r"\node[") == len(drawing.sketch.vertices) + sum(a.cut or a.label_on for a in drawing.sketch.arcs)
    paths = re.findall(r"^\\path\[[^]]*draw=[^]]*\] \([^c\n]*(?:--|\.\.)", text, re.MULTILINE)
    diamonds = sum(v.shape == "diamond" for v in drawing.sketch.vertices)
    assert len(paths) == len(drawing.sketch.arcs) + diamonds
    assert text.count(r"\fill[") == sum(arc.head for arc in drawing.sketch.arcs)
    assert text.isprintable() or set(text) - {"\n"} == {c for c in text if c.isprintable()}
    names = re.findall(r"\\node\[[^]]*\] \(([^)]*)\)", text)
    assert all(re.fullmatch(r"[\w-]*", name) for name in names)


def test_every_colour_is_defined_once():
    text = PICTURES["unrolled"]().tikz()
    defined = re.findall(r"\\definecolor\{(c[0-9A-F]{6})\}", text)
    assert len(defined) == len(set(defined))
    assert set(re.findall(r"(?<!\{)\bc[0-9A-F]{6}\b", text)) <= set(defined)


@pytest.mark.parametrize("name", [*PICTURES, "highlighted"])
def test_the_colours_are_those_of_the_other_writers(name):
    drawing = PICTURES[name]() if name in PICTURES else nn.LSTMCell(3, 5).draw(time="step", highlight="f")
    named = {"black": "#000000", "white": "#ffffff"}
    in_svg = {named.get(c, c).upper() for c in re.findall(r'(?:fill|stroke)="(?!none)([^"]+)"', drawing.svg())}
    in_tikz = {f"#{c}" for c in re.findall(r"\\definecolor\{c([0-9A-F]{6})\}", drawing.tikz())}
    assert in_svg == in_tikz | {"#FFFFFF"}


def test_the_same_text_in_every_run():
    assert elman().draw(time="unrolled").tikz() == elman().draw(time="unrolled").tikz()


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("W_{out}", r"$W_{\mathrm{out}}$"),
        ("h^{(2)}_{10}", "$h^{(2)}_{10}$"),
        ("b′", "$b'$"),
        ("a^{b}^{c}_{d}", "$a^{b}{}^{c}_{d}$"),
        ("z^{−1}", "$z^{{-}1}$"),
        ("U→", r"$U{\rightarrow}$"),
        ("σ f", r"$\sigma \ f$"),
        ("α_{1}", r"$\alpha _{1}$"),
        ("h̃_{t}", r"$\tilde{h}_{t}$"),
        ("门_{f,1}", r"$\mbox{门}_{f,1}$"),
        ("x_{状}", r"$x_{\mbox{\scriptsize 状}}$"),
        (r"50 %\_a & b \{\}", r"$50\ \%\_a\ \&\ b\ \{\}$"),
    ],
)
def test_labels_are_formulas(label, expected):
    assert tex(label) == expected


def test_letters_that_pdflatex_does_not_know_are_announced():
    assert r"\errmessage{The names in this picture have letters that pdflatex does not know" in CHINESE["unrolled"]().tikz()
    assert "errmessage" not in PICTURES["unrolled"]().tikz()


def test_several_lines_are_stacked():
    sketch = Sketch([Vertex("a", "a", Kind.STATE, "h_{1}\n0.5")])
    assert r"\shortstack{$h_{1}$\\$0.5$}" in tikz(sketch)


def test_straight_lines_are_lines_and_curves_are_curves():
    a, b = (Vertex(name, name, Kind.STATE, name, x=x, width=10.0, height=10.0) for name, x in (("a", 0.0), ("b", 100.0)))
    lines = []
    for bend in (0.0, 30.0):
        arc = Arc(a, b, PLAIN, head=False)
        arc.path = np.array([[5, 0], [35, bend], [65, bend], [95, 0]], float)
        lines += [line for line in tikz(Sketch([a, b], [arc])).splitlines() if line.startswith(r"\path[draw=c8C959F")]
    assert [line.partition("] ")[2] for line in lines] == [
        "(5,0) -- (95,0);",
        "(5,0) .. controls (35,30) and (65,30) .. (95,0);",
    ]


def compiled(folder, source, engine="pdflatex"):
    """The number of pages that TeX makes of a source."""
    if shutil.which(engine) is None:
        pytest.skip(f"there is no {engine}")
    (folder / "main.tex").write_text(source, encoding="utf-8")
    command = [engine, "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120)
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0, log[-2000:]
    return int(re.search(r"Output written on main\.pdf \((\d+) page", log.replace("\n", ""))[1])


@pytest.mark.tex
@pytest.mark.parametrize("name", ["unrolled", "masked and cut", "special"])
def test_a_file_is_a_document_of_one_page(tmp_path, name):
    assert compiled(tmp_path, PICTURES[name]().tikz()) == 1


@pytest.mark.tex
def test_a_file_is_a_picture_in_another_document(tmp_path):
    pictures = [PICTURES["unrolled"](), *PICTURES["unrolled"]().build_up()]
    for k, picture in enumerate(pictures):
        picture.save(tmp_path / f"net{k}.tex")
    frame = "".join(rf"\only<{k + 1}>{{\resizebox{{\linewidth}}{{!}}{{\input{{net{k}}}}}}}" for k in range(len(pictures)))
    if shutil.which("kpsewhich") is None or not subprocess.run(["kpsewhich", "beamer.cls"], capture_output=True).stdout:
        pytest.skip("there is no beamer")
    frames = rf"\begin{{frame}}{frame}\end{{frame}}" * 2
    source = rf"\documentclass{{beamer}}\usepackage{{tikz}}\begin{{document}}{frames}\end{{document}}"
    assert compiled(tmp_path, source) == 2 * len(pictures)


@pytest.mark.tex
def test_lualatex_sets_chinese_names(tmp_path):
    fonts = subprocess.run(["fc-list", "Noto Serif CJK SC"], capture_output=True).stdout if shutil.which("fc-list") else b""
    if not fonts:
        pytest.skip("there is no font with Chinese letters")
    assert compiled(tmp_path, CHINESE["unrolled"]().tikz(), "lualatex") == 1
