"""The NumPy program: where values are stored, and which calls are made in which order.

A program is data: :class:`SourceWriter` writes source from it, and :class:`Memory` makes arrays from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from ...graph.node import Node, Spec
from ..schedule import Schedule

__all__ = ["Buffer", "Call", "Copy", "Extent", "NumpyProgram", "Storage", "root_of"]

Extent: TypeAlias = Literal["once", "step", "chunk", "whole"]
"""The rows of a buffer: one for all steps; one that every step overwrites; one for each step of a chunk, or of the sequence."""


class Buffer(NamedTuple):
    """Memory of one value, or of several values that are never needed at the same time.

    Attributes
    ----------
    spec : Spec
        The value at one step.
    extent : {"once", "step", "chunk", "whole"}
    carry : bool
        Whether there is one additional row: a slot's initial value, and then the next carry of each step.
    """

    spec: Spec
    extent: Extent
    carry: bool


class Storage(NamedTuple):
    """The place where a value is stored.

    Attributes
    ----------
    kind : str
        "own": memory of the value's own, which values with other lifetimes may share.
        "before", "after": the rows of slot `of` that hold the values before, or after, each step.
        "piece": a slice of the value `of`. "view": a view of the first input's storage.
        "input": the array that the caller gave. "result": an array that is returned.
        "fresh": a new array in each run. "number": written in the source.
    of : Node, optional
    part : tuple of (int, int, int), optional
        Negative axis, start and stop of a slice.
    position : int
        Index of the input or of the output.
    """

    kind: Literal["own", "before", "after", "piece", "view", "input", "result", "fresh", "number"]
    of: Node | None = None
    part: tuple[int, int, int] | None = None
    position: int = -1


class Copy(NamedTuple):
    """A value that is copied into the storage of another node, which may exist for this copy alone."""

    source: Node
    target: Node


Call: TypeAlias = Node | Copy
"""One call of a program: a node's kernel, or a copy."""


@dataclass(frozen=True, eq=False)
class NumpyProgram:
    """A schedule with storage for each value, and an order of calls.

    Attributes
    ----------
    schedule : Schedule
    storage : dict of Node to Storage
    buffers : list of Buffer
    number : dict of Node to int
        The buffer of each value with memory of its own, and of each slot.
    fixed : list of Call
        Calls that are made once for all runs: they compute values from numbers alone.
    once : list of Call
        Calls at the beginning of each run.
    stages : list of list of Call
        Calls of each stage, for each chunk of steps in order. Odd stages run step by step.
    """

    schedule: Schedule
    storage: dict[Node, Storage]
    buffers: list[Buffer]
    number: dict[Node, int]
    fixed: list[Call]
    once: list[Call]
    stages: list[list[Call]]

    def buffer(self, node: Node) -> Buffer | None:
        """The buffer of a value, found through pieces and views; None for a value in the caller's memory."""
        root = root_of(self.storage, node)
        return None if root is None else self.buffers[self.number[root]]

    def over_time(self, node: Node) -> bool:
        """Whether a value has an array with a row for each step."""
        if node in self.schedule.partition.stage:
            return not self.schedule.partition.is_invariant(node)
        storage = self.storage.get(node)  # for the target of a copy, or for a node that is made of sums over time
        if storage is not None and storage.kind == "piece" and storage.of is not None:
            return self.over_time(storage.of)
        return storage is not None and storage.kind == "after"


def root_of(storage: dict[Node, Storage], node: Node) -> Node | None:
    """The value whose memory holds a value, found through pieces and views; None for a value in the caller's memory."""
    while True:
        found = storage[node]
        match found.kind:
            case "view":
                node = node.inputs[0]
            case "piece" | "before" | "after":
                assert found.of is not None
                if found.kind != "piece":
                    return found.of
                node = found.of
            case "own":
                return node
            case _:
                return None
