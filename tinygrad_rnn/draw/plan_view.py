"""Plans: one step, in which colours separate operations done step by step from operations done for all steps at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from ..graph.node import Node, ancestors
from ..ops.facts import facts_of, multiplies
from ..scan.canonical import along
from ..scan.loop import is_scalar_constant, is_view
from ..scan.partition import INVARIANT, When
from ..scan.plan import Pass
from ..scan.work import Operation, Work
from .drawing import Drawing
from .layered import layered
from .sketch import Arc, Sketch, Vertex
from .style import INK, LOOKS, NODE_FONT, NOTE_FONT, PLAIN, THICK, VERMILION, Kind, Stroke
from .symbols import literal, plain, pretty, text_width

__all__ = ["draw_plan"]


KINDS = {When.LOOP: Kind.STEPWISE, When.BATCHED: Kind.BATCHED, When.END: Kind.BATCHED, When.ONCE: Kind.ONCE}
LEGEND = {
    Kind.STEPWISE: "truly step by step",
    Kind.BATCHED: "can be done for all steps at once",
    Kind.ONCE: "can be done once",
}
HEADING = 14.0
"""Distance between a heading and the boxes to its right."""


def draw_plan(one: Pass, when: Literal["before", "after"] = "after", title: str = "plan") -> Drawing:
    """Draw one pass of a plan, before or after partitioning.

    Parameters
    ----------
    one : Pass
        The forward or the backward pass of the plan.
    when : {"before", "after"}
        Whether to draw the operations as they were written, or as they are run.
    title : str
        Title of the picture.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> plan = nn.Recurrent(nn.RNNCell(3, 5)).plan(T=100)
    >>> draw_plan(plan.forward).source.splitlines()[0]
    'digraph plan {'
    """
    work = one.written if when == "before" else one.run
    picture = _Picture(work, [slot.name for slot in one.slots], apart=when == "after")
    said = f"{title}, {'as it was written' if when == 'before' else 'as it is run'}"
    return Drawing(picture.placed(), said, f"{said}. {picture.words()}", "plan")


class _Read(NamedTuple):
    """The source of an operand: a node of the picture or a text, and the view through which it is read."""

    node: Node
    views: str
    flipped: bool


class _Picture:
    def __init__(self, work: Work, slots: Sequence[str], apart: bool) -> None:
        self.work, self.apart = work, apart
        self.slots = dict(zip(work.loop.carry, slots, strict=True))
        self.made = {one.node: one for one in work if one.kind != "copy"}
        self.consts = set(work.loop.consts)
        self.shown: dict[Node, Vertex] = {}
        self.sketch = Sketch()
        self.reads: dict[tuple[Node, Node], list[str]] = {}
        self.carried: dict[tuple[Node, Node], tuple[bool, str]] = {}
        self.places: dict[int | str, list[Vertex]] = {}
        self._collect()

    # -- contents --------------------------------------------------------------------------

    def _collect(self) -> None:
        roots = [one for one in self.work if one.kind != "copy" and not (self.apart and one.when is When.ONCE)]
        for one in roots:
            absorbed: list[tuple[int, str]] = []
            for position, node in enumerate(one.reads[:1] if self._squares(one) else one.reads):
                read = self._seen(node)
                text = self._text(read)
                if text is not None:
                    absorbed.append((position, text))
                else:
                    self._edge(read, one.node)
            self._put(one.stage if self.apart else "step", one.node, *self._box(one, absorbed))
        for number, (node, after) in enumerate(zip(self.work.loop.carry, self.work.loop.next_carry, strict=True)):
            self._delay(number, node, after)
        outputs: dict[Node, list[str]] = {}
        for name, node in self.work.results:
            outputs.setdefault(self._seen(node).node, []).append(name)
        for node, names in outputs.items():
            end = Node(None, (), {}, node.spec)
            self._edge(_Read(node, "", False), end)
            label = ", ".join(map(_pretty, dict.fromkeys(names)))
            self._put("outside", end, Kind.DATA, label, f"result\n{node.spec}")

    def _seen(self, node: Node) -> _Read:
        """The value that a chain of views reads; views are not counted as operations."""
        views: list[str] = []
        flipped = False
        while node.primitive is not None and is_view(node) and self._is_passed(node):
            facts = node.primitive.facts
            flipped ^= facts.reorders is not None
            if node.name is not None and facts.reads:
                views.append(pretty(node.name))
            elif facts.reads and not views:
                place = along(node.attributes[facts.reads], node.inputs[0].shape)
                views.append("part" if place is None else f"{place[1]}:{place[2]}")
            node = node.inputs[0]
        return _Read(node, " ".join(views[:1]), flipped)

    def _is_passed(self, node: Node) -> bool:
        """Whether a value comes from outside the pass, or is a copy of a value that is computed once."""
        return node not in self.made or (self.apart and self.made[node].when is When.ONCE and facts_of(node).copies)

    def _text(self, read: _Read) -> str | None:
        """Text of a number or a parameter, which is written in the box of its reader."""
        node = read.node
        if is_scalar_constant(node):
            return _number(node)
        if node in self.consts:
            return _pretty(node.name or "constant") + "^{T}" * (read.flipped and len(node.shape) > 1)
        if self.apart and self.work.partition.is_invariant(node) and (numbers := _numbers(node)):
            return f"({', '.join(numbers)})"
        return None

    def _edge(self, read: _Read, into: Node) -> None:
        source = self._source(read.node)
        self.reads.setdefault((source, into), []).append(read.views)

    def _source(self, node: Node) -> Node:
        """The node of an operand, added to the picture if missing."""
        one = self.made.get(node)
        prepared = self.apart and self.work.partition.is_invariant(node) and node.primitive is not None
        if node in self.shown or node in self.slots or (one is not None and not prepared):
            return node
        if prepared:
            self._put(INVARIANT, node, *self._prepared(node))
        elif facts_of(node).joins:
            stage = self.work.partition.stage.get(node, 0)
            self._put(stage if self.apart else "step", node, Kind.JUNCTION, "", f"side by side\n{node.spec}")
            for piece in node.inputs:
                read = self._seen(piece)
                if self._text(read) is None:
                    self._edge(read, node)
        else:
            self._put("outside", node, *self._outside(node))
        return node

    def _outside(self, node: Node) -> tuple[Kind, str, str]:
        """A value from outside the pass: an input, a cotangent, or a residual of the forward pass."""
        value = self.work.given.get(node, node)
        name = self.work.names.get(node) or self.work.names.get(value) or value.name
        label = _pretty(name) if name else ""
        if not label:
            read = self._seen(value)
            label = f"{self._formula(read.node)} {read.views}".strip()
        if node in self.work.given or node.primitive is not None:
            return Kind.KEPT, label, f"kept from the forward pass\n{node.spec}"
        return Kind.DATA, label, f"given as a sequence\n{node.spec}"

    def _formula(self, node: Node) -> str:
        """An operation as a formula of named operands, or only its name."""
        names = [self.work.names.get(self._seen(i).node) or self._seen(i).node.name for i in node.inputs]
        shown = [_pretty(name) for name in names if name]
        if len(shown) != len(names) or not 1 <= len(names) <= 2:
            return self._operation(node)
        return f" {self._operation(node)} ".join(shown) if len(names) == 2 else f"{self._operation(node)} {shown[0]}"

    @staticmethod
    def _operation(node: Node) -> str:
        return literal(node.operation if node.primitive is None else node.primitive.symbol)

    def _put(self, place: int | str, node: Node, kind: Kind, label: str, tooltip: str) -> None:
        name = f"{len(self.shown)} {plain(label)}".replace("\n", " ") if label else f"{len(self.shown)} join"
        vertex = Vertex(name, node, kind, label, tooltip=tooltip, width=28.0, height=24.0)
        if kind is Kind.JUNCTION:
            vertex.width = vertex.height = 7.0
        elif kind is Kind.DELAY:
            vertex.width = vertex.height = 25.0
            vertex.font = NOTE_FONT
        else:
            vertex.fit(24.0 if LOOKS[kind].shape == "ellipse" else 12.0)
        self.shown[node] = vertex
        self.sketch.vertices.append(vertex)
        self.places.setdefault(place, []).append(vertex)

    def _box(self, one: Operation, absorbed: Sequence[tuple[int, str]]) -> tuple[Kind, str, str]:
        if one.kind != "kernel":
            shown = "Σ_{t} ·" if one.kind == "product" else "Σ_{t}"
        else:
            shown = self._operation(one.node)
            if self._squares(one):
                shown = "( )^{2}"
            elif len(one.reads) == 2 and len(absorbed) == 1:
                ((position, text),) = absorbed
                shown = f"{shown} {text}" if position else f"{text} {shown}"
            elif absorbed:
                shown = f"{shown} {', '.join(text for _, text in absorbed)}"
        name = one.node.name
        label = f"{_pretty(name)}\n{shown}" if name and one.kind == "kernel" else shown
        tooltip = f"{one.node.operation if one.kind == 'kernel' else 'sum over all steps'}\n{one.node.spec} {one.when.value}"
        return KINDS[one.when], label, tooltip

    def _squares(self, one: Operation) -> bool:
        return multiplies(one.node) and len({self._seen(node) for node in one.reads}) == 1

    def _prepared(self, node: Node) -> tuple[Kind, str, str]:
        """One box for all operations that prepare a value once."""
        before = ancestors([node])
        names = [_pretty(i.name or "constant") for i in before if i in self.consts]
        done = [i.operation for i in before if i in self.made or facts_of(i).joins]
        return Kind.ONCE, f"from {', '.join(names)}", f"{', '.join(done)}\n{node.spec} once"

    def _delay(self, number: int, node: Node, after: Node) -> None:
        kind = self.work.partition.kind(number)
        if kind == "unused":
            return
        stage = self.work.partition.stage[node]
        read = self._seen(after)
        tooltip = f"{self.slots[node]}: carried from each step to the next\n{node.spec}"
        self._put(stage if self.apart else "step", node, Kind.DELAY, "z^{−1}", tooltip)
        if self._text(read) is not None:
            return
        source = self._source(read.node)
        label = _pretty(self.slots[node]) if source in self.made else ""  # otherwise that box has the label
        self.carried[source, node] = kind != "delay" and source not in self.slots, label

    # -- places ----------------------------------------------------------------------------

    def placed(self) -> Sketch:
        """The sketch, with a frame for each stage, the first stage lowest."""
        for (source, into), views in self.reads.items():
            labels = list(dict.fromkeys(view for view in views if view))
            arc = Arc(self.shown[source], self.shown[into], PLAIN)
            arc.label = "parts" if len(labels) > 2 else ", ".join(labels)
            self.sketch.arcs.append(arc)
        for (source, into), (back, label) in self.carried.items():
            arc = Arc(self.shown[source], self.shown[into], Stroke(INK, THICK), lag=int(back), label=label)
            self.sketch.arcs.append(arc)
        frames = {place: float(place) if isinstance(place, int) else 0.0 for place in self.places if place != "outside"}
        bands = {vertex: band for place, band in frames.items() for vertex in self.places[place]}
        for vertex in self.places.get("outside", []):
            below = [bands[arc.source] for arc in self.sketch.arcs if arc.target is vertex and arc.source in bands]
            above = [bands[arc.target] for arc in self.sketch.arcs if arc.source is vertex and arc.target in bands]
            bands[vertex] = max(below) + 0.4 if below else min(above, default=0.0) - 0.4
        layered(self.sketch, bands)
        left = min((v.x - v.width / 2 for v in self.sketch.vertices), default=0.0)
        right = max((max(a.path[:, 0]) for a in self.sketch.arcs if a.path is not None), default=0.0)
        right = max(right, *(v.x + v.width / 2 for v in self.sketch.vertices)) if self.sketch.vertices else right
        headings = {place: self._heading(place) for place in frames}
        wide = max((text_width(line, NODE_FONT) for text in headings.values() for line in text.split("\n")), default=0.0)
        for place, text in headings.items():
            inside = self.places[place]
            low = min(v.y - v.height / 2 for v in inside) - 12
            high = max(v.y + v.height / 2 for v in inside) + 12
            frame = Vertex(f"frame {place}", place, Kind.FRAME, width=right - left + wide + 2 * HEADING + 12, height=high - low)
            frame.color = LOOKS[self._kind(place)].color
            frame.x, frame.y = (left - wide - 2 * HEADING + right + 12) / 2, (low + high) / 2
            frame.tooltip = plain(text).replace("\n", " ")
            note = Vertex(
                f"heading {place}", place, Kind.NOTE, text, width=wide, height=40.0, x=left - HEADING - wide / 2, y=frame.y
            )
            note.color = VERMILION if self._kind(place) is Kind.STEPWISE else INK
            self.sketch.vertices += [frame, note]
        if not self.apart:
            self._legend()
        return self.sketch

    def _loops(self) -> list[int]:
        return sorted({one.stage for one in self.work if one.when is When.LOOP})

    def _heading(self, place: int | str) -> str:
        loops = self._loops()
        if not isinstance(place, int):
            return "as written:\nall of it\nat every step"
        if place < 0:
            return "once"
        if place in loops:
            return "step by step,\nT … 1" if self.work.loop.reverse else "step by step"
        if not loops:
            return "all steps\nat once"
        side = "before" if place < loops[0] else "after" if place > loops[-1] else "between"
        return f"all steps\nat once, {side}"

    def _kind(self, place: int | str) -> Kind:
        if not isinstance(place, int) or place < 0:
            return Kind.ONCE
        return Kind.STEPWISE if place in self._loops() else Kind.BATCHED

    def _legend(self) -> None:
        used = {KINDS[one.when] for one in self.work}
        frame = self.sketch.vertices[-2]
        x, y = frame.x - frame.width / 2, min(v.y - v.height / 2 for v in self.sketch.vertices) - 26
        for kind, text in LEGEND.items():
            if kind in used:
                chip = Vertex(f"legend {kind.value}", "legend", kind, text, font=NOTE_FONT, width=20.0, height=22.0)
                chip.fit(12.0)
                chip.x, chip.y = x + chip.width / 2, y
                x += chip.width + 10
                self.sketch.vertices.append(chip)

    def words(self) -> str:
        """The operations in words, by stage."""
        found: dict[str, list[str]] = {}
        for place, inside in self.places.items():
            if place != "outside":
                heading = self._heading(place).replace("\n", " ") if self.apart else "at every step"
                found.setdefault(heading, []).extend(plain(v.label).replace("\n", " = ") or "join" for v in inside)
        return "; ".join(f"{heading}: {', '.join(labels)}" for heading, labels in found.items())


def _number(node: Node) -> str:
    assert isinstance(node.value, np.ndarray)
    return f"{node.value.item():g}".replace("-", "−")


def _numbers(node: Node) -> list[str]:
    """Numbers in a constant expression, in order and without repetition; empty if the expression has other parts."""
    if is_scalar_constant(node):
        return [_number(node)]
    parts = [_numbers(i) for i in node.inputs]
    return list(dict.fromkeys(number for part in parts for number in part)) if all(parts) else []


def _pretty(name: str) -> str:
    return f"∂{pretty(name[1:])}" if name.startswith("∂") else pretty(name)
