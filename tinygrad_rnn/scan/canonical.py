"""Canonical form: equal operations are one node, operands have equal ranks, and operations without effect are removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..graph.node import Node
from ..graph.structure import exact
from ..ops.axes import index_along
from ..ops.core import NUMBER, Primitive, registry
from ..ops.facts import facts_of
from .loop import Loop, is_scalar_constant

__all__ = ["NodeBuilder", "along", "canonical", "joined_axis", "slice_of"]

_ADD, _MULTIPLY, _NEGATIVE = registry["add"], registry["multiply"], registry["negative"]
_RESHAPE, _TRANSPOSE, _BROADCAST = registry["reshape"], registry["transpose"], registry["broadcast_to"]
_ASTYPE, _CONCATENATE, _GETITEM = registry["astype"], registry["concatenate"], registry["getitem"]


def canonical(loop: Loop, instead: Mapping[Node, Node] | None = None) -> Loop:
    """Rebuild a loop, with equal operations merged and some nodes replaced.

    Parameters
    ----------
    loop : Loop
    instead : mapping of Node to Node, optional
        Replacements: for a node, a node of equal value that is computed in another way.
    """
    instead = instead or {}
    builder = NodeBuilder()
    done: dict[Node, Node] = {}
    stack = list(reversed(loop.body))
    while stack:
        node = stack[-1]
        if node in done:
            stack.pop()
            continue
        needs = (instead[node],) if node in instead else node.inputs
        missing = [i for i in needs if i not in done]
        if missing:
            stack.extend(missing)
            continue
        stack.pop()
        if node in instead:
            done[node] = done[instead[node]]
        elif node.primitive is None:
            done[node] = builder.number(node) if is_scalar_constant(node) else node
        else:
            done[node] = builder.like(node, tuple([done[i] for i in node.inputs]))
    return loop.mapped(done)


class NodeBuilder:
    """Builder of nodes without values, in which equal operations on equal inputs are one node."""

    def __init__(self) -> None:
        self._made: dict[Any, Node] = {}
        self._own: set[Node] = set()

    def number(self, node: Node) -> Node:
        """The leaf for a number of a dtype, shared by all uses."""
        return self._made.setdefault((node.dtype, node.value.tobytes()), node)

    def like(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        """The operation of `node` on other inputs, with its name and location."""
        assert node.primitive is not None
        made = self.make(node.primitive, inputs, node.attributes, node)
        if made.name is None and made in self._own:  # only a node that was made here, never one of the original loop
            made.name = node.name
        return made

    def make(
        self, primitive: Primitive, inputs: tuple[Node, ...], attributes: Mapping[str, Any] = {}, like: Node | None = None
    ) -> Node:
        """A node for an operation; an equal earlier node if there is one.

        `like` is a node of the same operation, perhaps on other inputs. The new node gets its location.
        """
        if len(inputs) > 1 and primitive.leading is None:
            inputs = self._of_one_rank(inputs)
        simpler = self._simpler(primitive, inputs, attributes)
        if simpler is not None:
            return simpler
        key = (primitive, inputs, exact(attributes))
        made = self._made.get(key)
        if made is None:
            specs = [node.spec for node in inputs]
            if like is not None and like.inputs == inputs:
                made = like
            else:
                known = like is not None and specs == [node.spec for node in like.inputs]
                spec = like.spec if like is not None and known else primitive.shape(*specs, **attributes)
                made = Node(primitive, inputs, attributes, spec, like.location if like is not None else inputs[0].location)
                self._own.add(made)
            self._made[key] = made
        return made

    def _of_one_rank(self, inputs: tuple[Node, ...]) -> tuple[Node, ...]:
        """Inputs with equal ranks, so that all may get a further leading axis; numbers stay unchanged."""
        ranks = [len(node.shape) for node in inputs]
        rank = max(ranks)
        if ranks.count(rank) == len(ranks) or all(len(node.shape) == rank or is_scalar_constant(node) for node in inputs):
            return inputs
        return tuple(
            [
                node
                if len(node.shape) == rank or is_scalar_constant(node)
                else self.make(_RESHAPE, (node,), {"shape": (1,) * (rank - len(node.shape)) + node.shape})
                for node in inputs
            ]
        )

    def _simpler(self, primitive: Primitive, inputs: tuple[Node, ...], attributes: Mapping[str, Any]) -> Node | None:
        x = inputs[0] if inputs else None
        if x is None:
            return None
        if primitive is _RESHAPE:
            if x.shape == attributes["shape"]:
                return x
            if x.primitive is _RESHAPE:
                return self.make(_RESHAPE, x.inputs, attributes)
        elif primitive is _TRANSPOSE:
            axes = attributes["axes"]
            if axes == tuple(range(-len(axes), 0)):
                return x
            if x.primitive is _TRANSPOSE:
                return self.make(_TRANSPOSE, x.inputs, {"axes": tuple(x.attributes["axes"][a] for a in axes)})
        elif primitive is _BROADCAST:
            if x.shape == attributes["shape"]:
                return x
        elif primitive is _ASTYPE:
            if x.dtype == attributes["dtype"]:
                return x
        elif primitive is _NEGATIVE:
            if x.primitive is _NEGATIVE:
                return x.inputs[0]
        elif primitive is _MULTIPLY or primitive is _ADD:
            unit = 1.0 if primitive is _MULTIPLY else 0.0
            for one, other in (inputs, inputs[::-1]):
                if (
                    is_scalar_constant(one, unit)
                    and np.result_type(one.dtype, other.dtype) == other.dtype
                    and not is_scalar_constant(other)
                ):
                    return other
        elif primitive is _CONCATENATE:
            joined = self._joined(inputs, attributes["axis"])
            if len(joined) < len(inputs):
                return self.join(joined, attributes["axis"])
        elif primitive is _GETITEM and len(inputs) == 1:
            return self._part(x, attributes["index"])
        return None

    def _part(self, x: Node, index: tuple[Any, ...]) -> Node | None:
        """A simpler node for a slice: of a whole value, of another slice, or within one concatenated piece."""
        found = along(index, x.shape)
        if found is None:
            return None
        axis, start, stop = found
        if (start, stop) == (0, x.shape[axis]):
            return x
        inner = slice_of(x)
        if inner is not None and inner[0] == axis:
            return self.part(x.inputs[0], inner[1] + start, inner[1] + stop, axis)
        if joined_axis(x) == axis:
            at = 0
            for piece in x.inputs:
                end = at + piece.shape[axis]
                if at <= start and stop <= end and piece.dtype == x.dtype:
                    return self.part(piece, start - at, stop - at, axis)
                at = end
        return None

    def _joined(self, pieces: tuple[Node, ...], axis: int) -> list[Node]:
        """Pieces of a concatenation, with neighbouring slices of one value merged."""
        found: list[Node] = []
        for piece in pieces:
            place, before = slice_of(piece), slice_of(found[-1]) if found else None
            if place and before and place[:2] == (axis, before[2]) and before[0] == axis and piece.inputs == found[-1].inputs:
                found[-1] = self.part(piece.inputs[0], before[1], place[2], axis)
            else:
                found.append(piece)
        return found

    def constant(self, value: float, dtype: np.dtype[Any]) -> Node:
        """The leaf of a number."""
        return self.number(Node(None, (), NUMBER, np.array(value, dtype)))

    def part(self, x: Node, start: int, stop: int, axis: int = -1) -> Node:
        """A slice of a value along one negative axis."""
        if (start, stop) == (0, x.shape[axis]):
            return x
        return self.make(_GETITEM, (x,), {"index": index_along(axis, slice(start, stop))})

    def broadcast(self, x: Node, shape: tuple[int, ...]) -> Node:
        """A value, broadcast to a shape."""
        return self.make(_BROADCAST, (x,), {"shape": shape})

    def join(self, pieces: list[Node] | tuple[Node, ...], axis: int = -1) -> Node:
        """A concatenation of values along one negative axis."""
        return pieces[0] if len(pieces) == 1 else self.make(_CONCATENATE, tuple(pieces), {"axis": axis})


def slice_of(node: Node) -> tuple[int, int, int] | None:
    """Position of a slice along one axis of its input, (negative axis, start, stop); None for other nodes."""
    reads = facts_of(node).reads
    return along(node.attributes[reads], node.inputs[0].shape) if reads and len(node.inputs) == 1 else None


def joined_axis(node: Node) -> int | None:
    """Axis along which a node concatenates its inputs; None for other nodes."""
    joins = facts_of(node).joins
    return node.attributes[joins] if joins and len(node.shape) == len(node.inputs[0].shape) else None


def along(index: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """The (negative axis, start, stop) of an index that is a slice of step 1 along one axis; None for other indices.

    Examples
    --------
    >>> along((slice(None), slice(1, 3)), (2, 4))
    (-1, 1, 3)
    >>> along((0,), (2, 4)) is None
    True
    """
    if any(part is not Ellipsis and not isinstance(part, slice) for part in index):
        return None
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index = (*index[:at], *[slice(None)] * (len(shape) - len(index) + 1), *index[at + 1 :])
    index = (*index, *[slice(None)] * (len(shape) - len(index)))
    found = (-1, 0, shape[-1]) if shape else None
    for axis, (part, n) in enumerate(zip(index, shape, strict=True)):
        start, stop, step = part.indices(n)
        if step != 1:
            return None
        stop = max(start, stop)
        if (start, stop) != (0, n):
            if found is not None and found[1:] != (0, shape[found[0]]):
                return None
            found = (axis - len(shape), start, stop)
    return found
