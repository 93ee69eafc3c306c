r"""Rewrites of a step into the form of a textbook: an equal graph that prints in the usual notation.

A slice of the product with a stack of matrices becomes the product with one matrix, `W_f h`. An
interpolation becomes `(1 - z) n + z h`. Sums can be written in the order of a notation, with a
single bias, or as one product with a joined vector.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from ..graph.context import mode
from ..graph.node import Node, ancestors
from ..nn.module_trace import symbolic
from ..ops import add, concatenate, getitem
from ..ops.axes import index_along
from ..ops.core import apply
from ..ops.facts import adds, facts_of
from ..tensor import Tensor
from ..views.contraction import copy_of
from ..views.interpolations import ways_to_interpolate, with_both_weights
from ..views.letters import Notation, number_of, stem_of
from ..views.time_axis import moved, read_along, rearranges

__all__ = ["AS_WRITTEN", "Form", "Textbook"]


DEEPEST = 100
"""Largest depth of nested sums and products through which a slice is moved."""


class Form(NamedTuple):
    """Forms in which sums can be written.

    Attributes
    ----------
    order : {"UW", "WU"}, optional
        The order of sums: b + W h + U x, or U h + W x + b. If not given, the order of the cell.
    one_bias : bool
        Whether biases that are only added to each other are written as one bias.
    joined : bool
        Whether products that are added are written as one product with a joined vector.
    net : str, optional
        The name of the sum within a nonlinear function; the sum then gets a separate line.
    """

    order: Notation | None = None
    one_bias: bool = False
    joined: bool = False
    net: str | None = None


AS_WRITTEN = Form()


class Textbook:
    """Rewrites a step node by node into a textbook's form.

    Parameters
    ----------
    ends : sequence of Node
        The results of the step: outputs, and next values of the state.
    delayed : collection of Node
        Leaves that represent values of earlier steps.
    form : Form

    Attributes
    ----------
    new : dict of Node to Node
        The replacement of each node of the step, if the node still exists.
    parts : dict of Node to Node
        Leaves for parts of parameters, sums of biases, or joined matrices, each with the
        expression of parameters that it represents.
    sums : dict of Node to Node
        The sums that were given a name, each with a value computed from the sum.
    """

    def __init__(self, ends: Sequence[Node], delayed: Collection[Node] = (), form: Form = AS_WRITTEN) -> None:
        self.form = form
        self.parts: dict[Node, Node] = {}
        self.sums: dict[Node, Node] = {}
        self._blocks: dict[tuple[Node, int, int, int], Node] = {}
        self._delayed = set(delayed)
        with mode(tracing=True):
            new = self._rebuilt(list(ends), self._in_blocks)
            self._name_blocks([new[end] for end in ends])
            after = self._rebuilt([new[end] for end in ends], self._summed)
            self.new = {node: after[made] for node, made in new.items() if made in after}
            if form.net is not None:
                self._name_sums(form.net, [self.new[end] for end in ends])

    def _rebuilt(self, ends: Sequence[Node], rule: Callable[[Node], Node | None]) -> dict[Node, Node]:
        """All operations rebuilt in order, each by a rule or unchanged."""
        nodes = ancestors(ends)
        self._new: dict[Node, Node] = {}
        self._ends = set(ends)
        self._readers: dict[Node, list[Node]] = {node: [] for node in nodes}
        for node in nodes:
            for source in node.inputs:
                self._readers[source].append(node)
        known: set[Node] = set()
        for node in nodes:
            made = node if node.primitive is None else rule(node) or node.again(self._inputs(node))
            if made.primitive is not None and made not in known:  # and not a value that the node only copies
                made.name, made.role = node.name, node.role
            known.add(made)
            self._new[node] = made
        return self._new

    def _inputs(self, node: Node) -> tuple[Node, ...]:
        return tuple(self._new[i] for i in node.inputs)

    # -- parts of products, and interpolations -------------------------------------------------

    def _in_blocks(self, node: Node) -> Node | None:
        if (whole := self._taken_apart(node)) is not None:
            return whole if node.name is None else copy_of(whole)
        found = _slice(node)
        if found is not None and (node.name is None or node.inputs[0].primitive is not None):
            return self._part(node.inputs[0], *found)
        return self._interpolated(node)

    def _taken_apart(self, node: Node) -> Node | None:
        """The value that a node only copies: its input in the same shape, or one of several joined values."""
        source = node
        while _keeps_order(source):
            (source,) = source.inputs
            if source.shape == node.shape and source.role != "parameter":
                return self._new[source]
        facts = facts_of(source)
        if facts.joins and len(source.inputs) == 1 and source.inputs[0].shape == node.shape:
            return self._new[source.inputs[0]]
        if not facts_of(node).reads or len(node.inputs) != 1:
            return None
        (source,) = node.inputs
        part, facts = read_along(node, -len(source.shape)), facts_of(source)
        is_stack = facts.joins is not None and source.attributes[facts.joins] == -len(source.shape)
        if isinstance(part, int) and is_stack and source.inputs[0].shape == node.shape:
            return self._new[source.inputs[part]]
        return None

    def _part(self, node: Node, axis: int, start: int, stop: int, depth: int = 0) -> Node | None:
        """A slice of an affine value, computed from slices of its parameters; None if this is not possible."""
        if depth > DEEPEST:
            return None
        if len(node.shape) < -axis or node.shape[axis] == 1:
            return self._new[node]
        facts = facts_of(node)
        if node.role == "parameter":
            return self._block(node, axis, start, stop)
        if node.name is not None and (node in self._ends or not all(map(_slice, self._readers[node]))):
            return None
        ways: Sequence[int | None] = ()
        if facts.reorders:
            source = node.inputs[0]
            ways = [next(a for a in range(-len(source.shape), 0) if moved(node, a) == axis)]
        elif facts.product and all(len(i.shape) == 2 for i in node.inputs):
            ways = [None, axis] if axis == -1 else [axis, None]
        elif facts.signs:
            ways = [axis] * len(node.inputs)
        if not ways:
            return None
        inputs = []
        for source, way in zip(node.inputs, ways, strict=True):
            inputs.append(self._new[source] if way is None else self._part(source, way, start, stop, depth + 1))
        if any(i is None for i in inputs):
            return None
        assert node.primitive is not None
        return apply(node.primitive, [Tensor(i) for i in inputs if i is not None], node.attributes).node

    def _block(self, parameter: Node, axis: int, start: int, stop: int) -> Node:
        """A leaf for a slice of a parameter."""
        key = parameter, axis, start, stop
        if key not in self._blocks:
            part = getitem(Tensor(parameter), index_along(axis, slice(start, stop))).node
            self._blocks[key] = self._leaf(part, parameter)
        return self._blocks[key]

    def _leaf(self, expression: Node, like: Node) -> Node:
        made = symbolic(expression.spec, like.name, "parameter").node
        made.location = like.location
        self.parts[made] = expression
        return made

    def _interpolated(self, node: Node) -> Node | None:
        """``a + z (b - a)`` as ``(1 - z) a + z b``, if nothing else reads the inner operations."""
        for found in ways_to_interpolate(node):
            if self._is_inner(found.product) and self._is_inner(found.difference):
                return with_both_weights(*(Tensor(self._new[i]) for i in found[:3])).node
        return None

    def _is_inner(self, node: Node) -> bool:
        """Whether a value is unnamed and read once."""
        return node.name is None and node not in self._ends and len(self._readers[node]) == 1

    def _name_blocks(self, ends: Sequence[Node]) -> None:
        """Name each parameter slice after the only named value computed from it, otherwise by a number."""
        helps: dict[Node, set[Node]] = {}
        values: dict[Node, set[str]] = {block: set() for block in self._blocks.values()}
        for node in ancestors(ends):
            if node in values:
                helps[node] = {node}
            elif node.primitive is not None:
                helps[node] = set().union(*(helps.get(i, ()) for i in node.inputs))
                if node.name is not None:
                    for block in helps.pop(node):
                        values[block].add(node.name)
        for parameter in dict.fromkeys(key[0] for key in self._blocks):
            keys = sorted(key for key in self._blocks if key[0] is parameter)
            names = [values[self._blocks[key]] for key in keys]
            alone = Counter(next(iter(found)) for found in names if len(found) == 1)
            for number, (key, found) in enumerate(zip(keys, names, strict=True), start=1):
                distinct = len(alone) == len(names)
                self._blocks[key].name = with_script(parameter.name or "θ", next(iter(found)) if distinct else str(number))

    # -- sums ------------------------------------------------------------------------------------

    def _summed(self, node: Node) -> Node | None:
        """A complete sum in the wanted form; None for a part of a sum, or a sum without a parameter."""
        if self.form._replace(net=None) == AS_WRITTEN or not adds(node):
            return None
        if self._is_inner(node) and adds(self._readers[node][0]):
            return None
        summands = list(self._summands(node))
        if not any(summand.parameter for summand in summands):
            return None
        if self.form.one_bias:
            summands = self._with_one_bias(summands)
        if self.form.joined:
            summands = self._joined(summands)
        if self.form.order is not None:
            summands = _ordered(summands, self.form.order)
        total = Tensor(summands[0].node)
        for summand in summands[1:]:
            total = add(total, Tensor(summand.node))
        return total.node if len(summands) > 1 or node.name is None else copy_of(total.node)

    def _summands(self, node: Node) -> Iterable[Summand]:
        """Terms of a sum from left to right, including the terms of inner sums."""
        stack = [node]
        while stack:
            term = stack.pop()
            if term is node or (adds(term) and self._is_inner(term)):
                stack.extend(reversed(term.inputs))
                continue
            new = self._new[term]
            matrix = matrix_of(new)
            if matrix is not None:
                yield Summand(new, matrix, False, self._is_delayed(new.inputs[0]))
            elif new.role == "parameter":
                yield Summand(new, new, len(self._readers[term]) == 1, False)
            else:
                yield Summand(new, None, False, False)

    def _is_delayed(self, node: Node) -> bool:
        """Whether a value reads a delayed value, by a path without named values and products with parameters."""
        seen, stack = {node}, [node]
        while stack:
            source = stack.pop()
            if source in self._delayed:
                return True
            if source.name is None and not any(i.role == "parameter" for i in source.inputs):
                new = [i for i in source.inputs if i not in seen]
                seen.update(new)
                stack += new
        return False

    def _with_one_bias(self, summands: Sequence[Summand]) -> list[Summand]:
        """The sum with a single leaf instead of all biases that nothing else reads."""
        biases = [summand for summand in summands if summand.is_bias]
        if len(biases) < 2 or len({bias.node.spec for bias in biases}) > 1:
            return list(summands)
        first, *others = biases
        total = self.parts.get(first.node, first.node)
        for bias in others:
            total = add(Tensor(total), Tensor(self.parts.get(bias.node, bias.node))).node
        one = self._leaf(total, first.node)
        kept = [summand for summand in summands if summand not in others]
        return [Summand(one, one, True, False) if summand is first else summand for summand in kept]

    def _joined(self, summands: Sequence[Summand]) -> list[Summand]:
        """The sum with one product: matrices side by side times stacked vectors."""
        products = [s for s in summands if matrix_of(s.node) is not None]
        products.sort(key=lambda s: not s.is_delayed)
        turned = [s.node.inputs[1] is not s.parameter for s in products]
        if len(products) < 2 or len(set(turned)) > 1 or len({s.node.inputs[0].shape[:-1] for s in products}) > 1:
            return list(summands)
        parameters = [s.parameter for s in products if s.parameter is not None]
        matrices = [Tensor(self.parts.get(parameter, parameter)) for parameter in parameters]
        one = self._leaf(concatenate(matrices, axis=-1 if turned[0] else -2).node, parameters[0])
        if one.name is not None and number_of(one.name) is not None:
            one.name = stem_of(one.name)
        vector = concatenate([Tensor(s.node.inputs[0]) for s in products], axis=-1)
        product = vector @ (Tensor(one).T if turned[0] else Tensor(one))
        where = min(summands.index(s) for s in products)
        rest = [s for s in summands if s not in products]
        return [*rest[:where], Summand(product.node, one, False, True), *rest[where:]]

    # -- sums within functions -----------------------------------------------------------------

    def _name_sums(self, name: str, ends: Sequence[Node]) -> None:
        """Name the sums of products inside nonlinear functions; if there are several, after the values computed from them."""
        nodes = ancestors(ends)
        readers: dict[Node, list[Node]] = {}
        for node in nodes:
            for source in node.inputs:
                readers.setdefault(source, []).append(node)
        for node in nodes:
            if node.primitive is None or not node.primitive.elementwise or len(node.inputs) != 1:
                continue
            (source,) = node.inputs
            if facts_of(node).is_jointly_linear or source.name is not None or not is_affine(source):
                continue
            value = node
            while value.name is None and len(readers.get(value, ())) == 1:
                (value,) = readers[value]
            self.sums[source] = value
        kinds = {value.name for value in self.sums.values()}
        for source, value in self.sums.items():
            source.name = name if len(kinds) == 1 or value.name is None else with_script(name, value.name)


class Summand(NamedTuple):
    """A term of a sum.

    Attributes
    ----------
    node : Node
    parameter : Node or None
        The bias, or the matrix in the product of a matrix and a vector.
    is_bias : bool
        Whether the term is a bias that nothing else reads.
    is_delayed : bool
        Whether the vector depends on earlier steps.
    """

    node: Node
    parameter: Node | None
    is_bias: bool
    is_delayed: bool


def _ordered(summands: Sequence[Summand], order: Notation) -> list[Summand]:
    """A sum in the order of a notation; numbered parameters of one family are sorted by number."""
    families: dict[str, int] = {}

    def key(summand: Summand) -> tuple[int, int, int]:
        parameter = summand.parameter
        if parameter is None:
            return 4, 0, 0
        name = parameter.name or ""
        number = number_of(name)
        if number is not None:
            return 2, families.setdefault(stem_of(name), len(families)), number
        if summand.node is parameter:
            return (0 if order == "UW" else 3), 0, 0
        return (1 if summand.is_delayed else 2), len(summands), 0

    return sorted(summands, key=key)


def matrix_of(node: Node) -> Node | None:
    """The parameter in a node's product of a vector and a parameter; None for other nodes.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> W = tr.Parameter((2, 2), symbol="W")
    >>> x = tr.tensor([[1.0, 2.0]])
    >>> matrix_of((x @ W.T).node) is matrix_of((x @ W).node) is W.node, matrix_of((x @ x.T).node)
    (True, None)
    """
    if not facts_of(node).product:
        return None
    second = node.inputs[1]
    if facts_of(second).reorders:
        second = second.inputs[0]
    return second if second.role == "parameter" else None


def is_affine(node: Node) -> bool:
    """Whether a node is a product of a parameter and a vector, or a sum that contains one.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x, W, b = tr.tensor([[1.0]]), tr.Parameter([[2.0]]), tr.Parameter([3.0])
    >>> is_affine((x @ W).node), is_affine((x @ W + b).node), is_affine((x + b).node)
    (True, True, False)
    """
    stack = [node]
    while stack:
        term = stack.pop()
        if matrix_of(term) is not None:
            return True
        if adds(term):
            stack.extend(term.inputs)
    return False


def with_script(name: str, script: str) -> str:
    """A name with an additional subscript.

    Examples
    --------
    >>> with_script("W", "f"), with_script("b'", "10"), with_script("W_1", "f")
    ('W_f', "b'_{10}", 'W_{1,f}')
    """
    stem, _, before = name.partition("_")
    inside = ",".join(filter(None, [before.removeprefix("{").removesuffix("}"), script]))
    return f"{stem}_{inside}" if len(inside) == 1 else f"{stem}_{{{inside}}}"


def _slice(node: Node) -> tuple[int, int, int] | None:
    """Axis, start and stop of a node that reads one slice along one of the last two axes."""
    if not facts_of(node).reads or len(node.inputs) != 1:
        return None
    shape = node.inputs[0].shape
    for axis in (-1, -2)[: len(shape)]:
        part = read_along(node, axis)
        if isinstance(part, slice) and part != slice(None):
            start, stop, step = part.indices(shape[axis])
            return (axis, start, stop) if step == 1 else None
    return None


def _keeps_order(node: Node) -> bool:
    """Whether a node keeps each element of its one input once, in order; the shape may differ."""
    if not rearranges(node) or math.prod(node.shape) != math.prod(node.inputs[0].shape):
        return False
    facts = facts_of(node)
    if facts.reorders:
        lengths = [node.inputs[0].shape[axis] for axis in node.attributes[facts.reorders]]
        moved_axes = [axis % len(lengths) for axis, n in zip(node.attributes[facts.reorders], lengths, strict=True) if n > 1]
        return moved_axes == sorted(moved_axes)
    if facts.reads:
        return all(not isinstance(part, slice) or part.step in (None, 1) for part in node.attributes[facts.reads])
    return node.dtype == node.inputs[0].dtype and node.shape != node.inputs[0].shape  # a cut has the shape of its source
