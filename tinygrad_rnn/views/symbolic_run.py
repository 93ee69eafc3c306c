"""Tracing a module: its graph over a symbolic sequence, with no numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from ..checks import no_such
from ..errors import ShapeError, TinygradError
from ..graph.context import Location, at, mode
from ..graph.graph import Graph
from ..graph.node import Spec, leaf
from ..nn.cell import Cell
from ..nn.module import Module
from ..nn.module_trace import OptionError, symbolic, trace_step, try_inputs
from ..nn.recurrent import Recurrent, standalone
from ..ops import swapaxes
from ..ops.core import as_tensor
from ..tensor import Tensor
from ..tree import flatten, rebuild
from ..unrolling import steps as over
from .per_step import per_step

__all__ = ["traced"]

BATCH = 2

Loss = Callable[[Tensor, Tensor], Tensor]


def traced(
    module: Module,
    T: int,
    inputs: Any = None,
    loss: Loss | None = None,
    targets: Any = None,
    force: Sequence[str] = (),
    total: bool = False,
    batch: int = BATCH,
) -> Graph:
    """The graph of a module over T steps, with whole-sequence operations split into steps.

    Parameters
    ----------
    module : Module
        A cell is run over the sequence. Any other module is called with the sequence.
    T : int
    inputs : array_like, Spec, nested tuples of them, optional
        An example of the input sequence, (time, batch, features). If not given, a fitting input is searched.
    loss : callable, optional
        ``loss(output, target)``, called at each step if the outputs are a sequence.
    targets : array_like or Spec, optional
        An example of the targets. If not given, they have the shape and dtype of the outputs, or they are classes.
    force : sequence of str
        Slots that carry data instead of values computed by a step. The data are the targets if shape and
        dtype agree.
    total : bool
        Whether the losses of the steps are summed.
    batch : int
        Number of examples in an input that was searched.

    Raises
    ------
    ShapeError
        If no fitting input was found, or if no cell has such a slot.
    """
    if loss is not None and not callable(loss):
        raise TinygradError(f"loss must be a function of output and target, such as nn.mse, not {loss!r}")
    force = (force,) if isinstance(force, str) else force
    callee = standalone(module) if isinstance(module, Cell) else module
    name = getattr(getattr(callee, "cell", callee), "input_name", "x")
    batch_first = any(getattr(part, "batch_first", False) for _, part in module.modules())

    def run(sequence: Any) -> Graph:
        with at(Location()), mode(tracing=True, recording=True):
            forced = _forced(callee, force, T, sequence)
            arguments, given = callee.drawn_with(sequence)
            outputs = _called(callee, arguments, T, forced)
            if batch_first:
                outputs = rebuild(outputs, iter([_time_first(part, T) for part in flatten(outputs)]))
            return _with_loss(outputs, loss, targets, T, [*forced.values(), *([] if given is None else [given])], total)

    def element(spec: Spec | None) -> Graph:
        axes = (batch, T) if batch_first else (T, batch)
        return run(None if spec is None else symbolic(Spec((*axes, *spec.shape), spec.dtype), name, "input"))

    return run(_symbols(inputs, T, int(batch_first))) if inputs is not None else try_inputs(module, element)


def _time_first(output: Any, T: int) -> Tensor:
    """An output of a module with the time axis moved to the front."""
    value = as_tensor(output)
    return swapaxes(value, 0, 1) if value.ndim > 1 and value.shape[1] == T else value


def _symbols(example: Any, T: int, axis: int) -> Any:
    """Symbolic sequences of T steps along an axis, with the other axes of an example."""
    if isinstance(example, tuple) and not isinstance(example, Spec):
        return rebuild(example, iter([_symbols(part, T, axis) for part in example]), depth=1)
    spec = example if isinstance(example, Spec) else as_tensor(example).node.spec
    name = getattr(example, "name", None) or ("m" if spec.dtype.kind == "b" else "x")
    return Tensor(leaf(Spec((*spec.shape[:axis], T, *spec.shape[axis + 1 :]), spec.dtype), name, "input"))


def _forced(module: Module, names: Sequence[str], T: int, sequence: Any) -> dict[str, Tensor]:
    """A forcing sequence for each slot of given names."""
    if not names:
        return {}
    element = None
    if sequence is not None:
        specs = [tensor.node.spec for tensor in flatten(sequence)]
        element = rebuild(sequence, iter([Spec(spec.shape[1:], spec.dtype) for spec in specs]))
    slots: dict[str, Spec] = {}
    for path, part in module.modules():
        if isinstance(part, Recurrent):
            try:
                step = trace_step(part.cell, BATCH)
            except ShapeError:  # no input was found for this cell: it may take the module's input
                step = trace_step(part.cell, BATCH, element)
            last = path.rpartition(".")[2]
            for name, slot in zip(step.names, step.state, strict=True):
                slots |= dict.fromkeys((name, f"{name}_{last}") if last else (name,), slot.node.spec)
    if missing := [name for name in names if name not in slots]:
        raise OptionError(f"force: {no_such('slot', missing[0], slots)}")
    called = {name: "y" if len(names) == 1 else f"y_{k}" for k, name in enumerate(names, 1)}
    return {name: symbolic(Spec((T, *slots[name].shape), slots[name].dtype), called[name], "input") for name in names}


def _called(module: Module, arguments: tuple[Any, ...], T: int, forced: Mapping[str, Tensor]) -> Any:
    options: dict[str, Any] = {"force": forced} if forced else {}
    if arguments[0] is None:
        options["steps"] = T
    try:
        inspect.signature(module.forward).bind(*arguments, **options)
    except TypeError as error:
        raise TinygradError(
            f"{type(module).__name__} needs more than one input ({error}); run it, and draw the graph of its output: "
            "tr.graph(model(…)).draw(time='unrolled')"
        ) from None
    outputs = module(*arguments, **options)
    # a layer returns (outputs, state): the state is not an output of the network
    return outputs[0] if isinstance(outputs, tuple) else outputs


def _with_loss(outputs: Any, loss: Loss | None, targets: Any, T: int, data: Sequence[Tensor], total: bool) -> Graph:
    tensors = [as_tensor(part) for part in flatten(outputs)]
    if loss is None:
        return per_step(Graph([tensor.node for tensor in tensors]))
    (output, *_) = tensors
    sequence = output.ndim > 1 and len(output) == T and bool(len(per_step(Graph([output.node])).outputs) == T)
    error: Exception | None = None
    known = {part.node.spec: part for part in reversed(data)}
    for spec in sorted(_targets(output, targets), key=lambda spec: spec not in known):
        y = known[spec] if spec in known else symbolic(spec, "y", "input")
        try:
            losses = []
            if sequence:
                for _, o, target in over(output, y):
                    losses.append(_named(loss(o, target)))
                if total:
                    losses.append(reduce(add, losses).named("L", role="loss"))
            else:
                losses.append(_named(loss(output, y)))
        except (TinygradError, TypeError, ValueError) as raised:
            error = error or raised
            continue
        return per_step(Graph([*[tensor.node for tensor in tensors], *[value.node for value in losses]]))
    raise OptionError(f"the loss fails for all targets that were tried; give targets=…. The last error was: {error}") from error


def _named(value: Tensor) -> Tensor:
    value.node.role = "loss"
    return value if value.name else value.named("L")


def _targets(output: Tensor, targets: Any) -> Iterator[Spec]:
    if targets is not None:
        yield targets if isinstance(targets, Spec) else as_tensor(targets).node.spec
        return
    yield output.node.spec
    yield Spec(output.shape[:-1], np.dtype(np.int64))
