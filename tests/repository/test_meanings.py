"""The meaning of operations and values is declared; code must not guess it from LaTeX, names, or runs on random numbers."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

import tinygrad_rnn

PACKAGE = Path(tinygrad_rnn.__file__).parent

# Rooms that read nodes made by other rooms.
READERS = ("graph", "scan", "autodiff", "nn", "optim", "explain", "views", "draw")

# The module that prints formulas, and the modules that declare and check formulas.
FORMULAS = {"explain.printer", "ops.core", "ops.formula"}

# Rewrites by an identity of one function, which is not a general fact: σ(a) = ½ + ½ tanh(a/2), Σ_j a_j = a 1,
# and zeros with values added.
IDENTITIES = {"sigmoid", "tanh", "sum", "scatter"}

# Tags of leaves, and attributes of the primitives that the module itself defines.
TAGS = {"source", "draw", "once", "number", "plan", "steps"}

# Names with a meaning, with the reason.
KNOWN = {
    "views.full_lengths": "the mask of lengths is marked by its name",
    "nn.module": "'_children' is a field of the module itself",
    "draw.plan_view": "'∂' was put before the name by the plan",
    "graph.fold": "an index in brackets was put behind the name by the graph",
    "explain.names": "a name is printed letter by letter",
}


@functools.cache
def modules() -> dict[str, ast.Module]:
    paths = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))}
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in paths.items()}


def _is_text(node: ast.AST) -> bool:
    if isinstance(node, (ast.Tuple, ast.Set, ast.List)):
        return bool(node.elts) and all(map(_is_text, node.elts))
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_name(node: ast.AST) -> bool:
    """Whether an expression is a name of an object: x.name, names[i], name, key."""
    if isinstance(node, ast.Subscript):
        return _is_name(node.value)
    called = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return called in ("name", "names", "key", "operation")


def _is_formula(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in ("latex", "binds", "transposed", "special")


def _asks_the_ends(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in ("startswith", "endswith") and _is_name(node.value)


def formulas_read(module: str, tree: ast.Module) -> Iterator[str]:
    if module in FORMULAS:
        return
    for node in ast.walk(tree):
        if _is_formula(node) and isinstance(node.value, ast.Attribute) and node.value.attr == "formula":
            yield f"{module}:{node.lineno} reads {ast.unparse(node)}"


def names_read(module: str, tree: ast.Module) -> Iterator[str]:
    if module.split(".")[0] not in READERS or module in KNOWN:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            texts = [side for side in sides if _is_text(side) and not (isinstance(side, ast.Constant) and side.value in TAGS)]
            if texts and any(map(_is_name, sides)):
                yield f"{module}:{node.lineno} compares {ast.unparse(node)}"
        elif isinstance(node, ast.Call) and _asks_the_ends(node.func) and any(map(_is_text, node.args)):
            yield f"{module}:{node.lineno} asks {ast.unparse(node)}"


def attributes_read(module: str, tree: ast.Module) -> Iterator[str]:
    """Attributes of other modules' primitives, read by literal names although facts declare their meaning."""
    if module.split(".")[0] not in ("views", "draw", "explain"):
        return
    for node in ast.walk(tree):
        text: ast.AST | None = None
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith(".attributes"):
            text = node.slice
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".attributes.get"):
            text = node.args[0]
        elif isinstance(node, ast.Compare) and ast.unparse(node.comparators[-1]).endswith(".attributes"):
            text = node.left
        if isinstance(text, ast.Constant) and isinstance(text.value, str) and text.value not in TAGS:
            yield f"{module}:{node.lineno} reads {ast.unparse(node)}"


def primitives_named(module: str, tree: ast.Module) -> Iterator[str]:
    """Primitives looked up by their names, except primitives that a rewrite makes or whose identity it uses."""
    room = module.split(".")[0]
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Subscript)
            and ast.unparse(node.value) == "registry"
            and room in ("views", "draw", "explain", "nn", "graph")
        ):
            yield f"{module}:{node.lineno} looks up {ast.unparse(node)}"
        if isinstance(node, ast.Assign) and "registry" in ast.unparse(node.value):
            found = [c.value for c in ast.walk(node.value) if isinstance(c, ast.Constant) and isinstance(c.value, str)]
            targets = [t.id for t in ast.walk(node.targets[0]) if isinstance(t, ast.Name)]
            names |= dict(zip(targets, found, strict=False))
    if not module.startswith(("scan.rewrites", "scan.time_sums", "scan.plan", "scan.work")):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and "primitive" in ast.unparse(node.left):
            asked = {names[n.id] for c in node.comparators for n in ast.walk(c) if isinstance(n, ast.Name) and n.id in names}
            if asked - IDENTITIES:
                yield f"{module}:{node.lineno} asks {ast.unparse(node)}"


def kernels_tried(module: str, tree: ast.Module) -> Iterator[str]:
    """Random numbers in a room that only reads graphs."""
    if module.split(".")[0] in ("views", "draw", "explain"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in ("default_rng", "standard_normal", "allclose"):
                yield f"{module}:{node.lineno} uses {ast.unparse(node)}"


RULES = (formulas_read, names_read, attributes_read, primitives_named, kernels_tried)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_meaning_is_declared(rule):
    wrong = [said for module, tree in modules().items() for said in rule(module, tree)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("rule", "module", "source"),
    [
        (formulas_read, "views.contraction", "x = node.primitive.formula.latex in ('{x}', '{x:atom}')"),
        (formulas_read, "views.contraction", "in_sum = node.primitive.formula.binds == SUM"),
        (names_read, "draw.step", "found = names[slot].startswith('state')"),
        (names_read, "draw.other", "marked = node.role == 'mask' and node.name == 'lengths'"),
        (names_read, "draw.operations", "return user.primitive.name == 'add'"),
        (names_read, "scan.plan", "source = after.name if not after.name.startswith('g_') else None"),
        (names_read, "optim.base", "found = {name: int(array) if name == 'n' else array for name, array in found.items()}"),
        (names_read, "optim.base", "if key.endswith('.n'): pass"),
        (attributes_read, "explain.printer", "shape = a if 'keepdims' in node.attributes else b"),
        (attributes_read, "explain.printer", "axis = node.attributes.get('axis')"),
        (attributes_read, "views.per_step", "index = node.attributes['index']"),
        (primitives_named, "draw.step", "_ADD, _MULTIPLY = (registry[name] for name in ('add', 'multiply'))"),
        (primitives_named, "scan.rewrites.fold", "_ADD = registry['add']\nif node.primitive in (_ADD, _OTHER): pass"),
        (primitives_named, "scan.time_sums", "_M, _N = registry['matmul'], registry['sum']\nif primitive is _M: pass"),
        (kernels_tried, "views.per_step", "return np.random.default_rng(0).standard_normal(spec.shape)"),
    ],
)
def test_each_rule_finds_what_it_is_for(rule, module, source):
    assert list(rule(module, ast.parse(source)))


def test_exceptions_are_still_needed():
    unread = {module for module in KNOWN if not _asks_names(modules()[module])}
    assert not unread, f"these read no names: {sorted(unread)}"


def _asks_names(tree: ast.Module) -> bool:
    return any(names_read("draw.any", tree))
