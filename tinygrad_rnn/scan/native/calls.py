"""Calls: operations outside the loop that have no C, for which a program calls NumPy."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ...graph.node import Node
from .places import CMemory, CPlaces, literal_of

__all__ = ["Calls", "array_at"]

Array: TypeAlias = npt.NDArray[Any]

FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_long, ctypes.c_long, ctypes.c_long)
"""``call(number, start, n)``: number of the operation, first step of a chunk, and number of its steps. 0 is success."""


class Calls:
    """Operations for which the C of one run calls back to NumPy.

    Parameters
    ----------
    nodes : sequence of Node
        The operations, by number.
    places : CPlaces
    arrays : mapping of Memory to numpy.ndarray
        Arrays of this run.

    Attributes
    ----------
    function : ctypes function
    error : Exception or None
        Error that a kernel has raised.
    """

    def __init__(self, nodes: Sequence[Node], places: CPlaces, arrays: Mapping[CMemory, Array]) -> None:
        self.error: Exception | None = None
        self._nodes, self._places, self._arrays = nodes, places, arrays
        self.function = FUNCTION(self._call)

    def _call(self, number: int, start: int, n: int) -> int:
        try:
            self._compute(self._nodes[number], start, n)
        except Exception as error:  # C cannot pass the error on
            self.error = error
            return 1
        return 0

    def _compute(self, node: Node, start: int, n: int) -> None:
        assert node.primitive is not None
        out, *values = (self._value(i, start, n) for i in (node, *node.inputs))
        for t in range(n) if self._steps(node) else (0,):
            inputs = [x[t] if self._steps(i) else x for x, i in zip(values, node.inputs, strict=True)]
            node.primitive.kernel(*inputs, out=out[t, ...] if self._steps(node) else out, **node.attributes)

    def _steps(self, node: Node) -> bool:
        """Whether a value has a row for each step."""
        return node in self._places and self._places[node].memory.over_time

    def _value(self, node: Node, start: int, n: int) -> Any:
        number = literal_of(node)
        if number is not None and node not in self._places:
            return np.broadcast_to(number.value, node.shape)
        memory = self._places[node].memory
        return array_at(self._places, node, self._arrays[memory], 0 if memory.kind == "chunk" else start, n)


def array_at(places: CPlaces, node: Node, array: Array, start: int, n: int) -> Array:
    """Array of a value, with a row for each of `n` steps if the value has rows.

    Parameters
    ----------
    places : CPlaces
    node : Node
    array : numpy.ndarray
        The memory in which the value lies.
    start : int
        The row of the first step.
    n : int
    """
    place, item = places[node], array.itemsize
    row = math.prod(place.memory.spec.shape)
    strides = tuple([item * stride for stride in place.strides])
    if not place.memory.over_time:
        return np.ndarray(node.shape, node.dtype, array, place.offset * item, strides)
    first = place.offset + (start + place.row) * row
    return np.ndarray((n, *node.shape), node.dtype, array, first * item, (item * row, *strides))
