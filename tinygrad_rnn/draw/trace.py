"""Tracing a module: its graph over a symbolic sequence, with no numbers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..errors import TinygradError
from ..graph.graph import Graph
from ..graph.node import Spec, leaf
from ..graph.place import Place, at, mode
from ..nn.cell import Cell, flatten, rebuild
from ..nn.module import Module
from ..nn.recurrent import Recurrent
from ..ops.core import as_tensor
from ..tensor import Tensor
from ..unrolling import steps as over
from .per_step import per_step

__all__ = ["traced"]

BATCH = 2

Loss = Callable[[Tensor, Tensor], Tensor]


def traced(module: Module, T: int, inputs: Any = None, loss: Loss | None = None, targets: Any = None) -> Graph:
    """The graph of a module over T steps, whole-sequence operations split into steps.

    Parameters
    ----------
    module : Module
        A cell is run over the sequence; anything else is called with it.
    T : int
    inputs : array_like, Spec, nested tuples of them, optional
        An example of the input sequence, (time, batch, features); it is found if not given.
    loss : callable, optional
        ``loss(output, target)``, of each step if the outputs are a sequence.
    targets : array_like or Spec, optional
        An example of the targets; of the outputs' kind if not given, else classes.

    Raises
    ------
    TinygradError
        What the module raised, if no input fits.
    """
    callee = _alone(module) if isinstance(module, Cell) else module
    first: Exception | None = None
    for candidate in _inputs(module, T, inputs):
        try:
            with at(Place()), mode(tracing=True, recording=True):
                outputs = _called(callee, candidate, T)
                return _with_loss(outputs, loss, targets, T)
        except (TinygradError, TypeError, ValueError, AttributeError, IndexError) as error:
            first = first or error
    raise TinygradError(
        f"cannot find an input for {type(module).__name__}; give an example, inputs=array of (time, batch, features). "
        f"The first try ended in: {first}"
    ) from first


def _alone(cell: Cell) -> Recurrent:
    """The cell applied to a sequence, under no name: the cell itself stays as it is."""
    layer = Recurrent(copy.copy(cell))
    layer.cell._name = ""
    return layer


def _inputs(module: Module, T: int, inputs: Any) -> Iterator[Any]:
    """Inputs to try: the one given, by sizes that modules tell, by sizes of parameters, codes, none."""
    if inputs is not None:
        yield _symbols(inputs, T)
        return
    parameters = module.parameters()
    dtype = parameters[0].dtype if parameters else np.dtype(np.float32)
    told = [getattr(m, "input_size", None) for _, m in module.modules()]
    sizes = [n for n in told if isinstance(n, int)]
    first = [p.shape for p in parameters if len(p.shape) == 2][:1]
    sizes += [n for shape in first for n in shape]
    sizes += sorted({n for p in parameters for n in p.shape})
    codes = _sequence(T, (BATCH,), np.dtype(np.int64))
    for size in dict.fromkeys(sizes):
        yield _sequence(T, (BATCH, size), dtype)
    yield codes
    yield None


def _sequence(T: int, shape: tuple[int, ...], dtype: Any) -> Tensor:
    return Tensor(leaf(Spec((T, *shape), np.dtype(dtype)), "x", "input"))


def _symbols(example: Any, T: int) -> Any:
    """Symbolic sequences of T steps, like this example."""
    if isinstance(example, tuple) and not isinstance(example, Spec):
        return rebuild(example, iter([_symbols(part, T) for part in example]), depth=1)
    spec = example if isinstance(example, Spec) else as_tensor(example).node.spec
    name = getattr(example, "name", None) or ("m" if spec.dtype.kind == "b" else "x")
    return Tensor(leaf(Spec((T, *spec.shape[1:]), spec.dtype), name, "input"))


def _called(module: Module, inputs: Any, T: int) -> Any:
    if isinstance(module, Recurrent):
        outputs, _ = module(inputs, steps=T if inputs is None else None)
        return outputs
    outputs = module(inputs, steps=T) if inputs is None else module(inputs)
    # a layer returns (outputs, state): the state is no output of the network
    return outputs[0] if isinstance(outputs, tuple) else outputs


def _with_loss(outputs: Any, loss: Loss | None, targets: Any, T: int) -> Graph:
    tensors = [as_tensor(part) for part in flatten(outputs)]
    if loss is None:
        return per_step(Graph([tensor.node for tensor in tensors]))
    (output, *_) = tensors
    sequence = output.ndim > 1 and len(output) == T and bool(len(per_step(Graph([output.node])).outputs) == T)
    error: Exception | None = None
    for spec in _targets(output, targets):
        y = Tensor(leaf(spec, "y", "input"))
        try:
            losses = []
            if sequence:
                for _, o, target in over(output, y):
                    losses.append(_named(loss(o, target)))
            else:
                losses.append(_named(loss(output, y)))
        except (TinygradError, TypeError, ValueError) as raised:
            error = error or raised
            continue
        return per_step(Graph([*[tensor.node for tensor in tensors], *[value.node for value in losses]]))
    raise TinygradError(f"loss(output, target) fits no target that was tried; give targets=. It ended in: {error}") from error


def _named(value: Tensor) -> Tensor:
    value.node.role = "loss"
    return value if value.name else value.named("L")


def _targets(output: Tensor, targets: Any) -> Iterator[Spec]:
    if targets is not None:
        yield targets if isinstance(targets, Spec) else as_tensor(targets).node.spec
        return
    yield output.node.spec
    yield Spec(output.shape[:-1], np.dtype(np.int64))
