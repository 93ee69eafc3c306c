"""Threads: parts of a batch, each run in a thread of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

__all__ = ["Part", "parted", "run_together"]

_pool: list[ThreadPoolExecutor] = []


class Part(NamedTuple):
    """Some sequences of a batch.

    Attributes
    ----------
    first : int
    size : int
    """

    first: int
    size: int


def parted(batch: int, count: int) -> list[Part]:
    """The parts of a batch, as equal in size as possible.

    Examples
    --------
    >>> parted(5, 2)
    [Part(first=0, size=3), Part(first=3, size=2)]
    """
    starts = [-(-batch * k // count) for k in range(count + 1)]
    return [Part(start, stop - start) for start, stop in pairwise(starts)]


def run_together(calls: Sequence[Callable[[], int]]) -> list[int]:
    """Run functions in threads, the first one in this thread, and return their results.

    Raises
    ------
    Exception
        The error of a call, after all calls have ended.
    """
    if not _pool:
        _pool.append(ThreadPoolExecutor(max(4, os.cpu_count() or 1), "tinygrad_rnn"))
    others = [_pool[0].submit(call) for call in calls[1:]]
    try:
        first = calls[0]()
    finally:  # a thread that is still running writes into the arrays of this run
        errors = [other.exception() for other in others]
    for error in errors:
        if error is not None:
            raise error
    return [first, *[other.result() for other in others]]


if hasattr(os, "register_at_fork"):  # a forked process has none of the threads
    os.register_at_fork(after_in_child=_pool.clear)
