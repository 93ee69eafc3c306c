"""Plan: how a step is run, as a table, as source and as pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from ..console import counted, preformatted
from .backend import Backend, Executable
from .canonical import canonical
from .compiled import CompiledScan
from .differentiate import Reverse, differentiate
from .loop import Loop
from .numpy import NUMPY
from .slot_kinds import Slot, slots_of
from .work import Counts, Work, as_written, count, size_of

if TYPE_CHECKING:
    from ..draw import Drawing

__all__ = ["Pass", "Plan"]


@dataclass(frozen=True, eq=False)
class Pass:
    """One direction of a plan, forward or backward.

    Attributes
    ----------
    written : Work
        Every operation as its author, or the chain rule, wrote it. In `written_counts` all of them
        count as inside the loop; their stages say which of them could leave the loop.
    run : Work
        The operations of the program.
    written_counts, counts : Counts
    slots : tuple of Slot
    fired : dict of str to int
        Number of values that each rewrite replaced.
    source : str
        The program: calls of NumPy, or C.
    """

    written: Work
    run: Work
    written_counts: Counts
    counts: Counts
    slots: tuple[Slot, ...]
    fired: Mapping[str, int]
    source: str


class Plan:
    """How a step is run, forward and backward; see :meth:`nn.Recurrent.plan`.

    The backward pass computes the gradients of all outputs and final states with respect to all
    inputs that can have a gradient.

    Parameters
    ----------
    loop : Loop
        The step as it was traced.
    steps : int
        Number of steps T.
    title : str
        Title of the table and of pictures.
    names : sequence of str
        Names of the state slots, in order.
    checkpoint : int, optional
        Which values are kept for the gradient; see :class:`tinygrad_rnn.nn.Recurrent`.
    backend : Backend
        The backend that runs the plan.

    Attributes
    ----------
    forward : Pass
    backward : Pass or None
        None if no input can have a gradient.
    fired : dict of str to int
        Number of values that each rewrite replaced, in both passes.

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
        self,
        loop: Loop,
        steps: int,
        title: str = "",
        names: Sequence[str] = (),
        checkpoint: int | None = None,
        backend: Backend = NUMPY,
    ) -> None:
        self.steps = steps
        self.title = title
        self.names = tuple(names) or tuple(node.name or f"state_{i}" for i, node in enumerate(loop.carry, 1))
        self._plan = plan = CompiledScan(loop, checkpoint, backend=backend)
        self.forward = self._forward(plan)
        floats, wanted = plan.loop.float_outputs, loop.float_inputs
        self.backward = self._backward(plan, floats, wanted) if floats and wanted else None

    @property
    def source(self) -> str:
        """The programs of both passes, in Python or in C."""
        return "\n\n".join(one.source for one in (self.forward, self.backward) if one is not None)

    @cached_property
    def fired(self) -> dict[str, int]:
        """The number of values that each rewrite replaced."""
        passes = [one.fired for one in (self.forward, self.backward) if one is not None]
        return {name: sum(fired.get(name, 0) for fired in passes) for name in dict.fromkeys(n for f in passes for n in f)}

    def draw(
        self,
        when: Literal["before", "after"] = "after",
        direction: Literal["forward", "backward"] = "forward",
    ) -> Drawing:
        """A picture of the step; colours show which operations run step by step, and which run for all steps at once.

        Parameters
        ----------
        when : {"before", "after"}
            The step as it was written, or as it is run.
        direction : {"forward", "backward"}
            The pass to draw.

        Raises
        ------
        ValueError
            If there is no such picture.
        """
        from ..draw import draw_plan

        if direction not in ("forward", "backward") or when not in ("before", "after"):
            raise ValueError(
                f"a plan is drawn with when='before' or 'after' and direction='forward' or 'backward', not {when!r} and "
                f"{direction!r}"
            )
        one = self.forward if direction == "forward" else self.backward
        if one is None:
            raise ValueError("this step has no backward pass, because nothing in it has a gradient; draw direction='forward'")
        return draw_plan(one, when, f"{self.title}, {direction}")

    def __str__(self) -> str:
        return _table(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        forward = self.draw()
        if self.backward is None:
            return preformatted(str(self)) + forward.svg()
        return preformatted(str(self)) + (forward | self.draw(direction="backward"))._repr_html_()

    # -- the two passes --------------------------------------------------------------------

    def _forward(self, plan: CompiledScan) -> Pass:
        loop, n = plan.traced, plan.checkpoint
        executable = plan.executable(True)
        names = [output.node.name or "output" for output in loop.outputs]
        written = as_written(loop, names)
        every = self.steps * sum(size_of(operation.node.spec) for operation in written)
        kept = executable.kept(self.steps)
        if n is not None and 1 < n < self.steps:  # the bytes of one segment, and of the carry at the start of each segment
            kept = executable.kept(n) + -(-self.steps // n) * sum(size_of(node.spec) for node in loop.carry)
        return self._pass(written, _as_run(executable, names), executable, self.names, (every, kept), plan)

    def _backward(self, plan: CompiledScan, floats: list[int], wanted: list[int]) -> Pass:
        loop = plan.traced
        outputs = [loop.outputs[i].node.name or "output" for i in floats if loop.outputs[i].kind == "stack"]
        by_hand = differentiate(canonical(loop), floats, wanted)
        reverse, reverse_plan = plan.reverse(floats, wanted)
        executable = reverse_plan.executable(False)
        inputs = loop.inputs
        names = [f"∂{inputs[k].name or inputs[k].operation}" for k in reverse.results]
        written = self._named(as_written(by_hand.loop, names, len(outputs)), by_hand, outputs)
        run = self._named(_as_run(executable, names), reverse, outputs)
        slots = [f"δ{self.names[i]}" for i in reverse.slots]
        return self._pass(written, run, executable, slots, (0, 0), reverse_plan)

    def _named(self, work: Work, reverse: Reverse, outputs: Sequence[str]) -> Work:
        """The work of a gradient, with names for its leaves, and the forward values that they stand for."""
        loop, sequences = self._plan.traced, reverse.loop.sequences
        given = dict(zip(sequences[len(sequences) - len(reverse.residuals) :], reverse.residuals, strict=True))
        names = {node: f"{name}⁻" for node, name in zip(loop.carry, self.names, strict=True)}
        names |= {node: f"∂{name}" for node, name in zip(sequences, outputs, strict=False)}
        return replace(work, given=given, names=names)

    def _pass(
        self,
        written: Work,
        run: Work,
        executable: Executable,
        names: Sequence[str],
        kept: tuple[int, int],
        plan: CompiledScan,
    ) -> Pass:
        return Pass(
            written,
            run,
            count(written, self.steps, kept[0], all_inside=True),
            count(run, self.steps, kept[1]),
            tuple(slots_of(plan.traced, run.partition, names)),
            dict(plan.fired),
            executable.source,
        )


def _as_run(executable: Executable, names: Sequence[str]) -> Work:
    """The operations of a program, and its outputs except final states."""
    schedule = executable.schedule
    found = zip(names, schedule.loop.outputs, schedule.results, strict=False)
    results = tuple((name, node) for name, output, node in found if output.kind != "final")
    return Work(schedule.loop, schedule.partition, tuple(executable.operations()), results)


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
    for label, lines_of in (("state", _slot_lines), ("rewrites", _rewrite_lines)):
        for k, (name, one) in enumerate(sides):
            for n, text in enumerate(lines_of(one)):
                lines.append(f"{'' if k or n else label:10}{'' if n else name:10}{text}")
    return "\n".join(line.rstrip() for line in lines)


def _slot_lines(one: Pass) -> list[str]:
    width = max((len(slot.name) for slot in one.slots), default=0)
    return [f"{slot.name:{width}}  {slot}" for slot in one.slots] or ["none"]


def _rewrite_lines(one: Pass) -> list[str]:
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
