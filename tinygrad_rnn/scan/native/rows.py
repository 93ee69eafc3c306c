"""Rows: whether the sequences of a batch can be run separately, and how the results of the parts are combined."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from ...graph.node import Node
from ...ops.facts import facts_of
from ..schedule import Schedule
from ..time_sums import TimeSum
from .places import is_made, is_seen, literal_of
from .types import form_of

__all__ = ["Rows", "rows_of"]

Kind: TypeAlias = int | Literal["same", "part"]
"""The axis along which the sequences of the batch lie. "same": there is no such axis, so each part of a batch has the same
value. "part": the value is a sum over the sequences, so the values of all parts are added."""


class _MeetError(Exception):
    """Some operation combines the sequences of a batch, or might combine them."""


class Rows:
    """The kind of each value of a schedule whose batch can be split into parts.

    Parameters
    ----------
    schedule : Schedule
    batch : int

    Attributes
    ----------
    kinds : dict of Node to Kind
    """

    def __init__(self, schedule: Schedule, batch: int) -> None:
        self.kinds: dict[Node, Kind] = {}
        self._batch = batch
        loop = schedule.loop
        for node in (*loop.sequences, *loop.carry):
            self.kinds[node] = 0 if self._has_rows(node) else "same"
        for node in schedule.nodes:
            self.kinds[node] = self._kind(node)
            if self.kinds[node] == "part":
                raise _MeetError
        for time_sum in schedule.time_sums:
            self.kinds[time_sum.leaf] = self._kind_of_sum(time_sum)
        for node in (*schedule.summing, *schedule.closing):
            self.kinds[node] = self._kind(node)
        for i in schedule.live:
            if self.kinds.get(loop.next_carry[i], "same") != self.kinds[loop.carry[i]]:
                raise _MeetError
        if any(form_of(node) is None for node in self.kinds if is_made(node)):
            raise _MeetError
        for output, node in zip(loop.outputs, schedule.results, strict=True):
            if output.kind != "sum" and self.kinds.get(node) != 0:
                raise _MeetError

    def has(self, node: Node) -> bool:
        """Whether an operation loops over the sequences of the batch: those of its result, or of an input."""
        return any(isinstance(self.kinds.get(i), int) for i in (node, *node.inputs))

    def _has_rows(self, node: Node) -> bool:
        return node.shape[:1] == (self._batch,)

    def _kind(self, node: Node) -> Kind:
        if node in self.kinds:
            return self.kinds[node]
        if literal_of(node) is not None:
            return 0 if self._has_rows(node) else "same"
        primitive, facts = node.primitive, facts_of(node)
        if primitive is None:
            return "same"
        given = [self.kinds.get(i, "same") for i in node.inputs]
        if set(given) == {"same"}:
            return "same"
        if is_seen(node):
            return self._kind_of_view(node, given[0])
        if "part" in given:  # linear operations commute with the sum over the parts
            linear = facts.linear_groups(primitive.arguments, len(given))
            if any(all(kind == ("part" if k in group else "same") for k, kind in enumerate(given)) for group in linear):
                return "part"
            raise _MeetError
        if facts.product:
            return self._kind_of_product(node, given)
        if primitive.elementwise or facts.joins:
            beside = facts.joins is None or node.attributes[facts.joins] % len(node.shape) > 0
            if (
                beside
                and self._has_rows(node)
                and all(self._is_aligned(i, kind, node) for i, kind in zip(node.inputs, given, strict=True))
            ):
                return 0
        elif (facts.reduces or facts.along) and given == [0]:
            chosen = node.attributes[str(facts.axes)]
            rank = len(node.inputs[0].shape)
            if 0 not in [axis % rank for axis in (chosen if isinstance(chosen, tuple) else (chosen,))]:
                return 0
            if facts.is_jointly_linear and facts.reduces:
                return "part"
        elif (facts.copies and given == [0] and self._has_rows(node)) or (
            form_of(node) == "einsum" and self._is_of_rows(node, given)
        ):
            return 0
        raise _MeetError

    def _is_aligned(self, i: Node, kind: Kind, node: Node) -> bool:
        """Whether each sequence reads only its own part of an operand, or values that are the same for all sequences."""
        if kind == 0:
            return len(i.shape) == len(node.shape)
        return kind == "same" and (len(i.shape) < len(node.shape) or not self._has_rows(i) or self._batch == 1)

    def _is_of_rows(self, node: Node, given: list[Kind]) -> bool:
        """Whether an einsum acts on each sequence separately: the letter of the sequences is also the first of the result."""
        before, result = node.attributes["subscripts"].split("->")
        terms = before.split(",")
        letters = {term[0] for term, kind in zip(terms, given, strict=True) if kind == 0}
        others = [(term, i) for term, i, kind in zip(terms, node.inputs, given, strict=True) if kind != 0]
        apart = all(result[0] not in term and not self._has_rows(i) for term, i in others)
        return letters == set(result[:1]) and apart and all(kind in (0, "same") for kind in given)

    def _kind_of_view(self, node: Node, kind: Kind) -> Kind:
        """The kind of a view: its rows lie along the one axis that moves from one sequence to the next."""
        if kind == "part":
            return "part"
        if kind == "same":
            return "same"
        assert isinstance(kind, int) and node.primitive is not None
        shape = node.inputs[0].shape
        far = 1 << 30
        strides = [int(np.prod(shape[k + 1 :], initial=1)) for k in range(len(shape))]
        strides[kind] = far
        attributes = node.attributes
        if node.primitive.leading is not None:
            attributes = node.primitive.leading(attributes, [(1, *shape)])
        nothing = np.lib.stride_tricks.as_strided(np.empty(1, np.int8), (1, *shape), (1, *strides))
        view = node.primitive.kernel(nothing, **attributes)
        first, offset = (x.__array_interface__["data"][0] for x in (nothing, view))
        found = [axis for axis, stride in enumerate(view.strides[1:]) if abs(stride) >= far // 2 and view.shape[1 + axis] > 1]
        if (
            len(found) != 1
            or view.strides[1 + found[0]] != far
            or view.shape[1 + found[0]] != self._batch
            or offset - first >= far // 2
        ):
            raise _MeetError
        return found[0]

    def _kind_of_product(self, node: Node, given: list[Kind]) -> Kind:
        left, right = (len(i.shape) for i in node.inputs)
        alike = len({node.dtype, *[i.dtype for i in node.inputs]}) == 1
        if alike and given == [0, "same"] and left == len(node.shape) and right == 2:
            return 0
        raise _MeetError

    def _kind_of_sum(self, time_sum: TimeSum) -> Kind:
        given = [self.kinds.get(i, "same") for i in time_sum.reads]
        if time_sum.kind == "steps" or set(given) <= {"same"}:
            return "same"
        if time_sum.kind == "plain" and given == [0]:
            return 0
        alike = len({time_sum.leaf.dtype, *[i.dtype for i in time_sum.reads]}) == 1
        if "product" in time_sum.kind and given == [1, 0] and alike:
            return "part"
        raise _MeetError


def rows_of(schedule: Schedule, batch: int) -> Rows | None:
    """The kinds of values, if only sums combine the sequences of a batch; otherwise None."""
    try:
        return Rows(schedule, batch)
    except _MeetError:
        return None
