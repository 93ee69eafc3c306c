"""The equations of a model, before they are printed: one step of each run over time, and values that are computed once."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ..graph.context import mode
from ..graph.node import Node, ancestors
from ..nn.cell import Cell
from ..nn.module import Module
from ..nn.module_trace import Step, trace_step
from ..tree import flatten
from ..views.contraction import copy_of
from ..views.runs import Run

__all__ = ["NAMELESS", "Initial", "Reference", "System", "lengths_in", "name_outputs", "name_states", "of_cell", "unlike"]

NAMELESS = r"state(_\d+)?"
"""Name of slots that have no name from their author."""


class Reference(NamedTuple):
    """The value at another time that a leaf represents.

    Attributes
    ----------
    node : Node
        The value.
    delay : int
        Number of steps by which the value is earlier than its reader; negative for a later value.
    when : str
        The steps of the value, for a reader that is computed once: ``"T"``, ``"1"``, ``"sum"`` over all steps, or ``"all"``.
    """

    node: Node
    delay: int = 0
    when: str = ""


class Initial(NamedTuple):
    """A value before the first computed step.

    Attributes
    ----------
    node : Node
        The node that computes the value, once.
    state : Node
        The state that starts with this value.
    time : int
        The step of the value: 0, or less for longer delays.
    """

    node: Node
    state: Node
    time: int


@dataclass
class System:
    """Equations of one step, and of values computed once, with the references between them.

    Attributes
    ----------
    batch : int
        The length of the axis of examples; no other axis has this length.
    ends : list of Node
        All results: outputs, next states, losses.
    outputs : list of Node
        Values that a loss may read; empty if losses are among the ends.
    references : dict of Node to Reference
        The value of another time that a leaf represents.
    initials : list of Initial
    once : set of Node
        Values that belong to no step.
    losses : list of Node
    runs : dict of Node to Run
        The run over the sequence to which each value of a step belongs.
    held : list of (str, Node)
        State slots with an author's name, each with the leaf that represents the slot.
    steps : int
        Number of traced steps, which is printed as T; 0 for a single step.
    """

    batch: int
    ends: list[Node]
    outputs: list[Node]
    references: dict[Node, Reference]
    initials: list[Initial] = field(default_factory=list)
    once: set[Node] = field(default_factory=set)
    losses: list[Node] = field(default_factory=list)
    runs: dict[Node, Run] = field(default_factory=dict)
    held: list[tuple[str, Node]] = field(default_factory=list)
    steps: int = 0

    @property
    def nodes(self) -> list[Node]:
        """All values and leaves, each after its inputs."""
        return ancestors(self.all_ends)

    @property
    def all_ends(self) -> list[Node]:
        """The ends, and the values before the first step."""
        return [*self.ends, *(initial.node for initial in self.initials)]

    def rewritten(self, new: Mapping[Node, Node]) -> System:
        """The system with replacements for its ends and for the values read at other times."""

        def of(node: Node) -> Node:
            return new.get(node, node)

        return replace(
            self,
            ends=[of(end) for end in self.ends],
            outputs=[of(output) for output in self.outputs],
            references={leaf: reference._replace(node=of(reference.node)) for leaf, reference in self.references.items()},
            initials=[initial._replace(node=of(initial.node), state=of(initial.state)) for initial in self.initials],
            once={of(node) for node in self.once},
            losses=[of(loss) for loss in self.losses],
            runs={of(node): run for node, run in self.runs.items()},
        )


def of_cell(cell: Cell, inputs: Any = None) -> System:
    """One step of a cell as a system.

    Raises
    ------
    ShapeError
        If no input was found that the cell takes.
    TraceError
        If the step needs the values of its tensors.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> system = of_cell(nn.RNNCell(3, 5))
    >>> [(leaf.name, reference.node.operation, reference.delay) for leaf, reference in system.references.items()]
    [('h', 'tanh', 1)]
    """
    batch = unlike(lengths_in(cell), 997)
    step = trace_step(cell, batch, inputs)
    outputs, after = _ends(step)
    slots = [slot.node for slot in step.state]
    references = {}
    for slot, node in zip(slots, after, strict=True):
        delay = 1
        while node in slots:  # a slot that copies another slot
            node, delay = after[slots.index(node)], delay + 1
        references[slot] = Reference(node, delay)
    held = [
        (name, slot)
        for name, slot in zip(step.names, slots, strict=True)
        if not re.fullmatch(rf"{NAMELESS}|{re.escape(references[slot].node.name or '')}(_\d+)?", name)
    ]
    return System(batch, [*outputs, *after], outputs, references, held=held)


def _ends(step: Step) -> tuple[list[Node], list[Node]]:
    """Outputs and next states with names; an output that only copies a value gets a separate node."""
    with mode(tracing=True):
        outputs = [t.node if t.node.primitive is not None else copy_of(t.node) for t in flatten(step.output)]
    after = [t.node for t in step.after]
    for end, name in zip(after, step.fields, strict=True):
        if end.primitive is not None and end.name is None:
            end.name = name
    name_states([end for end in after if end.primitive is not None], [*outputs, *after])
    name_outputs(outputs)
    slots = [slot.node for slot in step.state]
    for i, end in enumerate(after):
        seen = [i]
        while end in slots and slots.index(end) not in seen:
            seen.append(slots.index(end))
            end = after[seen[-1]]
        if end in slots or (end.primitive is None and end.role is None):  # a cycle or a constant: a separate value
            after[i] = copy_of(after[i])
            name_states([after[i]], [*outputs, *after])
    return outputs, after


def name_outputs(outputs: Sequence[Node], letters: str = "oyuv") -> None:
    """Name each unnamed output with the first free letter."""
    taken = {node.name for node in ancestors(outputs) if node.role != "parameter"}
    name = next(letter for letter in (*letters, "out") if letter not in taken)
    for number, end in enumerate(outputs, start=1):
        if end.name is None:
            end.name = name if len(outputs) == 1 else f"{name}_{number}"


def lengths_in(module: Module) -> set[int]:
    """All lengths in a module: axes of parameters, and integers among its attributes."""
    lengths = {n for p in module.parameters() for n in p.shape}
    return lengths | {n for _, m in module.modules() for value in vars(m).values() for n in flatten(value) if type(n) is int}


def unlike(lengths: Iterable[int], start: int) -> int:
    """A number of which no given length is a multiple, so that an axis of this length can be recognised.

    Examples
    --------
    >>> unlike([3, 997, 0], 997)
    999
    """
    return next(n for n in itertools.count(start, 2) if all(length % n or not length for length in lengths))


def name_states(states: Iterable[Node], ends: Iterable[Node]) -> None:
    """Name values that other steps read, if their author gave no name."""
    nameless = [node for node in dict.fromkeys(states) if node.name is None or re.fullmatch(NAMELESS, node.name)]
    taken = {node.name for node in ancestors(ends)}
    free = (name for name in itertools.chain("hsvmpq", (f"h_{k}" for k in itertools.count(1))) if name not in taken)
    for node, name in zip(nameless, free, strict=False):
        node.name = name
