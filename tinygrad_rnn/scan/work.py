"""Work: the operations of a step as they were written and as they are run, and their cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ..graph.node import Node, Spec, leaf
from ..ops.facts import facts_of
from .loop import Loop, is_view
from .partition import Partition, When, first_batched, partition_of

__all__ = ["Counts", "Operation", "Work", "as_written", "count", "size_of"]


class Operation(NamedTuple):
    """One call of a kernel, or a copy.

    Attributes
    ----------
    node : Node
        The value that the operation computes.
    reads : tuple of Node
    when : When
    stage : int
        Number of the stage, as in :class:`Partition`.
    kind : {"kernel", "copy", "time sum", "product"}
        A time sum is a sum over all steps; a product is such a sum of matrix products.
    """

    node: Node
    reads: tuple[Node, ...]
    when: When
    stage: int
    kind: Literal["kernel", "copy", "time sum", "product"] = "kernel"


class Counts(NamedTuple):
    """The cost of a pass.

    Attributes
    ----------
    inside, outside : int
        Number of operations in the loop, at each step; and outside the loop, for any number of steps.
    products : int
        Number of matrix products in the loop, at each step.
    bytes_inside, bytes_outside : int
        Bytes written in the loop, at each step; and outside the loop, for all steps together.
    kept : int
        Bytes that stay for the gradient.
    """

    inside: int
    outside: int
    products: int
    bytes_inside: int
    bytes_outside: int
    kept: int


@dataclass(frozen=True, eq=False)
class Work:
    """The operations of a pass, and when each is done.

    Attributes
    ----------
    loop : Loop
    partition : Partition
    operations : tuple of Operation
    results : tuple of (str, Node)
        The outputs except final states: sequences and sums over time.
    given : dict of Node to Node
        For each leaf that stands for a value of the forward pass, that value.
    names : dict of Node to str
        Names for leaves that have none.
    """

    loop: Loop
    partition: Partition
    operations: tuple[Operation, ...]
    results: tuple[tuple[str, Node], ...] = ()
    given: Mapping[Node, Node] = field(default_factory=dict)
    names: Mapping[Node, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)


def as_written(loop: Loop, names: Sequence[str], outputs: int | None = None) -> Work:
    """Every operation of a step, as its author or the chain rule wrote it.

    Parameters
    ----------
    loop : Loop
    names : sequence of str
        Names of the loop's outputs.
    outputs : int, optional
        For the loop of a gradient: the number of its first sequences that are cotangents. Operations
        that the forward pass has already done are then left out.
    """
    partition = partition_of(loop)
    own = set(partition.nodes if outputs is None else (*loop.sequences[:outputs], *loop.carry))
    for node in partition.nodes:  # values that the forward pass has already computed have no origin, and read no cotangent
        if node.location.origin is not None or not own.isdisjoint(node.inputs):
            own.add(node)
    operations = [
        Operation(node, node.inputs, When.of(partition.stage[node]), partition.stage[node])
        for node in partition.nodes
        if node.primitive is not None and not is_view(node) and node in own
    ]
    end = first_batched(partition.stages - 1)
    results = []
    for name, output in zip(names, loop.outputs, strict=False):
        if output.kind == "sum":
            operations.append(Operation(leaf(output.node.spec), (output.node,), When.END, end, "time sum"))
        if output.kind != "final":
            results.append((name, operations[-1].node if output.kind == "sum" else output.node))
    return Work(loop, partition, tuple(operations), tuple(results))


def size_of(spec: Spec) -> int:
    """The bytes of a value."""
    return spec.dtype.itemsize * math.prod(spec.shape)


def count(work: Work, steps: int, kept: int, all_inside: bool = False) -> Counts:
    """The cost of some work.

    Parameters
    ----------
    work : Work
    steps : int
        Number of steps T.
    kept : int
        Bytes that stay for the gradient.
    all_inside : bool
        Whether to count all operations as inside the loop, as is right for operations that were not optimised.
    """
    inside = [one for one in work if all_inside or one.when is When.LOOP]
    outside = [] if all_inside else [one for one in work if one.when is not When.LOOP]
    return Counts(
        len(inside),
        len(outside),
        sum(facts_of(one.node).product and one.kind == "kernel" for one in inside),
        sum(size_of(one.node.spec) for one in inside),
        sum(size_of(one.node.spec) * (steps if one.when is When.BATCHED else 1) for one in outside),
        kept,
    )
