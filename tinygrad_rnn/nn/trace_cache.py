"""Cache of traced steps and of their plans, for each recurrent layer."""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast
from weakref import WeakKeyDictionary

import numpy as np

from ..cache import Kept, keep, touch
from ..errors import SideEffectError
from ..graph.context import Location, Unrolling, at, current
from ..graph.node import Node, Spec, leaf
from ..guards import Guard, Watch, guard
from ..ops.core import as_tensor
from ..random import generator
from ..scan.compiled import CompiledScan
from ..scan.loop import Loop
from ..scan.partition import partition_of
from ..scan.primitive import run
from ..scan.trace import Trace, draw_all, signature, trace
from ..scan.use import backend_name, backend_named
from ..tensor import Tensor
from ..tree import flatten, nesting
from .call import Call, Outcome, StepResult, tell_initial
from .cell import Cell, State

__all__ = ["TracedStep", "traced_step"]


@dataclass(frozen=True, eq=False)
class TracedStep:
    """A traced step of a cell, and the facts that tracing found.

    Attributes
    ----------
    trace : Trace
    guard : Guard
        A record of all values that the step could reach when it was traced.
    make_plan : callable
        ``make_plan() -> CompiledScan``, called when the plan is first needed.
    output : Any
        The structure of the output.
    names, recorded : list of str
        Names of the slots, and of the recorded values.
    state : State, optional
        Zeros, shared by all calls without an initial state; None if the calls of this kind have an initial state.
    slots : tuple of Spec
        Shapes and dtypes that initial states are cast to.
    unmasked_delays : tuple of int
        Slots that are not held past the end of a row, since they are delays: only padding steps would
        read the held value, and their results are masked.
    """

    trace: Trace
    guard: Guard
    make_plan: Callable[[], CompiledScan]
    output: Any
    names: list[str]
    recorded: list[str]
    state: State | None
    slots: tuple[Spec, ...]
    unmasked_delays: tuple[int, ...]

    @functools.cached_property
    def plan(self) -> CompiledScan:
        """The compiled plan of the step, made when it is first needed."""
        return self.make_plan()

    @property
    def lasting(self) -> bool:
        """Whether the trace may be used at a later call with an equal guard."""
        return self.trace.lasting and self.guard.valid

    @functools.cached_property
    def _size_of_state(self) -> int:
        return 0 if self.state is None else sum([slot.data.nbytes for slot in flatten(self.state)])

    @property
    def size(self) -> int:
        """Approximate bytes of the traced step and of its plan, which are freed together."""
        plan = self.plan.size if "plan" in self.__dict__ else 0
        return plan + self._size_of_state

    def _drawn(self, steps: int) -> tuple[list[Tensor], list[Tensor]]:
        """Random numbers of all steps, and numbers drawn once per run; while recording, leaves in their place."""
        state = current()
        if state.recorder is None or state.draws is None:
            at_each, once = draw_all(self.trace, steps)
            return [as_tensor(array) for array in at_each], [as_tensor(array) for array in once]
        at_each_step = [node for node in self.trace.draws if not node.attributes["once"]]
        specs = [Spec((steps, *node.shape), node.dtype) for node in at_each_step]
        specs += [node.spec for node in self.trace.draws if node.attributes["once"]]
        leaves = [leaf(spec) for spec in specs]
        if leaves:
            state.draws.append((leaves, functools.partial(draw_all, self.trace, steps)))
        found = [Tensor(node) for node in leaves]
        return found[: len(at_each_step)], found[len(at_each_step) :]

    def run(self, call: Call) -> Outcome:
        """Run a call of the traced kind."""
        state, sequences, consts = call.state, call.sequences, [*self.trace.consts]
        if state is None:
            state, slots = self.state, self._own_slots
        else:
            slots = flatten(state)
            tell_initial(slots, self.names)
            slots = self._cast(slots)
        if self.trace.draws:
            at_each, once = self._drawn(call.T)
            sequences, consts = [*sequences, *at_each], [*consts, *once]
        found = run(self.plan, sequences, slots, consts, call.T)
        end = len(found) - len(slots)
        start = end - len(self.unmasked_delays)
        outputs, of_delays, final = found[:start], found[start:end], found[end:]
        for x, name in zip(final, self._computed_names, strict=True):
            if name is not None and x.node.primitive is not None:
                x.node.name = name
        return call.outcome(
            state, self.output, outputs, final, self.recorded, dict(zip(self.unmasked_delays, of_delays, strict=True))
        )

    def _cast(self, slots: list[Tensor]) -> list[Tensor]:
        return [x if x.dtype == spec.dtype else x.astype(spec.dtype) for x, spec in zip(slots, self.slots, strict=True)]

    @functools.cached_property
    def _own_slots(self) -> list[Tensor]:
        return self._cast(flatten(self.state))

    @functools.cached_property
    def _computed_names(self) -> list[str | None]:
        """Names that the step gave to computed next values of slots."""
        return [None if node.primitive is None else node.name for node in self.trace.loop.next_carry]


_GENERATORS: dict[str, Any] = {
    "NumPy's random generator": cast(Any, np.random.get_state).__self__,
    "Python's random generator": cast(Any, random.getstate).__self__,
}


class _Traces:
    """The traces and plans of one layer, and a watch of everything that its cell can read."""

    def __init__(self) -> None:
        self.watch = Watch()
        self.steps: dict[Any, Kept[TracedStep]] = {}
        self._of_one_guard: tuple[Guard | None, dict[Any, Kept[TracedStep]]] = None, {}
        self.plans: dict[Any, Kept[CompiledScan]] = {}

    def found(self, kind: Any, reached: Guard) -> TracedStep | None:
        """The traced step for a kind of call and a guard, if it is still kept."""
        last, by_kind = self._of_one_guard
        if reached is not last:  # a watch without changes returns the same guard, whose key was compared before
            by_kind = {}
            self._of_one_guard = reached, by_kind
        entry = by_kind.get(kind) or self.steps.get((kind, reached.key))
        if entry is None:
            return None
        by_kind[kind] = entry
        return _touched(entry)

    def keep(self, kind: Any, made: TracedStep) -> None:
        """Keep a traced step for the calls of its kind while its guard has the same key."""
        _keep(self.steps, (kind, made.guard.key), made)
        self._of_one_guard = None, {}


_caches: WeakKeyDictionary[Any, _Traces] = WeakKeyDictionary()
ATTEMPTS = 3
"""How often a step is checked for side effects: a single change may have been made by another thread."""
_one_thread = threading.RLock()
KEPT = 32
"""Most traces, and most plans, that a module keeps; `cache_limit` bounds the bytes of all modules. The oldest goes first."""


def traced_step(recurrent: Any, call: Call) -> TracedStep:
    """The traced step for a kind of call: its shapes, dtypes and options, and a guard of all that the step reads.

    Calls without an initial state share the zeros of the first one.

    If a trace captures other tensors than the cell's own parameters, or its guard is not complete,
    the step is traced again at each call; its plan is kept.

    Raises
    ------
    SideEffectError
        If the step changes a value that it reads, or reads a value that changes by itself.
    """
    cache = _caches.get(recurrent) or _caches.setdefault(recurrent, _Traces())
    cell = call.cell
    kind = (
        nesting(call.xs),
        tuple([(x.shape[1:], x.dtype) for x in call.sequences]),
        tuple(call.element_names),
        tuple(call.force),
        call.mask is None,
        call.valid is None,
        call.batch_size if call.state is None else (nesting(call.state), *[x.node.spec for x in flatten(call.state)]),
        call.final_state_only,
        call.recording and (call.wanted is None or tuple(call.wanted)),
        recurrent.reverse,
        recurrent.checkpoint,
        backend_name(recurrent.backend),
        recurrent.threads,
    )
    reached = cache.watch.guard(cell)
    found = cache.found(kind, reached)
    if found is not None and found.lasting:
        return found
    shared = None if call.state is not None else call.initial_state() if found is None else found.state
    if shared is not None:
        call = call._replace(state=shared)
    make = functools.partial(_trace, cache, recurrent, call, shared)
    with _one_thread:
        made = make(reached)
        if found is None:
            made = replace(made, guard=_without_side_effects(cell, made, make))
    tell_initial(flatten(call.state), made.names)
    cache.keep(kind, made)
    return made


def _without_side_effects(cell: Cell, first: TracedStep, again: Callable[[Guard], TracedStep]) -> Guard:
    """A guard of the step, after a second trace that changed nothing and equals the first.

    The first trace may change something, since a step may cache values that it computes at its first call.
    """
    for _ in range(ATTEMPTS):
        before = _observed(cell)
        second = again(before)
        changed = before.change(_observed(cell)) or first.trace.difference(second.trace)
        if changed is None:
            return guard(cell)
    raise SideEffectError(
        f"{type(cell).__name__}.step must do the same at each call, because it is recorded once for all t, but {changed} "
        "changed during a call. Draw random numbers by tr.sample(lambda generator: …), count steps in a slot of the "
        "state, and read values "
        "by states()"
    )


def _observed(cell: Any) -> Guard:
    """A guard of a cell and of all random generators reachable by its code."""
    return guard(SimpleNamespace(**_GENERATORS, **{"the library's random generator": generator()}, step=cell))


def _trace(cache: _Traces, recurrent: Any, call: Call, shared: State | None, reached: Guard) -> TracedStep:
    """Trace the step of a call until dtypes of its state and its unmasked delays are settled."""
    results: list[StepResult] = []

    def step(elements: list[Tensor], slots: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        found = call.step(elements[: len(call.sequences)], slots, unmasked=unmasked)
        results.append(found)
        outputs = [] if call.final_state_only else flatten(found.output)
        return [*outputs, *[found.slots[k] for k in unmasked]], found.slots

    scope = current().location.scope
    element_names = call.element_names
    sequences = [(Spec(x.shape[1:], x.dtype), name) for x, name in zip(call.sequences, element_names, strict=True)]
    state = [slot.node.spec for slot in flatten(call.state)]
    # Holding a delay past the end of a row would make it a cycle. So in the first trace no slot is held, to find
    # the slots that are in a cycle.
    unmasked = () if call.valid is None or recurrent.reverse else tuple(range(len(state)))
    while True:
        names: Sequence[str | None] = results[-1].names if results else [None] * len(state)
        with at(Location(scope, Unrolling(scope), 1)):  # errors then name the first step
            traced = trace(step, sequences, list(zip(state, names, strict=True)), call.cell.parameters(), recurrent.reverse)
        carried = [Spec(was.shape, after.dtype) for was, after in zip(state, traced.loop.next_carry, strict=True)]
        if carried != state:
            promoted = [Spec(a.shape, np.result_type(a.dtype, b.dtype)) for a, b in zip(state, carried, strict=True)]
            state = carried if promoted == state else promoted
            continue
        partition = partition_of(traced.loop) if unmasked else None
        delays = tuple([k for k in unmasked if partition is not None and partition.kind(k) == "delay"])
        if delays == unmasked:
            break
        unmasked = delays
    found = results[-1]
    tell_names(traced.loop.carry, found.names)
    choices = recurrent.checkpoint, backend_name(recurrent.backend), recurrent.threads
    make_plan = functools.partial(_plan, cache, traced.loop, tuple(element_names), *choices)
    return TracedStep(traced, reached, make_plan, found.output, found.names, found.recorded, shared, tuple(state), unmasked)


def tell_names(slots: Sequence[Node], names: Sequence[str]) -> None:
    """Give slots without a name the names that the step has found, for plans and programs."""
    for node, name in zip(slots, names, strict=True):
        node.name = node.name or name


def _plan(
    cache: _Traces, loop: Loop, names: tuple[str | None, ...], checkpoint: int | None, backend: str, threads: int | None
) -> CompiledScan:
    key = signature(loop), names, checkpoint, backend, threads
    plan: CompiledScan | None = _touched(cache.plans.get(key))
    if plan is None:
        plan = CompiledScan(loop, checkpoint, backend=backend_named(backend, to_run=True, threads=threads))
        _keep(cache.plans, key, plan)
    return plan


def _keep(kept: dict[Any, Kept[Any]], key: Any, value: TracedStep | CompiledScan) -> None:
    kept[key] = keep(value, value.size)
    for old in [old for old, entry in list(kept.items()) if entry.value is None]:
        kept.pop(old, None)
    while len(kept) > KEPT:
        kept.pop(next(iter(kept)), None)


def _touched(entry: Kept[Any] | None) -> Any:
    """The value of a cache entry, if still cached; its size is updated, since programs are made when first needed."""
    value = None if entry is None else entry.value
    return None if entry is None or value is None else touch(entry, value.size)
