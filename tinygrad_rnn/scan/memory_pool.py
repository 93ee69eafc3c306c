"""Pool of the memory of runs, for programs that run again with the same number of steps."""

from __future__ import annotations

import threading
from typing import Any, Generic, Protocol, TypeVar

from ..cache import Kept, keep, keep_again, take

__all__ = ["MemoryPool"]


class _Pooled(Protocol):
    steps: int
    entry: Kept[Any] | None

    @property
    def size(self) -> int:
        """Size in bytes."""


SomeMemory = TypeVar("SomeMemory", bound=_Pooled)


class MemoryPool(Generic[SomeMemory]):
    """Memory of earlier runs of one program, by number of steps, bounded by the process's cache.

    While a run uses the memory, the memory holds its own cache entry, so that both are given back together.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[Kept[SomeMemory]]] = {}
        self._lock = threading.RLock()  # garbage collection may free a run, which gives back its memory, at any moment

    def take(self, steps: int) -> SomeMemory | None:
        """Unused memory for a number of steps, or None."""
        with self._lock:
            free = self._free.get(steps)
            while free:
                entry = free.pop()
                memory = take(entry)
                if memory is not None:
                    memory.entry = entry
                    return memory
        return None

    def give(self, memory: SomeMemory) -> None:
        """Store unused memory for a later call, if there is room."""
        entry, memory.entry = memory.entry, None
        if entry is None:
            entry = keep(memory, memory.size)
        else:
            keep_again(entry, memory, memory.size)
        if entry.value is None:
            return
        with self._lock:
            free = self._free.setdefault(memory.steps, [])
            if len(free) > 3:
                free[:] = [kept for kept in free if kept.value is not None]
            if len(free) < 4:
                free.append(entry)
            while len(self._free) > 8:  # drop memory for numbers of steps that no longer occur
                self._free.pop(next(iter(self._free)))
