"""Plans: one step, with what is done step by step in one colour and what is done at once in others."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import graphviz
import numpy as np

from ..graph.node import Node, ancestors
from ..ops.facts import facts_of, multiplies
from ..scan.canonical import along
from ..scan.loop import is_scalar_constant, is_view
from ..scan.partition import INVARIANT, When
from ..scan.plan import Pass
from ..scan.work import Operation, Work
from .dot import identifier
from .drawing import Drawing
from .style import BLUE, CARD, EDGE_FONT, FONTS, GREY, INK, NODE_FONT, THICK, VERMILION, lighter
from .symbols import plain, pretty

__all__ = ["draw_plan"]


class Paint(NamedTuple):
    """How operations of one kind are drawn; borders tell them apart without colours."""

    color: str
    fill: str
    style: str
    penwidth: str

    @property
    def attributes(self) -> dict[str, str]:
        return {"color": self.color, "fillcolor": self.fill, "style": self.style, "penwidth": self.penwidth, "shape": "box"}


LOOP = Paint(VERMILION, lighter(VERMILION, 0.68), "filled", "2.4")
BATCHED = Paint(BLUE, lighter(BLUE, 0.88), "filled,rounded", "1.2")
ONCE = Paint(GREY, CARD, "filled,rounded,dashed", "1.2")
PAINTS = {When.LOOP: LOOP, When.BATCHED: BATCHED, When.END: BATCHED, When.ONCE: ONCE}
LEGEND = {"truly step by step": LOOP, "can be done for all steps at once": BATCHED, "can be done once": ONCE}

_END = {"shape": "ellipse", "style": "filled", "fillcolor": CARD, "color": INK}
_JOIN = {"label": "", "shape": "point", "width": "0.11", "height": "0.11", "color": INK}
_DELAY = {
    "label": "z⁻¹",
    "shape": "square",
    "style": "filled",
    "fillcolor": "black",
    "color": "black",
    "fontcolor": CARD,
    "fontsize": "11",
    "fixedsize": "true",
    "width": "0.34",
    "height": "0.34",
}


def draw_plan(one: Pass, when: Literal["before", "after"] = "after", title: str = "plan") -> Drawing:
    """A picture of one pass of a plan, before or after it was taken apart.

    Parameters
    ----------
    one : Pass
    when : {"before", "after"}
    title : str

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
    return Drawing(picture.source(), said, f"{said}. {picture.words()}", picture.words())


class _Read(NamedTuple):
    """Where a value that is read comes from: a node of the picture, or text; and how it is looked at."""

    node: Node
    views: str
    flipped: bool


class _Picture:
    def __init__(self, work: Work, slots: Sequence[str], apart: bool) -> None:
        self.work, self.apart = work, apart
        self.slots = dict(zip(work.loop.carry, slots, strict=True))
        self.made = {one.node: one for one in work if one.kind != "copy"}
        self.consts = set(work.loop.consts)
        self.ids: dict[Node, str] = {}
        self.dot = graphviz.Digraph(
            "plan",
            graph_attr={
                "layout": "dot",
                "rankdir": "BT",
                "bgcolor": CARD,
                "pad": "0.2",
                "nodesep": "0.25",
                "ranksep": "0.3",
                "fontname": FONTS[0],
                "compound": "true",
            },
            node_attr={
                "fontname": FONTS[0],
                "fontsize": f"{NODE_FONT:g}",
                "fontcolor": INK,
                "margin": "0.09,0.04",
                "height": "0.3",
                "width": "0.4",
            },
            edge_attr={
                "fontname": FONTS[0],
                "fontsize": f"{EDGE_FONT - 2:g}",
                "fontcolor": GREY,
                "arrowsize": "0.7",
                "color": GREY,
            },
        )
        self.edges: list[tuple[Node, Node, dict[str, str]]] = []
        self.places: dict[int | str, list[tuple[Node, dict[str, str]]]] = {}
        self._collect()

    # -- what there is ---------------------------------------------------------------------

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
            self._put(one.stage if self.apart else "step", one.node, self._box(one, absorbed))
        for number, (node, after) in enumerate(zip(self.work.loop.carry, self.work.loop.next_carry, strict=True)):
            self._delay(number, node, after)
        outputs: dict[Node, list[str]] = {}
        for name, node in self.work.results:
            outputs.setdefault(self._seen(node).node, []).append(name)
        for node, names in outputs.items():
            end = Node(None, (), {}, node.spec)
            self._edge(_Read(node, "", False), end)
            label = ", ".join(map(_pretty, dict.fromkeys(names)))
            self._put("outside", end, {**_END, "label": label, "penwidth": f"{THICK:g}", "tooltip": f"result\n{node.spec}"})

    def _seen(self, node: Node) -> _Read:
        """Through views, which are no operations."""
        views: list[str] = []
        flipped = False
        while node.primitive is not None and is_view(node) and self._is_passed(node):
            facts = node.primitive.facts
            flipped ^= facts.reorders is not None
            if node.name is not None and facts.reads:
                views.append(plain(pretty(node.name)))
            elif facts.reads and not views:
                place = along(node.attributes[facts.reads], node.inputs[0].shape)
                views.append("part" if place is None else f"{place[1]}:{place[2]}")
            node = node.inputs[0]
        return _Read(node, " ".join(views[:1]), flipped)

    def _is_passed(self, node: Node) -> bool:
        """Whether it is not made, or is a parameter made wider."""
        return node not in self.made or (self.apart and self.made[node].when is When.ONCE and facts_of(node).copies)

    def _text(self, read: _Read) -> str | None:
        """A number or a parameter, which is said in the box that reads it."""
        node = read.node
        if is_scalar_constant(node):
            return _number(node)
        if node in self.consts:
            return _pretty(node.name or "constant") + "ᵀ" * (read.flipped and len(node.shape) > 1)
        if self.apart and self.work.partition.is_invariant(node) and (numbers := _numbers(node)):
            return f"({', '.join(numbers)})"
        return None

    def _edge(self, read: _Read, into: Node) -> None:
        source = self._source(read.node)
        self.edges.append((source, into, {"label": f" {read.views}"} if read.views else {}))

    def _source(self, node: Node) -> Node:
        """The node, which is put into the picture if it is not there yet."""
        one = self.made.get(node)
        prepared = self.apart and self.work.partition.is_invariant(node) and node.primitive is not None
        if node in self.ids or node in self.slots or (one is not None and not prepared):
            return node
        if prepared:
            self._put(INVARIANT, node, self._prepared(node))
        elif facts_of(node).joins:
            stage = self.work.partition.stage.get(node, 0)
            self._put(stage if self.apart else "step", node, {**_JOIN, "tooltip": f"side by side\n{node.spec}"})
            for piece in node.inputs:
                read = self._seen(piece)
                if self._text(read) is None:
                    self._edge(read, node)
        else:
            self._put("outside", node, self._outside(node))
        return node

    def _outside(self, node: Node) -> dict[str, str]:
        """What comes from elsewhere: an input, a cotangent, or what was kept of the forward pass."""
        value = self.work.given.get(node, node)
        label = self.work.names.get(node) or self.work.names.get(value) or value.name
        if label is None:
            read = self._seen(value)
            label = f"{self._formula(read.node)} {read.views}".strip()
        kept = node in self.work.given or node.primitive is not None
        said = "kept from the forward pass" if kept else "given as a sequence"
        return {
            **_END,
            "label": _pretty(label),
            "style": "filled,dashed" if kept else "filled",
            "tooltip": f"{said}\n{node.spec}",
        }

    def _formula(self, node: Node) -> str:
        """An operation on what has names, or only what it is called."""
        read = [self.work.names.get(self._seen(i).node) or self._seen(i).node.name for i in node.inputs]
        names = [name for name in read if name]
        if len(names) != len(node.inputs) or not 1 <= len(names) <= 2:
            return self._operation(node)
        return f" {self._operation(node)} ".join(names) if len(names) == 2 else f"{self._operation(node)} {names[0]}"

    @staticmethod
    def _operation(node: Node) -> str:
        return node.operation if node.primitive is None else node.primitive.symbol

    def _put(self, place: int | str, node: Node, attributes: dict[str, str]) -> None:
        shown = attributes["label"].replace("\n", " ") or "join"
        self.ids[node] = identifier(f"{len(self.ids)} {shown}")
        self.places.setdefault(place, []).append((node, attributes))

    def _box(self, one: Operation, absorbed: Sequence[tuple[int, str]]) -> dict[str, str]:
        if one.kind != "kernel":
            shown = "Σₜ ·" if one.kind == "product" else "Σₜ"
        else:
            shown = self._operation(one.node)
            if self._squares(one):
                shown = "( )²"
            elif len(one.reads) == 2 and len(absorbed) == 1:
                ((position, text),) = absorbed
                shown = f"{shown} {text}" if position else f"{text} {shown}"
            elif absorbed:
                shown = f"{shown} {', '.join(text for _, text in absorbed)}"
        name = one.node.name
        label = f"{_pretty(name)}\n{shown}" if name and one.kind == "kernel" else shown
        tooltip = f"{one.node.operation if one.kind == 'kernel' else 'sum over all steps'}\n{one.node.spec} {one.when.value}"
        return {"label": label, **PAINTS[one.when].attributes, "tooltip": tooltip}

    def _squares(self, one: Operation) -> bool:
        return multiplies(one.node) and len({self._seen(node) for node in one.reads}) == 1

    def _prepared(self, node: Node) -> dict[str, str]:
        """One box for all that is done once to make a value."""
        before = ancestors([node])
        names = [_pretty(i.name or "constant") for i in before if i in self.consts]
        done = [i.operation for i in before if i in self.made or facts_of(i).joins]
        return {"label": f"from {', '.join(names)}", **ONCE.attributes, "tooltip": f"{', '.join(done)}\n{node.spec} once"}

    def _delay(self, number: int, node: Node, after: Node) -> None:
        kind = self.work.partition.kind(number)
        if kind == "unused":
            return
        stage = self.work.partition.stage[node]
        read = self._seen(after)
        tooltip = f"{self.slots[node]}: carried from each step to the next\n{node.spec}"
        self._put(stage if self.apart else "step", node, {**_DELAY, "tooltip": tooltip})
        bold = {"color": INK, "penwidth": f"{THICK:g}", "fontcolor": INK}
        if self._text(read) is not None:
            return
        source = self._source(read.node)
        if source in self.made:  # else it is said there
            bold["label"] = f" {_pretty(self.slots[node])}"
        if kind != "delay" and source not in self.slots:
            self.edges.append((node, source, {**bold, "dir": "back"}))
        else:
            self.edges.append((source, node, bold))

    # -- writing ---------------------------------------------------------------------------

    def source(self) -> str:
        if self.apart:
            for stage in sorted(place for place in self.places if isinstance(place, int)):
                self._cluster(f"cluster {stage}", self._heading(stage), self._paint(stage), self.places[stage])
        elif "step" in self.places:
            self._cluster(
                "cluster step", "as written: all of it at every step", ONCE._replace(style="rounded"), self.places["step"]
            )
            self._legend()
        for node, attributes in self.places.get("outside", []):
            self._node(self.dot, node, attributes)
        for tail, head, attributes in self._merged():
            attributes = {key: graphviz.escape(value) for key, value in attributes.items()}
            self.dot.edge(self.ids[tail], self.ids[head], **attributes)
        return str(self.dot.source)

    def _merged(self) -> Iterator[tuple[Node, Node, dict[str, str]]]:
        """One edge where several parts of a value are read."""
        several: dict[tuple[Node, Node], list[dict[str, str]]] = {}
        for tail, head, attributes in self.edges:
            several.setdefault((tail, head), []).append(attributes)
        for (tail, head), found in several.items():
            labels = list(dict.fromkeys(label for attributes in found if (label := attributes.get("label", "").strip())))
            label = " parts" if len(labels) > 2 else f" {', '.join(labels)}"
            yield tail, head, {**found[-1], "label": label} if labels else found[-1]

    def _loops(self) -> list[int]:
        return sorted({one.stage for one in self.work if one.when is When.LOOP})

    def _heading(self, stage: int) -> str:
        loops = self._loops()
        if stage < 0:
            return "once"
        if stage in loops:
            return "step by step, T … 1" if self.work.loop.reverse else "step by step"
        if not loops:
            return "all steps at once"
        side = "before" if stage < loops[0] else "after" if stage > loops[-1] else "between"
        return f"all steps at once, {side}"

    def _paint(self, stage: int) -> Paint:
        return ONCE if stage < 0 else LOOP if stage in self._loops() else BATCHED

    def _cluster(self, name: str, heading: str, paint: Paint, nodes: Sequence[tuple[Node, dict[str, str]]]) -> None:
        with self.dot.subgraph(name=name) as cluster:
            cluster.attr(
                label=graphviz.escape(heading),
                labeljust="l",
                labelloc="b",
                color=paint.color,
                fontcolor=INK if paint is not LOOP else paint.color,
                fontsize=f"{NODE_FONT:g}",
                penwidth=paint.penwidth,
                style="rounded,dashed" if "dashed" in paint.style else "rounded" if "rounded" in paint.style else "solid",
                margin="10",
            )
            for node, attributes in nodes:
                self._node(cluster, node, attributes)

    def _node(self, graph: graphviz.Digraph, node: Node, attributes: dict[str, str]) -> None:
        graph.node(self.ids[node], **{key: graphviz.escape(value) for key, value in attributes.items()})

    def _legend(self) -> None:
        used = {PAINTS[one.when] for one in self.work}
        with self.dot.subgraph(name="cluster legend") as legend:
            legend.attr(style="invis", label="")
            names = [f"legend {paint.style}" for paint in LEGEND.values() if paint in used]
            for text, paint in LEGEND.items():
                if paint in used:
                    legend.node(f"legend {paint.style}", label=text, fontsize=f"{EDGE_FONT - 1:g}", **paint.attributes)
            for below, above in itertools.pairwise(names[::-1]):
                legend.edge(below, above, style="invis")

    def words(self) -> str:
        """The operations in words, by when they are done."""
        found: dict[str, list[str]] = {}
        for stage, nodes in self._by_heading():
            found.setdefault(stage, []).extend(attributes["label"].replace("\n", " = ") or "join" for _, attributes in nodes)
        return "; ".join(f"{heading}: {', '.join(labels)}" for heading, labels in found.items())

    def _by_heading(self) -> Iterator[tuple[str, list[tuple[Node, dict[str, str]]]]]:
        for place, nodes in self.places.items():
            if isinstance(place, int):
                yield self._heading(place), nodes
            elif place == "step":
                yield "at every step", nodes


def _number(node: Node) -> str:
    assert isinstance(node.value, np.ndarray)
    return f"{node.value.item():g}".replace("-", "−")


def _numbers(node: Node) -> list[str]:
    """The numbers, side by side, that a value is made of, if it is made of nothing else."""
    if is_scalar_constant(node):
        return [_number(node)]
    parts = [_numbers(i) for i in node.inputs]
    return list(dict.fromkeys(number for part in parts for number in part)) if all(parts) else []


def _pretty(name: str) -> str:
    return plain(f"∂{pretty(name[1:])}" if name.startswith("∂") else pretty(name))
