"""The NumPy backend: writes a program as Python source, binds it to memory, and runs it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..cache import Kept, keep, take
from .memory import Memory
from .program import Program
from .writer import Writer

__all__ = ["Executable"]

Array: TypeAlias = npt.NDArray[Any]

NODE_BYTES = 2600
"""About how much a program takes for each value: measured for the built-in cells."""


class Executable:
    """A program, ready to run for any number of steps, in any number of threads.

    Parameters
    ----------
    program : Program
    batch_last : bool
        Whether arrays lie in memory with the first axis of each step's value, the batch,
        as the last one: gates are then contiguous. Kernels see no difference.

    Attributes
    ----------
    size : int
        About how many bytes it takes, with the graphs that it was made of.
    """

    def __init__(self, program: Program, batch_last: bool = True) -> None:
        self.program = program
        self.batch_last = batch_last
        self.size = NODE_BYTES * (len(program.nodes) + len(program.after_nodes))
        writer = Writer(program, batch_last)
        self.source = writer.source
        self._needs = writer.needs
        space: dict[str, Any] = {**KERNELS, **writer.constants}
        exec(compile(self.source, "<program>", "exec"), space)
        self._run = space["run"]
        self._fill = space.get("fill")
        self._pool: dict[int, list[Kept[Memory]]] = {}
        self._lock = threading.RLock()  # collecting garbage may free a run, and give back its memory, at any moment

    def __call__(self, inputs: Sequence[Array], steps: int) -> tuple[list[Any], Memory]:
        """Run.

        Parameters
        ----------
        inputs : sequence of numpy.ndarray
            As a :class:`Loop` has them.
        steps : int
            T.

        Returns
        -------
        results : list of numpy.ndarray
            One for each output.
        memory : Memory
            What residuals lie in; give it back by :meth:`release`.
        """
        memory = None
        with self._lock:
            pool = self._pool.get(steps, [])
            while pool and memory is None:
                memory = take(pool.pop())
        if memory is None:
            memory = Memory(self.program, self._needs, steps, self.batch_last)
            if self._fill is not None:
                self._fill(memory)
        return self._run(inputs, memory, steps), memory

    def release(self, memory: Memory) -> None:
        """Memory that nobody reads any more, for a next call, if there is room for it."""
        entry = keep(memory, memory.size)
        with self._lock:
            pool = self._pool.setdefault(memory.steps, [])
            pool[:] = [kept for kept in pool if kept.value is not None]
            if len(pool) < 4 and entry.value is not None:
                pool.append(entry)
            while len(self._pool) > 8:  # lengths that no longer turn up
                self._pool.pop(next(iter(self._pool)))


def product(a: Array, b: Array, out: Array) -> None:
    """Matrix products of all steps; `b` may be one matrix for all."""
    if b.ndim == 2 and a.ndim == 3 and out.flags.c_contiguous and a.flags.c_contiguous:
        np.dot(rows(a), b, rows(out))
    elif out.strides[-1] > out.strides[-2]:
        np.matmul(b.swapaxes(-1, -2), a.swapaxes(-1, -2), out=out.swapaxes(-1, -2))
    else:
        np.matmul(a, b, out=out)


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
    "add": np.add,
    "broadcast_to": np.broadcast_to,
    "copyto": np.copyto,
    "dot": np.dot,
    "empty": np.empty,
    "matmul": np.matmul,
    "product": product,
    "rows": rows,
}
"""What the source calls by name, beside the primitives' own kernels."""
