"""The progress of training, as a bar or as lines."""

from __future__ import annotations

import contextlib
import sys
from types import TracebackType
from typing import Any

from ..console import progress_bar
from ..extras import optional
from .training import History

__all__ = ["Progress"]


class Progress:
    """A progress bar on a terminal or in a notebook; elsewhere, such as in a log, a line after each tenth of the updates.

    Parameters
    ----------
    updates : int

    Raises
    ------
    MissingExtraError
        If tqdm is not installed.
    """

    lines = 10

    def __init__(self, updates: int) -> None:
        optional("tqdm", "demo", "the progress bar needs")
        self.updates = updates
        self.live = "ipykernel" in sys.modules or sys.stderr.isatty()
        self._bar: Any = None
        self._exits = contextlib.ExitStack()

    def __enter__(self) -> Progress:
        self._bar = self._exits.enter_context(progress_bar(self.updates, "training", self.live, " updates"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._exits.close()

    def __call__(self, history: History) -> None:
        """Show the progress after an update; a callback of :func:`train`."""
        done = len(history.bits)
        if self.live:
            self._bar.set_postfix_str(f"{history.recent:.2f} bits/char", refresh=False)
            self._bar.update()
        elif done % max(1, self.updates // self.lines) == 0 or done == self.updates:
            print(f"training {done}/{self.updates}: {history.recent:.2f} bits/char", file=sys.stderr, flush=True)
