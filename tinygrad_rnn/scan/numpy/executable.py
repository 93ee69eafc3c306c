"""Executable: a program, written as Python source, bound to memory and run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ..backend import NODE_BYTES
from ..memory_pool import MemoryPool
from ..partition import INVARIANT, When, first_batched
from ..schedule import Schedule
from ..work import Operation, size_of
from .arrays import Memory
from .lifetimes import lifetimes, shared
from .ordering import calls_of
from .placement import Placement
from .program import Call, Copy, NumpyProgram, Storage, root_of
from .writer import SourceWriter

__all__ = ["NumpyExecutable", "program_of"]

Array: TypeAlias = npt.NDArray[Any]


def program_of(schedule: Schedule) -> NumpyProgram:
    """The calls of a schedule, and storage for its values."""
    placement = Placement(schedule)
    storage, extents = placement.storage, placement.extents()
    once, stages = calls_of(schedule, placement)
    lives = lifetimes(once, stages, storage, extents, schedule.read_at_the_end)
    number, buffers = shared(lives, storage, extents)
    made = [storage[call.target].of if isinstance(call, Copy) else call for call in once]
    fixed = [call for call, node in zip(once, made, strict=True) if node in schedule.numbers]
    once = [call for call, node in zip(once, made, strict=True) if node not in schedule.numbers]
    return NumpyProgram(schedule, storage, buffers, number, fixed, once, stages)


class NumpyExecutable:
    """A schedule as a Python function that calls NumPy; see :class:`Executable`.

    Parameters
    ----------
    schedule : Schedule
    batch_last : bool
        Whether the batch, the first axis of each step's value, is the last axis of arrays in memory.
        Gates are then contiguous. Kernels see no difference.
    """

    threads: int | None = None

    def __init__(self, schedule: Schedule, batch_last: bool = True) -> None:
        self.schedule = schedule
        self.program = program_of(schedule)
        self.batch_last = batch_last
        self.size = NODE_BYTES * (len(schedule.nodes) + len(schedule.summing))
        writer = SourceWriter(self.program, batch_last)
        self.source = writer.source
        self._needs = writer.needs
        space: dict[str, Any] = {**KERNELS, **writer.constants}
        exec(compile(self.source, "<program>", "exec"), space)
        self._run = space["run"]
        self._fill = space.get("fill")
        self._pool: MemoryPool[Memory] = MemoryPool()

    def __call__(self, inputs: Sequence[Array], steps: int) -> tuple[list[Any], Memory]:
        """Run the schedule; memory is used again if an earlier run has given some back."""
        memory = self._pool.take(steps)
        if memory is None:
            memory = Memory(self.program, self._needs, steps, self.batch_last)
            if self._fill is not None:
                self._fill(memory)
        return self._run(inputs, memory, steps), memory

    def release(self, memory: Memory) -> None:
        """Keep memory that nothing reads any more for a later call, if there is room for the memory."""
        self._pool.give(memory)

    def operations(self) -> list[Operation]:
        """The calls of a run, without views, and the sums over time."""
        program, schedule = self.program, self.schedule
        end = first_batched(schedule.partition.stages - 1)
        found: list[Operation] = []

        def add(calls: Sequence[Call], when: When, stage: int) -> None:
            for call in calls:
                if isinstance(call, Copy):
                    found.append(Operation(call.source, (call.source,), when, stage, "copy"))
                elif program.storage[call].kind != "view":
                    found.append(Operation(call, call.inputs, when, stage))

        add(program.once, When.ONCE, INVARIANT)
        for stage, calls in enumerate(program.stages):
            add(calls, When.of(stage), stage)
        for time_sum in schedule.time_sums:
            kind: Literal["product", "time sum"] = "product" if time_sum.kind.endswith("product") else "time sum"
            found.append(Operation(time_sum.leaf, time_sum.reads, When.END, end, kind))
        add(schedule.closing, When.END, end)
        for k, output in enumerate(schedule.loop.outputs):
            returned = output.kind == "stack" and not output.residual
            if returned and program.storage.get(output.node) != Storage("result", position=k):
                found.append(Operation(output.node, (output.node,), When.BATCHED, end, "copy"))
        return found

    def kept(self, steps: int) -> int:
        """Bytes of the memory that is kept for the gradient."""
        program = self.program
        residuals = [output.node for output in program.schedule.loop.outputs if output.residual]
        roots = {root_of(program.storage, node) for node in residuals if node in program.storage}
        buffers = [program.buffers[program.number[root]] for root in roots if root is not None]
        return sum(size_of(b.spec) * ((steps if b.extent == "whole" else 1) + b.carry) for b in buffers)


def accumulate(before: Array, terms: Array, after: Array) -> None:
    """Running sums of terms, which start from the first row of `before`."""
    np.copyto(after, terms)
    first = after[0, ...]
    np.add(before[0, ...], first, first)
    np.add.accumulate(after, axis=0, dtype=after.dtype, out=after)


def product(a: Array, b: Array, out: Array) -> None:
    """Matrix products of all steps; `b` may be one matrix for all."""
    if b.ndim == 2 and a.ndim == 3 and out.flags.c_contiguous and a.flags.c_contiguous:
        np.dot(rows(a), b, rows(out))
    elif out.strides[-1] > out.strides[-2]:
        np.matmul(b.swapaxes(-1, -2), a.swapaxes(-1, -2), out=out.swapaxes(-1, -2))
    else:
        np.matmul(a, b, out=out)


def unshared(x: Array, *operands: Array) -> Array:
    """The result of a kernel, copied if it is an operand or a view: the memory of operands is used again."""
    return np.array(x) if x.base is not None or any(x is operand for operand in operands) else x


def rows(x: Array) -> Array:
    """The rows of all steps, (steps, rows, columns), as one matrix."""
    n, r, c = x.shape
    if x.flags.c_contiguous or x.strides[-1] <= x.strides[-2]:
        return x.reshape(n * r, c)
    turned = np.empty((c, n, r), x.dtype)
    np.copyto(turned, x.transpose(2, 0, 1))
    return turned.reshape(c, n * r).T


KERNELS = {
    "np": np,
    "accumulate": accumulate,
    "add": np.add,
    "broadcast_to": np.broadcast_to,
    "copyto": np.copyto,
    "dot": np.dot,
    "empty": np.empty,
    "matmul": np.matmul,
    "product": product,
    "rows": rows,
    "unshared": unshared,
}
"""Functions that the source calls by name, besides the kernels of primitives."""
