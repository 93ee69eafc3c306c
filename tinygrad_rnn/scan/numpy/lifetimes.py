"""Lifetimes: when each memory is needed, and which values may share a memory."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

from ...graph.node import Node
from ..loop import is_ufunc
from .program import Buffer, Call, Copy, Extent, Storage, root_of

__all__ = ["Lifetime", "lifetimes", "shared"]


class Lifetime(NamedTuple):
    """The moments at which a value's memory is first written and last read.

    Call number i reads at moment 2i. It writes at 2i + 1 if it works element by element: its
    result may then overwrite an operand that nothing reads later. Any other call writes at 2i.
    """

    born: float
    last: float


def lifetimes(
    once: Sequence[Call],
    stages: Sequence[Sequence[Call]],
    storage: dict[Node, Storage],
    extents: Mapping[Node, Extent],
    kept: Iterable[Node],
) -> dict[Node, Lifetime]:
    """The lifetime of each value that has memory of its own, and of each slot.

    Parameters
    ----------
    once : sequence of Call
    stages : sequence of sequence of Call
        The calls of each stage. Odd stages run step by step: arrays of all steps are then read until the last step.
    storage : dict of Node to Storage
    extents : mapping of Node to Extent
        The extent of each value that has memory of its own.
    kept : iterable of Node
        Values that are read after the last call.
    """
    born: dict[Node, float] = {}
    last: dict[Node, float] = {}
    start = 0
    for stage, calls in enumerate([once, *stages], -1):
        in_loop = stage % 2 and stage > 0
        for i, call in enumerate(calls, start):
            target, operands = (call.target, (call.source,)) if isinstance(call, Copy) else (call, call.inputs)
            overlays = not isinstance(call, Copy) and is_ufunc(call)
            for node in (target, *operands):
                root = root_of(storage, node)
                if root is None:
                    continue
                until = start + len(calls) - 1 if in_loop and extents[root] != "step" else i
                last[root] = max(last.get(root, 0), 2 * until + (node is target))
                if node is target:
                    born.setdefault(root, 2 * i + overlays)
        start += len(calls)
    for node in kept:
        if (root := root_of(storage, node)) is not None:
            last[root] = math.inf
    return {root: Lifetime(born.get(root, 0), last.get(root, math.inf)) for root in extents}


def shared(
    lives: Mapping[Node, Lifetime], storage: Mapping[Node, Storage], extents: Mapping[Node, Extent]
) -> tuple[dict[Node, int], list[Buffer]]:
    """The number of each value's buffer, and the buffers: values of one shape share one if their lifetimes do not overlap.

    Parameters
    ----------
    lives : mapping of Node to Lifetime
    storage : mapping of Node to Storage
    extents : mapping of Node to Extent
    """
    number: dict[Node, int] = {}
    buffers: list[Buffer] = []
    alike: dict[Hashable, dict[int, float]] = {}  # for buffers of each shape, the moment of the last read
    for node, life in sorted(lives.items(), key=lambda pair: pair[1].born):
        buffer = Buffer(node.spec, extents[node], storage[node].kind == "before")
        alone = buffer.carry or buffer.extent in ("once", "whole")
        ends = alike.setdefault(node if alone else buffer, {})
        free = [k for k, end in ends.items() if end < life.born]
        if not free:
            free = [len(buffers)]
            buffers.append(buffer)
        number[node] = max(free, key=lambda k: ends.get(k, 0))
        ends[number[node]] = life.last
    return number, buffers
