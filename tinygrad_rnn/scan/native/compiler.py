"""Compiler: finds a C compiler, and calls it."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Compiler", "CompilerError", "compile_object", "find_compiler", "link", "processor"]

NAMES = ("cc", "gcc", "clang")
TIMEOUT = 120.0
"""Seconds after which a compiler counts as hanging."""

_hanging: dict[str, str] = {}
"""What is said of compilers that have not ended. They are not called again in this process."""

FLAGS = (
    *("-std=gnu11", "-march=native", "-fopenmp-simd", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),
    *("-fwrapv", "-fPIC"),
)
"""`-fwrapv`: integers overflow as NumPy's do. No flag may change the rules for NaN and inf, so `-ffast-math` is left out.
`-fno-trapping-math` says that nobody traps floating-point exceptions. Without it, gcc vectorises no choice between two
values for AVX2, such as those in `exp_f`."""


class CompilerError(Exception):
    """No C compiler works: it is missing, fails or hangs, as the message says."""


class Compiler(NamedTuple):
    """A C compiler.

    Attributes
    ----------
    command : tuple of str
    version : str
        The first line of the compiler's output about its version.
    """

    command: tuple[str, ...]
    version: str


def find_compiler() -> Compiler:
    """The C compiler of this machine: ``cc``, ``gcc`` or ``clang`` on the PATH, or the wheel ``ziglang``.

    Raises
    ------
    CompilerError
        If there is no compiler.
    """
    return _found(os.environ.get("PATH", ""))


@functools.lru_cache
def _found(path: str) -> Compiler:
    for name in NAMES:
        program = shutil.which(name, path=path)
        if program is not None:
            said = _call((program, "--version"), 10.0)
            return Compiler((program,), said.splitlines()[0] if said else name)
    if importlib.util.find_spec("ziglang") is not None:
        return Compiler((sys.executable, "-m", "ziglang", "cc"), f"zig {importlib.metadata.version('ziglang')}")
    raise CompilerError("there is no C compiler: install cc, gcc or clang, or the Python package ziglang")


@functools.lru_cache
def processor() -> str:
    """The facts about this machine that `-march=native` depends on: the processor's description and the size of a pointer."""
    found = [platform.machine(), platform.processor(), sys.platform, str(sys.maxsize)]
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
        found += [line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))]
    except OSError:
        pass
    return "\n".join(found)


def compile_object(compiler: Compiler, text: str, target: Path, level: str) -> None:
    """Compile a source to an object.

    Raises
    ------
    CompilerError
    """
    _compiled(compiler, text, target, [level, *FLAGS, "-c"], ())


def link(compiler: Compiler, text: str, objects: Sequence[Path], target: Path, level: str) -> None:
    """Compile a source, and link it with objects to a library.

    Raises
    ------
    CompilerError
    """
    _compiled(compiler, text, target, [level, *FLAGS, "-shared"], (*map(str, objects), "-lm"))


def _compiled(compiler: Compiler, text: str, target: Path, flags: Sequence[str], after: Sequence[str]) -> None:
    source = target.with_suffix(".c")
    source.write_text(text, encoding="utf-8")
    _call((*compiler.command, *flags, str(source), *after, "-o", str(target)), TIMEOUT)


def _call(command: Sequence[str], timeout: float) -> str:
    name = Path(command[0]).name
    if command[0] in _hanging:  # each program of each cell would wait as long again
        raise CompilerError(_hanging[command[0]])
    with tempfile.TemporaryFile() as said:  # not a pipe: a child that hangs would keep the pipe open
        try:  # in a process group of its own, to end all processes that the compiler has started
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
        except OSError as error:
            raise CompilerError(f"{name} cannot be run: {error.strerror or error}") from None
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            _hanging[command[0]] = f"{name} did not finish within {timeout:g} s"
            raise CompilerError(_hanging[command[0]]) from None
        finally:
            if process.poll() is None:
                _end(process)
        said.seek(0)
        words = said.read().decode("utf-8", "replace")
    if process.returncode:
        first = next((line for line in words.splitlines() if "error" in line), words[:200])
        raise CompilerError(f"{name} ended with status {process.returncode}: {first.strip()}")
    return words


def _end(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
