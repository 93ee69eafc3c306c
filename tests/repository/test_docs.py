"""The docs: all public names are in the reference, with an example; pages can be read in a repository browser.

.ci/run builds the docs, with warnings as errors; the tests in this file do not need Sphinx. test_pages.py compares the
outputs on the pages with the results of their code.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import runpy
import sys
import xml.etree.ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import tinygrad_rnn
import tinygrad_rnn.draw
from tinygrad_rnn import errors, nn
from tinygrad_rnn.graph.fold import Folded

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def _load(path: Path) -> ModuleType:
    """A file of the docs as a module."""
    spec = importlib.util.spec_from_file_location(f"docs_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


reference = _load(DOCS / "extension" / "reference.py")
formulas = _load(DOCS / "extension" / "formulas.py")
readme_commands = _load(ROOT / ".ci" / "readme_commands.py")

# Rooms whose names are for internal use; a module of the reference exports their public names.
INTERNAL = {
    "cli": "a command, documented by --help",
    "estimators.": "estimators exports what is public",
    "demo": "an application, told about in the tutorial",
    "__main__": "python -m tinygrad_rnn",
    "checks": "of options",
    "guards": "what a trace is held against",
    "extras": "how an optional dependency is imported",
    "graph.source_loops": "how tr.steps finds out that a loop was left",
    "_start": "Ctrl-C before all else",
    "console": "how the commands print",
    "plots": "matplotlib's figures, which the demo and the estimators fill",
    "files": "how files are written and read",
    "lookup": "what the commands find a cell with",
    "_version": "one string",
    "draw.": "how a drawing comes about; draw exports what is public",
    "explain.": "explain exports what is public",
    "views": "graphs made of graphs, which drawing and equations use",
    "nn.trace_cache": "how nn.Recurrent keeps its traces",
    "nn.delays": "what cells with delays share",
    "nn.stream_trace": "how a stream traces its module",
    "storing.": "how tr.save and tr.load describe a model; storing exports what is public",
    "tree": "nested tuples",
    "nn.planning": "Module.plan and Recurrent.plan",
    "nn.call": "what nn.Recurrent does at a step",
    "nn.module_trace": "how drawing and equations look into a cell",
    "ops.axes": "shape rules",
    "ops.dtypes": "the rule for dtypes",
    "ops.facts": "what an operation is; Facts themselves are in the reference",
    "ops.messages": "errors of kernels and shape rules",
    "ops.lengths": "where the rows of a padded batch are real",
    "scan.": "how a step is compiled; scan exports what is public",
    "compilation.": "how a function is compiled; compilation exports what is public",
    "graph.recorder": "what a compiled function records beside its graph",
    "pytorch": "shown in pytorch.md",
    "protocols": "what NumPy's functions do with tensors",
    "testing.": "how a gradient is judged; testing exports what is public, testing.strategies is public itself",
}
INTERNAL_NAMES = {
    "graph.node.Results": "the value of a scan",
    "graph.node.behind_cuts": "a walk that goes on behind cuts, for drawings",
    "graph.node.leaf": "tr.tensor makes leaves",
    "graph.context.current": "what ops.apply does, and where",
    "nn.cell.State": "a type",
    "optim.second_order.parameter_jacobian": "of levenberg_marquardt",
    "ops.TensorLike": "a type",
    "ops.core.TensorLike": "a type",
    **dict.fromkeys(("random.generator", "random.use"), "tr.seed sets it"),
    **dict.fromkeys(("unrolling.as_input", "unrolling.Steps"), "tr.steps and nn.Recurrent go over sequences with them"),
}

# Public names without an example.
NO_EXAMPLE = {
    **dict.fromkeys(errors.__all__, "an error: errors.md has an example of each"),
    **dict.fromkeys(("GradientCheckError", "KinkError", "UndecidedError"), "verdicts: check_gradients has the example"),
    **dict.fromkeys(("Delay", "Reading", "Slice", "Cut"), "parts of a Folded, which has the example"),
    **dict.fromkeys(("Node", "Location", "Unrolling"), "parts of a Graph, which has the example"),
    **dict.fromkeys(("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"), "six of one kind, as in NumPy"),
    **dict.fromkeys(("Formula", "Interval", "Choose", "Primitive"), "what tr.primitive is given and makes; it has the example"),
    **dict.fromkeys(("Part", "Sparse", "pullback"), "for those who write a backward walk of their own"),
    **dict.fromkeys(("Case", "check_case"), "parts of check_primitive, which has the example"),
    **dict.fromkeys(("Report", "CellReport", "PrimitiveReport"), "what the checks return; they have the examples"),
    "Fit": "what lbfgs and levenberg_marquardt return; they have the examples",
    **dict.fromkeys(("Diagnostics", "Orders"), "what diagnostics and select_order return; they have the examples"),
    "fold": "Graph.fold has the example",
    "elements": "arrays and tensors, made of it, have examples",
    "zeros": "nn.init: as its line says",
    "normal": "nn.init: as its line says",
}

# -- the reference -------------------------------------------------------------------------


def _modules() -> list[str]:
    package = Path(tinygrad_rnn.__file__).parent
    names = [".".join(p.relative_to(package).with_suffix("").parts).removesuffix(".__init__") for p in package.rglob("*.py")]
    return sorted(name for name in names if name != "__init__")


def test_every_public_name_is_in_the_reference() -> None:
    documented = {id(entry.value) for found in reference.homes().values() for entry in found}
    missing = []
    for name in _modules():
        internal = any(name.split(".")[0] == room or name.startswith(room) for room in INTERNAL)
        if internal and f"tinygrad_rnn.{name}" not in reference.MODULES:
            continue
        module = importlib.import_module(f"tinygrad_rnn.{name}")
        for public in getattr(module, "__all__", ()):
            value = getattr(module, public)
            foreign = inspect.ismodule(value) or reference._is_foreign(value)
            if not foreign and id(value) not in documented and f"{name}.{public}" not in INTERNAL_NAMES:
                missing.append(f"{name}.{public}")
    assert not missing, f"public, and in no module of docs/extension/reference.py: {missing}"


def test_the_reference_lists_every_module_with_its_source() -> None:
    listed = re.findall(r"^- \[([\w.]+)\]\((\S+)\): \S", (DOCS / "reference.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert tuple(module for module, _ in listed) == reference.MODULES
    for module, source in listed:
        assert (DOCS / source).resolve() == reference.source(module).resolve()


NO_SUBJECT = re.compile(r"(It|Its|What|That|These|Those|They|The same as|The others?|Of)\b")
"""First words of a sentence whose noun is in another sentence."""


@pytest.mark.parametrize("line", ["Of the slots.", "What is read.", "It is a view.", "The other axes."])
def test_a_line_without_a_subject_is_known(line: str) -> None:
    assert NO_SUBJECT.match(line)


def test_first_lines_of_docstrings_are_understood_alone() -> None:
    first_lines = runpy.run_path(str(ROOT / "tools" / "first_lines.py"))["first_lines"]
    lines = list(first_lines())
    assert ("graph.graph", "Graph.names") in {(module, name) for module, name, _ in lines}
    unclear = [f"{module} {name}: {line}" for module, name, line in lines if NO_SUBJECT.match(line)]
    assert not unclear, f"name the subject, as in a table of contents (python tools/first_lines.py): {unclear}"


def test_every_public_name_has_a_docstring_and_an_example() -> None:
    without, needless = [], set(NO_EXAMPLE)
    for module, found in reference.homes().items():
        for entry in found:
            if not callable(entry.value):
                continue
            text = inspect.getdoc(entry.value) or ""
            assert text, f"{entry.path} has no docstring"
            if ">>>" not in text:
                needless.discard(entry.name)
                if entry.name not in NO_EXAMPLE:
                    without.append(f"{module}.{entry.name}")
    assert not without, f"without an example: {without}"
    assert not needless, f"listed in NO_EXAMPLE without need: {sorted(needless)}"


def _callables() -> Iterator[tuple[str, Callable[..., object]]]:
    """Public functions and classes, and the public methods that a class defines."""
    for found in reference.homes().values():
        for entry in found:
            if inspect.isclass(entry.value):
                methods = ((name, value) for name, value in vars(entry.value).items() if inspect.isfunction(value))
                yield from ((f"{entry.path}.{name}", value) for name, value in methods if name[0] != "_")
            elif inspect.isfunction(entry.value):
                yield entry.path, entry.value


def test_options_are_listed() -> None:
    """The help of a function shows all options, and not only ``**options``."""
    silent = [
        name
        for name, value in _callables()
        for p in inspect.signature(value).parameters.values()
        if p.kind is p.VAR_KEYWORD and f"**{p.name}\n" not in (inspect.getdoc(value) or "")
    ]
    assert silent == ["tinygrad_rnn.nn.Module.forward"]  # each module documents its own forward


def _arguments(function: Callable[..., object]) -> dict[str, object]:
    """All parameters except the first, with their defaults."""
    return {p.name: p.default for p in list(inspect.signature(function).parameters.values())[1:]}


def test_drawing_is_the_same_by_method_and_by_function() -> None:
    assert _arguments(nn.Module.draw) == _arguments(tinygrad_rnn.draw.draw_module)
    assert _arguments(tinygrad_rnn.Graph.draw) == _arguments(tinygrad_rnn.draw.draw)
    assert _arguments(Folded.draw) == _arguments(tinygrad_rnn.draw.draw) | {"time": "folded"}
    for method in (nn.Module.draw, tinygrad_rnn.Graph.draw):
        described = re.findall(r"^(\w+) : ", inspect.getdoc(method) or "", re.MULTILINE)
        assert described == list(_arguments(method))


@pytest.mark.parametrize(
    "model", [value for value in vars(nn).values() if inspect.isclass(value) and issubclass(value, nn.Module)]
)
def test_every_model_draws_with_the_same_arguments(model: type[nn.Module]) -> None:
    assert model.draw is nn.Module.draw


def test_every_error_is_on_the_page_of_errors() -> None:
    text = (DOCS / "errors.md").read_text(encoding="utf-8")
    missing = [name for name in errors.__all__ if not re.search(rf"^## .*\b{name}\b|`[\w.]*{name}`", text, re.MULTILINE)]
    assert not missing


# -- README --------------------------------------------------------------------------------


@pytest.mark.parametrize("heading, words", [("Run", ("tinygrad-rnn demo",)), ("Test", ("-m pytest",))])
def test_readme_has_the_command(heading: str, words: tuple[str, ...]) -> None:
    line = readme_commands.command((ROOT / "README.md").read_text(encoding="utf-8"), heading)
    assert line.startswith("python3 -m venv ")
    assert all(word in line for word in words)


def test_a_heading_in_a_code_block_is_none() -> None:
    readme = "# x\n```sh\n## Run\n```\n## Run\n\n~~~sh\n$ do it\n~~~\n## Test\n```\nno\n```\n"
    assert readme_commands.command(readme, "Run") == "do it"
    with pytest.raises(SystemExit, match="no code block"):
        readme_commands.command("## Run\n## Test\n```\nx\n```\n", "Run")


def test_the_docs_tell_how_to_install_and_what_each_extra_brings() -> None:
    install = (DOCS / "install.md").read_text(encoding="utf-8")
    assert "pip install .\n" in install
    declared = (ROOT / "setup.cfg").read_text(encoding="utf-8").partition("[options.extras_require]")[2]
    extras = re.findall(r"^(\w+) =$", declared, re.MULTILINE)
    cells = re.findall(r"^\| ([^|]+) \|", install, re.MULTILINE)
    assert re.findall(r"`(\w+)`", " ".join(cells)) == extras


# -- pages in a repository browser -----------------------------------------------------------


MADE = re.compile(r"\.(?!ci$).*|_build|generated|build|dist|out|__pycache__|.*\.egg-info")


def _is_kept(path: Path) -> bool:
    """Whether a file belongs to the repository, and is not generated by a tool."""
    return path.is_file() and not any(MADE.fullmatch(part) for part in path.relative_to(ROOT).parts)


KEPT = set(filter(_is_kept, ROOT.rglob("*")))
TEXTS = sorted(path for path in KEPT if path.suffix == ".md")
each_text = pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))


def _prose(path: Path) -> str:
    """The text of a page without its code."""
    text = re.sub(r"^(```+).*?^\1", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"(`+)[^`\n]+\1", "code", text)


def _targets(text: str) -> list[str]:
    """The targets of a page's links and images, in this repository."""
    found = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"""(?:src|href)=["']([^"']+)["']""", text)
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def _anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as on code hosts."""
    text = re.sub(r"^(```+).*?^\1", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
    names = [heading.strip().replace(" ", "-") for heading in headings]
    return {name + (f"-{n}" if (n := names[:i].count(name)) else "") for i, name in enumerate(names)}


@each_text
def test_links_lead_to_what_is_kept(path: Path) -> None:
    """Each link leads to an existing file or folder of the repository, and to an existing heading."""
    dead = []
    for target in _targets(_prose(path)):
        name, _, anchor = target.partition("#")
        there = Path(os.path.normpath(path.parent / name)) if name else path
        is_kept = there in KEPT or any(there in file.parents for file in KEPT)
        if not is_kept or (anchor and anchor not in _anchors(there)):
            dead.append(target)
    assert not dead, f"{path.relative_to(ROOT)} links to {dead}"


@each_text
def test_pages_are_plain_markdown(path: Path) -> None:
    """Pages have no directive and no role, because text that needs Sphinx cannot be read in a repository browser."""
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"^ *(?:```+|:::+) *\{.*|\{[a-z:]+\}`", text, re.MULTILINE)


@each_text
def test_prose_does_not_say_where_pictures_stand(path: Path) -> None:
    """The width of the window decides whether pictures are side by side or below each other."""
    assert not re.findall(r"(?i)\bon the (?:left|right)\b|\b(?:left|right)(?:-hand)? (?:one|panel|picture)\b", _prose(path))


def test_every_page_of_the_docs_is_listed() -> None:
    """All pages can be reached from the first page."""
    contents = [DOCS / "index.md", DOCS / "zh" / "index.md"]
    listed = {Path(os.path.normpath(path.parent / target)) for path in contents for target in _targets(_prose(path))}
    assert {path for path in TEXTS if DOCS in path.parents and path != contents[0]} <= listed
    assert DOCS / "index.md" in {ROOT / target for target in _targets(_prose(ROOT / "README.md"))}


def _terms(path: Path) -> list[tuple[str, str]]:
    """The first and the third column of a glossary: a term, and the same term in the other language."""
    rows = [line.split("|") for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [(term.strip(), other.strip()) for _, term, _, other, sentence, _ in rows if sentence.strip()]


def test_both_glossaries_have_the_same_terms() -> None:
    english, chinese = _terms(DOCS / "glossary.md"), _terms(DOCS / "zh" / "glossary.md")
    assert len(english) > 60
    assert english == [(other, term) for term, other in chinese]


def test_every_picture_of_the_docs_is_shown() -> None:
    shown = {Path(os.path.normpath(path.parent / target)) for path in TEXTS for target in _targets(_prose(path))}
    assert {path for path in KEPT if path.is_relative_to(DOCS / "pictures")} <= shown


@pytest.mark.parametrize("path", sorted(p for p in KEPT if p.suffix == ".svg"), ids=lambda p: str(p.relative_to(ROOT)))
def test_pictures_can_be_seen_in_a_repository_browser(path: Path) -> None:
    """In a repository browser an SVG is an image: no script runs, no file is loaded, and the background may be dark."""
    svg = path.read_text(encoding="utf-8")
    xml.etree.ElementTree.fromstring(svg)
    assert not re.search(r"<script|<foreignObject|@import|@font-face|\bon\w+=|(?:href|src)=[\"'](?!#|data:)|url\((?!#)", svg)
    first = re.search(r"<(?:polygon|path|rect)\b[^>]*>", svg)
    assert first is not None
    assert re.search(r"fill(?:=\"|: ?)(?:white|#fff(?:fff)?)\b", first[0]), "no opaque background"


def test_pictures_are_small_together() -> None:
    assert sum(path.stat().st_size for path in KEPT if path.suffix in (".svg", ".png")) < 8e6


@pytest.mark.parametrize("path", [p for p in TEXTS if DOCS in p.parents], ids=lambda p: str(p.relative_to(ROOT)))
def test_formulas_can_be_set(path: Path) -> None:
    """Mathtext, which knows less than LaTeX, sets the formulas when the docs are built."""
    text = _prose(path)
    displayed = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
    for latex in displayed.findall(text):
        formulas.block(latex)
    for latex in re.findall(r"\$([^$]+)\$", displayed.sub("", text)):
        formulas.svg(latex, False)


def test_one_word_for_one_thing() -> None:
    """The library prints the letters of the notation page: U for the input, W for the recurrence, V for the output."""
    latex = tinygrad_rnn.nn.RNNCell(2, 3).equations()
    assert "U x_t" in latex and "W h_{t-1}" in latex
    symbols = [parameter.symbol for parameter in tinygrad_rnn.nn.Linear(2, 3).parameters()]
    assert symbols == ["V", "c"]


@pytest.mark.parametrize("path", ["docs/overview.md", "docs/tutorial/proof.md"])
def test_where_check_is_shown_its_extra_is_named(path: str) -> None:
    paragraph = next(
        p for p in (ROOT / path).read_text(encoding="utf-8").split("\n\n") if "From a shell" in p or "`tinygrad-rnn check" in p
    )
    assert re.search(r"`test`|\[test\]", paragraph)
