"""Slot kinds: cycles, among them linear and additive ones, and delays."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Literal, NamedTuple

from ..autodiff import pull
from ..console import counted
from ..graph.context import mode
from ..graph.node import Node, ancestors, leaf
from ..tensor import Tensor
from .loop import Loop
from .partition import Partition

__all__ = ["Slot", "slots_of"]


class Slot(NamedTuple):
    """The kind of a slot of the state.

    Attributes
    ----------
    name : str
    kind : str
        "cycle": the next value depends on the slot itself, also through `others` if there are any.
        "linear": a cycle that is linear in its slots, with coefficients that do not depend on the slots.
        "additive": the next value is the slot plus a value that does not depend on the slot.
        "unchanged": the next value is the slot. "delay": the slot carries a value that does not
        depend on the slot, for `steps` steps. "unused": nothing reads the slot.
    steps : int
    others : tuple of str
        The other slots of a cycle; or the delayed value, if its name is not the slot's.
    """

    name: str
    kind: Literal["cycle", "linear", "additive", "unchanged", "delay", "unused"]
    steps: int = 0
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        beside = f" with {', '.join(self.others)}" if self.others else ""
        if self.kind == "delay":
            return " of ".join([f"delay of {counted(self.steps, 'step')}", *self.others])
        return {
            "cycle": f"cycle{beside}",
            "linear": f"linear cycle{beside}",
            "additive": f"additive, {self.name}⁻ + …",
        }.get(self.kind, self.kind)


def slots_of(loop: Loop, partition: Partition, names: Sequence[str]) -> Iterator[Slot]:
    """The kind of each slot.

    Parameters
    ----------
    loop : Loop
        The loop as it was traced.
    partition : Partition
        Partition of the loop as it is run.
    names : sequence of str
        Names of the slots.
    """
    slot = loop.slot
    read = {node for made in loop.body for node in made.inputs} | {
        output.node for output in loop.outputs if output.kind != "final"
    }
    for i, (node, after) in enumerate(zip(loop.carry, loop.next_carry, strict=True)):
        cycle = partition.cycle.get(i, frozenset([i]))
        others = tuple(names[j] for j in sorted(cycle) if j != i)
        if after is node:
            yield Slot(names[i], "unchanged")
        elif partition.kind(i) in ("cycle", "sum"):
            yield Slot(names[i], _kind_of_cycle(loop, cycle), others=others)
        elif node not in read and node not in loop.next_carry:
            yield Slot(names[i], "unused")
        else:
            steps, seen = 1, {i}
            while after in slot and slot[after] not in seen:
                steps += 1
                seen.add(slot[after])
                after = loop.next_carry[slot[after]]
            source = None if after.role == "cotangent" else after.name
            yield Slot(names[i], "delay", steps, (source,) if source and source != names[i] else ())


def _kind_of_cycle(loop: Loop, cycle: Collection[int]) -> Literal["cycle", "linear", "additive"]:
    """The kind of a cycle: linear, if the gradient of its next values does not read it; additive, if this gradient is 1."""
    leaves, after = [loop.carry[i] for i in cycle], [loop.next_carry[i] for i in cycle]
    order = ancestors(after)
    inside = set(leaves)
    for node in order:
        if not inside.isdisjoint(node.inputs):
            inside.add(node)
            if any(_hides(node, k) for k, source in enumerate(node.inputs) if source in inside):
                return "cycle"
    cotangents = [leaf(node.spec) for node in after]
    with mode(tracing=True, recording=True):
        table = pull(order, [(node, Tensor(g)) for node, g in zip(after, cotangents, strict=True)], leaves)
    found = [gradient.node for gradient in table.values()]
    if found == cotangents and len(leaves) == 1:
        return "additive"
    return "linear" if inside.isdisjoint(ancestors(found)) else "cycle"


def _hides(node: Node, position: int) -> bool:
    """Whether a node depends on an input in a way that its gradient does not show, such as by a sign."""
    rules = node.primitive.gradient if node.primitive is not None else ()
    return node.dtype.kind != "f" or (isinstance(rules, tuple) and rules[position] is None)
