r"""The equations of a cell, and of its backpropagation through time, read off its graph."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..autodiff import grad
from ..graph.context import mode
from ..graph.node import Node, ancestors
from ..nn.cell import Cell
from ..nn.module_trace import Step, symbolic, trace_step
from ..ops import astype
from ..ops.core import apply
from ..ops.facts import facts_of
from ..ops.formula import TERM
from ..tensor import Tensor
from ..tree import flatten
from .names import subscripted, word
from .printer import Printer, Symbol, over_axes

__all__ = ["Equations", "Term", "equations"]

LONG = 200
"""An unnamed value whose LaTeX is longer gets a name and a line if it is used more than once."""


def equations(cell: Cell, backward: bool = False, inputs: Any = None) -> str:
    r"""The equations of a cell as LaTeX, or those of its backpropagation through time.

    A value that is long, has no name and is used more than once is given one. What is
    called :math:`x_{t-2}` before the sequence began is what the state started from.

    Parameters
    ----------
    cell : Cell
    backward : bool
        Print the recursion for δ, the derivative of the loss L by each named value, and
        the gradients of the parameters as sums over steps; ℓ_t is what the output of
        step t adds to L. All is for one example, unless the step itself goes over the
        examples of a batch.
    inputs : array_like, Tensor, Spec, or nested tuples of them, optional
        An example of what the cell takes at one step, shape (batch, features); found out
        if not given.

    Returns
    -------
    str
        Lines of an ``aligned`` environment, an equation for each named value.

    Raises
    ------
    ShapeError
        If no input was found that the cell takes.
    TraceError
        If the step looks at the values of its tensors.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> print(equations(nn.RNNCell(3, 5)))
    \begin{aligned}
    h_t &= \tanh\left(U x_t + b + W h_{t-1} + b'\right)
    \end{aligned}
    """
    found = Equations(cell, inputs)
    lines = found.backward() if backward else found.forward()
    return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"


class Term(NamedTuple):
    """A summand of the derivative by a value, from one equation that reads the value.

    Attributes
    ----------
    value : Node
        Made of δ of the equation's value, and of values of its step.
    later : int
        How many steps later the equation is read: the delay of the value in it.
    """

    value: Node
    later: int


class Equations:
    """A traced step with its named values, and the derivatives that each equation passes back.

    Attributes
    ----------
    step : Step
    named : list of Node
        The values that get an equation, each after those it is made of.
    carried : dict of Node to (Node, int)
        Each slot is the value of another node, so many steps before: slots that only hand
        on what other slots received are followed to their end.
    symbols : dict of Node to Symbol
    originals : dict of Node to Node
        The values that leaves in the graphs of terms stand for.
    deltas : dict of Node to Node
        The value that each leaf δ is the derivative by.
    """

    def __init__(self, cell: Cell, inputs: Any = None) -> None:
        self.batch = _batch_size(cell)
        self.step = trace_step(cell, self.batch, inputs)
        self.originals: dict[Node, Node] = {}
        self.deltas: dict[Node, Node] = {}
        self.outputs, self.after = _ends(self.step)
        self.carried = _carried([slot.node for slot in self.step.state], self.after)
        nodes = ancestors([*self.outputs, *self.after])
        self.named = [node for node in nodes if node.primitive is not None and node.name is not None]
        self.parameters = [node for node in nodes if node.role == "parameter"]
        inside = [] if self.step.x is None else [x.node for x in flatten(self.step.x)]
        paths = {p.node: path for path, p in cell.named_parameters()}
        self.symbols: dict[Node, Symbol] = {}
        for node, mark in _marks([*inside, *self.parameters, *self.named], paths).items():
            self.symbols[node] = Symbol(_called(node), None if node.role == "parameter" else 0, mark=mark)
        for slot, (node, delay) in self.carried.items():
            symbol = self.symbols[node]
            self.symbols[slot] = symbol._replace(delay=None if symbol.delay is None else delay)
        self.mixes = any(self.batch in over_axes(node) for node in nodes)
        self.printer = Printer(self.symbols, self.batch)
        self.named = sorted([*self.named, *self._abbreviate(nodes, self.printer)], key=lambda node: node.serial)

    # -- forward ---------------------------------------------------------------------------

    def forward(self) -> list[str]:
        """A LaTeX line for each named value, and for each slot with a name given by the author."""
        lines = [self._line(node, self.printer) for node in self.named]
        for slot, name in zip(self.step.state, self.step.names, strict=True):
            symbol, held_by = self.symbols[slot.node], self.carried[slot.node][0].name or ""
            if not re.fullmatch(rf"(state|{re.escape(held_by)})(_\d+)?", name):  # the author's own: say what it holds
                held = symbol if symbol.delay is None else symbol._replace(delay=symbol.delay - 1)
                lines.append(f"{subscripted(name, 't')} &= {held.at(0)}")
        return lines

    def _line(self, node: Node, printer: Printer) -> str:
        return f"{printer.symbol(node)} &= {printer.right_side(node)}"

    def _abbreviate(self, nodes: Iterable[Node], printer: Printer) -> list[Node]:
        """Name long values that are used more than once, so that the text does not outgrow the graph."""
        uses: dict[Node, int] = {}
        nodes = list(nodes)
        for node in nodes:
            for source in node.inputs:
                uses[source] = uses.get(source, 0) + 1
        found = []
        taken = {symbol.name for symbol in self.symbols.values()}
        for node in nodes:
            if node.primitive is None or node in self.symbols or uses.get(node, 0) < 2 or printer.number(node) is not None:
                continue
            printer.prepare([node])
            natural = printer.is_row(node) is not False
            if len(printer.form(node, natural)[0]) > LONG:
                name = next(name for name in _letters() if name not in taken)
                taken.add(name)
                self.symbols[node] = Symbol(name)
                printer.forms.pop((node, True)), printer.forms.pop((node, False))
                found.append(node)
        return found

    # -- backward --------------------------------------------------------------------------

    def terms(self) -> dict[Node, list[Term]]:
        """The summands of the derivative of the loss by each named value and parameter.

        The derivative of ℓ_t by an output comes on top.
        """
        differentiable = [node for node in self.named if node.dtype.kind == "f"]
        found: dict[Node, list[Term]] = {node: [] for node in (*differentiable, *self.parameters)}
        pulled = [self._pull_back(node, [*differentiable, *self.carried, *self.parameters]) for node in differentiable]
        for target in found:
            found[target] += [Term(terms[target], 0) for terms in pulled if target in terms]
            for slot, (source, delay) in self.carried.items():
                if source is target:
                    found[target] += [Term(terms[slot], delay) for terms in pulled if slot in terms]
        return found

    def backward(self) -> list[str]:
        """A LaTeX line for δ of each named value, and for the gradient of each parameter."""
        terms = self.terms()
        shorter = self._shorten(terms)
        lines = []
        for node in reversed(self.named):
            if node not in terms:
                continue
            symbol = self.printer.symbol(node)
            direct = [rf"\frac{{\partial \ell_t}}{{\partial {symbol}}}"] if node in self.outputs else []
            name = self.symbols[node]._replace(delta=True).at(0)
            lines.append(f"{name} &= {_sum([*direct, *self._printed(node, terms[node])])}")
        for parameter in self.parameters:
            found = self._printed(parameter, terms[parameter], TERM if len(terms[parameter]) == 1 else 0)
            if found:
                total = found[0] if len(found) == 1 else rf"\left({_sum(found)}\right)"
                lines.append(rf"\frac{{\partial L}}{{\partial {self.printer.symbol(parameter)}}} &= \sum_t {total}")
        return lines + shorter

    def _printed(self, target: Node, terms: Sequence[Term], binds: int = 0) -> list[str]:
        transposed = self.printer.is_row(target) is not False
        lines = []
        for term in terms:
            printer = Printer(self.symbols, self.batch, term.later, self._batch_sums(target, term.value))
            printer.prepare([term.value])
            if self.mixes and self._is_over_batch(target, term.value):
                lines.append(r"\sum_{\text{batch}} " + printer.print(term.value, transposed, TERM))
            else:
                lines.append(printer.print(term.value, transposed, binds))
        return lines

    def _is_over_batch(self, target: Node, value: Node) -> bool:
        """Whether a summand is a sum over examples: from values of each example to a shared target."""
        each = any(self.batch in leaf.shape for leaf in ancestors([value]) if leaf in self.deltas)
        return each and self.batch not in target.shape

    def _batch_sums(self, target: Node, value: Node) -> set[Node]:
        """The sums over examples with which the derivative by a shared value begins.

        They are left out for one example, or said once for the whole term. A mean over the
        examples within the step is none of them: the way to it leads past an example's own
        values, or does not lead to δ.
        """
        if self.batch in target.shape:
            return set()
        with_delta: set[Node] = set()
        for node in ancestors([value]):
            if node in self.deltas or not with_delta.isdisjoint(node.inputs):
                with_delta.add(node)
        found, stack = set(), [value]
        while stack:
            node = stack.pop()
            if node not in with_delta or node in found:
                continue
            facts = facts_of(node)
            if facts.reduces and facts.is_jointly_linear and self.batch in over_axes(node):
                found.add(node)
            elif self.batch not in node.shape and node not in self.symbols:
                stack.extend(node.inputs)
        return found

    def _shorten(self, terms: Mapping[Node, Sequence[Term]]) -> list[str]:
        """Lines for long values that summands share, such as an inner value that its own derivative needs."""
        pairs = [(target, term.value) for target, found in terms.items() for term in found]
        dropped = set().union(*[self._batch_sums(*pair) for pair in pairs])
        printer = Printer(self.symbols, self.batch, dropped=dropped)
        nodes = _down_to([value for _, value in pairs], self.symbols)
        return [self._line(node, printer) for node in self._abbreviate(nodes, printer)]

    def _pull_back(self, node: Node, targets: Sequence[Node]) -> dict[Node, Node]:
        """The contributions of one equation's cotangent δ to the cotangents of the values that it reads."""
        wanted_nodes = set(targets)
        with mode(tracing=True):
            stands: dict[Node, Tensor] = {}
            for source in _down_to([node], self.symbols, within=[node]):
                if source is not node and (source.primitive is None or source in self.symbols):
                    stands[source] = Tensor(source)
                    if source in self.symbols:
                        stands[source] = symbolic(source.spec, source.name, source.role)
                        self._stand(stands[source].node, source)
                elif source.primitive is not None:
                    stands[source] = apply(source.primitive, [stands[i] for i in source.inputs], source.attributes)
            self._stand(stands[node].node, node)
            delta = symbolic(node.spec, node.name, "cotangent")
            self.deltas[delta.node] = node
            self.symbols[delta.node] = self.symbols[node]._replace(delta=True)
            reached = set(ancestors([stands[node].node]))
            wanted = [t for t in targets if t is not node and t in stands and stands[t].node in reached]
            wanted = [t for t in wanted if t.dtype.kind == "f" and t in wanted_nodes]
            found = grad(stands[node], [stands[t] for t in wanted], delta)
        return {t: g.node for t, g in zip(wanted, found, strict=True) if delta.node in set(ancestors([g.node]))}

    def _stand(self, node: Node, original: Node) -> None:
        self.originals[node] = original
        self.symbols[node] = self.symbols[original]


# -- what a step consists of ---------------------------------------------------------------


def _batch_size(cell: Cell) -> int:
    """A batch size of which no length in the cell is a multiple, so that its axis can be recognised."""
    lengths = {n for p in cell.parameters() for n in p.shape}
    lengths |= {n for _, m in cell.modules() for value in vars(m).values() for n in flatten(value) if isinstance(n, int)}
    return next(n for n in itertools.count(997, 2) if all(length % n or not length for length in lengths))


def _ends(step: Step) -> tuple[list[Node], list[Node]]:
    """The outputs and next states with names; an output that only passes a value on gets its own node."""
    with mode(tracing=True):
        outputs = [t.node if t.node.primitive is not None else _copy(t.node) for t in flatten(step.output)]
    after = [t.node for t in step.after]
    for end, name in zip(after, step.names, strict=True):
        if end.primitive is not None and end.name is None:
            end.name = name
    for number, end in enumerate(outputs, start=1):
        if end.name is None:
            end.name = "o" if len(outputs) == 1 else f"o_{number}"
    slots = [slot.node for slot in step.state]
    for i, end in enumerate(after):
        seen = [i]
        while end in slots and slots.index(end) not in seen:
            seen.append(slots.index(end))
            end = after[seen[-1]]
        if end in slots or (end.primitive is None and end.role is None):  # a circle, or a constant: a value of its own
            with mode(tracing=True):
                after[i] = _copy(after[i])
            after[i].name = step.names[i]
    return outputs, after


def _copy(node: Node) -> Node:
    return apply(astype, (Tensor(node),), {"dtype": node.dtype}).node


def _carried(slots: list[Node], after: list[Node]) -> dict[Node, tuple[Node, int]]:
    """For each slot, the node whose value it holds, and how many steps earlier that value was made."""
    found = {}
    for slot, node in zip(slots, after, strict=True):
        delay = 1
        while node in slots:
            node, delay = after[slots.index(node)], delay + 1
        found[slot] = (node, delay)
    return found


def _called(node: Node) -> str:
    return node.name or node.operation


def _marks(nodes: Sequence[Node], paths: dict[Node, str]) -> dict[Node, str]:
    """For nodes of equal names, a LaTeX mark of where each is in the cell."""
    groups: dict[str, list[Node]] = {}
    for node in nodes:
        groups.setdefault(_called(node), []).append(node)
    found = {}
    for group in groups.values():
        marks = [""] * len(group)
        if len(group) > 1:
            full = [paths.get(node, node.scope) for node in group]
            scopes = [path.rpartition(".")[0] if node in paths else path for path, node in zip(full, group, strict=True)]
            marks = next((m for m in (scopes, full) if len(set(m)) == len(m)), [str(i + 1) for i in range(len(group))])
        for node, mark in zip(group, marks, strict=True):
            found[node] = mark if mark.isdecimal() or not mark else word(mark)
    return found


def _letters() -> Iterable[str]:
    yield from "abcdefgkmnpqrsuvwyz"
    yield from (f"a_{i}" for i in itertools.count(1))


def _down_to(roots: Sequence[Node], symbols: dict[Node, Symbol], within: Sequence[Node] = ()) -> list[Node]:
    """The nodes that the roots are computed from, down to leaves and to values with a symbol."""
    seen = set(roots)
    stack = list(seen)
    while stack:
        node = stack.pop()
        if node in symbols and node not in within:
            continue
        for source in node.inputs:
            if source not in seen:
                seen.add(source)
                stack.append(source)
    return [node for node in ancestors(roots) if node in seen]


def _sum(terms: Sequence[str]) -> str:
    return " + ".join(terms).replace("+ -", "- ") or "0"
