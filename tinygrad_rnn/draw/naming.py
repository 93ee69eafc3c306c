"""Names in a drawing: of values, unrollings, parameters, and the edges with parameters."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from functools import lru_cache

import numpy as np

from ..graph.node import Node, Spec
from ..views.contraction import Contraction, Family, Value
from ..views.letters import Letters, layer_marks
from ..views.runs import Run
from .symbols import literal, plain, pretty, stem

__all__ = [
    "FALLBACK",
    "OWN",
    "edge_label",
    "names_of",
    "operation_text",
    "parameter_symbols",
    "pretty_sum",
    "run_marks",
    "tooltip",
]

OWN = Letters()
"""The model's own letters."""
FALLBACK = {
    "input": "x",
    "state": "h",
    "output": "o",
    "loss": "L",
    "mask": "m",
    "initial": "h",
    "value": "v",
    "gradient": "∂",
    "operation": "v",
    "product": "v",
}
"""Names, by role, of values that have no name from their author."""


def names_of(contraction: Contraction, letters: Letters = OWN) -> dict[Value, str]:
    """Displayed names of values: the author's name, or the name of the value's role if no author used that one.

    An output also has the name of its role if a gate of the same run has the output's name.
    """
    owners: dict[tuple[Run | None, str | None], set[Family]] = {}
    for value in contraction.values:
        if value.role in ("value", "state", "output"):
            owners.setdefault((value.run, value.name), set()).add(value.family)
    taken = {value.name for value in contraction.values}
    fallback = FALLBACK | {"output": next((free for free in ("o", "y", r"\hat{y}") if free not in taken), "out")}
    shared = {value for value in contraction.values if value.role == "output" and len(owners[value.run, value.name]) > 1}
    own = {value: (None if value in shared else value.name) or fallback[value.role] for value in contraction.values}
    of_values = {value: contraction.cotangents.get(value.node) for value in own}
    return {value: letters(own[value]) if node is None else f"∂{letters(node.name or '')}" for value, node in of_values.items()}


def run_marks(names: Mapping[Value, str], continued: Mapping[Run, tuple[Run, int]]) -> dict[tuple[Run | None, str], str]:
    """Marks of values with equal names in several runs: arrows or layer numbers; continued runs count as one."""
    owners: dict[str, list[Run]] = {}
    for value, name in names.items():
        if value.run is not None and value.role in ("state", "value", "output"):
            of_name = owners.setdefault(name, [])
            first, _ = continued.get(value.run, (value.run, 0))
            if first not in of_name:
                of_name.append(first)
    marks: dict[tuple[Run | None, str], str] = {}
    for base, runs in owners.items():
        if len(runs) > 1:
            marks.update({(run, base): mark for run, mark in zip(runs, layer_marks(runs), strict=True)})
            marks.update({(run, base): marks[first, base] for run, (first, _) in continued.items() if (first, base) in marks})
    return marks


def parameter_symbols(contraction: Contraction, letters: Letters = OWN) -> dict[Node, str]:
    """Displayed symbol of each parameter; equal symbols are told apart by the unrolling that uses the parameter."""
    nodes, runs = contraction.nodes, contraction.runs
    parameters = [node for node in nodes if node.role == "parameter"]
    of: dict[Node, Node] = {node: node for node in parameters}
    users: dict[Node, set[int]] = {node: set() for node in parameters}
    for node in nodes:
        if node.primitive is None:
            continue
        for i in node.inputs:
            if i in of:
                step = runs.step(node)
                if step is not None:
                    users[of[i]].add(step[0].number)
                if len(node.inputs) == 1:
                    of[node] = of[i]
    named: dict[str, list[Node]] = {}
    for node in parameters:
        named.setdefault(letters(node.name or "θ"), []).append(node)
    symbols: dict[Node, str] = {}
    ordered = list(runs)
    for name, same in named.items():
        same.sort(key=lambda node: min(users[node], default=-1))
        owners = [min(users[node], default=-1) for node in same]
        if len(same) == 1:
            marks = [""]
        elif len(set(owners)) == len(same) and -1 not in owners:
            marks = layer_marks([ordered[n] for n in owners])
        else:
            marks = [f"^{{({k})}}" for k in range(1, len(same) + 1)]
        symbols.update({node: name + mark for node, mark in zip(same, marks, strict=True)})
    return symbols


def edge_label(firsts: Sequence[str], labels: Sequence[str]) -> tuple[str, str]:
    """Label and tooltip of an edge: up to two parameters, otherwise their stem."""
    everything = " ".join(map(pretty, labels))
    if len(labels) <= 2:
        return everything, plain(everything) or "no parameter"
    stems: dict[str, list[str]] = {}
    for first in firsts:
        stems.setdefault(stem(first), []).append(first)
    short = " ".join(pretty(same[0]) if len(same) == 1 else f"{pretty(base)}∗" for base, same in stems.items())
    return short, plain(everything)


@lru_cache(256)
def _shown_spec(spec: Spec) -> str:
    return str(spec)  # NumPy computes a dtype's name slowly


def tooltip(node: Node, bias: Sequence[str]) -> str:
    """Text shown when the pointer is over a node: shape, dtype and operation."""
    lines = [_shown_spec(node.spec)]
    if node.primitive is not None:
        lines.append(f"{node.operation}" + (f" + {plain(pretty_sum(bias))}" if bias else ""))
    return "\n".join(lines)


def operation_text(node: Node, constants: Container[Node]) -> str:
    """Symbol of an operation, with a constant operand if there is one."""
    assert node.primitive is not None
    symbol = literal(node.primitive.symbol)
    numbers = [i for i in node.inputs if i in constants and i.shape == () and isinstance(i.value, np.ndarray)]
    if len(numbers) != 1 or len(node.inputs) != 2:
        return symbol
    number = f"{numbers[0].value.item():.3g}".replace("-", "−")
    return f"{number}{symbol}" if node.inputs[0] is numbers[0] else f"{symbol} {number}"


def pretty_sum(symbols: Sequence[str]) -> str:
    """Label of a sum of parameters."""
    return " + ".join(map(pretty, symbols))
