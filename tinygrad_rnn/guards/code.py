"""The code of a function: names of the globals and attributes it reads, and whether it depends on anything else."""

from __future__ import annotations

import builtins
import dis
import functools
import os
import sys
import types
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "BY_VALUE",
    "GLOBALS_BY_VALUE",
    "IMPURE",
    "NamesInCode",
    "has_own_code",
    "is_ours",
    "is_pure",
    "is_replaced",
    "names_in",
    "original_attributes",
]

GLOBALS_BY_VALUE = {"eval", "exec", "globals"}
"""Ways to read globals whose names are not in the code."""
BY_VALUE = GLOBALS_BY_VALUE | {"getattr", "vars", "attrgetter", "__dict__", "__getattribute__"}
"""Ways to read attributes whose names are not in the code."""

_OURS = {"tinygrad_rnn", "numpy", "builtins"}
_STANDARD_LIBRARY = Path(os.__file__).parent
_STATELESS = (
    "abc argparse array bisect cmath collections contextlib copy copyreg dataclasses enum fractions functools heapq inspect "
    "itertools logging math numbers operator random re statistics string struct textwrap types typing warnings"
)
_PURE = _OURS.union(_STATELESS.split())
"""Packages whose functions depend on their arguments only; the rest of Python reads files, clocks and settings."""
IMPURE = {"input", "open", "__import__", "fromfile", "fromregex", "genfromtxt", "load", "loadtxt", "memmap"}
IMPURE |= {"get_printoptions", "geterr", "geterrcall", "Random", "SystemRandom"}
"""Functions and classes of these packages that read files, clocks or settings too, or start from a random seed."""
_BUILTINS = dict(vars(builtins))


class NamesInCode(NamedTuple):
    """Names that a function's code, and code within it, reads and sets.

    Attributes
    ----------
    globals, imports : tuple of str
        Names of globals and of imported modules, in the order of the code: parameters are found in this order, and a compiled
        program has to be the same in each process.
    read, stored : frozenset of str
        Names of attributes that are read, and of globals too; and of attributes that are set.
    """

    globals: tuple[str, ...]
    imports: tuple[str, ...]
    read: frozenset[str]
    stored: frozenset[str]


@functools.lru_cache(4096)
def names_in(code: types.CodeType) -> NamesInCode:
    """Names that a function's code, and code within it, reads and sets."""
    outer: dict[str, None] = {}
    imports: dict[str, None] = {}
    attributes, stored = set(), set()
    waiting = [code]
    while waiting:
        part = waiting.pop()
        waiting += [constant for constant in part.co_consts if isinstance(constant, types.CodeType)]
        for line in dis.get_instructions(part):
            if line.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                outer[line.argval] = None
            elif line.opname in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_FROM"):
                attributes.add(line.argval)
            elif line.opname == "IMPORT_NAME":
                imports[line.argval] = None
            elif line.opname == "STORE_ATTR":
                stored.add(line.argval)
    return NamesInCode(tuple(outer), tuple(imports), frozenset(attributes.union(outer)), frozenset(stored))


@functools.cache
def is_ours(module: str | None) -> bool:
    """Whether a module's code reads only its arguments: true for this library, NumPy and Python's own modules."""
    first = _first(module)
    if first in sys.stdlib_module_names:
        file = getattr(sys.modules.get(first), "__file__", None)  # a user's file may have the name of a standard module
        return file is None or Path(file).is_relative_to(_STANDARD_LIBRARY)
    return first in _OURS


@functools.cache
def is_pure(module: str | None, name: str) -> bool:
    """Whether a function or class of a module depends on its arguments only."""
    return _first(module).lstrip("_") in _PURE and name not in IMPURE


def _first(module: Any) -> str:
    """Name of the top-level package of a module."""
    return module.partition(".")[0] if isinstance(module, str) else ""


def has_own_code(kind: type) -> bool:
    """Whether a class is a user's; a class made by `exec` may claim to be a builtin."""
    return not is_ours(kind.__module__) or (kind.__module__ == "builtins" and bool(kind.__flags__ & 1 << 9))


@functools.cache
def original_attributes(kind: type) -> dict[str, Any]:
    """Attributes of a library class as they were before any patch."""
    return dict(vars(kind))


def is_replaced(name: str) -> bool:
    """Whether a builtin was replaced by another object."""
    return vars(builtins).get(name) is not _BUILTINS.get(name)
