"""Memory: the arrays of one run of a program, and all views of them that the run needs."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ..graph.node import Node, Spec
from ..ops.core import registry
from ..ops.shapes import index_along, is_index_array
from .program import Buffer, Program, Storage

__all__ = ["Memory", "Needs", "batchable", "leading"]

Array: TypeAlias = npt.NDArray[Any]

_GETITEM = registry["getitem"]

CHUNK_BYTES = 1 << 20
"""Arrays of all steps of a chunk should fit the second-level cache."""
CHUNK_ROWS = 256
"""Rows that a product over all steps of a chunk needs to be worth it."""
FEW_ROWS = 16
"""Up to how many rows a product is rather one of vectors."""
TABLE = 1024
"""Steps up to which the views of each step are made once and kept."""
VIEW_BYTES = 160
"""About how much a view takes, beside the memory that it is one of."""


Form: TypeAlias = Literal["", "T", "0"]
"""How an array is looked at: as it is, transposed, or as a number, which meets any shape at no cost."""


class Needs(NamedTuple):
    """What a written program asks of its memory.

    Attributes
    ----------
    constant : list of (Node, Form)
        Arrays that all steps share.
    arrays : list of Node
        Arrays with a row for each step of a chunk.
    attributed : list of Node
        Operations whose attributes depend on how many steps a chunk has.
    tables : list of (Node, Form)
        What a loop goes over.
    slots : list of int
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
    program : Program
    needs : Needs
    steps : int
        T.
    batch_last : bool
        Whether the batch, the first axis of each step's value, is the last one in memory.
    """

    def __init__(self, program: Program, needs: Needs, steps: int, batch_last: bool) -> None:
        self.program = program
        self.steps = steps
        self.batch_last = batch_last
        self.batch = max([n for b in program.buffers if b.extent != "once" for n in b.spec.shape[:1]], default=1)
        self.length = min(steps, _chunk(program, self.batch))
        self._arrays = [self._allocate(buffer) for buffer in program.buffers]
        self._views: dict[Any, Any] = {}
        self.constant = [_formed(self._view(node, None), form) for node, form in needs.constant]
        bounds = [(start, min(start + self.length, steps)) for start in range(0, steps, max(1, self.length))]
        reverse = program.loop.reverse
        self.chunks = [self._chunk(needs, *pair) for pair in (bounds[::-1] if reverse else bounds)]
        self._views.clear()

    @functools.cached_property
    def size(self) -> int:
        """Bytes, of the arrays and about those of the views."""
        views = sum(
            len(table) if isinstance(table, list) else 1 for chunk in self.chunks for part in chunk[2:] for table in part
        )
        return sum(array.nbytes for array in self._arrays) + VIEW_BYTES * views

    def _allocate(self, buffer: Buffer) -> Array:
        shape = buffer.spec.shape
        turned = self.batch_last and len(shape) > 1
        if buffer.extent == "once" and shape[:1] != (self.batch,) and self.batch < FEW_ROWS:
            turned = False  # a matrix: vectors are multiplied faster by its columns
        physical = (*shape[1:], *shape[:1]) if turned else shape
        rows = {"whole": (self.steps + buffer.carry,), "chunk": (self.length + buffer.carry,)}.get(buffer.extent, ())
        array = np.empty((*rows, *physical), buffer.spec.dtype)
        return np.moveaxis(array, -1, len(rows)) if turned else array

    def residual(self, node: Node) -> Array:
        """The values of a node at all steps."""
        found: Array = self._view(node, (0, self.steps))
        return found

    def _chunk(self, needs: Needs, start: int, stop: int) -> tuple[Any, ...]:
        span = (start, stop)
        arrays = [self._view(node, span) for node in needs.arrays]
        attributes = [leading(node, self.program, stop - start) for node in needs.attributed]
        tables = [self.table(self._view(node, span), form) for node, form in needs.tables]
        forward = not self.program.loop.reverse
        firsts, lasts = [], []
        for i in needs.slots:
            leaf = self.program.loop.carry[i]
            rows = self._rows(self.program.storage[leaf].buffer, span)
            ends = rows[0, ...], rows[-1, ...]
            firsts.append(ends[0] if forward else ends[1])
            lasts.append(ends[1] if forward else ends[0])
        return start, stop, arrays, attributes, tables, firsts, lasts

    def _rows(self, buffer: Buffer | None, span: tuple[int, int]) -> Array:
        """A slot's rows for a chunk: one more than steps."""
        assert buffer is not None
        array = self._arrays[buffer.number]
        start, stop = span
        return array[start : stop + 1] if buffer.extent == "whole" else array[: stop - start + 1]

    def _view(self, node: Node, span: tuple[int, int] | None) -> Any:
        """A node's array, with a row for each step of the span if it is not None."""
        key = node, span
        if key not in self._views:
            self._views[key] = self._find(node, span)
        return self._views[key]

    def _find(self, node: Node, span: tuple[int, int] | None) -> Any:
        program = self.program
        storage = program.storage[node]
        if storage.kind == "view":
            (source, *_) = node.inputs
            attributes = node.attributes if span is None else leading(node, program, span[1] - span[0])
            return node.primitive.kernel(self._view(source, span), **attributes)  # type: ignore[union-attr]
        return self._at(storage, span)

    def _at(self, storage: Storage, span: tuple[int, int] | None) -> Array:
        if storage.kind == "piece":
            assert storage.of is not None and storage.part is not None
            axis, start, stop = storage.part
            whole: Array = self._view(storage.of, span)
            return whole[index_along(axis, slice(start, stop))]
        assert storage.buffer is not None
        if storage.kind in ("before", "after"):
            assert span is not None
            rows = self._rows(storage.buffer, span)
            earlier = (storage.kind == "before") != self.program.loop.reverse
            return rows[:-1] if earlier else rows[1:]
        array = self._arrays[storage.buffer.number]
        if span is None:
            return array
        return array[slice(*span)] if storage.buffer.extent == "whole" else array[: span[1] - span[0]]

    def table(self, array: Array, form: Form = "") -> Any:
        """What a loop iterates over: the views of each step."""
        if self.program.loop.reverse:
            array = array[::-1]
        array = _formed(array, form, 1)
        if array.ndim == 1:
            return [array[i, ...] for i in range(len(array))]
        return list(array) if self.steps <= TABLE else array


def _formed(array: Array, form: Form, leading: int = 0) -> Array:
    if form == "0":
        return array.reshape(array.shape[:leading])
    return array.swapaxes(-1, -2) if form == "T" else array


def _chunk(program: Program, batch: int) -> int:
    """How many steps go together."""
    widths = [b.spec.dtype.itemsize * int(np.prod(b.spec.shape)) for b in program.buffers if b.extent in ("chunk", "whole")]
    return max(8, CHUNK_ROWS // max(1, batch), CHUNK_BYTES // max(1, sum(widths)))


def leading(node: Node, program: Program, steps: int) -> Mapping[str, Any]:
    """The attributes under which a node's operation is done for all steps at once."""
    primitive = node.primitive
    assert primitive is not None
    if primitive.leading is None or not program.over_time(node):
        return node.attributes
    return primitive.leading(node.attributes, [(steps, *i.shape) for i in node.inputs])


def batchable(node: Node, program: Program) -> bool:
    """Whether one call of the kernel can do all steps."""
    primitive, steps = node.primitive, 7
    assert primitive is not None
    if primitive is _GETITEM and len(node.inputs) > 1:  # read by arrays of all steps
        table, *arrays = node.inputs
        index = node.attributes["index"]
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
