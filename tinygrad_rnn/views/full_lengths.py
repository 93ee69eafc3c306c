"""Remove padding: a run with lengths is drawn as if all rows had full length, or with states that are held past the end.

Padding is a property of the data, not of the network.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence

import numpy as np

from ..graph.graph import Graph, is_constant
from ..graph.node import Node, behind_cuts, leaf, rebased

__all__ = ["only_holds", "with_held_states", "without_padding"]


def without_padding(graph: Graph) -> Graph:
    """The graph without padding: each value replaces its masked version.

    At each step, a run with lengths selects by a mask between a value and the value that is kept
    past the end of the row. The run has marked the mask.
    """
    nodes = behind_cuts(graph.outputs)
    masks = _masks(nodes)
    instead: dict[Node, Node] = {}
    for node in nodes:
        if node in masks:
            continue
        if not masks.isdisjoint(node.inputs):
            value = next(i for i in node.inputs if i not in masks)
            instead[node] = instead.get(value, value)
        elif (made := rebased(node, instead)) is not node:
            made.serial = node.serial  # keeps the order of the nodes
            for sequence in map(instead.get, node.inputs):
                if sequence is not None and sequence.primitive is None and sequence.role == "input":  # an element of the input
                    made.name, made.role = sequence.name or "x", "input"
            instead[node] = made
    return Graph([instead.get(node, node) for node in graph.outputs], instead) if instead else graph


def with_held_states(graph: Graph) -> Graph:
    """The graph in which the state of a padded step is the value that is held, and masks are constants.

    Gradients of losses are those of the graph. A state that is held in no row is the value that the step
    has computed. A state that is held in all rows only holds the state before. In a batch of both kinds of rows,
    the state is selected by the mask. Other values of a step read these states; that changes only rows that have ended,
    and the results of these rows count for nothing.

    Parameters
    ----------
    graph : Graph
        A graph with numbers, made by :func:`per_step`.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> from tinygrad_rnn import nn
    >>> from tinygrad_rnn.views import per_step
    >>> _, h = nn.Recurrent(nn.RNNCell(2, 3))(np.ones((3, 1, 2), "float32"), lengths=[1])
    >>> found = with_held_states(per_step(tr.graph(h).opened()))
    >>> [(node.step, node.operation) for node in found.nodes if node.name == "h" and node.step]
    [(1, 'tanh'), (2, 'where'), (3, 'where')]
    """
    nodes = behind_cuts(graph.outputs)
    masks = _masks(nodes)
    if not masks:
        return graph
    held: dict[Node, Node] = {}  # the selection between a new and an old state, by the new state
    results: dict[Node, Node] = {}  # the value, by the value with zeros in its padding
    padded: set[Hashable] = set()  # steps at which all rows have ended
    for node in nodes:
        values = [i for i in node.inputs if i not in masks]
        if node in masks or len(values) == len(node.inputs):
            continue
        if is_constant(values[-1]):
            results[node] = values[0]
        elif values[0].name is not None and _step(values[0]) == _step(node):
            held.setdefault(values[0], node)
        if not np.any(node.inputs[0].value):
            padded.add(_step(node))
    before = _before_the_last(nodes, held, padded)
    instead: dict[Node, Node] = {}
    stack = list(reversed(nodes))
    while stack:  # all operations are made again, each after its inputs, nearly in their old order
        node = stack[-1]
        selection = held.get(node)
        needs = [*node.inputs, *([] if node.cut is None else [node.cut]), *(selection.inputs if selection else ())]
        needs = [before[node], before[node].inputs[0]] if node in before else needs
        missing = [] if node in instead else [i for i in needs if i not in instead and i is not node]
        if missing:
            stack += reversed(missing)
            continue
        stack.pop()
        if node in instead:
            continue
        if node in masks:
            made = leaf(node.value)
        elif node in before:
            made = _kept(before[node], instead[before[node]], node, instead)
        else:
            made = rebased(node, instead) if needs else node
        if selection is not None:
            made = instead[selection] = _held(node, made, selection, instead)
        instead[node] = made
    return Graph([instead[results.get(node, node)] for node in graph.outputs], instead)


def _held(node: Node, new: Node, selection: Node, instead: Mapping[Node, Node]) -> Node:
    """The state after a step, from the state that the step has computed and the selection by the mask."""
    mask, _, old = selection.inputs
    if np.all(mask.value):
        return new
    if not np.any(mask.value):
        return _kept(selection, instead[old], new, instead)
    inner = new.again(new.inputs)
    inner.name = inner.role = None
    found = selection.again(tuple([inner if i is node else instead[i] for i in selection.inputs]), location=new.location)
    found.name, found.role = new.name, new.role
    return found


def _kept(selection: Node, old: Node, new: Node, instead: Mapping[Node, Node]) -> Node:
    """The old state instead of a new state, as a selection between equal values: at all steps the same operation."""
    found = selection.again((instead[selection.inputs[0]], old, old), value=old.value, location=new.location)
    found.name, found.role = new.name, new.role
    return found


def only_holds(node: Node) -> bool:
    """Whether a value is a selection between equal values, as the state of a padded step is in :func:`with_held_states`.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> h, new = tr.tensor([1.0]), tr.tensor([2.0])
    >>> only_holds(tr.where([False], h, h).node), only_holds(tr.where([False], new, h).node)
    (True, False)
    """
    return len(node.inputs) == 3 and node.inputs[0].dtype.kind == "b" and node.inputs[1] is node.inputs[2]


def _before_the_last(nodes: Sequence[Node], held: Mapping[Node, Node], padded: Collection[Hashable]) -> dict[Node, Node]:
    """The selection at the step before, for states of the last step: there is no selection if nobody reads the last state."""
    steps: dict[Hashable, dict[int | None, Node]] = {}
    for node, selection in held.items():
        steps.setdefault(_slot(node), {})[node.step] = selection
    found = {}
    for node in nodes:
        if node.name is not None and node.step is not None and node not in held and _step(node) in padded:
            at = steps.get(_slot(node), {})
            near = [at[t] for t in (node.step - 1, node.step + 1) if t in at]
            if len(near) == 1:
                found[node] = near[0]
    return found


def _slot(node: Node) -> Hashable:
    """A key that the values of a slot share at all steps."""
    return node.location.unrolling, node.scope, node.name


def _masks(nodes: Sequence[Node]) -> set[Node]:
    """The masks of lengths, which runs have marked, and the parts of these masks."""
    masks: set[Node] = set()
    for node in nodes:
        if (node.role == "mask" and node.name == "lengths") or (node.inputs and masks.issuperset(node.inputs)):
            masks.add(node)
    return masks


def _step(node: Node) -> Hashable:
    return node.location.unrolling, node.location.t
