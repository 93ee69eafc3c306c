"""A whole model as a system of equations: its graph over some steps, reduced to the middle step of each run."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import TinygradError
from ..graph.context import mode
from ..graph.graph import Graph, is_constant
from ..graph.node import Node, ancestors, behind_cuts
from ..nn.module import Module
from ..nn.module_trace import symbolic
from ..ops.core import apply
from ..ops.facts import facts_of, scales
from ..tensor import Tensor
from ..views.contraction import copy_of
from ..views.runs import Run, Runs, longest_delay
from ..views.symbolic_run import traced
from .system import NAMELESS, Initial, Reference, System, lengths_in, name_outputs, name_states, unlike
from .textbook import is_affine

__all__ = ["of_module"]

STEPS = 11
"""Number of traced steps, if no delay is longer; no length in a model should be a multiple of this number."""
LONGEST = 127
"""Largest number of traced steps."""


def of_module(
    module: Module, inputs: Any = None, loss: Callable[[Tensor, Tensor], Tensor] | None = None, targets: Any = None
) -> System:
    """The system of a model that runs over time: one step, and the values computed before and after it.

    Parameters
    ----------
    module, inputs, loss, targets
        The same options as for a drawing: see :meth:`tinygrad_rnn.nn.Module.draw`.

    Raises
    ------
    TinygradError
        If the steps are not alike, or no input was found on which the model runs.
    """
    lengths = lengths_in(module)
    batch, T = unlike(lengths, 997), unlike(lengths, STEPS)
    graph = traced(module, T, inputs, loss, targets, batch=batch)
    while longest_delay(graph) > T // 2:  # some delays are still longer than the steps before the middle step
        if T >= LONGEST:
            raise TinygradError(
                f"equations can be printed for delays of at most {LONGEST // 2} steps, and this model has longer ones"
            )
        T = unlike(lengths, min(LONGEST, 3 * T))
        graph = traced(module, T, inputs, loss, targets, batch=batch)
    return _Model(graph, batch, T).system()


class Place(NamedTuple):
    """Position of a node of a traced model: its run, its step in the sequence, and its counterpart in the middle step."""

    run: Run
    column: int
    middle: Node


class _Model:
    """A traced graph, reduced to the middle step of each run."""

    def __init__(self, graph: Graph, batch: int, T: int) -> None:
        self.graph, self.batch, self.T = graph, batch, T
        self.nodes = behind_cuts(graph.outputs)
        runs = Runs(self.nodes)
        self.places: dict[Node, Place] = {}
        self.starts: dict[Node, list[tuple[int, Node]]] = {}
        self.moving: set[Node | None] = set()
        for unrolling in graph.unrollings():
            folded = graph.fold(unrolling)
            for column in folded.columns.values():
                middle = column[len(column) // 2]
                if middle is None or all(map(is_constant, filter(None, column))):
                    continue
                for node in filter(None, column):
                    step = runs.step(node)
                    assert step is not None
                    self.places[node] = Place(step[0], step[0].column(step[1]), middle)
            self.moving |= {folded.columns[piece.node][T // 2] for piece in folded.slices}
            for delay in folded.delays:
                state = next(n for n in folded.columns[delay.source] if n is not None)
                before = [(k + 1 - delay.steps, node) for k, node in enumerate(delay.initial)]
                self.starts.setdefault(self.places[state].middle, before)
        self.new: dict[Node, Node] = {}
        self.leaves: dict[Reference, Node] = {}
        self.copies: dict[Node, Node] = {}
        self.initials: list[Initial] = []
        self.read_out: dict[Node, set[int]] = {}
        for place in (self.places[node] for node in graph.outputs if node in self.places):
            self.read_out.setdefault(place.middle, set()).add(place.column)

    def system(self) -> System:
        for node in self.nodes:
            place = self.places.get(node)
            if place is None or place.middle is node:
                self._add(node)
        ends = list(dict.fromkeys(self._end(node) for node in self.graph.outputs))
        losses = [end for end in ends if end.role == "loss"]
        references = {leaf: reference._replace(node=self.new[reference.node]) for reference, leaf in self.leaves.items()}
        initials = [initial._replace(state=self.new[initial.state]) for initial in self.initials]
        in_steps = {self.new[p.middle]: p.run for p in self.places.values() if p.middle in self.new}
        nameless = [n for n in ancestors(ends) if n.primitive is not None and re.fullmatch(NAMELESS, n.name or "")]
        name_states([*(reference.node for reference in references.values()), *nameless], ends)
        made = [end for end in ends if end not in losses]
        if in_steps and len(made) == 1:
            _name_scores(made[0])
        name_outputs(made, "oyuv" if in_steps else "yuvo")
        system = System(
            batch=self.batch,
            ends=[*ends, *(reference.node for reference in references.values())],
            outputs=[] if losses else ends,
            references=references,
            initials=initials,
            losses=losses,
            runs=in_steps,
            steps=self.T,
        )
        system.once = {n for n in system.nodes if n not in in_steps and n not in references and n.role != "parameter"}
        return system

    def _end(self, node: Node) -> Node:
        """An output as a separate node, for each step or for one step only."""
        place = self.places.get(node)
        source = node
        if place is None:
            made = self.new[node]
        elif self.read_out[place.middle] < set(range(1, self.T + 1)):
            made = self._leaf(node, Reference(place.middle, when=self._when("the output", place)))
        else:
            source, made = place.middle, self.new[place.middle]
        if made.primitive is not None:
            return made
        if source not in self.copies:
            self.copies[source] = copy_of(made)
            if source is not node and place is not None:
                self.new[self.copies[source]] = self.copies[source]
                self.places[self.copies[source]] = place._replace(middle=self.copies[source])
        return self.copies[source]

    def _when(self, reader: str, place: Place) -> str:
        """The only step, first or last, at which a value is read."""
        when = {1: "1", self.T: "T"}.get(place.column)
        if when is None:
            raise TinygradError(
                f"equations can be printed if an operation reads all steps, the first or the last, but {reader} reads "
                "only step "
                f"{place.column} of {self.T}"
            )
        return when

    def _add(self, node: Node) -> None:
        """Rebuild a node with operands of the middle step, or with leaves for values of other times."""
        if node.primitive is None:
            self.new[node] = node
            return
        for time, before in self.starts.get(node, ()):
            self._add_start(node, time, before)
        summed = self._summed(node)
        if node in self.moving:
            self.new[node] = self._repeated(node)
        elif summed is not None:
            self.new[node] = self._leaf(node, Reference(summed, when="sum"))
        elif all(i in self.places for i in node.inputs) and self._all_steps(node):
            self.new[node] = self._leaf(node, Reference(self.places[node.inputs[0]].middle, when="all"))
        else:
            made = node.again(tuple(self._read(node, i) for i in node.inputs))
            self.new[node] = _of_one_example(made, self.batch) if node.role == "loss" else made

    def _read(self, reader: Node, source: Node) -> Node:
        """The source of an operand, in the middle step of its run."""
        place = self.places.get(source)
        if place is None:
            return self.new[source]
        here = self.places.get(reader)
        if here is None:
            when = self._when(f"{reader.operation}{reader.location.describe()}", place)
            return self._leaf(source, Reference(place.middle, when=when))
        delay = here.column - place.column
        if delay == 0 and place.middle in self.new:
            return self.new[place.middle]
        return self._leaf(source, Reference(place.middle, delay))

    def _leaf(self, like: Node, reference: Reference) -> Node:
        if reference not in self.leaves:
            self.leaves[reference] = symbolic(like.spec, like.name).node
        return self.leaves[reference]

    def _all_steps(self, node: Node) -> bool:
        """Whether a node stacks the values of all steps in order."""
        places = [self.places[i] for i in node.inputs]
        alike = len({place.middle for place in places}) == 1
        return alike and facts_of(node).joins is not None and [p.column for p in places] == list(range(1, self.T + 1))

    def _repeated(self, node: Node) -> Node:
        """The value that a node reads at each step, if it is one value repeated for all steps."""
        whole = once = node.inputs[0]
        while facts_of(once).copies and once.shape != node.shape:
            once = once.inputs[0]
        if len(node.inputs) == 1 and once.shape == node.shape:
            return self._read(node, once)
        raise TinygradError(
            f"{node.operation}{node.location.describe()} reads another part of {whole.name or whole.operation} at each "
            "step by an "
            "index; read the elements by `for t, x in tr.steps(xs):`, so that equations can name them"
        )

    def _summed(self, node: Node) -> Node | None:
        """The value of each step, for a node that sums over steps."""
        facts = facts_of(node)
        if not (facts.reduces and facts.is_jointly_linear) or node in self.places:
            return None
        (stacked,) = node.inputs
        axes = node.attributes[facts.reduces]
        if axes != (-len(stacked.shape),) or not all(i in self.places for i in stacked.inputs) or not stacked.inputs:
            return None
        return self.places[stacked.inputs[0]].middle if self._all_steps(stacked) else None

    def _add_start(self, state: Node, time: int, before: Node) -> None:
        """Add the equation of a value before the first step, unless that value is given."""
        place = self.places.get(before)
        made_of = ancestors([before])
        if not any(node.role in ("parameter", "input") or node in self.places for node in made_of):
            return
        new = self._leaf(before, Reference(place.middle, when="T")) if place is not None else self.new[before]
        made = copy_of(new)
        made.name = state.name
        self.initials.append(Initial(made, state, time))


def _of_one_example(loss: Node, batch: int) -> Node:
    """Each example's loss, for a loss that is a sum or mean over examples."""
    node, divisor = _uncopied(loss), 1.0
    if scales(node) and is_constant(node.inputs[1]) and node.inputs[1].value.size == 1:
        divisor, node = float(node.inputs[1].value) / batch, _uncopied(node.inputs[0])
    facts = facts_of(node)
    if not (facts.reduces and facts.is_jointly_linear and divisor == int(divisor)) or node.primitive is None:
        return loss
    (values,) = node.inputs
    axes = node.attributes[facts.reduces]
    others = tuple(a for a in axes if values.shape[a] != batch)
    if len(others) == len(axes):
        return loss
    with mode(tracing=True):
        made = apply(node.primitive, [Tensor(values)], {**node.attributes, facts.reduces: others}) if others else Tensor(values)
        made = made / divisor if divisor != 1 else made
    if made.node is values:
        made = Tensor(copy_of(values))
    made.node.name, made.node.role = loss.name, loss.role
    return made.node


def _uncopied(node: Node) -> Node:
    while facts_of(node).copies:
        (node,) = node.inputs
    return node


def _name_scores(output: Node) -> None:
    """Name an affine value o if an unnamed output, such as a softmax, reads it; and name the output ŷ."""
    scores = output
    while scores.name is None and len(scores.inputs) == 1 and not facts_of(scores).is_jointly_linear:
        (scores,) = scores.inputs
    taken = {node.name for node in ancestors([output])}
    if scores is not output and scores.name is None and is_affine(scores) and not taken & {"o", r"\hat{y}"}:
        scores.name, output.name = "o", r"\hat{y}"
