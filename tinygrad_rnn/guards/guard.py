"""Guards: has anything that a Python function reads changed since it was traced?

A trace can replace a function as long as the function would do the same again. The behaviour of a
function follows from the values that it can reach: attributes of its objects, closures, globals
that its code names, default arguments, containers, random generators. A guard holds all of these as
one key, which is quick to make and to compare.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from .code import BY_VALUE, names_in
from .walk import NamedKeys, Note, Walk

__all__ = ["Guard", "guard"]


class Guard(NamedTuple):
    """Key of everything that a value can reach, at one moment.

    Attributes
    ----------
    key : hashable
        A value that is equal in two guards if nothing has changed between them.
    held : list of callable
        Weak references to the objects that the key knows by their addresses.
    complete : bool
        Whether the key holds everything that can be reached. If not, equal keys prove nothing.
    codes : list of code
        Code of the functions outside this library that can be reached.
    notes : list of Note, optional
        For each object that was read, what can change in it; None if the notes do not cover all changes.
    unknown : str, optional
        Name or kind of the first value that may hold anything, if the key is not complete.
    """

    key: Any
    held: list[Callable[[], Any]]
    complete: bool
    codes: list[types.CodeType]
    notes: list[Note] | None
    unknown: str | None = None

    @property
    def valid(self) -> bool:
        """Whether an equal key proves that nothing has changed: no address in the key has a new owner."""
        for reference in self.held:
            if reference() is None:
                return False
        return self.complete

    def change(self, later: Guard) -> str | None:
        """Name of the first value that differs in a later guard, or None.

        An attribute that is set and never read does not count, such as a gate that is stored for later inspection.
        """
        names = [names_in(code) for code in later.codes]
        read = frozenset[str]().union(*[found.read for found in names])
        stored = frozenset[str]().union(*[found.stored for found in names])
        return _change(self.key, later.key, stored - read if BY_VALUE.isdisjoint(read) else frozenset())


def guard(value: Any, anew: Mapping[type, Collection[str]] = {}) -> Guard:
    """Make a guard of a value and of everything that its methods can reach.

    Parameters
    ----------
    value : Any
        A function, or an object whose methods are called.
    anew : mapping of type to collection of str
        For each class, the attributes of its instances that are left out; see :class:`Walk`.

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
    walk = Walk(anew)
    key = walk.of(value), walk.modules()
    parts = value if type(value) is tuple else (value,)
    can_be_noted = walk.complete and walk.all_noted and all(type(part).__weakrefoffset__ for part in parts)
    return Guard(key, walk.held, walk.complete, walk.codes, walk.notes if can_be_noted else None, walk.first_unknown)


def _change(before: Any, after: Any, unread: frozenset[str], name: str = "a value") -> str | None:
    if before == after:
        return None
    if isinstance(before, NamedKeys) and isinstance(after, NamedKeys) and before.names == after.names:
        for inner, old, new in zip(before.names, before.keys, after.keys, strict=True):
            if not (before.attributes and inner in unread) and (found := _change(old, new, unread, inner)) is not None:
                return found
        return None
    if not (isinstance(before, tuple) and isinstance(after, tuple) and len(before) == len(after)):
        return name
    changes = (_change(old, new, unread, name) for old, new in zip(before, after, strict=True))
    return next((found for found in changes if found is not None), None)
