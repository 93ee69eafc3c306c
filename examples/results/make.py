"""Run examples in full, and keep what they print and draw: ``python examples/results/make.py [name ...]``.

Without a name, those are run whose code has changed since. The docs show what is kept beside the source, so that
no number in them is typed by hand; a test sees to it that it was printed by the code that there is.
"""

import ast
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent
EXAMPLES = RESULTS.parent
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # one each: sums in the same order in every run


def fingerprint(source: str) -> int:
    """A number that changes with the code, and not with its prose: docstrings, comments and empty lines.

    Examples
    --------
    >>> fingerprint('x = 1  # one') == fingerprint('"It sets x."\\n\\nx = 1') != fingerprint('x = 2')
    True
    """
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            lines[docstring.lineno - 1 : docstring.end_lineno] = [""] * (docstring.end_lineno - docstring.lineno + 1)
    code = (re.sub(r"(^|\s+)# .*", "", line).rstrip() for line in lines)
    return zlib.crc32("\n".join(filter(None, code)).encode())


def is_current(name: str) -> bool:
    """Whether what is kept of an example was printed by its code as it is now."""
    kept, path = RESULTS / name / "printed.txt", EXAMPLES / f"{name}.py"
    return kept.exists() and f" code {fingerprint(path.read_text('utf-8')):08x}\n" in kept.read_text("utf-8")


def make(name: str) -> None:
    """Run one example, and write its folder anew: ``printed.txt`` and the pictures."""
    path = EXAMPLES / f"{name}.py"
    call = f"python examples/{path.name}"
    made_with = f"Python {platform.python_version()}, NumPy {np.__version__}, code {fingerprint(path.read_text('utf-8')):08x}"
    with tempfile.TemporaryDirectory() as out:
        done = subprocess.run(
            [sys.executable, path, "--out", "."],
            cwd=out,
            env=os.environ | dict.fromkeys(THREADS, "1"),
            stdout=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"{call} ended with {done.returncode}")
        folder = RESULTS / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for picture in sorted([*Path(out).glob("*.svg"), *Path(out).glob("*.png")]):
            shutil.copy(picture, folder)
    (folder / "printed.txt").write_text(f"$ {call}  # {made_with}\n{done.stdout}", encoding="utf-8")


if __name__ == "__main__":
    every = sorted(path.stem for path in EXAMPLES.glob("*.py"))
    for name in sys.argv[1:] or [name for name in every if not is_current(name)]:
        print(name, flush=True)
        make(name)
