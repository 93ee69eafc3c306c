"""Libraries: compiled programs in one of the user's folders, under keys made from all that the programs depend on."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .compiler import FLAGS, Compiler, CompilerError, compile_object, find_compiler, link, processor

if TYPE_CHECKING:
    from .writer import CSource

__all__ = ["cached_files", "folder", "forget_all", "program_text", "runner", "runners", "tell"]

LEVEL = PRODUCT_LEVEL = "-O3"
HERE = Path(__file__).parent
PRELUDE = """\
/* The array of a NumPy object; or the address itself, if there is no such offset */
static void *data_(void *object, long offset) { return offset < 0 ? object : *(void **)((char *)object + offset); }
"""
PRODUCTS = """\
void pack_{0}(long k, long n, const {1} *b, long row, long column, {1} *panels);
void product_{0}(long m, long n, long k, const {1} *a, long row, long column, const {1} *panels, {1} *c, long across, int add);
void products_{0}(long n, long m, long columns, long k, const {1} *a, long further, long row, long column, const {1} *panels,
                  {1} *c, long beyond, long across);
"""
TYPES = {"f": "float", "d": "double", "i": "long long"}

_lock = threading.Lock()
_loaded: dict[str, Any] = {}
_told: set[str] = set()


# -- sources -------------------------------------------------------------------------------


@functools.cache
def _blocks() -> dict[str, str]:
    """The functions of ``kernels.c`` by name, each after the functions that it calls."""
    text = (HERE / "kernels.c").read_text(encoding="utf-8")
    found = {}
    for block in text.split("\n\n")[2:]:
        name = re.search(r"\b(\w+_(?:num|f|d|i))\(", block)
        assert name is not None, block
        found[name[1]] = block.strip("\n")
    return found


def _typed(text: str, end: str) -> str:
    return re.sub(r"_num\b", f"_{end}", re.sub(r"\bnum\b", TYPES[end], text))


def kernels(functions: Sequence[str]) -> str:
    """The functions of ``kernels.c`` with these names, and all functions that they call."""
    blocks, needed = _blocks(), list(functions)
    for name in needed:
        for called in re.findall(r"\b(\w+_[fdi])\(", _block(name)):
            if called not in needed:
                needed.append(called)
    order = list(blocks)
    return "\n".join(_block(name) for name in sorted(needed, key=lambda name: (order.index(_key(name)), name)))


def _key(name: str) -> str:
    return name if name in _blocks() else f"{name[:-2]}_num"


def _block(name: str) -> str:
    return _typed(_blocks()[_key(name)], name[-1])


def program_text(run: str, functions: Sequence[str], types: set[str]) -> str:
    """The whole source of a program: the functions that it calls, and its function ``run``."""
    parts = [PRELUDE, *[PRODUCTS.format(end, TYPES[end]) for end in sorted(types)], kernels(functions), run]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part)


# -- the folder ----------------------------------------------------------------------------


def folder() -> Path:
    """The folder of compiled programs: ``TINYGRAD_RNN_CACHE``, or a folder in the user's cache folder."""
    given = os.environ.get("TINYGRAD_RNN_CACHE")
    if given:
        return Path(given)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "tinygrad_rnn"


def cached_files() -> list[Path]:
    """The files that compiling has left in the folder."""
    place = folder()
    return sorted(path for path in place.iterdir() if _is_ours(path)) if place.is_dir() else []


def _is_ours(path: Path) -> bool:
    return re.fullmatch(r"(program|product)_[0-9a-f]{32}\.(so|o|sum)", path.name) is not None


def forget_all() -> int:
    """Remove the files of :func:`cached_files`, and return their number."""
    found = cached_files()
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


def _digest(*parts: str | bytes) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part.encode() if isinstance(part, str) else part)
        found.update(b"\0")
    return found.hexdigest()[:32]


def _kept(kind: str, text: str, compiler: Compiler, level: str, make: Callable[[Path], None], end: str) -> Path:
    """The file that `make` writes, kept under a key made from all that the file depends on.

    Another thread or process may make the same file at the same time: each works in a folder of its own, and moves the
    finished file into place. A file is used only if its checksum, in a second file, is right: a damaged library would
    crash the process.
    """
    key = _digest(text, " ".join([level, *FLAGS, *compiler.command]), compiler.version, processor())
    place = folder()
    path, checksum = place / f"{kind}_{key}.{end}", place / f"{kind}_{key}.sum"
    if _is_whole(path, checksum):
        return path
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="making_", dir=place))
    try:
        made = work / f"{kind}.{end}"
        started = time.monotonic()
        make(made)
        took = time.monotonic() - started
        (work / "sum").write_text(_digest(made.read_bytes()), encoding="ascii")
        made.replace(path)
        (work / "sum").replace(checksum)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if took > 1 and "slow" not in _told:  # printed, not a warning: a slow machine must not fail anybody's tests
        _told.add("slow")
        print(
            f"tinygrad_rnn: compiling a cell took {took:.1f} s; the program is kept in {place} for later runs", file=sys.stderr
        )
    return path


def _is_whole(path: Path, checksum: Path) -> bool:
    try:
        return checksum.read_text(encoding="ascii", errors="replace") == _digest(path.read_bytes())
    except OSError:
        return False


# -- programs ------------------------------------------------------------------------------


def runner(text: str, types: set[str]) -> Any:
    """The compiled function ``run`` of a source, as ctypes calls it.

    Raises
    ------
    CompilerError, OSError
        If the source cannot be compiled, or the library cannot be stored or loaded.
    """
    with _lock:
        program = _digest(text)
        found = _loaded.get(program)
        if found is None:
            compiler = find_compiler()
            objects = [_product(compiler, end) for end in sorted(types)]
            key = text + "".join(path.name for path in objects)
            path = _kept("program", key, compiler, LEVEL, lambda to: link(compiler, text, objects, to, LEVEL), "so")
            found = _loaded[program] = _typed_run(ctypes.CDLL(str(path)), "run")
        return found


def runners(sources: Mapping[str, CSource], place: Path, level: str = "-O0") -> dict[str, Any]:
    """The compiled functions of many programs, from one call of the compiler; no file is kept.

    Parameters
    ----------
    sources : mapping of str to CSource
    place : pathlib.Path
        A folder for the library.
    level : str
        Level of optimisation.

    Raises
    ------
    CompilerError, OSError
        If the programs cannot be compiled or loaded.
    """
    compiler = find_compiler()
    runs = [source.text.replace("int run(", f"int run_{k}(", 1) for k, source in enumerate(sources.values())]
    functions = list(dict.fromkeys(name for source in sources.values() for name in source.page.functions))
    types = {end for source in sources.values() for end in source.page.types}
    path = place / "programs.so"
    link(
        compiler,
        program_text("\n".join(runs), functions, types),
        [_product(compiler, end) for end in sorted(types)],
        path,
        level,
    )
    library = ctypes.CDLL(str(path))
    return {text: _typed_run(library, f"run_{k}") for k, text in enumerate(sources)}


SEQUENCER = """\
struct call {
    int (*run)(long, long, long, long, long, void **, void **, void **, long);
    long steps, batch, length;
    void **memory;
    long count;
    const long *inputs;
    long results;
};

/* Calls one after another on a table of NumPy objects, to which each adds its results; 0 if none has failed */
int run_all(long count, const struct call *calls, void **table, void **inputs, long data) {
    for (const struct call *c = calls; c < calls + count; c++) {
        for (long k = 0; k < c->count; k++) inputs[k] = table[c->inputs[k]];
        if (c->run(c->steps, c->batch, c->batch, 0, c->length, c->memory, inputs, table + c->results, data)) return 1;
    }
    return 0;
}
"""


def sequencer() -> Any:
    """The compiled function that calls several programs.

    Raises
    ------
    CompilerError, OSError
        If the function cannot be compiled, stored or loaded.
    """
    with _lock:
        found = _loaded.get("sequencer")
        if found is None:
            compiler = find_compiler()
            path = _kept("program", SEQUENCER, compiler, LEVEL, lambda to: link(compiler, SEQUENCER, [], to, LEVEL), "so")
            found = _loaded["sequencer"] = ctypes.CDLL(str(path)).run_all
            long, pointer = ctypes.c_long, ctypes.c_void_p
            found.argtypes = (long, pointer, pointer, pointer, long)
            found.restype = ctypes.c_int
        return found


def _typed_run(library: ctypes.CDLL, name: str) -> Any:
    """A library's function ``run``, with the types of its arguments, and with its library."""
    function = getattr(library, name)
    function.library = library
    long, pointer = ctypes.c_long, ctypes.c_void_p
    function.argtypes = (long, long, long, long, long, pointer, pointer, pointer, long)
    function.restype = ctypes.c_int
    return function


def _product(compiler: Compiler, end: str) -> Path:
    text = _typed((HERE / "product.c").read_text(encoding="utf-8"), end)
    level = PRODUCT_LEVEL
    return _kept("product", text, compiler, level, lambda to: compile_object(compiler, text, to, level), "o")


def tell(kind: str, words: str) -> None:
    """Give a warning, only once for each kind of message."""
    if kind not in _told:
        _told.add(kind)
        warnings.warn(f"native backend: {words}", RuntimeWarning, stacklevel=2)


def failure(error: Exception) -> str:
    """The failure of a compiler or a folder, in words."""
    if isinstance(error, CompilerError):
        return str(error)
    why = getattr(error, "strerror", None) or error
    return f"the folder {folder()} cannot be used ({why}); set the environment variable TINYGRAD_RNN_CACHE to another folder"
