"""The view of operations: a box for each operation, with the symbol of its primitive."""

from __future__ import annotations

import numpy as np

from ..graph.graph import Graph, outer_step
from ..graph.node import Node
from ..ops.facts import adds, facts_of
from .contract import Contraction, is_copy
from .naming import pretty_sum
from .sketch import Sketch, Vertex
from .style import RISE, TINTS, Kind
from .symbols import pretty

__all__ = ["add_legend", "operations"]


class _Operations(Contraction):
    """A contraction that leaves out only copies, and sums that go on in the next sum."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph, None)
        self.users: dict[Node, list[Node]] = {}
        for node in self.nodes:
            for read in node.inputs:
                self.users.setdefault(read, []).append(node)
        self.within_losses = self._within_losses()
        self.tints: dict[str, str] = {}
        self.signs: dict[Vertex, str] = {}

    def _within_losses(self) -> set[Node]:
        """The operations between an output and its loss."""
        found: set[Node] = set()
        for node in reversed(self.nodes):
            users = self.users.get(node, ())
            if node.primitive is None or node.name or node.role or not users or node in self.outputs:
                continue
            if all(user.role == "loss" or user in found for user in users):
                found.add(node)
        return found

    def kind(self, node: Node) -> Kind | None:
        kind = super().kind(node)
        if kind is not None or node.primitive is None or is_copy(node):
            return kind
        if node in self.within_losses and not self.factors(node):
            return None
        if facts_of(node).signs:
            users = self.users.get(node, ())
            if len(users) == 1 and self.continues_sum(users[0]):
                return None
        if self.factors(node) and not facts_of(node).signs:
            return Kind.PRODUCT
        return Kind.OPERATION

    def continues_sum(self, user: Node) -> bool:
        """Whether the only user of a sum is a sum too, so that one box shows both."""
        return adds(user) and super().kind(user) is None

    def dressed(self, vertex: Vertex, node: Node, bias: tuple[str, ...]) -> None:
        if node.primitive is None:
            return
        shown = node.primitive.symbol
        factors = self.factors(node)
        if vertex.kind is Kind.PRODUCT:
            product = node.primitive.facts.product
            shown = "·".join(["", *map(pretty, factors)]) if product else f"{shown} {' '.join(map(pretty, factors))}"
            vertex.color = self.tints.setdefault(factors[0], TINTS[len(self.tints) % len(TINTS)])
        elif bias:
            shown = f"{shown} {pretty_sum(bias)}" if adds(node) else f"{shown}\n+ {pretty_sum(bias)}"
        numbers = [i for i in node.inputs if i in self.constants and i.shape == () and isinstance(i.value, np.ndarray)]
        if len(numbers) == 1 and len(node.inputs) == 2 and vertex.kind is Kind.OPERATION:
            number = f"{numbers[0].value.item():g}"
            shown = f"{number} {shown}" if node.inputs[0] is numbers[0] else f"{shown} {number}"
        if outer_step(node) is None or vertex.kind not in (Kind.INPUT, Kind.LOSS, Kind.TARGET, Kind.MASK):
            self.signs[vertex] = shown


def operations(graph: Graph, values: bool = False, timeless: bool = False) -> tuple[Sketch, dict[str, str]]:
    """A graph with a box for each operation, and the colours of its parameters."""
    contraction = _Operations(graph)
    sketch = contraction.run()
    contraction.call(sketch, values, timeless)
    for vertex in sketch.vertices:
        shown = contraction.signs.get(vertex)
        if shown is None or vertex.kind in (Kind.LOSS, Kind.INPUT, Kind.MASK):
            continue
        if vertex.kind in (Kind.OPERATION, Kind.PRODUCT):
            vertex.label, vertex.width, vertex.height = shown, 34.0, 26.0
        elif not values:
            vertex.label, vertex.font, vertex.width = f"{vertex.label}\n{shown}", 11.0, 44.0
        vertex.fit(12.0)
    for arc in sketch.arcs:
        arc.label = "" if not arc.held else arc.label
        arc.plain = True
    return sketch, contraction.tints


def add_legend(sketch: Sketch, tints: dict[str, str]) -> None:
    """Put a legend of the colours of the parameters below the graph."""
    x = min(v.x for v in sketch.vertices)
    y = min(v.y for v in sketch.vertices) - RISE * 0.8
    for symbol, color in tints.items():
        chip = Vertex(f"legend {symbol}", ("legend", symbol), Kind.PARAMETER, pretty(symbol))
        chip.font, chip.color, chip.width, chip.height = 11.0, color, 26.0, 20.0
        chip.fit(12.0)
        chip.x, chip.y = x + chip.width / 2, y
        x += chip.width + 12
        sketch.vertices.append(chip)
