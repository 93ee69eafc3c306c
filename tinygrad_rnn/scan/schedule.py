"""Schedule: which values of a loop are computed, and when. Every backend starts from the schedule."""

from __future__ import annotations

from functools import cached_property

from ..graph.node import Node, ancestors
from .loop import Loop, is_scalar_constant
from .partition import partition_of
from .readers import Readers
from .time_sums import TimeSums

__all__ = ["Schedule"]


class Schedule:
    """The operations of a loop, each at its stage, and the sums over time.

    Parameters
    ----------
    loop : Loop

    Attributes
    ----------
    partition : Partition
        The stage of each node.
    time_sums : list of TimeSum
        Sums over all steps; they are computed from arrays of all steps.
    sums : list of Node
        The "sum" outputs, in order, as operations on `time_sums`.
    summing : list of Node
        The nodes of `sums`, and all nodes that they are computed from.
    nodes : list of Node
        The nodes that are computed before the sums over time, in order.
    live : list of int
        The slots that `nodes` need.
    readers : Readers
        The readers of each of `nodes`; their ends include the next values of slots.
    """

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.partition = partition_of(loop)
        time_sums = TimeSums(self.partition)
        self.sums = [time_sums.of(output.node) for output in loop.outputs if output.kind == "sum"]
        self.time_sums = time_sums.found
        self.summing = ancestors(self.sums)
        self.nodes = loop.needed_for(self._roots())
        needed = set(self.nodes)
        self.live = [i for i in self.partition.live if loop.carry[i] in needed]
        self.readers = Readers(self.nodes, [loop.next_carry[i] for i in self.live])

    def _roots(self) -> list[Node]:
        known = set(self.partition.nodes)
        roots = [output.node for output in self.loop.outputs if output.kind != "sum"]
        roots += [node for time_sum in self.time_sums for node in time_sum.reads]
        return [*roots, *[node for node in self.summing if node in known and self.partition.is_invariant(node)]]

    @cached_property
    def closing(self) -> list[Node]:
        """The operations on sums over time, which run once after the last step."""
        before = {*self.nodes, *[time_sum.leaf for time_sum in self.time_sums]}
        return [node for node in self.summing if node not in before and node.primitive is not None]

    @cached_property
    def read_at_all_steps(self) -> set[Node]:
        """Values of which the arrays of all steps are read, outside their own loop or by the caller."""
        loop, partition = self.loop, self.partition
        stage = partition.stage
        found = {output.node for output in loop.outputs if output.kind == "stack"}
        found.update(node for time_sum in self.time_sums for node in time_sum.reads)
        for node in self.nodes:
            found.update(i for i in node.inputs if partition.is_sequential(i) and stage[i] != stage[node])
        for i in self.live:
            after = loop.next_carry[i]
            if i not in partition.cycle or (partition.is_sequential(after) and stage[after] != stage[loop.carry[i]]):
                found.add(after)
        return found

    @cached_property
    def read_at_the_end(self) -> set[Node]:
        """Values that are read after all stages: outputs, and operands of the sums over time."""
        found = {output.node for output in self.loop.outputs if output.kind != "sum"}
        return found.union(*[time_sum.reads for time_sum in self.time_sums])

    @cached_property
    def numbers(self) -> set[Node]:
        """Values that are computed from numbers in the step alone, and so are the same in all runs."""
        found: set[Node] = set()
        for node in self.nodes:
            if is_scalar_constant(node) or (node.primitive is not None and found.issuperset(node.inputs)):
                found.add(node)
        return found

    @cached_property
    def results(self) -> list[Node]:
        """For each output of the loop, the node that holds it; for a "sum" output, one of `sums`."""
        sums = iter(self.sums)
        return [next(sums) if output.kind == "sum" else output.node for output in self.loop.outputs]
