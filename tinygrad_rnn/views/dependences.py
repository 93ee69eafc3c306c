"""Dependences: which data and states each target and each state depends on, read off a contracted graph."""

from __future__ import annotations

from typing import NamedTuple

from .contraction import Contraction, Value

__all__ = ["Dependences", "dependences"]


class Dependences(NamedTuple):
    """Dependences between random variables and inputs, traced through deterministic values.

    Attributes
    ----------
    targets : dict of Value to Value
        Maps the target of each step to the loss that reads the target.
    parents : dict of Value to list of Value
        Maps each target to the values that its distribution depends on, and each kept state to the values
        that it is computed from.
    starts : set of Value
        Inputs that stand for a target before the first step.
    """

    targets: dict[Value, Value]
    parents: dict[Value, list[Value]]
    starts: set[Value]


def dependences(contraction: Contraction, states: bool = False, shifted: bool = False) -> Dependences:
    """Dependences of a model's targets, the random variables of its graphical model.

    Parameters
    ----------
    contraction : Contraction
        A contracted graph with one loss for each step.
    states : bool
        Whether states are kept as nodes. If not, dependences are traced through them, as through all other values.
    shifted : bool
        Whether the input of each step is the target of the step before, as in a language model.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> from tinygrad_rnn.views import traced
    >>> from tinygrad_rnn.views.contraction import contract
    >>> model = nn.Sequential(nn.RNN(3, 4), nn.Linear(4, 2))
    >>> found = dependences(contract(traced(model, 2, loss=nn.mse), "slots"))
    >>> for y, parents in found.parents.items():
    ...     print(y.name, y.column, [(value.name, value.column) for value in parents])
    y 1 [('x', 1)]
    y 2 [('x', 1), ('x', 2)]
    """
    into: dict[Value, list[Value]] = {}
    for edge in contraction.edges:
        into.setdefault(edge.target, []).append(edge.source)
    losses = [value for value in contraction.values if value.role == "loss" and value.column is not None]
    targets = {source: loss for loss in losses for source in into.get(loss, ()) if source.role == "input"}
    at_step = {y.column: y for y in targets}
    inputs = [v for v in contraction.values if v.role == "input" and v not in targets and v.column is not None]
    before = {v: at_step.get(v.column - 1) for v in inputs if shifted and v.column is not None}
    carried = {edge.source.family for edge in contraction.edges if edge.lag and states}
    kept = {v for v in contraction.values if v.role == "input" or (v.family in carried and v.role != "initial")}
    made = {y: [v for v in into[loss] if v is not y] for y, loss in targets.items()}
    made |= {v: into.get(v, []) for v in contraction.values if v in kept and v.role != "input"}
    order = {value: k for k, value in enumerate(contraction.values)}
    parents: dict[Value, list[Value]] = {}
    for value in sorted(made, key=order.__getitem__):
        found: dict[Value, None] = {}
        seen, stack = set(made[value]), list(made[value])
        while stack:
            source = stack.pop()
            if source in kept:
                found[before.get(source) or source] = None
            else:
                new = [v for v in into.get(source, ()) if v not in seen]
                seen.update(new)
                stack += new
        parents[value] = sorted(found, key=lambda v: (v.column or 0, order[v]))
    return Dependences(targets, parents, {v for v, y in before.items() if y is None})
