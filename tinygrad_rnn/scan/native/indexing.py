"""Indexing: the positions of the elements that an index with arrays reads, or adds to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...ops.indexing import IndexArray, is_index_array

__all__ = ["Indexed", "indexed"]


class Indexed(NamedTuple):
    """The elements of an array at an index.

    Attributes
    ----------
    strides : tuple of int
        The stride of each axis of the result; 0 for the axes of the index arrays.
    offset : int
        Position of the first element in the array.
    arrays : tuple of (IndexArray, int, int)
        For each index array: its placeholder, and the length and the stride of the axis that it indexes.
    first : int
        The first axis of the result that belongs to the index arrays.
    rank : int
        The number of axes that belong to the index arrays.
    """

    strides: tuple[int, ...]
    offset: int
    arrays: tuple[tuple[IndexArray, int, int], ...]
    first: int
    rank: int


def indexed(
    shape: tuple[int, ...], strides: tuple[int, ...], index: tuple[Any, ...], arrays: Sequence[tuple[int, ...]]
) -> Indexed:
    """The elements of an array with these strides at an index.

    Parameters
    ----------
    shape, strides : tuple of int
        Shape and strides of the array.
    index : tuple
        Template of the index; see :class:`IndexArray`.
    arrays : sequence of tuple of int
        The shapes of the index arrays.

    Examples
    --------
    >>> from tinygrad_rnn.ops.indexing import ARRAY
    >>> indexed((5, 4), (4, 1), (ARRAY, slice(1, 3)), [(2,)])
    Indexed(strides=(0, 1), offset=1, arrays=((array, 5, 4),), first=0, rank=1)
    """
    consumed = sum(part is not None and part is not Ellipsis for part in index)
    parts: list[Any] = []
    for part in (*index, *([] if Ellipsis in index else [Ellipsis])):
        parts += [slice(None)] * (len(shape) - consumed) if part is Ellipsis else [part]
    axis, offset = 0, 0
    found: list[int] = []
    pointed: list[tuple[IndexArray, int, int]] = []
    at: list[int] = []  # positions of index arrays, and of integers beside them
    first = 0
    for k, part in enumerate(parts):
        if part is None:
            found.append(0)
            continue
        n, stride = shape[axis], strides[axis]
        axis += 1
        if isinstance(part, slice):
            start, _, step = part.indices(n)
            offset += start * stride
            found.append(step * stride)
        else:
            if not at:
                first = len(found)
            at.append(k)
            if is_index_array(part):
                pointed.append((part, n, stride))
            else:
                offset += (part + n if part < 0 else part) * stride
    rank = len(np.broadcast_shapes(*arrays))
    if at and at[-1] - at[0] + 1 != len(at):  # if a slice lies between them, the axes of the index arrays come first
        first = 0
    return Indexed((*found[:first], *[0] * rank, *found[first:]), offset, tuple(pointed), first, rank)
