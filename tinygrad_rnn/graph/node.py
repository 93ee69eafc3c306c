"""Nodes: each is one application of a primitive, or a leaf; and the order of nodes."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .context import NOWHERE, Location

if TYPE_CHECKING:
    from ..ops.core import Primitive

__all__ = ["ROLES", "Node", "Results", "Spec", "ancestors", "behind_cuts", "leaf"]

NO_ATTRIBUTES: Mapping[str, Any] = {}

_serials = itertools.count()


class Spec(NamedTuple):
    """The shape and dtype of a value, without the value.

    Parameters
    ----------
    shape : tuple of int
    dtype : numpy.dtype

    Examples
    --------
    >>> import numpy as np
    >>> print(Spec((2, 3), np.dtype("float32")))
    float32 (2, 3)
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


class Results:
    """Several values of one node, read one by one by other nodes; together they have no shape and no dtype.

    The gradient rule of such a node is not given one cotangent. It is given the parts that the node's
    readers pull back; see `Part` in ``ops.core``.
    """

    __slots__ = ()


class Node:
    """One application of a primitive, or a leaf.

    The computation of a node never changes: a rewrite makes new nodes. Only `name` and `role`, which
    describe the node to people, may be set later.

    Attributes
    ----------
    primitive : Primitive or None
        The primitive that was applied; None for a leaf.
    inputs : tuple of Node
        The inputs, in order; an input that is used twice is listed twice.
    attributes : Mapping
        The static arguments of the primitive.
    value : numpy.ndarray or Spec
        The array, or only its shape and dtype.
    location : Location
        Scope, step and forward origin.
    name : str or None
        The name that the author of a cell gave the value.
    role : str or None
        Purpose of a leaf or of a value: one of :data:`ROLES`.
    hidden : str or None
        A name that is seen only by calls that ask for it; see :meth:`Tensor.named`.
    leaf : weakref.ref or None
        The Tensor that is to get the gradient of this leaf.
    serial : int
        A number that rises in the order of creation, by which every graph is ordered.
    """

    __slots__ = (
        "primitive",
        "inputs",
        "attributes",
        "value",
        "location",
        "name",
        "role",
        "hidden",
        "leaf",
        "serial",
        "__weakref__",
    )
    name: str | None
    role: str | None
    hidden: str | None
    leaf: weakref.ref[Any] | None

    def __init__(
        self,
        primitive: Primitive | None,
        inputs: tuple[Node, ...],
        attributes: Mapping[str, Any],
        value: Any,
        location: Location = NOWHERE,
    ) -> None:
        self.primitive = primitive
        self.inputs = inputs
        self.attributes = attributes
        self.value = value
        self.location = location
        self.name = self.role = self.hidden = self.leaf = None
        self.serial = next(_serials)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        shape: tuple[int, ...] = self.value.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the value."""
        dtype: np.dtype[Any] = self.value.dtype
        return dtype

    @property
    def spec(self) -> Spec:
        """Shape and dtype, without the array."""
        value = self.value
        return value if value.__class__ is Spec else Spec(value.shape, value.dtype)

    @property
    def scope(self) -> str:
        """Module path that the node was made under."""
        return self.location.scope

    @property
    def step(self) -> int | None:
        """The t of the node's step, or None."""
        return self.location.t

    @property
    def cut(self) -> Node | None:
        """The node that a ``.detach()`` cut this node off from, if that node is still alive."""
        source = self.attributes.get("source")
        return None if source is None else source()

    def again(
        self,
        inputs: tuple[Node, ...],
        attributes: Mapping[str, Any] | None = None,
        value: Any = None,
        location: Location | None = None,
    ) -> Node:
        """The same operation on other inputs, with the same name.

        Parameters
        ----------
        inputs : tuple of Node
        attributes, value, location : optional
            Those of this node, if not given.
        """
        made = Node(
            self.primitive,
            inputs,
            self.attributes if attributes is None else attributes,
            self.value if value is None else value,
            self.location if location is None else location,
        )
        made.name, made.role, made.hidden, made.leaf = self.name, self.role, self.hidden, self.leaf
        return made

    @property
    def operation(self) -> str:
        """Name of the primitive; for a leaf, its role."""
        if self.primitive is not None:
            return self.primitive.name
        return "detach" if "source" in self.attributes else self.role or "constant"

    def __repr__(self) -> str:
        shown = self.name or self.operation
        spec = "results" if isinstance(self.value, Results) else self.spec
        return f"<Node {shown} {spec}{self.location.describe()}>"


class CutOff:
    """A weak reference to the node that a ``.detach()`` cut off.

    If an operation has several results, the node of one result is freed with its tensor. The node is found
    again as long as the node of the operation is alive.

    Parameters
    ----------
    node : Node
    keep : bool
        Whether to keep the node alive after all. The step of a cell does so: a search of the step
        must not depend on when garbage is collected.

    Examples
    --------
    >>> x = Node(None, (), {}, Spec((2,), np.dtype(float)))
    >>> found = CutOff(x)
    >>> found() is x
    True
    >>> del x
    >>> found() is None
    True
    """

    __slots__ = ("_node", "_whole", "_facts", "_kept")

    def __init__(self, node: Node, keep: bool = False) -> None:
        self._node = weakref.ref(node)
        self._kept = node if keep else None
        self._whole: weakref.ref[Node] | None = None
        if len(node.inputs) == 1 and isinstance(node.inputs[0].value, Results):
            self._whole = weakref.ref(node.inputs[0])
            self._facts = (node.primitive, node.attributes, node.value, node.location, node.name, node.role, node.serial)

    def __call__(self) -> Node | None:
        """The node, or None if it was freed."""
        node = self._node()
        whole = None if node is not None or self._whole is None else self._whole()
        if whole is not None:
            primitive, attributes, value, location, name, role, serial = self._facts
            node = Node(primitive, (whole,), attributes, value, location)
            node.name, node.role, node.serial = name, role, serial
            self._node = weakref.ref(node)
        return node


def rebased(node: Node, instead: Mapping[Node, Node]) -> Node:
    """A copy of a node with counterparts for its inputs, its origin and its cut.

    If none of them has a counterpart, the node itself.

    Examples
    --------
    >>> x, y = (Node(None, (), {}, Spec((2,), np.dtype(float))) for _ in range(2))
    >>> reader = Node(None, (x, x), {}, x.value)
    >>> rebased(reader, {x: y}).inputs == (y, y), rebased(reader, {y: x}) is reader
    (True, True)
    """
    cut, origin = node.cut, node.location.origin
    if cut not in instead and origin not in instead and instead.keys().isdisjoint(node.inputs):
        return node
    attributes = node.attributes if cut is None else {**node.attributes, "source": weakref.ref(instead.get(cut, cut))}
    location = node.location if origin is None else node.location._replace(origin=instead.get(origin, origin))
    return node.again(tuple([instead.get(i, i) for i in node.inputs]), attributes, location=location)


def leaf(value: Any, name: str | None = None, role: str | None = None, location: Location = NOWHERE) -> Node:
    """Make a leaf: a node that no primitive computed."""
    node = Node(None, (), NO_ATTRIBUTES, value, location)
    node.name = name
    node.role = role
    return node


ROLES = ("parameter", "input", "initial", "output", "loss", "mask", "cotangent")
"""Possible purposes of a node; None for an operation's plain result or a constant."""

_serial = attrgetter("serial")


def ancestors(outputs: Iterable[Node]) -> list[Node]:
    """The outputs and all nodes that they depend on, each after its inputs.

    Examples
    --------
    >>> x = Node(None, (), {}, Spec((2,), np.dtype(float)))
    >>> y = Node(None, (x, x), {}, Spec((3,), np.dtype(float)))
    >>> [node.shape for node in ancestors([y])]
    [(2,), (3,)]
    """
    seen = set(outputs)
    stack = list(seen)
    while stack:
        for node in stack.pop().inputs:
            if node not in seen:
                seen.add(node)
                stack.append(node)
    return in_order(seen)


def in_order(nodes: Iterable[Node]) -> list[Node]:
    """Nodes in the order of their creation, so that each node is after its inputs."""
    return sorted(nodes, key=_serial)


def behind_cuts(outputs: Sequence[Node]) -> list[Node]:
    """Ancestors of nodes, also beyond cuts: through values that were detached and are still alive."""
    ends = dict.fromkeys(outputs)
    while True:
        nodes = ancestors(ends)
        sources = [source for node in nodes if (source := node.cut) is not None and source not in ends]
        known = set(nodes)
        ends |= dict.fromkeys(source for source in sources if source not in known)
        if all(source in known for source in sources):
            return nodes
