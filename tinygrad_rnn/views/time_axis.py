"""Time axes: where an operation takes an axis of its input, and what the operation is at one step.

The answers follow from the facts and leading axes of the primitives. No kernel is run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from ..graph.graph import is_constant
from ..graph.node import Node, Spec
from ..graph.structure import exact
from ..ops.facts import facts_of
from ..ops.indexing import is_index_array

__all__ = ["AtStep", "Way", "at_one_step", "element", "moved", "moves_only", "read_along", "rearranges"]


class Way(Enum):
    """The way in which one step reads an input of a whole-sequence operation."""

    STEPS = "its element of the step"
    WHOLE = "as it is"
    FIRST = "its only element along the time axis"
    DROPPED = "not at all: it only counts the steps"


class AtStep(NamedTuple):
    """A whole-sequence operation, restricted to one step.

    Attributes
    ----------
    ways : list of Way
        How one step reads each input.
    axes : list of int
        The time axis of each input; 0 for an input that every step reads whole.
    attributes : Mapping
    """

    ways: list[Way]
    axes: list[int]
    attributes: Mapping[str, Any]


def element(value: Any, t: int, axis: int) -> Any:
    """A value at one position of a negative axis; for a value without numbers, its Spec."""
    k = axis + len(value.shape)
    if isinstance(value, np.ndarray):
        return value[(slice(None),) * k + (t,)]
    return Spec(value.shape[:k] + value.shape[k + 1 :], value.dtype)


# -- where axes go -----------------------------------------------------------------------------


def rearranges(node: Node) -> bool:
    """Whether an operation only moves the elements of its one input."""
    facts = facts_of(node)
    return len(node.inputs) == 1 and bool(facts.copies or facts.reorders or facts.reads)


def moved(node: Node, axis: int) -> int | None:
    """New position of an axis after a rearrangement; None if the axis is split or merged.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.tensor([[[1.0], [2.0]]])
    >>> moved(x.transpose((1, 0, 2)).node, -2), moved(x[0].node, -2), moved(x.reshape((2, 1)).node, -2), moved(x[:, 0].node, -2)
    (-3, -2, -2, None)
    """
    facts, shape, length = facts_of(node), node.inputs[0].shape, node.inputs[0].shape[axis]
    if facts.reorders:
        order = node.attributes[facts.reorders]
        return [a % len(shape) for a in order].index(axis % len(shape)) - len(shape)
    if facts.reads:
        position = _position(node, axis)
        return position if position is not None and node.shape[position] == length else None
    if math.prod(shape) != math.prod(node.shape):  # a broadcast
        return axis if node.shape[axis] == length else None
    after = math.prod(shape[axis:])
    candidates = (k for k in range(-len(node.shape), 0) if node.shape[k] == length and math.prod(node.shape[k:]) == after)
    return next(candidates, None)


def moves_only(node: Node, before: int, after: int) -> bool:
    """Whether a rearrangement moves only the time axis, and keeps each step's value."""
    if not rearranges(node) or node.name or node.role or before == after or facts_of(node).reads:
        return False
    (read,) = node.inputs
    if (reorders := facts_of(node).reorders) is None:
        return element(read.spec, 0, before) == element(node.spec, 0, after)
    rest = [a % len(read.shape) for a in node.attributes[reorders] if a % len(read.shape) != before % len(read.shape)]
    return rest == sorted(rest)


def _index(node: Node) -> tuple[Any, ...]:
    """Index with which a node reads a slice, with a full slice for each axis that it keeps."""
    index: tuple[Any, ...] = node.attributes[facts_of(node).reads or ""]
    missing = len(node.inputs[0].shape) - sum(part is not None and part is not Ellipsis for part in index)
    at = index.index(Ellipsis) if Ellipsis in index else len(index)
    return (*index[:at], *[slice(None)] * missing, *index[at + 1 :])


def _position(node: Node, axis: int) -> int | None:
    """The axis of the result that comes from a given axis of the input, for a read without index arrays."""
    place, counted = 0, len(node.inputs[0].shape) + axis
    for part in _index(node):
        if counted == 0 and part is not None:
            whole = isinstance(part, slice) and part.indices(node.inputs[0].shape[axis])[::2] == (0, 1)
            return place - len(node.shape) if whole else None
        counted -= part is not None
        place += part is None or isinstance(part, slice)
    return None


def read_along(node: Node, axis: int) -> Any:
    """The index of a node along one axis, if only this axis is indexed; otherwise None."""
    if not facts_of(node).reads or len(node.inputs) > 1:
        return None
    index = _index(node)
    place = len(node.inputs[0].shape) + axis
    if len(index) != len(node.inputs[0].shape) or any(part != slice(None) for k, part in enumerate(index) if k != place):
        return None
    return index[place]


# -- the operation at one step -----------------------------------------------------------------


def at_one_step(node: Node, axes: Mapping[Node, int], axis: int) -> AtStep | None:
    """A whole-sequence operation at one step; None if time does more than pass through it.

    Parameters
    ----------
    node : Node
    axes : Mapping from Node to int
        The time axes of those inputs that are sequences.
    axis : int
        The time axis of the result.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x, W = tr.tensor([[[1.0]], [[2.0]]]), tr.tensor([[3.0]])
    >>> [way.name for way in at_one_step((x @ W).node, {x.node: -3}, -3).ways]
    ['STEPS', 'WHOLE']
    >>> at_one_step(tr.cumsum(x, 0).node, {x.node: -3}, -3) is None
    True
    """
    assert node.primitive is not None
    facts = node.primitive.facts
    if facts.reads and len(node.inputs) > 1:
        return _read_by_arrays(node, axes, axis)
    ways = [Way.STEPS if i in axes else Way.WHOLE for i in node.inputs]
    own = [axes.get(i, 0) for i in node.inputs]
    sequences = [i for i in node.inputs if i in axes]
    if rearranges(node):
        candidates = [_without(node, own[0])] if moved(node, own[0]) == axis else []
    elif any(_meets(node, axes[i], axis) for i in sequences):
        return None
    elif node.primitive.leading is not None:
        candidates = [found for found in _shorter(node.attributes) if _leads(node, found, axes, axis)]
    elif _leads(node, node.attributes, axes, axis) or _is_row_by_row(node, axes, axis):
        candidates = [node.attributes]
    else:
        return None
    specs = [i.spec if way is Way.WHOLE else element(i.spec, 0, a) for i, way, a in zip(node.inputs, ways, own, strict=True)]
    for attributes in candidates:
        if _ruled(node, specs, attributes) == element(node.spec, 0, axis):
            return AtStep(ways, own, attributes)
    return None


def _ruled(node: Node, specs: Sequence[Spec], attributes: Mapping[str, Any]) -> Spec | None:
    """Result of the shape rule; None if the inputs do not fit."""
    assert node.primitive is not None
    try:
        return node.primitive.shape(*specs, **attributes)
    except Exception:  # rules raise different errors for inputs that do not fit
        return None


def _meets(node: Node, own: int, axis: int) -> bool:
    """Whether an operation along axes combines elements of different steps."""
    facts = facts_of(node)
    if facts.axes is None:
        return False
    along = node.attributes[facts.axes]
    return (axis if facts.joins else own) in (along if isinstance(along, tuple) else (along,))


def _leads(node: Node, attributes: Mapping[str, Any], axes: Mapping[Node, int], axis: int) -> bool:
    """Whether all axes up to the time axis are leading axes, which pass through.

    A leading axis passes through. The axis behind it passes too, if the operation works without both axes.
    """
    assert node.primitive is not None
    leading, place = node.primitive.leading, len(node.shape) + axis
    sequences = [i for i in node.inputs if i in axes]
    if any(len(i.shape) + axes[i] != place for i in sequences):
        return False
    if leading is not None:
        shapes = [i.shape for i in node.inputs]
        changed = leading(attributes, shapes) if place == 0 and len(sequences) == len(shapes) else NotImplemented
        return changed is not NotImplemented and bool(exact(changed) == exact(node.attributes))
    ranks = {len(i.shape) for i in sequences}
    shared = [i for i in node.inputs if i not in axes]
    if len(ranks) > 1 or (shared and node.primitive.domain.shapes is not None):
        return False
    cores = [Spec(i.shape[place + 1 :], i.dtype) if i in axes else i.spec for i in node.inputs]
    return _ruled(node, cores, attributes) == Spec(node.shape[place + 1 :], node.dtype)


def _is_row_by_row(node: Node, axes: Mapping[Node, int], axis: int) -> bool:
    """Whether, in a product with one matrix, the steps are among the rows of the other factor."""
    if not facts_of(node).product:
        return False
    first, second = node.inputs
    return first in axes and second not in axes and len(second.shape) == 2 and axes[first] == axis < -1


def _shorter(attributes: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Variants of the attributes: unchanged, and with one entry removed from one of them."""
    yield attributes
    for key, value in attributes.items():
        if isinstance(value, tuple):
            yield from ({**attributes, key: value[:k] + value[k + 1 :]} for k in range(len(value)))


def _without(node: Node, axis: int) -> Mapping[str, Any]:
    """Attributes of a rearrangement without one axis of its input, if the axis stays whole."""
    facts, attributes = facts_of(node), node.attributes
    n = len(node.inputs[0].shape)
    if facts.reorders:
        order = [a % n - n for a in attributes[facts.reorders]]
        return {**attributes, facts.reorders: tuple(a + (a < axis) for a in order if a != axis)}
    if facts.reads:
        index = _index(node)
        place = [k for k, part in enumerate(index) if part is not None][axis + n]
        return {**attributes, facts.reads: index[:place] + index[place + 1 :]}
    shape, to = node.shape, moved(node, axis)
    assert to is not None
    return {key: shape[:to] + shape[to + len(shape) + 1 :] if value == shape else value for key, value in attributes.items()}


# -- reading by arrays of indices --------------------------------------------------------------


def _read_by_arrays(node: Node, axes: Mapping[Node, int], axis: int) -> AtStep | None:
    """A read at one step by adjacent index arrays, with slices around them."""
    read, *arrays = node.inputs
    index = _index(node)
    places = [k for k, part in enumerate(index) if is_index_array(part)]
    slices = all(isinstance(part, slice) for k, part in enumerate(index) if k not in places)
    if len(arrays) != len(places) or places != list(range(places[0], places[0] + len(places))) or not slices:
        return None
    start, width, place = places[0], len(node.shape) - len(index) + len(places), len(node.shape) + axis
    ways, own, attributes = [Way.WHOLE], [0], node.attributes
    counted = None
    if read in axes:
        counted = len(read.shape) + axes[read]
        ways, own = [Way.STEPS], [axes[read]]
        attributes = {**attributes, facts_of(node).reads or "": index[:counted] + index[counted + 1 :]}
        if counted not in places:  # a slice reads the steps; the index arrays are the same at all steps
            to = counted if counted < start else counted - len(places) + width
            whole = index[counted] == slice(None) and to == place and axes.keys().isdisjoint(arrays)
            return AtStep([*ways, *[Way.WHOLE for _ in arrays]], [*own, *[0 for _ in arrays]], attributes) if whole else None
    for k, array in zip(places, arrays, strict=True):
        along = place - start - width  # the arrays are aligned at the end
        if k == counted:
            way = Way.DROPPED if _counts(array, along) else None
        elif array in axes:
            way = Way.STEPS if axes[array] == along else None
        elif len(array.shape) < -along:
            way = Way.WHOLE
        else:
            way = Way.FIRST if is_constant(array) and array.shape[along] == 1 else None
        if way is None or along >= 0:
            return None
        ways.append(way)
        own.append(along)
    return AtStep(ways, own, attributes) if Way.STEPS in ways else None


def _counts(node: Node, axis: int) -> bool:
    """Whether a constant is 0, 1, 2, … along one axis and constant along the others: an index for time."""
    value = node.value
    return (
        is_constant(node)
        and isinstance(value, np.ndarray)
        and 0 < -axis <= value.ndim
        and value.size == value.shape[axis]
        and np.array_equal(value.ravel(), np.arange(value.size))
    )
