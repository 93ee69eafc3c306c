"""Layout: the order of the axes of a step's values in memory."""

from __future__ import annotations

import math

from ..canonical import slice_of
from ..loop import Loop, is_ufunc
from ..partition import partition_of

__all__ = ["batch_last"]

WIDE = 512
"""The number of features from which on rows are long enough for NumPy, and products are faster on rows."""


def batch_last(loop: Loop) -> bool:
    """Whether the batch should be the last axis in memory, rather than the features.

    NumPy runs one inner loop over contiguous memory, and many over any other memory. With the
    batch last, gates, which are slices of features, are contiguous. With the features
    last, values that have one number for each row of the batch can be combined with whole rows. The
    layout with fewer inner loops is better.
    """
    if any(math.prod(leaf.shape[1:]) >= WIDE for leaf in loop.carry):
        return False
    if all(leaf.shape[:1] == (1,) for leaf in loop.carry):
        return True  # one row has the same layout either way, and products are transposed to the faster side
    partition = partition_of(loop)
    if_last = if_first = 0
    for node in partition.nodes:
        if partition.is_invariant(node) or not is_ufunc(node) or len(node.shape) < 2:
            continue
        rows, columns = node.shape[0], node.shape[-1]
        known = [i for i in node.inputs if i.shape and not partition.is_invariant(i)]
        if any(i.shape[-1] == 1 != columns for i in known):
            if_last += columns
        if any((location := slice_of(i)) is not None and location[0] == -1 for i in known):
            if_first += rows
    return if_last <= if_first
