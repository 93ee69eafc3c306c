"""Checkpoints: keep only the carry of every n-th step, and run n steps at a time again for the gradient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..graph.node import Results

if TYPE_CHECKING:
    from .compiled import CompiledScan

__all__ = ["Segments", "run_in_segments", "spans"]


class Segments(Results):
    """The results of a run that kept only the carry between segments.

    Attributes
    ----------
    values : list of numpy.ndarray
        One array for each output.
    starts : list of list of numpy.ndarray
        The carry at the start of each segment, in the order in which the segments ran.
    """

    __slots__ = ("values", "starts")

    def __init__(self, values: list[Any], starts: list[list[npt.NDArray[Any]]]) -> None:
        self.values = values
        self.starts = starts

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = self.values[index]
        return found


def spans(plan: CompiledScan, steps: int) -> Iterator[tuple[int, int]]:
    """Start and stop of each segment, in the order in which the segments ran."""
    n = plan.checkpoint or steps
    found = [(start, min(start + n, steps)) for start in range(0, steps, max(1, n))]
    return iter(found[::-1] if plan.loop.reverse else found)


def run_in_segments(plan: CompiledScan, arrays: Sequence[npt.NDArray[Any]], steps: int) -> Segments:
    """Run a loop n steps at a time."""
    loop, executable = plan.loop, plan.executable(False)
    sequences, carry, consts = loop.parts(arrays)
    state = list(carry)
    values: list[Any] = [
        np.empty((steps, *output.node.shape), output.node.dtype) if output.kind == "stack" else None for output in loop.outputs
    ]
    starts: list[list[npt.NDArray[Any]]] = []
    for start, stop in spans(plan, steps):
        starts.append(state)
        found, memory = executable([*[x[start:stop] for x in sequences], *state, *consts], stop - start)
        executable.release(memory)
        for i, output in enumerate(loop.outputs):
            if output.kind == "stack":
                values[i][start:stop] = found[i]
            elif output.kind == "sum" and values[i] is not None:
                values[i] = values[i] + found[i]
            else:
                values[i] = found[i]
        state = [found[loop.finals[leaf]] for leaf in loop.carry]
    return Segments(values, starts)
