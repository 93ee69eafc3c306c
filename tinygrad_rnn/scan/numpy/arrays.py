"""Arrays: the memory of one run of a program, and all views of it that the run needs."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ...cache import Kept
from ...graph.node import Node, Spec
from ...ops.axes import index_along
from ...ops.facts import facts_of
from ...ops.indexing import is_index_array
from ..work import size_of
from .program import Buffer, NumpyProgram

__all__ = ["Memory", "Needs", "array_index", "batchable", "leading"]

Array: TypeAlias = npt.NDArray[Any]

CHUNK_BYTES = 1 << 20
"""Arrays of all steps of a chunk should fit the second-level cache."""
CHUNK_ROWS = 256
"""Least number of rows for which a product over all steps of a chunk is worthwhile."""
FEW_ROWS = 16
"""Number of rows up to which a product is computed faster by vectors."""
TABLE = 1024
"""Number of steps up to which the views of each step are made only once, and kept."""
VIEW_BYTES = 160
"""Approximate bytes of a view, without the memory that it shows."""


Form: TypeAlias = Literal["", "T", "0"]
"""The form of an array: as it is, transposed, or as a number, which NumPy broadcasts at no cost."""


class Needs(NamedTuple):
    """The arrays and views that a program needs, for each chunk or for the whole run.

    Attributes
    ----------
    constant : list of (Node, Form)
        Arrays that all steps share.
    arrays : list of Node
        Arrays with one row for each step of a chunk.
    attributed : list of Node
        Operations whose attributes depend on the number of steps in a chunk.
    tables : list of (Node, Form)
        Arrays that a loop iterates over.
    slots : list of int
        Slots that carry a value from chunk to chunk.
    """

    constant: list[tuple[Node, Form]]
    arrays: list[Node]
    attributed: list[Node]
    tables: list[tuple[Node, Form]]
    slots: list[int]


class Memory:
    """The arrays of one run.

    Parameters
    ----------
    program : NumpyProgram
    needs : Needs
    steps : int
        Number of steps T.
    batch_last : bool
        Whether the batch, which is the first axis of each step's value, is the last axis in memory.
    """

    def __init__(self, program: NumpyProgram, needs: Needs, steps: int, batch_last: bool) -> None:
        self.program = program
        self._loop = program.schedule.loop
        self.steps = steps
        self.entry: Kept[Memory] | None = None
        self.batch_last = batch_last
        self.batch = max([n for b in program.buffers if b.extent != "once" for n in b.spec.shape[:1]], default=1)
        self.length = min(steps, _chunk(program, self.batch))
        self._arrays = [self._allocate(buffer) for buffer in program.buffers]
        self._views: dict[Any, Any] = {}
        self._residuals: dict[int, Array] = {}
        self.constant = [_formed(self._view(node, None), form) for node, form in needs.constant]
        bounds = [(start, min(start + self.length, steps)) for start in range(0, steps, max(1, self.length))]
        self.chunks = [self._chunk(needs, *pair) for pair in (bounds[::-1] if self._loop.reverse else bounds)]
        self._views.clear()

    @functools.cached_property
    def size(self) -> int:
        """The bytes of the arrays, and approximately those of the views."""
        views = sum(
            len(table) if isinstance(table, list) else 1 for chunk in self.chunks for part in chunk[2:] for table in part
        )
        return sum(array.nbytes for array in self._arrays) + VIEW_BYTES * views

    def _allocate(self, buffer: Buffer) -> Array:
        shape = buffer.spec.shape
        turned = self.batch_last and len(shape) > 1
        if buffer.extent == "once" and shape[:1] != (self.batch,) and self.batch < FEW_ROWS:
            turned = False  # for a matrix, since vectors are multiplied faster by its columns
        physical = (*shape[1:], *shape[:1]) if turned else shape
        rows = {"whole": (self.steps + buffer.carry,), "chunk": (self.length + buffer.carry,)}.get(buffer.extent, ())
        array = np.empty((*rows, *physical), buffer.spec.dtype)
        return np.moveaxis(array, -1, len(rows)) if turned else array

    def residual(self, index: int) -> Array:
        """The values at all steps of an output that stays in this memory."""
        found: Array | None = self._residuals.get(index)
        if found is None:  # all runs in this memory read the same view
            found = self._residuals[index] = self._view(self._loop.outputs[index].node, (0, self.steps))
        return found

    def _chunk(self, needs: Needs, start: int, stop: int) -> tuple[Any, ...]:
        span = (start, stop)
        arrays = [self._view(node, span) for node in needs.arrays]
        attributes = [leading(node, self.program, stop - start) for node in needs.attributed]
        tables = [self.table(self._view(node, span), form) for node, form in needs.tables]
        carried = [self._rows(self._loop.carry[i], span) for i in needs.slots]
        first, last = (-1, 0) if self._loop.reverse else (0, -1)
        firsts, lasts = [rows[first, ...] for rows in carried], [rows[last, ...] for rows in carried]
        return start, stop, arrays, attributes, tables, firsts, lasts

    def _rows(self, root: Node, span: tuple[int, int]) -> Array:
        """The rows of a value's memory for a chunk; a slot has one row more than there are steps."""
        number = self.program.number[root]
        array, buffer = self._arrays[number], self.program.buffers[number]
        start, stop = span if buffer.extent == "whole" else (0, span[1] - span[0])
        return array[start : stop + buffer.carry]

    def _view(self, node: Node, span: tuple[int, int] | None) -> Any:
        """The array of a node, with a row for each step of the span if the node has rows."""
        key = node, span
        if key not in self._views:
            self._views[key] = self._find(node, span)
        return self._views[key]

    def _find(self, node: Node, span: tuple[int, int] | None) -> Any:
        program = self.program
        kind, of, part, _ = program.storage[node]
        if kind == "view":
            assert node.primitive is not None
            attributes = node.attributes if span is None else leading(node, program, span[1] - span[0])
            return node.primitive.kernel(self._view(node.inputs[0], span), **attributes)
        if kind == "piece":
            assert of is not None and part is not None
            axis, start, stop = part
            return self._view(of, span)[index_along(axis, slice(start, stop))]
        if kind == "own":
            return self._arrays[program.number[node]] if span is None else self._rows(node, span)
        assert of is not None and span is not None
        rows = self._rows(of, span)
        return rows[:-1] if (kind == "before") != self._loop.reverse else rows[1:]

    def table(self, array: Array, form: Form = "") -> Any:
        """The views of each step, over which a loop iterates."""
        if self._loop.reverse:
            array = array[::-1]
        array = _formed(array, form, 1)
        if array.ndim == 1:
            return [array[i, ...] for i in range(len(array))]
        return list(array) if self.steps <= TABLE else array


def _formed(array: Array, form: Form, leading: int = 0) -> Array:
    if form == "0":
        return array.reshape(array.shape[:leading])
    return array.swapaxes(-1, -2) if form == "T" else array


def _chunk(program: NumpyProgram, batch: int) -> int:
    """The number of steps that are run together."""
    width = sum(size_of(buffer.spec) for buffer in program.buffers if buffer.extent in ("chunk", "whole"))
    return max(8, CHUNK_ROWS // max(1, batch), CHUNK_BYTES // max(1, width))


def leading(node: Node, program: NumpyProgram, steps: int) -> Mapping[str, Any]:
    """The attributes with which a node's kernel computes all steps at once."""
    primitive = node.primitive
    assert primitive is not None
    if primitive.leading is None or not program.over_time(node):
        return node.attributes
    return primitive.leading(node.attributes, [(steps, *i.shape) for i in node.inputs])


def array_index(node: Node) -> tuple[Any, ...] | None:
    """The index of a node that reads a value by integer arrays; None for any other node."""
    reads = facts_of(node).reads
    return node.attributes[reads] if reads is not None and len(node.inputs) > 1 else None


def batchable(node: Node, program: NumpyProgram) -> bool:
    """Whether one call of a node's kernel can compute all steps."""
    primitive, steps = node.primitive, 7
    assert primitive is not None
    if (index := array_index(node)) is not None:  # an index by arrays that differ from step to step
        table, *arrays = node.inputs
        first = all(map(is_index_array, index[: len(arrays)]))
        return first and not program.over_time(table)
    try:
        attributes = leading(node, program, steps)
        if attributes is NotImplemented:
            return False
        specs = [
            Spec((steps, *i.shape), i.dtype) if program.over_time(i) or primitive.leading is not None else i.spec
            for i in node.inputs
        ]
        return primitive.shape(*specs, **attributes).shape == (steps, *node.shape)
    except Exception:
        return False
