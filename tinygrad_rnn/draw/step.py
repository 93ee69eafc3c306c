"""One step of a cell as textbooks draw it: gates, small operations, and lines between them.

The traced step is contracted: linear maps go into the gate that follows them, what only reads
a part or stands side by side vanishes, and functions, products and sums stay. Nothing here
knows a cell: a gate is a function of one value that parameters helped to make.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

import numpy as np

from ..graph.graph import Graph, is_constant
from ..graph.node import Node, behind_cuts
from ..nn.module_trace import Step
from ..ops.core import as_tensor
from ..ops.facts import adds, facts_of, multiplies
from ..tree import flatten
from ..views.contraction import is_copy
from .naming import pretty_sum
from .symbols import indexed, literal, plain, pretty

__all__ = ["Diagram", "Role", "StepPart", "diagram"]


class Role(str, Enum):
    """What a part of a step's picture is."""

    INPUT = "input"
    BEFORE = "state before"
    AFTER = "state after"
    OUTPUT = "output"
    GATE = "gate"
    OPERATION = "operation"
    JOINT = "joint"


class Link(NamedTuple):
    """How one part reads another."""

    parameters: tuple[str, ...] = ()
    minus: bool = False
    cut: bool = False

    def then(self, *parameters: str, minus: bool = False, cut: bool = False) -> Link:
        return Link(tuple(dict.fromkeys(self.parameters + parameters)), self.minus ^ minus, self.cut or cut)


@dataclass(eq=False)
class StepPart:
    """A gate, an operation, or an end of a line.

    Attributes
    ----------
    role : Role
    text : str
        Label of what it does, such as "σ" or "×".
    name : str
        Label of what its author called the value; may be empty.
    key : str
        What a cell's `step_layout` calls it, without markup: its name, or what it does to which parts.
    reads : dict of StepPart to Link
        Empty if it is an end where lines come in.
    slots : list of int
        Numbers of the slots that it is, or that carry it on.
    note : str
        Its shape, and the parameters in it.
    """

    role: Role
    text: str
    name: str = ""
    key: str = ""
    reads: dict[StepPart, Link] = field(default_factory=dict)
    slots: list[int] = field(default_factory=list)
    note: str = ""


class Form(NamedTuple):
    """A value as a sum of parts, each behind linear maps: a gate takes it in whole."""

    terms: dict[StepPart, Link]
    biases: tuple[str, ...] = ()
    joined: bool = False

    @property
    def part(self) -> StepPart | None:
        """The part that it is, if it is nothing else."""
        if len(self.terms) == 1 and not self.biases and next(iter(self.terms.values())) == Link():
            return next(iter(self.terms))
        return None

    @property
    def parameters(self) -> tuple[str, ...]:
        return _factors(self.terms) + self.biases


@dataclass
class Diagram:
    """The parts of one step, each after those that it reads.

    Attributes
    ----------
    inputs, before, after, outputs : list of StepPart
        The ends of lines; outputs without those that are a slot's next value.
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
        """All of them."""
        return [*self.inputs, *self.before, *self.inner, *self.after, *self.outputs]

    def arcs(self) -> Iterator[tuple[StepPart, StepPart, Link]]:
        """Every line, from what is read to what reads it."""
        for part in self.parts:
            for read, way in part.reads.items():
                yield read, part, way


def diagram(step: Step) -> Diagram:
    """The parts of a traced step.

    Parameters
    ----------
    step : Step
        As :func:`tinygrad_rnn.nn.module_trace.trace_step` gives it.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> from tinygrad_rnn.nn.module_trace import trace_step
    >>> [part.text for part in diagram(trace_step(nn.RNNCell(3, 5))).inner]
    ['tanh']
    """
    return _Contraction(step).run()


class _Contraction:
    def __init__(self, step: Step) -> None:
        outputs = [as_tensor(value).node for value in flatten(step.output)]
        after = [as_tensor(value).node for value in step.after]
        opened = Graph([*outputs, *after]).opened().outputs
        self.outputs, self.after = opened[: len(outputs)], opened[len(outputs) :]
        self.nodes = behind_cuts(opened)
        self.state = {tensor.node: number for number, tensor in enumerate(step.state)}
        self.slots = self._slot_names(step.names, step.fields)
        self.forms: dict[Node, Form] = {}
        self.symbols: dict[Node, tuple[str, ...]] = {}
        self.found: list[StepPart] = []
        self.shown = set(opened)
        for node in reversed(self.nodes):  # a copy of a value is the value
            if node in self.shown and is_copy(node) and node.inputs:
                self.shown.add(node.inputs[0])

    def run(self) -> Diagram:
        before = [
            StepPart(Role.BEFORE, "", indexed(name, f"t-{age + 1}"), plain(pretty(name)) + "⁻" * (age + 1), slots=[k])
            for k, (name, age) in enumerate(self.slots)
        ]
        self.starts = before
        self.inputs: list[StepPart] = []
        for node in self.nodes:
            self._visit(node)
        after = [
            self._end(Role.AFTER, name, node, [k], age)
            for k, ((name, age), node) in enumerate(zip(self.slots, self.after, strict=True))
        ]
        carried = [next(iter(end.reads), None) for end in after]
        outputs = []
        for number, node in enumerate(self.outputs, 1):
            end = self._end(Role.OUTPUT, node.name or ("o" if len(self.outputs) == 1 else f"o_{number}"), node, [])
            if not any(read in carried for read in end.reads):
                outputs.append(end)
        for end in after:
            for read in end.reads:
                if read.role is not Role.BEFORE:
                    read.slots += end.slots
        return self._read([*after, *outputs], before, after, outputs)

    def _slot_names(self, names: Sequence[str], fields: Sequence[str | None]) -> list[tuple[str, int]]:
        """Name and age of each slot: one without a field that copies slot s is s, a step earlier."""
        found = [(name, 0) for name in names]
        for _ in names:  # once round for every link of a chain
            for slot, node in enumerate(self.after):
                other = self.state.get(node)
                if other is not None and other != slot and fields[slot] is None:
                    found[slot] = found[other][0], found[other][1] + 1
        return found

    def _read(self, ends: list[StepPart], before: list[StepPart], after: list[StepPart], outputs: list[StepPart]) -> Diagram:
        """Without what nothing reads, and with the name of each value said once."""
        used = set(ends)
        for part in reversed(self.found):
            if part in used or any(part in user.reads for user in used):
                used.add(part)
        read = {source for part in used for source in part.reads}
        for part in read:
            if part.reads and (part.slots or any(part in end.reads for end in outputs)):
                said = {end.name for end in ends if part in end.reads}
                part.name = "" if part.name in said else part.name
        inner = [part for part in self.found if part in used and part.role is not Role.INPUT]
        return Diagram([p for p in self.inputs if p in read], before, inner, after, outputs)

    # -- the pass --------------------------------------------------------------------------------

    def _visit(self, node: Node) -> None:
        if not node.inputs:
            self._leaf(node)
            return
        computed = [i for i in node.inputs if i in self.forms]
        symbols = tuple(dict.fromkeys(s for i in node.inputs for s in self.symbols.get(i, ())))
        if not computed:
            self.symbols[node] = symbols
            return
        form = self._form(node, computed, symbols)
        if form is None:
            form = self._interpolation(node) or _alone(self._operation(node, computed, symbols))
        elif node in self.shown and form.part is None:
            form = _alone(self._part(form, node))
        if form.part is not None and form.part.role in (Role.GATE, Role.OPERATION) and not form.part.name and node.name:
            form.part.name, form.part.key = pretty(node.name), plain(pretty(node.name))
        self.forms[node] = form

    def _leaf(self, node: Node) -> None:
        if (source := node.cut) is not None:
            if source in self.forms:
                self.forms[node] = _cut(self.forms[source])
            else:
                self.symbols[node] = self.symbols[source]
        elif node in self.state:
            self.forms[node] = _alone(self.starts[self.state[node]])
        elif node.role == "parameter":
            self.symbols[node] = (node.name or "θ",)
        elif "draw" in node.attributes:
            self._source(
                node, "~", f"random numbers, {'the same at all steps' if node.attributes['once'] else 'new at each step'}\n"
            )
        elif is_constant(node):
            self.symbols[node] = ()
        else:
            self._source(node, pretty(node.name or "x"))

    def _source(self, node: Node, name: str, note: str = "") -> None:
        part = StepPart(Role.INPUT, "", name, plain(name), note=f"{note}{node.spec}")
        self.inputs.append(part)
        self.forms[node] = _alone(part)

    def _form(self, node: Node, computed: Sequence[Node], symbols: tuple[str, ...]) -> Form | None:
        """The value as a sum behind linear maps; None if it is not one, or is better shown."""
        facts = facts_of(node)
        if is_copy(node) or facts.reads:  # a row of a parameter is a product with a code
            form = self.forms[computed[0]]
            return (
                form._replace(terms={part: way.then(*symbols) for part, way in form.terms.items()})
                if len(computed) == 1
                else None
            )
        if facts.copies:
            return _cut(self.forms[computed[0]])
        if facts.joins:
            return _sum(self.forms[i] for i in computed)._replace(joined=len(computed) > 1)
        if len(facts.signs) > 1 and not self._has_numbers(node):
            forms = [self.forms[i] for i in computed]
            if len(forms) == len(facts.signs):
                forms = [form if sign > 0 else _negative(form) for form, sign in zip(forms, facts.signs, strict=True)]
            if (symbols or any(form.part is None for form in forms)) and _adds_up(forms):
                total = _sum(forms)
                return total._replace(biases=tuple(dict.fromkeys(total.biases + symbols)), joined=False)
        if facts.is_linear_in_each and len(computed) == 1 and symbols:
            form = self.forms[computed[0]]
            return Form({part: way.then(*symbols) for part, way in form.terms.items()}, form.biases)
        return None

    def _interpolation(self, node: Node) -> Form | None:
        """a + z ⊙ (b − a) is (1 − z) ⊙ a + z ⊙ b, where the weights of both can be seen."""
        if len(node.inputs) != 2 or not adds(node):
            return None
        for a, product in (node.inputs, node.inputs[::-1]):
            if not multiplies(product) or a not in self.forms:
                continue
            for z, difference in (product.inputs, product.inputs[::-1]):
                b = difference.inputs[0] if facts_of(difference).signs == (1, -1) and difference.inputs[1] is a else None
                if b in self.forms and z in self.forms:
                    first, second, weight = (self._part(self.forms[i], i) for i in (a, b, z))
                    rest = self._made("1−", {weight: Link()}, node)
                    parts = [self._made("×", {weight: Link(), second: Link()}, node)]
                    parts.append(self._made("×", {rest: Link(), first: Link()}, node))
                    return _alone(self._made("+", {part: Link() for part in parts}, node))
        return None

    def _operation(self, node: Node, computed: Sequence[Node], symbols: tuple[str, ...]) -> StepPart:
        """A function of what it reads, with the numbers and the parameters in it."""
        assert node.primitive is not None
        facts = node.primitive.facts
        text = "[ ]" if facts.joins else literal(node.primitive.symbol)
        numbers = [i for i in node.inputs if is_constant(i) and isinstance(i.value, np.ndarray) and i.shape == ()]
        if len(numbers) == 1 and len(node.inputs) == 2:
            number = f"{numbers[0].value.item():.3g}".replace("-", "−")
            text = f"{number}{text}" if node.inputs[0] is numbers[0] else f"{text} {number}"
        if symbols:
            text = f"{text} {_stems(symbols)}"
        if len(computed) == 1:
            form = self.forms[computed[0]]
            if not form.joined or form.parameters:
                gate = Role.GATE if form.parameters or symbols else Role.OPERATION
                return self._made(text, form.terms, node, gate, form.biases)
        reads: dict[StepPart, Link] = {}
        for position, i in enumerate(node.inputs):
            if i in self.forms:
                minus = len(computed) > 1 and facts.signs[position : position + 1] == (-1,)
                reads[self._part(self.forms[i], i)] = Link(minus=minus)
        text = "+" if facts.signs and len(computed) > 1 else text
        return self._made(text, reads, node, Role.GATE if symbols else Role.OPERATION)

    def _part(self, form: Form, node: Node) -> StepPart:
        """A part that stands for a sum, made if need be."""
        if form.part is not None:
            return form.part
        linear = {part: way for part, way in form.terms.items() if way.parameters}
        bare = {part: way for part, way in form.terms.items() if not way.parameters}
        if not bare:
            made = self._made(_stems(_factors(linear)), linear, node, Role.GATE, form.biases)
        elif linear:
            inner = self._made(_stems(_factors(linear)), linear, node, Role.GATE, form.biases)
            made = self._made("+", {**bare, inner: Link()}, node)
        elif form.biases:
            made = self._made(f"+ {_stems(form.biases)}", bare, node, Role.GATE, form.biases)
        elif len(bare) == 1:  # it was cut, or turned
            ((part, way),) = bare.items()
            made = self._made("−" if way.minus else "detach", {part: way._replace(minus=False)}, node)
        else:
            made = self._made("[ ]" if form.joined else "+", bare, node)
        if not any(other is made for other in self.found[:-1] if other.key == made.key):
            self.forms[node] = _alone(made)
        return made

    def _made(
        self, text: str, reads: dict[StepPart, Link], node: Node, role: Role = Role.OPERATION, biases: tuple[str, ...] = ()
    ) -> StepPart:
        keys = [part.key for part in reads]
        key = f"{plain(text)} {keys[0]}" if len(keys) == 1 else plain(text).join(keys)
        said = [f"{part.key}: {plain(', '.join(map(pretty, way.parameters)))}" for part, way in reads.items() if way.parameters]
        note = "\n".join([*said, *([f"+ {plain(pretty_sum(biases))}"] if biases else []), str(node.spec)])
        part = StepPart(role, text, "", key, dict(reads), note=note)
        self.found.append(part)
        return part

    def _end(self, role: Role, name: str, node: Node, slots: list[int], age: int = 0) -> StepPart:
        reads = {self._part(self.forms[node], node): Link()} if node in self.forms else {}
        if not reads:
            constant = StepPart(Role.INPUT, "", _stems(self.symbols[node]) if self.symbols.get(node) else "const", "const")
            self.inputs.append(constant)
            reads = {constant: Link()}
        key = f"{plain(pretty(name))}{'⁻' * age} out"
        return StepPart(role, "", indexed(name, f"t-{age}" if age else None), key, reads, slots, str(node.spec))

    @staticmethod
    def _has_numbers(node: Node) -> bool:
        return any(is_constant(i) for i in node.inputs)


def _alone(part: StepPart) -> Form:
    return Form({part: Link()})


def _negative(form: Form) -> Form:
    return form._replace(terms={part: way.then(minus=True) for part, way in form.terms.items()})


def _cut(form: Form) -> Form:
    return form._replace(terms={part: way.then(cut=True) for part, way in form.terms.items()})


def _sum(forms: Iterator[Form] | Sequence[Form]) -> Form:
    terms: dict[StepPart, Link] = {}
    biases: tuple[str, ...] = ()
    for form in forms:
        for part, way in form.terms.items():
            terms[part] = terms[part].then(*way.parameters, cut=way.cut) if part in terms else way
        biases = tuple(dict.fromkeys(biases + form.biases))
    return Form(terms, biases)


def _factors(terms: Mapping[StepPart, Link]) -> tuple[str, ...]:
    """The parameters of linear maps; biases are told by a note."""
    return tuple(dict.fromkeys(symbol for way in terms.values() for symbol in way.parameters))


def _adds_up(forms: Sequence[Form]) -> bool:
    """Whether a sum has each part once, or always behind linear maps."""
    ways: dict[StepPart, list[Link]] = {}
    for form in forms:
        for part, way in form.terms.items():
            ways.setdefault(part, []).append(way)
    return all(len(found) == 1 or all(way.parameters and not way.minus for way in found) for found in ways.values())


def _stems(symbols: Sequence[str]) -> str:
    """At most two symbols, then the first one's and dots."""
    shown = " ".join(map(pretty, symbols[:2]))
    return shown if len(symbols) <= 2 else f"{shown} …"
