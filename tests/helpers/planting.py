"""Faults planted in the package: a function is found by its qualified name, and its syntax tree is edited.

So a fault survives if code moves between files, is formatted differently, or gets other comments. If the code no longer
exists, an error says so.
"""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tinygrad_rnn

PACKAGE = Path(tinygrad_rnn.__file__).parent


class NotPlanted(AssertionError):
    """The function, or the code to be edited in it, does not exist."""


class Edit(NamedTuple):
    """Replacement of an expression or statements by other code.

    Attributes
    ----------
    old : str
        Code that occurs once in the function, in any format.
    new : str
    """

    old: str
    new: str

    def __call__(self, function: ast.FunctionDef) -> ast.FunctionDef:
        """The function, edited."""
        old, new = ast.parse(self.old).body, ast.parse(self.new).body
        edited = copy.deepcopy(function)
        match old, new:
            case [ast.Expr(value=one)], [ast.Expr(value=other)]:
                planter: _Expressions | _Statements = _Expressions(one, other)
            case _:
                planter = _Statements(old, new)
        edited = planter.visit(edited)
        if planter.count != 1:
            raise NotPlanted(f"{function.name} has {planter.count} times “{self.old}”, and the fault needs it once")
        return ast.fix_missing_locations(edited)


def replace(old: str, new: str) -> Edit:
    """Replace an expression or statements by other code."""
    return Edit(old, new)


def drop(statement: str) -> Edit:
    """Leave a statement out."""
    return Edit(statement, "pass")


def negate(condition: str) -> Edit:
    """Negate a condition."""
    return Edit(condition, f"not ({condition})")


def swap(call: str) -> Edit:
    """Exchange the first two arguments of a call."""
    tree = ast.parse(call, mode="eval")
    assert isinstance(tree.body, ast.Call)
    arguments = tree.body.args
    arguments[0], arguments[1] = arguments[1], arguments[0]
    return Edit(call, ast.unparse(tree))


class _Expressions(ast.NodeTransformer):
    def __init__(self, old: ast.expr, new: ast.expr) -> None:
        self.old, self.new, self.count = ast.dump(old), new, 0

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.expr) and ast.dump(node) == self.old:
            self.count += 1
            return copy.deepcopy(self.new)
        return self.generic_visit(node)


class _Statements(ast.NodeTransformer):
    def __init__(self, old: Sequence[ast.stmt], new: Sequence[ast.stmt]) -> None:
        self.old, self.new, self.count = [ast.dump(statement) for statement in old], new, 0

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            for start in range(len(block)) if isinstance(block, list) else ():
                if [ast.dump(statement) for statement in block[start : start + len(self.old)]] == self.old:
                    self.count += 1
                    block[start : start + len(self.old)] = copy.deepcopy(list(self.new))
                    break
        return super().generic_visit(node)


class Location(NamedTuple):
    """A function of a file, and its syntax trees."""

    path: Path
    module: ast.Module
    function: ast.FunctionDef


def functions(qualified: str, package: Path = PACKAGE) -> Iterator[Location]:
    """All functions of this qualified name, such as ``Builder.make``, wherever in the package they are."""
    for path in sorted(package.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if f"def {qualified.rpartition('.')[2]}(" not in text:  # parsing all files is slow
            continue
        module = ast.parse(text)
        found: list[Any] = [module]
        for name in qualified.split("."):
            kinds = (ast.ClassDef, ast.FunctionDef)
            found = [node for outer in found for node in outer.body if isinstance(node, kinds) and node.name == name]
        yield from (Location(path, module, node) for node in found if isinstance(node, ast.FunctionDef))


def located(qualified: str, edit: Edit, package: Path = PACKAGE) -> tuple[Location, ast.FunctionDef]:
    """The only function of this name in which the edit is possible, and the edited function."""
    places = list(functions(qualified, package))
    if not places:
        raise NotPlanted(f"the package has no function {qualified}: plant the fault anew")
    found, why = [], []
    for place in places:
        try:
            found.append((place, edit(place.function)))
        except NotPlanted as error:
            why.append(str(error))
    if len(found) != 1:
        raise NotPlanted(f"{len(found)} functions {qualified} can be edited so: plant the fault anew; {'; '.join(why)}")
    return found[0]


def plant(qualified: str, edit: Edit, package: Path) -> None:
    """Edit a function in the files of a copy of the package."""
    place, edited = located(qualified, edit, package)
    for node in ast.walk(place.module):
        for field in ("body", "orelse"):
            block = getattr(node, field, None)
            if isinstance(block, list) and place.function in block:
                block[block.index(place.function)] = edited
    place.path.write_text(ast.unparse(place.module), encoding="utf-8")


def planted(qualified: str, edit: Edit) -> tuple[Any, str, Any]:
    """The function, and its code with the fault, for ``setattr``: all references to the function then run the fault."""
    place, edited = located(qualified, edit)
    path = place.path.relative_to(PACKAGE.parent).with_suffix("")
    module = importlib.import_module(".".join(part for part in path.parts if part != "__init__"))
    function: Any = module
    for name in qualified.split("."):
        function = getattr(function, name)
    function = inspect.unwrap(function)
    edited.decorator_list = []
    future = ast.ImportFrom("__future__", [ast.alias("annotations")], 0)
    tree = ast.fix_missing_locations(ast.Module([future, edited], []))
    space: dict[str, Any] = {}
    exec(compile(tree, str(place.path), "exec"), dict(vars(module)), space)
    return function, "__code__", space[edited.name].__code__
