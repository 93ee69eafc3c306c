"""The walk of a guard over all that a value can reach, with a rule for each kind of value."""

from __future__ import annotations

import array
import builtins
import collections
import functools
import logging
import random
import sys
import types
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ..graph.node import Node
from ..graph.structure import exact
from ..ops.core import Primitive
from ..tensor import Parameter, Tensor
from .code import BY_VALUE, GLOBALS_BY_VALUE, IMPURE, has_own_code, is_ours, is_pure, is_replaced, names_in, original_attributes

__all__ = ["NamedKeys", "Missing", "Note", "TypeRule", "Unread", "UnreadDict", "Walk", "rule_of"]

LARGEST = 1000
"""Largest number of values that a guard reads."""

LARGEST_ARRAY = 4096
"""Largest size, in bytes, of an array whose values a guard holds."""

DEEPEST = 50
"""Largest depth of containers and objects within each other."""

_PASSIVE = {"__annotations__", "__doc__", "__slotnames__", "_abc_impl"}
"""Attributes of a class that say nothing about what its methods do; a copy of an object leaves `__slotnames__` on its class."""
_CONSTRUCTORS = {"__init__", "__new__", "__post_init__", "__init_subclass__", "__class_getitem__"}
"""Methods of a class that matter to code that holds the class, but not to code that holds an instance."""


class NamedKeys(NamedTuple):
    """Keys of named values, such as attributes, globals or closure variables."""

    names: tuple[str, ...]
    keys: tuple[Any, ...]
    attributes: bool = False


class Missing:
    """Placeholder of a variable that is not set."""


class Note(NamedTuple):
    """The facts of one object that can change, and how to read them again.

    Attributes
    ----------
    owner : weakref.ref
    read : callable
        ``read(owner)`` returns the present facts: a list of objects, or a value.
    by_value : bool
        Whether to compare the facts as a value, and not object by object.
    """

    owner: Callable[[], Any]
    read: Callable[[Any], Any]
    by_value: bool = False


class Unread:
    """A holder of a value that no step reads; a guard records the holder's address and does not look inside."""

    __slots__ = ("value", "__weakref__")

    def __init__(self, value: Any) -> None:
        self.value = value


class UnreadDict(dict[Any, Any]):
    """A dict that no step reads, or that is determined by attributes which a guard reads; see :class:`Unread`."""

    __slots__ = ("__weakref__",)


class Walk:
    """One walk over all values that a value can reach.

    The walk runs no code of the values: no property, no ``__getattr__``, no ``__iter__``.

    Parameters
    ----------
    anew : mapping of type to collection of str
        For each class, the attributes of its instances that are left out, since the caller reads them at each run.
    """

    def __init__(self, anew: Mapping[type, Collection[str]] = {}) -> None:
        self._anew = anew
        self.held: list[Callable[[], Any]] = []
        self.codes: list[types.CodeType] = []
        self.complete = True
        self.first_unknown: str | None = None  # name or kind of the first value that may hold anything
        self.notes: list[Note] = []
        self.all_noted = True  # whether the notes cover everything that can change
        self._names: set[str] = set()  # names of attributes that the codes read
        self._modules: dict[int, tuple[types.ModuleType, set[str]]] = {}  # each module, with its variables that were looked at
        self._depth = 0
        self._seen: dict[Any, tuple[int, Any]] = {}  # holds the value too, so that no other object takes its address

    def of(self, value: Any) -> Any:
        """The key of a value."""
        kind = type(value)
        if kind is int or kind is str or kind is bool or value is None:
            return kind, value
        return self._once(id(value), value, rule_of(kind).way)

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

    def modules(self) -> tuple[NamedKeys, ...]:
        """Keys of the variables of all reachable modules whose names any code reads as attributes."""
        found: list[NamedKeys] = []
        known = -1
        while known < (known := len(self._names) + len(self._modules)):  # these variables may lead to more names and modules
            by_value = not BY_VALUE.isdisjoint(self._names)
            for module, done in list(self._modules.values()):
                space = vars(module)
                names = space.keys() if by_value and not is_ours(module.__name__) else self._names | {"__getattr__"}
                new = sorted(name for name in names if name in space and name not in done)
                done.update(new)
                found.append(self._named(space, new))
        for module, _ in self._modules.values():
            looked_at = None if by_value and not is_ours(module.__name__) else [*self._names, "__getattr__"]
            self._note(module, functools.partial(_variables, looked_at))
        return tuple(found)

    def _note(self, owner: Any, read: Callable[[Any], Any], by_value: bool = False) -> None:
        """Note what can change in a value; if the value has no weak references, the note of its holder covers the change."""
        if type(owner).__weakrefoffset__:
            self.notes.append(Note(weakref.ref(owner), read, by_value))

    def _named(self, space: Mapping[str, Any], names: Iterable[str]) -> NamedKeys:
        return self._group([(name, space[name]) for name in names if name in space])

    def _group(self, found: list[tuple[str, Any]], attributes: bool = False) -> NamedKeys:
        return NamedKeys(tuple([name for name, _ in found]), tuple([self.of(part) for _, part in found]), attributes)

    def _attributes(self, value: Any, left_out: Collection[str] = ()) -> NamedKeys:
        """Keys of the attributes in the dict and the slots of a value."""
        kind = rule_of(type(value))
        contents = kind.contents or (_attributes_in if kind.slots or not kind.has_dict else _items_of_dict)
        self._note(value, functools.partial(_attributes_in, left_out=left_out) if left_out else contents)
        found = _variables_of(value, left_out) if kind.has_dict else []
        for slot in kind.slots:
            with suppress(AttributeError):  # the slot is not set
                found.append((slot.__name__, slot.__get__(value)))
        return self._group(found, True)

    def _further(self, value: Any) -> Any:
        """The class and the attributes of a value, if values of its kind have any."""
        kind = rule_of(type(value))
        return self.instance(value) if kind.has_dict or kind.slots else None

    # -- one way for each kind of value, chosen by _look_up --------------------------------------

    def unknown(self, value: Any) -> Any:
        """Mark the guard as incomplete, since a value may hold anything and has no key."""
        if self.complete:
            size = f" of {value.nbytes:,} bytes" if isinstance(value, np.ndarray) else ""
            self.first_unknown = _name_of(value) or f"an object of type {type(value).__name__}{size}"
        self.complete = False

    def exact(self, value: Any) -> Any:
        """Key of a number, a text or similar: the exact value, and attributes that a user's class adds."""
        return exact(value), self._further(value)

    def identity(self, value: Any) -> Any:
        """Key of an object that is compared by identity: its address."""
        try:
            self.held.append(weakref.ref(value))
        except TypeError:
            self.held.append(lambda: value)
        return id(value)

    def tensor(self, value: Any) -> Any:
        """Key of a tensor: its address, and whether it requires a gradient; its array is read anew at each run of a trace."""
        self._note(value, _facts_of_tensor, by_value=True)
        return self.identity(value), *_facts_of_tensor(value), self._further(value)

    def descriptor(self, value: Any) -> Any:
        """Key of an attribute that a class written in C defines: the class and the name of the attribute."""
        return self.identity(value.__objclass__), value.__name__  # the object itself would keep its class alive

    def ufunc(self, value: Any) -> Any:
        """Key of a NumPy ufunc: its address; a ufunc made from a Python function is unknown."""
        of_python = all(set(kinds) <= set("O->") for kinds in value.types)  # made by np.frompyfunc
        return self.unknown(value) if of_python else self.identity(value)

    def instance(self, value: Any) -> Any:
        """Key of an instance: its class and its attributes, and its address if attributes are read anew at each run."""
        for kind, names in self._anew.items():
            if isinstance(value, kind):
                return self.identity(value), self._type(type(value)), self._attributes(value, names)
        return self._type(type(value)), self._attributes(value)

    def container(self, value: Any) -> Any:
        """Key of a container: its elements, or the items of a mapping, in order."""
        self.all_noted = self.all_noted and rule_of(type(value)).contents is not None
        base = next(kind for kind in _CONTAINERS if isinstance(value, kind))
        if base.__len__(value) > LARGEST:
            return self.unknown(value)
        if base in _MAPPINGS:
            parts = [(self.of(key), self.of(part)) for key, part in list(base.items(value))]
        else:
            parts = [self.of(part) for part in list(base.__iter__(value))]
        return type(value), tuple(parts), self._further(value)

    def array(self, value: Any) -> Any:
        """Key of a small array: its numbers."""
        if value.nbytes > LARGEST_ARRAY or value.dtype.hasobject:
            return self.unknown(value)
        self._note(value, exact, by_value=True)
        return self.exact(value)

    def buffer(self, value: Any) -> Any:
        """Key of a small buffer: its bytes."""
        self.all_noted = False
        content = memoryview(value)
        return self.unknown(value) if content.nbytes > LARGEST_ARRAY else (content.tobytes(), self.instance(value))

    def generator(self, value: Any) -> Any:
        """Key of a random generator: its state."""
        self.all_noted = False
        if isinstance(value, random.SystemRandom):
            return self.unknown(value)
        if isinstance(value, random.Random):
            return hash(value.getstate())
        if isinstance(value, np.random.RandomState):
            state = value.get_state(legacy=False)
            return exact(state["state"]), state["has_gauss"]
        return repr(getattr(value, "bit_generator", value).state)

    def module(self, value: Any) -> Any:
        """Key of a module: its address; :meth:`modules` gives the keys of its variables."""
        self._modules.setdefault(id(value), (value, set()))
        return self.identity(value), None if type(value) is types.ModuleType else self._type(type(value))

    def kind(self, value: Any) -> Any:
        """Key of a class: its attributes and its bases."""
        return self._class(value, self.of, _PASSIVE)

    def _type(self, value: type) -> Any:
        """The class of an instance, whose key was made before."""
        return self._once((id(value), "type"), value, lambda self, value: self._class(value, self._type, _NOT_OF_INSTANCES))

    def _class(self, value: type, way: Callable[[Any], Any], left_out: set[str]) -> Any:
        key = self.identity(value)
        if has_own_code(value):
            metaclass = None if type(value) is type else self._type(type(value))
            space = {name: part for name, part in vars(value).items() if name not in left_out}
            self._note(value, functools.partial(_class_attributes, left_out))
            return key, metaclass, tuple(map(way, value.__bases__)), self._named(space, space)
        if not is_pure(value.__module__, value.__name__):
            return self.unknown(value)
        if not value.__module__.startswith(_LIBRARY):
            return key
        patches = _patches(value)
        self.all_noted = self.all_noted and not patches
        self._note(value, _is_original, by_value=True)
        return key, tuple(map(self._type, value.__bases__)), self._named(patches, patches)

    def method(self, value: Any) -> Any:
        """Key of a method: its object and its function."""
        self._note(value, _parts_of_method)
        return self.of(value.__self__), self.of(value.__func__)

    def builtin(self, value: Any) -> Any:
        """Key of a function written in C: its address; of a method written in C, its object and its name."""
        owner = getattr(value, "__self__", None)
        if owner is not None and not isinstance(owner, types.ModuleType):
            self._note(value, _owner_of_builtin)
            return value.__name__, self.of(owner)
        return self.identity(value) if is_pure(value.__module__, value.__name__) else self.unknown(value)

    def function(self, value: Any) -> Any:
        """Key of a function: its code, and all that the code reads."""
        code, space = value.__code__, value.__globals__
        home = space.get("__name__")  # the function's own __module__ may be that of a function that it wraps
        closure = {name: _contents(cell) for name, cell in zip(code.co_freevars, value.__closure__ or (), strict=True)}
        key = (
            self.identity(value),
            self.identity(code),
            self._type(closure.pop("__class__")) if "__class__" in closure else None,  # the class that super() uses
            self._named(closure, closure),
            self.of(value.__defaults__),
            self.of(value.__kwdefaults__),
            self._named(value.__dict__, list(value.__dict__)),
        )
        if is_ours(home) and not code.co_filename.startswith("<doctest"):  # an example is a user's code
            self._note(value, _parts_of_function)
            return key if is_pure(home, value.__name__) else self.unknown(value)
        read = names_in(code)
        self.codes.append(code)
        self._names |= read.read
        imports = [path for name in read.imports for path in (name, f"{space.get('__package__')}.{name}".rstrip("."))]
        for path in imports:
            self.of(sys.modules.get(path))
        by_value = not GLOBALS_BY_VALUE.isdisjoint(read.globals)
        names = [*space] if by_value else read.globals
        self._note(value, functools.partial(_parts_and_variables, None if by_value else read.globals, tuple(imports)))
        of_python = [name for name in read.globals if name not in space and (name in IMPURE or is_replaced(name))]
        return key, self._named(space, names), self._named(vars(builtins), of_python)


_Way: TypeAlias = Callable[[Walk, Any], Any]
_LIBRARY = __name__.partition(".")[0]
_NOT_OF_INSTANCES = _PASSIVE | _CONSTRUCTORS
_MAPPINGS: tuple[Any, ...] = (collections.OrderedDict, dict, types.MappingProxyType)
_CONTAINERS: tuple[Any, ...] = (*_MAPPINGS, tuple, list, set, frozenset, collections.deque)
_DESCRIPTORS = (
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
)
_WAYS: tuple[tuple[Any, _Way], ...] = (
    (Tensor, Walk.tensor),  # the caller reads a tensor's values at each run of a trace
    ((Node, Primitive, Unread, UnreadDict, logging.Logger, type(vars(NamedKeys)["names"])), Walk.identity),
    (np.ufunc, Walk.ufunc),
    (_DESCRIPTORS, Walk.descriptor),
    ((float, complex, str, bytes, int, type(...), slice, range, np.generic, np.dtype), Walk.exact),
    (types.FunctionType, Walk.function),
    (types.MethodType, Walk.method),
    ((types.BuiltinFunctionType, type(np.sum)), Walk.builtin),
    (types.ModuleType, Walk.module),
    (type, Walk.kind),
    (_CONTAINERS, Walk.container),
    (np.ndarray, Walk.array),
    ((bytearray, array.array), Walk.buffer),
    ((np.random.Generator, np.random.BitGenerator, np.random.RandomState, random.Random), Walk.generator),
    ((functools.partial, property, staticmethod, classmethod, types.SimpleNamespace), Walk.instance),
)


class TypeRule(NamedTuple):
    """A rule for how the walk treats values of one type.

    Attributes
    ----------
    way : callable
        The method of :class:`Walk` that makes the key of a value.
    slots : tuple of descriptor
        Descriptors of the attributes that are not in a dict.
    has_dict : bool
    contents : callable, optional
        ``contents(value)`` lists all that a value holds, for types without weak references, such as containers.
    is_number : bool
        Whether values of the type hold nothing and never change, such as numbers, texts and dtypes.
    by_address : bool
        Whether a walk keeps a weak reference to each value, or the value itself.
    """

    way: _Way
    slots: tuple[Any, ...]
    has_dict: bool
    contents: Callable[[Any], list[Any]] | None = None
    is_number: bool = False
    by_address: bool = False


_kinds: dict[type, TypeRule] = {}
_kinds_of_users: weakref.WeakKeyDictionary[type, TypeRule] = weakref.WeakKeyDictionary()


def rule_of(kind: type) -> TypeRule:
    """The rule for a type, cached."""
    found = _kinds.get(kind) or _kinds_of_users.get(kind)
    if found is None:
        found = _look_up(kind)
        (_kinds_of_users if has_own_code(kind) else _kinds)[kind] = found
    return found


def _look_up(kind: type) -> TypeRule:
    bases = [base for base in kind.__mro__ if base not in (Tensor, Parameter, types.FunctionType)]
    members = [part for base in bases for part in vars(base).values() if type(part) is types.MemberDescriptorType]
    slots = tuple([part for part in members if part.__name__ not in _OFFSETS])
    has_dict = kind.__dictoffset__ != 0
    is_number = kind in _NUMBERS or (issubclass(kind, (np.generic, np.dtype)) and not issubclass(kind, np.void))
    for kinds, way in _WAYS:
        if issubclass(kind, kinds):
            return TypeRule(way, slots, has_dict, _contents_of(kind, way, has_dict), is_number, way in _BY_ADDRESS)
    # the type has more than slots, a dict and weak references: an iterator, a file, a lock, another library's array
    words = len(slots) + (kind.__dictoffset__ > 0) + (kind.__weakrefoffset__ > 0)
    hidden = kind.__itemsize__ > 0 or kind.__basicsize__ > object.__basicsize__ + 8 * words
    way = Walk.unknown if hidden else Walk.instance
    return TypeRule(way, slots, has_dict, _contents_of(kind, way, has_dict), is_number)


_OFFSETS = {"__vectorcalloffset__", "__weaklistoffset__", "__dictoffset__"}
"""Slots in which C code keeps its own data, and which are not attributes."""
_BY_ADDRESS = {Walk.identity, Walk.tensor, Walk.ufunc, Walk.module, Walk.kind, Walk.builtin, Walk.function}
_NUMBERS = {float, complex, str, bytes, int, bool, type(None), type(...), range}


def _contents_of(kind: type, way: _Way, has_dict: bool) -> Callable[[Any], list[Any]] | None:
    """A function that lists the contents of values without weak references; None if there is none for the type."""
    if kind in (dict, collections.OrderedDict):
        return _items
    if kind in (list, set, frozenset, collections.deque) or (
        issubclass(kind, tuple) and not has_dict and kind.__iter__ is tuple.__iter__
    ):
        return list
    if way is Walk.descriptor:
        return _owner_of_descriptor
    return _attributes_in if way is Walk.instance and not kind.__weakrefoffset__ else None


# -- what notes read --------------------------------------------------------------------------


def _items(value: dict[Any, Any]) -> list[Any]:
    return [*value, *value.values()]


def _variables_of(value: Any, left_out: Collection[str]) -> list[tuple[str, Any]]:
    """Names and values in the dict of a value, without the excluded names."""
    found = list(object.__getattribute__(value, "__dict__").items())  # a list, since a thread may add to the dict
    return [pair for pair in found if pair[0] not in left_out] if left_out else found


def _attributes_in(value: Any, left_out: Collection[str] = ()) -> list[Any]:
    """The type of a value, and names and values of its attributes, without the excluded names."""
    kind = rule_of(type(value))
    found: list[Any] = [type(value)]
    if kind.has_dict:
        found += [part for pair in _variables_of(value, left_out) for part in pair]
    for slot in kind.slots:
        try:
            found.append(slot.__get__(value))
        except AttributeError:  # the slot is not set
            found.append(Missing)
    return found


def _items_of_dict(value: Any) -> list[Any]:
    """The type and attributes of a value whose attributes are all in its dict."""
    space = object.__getattribute__(value, "__dict__")
    return [type(value), *space, *space.values()]


def _variables(names: Iterable[str] | None, module: types.ModuleType) -> list[Any]:
    """The type of a module, and all its variables, or those of given names."""
    space = vars(module)
    return [type(module), *(_items(space) if names is None else [space.get(name, Missing) for name in names])]


def _class_attributes(left_out: set[str], kind: type) -> list[Any]:
    """The bases, the metaclass and the attributes of a class, without the excluded names."""
    space = {name: part for name, part in vars(kind).items() if name not in left_out}
    return [type(kind), *kind.__bases__, *_items(space)]


def _patches(kind: type) -> dict[str, Any]:
    """Attributes of a library class that were changed or added after import."""
    today, own = vars(kind), original_attributes(kind)
    if today == own:
        return {}
    return {name: part for name, part in today.items() if part is not own.get(name) and name not in _PASSIVE}


def _is_original(kind: type) -> bool:
    """Whether a library class has the attributes that it was defined with."""
    return vars(kind) == original_attributes(kind) or not _patches(kind)


def _facts_of_tensor(value: Any) -> tuple[bool, str | None]:
    """Whether a tensor wants a gradient, and its symbol."""
    return value.node.leaf is not None, getattr(value, "_symbol", None)


def _name_of(value: Any) -> str | None:
    """The name of a function or class, found without running code of the value."""
    spaces = [vars(kind) for kind in type(value).__mro__ if "__qualname__" in vars(kind)]
    found = spaces[0]["__qualname__"] if spaces else None
    return str(found.__get__(value)) if isinstance(found, types.GetSetDescriptorType) else None


def _parts_of_method(value: types.MethodType) -> list[Any]:
    return [value.__self__, value.__func__]


def _owner_of_builtin(value: types.BuiltinMethodType) -> list[Any]:
    return [value.__self__]


def _owner_of_descriptor(value: Any) -> list[Any]:
    return [value.__objclass__]


def _parts_of_function(value: types.FunctionType) -> list[Any]:
    """All parts of a function: its code, default arguments, closure and attributes."""
    found = [value.__code__, value.__defaults__, value.__kwdefaults__]
    if value.__closure__:
        found += map(_contents, value.__closure__)
    if value.__dict__:
        found += _items(value.__dict__)
    return found


def _parts_and_variables(names: Iterable[str] | None, imports: Iterable[str], value: types.FunctionType) -> list[Any]:
    """All parts of a function, and the variables that its code reads: all, or those of given names."""
    space, of_python = value.__globals__, vars(builtins)
    return [
        *_parts_of_function(value),
        *(_items(space) if names is None else [space.get(name, of_python.get(name, Missing)) for name in names]),
        *[sys.modules.get(path) for path in imports],
    ]


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # the variable is assigned later
        return None
