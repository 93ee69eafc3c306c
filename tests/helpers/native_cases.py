"""Random cells run natively: many programs are compiled in one call of the compiler, in memory that holds NaN.

As a command, ``PYTHONPATH=tests/helpers python tests/helpers/native_cases.py 10000`` compares 10000 cells with NumPy.
Further arguments are the number of the first cell, the number of threads, and the optimisation level: ``200 0 3 -O3``.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from scan_cases import Difference, pairs, patched, quietly

import tinygrad_rnn as tr
from tinygrad_rnn.scan.native import executable, libraries
from tinygrad_rnn.scan.native.writer import CSource
from tinygrad_rnn.scan.numpy import NUMPY
from tinygrad_rnn.scan.schedule import Schedule
from tinygrad_rnn.testing.cells.recipe import Interpreted
from tinygrad_rnn.testing.choices import RandomChoices
from tinygrad_rnn.testing.random_cells import CellRun, random_cell
from tinygrad_rnn.tree import flatten, rebuild

RELATIVE = 1e-12
"""Tolerance of float64; multiplied by the largest number of an array, or by 1 if that is larger."""


class Programs:
    """Several programs that are compiled together."""

    def __init__(self) -> None:
        self.written: dict[str, CSource] = {}

    def add(self, schedule: Schedule) -> None:
        """Note the source of a schedule."""
        written = CSource(schedule)
        self.written.setdefault(libraries.program_text(written.text, written.page.functions, written.page.types), written)

    def compile(self, folder: Path, level: str = "-O0") -> dict[str, Any]:
        """The functions of all sources, from one library."""
        return libraries.runners(self.written, folder, level)


@contextmanager
def collecting() -> Iterator[Programs]:
    """Collect the requested programs, and run them with NumPy."""
    programs = Programs()

    def noted(schedule: Schedule, **_: Any) -> Any:
        programs.add(schedule)
        return NUMPY.build(schedule, NUMPY.layout(schedule.loop))

    with patched((executable, "NativeExecutable", noted)), tr.use("native"):
        yield programs


def poisoned(count: int, dtype: np.dtype[Any]) -> Any:
    """Memory of NaN, or of large integers."""
    memory = np.empty(count, dtype)
    memory.view(np.uint8)[...] = 0xFF if dtype.kind != "b" else 1
    return memory


@contextmanager
def compiled(functions: Mapping[str, Any], poison: Callable[..., Any] = poisoned, threads: int = 1) -> Iterator[None]:
    """Run natively, only with these functions; in threads, even for small runs."""

    def known(text: str, types: set[str]) -> Any:
        return functions[text]

    here = (executable, "runner", known), (executable, "allocate", poison), (executable, "LEAST_WORK", 1)
    with patched(*here), tr.use("native", threads=threads):
        yield


def natively(
    cells: Sequence[CellRun], folder: Path, level: str = "-O0", order: int = 2, threads: int = 1, **options: Any
) -> Iterator[tuple[CellRun, dict[str, Any], dict[str, Any]]]:
    """Each cell, with the results of its programs in NumPy and in C."""
    with collecting() as programs:
        expected = [quietly(drawn, "scan", order, **options) for drawn in cells]
    functions = programs.compile(folder, level)
    for drawn, by_numpy in zip(cells, expected, strict=True):
        with compiled(functions, threads=threads):
            yield drawn, by_numpy, quietly(drawn, "scan", order, **options)


class Single(CellRun):
    """A run in float32."""

    def inputs(self, T: int | None = None) -> Any:
        """The input sequences, in float32."""
        return rebuild(super().inputs(T), map(_single, flatten(super().inputs(T)))) if self.cell.recipe.inputs else None


class Broken(CellRun):
    """A run whose first sequence begins with NaN, and ends with infinity in the last row."""

    def inputs(self, T: int | None = None) -> Any:
        """The input sequences."""
        found = super().inputs(T)
        for array in flatten(found)[:1] if self.cell.recipe.inputs else ():
            if array.dtype.kind == "f" and array.size:
                array[0, 0], array[-1, -1] = np.nan, np.inf
        return found


def broken(drawn: CellRun) -> CellRun:
    """The same run with NaN and infinity in its first sequence."""
    return Broken(**{field.name: getattr(drawn, field.name) for field in dataclasses.fields(CellRun)})


def _single(array: Any) -> Any:
    return array.astype(np.float32) if isinstance(array, np.ndarray) and array.dtype.kind == "f" else array


def in_float32(drawn: CellRun) -> CellRun:
    """The same run with parameters, inputs, states and cotangents in float32; captured values keep their dtype."""
    cell = drawn.cell
    parameters = {name: _single(parameter.data) for name, parameter in cell.named_parameters()}
    state = None if drawn.state is None else rebuild(drawn.state, map(_single, flatten(drawn.state)))
    arrays = {name: {k: _single(x) for k, x in getattr(drawn, name).items()} for name in ("force", "cotangents")}
    again = Interpreted(cell.recipe, parameters, cell.captured, cell.start)
    fields = {field.name: getattr(drawn, field.name) for field in dataclasses.fields(CellRun)}
    return Single(**fields | arrays | {"cell": again, "state": state})


def agree_in_float32(exact: Mapping[str, Any], expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Raise if float32 differs from float64 by more than 4 times NumPy's difference, and more than 4 ulp of the largest."""
    for name, array, other in pairs(expected, found):
        if array.dtype != np.float32 or not np.isfinite(exact[name]).all():
            continue
        errors = [np.abs(x.astype(np.float64) - exact[name]).max(initial=0) for x in (array, other)]
        allowed = max(4 * errors[0], 4 * float(np.spacing(np.float32(max(1.0, np.abs(exact[name]).max(initial=0))))))
        if not errors[1] <= allowed:
            raise Difference(f"{name} is off by {errors[1]:.1e}, and NumPy by {errors[0]:.1e}")


def agree_closely(expected: Mapping[str, Any], found: Mapping[str, Any], relative: float = RELATIVE) -> None:
    """Raise if names, shapes or dtypes differ, or if float64 numbers differ by more than rounding."""
    for name, array, other in pairs(expected, found):
        finite, both = np.isfinite(array), np.isfinite(array) & np.isfinite(other)
        size = max(1.0, np.abs(array[finite]).max(initial=0)) if array.dtype.kind == "f" else 1
        error = np.abs(array[both].astype(float) - other[both].astype(float)).max(initial=0)
        same = np.array_equal(finite, np.isfinite(other)) and np.array_equal(array[~finite], other[~finite], equal_nan=True)
        if not same or error > relative * size:
            raise Difference(f"{name} differs by {error:.1e}: it is {other.tolist()}, not {array.tolist()}")


def main(count: int, start: int = 0, threads: int = 1, level: str = "-O0") -> int:
    """Compare random cells with NumPy, print the cells that differ, and return their number."""
    wrong, together = 0, 40 if level == "-O0" else 8
    for first in range(start, start + count, together):
        cells = [random_cell(RandomChoices(seed), lengths=True) for seed in range(first, min(first + together, start + count))]
        with tempfile.TemporaryDirectory() as folder:
            for seed, (_, expected, found) in enumerate(natively(cells, Path(folder), level, threads=threads), first):
                try:
                    agree_closely(expected, found)
                except Difference as error:
                    wrong += 1
                    print(f"cell {seed}: {str(error)[:300]}", flush=True)
        print(f"{first + len(cells) - start} cells, {wrong} differ", flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:4]), *sys.argv[4:5]) > 0)
