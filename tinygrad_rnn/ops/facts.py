"""Facts: properties of an operation as data beside its formula; rewrites, drawings and equations read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from ..graph.node import Node

__all__ = ["Facts", "adds", "facts_of", "multiplies", "scales"]

Linearity: TypeAlias = Literal["jointly", "each"]


class Facts(NamedTuple):
    """Algebraic facts about an operation that hold for all inputs.

    A primitive that declares nothing is opaque: it is computed, differentiated and drawn as one
    operation. Each fact lets the rest of the library do more with the primitive, and
    :func:`tinygrad_rnn.testing.check_primitive` compares each fact with the kernel. A fact that is the name
    of an attribute says what the attribute means.

    Attributes
    ----------
    elementwise : bool
        Each element of the result depends only on the input elements at the same position, after broadcasting.
        This fact need not be declared if the kernel is a ufunc of NumPy.
    copies : bool
        The result has the elements of the one input in their order: in another shape or dtype, or
        repeated by broadcasting.
    signs : tuple of int
        The result is a sum, elementwise: one sign for each input, 1 or −1. ``(1, -1)`` is a − b.
    linear : {"jointly", "each"} or tuple of str, optional
        ``"jointly"``: linear in all inputs of floats together, as a concatenation is. ``"each"``: linear in
        each input while the others are fixed, as a product is. A tuple has the names of inputs: jointly
        linear in these while the others are fixed. A fact that implies linearity makes this fact needless.
    product : bool
        The matrix product of two inputs, over their last two axes.
    reorders : str, optional
        Name of the attribute with the order of the axes, as ``np.transpose`` takes it.
    reads : str, optional
        Name of the attribute with an index: the result is the first input at this index. Further inputs are the
        index's integer arrays; see :class:`IndexArray`.
    joins : str, optional
        Name of the attribute with the axis along which the inputs are joined: as by ``np.concatenate``,
        or, if the result has one axis more, as by ``np.stack``.
    reduces : str, optional
        Name of the attribute with the axes, or the axis, that are reduced: missing in the result, or of length 1.
        An element of the result depends only on elements at its own position along the other axes. Reducing
        several axes at once is the same as reducing them one after another.
    sums : bool
        The reduction is the sum of the elements.
    along : str, optional
        Name of the attribute with the axes, or the axis, along which an element of the result depends on several
        elements of the input; the result has the input's shape. Along the other axes, an element of the result
        depends only on elements at its own position.
    bounds : pair of float, optional
        The least and the greatest value of a result, which the result approaches where it saturates.
    symbol : str, optional
        The operation's text in a drawing; its name if not given. See :attr:`Primitive.symbol`.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.subtract.facts.signs, tr.multiply.facts.linear, tr.ops.registry["sum"].facts.reduces, tr.tanh.facts.bounds
    ((1, -1), 'each', 'axis', (-1, 1))
    >>> tr.ops.registry["sum"].facts.sums, tr.ops.registry["max"].facts.sums
    (True, False)
    """

    elementwise: bool = False
    copies: bool = False
    signs: tuple[int, ...] = ()
    linear: Linearity | tuple[str, ...] | None = None
    product: bool = False
    reorders: str | None = None
    reads: str | None = None
    joins: str | None = None
    reduces: str | None = None
    sums: bool = False
    along: str | None = None
    bounds: tuple[float, float] | None = None
    symbol: str | None = None

    @property
    def axes(self) -> str | None:
        """The attribute with the axes along which elements of the input are combined."""
        return self.reduces or self.along or self.joins

    @property
    def is_jointly_linear(self) -> bool:
        """Whether the operation is linear in all inputs of floats together."""
        implied = self.copies or self.signs or self.reorders or self.reads or self.joins or self.sums
        return self.linear == "jointly" or (self.linear is None and bool(implied))

    @property
    def is_linear_in_each(self) -> bool:
        """Whether the operation is linear in each input while the others are held fixed."""
        return self.linear == "each" or self.product

    def linear_groups(self, arguments: Sequence[str], count: int) -> list[range | tuple[int, ...]]:
        """Groups of input positions; the operation is jointly linear in a group while all others are held fixed.

        Parameters
        ----------
        arguments : sequence of str
            Names of the primitive's inputs.
        count : int
            The number of inputs.

        Examples
        --------
        >>> Facts(linear="each").linear_groups("ab", 2), Facts(linear=("a",)).linear_groups("ab", 2)
        ([(0,), (1,)], [(0,)])
        >>> Facts(signs=(1, 1)).linear_groups("ab", 2), Facts().linear_groups("ab", 2)
        ([range(0, 2)], [])
        """
        if self.is_jointly_linear:
            return [range(count)]
        if self.is_linear_in_each:
            return [(i,) for i in range(count)]
        return [tuple(arguments.index(name) for name in self.linear)] if isinstance(self.linear, tuple) else []


OPAQUE = Facts()
"""Facts of an operation that declares none."""


def facts_of(node: Node) -> Facts:
    """Facts of a node's operation; a leaf has none.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.tensor([1.0])
    >>> facts_of((x + x).node).signs, facts_of(x.node) is OPAQUE
    ((1, 1), True)
    """
    return OPAQUE if node.primitive is None else node.primitive.facts


def adds(node: Node) -> bool:
    """Whether a node is an elementwise sum without a negative sign.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.tensor([1.0])
    >>> adds((x + x).node), adds((x - x).node)
    (True, False)
    """
    signs = facts_of(node).signs
    return bool(signs) and min(signs) > 0


def multiplies(node: Node) -> bool:
    """Whether a node is the elementwise product of two values.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.tensor([[2.0]])
    >>> multiplies((x * x).node), multiplies((x @ x).node)
    (True, False)
    """
    return facts_of(node).linear == "each" and scales(node)


def scales(node: Node) -> bool:
    """Whether a node is its first input times an elementwise function of its second, as a product or a quotient is.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.tensor([2.0])
    >>> scales((x * x).node), scales((x / x).node), scales((x + x).node)
    (True, True, False)
    """
    primitive = node.primitive
    if primitive is None or not primitive.elementwise or len(node.inputs) != 2:
        return False
    return (0,) in primitive.facts.linear_groups(primitive.arguments, 2)


def check_facts(name: str, facts: Facts, arguments: Sequence[str], attributes: Iterable[str]) -> None:
    """Refuse facts about inputs or attributes that a primitive does not have.

    Raises
    ------
    ValueError
        The message names the primitive, the fact, and the allowed values.
    TypeError
        If `facts` is not of :class:`Facts`.
    """
    if not isinstance(facts, Facts):
        raise TypeError(f"{name}: facts must be Facts, such as Facts(linear='each'), not {facts!r}")
    known = ", ".join(sorted(attributes)) or "none"
    for fact in ("reorders", "reads", "joins", "reduces", "along"):
        attribute = getattr(facts, fact)
        if attribute is not None and attribute not in attributes:
            raise ValueError(f"{name}: Facts({fact}={attribute!r}) must name an attribute of the primitive: {known}")
    if facts.sums and facts.reduces is None:
        raise ValueError(f"{name}: Facts(sums=True) needs reduces=, the attribute with the axes of the sum")
    inputs = ", ".join(arguments)
    if facts.signs and (len(facts.signs) != len(arguments) or not {*facts.signs} <= {1, -1}):
        raise ValueError(f"{name}: signs must have 1 or -1 for each of the inputs {inputs}, not {facts.signs}")
    if isinstance(facts.linear, tuple):
        if strange := [i for i in facts.linear if i not in arguments]:
            raise ValueError(f"{name}: linear={facts.linear} names {strange[0]!r}, but the inputs are {inputs}")
    elif facts.linear not in ("jointly", "each", None):
        raise ValueError(f"{name}: linear must be 'jointly', 'each' or a tuple of names of inputs, not {facts.linear!r}")
