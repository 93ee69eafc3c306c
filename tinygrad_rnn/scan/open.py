"""Opening: the explicit steps of a scan, as if the loop had been made in Python."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import TinygradError
from ..graph.context import Location, Unrolling, at, current
from ..graph.node import Node, Spec, leaf, rebased
from ..ops.core import Primitive, constant, registry
from ..ops.messages import explained
from .compiled import CompiledScan
from .loop import Loop, detaches
from .primitive import item, scan

__all__ = ["opened", "run_step_by_step"]

_GETITEM, _STACK, _SUM = (registry[name] for name in ("getitem", "stack", "sum"))


def opened(nodes: Sequence[Node]) -> dict[Node, Node]:
    """Replacements for the nodes that depend on a scan, with every scan unrolled into steps.

    The operations of a step are those that its author wrote, with their scopes and names. Their
    values are computed again, if the scan has values. The steps of a gradient have the locations of the
    unrolling that the gradient belongs to, and read values of that unrolling.

    Parameters
    ----------
    nodes : sequence of Node
        The nodes, each after its inputs.

    Returns
    -------
    dict of Node to Node
        Replacements of all nodes that read results of a scan; the scan itself has none.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import nn
    >>> from tinygrad_rnn.graph.node import ancestors
    >>> _, h = nn.Recurrent(nn.RNNCell(3, 5))(np.zeros((4, 2, 3), "float32"))
    >>> opened(ancestors([h.node]))[h.node]
    <Node h float32 (2, 5) in 'cell' at step t=4>
    """
    whole = {node.inputs[0] for node in nodes if node.primitive is item and _is_residual(node)}
    table: dict[Node, Node] = {}
    runs: dict[Node, _OpenedRun] = {}
    with np.errstate(all="ignore"):  # the scan has already given these warnings
        for node in nodes:
            if node.primitive is scan:
                inputs = [table.get(i, i) for i in node.inputs]
                runs[node] = _steps(node, inputs, node in whole, runs)
            elif node.primitive is item:
                table[node] = _result(node, runs[node.inputs[0]])
            elif (made := rebased(node, table)) is not node:
                table[node] = made
    return table


scan.expand = opened


def run_step_by_step(plan: CompiledScan, arrays: Sequence[Any], steps: int) -> None:
    """Run a loop step by step, as its author wrote it, to raise the first error of a step.

    A program that fails cannot say where: it computes all steps at once, in another order than the
    author's. So this function runs only after a failure.

    Parameters
    ----------
    plan : CompiledScan
    arrays : sequence of numpy.ndarray
        Arrays of the loop's sequences, its initial state, and its consts.
    steps : int

    Raises
    ------
    Exception
        The error that a loop in Python would raise, with the layer, the step t, and the inputs by name.
    """
    loop = plan.traced
    inputs = [leaf(array, node.name, node.role) for node, array in zip(loop.inputs, arrays, strict=True)]
    _steps(Node(scan, tuple(inputs), {"plan": plan, "steps": steps}, None, current().location), inputs, False, {})


def _is_residual(node: Node) -> bool:
    (results,) = node.inputs
    return bool(node.attributes["index"] >= len(results.attributes["plan"].traced.outputs))


# -- the steps of one scan -------------------------------------------------------------------


@dataclass
class _OpenedRun:
    """The steps of one scan: at each position, the copies of the body's nodes."""

    loop: Loop
    unrolling: Unrolling
    positions: list[dict[Node, Node]]
    carried: list[Node | None]
    own: set[Node]
    results: dict[int, Node] = field(default_factory=dict)
    columns: dict[Node, list[Node]] = field(default_factory=dict)

    def step(self, position: int) -> int:
        """The step at this position."""
        return len(self.positions) - position if self.unrolling.reverse else position + 1


def _steps(node: Node, inputs: Sequence[Node], whole: bool, runs: dict[Node, _OpenedRun]) -> _OpenedRun:
    """Make the steps in running order.

    Parameters
    ----------
    node : Node
        The scan.
    inputs : sequence of Node
        Replacements of the scan's inputs.
    whole : bool
        Whether residuals of the scan are read. The rewritten loop is then opened, since only this loop has them.
    runs : dict of Node to _OpenedRun
        The opened runs of earlier scans.
    """
    plan, T = node.attributes["plan"], node.attributes["steps"]
    loop: Loop = plan.saving if whole else plan.traced
    sequences, state, given = loop.parts(inputs)
    forward = runs.get(node.location.origin) if node.location.origin is not None else None
    unrolling = forward.unrolling if forward else Unrolling(node.scope, node.location, loop.reverse)
    run = _OpenedRun(loop, unrolling, [{} for _ in range(T)], list(state), set())
    columns = {made: column for before in runs.values() for made, column in before.columns.items()}
    order = loop.body
    read = set(order)
    consts = dict(zip(loop.consts, given, strict=True))
    for position in reversed(range(T)) if loop.reverse else range(T):
        known = forward.positions[position] if forward else {}
        now = run.positions[position]
        now.update(consts)
        now.update({slot: value for slot, value in zip(loop.carry, run.carried, strict=True) if value is not None})
        places = _Places(node, unrolling, run.step(position), runs, position)
        for place, sequence in zip(loop.sequences, sequences, strict=True):
            if place in known:
                now[place] = known[place]
            elif place in loop.residuals and sequence in columns:
                now[place] = columns[sequence][position]
            elif place in read:
                now[place] = _element(place, sequence, position, places.here)
        for made in order:
            if made in now:
                continue
            if made in known:
                now[made] = known[made]
            elif made.primitive is None:
                now[made] = made
            else:
                now[made] = _made(made, tuple([now[i] for i in made.inputs]), places.of(made.location))
                run.own.add(now[made])
        run.carried = [now.get(value) for value in loop.next_carry]
    unrolling.over = True
    return run


def _element(place: Node, sequence: Node, position: int, at: Location) -> Node:
    """The element of a sequence that one step reads."""
    if "draw" in place.attributes and isinstance(sequence.value, np.ndarray):
        return constant(sequence.value[position].copy())
    made = Node(_GETITEM, (sequence,), {"index": (position,)}, place.spec, at)
    if isinstance(sequence.value, np.ndarray):
        made.value = np.asarray(_GETITEM.kernel(sequence.value, **made.attributes))
    if sequence.primitive is None:
        made.name, made.role = place.name, place.role
    return made


def _made(node: Node, inputs: tuple[Node, ...], place: Location) -> Node:
    """Apply an operation of the body."""
    assert node.primitive is not None
    if detaches(node):
        made = Node(None, (), {"source": weakref.ref(inputs[0])}, inputs[0].value, place)
    else:
        made = _applied(node.primitive, inputs, node.attributes, node.spec, place)
    made.name, made.role = node.name, node.role
    return made


def _applied(primitive: Primitive, inputs: tuple[Node, ...], attributes: Any, spec: Spec, place: Location) -> Node:
    value: Any = spec
    if not any(isinstance(i.value, Spec) for i in inputs):
        try:
            value = np.asarray(primitive.kernel(*[i.value for i in inputs], **attributes))
        except (ValueError, TypeError, IndexError) as error:
            if not current().recording:  # without recording, a loop in Python would not know the operations of its values
                inputs = tuple([leaf(i.value, i.name) for i in inputs])
            with at(place):
                told = error if isinstance(error, TinygradError) else explained(primitive, inputs, attributes, error)
            told.scope = place.scope  # type: ignore[attr-defined]  # the scope names the layer
            raise told from None
    return Node(primitive, inputs, attributes, value, place)


class _Places:
    """Locations of a traced step's nodes at one step of a run."""

    def __init__(self, scan: Node, unrolling: Unrolling, t: int, runs: dict[Node, _OpenedRun], position: int) -> None:
        self.here = Location(scan.scope, unrolling, t)
        self._positions = [run.positions[position] for run in runs.values() if position < len(run.positions)]
        self._known: dict[Location, Location] = {}
        self._inner: dict[Unrolling, Unrolling] = {}

    def of(self, place: Location) -> Location:
        """The location that corresponds to a location of the trace."""
        if place not in self._known:
            found = self._within(place)
            if place.origin is not None:
                known = (at[place.origin] for at in self._positions if place.origin in at)
                found = found._replace(origin=next(known, place.origin))
            self._known[place] = found
        return self._known[place]

    def _within(self, place: Location) -> Location:
        """The location of a loop within the step, which runs again at each step."""
        chain = [place]
        while (unrolling := chain[-1].unrolling) is not None and unrolling.outer is not None:
            chain.append(unrolling.outer)
        root = chain[-1].unrolling
        base = chain[-1].scope if root is None else root.scope

        def scope(traced: str) -> str:
            inside = traced.removeprefix(base).lstrip(".")
            return ".".join(part for part in (self.here.scope, inside) if part)

        found = self.here._replace(scope=scope(chain.pop().scope))
        for inner in reversed(chain):
            assert inner.unrolling is not None
            if inner.unrolling not in self._inner:
                self._inner[inner.unrolling] = Unrolling(scope(inner.unrolling.scope), found, inner.unrolling.reverse)
            found = Location(scope(inner.scope), self._inner[inner.unrolling], inner.t)
        return found


# -- its results -----------------------------------------------------------------------------


def _result(node: Node, run: _OpenedRun) -> Node:
    """The node of one result: a value of the last step, or a stack over all steps."""
    index = node.attributes["index"]
    if index in run.results:
        return run.results[index]
    kind, asked, *_ = run.loop.outputs[index]
    if kind == "final":
        value = run.carried[run.loop.slot[asked]]
        assert value is not None
        made = value
    else:
        place = node.location
        column = [at[asked] for at in run.positions]
        if not column:
            shape = asked.shape if kind == "sum" else (0, *asked.shape)
            return leaf(np.zeros(shape, asked.dtype))
        axis = -len(asked.shape) - 1
        spec = Spec((len(column), *asked.shape), asked.dtype)
        made = _applied(_STACK, tuple(column), {"axis": axis}, spec, place)
        run.columns[made] = column
        if kind == "sum":
            made = _applied(_SUM, (made,), {"axis": (axis,), "keepdims": False}, asked.spec, place)
        run.own.add(made)
    if made in run.own:
        made.name, made.role = made.name or node.name, made.role or node.role
    run.results[index] = made
    return made
