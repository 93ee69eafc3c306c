"""Writer: a schedule as a function in C."""

from __future__ import annotations

from ...graph.node import Node
from ..partition import INVARIANT, When
from ..schedule import Schedule
from .elements import write_group
from .groups import Group, Groups
from .loops import write_einsum, write_flat, write_line, write_scatter
from .names import identifier
from .page import Page, factor
from .places import CMemory, CPlaces, literal_of
from .products import Products
from .types import form_of

__all__ = ["CSource"]


class CSource:
    """A schedule as C.

    Parameters
    ----------
    schedule : Schedule

    Attributes
    ----------
    text : str
        The function ``run``.
    places : CPlaces
    groups : Groups
    page : Page
        Memories that the function needs, and functions that it calls.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule, self.loop = schedule, schedule.loop
        self.places = CPlaces(schedule)
        self.groups = Groups(self.places)
        leaves = (*self.loop.carry, *self.loop.sequences)
        self.page = Page(self.places, next((leaf.shape[0] for leaf in leaves if leaf.shape), 1))
        self._products = Products(self.page)
        self.text = self._written()

    def _written(self) -> str:
        page = self.page
        once = page.written(1, lambda: self._items(INVARIANT))
        starts = page.written(1, self._starts)
        stages = page.written(2, self._stages)
        sums = page.written(2, self._sums)
        firsts = page.written(2, lambda: self._carry(True))
        lasts = page.written(2, lambda: self._carry(False))
        end = page.written(1, lambda: self._items(None))
        chunks = (
            "long start = (T - 1) / length * length; start >= 0; start -= length"
            if self.loop.reverse
            else "long start = 0; start < T; start += length"
        )
        fails = any("&failed" in line for line in (*once, *stages, *sums, *end))
        return "\n".join(
            [
                "int run(long T, long B, long S, long first, long length, void **memory, void **inputs, void **results,",
                "        long data) {",
                *[f"    {line}" for line in page.declarations()],
                *["    int failed = 0;"] * fails,
                *once,
                *self._products.packs,
                *starts,
                f"    for ({chunks}) {{",
                "        long n = T - start < length ? T - start : length;",
                *[f"        {line}" for line in page.rows_of_chunk()],
                *firsts,
                *stages,
                *sums,
                *lasts,
                "    }",
                *end,
                f"    return {'failed' if fails else '0'};",
                "}",
                "",
            ]
        )

    def _starts(self) -> None:
        """Write the initial values of slots and of sums."""
        first = len(self.loop.sequences)
        for slot, end in self.places.ends.items():
            given = CMemory("input", slot.spec, f"{end.name}_start", position=first + self.loop.slot[slot])
            self._copy(self.page.name(end), self.page.name(given), self.page.total(slot.shape))
        for time_sum in self.schedule.time_sums:
            name = self.page.name(self.places[time_sum.leaf].memory)
            if time_sum.kind == "steps":
                self.page.say(f"{name}[0] = T;")
                continue
            with self.page.about(time_sum.leaf):
                self.page.say(f"for (long i = 0; i < {self.page.total(time_sum.leaf.shape)}; i++) {name}[i] = 0;")

    def _carry(self, first: bool) -> None:
        """Write the copies of slot values into the first row of a chunk, or out of its last row."""
        for slot, end in self.places.ends.items():
            memory, count = self.places[slot].memory, self.page.total(slot.shape)
            rows = self.page.name(memory)
            if first == self.loop.reverse:
                rows = f"({rows} + n * {factor(self.page.row(memory))})"
            to, source = (rows, self.page.name(end)) if first else (self.page.name(end), rows)
            self._copy(to, source, count)

    def _copy(self, to: str, source: str, count: str) -> None:
        self.page.say(f"for (long i = 0; i < {count}; i++) {to}[i] = {source}[i];")

    def _stages(self) -> None:
        for stage in sorted(stage for stage in self.groups.stages if stage is not None and stage != INVARIANT):
            if When.of(stage) is When.LOOP:
                self.page.say("/* step by step */")
                with self.page.steps():
                    self._items(stage)
            else:
                self._items(stage)

    def _items(self, stage: int | None) -> None:
        once = stage is None or stage == INVARIANT
        batched = stage is not None and When.of(stage) is When.BATCHED
        for item in self.groups.stages.get(stage, ()):
            # a repeated number is written where it is read; it has memory only if other readers need the memory
            nodes = item.nodes if isinstance(item, Group) else (item,)
            nodes = tuple([node for node in nodes if node in self.places or literal_of(node) is None])
            if nodes:
                with self.page.about(nodes[0]):
                    self._item(nodes if isinstance(item, Group) else item, batched, once)

    def _item(self, item: tuple[Node, ...] | Node, batched: bool, once: bool) -> None:
        if isinstance(item, tuple):
            with self.page.steps(batched):
                write_group(self.page, self.groups, item)
            return
        form = form_of(item)
        if form is None:
            self._call(item)
        elif form == "product":
            self._products.write(item, batched, once)
        else:
            with self.page.steps(batched):
                if form == "scatter":
                    write_scatter(self.page, item, self.places[item], zero=True)
                else:
                    {"line": write_line, "flat": write_flat, "einsum": write_einsum}[form](self.page, item)

    def _call(self, node: Node) -> None:
        """Write an operation that has no C, as a call back to NumPy."""
        for i in (node, *node.inputs):
            if i in self.places:
                self.page.name(self.places[i].memory)
        self.page.calls.append(node)
        self.page.say(f"/* {identifier(node.operation)} has no C */")
        steps = "start, n" if self.places.own(node) == "chunk" else "0, 0"
        self.page.say(f"if (numpy({len(self.page.calls) - 1}, {steps})) return 1;")

    def _sums(self) -> None:
        """Write the terms that a chunk adds to the sums over time."""
        plain = [time_sum for time_sum in self.schedule.time_sums if time_sum.kind == "plain"]
        with self.page.steps(bool(plain)):
            for time_sum in plain:
                (x,), place = time_sum.operands, self.places[time_sum.leaf]
                with self.page.nest(x.shape, simd=True) as variables:
                    at = self.page.at(place, x.shape, variables)
                    self.page.say(f"{self.page.name(place.memory)}[{at}] += {self.page.element(x, variables)};")
        for time_sum in self.schedule.time_sums:
            place = self.places[time_sum.leaf]
            if time_sum.kind == "scatter":
                with self.page.steps():
                    write_scatter(self.page, time_sum.operands[0], place, zero=False)
            elif time_sum.kind in ("product", "flipped product"):
                self._products.write_sum(time_sum, place)
