"""Ctrl-C while the command ``tinygrad-rnn`` is still being imported prints one line instead of a traceback.

The package imports this module before all others. It changes nothing in a process that only uses the library.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType

__all__ = ["is_command", "quit_at_once"]

MESSAGE = b"tinygrad-rnn: interrupted\n"


def is_command(called: list[str]) -> bool:
    """Whether a process was started as the command, by its name or as ``python -m tinygrad_rnn``.

    Examples
    --------
    >>> is_command(["python", "-X", "dev", "-m", "tinygrad_rnn", "draw"]), is_command(["python", "bin/tinygrad-rnn"])
    (True, True)
    >>> is_command(["python", "train.py"]), is_command(["python", "-m", "pytest", "tinygrad_rnn"])
    (False, False)
    """
    options = called[1 : called.index("-m") + 2] if "-m" in called else called[1:2]
    return options[-2:] == ["-m", "tinygrad_rnn"] or (len(options) == 1 and Path(options[0]).stem == "tinygrad-rnn")


def quit_at_once(number: int, frame: FrameType | None) -> None:
    """Handle Ctrl-C before the command has begun, or after it has finished."""
    os.write(2, MESSAGE)
    os._exit(130)


if is_command(sys.orig_argv) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, quit_at_once)  # `main` installs its own handler later
