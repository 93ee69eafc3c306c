"""Recurrent, a cell applied to a sequence."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt

from ..autodiff import records, runs_of_their_own
from ..checks import check_int, one_of
from ..errors import ShapeError, SideEffectError, TinygradError, TraceError
from ..graph.context import current, mode, outside_left_loops
from ..ops import TensorLike, stack
from ..scan.use import check_backend, check_threads
from ..tensor import Tensor
from ..tree import flatten, rebuild
from ..unrolling import Steps
from .call import Call, Outcome, StepResult, outline
from .cell import Cell, State
from .module import Module, forget_name
from .trace_cache import traced_step

if TYPE_CHECKING:
    from ..scan.plan import Plan

__all__ = ["Mode", "Recurrent"]

Mode = Literal["scan", "unroll"]
"""How a cell is applied; see :class:`Recurrent`."""
carrier: ContextVar[Callable[[Recurrent, Call], Outcome] | None] = ContextVar("carrier of states", default=None)
"""In a stream, the function that makes all recurrent parts' steps: it sets their initial states and keeps the next states."""


class Recurrent(Module):
    """A cell applied to a sequence.

    Parameters
    ----------
    cell : Cell
        The cell, which computes one step.
    mode : {"scan", "unroll"}
        ``"scan"`` traces the cell's step once, finds the operations that are truly recurrent, and
        runs all steps as one compiled node of the graph. ``"unroll"`` makes an explicit graph to
        look into, with a node for each operation of each step.
    reverse : bool
        Run from the last element of the sequence to the first. The output of step t still stands
        at position t.
    checkpoint : int, optional
        Saves memory with ``"scan"``. If not given, all values that the gradient reads are saved,
        for all steps. 1 saves only the state at each step, and computes gates again. n saves the
        state at every n-th step, and runs n steps again at a time, so that memory grows like
        T/n + n.
    backend : {"numpy", "native"}, optional
        The backend that runs the compiled node; if not given, the one set by :class:`tinygrad_rnn.use`.
    threads : int, optional
        The number of threads of the native backend, for this layer; if not given, the one set by
        :class:`tinygrad_rnn.use`. NumPy does not read it.

    Raises
    ------
    TinygradError
        If `cell` is not a Cell.
    ValueError
        If the mode or the backend is not known, the checkpoint is not a number of steps, or
        the backend does not run in so many threads.

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
        backend: str | None = None,
        threads: int | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(cell, Cell):
            got = type(cell).__name__
            if isinstance(cell, type):
                got = f"the class {cell.__name__}: call it, {cell.__name__}(…)"
            elif isinstance(cell, Module):
                got += ", which takes whole sequences: put it into nn.Sequential"
            raise TinygradError(f"Recurrent needs a cell, an nn.Cell with a method step(x, state), not {got}")
        if mode not in ("scan", "unroll"):
            raise ValueError(one_of("mode", mode, ("scan", "unroll")))
        if checkpoint is not None:
            check_int("checkpoint", checkpoint)
        self.cell = cell
        self.mode = mode
        self.reverse = reverse
        self.checkpoint = checkpoint
        self.backend = None if backend is None else check_backend(backend)
        self.threads = check_threads(threads, self.backend)

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
            The input sequences; None for a cell without an input, which needs `steps`.
        state : Tensor or nested tuples of them, optional
            The state before step 1; the cell's `initial_state` if not given.
        steps : int, optional
            T, for a cell without an input.
        lengths : array_like of int, shape (batch,), optional
            The length of each row. After the end of a row, its state is held and its outputs are
            zero. In reverse, each row starts at its own end. The values of the padding have no
            effect.
        force : mapping of str to array_like, shape (T, batch, …), optional
            Data that replace the value that a named slot of the state carries from step t into
            the next step (teacher forcing).
        force_mask : array_like of bool, shape (T,) or (T, batch), optional
            True where to force; everywhere if not given.
        final_state_only : bool
            Compute no outputs, and return None in their place. No history is kept unless a
            gradient may need it.

        Returns
        -------
        outputs : Tensor, shape (T, batch, features), or nested tuples of them
        state : Tensor or nested tuples of them
            The state after the last step.

        Raises
        ------
        ShapeError
            If lengths or batch sizes differ, if the state has another structure than the
            cell's, or if a forced slot does not exist.
        TraceError
            With ``mode="scan"``, if the step looks at the values of its tensors.
        """
        call = Call.of(self.cell, xs, state, steps, lengths, force, force_mask, final_state_only=final_state_only)
        found = self._run(call)
        return found.outputs, found.state

    def states(
        self, xs: Any, state: State | None = None, names: Collection[str] | None = None, **options: Any
    ) -> dict[str, Tensor]:
        """All named values of the step, at all steps: states, gates and others.

        Parameters
        ----------
        xs, state
            As in a call.
        names : collection of str, optional
            Names of the wanted values. If not given, all values, except a value that is only
            split into other values, such as the gates of an LSTM side by side.
        **options
            `steps`, `lengths`, `force` and `force_mask`, as in a call. After the end of a row
            all values are zero.

        Returns
        -------
        dict of str to Tensor, shape (T, batch, …)
            The values, in the order in which the step computes them; the second value of one name
            has a number. Gradients pass through them. They are computed anyway; recording them
            costs memory.

        Raises
        ------
        ShapeError
            If no value of the step has a given name.

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
        """Outputs and final state, as a call returns them, and the named values of :meth:`states`.

        Examples
        --------
        >>> import numpy as np
        >>> from tinygrad_rnn import nn
        >>> outputs, h, named = nn.Recurrent(nn.RNNCell(3, 5)).recorded(np.zeros((7, 2, 3), "float32"))
        >>> list(named)
        ['h']
        """

        def record() -> Outcome:
            call = Call.of(self.cell, xs, state, steps, lengths, force, force_mask, recording=True, wanted=names)
            with mode(recording=True):  # in a loop in Python, the values are found in the graph of the step
                return self._run(call)

        found: Outcome = self._within(record)
        if current().recording:
            records.update([x.node for x in found.recorded.values()])
            return found

        def detached(nested: Any) -> Any:
            return rebuild(nested, iter([x.detach() for x in flatten(nested)]))

        return detached(found.outputs), detached(found.state), {name: x.detach() for name, x in found.recorded.items()}

    def _run(self, call: Call) -> Outcome:
        """Make the steps of a call; in a stream, from the state that it carries."""
        carry = carrier.get()
        return self.steps_of(call) if carry is None else carry(self, call)

    def steps_of(self, call: Call) -> Outcome:
        """Make the steps of a call, as one compiled node or one by one."""
        outside_left_loops()
        explicit = self.mode == "unroll" or not (current().eager or current().recorder is not None)
        shares_zeros = call.state is None and type(self.cell).initial_state is Cell.initial_state
        if explicit or call.T == 0 or not shares_zeros:
            call = call._replace(state=call.initial_state())
        if call.T == 0:
            return call.outcome_of_no_steps()
        return self._unroll(call) if explicit else traced_step(self, call).run(call)

    def plan(self, T: int, B: int = 1, inputs: Any = None, force: Sequence[str] = ()) -> Plan:
        """The compiler's plan of the cell, for T steps and a batch of B; nothing is run.

        Parameters
        ----------
        T, B : int
            Number of steps, and batch size.
        inputs : array_like, Spec, or nested tuples of them, optional
            An example of the input sequence, (time, batch, features). If not given, several shapes
            and dtypes are tried.
        force : sequence of str
            Slots that are forced at all steps.

        Returns
        -------
        Plan
            A plan prints as a table, has the program's `source`, and draws itself.

        Raises
        ------
        ShapeError
            If no input was found that fits, if the example does not fit, or if a forced slot does not exist.
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

    def _unroll(self, call: Call) -> Outcome:
        """Make a node for each operation of each step."""
        unmasked = self._look_ahead(call)
        steps: list[StepResult] = []
        slots, names = flatten(call.state), None
        with closing(Steps(call.sequences, call.element_names, call.T, self.reverse)) as moments:
            for t, *elements in moments:
                found = call.step(elements, slots, t, names, unmasked)
                if steps and outline(found.output) != outline(steps[-1].output):
                    raise ShapeError(
                        f"{type(self.cell).__name__}.step at t={t} returned an output of shape {outline(found.output)}, "
                        "but the "
                        f"steps before returned {outline(steps[-1].output)}; all steps must return the same shape"
                    )
                steps.append(found)
                slots, names = found.slots, found.names
        sequences = []
        if not call.final_state_only:
            ordered = steps[::-1] if self.reverse else steps
            sequences = [stack(column) for column in zip(*[flatten(found.output) for found in ordered], strict=True)]
        delays = {k: stack([found.slots[k] for found in steps]) for k in unmasked}
        return call.outcome(call.state, steps[0].output, sequences, slots, steps[0].recorded, delays)

    def _look_ahead(self, call: Call) -> Collection[int]:
        """Slots that need no mask past a row's end; a step that a scan refuses is refused here too.

        A step that looks at the values of its tensors has no trace, but can be unrolled.
        """
        if current().eager or (call.valid is not None and not self.reverse):
            try:
                return traced_step(self, call).unmasked_delays
            except SideEffectError:
                raise
            except TraceError:
                pass
        return ()


def standalone(cell: Cell) -> Recurrent:
    """The cell applied to a sequence, without a scope; the cell itself stays as it is."""
    layer = Recurrent(copy.copy(cell))
    forget_name(layer.cell)
    return layer
