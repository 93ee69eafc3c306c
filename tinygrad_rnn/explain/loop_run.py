"""One run of a loop, and its reverse for many cotangents at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from ..graph.context import mode
from ..ops import broadcast_to
from ..ops.core import constant
from ..scan.compiled import CompiledScan
from ..scan.differentiate import Reverse
from ..scan.lift import NotLiftableError, lifted_loop
from ..scan.loop import Loop, Output
from ..scan.primitive import RunResults, run
from ..tensor import Tensor

__all__ = ["Array", "Ask", "LoopRun", "derived"]

Array = npt.NDArray[Any]

Ask = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""A function from the symbolic cotangents of sequences at one step to the values wanted instead of them."""


class _ReverseLoop(NamedTuple):
    """The reverse of a loop: derived, compiled, and in some cases able to take all cotangents at once."""

    reverse: Reverse
    plan: CompiledScan
    lifted: bool


_derived: WeakKeyDictionary[CompiledScan, dict[Any, CompiledScan]] = WeakKeyDictionary()
_backwards: WeakKeyDictionary[CompiledScan, dict[Any, _ReverseLoop]] = WeakKeyDictionary()


def derived(plan: CompiledScan, key: Any, make: Callable[[Loop], Loop]) -> CompiledScan:
    """A compiled loop derived from a plan's loop, cached with the plan.

    Parameters
    ----------
    plan : CompiledScan
    key : hashable
        The key of the compiled loop in the cache.
    make : callable
    """
    made = _derived.setdefault(plan, {})
    if key not in made:
        made[key] = CompiledScan(make(plan.traced))
    return made[key]


class LoopRun:
    """One run of a loop, through which many cotangents can be pulled at once.

    Parameters
    ----------
    plan : CompiledScan
        The compiled plan of the loop.
    inputs : sequence of ndarray
        The inputs, in the order of the loop's inputs.
    steps : int
        The number of steps T.
    """

    def __init__(self, plan: CompiledScan, inputs: Sequence[Array], steps: int) -> None:
        self.plan, self.loop, self.inputs, self.steps = plan, plan.traced, inputs, steps
        executable = self.plan.executable(True)
        with np.errstate(all="ignore"):  # the results are checked for NaN and inf later
            self.outputs = RunResults(*executable(inputs, steps), executable)

    def pull(
        self,
        cotangents: Mapping[int, Array],
        wanted: Sequence[int],
        ask: Ask | None = None,
        window: tuple[int, int] | None = None,
    ) -> list[Array | None]:
        """Cotangents of inputs from cotangents of outputs.

        Parameters
        ----------
        cotangents : mapping of int to ndarray, shape (n, T, …), or (n, …) of a final value
            At least one cotangent, by the number of the output.
        wanted : sequence of int
            Numbers of the inputs whose cotangents are computed.
        ask : callable, optional
            A function that computes the wanted values of each step from the cotangents of the sequences.
        window : (int, int), optional
            The positions of the sequences over which the reverse loop runs. The gradient is cut at both ends. Slots
            before the first step get no gradient unless the window begins at the first step. If not given, the loop only
            leaves out the steps after the last step with a cotangent other than zero.

        Returns
        -------
        list of (ndarray or None)
            The cotangent of each wanted input, or each value computed by `ask`. The shape is (n, T, …) for a sequence,
            with zeros outside the window, and (n, …) for other inputs. None for an input if no output with a cotangent
            depends on the input.
        """
        final = {i: self.loop.slot[node] for node, i in self.loop.finals.items()}
        ends = {final[i]: g for i, g in cotangents.items() if i in final}
        stacks = {i: g for i, g in sorted(cotangents.items()) if i not in final}
        start, stop = window or self._span(stacks.values(), bool(ends))
        ends = ends if (start == 0 if self.loop.reverse else stop == self.steps) else {}
        n = len(next(iter(cotangents.values())))
        backward = self._backward(tuple(stacks), tuple(sorted(ends)), tuple(wanted), ask, n)
        reverse = backward.reverse
        given = [np.moveaxis(g, 1, 0)[start:stop] for g in stacks.values()]
        slots = [self.loop.carry[i] for i in reverse.slots]
        carry = [
            ends[i] if i in ends else np.zeros((n, *slot.shape), slot.dtype)
            for i, slot in zip(reverse.slots, slots, strict=True)
        ]
        if backward.lifted:
            found = self._run(backward, given, carry, start, stop)
        else:
            each = [self._run(backward, [g[:, j] for g in given], [g[j] for g in carry], start, stop) for j in range(n)]
            over_time = [output.kind == "stack" for output in backward.plan.loop.outputs]
            found = [np.stack(parts, axis=int(axis)) for parts, axis in zip(zip(*each, strict=True), over_time, strict=True)]
        for k, output in enumerate(backward.plan.loop.outputs):
            if output.kind == "stack":
                found[k] = self._whole(np.moveaxis(found[k], 0, 1), start, stop)
        if ask is not None:
            return list(found)
        by_input = dict(zip(reverse.results, found, strict=True))
        from_the_start = stop == self.steps if self.loop.reverse else start == 0
        return [by_input.get(k) if from_the_start or self.loop.inputs[k] not in self.loop.slot else None for k in wanted]

    def _span(self, stacks: Collection[Array], to_the_end: bool) -> tuple[int, int]:
        """Positions of the steps that some cotangent reaches."""
        T = self.steps
        if to_the_end:
            return 0, T
        there = range(T) if self.loop.reverse else range(T - 1, -1, -1)
        last = next((p for p in there if any(g[:, p].any() for g in stacks)), there[-1])
        return (last, T) if self.loop.reverse else (0, last + 1)

    def _whole(self, part: Array, start: int, stop: int) -> Array:
        if (start, stop) == (0, self.steps):
            return part
        whole = np.zeros((len(part), self.steps, *part.shape[2:]), part.dtype)
        whole[:, start:stop] = part
        return whole

    def _run(
        self, backward: _ReverseLoop, given: Sequence[Array], carry: Sequence[Array], start: int, stop: int
    ) -> list[Array]:
        sequences, _, consts = self.loop.parts(self.inputs)
        kept = [self.outputs[i] for i in backward.reverse.read]
        inputs = [*given, *[x[start:stop] for x in (*sequences, *kept)]]
        captured = [*consts, *[node.value for node in backward.reverse.arrays]]
        with mode(recording=False), np.errstate(all="ignore"):
            found = run(backward.plan, _tensors(inputs), _tensors(carry), _tensors(captured), stop - start)
        return [x.node.value for x in found]

    def _backward(self, *key: Any) -> _ReverseLoop:
        made = _backwards.setdefault(self.plan, {})
        if key not in made:
            made[key] = self._made(*key)
        return made[key]

    def _made(
        self, given: tuple[int, ...], ends: tuple[int, ...], wanted: tuple[int, ...], ask: Ask | None, n: int
    ) -> _ReverseLoop:
        reverse, _ = self.plan.reverse(given, wanted, ends)
        loop = reverse.loop
        if ask is not None:
            of_input = {k: output.node for k, output in zip(reverse.results, loop.outputs, strict=True)}
            with mode(tracing=True, recording=True):
                asked = ask([Tensor(of_input[k]) if k in of_input else _zeros(self.loop, k) for k in wanted])
            loop = replace(loop, outputs=tuple([Output("stack", x.node) for x in asked]))
        try:
            return _ReverseLoop(reverse, CompiledScan(lifted_loop(loop, [*loop.sequences[: len(given)], *loop.carry], n)), True)
        except NotLiftableError:
            return _ReverseLoop(reverse, CompiledScan(loop), False)


def _tensors(arrays: Sequence[Array]) -> list[Tensor]:
    return [Tensor(constant(x)) for x in arrays]


def _zeros(loop: Loop, k: int) -> Tensor:
    node = loop.inputs[k]
    return broadcast_to(Tensor(constant(np.zeros((), node.dtype))), node.shape)
