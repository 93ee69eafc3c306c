"""Runs of examples as a reader starts them. Tests of an example share a file and one run, so each example runs once."""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import re
import runpy
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))


class Run(NamedTuple):
    """The printed output of an example, and the folder of its pictures."""

    printed: str
    out: Path


@functools.cache
def quick(name: str, seed: int = 0) -> Run:
    """``python examples/<name>.py --quick --seed <seed> --out <a folder>``, where a warning is an error.

    Examples run in this process, because a new process would need as long for its imports as for a quick run.
    """
    folder = tempfile.TemporaryDirectory(prefix=f"{name}-")
    atexit.register(folder.cleanup)
    script, printed = str(EXAMPLES / f"{name}.py"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), contextlib.redirect_stdout(printed):
        warnings.simplefilter("error")
        patch.setattr(sys, "argv", [script, "--quick", "--seed", str(seed), "--out", folder.name])
        patch.setenv("MPLBACKEND", "Agg")
        runpy.run_path(script, run_name="__main__")
    return Run(printed.getvalue(), Path(folder.name))


def runs(*names: str) -> Callable[[str], None]:
    """A test that examples run without a warning, and end with their numbers and those of a baseline."""

    @pytest.mark.parametrize("name", names)
    def test(name: str) -> None:
        said = [line for line in quick(name).printed.splitlines() if line.strip()]
        numbers = re.findall(r"\d+\.\d+|\d+ ?%|\d+ of \d+", "\n".join(said[-6:]))
        assert len(numbers) >= 2, said[-6:]

    return test
