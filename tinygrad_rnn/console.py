"""Printing to terminals of any encoding, and counts with their nouns."""

from __future__ import annotations

import contextlib
import html
import importlib.util
import io
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from .extras import optional

__all__ = ["NoBar", "counted", "forgiving", "joined", "preformatted", "progress_bar", "shows"]


def counted(n: int, noun: str, plural: str = "") -> str:
    """A number with its noun, in singular or plural.

    Parameters
    ----------
    n : int
    noun : str
    plural : str
        The plural; if not given, the noun with an s.

    Examples
    --------
    >>> counted(1, "step"), counted(1200, "step"), counted(0, "axis", "axes")
    ('1 step', '1,200 steps', '0 axes')
    """
    return f"{n:,} {noun if n == 1 else plural or f'{noun}s'}"


def joined(words: Sequence[str]) -> str:
    """Words joined with commas and a last "and".

    Examples
    --------
    >>> joined(["h", "c", "x"])
    'h, c and x'
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def preformatted(text: str) -> str:
    """A text as HTML for a notebook, with lines and columns preserved.

    Examples
    --------
    >>> preformatted("0 < 1")
    '<pre style="font-family: monospace; line-height: 1.3">0 &lt; 1</pre>'
    """
    return f'<pre style="font-family: monospace; line-height: 1.3">{html.escape(text)}</pre>'


@contextlib.contextmanager
def forgiving() -> Iterator[None]:
    """Print escapes, inside the block, for characters that the terminal cannot encode.

    Examples
    --------
    >>> with forgiving():
    ...     print("σ(a)")
    σ(a)
    """
    with contextlib.ExitStack() as stack:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
                stack.callback(_set_errors, stream, stream.errors)
                _set_errors(stream, "backslashreplace")
        yield


def _set_errors(stream: io.TextIOWrapper, errors: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # the stream was closed in the meantime
        stream.reconfigure(errors=errors)


def shows(text: str) -> bool:
    """Whether standard output can print a text.

    Examples
    --------
    >>> shows("a")
    True
    """
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


class NoBar:
    """A progress bar that shows nothing."""

    def update(self) -> None:
        """Count one more item."""

    def set_postfix_str(self, text: str, refresh: bool) -> None:
        """Set the text at the end of the bar."""


@contextlib.contextmanager
def progress_bar(total: int, what: str, show: bool | None, unit: str = "it") -> Iterator[Any]:
    """A progress bar on standard error, or in a notebook; it has the methods of :class:`NoBar`.

    Parameters
    ----------
    total : int
        Number of items.
    what : str
        The task that the bar names.
    show : bool or None
        Whether a bar is shown. If None, a bar is shown if the output is a terminal, there are several
        items, and tqdm is installed.
    unit : str
        Name of an item, after the number of items in a second.

    Raises
    ------
    MissingExtraError
        If `show` is true and tqdm is not installed.

    Examples
    --------
    >>> with progress_bar(2, "gradient flow", show=False) as bar:
    ...     for _ in range(2):
    ...         bar.update()
    """
    if show is None and total > 1 and sys.stderr.isatty():
        show = importlib.util.find_spec("tqdm") is not None
    if not show:
        yield NoBar()
        return
    tqdm, look = optional("tqdm", "demo", "the progress bar needs"), _size()
    if "ipykernel" in sys.modules:
        with warnings.catch_warnings():  # without ipywidgets, tqdm warns and shows a text bar
            warnings.simplefilter("ignore")
            tqdm, look = optional("tqdm.auto", "demo", "the progress bar needs"), {}
    with tqdm.tqdm(total=total, desc=what, unit=unit, **look) as bar:
        yield bar


def _size() -> dict[str, int]:
    """The size of the terminal; 80 by 24 if the terminal reports 0 by 0, which would confuse tqdm."""
    size = shutil.get_terminal_size()
    return {"ncols": size.columns, "nrows": size.lines}
