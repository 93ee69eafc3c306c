"""Calls of a cell over a sequence: checked arguments, and the operations of each step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from ..checks import is_int, no_such
from ..console import counted
from ..errors import DtypeError, ShapeError
from ..graph.context import change, current, mode
from ..graph.node import Node, Spec, leaf
from ..ops import TensorLike, detach, where
from ..ops.core import as_tensor
from ..ops.facts import facts_of
from ..ops.lengths import expand_mask, mask_padding, mask_values, sequence_mask
from ..tensor import Tensor
from ..tree import flatten, rebuild
from ..unrolling import as_input
from .cell import Cell, State

__all__ = [
    "Call",
    "Outcome",
    "StepResult",
    "as_state",
    "cast",
    "check_forced",
    "named_values",
    "outline",
    "slot_fields",
    "slot_names",
    "tell_initial",
]


class Outcome(NamedTuple):
    """The results of a run of a cell.

    Attributes
    ----------
    outputs : Tensor, nested tuples of Tensors, or None
        None if no outputs were wanted.
    state : State
        The state after the last step.
    recorded : dict of str to Tensor
        The recorded values of all steps, by name; empty unless the call records.
    """

    outputs: Any
    state: State
    recorded: dict[str, Tensor]


class StepResult(NamedTuple):
    """The results of one step of a cell.

    Attributes
    ----------
    output : Tensor or nested tuples of them
        With values to record, the pair of the cell's output and a tuple of these values.
    slots : list of Tensor
        The next state, flat.
    names, recorded : list of str
        Names of the slots, and of the recorded values.
    """

    output: Any
    slots: list[Tensor]
    names: list[str]
    recorded: list[str]


class Call(NamedTuple):
    """The checked arguments of a run of a cell over a sequence.

    Attributes
    ----------
    cell : Cell
    xs : Any
        The input's structure: nested tuples, or None.
    inputs : list of Tensor, shape (T, batch, …)
        The input sequences, flat.
    input_names : list of str
        Names for the elements of the input sequences.
    T, batch_size : int
    state : State or None
        The state before step 1; None for the cell's own.
    force : dict of str to Tensor
        Sequences that replace the carried values of slots, by the slots' names.
    mask : Tensor or None, shape (T,) or (T, batch)
        True where to force; None for everywhere.
    valid : Tensor or None, shape (T, batch)
        True where a row of a padded batch has not ended.
    final_state_only : bool
        Whether no outputs are wanted.
    recording : bool
        Whether each step also returns its named values.
    wanted : collection of str or None
        Names of the values to record; None for all values, except values that are only split
        into other values.
    """

    cell: Cell
    xs: Any
    inputs: list[Tensor]
    input_names: list[str]
    T: int
    batch_size: int
    state: State | None = None
    force: dict[str, Tensor] = {}
    mask: Tensor | None = None
    valid: Tensor | None = None
    final_state_only: bool = False
    recording: bool = False
    wanted: Collection[str] | None = None

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
        **options: Any,
    ) -> Call:
        """Check the arguments of a run, and put them together.

        Raises
        ------
        ShapeError, DtypeError
            If the arguments do not fit each other or the cell.
        """
        inputs, T, batch_size = _sequences(xs, steps)
        if batch_size is None:  # without an input, the batch size follows from the other arguments
            shapes = [] if state is None else [slot.shape for slot in flatten(as_state(state))]
            shapes += [] if lengths is None else [np.shape(lengths)]
            shapes += [as_tensor(data).shape[1:] for data in force.values()] if isinstance(force, Mapping) else []
            batch_size = next((n for shape in shapes for n in shape[:1]), 1)
        call = cls(cell, xs, inputs, [x.name or "x" for x in inputs], T, batch_size, state, **options)
        if lengths is not None:
            valid = sequence_mask(lengths, T, batch_size)
            valid.node.name, valid.node.role = "lengths", "mask"
            call = call._replace(valid=valid, inputs=[mask_padding(x, valid) for x in inputs])
        return call if force is None and mask is None else call._forcing(force, mask)

    def _forcing(self, force: Mapping[str, TensorLike] | None, mask: TensorLike | None) -> Call:
        """The call with data that replace the values of slots where the mask says so."""
        if force is not None and not isinstance(force, Mapping):
            raise ShapeError('force must be a dict from names of slots to data, such as force={"h": data}')
        if mask is not None and not force:
            raise ShapeError('force_mask needs force, the data to put into the state, such as force={"h": data}')
        dtype = self.dtype if force else None
        found = {name: cast(as_tensor(data), dtype) for name, data in (force or {}).items()}
        where_to = None if mask is None else as_tensor(mask)
        if where_to is not None and where_to.dtype.kind != "b":
            raise DtypeError(f"force_mask must have booleans, not {where_to.dtype}")
        for name, data in {**{f"force[{name!r}]": x for name, x in found.items()}, "force_mask": where_to}.items():
            if data is not None and (data.ndim == 0 or len(data) != self.T):
                raise ShapeError(f"{name} has shape {data.shape}, but must have an element for each of the {self.T} steps")
        if self.valid is not None:
            for name, data in found.items():
                if data.shape[1:2] == (self.batch_size,):
                    found[name] = mask_padding(data, self.valid)
        return self._replace(force=found, mask=where_to)

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The dtype to which inputs and parameters are promoted, so that every step has one dtype."""
        dtypes = [x.dtype for x in (*self.inputs, *self.cell.parameters()) if x.dtype.kind == "f"]
        return np.result_type(*dtypes) if dtypes else None

    @property
    def sequences(self) -> list[Tensor]:
        """All sequences with one element for each step: inputs, forcing data, forcing mask, mask of lengths."""
        found = [*self.inputs, *self.force.values()]
        if self.mask is not None:
            found.append(self.mask)
        if self.valid is not None:
            found.append(self.valid)
        return found

    @property
    def element_names(self) -> list[str | None]:
        """Names of the elements of each sequence, or None where the sequence is computed."""
        names = [*self.input_names, *self.force, "mask", "mask"]
        return [name if x.node.primitive is None else None for x, name in zip(self.sequences, names, strict=False)]

    def initial_state(self) -> State:
        """The state before step 1; a state that was given is checked against the cell's own, and cast."""
        state, make = self.state, self.cell.initial_state
        try:
            knows_dtype = _knows_dtype(type(self.cell).initial_state)
            own = make(self.batch_size, self.dtype) if knows_dtype else make(self.batch_size)
        except NotImplementedError:
            if state is None:
                raise
            return as_state(state)
        own = as_state(own)  # a cell may start from arrays
        if state is None:
            return own
        needed, given = flatten(own), flatten(as_state(state))
        if len(needed) != len(given):
            raise ShapeError(f"the initial state has shape {outline(state)}, but this cell and batch need {outline(own)}")
        for number, (slot, like) in enumerate(zip(given, needed, strict=True), 1):
            if slot.shape != like.shape:
                name = slot.name or ("h" if len(needed) == 1 else f"number {number}")
                raise ShapeError(f"initial state {name} has shape {slot.shape}, but this cell and batch need {like.shape}")
        return rebuild(own, iter([cast(slot, like.dtype, "fiub") for slot, like in zip(given, needed, strict=True)]))

    def step(
        self,
        elements: Sequence[Tensor],
        slots: list[Tensor],
        t: int = 1,
        names: list[str] | None = None,
        unmasked: Collection[int] = (),
    ) -> StepResult:
        """Make one step: call the cell, force slots, and hold the state of rows that have ended.

        Parameters
        ----------
        elements : sequence of Tensor
            The elements at this step, one of each of `sequences`.
        slots : list of Tensor
            The state, flat.
        t : int
            Number of the step, from 1, for errors.
        names : list of str, optional
            Names of the slots. If not given, as at step 1, they are inferred from the result.
        unmasked : collection of int
            Slots that are not held past the end of a row; see `unmasked_delays` of a `TracedStep`.
        """
        given = iter(elements)
        x = None if self.xs is None else rebuild(self.xs, given)
        with _given([*elements, *slots]):
            output, after = self._checked(self.cell(x, rebuild(self.state, iter(slots))), slots, t)
        new = flatten(after)
        if names is None:
            names = slot_names(after, slots)
            tell_initial(slots, names)
            check_forced(self.force, names)
        _tell_outputs(output, new, names, [*elements, *slots])
        recorded: dict[str, Tensor] = {}
        if self.recording:
            recorded = named_values([*flatten(output), *new], [*elements, *slots], self.wanted)
            output = output, tuple(recorded.values())
        data = {name: next(given) for name in self.force}
        mask = None if self.mask is None else next(given)
        new = [self._forced(slot, data[name], mask) if name in data else slot for slot, name in zip(new, names, strict=True)]
        if self.valid is not None:
            valid = next(given)
            for k, (slot, old) in enumerate(zip(new, slots, strict=True)):
                new[k] = slot if k in unmasked else where(expand_mask(valid, slot), slot, old)
            output = rebuild(output, iter([mask_padding(part, valid) for part in flatten(output)]))
        return StepResult(output, new, names, list(recorded))

    def outcome(
        self,
        state: State,
        output: Any,
        sequences: Sequence[Tensor],
        final: Sequence[Tensor],
        recorded: Sequence[str],
        delays: Mapping[int, Tensor] = {},
    ) -> Outcome:
        """Assemble outputs, final state and recorded values of a run.

        Parameters
        ----------
        state : State
            The state before step 1.
        output : Any
            The structure of a step's output.
        sequences : sequence of Tensor
            The outputs of all steps, flat; empty if only the final state is wanted.
        final : sequence of Tensor
            The state after the last step, flat.
        recorded : sequence of str
            Names of the recorded values, which are the last of the sequences.
        delays : mapping of int to Tensor
            The values of all steps of the slots that were not held past the end of a row.
        """
        slots = list(final)
        if delays:
            assert self.valid is not None
            lengths = mask_values(self.valid).sum(axis=0)
            for k, values in delays.items():  # the last value of each row
                last = values[np.maximum(lengths - 1, 0), np.arange(len(lengths))]
                slots[k] = where(expand_mask(as_tensor(lengths > 0), last), last, flatten(state)[k])
        state = rebuild(state, iter(slots))
        if self.final_state_only:
            return Outcome(None, state, {})
        outputs = rebuild(output, iter(sequences))
        if not self.recording:
            return Outcome(outputs, state, {})
        outputs, values = outputs
        return Outcome(outputs, state, dict(zip(recorded, values, strict=True)))

    def outcome_of_no_steps(self) -> Outcome:
        """The outcome of a run of zero steps; a traced step gives the shapes of its outputs."""
        if self.final_state_only:
            return Outcome(None, self.state, {})
        with mode(tracing=True, recording=True):
            step = self.step([Tensor(leaf(Spec(x.shape[1:], x.dtype))) for x in self.sequences], flatten(self.state))
        empty = [as_tensor(np.zeros((0, *part.shape), part.dtype)) for part in flatten(step.output)]
        return self.outcome(self.state, step.output, empty, flatten(self.state), step.recorded)

    def _checked(self, result: Any, slots: list[Tensor], t: int) -> tuple[Any, State]:
        """The output and the next state of a step as tensors; an error if the state has changed its shapes."""
        step = f"{type(self.cell).__name__}.step at t={t}"
        if not isinstance(result, tuple) or len(result) != 2:
            what = f"a tuple of {len(result)}" if isinstance(result, tuple) else f"a {type(result).__name__}"
            raise ShapeError(f"{step} must return a tuple of two, (output, next state), but returned {what}")
        output, after = (
            rebuild(part, iter([_tensor(leaf, f"the {what} of {step}") for leaf in flatten(part)]))
            for what, part in zip(("output", "next state"), result, strict=True)
        )
        new = flatten(after)
        if len(new) != len(slots):
            raise ShapeError(
                f"{step} got a state of {counted(len(slots), 'tensor')} and returned a state of {counted(len(new), 'tensor')}; "
                "return as many"
            )
        for number, (was, now) in enumerate(zip(slots, new, strict=True), 1):
            if was.shape != now.shape:
                raise ShapeError(
                    f"{step} got state {now.name or number} of shape {was.shape} and returned it with shape {now.shape}; a "
                    "state must keep its shape"
                )
        return output, after

    def _forced(self, slot: Tensor, data: Tensor, mask: Tensor | None) -> Tensor:
        """The value that a slot carries on: forcing data where the mask says so."""
        data = cast(data, slot.dtype)
        if data.shape != slot.shape:
            raise ShapeError(
                f"force[{slot.name!r}] has shape {(self.T, *data.shape)}, but this cell and batch need {(self.T, *slot.shape)}"
            )
        if mask is None:
            return data
        if mask.ndim > 1 or mask.shape != slot.shape[: mask.ndim]:
            given = (self.T, *mask.shape)
            raise ShapeError(
                f"force_mask has shape {given}, but must have shape (T,) or (T, batch): {given[:1]} or "
                f"{(*given[:1], *slot.shape[:1])}"
            )
        return where(expand_mask(mask, slot), data, slot)


def _sequences(xs: Any, steps: int | None) -> tuple[list[Tensor], int, int | None]:
    """The input sequences, their length T, and the batch size, or None without an input."""
    if xs is None:
        if not is_int(steps, least=0):
            raise ShapeError(
                f"without an input sequence, steps must be the number of steps, as in (None, steps=10), not {steps!r}"
            )
        return [], steps, None
    inputs = [as_input(x) for x in flatten(xs)]
    for x in inputs:
        if x.ndim < 2 or (x.ndim == 2 and x.dtype.kind == "f"):
            raise ShapeError(f"an input sequence must have shape {_expected(x)}")
    if len(inputs) > 1 and len({x.shape[:2] for x in inputs}) > 1:
        raise ShapeError(
            "input sequences must have the same lengths of time and batch, but have shapes "
            f"{', '.join(str(x.shape) for x in inputs)}"
        )
    T, batch_size = inputs[0].shape[:2]
    if steps not in (None, T):
        raise ShapeError(f"steps={steps}, but the input sequence has {counted(T, 'step')}; leave steps out")
    return inputs, T, batch_size


def _expected(x: Tensor) -> str:
    """Words for the shape that an input sequence needs, and for a way to get it from this one."""
    kind, axes = ("(time, batch) of codes", 2) if x.dtype.kind in "iu" else ("(time, batch, features)", 3)
    if x.ndim == 0:
        return f"{kind}, and here is a single number"
    missing = {1: "a batch axis", 2: "axes of batch and features"}[axes - x.ndim]
    return f"{kind}, not {x.shape}; to run a single sequence, add {missing}: xs[:{', None' * (axes - x.ndim)}]"


_knows: WeakKeyDictionary[Callable[..., Any], bool] = WeakKeyDictionary()


def _knows_dtype(initial_state: Callable[..., Any]) -> bool:
    """Whether a cell's `initial_state` takes a dtype."""
    if initial_state not in _knows:
        _knows[initial_state] = "dtype" in inspect.signature(initial_state).parameters
    return _knows[initial_state]


def _tensor(part: Any, what: str) -> Tensor:
    """One leaf of a state or an output as a tensor, or an error if the leaf is a list, a dict or None."""
    if isinstance(part, (list, dict)) or part is None:
        raise ShapeError(f"{what} must consist of tensors and tuples of tensors, but has a {type(part).__name__}")
    return as_tensor(part)


def as_state(state: State) -> State:
    """A given state, converted to tensors."""
    return rebuild(state, iter([_tensor(slot, "the initial state") for slot in flatten(state)]))


def cast(x: Tensor, dtype: np.dtype[Any] | None, from_kinds: str = "f") -> Tensor:
    """A tensor in the network's dtype, if both dtypes are floats or the tensor's kind is listed; a leaf stays a leaf."""
    if dtype is None or x.dtype == dtype or x.dtype.kind not in from_kinds or dtype.kind != "f":
        return x
    if x.node.primitive is None and x.node.leaf is None and isinstance(x.node.value, np.ndarray):
        return Tensor(leaf(x.node.value.astype(dtype), x.name, x.node.role))
    return x.astype(dtype)


def outline(nested: Any) -> str:
    """The shapes of nested tensors as text, for errors."""
    if not isinstance(nested, tuple):
        return str(as_tensor(nested).shape)
    return "(" + ", ".join(outline(part) for part in nested) + ")"


@contextmanager
def _given(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Treat the step's arguments as given, inside the block: naming one makes a new value.

    So the names that a step gives do not depend on names that its arguments already have, from the caller
    or from the step before.
    """
    before = current().given
    change(given=before.union([x.node for x in tensors]))
    try:
        yield
    finally:
        change(given=before)


def check_forced(forced: Iterable[str], names: Collection[str]) -> None:
    """Raise if a slot to force is not in the state."""
    for name in forced:
        if name not in names:
            raise ShapeError(no_such("slot", name, names))


def slot_fields(state: State) -> list[tuple[str | None, Tensor]]:
    """Each slot of a state, with its field in a named tuple, or None.

    Examples
    --------
    >>> [field for field, _ in slot_fields((as_tensor(1.0), as_tensor(2.0)))]
    [None, None]
    """
    found: list[tuple[str | None, Tensor]] = []

    def walk(part: Any, field: str | None) -> None:
        if isinstance(part, tuple):
            for name, inner in zip(getattr(part, "_fields", [None] * len(part)), part, strict=True):
                walk(inner, name)
        else:
            found.append((field, part))

    walk(state, None)
    return found


def slot_names(after: State, before: Sequence[Tensor] = ()) -> list[str]:
    """Names of the slots: fields of a named tuple, or names that the step gave to the values.

    A tensor that is only passed on from `before` gives no name, since a run may start from a tensor of any name.
    """
    held = {slot.node for slot in before}
    names: list[str] = []
    for field, slot in slot_fields(after):
        found = field or (None if slot.node in held else slot.name) or "state"
        names.append(found if found not in names else f"{found}_{len(names) + 1}")
    return names


def named_values(
    results: Sequence[Tensor], given: Sequence[Tensor], wanted: Collection[str] | None = None
) -> dict[str, Tensor]:
    """The values that a step has named, on the way from its arguments to its results.

    If no names are wanted in particular, values with a hidden name are left out, and values that are
    only split into parts, since the parts have their own names.
    """
    here = current().location
    seen = {x.node for x in given}
    found: list[Node] = []
    whole = {result.node for result in results}  # results, or values that are read as a whole
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
            if node.name is not None or (wanted is not None and node.hidden is not None):
                found.append(node)
    named: dict[str, Tensor] = {}
    for node in sorted(found, key=lambda node: node.serial):
        own = str(node.name or node.hidden)
        again = sum(name == own or name.startswith(f"{own}_") for name in named)
        name = f"{own}_{again + 1}" if again and own in named else own
        if wanted is not None or node in whole:
            named[name] = Tensor(node)
    if unknown := [name for name in wanted or () if name not in named]:
        raise ShapeError(no_such("named value", unknown[0], named))
    return named if wanted is None else {name: value for name, value in named.items() if name in wanted}


def tell_initial(slots: list[Tensor], names: list[str]) -> None:
    """Give the leaves of an initial state their role and names."""
    for slot, name in zip(slots, names, strict=True):
        node = slot.node
        if node.primitive is None and node.role in (None, "input"):
            node.role = "initial"
            node.name = node.name or name


def _tell_outputs(output: Any, new: list[Tensor], names: list[str], given: Sequence[Tensor]) -> None:
    """Name the values that a step has made, and mark its outputs; the step's arguments keep their names."""
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
