"""Glances: quick comparisons of the objects that a guard has read, by identity and by contents."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from .guard import Guard, guard
from .walk import DEEPEST, Note, rule_of

__all__ = ["Watch"]


class Watch:
    """The guard of a value that is requested again and again, remade only when a quick check finds a difference.

    Making a guard takes a walk over all values. A glance only compares the same objects by identity,
    and objects that change in place by their contents. A glance may report a change where a new value
    is equal to the old one; the guard is then made again. A glance never misses a change.

    Examples
    --------
    >>> class Anneal:
    ...     temperature = 1.0
    >>> anneal, watch = Anneal(), Watch()
    >>> first, second, third = (watch.guard(anneal) for _ in range(3))
    >>> second is third
    True
    >>> anneal.temperature = 0.5
    >>> watch.guard(anneal).key == third.key
    False
    """

    def __init__(self, anew: Mapping[type, Collection[str]] = {}) -> None:
        self._anew = anew
        self._last: Guard | None = None
        self._glance: _Glance | None = None

    def guard(self, value: Any) -> Guard:
        """The guard of a value; all calls of one watch are about the same value."""
        glance, last = self._glance, self._last
        if glance is not None and glance.finds_no_change():
            return glance.guard
        # A second guard with an equal key shows that a glance is worthwhile. The glance is taken before the guard is made
        # and checked after it, so that a change by another thread in between is seen.
        glance = None if last is None or last.notes is None else _Glance(last, last.notes)
        found = guard(value, self._anew)
        if glance is not None and found.key == glance.guard.key and glance.finds_no_change():
            self._glance = glance
            return glance.guard
        self._last, self._glance = found, None
        return found


class _Container(NamedTuple):
    """A container among the values that an object or another container holds, and the containers in it."""

    position: int
    kind: type
    read: Callable[[Any], list[Any]]
    inner: list[_Container]


class _Glance:
    """A snapshot of everything that can change among the values that a guard has read.

    An identity is meaningful only while no other object can have the same address. So numbers and texts are held
    here, other objects are known by weak references, and containers, which have no weak references, by their contents.
    """

    def __init__(self, guard: Guard, notes: list[Note]) -> None:
        self.guard = guard
        self._possible = True
        self._numbers: list[Any] = []
        self._values: list[tuple[Callable[[], Any], Callable[[Any], Any], Any]] = []
        self._owners: list[tuple[Callable[[], Any], Callable[[Any], list[Any]], list[_Container]]] = []
        self._containers: set[int] = set()
        found: list[Any] = []
        for note in notes:
            owner = note.owner()
            if owner is None:
                self._possible = False
            elif note.by_value:
                self._values.append((note.owner, note.read, note.read(owner)))
            else:
                self._owners.append((note.owner, note.read, self._look(note.read(owner), found)))
        self._before = _addresses(found)

    def _look(self, values: list[Any], found: list[Any], depth: int = 0) -> list[_Container]:
        """The containers among some values; the values and the contents of the containers are added as in :func:`_gather`."""
        found += values
        inner: list[_Container] = []
        if depth > DEEPEST:  # these values have changed since the guard was made
            self._possible = False
            return inner
        for position, value in enumerate(values):
            kind = rule_of(type(value))
            if _is_fixed(value):
                self._numbers.append(value)
            elif kind.contents is not None:
                if id(value) not in self._containers:  # each container only once, since a list may hold itself
                    self._containers.add(id(value))
                    inside = self._look(kind.contents(value), found, depth + 1)
                    inner.append(_Container(position, type(value), kind.contents, inside))
            elif not (type(value).__weakrefoffset__ or kind.by_address):
                self._possible = False
        return inner

    def finds_no_change(self) -> bool:
        """Whether every object is the same as in the snapshot, with the same contents."""
        if not self._possible:
            return False
        try:
            for reference, read, before in self._values:
                if read(reference()) != before:
                    return False
            found: list[Any] = []
            for reference, read, inner in self._owners:
                values = read(reference())
                found += values
                if inner and not _gather(values, inner, found):
                    return False
            return bool(_addresses(found) == self._before)
        except Exception:  # an object is gone, or another thread is changing it
            return False


def _gather(values: list[Any], inner: list[_Container], found: list[Any]) -> bool:
    """Add the contents of the containers among some values; False if one has another type, whose code might run."""
    for position, kind, read, further in inner:
        container = values[position]
        if type(container) is not kind:
            return False
        parts = read(container)
        found += parts
        if further and not _gather(parts, further, found):
            return False
    return True


def _addresses(values: list[Any]) -> Any:
    """Addresses of objects, to be compared with those of other objects."""
    if sys.implementation.name != "cpython":
        return list(map(id, values))
    held = tuple(values)  # a tuple has the addresses of its items one after another in memory
    return ctypes.string_at(id(held) + tuple.__basicsize__, len(held) * tuple.__itemsize__)


def _is_fixed(value: Any) -> bool:
    """Whether a value is a number or a text, or a tuple of these, so that it never changes."""
    return rule_of(type(value)).is_number or (type(value) is tuple and all(map(_is_fixed, value)))
