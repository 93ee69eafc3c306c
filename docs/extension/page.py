"""Run the Python blocks of a page in order, and keep what they print, draw and raise.

Nothing here needs Sphinx, so that the tests run the pages as well.
"""

from __future__ import annotations

import ast
import contextlib
import io
import linecache
import os
import re
import shlex
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

BLOCK = re.compile(r"^```\{(?P<kind>python-run|shell-run)\}[^\n]*\n(?P<body>.*?)^```\s*$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A block of a page's source that is run."""

    kind: str
    code: str
    options: dict[str, str]


class Result(NamedTuple):
    """What a block gave."""

    text: str
    pictures: list[str]


class PageError(Exception):
    """A block failed that should not, or did not fail that should."""


def blocks(source: str) -> Iterator[Block]:
    """The blocks of a page that are run."""
    for match in BLOCK.finditer(source):
        lines = match["body"].splitlines()
        options = {}
        while lines and (option := re.match(r":([\w-]+):\s*(.*)", lines[0])):
            options[option[1]] = option[2]
            lines.pop(0)
        yield Block(match["kind"], "\n".join(lines).strip("\n"), options)


class Page:
    """The namespace and the folder that the blocks of one page share."""

    def __init__(self, name: str) -> None:
        import tinygrad_rnn as tr

        self.name = name
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        self.folder = tempfile.TemporaryDirectory()
        self.count = 0
        self._primitives = dict(tr.ops.registry)
        tr.seed(0)

    def close(self) -> None:
        """Forget the page, and the primitives that it registered."""
        import tinygrad_rnn as tr

        for name in set(tr.ops.registry) - set(self._primitives):
            del tr.ops.registry[name]
        for name in [
            n for n, module in sys.modules.items() if str(getattr(module, "__file__", "")).startswith(self.folder.name)
        ]:
            del sys.modules[name]
        self.folder.cleanup()

    def run(self, block: Block) -> Result:
        """Run one block.

        Raises
        ------
        PageError
            If it fails and has no ``:raises:``, or has one and doesn't.
        """
        return self._shell(block) if block.kind == "shell-run" else self._python(block)

    def _python(self, block: Block) -> Result:
        code, raises = block.code, block.options.get("raises")
        self.count += 1
        file = f"{Path(self.name).name}.py"
        if "write" in block.options:
            file = block.options["write"]
            (Path(self.folder.name) / file).write_text(code + "\n", encoding="utf-8")
        linecache.cache[file] = (len(code), None, [line + "\n" for line in code.splitlines()], file)
        tree = ast.parse(code, file)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        printed, pictures = io.StringIO(), []
        with contextlib.redirect_stdout(printed), _at(self.folder.name):
            try:
                exec(compile(tree, file, "exec"), self.namespace)
                if last is not None:
                    value = eval(compile(ast.Expression(last.value), file, "eval"), self.namespace)
                    pictures = _pictures(value)
                    if value is not None and not pictures:
                        print(repr(value))
            except Exception as error:
                if raises != type(error).__name__:
                    raise PageError(f"{self.name}, block {self.count}: {traceback.format_exc(limit=-3)}\n{code}") from error
                print(f"{type(error).__name__}: {error}")
                raises = None
        if raises is not None:
            raise PageError(f"{self.name}, block {self.count} does not raise {raises}:\n{code}")
        return Result(printed.getvalue().rstrip("\n"), pictures)

    def _shell(self, block: Block) -> Result:
        """A command of the library's own; what it prints."""
        program, *arguments = shlex.split(block.code)
        if program != "tinygrad-rnn":
            raise PageError(f"{self.name}: only tinygrad-rnn can be run, not {program}")
        environment = {**os.environ, "PYTHONHASHSEED": "0", "COLUMNS": "100"}
        root = str(Path(__file__).parents[2])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        run = subprocess.run(
            [sys.executable, "-m", "tinygrad_rnn", *arguments],
            cwd=self.folder.name,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        status = int(block.options.get("status", 0))
        if run.returncode != status:
            raise PageError(f"{self.name}: {block.code} ended with {run.returncode}, not {status}\n{run.stdout}{run.stderr}")
        pictures = []
        if "picture" in block.options:
            pictures = [(Path(self.folder.name) / block.options["picture"]).read_text(encoding="utf-8")]
        return Result(f"$ {block.code}\n{run.stdout}{run.stderr}".rstrip("\n"), pictures)


@contextlib.contextmanager
def _at(folder: str) -> Iterator[None]:
    """Work in a folder, and import from it."""
    before = Path.cwd()
    os.chdir(folder)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        os.chdir(before)


def _pictures(value: Any) -> list[str]:
    """The SVG of drawings and of matplotlib's figures, alone or in a tuple."""
    if isinstance(value, tuple) and value:
        found = [_pictures(part) for part in value]
        return [svg for part in found for svg in part] if all(found) else []
    if hasattr(value, "svg") and hasattr(value, "source"):
        return [value.svg()]
    if hasattr(value, "savefig"):
        import matplotlib

        stream = io.StringIO()
        with matplotlib.rc_context({"svg.hashsalt": "docs", "svg.fonttype": "path"}):
            value.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
        return [stream.getvalue()]
    return []
