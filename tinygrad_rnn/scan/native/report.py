"""Report on the native backend: its compiler, whether the compiler works, and the stored programs."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...console import counted
from ...graph.node import Node, Spec, leaf
from ...ops.core import registry
from ..loop import Loop, Output
from ..schedule import Schedule
from ..use import backend_name
from .compiler import CompilerError, find_compiler
from .executable import NativeExecutable
from .libraries import LEVEL, cached_files, folder, forget_all, program_text, runners
from .writer import CSource

__all__ = ["report"]


def report(clear: bool = False) -> Iterator[str]:
    """The lines of the command ``tinygrad-rnn backend``.

    Parameters
    ----------
    clear : bool
        Whether to remove the stored programs.

    Examples
    --------
    >>> next(report())
    'backend    numpy'
    """
    yield f"backend    {backend_name()}"
    try:
        compiler = find_compiler()
        yield f"compiler   {' '.join(compiler.command)}"
        yield f"           {compiler.version}"
        yield f"a trial    {_trial()}"
    except (CompilerError, OSError) as error:
        yield f"a trial    fails: {error}"
        yield "           so NumPy runs the cells instead"
    yield f"folder     {folder()}"
    if clear:
        yield f"           {counted(forget_all(), 'file')} removed"
    else:
        files = cached_files()
        size = sum(path.stat().st_size for path in files)
        count = sum(path.match("program_*.so") for path in files)
        yield f"           {counted(count, 'program')}, {math.ceil(size / 1000):,} kB"


def _trial() -> str:
    """Compile and run a loop of one operation."""
    x = leaf(Spec((3,), np.dtype(np.float32)))
    y = Node(registry["tanh"], (x,), {}, x.spec)
    schedule = Schedule(Loop((x,), (), (), (), (Output("stack", y),)))
    written = CSource(schedule)
    text = program_text(written.text, written.page.functions, written.page.types)
    with tempfile.TemporaryDirectory() as place:
        run = NativeExecutable(schedule, runners({text: written}, Path(place), LEVEL)[text])
        xs = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)
        right = np.allclose(run([xs], 2)[0][0], np.tanh(xs), rtol=1e-5)
    return "compiles, loads, and gives right numbers" if right else "compiles and loads, but gives wrong numbers"
