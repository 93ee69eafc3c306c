"""Functions: the author's name for the computation of a value from others, such as f in s_t = f(s_{t−1}; θ)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import takewhile

from ..graph.node import Node
from .contraction import Contraction, Value, inputs_of, is_copy

__all__ = ["functions_of"]

SYMBOL = re.compile(r"[^\W\d_](_\d+)?")
"""A name that is a symbol: a letter with or without an index."""


def functions_of(contraction: Contraction) -> dict[Value, str]:
    """The function that computes each value, if a single function computes it.

    A module or scope whose name is a letter is a function. The function computes a value if all
    operations between the value and the values before it are in that scope.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> from tinygrad_rnn.views import per_step
    >>> from tinygrad_rnn.views.contraction import contract
    >>> s = tr.tensor([1.0]).named("s", role="initial")
    >>> for t, _ in tr.steps(tr.tensor([0.0, 0.0])):
    ...     with tr.scope("f"):
    ...         s = tr.tanh(s).named("s")
    >>> contraction = contract(per_step(tr.graph(s)))
    >>> [(value.column, f) for value, f in functions_of(contraction).items()]
    [(1, 'f'), (2, 'f')]
    """
    shown = {value.node for value in contraction.values}
    found = {}
    for value in contraction.values:
        if value.role not in ("input", "initial", "mask") and (f := _common(_between(value.node, shown))):
            found[value] = f
    return found


def _between(node: Node, shown: set[Node]) -> Iterable[Node]:
    """Operations that compute a node from drawn nodes and parameters."""
    seen = {node}
    stack = [node]
    while stack:
        operation = stack.pop()
        yield operation
        for read in inputs_of(operation):
            if read not in seen and read not in shown and read.primitive is not None:
                seen.add(read)
                stack.append(read)


def _common(operations: Iterable[Node]) -> str | None:
    """The innermost function whose scope holds all the given operations; copies may be outside."""
    common: list[str] | None = None
    for node in operations:
        path = node.scope.split(".")
        if common is None:
            common = path
        elif not is_copy(node):
            alike = takewhile(lambda pair: pair[0] == pair[1], zip(common, path, strict=False))
            common = [part for part, _ in alike]
    return next((part for part in reversed(common or ()) if SYMBOL.fullmatch(part)), None)
