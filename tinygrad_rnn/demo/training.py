"""Truncated backpropagation through time, for a given number of updates or seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..console import counted
from ..errors import DataError
from ..nn import cross_entropy
from ..optim import Adam, clip_grad_norm
from ..random import generator
from ..sequences import tbptt_chunks
from .model import CharModel, Codes
from .settings import Settings

__all__ = ["History", "check_length", "train"]


@dataclass
class History:
    """The course of a training: losses, time, and the reason why training ended.

    Attributes
    ----------
    bits : list of float
        The loss of each update, in bits per character.
    characters : int
        Number of characters that were read.
    seconds : float
    ended : str
        The reason: ``"done"``, ``"out of time"`` or ``"interrupted"``.
    """

    bits: list[float] = field(default_factory=list)
    characters: int = 0
    seconds: float = 0.0
    ended: str = "done"

    @property
    def recent(self) -> float:
        """The mean loss of the last updates, as the progress bar shows it."""
        last = self.bits[-50:]
        return sum(last) / len(last) if last else math.nan


def train(
    model: CharModel,
    codes: Codes,
    settings: Settings,
    progress: Callable[[History], None] = lambda history: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> History:
    """Train the model to predict each next code.

    Parameters
    ----------
    model : CharModel
    codes : ndarray of int
        The training part of the text.
    settings : Settings
    progress : callable, optional
        A function that is called after every update.
    interrupted : callable, optional
        A function that is called before every update; training ends when it returns True.

    Returns
    -------
    History

    Raises
    ------
    DataError
        If there are too few codes for a chunk.
    """
    check_length(len(codes), settings)
    optimizer = Adam(model.parameters(), lr=settings.rate)
    history = History()
    start = time.perf_counter()
    state = None
    for inputs, targets, first in _chunks(codes, settings):
        history.seconds = time.perf_counter() - start
        done, late = len(history.bits) >= settings.updates, history.seconds >= settings.seconds
        if done or late or interrupted():
            break
        used = max(len(history.bits) / settings.updates, history.seconds / settings.seconds)
        optimizer.lr = settings.rate * min(1.0, 2 * (1 - used))
        logits, after = model(inputs, None if first else state)
        loss = cross_entropy(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm(optimizer.parameters, settings.clip)
        optimizer.step()
        state = after.detach()  # the next chunk starts from this state, and its gradient stops here
        history.bits.append(loss.item() / math.log(2))
        history.characters += inputs.size
        progress(history)
    if len(history.bits) < settings.updates:
        history.ended = "interrupted" if interrupted() else "out of time"
    return history


def check_length(n: int, settings: Settings) -> None:
    """Raise if a training part of n characters does not fill one chunk.

    Examples
    --------
    >>> check_length(1000, Settings())
    Traceback (most recent call last):
        ...
    tinygrad_rnn.errors.DataError: the text is too short: its training part has 1,000 characters,
    but batch=32 rows of length=32 need 1025; give a longer text, or a smaller batch or length
    """
    needed = settings.batch * settings.length + 1
    if n < needed:
        raise DataError(
            f"the text is too short: its training part has {counted(n, 'character')}, but batch={settings.batch} rows of "
            f"length={settings.length} need {needed}; give a longer text, or a smaller batch or length"
        )


def _chunks(codes: Codes, settings: Settings) -> Iterator[tuple[Codes, Codes, bool]]:
    """Yield chunks without end, each with whether the chunk begins a pass; no state is carried over into a new pass.

    Every pass after the first starts at another character, so that the borders of chunks change.
    """
    shift = 0
    spare = len(codes) - settings.batch * settings.length
    while True:
        for i, (inputs, targets) in enumerate(tbptt_chunks(codes[shift:], settings.batch, settings.length)):
            yield inputs, targets, i == 0
        shift = int(generator().integers(min(settings.length, spare)))
