"""Pool of the memory of runs, for programs that are run again with as many steps."""

from __future__ import annotations

import threading
from typing import Generic, Protocol, TypeVar

from ..cache import Kept, keep, take

__all__ = ["MemoryPool"]


class _Sized(Protocol):
    steps: int

    @property
    def size(self) -> int:
        """Bytes."""


SomeMemory = TypeVar("SomeMemory", bound=_Sized)


class MemoryPool(Generic[SomeMemory]):
    """The memory of earlier runs of one program, by their number of steps; the cache of the process bounds it."""

    def __init__(self) -> None:
        self._free: dict[int, list[Kept[SomeMemory]]] = {}
        self._lock = threading.RLock()  # collecting garbage may free a run, and give back its memory, at any moment

    def take(self, steps: int) -> SomeMemory | None:
        """Memory that nothing reads any more; None if there is none for so many steps."""
        memory = None
        with self._lock:
            free = self._free.get(steps, [])
            while free and memory is None:
                memory = take(free.pop())
        return memory

    def give(self, memory: SomeMemory) -> None:
        """Keep memory that nothing reads any more for a later call, if there is room for it."""
        entry = keep(memory, memory.size)
        with self._lock:
            free = self._free.setdefault(memory.steps, [])
            free[:] = [kept for kept in free if kept.value is not None]
            if len(free) < 4 and entry.value is not None:
                free.append(entry)
            while len(self._free) > 8:  # lengths that no longer turn up
                self._free.pop(next(iter(self._free)))
