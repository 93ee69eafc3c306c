"""Examples as a reader runs them, each once in the whole suite: the tests of their numbers share what was printed."""

from __future__ import annotations

import atexit
import functools
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))


class Run(NamedTuple):
    """What an example printed, and the folder of its pictures."""

    printed: str
    out: Path


@functools.cache
def quick(name: str, seed: int = 0) -> Run:
    """``python examples/<name>.py --quick --seed <seed> --out <a folder>``, where a warning is an error."""
    folder = tempfile.TemporaryDirectory(prefix=f"{name}-")
    atexit.register(folder.cleanup)
    call = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), "--quick", "--seed", str(seed), "--out", folder.name]
    done = subprocess.run(call, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return Run(done.stdout, Path(folder.name))
