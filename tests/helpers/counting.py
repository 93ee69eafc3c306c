"""Work as a count, which is the same on every machine, unlike time."""

import sys


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
