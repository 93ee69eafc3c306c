"""A compiled scan: a loop, its gradients, and the programs that run them."""

from __future__ import annotations

import functools
import threading
from collections.abc import Collection, Sequence
from typing import Any

from ..console import counted
from ..graph.node import Node
from .backend import NODE_BYTES, Backend, Executable
from .canonical import canonical
from .differentiate import Reverse, differentiate, step_alone
from .loop import Loop, Output, detaches, is_leaf
from .numpy import NUMPY
from .rewrites import AFTER, BEFORE, rewrite, switched_off
from .schedule import Schedule

__all__ = ["CompiledScan"]


class CompiledScan:
    """A loop with its programs and gradients, each made when first needed.

    Attributes
    ----------
    traced : Loop
        The loop as it was given. `loop` is the result of the rewrites before differentiation.
    fired : dict of str to int
        Number of values that each rewrite replaced.

    Parameters
    ----------
    loop : Loop
    checkpoint : int, optional
        1: keep only the carry of each step, and compute all other values that the gradient reads a second time.
        n: keep only the carry of every n-th step, and run n steps at a time again.
    forward : CompiledScan, optional
        The compiled scan whose gradient this scan is. The gradient reads the memory of `forward`, so both have the same
        layout.
    backend : Backend
        The backend that runs the loop, if it can.
    """

    def __init__(
        self,
        loop: Loop,
        checkpoint: int | None = None,
        forward: CompiledScan | None = None,
        backend: Backend = NUMPY,
    ) -> None:
        self.traced = loop
        self.forward = forward
        self.fired: dict[str, int] = {}
        first = canonical(loop)
        self.backend = backend if backend.accepts(first) else NUMPY
        self._chosen_off: frozenset[str] = switched_off() if forward is None else forward._chosen_off
        self.off = self._chosen_off | self.backend.left_out
        self.loop = rewrite(first, BEFORE, self.off, self.fired)
        self.checkpoint = checkpoint
        self._expected = 3 * NODE_BYTES * len(self.loop.body)  # forward and reverse, estimated from the built-in cells
        self._made = 0
        self._executables: dict[bool, Executable] = {}
        self._reverses: dict[tuple[tuple[int, ...], ...], tuple[Reverse, CompiledScan]] = {}
        self._steps: dict[tuple[tuple[int, ...], ...], tuple[Reverse, CompiledScan]] = {}
        self._saving: Loop | None = None
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        count = sum(not is_leaf(node) for node in self.traced.body)
        return f"<CompiledScan of {counted(count, 'operation')} a step{', in reverse' if self.traced.reverse else ''}>"

    @property
    def size(self) -> int:
        """Approximate bytes of the programs, including those of gradients."""
        others = [self.__dict__[name] for name in ("whole", "of_states") if name in self.__dict__]
        made = self._made + sum(other.size for other in others)
        return made if self.forward else max(made, self._expected)

    def _grow(self, size: int) -> None:
        """Count the bytes of a new program, also in the forward scan if this is a gradient."""
        plan: CompiledScan | None = self
        while plan is not None:
            with plan._lock:
                plan._made += size
            plan = plan.forward

    @functools.cached_property
    def layout(self) -> Any:
        """The memory layout of arrays."""
        alike = self.forward is not None and self.forward.backend is self.backend
        return self.forward.layout if self.forward is not None and alike else self.backend.layout(self.loop)

    @property
    def saving(self) -> Loop:
        """The loop with the residuals of its gradient as additional outputs."""
        if self._saving is not None:
            return self._saving
        with self._lock:
            if self._saving is None:
                saved: Collection[Node] | None = () if self.checkpoint == 1 else None
                found = differentiate(self.loop, self.loop.float_outputs, self.loop.float_inputs, saved).residuals
                # all other values that a gradient reads can be computed from the carry of each step
                reached = set(self.loop.body)
                kept = dict.fromkeys([*found, *[leaf for leaf in self.loop.carry if leaf in reached]])
                self._saving = self.loop.asking(Output("stack", node, residual=True) for node in kept)
            return self._saving

    @functools.cached_property
    def whole(self) -> CompiledScan:
        """The same scan without checkpoints."""
        return CompiledScan(self.traced, backend=self.backend)

    @functools.cached_property
    def of_states(self) -> CompiledScan:
        """The same scan with the carry of each step as the only checkpoint."""
        return CompiledScan(self.traced, 1, backend=self.backend)

    def executable(self, save: bool) -> Executable:
        """The program; with `save`, it also keeps residuals."""
        if (made := self._executables.get(save)) is not None:
            return made
        with self._lock:
            if save not in self._executables:
                self._executables[save] = self.backend.build(Schedule(self.rewritten(save)), self.layout)
                self._grow(self._executables[save].size)
            return self._executables[save]

    def rewritten(self, save: bool) -> Loop:
        """The loop after all rewrites, as it is run."""
        return rewrite(self.saving if save else self.loop, AFTER, self.off, self.fired)

    def reverse(self, given: Sequence[int], wanted: Sequence[int], ends: Collection[int] = ()) -> tuple[Reverse, CompiledScan]:
        """The gradient, and its compiled scan.

        Parameters
        ----------
        given : sequence of int
            Outputs that have a cotangent.
        wanted : sequence of int
            Inputs whose cotangents are wanted.
        ends : collection of int
            Slots whose value after the last step has a cotangent.
        """
        key = tuple(given), tuple(wanted), tuple(sorted(ends))
        if (made := self._reverses.get(key)) is not None:
            return made
        with self._lock:
            if key not in self._reverses:
                saved = [output.node for output in self.saving.outputs if output.residual]
                found = differentiate(self.saving, given, wanted, saved, ends)
                self._reverses[key] = found, CompiledScan(found.loop, forward=self, backend=self.backend)
            return self._reverses[key]

    @functools.cached_property
    def detaches(self) -> bool:
        """Whether the step contains a ``.detach()``."""
        return any(map(detaches, self.traced.body))

    def cut_off(self, outputs: Collection[int]) -> dict[int, Node]:
        """Inputs on which some outputs depend only through a ``.detach()``, with the detached value."""
        loop = self.traced
        roots = [loop.value_of(output) for i, output in enumerate(loop.outputs) if i in outputs]
        detached = [node.inputs[0] for node in loop.needed_for(roots) if detaches(node)]
        if not detached:
            return {}
        reached: set[Node] = set()
        while roots:
            node = roots.pop()
            if node not in reached:
                reached.add(node)
                roots += () if detaches(node) else node.inputs
                roots += [loop.next_carry[loop.slot[node]]] if node in loop.slot else []
        behind = {node: source for source in detached for node in loop.needed_for([source]) if node not in reached}
        return {k: behind[node] for k, node in enumerate(loop.inputs) if node in behind}

    def slots_before(self, given: Sequence[int], ends: Collection[int], steps: int) -> set[int]:
        """Slots whose initial value has a cotangent, if outputs `given` and final slots `ends` have one."""
        first, found, before = len(self.loop.sequences), set(ends), None
        wanted = self.loop.float_slots
        for _ in range(steps):
            if found == before:
                break
            before, found = found, {k - first for k in self.reverse_of_a_step(given, wanted, found)[0].results}
        return found

    def reverse_of_a_step(
        self, given: Sequence[int], wanted: Sequence[int], ends: Collection[int]
    ) -> tuple[Reverse, CompiledScan]:
        """The gradient of a single step, see :func:`step_alone`; the parameters are those of :meth:`reverse`."""
        key = tuple(given), tuple(wanted), tuple(sorted(ends))
        with self._lock:
            if key not in self._steps:
                alone = step_alone(self.saving)
                seeds = [*given, *[len(self.saving.outputs) + slot for slot in sorted(ends)]]
                found = differentiate(alone, seeds, wanted, ())
                self._steps[key] = found, CompiledScan(found.loop, backend=self.backend)
            return self._steps[key]
