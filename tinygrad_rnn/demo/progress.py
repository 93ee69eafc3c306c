"""The progress bar of training."""

from __future__ import annotations

import shutil
import sys
import warnings
from types import TracebackType
from typing import Any, TextIO

from ..extras import optional
from .training import History

__all__ = ["Progress"]


class Progress:
    """A progress bar on a terminal or in a notebook; elsewhere, such as in a log, a line after each tenth of the updates.

    Parameters
    ----------
    updates : int
    stream : text file, optional
        The output stream; if not given, standard error.

    Raises
    ------
    MissingExtraError
        If tqdm is not installed.
    """

    lines = 10

    def __init__(self, updates: int, stream: TextIO | None = None) -> None:
        self.in_notebook = stream is None and "ipykernel" in sys.modules
        tqdm = optional("tqdm", "demo", "the progress bar needs")
        if self.in_notebook:
            with warnings.catch_warnings():  # without ipywidgets, tqdm warns and shows a text bar
                warnings.simplefilter("ignore")
                tqdm = optional("tqdm.auto", "demo", "the progress bar needs")
        self._make: Any = tqdm.tqdm
        self._bar: Any = None
        self.updates = updates
        self.stream = stream or sys.stderr
        self.live = self.in_notebook or self.stream.isatty()

    def __enter__(self) -> Progress:
        if self.live:
            look: dict[str, Any] = {} if self.in_notebook else {"file": self.stream, **_size()}
            self._bar = self._make(total=self.updates, desc="training", unit=" updates", **look)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, history: History) -> None:
        """Show the progress after an update; a callback of :func:`train`."""
        done = len(history.bits)
        if self._bar is not None:
            self._bar.set_postfix_str(f"{history.recent:.2f} bits/char", refresh=False)
            self._bar.update()
        elif done % max(1, self.updates // self.lines) == 0 or done == self.updates:
            print(f"training {done}/{self.updates}: {history.recent:.2f} bits/char", file=self.stream, flush=True)


def _size() -> dict[str, int]:
    """The size of the terminal; 80 by 24 if the terminal reports 0 by 0, which would confuse tqdm."""
    size = shutil.get_terminal_size()
    return {"ncols": size.columns, "nrows": size.lines}
