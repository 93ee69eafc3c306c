"""The rooms of the package and the allowed imports between them, read from the source code."""

from __future__ import annotations

import ast
import configparser
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import tinygrad_rnn

PACKAGE = Path(tinygrad_rnn.__file__).parent
ROOT = Path(__file__).parents[2]

# From the lowest room up: a module imports only its own room and rooms before it in the list. The package itself,
# "tinygrad_rnn", comes after everything that `import tinygrad_rnn` imports.
ROOMS = (
    "_start",
    "_version",
    "errors",
    "checks",
    "tree",
    "cache",
    "pytorch",
    "extras",
    "files",
    "console",
    "plots",
    "random",
    "init",
    "graph",
    "ops",
    "protocols",
    "tensor",
    "autodiff",
    "sampling",
    "guards",
    "scan",
    "unrolling",
    "nn",
    "optim",
    "compilation",
    "sequences",
    "datasets",
    "storing",
    "torch_modules",
    "lookup",
    "tinygrad_rnn",
    "views",
    "draw",
    "explain",
    "testing",
    "estimators",
    "demo",
    "cli",
    "__main__",
)

# Convenience methods that import a higher room inside their bodies: (module, function) -> room.
REACHING_UP = {
    ("graph.graph", "Graph.draw"): "draw",
    ("nn.module", "Module.draw"): "draw",
    ("nn.module", "Module.equations"): "explain",
    ("nn.streaming", "Stream.save"): "storing",
    ("compilation.plan", "StepPlan.draw"): "draw",
    ("scan.plan", "Plan.draw"): "draw",
    ("tensor", "Tensor.backward"): "autodiff",
}

# The modules that each extra installs, by their import names.
EXTRAS = {"pygraphviz", "safetensors", "hypothesis", "matplotlib", "tqdm", "threadpoolctl", "pytest", "torch", "scipy"}
EXTRAS |= {"sklearn", "pandas"}

# Modules that are of no use at all without an extra, and say so when they are imported; of a room its first module does.
NEEDS_EXTRA = {
    "testing.strategies": "hypothesis",
    **dict.fromkeys(
        ("estimators", *(f"estimators.{name}" for name in ("diagnostics", "narx", "recurrent", "series", "tables"))), "sklearn"
    ),
}

# Names of networks: rooms that serve any cell know none of them.
NETWORKS = re.compile(r"\b(\w*Cell|\w*RNN\w*|\w*LSTM\w*|\w*GRU\w*|Elman|Jordan|NARX|TDNN|Linear|Embedding|Dropout)\b")
# The protocol itself, and environment variables.
MAY_SAY_CELL = {"Cell", *(f"TINYGRAD_RNN_{name}" for name in ("BACKEND", "CACHE", "THREADS"))}
SERVE_ANY_CELL = ("graph", "ops", "scan", "views", "draw", "testing", "explain")


class Import(NamedTuple):
    """The target of one import statement, and the position of the statement."""

    target: str  # dotted, absolute
    function: str  # qualified name of the function around it, or ""
    line: int


def modules() -> dict[str, ast.Module]:
    """Every module of the package, by its dotted path within the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "tinygrad_rnn"
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


MODULES = modules()


def is_package(module: str) -> bool:
    return module == "tinygrad_rnn" or (PACKAGE / Path(*module.split("."))).is_dir()


@functools.cache
def imports(module: str) -> tuple[Import, ...]:
    """The imports of a module, except imports under ``if TYPE_CHECKING:``."""
    here = ["tinygrad_rnn", *([] if module == "tinygrad_rnn" else module.split("."))]

    def absolute(node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        up = node.level - 1 if is_package(module) else node.level
        base = here[: len(here) - up]
        return ".".join([*base, *([node.module] if node.module else [])])

    def walk(node: ast.AST, function: tuple[str, ...]) -> Iterator[Import]:
        around = ".".join(function)
        inside = around if any(part.endswith("()") for part in function) else ""
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                yield from walk(child, function)
            return
        if isinstance(node, ast.Import):
            for name in node.names:
                yield Import(name.name, inside.replace("()", ""), node.lineno)
        elif isinstance(node, ast.ImportFrom):
            target = absolute(node)
            for name in node.names:
                # `from . import draw` and `from ..draw import draw` are both of the room draw
                whole = f"{target}.{name.name}"
                local = whole.removeprefix("tinygrad_rnn.")
                yield Import(whole if local in MODULES else target, inside.replace("()", ""), node.lineno)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            function = (*function, f"{node.name}()")
        elif isinstance(node, ast.ClassDef):
            function = (*function, node.name)
        elif isinstance(node, ast.Lambda):
            function = (*function, "<lambda>()")
        for child in ast.iter_child_nodes(node):
            yield from walk(child, function)

    return tuple(walk(MODULES[module], ()))


def room_of(dotted: str) -> str | None:
    """The room of an absolute dotted name; None for a name outside the package."""
    first, *rest = dotted.split(".")
    if first != "tinygrad_rnn":
        return None
    return rest[0] if rest and rest[0] in ROOMS else "tinygrad_rnn"


def test_every_module_stands_in_a_known_room() -> None:
    unknown = sorted({module.split(".")[0] for module in MODULES} - set(ROOMS))
    assert not unknown, f"say in ROOMS where these stand: {unknown}"


OTHER_TESTS = {
    "examples": "the scripts in examples/",
    "helpers": "what several test files use",
    "repository": "what is read off the repository: layout, documentation, tools",
}


def test_tests_stand_in_the_room_that_they_test() -> None:
    """Tests of a room are in a folder of the same name; for a room that is a single module, in a file at the top."""
    wrong = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        folder, *rest = path.relative_to(ROOT / "tests").parts
        room = path.stem.removeprefix("test_")
        right = folder in (*ROOMS, *OTHER_TESTS) if rest else room == "conftest" or (room in ROOMS and not is_package(room))
        if not right:
            wrong.append(f"{path.relative_to(ROOT)} is in no room: move it, or say in OTHER_TESTS what its folder is for")
    assert not wrong, "\n".join(wrong)


def test_rooms_import_only_what_is_below() -> None:
    reached: dict[tuple[str, str], str] = {}
    wrong = []
    for module in MODULES:
        own = ROOMS.index(module.split(".")[0])
        for found in imports(module):
            room = room_of(found.target)
            if room is None or ROOMS.index(room) <= own:
                continue
            if found.function:
                reached[module, found.function] = room
            else:
                wrong.append(f"{module}:{found.line} imports {found.target}, of the room {room}, which is above it")
    assert not wrong, "\n".join(wrong)
    assert reached == REACHING_UP, "imports in function bodies that reach up: keep the list in step with the code"


def test_rooms_have_no_cycle_of_modules() -> None:
    """The modules of one room have no import cycle: in some order, each module is after the modules that it imports."""
    needs = {
        module: {
            target
            for found in imports(module)
            if not found.function
            and (target := found.target.removeprefix("tinygrad_rnn.")) in MODULES
            and target not in (module, "tinygrad_rnn", module.partition(".")[0])
        }
        for module in MODULES
    }
    while needs:
        ready = {module for module, below in needs.items() if not below & set(needs)}
        assert ready, f"these import each other: {sorted(needs)}"
        needs = {module: below for module, below in needs.items() if module not in ready}


# Private names of other packages that are used, with the reason.
PRIVATE_OF_OTHERS = {
    ("_start", "os._exit"): "to leave at once, while nothing is imported yet",
    ("cli", "argparse._SubParsersAction"): "a type, which argparse does not export",
    ("graph.source_loops", "sys._getframe"): "who asked for a step; inspect reads source files as well",
    ("ops.messages", "sys._getframe"): "the line that made a NaN",
    ("protocols", "np._NoValue"): "NumPy's own default of some arguments",
    ("tinygrad_rnn", "_start"): "the module comes first, and is of no use to anyone else",
}
NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}  # their public methods


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in NAMED_TUPLES


def _private_names_of(tree: ast.Module) -> set[str]:
    """Private names that a module defines: functions, classes, attributes of classes and of `self`."""
    own = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            own.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            own.add(node.attr)
        if isinstance(node, ast.ClassDef):
            for line in (line for line in node.body if isinstance(line, (ast.Assign, ast.AnnAssign))):
                own |= {part.id for part in ast.walk(line) if isinstance(part, ast.Name)}
                own |= {part.value for part in ast.walk(line) if isinstance(part, ast.Constant) and isinstance(part.value, str)}
    return {name for name in own if _is_private(name)}


def test_nothing_reaches_for_a_private_name_of_another_module() -> None:
    """Only a subclass may use the private names of its base class, in the same room."""
    names = {module: _private_names_of(tree) for module, tree in MODULES.items()}
    wrong, reached = [], set()
    for module, tree in MODULES.items():
        room = module.partition(".")[0]
        of_room = set().union(*[found for other, found in names.items() if other.partition(".")[0] == room])
        for node in ast.walk(tree):
            found = []
            if isinstance(node, ast.Attribute) and _is_private(node.attr):
                inherits = ast.unparse(node.value) in ("self", "cls", "super()")
                if node.attr not in (of_room if inherits else names[module]):
                    found = [ast.unparse(node)]
            elif isinstance(node, ast.ImportFrom):
                found = [name.name for name in node.names if _is_private(name.name)]
            reached |= {(module, name) for name in found}
            wrong += [f"{module}:{node.lineno}: {name}" for name in found if (module, name) not in PRIVATE_OF_OTHERS]  # type: ignore[attr-defined]
    assert not wrong, "\n".join(wrong)
    assert reached == PRIVATE_OF_OTHERS.keys(), "keep the list in step with the code"


def _said(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Identifiers and strings of a module; docstrings, comments and annotations may name networks."""
    docstrings = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            docstrings |= {id(s.value) for s in body if isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.alias):
            yield node.lineno, node.name


@pytest.mark.parametrize("room", SERVE_ANY_CELL)
def test_what_serves_any_cell_knows_none_by_name(room: str) -> None:
    named = [
        f"{module}:{line} says {found.group()}"
        for module, tree in MODULES.items()
        if module.split(".")[0] == room
        for line, text in _said(tree)
        for found in NETWORKS.finditer(text)
        if found.group() not in MAY_SAY_CELL
    ]
    assert not named, "\n".join(named)


def test_import_brings_no_extra() -> None:
    """`import tinygrad_rnn` stays fast: modules for drawing, plots, tests and progress are imported when they are used."""
    code = "import sys, tinygrad_rnn; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    brought = set(run.stdout.split())
    assert not brought & (EXTRAS | {"graphviz"}), brought & (EXTRAS | {"graphviz"})


def test_extras_are_imported_inside_functions_only() -> None:
    wrong, needing = [], {}
    for module in MODULES:
        for found in imports(module):
            name = found.target.partition(".")[0]
            if name in EXTRAS and not found.function:
                needing[module] = name
                if NEEDS_EXTRA.get(module) != name:
                    wrong.append(f"{module}:{found.line} imports {found.target} when it is imported itself")
    assert not wrong, "\n".join(wrong)
    assert needing == NEEDS_EXTRA, "keep the list in step with the code"


def test_extras_have_what_is_asked_of_them() -> None:
    """`optional("module", "extra", …)` and `installing` name an extra of setup.cfg that installs the module."""
    extras = _setup_cfg()["options.extras_require"]

    def brought(extra: str) -> set[str]:
        lines = [line for line in extras[extra].split("\n") if line]
        inner = {name for line in lines if (m := re.fullmatch(r"%\((\w+)\)s", line)) for name in brought(m[1])}
        return inner | {re.split(r"[<>=!~ ]", line)[0] for line in lines}

    wrong = []
    for module, tree in MODULES.items():
        for node in ast.walk(tree):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called in ("optional", "extras.optional", "installing", "new_figure") and module not in ("extras", "plots"):
                assert isinstance(node, ast.Call)
                named = [keyword.value for keyword in node.keywords if keyword.arg == "extra"]
                name, extra = ("matplotlib", *map(ast.literal_eval, named)) if named else map(ast.literal_eval, node.args[:2])
                if extra not in extras or name.partition(".")[0] not in brought(extra):
                    wrong.append(f"{module}:{node.lineno}: the extra {extra} does not bring {name}")
    assert not wrong, "\n".join(wrong)


def test_hints_how_to_install_come_from_one_place() -> None:
    """The package is not on an index, so messages must not tell users to give its name to pip."""
    said = [f"{m}:{line}: {text}" for m, tree in MODULES.items() for line, text in _said(tree) if "pip install" in text]
    assert len(said) == 2 and all(place.startswith("extras:") for place in said), said
    sources = [path for path in ROOT.rglob("*.md") if "_build" not in path.parts] + list(PACKAGE.rglob("*.py"))
    wrong = [
        str(path) for path in sources if re.search(r"pip install [^\n]*\btinygrad_rnn\[", path.read_text(encoding="utf-8"))
    ]
    assert not [path for path in wrong if not path.endswith("CHANGELOG.md")], wrong


def test_third_party_imports_are_declared() -> None:
    declared = {"numpy", "graphviz", "tinygrad_rnn"} | EXTRAS | set(sys.stdlib_module_names)
    foreign = {
        f"{module}:{found.line} imports {found.target}"
        for module in MODULES
        for found in imports(module)
        if found.target.partition(".")[0] not in declared
    }
    assert not foreign, "\n".join(sorted(foreign))


# The NumPy backend compiles programs. Their source has calls of kernels with generated names. It contains no text
# from files; of a user's names it contains only identifiers, after a number.
RUNS_ITS_OWN_SOURCE = {("scan.numpy.executable", "exec(compile(self.source, '<program>', 'exec'), space)")}

FORBIDDEN = {
    "compile",
    "eval",
    "exec",
    "__import__",
    "os.system",
    "os.popen",
    "os.startfile",
    "pickle",
    "cPickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "tempfile.mktemp",
}


def test_nothing_runs_what_it_reads() -> None:
    """No pickle, eval, exec or shell, except one exec of generated source; NumPy is called without allow_pickle."""
    wrong, own = [], set()
    for module, tree in MODULES.items():
        for found in imports(module):
            if found.target.partition(".")[0] in FORBIDDEN:
                wrong.append(f"{module}:{found.line} imports {found.target}")
        generated: set[ast.AST] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (module, ast.unparse(node)) in RUNS_ITS_OWN_SOURCE:
                own.add((module, ast.unparse(node)))
                generated |= {node, node.args[0]}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or node in generated:
                continue
            called = ast.unparse(node.func)
            keywords = {k.arg: k.value for k in node.keywords}
            if called in FORBIDDEN:
                wrong.append(f"{module}:{node.lineno} calls {called}")
            shell = keywords.get("shell")
            if shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
                wrong.append(f"{module}:{node.lineno} uses a shell")
            if called == "np.load" and ast.unparse(keywords.get("allow_pickle", ast.Constant(None))) != "False":
                wrong.append(f"{module}:{node.lineno} calls np.load without allow_pickle=False")
            if "allow_pickle" in keywords and ast.unparse(keywords["allow_pickle"]) != "False":
                wrong.append(f"{module}:{node.lineno} allows pickle")
    assert not wrong, "\n".join(wrong)
    assert own == RUNS_ITS_OWN_SOURCE, "keep the list in step with the code"


def test_nothing_is_downloaded() -> None:
    network = {"urllib", "http", "socket", "ftplib", "requests", "httpx", "aiohttp", "ssl", "smtplib"}
    allowed = {"urllib.parse"}
    wrong = [
        f"{module}:{found.line} imports {found.target}"
        for module in MODULES
        for found in imports(module)
        if found.target.partition(".")[0] in network and found.target not in allowed
    ]
    assert not wrong, "\n".join(wrong)


# -- the installed package -----------------------------------------------------------------


def _setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_run_time_needs_are_numpy_and_graphviz() -> None:
    options = _setup_cfg()["options"]
    names = [re.split(r"[<>=!~ \[]", line)[0] for line in options["install_requires"].split("\n") if line]
    assert names == ["numpy", "graphviz"]
    assert options["python_requires"] == ">=3.10"


def test_all_metadata_is_in_setup_cfg() -> None:
    assert "[project]" not in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert not (ROOT / "setup.py").exists()
    assert "py.typed" in _setup_cfg()["options.package_data"]["tinygrad_rnn"]
    for path in PACKAGE.rglob("*.py"):  # setuptools' find: leaves out a folder without __init__.py
        assert (path.parent / "__init__.py").exists(), f"{path.parent} is no package, so it would not be shipped"


def test_one_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)", changelog, re.MULTILINE)
    assert newest is not None and newest.group(1) == tinygrad_rnn.__version__
    assert _setup_cfg()["metadata"]["version"] == "attr: tinygrad_rnn._version.__version__"


def test_types_are_shipped() -> None:
    assert (PACKAGE / "py.typed").exists()
