"""Run examples in full, and write a page about each: ``python examples/results/make.py [name ...]``.

Without a name, the examples are run whose code has changed since their last run, and all pages get the present docstrings. A
page, ``results/<name>/README.md``, has the docstring, the printed output of a run, and its pictures. So no number on a page
is typed by hand. A test checks that the output was printed by the present code.
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
PRINTED = re.compile(r"^```text\n(\$ python examples/.*?)^```$", re.DOTALL | re.MULTILINE)
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # one thread: sums have the same order in every run


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
    """Whether the kept output of an example was printed by its present code."""
    return f", code {fingerprint((EXAMPLES / f'{name}.py').read_text('utf-8')):08x}\n" in printed(name)


def printed(name: str) -> str:
    """The kept output of an example, after the command; empty if there is no page."""
    path = RESULTS / name / "README.md"
    found = PRINTED.search(path.read_text("utf-8")) if path.exists() else None
    return found[1] if found else ""


def page(name: str, printed: str) -> str:
    """The text of the page of an example, with the pictures in its folder."""
    docstring = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text("utf-8"))) or ""
    title = name.replace("_", " ").capitalize()
    parts = [
        f"# {title}",
        prose(docstring),
        f"The code: [{name}.py](../../{name}.py)",
        f"## What it prints\n\n```text\n{printed}```",
    ]
    pictures = sorted(path for path in (RESULTS / name).iterdir() if path.suffix in (".svg", ".png"))
    return "\n\n".join(parts + [f"![{path.stem}]({path.name})" for path in pictures]) + "\n"


def prose(docstring: str) -> str:
    """A docstring as Markdown: indented lines are code in both; stars, brackets and similar characters are escaped."""
    return "\n".join(line if line.startswith("    ") else _escaped(line) for line in docstring.splitlines())


def _escaped(line: str) -> str:
    line = line[:-1] if line.endswith("::") else line
    parts = re.split(r"(``[^`]+``|`[^`]+`)", line)  # every second part is code
    parts[::2] = [re.sub(r"([*_$<\[\]|`])", r"\\\1", text) for text in parts[::2]]
    return "".join(parts)


def make(name: str) -> None:
    """Run one example, and write its page and its pictures."""
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
    write(name, f"$ {call}  # {made_with}\n{done.stdout}")


def write(name: str, printed: str) -> None:
    """Write the page of an example."""
    (RESULTS / name / "README.md").write_text(page(name, printed), encoding="utf-8")


if __name__ == "__main__":
    every = sorted(path.stem for path in EXAMPLES.glob("*.py"))
    for name in sys.argv[1:] or [name for name in every if not is_current(name)]:
        print(name, flush=True)
        make(name)
    for name in filter(printed, every):
        write(name, printed(name))
