"""Compiled steps: traced when a kind of call is first made, and kept with the module."""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast
from weakref import WeakKeyDictionary

import numpy as np

from ..cache import Kept, keep, touch
from ..errors import SideEffectError
from ..graph.context import Location, Unrolling, at, current
from ..graph.node import Spec
from ..guards import Guard, guard
from ..ops.core import as_tensor
from ..random import generator
from ..scan.compiled import CompiledScan
from ..scan.loop import Loop
from ..scan.partition import Partition
from ..scan.primitive import run
from ..scan.trace import Trace, draw_all, signature, trace
from ..tensor import Tensor
from ..tree import flatten, rebuild
from .call import Call, tell_initial

__all__ = ["Compiled", "compiled"]


@dataclass(eq=False)
class Compiled:
    """A traced step, and the plan by which it is run.

    Attributes
    ----------
    trace : Trace
    guard : Guard
        What the step could reach when it was traced.
    make_plan : callable
        ``make_plan() -> CompiledScan``, called when the plan is first needed.
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
    guard: Guard
    make_plan: Callable[[], CompiledScan]
    output: Any
    names: list[str]
    recorded: list[str]
    state: tuple[Spec, ...]
    loose: tuple[int, ...]
    start: Any

    @functools.cached_property
    def plan(self) -> CompiledScan:
        """The plan by which the step is run."""
        return self.make_plan()

    @property
    def lasting(self) -> bool:
        """Whether the trace can stand for the step at a later call whose guard has the same key."""
        return self.trace.lasting and self.guard.valid

    @property
    def size(self) -> int:
        """About how many bytes it takes; its plan is counted here too, since it goes only with the last that hold it."""
        plan = self.plan.size if "plan" in self.__dict__ else 0
        return plan + sum(slot.data.nbytes for slot in flatten(self.start))

    def run(self, call: Call) -> list[Tensor]:
        """The outputs at all steps, flat, and then the final state."""
        sequences = [sequence for sequence, _ in call.sequences]
        at_each, once = ([as_tensor(array) for array in drawn] for drawn in draw_all(self.trace, call.T))
        slots = [x if x.dtype == spec.dtype else x.astype(spec.dtype) for x, spec in zip(call.slots, self.state, strict=True)]
        found = run(self.plan, [*sequences, *at_each], slots, [*self.trace.consts, *once], call.T)
        first = len(found) - len(slots)
        outputs, of_loose, final = found[: first - len(self.loose)], found[first - len(self.loose) : first], found[first:]
        for x, after in zip(final, self.trace.loop.next_carry, strict=True):
            if x.node.primitive is not None and after.primitive is not None:
                x.node.name = after.name
        return outputs + call.ended(of_loose, slots, final)


_GENERATORS: dict[str, Any] = {
    "NumPy's random generator": cast(Any, np.random.get_state).__self__,
    "Python's random generator": cast(Any, random.getstate).__self__,
}


class _Cache:
    def __init__(self) -> None:
        self.steps: dict[Any, Kept[Compiled]] = {}
        self.plans: dict[Any, Kept[CompiledScan]] = {}


_caches: WeakKeyDictionary[Any, _Cache] = WeakKeyDictionary()
ATTEMPTS = 3
"""How often a step is looked at for side effects: what changes once may have been changed by another thread."""
_one_thread = threading.RLock()
KEPT = 32
"""Traces, and plans, that a module keeps at the most, if all modules' are below `cache_limit`; the oldest goes first."""


def compiled(recurrent: Any, call: Call, final_state_only: bool, zeros: Callable[[], Any]) -> Compiled:
    """The step for a call of this kind: shapes, dtypes, options, and a guard of all that the step reads.

    A call that was not started yet starts from zeros, which all calls of its kind share.

    A trace that captures anything but the cell's own parameters, or whose guard is not complete,
    is made anew at each call; its plan is kept.

    Raises
    ------
    SideEffectError
        If the step reads what it changes, or what changes by itself.
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
    reached = guard(cell)
    found = _found(cache.steps, (kind, reached.key))
    shared = found is not None and not call.started
    if not call.started:
        call.start(zeros() if found is None else found.start)
    if found is None or not found.lasting:
        make = functools.partial(_compile, cache, recurrent, call, final_state_only, reached)
        is_new = found is None
        with _one_thread:
            found = make()
            if is_new:
                found.guard = _without_side_effects(cell, found, make)
        _keep(cache.steps, (kind, found.guard.key), found)
    else:
        call.names, call.recorded, call.loose = found.names, found.recorded, found.loose
    if not shared:
        tell_initial(call.slots, found.names)
    return found


def _without_side_effects(cell: Any, first: Compiled, again: Callable[[], Compiled]) -> Guard:
    """A guard of the step after it was traced twice, if the second trace changed nothing and found nothing changed.

    The first one may: a step may keep what it computes when it is first called.
    """
    for _ in range(ATTEMPTS):
        before = _observed(cell)
        second = again()
        changed = before.change(_observed(cell)) or first.trace.difference(second.trace)
        if changed is None:
            return guard(cell)
    raise SideEffectError(
        f"{type(cell).__name__}.step does not do the same at each call, for {changed} changes; a step is called once, "
        "for all t. Draw random numbers by tr.sample(lambda generator: …), count steps in a slot of the state, "
        "and read values by states()"
    )


def _observed(cell: Any) -> Guard:
    """A guard of a cell and of the generators of random numbers that any code can reach."""
    return guard(SimpleNamespace(**_GENERATORS, **{"the library's random generator": generator()}, step=cell))


def _compile(cache: _Cache, recurrent: Any, call: Call, final_state_only: bool, reached: Guard) -> Compiled:
    outputs: list[Any] = []
    state = [slot.node.spec for slot in call.slots]

    def step(elements: list[Tensor], slots: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        output, after = call.step(elements[: len(call.sequences)], slots)
        outputs.append(output)
        return [*([] if final_state_only else flatten(output)), *[after[k] for k in call.loose]], after

    # To hold a delay past the end of a row would make a cycle of it; so at first nothing is held, to see
    # which slots are in one.
    call.loose = () if call.valid is None or recurrent.reverse else tuple(range(len(state)))
    scope = current().location.scope
    while True:
        sequences = [
            (Spec(x.shape[1:], x.dtype), name) for (x, _), name in zip(call.sequences, _element_names(call), strict=True)
        ]
        names: Sequence[str | None] = call.names or [None] * len(state)
        with at(Location(scope, Unrolling(scope), 1)):  # errors say that it is the first step
            traced = trace(step, sequences, list(zip(state, names, strict=True)), call.cell.parameters(), recurrent.reverse)
        carried = [Spec(was.shape, after.dtype) for was, after in zip(state, traced.loop.next_carry, strict=True)]
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
    make_plan = functools.partial(_plan, cache, traced.loop, _element_names(call), recurrent.checkpoint)
    return Compiled(traced, reached, make_plan, outputs[-1], call.names, call.recorded, tuple(state), call.loose, call.state)


def _plan(cache: _Cache, loop: Loop, names: tuple[str | None, ...], checkpoint: int | None) -> CompiledScan:
    key = signature(loop), names, checkpoint
    plan: CompiledScan | None = _found(cache.plans, key)
    if plan is None:
        plan = CompiledScan(loop, checkpoint)
        _keep(cache.plans, key, plan)
    return plan


def _element_names(call: Call) -> tuple[str | None, ...]:
    """What a loop in Python would call the elements; see `unrolling.element`."""
    return tuple(name if sequence.node.primitive is None else None for sequence, name in call.sequences)


def _keep(kept: dict[Any, Kept[Any]], key: Any, value: Compiled | CompiledScan) -> None:
    kept[key] = keep(value, value.size)
    for old in [old for old, entry in list(kept.items()) if entry.value is None]:
        kept.pop(old, None)
    while len(kept) > KEPT:
        kept.pop(next(iter(kept)), None)


def _found(kept: dict[Any, Kept[Any]], key: Any) -> Any:
    """What is kept, if it is; its size may have grown, since programs are made when they are first needed."""
    entry = kept.get(key)
    value = None if entry is None else entry.value
    return None if entry is None or value is None else touch(entry, value.size)


def _structure(nested: Any, leading: int) -> Any:
    """Nested tuples of shapes, without leading axes, and dtypes."""
    if isinstance(nested, tuple):
        return type(nested), tuple(_structure(part, leading) for part in nested)
    return nested if nested is None else (nested.shape[leading:], nested.dtype)
