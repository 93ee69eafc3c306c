"""Work and memory as counts, which are the same on every machine; times are not."""

import cProfile
import tracemalloc
from collections import Counter

import numpy as np

LARGE = 2**20
"""Bytes. Python objects of this library are smaller. Tables of the interpreter are larger, such as the table of interned
strings, which doubles at some moment of a long process."""


def allocated():
    """Number of bytes allocated since ``tracemalloc.start()``: arrays, and Python objects that are not large."""
    traces = tracemalloc.take_snapshot().traces
    return sum(trace.size for trace in traces if trace.domain == np.lib.tracemalloc_domain or trace.size < LARGE)


def calls_of(function):
    """The Python functions that are called in the block, by their code, with the number of calls."""
    profile = cProfile.Profile(builtins=False)
    profile.runcall(function)
    found = Counter()
    for entry in profile.getstats():  # equal functions at two places have equal code
        found[entry.code] += entry.callcount
    return found


def calls(function):
    """The number of functions that are called in the block."""
    return calls_of(function).total()
