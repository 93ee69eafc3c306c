"""Recurrent: a cell applied to a sequence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from ..errors import ShapeError, TinygradError
from ..graph.node import Node, Spec, leaf
from ..graph.place import Place, Unrolling, at, context, mode
from ..ops import TensorLike, stack, where
from ..ops.core import as_tensor
from ..tensor import Tensor
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
        if state is None:
            state = self.cell.initial_state(batch_size, self._dtype(inputs))
        slots = [as_tensor(slot) for slot in flatten(state)]
        if T == 0:
            return self._of_no_steps(xs, inputs, state), state
        forcing = None
        start = context.state.place
        unrolling = Unrolling(start.scope, start if start.unrolling else None, self.reverse)
        outputs: list[Any] = []
        for t in range(1, T + 1):
            position = T - t if self.reverse else t - 1
            with at(Place(start.scope, unrolling, t)):
                x = None if xs is None else rebuild(xs, iter([_element(s, position) for s in inputs]))
                output, after = self.cell(x, rebuild(state, iter(slots)))
                new = _checked(after, state, slots, t)
                if t == 1:
                    names = slot_names(after)
                    _tell_initial(slots, names)
                    forcing = _Forcing(force, force_mask, names, T)
                _tell_outputs(output, new, names)
                slots = forcing.apply(new, position) if forcing else new
            outputs.append(output)
        if self.reverse:
            outputs.reverse()
        columns = zip(*[flatten(output) for output in outputs], strict=True)
        return rebuild(outputs[0], iter([stack(column) for column in columns])), rebuild(state, iter(slots))

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
        if steps is None:
            raise ShapeError("without an input sequence, say how many steps to make: (None, steps=T)")
        return [], steps, 1
    inputs = [as_tensor(x) for x in flatten(xs)]
    for x in inputs:
        if x.ndim < 2:
            raise ShapeError(f"an input sequence is (time, batch, features), and this one is {x.shape}")
    if len({x.shape[:2] for x in inputs}) > 1:
        raise ShapeError(f"input sequences differ in (time, batch): {', '.join(str(x.shape) for x in inputs)}")
    T, batch_size = inputs[0].shape[:2]
    if steps not in (None, T):
        raise ShapeError(f"steps={steps} for an input sequence of length {T}; leave steps out")
    return inputs, T, batch_size


def _element(sequence: Tensor, position: int, name: str = "x") -> Tensor:
    """Element x_t of a sequence, called as the sequence is."""
    x = sequence[position]
    if sequence.node.primitive is None and x.node.primitive is not None:
        x.node.name = sequence.name or name
        x.node.role = "input"
    return x


def _checked(after: State, before: State, slots: list[Tensor], t: int) -> list[Tensor]:
    """The next state, flat, if it has the structure and the shapes of the one before."""
    new = [as_tensor(slot) for slot in flatten(after)]
    if len(new) != len(slots):
        raise ShapeError(
            f"step t={t} returned a state of {len(new)} tensors, and it was given {len(slots)}: {_outline(before)}"
        )
    for i, (was, now) in enumerate(zip(slots, new, strict=True)):
        if was.shape != now.shape:
            name = now.name or f"number {i + 1}"
            raise ShapeError(f"step t={t} made state {name} of shape {now.shape} out of one of shape {was.shape}")
    return new


def _outline(nested: Any) -> str:
    """The shapes of a nested state, as errors show them."""
    if not isinstance(nested, tuple):
        return str(as_tensor(nested).shape)
    return "(" + ", ".join(_outline(part) for part in nested) + ")"


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
        for tensor in [*self.data.values(), *([] if self.mask is None else [self.mask])]:
            if tensor.ndim == 0 or len(tensor) != T:
                raise ShapeError(
                    f"force: data and mask need one element for each of the {T} steps, and have shape {tensor.shape}"
                )

    def apply(self, slots: list[Tensor], position: int) -> list[Tensor]:
        return [self._forced(slot, self.data[i], position) if i in self.data else slot for i, slot in enumerate(slots)]

    def _forced(self, slot: Tensor, data: Tensor, position: int) -> Tensor:
        given = _element(data, position, slot.name or "x")
        if given.shape != slot.shape:
            raise ShapeError(f"force: data of shape {given.shape} for slot {slot.name} of shape {slot.shape}")
        if self.mask is None:
            return given
        mask = self.mask[position]
        return where(mask.reshape(mask.shape + (1,) * (slot.ndim - mask.ndim)), given, slot)
