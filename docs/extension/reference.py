"""The reference: everything in ``__all__`` of the public modules, so that nothing can be left out."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

# The public modules, in the order of the reference. Their docstrings open their pages.
MODULES = (
    "tinygrad_rnn",
    "tinygrad_rnn.nn",
    "tinygrad_rnn.nn.init",
    "tinygrad_rnn.scan",
    "tinygrad_rnn.optim",
    "tinygrad_rnn.compilation",
    "tinygrad_rnn.sequences",
    "tinygrad_rnn.datasets",
    "tinygrad_rnn.autodiff",
    "tinygrad_rnn.graph",
    "tinygrad_rnn.graph.fold",
    "tinygrad_rnn.draw",
    "tinygrad_rnn.explain",
    "tinygrad_rnn.testing",
    "tinygrad_rnn.testing.strategies",
    "tinygrad_rnn.testing.random_cells",
    "tinygrad_rnn.estimators",
    "tinygrad_rnn.ops",
    "tinygrad_rnn.errors",
)


class Entry(NamedTuple):
    """A public name."""

    module: str
    name: str
    value: Any

    @property
    def path(self) -> str:
        """Dotted name."""
        return f"{self.module}.{self.name}"


def load(module: str) -> types.ModuleType:
    """The module of a dotted name; ``nn.init`` is an attribute, not a file."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        parent, _, name = module.rpartition(".")
        return getattr(importlib.import_module(parent), name)


def source(module: str) -> Path:
    """The file of a public module's code."""
    return Path(inspect.getfile(load(module)))


def entries(module: str) -> Iterator[Entry]:
    """The public names of a module that are its own: no modules, and nothing of other libraries."""
    found = load(module)
    for name in found.__all__:
        value = getattr(found, name)
        if inspect.ismodule(value) or name == "__version__" or _is_foreign(value):
            continue
        yield Entry(module, name, value)


def _is_foreign(value: Any) -> bool:
    """Whether a function or a class is of another library, such as hypothesis' ``given``."""
    made_in = getattr(value, "__module__", None) or "tinygrad_rnn"
    return (inspect.isclass(value) or callable(value)) and made_in.partition(".")[0] != "tinygrad_rnn"


def homes() -> dict[str, list[Entry]]:
    """What stands on the page of each module; what is public in several stands on the first."""
    seen: dict[int, Entry] = {}
    pages: dict[str, list[Entry]] = {module: [] for module in MODULES}
    for module in MODULES:
        for entry in entries(module):
            if id(entry.value) in seen:
                continue
            seen[id(entry.value)] = entry
            pages[module].append(entry)
    return pages


# -- writing -------------------------------------------------------------------------------


def write(app: Any) -> None:
    """Write a page for each module into generated/."""
    folder = Path(app.srcdir) / "generated" / "reference"
    folder.mkdir(parents=True, exist_ok=True)
    for module, found in homes().items():
        text = _page(module, found)
        path = folder / f"{module}.rst"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _page(module: str, found: list[Entry]) -> str:
    short = module.replace("tinygrad_rnn", "tr")
    lines = [short if module != "tinygrad_rnn" else "tinygrad_rnn", "=" * max(len(module), 4), ""]
    lines += [".. currentmodule:: " + module, "", inspect.getdoc(load(module)) or "", ""]
    if module == "tinygrad_rnn":
        groups = {
            "Values": ("tensor", "Tensor", "Parameter", "seed"),
            "Gradients": ("grad", "jvp", "jacobian", "no_grad", "debug"),
            "Graphs": ("graph", "Graph", "steps", "scope"),
            "Primitives of your own": ("primitive", "Formula", "Facts"),
        }
        named = {entry.name: entry for entry in found}
        for title, names in groups.items():
            lines += [title, "-" * len(title), "", *(line for n in names for line in _entry(named.pop(n)))]
        functions = load("tinygrad_rnn.ops").functions
        lines += ["Functions", "---------", "", "Under NumPy's names, and with its broadcasting; each is differentiable", ""]
        lines[-2] += " any number of times."
        lines += [line for n in functions if n in named for line in _entry(named.pop(n))]
        if named:
            lines += ["Others", "------", "", *(line for entry in named.values() for line in _entry(entry))]
    else:
        lines += [line for entry in found for line in _entry(entry)]
    return "\n".join(lines) + "\n"


def _entry(entry: Entry) -> list[str]:
    value, path = entry.value, entry.path
    if inspect.isclass(value):
        options = [":members:"] + ([":show-inheritance:"] if value.__bases__ != (object,) else [])
        given = [
            name for name in vars(value) if re.fullmatch("set_[a-z]+_request", name)
        ]  # by scikit-learn, which tells of them
        options += [f":exclude-members: {', '.join(given)}"] if given else []
        if issubclass(value, tuple):
            options[0] = ":members: " + ", ".join(n for n, v in vars(value).items() if inspect.isfunction(v) and n[0] != "_")
            options = options if options[0] != ":members: " else []
        if issubclass(value, Exception):
            options = [":show-inheritance:"]
        return [f".. autoclass:: {path}", *[f"   {option}" for option in options], ""]
    if callable(value):
        return [f".. autofunction:: {path}{_signature(value)}", ""]
    return [f".. py:data:: {path}", "", f"   {constant_doc(entry)}", ""]


def constant_doc(entry: Entry) -> str:
    """What the source says below a constant; or else the value itself."""
    folder = source(entry.module).parent
    for path in sorted(folder.glob("*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for this, following in itertools.pairwise(body):
            targets = this.targets if isinstance(this, ast.Assign) else [getattr(this, "target", None)]
            if not any(isinstance(t, ast.Name) and t.id == entry.name for t in targets):
                continue
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                return inspect.cleandoc(str(following.value.value))
    return f"``{entry.value}``"


def _signature(value: Any) -> str:
    """The signature that a caller meets: a kernel's ``out`` is not his."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values() if p.name != "out"]
    return str(signature.replace(parameters=plain, return_annotation=signature.empty))


def facts(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Below the docstring of a primitive: its formula and its domain, which are data beside it."""
    from tinygrad_rnn.ops import Primitive

    _unlink(lines)
    if not isinstance(value, Primitive):
        return
    formula = value.formula.latex.format_map(_Names())
    lines += ["", f":Formula: :math:`{formula}`"]
    if str(value.domain) != "float in (-inf, inf)":
        lines += [f":Domain: {value.domain}"]
    if value.gradient and isinstance(value.gradient, tuple) and not any(value.gradient):
        lines += [":Gradient: zero, or none"]
    lines += [""]


def _unlink(lines: list[str]) -> None:
    """Types of attributes are words, such as "int" or "tuple of Node": Sphinx would link each to what has that name."""
    types = {m[1]: m[2] for line in lines if (m := re.match(r":vartype (\S+): (.*)", line))}
    lines[:] = [line for line in lines if not line.startswith(":vartype ")]
    for i, line in enumerate(lines):
        if (m := re.match(r":ivar (\S+):(.*)", line)) and m[1] in types:
            lines[i] = f":ivar {m[1]}: ({types[m[1]]}){m[2]}"


class _Names(dict):  # type: ignore[type-arg]
    """Each input stands for itself in a formula's template."""

    def __missing__(self, key: str) -> Any:
        return _Symbol(key)


class _Symbol:
    def __init__(self, name: str) -> None:
        self.name = name if len(name) == 1 else rf"\mathrm{{{name}}}"
        self.name = {"rest": r"\ldots", "over": ""}.get(name, self.name)

    def __format__(self, spec: str) -> str:
        return rf"{self.name}^{{\top}}" if "T" in spec.split(",") else self.name
