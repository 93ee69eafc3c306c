"""Cache of the values that layers keep between calls.

All layers of the process share one limit in bytes. Beyond the limit, the least recently used value is dropped.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict, deque
from typing import Any, Generic, TypeVar

from .checks import check_int

__all__ = ["cache_limit"]

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """A cached value, which is dropped when its memory is needed.

    The owner of the value holds only this entry. When the entry is freed, its value is freed too.

    Attributes
    ----------
    value : object or None
        None after the value was dropped.
    """

    __slots__ = ("value", "_key", "_reference", "__weakref__")

    def __init__(self, key: int) -> None:
        self.value: Value | None = None
        self._key = key
        self._reference = weakref.ref(self, lambda _: _cache.gone.append(key))


class _Cache:
    """All entries of the process with their sizes, the least recently used first; the cache keeps no entry alive."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.total = 0
        self.entries: OrderedDict[int, tuple[weakref.ref[Kept[Any]], int]] = OrderedDict()
        self.gone: deque[int] = deque()  # garbage collection may free an entry at any time, so it only notes the entry here
        self.serial = 0
        self.lock = threading.RLock()

    def forget(self, key: int) -> None:
        self.total -= self.entries.pop(key, (None, 0))[1]

    def add(self, entry: Kept[Value], value: Value, size: int) -> None:
        if size <= self.limit:
            entry.value = value
            self.entries[entry._key] = entry._reference, size
            self.total += size
        self.make_room()

    def make_room(self) -> None:
        while self.gone:
            self.forget(self.gone.popleft())
        while self.total > self.limit and self.entries:
            _, (found, size) = self.entries.popitem(last=False)
            self.total -= size
            entry = found()
            if entry is not None:
                entry.value = None


_cache = _Cache(512 << 20)


def keep(value: Value, size: int) -> Kept[Value]:
    """Make an entry for a value of a size in bytes; an entry larger than the limit is empty at once."""
    with _cache.lock:
        _cache.serial += 1
        entry: Kept[Value] = Kept(_cache.serial)
        _cache.add(entry, value, size)
        return entry


def keep_again(entry: Kept[Value], value: Value, size: int) -> None:
    """Fill an entry after its value was taken out."""
    with _cache.lock:
        _cache.add(entry, value, size)


def touch(entry: Kept[Value], size: int) -> Value | None:
    """Return an entry's value if it is still cached, update its size, and mark it as used."""
    with _cache.lock:
        known = _cache.entries.get(entry._key)
        value = entry.value
        if known is not None:
            _cache.entries.move_to_end(entry._key)
            if known[1] != size:
                _cache.entries[entry._key] = known[0], size
                _cache.total += size - known[1]
                _cache.make_room()
        return value


def take(entry: Kept[Value]) -> Value | None:
    """Take an entry's value out of the cache, if it is still there."""
    with _cache.lock:
        _cache.forget(entry._key)
        value, entry.value = entry.value, None
        return value


def held() -> int:
    """Number of bytes in the cache."""
    with _cache.lock:
        _cache.make_room()
        return _cache.total


def cache_limit(limit: int | None = None) -> int:
    """Set or read how many bytes the layers of the whole process may keep between calls; 512 MiB by default.

    A layer keeps its compiled programs, one for each shape of its input, and the memory in which they
    ran. The next call uses both again. Beyond the limit, the least recently used program of any layer
    is dropped first. A program that needs more than the limit still runs, but allocates its memory
    again at each call. Memory that is still used by a graph does not count.

    Parameters
    ----------
    limit : int, optional
        The new limit, in bytes; 0 keeps nothing. If not given, the limit does not change.

    Returns
    -------
    int
        The limit.

    Raises
    ------
    ValueError
        If the limit is not a number of bytes.

    Examples
    --------
    >>> before = cache_limit()
    >>> cache_limit(64 * 2**20)
    67108864
    >>> cache_limit(before) == before
    True
    """
    if limit is not None:
        with _cache.lock:
            _cache.limit = check_int("the limit", limit, 0)
            _cache.make_room()
    return _cache.limit
