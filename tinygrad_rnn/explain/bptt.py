r"""Backpropagation through time as equations: δ of each named value, and the gradients of the parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..autodiff import grad
from ..errors import GradientError, TinygradError
from ..graph.context import mode
from ..graph.node import Node, ancestors
from ..nn.module_trace import symbolic
from ..ops import detach
from ..ops.core import apply
from ..ops.facts import facts_of
from ..ops.formula import OPEN, TERM
from ..tensor import Tensor
from .forward import Forward
from .printer import over_axes

__all__ = ["Backward", "Term"]


class Term(NamedTuple):
    """A term of a value's derivative, from one equation that reads the value.

    Attributes
    ----------
    value : Node
        The term, computed from δ of the equation's value and from values of the equation's step.
    later : int
        Number of steps after which the equation reads the value: the delay of the value in the equation.
    when : str
        "T" or "1" if the equation reads the value of only this step, or "sum" if it reads the values of all steps.
    equation : Node
        The value on the left side of the equation.
    """

    value: Node
    later: int
    when: str
    equation: Node


class Backward:
    """Equations of the backward pass of a system.

    Attributes
    ----------
    originals : dict of Node to Node
        The value that each leaf in the graph of a term represents.
    deltas : dict of Node to Node
        For each leaf δ, the value with respect to which δ is the derivative.
    """

    def __init__(self, forward: Forward) -> None:
        self.forward, self.system = forward, forward.system
        self.originals: dict[Node, Node] = {}
        self.deltas: dict[Node, Node] = {}
        self.starts = {initial.node: initial for initial in self.system.initials}

    # -- the summands --------------------------------------------------------------------------

    def terms(self) -> dict[Node, list[Term]]:
        """Terms of the loss's derivative with respect to each named value and parameter.

        The derivative of ℓ_t with respect to an output is added. The derivative with respect to a value
        before the first step has only those summands of its state that lie in the sequence.
        """
        forward, references = self.forward, self.system.references
        differentiable = [node for node in forward.named if node.dtype.kind == "f"]
        found: dict[Node, list[Term]] = {node: [] for node in (*differentiable, *forward.parameters)}
        for node in differentiable:
            pulled = self._pull_back(node, [*differentiable, *references, *forward.parameters])
            for target, value in pulled.items():
                source, delay, when = references.get(target, (target, 0, ""))
                if when == "all":
                    raise TinygradError(
                        f"{node.name} reads the values of {source.name} at all steps, and backward equations cannot be "
                        "printed for "
                        "that; print the forward equations, or the parts of the model one by one"
                    )
                if source in found:
                    found[source].append(Term(value, delay, when, node))
        return {
            node: sorted(terms, key=lambda term: (bool(term.when), term.later)) if node not in forward.parameters else terms
            for node, terms in found.items()
        }

    def _pull_back(self, node: Node, targets: Sequence[Node]) -> dict[Node, Node]:
        """Contributions of one equation's cotangent δ to the cotangents of the values that the equation reads."""
        symbols = self.forward.symbols
        wanted_nodes = set(targets)
        with mode(tracing=True):
            stands: dict[Node, Tensor] = {}
            for source in _down_to([node], symbols, within=[node]):
                if source is not node and (source.primitive is None or source in symbols):
                    stands[source] = Tensor(source)
                    if source in symbols:
                        stands[source] = symbolic(source.spec, source.name, source.role)
                        self._stand(stands[source].node, source)
                elif source.primitive is not None:
                    stands[source] = apply(source.primitive, [stands[i] for i in source.inputs], source.attributes)
            self._stand(stands[node].node, node)
            delta = symbolic(node.spec, node.name, "cotangent")
            self.deltas[delta.node] = node
            if node in self.system.losses:
                self.forward.ones.add(delta.node)
            else:
                symbols[delta.node] = symbols[node]._replace(delta=True)
            reached = set(ancestors([stands[node].node]))
            wanted = [t for t in targets if t is not node and t in stands and stands[t].node in reached]
            wanted = [t for t in wanted if t.dtype.kind == "f" and t in wanted_nodes]
            wanted = [t for t in wanted if _is_reached(stands[node], stands[t], delta)]
            found = grad(stands[node], [stands[t] for t in wanted], delta)
        return {t: g.node for t, g in zip(wanted, found, strict=True) if delta.node in set(ancestors([g.node]))}

    def _stand(self, node: Node, original: Node) -> None:
        self.originals[node] = original
        self.forward.symbols[node] = self.forward.symbols[original]

    # -- lines -----------------------------------------------------------------------------------

    def lines(self) -> list[str]:
        """A LaTeX line for δ of each named value, and for the gradient of each parameter."""
        forward = self.forward
        terms = self.terms()
        shorter = self._shorten(terms)
        lines = []
        for node in reversed(forward.named):
            if node in terms and node not in self.system.losses:
                lines += self._of_value(node, terms)
        for parameter in forward.parameters:
            if total := self._from_all(parameter, terms[parameter]):
                lines.append(rf"\frac{{\partial L}}{{\partial {forward.printer.symbol(parameter)}}} &= {sum_of(total)}")
        return lines + shorter

    def _of_value(self, node: Node, terms: Mapping[Node, Sequence[Term]]) -> list[str]:
        """Lines for δ of one value: at any step t, and at the step where the value is also read from outside."""
        symbol = self.forward.symbols[node]
        if node in self.starts:
            _, state, time = self.starts[node]
            inside = [term for term in terms[state] if not term.when and term.later + time > 0]
            return [self._line(node, self._printed(state, inside, base=time))]
        if node in self.system.once:
            direct = [rf"\frac{{\partial L}}{{\partial {symbol.at(0)}}}"] if node in self.system.outputs else []
            return [self._line(node, [*direct, *self._from_all(node, terms[node])])]
        always = [term for term in terms[node] if term.when in ("", "sum")]
        lines = []
        ends = {term.when for term in terms[node]} - {"", "sum"}
        for base in ("t", *sorted(ends)):
            at: str | int = 1 if base == "1" else base
            there = [t for t in always if base == "t" or (t.later <= 0 if base == "T" else t.later >= 0)]
            direct = []
            if node in self.system.outputs:
                direct = [rf"\frac{{\partial \ell_{base}}}{{\partial {symbol.at(0, at)}}}"]
            own = [term for term in terms[node] if term.when == base]
            lines.append(self._line(node, [*direct, *self._printed(node, there, base=at), *self._from_all(node, own)], at))
        return lines

    def _from_all(self, target: Node, terms: Sequence[Term]) -> list[str]:
        """Terms of the derivative with respect to a shared value; terms of steps are in one sum over t."""
        steps = [term for term in terms if not self._is_once(term.equation)]
        outside = self._printed(target, [term for term in terms if self._is_once(term.equation)])
        inside = self._printed(target, steps, TERM if len(steps) == 1 else OPEN)
        total = inside[0] if len(inside) == 1 else rf"\left({sum_of(inside)}\right)"
        return [*outside, rf"\sum_t {total}"] if inside else outside

    def _line(self, node: Node, summands: Sequence[str], base: str | int = "t") -> str:
        return f"{self.forward.symbols[node]._replace(delta=True).at(0, base)} &= {sum_of(summands)}"

    def _is_once(self, node: Node) -> bool:
        """Whether the equation of a value holds once, not at each step."""
        return node in self.system.once or node in self.starts

    def _printed(self, target: Node, terms: Sequence[Term], binds: int = OPEN, base: str | int = "t") -> list[str]:
        forward = self.forward
        transposed = forward.printer.is_row(target) is not False
        lines = []
        for term in terms:
            printer = forward.printer_of(term.later, self._batch_sums(target, term.value), base)
            printer.prepare([term.value])
            if forward.mixes and self._is_over_batch(target, term.value):
                lines.append(r"\sum_{\text{batch}} " + printer.print(term.value, transposed, TERM))
            else:
                lines.append(printer.print(term.value, transposed, binds))
        return lines

    def _is_over_batch(self, target: Node, value: Node) -> bool:
        """Whether a term is a sum over examples, from values of each example to a shared value."""
        batch = self.system.batch
        each = any(batch in leaf.shape for leaf in ancestors([value]) if leaf in self.deltas)
        return each and batch not in target.shape

    def _batch_sums(self, target: Node, value: Node) -> set[Node]:
        """Leading sums over examples in the derivative with respect to a shared value.

        For one example these sums are left out; otherwise they are written once for the whole term. A
        mean over the examples within the step is not such a sum: its path passes values of
        single examples, or does not lead to δ.
        """
        batch = self.system.batch
        if batch in target.shape:
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
            if facts.reduces and facts.is_jointly_linear and batch in over_axes(node):
                found.add(node)
            elif batch not in node.shape and node not in self.forward.symbols:
                stack.extend(node.inputs)
        return found

    def _shorten(self, terms: Mapping[Node, Sequence[Term]]) -> list[str]:
        """Lines that name long expressions shared by several terms, such as a repeated inner value."""
        forward = self.forward
        pairs = [(target, term.value) for target, found in terms.items() for term in found]
        dropped = set().union(*[self._batch_sums(*pair) for pair in pairs])
        printer = forward.printer_of(dropped=dropped)
        nodes = _down_to([value for _, value in pairs], forward.symbols)
        return [forward.line(node, printer) for node in forward.abbreviate(nodes, printer)]


def _is_reached(y: Tensor, x: Tensor, delta: Tensor) -> bool:
    """Whether a gradient reaches x, by a path without a ``.detach()``."""
    if not any(node.operation == detach.name for node in ancestors([y.node])):
        return True
    try:
        grad(y, [x], delta)
    except GradientError:
        return False
    return True


def _down_to(roots: Sequence[Node], symbols: Mapping[Node, object], within: Sequence[Node] = ()) -> list[Node]:
    """Nodes from the roots down to leaves and values with a symbol."""
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


def sum_of(terms: Sequence[str]) -> str:
    return " + ".join(terms).replace("+ -", "- ") or "0"
