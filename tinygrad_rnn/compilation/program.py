"""Program: a recorded graph as a list of calls, sections that run once and scans, on one table of arrays."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..errors import TraceError
from ..graph.node import Node, Spec, leaf
from ..ops.core import registry
from ..ops.facts import facts_of
from ..ops.messages import describe
from ..scan.backend import Backend, Executable, InTurn
from ..scan.canonical import canonical
from ..scan.loop import Loop, Output, is_scalar_constant
from ..scan.numpy import NUMPY
from ..scan.primitive import item, output_number, scan
from ..scan.schedule import Schedule
from ..scan.use import thread_count

__all__ = ["Program", "ScanCall", "Section"]

_TRANSPOSE = registry["transpose"]

Array: TypeAlias = npt.NDArray[Any]


class Section:
    """The operations between two scans, which run once as one program of the backend.

    Attributes
    ----------
    steps : int
        Number of steps, which is 1.
    loop : Loop
        The operations as a loop: all inputs are consts, and all outputs are "once".
    executable : Executable
    reads : tuple of int
        Places of the inputs in the table.
    writes : range
        Places of the results.
    """

    steps = 1

    def __init__(self, loop: Loop, backend: Backend, reads: Sequence[int], first: int) -> None:
        self.loop = canonical(loop)
        backend = backend if backend.accepts(self.loop) else NUMPY
        self.executable: Executable = backend.build(Schedule(self.loop), False)
        self.reads = tuple(reads)
        self.writes = range(first, first + len(loop.outputs))
        self._get = _getter(reads)

    def run(self, table: list[Any], memories: list[tuple[Executable, Any]]) -> None:
        """Run the section, and add the results to the table."""
        results, memory = self.executable(self._get(table), 1)
        self.executable.release(memory)
        table += results


class ScanCall:
    """One run of a compiled scan.

    Attributes
    ----------
    loop : Loop
        The loop that is run.
    executable : Executable
    reads : tuple of int
        Places of the inputs in the table.
    residuals : tuple of int
        Numbers of the outputs that stay in the memory of the run.
    writes : range
        Places of the results; the residuals are last.
    """

    def __init__(self, node: Node, reads: Sequence[int], residuals: Sequence[int], first: int) -> None:
        self.loop: Loop = node.attributes["plan"].loop
        self.steps: int = node.attributes["steps"]
        self.executable: Executable = node.attributes["plan"].executable(bool(residuals))
        self.reads = tuple(reads)
        self.residuals = tuple(residuals)
        self.writes = range(first, first + len(self.executable.schedule.loop.outputs) + len(residuals))
        self._get = _getter(reads)

    def run(self, table: list[Any], memories: list[tuple[Executable, Any]]) -> None:
        """Run the scan, add the results to the table, and list its memory, which is released at the end."""
        results, memory = self.executable(self._get(table), self.steps)
        memories.append((self.executable, memory))
        table += results
        for k in self.residuals:
            found = results[k]
            table.append(memory.residual(k) if found is None else found)


def _getter(places: Sequence[int]) -> Callable[[list[Any]], Sequence[Any]]:
    if len(places) > 1:
        return itemgetter(*places)
    return lambda table: [table[k] for k in places]


class Program:
    """The calls of a recorded function.

    Parameters
    ----------
    given : sequence of Node
        Leaves for the arrays that are given to each run, in order.
    ends : sequence of Node
        Values that are computed.
    made : mapping of Node to Node
        Leaves that stand for nodes; see :class:`Recorder`.
    backend : Backend
        Backend that runs the sections.

    Attributes
    ----------
    calls : list of Section or ScanCall
        The calls, in the order in which they run.
    places : list of int
        Places of the ends in the table.
    constants : list of numpy.ndarray
        Arrays that follow the given arrays in the table.
    """

    def __init__(self, given: Sequence[Node], ends: Sequence[Node], made: Mapping[Node, Node], backend: Backend) -> None:
        nodes, resolved = _resolved(ends, made)
        turned = _turned(nodes, [resolved[node] for node in ends])
        if turned:
            nodes, again = _resolved([resolved[node] for node in ends], turned)
            resolved = {node: again[found] for node, found in resolved.items() if found in again}
        self.calls: list[Section | ScanCall] = []
        self._residuals: set[int] = set()
        self.constants: list[Array] = []
        self.given = list(given)
        self._backend = backend
        self._place: dict[Node, int] = {node: k for k, node in enumerate(given)}
        for node in nodes:
            if node.primitive is None and node not in self._place:
                if node.leaf is not None or not isinstance(node.value, np.ndarray):
                    raise TraceError(
                        f"{describe(node)} is made inside the compiled function, or tr.compile cannot find the variable that "
                        "holds it; make parameters outside, and keep them in modules, lists or variables"
                    )
                self._place[node] = len(given) + len(self.constants)
                self.constants.append(node.value)
        self._next = len(given) + len(self.constants)
        wanted = [resolved[node] for node in ends]
        self._write(nodes, wanted)
        self.places = [self._place[node] for node in wanted]
        self._threads = {call.executable.threads for call in self.calls}
        self._borrowed = [n for n, place in enumerate(self.places) if place in self._residuals or place < len(given)]

    def _write(self, nodes: Sequence[Node], wanted: Sequence[Node]) -> None:
        scans = [node for node in nodes if node.primitive is scan]
        section = _sections(nodes, scans, wanted)
        operations: list[list[Node]] = [[] for _ in range(len(scans) + 1)]
        outside = set(wanted)
        for node in nodes:
            if node.primitive is scan:
                outside.update(node.inputs)
            elif node.primitive is not None and node.primitive is not item:
                operations[section[node]].append(node)
                outside.update(i for i in node.inputs if section.get(i) != section[node])
        items: dict[Node, list[Node]] = {node: [] for node in scans}
        for node in nodes:
            if node.primitive is item:
                items[node.inputs[0]].append(node)
        for k, made in enumerate(operations):
            if made:
                self._write_section(made, outside)
            if k < len(scans):
                self._write_scan(scans[k], items[scans[k]])

    def _write_section(self, nodes: Sequence[Node], outside: set[Node]) -> None:
        table: dict[Node, Node] = {}
        consts: list[Node] = []
        reads: list[int] = []
        for node in nodes:
            for i in node.inputs:
                if i not in table:
                    table[i] = i if is_scalar_constant(i) else leaf(i.spec, i.name, i.role, i.location)
                    if table[i] is not i:
                        consts.append(table[i])
                        reads.append(self._place[i])
            table[node] = node.again(tuple([table[i] for i in node.inputs]))
        results = [node for node in nodes if node in outside]
        outputs = tuple([Output("once", table[node]) for node in results])
        self._add(Section(Loop((), (), tuple(consts), (), outputs), self._backend, reads, self._next))
        self._place.update(zip(results, self.calls[-1].writes, strict=True))

    def _write_scan(self, node: Node, items: Sequence[Node]) -> None:
        count = len(node.attributes["plan"].loop.outputs)
        residuals = sorted({output_number(read) for read in items if output_number(read) >= count})
        call = ScanCall(node, [self._place[i] for i in node.inputs], residuals, self._next)
        self._add(call)
        of_result = dict(enumerate(call.writes[:count]))
        of_result |= dict(zip(residuals, call.writes[len(call.writes) - len(residuals) :], strict=True))
        self._residuals.update(of_result[k] for k in residuals)
        for read in items:
            self._place[read] = of_result[output_number(read)]

    def _add(self, call: Section | ScanCall) -> None:
        self.calls.append(call)
        self._next = call.writes.stop

    def stays(self, place: int) -> bool:
        """Whether an array stays in the memory of the run that computes the array."""
        return place in self._residuals

    def name_of(self, place: int) -> str | None:
        """The name of a computed array; for a result of a scan, the name of the value within the step."""
        return self._names.get(place)

    @functools.cached_property
    def _names(self) -> dict[int, str]:
        found = {}
        for node, place in self._place.items():
            name = node.name
            if name is None and node.primitive is item:
                plan, k = node.inputs[0].attributes["plan"], output_number(node)
                output = (plan.loop if k < len(plan.loop.outputs) else plan.saving).outputs[k]
                name = output.node.name or output.name
            if name is not None:
                found[place] = name
        return found

    def run(self, arrays: Sequence[Array]) -> list[Any]:
        """The values of the ends. All calls are one call of the backend, if the backend has such a call."""
        table: Sequence[Any] = [*arrays, *self.constants]
        if all(thread_count(n) == 1 for n in self._threads) and self._together is not None:
            table, memory = self._together.run(table)
            memories = [(self._together, memory)]
        else:
            memories = []
            for call in self.calls:
                call.run(table, memories)  # type: ignore[arg-type]
        values = [table[place] for place in self.places]
        for n in self._borrowed:  # values in the memory of a run, or of the caller
            values[n] = values[n].copy()
        for executable, memory in memories:
            executable.release(memory)
        return values

    @functools.cached_property
    def _together(self) -> Any:
        first = len(self.given) + len(self.constants)
        turns = [
            InTurn(
                call.executable,
                call.steps,
                call.reads,
                call.writes.start,
                call.residuals if isinstance(call, ScanCall) else (),
            )
            for call in self.calls
        ]
        return self._backend.together(turns, first, set(self.places))


def _sections(nodes: Sequence[Node], scans: Sequence[Node], wanted: Sequence[Node]) -> dict[Node, int]:
    """The section of each operation: section k is before scan k. Each is as late as its readers allow, to save memory."""
    last = len(scans)
    section = dict.fromkeys(wanted, last)
    number = {node: k for k, node in enumerate(scans)}
    for node in reversed(nodes):
        at = number[node] if node.primitive is scan else last if node.primitive is item else section[node]
        for i in node.inputs:
            section[i] = min(section.get(i, last), at)
    return section


def _turned(nodes: Sequence[Node], wanted: Sequence[Node]) -> dict[Node, Node]:
    """Replacements for transposed products that nothing else reads: products of transposes, whose layout suits the readers."""
    readers = Counter([*wanted, *[i for node in nodes for i in node.inputs]])
    found: dict[Node, Node] = {}
    for node in nodes:
        if node.primitive is _TRANSPOSE and node.attributes == {"axes": (-1, -2)} and readers[node.inputs[0]] == 1:
            (product,) = node.inputs
            if facts_of(product).product and all(len(i.shape) == 2 for i in product.inputs):
                sides = [_transposed(i) for i in reversed(product.inputs)]
                found[node] = Node(product.primitive, tuple(sides), product.attributes, node.value, node.location)
    return found


def _transposed(x: Node) -> Node:
    return Node(_TRANSPOSE, (x,), {"axes": (-1, -2)}, Spec(x.shape[::-1], x.dtype), x.location)


def _resolved(ends: Sequence[Node], made: Mapping[Node, Node]) -> tuple[list[Node], dict[Node, Node]]:
    """All nodes that some ends depend on, each after its inputs, with placeholders replaced; and the replacements."""
    table: dict[Node, Node] = {}
    stack = list(reversed(ends))
    while stack:
        node = stack[-1]
        needs = (made[node],) if node in made else node.inputs
        missing = [i for i in needs if i not in table]
        if node in table or missing:
            stack += reversed(missing)
            if node in table:
                stack.pop()
            continue
        stack.pop()
        if node in made:
            table[node] = table[made[node]]
        elif all(table[i] is i for i in node.inputs):
            table[node] = node
        else:
            table[node] = node.again(tuple([table[i] for i in node.inputs]))
    return list(dict.fromkeys(table.values())), table
