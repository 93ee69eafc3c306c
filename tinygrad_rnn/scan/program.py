"""Program: a loop scheduled onto buffers. It is data, which more than one backend can run."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from ..graph.node import Node, Spec, ancestors
from ..ops.core import registry
from .canonical import along
from .loop import Item, Loop, is_number
from .partition import Partition
from .totals import Total, Totals

__all__ = ["Buffer", "Call", "Copy", "Home", "Program", "Section", "is_view", "schedule"]

_CONCATENATE, _GETITEM, _BROADCAST = registry["concatenate"], registry["getitem"], registry["broadcast_to"]
Shape: TypeAlias = tuple[int, ...]
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
class Home:
    """Where a value is.

    Attributes
    ----------
    kind : str
        "buffer": in one of its own. "before", "after": in the rows of a slot's buffer that
        hold what steps start from, or what they carry on. "piece": in a part of the home of
        another value, `of`, which it is a piece of. "view": read through the home of its
        input. "input": in the array that the caller gave. "result": in one that is returned.
        "number": in the code.
    buffer : Buffer, optional
    of : Node, optional
    part : tuple of (int, int, int), optional
        Negative axis, start and stop within `of`.
    index : int
        Which input, or which item.
    """

    kind: Literal["buffer", "before", "after", "piece", "view", "input", "result", "number"]
    buffer: Buffer | None = None
    of: Node | None = None
    part: tuple[int, int, int] | None = None
    index: int = -1


@dataclass(frozen=True)
class Call:
    """Run a node's kernel, into its home."""

    node: Node


@dataclass(frozen=True)
class Copy:
    """Copy a value into a home of another node's shape."""

    source: Node
    into: Home
    like: Node


@dataclass
class Section:
    """Calls that run once, for all steps of a chunk at once, or step by step."""

    kind: Literal["once", "batched", "loop", "after"]
    calls: list[Call | Copy] = field(default_factory=list)


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
    totals : list of Total
        Sums over time, added up at the end of each chunk.
    after : Section
        What is made of the totals.
    sums : list of Node
        The nodes of `after` that are the "sum" items, in order.
    homes : dict of Node to Home
    buffers : list of Buffer
        One for each number.
    nodes, after_nodes : list of Node
        All that is computed, before the totals and after.
    """

    loop: Loop
    partition: Partition
    fixed: Section
    once: Section
    sections: list[Section]
    totals: list[Total]
    after: Section
    sums: list[Node]
    homes: dict[Node, Home]
    buffers: list[Buffer]
    nodes: list[Node]
    after_nodes: list[Node]

    def stand_in(self, copy: Copy) -> Node:
        """A node whose home is where a copy goes."""
        if self.homes.get(copy.like) == copy.into:
            return copy.like
        for node, home in self.homes.items():
            if home == copy.into and node.primitive is None and node not in self.loop.sequences:
                return node
        node = Node(None, (), {}, copy.like.spec)
        node.name = copy.source.name
        self.homes[node] = copy.into
        if self.over_time(copy.into.of or copy.like):
            self.partition.stage[node] = 0
        return node

    def root(self, node: Node) -> Buffer | None:
        """The buffer that a value lies in, through pieces and views."""
        return _root(self.homes, node)

    def over_time(self, node: Node) -> bool:
        """Whether there is an array with a row for each step."""
        return not self.partition.is_outer(node)


def _root(homes: dict[Node, Home], node: Node) -> Buffer | None:
    while True:
        home = homes[node]
        if home.kind == "piece":
            assert home.of is not None
            node = home.of
        elif home.kind == "view":
            node = node.inputs[0]
        else:
            return home.buffer


def _seen(node: Node) -> Node:
    """What a view is a view of."""
    while is_view(node):
        node = node.inputs[0]
    return node


def is_view(node: Node) -> bool:
    """Whether its value is a view of its first input's, in any layout."""
    primitive = node.primitive
    if primitive is None or primitive.view is None or node.shape == ():
        return False
    return primitive.view(node.attributes, node.inputs[0].shape)


def _is_slice(node: Node) -> bool:
    return node.primitive is _GETITEM and len(node.inputs) == 1


def is_elementwise(node: Node) -> bool:
    """Whether element by element, so that it may overwrite an operand."""
    kernel = node.primitive.kernel if node.primitive is not None else None
    return isinstance(kernel, np.ufunc) and kernel.signature is None


def schedule(loop: Loop) -> Program:
    """Find homes for all values, and an order."""
    return _Scheduler(loop).program()


WORTH_A_TABLE = 1024
"""Bytes of a value from which on it is cheaper to make a view of it at each step than to copy it."""


def _bytes(node: Node) -> int:
    return node.dtype.itemsize * int(np.prod(node.shape))


class _Scheduler:
    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.partition = Partition(loop)
        self.slot = {leaf: i for i, leaf in enumerate(loop.state)}
        self.homes: dict[Node, Home] = {}
        totals = Totals(self.partition)
        self.sums = [totals.of(item.node) for item in loop.items if item.kind == "sum"]
        self.totals = totals.found
        self.after = ancestors(self.sums)
        self.live, self.nodes = self._needed()
        self.at_all_steps = self._needed_at_all_steps()
        self._over: set[Node] = set()
        self._readers: dict[Node, list[Node]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for i in node.inputs:
                self._readers[i].append(node)
        for slot in self.live:  # a slot reads what it carries on
            self._readers[loop.after[slot]].append(loop.state[slot])

    def _needed(self) -> tuple[list[int], list[Node]]:
        """The slots, and the nodes, that are really computed."""
        at = self.partition
        known = set(at.nodes)
        roots = [item.node for item in self.loop.items if item.kind != "sum"]
        roots += [node for total in self.totals for node in total.reads]
        roots += [node for node in self.after if node in known and at.is_outer(node)]
        found = body_of(self.loop, roots)
        keep = set(found)
        return [i for i in at.live if self.loop.state[i] in keep], found

    def _needed_at_all_steps(self) -> set[Node]:
        """Core values that are read outside their own loop."""
        at = self.partition
        wanted = {item.node for item in self.loop.items if item.kind == "stack"}
        wanted.update(node for total in self.totals for node in total.reads)
        for node in self.nodes:
            wanted.update(i for i in node.inputs if at.is_core(i) and at.stage[i] != at.stage[node])
        for i in self.live:
            after = self.loop.after[i]
            if i not in at.cycle or (at.is_core(after) and at.stage[after] != at.stage[self.loop.state[i]]):
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
        leaves = {total.leaf for total in self.totals}
        after = [Call(node) for node in self.after if node not in known and node not in leaves and node.primitive is not None]
        buffers = self._share([once, *sections])
        fixed = Section("once", [call for call in once.calls if _reads(call) <= self.numbers])
        once = Section("once", [call for call in once.calls if not _reads(call) <= self.numbers])
        return Program(
            self.loop,
            self.partition,
            fixed,
            once,
            sections,
            self.totals,
            Section("after", list(after)),
            self.sums,
            self.homes,
            buffers,
            self.nodes,
            self.after,
        )

    # -- homes -----------------------------------------------------------------------------

    @functools.cached_property
    def numbers(self) -> set[Node]:
        """What is made of numbers alone."""
        found: set[Node] = set()
        for node in self.nodes:
            if is_number(node) or (node.primitive is not None and found.issuperset(node.inputs)):
                found.add(node)
        return found

    def _place_leaves(self) -> None:
        inputs = (*self.loop.sequences, *self.loop.state, *self.loop.captured)
        for index, node in enumerate(inputs):
            if node not in self.slot:
                self.homes[node] = Home("input", index=index)
        core = [node for node in self.nodes if node.primitive is not None and self.partition.is_core(node)]
        in_loops = {_seen(i) for node in core for i in node.inputs}
        carried = {self.loop.after[i] for i in self.live}
        read = [x for x in self.loop.sequences if x in in_loops or (x in carried and x in self._after_of_cycles())]
        self.copied = [x for x in read if x not in self.loop.lent or _bytes(x) < WORTH_A_TABLE]
        for node in self.copied:  # a loop reads it step by step, in the layout of all else
            self.homes[node] = Home("buffer", Buffer(node.spec, "chunk"))
        for node in (*self.nodes, *self.after):
            if is_number(node):
                self.homes[node] = Home("number")

    def _after_of_cycles(self) -> set[Node]:
        return {self.loop.after[i] for i in self.live if i in self.partition.cycle}

    def _place_slots(self) -> dict[int, list[Copy]]:
        """A slot's next value is made where the slot is kept, or copied there."""
        copies: dict[int, list[Copy]] = {}
        at = self.partition
        for i in self.live:
            state, after = self.loop.state[i], self.loop.after[i]
            buffer = Buffer(state.spec, "chunk", carry=True)
            self.homes[state] = Home("before", buffer)
            home = Home("after", buffer)
            computed = after.primitive is not None and not is_view(after) and not at.is_outer(after)
            stage = at.stage[state] if i in at.cycle else max(0, at.stage[after])
            same = at.stage[after] == stage or (i not in at.cycle)
            if computed and same and after not in self.homes and after.spec == state.spec:
                self.homes[after] = home
            else:
                copies.setdefault(stage + (stage % 2 if i not in at.cycle else 0), []).append(Copy(after, home, state))
        return copies

    def _place_joins(self) -> None:
        """The pieces of a concatenation are made in their place in it."""
        at = self.partition
        for join in reversed(self.nodes):
            if join.primitive is not _CONCATENATE:
                continue
            for piece, home in _pieces(join):
                free = piece not in self.homes and piece.primitive is not None and not is_view(piece)
                if free and piece.dtype == join.dtype and at.stage[piece] == at.stage[join]:
                    self.homes[piece] = home

    def _place_rest(self) -> None:
        for node in self.nodes:
            if node in self.homes:
                continue
            if is_view(node) and not self._is_spread(node):
                self.homes[node] = Home("view")
            elif (result := self._returned(node)) is not None:
                self.homes[node] = result
            elif (over := self._overwritten(node)) is not None:
                self.homes[node] = over
            elif self.partition.is_outer(node):
                self.homes[node] = Home("buffer", Buffer(node.spec, "once"))
            else:
                in_loop = self.partition.is_core(node)
                self.homes[node] = Home("buffer", Buffer(node.spec, "step" if in_loop else "chunk"))
        for node in self.after:
            if node not in self.homes:
                self.homes[node] = Home("view" if is_view(node) else "buffer", None)

    def _is_spread(self, node: Node) -> bool:
        """Whether it is broadcast once, so that it need not be at every step."""
        at = self.partition
        readers = self._readers[node]
        return node.primitive is _BROADCAST and at.is_outer(node) and any(not at.is_outer(i) for i in readers)

    def _returned(self, node: Node) -> Home | None:
        """The array of a result, for what is computed for all steps at once and not read in a loop."""
        at = self.partition
        if (
            at.is_core(node)
            or at.is_outer(node)
            or node.primitive is _CONCATENATE
            or any(at.is_core(reader) for reader in self._readers[node])
        ):
            return None
        found = [i for i, item in enumerate(self.loop.items) if item.node is node and item.kind == "stack" and not item.lent]
        return Home("result", index=found[0]) if found and not any(item.lent for item in self.loop.items) else None

    def _overwritten(self, node: Node) -> Home | None:
        """The home of an operand that nobody else reads, if it is a part of another value's.

        A whole buffer needs no such care: memory is shared by moments of use.
        """
        if not (is_elementwise(node) and self.partition.is_core(node)):
            return None
        for operand in node.inputs:
            if operand.spec != node.spec or self._readers[operand] != [node] or operand in self.at_all_steps:
                continue
            home = self.homes.get(operand)
            if operand in self._over:
                self._over.add(node)
                return home
            own = home is not None and home.kind == "buffer" and self.partition.is_core(operand)
            if own and node in self.at_all_steps and node.shape and operand.primitive is not _CONCATENATE:
                self._over.add(node)
                return Home("piece", of=operand, part=(-1, 0, node.shape[-1]))
            place = along(operand.attributes["index"], operand.inputs[0].shape) if _is_slice(operand) else None
            if place is None or not self._is_sliced_only(operand.inputs[0], operand, place):
                continue
            self._over.add(node)
            return Home("piece", of=operand.inputs[0], part=place)
        return None

    def _is_sliced_only(self, root: Node, but: Node, place: tuple[int, int, int]) -> bool:
        """Whether a value of its own buffer is read by slices only, and this region by one of them."""
        home = self.homes.get(root)
        if home is None or home.kind != "buffer" or not self.partition.is_core(root) or root in self.at_all_steps:
            return False
        if root.primitive is _CONCATENATE:  # its pieces have readers of their own
            return False
        for reader in self._readers[root]:
            if reader is but:
                continue
            other = along(reader.attributes["index"], root.shape) if _is_slice(reader) else None
            if other is None or other[0] != place[0] or (other[1] < place[2] and place[1] < other[2]):
                return False
        return True

    def _extend(self) -> None:
        """Lengthen the buffers of what is read outside its loop, or is lent."""
        for node in self.at_all_steps:
            buffer = _root(self.homes, node)
            if buffer is not None and buffer.extent == "step":
                buffer.extent = "chunk"
        for item in self.loop.items:
            buffer = _root(self.homes, item.node) if item.lent else None
            if buffer is not None and buffer.extent != "once":
                buffer.extent = "whole"

    # -- order -----------------------------------------------------------------------------

    def _sections(self, copies: dict[int, list[Copy]]) -> tuple[Section, list[Section]]:
        at = self.partition
        once = Section("once")
        count = 1 + max([at.stage[node] for node in self.nodes] + list(copies), default=0)
        sections = [Section("loop" if stage % 2 else "batched") for stage in range(count)]
        if sections:
            sections[0].calls += [Copy(node, self.homes[node], node) for node in self.copied]
        for node in self.nodes:
            if node.primitive is None:
                continue
            section = once if at.is_outer(node) else sections[at.stage[node]]
            if node.primitive is _CONCATENATE:
                section.calls += self._join(node)
            else:
                section.calls.append(Call(node))
        for stage, found in copies.items():
            sections[stage].calls += found
        for section in sections[::2]:  # a loop's order is that of its nodes, and slots are copied at its end
            section.calls = self._in_order(section.calls)
        return once, sections

    def _in_order(self, calls: list[Call | Copy]) -> list[Call | Copy]:
        """Each after those that it needs; what reads a delay needs what the delay carries on."""
        slots = {self.homes[leaf].buffer: leaf for leaf in self.slot if leaf in self.homes}

        def gives(call: Call | Copy) -> Iterator[Any]:
            home = self.homes.get(call.node) if isinstance(call, Call) else call.into
            yield call.node if isinstance(call, Call) else call.into
            if home is not None and home.kind == "after":
                yield slots[home.buffer]
            elif isinstance(call, Copy) and home == self.homes.get(call.like):
                yield call.like

        def needs(call: Call | Copy) -> Iterator[Any]:
            found = list(call.node.inputs if isinstance(call, Call) else (call.source,))
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
                    found.append(self.loop.after[self.slot[node]])
                elif node.primitive is _CONCATENATE:  # there when all of its pieces are
                    found += node.inputs
                    yield from (home for _, home in _pieces(node))

        waiting = Counter(token for call in calls for token in gives(call))
        ordered: list[Call | Copy] = []
        queue = calls
        while queue:
            later: list[Call | Copy] = []
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

    def _join(self, node: Node) -> Iterator[Call | Copy]:
        for piece, home in _pieces(node):
            if self.homes.get(piece) != home:
                yield Copy(piece, home, piece)

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
            buffer = _root(self.homes, node)
            if buffer is not None:
                # a loop reads arrays of all steps until its last step
                last[buffer] = max(last.get(buffer, -1), i if buffer.extent == "step" else _end(section, i))

        def _end(section: Section, i: int) -> int:
            return ends[id(section)] if section.kind == "loop" else i

        for i, (section, call) in enumerate(moments):
            for node in _touched(call):
                use(node, i, section)
        for node in self._read_at_the_end():
            buffer = _root(self.homes, node)
            if buffer is not None:
                kept.add(buffer)
        numbered: list[Buffer] = []
        free: dict[Any, list[int]] = {}
        given: set[Buffer] = set()
        leaving: dict[int, list[Buffer]] = {}

        def release(i: int, but: Buffer | None = None) -> None:
            for buffer in leaving.pop(i, []):
                free.setdefault(_likeness(buffer), []).append(buffer.number)

        for i, (_, call) in enumerate(moments):
            target = call.node if isinstance(call, Call) else call.into.of or call.like
            buffer = _root(self.homes, target)
            overwrites = isinstance(call, Call) and is_elementwise(call.node)
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
        for home in self.homes.values():  # a slot whose values are only ever read
            if home.buffer is not None and home.buffer.number < 0:
                home.buffer.number = len(numbered)
                numbered.append(home.buffer)
        return numbered

    def _read_at_the_end(self) -> Iterable[Node]:
        yield from (item.node for item in self.loop.items if item.kind != "sum")
        for total in self.totals:
            yield from total.reads


def _pieces(join: Node) -> Iterator[tuple[Node, Home]]:
    """The inputs of a concatenation, and their places in it."""
    axis, end = join.attributes["axis"], 0
    for piece in join.inputs:
        start, end = end, end + piece.shape[axis]
        yield piece, Home("piece", of=join, part=(axis, start, end))


def _reads(call: Call | Copy) -> set[Node]:
    """What decides when a call can be made; a piece of a concatenation goes with all of it."""
    return {call.node} if isinstance(call, Call) else {call.into.of or call.source}


def _touched(call: Call | Copy) -> Iterable[Node]:
    if isinstance(call, Call):
        return (call.node, *call.node.inputs)
    return (call.source, call.into.of or call.like)


def _likeness(buffer: Buffer) -> Any:
    return buffer.extent, buffer.spec


def body_of(loop: Loop, roots: Iterable[Node]) -> list[Node]:
    """All nodes that the roots need, through slots too."""
    from .loop import body

    return body(Loop(loop.sequences, loop.state, loop.captured, loop.after, tuple(Item("stack", node) for node in roots)))
