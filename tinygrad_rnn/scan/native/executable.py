"""Executable: a schedule compiled from C, bound to memory and run."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ...cache import Kept
from ...console import counted
from ...ops.facts import facts_of
from ..backend import NODE_BYTES, Executable, RunMemory
from ..loop import Loop
from ..memory_pool import MemoryPool
from ..numpy import NUMPY
from ..partition import Partition, When, first_batched
from ..schedule import Schedule
from ..use import thread_count
from ..work import Operation, size_of
from .calls import Calls, array_at
from .compiler import CompilerError, find_compiler
from .groups import Group
from .libraries import failure, program_text, runner, tell
from .places import CMemory, is_made
from .threads import parted, run_together
from .types import C_TYPES, form_of
from .writer import CSource

__all__ = ["NativeExecutable", "accepts", "build", "is_ready"]

Array: TypeAlias = npt.NDArray[Any]

CHUNK_ROWS = 256
"""Rows of steps and sequences that are computed together outside the loop: so many that their memory stays in the caches."""


CACHE_LINE = 64
"""Size of a cache line, in bytes."""

OF_AN_ELEMENT = 10
"""Cost of an elementwise operation, in products of two numbers."""

LEAST_WORK = 4_000_000
"""Least number of products for a thread. They take a tenth of a millisecond; starting the thread takes half of that."""

CACHE = 2 << 20
"""Bytes that the cache of one core holds, about. Threads that run parts of the batch all read the whole of a larger matrix at
each step; threads that compute some columns of its products read only those."""


class RunArrays:
    """The memory of one run.

    Attributes
    ----------
    steps : int
        Number of steps T.
    length : int
        Number of steps that are computed together outside the loop.
    entry : Kept or None
        Entry of the cache; see :class:`MemoryPool`.
    size : int
        Size in bytes.
    pointers : ctypes array
        The addresses of the memories, in the order in which the program names them.
    """

    def __init__(self, source: CSource, steps: int, length: int) -> None:
        self.source = source
        self.steps = steps
        self.length = length
        self.entry: Kept[RunArrays] | None = None
        self._residuals: dict[int, Array] = {}
        self._parts: dict[tuple[int, int], tuple[list[Array], Any]] = {}
        self.arrays = [self._allocated(memory, length) for memory in source.page.memories]
        self.size = sum(array.nbytes for array in self.arrays)
        self.pointers = _pointers(self.arrays)

    def _allocated(self, memory: CMemory, length: int) -> Array:
        rows = {"chunk": length, "whole": self.steps}.get(memory.kind, 1) + memory.carry
        return allocate(max(1, rows * math.prod(memory.spec.shape)), memory.spec.dtype)

    def of_part(self, number: int, length: int) -> Any:
        """The pointers for a part of the batch. All parts share the memory of residuals; all other memory is the part's own."""
        if (number, length) not in self._parts:
            memories = self.source.page.memories
            own = [
                array if memory.kind == "whole" else self._allocated(memory, length)
                for memory, array in zip(memories, self.arrays, strict=True)
            ]
            self._parts[number, length] = own, _pointers(own)
            self.size += sum(array.nbytes for memory, array in zip(memories, own, strict=True) if memory.kind != "whole")
        return self._parts[number, length][1]

    def residual(self, index: int) -> Array:
        """The values at all steps of an output that stays in this memory."""
        found = self._residuals.get(index)
        if found is None:  # all runs in this memory read the same view
            node = self.source.loop.outputs[index].node
            array = self.arrays[self.source.page.memories.index(self.source.places[node].memory)]
            found = self._residuals[index] = array_at(self.source.places, node, array, 0, self.steps)
        return found


def _pointers(arrays: Sequence[Array]) -> Any:
    return (ctypes.c_void_p * (len(arrays) + 1))(*[array.ctypes.data for array in arrays])


def allocate(count: int, dtype: np.dtype[Any]) -> Array:
    """Allocate a run's memory, aligned to cache lines: reading a vector across two lines takes twice as long."""
    found = np.empty(count * dtype.itemsize + CACHE_LINE, np.uint8)
    start = -found.ctypes.data % CACHE_LINE
    return found[start : start + count * dtype.itemsize].view(dtype)


class NativeExecutable:
    """A schedule compiled to C; see :class:`Executable`.

    The schedule is compiled at the first call. If that fails, one message says why, and NumPy runs the schedule.

    Parameters
    ----------
    schedule : Schedule
    run : callable, optional
        The compiled function, if it exists already.
    threads : int, optional
        The layer's own number of threads.
    """

    def __init__(self, schedule: Schedule, run: Any = None, threads: int | None = None) -> None:
        self.schedule = schedule
        self.threads = threads
        self._written = written = CSource(schedule)
        self.source = program_text(written.text, written.page.functions, written.page.types)
        self.size = NODE_BYTES * (len(schedule.nodes) + len(schedule.summing))
        self._run = run
        self._instead: Executable | None = None
        self._pool: MemoryPool[RunArrays] = MemoryPool()
        self._length = max(1, CHUNK_ROWS // max(1, written.page.batch))
        self._given = [
            (node.dtype, math.prod(node.shape), node in schedule.loop.sequences, node.spec) for node in schedule.loop.inputs
        ]
        self._results = [
            None if output.residual and written.places.keeps(output.node) else (output.kind, node.shape, node.dtype)
            for output, node in zip(schedule.loop.outputs, schedule.results, strict=True)
        ]

    def _compile(self) -> None:
        try:
            self._run = runner(self.source, self._written.page.types)
        except (CompilerError, OSError) as error:
            tell("fallback", f"{failure(error)}; NumPy runs the cell instead")
            self._instead = NUMPY.build(self.schedule, NUMPY.layout(self.schedule.loop))

    def __call__(self, inputs: Sequence[Array], steps: int) -> tuple[Sequence[Any], RunMemory]:
        """Run the program, in the memory of an earlier run if some was released."""
        if self._run is None and self._instead is None:
            self._compile()
        if self._instead is not None:
            return self._instead(inputs, steps)
        page = self._written.page
        memory = self._pool.take(steps) or self.memory(steps)
        given = self._as_c_reads(inputs, steps)
        results = tuple([None if spec is None else np.empty(*spec) for spec in self.specs(steps)])
        calls = self._calls(memory, given, results) if page.calls else None
        count = thread_count(self.threads)
        if count > 1:
            count = min(count, int(steps * self._work / LEAST_WORK))
        parts = 1 if page.rows is None else min(count, page.batch)
        if parts > 1 and not self._is_large:
            failed = self._run_parts(parts, steps, memory, given, results)
        else:
            sizes = steps, page.batch, page.batch, 0, memory.length
            arguments = *sizes, memory.pointers, _addresses(given), _addresses(results), DATA_OFFSET
            failed = self._run_as_team(count, arguments) if count > 1 and self._is_large else self._run(*arguments)
        if failed:
            raise (calls and calls.error) or IndexError(OUT_OF_RANGE)
        return results, memory

    @cached_property
    def is_plain(self) -> bool:
        """Whether a run is only one call of C, and nothing else."""
        if self._run is None and self._instead is None:
            self._compile()
        return self._instead is None and not self._written.page.calls

    @property
    def function(self) -> tuple[int, int]:
        """The address of the compiled function, and the batch size."""
        return ctypes.cast(self._run, ctypes.c_void_p).value or 0, self._written.page.batch

    def memory(self, steps: int) -> RunArrays:
        """Memory for a run of a given number of steps."""
        return RunArrays(self._written, steps, min(self._length, max(1, steps)))

    def specs(self, steps: int) -> list[tuple[tuple[int, ...], np.dtype[Any]] | None]:
        """The shape and dtype of each result; None for a residual."""
        return [
            None if kind is None else ((steps, *kind[1]) if kind[0] == "stack" else kind[1], kind[2]) for kind in self._results
        ]

    def reads(self, steps: int) -> list[tuple[np.dtype[Any], int]]:
        """The dtype of each input, and the number of elements that are read from the input."""
        return [(dtype, steps * size if over_time else size) for dtype, size, over_time, _ in self._given]

    @cached_property
    def _work(self) -> int:
        """Approximate number of multiplications in the products of a step."""
        found = sum(
            math.prod(node.shape) * (node.inputs[0].shape[-1] if facts_of(node).product else OF_AN_ELEMENT)
            for node in self.schedule.nodes
            if is_made(node)
        )
        return found + sum(
            math.prod(time_sum.leaf.shape) * (self._written.page.batch if "product" in time_sum.kind else 1)
            for time_sum in self.schedule.time_sums
        )

    @cached_property
    def _is_large(self) -> bool:
        """Whether the program reads a matrix at each step that is larger than the cache of one core."""
        sequential = filter(self.schedule.partition.is_sequential, self.schedule.nodes)
        large = [node for node in sequential if facts_of(node).product and size_of(node.inputs[1].spec) > CACHE]
        return bool(large and self._written.page.types)

    def _run_as_team(self, count: int, arguments: tuple[Any, ...]) -> bool:
        """Run the program in this thread; other threads help with its large products."""
        library, types, team = self._run.library, self._written.page.types, (ctypes.c_longlong * 8)()
        joins, helps, leaves = ([getattr(library, f"{name}_{end}") for end in types] for name in ("join", "help", "leave"))

        def run() -> int:
            try:
                for join in joins:
                    join(team)
                return int(self._run(*arguments))
            finally:
                for join in joins:
                    join(None)
                leaves[0](team)

        return bool(run_together([run, *[partial(helps[0], team)] * (count - 1)])[0])

    def _run_parts(self, count: int, steps: int, memory: RunArrays, given: tuple[Array, ...], results: tuple[Any, ...]) -> bool:
        """Run the parts of the batch in threads; sums over the batch are added in a fixed order."""
        page = self._written.page
        assert page.rows is not None
        kinds = [
            0 if output.kind != "sum" else page.rows.kinds[node]
            for output, node in zip(self.schedule.loop.outputs, self.schedule.results, strict=True)
        ]
        parts = parted(page.batch, count)
        length = min(max(1, steps), max(1, CHUNK_ROWS // parts[0].size))
        found, calls = [results], []
        for k, part in enumerate(parts):
            if k:  # this part has sums of its own
                found.append(tuple([x if kind == 0 else np.empty_like(x) for x, kind in zip(results, kinds, strict=True)]))
            sizes, pointers = (steps, part.size, page.batch, part.first, length), memory.of_part(k, length)
            calls.append(partial(self._run, *sizes, pointers, _addresses(given), _addresses(found[k]), DATA_OFFSET))
        failed = run_together(calls)
        for others in found[1:]:
            for x, other, kind in zip(results, others, kinds, strict=True):
                if kind == "part":
                    np.add(x, other, out=x)
        return any(failed)

    def _as_c_reads(self, inputs: Sequence[Array], steps: int) -> tuple[Array, ...]:
        """The inputs as C reads them: dtypes converted, aligned, contiguous, with at least a row for each step.

        Raises
        ------
        ValueError
            If an input has too few elements.
        """
        found = []
        for x, (dtype, size, over_time, spec) in zip(inputs, self._given, strict=True):
            if x.flags.num & IN_ORDER != IN_ORDER or x.dtype != dtype:
                x = np.array(x, dtype, order="C")
            if x.size < (steps * size if over_time else size):
                rows = steps if over_time else 1
                raise ValueError(
                    f"an input of the compiled loop has shape {x.shape}, but {counted(rows, 'row')} of shape {spec.shape} "
                    "are needed"
                )
            found.append(x)
        return tuple(found)

    def _calls(self, memory: RunArrays, given: Sequence[Array], results: Sequence[Any]) -> Calls:
        """The operations for which the C of this run calls back to NumPy."""
        page = self._written.page
        arrays = dict(zip(page.memories, memory.arrays, strict=True))
        for one in page.called:
            if one.given:
                arrays[one] = (given if one.kind == "input" else results)[one.position]
        calls = Calls(page.calls, self._written.places, arrays)
        memory.pointers[len(memory.arrays)] = ctypes.cast(calls.function, ctypes.c_void_p)
        return calls

    def release(self, memory: Any) -> None:
        """Store unused memory for a later call, if there is room."""
        if self._instead is not None:
            self._instead.release(memory)
        else:
            self._pool.give(memory)

    @cached_property
    def _operations(self) -> list[Operation]:
        places, schedule = self._written.places, self.schedule
        end = first_batched(schedule.partition.stages - 1)
        copies = {copy for _, copy in places.copies}
        found: list[Operation] = []
        stages = self._written.groups.stages
        for stage in sorted(stages, key=lambda stage: math.inf if stage is None else stage):
            if stage is None:
                for time_sum in schedule.time_sums:
                    kind = "product" if time_sum.kind.endswith("product") else "time sum"
                    found.append(Operation(time_sum.leaf, time_sum.reads, When.END, end, kind))  # type: ignore[arg-type]
            when = When.END if stage is None else When.of(stage)
            for item in stages[stage]:
                for node in item.nodes if isinstance(item, Group) else (item,):
                    copied = node in copies
                    made = node.inputs[0] if copied else node
                    found.append(
                        Operation(made, node.inputs, when, end if stage is None else stage, "copy" if copied else "kernel")
                    )
        return found

    def operations(self) -> list[Operation]:
        """The operations of a run, without views, and the sums over time."""
        return list(self._operations)

    def kept(self, steps: int) -> int:
        """Bytes of memory kept for the gradient."""
        places = self._written.places
        residuals = [output.node for output in self.schedule.loop.outputs if output.residual]
        memories = {places[node].memory for node in residuals if places.keeps(node)}
        rows = sum(size_of(node.spec) * steps for node in residuals if not places.keeps(node))
        return rows + sum(size_of(memory.spec) * (steps + memory.carry) for memory in memories)


OUT_OF_RANGE = 'an index is out of range, such as a code of an embedding; with use("numpy"), the error names the index'
IN_ORDER = 0x101
"""NumPy's flags of an array without gaps, C_CONTIGUOUS, that is aligned."""


def _data_offset() -> int:
    """Offset of the data address in NumPy's array objects; −1 if arrays or tuples have another layout."""
    offset = 2 * ctypes.sizeof(ctypes.c_void_p)
    arrays = tuple([np.empty(n) for n in (1, 5)])
    try:
        held = (ctypes.c_void_p * len(arrays)).from_address(id(arrays) + tuple.__basicsize__)
        found = [ctypes.c_void_p.from_address(id(array) + offset).value for array in arrays]
    except (ValueError, TypeError):
        return -1
    as_expected = list(held) == [*map(id, arrays)] and found == [array.ctypes.data for array in arrays]
    return offset if as_expected else -1


DATA_OFFSET = _data_offset()


def _addresses(arrays: tuple[Any, ...]) -> Any:
    """Addresses of the array objects of a tuple. C reads the data addresses in them; NumPy needs a microsecond for each."""
    if DATA_OFFSET >= 0:
        return id(arrays) + tuple.__basicsize__
    return (ctypes.c_void_p * max(1, len(arrays)))(*[0 if x is None else x.ctypes.data for x in arrays])


def accepts(loop: Loop) -> bool:
    """Whether a loop can run natively: each operation in a cycle has C. If not, one message names an operation without C."""
    partition = Partition(loop)
    for node in loop.body:
        if node.dtype not in C_TYPES:
            tell(str(node.dtype), f"C has no type for {node.dtype}; NumPy runs the cell instead")
            return False
        if is_made(node) and form_of(node) is None and partition.is_sequential(node):
            why = f"the operation {node.operation} has no C code for {node.dtype}"
            tell(node.operation, f"{why}; NumPy runs the cell instead. To add C code, see c= of tr.primitive")
            return False
    return True


def is_ready() -> bool:
    """Whether a compiler was found; if not, one message says so."""
    try:
        find_compiler()
    except CompilerError as error:
        tell("fallback", f"{error}; NumPy runs the cell instead")
        return False
    return True


def build(schedule: Schedule, layout: Any, threads: int | None = None) -> Executable:
    """Compile a schedule to C."""
    return NativeExecutable(schedule, threads=threads)
