"""Program: a loop scheduled onto buffers. It is data, which more than one backend can run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ..graph.node import Node, Spec
from .loop import Loop
from .partition import Partition
from .time_sums import TimeSum

__all__ = ["Buffer", "Copy", "Kernel", "Program", "Section", "Storage", "is_elementwise", "is_view", "root"]

Extent: TypeAlias = Literal["once", "step", "chunk", "whole"]


class Buffer:
    """Memory for one value.

    Attributes
    ----------
    spec : Spec
        Of the value at one step.
    extent : {"once", "step", "chunk", "whole"}
        One array for all steps; one that every step overwrites; one with a row for each
        step of a chunk; or one with a row for each step of the sequence.
    carry : bool
        Whether it has one row more: a slot's initial value, then what each step carries on.
    number : int
        The memory that it stands in: buffers that are never needed at one time share it.
    """

    __slots__ = ("spec", "extent", "carry", "number")

    def __init__(self, spec: Spec, extent: Extent, carry: bool = False) -> None:
        self.spec = spec
        self.extent = extent
        self.carry = carry
        self.number = -1


@dataclass(frozen=True)
class Storage:
    """Where a value is.

    Attributes
    ----------
    kind : str
        "buffer": in one of its own. "before", "after": in the rows of a slot's buffer that
        hold what steps start from, or what they carry on. "piece": in a part of the storage of
        another value, `of`, which it is a piece of. "view": read through the storage of its
        input. "input": in the array that the caller gave. "result": in one that is returned.
        "number": in the code.
    buffer : Buffer, optional
    of : Node, optional
    part : tuple of (int, int, int), optional
        Negative axis, start and stop within `of`.
    index : int
        Which input, or which output.
    """

    kind: Literal["buffer", "before", "after", "piece", "view", "input", "result", "number"]
    buffer: Buffer | None = None
    of: Node | None = None
    part: tuple[int, int, int] | None = None
    index: int = -1


@dataclass(frozen=True)
class Kernel:
    """Run a node's kernel, into its storage."""

    node: Node


@dataclass(frozen=True)
class Copy:
    """Copy a value into storage of another node's shape."""

    source: Node
    into: Storage
    like: Node


@dataclass
class Section:
    """Calls that run once, for all steps of a chunk at once, or step by step."""

    kind: Literal["once", "batched", "loop", "after"]
    calls: list[Kernel | Copy] = field(default_factory=list)


@dataclass
class Program:
    """What a backend runs.

    Attributes
    ----------
    loop : Loop
    partition : Partition
    fixed : Section
        Once for all runs: what is made of numbers alone.
    once : Section
        Before everything, in each run.
    sections : list of Section
        For each chunk of steps, in order.
    time_sums : list of TimeSum
        Sums over time, added up at the end of each chunk.
    after : Section
        What is made of the sums over time.
    sums : list of Node
        The nodes of `after` that are the "sum" outputs, in order.
    storage : dict of Node to Storage
    buffers : list of Buffer
        One for each number.
    nodes, after_nodes : list of Node
        All that is computed, before the sums over time and after.
    """

    loop: Loop
    partition: Partition
    fixed: Section
    once: Section
    sections: list[Section]
    time_sums: list[TimeSum]
    after: Section
    sums: list[Node]
    storage: dict[Node, Storage]
    buffers: list[Buffer]
    nodes: list[Node]
    after_nodes: list[Node]

    def stand_in(self, copy: Copy) -> Node:
        """A node whose storage is where a copy goes."""
        if self.storage.get(copy.like) == copy.into:
            return copy.like
        for node, storage in self.storage.items():
            if storage == copy.into and node.primitive is None and node not in self.loop.sequences:
                return node
        node = Node(None, (), {}, copy.like.spec)
        node.name = copy.source.name
        self.storage[node] = copy.into
        if self.over_time(copy.into.of or copy.like):
            self.partition.stage[node] = 0
        return node

    def root(self, node: Node) -> Buffer | None:
        """The buffer that a value lies in, through pieces and views."""
        return root(self.storage, node)

    def over_time(self, node: Node) -> bool:
        """Whether there is an array with a row for each step."""
        return not self.partition.is_invariant(node)


def root(storage: dict[Node, Storage], node: Node) -> Buffer | None:
    """The buffer that a value lies in, through pieces and views; None for one in another's memory."""
    while True:
        found = storage[node]
        if found.kind == "piece":
            assert found.of is not None
            node = found.of
        elif found.kind == "view":
            node = node.inputs[0]
        else:
            return found.buffer


def is_view(node: Node) -> bool:
    """Whether its value is a view of its first input's, in any layout."""
    primitive = node.primitive
    if primitive is None or primitive.view is None or node.shape == ():
        return False
    return primitive.view(node.attributes, node.inputs[0].shape)


def is_elementwise(node: Node) -> bool:
    """Whether element by element, so that it may overwrite an operand."""
    ufunc = node.primitive.ufunc if node.primitive is not None else None
    return ufunc is not None and ufunc.signature is None
