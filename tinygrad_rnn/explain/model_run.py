"""One run of a model: the losses of its steps, its recurrent parts, and gradients of many losses at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..autodiff import pull
from ..checks import no_such, one_of
from ..console import counted
from ..errors import DtypeError, GradientError, ShapeError, TinygradError
from ..graph.context import mode
from ..graph.node import Node, ancestors, leaf
from ..nn.cell import Cell
from ..nn.module import Module
from ..nn.recurrent import Recurrent, standalone
from ..ops.core import as_tensor, constant
from ..ops.messages import no_gradient
from ..scan.compiled import CompiledScan
from ..scan.lift import lift
from ..scan.loop import Loop
from ..scan.primitive import item, output_number, scan
from ..tensor import Tensor
from ..tree import flatten
from .loop_run import Array, LoopRun, derived

__all__ = ["Loss", "Model", "ModelRun", "RecurrentPart", "called", "is_batch_first", "run_losses", "run_model", "run_part"]

Model = Callable[..., Any]
"""A Module, or a function of the input, such as ``lambda xs: narx.free_run(xs, history)``."""

Loss = Callable[[Any, Any], Any]
"""``loss(outputs, targets)`` gives the loss of each step, shape (T,), or of each step and row, shape (T, batch)."""


@dataclass(frozen=True, eq=False)
class RecurrentPart:
    """A recurrent part of a model: one run of a cell over the sequence.

    Attributes
    ----------
    label : str
        The shortest unique path of the layer in the model; empty if the model has only one recurrent part.
    node : Node
        The scan.
    """

    label: str
    node: Node

    @property
    def plan(self) -> CompiledScan:
        """The compiled loop."""
        plan: CompiledScan = self.node.attributes["plan"]
        return plan

    @property
    def loop(self) -> Loop:
        """The loop of the step as its author wrote it."""
        return self.plan.traced

    @property
    def reverse(self) -> bool:
        """Whether the run starts at the end of the sequence."""
        return self.loop.reverse

    @property
    def steps(self) -> int:
        """Number of steps T."""
        steps: int = self.node.attributes["steps"]
        return steps

    @property
    def inputs(self) -> list[Array]:
        """Arrays for the inputs of the loop."""
        return [node.value for node in self.node.inputs]

    @cached_property
    def slots(self) -> list[str]:
        """Names of the state slots, in order."""
        _, initial, _ = self.loop.parts(self.node.inputs)
        found: list[str] = []
        for k, (after, before) in enumerate(zip(self.loop.next_carry, initial, strict=True), 1):
            found.append(_numbered(after.name or before.name or f"state_{k}", found))
        return found

    @cached_property
    def values(self) -> dict[str, Node]:
        """Named values of a step: inputs, values that the cell names, and slots."""
        loop = self.loop
        every = loop.needed_for([*[output.node for output in loop.outputs], *loop.next_carry])
        named = [node for node in every if node.primitive is not None or node in loop.sequences]
        found: dict[str, Node] = {}
        for node in named:
            if name := node.name or node.hidden:
                found[_numbered(name, found)] = node
        for name, node in zip(self.slots, loop.next_carry, strict=True):
            if node.primitive is not None and node not in found.values():
                found.setdefault(name, node)
        return found

    def floats(self) -> tuple[list[str], list[Node]]:
        """Names and nodes of values that have a gradient."""
        found = {name: node for name, node in self.values.items() if node.dtype.kind == "f"}
        return list(found), list(found.values())


def parts_of(order: Sequence[Node]) -> list[RecurrentPart]:
    """Recurrent parts among the nodes of a graph, in order."""
    scans = [node for node in order if node.primitive is scan]
    return [RecurrentPart(label, node) for label, node in zip(_labels([node.scope for node in scans]), scans, strict=True)]


def _numbered(name: str, others: Sequence[str] | Mapping[str, Any]) -> str:
    """A name, with a number if the name is taken."""
    k, found = 1, name
    while found in others:
        k += 1
        found = f"{name}_{k}"
    return found


class ModelRun:
    """One run of a model with concrete values.

    Attributes
    ----------
    losses : Tensor, shape (T,) or (T, batch)
        The losses whose gradients are computed.
    parts : list of RecurrentPart
    """

    def __init__(self, losses: Tensor) -> None:
        self.losses = losses
        self._order = ancestors([losses.node])
        self.parts = parts_of(self._order)
        self._items: dict[Node, list[Node]] = {part.node: [] for part in self.parts}
        for node in self._order:
            if node.primitive is item:
                self._items[node.inputs[0]].append(node)
        self._runs: dict[Node, LoopRun] = {}
        self._traces: dict[Any, Any] = {}

    # -- names -----------------------------------------------------------------------------

    @cached_property
    def places(self) -> dict[str, tuple[RecurrentPart, Node]]:
        """All named values of all recurrent parts, under unique names: ``"h"``, or ``"h_l0"`` and ``"h_l1"``."""
        found: dict[str, tuple[RecurrentPart, Node]] = {}
        for part in self.parts:
            for name, node in part.values.items():
                found[f"{name}_{part.label}" if part.label else name] = part, node
        return found

    def place(self, name: str) -> tuple[RecurrentPart, Node]:
        """The recurrent part that has a named value, and the value's node in the step.

        Raises
        ------
        ShapeError
            If there is no such value, or there are several such values.
        DtypeError
            If the value has an integer dtype.
        """
        if name in self.places:
            part, node = self.places[name]
        else:
            found = [(part, part.values[name]) for part in self.parts if name in part.values]
            if len(found) != 1:
                several = f"{len(found)} values have the name {name!r}; give one of {', '.join(self.places)}"
                raise ShapeError(several if found else no_such("value", name, self.places))
            part, node = found[0]
        if node.dtype.kind != "f":
            raise DtypeError(f"{name} has dtype {node.dtype}, and only floats have a gradient; give another value")
        return part, node

    # -- gradients -------------------------------------------------------------------------

    def pull(self, seeds: Array, wanted: Sequence[Node], window: tuple[int, int] | None = None) -> dict[Node, Array]:
        """Cotangents of graph nodes from cotangents of the losses; nodes without an influence on a loss are left out.

        Parameters
        ----------
        seeds : ndarray, shape (n, *losses.shape)
        wanted : sequence of Node
        window : (int, int), optional
            The positions in the sequences to which the gradient of each loop is restricted.

        Returns
        -------
        dict of Node to ndarray, shape (n, *node.shape)
        """
        given = {self.losses.node: seeds}
        reached = _depending(self._order, wanted)
        for part in reversed(self.parts):
            if part.node not in reached:
                continue
            items = {node: output_number(node) for node in self._items[part.node]}
            cotangents = {items[node]: g for node, g in self.between_loops(given, tuple(items)).items()}
            if not cotangents:
                continue
            into = [k for k in part.loop.float_inputs if (i := part.node.inputs[k]) in reached or i in wanted]
            if part.node not in self._runs:
                plan = derived(part.plan, "as it is", lambda loop: loop)
                self._runs[part.node] = LoopRun(plan, part.inputs, part.steps)
            for k, g in zip(into, self._runs[part.node].pull(cotangents, into, window=window), strict=True):
                if g is not None:
                    node = part.node.inputs[k]
                    given[node] = given[node] + g if node in given else g
        return self.between_loops(given, tuple(wanted))

    def outputs_of(self, part: RecurrentPart, seeds: Array, window: tuple[int, int] | None = None) -> dict[int, Array]:
        """Cotangents of the outputs of a part's loop, by index.

        Raises
        ------
        GradientError
            If no loss depends on the part.
        """
        items = {node: output_number(node) for node in self._items[part.node]}
        found = {items[node]: g for node, g in self.pull(seeds, tuple(items), window).items()}
        if not found:
            raise GradientError(f"no gradient flows from the loss back to {part.label or 'the recurrent part'}")
        return found

    def bytes_behind(self, part: RecurrentPart) -> int:
        """Approximate memory of one cotangent of all values between a part and the losses."""
        nodes = [part.node, *_depending(self._order, [part.node])]
        return 4 * sum([node.value.nbytes for node in nodes if isinstance(node.value, np.ndarray)])

    def between_loops(self, given: Mapping[Node, Array], wanted: tuple[Node, ...]) -> dict[Node, Array]:
        """Cotangents of nodes from other nodes' cotangents, by paths outside of loops."""
        leaves, found, order = self.traced(tuple(given), wanted)
        n = len(next(iter(given.values())))
        with mode(recording=False), np.errstate(all="ignore"):
            lifted = lift(order, {leaves[node]: Tensor(constant(g)) for node, g in given.items()}, n)
        return {node: lifted[g].node.value for node, g in found.items() if g in lifted}

    def traced(self, given: tuple[Node, ...], wanted: tuple[Node, ...]) -> Any:
        """Leaves for given cotangents, symbolic wanted cotangents, and the operations between them."""
        if (given, wanted) not in self._traces:
            order = [node for node in self._order if node.primitive is not scan]
            leaves = {node: leaf(node.spec) for node in given}
            with mode(tracing=True, recording=True):
                table = pull(order, [(node, Tensor(g)) for node, g in leaves.items()], wanted)
            found = {node: table[node].node for node in wanted if node in table}
            self._traces[given, wanted] = leaves, found, ancestors(found.values())
        return self._traces[given, wanted]


def _depending(order: Sequence[Node], wanted: Sequence[Node]) -> set[Node]:
    """Nodes that depend on a node in `wanted`, without the nodes in `wanted`."""
    sources, found = set(wanted), set()
    for node in order:
        if not sources.isdisjoint(node.inputs):
            sources.add(node)
            found.add(node)
    return found


def _labels(scopes: Sequence[str]) -> list[str]:
    """The shortest unique ends of paths; empty for a single path, numbered for repeated runs.

    Examples
    --------
    >>> _labels(["0.l0", "0.l1"]), _labels(["0.l0", "1.l0"]), _labels(["0"]), _labels(["", ""])
    (['l0', 'l1'], ['0.l0', '1.l0'], [''], ['1', '2'])
    """
    if len(scopes) == 1:
        return [""]
    again = {scope for scope in scopes if scopes.count(scope) > 1}
    scopes = [
        f"{scope}_{scopes[: k + 1].count(scope)}".strip("_") if scope in again else scope for k, scope in enumerate(scopes)
    ]
    paths = [scope.split(".") for scope in scopes]
    longest = max(map(len, paths), default=1)
    for n in range(1, longest):
        if len({tuple(path[-n:]) for path in paths}) == len(paths):
            return [".".join(path[-n:]) for path in paths]
    return list(scopes)


def run_losses(model: Model, xs: Any, targets: Any, loss: Loss) -> tuple[Any, Tensor]:
    """Run a model and its loss, and return the outputs and the losses of the steps.

    Parameters
    ----------
    model : callable
    xs : Any
        The input of the model.
    targets : Any
    loss : callable

    Raises
    ------
    ShapeError
        If the loss is not one number for each step, or there is no step.
    DtypeError
        If the loss has an integer dtype.
    """
    with mode(recording=True, debugging=False):
        outputs = called(model, xs)
        losses = as_tensor(loss(outputs, targets))
    if losses.ndim not in (1, 2):
        raise ShapeError(
            f"the loss must have a value for each step, shape (T,) or (T, batch), not {losses.shape}; give a loss such as "
            "lambda outputs, targets: ((outputs - targets) ** 2).sum(axis=-1)"
        )
    if is_batch_first(model) and losses.ndim == 2:
        losses = losses.T
    if not len(losses):
        raise ShapeError("the sequence is empty; give at least one step")
    if losses.dtype.kind != "f":
        raise DtypeError(no_gradient("the loss", losses.dtype))
    return outputs, losses


def run_model(model: Model, xs: Any, targets: Any, loss: Loss) -> ModelRun:
    """Run a model and its loss, and find its recurrent parts.

    Parameters
    ----------
    model, xs, targets, loss
        As for :func:`run_losses`.

    Raises
    ------
    TinygradError
        If the model has no recurrent part.
    ShapeError, DtypeError
        As for :func:`run_losses`, or if the recurrent part has another number of steps.
    """
    found = ModelRun(run_losses(model, xs, targets, loss)[1])
    if not found.parts:
        raise TinygradError(
            f"the loss does not depend on a recurrent part of {_title(model)}; a cell becomes a recurrent part by "
            "nn.Recurrent(cell)"
        )
    if all(part.steps != len(found.losses) for part in found.parts):
        raise ShapeError(
            f"the loss has shape {found.losses.shape}, but the model ran over {counted(found.parts[-1].steps, 'step')}; "
            "the loss must have a value for each step, shape (T,) or (T, batch)"
        )
    return found


def run_part(model: Model, xs: Any, layer: str | None, **options: Any) -> RecurrentPart:
    """Run a model without a loss.

    Parameters
    ----------
    model : callable
    xs : Any
    layer : str, optional
        The label of the recurrent part that is returned, if there are several.
    **options
        Options of the model.

    Raises
    ------
    TinygradError
        If the model has no recurrent part.
    ShapeError
        If there are several recurrent parts and none has this label, or if there is no step.
    """
    with mode(recording=True, debugging=False):
        outputs = flatten(called(model, xs, **options))
    if outputs and all(x.ndim > 0 and not len(x) for x in outputs):
        raise ShapeError("the sequence is empty; give at least one step")
    parts = parts_of(ancestors([x.node for x in outputs]))
    if not parts:
        raise TinygradError(f"{_title(model)} has no recurrent part; a cell becomes one by nn.Recurrent(cell)")
    found = [part for part in parts if layer in (None, part.label)]
    if len(found) != 1:
        labels = [part.label for part in parts]
        raise ShapeError(one_of("layer", layer, labels))
    return found[0]


def called(model: Model, xs: Any, **options: Any) -> Any:
    """Outputs of a model, without its state; a cell is run over the sequence by a scan."""
    if not callable(model):
        raise TinygradError(f"model must be a Module, or a function of the input, not {model!r:.80}")
    unrolled = [part for part in _modules(model) if isinstance(part, Recurrent) and part.mode == "unroll"]
    try:
        for part in unrolled:
            part.mode = "scan"
        found = (standalone(model) if isinstance(model, Cell) else model)(xs, **options)
    finally:
        for part in unrolled:
            part.mode = "unroll"
    return found[0] if isinstance(found, tuple) else found


def is_batch_first(model: Model) -> bool:
    """Whether a part of a model takes the batch axis before the time axis."""
    return any(getattr(part, "batch_first", False) for part in _modules(model))


def _modules(model: Model) -> list[Any]:
    return [part for _, part in model.modules()] if isinstance(model, Module) else []


def _title(model: Model) -> str:
    return type(model).__name__ if isinstance(model, Module) else getattr(model, "__name__", "the model")
