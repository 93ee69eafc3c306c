"""Recurrent: a cell applied to a sequence."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Literal

import numpy as np

from ..errors import DtypeError, ShapeError, TinygradError
from ..graph.node import Node, Spec, leaf
from ..graph.place import mode
from ..ops import TensorLike, stack, where
from ..ops.core import as_tensor
from ..tensor import Tensor
from ..unrolling import element, over
from .cell import Cell, State, flatten, rebuild
from .module import Module

__all__ = ["Recurrent"]


class Recurrent(Module):
    """Apply a cell to a sequence, step by step.

    Parameters
    ----------
    cell : Cell
    mode : {"unroll"}
        ``"unroll"`` makes an explicit graph, with a node for each operation of each step.
    reverse : bool
        Run from the last element of the sequence to the first; outputs keep their places.

    Raises
    ------
    TinygradError
        If `cell` is not a Cell.
    ValueError
        If the mode is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import nn
    >>> rnn = nn.Recurrent(nn.RNNCell(3, 5))
    >>> outputs, h = rnn(np.zeros((7, 2, 3), "float32"))
    >>> outputs.shape, h.shape
    ((7, 2, 5), (2, 5))
    """

    def __init__(self, cell: Cell, mode: Literal["unroll"] = "unroll", reverse: bool = False) -> None:
        super().__init__()
        if not isinstance(cell, Cell):
            raise TinygradError(f"Recurrent needs a Cell, an object with step(x, state); got {type(cell).__name__}")
        if mode != "unroll":
            raise ValueError(f"mode is 'unroll', not {mode!r}")
        self.cell = cell
        self.mode = mode
        self.reverse = reverse

    def forward(
        self,
        xs: Any,
        state: State | None = None,
        *,
        steps: int | None = None,
        force: Mapping[str, TensorLike] | None = None,
        force_mask: TensorLike | None = None,
    ) -> tuple[Any, State]:
        """Run the cell over the sequence.

        Parameters
        ----------
        xs : array_like, shape (T, batch, features), nested tuples of them, or None
            Without an input, give `steps`.
        state : Tensor or nested tuples of them, optional
            What step 1 starts from; the cell's `initial_state` if not given.
        steps : int, optional
            T, for a cell without an input.
        force : mapping of str to array_like, shape (T, batch, …), optional
            Data that replaces what a named slot of the state carries from step t into the
            next step (teacher forcing).
        force_mask : array_like of bool, shape (T,) or (T, batch), optional
            Where to force; everywhere if not given.

        Returns
        -------
        outputs : Tensor, shape (T, batch, features), or nested tuples of them
        state : Tensor or nested tuples of them
            What the last step carries on.

        Raises
        ------
        ShapeError
            If lengths or batch sizes differ, if the state has another structure than the
            cell's, or if a forced slot does not exist.
        """
        inputs, T, batch_size = _sequences(xs, steps)
        if xs is None and state is not None:
            batch_size = next((n for slot in flatten(state) for n in _tensor(slot, "the initial state").shape[:1]), 1)
        dtype = self._dtype(inputs)
        state = self._start(state, batch_size, dtype)
        slots = flatten(state)
        if T == 0:
            return self._of_no_steps(xs, inputs, state), state
        forcing: _Forcing | None = None
        outputs: list[Any] = []
        with closing(over(inputs, [x.name or "x" for x in inputs], T, self.reverse)) as moments:
            for t, position, elements in moments:
                x = None if xs is None else rebuild(xs, iter(elements))
                output, after = self._checked(self.cell(x, rebuild(state, iter(slots))), slots, t)
                if t == 1:
                    names = slot_names(after)
                    _tell_initial(slots, names)
                    forcing = _Forcing(force, force_mask, names, T)
                elif outline(output) != outline(outputs[-1]):
                    raise ShapeError(f"step t={t} put out {outline(output)}, and the steps before {outline(outputs[-1])}")
                slots = flatten(after)
                _tell_outputs(output, slots, names)
                if forcing is not None:
                    slots = forcing.apply(slots, position)
                outputs.append(output)
        if self.reverse:
            outputs.reverse()
        columns = zip(*[flatten(output) for output in outputs], strict=True)
        return rebuild(outputs[0], iter([stack(column) for column in columns])), rebuild(state, iter(slots))

    def _start(self, state: State | None, batch_size: int, dtype: np.dtype[Any] | None) -> State:
        """The initial state; one that was given is held against the cell's own, and takes its dtype."""
        knows_dtype = "dtype" in inspect.signature(self.cell.initial_state).parameters
        try:
            own = self.cell.initial_state(batch_size, dtype) if knows_dtype else self.cell.initial_state(batch_size)
        except NotImplementedError:
            if state is None:
                raise
            return rebuild(state, iter([_tensor(slot, "the initial state") for slot in flatten(state)]))
        if state is None:
            return own
        needed, given = flatten(own), [_tensor(slot, "the initial state") for slot in flatten(state)]
        if len(needed) != len(given):
            raise ShapeError(f"the initial state has {len(given)} tensors, {outline(state)}, and the cell's has {outline(own)}")
        for number, (slot, like) in enumerate(zip(given, needed, strict=True), 1):
            if slot.shape != like.shape:
                name = slot.name or ("h" if len(needed) == 1 else f"number {number}")
                raise ShapeError(f"initial state {name} has shape {slot.shape}, and this cell and batch need {like.shape}")
        return rebuild(own, iter([_cast(slot, like.dtype) for slot, like in zip(given, needed, strict=True)]))

    def _checked(self, result: Any, slots: list[Tensor], t: int) -> tuple[Any, State]:
        """Output and next state, as tensors, if a step returned both and the state is as it was."""
        step = f"{type(self.cell).__name__}.step at t={t}"
        if not isinstance(result, tuple) or len(result) != 2:
            raise ShapeError(f"{step} returned a {type(result).__name__}; return two things, (output, next state)")
        output, after = (
            rebuild(part, iter([_tensor(leaf, f"the {what} of {step}") for leaf in flatten(part)]))
            for what, part in zip(("output", "next state"), result, strict=True)
        )
        new = flatten(after)
        if len(new) != len(slots):
            raise ShapeError(f"{step} returned a state of {len(new)} tensors, and it was given {len(slots)}")
        for number, (was, now) in enumerate(zip(slots, new, strict=True), 1):
            if was.shape != now.shape:
                raise ShapeError(f"{step} made state {now.name or number} of shape {now.shape} out of one of {was.shape}")
        return output, after

    def _dtype(self, inputs: list[Tensor]) -> np.dtype[Any] | None:
        """What inputs and parameters are promoted to, so that every step has one dtype."""
        dtypes = [x.dtype for x in (*inputs, *self.parameters()) if x.dtype.kind == "f"]
        return np.result_type(*dtypes) if dtypes else None

    def _of_no_steps(self, xs: Any, inputs: list[Tensor], state: State) -> Any:
        """Outputs of length 0; a trace tells their shape."""
        with mode(tracing=True):
            x = None if xs is None else rebuild(xs, iter([Tensor(leaf(Spec(s.shape[1:], s.dtype))) for s in inputs]))
            output, _ = self.cell(x, state)
        empty = [as_tensor(np.zeros((0, *part.shape), part.dtype)) for part in flatten(output)]
        return rebuild(output, iter(empty))


def _sequences(xs: Any, steps: int | None) -> tuple[list[Tensor], int, int]:
    """The input sequences, their length T and the batch size."""
    if xs is None:
        if steps is None or steps < 0:
            raise ShapeError(f"without an input sequence, say how many steps to make: (None, steps=T), not {steps}")
        return [], steps, 1
    inputs = [as_tensor(x) for x in flatten(xs)]
    for x in inputs:
        if x.ndim < 2 or (x.ndim == 2 and x.dtype.kind == "f"):
            raise ShapeError(
                f"an input sequence is (time, batch, features), and this one is {x.shape}; "
                "give a single sequence a batch axis: xs[:, None]"
            )
    if len({x.shape[:2] for x in inputs}) > 1:
        raise ShapeError(f"input sequences differ in (time, batch): {', '.join(str(x.shape) for x in inputs)}")
    T, batch_size = inputs[0].shape[:2]
    if steps not in (None, T):
        raise ShapeError(f"steps={steps} for an input sequence of length {T}; leave steps out")
    return inputs, T, batch_size


def _tensor(part: Any, what: str) -> Tensor:
    """A part of a state or an output as a tensor."""
    if isinstance(part, (list, dict)) or part is None:
        raise ShapeError(f"{what} holds a {type(part).__name__}; use tensors, or tuples of them")
    return as_tensor(part)


def _cast(x: Tensor, dtype: np.dtype[Any]) -> Tensor:
    """The same values in the network's dtype: a leaf stays a leaf."""
    if x.dtype == dtype:
        return x
    if x.node.primitive is None and x.node.leaf is None and isinstance(x.node.value, np.ndarray):
        return Tensor(leaf(x.node.value.astype(dtype), x.name, x.node.role))
    return x.astype(dtype)


def outline(nested: Any) -> str:
    """The shapes of nested tensors, as errors show them."""
    if not isinstance(nested, tuple):
        return str(as_tensor(nested).shape)
    return "(" + ", ".join(outline(part) for part in nested) + ")"


def slot_names(after: State) -> list[str]:
    """Names of the slots: fields of a named tuple, or the names given to the values."""
    names: list[str] = []

    def walk(part: Any, name: str | None) -> None:
        if isinstance(part, tuple):
            for field, inner in zip(getattr(part, "_fields", [None] * len(part)), part, strict=True):
                walk(inner, field)
            return
        found = name or part.name or "state"
        names.append(found if found not in names else f"{found}_{len(names) + 1}")

    walk(after, None)
    return names


def _tell_initial(slots: list[Tensor], names: list[str]) -> None:
    for slot, name in zip(slots, names, strict=True):
        node = slot.node
        if node.primitive is None and node.role in (None, "input"):
            node.role = "initial"
            node.name = node.name or name


def _tell_outputs(output: Any, new: list[Tensor], names: list[str]) -> None:
    for slot, name in zip(new, names, strict=True):
        if slot.node.name is None and slot.node.primitive is not None:
            slot.node.name = name
    for part in flatten(output):
        node: Node = part.node
        if node.role is None and node.primitive is not None:
            node.role = "output"


class _Forcing:
    """Replaces what slots carry on by data, where a mask says so."""

    def __init__(self, force: Mapping[str, TensorLike] | None, mask: TensorLike | None, names: list[str], T: int) -> None:
        self.data: dict[int, Tensor] = {}
        for name, data in (force or {}).items():
            if name not in names:
                raise ShapeError(f"force: there is no slot {name!r}; the state has {', '.join(names)}")
            self.data[names.index(name)] = as_tensor(data)
        if mask is not None and not force:
            raise ShapeError("force_mask says where to force, and force, which says what, is missing")
        self.mask = None if mask is None else as_tensor(mask)
        if self.mask is not None and self.mask.dtype.kind != "b":
            raise DtypeError(f"force_mask is of booleans, not of {self.mask.dtype}")
        for given in [*self.data.values(), *([] if self.mask is None else [self.mask])]:
            if given.ndim == 0 or len(given) != T:
                raise ShapeError(f"force: {given.shape} does not have one element for each of the {T} steps")

    def apply(self, slots: list[Tensor], position: int) -> list[Tensor]:
        return [self._forced(slot, self.data[i], position) if i in self.data else slot for i, slot in enumerate(slots)]

    def _forced(self, slot: Tensor, data: Tensor, position: int) -> Tensor:
        given = element(_cast(data, slot.dtype), slot.name or "x", position)
        if given.shape != slot.shape:
            raise ShapeError(f"force: data of shape {given.shape} for slot {slot.name} of shape {slot.shape}")
        if self.mask is None:
            return given
        mask = self.mask[position]
        if mask.shape != slot.shape[: mask.ndim]:
            raise ShapeError(f"force_mask has shape {self.mask.shape}; it is (T,) or (T, batch), batch {slot.shape[:1]}")
        return where(mask.reshape(mask.shape + (1,) * (slot.ndim - mask.ndim)), given, slot)
