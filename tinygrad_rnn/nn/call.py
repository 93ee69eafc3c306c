"""What one step of a run does: the cell, then forcing, then lengths; and the checks on what is given and returned."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from ..console import counted
from ..errors import DtypeError, ShapeError
from ..graph.context import change, current, mode
from ..graph.node import Node, Spec, leaf
from ..ops import TensorLike, detach, where
from ..ops.core import as_tensor
from ..ops.facts import facts_of
from ..ops.lengths import expand_mask, sequence_mask
from ..tensor import Tensor
from ..tree import flatten, rebuild
from ..unrolling import as_input
from .cell import Cell, State

__all__ = ["Call", "UnnamedSlot", "as_state", "cast", "named_values", "outline", "slot_names", "tell_initial"]


class Call:
    """One run of a cell over a sequence: what it was given, checked, and what happens at a step.

    Attributes
    ----------
    cell : Cell
    xs : Any
        The input's structure: nested tuples, or None.
    inputs : list of Tensor, shape (T, batch, …)
        The input sequences, flat.
    T, batch_size : int
    force : dict of str to Tensor
    mask, valid : Tensor or None, shape (T,) or (T, batch)
        Where to force, and where the rows have not ended.
    state : State
        What step 1 starts from; `slots` is the same, flat.
    names : list of str
        Of the slots, known after the first step.
    loose : tuple of int
        Slots that are not held past the end of a row, since they are delays: only later steps
        read them, and there none counts. Empty until a trace has told.
    recording : bool
        Whether each step puts out, beside the output, values that it names: those of `wanted`,
        or all but those that are only taken apart. `recorded` has the names.
    """

    def __init__(self, cell: Cell, xs: Any, inputs: list[Tensor], T: int, batch_size: int) -> None:
        self.cell = cell
        self.xs = xs
        self.inputs = inputs
        self.input_names = [x.name or "x" for x in inputs]
        self.T = T
        self.batch_size = batch_size
        self.force: dict[str, Tensor] = {}
        self.mask: Tensor | None = None
        self.valid: Tensor | None = None
        self.state: State = ()
        self.slots: list[Tensor] = []
        self.started = False
        self.names: list[str] = []
        self.loose: tuple[int, ...] = ()
        self.recording = False
        self.wanted: Collection[str] | None = None
        self.recorded: list[str] = []

    @classmethod
    def of(
        cls,
        cell: Cell,
        xs: Any,
        state: State | None = None,
        steps: int | None = None,
        lengths: npt.ArrayLike | None = None,
        force: Mapping[str, TensorLike] | None = None,
        mask: TensorLike | None = None,
    ) -> Call:
        """Check what a run is given.

        Raises
        ------
        ShapeError, DtypeError
            What does not fit.
        """
        inputs, T, batch_size = _sequences(xs, steps)
        if batch_size is None:  # without an input, what else there is tells
            shapes = [] if state is None else [slot.shape for slot in flatten(as_state(state))]
            shapes += [] if lengths is None else [np.shape(lengths)]
            shapes += [as_tensor(data).shape[1:] for data in force.values()] if isinstance(force, Mapping) else []
            batch_size = next((n for shape in shapes for n in shape[:1]), 1)
        call = cls(cell, xs, inputs, T, batch_size)
        if lengths is not None:
            call.valid = sequence_mask(lengths, call.T, call.batch_size)
            call.valid.node.name, call.valid.node.role = "lengths", "mask"
            call.inputs = [where(expand_mask(call.valid, x), x, 0) for x in call.inputs]
        if force is not None and not isinstance(force, Mapping):
            raise ShapeError('force says what to force by the names of slots: force={"h": data}')
        if force:
            call.force = {name: cast(as_tensor(data), call.dtype) for name, data in force.items()}
        if mask is not None:
            if not force:
                raise ShapeError("force_mask says where to force, and force, which says what, is missing")
            call.mask = as_tensor(mask)
            if call.mask.dtype.kind != "b":
                raise DtypeError(f"force_mask is of booleans, not of {call.mask.dtype}")
        for data in [*call.force.values(), *([] if call.mask is None else [call.mask])]:
            if data.ndim == 0 or len(data) != call.T:
                raise ShapeError(f"force: {data.shape} does not have one element for each of the {call.T} steps")
        if call.valid is not None:
            call.force = {
                name: where(expand_mask(call.valid, data), data, 0) if data.shape[1:2] == (batch_size,) else data
                for name, data in call.force.items()
            }
        return call

    @functools.cached_property
    def dtype(self) -> np.dtype[Any] | None:
        """What inputs and parameters are promoted to, so that every step has one dtype."""
        dtypes = [x.dtype for x in (*self.inputs, *self.cell.parameters()) if x.dtype.kind == "f"]
        return np.result_type(*dtypes) if dtypes else None

    def start(self, state: State) -> None:
        """Take this initial state."""
        self.state, self.slots, self.started = state, flatten(state), True

    @functools.cached_property
    def sequences(self) -> list[tuple[Tensor, str]]:
        """All that has an element for each step, and what the elements are called."""
        found = list(zip(self.inputs, self.input_names, strict=True))
        found += [(data, name) for name, data in self.force.items()]
        found += [(given, "mask") for given in (self.mask, self.valid) if given is not None]
        return found

    def step(self, elements: Sequence[Tensor], slots: list[Tensor], t: int = 1) -> tuple[Any, list[Tensor]]:
        """Make one step.

        Parameters
        ----------
        elements : sequence of Tensor
            Of each of `sequences`: first x_t, flat.
        slots : list of Tensor
        t : int
            From 1, for errors.

        Returns
        -------
        output : Tensor or nested tuples of them
        slots : list of Tensor
        """
        x = None if self.xs is None else rebuild(self.xs, iter(elements))
        with _given([*elements, *slots]):
            output, after = self._checked(self.cell(x, rebuild(self.state, iter(slots))), slots, t)
        new = flatten(after)
        if t == 1:
            self.names = slot_names(after, slots)
            tell_initial(slots, self.names)
            for name in self.force:
                if name not in self.names:
                    raise ShapeError(f"force: there is no slot {name!r}; the state has {', '.join(self.names)}")
        _tell_outputs(output, new, self.names, [*elements, *slots])
        if self.recording:
            output = self._recorded(output, new, [*elements, *slots])
        given = {id(sequence): element for (sequence, _), element in zip(self.sequences, elements, strict=True)}
        new = [self._forced(slot, name, given) for slot, name in zip(new, self.names, strict=True)]
        if self.valid is not None:
            valid = given[id(self.valid)]
            for k, (slot, old) in enumerate(zip(new, slots, strict=True)):
                new[k] = slot if k in self.loose else where(expand_mask(valid, slot), slot, old)
            output = rebuild(output, iter([where(expand_mask(valid, part), part, 0) for part in flatten(output)]))
        return output, new

    def ended(self, sequences: Sequence[Tensor], initial: Sequence[Tensor], final: Sequence[Tensor]) -> list[Tensor]:
        """The final slots; of loose ones, the last value of each row is looked up in the sequence of all."""
        if self.valid is None:
            return list(final)
        lengths = self.valid.data.sum(axis=0)
        found = list(final)
        for k, sequence in zip(self.loose, sequences, strict=True):
            last = sequence[np.maximum(lengths - 1, 0), np.arange(len(lengths))]
            found[k] = where(expand_mask(as_tensor(lengths > 0), last), last, initial[k])
        return found

    def of_no_steps(self) -> Any:
        """Outputs of length 0; a trace tells their shape."""
        with mode(tracing=True, recording=True):
            elements = [Tensor(leaf(Spec(x.shape[1:], x.dtype))) for x in self.inputs]
            output, after = self.cell(None if self.xs is None else rebuild(self.xs, iter(elements)), self.state)
        if self.recording:
            output = self._recorded(output, flatten(after), [*elements, *self.slots])
        empty = [as_tensor(np.zeros((0, *part.shape), part.dtype)) for part in flatten(output)]
        return rebuild(output, iter(empty))

    def _recorded(self, output: Any, new: list[Tensor], given: Sequence[Tensor]) -> tuple[Any, tuple[Tensor, ...]]:
        found = named_values([*flatten(output), *new], given, self.wanted)
        self.recorded = list(found)
        return output, tuple(found.values())

    def _checked(self, result: Any, slots: list[Tensor], t: int) -> tuple[Any, State]:
        """Output and next state, as tensors, if a step returned both and the state is as it was."""
        step = f"{type(self.cell).__name__}.step at t={t}"
        if not isinstance(result, tuple) or len(result) != 2:
            what = f"{len(result)} things" if isinstance(result, tuple) else f"a {type(result).__name__}"
            raise ShapeError(f"{step} returned {what}; return two things, (output, next state)")
        output, after = (
            rebuild(part, iter([_tensor(leaf, f"the {what} of {step}") for leaf in flatten(part)]))
            for what, part in zip(("output", "next state"), result, strict=True)
        )
        new = flatten(after)
        if len(new) != len(slots):
            raise ShapeError(f"{step} returned a state of {counted(len(new), 'tensor')}, and it was given {len(slots)}")
        for number, (was, now) in enumerate(zip(slots, new, strict=True), 1):
            if was.shape != now.shape:
                raise ShapeError(f"{step} made state {now.name or number} of shape {now.shape} out of one of {was.shape}")
        return output, after

    def _forced(self, slot: Tensor, name: str, given: Mapping[int, Tensor]) -> Tensor:
        """What the slot carries on: data, where the mask says so."""
        if name not in self.force:
            return slot
        data = cast(given[id(self.force[name])], slot.dtype)
        if data.shape != slot.shape:
            raise ShapeError(f"force: data of shape {data.shape} for slot {slot.name} of shape {slot.shape}")
        if self.mask is None:
            return data
        mask = given[id(self.mask)]
        if mask.ndim > 1 or mask.shape != slot.shape[: mask.ndim]:
            raise ShapeError(f"force_mask has shape {self.mask.shape}; it is (T,) or (T, batch), batch {slot.shape[:1]}")
        return where(expand_mask(mask, slot), data, slot)


def _sequences(xs: Any, steps: int | None) -> tuple[list[Tensor], int, int | None]:
    """The input sequences, their length T and the batch size, if they tell."""
    if xs is None:
        if not isinstance(steps, (int, np.integer)) or steps < 0:
            raise ShapeError(f"without an input sequence, say how many steps to make: (None, steps=T), not {steps!r}")
        return [], steps, None
    inputs = [as_input(x) for x in flatten(xs)]
    for x in inputs:
        if x.ndim < 2 or (x.ndim == 2 and x.dtype.kind == "f"):
            raise ShapeError(f"an input sequence is {_expected(x)}")
    if len({x.shape[:2] for x in inputs}) > 1:
        raise ShapeError(f"input sequences differ in (time, batch): {', '.join(str(x.shape) for x in inputs)}")
    T, batch_size = inputs[0].shape[:2]
    if steps not in (None, T):
        raise ShapeError(f"steps={steps} for an input sequence of length {T}; leave steps out")
    return inputs, T, batch_size


def _expected(x: Tensor) -> str:
    """What an input sequence has to be, and how to make one of this."""
    kind, axes = ("(time, batch) of codes", 2) if x.dtype.kind in "iu" else ("(time, batch, features)", 3)
    if x.ndim == 0:
        return f"{kind}, and this is a single number"
    missing = {1: "a batch axis", 2: "axes of batch and features"}[axes - x.ndim]
    return f"{kind}, and this one is {x.shape}; give a single sequence {missing}: xs[:{', None' * (axes - x.ndim)}]"


def _tensor(part: Any, what: str) -> Tensor:
    """A part of a state or an output as a tensor."""
    if isinstance(part, (list, dict)) or part is None:
        raise ShapeError(f"{what} holds a {type(part).__name__}; use tensors, or tuples of them")
    return as_tensor(part)


def as_state(state: State) -> State:
    """A state that was given, as tensors."""
    return rebuild(state, iter([_tensor(slot, "the initial state") for slot in flatten(state)]))


def cast(x: Tensor, dtype: np.dtype[Any] | None, from_kinds: str = "f") -> Tensor:
    """The same values in the network's dtype, if that and theirs are floats, or of these kinds: a leaf stays a leaf."""
    if dtype is None or x.dtype == dtype or x.dtype.kind not in from_kinds or dtype.kind != "f":
        return x
    if x.node.primitive is None and x.node.leaf is None and isinstance(x.node.value, np.ndarray):
        return Tensor(leaf(x.node.value.astype(dtype), x.name, x.node.role))
    return x.astype(dtype)


def outline(nested: Any) -> str:
    """The shapes of nested tensors, as errors show them."""
    if not isinstance(nested, tuple):
        return str(as_tensor(nested).shape)
    return "(" + ", ".join(outline(part) for part in nested) + ")"


@contextmanager
def _given(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Make a step of these: a name that it gives to one of them is that of a value of its own.

    So the names that a step gives do not depend on what its arguments are called already, as an initial
    state may be, and what the step before has made.
    """
    before = current().given
    change(given=before.union([x.node for x in tensors]))
    try:
        yield
    finally:
        change(given=before)


class UnnamedSlot(str):
    """What a slot is called that its author gave no name."""


def slot_names(after: State, before: Sequence[Tensor] = ()) -> list[str]:
    """Names of the slots: fields of a named tuple, or the names given to the values.

    What is only passed on from `before` tells none: a run may start from a tensor of any name.
    """
    held = {slot.node for slot in before}
    names: list[str] = []

    def walk(part: Any, name: str | None) -> None:
        if isinstance(part, tuple):
            for field, inner in zip(getattr(part, "_fields", [None] * len(part)), part, strict=True):
                walk(inner, field)
            return
        found = name or (None if part.node in held else part.name) or UnnamedSlot("state")
        names.append(found if found not in names else type(found)(f"{found}_{len(names) + 1}"))

    walk(after, None)
    return names


def named_values(
    results: Sequence[Tensor], given: Sequence[Tensor], wanted: Collection[str] | None = None
) -> dict[str, Tensor]:
    """What a step has given names to, on the way from what it was given to its results.

    If nothing is said of what is wanted, values that are only taken apart are left out:
    their parts have names of their own.
    """
    here = current().location
    seen = {x.node for x in given}
    found: list[Node] = []
    whole = {result.node for result in results}  # read otherwise than by parts
    stack = list(whole)
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        cut = node.cut
        made = node.primitive is not None or cut is not None
        if made and node.location.unrolling is here.unrolling and node.location.t == here.t:
            inputs = node.inputs if cut is None else (cut,)
            stack.extend(inputs)
            if not facts_of(node).reads:
                whole.update(inputs)
            if node.name is not None:
                found.append(node)
    named: dict[str, Tensor] = {}
    for node in sorted(found, key=lambda node: node.serial):
        again = sum(name == node.name or name.startswith(f"{node.name}_") for name in named)
        name = f"{node.name}_{again + 1}" if again and node.name in named else str(node.name)
        if wanted is not None or node in whole:
            named[name] = Tensor(node)
    if unknown := [name for name in wanted or () if name not in named]:
        raise ShapeError(f"the step names no value {', '.join(unknown)}; it names {', '.join(named)}")
    return named if wanted is None else {name: value for name, value in named.items() if name in wanted}


def tell_initial(slots: list[Tensor], names: list[str]) -> None:
    """Give the leaves that a run starts from their role and names."""
    for slot, name in zip(slots, names, strict=True):
        node = slot.node
        if node.primitive is None and node.role in (None, "input"):
            node.role = "initial"
            node.name = node.name or name


def _tell_outputs(output: Any, new: list[Tensor], names: list[str], given: Sequence[Tensor]) -> None:
    """Name what the step has made, and not what it was given."""
    untold = {None, detach}
    before = {x.node for x in given}
    for slot, name in zip(new, names, strict=True):
        node = slot.node
        if node.name is None and node.primitive not in untold and node not in before:
            node.name = name
    for part in flatten(output):
        node = part.node
        if node.role is None and node.primitive not in untold and node not in before:
            node.role = "output"
