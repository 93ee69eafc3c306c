"""Work and memory as counts, which are the same on every machine, unlike time."""

import sys
import tracemalloc

import numpy as np

LARGE = 2**20
"""Bytes. Python objects of this library are smaller. Tables of the interpreter are larger, such as the table of interned
strings, which doubles at some moment of a long process."""


def allocated():
    """How many bytes are allocated since ``tracemalloc.start()``: arrays, and Python objects that are not large."""
    traces = tracemalloc.take_snapshot().traces
    return sum(trace.size for trace in traces if trace.domain == np.lib.tracemalloc_domain or trace.size < LARGE)


def calls(function):
    """How many functions are called in it."""
    count = 0

    def called(frame, event, argument):
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count
