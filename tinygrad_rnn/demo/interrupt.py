"""Ctrl-C as a request to finish early."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupt"]

MESSAGE = b"\nStopping: the report and the model are still written. Ctrl-C once more quits at once.\n"


class Interrupt:
    """Handle Ctrl-C inside the block: the first sets `requested`, the second raises KeyboardInterrupt.

    Attributes
    ----------
    requested : bool

    Examples
    --------
    >>> with Interrupt() as interrupt:
    ...     interrupt.requested
    False
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: Any = None

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():  # only the main thread may set a handler
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        os.write(2, MESSAGE)  # print is not safe here: the signal may have come while something is printed
