"""Backend: the interface between the rest of the package and the code that runs a schedule."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, Protocol

from .loop import Loop
from .schedule import Schedule
from .work import Operation

__all__ = ["NODE_BYTES", "Backend", "Executable", "InTurn", "RunMemory"]

NODE_BYTES = 2600
"""Approximate bytes that an executable takes for each value, measured for the built-in cells on NumPy."""


class RunMemory(Protocol):
    """The memory of one run, which holds its residuals."""

    def residual(self, index: int) -> Any:
        """Array of an output that is a residual."""


class Executable(Protocol):
    """A runnable schedule, for any number of steps and threads.

    Attributes
    ----------
    schedule : Schedule
    source : str
        The code that is run.
    size : int
        Approximate number of bytes of the executable, including its schedule.
    threads : int or None
        The number of threads that a layer chose for itself.
    """

    schedule: Schedule
    source: str
    size: int
    threads: int | None

    def __call__(self, inputs: Sequence[Any], steps: int) -> tuple[Sequence[Any], RunMemory]:
        """Run the schedule.

        Parameters
        ----------
        inputs : sequence of numpy.ndarray
            The inputs, in the order of :attr:`Loop.inputs`.
        steps : int
            Number of steps T.

        Returns
        -------
        results : sequence of numpy.ndarray
            One result for each output; None for a residual.
        memory : RunMemory
            The memory of the run, which holds the residuals until :meth:`release`.
        """

    def release(self, memory: Any) -> None:
        """Take back the memory of a run when its residuals are not needed any more."""

    def operations(self) -> list[Operation]:
        """The operations of a run, in order."""

    def kept(self, steps: int) -> int:
        """Bytes of memory kept for the gradient."""


class InTurn(NamedTuple):
    """One of several runs that follow each other on one table of arrays; each run adds its results to the table.

    Attributes
    ----------
    executable : Executable
    steps : int
    reads : tuple of int
        Places of the inputs in the table.
    results : int
        The place of the first result.
    residuals : tuple of int
        Numbers of the outputs that stay in the run's memory; the arrays of these outputs follow the results.
    """

    executable: Executable
    steps: int
    reads: tuple[int, ...]
    results: int
    residuals: tuple[int, ...]


class Backend(NamedTuple):
    """A way to run schedules.

    Attributes
    ----------
    name : str
    layout : callable
        ``layout(loop)``: the memory layout of arrays. A gradient is built for the layout of its forward loop.
    build : callable
        ``build(schedule, layout) -> Executable``.
    accepts : callable
        ``accepts(loop) -> bool``: whether the backend can run a loop. If it cannot, a message has said why, and NumPy
        runs the loop.
    together : callable
        ``together(calls, first, wanted)``: one call for runs that follow each other, or None if there is no such call.
        `first` is the number of arrays at the beginning of the table, and `wanted` holds the places of results that are
        returned to the caller. The call has ``run(given) -> (table, memory)`` and ``release(memory)``.
    left_out : frozenset of str
        Names of rewrites that do not pay on this backend.
    """

    name: str
    layout: Callable[[Loop], Any]
    build: Callable[[Schedule, Any], Executable]
    accepts: Callable[[Loop], bool] = lambda loop: True
    together: Callable[[Sequence[InTurn], int, Collection[int]], Any] = lambda calls, first, wanted: None
    left_out: frozenset[str] = frozenset()
