"""Random cells run natively: many programs are compiled in one call of the compiler, in memory that holds NaN."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from scan_cases import Difference, patched, quietly

import tinygrad_rnn as tr
from tinygrad_rnn.scan.native import executable, libraries
from tinygrad_rnn.scan.native.compiler import find_compiler, link
from tinygrad_rnn.scan.native.writer import CSource
from tinygrad_rnn.scan.schedule import Schedule
from tinygrad_rnn.testing.random_cells import CellRun

RELATIVE = 1e-12
"""Of float64, beside the sum of absolute values that a number is made of, for which the largest number of an array stands."""


class Programs:
    """Programs that are compiled together."""

    def __init__(self) -> None:
        self.written: dict[str, CSource] = {}

    def add(self, schedule: Schedule) -> None:
        """Note the source of a schedule."""
        written = CSource(schedule)
        self.written.setdefault(libraries.program_text(written.text, written.page.functions, written.page.types), written)

    def compile(self, folder: Path, level: str = "-O1", number: int = 0) -> dict[str, Any]:
        """The functions of all sources, from one library."""
        runs, functions, types = [], dict[str, None](), set[str]()
        for k, written in enumerate(self.written.values()):
            runs.append(written.text.replace("int run(", f"int run_{k}(", 1))
            functions |= dict.fromkeys(written.page.functions)
            types |= written.page.types
        compiler = find_compiler()
        objects = [libraries._product(compiler, end) for end in sorted(types)]
        path = folder / f"programs{number}.so"
        link(compiler, libraries.program_text("\n".join(runs), list(functions), types), objects, path, level)
        library = ctypes.CDLL(str(path))
        return {text: libraries.typed(getattr(library, f"run_{k}")) for k, text in enumerate(self.written)}


@contextmanager
def collecting() -> Iterator[Programs]:
    """Write the programs that are asked for, and let NumPy run them."""
    programs = Programs()

    def noted(schedule: Schedule) -> Any:
        programs.add(schedule)
        raise OSError("compiled later")

    with patched((executable, "NativeExecutable", noted), (executable, "tell", lambda kind, words: None)), tr.use("native"):
        yield programs


def poisoned(count: int, dtype: np.dtype[Any]) -> Any:
    """Memory of NaN, or of large integers."""
    memory = np.empty(count, dtype)
    memory.view(np.uint8)[...] = 0xFF if dtype.kind != "b" else 1
    return memory


@contextmanager
def compiled(functions: Mapping[str, Any], poison: Callable[..., Any] = poisoned) -> Iterator[None]:
    """Run natively, by these functions alone."""

    def known(text: str, types: set[str]) -> Any:
        return functions[text]

    with patched((executable, "runner", known), (executable, "allocate", poison)), tr.use("native"):
        yield


def natively(
    cells: Sequence[CellRun], folder: Path, level: str = "-O1", order: int = 2, **options: Any
) -> Iterable[tuple[CellRun, dict[str, Any], dict[str, Any]]]:
    """Each cell, with what NumPy makes of its programs, and what they make natively."""
    with collecting() as programs:
        expected = [quietly(drawn, "scan", order, **options) for drawn in cells]
    functions = programs.compile(folder, level)
    for drawn, by_numpy in zip(cells, expected, strict=True):
        with compiled(functions):
            yield drawn, by_numpy, quietly(drawn, "scan", order, **options)


def agree_closely(expected: Mapping[str, Any], found: Mapping[str, Any], relative: float = RELATIVE) -> None:
    """Raise if names, shapes or dtypes differ, or numbers of float64 by more than rounding."""
    if expected.keys() != found.keys():
        raise Difference(f"only one has {sorted(expected.keys() ^ found.keys())}")
    for name, array in expected.items():
        other = found[name]
        if (other.shape, other.dtype) != (array.shape, array.dtype):
            raise Difference(f"{name} is {other.dtype}{other.shape}, not {array.dtype}{array.shape}")
        finite = np.abs(array[np.isfinite(array)])
        size = max(1.0, finite.max(initial=0)) if array.dtype.kind == "f" else 1
        error = np.abs(np.where(np.isfinite(array) & np.isfinite(other), array - other, 0)).max(initial=0)
        same = np.array_equal(np.isnan(array), np.isnan(other)) and np.array_equal(np.isinf(array), np.isinf(other))
        if not same or error > relative * size:
            raise Difference(f"{name} differs by {error:.1e}: it is {other.tolist()}, not {array.tolist()}")
