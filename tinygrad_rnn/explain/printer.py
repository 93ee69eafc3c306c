r"""Printer of nodes as LaTeX, by the formulas of their primitives.

A cell computes with a batch that has one example in each row. Equations are printed as in
textbooks, for one example as a column: ``x @ U.T`` in a step is :math:`U x_t`. So the printer
knows two forms of every expression: the expression itself, and its transpose.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..graph.graph import shown
from ..graph.node import Node
from ..ops.facts import facts_of
from ..ops.formula import ATOM, OPEN, PRECEDENCE, PRODUCT, SUM, SYMBOL, TERM, Formula
from ..ops.indexing import is_index_array
from ..tree import flatten
from .names import subscripted

__all__ = ["Printer", "Symbol", "over_axes"]


class Symbol(NamedTuple):
    r"""Symbol of a value in equations: name, delay and marks.

    Attributes
    ----------
    name : str
    delay : int or None
        The number of steps by which the value is delayed; None for a value that is the same at all steps.
    delta : bool
        Whether the symbol is the derivative of the loss with respect to the value of that name.
    mark : str
        LaTeX that distinguishes the symbol from others with the same name, if any.
    when : str
        The only step of the value, such as "T"; or "sum" or "all" for the values of all steps.
    loss : str
        For a derivative, the step whose loss is differentiated; if not given, the sum of all losses.

    Examples
    --------
    >>> print(Symbol("h").at(0), Symbol("c", 2).at(0), Symbol("h", delta=True).at(1), Symbol("W_f", None).at(1))
    h_t c_{t-2} \delta^{h}_{t+1} W_{f}
    >>> print(Symbol("h").at(-1, "T"), Symbol("h").at(1, 0), Symbol("h", when="T").at(0), Symbol("h", when="sum").at(0))
    h_{T-1} h_1 h_T \sum_t h_t
    """

    name: str
    delay: int | None = 0
    delta: bool = False
    mark: str = ""
    when: str = ""
    loss: str = ""

    def at(self, later: int, base: str | int = "t") -> str:
        """LaTeX of the symbol, read a number of steps after step t or after another step."""
        marks = [self.mark] if self.mark else []
        if self.when == "all":
            ends = (subscripted(self.name, *marks, "1"), subscripted(self.name, *marks, "T"))
            return rf"\left[{ends[0]}, \ldots, {ends[1]}\right]"
        if self.when == "sum":
            return rf"\sum_t {self._replace(delay=0, when='').at(0)}"
        time = self.when
        if self.delay is not None and not time:
            offset = later - self.delay
            time = f"{base + offset}" if isinstance(base, int) else base if offset == 0 else f"{base}{offset:+d}"
        if self.loss:
            time = f"{self.loss},{time}"
        symbol = subscripted(self.name, *marks)
        if not self.delta:
            return subscripted(self.name, *marks, time) if time else symbol
        return rf"\delta^{{{symbol}}}" + (f"_{time}" if len(time) == 1 else f"_{{{time}}}" if time else "")

    @property
    def binds(self) -> int:
        """Binding strength of the symbol."""
        return {"sum": TERM, "all": ATOM}.get(self.when, SYMBOL)


def over_axes(node: Node) -> list[int]:
    """Lengths of the axes along which an operation reduces or accumulates."""
    facts = facts_of(node)
    if facts.axes is None:
        return []
    axis = node.attributes[facts.axes]
    shape = node.inputs[0].shape if facts.reduces else node.shape
    return [shape[a] for a in (axis if isinstance(axis, tuple) else (axis,)) if -len(shape) <= a < len(shape)]


class Printer:
    r"""Prints nodes as LaTeX, with values at step t or a later step.

    Parameters
    ----------
    symbols : Mapping from Node to Symbol
        Symbols of leaves and named values. The mapping may grow while the printer is used.
    batch : int
        The length of the axis of examples; no other axis has this length.
    later : int
        Number of steps after t.
    base : str or int
        The fixed step that is printed for t, such as "T" or 0.
    steps : int
        The traced number of steps, which is printed as T; 0 for none.
    dropped : collection of Node
        Sums over the examples that are not printed.
    ones : collection of Node
        Leaves whose elements are all 1.
    """

    def __init__(
        self,
        symbols: Mapping[Node, Symbol],
        batch: int,
        later: int = 0,
        dropped: Collection[Node] = (),
        base: str | int = "t",
        steps: int = 0,
        ones: Collection[Node] = (),
    ) -> None:
        self.symbols, self.batch, self.later, self.dropped = symbols, batch, later, dropped
        self.base, self.steps, self.ones = base, steps, ones
        self.forms: dict[tuple[Node, bool], tuple[str, int]] = {}
        self.numbers: dict[Node, Any] = {}

    def symbol(self, node: Node) -> str:
        """The symbol of a leaf or a named value, as LaTeX."""
        return self.symbols[node].at(self.later, self.base) if node in self.symbols else r"\text{constant}"

    def right_side(self, node: Node) -> str:
        """LaTeX formula of a named value in terms of other values."""
        self.prepare(node.inputs)
        return self._apply(node, self.is_row(node) is not False)[0]

    def print(self, node: Node, transposed: bool, binds: int = OPEN) -> str:
        """LaTeX of a value, in parentheses where its context binds more tightly."""
        latex, own = self.form(node, transposed)
        return latex if own >= binds else rf"\left({latex}\right)"

    def prepare(self, nodes: Iterable[Node]) -> None:
        """Print all values below some nodes, inner values first, so that deep expressions need no deep recursion."""
        stack = list(nodes)
        while stack:
            node = stack[-1]
            missing = [] if self._is_leaf(node) else [i for i in node.inputs if (i, True) not in self.forms]
            stack.extend(missing)
            if not missing:
                stack.pop()
                self.form(node, True), self.form(node, False)

    def form(self, node: Node, transposed: bool) -> tuple[str, int]:
        """LaTeX of a value, and its binding strength."""
        key = node, transposed
        if key not in self.forms:
            self.forms[key] = self._form(node, transposed)
        return self.forms[key]

    def is_row(self, node: Node) -> bool | None:
        """Whether a value with an example in each row is printed transposed; None for a vector.

        A matrix of parameters, or a matrix computed from parameters, is not transposed.
        """
        shape = node.shape
        if len(shape) < 2:
            return None
        if self.batch in shape:
            return shape[-1] != self.batch or shape[0] == self.batch
        return None if node.role != "parameter" and sum(n > 1 for n in shape) < 2 else False

    def number(self, node: Node) -> Any:
        """The number that all elements of a value equal, or None if unknown."""
        stack = [node]
        while stack:
            last = stack[-1]
            unknown = [] if last in self.numbers or not self._may_be_number(last) else last.inputs
            unknown = [i for i in unknown if i not in self.numbers]
            stack.extend(unknown)
            if not unknown:
                stack.pop()
                self.numbers.setdefault(last, self._number(last))
        return self.numbers[node]

    def _may_be_number(self, node: Node) -> bool:
        """Whether a value is one number, or an elementwise function of such values."""
        if node in self.symbols or node.value.dtype.kind not in "fiub":
            return False
        is_spread = node.primitive is not None and (node.primitive.elementwise or node.primitive.facts.copies)
        return is_spread or int(np.prod(node.shape, dtype=int)) == 1

    def _number(self, node: Node) -> Any:
        if node in self.ones:
            return np.ones(())
        if not self._may_be_number(node):
            return None
        if node.primitive is None:
            return node.value if isinstance(node.value, np.ndarray) else None
        values = [self.numbers[i] for i in node.inputs]
        if any(value is None for value in values):
            return None
        if node.primitive.facts.copies:
            return values[0]
        with np.errstate(all="ignore"):
            return np.asarray(node.primitive.kernel(*values, **node.attributes))

    def _is_leaf(self, node: Node) -> bool:
        return node.primitive is None or node in self.symbols or self.number(node) is not None

    def _form(self, node: Node, transposed: bool) -> tuple[str, int]:
        number = self.number(node)
        if number is not None:
            return _numeral(number.item(), self.batch, self.steps)
        if self._is_leaf(node):
            symbol, natural = self.symbol(node), self.is_row(node)
            if natural is None or natural == transposed or node not in self.symbols:
                return symbol, self.symbols[node].binds if node in self.symbols else SYMBOL
            return _turned(symbol), ATOM
        return self._apply(node, transposed)

    def _apply(self, node: Node, transposed: bool) -> tuple[str, int]:
        primitive, natural = node.primitive, self.is_row(node)
        assert primitive is not None
        axes = over_axes(node)
        if primitive.facts.reduces and (node in self.dropped or all(n == 1 for n in axes)):
            return self.form(node.inputs[0], transposed)
        template, own = primitive.formula.latex, primitive.formula.binds
        names = primitive.named_arguments
        inputs = dict(zip(names, node.inputs, strict=False))
        for name, case, instead in primitive.formula.special:
            source, known = inputs[name], self.number(inputs[name])
            if known is not None and known.item() == case:
                template, own = (instead.latex, instead.binds) if isinstance(instead, Formula) else (instead, own)
                break
            if source.primitive is not None and source.primitive.name == case and not self._is_leaf(source):
                template, axes = str(instead), over_axes(source)
                inputs = dict(zip(source.primitive.named_arguments, source.inputs, strict=False))
                break
        alone = re.fullmatch(r"\{(\w+)(:T)?\}", template)
        turned = transposed
        if primitive.formula.transposed is not None:
            template, turned = (primitive.formula.transposed, False) if transposed else (template, False)
            alone = re.fullmatch(r"\{(\w+)(:T)?\}", template)
        elif natural not in (None, transposed) and not alone:
            return _turned(self.print(node, not transposed, ATOM)), ATOM
        if alone:  # only a change of shape, or a special case: binds as tightly as its operand
            return self.form(inputs[alone[1]], turned != bool(alone[2]))
        arguments: dict[str, Any] = {name: _Argument(self, [i], turned) for name, i in inputs.items()}
        rest = node.inputs[len(names) :]
        by_arrays = any(map(is_index_array, flatten(tuple(node.attributes.values()))))
        arrays = [i for i in rest if i.dtype.kind in "iu"] if by_arrays else []
        arguments["rest"] = _Argument(self, [i for i in rest if i not in arrays], turned)
        arguments["over"] = "_t" if self.steps and axes == [self.steps] else _over(axes, self.batch)
        index = _Index(self, node, arrays)
        attributes = {key: _Attribute(value, index) for key, value in node.attributes.items()}
        return template.format(**{**attributes, **arguments}).replace("+ -", "- "), own


class _Argument:
    """An input of a formula template: ``{x}``, ``{x:product}``, ``{x:T}``, ``{x:atom,T}``, ``{x:own}``."""

    def __init__(self, printer: Printer, nodes: list[Node], transposed: bool) -> None:
        self.printer, self.nodes, self.transposed = printer, nodes, transposed

    def __format__(self, spec: str) -> str:
        parts = spec.split(",")
        binds = max(PRECEDENCE.get(part, OPEN) for part in parts)
        printed = []
        for node in self.nodes:
            natural = self.printer.is_row(node) if "own" in parts else None
            turned = self.transposed != ("T" in parts) if natural is None else natural
            printed.append(self.printer.print(node, turned, binds))
        latex = ", ".join(printed)
        if "factor" in parts and latex.startswith(r"\left[") and latex.endswith(r"\right]"):
            return rf"\cdot {latex}"
        return f"{{{latex}}}" if "base" in parts and re.search(r"\^|'", latex) and not latex.startswith(r"\left(") else latex


class _Index:
    """Prints indices, including index arrays, without the axis of the examples."""

    def __init__(self, printer: Printer, node: Node, arrays: list[Node]) -> None:
        self.printer, self.arrays = printer, iter(arrays)
        indexed = max(node, *node.inputs[:1], key=lambda n: len(n.shape))
        self.lengths = len(indexed.shape)
        self.rows = printer.is_row(indexed)

    def printed(self, value: tuple[Any, ...]) -> str:
        if value and all(isinstance(part, tuple) for part in value):
            return ", ".join(map(self.printed, value))
        axes = [part for part in value if part is not None]
        first = value[0] if value else None
        whole = first == slice(None) or (first is Ellipsis and len(axes) == self.lengths)
        parts = value[1:] if self.rows and whole and len(value) > 1 else value
        return f"[{', '.join(filter(None, map(self._part, parts)))}]"

    def _part(self, part: Any) -> str:
        if is_index_array(part):
            array = next(self.arrays, None)
            if array is None:
                return r"\text{array}"
            is_each = isinstance(array.value, np.ndarray) and array.shape[:1] == (self.printer.batch,)
            return "" if is_each else self.printer.print(array, True)  # the row of each example
        return r"\ldots" if part is Ellipsis else r"\text{new}" if part is None else shown(part)


class _Attribute:
    """A static argument of a formula template: ``{index:index}``, ``{subscripts:typed}``, or without a format."""

    def __init__(self, value: Any, index: _Index) -> None:
        self.value, self.index = value, index

    def __format__(self, spec: str) -> str:
        if spec == "index":
            return self.index.printed(self.value)
        text = shown(self.value).replace("…", r"\ldots")
        return r"\mathrm{" + text.strip("'").replace("->", r" \to ") + "}" if spec == "typed" else text


def _over(axes: list[int], batch: int) -> str:
    """Subscript of a reduction over examples; empty for a reduction over features."""
    if batch not in axes:
        return ""
    return r"_{\text{batch}}" if all(n in (1, batch) for n in axes) else r"_{\text{all}}"


def _numeral(value: float, batch: int, steps: int = 0) -> tuple[str, int]:
    """LaTeX of a number; the batch size is printed as B and the number of steps as T."""
    for length, letter in ((batch, "B"), (steps, "T")):
        if length and value and value % length == 0:
            if value == length:
                return letter, SYMBOL
            return f"{_numeral(value // length, batch, steps)[0]} {letter}", PRODUCT
    digits, _, exponent = f"{abs(value):g}".partition("e")
    latex, binds = {"inf": r"\infty", "nan": r"\text{NaN}"}.get(digits, digits), SYMBOL
    if exponent:
        power = f"10^{{{int(exponent)}}}"
        latex, binds = (power, ATOM) if digits == "1" else (rf"{digits} \cdot {power}", PRODUCT)
    return (f"-{latex}", SUM) if value < 0 else (latex, binds)


def _turned(latex: str) -> str:
    return rf"{{{latex}}}^{{\top}}" if "^" in latex or "'" in latex else rf"{latex}^{{\top}}"
