"""Scan, a primitive with several results, and item, which reads one of them."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..graph.context import Location, current
from ..graph.node import Node, Results, Spec, leaf
from ..ops.core import Part, Primitive, apply, as_tensor, constant
from ..ops.domains import Domain
from ..ops.formula import Formula
from ..ops.shapes import concatenate
from ..tensor import Tensor
from .backend import Executable, RunMemory
from .checkpoint import Segments, run_in_segments, spans
from .compiled import CompiledScan
from .loop import Loop

__all__ = ["RunResults", "item", "output_number", "run", "scan"]

Value: TypeAlias = Any
"""A Tensor, or an array where nothing is recorded."""


class Outline(Results):
    """The shapes of the results of a run that is made many times, with new values each time."""

    __slots__ = ("_plan", "_steps")

    def __init__(self, plan: CompiledScan, steps: int) -> None:
        self._plan = plan
        self._steps = steps

    def read(self, node: Node, index: int) -> Tensor:
        """A result of the run that `node` stands for."""
        outputs = self._plan.loop.outputs
        kind, value, *_ = (outputs if index < len(outputs) else self._plan.saving.outputs)[index]
        shape = (self._steps, *value.shape) if kind == "stack" else value.shape
        state = current()
        made = Node(item, (node,), {"index": index}, Spec(shape, value.dtype), state.location)
        return Tensor(made if state.recording or state.recorder is None else state.recorder.aside(made))


class RunResults(Results):
    """Results of one run of a loop; the memory of residuals is reused after they are freed."""

    __slots__ = ("values", "_executable", "_memory")

    def __init__(self, values: Sequence[Any], memory: RunMemory, executable: Executable) -> None:
        self.values = values
        self._memory = memory
        self._executable = executable

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] | None = self.values[index]
        if found is None:
            found = self._memory.residual(index)
        return found

    def __del__(self) -> None:
        self._executable.release(self._memory)


def _run(*arrays: Any, plan: CompiledScan, steps: int, out: Any = None) -> RunResults | Segments:
    save = current().recording
    try:
        if save and plan.checkpoint is not None and 1 < plan.checkpoint < steps:
            return run_in_segments(plan, arrays, steps)
        executable = plan.executable(save)
        return RunResults(*executable(arrays, steps), executable)
    except Exception:
        from .open import run_step_by_step

        run_step_by_step(plan, arrays, steps)  # raises the error with the step in which it occurs
        raise


def _gradient(positions: list[int], parts: list[Part], y: Tensor, *inputs: Tensor, plan: CompiledScan, steps: int) -> list[Any]:
    """Run the reverse loop: cotangents of outputs in, cotangents of inputs out."""
    cotangents: dict[int, Tensor] = {}
    for g, index in parts:
        cotangents[index] = cotangents[index] + g if index in cotangents else g
    if not isinstance(y.node.value, Segments):
        return _reversed(positions, cotangents, y, inputs, plan, steps)
    if current().recording:  # the gradient is to be differentiated again, so the whole run is needed
        again = apply(scan, inputs, {"plan": plan.whole, "steps": steps})
        return _reversed(positions, cotangents, again, inputs, plan.whole, steps)
    return _reversed_in_segments(positions, cotangents, y.node.value, inputs, plan, steps)


def _reversed(
    positions: Sequence[int], cotangents: dict[int, Tensor], y: Tensor, inputs: Sequence[Tensor], plan: CompiledScan, steps: int
) -> list[Any]:
    ends, others = _parted(plan.loop, cotangents)
    backward = _Backward(others, y, inputs, plan, steps)
    results, zeros = backward.loop(positions, ends, steps)
    if zeros and not all(map(_is_finite, results.values())):
        results = backward.by_steps(positions, ends)
    return [results.get(position) for position in positions]


def _parted(loop: Loop, cotangents: dict[int, Tensor]) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Cotangents of outputs in two parts: those of final values, by the number of the slot, and all others."""
    slots = loop.final_slots
    if slots.keys().isdisjoint(cotangents):
        return {}, cotangents
    ends = {slots[i]: g for i, g in cotangents.items() if i in slots}
    return ends, {i: g for i, g in cotangents.items() if i not in slots}


class _Backward:
    """The gradient of one run, in one loop or in several.

    The loop carries a cotangent of each slot at every step. At the last steps some slots may have no cotangent,
    because nothing depends on their next values; zeros replace it. Zeros are right unless a derivative is
    infinite there, where 0·∞ is NaN. Only then are those steps computed one by one, without zeros.

    Parameters
    ----------
    cotangents : dict of int to Tensor
        Cotangents of the "stack" and "sum" outputs.
    y : Tensor
        The run.
    inputs : sequence of Tensor
    plan : CompiledScan
    steps : int
    """

    def __init__(
        self, cotangents: dict[int, Tensor], y: Tensor, inputs: Sequence[Tensor], plan: CompiledScan, steps: int
    ) -> None:
        self.cotangents = cotangents
        self.given = sorted(cotangents)
        self.y = y
        self.sequences, self.state, self.consts = plan.loop.parts(inputs)
        self.plan = plan
        self.steps = steps
        self.first_slot = len(self.sequences)
        outputs = plan.saving.outputs
        self.stacks = [cotangents[i] for i in self.given if outputs[i].kind == "stack"]
        self.sums = [cotangents[i] for i in self.given if outputs[i].kind == "sum"]

    def loop(self, wanted: Sequence[int], ends: dict[int, Tensor], count: int) -> tuple[dict[int, Tensor], bool]:
        """Cotangents of inputs and slots after the first `count` steps, and whether zeros replaced any cotangent."""
        reverse, plan = self.plan.reverse(self.given, wanted, ends)
        y = self._run_of(count) if current().recording else self.y
        sequences = [
            *self._first(count, [*self.stacks, *self.sequences]),
            *self._first(count, _read(y, reverse.read)),
        ]
        found = run(
            plan,
            sequences,
            [ends[i] if i in ends else _zeros(self.state[i]) for i in reverse.slots],
            [*self.consts, *self.sums, *map(Tensor, reverse.arrays)],
            count,
        )
        return dict(zip(reverse.results, found, strict=True)), any(i not in ends for i in reverse.slots)

    def _first(self, count: int, sequences: Sequence[Value]) -> Sequence[Value]:
        """The elements of the first steps; all elements of a shorter value."""
        if count == self.steps:
            return sequences
        start = self.steps - count if self.plan.loop.reverse else 0
        return [x if len(x) == count else x[start : start + count] for x in sequences]

    def _run_of(self, count: int) -> Tensor:
        """A run of the first steps only, so that no gradient, not even zeros, reaches the others."""
        if count == self.steps:
            return self.y
        inputs = (*self._first(count, self.sequences), *self.state, *self.consts)
        return apply(scan, inputs, {"plan": self.plan, "steps": count})

    def by_steps(self, wanted: Sequence[int], ends: dict[int, Tensor]) -> dict[int, Tensor]:
        """Cotangents from the last step on, step by step, until the same slots have cotangents again."""
        pieces: list[dict[int, Tensor]] = []
        count, settled = self.steps, False
        while count and not settled:
            found = self._step(wanted, ends, count)
            before = {k - self.first_slot: found.pop(k) for k in self.plan.loop.float_slots if k in found}
            pieces.append(found)
            settled = before.keys() == ends.keys()
            ends, count = before, count - 1
        if count:
            results, _ = self.loop(wanted, ends, count)
        else:
            results = {self.first_slot + i: g for i, g in ends.items()}
        for k in {k for piece in pieces for k in piece} | {k for k in results if k < self.first_slot}:
            if k < self.first_slot:
                results[k] = self._whole(k, results.get(k), pieces[::-1], count)
            else:
                results[k] = functools.reduce(operator.add, [part[k] for part in (results, *pieces) if k in part])
        return results

    def _step(self, wanted: Sequence[int], ends: dict[int, Tensor], count: int) -> dict[int, Tensor]:
        """The backward pass of step number `count`."""
        wanted = sorted({*wanted, *self.plan.loop.float_slots})
        reverse, plan = self.plan.reverse_of_a_step(self.given, wanted, ends)
        at = self.steps - count if self.plan.loop.reverse else count - 1
        starts = self._starts(count, at)
        found = run(
            plan,
            [
                *[x[at : at + 1] for x in self.stacks],
                *[ends[i][None] for i in sorted(ends)],
                *[x[at : at + 1] for x in self.sequences],
                *starts,
            ],
            [],
            [*self.consts, *self.sums, *map(Tensor, reverse.arrays)],
            1,
        )
        results = dict(zip(reverse.results, found, strict=True))
        slots = self.plan.loop.float_slots
        return {k: g[0] if k in slots else g for k, g in results.items()}

    def _starts(self, count: int, at: int) -> list[Tensor]:
        """Values that the slots carry into step number `count`, as sequences of length 1."""
        state, final = self.plan.loop.carry, self.plan.loop.finals
        if count == 1:
            return [x[None] for x in self.state]
        if current().recording and final.keys() >= set(state):
            y = self._run_of(count - 1)
            return [x[None] for x in _read(y, [final[leaf] for leaf in state])]
        residuals = {item.node: i for i, item in enumerate(self.plan.saving.outputs) if item.residual}
        return [
            _read(self.y, [residuals[leaf]])[0][at : at + 1] if leaf in residuals else x[None]
            for leaf, x in zip(state, self.state, strict=True)
        ]

    def _whole(self, k: int, rest: Tensor | None, pieces: Sequence[dict[int, Tensor]], count: int) -> Tensor:
        """A sequence's cotangent over the first `count` steps and the separately run steps after them."""
        x = self.sequences[k]
        parts = [] if not count else [_zeros(x[:count]) if rest is None else rest]
        parts += [piece[k] if k in piece else _zeros(x[:1]) for piece in pieces]
        return concatenate(parts[::-1] if self.plan.loop.reverse else parts)


def _is_finite(x: Tensor) -> bool:
    """Whether all numbers are finite, found quickly from the sum of squares unless that overflows."""
    value = x.node.value
    recorder = current().recorder
    if recorder is not None:  # each run checks by itself
        recorder.finite.append(x.node)
        return True
    return math.isfinite(np.vdot(value, value)) or bool(np.isfinite(value).all())


def _reversed_in_segments(
    positions: Sequence[int],
    cotangents: dict[int, Tensor],
    y: Segments,
    inputs: Sequence[Tensor],
    plan: CompiledScan,
    steps: int,
) -> list[Any]:
    """Run each segment again with residuals, and then its reverse; the last segment first."""
    loop, first_slot = plan.loop, len(plan.loop.sequences)
    sequences, _, consts = loop.parts([x.node.value for x in inputs])
    wanted = sorted({*positions, *loop.float_slots})
    ends, others = _parted(loop, cotangents)
    whole: dict[int, Any] = {}
    for (start, stop), state in reversed(list(zip(spans(plan, steps), y.starts, strict=True))):
        part = [*[x[start:stop] for x in sequences], *state, *consts]
        given = {i: g[start:stop] if loop.outputs[i].kind == "stack" else g for i, g in others.items()}
        given |= {loop.finals[loop.carry[i]]: g for i, g in ends.items()}
        results = _reversed_segment(wanted, given, part, plan, stop - start)
        present = plan.slots_before(sorted(others), ends, stop - start)
        starts = {k - first_slot: results.pop(k) for k in loop.float_slots if k in results}
        ends = {i: g for i, g in starts.items() if i in present}
        for k, g in results.items():
            if k < first_slot:
                whole.setdefault(k, np.zeros(sequences[k].shape, sequences[k].dtype))[start:stop] = g.node.value
            else:
                whole[k] = g.node.value if k not in whole else whole[k] + g.node.value
    whole |= {first_slot + i: g.node.value for i, g in ends.items()}
    return [Tensor(constant(whole[k])) if k in whole else None for k in positions]


def _reversed_segment(
    wanted: Sequence[int], given: dict[int, Tensor], arrays: Sequence[Any], plan: CompiledScan, steps: int
) -> dict[int, Tensor]:
    """Cotangents of a segment's inputs; the memory of its residuals is freed."""
    executable = plan.executable(True)
    y = Tensor(leaf(RunResults(*executable(arrays, steps), executable)))
    found = _reversed(wanted, given, y, [Tensor(constant(x)) for x in arrays], plan, steps)
    return {k: g for k, g in zip(wanted, found, strict=True) if g is not None}


def _zeros(like: Tensor) -> npt.NDArray[Any]:
    return np.zeros(like.shape, like.dtype)


def _read(results: Tensor, indices: Iterable[int]) -> list[Value]:
    """Results of a run: tensors with nodes, or arrays if nothing is recorded."""
    here, node = current(), results.node
    values = node.value
    if isinstance(values, Outline):
        return [values.read(node, i) for i in indices]
    if not here.recording:
        return [values[i] for i in indices]
    if not here.eager:
        return [apply(item, (results,), {"index": i}) for i in indices]
    return [Tensor(Node(item, (node,), {"index": i}, values[i], here.location)) for i in indices]


def _cuts(node: Node, order: Sequence[Node]) -> dict[int, tuple[Node, Location]]:
    plan, steps = node.attributes["plan"], node.attributes["steps"]
    if not plan.detaches:
        return {}
    found = plan.cut_off([reader.attributes["index"] for reader in order if reader.primitive is item and node in reader.inputs])
    return {k: (source, source.location._replace(t=steps)) for k, source in found.items()}


scan = Primitive(
    "scan",
    _run,
    _gradient,
    lambda *specs, **attributes: Spec((), np.dtype(float)),
    Domain(),
    Formula(r"\operatorname{{scan}}\left({rest:own}\right)"),
    ("*inputs",),
    frozenset(["plan", "steps"]),
    cuts=_cuts,
)


item = Primitive(
    "item",
    lambda results, index, out=None: results[index],
    (lambda g, y, results, index: Part(g, index),),
    lambda results, index: Spec((), np.dtype(float)),
    Domain(),
    Formula("{results}"),
    ("results",),
    frozenset(["index"]),
)


def output_number(node: Node) -> int:
    """The number of the loop's output that an `item` reads."""
    number: int = node.attributes["index"]
    return number


def run(
    plan: CompiledScan, sequences: Sequence[Value], state: Sequence[Value], consts: Sequence[Value], steps: int
) -> list[Tensor]:
    """Apply a loop to sequences, as one node and one more node for each output that is read.

    Parameters
    ----------
    plan : CompiledScan
    sequences, state, consts : sequence of Tensor or numpy.ndarray
        Values for the leaves of the plan's loop.
    steps : int
        Number of steps T.

    Returns
    -------
    list of Tensor
        The outputs, without the residuals.
    """
    inputs = (*sequences, *state, *consts)
    if current().recorder is not None:
        if plan.checkpoint is not None and 1 < plan.checkpoint < steps:
            plan = plan.of_states  # all runs of a function end together, so the runs of single segments would not save memory
        nodes = tuple([as_tensor(x).node for x in inputs])
        node = Node(scan, nodes, {"plan": plan, "steps": steps}, Outline(plan, steps), current().location)
        return _read(Tensor(node), range(len(plan.loop.outputs)))
    if not current().recording:  # the node is never asked for; these calls are frequent
        arrays = [x if isinstance(x, np.ndarray) else x.node.value for x in inputs]
        return [Tensor(leaf(value)) for value in _run(*arrays, plan=plan, steps=steps).values]
    return _read(apply(scan, inputs, {"plan": plan, "steps": steps}), range(len(plan.loop.outputs)))
