"""Guards: has anything that a Python function reads changed since it was traced?

A trace stands for a function as long as the function would do the same again. What the function
would do follows from the values that it can reach: attributes of its objects, closures, globals
that its code names, default arguments, containers, random generators. A guard is all of that as
one key, which is quick to make and to compare.
"""

from __future__ import annotations

import array
import builtins
import collections
import dis
import functools
import logging
import os
import random
import sys
import types
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .graph.node import Node
from .graph.structure import exact
from .ops.core import Primitive
from .tensor import Parameter, Tensor

__all__ = ["Guard", "guard"]

LARGEST = 1000
"""How many values a guard looks at."""

LARGEST_ARRAY = 4096
"""Bytes of an array whose values a guard holds."""

DEEPEST = 50
"""How deep containers and objects may be within each other."""

_PASSIVE = {"__annotations__", "__doc__", "_abc_impl"}
"""Attributes of a class that say nothing about what its methods do."""
_CONSTRUCTORS = {"__init__", "__new__", "__post_init__", "__init_subclass__", "__class_getitem__"}
"""Methods of a class that matter to code that holds the class, and not to code that holds an instance."""
_GLOBALS_BY_VALUE = {"eval", "exec", "globals"}
"""Ways to read globals whose names are not in the code."""
_BY_VALUE = _GLOBALS_BY_VALUE | {"getattr", "vars", "attrgetter", "__dict__", "__getattribute__"}
"""Ways to read attributes whose names are not in the code."""

_OURS = {"tinygrad_rnn", "numpy", "builtins"}
_STANDARD_LIBRARY = Path(os.__file__).parent
_STATELESS = (
    "abc argparse array bisect cmath collections contextlib copy copyreg dataclasses enum fractions functools heapq inspect "
    "itertools logging math numbers operator random re statistics string struct textwrap types typing warnings"
)
_PURE = _OURS.union(_STATELESS.split())
"""Packages whose functions depend on their arguments only; the rest of Python reads files, clocks and settings."""
_IMPURE = {"input", "open", "__import__", "fromfile", "fromregex", "genfromtxt", "load", "loadtxt", "memmap"}
_IMPURE |= {"get_printoptions", "geterr", "geterrcall"}
"""Functions of these packages that do so too."""
_BUILTINS = dict(vars(builtins))


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
        return _change(self.key, later.key, stored - read if _BY_VALUE.isdisjoint(read) else frozenset())


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
    key = walk.of(value), walk.modules()
    return Guard(key, walk.held, walk.complete, walk.codes)


class _Group(NamedTuple):
    """Keys of values that have names: attributes, globals, the variables of a closure."""

    names: tuple[str, ...]
    keys: tuple[Any, ...]
    attributes: bool = False


class _Walk:
    """One walk over what a value can reach.

    It runs no code of the values: no property, no ``__getattr__``, no ``__iter__``.
    """

    def __init__(self) -> None:
        self.held: list[Callable[[], Any]] = []
        self.codes: list[types.CodeType] = []
        self.complete = True
        self._names: set[str] = set()  # of attributes that the codes read
        self._modules: dict[int, tuple[types.ModuleType, set[str]]] = {}  # with the variables that were looked at
        self._depth = 0
        self._seen: dict[Any, tuple[int, Any]] = {}  # the value too, so that no other takes its address meanwhile

    def of(self, value: Any) -> Any:
        """The key of a value."""
        kind = type(value)
        if kind is int or kind is str or kind is bool or value is None:
            return kind, value
        return self._once(id(value), value, _of_kind(kind).way)

    def _once(self, address: Any, value: Any, way: _Way) -> Any:
        known = self._seen.get(address)
        if known is not None:
            return known[0]
        if len(self._seen) >= LARGEST or self._depth >= DEEPEST:
            return self.unknown(value)
        self._seen[address] = len(self._seen), value
        self._depth += 1
        try:
            return way(self, value)
        finally:
            self._depth -= 1

    def modules(self) -> tuple[_Group, ...]:
        """Variables of all modules that can be reached, if any code reads an attribute of that name."""
        found: list[_Group] = []
        known = -1
        while known < (known := len(self._names) + len(self._modules)):  # these variables may lead to more of both
            by_value = not _BY_VALUE.isdisjoint(self._names)
            for module, done in list(self._modules.values()):
                space = vars(module)
                names = space.keys() if by_value and not _is_ours(module.__name__) else self._names | {"__getattr__"}
                new = sorted(name for name in names if name in space and name not in done)
                done.update(new)
                found.append(self._named(space, new))
        return tuple(found)

    def _named(self, space: Mapping[str, Any], names: Iterable[str]) -> _Group:
        return self._group([(name, space[name]) for name in names if name in space])

    def _group(self, found: list[tuple[str, Any]], attributes: bool = False) -> _Group:
        return _Group(tuple([name for name, _ in found]), tuple([self.of(part) for _, part in found]), attributes)

    def _attributes(self, value: Any) -> _Group:
        """Those in its dict and its slots."""
        kind = _of_kind(type(value))
        found = list(object.__getattribute__(value, "__dict__").items()) if kind.has_dict else []  # a thread may add to it
        for slot in kind.slots:
            with suppress(AttributeError):  # it is not set
                found.append((slot.__name__, slot.__get__(value)))
        return self._group(found, True)

    def _further(self, value: Any) -> Any:
        """The class and the attributes of a value, if its kind has any beside the value itself."""
        kind = _of_kind(type(value))
        return self.instance(value) if kind.has_dict or kind.slots else None

    # -- one way for each kind of value, chosen by _look_up --------------------------------------

    def unknown(self, value: Any) -> Any:
        self.complete = False

    def exact(self, value: Any) -> Any:
        return exact(value), self._further(value)

    def identity(self, value: Any) -> Any:
        try:
            self.held.append(weakref.ref(value))
        except TypeError:
            self.held.append(lambda: value)
        return id(value)

    def tensor(self, value: Any) -> Any:
        return self.identity(value), value.node.leaf is not None, getattr(value, "symbol", None), self._further(value)

    def descriptor(self, value: Any) -> Any:
        return self.identity(value.__objclass__), value.__name__  # it would keep its class alive

    def ufunc(self, value: Any) -> Any:
        of_python = all(set(kinds) <= set("O->") for kinds in value.types)  # made by np.frompyfunc
        return self.unknown(value) if of_python else self.identity(value)

    def instance(self, value: Any) -> Any:
        return self._type(type(value)), self._attributes(value)

    def mapping(self, value: Any) -> Any:
        base = next(kind for kind in _MAPPINGS if isinstance(value, kind))
        if base.__len__(value) > LARGEST:
            return self.unknown(value)
        items = list(base.items(value))
        return tuple([(self.of(key), self.of(part)) for key, part in items]), type(value), self._further(value)

    def container(self, value: Any) -> Any:
        base = next(kind for kind in _CONTAINERS if isinstance(value, kind))
        if base.__len__(value) > LARGEST:
            return self.unknown(value)
        return type(value), tuple([self.of(part) for part in list(base.__iter__(value))]), self._further(value)

    def array(self, value: Any) -> Any:
        if value.nbytes > LARGEST_ARRAY or value.dtype.hasobject:
            return self.unknown(value)
        return self.exact(value)

    def buffer(self, value: Any) -> Any:
        content = memoryview(value)
        return self.unknown(value) if content.nbytes > LARGEST_ARRAY else (content.tobytes(), self.instance(value))

    def generator(self, value: Any) -> Any:
        if isinstance(value, random.SystemRandom):
            return self.unknown(value)
        if isinstance(value, random.Random):
            return hash(value.getstate())
        if isinstance(value, np.random.RandomState):
            state = value.get_state(legacy=False)
            return exact(state["state"]), state["has_gauss"]
        return repr(getattr(value, "bit_generator", value).state)

    def module(self, value: Any) -> Any:
        self._modules.setdefault(id(value), (value, set()))
        return self.identity(value), None if type(value) is types.ModuleType else self._type(type(value))

    def kind(self, value: Any) -> Any:
        return self._class(value, self.of, _PASSIVE)

    def _type(self, value: type) -> Any:
        """The class of an instance, which was made before."""
        return self._once((id(value), "type"), value, lambda self, value: self._class(value, self._type, _NOT_OF_INSTANCES))

    def _class(self, value: type, way: Callable[[Any], Any], left_out: set[str]) -> Any:
        key = self.identity(value)
        if _has_own_code(value):
            metaclass = None if type(value) is type else self._type(type(value))
            space = {name: part for name, part in vars(value).items() if name not in left_out}
            return key, metaclass, tuple(map(way, value.__bases__)), self._named(space, space)
        if not _is_pure(value.__module__, value.__name__):
            return self.unknown(value)
        if not value.__module__.startswith(_LIBRARY):
            return key
        today, own = vars(value), _own_parts(value)
        patches = {} if today == own else {name: part for name, part in today.items() if part is not own.get(name)}
        return key, tuple(map(self._type, value.__bases__)), self._named(patches, patches)

    def method(self, value: Any) -> Any:
        return self.of(value.__self__), self.of(value.__func__)

    def builtin(self, value: Any) -> Any:
        owner = getattr(value, "__self__", None)
        if owner is not None and not isinstance(owner, types.ModuleType):
            return value.__name__, self.of(owner)
        return self.identity(value) if _is_pure(value.__module__, value.__name__) else self.unknown(value)

    def function(self, value: Any) -> Any:
        code, space = value.__code__, value.__globals__
        home = space.get("__name__")  # its __module__ may be that of a function that it wraps
        closure = {name: _contents(cell) for name, cell in zip(code.co_freevars, value.__closure__ or (), strict=True)}
        key = (
            self.identity(value),
            self.identity(code),
            self._type(closure.pop("__class__")) if "__class__" in closure else None,  # of super()
            self._named(closure, closure),
            self.of(value.__defaults__),
            self.of(value.__kwdefaults__),
            self._named(value.__dict__, list(value.__dict__)),
        )
        if _is_ours(home):
            return key if _is_pure(home, value.__name__) else self.unknown(value)
        read = _names(code)
        self.codes.append(code)
        self._names |= read.read
        for name in read.imports:
            for path in (name, f"{space.get('__package__')}.{name}".rstrip(".")):
                self.of(sys.modules.get(path))
        names = read.globals if _GLOBALS_BY_VALUE.isdisjoint(read.globals) else [*space]
        of_python = [name for name in read.globals if name not in space and (name in _IMPURE or _is_replaced(name))]
        return key, self._named(space, names), self._named(vars(builtins), of_python)


_Way: TypeAlias = Callable[[_Walk, Any], Any]
_LIBRARY = __name__.partition(".")[0]
_NOT_OF_INSTANCES = _PASSIVE | _CONSTRUCTORS
_MAPPINGS: tuple[Any, ...] = (collections.OrderedDict, dict, types.MappingProxyType)
_CONTAINERS: tuple[Any, ...] = (tuple, list, set, frozenset, collections.deque)
_DESCRIPTORS = (
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
)
_WAYS: tuple[tuple[Any, _Way], ...] = (
    (Tensor, _Walk.tensor),  # its values are read afresh by whoever runs a trace
    ((Node, Primitive, logging.Logger, type(vars(Guard)["key"])), _Walk.identity),
    (np.ufunc, _Walk.ufunc),
    (_DESCRIPTORS, _Walk.descriptor),
    ((float, complex, str, bytes, int, type(...), slice, range, np.generic, np.dtype), _Walk.exact),
    (types.FunctionType, _Walk.function),
    (types.MethodType, _Walk.method),
    ((types.BuiltinFunctionType, type(np.sum)), _Walk.builtin),
    (types.ModuleType, _Walk.module),
    (type, _Walk.kind),
    (_MAPPINGS, _Walk.mapping),
    (_CONTAINERS, _Walk.container),
    (np.ndarray, _Walk.array),
    ((bytearray, array.array), _Walk.buffer),
    ((np.random.Generator, np.random.BitGenerator, np.random.RandomState, random.Random), _Walk.generator),
    ((functools.partial, property, staticmethod, classmethod, types.SimpleNamespace), _Walk.instance),
)


class _Kind(NamedTuple):
    """What a guard has to know of a type.

    Attributes
    ----------
    way : callable
        How values of the type are looked at.
    slots : tuple of descriptor
        By which attributes are read that are not in a dict.
    has_dict : bool
    """

    way: _Way
    slots: tuple[Any, ...]
    has_dict: bool


_kinds: dict[type, _Kind] = {}
_kinds_of_users: weakref.WeakKeyDictionary[type, _Kind] = weakref.WeakKeyDictionary()


def _of_kind(kind: type) -> _Kind:
    found = _kinds.get(kind) or _kinds_of_users.get(kind)
    if found is None:
        found = _look_up(kind)
        (_kinds_of_users if _has_own_code(kind) else _kinds)[kind] = found
    return found


def _look_up(kind: type) -> _Kind:
    bases = [base for base in kind.__mro__ if base not in (Tensor, Parameter, types.FunctionType)]
    slots = tuple([part for base in bases for part in vars(base).values() if type(part) is types.MemberDescriptorType])
    has_dict = kind.__dictoffset__ != 0
    for kinds, way in _WAYS:
        if issubclass(kind, kinds):
            return _Kind(way, slots, has_dict)
    # more than slots, a dict and weak references: an iterator, a file, a lock, another library's array
    words = len(slots) + (kind.__dictoffset__ > 0) + (kind.__weakrefoffset__ > 0)
    hidden = kind.__itemsize__ > 0 or kind.__basicsize__ > object.__basicsize__ + 8 * words
    return _Kind(_Walk.unknown if hidden else _Walk.instance, slots, has_dict)


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is assigned later
        return None


class _Names(NamedTuple):
    """Names that a function's code, and code within it, reads and sets.

    Attributes
    ----------
    globals, read, stored, imports : frozenset of str
        Globals; attributes that are read, and global names too; attributes that are set; modules.
    """

    globals: frozenset[str]
    read: frozenset[str]
    stored: frozenset[str]
    imports: frozenset[str]


@functools.lru_cache(4096)
def _names(code: types.CodeType) -> _Names:
    outer, attributes, stored, imports = set(), set(), set(), set()
    waiting = [code]
    while waiting:
        part = waiting.pop()
        waiting += [constant for constant in part.co_consts if isinstance(constant, types.CodeType)]
        for line in dis.get_instructions(part):
            if line.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                outer.add(line.argval)
            elif line.opname in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_FROM"):
                attributes.add(line.argval)
            elif line.opname == "IMPORT_NAME":
                imports.add(line.argval)
            elif line.opname == "STORE_ATTR":
                stored.add(line.argval)
    return _Names(frozenset(outer), frozenset(outer | attributes), frozenset(stored), frozenset(imports))


@functools.cache
def _is_ours(module: str | None) -> bool:
    """Whether code of a module reads only what it is given: this library, NumPy and Python's own modules."""
    first = _first(module)
    if first in sys.stdlib_module_names:
        file = getattr(sys.modules.get(first), "__file__", None)  # a user's file may have the name of a standard one
        return file is None or Path(file).is_relative_to(_STANDARD_LIBRARY)
    return first in _OURS


@functools.cache
def _is_pure(module: str | None, name: str) -> bool:
    """Whether a function or class of a module depends on nothing but its arguments."""
    return _first(module).lstrip("_") in _PURE and name not in _IMPURE


def _first(module: Any) -> str:
    """Name of a module's package."""
    return module.partition(".")[0] if isinstance(module, str) else ""


def _has_own_code(kind: type) -> bool:
    """Whether a class is a user's; one that is made by `exec` may say that it is a builtin."""
    return not _is_ours(kind.__module__) or (kind.__module__ == "builtins" and bool(kind.__flags__ & 1 << 9))


@functools.cache
def _own_parts(kind: type) -> dict[str, Any]:
    """Attributes of a class of the library, before anyone patches it."""
    return dict(vars(kind))


def _is_replaced(name: str) -> bool:
    """Whether a builtin is another one than Python's."""
    return vars(builtins).get(name) is not _BUILTINS.get(name)


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
