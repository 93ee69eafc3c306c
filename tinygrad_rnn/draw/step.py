"""One step of a cell as textbooks draw it: gates, small operations, and lines between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from ..graph.graph import Graph
from ..graph.node import Node
from ..nn.module_trace import Step
from ..ops.core import as_tensor
from ..ops.facts import facts_of
from ..tree import flatten
from ..views.contraction import Edge, Value, copy_of
from ..views.gates import Gates
from ..views.interpolations import interpolations
from ..views.letters import Letters
from .naming import OWN, operation_text, parameter_symbols, pretty_sum
from .symbols import indexed, plain, pretty

__all__ = ["Diagram", "Line", "Role", "StepPart", "diagram"]


class Role(str, Enum):
    """Roles of the parts in a picture of a step."""

    INPUT = "input"
    BEFORE = "state before"
    AFTER = "state after"
    OUTPUT = "output"
    GATE = "gate"
    OPERATION = "operation"
    JOINT = "joint"


class Line(NamedTuple):
    """An edge in a picture of a step, with the parameters on it, its sign, and whether a gradient passes."""

    parameters: tuple[str, ...] = ()
    minus: bool = False
    cut: bool = False


@dataclass(eq=False)
class StepPart:
    """A node in a picture of a step: a gate, an operation, or an end of a line.

    Attributes
    ----------
    role : Role
    text : str
        Label of the operation, such as "σ" or "×".
    name : str
        Label with the author's name of the value; may be empty.
    key : str
        The part's name in a cell's `step_layout`, without markup: the name of the value, or the operation and its parts.
    reads : dict of StepPart to Link
        The parts that this part reads, with their links; empty for an end at which lines enter.
    slots : list of int
        Numbers of the slots whose previous or next value this part is.
    note : str
        The shape of the value, and the parameters that the part uses.
    """

    role: Role
    text: str
    name: str = ""
    key: str = ""
    reads: dict[StepPart, Line] = field(default_factory=dict)
    slots: list[int] = field(default_factory=list)
    note: str = ""


@dataclass
class Diagram:
    """All parts of a picture of one step, each after the parts that it reads.

    Attributes
    ----------
    inputs, before, after, outputs : list of StepPart
        The ends of lines; `outputs` omits outputs that are the next value of a slot.
    inner : list of StepPart
        Gates and operations.
    """

    inputs: list[StepPart]
    before: list[StepPart]
    inner: list[StepPart]
    after: list[StepPart]
    outputs: list[StepPart]

    @property
    def parts(self) -> list[StepPart]:
        """All parts, each after the parts that it reads."""
        return [*self.inputs, *self.before, *self.inner, *self.after, *self.outputs]

    def arcs(self) -> Iterator[tuple[StepPart, StepPart, Line]]:
        """All lines, each with its source and its target."""
        for part in self.parts:
            for read, line in part.reads.items():
                yield read, part, line


def diagram(step: Step, letters: Letters = OWN) -> Diagram:
    """Make the diagram of a traced step.

    Parameters
    ----------
    step : Step
        A step traced by :func:`tinygrad_rnn.nn.module_trace.trace_step`.
    letters : Letters
        The reader's symbols for parameters.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> from tinygrad_rnn.nn.module_trace import trace_step
    >>> [part.text for part in diagram(trace_step(nn.RNNCell(3, 5))).inner]
    ['tanh']
    """
    return _StepReader(step, letters).diagram


class _StepReader:
    """Builds the parts of a step from the step's contraction."""

    def __init__(self, step: Step, letters: Letters) -> None:
        outputs, after = ([as_tensor(value).node for value in flatten(part)] for part in (step.output, tuple(step.after)))
        graph = interpolations(Graph([*outputs, *after]).opened())
        ends = [copy_of(node) for node in graph.outputs]  # one value can be an output, a state, and an operand within the step
        self.gates = Gates(Graph(ends))
        self.symbols = parameter_symbols(self.gates, letters)
        self.edges: dict[Node, list[Edge]] = {}
        for edge in self.gates.edges:
            self.edges.setdefault(edge.target.node, []).append(edge)
        n = len(outputs)
        slots = _slot_names(step, graph.outputs[n:])
        names = [node.name or ("o" if n == 1 else f"o_{k}") for k, node in enumerate(graph.outputs[:n], 1)]
        before = [
            StepPart(Role.BEFORE, "", indexed(name, f"t-{age + 1}"), _key(name) + "⁻" * (age + 1), slots=[k])
            for k, (name, age) in enumerate(slots)
        ]
        self.parts = {slot.node: part for slot, part in zip(step.state, before, strict=True)}
        self.inputs: list[StepPart] = []
        inner = self._inner()
        self._name_after_copies(graph)
        after_ends = [self._end(Role.AFTER, *slot, end, [k]) for k, (slot, end) in enumerate(zip(slots, ends[n:], strict=True))]
        carried = {read for end in after_ends for read in end.reads}
        output_ends = [self._end(Role.OUTPUT, name, 0, end, []) for name, end in zip(names, ends[:n], strict=True)]
        output_ends = [end for end in output_ends if carried.isdisjoint(end.reads)]
        for end in (*after_ends, *output_ends):
            for read in end.reads:
                read.slots += end.slots if read in inner else []
                read.name = "" if read in inner and read.name == end.name else read.name  # shown at the line's end
        self.diagram = Diagram(self.inputs, before, inner, after_ends, output_ends)

    def _inner(self) -> list[StepPart]:
        """Collect the gates and operations, and the inputs that they read."""
        found = []
        for value in self.gates.values:
            if value.role == "operation":
                self.parts[value.node] = self._operation(value)
                found.append(self.parts[value.node])
            elif value.role != "end" and value.node not in self.parts:
                self.parts[value.node] = _source(value.node)
                self.inputs.append(self.parts[value.node])
        return found

    def _lines(self, node: Node) -> dict[StepPart, Line]:
        """Lines that end at a part."""
        return {
            self.parts[source.node]: Line(tuple(self.symbols[p] for p in link.parameters), link.minus, link.cut)
            for source, _, _, link, _ in self.edges.get(node, ())
        }

    def _operation(self, value: Value) -> StepPart:
        """The part of a gate or an operation, with its constants and parameters."""
        node, reads, joins = value.node, self._lines(value.node), facts_of(value.node).joins is not None
        factors = tuple(dict.fromkeys(symbol for line in reads.values() for symbol in line.parameters))
        biases = [self.symbols[p] for p in value.biases]
        gate = bool(factors or (biases and len(reads) == 1))
        if not self.gates.is_linear(node):
            assert node.primitive is not None
            text = " ".join(
                [operation_text(node, self.gates.constants), *_stems(self.symbols[p] for p in self.gates.factors(node))]
            )
            if facts_of(node).signs:
                text = "+" if len(reads) > 1 else text
                reads = reads if len(reads) > 1 else {part: line._replace(minus=False) for part, line in reads.items()}
        elif self.gates.is_weighted(node):
            text = " ".join(_stems(factors))
        elif len(reads) > 1:
            text, gate = "[ ]" if joins else "+", False
        else:
            text = " ".join(["+", *_stems(biases)])
        keys = [part.key for part in reads]
        key = f"{plain(text)} {keys[0]}" if len(keys) == 1 else plain(text).join(keys)
        said = [
            f"{part.key}: {plain(', '.join(map(pretty, line.parameters)))}" for part, line in reads.items() if line.parameters
        ]
        note = "\n".join([*said, *([f"+ {plain(pretty_sum(biases))}"] if biases else []), str(node.spec)])
        part = StepPart(Role.GATE if gate else Role.OPERATION, text, "", key, reads, note=note)
        _name(part, node)
        return part

    def _name_after_copies(self, graph: Graph) -> None:
        """Give unnamed parts the name of a copy of their value."""
        for node in graph.nodes:
            if node.primitive is not None and self.gates.is_value(node) and self.gates.passes(node):
                _name(self.parts[next(iter(self.gates.terms[node]))], node)

    def _end(self, role: Role, name: str, age: int, end: Node, slots: list[int]) -> StepPart:
        reads = self._lines(end)
        if not reads:
            symbols = [self.symbols[p] for p in self.gates.parameters.get(end, ())]
            self.inputs.append(StepPart(Role.INPUT, "", " ".join(_stems(symbols)) or "const", "const"))
            reads = {self.inputs[-1]: Line()}
        key = f"{_key(name)}{'⁻' * age} out"
        return StepPart(role, "", indexed(name, f"t-{age}" if age else None), key, reads, slots, str(end.spec))


def _slot_names(step: Step, after: Sequence[Node]) -> list[tuple[str, int]]:
    """Name and delay of each slot; an unnamed slot that copies slot s has the name of s, one step earlier."""
    state = {tensor.node: number for number, tensor in enumerate(step.state)}
    found = [(name, 0) for name in step.names]
    for _ in step.names:  # one pass for each link of a chain of copies
        for slot, node in enumerate(after):
            other = state.get(node)
            if other is not None and other != slot and step.fields[slot] is None:
                found[slot] = found[other][0], found[other][1] + 1
    return found


def _source(node: Node) -> StepPart:
    """The part of an input, or of numbers drawn at random."""
    if "draw" not in node.attributes:
        name = pretty(node.name or "x")
        return StepPart(Role.INPUT, "", name, plain(name), note=str(node.spec))
    often = "the same at all steps" if node.attributes["once"] else "new at each step"
    return StepPart(Role.INPUT, "", "~", "~", note=f"random numbers, {often}\n{node.spec}")


def _name(part: StepPart, node: Node) -> None:
    if part.role in (Role.GATE, Role.OPERATION) and not part.name and node.name:
        part.name, part.key = pretty(node.name), _key(node.name)


def _key(name: str) -> str:
    return plain(pretty(name))


def _stems(symbols: Iterable[str]) -> list[str]:
    """Up to two symbols, then dots."""
    shown = list(map(pretty, symbols))
    return shown if len(shown) <= 2 else [*shown[:2], "…"]
