"""What the docs say: all that is public is in the reference, with an example; code runs; links lead somewhere.

The docs themselves are built, with warnings as errors, by .ci/run; nothing here needs Sphinx.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import tinygrad_rnn
from tinygrad_rnn import errors

ROOT = Path(__file__).parent.parent
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
page = _load(DOCS / "extension" / "page.py")
formulas = _load(DOCS / "extension" / "formulas.py")
readme_commands = _load(ROOT / ".ci" / "readme_commands.py")

# Rooms whose names are for the library's own use; what of them is public is exported by a module of the reference.
INTERNAL = {
    "cli": "a command, documented by --help",
    "demo": "an application, told about in the tutorial",
    "__main__": "python -m tinygrad_rnn",
    "checks": "of options",
    "guards": "what a trace is held against",
    "extras": "how an optional dependency is imported",
    "lookup": "what the commands find a cell with",
    "_version": "one string",
    "draw.": "how a drawing comes about; draw exports what is public",
    "explain.": "explain exports what is public",
    "draw.per_step": "a rewrite that drawing uses",
    "nn.compiled": "how nn.Recurrent keeps its traces",
    "nn.delays": "what cells with delays share",
    "nn.nested": "nested tuples",
    "nn.plans": "Module.plan and Recurrent.plan",
    "nn.steps": "what nn.Recurrent does at a step",
    "nn.trace": "how drawing and equations look into a cell",
    "ops.axes": "shape rules",
    "ops.lengths": "where the rows of a padded batch are real",
    "scan.": "how a step is compiled; scan exports what is public",
    "testing.": "how a gradient is judged; testing exports what is public, testing.strategies is public itself",
}
INTERNAL_NAMES = {
    "autodiff.backward": "Tensor.backward",
    "graph.node.Results": "the value of a scan",
    "graph.node.behind_cuts": "a walk that goes on behind cuts, for drawings",
    "graph.node.leaf": "tr.tensor makes leaves",
    "graph.place.context": "what ops.apply does, and where",
    "nn.cell.State": "a type",
    "ops.TensorLike": "a type",
    "ops.core.TensorLike": "a type",
    "random.generator": "tr.seed sets it",
    **dict.fromkeys(("unrolling.fed", "unrolling.over"), "tr.steps and nn.Recurrent go over sequences with them"),
}

# Public, and without an example of its own.
NO_EXAMPLE = {
    **dict.fromkeys(errors.__all__, "an error: errors.md has an example of each, made when the docs are built"),
    **dict.fromkeys(("GradientCheckError", "KinkError"), "verdicts: check_gradients has the example"),
    **dict.fromkeys(("Delay", "Reading", "Slice", "Cut"), "parts of a Folded, which has the example"),
    **dict.fromkeys(("Node", "Place", "Unrolling"), "parts of a Graph, which has the example"),
    **dict.fromkeys(("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"), "six of one kind, as in NumPy"),
    **dict.fromkeys(("Formula", "Interval", "Choose", "Primitive"), "what tr.primitive is given and makes; it has the example"),
    **dict.fromkeys(("Part", "Sparse", "pullback"), "for those who write a backward walk of their own"),
    **dict.fromkeys(("Case", "check_case", "Choices"), "parts of check_primitive, which has the example"),
    **dict.fromkeys(("Report", "CellReport", "PrimitiveReport"), "what the checks return; they have the examples"),
    "Fit": "what lbfgs and levenberg_marquardt return; they have the examples",
    "Optimizer": "the base of optimisers; each has an example",
    "fold": "Graph.fold has the example",
    "elements": "arrays and tensors, made of it, have examples",
    "zeros": "nn.init: as its line says",
    "normal": "nn.init: as its line says",
}

SLOW = {"characters.md": "trains for some seconds; built by .ci/run"}


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


def test_the_reference_has_a_page_for_every_module() -> None:
    listed = re.findall(r"^generated/reference/(\S+)$", (DOCS / "reference.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert tuple(listed) == reference.MODULES


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


def test_every_error_is_on_the_page_of_errors() -> None:
    text = (DOCS / "errors.md").read_text(encoding="utf-8")
    missing = [name for name in errors.__all__ if not re.search(rf"^## .*\b{name}\b|`[\w.]*{name}`", text, re.MULTILINE)]
    assert not missing


# -- code ----------------------------------------------------------------------------------

PAGES = sorted(path for path in DOCS.rglob("*.md") if "```{python-run}" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [p for p in PAGES if p.name not in SLOW], ids=lambda p: p.name)
def test_pages_run(path: Path) -> None:
    """Each block gives something or raises what it says; what it gives is looked at in the built docs."""
    running = page.Page(path.stem)
    try:
        for block in page.blocks(path.read_text(encoding="utf-8")):
            running.run(block)
    finally:
        running.close()


def test_slow_pages_are_pages() -> None:
    assert set(SLOW) <= {path.name for path in PAGES}


def test_readme_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """README's Python blocks, in order and in one namespace, as a reader would run them."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert blocks
    namespace: dict[str, object] = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)


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


# -- links ---------------------------------------------------------------------------------

TEXTS = [*sorted(ROOT.glob("*.md")), *sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts)]


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`\n]*`", "", text)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"""(?:src|href)=["']([^"']+)["']""", text)
    dead = []
    for target in targets:
        if re.match(r"[a-z]+:|#", target):
            continue
        made = re.fullmatch(r"(?:\.\./)*generated/examples/(\w+)\.md", target)  # when the docs are built
        if not (ROOT / "examples" / f"{made[1]}.py" if made else path.parent / target.partition("#")[0]).exists():
            dead.append(target)
    assert not dead, f"{path.name} links to {dead}"


@pytest.mark.parametrize("path", [p for p in TEXTS if DOCS in p.parents], ids=lambda p: str(p.relative_to(ROOT)))
def test_formulas_can_be_set(path: Path) -> None:
    """Mathtext sets them when the docs are built, and knows less than LaTeX."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`\n]*`", "", text)
    displayed = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
    for latex in displayed.findall(text):
        formulas.block(latex)
    for latex in re.findall(r"\$([^$]+)\$", displayed.sub("", text)):
        formulas.svg(latex, False)


def test_one_word_for_one_thing() -> None:
    """What the library prints is the notation page's: U for the input, W for the recurrence, V for the output."""
    latex = tinygrad_rnn.nn.RNNCell(2, 3).equations()
    assert "U x_t" in latex and "W h_{t-1}" in latex
    symbols = [parameter.symbol for parameter in tinygrad_rnn.nn.Linear(2, 3).parameters()]
    assert symbols == ["V", "c"]


@pytest.mark.parametrize("path", ["README.md", "docs/tutorial/proof.md"])
def test_where_check_is_shown_its_extra_is_named(path: str) -> None:
    paragraph = next(
        p for p in (ROOT / path).read_text(encoding="utf-8").split("\n\n") if "From a shell" in p or "`tinygrad-rnn check" in p
    )
    assert re.search(r"`test`|\[test\]", paragraph)
