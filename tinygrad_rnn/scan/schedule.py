"""Scheduling: storage for all values of a loop, an order for its calls, and memory that is shared."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..graph.node import Node, ancestors
from ..ops.core import registry
from .canonical import slice_of
from .loop import Loop, body, is_scalar_constant
from .partition import Partition
from .program import Buffer, Copy, Kernel, Program, Section, Storage, is_elementwise, is_view, root
from .time_sums import TimeSums

__all__ = ["schedule"]

_CONCATENATE, _BROADCAST = registry["concatenate"], registry["broadcast_to"]


def schedule(loop: Loop) -> Program:
    """Find storage for all values, and an order."""
    return _Scheduler(loop).program()


WORTH_A_TABLE = 1024
"""Bytes of a value from which on it is cheaper to make a view of it at each step than to copy it."""


def _bytes(node: Node) -> int:
    return node.dtype.itemsize * int(np.prod(node.shape))


class _Scheduler:
    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.partition = Partition(loop)
        self.slot = {leaf: i for i, leaf in enumerate(loop.carry)}
        self.storage: dict[Node, Storage] = {}
        time_sums = TimeSums(self.partition)
        self.sums = [time_sums.of(output.node) for output in loop.outputs if output.kind == "sum"]
        self.time_sums = time_sums.found
        self.after = ancestors(self.sums)
        self.live, self.nodes = self._needed()
        self.at_all_steps = self._needed_at_all_steps()
        self._over: set[Node] = set()
        self._readers: dict[Node, list[Node]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for i in node.inputs:
                self._readers[i].append(node)
        for slot in self.live:  # a slot reads what it carries on
            self._readers[loop.next_carry[slot]].append(loop.carry[slot])

    def _needed(self) -> tuple[list[int], list[Node]]:
        """The slots, and the nodes, that are really computed."""
        partition = self.partition
        known = set(partition.nodes)
        roots = [output.node for output in self.loop.outputs if output.kind != "sum"]
        roots += [node for time_sum in self.time_sums for node in time_sum.reads]
        roots += [node for node in self.after if node in known and partition.is_invariant(node)]
        found = body(self.loop, roots)
        keep = set(found)
        return [i for i in partition.live if self.loop.carry[i] in keep], found

    def _needed_at_all_steps(self) -> set[Node]:
        """Core values that are read outside their own loop."""
        partition = self.partition
        wanted = {output.node for output in self.loop.outputs if output.kind == "stack"}
        wanted.update(node for time_sum in self.time_sums for node in time_sum.reads)
        for node in self.nodes:
            wanted.update(i for i in node.inputs if partition.is_sequential(i) and partition.stage[i] != partition.stage[node])
        for i in self.live:
            after = self.loop.next_carry[i]
            if i not in partition.cycle or (
                partition.is_sequential(after) and partition.stage[after] != partition.stage[self.loop.carry[i]]
            ):
                wanted.add(after)
        return wanted

    def program(self) -> Program:
        self._place_leaves()
        copies = self._place_slots()
        self._place_joins()
        once, sections = self._sections(copies)
        self._place_rest()
        self._extend()
        known = set(self.nodes)
        leaves = {time_sum.leaf for time_sum in self.time_sums}
        after = [Kernel(node) for node in self.after if node not in known and node not in leaves and node.primitive is not None]
        buffers = self._share([once, *sections])
        fixed = Section("once", [call for call in once.calls if _reads(call) <= self.numbers])
        once = Section("once", [call for call in once.calls if not _reads(call) <= self.numbers])
        return Program(
            self.loop,
            self.partition,
            fixed,
            once,
            sections,
            self.time_sums,
            Section("after", list(after)),
            self.sums,
            self.storage,
            buffers,
            self.nodes,
            self.after,
        )

    # -- storage ---------------------------------------------------------------------------

    @functools.cached_property
    def numbers(self) -> set[Node]:
        """What is made of numbers alone."""
        found: set[Node] = set()
        for node in self.nodes:
            if is_scalar_constant(node) or (node.primitive is not None and found.issuperset(node.inputs)):
                found.add(node)
        return found

    def _place_leaves(self) -> None:
        inputs = (*self.loop.sequences, *self.loop.carry, *self.loop.consts)
        for index, node in enumerate(inputs):
            if node not in self.slot:
                self.storage[node] = Storage("input", index=index)
        core = [node for node in self.nodes if node.primitive is not None and self.partition.is_sequential(node)]
        in_loops = {_seen(i) for node in core for i in node.inputs}
        carried = {self.loop.next_carry[i] for i in self.live}
        read = [x for x in self.loop.sequences if x in in_loops or (x in carried and x in self._after_of_cycles())]
        self.copied = [x for x in read if x not in self.loop.residuals or _bytes(x) < WORTH_A_TABLE]
        for node in self.copied:  # a loop reads it step by step, in the layout of all else
            self.storage[node] = Storage("buffer", Buffer(node.spec, "chunk"))
        for node in (*self.nodes, *self.after):
            if is_scalar_constant(node):
                self.storage[node] = Storage("number")

    def _after_of_cycles(self) -> set[Node]:
        return {self.loop.next_carry[i] for i in self.live if i in self.partition.cycle}

    def _place_slots(self) -> dict[int, list[Copy]]:
        """A slot's next value is made where the slot is kept, or copied there."""
        copies: dict[int, list[Copy]] = {}
        partition = self.partition
        for i in self.live:
            state, after = self.loop.carry[i], self.loop.next_carry[i]
            buffer = Buffer(state.spec, "chunk", carry=True)
            self.storage[state] = Storage("before", buffer)
            storage = Storage("after", buffer)
            computed = after.primitive is not None and not is_view(after) and not partition.is_invariant(after)
            stage = partition.stage[state] if i in partition.cycle else max(0, partition.stage[after])
            same = partition.stage[after] == stage or (i not in partition.cycle)
            if computed and same and after not in self.storage and after.spec == state.spec:
                self.storage[after] = storage
            else:
                copies.setdefault(stage + (stage % 2 if i not in partition.cycle else 0), []).append(
                    Copy(after, storage, state)
                )
        return copies

    def _place_joins(self) -> None:
        """The pieces of a concatenation are made in their place in it."""
        partition = self.partition
        for join in reversed(self.nodes):
            if join.primitive is not _CONCATENATE:
                continue
            for piece, storage in _pieces(join):
                free = piece not in self.storage and piece.primitive is not None and not is_view(piece)
                if free and piece.dtype == join.dtype and partition.stage[piece] == partition.stage[join]:
                    self.storage[piece] = storage

    def _place_rest(self) -> None:
        for node in self.nodes:
            if node in self.storage:
                continue
            if is_view(node) and not self._is_spread(node):
                self.storage[node] = Storage("view")
            elif (result := self._returned(node)) is not None:
                self.storage[node] = result
            elif (over := self._overwritten(node)) is not None:
                self.storage[node] = over
            elif self.partition.is_invariant(node):
                self.storage[node] = Storage("buffer", Buffer(node.spec, "once"))
            else:
                in_loop = self.partition.is_sequential(node)
                self.storage[node] = Storage("buffer", Buffer(node.spec, "step" if in_loop else "chunk"))
        for node in self.after:
            if node not in self.storage:
                self.storage[node] = Storage("view" if is_view(node) else "buffer", None)

    def _is_spread(self, node: Node) -> bool:
        """Whether it is broadcast once, so that it need not be at every step."""
        partition = self.partition
        readers = self._readers[node]
        return (
            node.primitive is _BROADCAST
            and partition.is_invariant(node)
            and any(not partition.is_invariant(i) for i in readers)
        )

    def _returned(self, node: Node) -> Storage | None:
        """The array of a result, for what is computed for all steps at once and not read in a loop."""
        partition = self.partition
        if (
            partition.is_sequential(node)
            or partition.is_invariant(node)
            or node.primitive is _CONCATENATE
            or any(partition.is_sequential(reader) for reader in self._readers[node])
        ):
            return None
        found = [
            i
            for i, output in enumerate(self.loop.outputs)
            if output.node is node and output.kind == "stack" and not output.residual
        ]
        return Storage("result", index=found[0]) if found and not any(output.residual for output in self.loop.outputs) else None

    def _overwritten(self, node: Node) -> Storage | None:
        """The storage of an operand that nobody else reads, if it is a part of another value's.

        A whole buffer needs no such care: memory is shared by moments of use.
        """
        if not (is_elementwise(node) and self.partition.is_sequential(node)):
            return None
        for operand in node.inputs:
            if operand.spec != node.spec or self._readers[operand] != [node] or operand in self.at_all_steps:
                continue
            storage = self.storage.get(operand)
            if operand in self._over:
                self._over.add(node)
                return storage
            own = storage is not None and storage.kind == "buffer" and self.partition.is_sequential(operand)
            if own and node in self.at_all_steps and node.shape and operand.primitive is not _CONCATENATE:
                self._over.add(node)
                return Storage("piece", of=operand, part=(-1, 0, node.shape[-1]))
            location = slice_of(operand)
            if location is None or not self._is_sliced_only(operand.inputs[0], operand, location):
                continue
            self._over.add(node)
            return Storage("piece", of=operand.inputs[0], part=location)
        return None

    def _is_sliced_only(self, root: Node, but: Node, location: tuple[int, int, int]) -> bool:
        """Whether a value of its own buffer is read by slices only, and this region by one of them."""
        storage = self.storage.get(root)
        if storage is None or storage.kind != "buffer" or not self.partition.is_sequential(root) or root in self.at_all_steps:
            return False
        if root.primitive is _CONCATENATE:  # its pieces have readers of their own
            return False
        for reader in self._readers[root]:
            if reader is but:
                continue
            other = slice_of(reader)
            if other is None or other[0] != location[0] or (other[1] < location[2] and location[1] < other[2]):
                return False
        return True

    def _extend(self) -> None:
        """Lengthen the buffers of what is read outside its loop, or is a residual."""
        for node in self.at_all_steps:
            buffer = root(self.storage, node)
            if buffer is not None and buffer.extent == "step":
                buffer.extent = "chunk"
        for output in self.loop.outputs:
            buffer = root(self.storage, output.node) if output.residual else None
            if buffer is not None and buffer.extent != "once":
                buffer.extent = "whole"

    # -- order -----------------------------------------------------------------------------

    def _sections(self, copies: dict[int, list[Copy]]) -> tuple[Section, list[Section]]:
        partition = self.partition
        once = Section("once")
        count = 1 + max([partition.stage[node] for node in self.nodes] + list(copies), default=0)
        sections = [Section("loop" if stage % 2 else "batched") for stage in range(count)]
        if sections:
            sections[0].calls += [Copy(node, self.storage[node], node) for node in self.copied]
        for node in self.nodes:
            if node.primitive is None:
                continue
            section = once if partition.is_invariant(node) else sections[partition.stage[node]]
            if node.primitive is _CONCATENATE:
                section.calls += self._join(node)
            else:
                section.calls.append(Kernel(node))
        for stage, found in copies.items():
            sections[stage].calls += found
        for section in sections[::2]:  # a loop's order is that of its nodes, and slots are copied at its end
            section.calls = self._in_order(section.calls)
        return once, sections

    def _in_order(self, calls: list[Kernel | Copy]) -> list[Kernel | Copy]:
        """Each after those that it needs; what reads a delay needs what the delay carries on."""
        slots = {self.storage[leaf].buffer: leaf for leaf in self.slot if leaf in self.storage}

        def gives(call: Kernel | Copy) -> Iterator[Any]:
            storage = self.storage.get(call.node) if isinstance(call, Kernel) else call.into
            yield call.node if isinstance(call, Kernel) else call.into
            if storage is not None and storage.kind == "after":
                yield slots[storage.buffer]
            elif isinstance(call, Copy) and storage == self.storage.get(call.like):
                yield call.like

        def needs(call: Kernel | Copy) -> Iterator[Any]:
            found = list(call.node.inputs if isinstance(call, Kernel) else (call.source,))
            seen: set[Node] = set()
            while found:
                node = found.pop()
                if node in seen:
                    continue
                seen.add(node)
                yield node
                if self.slot.get(node, -1) in self.partition.cycle:
                    continue
                if node in self.slot:
                    found.append(self.loop.next_carry[self.slot[node]])
                elif node.primitive is _CONCATENATE:  # there when all of its pieces are
                    found += node.inputs
                    yield from (storage for _, storage in _pieces(node))

        waiting = Counter(token for call in calls for token in gives(call))
        ordered: list[Kernel | Copy] = []
        queue = calls
        while queue:
            later: list[Kernel | Copy] = []
            for call in queue:
                own = set(gives(call))
                if any(waiting[token] and token not in own for token in needs(call)):
                    later.append(call)
                else:
                    ordered.append(call)
                    waiting.subtract(own)
            assert len(later) < len(queue), "calls wait for each other"
            queue = later
        return ordered

    def _join(self, node: Node) -> Iterator[Kernel | Copy]:
        for piece, storage in _pieces(node):
            if self.storage.get(piece) != storage:
                yield Copy(piece, storage, piece)

    # -- sharing memory --------------------------------------------------------------------

    def _share(self, sections: list[Section]) -> list[Buffer]:
        """Number the buffers; those that are not needed at one time, and alike, get one number."""
        moments = [(section, call) for section in sections for call in section.calls]
        last: dict[Buffer, int] = {}
        kept: set[Buffer] = set()
        ends: dict[int, int] = {}
        for i, (section, _) in enumerate(moments):
            ends[id(section)] = i

        def use(node: Node, i: int, section: Section) -> None:
            buffer = root(self.storage, node)
            if buffer is not None:
                # a loop reads arrays of all steps until its last step
                last[buffer] = max(last.get(buffer, -1), i if buffer.extent == "step" else _end(section, i))

        def _end(section: Section, i: int) -> int:
            return ends[id(section)] if section.kind == "loop" else i

        for i, (section, call) in enumerate(moments):
            for node in _touched(call):
                use(node, i, section)
        for node in self._read_at_the_end():
            buffer = root(self.storage, node)
            if buffer is not None:
                kept.add(buffer)
        numbered: list[Buffer] = []
        free: dict[Any, list[int]] = {}
        given: set[Buffer] = set()
        leaving: dict[int, list[Buffer]] = {}

        def release(i: int) -> None:
            for buffer in leaving.pop(i, []):
                free.setdefault(_likeness(buffer), []).append(buffer.number)

        for i, (_, call) in enumerate(moments):
            target = call.node if isinstance(call, Kernel) else call.into.of or call.like
            buffer = root(self.storage, target)
            overwrites = isinstance(call, Kernel) and is_elementwise(call.node)
            if overwrites:
                release(i)
            if buffer is not None and buffer not in given:
                given.add(buffer)
                fixed = buffer in kept or buffer.carry or buffer.extent in ("whole", "once")
                pool = [] if fixed else free.get(_likeness(buffer), [])
                if pool:
                    buffer.number = pool.pop()
                else:
                    buffer.number = len(numbered)
                    numbered.append(buffer)
                if not fixed:
                    leaving.setdefault(last[buffer], []).append(buffer)
            release(i)
        for storage in self.storage.values():  # a slot whose values are only ever read
            if storage.buffer is not None and storage.buffer.number < 0:
                storage.buffer.number = len(numbered)
                numbered.append(storage.buffer)
        return numbered

    def _read_at_the_end(self) -> Iterable[Node]:
        yield from (output.node for output in self.loop.outputs if output.kind != "sum")
        for time_sum in self.time_sums:
            yield from time_sum.reads


def _pieces(join: Node) -> Iterator[tuple[Node, Storage]]:
    """The inputs of a concatenation, and their places in it."""
    axis, end = join.attributes["axis"], 0
    for piece in join.inputs:
        start, end = end, end + piece.shape[axis]
        yield piece, Storage("piece", of=join, part=(axis, start, end))


def _reads(call: Kernel | Copy) -> set[Node]:
    """What decides when a call can be made; a piece of a concatenation goes with all of it."""
    return {call.node} if isinstance(call, Kernel) else {call.into.of or call.source}


def _touched(call: Kernel | Copy) -> Iterable[Node]:
    if isinstance(call, Kernel):
        return (call.node, *call.node.inputs)
    return (call.source, call.into.of or call.like)


def _likeness(buffer: Buffer) -> Any:
    return buffer.extent, buffer.spec


def _seen(node: Node) -> Node:
    """What a view is a view of."""
    while is_view(node):
        node = node.inputs[0]
    return node
