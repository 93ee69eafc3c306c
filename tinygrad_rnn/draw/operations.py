"""The view of operations: a box for each operation, with the symbol of its primitive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ..graph.graph import Graph
from ..graph.node import Node
from ..ops.facts import adds, facts_of
from ..views.contraction import Contraction, Value, is_copy
from .naming import operation_text, parameter_symbols, pretty_sum
from .over_time import Options, sketched
from .sketch import Sketch, Vertex
from .style import RISE, TINTS, Kind
from .symbols import literal, plain, pretty

__all__ = ["add_legend", "operations"]


class _Operations(Contraction):
    """A contraction to operations that hides only copies and partial sums."""

    def __init__(self, graph: Graph) -> None:
        self.users: dict[Node, list[Node]] = {}
        for node in graph.nodes:
            for read in node.inputs:
                self.users.setdefault(read, []).append(node)
        self.within_losses: set[Node] = set()
        for node in reversed(graph.nodes):  # the operations between an output and its loss
            users = self.users.get(node, ())
            if node.primitive is None or node.name or node.role or not users or node in graph.outputs:
                continue
            if all(user.role == "loss" or user in self.within_losses for user in users):
                self.within_losses.add(node)
        super().__init__(graph)

    def role(self, node: Node) -> str | None:
        role, is_sum = super().role(node), bool(facts_of(node).signs)
        if role is not None or node.primitive is None or is_copy(node):
            return role
        if node in self.within_losses and not self.factors(node):
            return None
        users = self.users.get(node, ())
        if is_sum and len(users) == 1 and adds(users[0]) and super().role(users[0]) is None:
            return None  # the box of the next sum shows both sums
        return "product" if self.factors(node) and not is_sum else "operation"


def operations(graph: Graph, options: Options, timeless: bool = False) -> tuple[Sketch, dict[str, str]]:
    """A graph drawn with a box for each operation, and colours for its parameters."""
    contraction = _Operations(graph)
    sketch, shown = sketched(contraction, options, timeless)
    symbols = parameter_symbols(contraction, options.letters)
    tints: dict[str, str] = {}
    for value, vertex in shown.items():
        if value.node.primitive is None or value.role in ("initial", "input", "loss", "mask"):
            continue
        factors = [symbols[p] for p in contraction.factors(value.node)]
        text = _text(contraction, value, factors, [symbols[p] for p in value.biases])
        if value.role == "product":
            vertex.color = tints.setdefault(factors[0], TINTS[len(tints) % len(TINTS)])
        if value.role in ("operation", "product"):
            vertex.label, vertex.width, vertex.height = text, 34.0, 26.0
        elif not options.values:
            vertex.label, vertex.font, vertex.width = f"{vertex.label}\n{text}", 11.0, 44.0
        vertex.fit(12.0)
    for arc in sketch.arcs:
        arc.label = arc.label if arc.held else ""
        arc.plain = True
    return sketch, tints


def _text(contraction: Contraction, value: Value, factors: list[str], biases: list[str]) -> str:
    """Text of an operation, with its parameters and constant operand."""
    node = value.node
    assert node.primitive is not None
    shown = literal(node.primitive.symbol)
    if value.role == "product":
        return (
            "·".join(["", *map(pretty, factors)]) if node.primitive.facts.product else " ".join([shown, *map(pretty, factors)])
        )
    if biases:
        return f"{shown} {pretty_sum(biases)}" if adds(node) else f"{shown}\n+ {pretty_sum(biases)}"
    return operation_text(node, contraction.constants)


def add_legend(sketch: Sketch, tints: Mapping[str, str]) -> None:
    """Add a legend of the parameters below the graph, with their colours and values."""
    x = min(v.x - v.width / 2 for v in sketch.vertices)
    y = min(v.y - v.height / 2 for v in sketch.vertices) - RISE * 0.5
    colors = Counter(v.color for v in sketch.vertices if v.kind is Kind.PRODUCT)
    repeated = [symbol for symbol, color in tints.items() if colors[color] > 1]  # a single box needs no colour
    for symbol in dict.fromkeys((*repeated, *sketch.numbers)):
        lines = sketch.numbers.get(symbol, [])
        chip = Vertex(
            f"legend {plain(pretty(symbol))}", ("legend", symbol), Kind.PARAMETER, "\n".join([pretty(symbol), *lines])
        )
        chip.font, chip.color, chip.width, chip.height = 11.0, tints.get(symbol), 26.0, 20.0
        chip.fit(12.0)
        chip.x, chip.y = x + chip.width / 2, y - chip.height / 2
        x += chip.width + 12
        sketch.vertices.append(chip)
