"""Programs that run one after another on one table of arrays, in a single call of C."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...cache import Kept
from ...console import counted
from ..backend import InTurn
from ..memory_pool import MemoryPool
from .compiler import CompilerError
from .executable import DATA_OFFSET, IN_ORDER, OUT_OF_RANGE, NativeExecutable, RunArrays
from .libraries import sequencer

__all__ = ["Together", "together"]

Array = npt.NDArray[Any]


class _Call(ctypes.Structure):
    """One program, as C reads it."""

    _fields_ = [
        ("run", ctypes.c_void_p),
        ("steps", ctypes.c_long),
        ("batch", ctypes.c_long),
        ("length", ctypes.c_long),
        ("memory", ctypes.c_void_p),
        ("count", ctypes.c_long),
        ("inputs", ctypes.c_void_p),
        ("results", ctypes.c_long),
    ]


class _Memory:
    """The memory of one run of all programs; see :class:`RunArrays`."""

    steps = 1

    def __init__(
        self, calls: Sequence[InTurn], executables: Sequence[NativeExecutable], kept: Sequence[tuple[Any, ...]]
    ) -> None:
        self.entry: Kept[_Memory] | None = None
        self.memories: list[RunArrays] = [
            executable.memory(call.steps) for executable, call in zip(executables, calls, strict=True)
        ]
        self.inputs = [(ctypes.c_long * max(1, len(call.reads)))(*call.reads) for call in calls]
        self.scratch = (ctypes.c_void_p * max([1, *[len(call.reads) for call in calls]]))()
        self.arrays: list[Array | None] = [
            None if spec is None else np.empty(*spec) if residual is None else self.memories[k].residual(residual)
            for k, spec, residual in kept
        ]
        found = []
        for k, (call, memory) in enumerate(zip(calls, self.memories, strict=True)):
            run, batch = executables[k].function
            pointers, inputs = (ctypes.addressof(x) for x in (memory.pointers, self.inputs[k]))
            found.append(_Call(run, call.steps, batch, memory.length, pointers, len(call.reads), inputs, call.results))
        self.calls = (_Call * len(found))(*found)
        arrays = [x for x in self.arrays if x is not None]
        self.size = sum(memory.size for memory in self.memories) + sum(x.nbytes for x in arrays)


class Together:
    """Programs that run one after another; see :func:`together`."""

    def __init__(
        self, calls: Sequence[InTurn], executables: Sequence[NativeExecutable], first: int, wanted: Collection[int]
    ) -> None:
        self._calls, self._executables = calls, executables
        self._run = sequencer()
        self._pool: MemoryPool[_Memory] = MemoryPool()
        self._kept: list[tuple[Any, ...]] = []  # results in the table that lie in the memory: call, shape and dtype, residual
        self._fresh: list[tuple[int, Any]] = []  # results that get a new array in each run, since they are given away
        self._again: list[tuple[int, int]] = []  # residuals that are results as well
        for k, (call, executable) in enumerate(zip(calls, executables, strict=True)):
            start, specs = len(self._kept), executable.specs(call.steps)
            for spec in specs:
                if spec is not None and first + len(self._kept) in wanted:
                    self._fresh.append((len(self._kept), spec))
                    self._kept.append((k, None, None))
                else:
                    self._kept.append((k, spec, None))
            for residual in call.residuals:
                if specs[residual] is None:
                    self._kept.append((k, (), residual))
                else:
                    self._again.append((len(self._kept), start + residual))
                    self._kept.append((k, None, None))
        self._given: dict[int, tuple[np.dtype[Any], int]] = {}
        for call, executable in zip(calls, executables, strict=True):
            for k, (dtype, size) in zip(call.reads, executable.reads(call.steps), strict=True):
                if k < first:
                    self._given[k] = dtype, max(size, self._given.get(k, (dtype, 0))[1])
        self._checked = list(self._given.items())

    def run(self, given: list[Any]) -> tuple[tuple[Any, ...], Any]:
        """The whole table, and the memory, which is to be released when nothing reads its residuals any more."""
        for k, (dtype, size) in self._checked:
            x = given[k]
            if x.flags.num & IN_ORDER != IN_ORDER or x.dtype != dtype:
                x = given[k] = np.array(x, dtype, order="C")
            if x.size < size:
                raise ValueError(
                    f"an input of the compiled loops has shape {x.shape}, but {counted(size, 'element')} are needed"
                )
        memory = self._pool.take(1) or _Memory(self._calls, self._executables, self._kept)
        made = list(memory.arrays)
        for k, spec in self._fresh:
            made[k] = np.empty(*spec)
        for k, result in self._again:
            made[k] = made[result]
        table = (*given, *made)
        address = id(table) + tuple.__basicsize__
        if self._run(len(memory.calls), memory.calls, address, memory.scratch, DATA_OFFSET):
            raise IndexError(OUT_OF_RANGE)
        return table, memory

    def release(self, memory: Any) -> None:
        """Keep memory that nothing reads any more for a later call."""
        self._pool.give(memory)


def together(calls: Sequence[InTurn], first: int, wanted: Collection[int]) -> Together | None:
    """One call for several programs; None if the programs cannot be run in one call.

    Parameters
    ----------
    calls : sequence of InTurn
    first : int
        The number of arrays that are given. In the table, the results of the calls follow them.
    wanted : collection of int
        Places of results that are given away.
    """
    executables = [call.executable for call in calls]
    native = [executable for executable in executables if isinstance(executable, NativeExecutable)]
    if DATA_OFFSET < 0 or not native or len(native) < len(executables):
        return None
    if not all(executable.is_plain for executable in native):
        return None
    try:
        return Together(calls, native, first, wanted)
    except (CompilerError, OSError):
        return None
