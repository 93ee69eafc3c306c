"""Scan, a primitive with several results, and item, which reads one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph.node import Results, Spec
from ..graph.place import context
from ..ops.core import Formula, Part, Primitive, apply, constant
from ..ops.domains import Domain
from ..tensor import Tensor
from .checkpoint import Segments, run_in_segments, spans
from .memory import Memory
from .numpy_backend import Executable
from .plan import Plan

__all__ = ["Run", "item", "run", "scan"]


class Run(Results):
    """The results of one run of a loop; the memory of its residuals is used again when it is freed."""

    __slots__ = ("values", "_executable", "_memory")

    def __init__(self, values: list[Any], executable: Executable, memory: Memory) -> None:
        self.values = values
        self._executable = executable
        self._memory = memory

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] | None = self.values[index]
        if found is None:
            found = self._memory.lent(self._executable.program.loop.items[index].node)
        return found

    def __del__(self) -> None:
        self._executable.release(self._memory)


def _run(*arrays: Any, plan: Plan, steps: int, out: Any = None) -> Run | Segments:
    save = context.state.recording
    try:
        if save and plan.checkpoint is not None and 1 < plan.checkpoint < steps:
            return run_in_segments(plan, arrays, steps)
        executable = plan.executable(save)
        values, memory = executable(arrays, steps)
    except Exception:
        from .open import run_step_by_step

        run_step_by_step(plan, arrays, steps)  # it raises the error with its step
        raise
    return Run(values, executable, memory)


def _gradient(positions: list[int], parts: list[Part], y: Tensor, *inputs: Tensor, plan: Plan, steps: int) -> list[Any]:
    """Run the reverse loop: cotangents of items in, cotangents of inputs out."""
    cotangents: dict[int, Tensor] = {}
    for g, index in parts:
        cotangents[index] = cotangents[index] + g if index in cotangents else g
    if not isinstance(y.node.value, Segments):
        return _reversed(positions, cotangents, y, inputs, plan, steps)
    if context.state.recording:  # to be differentiated again: so the whole run is needed
        again = apply(scan, inputs, {"plan": plan.whole, "steps": steps})
        return _reversed(positions, cotangents, again, inputs, plan.whole, steps)
    return _reversed_in_segments(positions, cotangents, y.node.value, inputs, plan, steps)


def _reversed(
    positions: Sequence[int], cotangents: dict[int, Tensor], y: Tensor, inputs: Sequence[Tensor], plan: Plan, steps: int
) -> list[Any]:
    given = sorted(cotangents)
    reverse, reverse_plan = plan.reverse(given, positions)
    items, loop = plan.saving.items, plan.loop
    sequences, slots = len(loop.sequences), len(loop.state)
    finals = {items[i].node: cotangents[i] for i in given if items[i].kind == "final"}
    found = run(
        reverse_plan,
        [cotangents[i] for i in given if items[i].kind == "stack"]
        + list(inputs[:sequences])
        + [_read(y, i) for i in reverse.read],
        [finals[loop.state[i]] if loop.state[i] in finals else _zeros(inputs[sequences + i]) for i in reverse.slots],
        [*inputs[sequences + slots :], *[cotangents[i] for i in given if items[i].kind == "sum"]],
        steps,
    )
    results = dict(zip(reverse.results, found, strict=True))
    return [results.get(position) for position in positions]


def _reversed_in_segments(
    positions: Sequence[int], cotangents: dict[int, Tensor], y: Segments, inputs: Sequence[Tensor], plan: Plan, steps: int
) -> list[Any]:
    """Run each segment again, saving everything, and then its reverse; the last one first."""
    items, loop = plan.loop.items, plan.loop
    sequences, slots = len(loop.sequences), len(loop.state)
    arrays = [x.node.value for x in inputs]
    float_slots = [sequences + i for i, leaf in enumerate(loop.state) if leaf.dtype.kind == "f"]
    wanted = sorted({*positions, *float_slots})
    final = {items[i].node: i for i in range(len(items)) if items[i].kind == "final"}
    carried = {i: g for i, g in cotangents.items() if items[i].kind == "final"}
    others = {i: g for i, g in cotangents.items() if i not in carried}
    whole: dict[int, Any] = {}
    for (start, stop), state in reversed(list(zip(spans(plan, steps), y.starts, strict=True))):
        part = [*[x[start:stop] for x in arrays[:sequences]], *state, *arrays[sequences + slots :]]
        given = {i: g[start:stop] if items[i].kind == "stack" else g for i, g in others.items()} | carried
        results = _reversed_segment(wanted, given, part, plan, stop - start)
        carried = {final[loop.state[k - sequences]]: results[k] for k in float_slots if k in results}
        for k, g in results.items():
            if k < sequences:
                whole.setdefault(k, np.empty(arrays[k].shape, arrays[k].dtype))[start:stop] = g.node.value
            elif k < sequences + slots or k not in whole:
                whole[k] = g.node.value
            else:
                whole[k] = whole[k] + g.node.value
    return [Tensor(constant(whole[k])) if k in whole else None for k in positions]


def _reversed_segment(
    wanted: Sequence[int], given: dict[int, Tensor], arrays: Sequence[Any], plan: Plan, steps: int
) -> dict[int, Tensor]:
    """The cotangents of a segment's inputs; what it saved for them is free again then."""
    executable = plan.executable(True)
    values, memory = executable(arrays, steps)
    y = Tensor(constant(Run(values, executable, memory)))
    found = _reversed(wanted, given, y, [Tensor(constant(x)) for x in arrays], plan, steps)
    return {k: g for k, g in zip(wanted, found, strict=True) if g is not None}


def _zeros(like: Tensor) -> Tensor:
    return Tensor(constant(np.zeros(like.shape, like.dtype)))


def _read(results: Tensor, index: int) -> Tensor:
    if context.state.recording:
        return apply(item, (results,), {"index": index})
    return Tensor(constant(results.node.value[index]))


scan = Primitive(
    "scan",
    _run,
    _gradient,
    lambda *specs, **attributes: Spec((), np.dtype(float)),
    Domain(),
    Formula(r"\operatorname{{scan}}\left({rest:own}\right)"),
    None,
    None,
    ("*inputs",),
    ("plan", "steps"),
)

item = Primitive(
    "item",
    lambda results, index, out=None: results[index],
    (lambda g, y, results, index: Part(g, index),),
    lambda results, index: Spec((), np.dtype(float)),
    Domain(),
    Formula("{results}"),
    None,
    None,
    ("results",),
    ("index",),
)


def run(
    plan: Plan, sequences: Sequence[Tensor], state: Sequence[Tensor], captured: Sequence[Tensor], steps: int
) -> list[Tensor]:
    """Apply a loop to sequences: one node, and one more for each item that is read.

    Parameters
    ----------
    plan : Plan
    sequences, state, captured : sequence of Tensor
        For the leaves of the plan's loop.
    steps : int
        T.

    Returns
    -------
    list of Tensor
        The items, without the residuals.
    """
    inputs = (*sequences, *state, *captured)
    if not context.state.recording:  # nobody will ask for the node, and these calls are many
        values = _run(*[x.node.value for x in inputs], plan=plan, steps=steps).values
        return [Tensor(constant(value)) for value in values]
    results = apply(scan, inputs, {"plan": plan, "steps": steps})
    return [_read(results, i) for i in range(len(plan.loop.items))]
