"""Plans of the recurrent parts of a model, as the compiler makes them; nothing is run."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..checks import check_int
from ..errors import ShapeError, TinygradError
from ..graph.context import mode
from ..graph.node import Spec
from ..ops.core import as_tensor
from ..scan.plan import Plan
from ..scan.use import backend_name, backend_named
from ..tree import rebuild
from .call import Call, check_forced
from .cell import Cell
from .module import Module
from .module_trace import symbolic, try_inputs
from .recurrent import Recurrent, standalone
from .trace_cache import traced_step

__all__ = ["Plans", "plan", "plan_parts"]


class Plans(dict[str, Plan]):
    """The plans of a model's recurrent parts, by path."""

    def __str__(self) -> str:
        return "\n\n".join(f"{path}:\n{plan}" for path, plan in self.items())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "".join(f"<h4>{html.escape(path)}</h4>{plan._repr_html_()}" for path, plan in self.items())


def plan_parts(module: Module, T: int, B: int = 1, inputs: Any = None) -> Plan | Plans:
    """The plan of a model's only recurrent part, or the plans of all; see :meth:`Module.plan`."""
    if isinstance(module, Cell):
        return plan(standalone(module), T, B, inputs)
    parts = {path: part for path, part in module.modules() if isinstance(part, Recurrent)}
    if not parts:
        raise TinygradError(f"{type(module).__name__} has no recurrent part to plan; a cell becomes one by nn.Recurrent(cell)")
    if len(parts) == 1:
        (part,) = parts.values()
        return plan(part, T, B, inputs)
    if inputs is not None and not (isinstance(inputs, Mapping) and set(inputs) <= set(parts)):
        raise TinygradError(
            f"inputs must be a dict from names of recurrent parts to examples; the parts are {', '.join(map(repr, parts))}"
        )
    return Plans({path: plan(part, T, B, (inputs or {}).get(path)) for path, part in parts.items()})


def plan(recurrent: Recurrent, T: int, B: int = 1, inputs: Any = None, force: Sequence[str] = ()) -> Plan:
    """The plan of a cell applied to a sequence; see :meth:`Recurrent.plan`."""
    for name, n in (("T", T), ("B", B)):
        check_int(name, n)
    if inputs is not None:
        return _plan(recurrent, _sequences(inputs, T, B), T, B, force)
    return try_inputs(
        recurrent.cell,
        lambda spec: _plan(recurrent, spec and _sequences(Spec((T, B, *spec.shape), spec.dtype), T, B), T, B, force),
    )


def _sequences(example: Any, T: int, B: int) -> Any:
    """Symbolic sequences of T steps and B rows, with the features of an example."""
    if isinstance(example, tuple) and not isinstance(example, Spec):
        return rebuild(example, iter([_sequences(part, T, B) for part in example]), depth=1)
    found = example if isinstance(example, Spec) else as_tensor(example)
    if len(found.shape) < 2:
        raise ShapeError(f"an example of an input sequence must have shape (time, batch, …), not {found.shape}")
    return symbolic(Spec((T, B, *found.shape[2:]), np.dtype(found.dtype)), getattr(found, "name", None) or "x", "input")


def _plan(recurrent: Recurrent, xs: Any, T: int, B: int, force: Sequence[str]) -> Plan:
    cell = recurrent.cell

    def call(data: Mapping[str, Any] | None = None) -> Call:
        made = Call.of(cell, xs, steps=T if xs is None else None, force=data)._replace(batch_size=B)
        with mode(tracing=True):
            return made._replace(state=made.initial_state())

    step = traced_step(recurrent, call())
    if force:
        slots = dict(zip(step.names, step.slots, strict=True))
        check_forced(force, slots)
        data = {name: symbolic(Spec((T, *slots[name].shape), slots[name].dtype), f"{name}*", "input") for name in force}
        step = traced_step(recurrent, call(data))
    title = f"{type(cell).__name__}, T = {T:,}, B = {B:,}"
    backend = backend_named(backend_name(recurrent.backend))
    return Plan(step.trace.loop, T, title, step.names, recurrent.checkpoint, backend)
