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
from .numpy_backend import Executable, Memory
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


def _run(*arrays: Any, plan: Plan, steps: int, out: Any = None) -> Run:
    executable = plan.executable(context.state.recording)
    values, memory = executable(arrays, steps)
    return Run(values, executable, memory)


def _gradient(positions: list[int], parts: list[Part], y: Tensor, *inputs: Tensor, plan: Plan, steps: int) -> list[Any]:
    """Run the reverse loop: cotangents of items in, cotangents of inputs out."""
    cotangents: dict[int, Tensor] = {}
    for g, index in parts:
        cotangents[index] = cotangents[index] + g if index in cotangents else g
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
