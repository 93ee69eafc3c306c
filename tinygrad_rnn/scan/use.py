"""The backend that runs compiled scans: chosen by an argument, a context, a call, or the environment."""

from __future__ import annotations

import os
from contextvars import ContextVar, Token
from types import TracebackType

from .backend import Backend
from .numpy import NUMPY

__all__ = ["BACKENDS", "backend_name", "backend_named", "check_backend", "use"]

BACKENDS = ("numpy", "native")
"""The names of all backends."""

VARIABLE = "TINYGRAD_RNN_BACKEND"

_in_context: ContextVar[str | None] = ContextVar("backend", default=None)
_everywhere: list[str | None] = [None]


class use:
    """Choose the backend that runs recurrent layers: from now on, or in a ``with`` block.

    ``"numpy"`` calls NumPy for each operation, and is used if nothing is chosen. ``"native"`` writes each cell as C, and
    compiles it on this machine. Results agree but for rounding. A layer's own argument, ``nn.Recurrent(cell,
    backend="native")``, comes first, then the innermost ``with`` block, then the last call, then the environment variable
    ``TINYGRAD_RNN_BACKEND``.

    Parameters
    ----------
    name : {"numpy", "native"}

    Raises
    ------
    ValueError
        If there is no such backend.

    Examples
    --------
    >>> from tinygrad_rnn.scan.use import backend_name
    >>> with use("native"):
    ...     backend_name()
    'native'
    >>> backend_name()
    'numpy'
    """

    def __init__(self, name: str) -> None:
        self.name = check_backend(name)
        self._before = _everywhere[0]
        self._token: Token[str | None] | None = None
        _everywhere[0] = self.name

    def __enter__(self) -> use:
        _everywhere[0] = self._before
        self._token = _in_context.set(self.name)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        assert self._token is not None
        _in_context.reset(self._token)

    def __repr__(self) -> str:
        return f"use({self.name!r})"


def check_backend(name: str) -> str:
    """The name of a backend, or an error that lists all of them.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    if name not in BACKENDS:
        raise ValueError(f"a backend is {' or '.join(map(repr, BACKENDS))}, not {name!r}")
    return name


def backend_name(argument: str | None = None) -> str:
    """The name of the backend that is to be used.

    Parameters
    ----------
    argument : str, optional
        A layer's own choice.

    Raises
    ------
    ValueError
        If the environment variable names a backend that does not exist.
    """
    found = argument or _in_context.get() or _everywhere[0]
    if found is None:
        given = os.environ.get(VARIABLE) or "numpy"
        if given not in BACKENDS:
            raise ValueError(f"{VARIABLE}={given}: a backend is {' or '.join(BACKENDS)}")
        found = given
    return found


def backend_named(chosen: str, to_run: bool = False) -> Backend:
    """The backend of a name; the native one is imported when it is first asked for.

    Parameters
    ----------
    chosen : str
    to_run : bool
        Whether programs are not only written, but run: without a compiler NumPy runs them.
    """
    if chosen == "native":
        from .native import NATIVE, is_ready

        return NATIVE if not to_run or is_ready() else NUMPY
    return NUMPY
