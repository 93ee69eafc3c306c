"""Guards: has anything that a Python function reads changed since it was traced?

A trace stands for a function as long as the function would do the same again. What the function
would do follows from the values that it can reach: attributes of its objects, closures, globals
that its code names, default arguments, containers, random generators. A guard is all of that as
one key, which is quick to make and to compare.
"""

from __future__ import annotations

import collections
import dis
import functools
import os
import random
import sys
import types
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .graph.node import Node
from .graph.structure import exact
from .ops.core import Primitive
from .tensor import Tensor

__all__ = ["Guard", "guard"]

LARGEST = 1000
"""How many values a guard looks at."""

LARGEST_ARRAY = 4096
"""Bytes of an array whose values a guard holds."""

DEEPEST = 50
"""How deep containers and objects may be within each other."""

_NOT_RUN = {"__init__", "__new__", "__init_subclass__", "__class_getitem__", "__annotations__", "__doc__", "_abc_impl"}
_DYNAMIC = {"getattr", "vars", "eval", "exec", "attrgetter", "__dict__", "__getattribute__"}
_STANDARD_LIBRARY = Path(os.__file__).parent


class Guard(NamedTuple):
    """What a value can reach, at one moment.

    Attributes
    ----------
    key : hashable
        Equal in two guards of a value if nothing has changed between them.
    held : list of callable
        Weak references to the objects that the key knows by their addresses.
    complete : bool
        Whether the key holds all that can be reached. If not, equal keys prove nothing.
    codes : list of code
        Code of the functions outside this library that can be reached.
    """

    key: Any
    held: list[Callable[[], Any]]
    complete: bool
    codes: list[types.CodeType]

    @property
    def valid(self) -> bool:
        """Whether an equal key of today proves that nothing has changed: no address has got a new owner."""
        return self.complete and all(reference() is not None for reference in self.held)

    def change(self, later: Guard) -> str | None:
        """Name of the first value that differs in a later guard, or None.

        An attribute that is set and never read, such as a gate that is kept to be looked at, does not count.
        """
        names = [_names(code) for code in later.codes]
        read = frozenset[str]().union(*[found.read for found in names])
        stored = frozenset[str]().union(*[found.stored for found in names])
        return _change(self.key, later.key, stored - read if _DYNAMIC.isdisjoint(read) else frozenset())


def guard(value: Any) -> Guard:
    """A guard of a value and of all that its methods can reach.

    Parameters
    ----------
    value : Any
        A function, or an object whose methods are called.

    Examples
    --------
    >>> class Anneal:
    ...     def __init__(self):
    ...         self.temperature = 1.0
    ...     def __call__(self, x):
    ...         return x / self.temperature
    >>> anneal = Anneal()
    >>> before = guard(anneal)
    >>> guard(anneal).key == before.key
    True
    >>> anneal.temperature = 0.5
    >>> guard(anneal).key == before.key
    False
    >>> before.change(guard(anneal))
    'temperature'
    """
    walk = _Walk()
    return Guard(walk.of(value, frozenset()), walk.held, walk.complete, walk.codes)


class _Group(NamedTuple):
    """Keys of values that have names: attributes, globals, the variables of a closure."""

    names: tuple[str, ...]
    keys: tuple[Any, ...]
    attributes: bool = False


class _Walk:
    """One walk over what a value can reach.

    The `names` that are handed on are the attributes that the reading code names.
    """

    def __init__(self) -> None:
        self.held: list[Callable[[], Any]] = []
        self.codes: list[types.CodeType] = []
        self.complete = True
        self._depth = 0
        self._seen: dict[int, tuple[int, Any]] = {}  # the value too, so that no other takes its address meanwhile

    def of(self, value: Any, names: frozenset[str]) -> Any:
        """The key of a value."""
        kind = type(value)
        if kind is int or kind is str or kind is bool or value is None:
            return kind, value
        address = id(value)
        known = self._seen.get(address)
        if known is not None:
            return known[0]
        if len(self._seen) >= LARGEST or self._depth >= DEEPEST:
            return self.unknown(value, names)
        self._seen[address] = len(self._seen), value
        self._depth += 1
        try:
            return _of_kind(kind).way(self, value, names)
        finally:
            self._depth -= 1

    def _named(self, space: Mapping[str, Any], chosen: Iterable[str], names: frozenset[str]) -> _Group:
        found = tuple([name for name in chosen if name in space])
        return _Group(found, tuple([self.of(space[name], names) for name in found]))

    def _attributes(self, value: Any, names: frozenset[str]) -> _Group:
        space = getattr(value, "__dict__", {})
        if slots := _of_kind(type(value)).slots:
            space = {**space, **{name: getattr(value, name) for name in slots if hasattr(value, name)}}
        return _Group(tuple(space), tuple([self.of(part, names) for part in space.values()]), True)

    # -- one way for each kind of value, chosen by _look_up --------------------------------------

    def unknown(self, value: Any, names: frozenset[str]) -> Any:
        self.complete = False

    def exact(self, value: Any, names: frozenset[str]) -> Any:
        return exact(value)

    def identity(self, value: Any, names: frozenset[str]) -> Any:
        try:
            self.held.append(weakref.ref(value))
        except TypeError:
            self.held.append(lambda: value)
        return id(value)

    def instance(self, value: Any, names: frozenset[str]) -> Any:
        return self.of(type(value), names), self._attributes(value, names)

    def mapping(self, value: Any, names: frozenset[str]) -> Any:
        keys = tuple([self.of(key, names) for key in value])
        return keys, tuple([self.of(part, names) for part in value.values()]), self.instance(value, names)

    def container(self, value: Any, names: frozenset[str]) -> Any:
        if len(value) > LARGEST:
            return self.unknown(value, names)
        return type(value), tuple([self.of(part, names) for part in value]), self._attributes(value, names)

    def array(self, value: Any, names: frozenset[str]) -> Any:
        if value.nbytes > LARGEST_ARRAY or value.dtype.hasobject:
            return self.unknown(value, names)
        return exact(value)

    def generator(self, value: Any, names: frozenset[str]) -> Any:
        if isinstance(value, random.Random):
            return hash(value.getstate())
        if isinstance(value, np.random.RandomState):
            state = value.get_state(legacy=False)
            return exact(state["state"]), state["has_gauss"]
        return repr(getattr(value, "bit_generator", value).state)

    def module(self, value: Any, names: frozenset[str]) -> Any:
        return self.identity(value, names), self._named(vars(value), names, names)

    def kind(self, value: Any, names: frozenset[str]) -> Any:
        if _is_ours(value.__module__):
            return self.identity(value, names)
        space = vars(value)
        bases = tuple([self.of(base, frozenset()) for base in value.__bases__])
        return self.identity(value, names), bases, self._named(space, [n for n in space if n not in _NOT_RUN], frozenset())

    def method(self, value: Any, names: frozenset[str]) -> Any:
        return self.of(value.__self__, names), self.of(value.__func__, names)

    def builtin(self, value: Any, names: frozenset[str]) -> Any:
        owner = value.__self__
        if owner is None or isinstance(owner, types.ModuleType):
            return self.identity(value, names)
        return value.__name__, self.of(owner, names)

    def wrapped(self, value: Any, names: frozenset[str]) -> Any:
        parts = [getattr(value, name, None) for name in ("fget", "func", "__func__", "__wrapped__", "args", "keywords")]
        return type(value), tuple([self.of(part, names) for part in parts])

    def function(self, value: Any, names: frozenset[str]) -> Any:
        code, ours = value.__code__, _is_ours(value.__module__)
        read = _names(code)
        closure = dict(zip(code.co_freevars, map(_contents, value.__closure__ or ()), strict=True))
        if not ours:
            self.codes.append(code)
        return (
            self.identity(value, names),
            self._named(closure, closure, read.read),
            self.of(value.__defaults__, names),
            self.of(value.__kwdefaults__, names),
            None if ours else self._named(value.__globals__, read.globals, read.read),
        )


_DESCRIPTORS = (
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    type(vars(Guard)["key"]),
)
_WAYS: tuple[tuple[Any, Callable[[_Walk, Any, frozenset[str]], Any]], ...] = (
    ((Tensor, Node, Primitive, np.ufunc, *_DESCRIPTORS), _Walk.identity),  # immutable, or read afresh by whoever runs a trace
    ((float, complex, str, bytes, int, type(...), slice, range, np.generic, np.dtype), _Walk.exact),
    (types.FunctionType, _Walk.function),
    (types.MethodType, _Walk.method),
    (types.BuiltinFunctionType, _Walk.builtin),
    ((functools.partial, functools.cached_property, property, staticmethod, classmethod), _Walk.wrapped),
    (type(functools.cache(lambda: None)), _Walk.wrapped),
    (types.ModuleType, _Walk.module),
    (type, _Walk.kind),
    ((dict, types.MappingProxyType), _Walk.mapping),
    ((tuple, list, set, frozenset, collections.deque), _Walk.container),
    (np.ndarray, _Walk.array),
    ((np.random.Generator, np.random.BitGenerator, np.random.RandomState, random.Random), _Walk.generator),
)


class _Kind(NamedTuple):
    """How values of a type are looked at, and what attributes they have beside those in their dict."""

    way: Callable[[_Walk, Any, frozenset[str]], Any]
    slots: tuple[str, ...]


_kinds: weakref.WeakKeyDictionary[type, _Kind] = weakref.WeakKeyDictionary()


def _of_kind(kind: type) -> _Kind:
    found = _kinds.get(kind)
    if found is None:
        found = _kinds[kind] = _look_up(kind)
    return found


def _look_up(kind: type) -> _Kind:
    of_bases = [base.__dict__.get("__slots__", ()) for base in kind.__mro__]
    names = [name for found in of_bases for name in ([found] if isinstance(found, str) else found)]
    slots = tuple(name for name in names if name not in ("__dict__", "__weakref__"))
    for kinds, way in _WAYS:
        if issubclass(kind, kinds):
            return _Kind(way, slots)
    # more than a dict, weak references and slots: an iterator, a file, a lock, another library's array
    hidden = kind.__basicsize__ > object.__basicsize__ + 8 * (2 + len(slots))
    return _Kind(_Walk.unknown if hidden else _Walk.instance, slots)


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is assigned later
        return None


class _Names(NamedTuple):
    """Names that a function's code, and code within it, reads and sets.

    Attributes
    ----------
    globals, read, stored : frozenset of str
        Globals; attributes that are read, and global names too; attributes that are set.
    """

    globals: frozenset[str]
    read: frozenset[str]
    stored: frozenset[str]


@functools.lru_cache(4096)
def _names(code: types.CodeType) -> _Names:
    outer, attributes, stored = set(), set(), set()
    waiting = [code]
    while waiting:
        part = waiting.pop()
        waiting += [constant for constant in part.co_consts if isinstance(constant, types.CodeType)]
        for line in dis.get_instructions(part):
            if line.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                outer.add(line.argval)
            elif line.opname in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_NAME", "IMPORT_FROM"):
                attributes.add(line.argval)
            elif line.opname == "STORE_ATTR":
                stored.add(line.argval)
    return _Names(frozenset(outer), frozenset(outer | attributes), frozenset(stored))


@functools.cache
def _is_ours(module: str | None) -> bool:
    """Whether code of a module reads only what it is given: this library, NumPy and Python's own modules."""
    first = (module or "").partition(".")[0]
    if first in sys.stdlib_module_names:
        file = getattr(sys.modules.get(first), "__file__", None)  # a user's file may have the name of a standard one
        return file is None or Path(file).is_relative_to(_STANDARD_LIBRARY)
    return first in ("tinygrad_rnn", "numpy", "builtins")


def _change(before: Any, after: Any, unread: frozenset[str], name: str = "a value") -> str | None:
    if before == after:
        return None
    if isinstance(before, _Group) and isinstance(after, _Group) and before.names == after.names:
        for inner, old, new in zip(before.names, before.keys, after.keys, strict=True):
            if not (before.attributes and inner in unread) and (found := _change(old, new, unread, inner)) is not None:
                return found
        return None
    if not (isinstance(before, tuple) and isinstance(after, tuple) and len(before) == len(after)):
        return name
    changes = (_change(old, new, unread, name) for old, new in zip(before, after, strict=True))
    return next((found for found in changes if found is not None), None)
