"""Glances: quick comparisons of the objects that a guard has read, by identity and by contents."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from .guard import Guard, guard
from .walk import Note, rule_of

__all__ = ["Watch"]


class Watch:
    """The guard of a value that is requested again and again, remade only when a quick check finds a difference.

    To make a guard takes a walk over all values. A glance only compares the same objects by
    identity, and by contents where they change in place. It may take an equal value for a
    change, and then the guard is made anew; it never takes a change for none.

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
        # A second guard with an equal key is worth a glance from then on. That is taken before the guard is made
        # and after it, so that a change by another thread meanwhile is seen.
        glance = None if last is None or last.notes is None else _Glance(last, last.notes)
        found = guard(value, self._anew)
        if glance is not None and found.key == glance.guard.key and glance.finds_no_change():
            self._glance = glance
            return glance.guard
        self._last, self._glance = found, None
        return found


class _Contents(NamedTuple):
    """The former contents of an object or container: identities of its parts, and contents of containers among them."""

    read: Callable[[Any], list[Any]]
    ids: list[int]
    inner: list[tuple[int, type, _Contents]]


class _Glance:
    """A snapshot of everything that can change among the values that a guard has read.

    An identity says something only while no other object can have the same address. So numbers and texts are held
    here, other objects are known by weak references, and containers, which have none, by their contents.
    """

    def __init__(self, guard: Guard, notes: list[Note]) -> None:
        self.guard = guard
        self._possible = True
        self._numbers: list[Any] = []
        self._values: list[tuple[Callable[[], Any], Callable[[Any], Any], Any]] = []
        self._owners: list[tuple[Callable[[], Any], _Contents]] = []
        containers: set[int] = set()
        waiting: list[tuple[_Contents, Any]] = []
        for note in notes:
            owner = note.owner()
            if owner is None:
                self._possible = False
            elif note.by_value:
                self._values.append((note.owner, note.read, note.read(owner)))
            else:
                contents = _Contents(note.read, [], [])
                self._owners.append((note.owner, contents))
                waiting.append((contents, owner))
        while waiting and self._possible:
            contents, owner = waiting.pop()
            values = contents.read(owner)
            contents.ids[:] = map(id, values)
            for position, value in enumerate(values):
                kind = rule_of(type(value))
                if _is_fixed(value):
                    self._numbers.append(value)
                elif kind.contents is not None:
                    if id(value) not in containers:  # once is enough, and a list may hold itself
                        containers.add(id(value))
                        inner = _Contents(kind.contents, [], [])
                        contents.inner.append((position, type(value), inner))
                        waiting.append((inner, value))
                elif not (type(value).__weakrefoffset__ or kind.by_address):
                    self._possible = False
        # what holds no containers is compared together
        self._flat = [(reference, contents.read) for reference, contents in self._owners if not contents.inner]
        self._flat_ids = [found for _, contents in self._owners if not contents.inner for found in contents.ids]
        self._owners = [entry for entry in self._owners if entry[1].inner]

    def finds_no_change(self) -> bool:
        """Whether every object is the same as in the snapshot, with the same contents."""
        if not self._possible:
            return False
        try:
            for reference, read, before in self._values:
                if read(reference()) != before:
                    return False
            values: list[Any] = []
            for reference, read in self._flat:
                values += read(reference())
            if list(map(id, values)) != self._flat_ids:
                return False
            for reference, contents in self._owners:
                if not _has(reference(), *contents):
                    return False
        except Exception:  # an object is gone, or another thread changes it at the moment
            return False
        return True


def _has(owner: Any, read: Callable[[Any], list[Any]], ids: list[int], inner: list[tuple[int, type, _Contents]]) -> bool:
    """Whether an object or a container has the same contents as in a snapshot."""
    values = read(owner)
    if list(map(id, values)) != ids:
        return False
    for position, kind, contents in inner:
        if type(values[position]) is not kind or not _has(values[position], *contents):
            return False
    return True


def _is_fixed(value: Any) -> bool:
    """Whether a value is a number or a text, or a tuple of these, so that it never changes."""
    return rule_of(type(value)).is_number or (type(value) is tuple and all(map(_is_fixed, value)))
