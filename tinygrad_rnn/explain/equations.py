r"""The equations of a cell, and of its backpropagation through time, as LaTeX.

Formulas are data beside the primitives. What a cell computes for a batch, with one example
in each row, is printed as textbooks do, for one example as a column: ``x @ U.T`` in a step
is :math:`U x_t`. So every expression is known in two forms, itself and transposed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autodiff import grad
from ..graph.graph import shown
from ..graph.node import Node, ancestors
from ..graph.place import mode
from ..nn.cell import Cell, flatten
from ..nn.trace import Step, symbolic, trace_step
from ..ops.core import ATOM, MATRIX, PRODUCT, SUM, apply
from ..tensor import Tensor

__all__ = ["equations"]


def equations(cell: Cell, backward: bool = False) -> str:
    r"""The step of a cell as LaTeX, or its backpropagation through time.

    Parameters
    ----------
    cell : Cell
    backward : bool
        Print the recursion for δ, the derivative of the loss L by each named value, and
        the gradients of the parameters as sums over steps; ℓ_t is what the output of
        step t adds to L.

    Returns
    -------
    str
        Lines of an ``aligned`` environment, an equation for each named value.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> print(equations(nn.RNNCell(3, 5)))
    \begin{aligned}
    h_t &= \tanh\left(U x_t + b + W h_{t-1} + b'\right)
    \end{aligned}
    """
    step = trace_step(cell)
    lines = _backward(step) if backward else _forward(step)
    return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"


def _forward(step: Step) -> list[str]:
    printer = _Printer(step, "t", "t-1")
    lines = [f"{printer.symbol(node)} &= {printer.right_side(node)}" for node in _named(step)]
    known = {_name_of(node) for node in _named(step)}
    for name, after in zip(step.names, step.after, strict=True):
        value = printer.print(after.node, transposed=True)
        if name not in known and value != _subscript(name, "t"):  # a delay under a name of its own
            lines.append(f"{_subscript(name, 't')} &= {value}")
    return lines


def _named(step: Step) -> list[Node]:
    """The values that get an equation: those with a name, outputs and next states."""
    ends = [t.node for t in (*flatten(step.output), *step.after)]
    for number, (end, slot) in enumerate(zip(ends[::-1], [*step.names[::-1], *[None] * len(ends)], strict=False)):
        if end.primitive is not None and end.name is None:
            end.name = slot or ("o" if len(ends) - number == 1 else f"o_{len(ends) - number}")
    return [node for node in ancestors(ends) if node.primitive is not None and node.name is not None]


def _name_of(node: Node) -> str:
    return node.name or node.operation


# -- backward ------------------------------------------------------------------------------


def _backward(step: Step) -> list[str]:
    named = _named(step)
    same, later = _Printer(step, "t", "t-1"), _Printer(step, "t+1", "t")
    outputs = {t.node for t in flatten(step.output)}
    next_of = [(after.node, slot.node) for after, slot in zip(step.after, step.state, strict=True)]
    parameters = [node for node in ancestors([*named]) if node.role == "parameter"]
    leaves = [t.node for t in step.state] + ([] if step.x is None else [x.node for x in flatten(step.x)])
    pulled = [_pull_back(node, [*named, *leaves, *parameters]) for node in named]

    def terms(target: Node, printer: _Printer, transposed: bool = True) -> list[str]:
        return [printer.print(found[target], transposed) for found in pulled if target in found]

    lines = []
    for node in reversed(named):
        direct = [rf"\frac{{\partial \ell_t}}{{\partial {same.symbol(node)}}}"] if node in outputs else []
        within = terms(node, same)
        through = [term for after, slot in next_of if after is node for term in terms(slot, later)]
        lines.append(f"{_delta(node, 't')} &= {_sum([*direct, *within, *through])}")
    for parameter in parameters:
        found = terms(parameter, same, transposed=len(parameter.shape) < 2)
        if found:
            total = _sum(found) if len(found) == 1 else rf"\left({_sum(found)}\right)"
            lines.append(rf"\frac{{\partial L}}{{\partial {parameter.name}}} &= \sum_t {total}")
    return lines


def _sum(terms: Sequence[str]) -> str:
    return " + ".join(terms).replace("+ -", "- ") or "0"


def _delta(node: Node, t: str) -> str:
    return rf"\delta^{{{_name_of(node)}}}_{{{t}}}" if len(t) > 1 else rf"\delta^{{{_name_of(node)}}}_{t}"


def _pull_back(node: Node, targets: Sequence[Node]) -> dict[Node, Node]:
    """What the cotangent δ of one named value adds to those of the values in its equation."""
    with mode(tracing=True):
        stands: dict[Node, Tensor] = {}
        for source in ancestors([node]):
            if source.primitive is None or (source.name is not None and source is not node):
                stands[source] = symbolic(source.spec, source.name, source.role) if source in targets else Tensor(source)
            else:
                stands[source] = apply(source.primitive, [stands[i] for i in source.inputs], source.attributes)
        stands[node].node.name = node.name
        delta = symbolic(node.spec, _name_of(node), _DELTA)
        reached = set(ancestors([stands[node].node]))
        wanted = [t for t in targets if t is not node and t in stands and stands[t].node in reached]
        wanted = [t for t in wanted if t.dtype.kind == "f"]
        found = grad(stands[node], [stands[t] for t in wanted], delta)
    return {t: g.node for t, g in zip(wanted, found, strict=True) if delta.node in set(ancestors([g.node]))}


_DELTA = "delta"


# -- printing ------------------------------------------------------------------------------


class _Printer:
    """Prints nodes with the values of one step at time `now`, and the slots at `before`."""

    def __init__(self, step: Step, now: str, before: str) -> None:
        self.slots = set(step.names)
        self.now, self.before = now, before

    def symbol(self, node: Node) -> str:
        """How a leaf or a named value is called."""
        name = _name_of(node)
        if node.role == "parameter":
            return name
        if node.role == _DELTA:
            return _delta(node, self.now)
        return _subscript(name, self.before if node.role == "initial" else self.now)

    def right_side(self, node: Node) -> str:
        """The formula of a named value, in terms of the others."""
        return self._apply(node, transposed=True)[0]

    def print(self, node: Node, transposed: bool, binds: int = SUM) -> str:
        """A value as it stands in a place that binds this tightly."""
        latex, own = self._form(node, transposed)
        return latex if own >= binds else rf"\left({latex}\right)"

    def _form(self, node: Node, transposed: bool) -> tuple[str, int]:
        if _is_number(node):
            return f"{node.value.item():g}", ATOM
        if node.primitive is None or node.name is not None:
            symbol = self.symbol(node) if node.name or node.role else r"\text{constant}"
            is_matrix = node.role == "parameter" and len(node.shape) > 1
            is_row = node.role != "parameter" and len(node.shape) > 1
            turned = transposed if is_matrix else not transposed and is_row
            return (_turned(symbol) if turned else symbol), ATOM
        return self._apply(node, transposed)

    def _apply(self, node: Node, transposed: bool) -> tuple[str, int]:
        primitive = node.primitive
        assert primitive is not None
        if "axis" in node.attributes and node.inputs[0].value.shape and _is_trivial(node):
            return self._form(node.inputs[0], transposed)
        formula = primitive.formula
        if formula.transposed is None and transposed == _is_weight(node):
            return _turned(self.print(node, not transposed, ATOM)), ATOM
        template, turned = formula.latex, transposed
        if transposed and formula.transposed is not None:
            template, turned = formula.transposed, False
        names = [name for name in primitive.arguments if not name.startswith("*")]
        arguments: dict[str, Any] = {name: _Argument(self, i, turned) for name, i in zip(names, node.inputs, strict=False)}
        rest = node.inputs[len(names) :]
        arguments["rest"] = ", ".join(self.print(i, turned) for i in (rest or node.inputs))
        attributes = {key: shown(value) for key, value in node.attributes.items()}
        binds = formula.binds
        if template in ("{x}", "{x:T}"):  # a change of shape only: as tight as what it changes
            binds = self._form(node.inputs[0], turned != (template == "{x:T}"))[1]
        return template.format(**arguments, **attributes), binds


class _Argument:
    """An input in a formula's template: ``{x}``, ``{x:product}``, ``{x:T}``, ``{x:atom,T}``."""

    def __init__(self, printer: _Printer, node: Node, transposed: bool) -> None:
        self.printer, self.node, self.transposed = printer, node, transposed

    def __format__(self, spec: str) -> str:
        parts = spec.split(",") if spec else []
        binds = {"product": PRODUCT, "matrix": MATRIX, "atom": ATOM}.get(parts[0] if parts else "", SUM)
        return self.printer.print(self.node, self.transposed != ("T" in parts), binds)


def _is_number(node: Node) -> bool:
    return node.primitive is None and isinstance(node.value, np.ndarray) and node.value.size == 1 and node.name is None


def _is_weight(node: Node) -> bool:
    """Whether a value is made of weight matrices alone, so that it is printed as it is."""
    leaves = [leaf for leaf in ancestors([node]) if leaf.primitive is None and not _is_number(leaf)]
    return bool(leaves) and all(leaf.role == "parameter" and len(leaf.shape) > 1 for leaf in leaves)


def _turned(latex: str) -> str:
    return rf"{{{latex}}}^{{\top}}" if "^" in latex else rf"{latex}^{{\top}}"


def _is_trivial(node: Node) -> bool:
    """Whether it is a reduction over axes of length 1, as those over a batch of one are."""
    axis = node.attributes["axis"]
    axes = axis if isinstance(axis, tuple) else (axis,)
    return len(node.inputs) == 1 and all(node.inputs[0].shape[a] == 1 for a in axes)


def _subscript(name: str, t: str) -> str:
    time = t if len(t) == 1 else f"{{{t}}}"
    if "_" in name:
        stem, _, rest = name.partition("_")
        return f"{stem}_{{{rest.strip('{}')},{t}}}"
    return f"{name}_{time}"
