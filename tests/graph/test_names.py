"""Names of all kinds, in equations, DOT and SVG; characters that no picture can show are replaced when a name is set."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.checks import clean_name
from tinygrad_rnn.draw.symbols import pretty, text_width
from tinygrad_rnn.explain.names import subscripted

ODD = (
    *(
        "W_",
        "h_",
        "x__y",
        "lambda_",
        "z^",
        "a b",
        "%",
        "#",
        "$",
        "$$",
        "&",
        "~",
        "\\",
        "a\\b",
        "{",
        "}",
        "{}",
        "{a",
        "a}",
        "a{b}c",
    ),
    *(
        "'",
        "''",
        "'a",
        "^a",
        "_a",
        "_",
        "__",
        "^",
        "^^",
        "^_",
        "a^b'",
        "a'^b",
        "a^b^c",
        "a_b_c",
        "a^_b",
        "a^{}",
        "a_{}",
        "a_{b",
    ),
    *(
        "{{a}",
        "1a",
        "12",
        "-",
        "a-b",
        "[x]",
        "*",
        "a*b",
        "隐藏",
        "隐_藏",
        "α",
        "Ω_1",
        "W_Ω",
        "αb",
        "é_1",
        "😀",
        "<b>",
        "</svg>",
    ),
    *("<!--", "]]>", '"', "`", "a,b", "a:b", "a;b", "a|b", "a/b", "\\hat{y}", "\\hat y", "\\hat", "\\foo", "\\foo{a}"),
    *("\\alpha_1", "\\alpha\\beta", "\\text{a_b}", "\\text{in}_t", "\\mathrm{in}", "\\input{x}", "\\\\", "\\{", "\\,"),
    *("W^{(2)}", "W_{f_{g_{h_{i_{j}}}}}", "x" * 3000, "\u202eabc", "a\u00a0b", "a\u0301", "\u0301", "👨\u200d👩"),
    *("N", "E", "graph", "node", "a\\n", "a\\", "%s", "{0}", "{x:T}"),
)
HIDDEN = ("a\0b", "\n", "a\nb", "a\tb", "\x1b[31m", "\x7f", "\x85", "\ud800", "a\udfffb", "\u2028", "\ufffe", "\uffff")
EMPTY = ("", " ", "   ", "\u2003")
names = st.one_of(
    st.sampled_from(ODD + HIDDEN),
    st.text("ab_^{}\\'$%&#~ 1<>\"αé隐\n\0", min_size=1, max_size=8),
    st.text(min_size=1, max_size=12),
    st.text(st.characters(), min_size=1, max_size=6),
).filter(lambda name: not name.isspace())


# A small independent checker of TeX formulas: it knows the allowed parts, but not how names are printed.
TOKEN = re.compile(r"\\([A-Za-z]+)|\\(.)|(.)", re.DOTALL)
_TEXT = {"text", "textbf", "textit", "textrm", "operatorname"}
_ONE_GROUP = """mathrm mathbf mathit mathcal mathsf mathtt mathbb mathfrak boldsymbol hat tilde bar overline underline dot
ddot vec widehat widetilde overrightarrow overleftarrow"""
ONE_GROUP = {*_TEXT, *_ONE_GROUP.split()}
_ALONE = """alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega
Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega backslash wedge sim ast prime varepsilon vartheta varphi varrho
varsigma ell hbar infty partial nabla star circ dagger top bot perp parallel odot oplus otimes cdot times pm mp to leftarrow
rightarrow
leftrightarrow uparrow downarrow vee ldots"""
ALONE = set(_ALONE.split())


def accepted(latex: str) -> bool:
    """Whether TeX accepts a formula: braces match, scripts have a base and are not doubled, and commands exist."""
    tokens = [m.groups() for m in TOKEN.finditer(latex)]
    at = _row(tokens, 0, False)
    return at == len(tokens)


def _row(tokens: list[tuple[str, str, str]], at: int, text: bool) -> int:
    base, scripts = False, set()
    while at < len(tokens):
        command, escaped, char = tokens[at]
        if char == "}":
            return at
        if text:
            assert not command and (not escaped or escaped in "%#$&_{}") and char not in "\\$%&#_^~{", tokens[at]
            at += 1
        elif char and char in "^_":
            assert base and char not in scripts and not (char == "^" and "'" in scripts), "a script"
            scripts.add(char)
            at = _one(tokens, at + 1)
        elif char == "'":
            assert "^" not in scripts, "a prime behind a superscript"
            scripts.add("'")
            base, at = True, at + 1
        elif char == " ":
            at += 1
        else:
            base, scripts = True, set()
            at = _one(tokens, at)
    return at


def _one(tokens: list[tuple[str, str, str]], at: int) -> int:
    assert at < len(tokens), "nothing where there must be something"
    command, escaped, char = tokens[at]
    if char == "{":
        end = _row(tokens, at + 1, False)
        assert end < len(tokens) and end > at + 1, "braces"
        return end + 1
    if command in ONE_GROUP:
        assert tokens[at + 1][2] == "{", command
        end = _row(tokens, at + 2, command in _TEXT)
        assert end < len(tokens) and end > at + 2, command
        return end + 1
    if command:
        assert command in ALONE, command
    elif escaped:
        assert escaped in "%#$&_{}", escaped
    else:
        assert char not in "%#$&~}^_'\\" and (char.isascii() and char != "[" and char != "*"), char
    return at + 1


@pytest.mark.parametrize("name", ODD, ids=lambda name: repr(name)[:30])
def test_odd_names_are_latex(name):
    for latex in (subscripted(name), subscripted(name, "t"), subscripted(name, r"\mathrm{a}", "t-1")):
        assert accepted(latex), latex
        assert accepted(rf"{{{latex}}}^{{\top}} x"), latex


@settings(max_examples=500)
@given(names)
def test_any_name_is_latex(name):
    name = clean_name(name)
    assert accepted(subscripted(name)) and accepted(subscripted(name, "t")) and accepted(subscripted(name, "t-1", "u"))


@pytest.mark.parametrize(
    ("name", "latex"),
    [
        ("h", "h_t"),
        ("W_f", "W_{f,t}"),
        ("a^f", "a^f_t"),
        ("b'", "b'_t"),
        ("W^{(2)}", "W^{(2)}_t"),
        (r"\hat{y}", r"\hat{y}_t"),
        (r"\alpha_1", r"\alpha_{1,t}"),
        ("β", r"\beta_t"),
        ("x_in", "x_{in,t}"),
        ("forget gate", r"\text{forget gate}_t"),
        ("coef_", r"{\text{coef}\_}_t"),
        ("a^b'", r"a^{\prime,b}_t"),
    ],
)
def test_what_names_look_like(name, latex):
    assert subscripted(name, "t") == latex


def test_names_stay_apart():
    for group in (("W", "W_", "W__", "W^", "W'"), ("a b", "ab", "a_b", "a~b", "a\\b"), ("%", "#", "$", "&", "{", "}")):
        assert len({subscripted(name) for name in group}) == len(group)


class Named(nn.Cell):
    """The same name for a parameter, a value, an attribute, a scope, a slot and an input."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name_of_all = name
        self.U = nn.Parameter(np.eye(2), symbol=name)
        setattr(self, f"{name}_", nn.Parameter(np.eye(2)))
        self.inner = nn.Linear(2, 2, symbols=(name, f"{name}'"))
        self.state_shape = (2,)

    def step(self, x, h):
        name = self.name_of_all
        with tr.scope(name):
            a = (x @ self.U + h @ getattr(self, f"{name}_")).named(name)
            h = (tr.tanh(self.inner(a)) * a).named(f"{name}h")
        return h, h


def _parts(latex: str) -> list[str]:
    """The two sides of each equation, without the LaTeX around names."""
    inside = latex.removeprefix("\\begin{aligned}\n").removesuffix("\n\\end{aligned}")
    return [part for line in inside.split(" \\\\\n") for part in line.split(" &= ")]


@settings(max_examples=25, deadline=None)
@given(names.filter(lambda name: len(name) < 100))
def test_any_name_everywhere(name):
    cell = Named(name)
    for backward in (False, True):
        for part in _parts(cell.equations(backward=backward)):
            plain = part.replace(r"\left(", "(").replace(r"\right)", ")").replace(r"\tanh", "t").replace(r"\frac", "")
            plain = re.sub(r"\\sum_t|\\operatorname\{diag\}", "s", plain)
            assert accepted(plain), part
    for options in ({}, {"time": "unrolled", "steps": 2}, {"detail": "ops"}, {"time": "step"}):
        drawing = cell.draw(**options)
        for text in (drawing.source, drawing.title, drawing.description):
            ElementTree.fromstring(f"<a>{text.replace('&', '&amp;').replace('<', '&lt;')}</a>")
        assert drawing.source.count('""') == drawing.source.count('=""'), "a node without a name"
    assert name in cell.state_dict() or f"{name}_" in cell.state_dict()


@pytest.mark.parametrize(
    "name", ["$", "{}", "<b>", "a\\", '"', "隐藏", "😀", "</svg>", "x" * 3000, "\u202eabc", "%&~"], ids=lambda n: repr(n)[:20]
)
def test_graphviz_takes_odd_names(name):
    for options in ({}, {"detail": "ops"}):
        ElementTree.fromstring(Named(name).draw(**options).svg())
    x = tr.tensor([1.0], requires_grad=True).named(name)
    ElementTree.fromstring(tr.graph((x * x).named(f"{name}2")).draw().svg())


@pytest.mark.parametrize("name", ODD, ids=lambda name: repr(name)[:30])
def test_what_a_picture_shows_is_never_nothing(name):
    assert pretty(name) and text_width(pretty(name), 12) < 1000


@pytest.mark.parametrize("name", HIDDEN, ids=ascii)
def test_control_characters_become_visible(name):
    seen = clean_name(name)
    assert seen.isprintable() and len(seen) == len(name)
    with tr.scope(name):
        assert tr.tanh(tr.tensor([1.0]).named(name)).node.scope == seen
    assert tr.tensor([1.0]).named(name).name == nn.Parameter((2,), symbol=name).name == seen
    module = nn.Module()
    setattr(module, name, nn.Linear(1, 1))
    assert module.state_dict().keys() == {f"{name}.weight", f"{name}.bias"}  # keys are the attribute names
    assert getattr(module, name).weight.node.scope == seen


@pytest.mark.parametrize("name", EMPTY, ids=ascii)
def test_an_empty_name_is_none(name):
    x = tr.tensor([1.0], requires_grad=True)
    assert x.named(name).name is None
    assert x.named("x").named(name) is x and x.name == "x"
    assert nn.Parameter((2,), symbol=name).name is None
    with tr.scope("a"), tr.scope(name):
        y = tr.tanh(x).named(name, role="output")
    assert (y.node.scope, y.node.role) == ("a", "output")
    ElementTree.fromstring(tr.graph(y).draw().svg())


def test_a_drawing_s_text_is_xml_whatever_it_was_made_of():
    from tinygrad_rnn.draw.drawing import Drawing
    from tinygrad_rnn.draw.sketch import Sketch, Vertex
    from tinygrad_rnn.draw.style import Kind

    sketch = Sketch([Vertex("\x01\ud800\uffff", "family", Kind.STATE, "\x01\ud800\uffff")])
    drawing = Drawing(sketch, "a\x1btitle\0", "\x0cwords")
    drawing.source.encode()
    ElementTree.fromstring(drawing.svg())
