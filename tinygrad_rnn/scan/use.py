"""The backend that runs compiled scans: chosen by an argument, a context, a call, or the environment."""

from __future__ import annotations

import os
from contextvars import ContextVar, Token
from types import TracebackType

from ..checks import check_int, one_of
from .backend import Backend
from .numpy import NUMPY

__all__ = ["BACKENDS", "backend_name", "backend_named", "check_backend", "check_threads", "thread_count", "use"]

BACKENDS = ("numpy", "native")
"""The names of all backends."""

THREADED = ("native",)
"""Names of the backends that can use several threads."""

VARIABLE = "TINYGRAD_RNN_BACKEND"
THREADS_VARIABLE = "TINYGRAD_RNN_THREADS"

_in_context: ContextVar[use | None] = ContextVar("use", default=None)
_everywhere: list[use | None] = [None]


class use:
    """Choose the backend that runs recurrent layers, from now on or in a ``with`` block.

    ``"numpy"`` calls NumPy for each operation, and is the default. ``"native"`` writes each cell as C, and compiles
    the C on this machine. The results of both agree except for rounding. The first of these choices holds: a layer's own
    argument, as in ``nn.Recurrent(cell, backend="native")``; the innermost ``with`` block; the last call of this
    function; the environment variable ``TINYGRAD_RNN_BACKEND``.

    With `threads`, the native backend uses that many threads for a run that is long enough. Each thread runs a part of the
    batch, if only sums over the batch combine its sequences. The sums of the parts are added in a fixed order:
    two runs give the same bits, but not the bits of a run in one thread. If the matrices of a step are larger than the cache of
    a core, the threads compute columns of its products instead. The number of threads is read where a pass runs;
    this holds for a backward pass, too. A layer's own `threads` takes precedence.

    Parameters
    ----------
    name : {"numpy", "native"}
        The backend.
    threads : int, optional
        Number of threads of the native backend. If not given, the environment variable ``TINYGRAD_RNN_THREADS``, or else 1.

    Raises
    ------
    ValueError
        If there is no such backend, if `threads` is not a positive integer, or if it is more than 1 for NumPy.

    Examples
    --------
    >>> from tinygrad_rnn.scan.use import backend_name
    >>> with use("native"):
    ...     backend_name()
    'native'
    >>> backend_name()
    'numpy'
    """

    def __init__(self, name: str, threads: int | None = None) -> None:
        self.name = check_backend(name)
        self.threads = check_threads(threads, self.name)
        self._before = _everywhere[0]
        self._token: Token[use | None] | None = None
        _everywhere[0] = self

    def __enter__(self) -> use:
        _everywhere[0] = self._before
        self._token = _in_context.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        assert self._token is not None
        _in_context.reset(self._token)

    def __repr__(self) -> str:
        return f"use({self.name!r}{'' if self.threads is None else f', threads={self.threads}'})"


def check_backend(name: str) -> str:
    """The name of a backend; an unknown name raises an error that lists all backends.

    Raises
    ------
    ValueError
        If there is no backend of this name.
    """
    if name not in BACKENDS:
        raise ValueError(one_of("backend", name, BACKENDS))
    return name


def check_threads(threads: int | None, backend: str | None) -> int | None:
    """The number of threads, or None; an error if it is no positive integer, or more than 1 for a backend without threads.

    Raises
    ------
    ValueError
        If there cannot be so many threads.
    """
    found = threads if threads is None else check_int("threads", threads)
    if found not in (None, 1) and backend not in (None, *THREADED):
        raise ValueError(f'threads={threads} needs the backend "native", but the backend is {backend!r}')
    return found


def backend_name(argument: str | None = None) -> str:
    """The name of the backend to use.

    Parameters
    ----------
    argument : str, optional
        The layer's own choice.

    Raises
    ------
    ValueError
        If the environment variable names a backend that does not exist.
    """
    if argument:
        return argument
    chosen = _in_context.get() or _everywhere[0]
    if chosen is not None:
        return chosen.name
    given = os.environ.get(VARIABLE) or "numpy"
    if given not in BACKENDS:
        raise ValueError(one_of(f"the environment variable {VARIABLE}", given, BACKENDS))
    return given


def thread_count(argument: int | None = None) -> int:
    """The number of threads that the native backend uses.

    Parameters
    ----------
    argument : int, optional
        The layer's own choice.

    Raises
    ------
    ValueError
        If the environment variable is not a positive integer.

    Examples
    --------
    >>> with use("native", threads=2):
    ...     thread_count()
    2
    """
    if argument is not None:
        return argument
    chosen = _in_context.get() or _everywhere[0]
    if chosen is not None and chosen.threads is not None:
        return chosen.threads
    given = os.environ.get(THREADS_VARIABLE) or "1"
    if not given.isdecimal() or int(given) < 1:
        raise ValueError(f"the environment variable {THREADS_VARIABLE} must be a number of threads, such as 2, not {given!r}")
    return int(given)


def backend_named(chosen: str, to_run: bool = False, threads: int | None = None) -> Backend:
    """The backend with a given name; the native backend is imported when it is first asked for.

    Parameters
    ----------
    chosen : str
    to_run : bool
        Whether programs are to be run, and not only written: without a compiler, NumPy runs them.
    threads : int, optional
        The layer's own number of threads.
    """
    if chosen == "native":
        from .native import in_threads, is_ready

        return in_threads(threads) if not to_run or is_ready() else NUMPY
    return NUMPY
