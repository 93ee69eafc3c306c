"""Plan: what was found out about a step, as a table, as source and as pictures."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from ..autodiff import pull
from ..console import counted
from ..graph.context import mode
from ..graph.node import Node, Spec, ancestors, leaf
from ..ops.facts import facts_of
from ..tensor import Tensor
from .canonical import canonical
from .compiled import CompiledScan
from .differentiate import Reverse, differentiate
from .loop import Loop, body
from .numpy_backend import Executable
from .partition import Partition
from .program import Copy, Kernel, Program, is_view

if TYPE_CHECKING:
    from ..draw import Drawing

__all__ = ["Counts", "Operation", "Pass", "Slot", "Plan", "Work"]

ONCE = -1

When: TypeAlias = Literal["once", "batched", "loop", "end"]


class Operation(NamedTuple):
    """One call of a kernel.

    Attributes
    ----------
    node : Node
        What it makes.
    reads : tuple of Node
    when : {"once", "batched", "loop", "end"}
        Before everything; for all steps at once; step by step; or once, after the last step.
    stage : int
        As :class:`Partition` counts them.
    kind : {"kernel", "copy", "time sum", "product"}
        A time sum is a sum over all steps; a product is such a sum of matrix products.
    """

    node: Node
    reads: tuple[Node, ...]
    when: When
    stage: int
    kind: Literal["kernel", "copy", "time sum", "product"] = "kernel"


class Counts(NamedTuple):
    """What a pass takes.

    Attributes
    ----------
    inside, outside : int
        Operations in the loop, at each step; and outside of it, whatever the number of steps.
    products : int
        Matrix products in the loop, at each step.
    bytes_inside, bytes_outside : int
        Written in the loop at each step; and outside of it, for all steps together.
    kept : int
        Bytes that stay for the gradient.
    """

    inside: int
    outside: int
    products: int
    bytes_inside: int
    bytes_outside: int
    kept: int


class Slot(NamedTuple):
    """What a slot of the state was found to be.

    Attributes
    ----------
    name : str
    kind : str
        "cycle": its next value depends on itself, through `others` too if there are any.
        "linear": a cycle that is linear in its slots, by coefficients from outside of it.
        "additive": the next value is the slot plus what does not depend on it. "unchanged".
        "delay": it carries a value that is known without it, for `steps` steps. "unused":
        nobody reads it.
    steps : int
    others : tuple of str
        The other slots of a cycle, or the value that is delayed, if it has another name.
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


@dataclass(frozen=True, eq=False)
class Work:
    """What is computed, and when.

    Attributes
    ----------
    loop : Loop
    partition : Partition
    operations : tuple of Operation
    results : tuple of (str, Node)
        What is asked for, but for final states: sequences and sums over time.
    given : dict of Node to Node
        For each leaf that stands for a value of the forward pass, that value.
    names : dict of Node to str
        What leaves are called that have no name.
    """

    loop: Loop
    partition: Partition
    operations: tuple[Operation, ...]
    results: tuple[tuple[str, Node], ...] = ()
    given: Mapping[Node, Node] = field(default_factory=dict)
    names: Mapping[Node, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)


@dataclass(frozen=True, eq=False)
class Pass:
    """One direction of a plan, forward or backward.

    Attributes
    ----------
    written : Work
        Every operation as its author, or the chain rule, wrote it. `written_counts` has them
        all in the loop; the stages say what could leave it.
    run : Work
        The operations of the program.
    written_counts, counts : Counts
    slots : tuple of Slot
    fired : dict of str to int
        How many values each rewrite replaced.
    source : str
        The program, as NumPy code.
    """

    written: Work
    run: Work
    written_counts: Counts
    counts: Counts
    slots: tuple[Slot, ...]
    fired: Mapping[str, int]
    source: str


class Plan:
    """What the compiler found out about a step, forward and backward; see :meth:`nn.Recurrent.plan`.

    The backward pass is that for gradients of all outputs and final states, with respect to
    all that has one.

    Parameters
    ----------
    loop : Loop
        As it was traced.
    steps : int
        T.
    title : str
    names : sequence of str
        Of the slots.
    checkpoint : int, optional

    Attributes
    ----------
    forward : Pass
    backward : Pass or None
        None if nothing has a gradient.
    fired : dict of str to int
        Of both passes.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> plan = nn.Recurrent(nn.RNNCell(3, 5)).plan(T=100, B=2)
    >>> plan.forward.counts.products, [str(slot) for slot in plan.forward.slots]
    (1, ['cycle'])
    >>> "def run(inputs, memory, steps):" in plan.source
    True
    """

    def __init__(
        self, loop: Loop, steps: int, title: str = "", names: Sequence[str] = (), checkpoint: int | None = None
    ) -> None:
        self.steps = steps
        self.title = title
        self.names = tuple(names) or tuple(node.name or f"state_{i}" for i, node in enumerate(loop.carry, 1))
        self._plan = plan = CompiledScan(loop, checkpoint)
        self.forward = self._forward(plan)
        floats = [i for i, output in enumerate(plan.loop.outputs) if output.node.dtype.kind == "f"]
        inputs = (*loop.sequences, *loop.carry, *loop.consts)
        wanted = [k for k, node in enumerate(inputs) if node.dtype.kind == "f"]
        self.backward = self._backward(plan, floats, wanted) if floats and wanted else None

    @property
    def source(self) -> str:
        """The programs of both passes, as NumPy code."""
        return "\n\n".join(one.source for one in (self.forward, self.backward) if one is not None)

    @cached_property
    def fired(self) -> dict[str, int]:
        """How many values each rewrite replaced."""
        passes = [one.fired for one in (self.forward, self.backward) if one is not None]
        return {name: sum(fired.get(name, 0) for fired in passes) for name in dict.fromkeys(n for f in passes for n in f)}

    def draw(
        self,
        when: Literal["before", "after"] = "after",
        direction: Literal["forward", "backward"] = "forward",
    ) -> Drawing:
        """A picture of the step, what is done step by step in one colour and what is done at once in others.

        Parameters
        ----------
        when : {"before", "after"}
            As it was written, or as it is run.
        direction : {"forward", "backward"}

        Raises
        ------
        ValueError
            If there is no such picture.
        """
        from ..draw import draw_plan

        if direction not in ("forward", "backward") or when not in ("before", "after"):
            raise ValueError(f"a plan is drawn 'before' or 'after', 'forward' or 'backward', not {when!r}, {direction!r}")
        one = self.forward if direction == "forward" else self.backward
        if one is None:
            raise ValueError("nothing in this step has a gradient, so it has no backward pass")
        return draw_plan(one, when, f"{self.title}, {direction}")

    def __str__(self) -> str:
        return _table(self)

    __repr__ = __str__

    # -- the two passes --------------------------------------------------------------------

    def _forward(self, plan: CompiledScan) -> Pass:
        loop, n = plan.traced, plan.checkpoint
        program, source = _compiled(plan, True)
        names = [output.node.name or "output" for output in loop.outputs]
        written, run = _as_written(loop, names), _as_run(program, names)
        every = self.steps * sum(_bytes(operation.node.spec) for operation in written)
        kept = _kept(program, self.steps)
        if n is not None and 1 < n < self.steps:  # one segment's, and what each segment starts from
            kept = _kept(program, n) + -(-self.steps // n) * sum(_bytes(node.spec) for node in loop.carry)
        return self._pass(written, run, program, self.names, (every, kept), plan, source)

    def _backward(self, plan: CompiledScan, floats: list[int], wanted: list[int]) -> Pass:
        loop = plan.traced
        outputs = [loop.outputs[i].node.name or "output" for i in floats if loop.outputs[i].kind == "stack"]
        by_hand = differentiate(canonical(loop), floats, wanted)
        reverse, reverse_plan = plan.reverse(floats, wanted)
        program, source = _compiled(reverse_plan, False)
        inputs = (*loop.sequences, *loop.carry, *loop.consts)
        names = [f"∂{inputs[k].name or inputs[k].operation}" for k in reverse.results]
        written, run = _as_written(by_hand.loop, names, len(outputs)), _as_run(program, names)
        written, run = self._told(written, by_hand, outputs), self._told(run, reverse, outputs)
        slots = [f"δ{self.names[i]}" for i in reverse.slots]
        return self._pass(written, run, program, slots, (0, 0), reverse_plan, source)

    def _told(self, work: Work, reverse: Reverse, outputs: Sequence[str]) -> Work:
        """The same, with what its leaves stand for."""
        loop, sequences = self._plan.traced, reverse.loop.sequences
        given = dict(zip(sequences[len(sequences) - len(reverse.residuals) :], reverse.residuals, strict=True))
        names = {node: f"{name}⁻" for node, name in zip(loop.carry, self.names, strict=True)}
        names |= {node: f"∂{name}" for node, name in zip(sequences, outputs, strict=False)}
        return replace(work, given=given, names=names)

    def _pass(
        self,
        written: Work,
        run: Work,
        program: Program,
        names: Sequence[str],
        kept: tuple[int, int],
        plan: CompiledScan,
        source: str,
    ) -> Pass:
        return Pass(
            written,
            run,
            _count(written, self.steps, kept[0], as_written=True),
            _count(run, self.steps, kept[1]),
            tuple(_slots(plan.traced, program.partition, names)),
            dict(plan.fired),
            source,
        )


def _compiled(plan: CompiledScan, save: bool) -> tuple[Program, str]:
    executable: Executable = plan.executable(save)
    return executable.program, executable.source


# -- operations ----------------------------------------------------------------------------


def _when(stage: int) -> When:
    return "once" if stage < 0 else "loop" if stage % 2 else "batched"


def _as_written(loop: Loop, names: Sequence[str], outputs: int | None = None) -> Work:
    """Every operation of the step; of a gradient, with the cotangents of so many outputs, those that are its own."""
    partition = Partition(loop)
    own = set(partition.nodes if outputs is None else (*loop.sequences[:outputs], *loop.carry))
    for node in partition.nodes:  # what the forward pass has computed already has no origin, and reads no cotangent
        if node.location.origin is not None or not own.isdisjoint(node.inputs):
            own.add(node)
    operations = [
        Operation(node, node.inputs, _when(partition.stage[node]), partition.stage[node])
        for node in partition.nodes
        if node.primitive is not None and not is_view(node) and node in own
    ]
    results = []
    for name, output in zip(names, loop.outputs, strict=False):
        if output.kind == "sum":
            operations.append(Operation(leaf(output.node.spec), (output.node,), "end", _end(partition), "time sum"))
        if output.kind != "final":
            results.append((name, operations[-1].node if output.kind == "sum" else output.node))
    return Work(loop, partition, tuple(operations), tuple(results))


def _as_run(program: Program, names: Sequence[str]) -> Work:
    """The calls of a program."""
    operations: list[Operation] = []
    results: list[tuple[str, Node]] = []

    def add(calls: Iterable[Kernel | Copy], when: When, stage: int) -> None:
        for call in calls:
            if isinstance(call, Copy):
                operations.append(Operation(call.source, (call.source,), when, stage, "copy"))
            elif program.storage[call.node].kind != "view":
                operations.append(Operation(call.node, call.node.inputs, when, stage))

    add(program.once.calls, "once", ONCE)
    for stage, section in enumerate(program.sections):
        add(section.calls, _when(stage), stage)
    end = _end(program.partition)
    for time_sum in program.time_sums:
        reads = time_sum.operands if time_sum.kind != "scatter" else time_sum.operands[0].inputs
        kind: Literal["product", "time sum"] = "product" if time_sum.kind.endswith("product") else "time sum"
        operations.append(Operation(time_sum.leaf, reads, "end", end, kind))
    add(program.after.calls, "end", end)
    sums = iter(program.sums)
    for k, (name, output) in enumerate(zip(names, program.loop.outputs, strict=False)):
        if output.kind == "sum":
            results.append((name, next(sums)))
        elif output.kind == "stack":
            results.append((name, output.node))
            storage = program.storage.get(output.node)
            if storage is None or storage.kind != "result" or storage.index != k:
                operations.append(Operation(output.node, (output.node,), "batched", end, "copy"))
    return Work(program.loop, program.partition, tuple(operations), tuple(results))


def _end(partition: Partition) -> int:
    """The stage after the last loop."""
    return partition.stages - 1 + (partition.stages - 1) % 2


def _bytes(spec: Spec) -> int:
    return spec.dtype.itemsize * math.prod(spec.shape)


def _count(work: Work, steps: int, kept: int, as_written: bool = False) -> Counts:
    """The numbers of the table; what is as it was written is all in the loop."""
    inside = [one for one in work if as_written or one.when == "loop"]
    outside = [one for one in work if not (as_written or one.when == "loop")]
    return Counts(
        len(inside),
        len(outside),
        sum(facts_of(one.node).product and one.kind == "kernel" for one in inside),
        sum(_bytes(one.node.spec) for one in inside),
        sum(_bytes(one.node.spec) * (steps if one.when == "batched" else 1) for one in outside),
        kept,
    )


def _kept(program: Program, steps: int) -> int:
    """Bytes of the memory that is kept for the gradient."""
    buffers = {
        program.root(output.node) for output in program.loop.outputs if output.residual and output.node in program.storage
    }
    return sum(
        _bytes(buffer.spec) * ((steps if buffer.extent == "whole" else 1) + buffer.carry)
        for buffer in buffers
        if buffer is not None
    )


# -- slots ---------------------------------------------------------------------------------


def _slots(loop: Loop, partition: Partition, names: Sequence[str]) -> Iterator[Slot]:
    slot = {leaf: i for i, leaf in enumerate(loop.carry)}
    read = {node for made in body(loop) for node in made.inputs} | {
        output.node for output in loop.outputs if output.kind != "final"
    }
    for i, (node, after) in enumerate(zip(loop.carry, loop.next_carry, strict=True)):
        others = tuple(names[j] for j in sorted(partition.cycle.get(i, ())) if j != i)
        if after is node:
            yield Slot(names[i], "unchanged")
        elif i in partition.cycle:
            yield Slot(names[i], _kind_of_cycle(loop, partition.cycle[i]), others=others)
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
    """Linear, if the gradient of what is carried on does not read the cycle; additive, if that gradient is 1."""
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
    """Whether it depends on an input in a way that its gradient does not show, such as a sign."""
    rules = node.primitive.gradient if node.primitive is not None else ()
    return node.dtype.kind != "f" or (isinstance(rules, tuple) and rules[position] is None)


# -- the table -----------------------------------------------------------------------------

WIDTH = 30
COLUMN = 12


def _table(plan: Plan) -> str:
    passes = [("forward", plan.forward), ("backward", plan.backward)]
    sides = [(name, one) for name, one in passes if one is not None]
    columns = [counts for _, one in sides for counts in (one.written_counts, one.counts)]
    lines = [
        *([plan.title] if plan.title else []),
        " " * WIDTH + "".join(name.rjust(2 * COLUMN) for name, _ in sides),
        " " * WIDTH + "".join(head.rjust(COLUMN) for _ in sides for head in ("as written", "as run")),
    ]

    def row(label: str, cells: Iterable[str]) -> None:
        lines.append(label.ljust(WIDTH) + "".join(cell.rjust(COLUMN) for cell in cells))

    lines.append("in the loop, at each step")
    row("  operations", [f"{c.inside:,}" for c in columns])
    row("  matrix products among them", [f"{c.products:,}" for c in columns])
    row("  written", [_size(c.bytes_inside) for c in columns])
    lines.append(f"outside, for {'all ' * (plan.steps > 1)}{counted(plan.steps, 'step')}")
    row("  operations", [f"{c.outside:,}" for c in columns])
    row("  written", [_size(c.bytes_outside) for c in columns])
    row("kept for the gradient", [*[_size(c.kept) for c in columns[:2]], *["–"] * (len(columns) - 2)])
    for label, told in (("state", _told_slots), ("rewrites", _told_rewrites)):
        for k, (name, one) in enumerate(sides):
            for n, text in enumerate(told(one)):
                lines.append(f"{'' if k or n else label:10}{'' if n else name:10}{text}")
    return "\n".join(line.rstrip() for line in lines)


def _told_slots(one: Pass) -> list[str]:
    width = max((len(slot.name) for slot in one.slots), default=0)
    return [f"{slot.name:{width}}  {slot}" for slot in one.slots] or ["none"]


def _told_rewrites(one: Pass) -> list[str]:
    return [", ".join(f"{name} {count}" for name, count in one.fired.items()) or "none"]


def _size(n: int) -> str:
    """A number of bytes.

    Examples
    --------
    >>> _size(9000), _size(12345678)
    ('9,000 B', '12.3 MB')
    """
    if n < 10_000:
        return f"{n:,} B"
    unit = next(u for u in (1e3, 1e6, 1e9, 1e12) if n < 9_999.5 * u or u == 1e12)
    size = n / unit
    return f"{size:,.0f} {_UNITS[unit]}" if size >= 100 else f"{size:.1f} {_UNITS[unit]}"


_UNITS = {1e3: "kB", 1e6: "MB", 1e9: "GB", 1e12: "TB"}
