"""Recurrent: a cell applied to a sequence."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from ..autodiff import runs_of_their_own
from ..errors import ShapeError, SideEffectError, TinygradError, TraceError
from ..graph.context import current, mode, outside_left_loops
from ..ops import TensorLike, stack
from ..tensor import Tensor
from ..tree import flatten, rebuild
from ..unrolling import Steps
from .call import Call, as_state, cast, outline
from .cell import Cell, State
from .module import Module
from .trace_cache import compiled

if TYPE_CHECKING:
    from ..scan.plan import Plan

__all__ = ["Mode", "Recurrent"]

Mode = Literal["scan", "unroll"]
"""How a cell is applied; see :class:`Recurrent`."""


class Recurrent(Module):
    """Apply a cell to a sequence.

    Parameters
    ----------
    cell : Cell
    mode : {"scan", "unroll"}
        ``"scan"`` traces the cell's step once, finds out what is truly recurrent, and runs it
        as one compiled node of the graph. ``"unroll"`` makes an explicit graph, with a node
        for each operation of each step, to look into.
    reverse : bool
        Run from the last element of the sequence to the first; outputs keep their places.
    checkpoint : int, optional
        With ``"scan"``, what the gradient needs is saved for all steps if not given. 1 saves
        what the state carries only, and computes gates again; n saves it at every n-th
        step, and runs n steps again at a time, so that memory grows like T/n + n.

    Raises
    ------
    TinygradError
        If `cell` is not a Cell.
    ValueError
        If the mode is not known, or the checkpoint is not a number of steps.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import nn
    >>> rnn = nn.Recurrent(nn.RNNCell(3, 5))
    >>> outputs, h = rnn(np.zeros((7, 2, 3), "float32"))
    >>> outputs.shape, h.shape
    ((7, 2, 5), (2, 5))
    """

    def __init__(
        self,
        cell: Cell,
        mode: Mode = "scan",
        reverse: bool = False,
        checkpoint: int | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(cell, Cell):
            got = type(cell).__name__
            if isinstance(cell, type):
                got = f"the class {cell.__name__}: call it, {cell.__name__}(…)"
            elif isinstance(cell, Module):
                got += ", which takes whole sequences: put it into nn.Sequential"
            raise TinygradError(f"Recurrent needs a Cell, an object with step(x, state); got {got}")
        if mode not in ("scan", "unroll"):
            raise ValueError(f"mode is 'scan' or 'unroll', not {mode!r}")
        if checkpoint is not None and not (isinstance(checkpoint, (int, np.integer)) and checkpoint >= 1):
            raise ValueError(f"checkpoint is a number of steps, 1 at least, not {checkpoint!r}")
        self.cell = cell
        self.mode = mode
        self.reverse = reverse
        self.checkpoint = checkpoint

    def forward(
        self,
        xs: Any,
        state: State | None = None,
        *,
        steps: int | None = None,
        lengths: npt.ArrayLike | None = None,
        force: Mapping[str, TensorLike] | None = None,
        force_mask: TensorLike | None = None,
        final_state_only: bool = False,
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
        lengths : array_like of int, shape (batch,), optional
            How long each row is. Past its end its state is held and its outputs are zero;
            in reverse it starts at its own end. What stands in the padding changes nothing.
        force : mapping of str to array_like, shape (T, batch, …), optional
            Data that replaces what a named slot of the state carries from step t into the
            next step (teacher forcing).
        force_mask : array_like of bool, shape (T,) or (T, batch), optional
            Where to force; everywhere if not given.
        final_state_only : bool
            Make no outputs: None stands for them, and no history is kept unless a gradient
            may need it.

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
        TraceError
            With ``mode="scan"``, if the step looks at the values of its tensors.
        """
        call = Call.of(self.cell, xs, state, steps, lengths, force, force_mask)
        return self._run(call, state, final_state_only)

    def states(
        self, xs: Any, state: State | None = None, names: Collection[str] | None = None, **options: Any
    ) -> dict[str, Tensor]:
        """Values that the step gives a name to, at all steps: states, gates, what there is.

        Parameters
        ----------
        xs, state
            As for a call.
        names : collection of str, optional
            Which of them. If not given all, but for a value that is only taken apart again,
            such as the gates of an LSTM side by side.
        **options
            `steps`, `lengths`, `force` and `force_mask`, as for a call. Past the end of a row
            all values are zero.

        Returns
        -------
        dict of str to Tensor, shape (T, batch, …)
            In the order in which the step makes them; a name's second value has a number.
            Gradients pass through them. They are what is computed anyway: it costs to write
            them down.

        Raises
        ------
        ShapeError
            If a name is none of the step's.

        Examples
        --------
        >>> import numpy as np
        >>> from tinygrad_rnn import nn
        >>> found = nn.Recurrent(nn.LSTMCell(3, 5)).states(np.zeros((7, 2, 3), "float32"))
        >>> list(found), found["c"].shape
        (['i', 'f', 'g', 'o', 'c', 'h'], (7, 2, 5))
        """
        found = self.recorded(xs, state, names, **options)[2]
        runs_of_their_own.update([x.node for x in found.values()])
        return found

    def recorded(
        self,
        xs: Any,
        state: State | None = None,
        names: Collection[str] | None = None,
        *,
        steps: int | None = None,
        lengths: npt.ArrayLike | None = None,
        force: Mapping[str, TensorLike] | None = None,
        force_mask: TensorLike | None = None,
    ) -> tuple[Any, State, dict[str, Tensor]]:
        """Outputs and final state, as a call has them, and with them what :meth:`states` gives.

        Examples
        --------
        >>> import numpy as np
        >>> from tinygrad_rnn import nn
        >>> outputs, h, named = nn.Recurrent(nn.RNNCell(3, 5)).recorded(np.zeros((7, 2, 3), "float32"))
        >>> list(named)
        ['h']
        """

        def record() -> tuple[Any, State, dict[str, Tensor]]:
            call = Call.of(self.cell, xs, state, steps, lengths, force, force_mask)
            call.recording, call.wanted = True, names
            with mode(recording=True):  # in a loop in Python, the values are found in the graph of the step
                (outputs, values), after = self._run(call, state, False)
            return outputs, after, dict(zip(call.recorded, values, strict=True))

        outputs, after, named = self._within(record)
        if current().recording:
            return outputs, after, named

        def detached(nested: Any) -> Any:
            return rebuild(nested, iter([x.detach() for x in flatten(nested)]))

        return detached(outputs), detached(after), {name: x.detach() for name, x in named.items()}

    def _run(self, call: Call, state: State | None, final_state_only: bool) -> tuple[Any, State]:
        outside_left_loops()
        explicit = self.mode == "unroll" or not current().eager
        zeros = state is None and type(self.cell).initial_state is Cell.initial_state
        if not zeros or explicit or call.T == 0:
            call.start(self._start(state, call))
        if call.T == 0:
            return (None if final_state_only else call.of_no_steps()), call.state
        return (self._unroll if explicit else self._scan)(call, final_state_only)

    def plan(self, T: int, B: int = 1, inputs: Any = None, force: Sequence[str] = ()) -> Plan:
        """What the compiler finds out about the cell, for T steps and a batch of B; nothing is run.

        Parameters
        ----------
        T, B : int
        inputs : array_like, Spec, or nested tuples of them, optional
            An example of the input sequence, (time, batch, features); what the cell takes is
            found out if it is not given.
        force : sequence of str
            Slots that are forced at all steps.

        Returns
        -------
        Plan
            It prints as a table, has the program's `source`, and draws itself.

        Raises
        ------
        ShapeError
            If no input was found that fits, the example does not, or there is no such slot.
        TraceError
            If the step looks at the values of its tensors.

        Examples
        --------
        >>> from tinygrad_rnn import nn
        >>> print(nn.Recurrent(nn.GRUCell(64, 128)).plan(T=100, B=32).forward.slots[0])
        cycle
        """
        from .planning import plan

        return plan(self, T, B, inputs, force)

    def _unroll(self, call: Call, final_state_only: bool) -> tuple[Any, State]:
        """A node for each operation of each step."""
        outputs: list[Any] = []
        slots = call.slots
        self._look_ahead(call)
        of_loose: list[list[Tensor]] = [[] for _ in call.loose]
        sequences, names = zip(*call.sequences, strict=True) if call.sequences else ((), ())
        with closing(Steps(sequences, names, call.T, self.reverse)) as moments:
            for t, *elements in moments:
                output, slots = call.step(elements, slots, t)
                if outputs and outline(output) != outline(outputs[-1]):
                    raise ShapeError(f"step t={t} put out {outline(output)}, and the steps before {outline(outputs[-1])}")
                outputs.append(output)
                for column, k in zip(of_loose, call.loose, strict=True):
                    column.append(slots[k])
        whole = None
        if not final_state_only:
            columns = zip(*[flatten(output) for output in (outputs[::-1] if self.reverse else outputs)], strict=True)
            whole = rebuild(outputs[0], iter([stack(column) for column in columns]))
        slots = call.ended([stack(column) for column in of_loose], call.slots, slots)
        return whole, rebuild(call.state, iter(slots))

    def _look_ahead(self, call: Call) -> None:
        """Trace the step: what a scan refuses is refused, and slots are found that need not be held past a row's end.

        A step that looks at the values of its tensors has no trace, and runs all the same.
        """
        if current().eager or (call.valid is not None and not self.reverse):
            try:
                compiled(self, call, False, lambda: call.state)
            except SideEffectError:
                raise
            except TraceError:
                call.loose = ()

    def _scan(self, call: Call, final_state_only: bool) -> tuple[Any, State]:
        """One node, which runs the traced step as a program."""
        step = compiled(self, call, final_state_only, lambda: self._start(None, call))
        found = iter(step.run(call))
        outputs = None if final_state_only else rebuild(step.output, found)
        return outputs, rebuild(call.state, found)

    def _start(self, state: State | None, call: Call) -> State:
        """The initial state; one that was given is held against the cell's own, and takes its dtype."""
        batch_size, dtype = call.batch_size, call.dtype
        knows_dtype = _knows_dtype(type(self.cell).initial_state)
        try:
            own = self.cell.initial_state(batch_size, dtype) if knows_dtype else self.cell.initial_state(batch_size)
        except NotImplementedError:
            if state is None:
                raise
            return as_state(state)
        own = as_state(own)  # a cell may start from arrays
        if state is None:
            return own
        needed, given = flatten(own), flatten(as_state(state))
        if len(needed) != len(given):
            raise ShapeError(f"the initial state has {len(given)} tensors, {outline(state)}, and the cell's has {outline(own)}")
        for number, (slot, like) in enumerate(zip(given, needed, strict=True), 1):
            if slot.shape != like.shape:
                name = slot.name or ("h" if len(needed) == 1 else f"number {number}")
                raise ShapeError(f"initial state {name} has shape {slot.shape}, and this cell and batch need {like.shape}")
        return rebuild(own, iter([cast(slot, like.dtype, "fiub") for slot, like in zip(given, needed, strict=True)]))


_knows: WeakKeyDictionary[Callable[..., Any], bool] = WeakKeyDictionary()


def _knows_dtype(initial_state: Callable[..., Any]) -> bool:
    if initial_state not in _knows:
        _knows[initial_state] = "dtype" in inspect.signature(initial_state).parameters
    return _knows[initial_state]


def standalone(cell: Cell) -> Recurrent:
    """The cell applied to a sequence, under no name: the cell itself stays as it is."""
    layer = Recurrent(copy.copy(cell))
    layer.cell._name = ""
    return layer
