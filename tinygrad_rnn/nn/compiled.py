"""Compiled steps: traced when a kind of call is first made, and kept with the module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from ..graph.node import Spec
from ..graph.place import Place, Unrolling, at, context
from ..ops.core import as_tensor
from ..scan.partition import Partition
from ..scan.plan import Plan
from ..scan.primitive import run
from ..scan.trace import Trace, draw_all, signature, trace
from ..tensor import Tensor
from .nested import flatten, rebuild
from .steps import Call, tell_initial

__all__ = ["Compiled", "compiled"]


class Compiled(NamedTuple):
    """A traced step, and the plan by which it is run.

    Attributes
    ----------
    trace : Trace
    plan : Plan
    output : Any
        The structure of the output.
    names, recorded : list of str
        Of the slots, and of the values that are put out if all named ones are.
    state : tuple of Spec
        What the slots are cast to.
    loose : tuple of int
        Slots that are not held past the end of a row.
    start : State
        What the first call started from: the zeros of all calls that are given nothing else.
    """

    trace: Trace
    plan: Plan
    output: Any
    names: list[str]
    recorded: list[str]
    state: tuple[Spec, ...]
    loose: tuple[int, ...]
    start: Any

    def run(self, call: Call) -> list[Tensor]:
        """The outputs at all steps, flat, and then the final state."""
        sequences = [sequence for sequence, _ in call.sequences]
        at_each, once = ([as_tensor(array) for array in drawn] for drawn in draw_all(self.trace, call.T))
        slots = [x if x.dtype == spec.dtype else x.astype(spec.dtype) for x, spec in zip(call.slots, self.state, strict=True)]
        found = run(self.plan, [*sequences, *at_each], slots, [*self.trace.captured, *once], call.T)
        first = len(found) - len(slots)
        outputs, of_loose, final = found[: first - len(self.loose)], found[first - len(self.loose) : first], found[first:]
        for x, after in zip(final, self.trace.loop.after, strict=True):
            if x.node.primitive is not None and after.primitive is not None:
                x.node.name = after.name
        return outputs + call.ended(of_loose, slots, final)


class _Cache:
    def __init__(self) -> None:
        self.steps: dict[Any, Compiled] = {}
        self.plans: dict[Any, Plan] = {}


_caches: WeakKeyDictionary[Any, _Cache] = WeakKeyDictionary()
KEPT = 32
"""Traces, and plans, that a module keeps; the oldest goes first."""


def compiled(recurrent: Any, call: Call, final_state_only: bool, zeros: Callable[[], Any]) -> Compiled:
    """The step for a call of this kind: shapes, dtypes, options and the module's version.

    A call that was not started yet starts from zeros, which all calls of its kind share.

    A trace that captures anything but the cell's own parameters is made anew at each call,
    since that may be another tensor or array by now; what was found out about it is kept.
    """
    cache = _caches.setdefault(recurrent, _Cache())
    cell = call.cell
    kind = (
        _structure(rebuild(call.xs, iter(call.inputs)) if call.xs is not None else None, 1),
        _structure(call.state, 0) if call.started else call.batch_size,
        tuple((name, _structure(data, 1)) for name, data in call.force.items()),
        tuple(given is not None and given.shape[1:] for given in (call.mask, call.valid)),
        _element_names(call),
        final_state_only,
        call.recording and (call.wanted is None or tuple(call.wanted)),
        recurrent.reverse,
        recurrent.checkpoint,
    )
    found = cache.steps.get((kind, cell.version))
    shared = found is not None and not call.started
    if not call.started:
        call.start(zeros() if found is None else found.start)
    if found is None:
        found = _compile(cache, recurrent, call, final_state_only)
        if found.trace.lasting:
            _keep(cache.steps, (kind, cell.version), found)  # the version now: a step may set attributes
    else:
        call.names, call.recorded, call.loose = found.names, found.recorded, found.loose
    if not shared:
        tell_initial(call.slots, found.names)
    return found


def _compile(cache: _Cache, recurrent: Any, call: Call, final_state_only: bool) -> Compiled:
    outputs: list[Any] = []
    state = [slot.node.spec for slot in call.slots]

    def step(elements: list[Tensor], slots: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        output, after = call.step(elements[: len(call.sequences)], slots)
        outputs.append(output)
        return [*([] if final_state_only else flatten(output)), *[after[k] for k in call.loose]], after

    # To hold a delay past the end of a row would make a cycle of it; so at first nothing is held, to see
    # which slots are in one.
    call.loose = () if call.valid is None or recurrent.reverse else tuple(range(len(state)))
    scope = context.state.place.scope
    while True:
        sequences = [
            (Spec(x.shape[1:], x.dtype), name) for (x, _), name in zip(call.sequences, _element_names(call), strict=True)
        ]
        names: Sequence[str | None] = call.names or [None] * len(state)
        with at(Place(scope, Unrolling(scope), 1)):  # errors say that it is the first step
            traced = trace(step, sequences, list(zip(state, names, strict=True)), call.cell.parameters(), recurrent.reverse)
        carried = [Spec(was.shape, after.dtype) for was, after in zip(state, traced.loop.after, strict=True)]
        if carried != state:
            promoted = [Spec(a.shape, np.result_type(a.dtype, b.dtype)) for a, b in zip(state, carried, strict=True)]
            state = carried if promoted == state else promoted
            continue
        if not call.loose:
            break
        partition = Partition(traced.loop)
        delays = tuple(k for k in call.loose if partition.kind(k) == "delay")
        if delays == call.loose:
            break
        call.loose = delays
    key = signature(traced.loop), _element_names(call), recurrent.checkpoint
    plan = cache.plans.get(key)
    if plan is None:
        plan = Plan(traced.loop, recurrent.checkpoint)
        _keep(cache.plans, key, plan)
    return Compiled(traced, plan, outputs[-1], call.names, call.recorded, tuple(state), call.loose, call.state)


def _element_names(call: Call) -> tuple[str | None, ...]:
    """What a loop in Python would call the elements; see `unrolling.element`."""
    return tuple(name if sequence.node.primitive is None else None for sequence, name in call.sequences)


def _keep(kept: dict[Any, Any], key: Any, value: Any) -> None:
    kept[key] = value
    while len(kept) > KEPT:
        kept.pop(next(iter(kept)), None)


def _structure(nested: Any, leading: int) -> Any:
    """Nested tuples of shapes, without leading axes, and dtypes."""
    if isinstance(nested, tuple):
        return type(nested), tuple(_structure(part, leading) for part in nested)
    return nested if nested is None else (nested.shape[leading:], nested.dtype)
