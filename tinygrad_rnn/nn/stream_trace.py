"""The trace of a module's step for a stream, from runs over a sequence of one step and of several steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import random
from ..autodiff import no_grad
from ..checks import no_such
from ..console import counted
from ..errors import ShapeError, TinygradError
from ..graph.context import mode
from ..graph.node import Spec, ancestors, leaf
from ..ops import swapaxes
from ..scan.trace import Trace, trace
from ..tensor import Tensor, tensor
from ..tree import flatten, rebuild
from .call import Call, Outcome, cast, outline
from .cell import Cell, State
from .module import Module
from .recurrent import Recurrent, carrier, standalone

__all__ = ["TRIED", "StreamTrace"]

Array = npt.NDArray[Any]
Steps = Callable[[Recurrent, Call], Outcome]
TRIED = 3
"""Steps on which a stream is compared with a run over the whole sequence."""


class StreamTrace:
    """A trace of one step of a module whose recurrent parts start from a given state.

    Parameters
    ----------
    module : Module
    batch : int
    options : mapping
        Arguments of the module that are the same at all steps.
    x : nested tuples of array_like, or None
        An element of the input.
    given : sequence of numpy.ndarray
        The arrays of `x`, flat, and then the forced data.
    forced : sequence of str
        Names of forced slots.

    Attributes
    ----------
    trace : Trace
    start : tuple of State
        The initial state of each recurrent part.
    output : Tensor or nested tuples of them
        The structure of the module's output.
    data : list of numpy.ndarray
        Random sequences of several steps, with the shapes and dtypes of `given`.

    Raises
    ------
    ShapeError
        If an argument has another shape than the module takes, or a slot does not exist.
    TinygradError
        If a part of the module cannot be run step by step.
    """

    def __init__(
        self,
        module: Module,
        batch: int,
        options: Mapping[str, Any],
        x: Any,
        given: Sequence[Array],
        forced: Sequence[str],
    ) -> None:
        self._module = standalone(module) if isinstance(module, Cell) else module
        self._batch, self._options, self._x, self._forced = batch, options, x, forced
        self._inputs = len(given) - len(forced)
        self._batch_first = any(getattr(part, "batch_first", False) for _, part in module.modules())
        for array in given:
            if array.shape[:1] != (batch,):
                kinds = "(batch, features), or (batch,) of codes"
                raise ShapeError(f"x_t has shape {array.shape}, but this stream has a batch of {batch}; give {kinds}")
        generator = np.random.default_rng(0)
        codes = min([part.codes for _, part in module.modules() if part.codes is not None], default=2)
        self.data = [_alike(array, codes, generator) for array in given]
        self._names: list[list[str]] = []
        self.start, self._whole = self._run_whole()
        self.trace, self.output = self._trace_step()

    def _called(self, sequences: Sequence[Tensor], T: int, steps: Steps) -> Any:
        """The module's output for sequences of T steps, time first, whose recurrent parts are run by `steps`."""

        def carry(part: Recurrent, call: Call) -> Outcome:
            if call.T != T:
                raise TinygradError(
                    f"{_name(part)} runs over {counted(call.T, 'step')} when the input has {T}, so it cannot be run step "
                    "by step"
                )
            return steps(part, call if call.xs is not None else call._replace(batch_size=self._batch))

        inputs = [swapaxes(s, 0, 1) if self._batch_first else s for s in sequences[: self._inputs]]
        options = {**self._options, **({"steps": T} if self._x is None else {})}
        before = carrier.set(carry)
        try:
            found = self._module(None if self._x is None else rebuild(self._x, iter(inputs)), **options)
        finally:
            carrier.reset(before)
        return found[0] if isinstance(found, tuple) else found

    def _forcing(self, call: Call, names: Sequence[str], data: Sequence[Tensor]) -> Call:
        """A call with forced data for its forced slots."""
        found = dict(call.force)
        for name, sequence in zip(self._forced, data, strict=True):
            slot = name if name in names else f"{name}_1"
            if slot in names:
                found[slot] = cast(sequence, call.dtype)
        return call._replace(force=found)

    def _run_whole(self) -> tuple[tuple[State, ...], Any]:
        """Initial states of the recurrent parts, and the output for the random sequences."""
        starts: list[State] = []
        sequences = [tensor(array) for array in self.data]

        def steps(part: Recurrent, call: Call) -> Outcome:
            call = call._replace(state=call.initial_state())
            with mode(tracing=True, recording=True):
                names = call.step([Tensor(leaf(Spec(s.shape[1:], s.dtype))) for s in call.sequences], flatten(call.state)).names
            starts.append(call.state)
            self._names.append(names)
            return part.steps_of(self._forcing(call, names, sequences[self._inputs :]))

        with no_grad(), _no_draws_used():
            output = self._called(sequences, TRIED, steps)
        known = {name for names in self._names for name in names}
        if unknown := [name for name in self._forced if known.isdisjoint({name, f"{name}_1"})]:
            raise ShapeError(no_such("slot", unknown[0], sorted(known)))
        return tuple(starts), output

    def _trace_step(self) -> tuple[Trace, Any]:
        """The trace of one step, and the structure of its output."""
        state = [slot.node.spec for slot in flatten(self.start)]
        output: Any = None

        def step(elements: list[Tensor], slots: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
            nonlocal output
            waiting, parts, after = iter(slots), iter(zip(self.start, self._names, strict=True)), list[Tensor]()
            read = {element.node for element in elements}

            def steps(part: Recurrent, call: Call) -> Outcome:
                start, names = next(parts)
                if call.state is not None and not read.isdisjoint(ancestors([slot.node for slot in flatten(call.state)])):
                    raise TinygradError(
                        f"{_name(part)} cannot be run step by step: its initial state is computed from the whole "
                        "sequence, which "
                        "a stream does not have yet"
                    )
                call = call._replace(state=rebuild(start, waiting))
                made = part.steps_of(self._forcing(call, names, sequences[self._inputs :]))
                after.extend(flatten(made.state))
                return made

            sequences = [element[None] for element in elements]
            output = self._called(sequences, 1, steps)
            outputs = zip(flatten(output), flatten(self._whole), strict=True)
            return [_element(y, _time_axis(y, whole)) for y, whole in outputs], after

        while True:
            elements = [(Spec(array.shape[1:], array.dtype), None) for array in self.data]
            found = trace(step, elements, [(spec, None) for spec in state], self._module.parameters())
            carried = [Spec(was.shape, after.dtype) for was, after in zip(state, found.loop.next_carry, strict=True)]
            if carried == state:
                return found, output
            state = [Spec(a.shape, np.result_type(a.dtype, b.dtype)) for a, b in zip(state, carried, strict=True)]

    def compare(self, steps: Sequence[Sequence[Array]]) -> None:
        """Compare the outputs of single steps with those of the whole run.

        Raises
        ------
        TinygradError
            If the outputs differ.
        """
        for parts, one, whole in zip(zip(*steps, strict=True), flatten(self.output), flatten(self._whole), strict=True):
            axis = _time_axis(one, whole)
            found = parts[-1] if axis is None else np.stack(parts, axis)
            expected = whole.data
            tolerance = np.sqrt(np.finfo(expected.dtype).eps) if expected.dtype.kind == "f" else 0
            if found.shape != expected.shape or not np.allclose(found, expected, tolerance, tolerance, equal_nan=True):
                raise TinygradError(
                    f"{type(self._module).__name__} cannot be run step by step: outside of its recurrent parts, it combines "
                    "several steps, such as by a mean over time"
                )


def _name(part: Recurrent) -> str:
    return f"{type(part).__name__} of {type(part.cell).__name__}"


def _time_axis(one: Tensor, several: Tensor) -> int | None:
    """The axis of an output whose length depends on the number of steps; None if there is none."""
    if one.shape == several.shape:
        return None
    axes = [k for k, (a, b) in enumerate(zip(one.shape, several.shape, strict=False)) if (a, b) == (1, TRIED)]
    if one.ndim != several.ndim or len(axes) != 1:
        raise TinygradError(
            f"the model cannot be run step by step: its output has shape {outline(one)} for one step and "
            f"{outline(several)} for "
            f"{TRIED} steps, so no axis of the output is time"
        )
    return axes[0]


def _element(y: Tensor, axis: int | None) -> Tensor:
    """The single element along an axis, if there is an axis."""
    return y if axis is None else y[(slice(None),) * axis + (0,)]


def _alike(array: Array, codes: int, generator: np.random.Generator) -> Array:
    """A random sequence of several steps with the form of a given element."""
    shape = (TRIED, *array.shape)
    if array.dtype.kind == "f":
        return generator.normal(size=shape).astype(array.dtype)
    return generator.integers(0, max(1, codes), shape).astype(array.dtype)


@contextmanager
def _no_draws_used() -> Iterator[None]:
    """Draw random numbers, inside the block, from a separate generator."""
    before = random.generator()
    random.use(np.random.default_rng(0))
    try:
        yield
    finally:
        random.use(before)
