"""NARX: nonlinear autoregressive models with an input, in open and in closed loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checks import is_int
from ..console import counted
from ..errors import DataError, ShapeError
from ..ops import TensorLike, concatenate, stack
from ..ops.lengths import mask_padding, mask_values, sequence_mask
from ..tensor import Tensor
from ..unrolling import as_input
from .cell import State
from .delays import Delays, FromHistory, check_input, sequence
from .narx_cell import NARXCell
from .recurrent import Mode

__all__ = ["NARX"]


class NARX(FromHistory):
    """Nonlinear autoregressive model with an input: a :class:`NARXCell`, in open and in closed loop.

    In *open loop* (series-parallel) the measured y are fed back. Then nothing is recurrent,
    and all steps are computed at once. In *closed loop* (parallel) the model's own outputs
    are fed back. Both loops use the same parameters::

        narx(xs, history)       closed loop    -> (predictions, state)
        narx(xs, history, ys)   open loop      -> (predictions, state)

    `one_step`, `n_step` and `free_run` are the three ways to predict. Each needs the values
    before the first step, as a state. `history` makes this state, and `prepare` splits it
    off the data. The state that a run returns is the history of the next run.

    Parameters
    ----------
    input_size, output_size : int
        With input_size=0 there is no input, and the model is a NAR: xs is None, and `steps` is the
        number of steps.
    input_delays : int or sequence of int, optional
        K for 0, 1, …, K; or a list, such as ``[0, 3, 6]``. 0, 1, 2 if not given.
    feedback_delays : int or sequence of int
        K for 1, …, K; or a list.
    f : callable, optional
        A Module, or a function, of the delayed values side by side; see :class:`NARXCell`.
    hidden_size : int, optional
        Number of tanh units if f is not given.
    dtype : dtype
        Dtype of the parameters.
    mode : {"scan", "unroll"}
        How a sequence is run; see :class:`Recurrent`.

    Raises
    ------
    ValueError
        As in :class:`NARXCell`.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import nn
    >>> xs, ys = np.random.default_rng(0).normal(size=(2, 50, 4, 1)).astype("float32")
    >>> narx = nn.NARX(1, 1, input_delays=2, feedback_delays=[1, 3])
    >>> xs, history, ys = narx.prepare(xs, ys)
    >>> len(ys), narx.one_step(xs, history, ys).shape
    (47, (47, 4, 1))
    >>> narx.free_run(xs, history).shape
    (47, 4, 1)
    >>> narx.plan(T=47, force=["y_1"]).forward.counts.inside  # in open loop, operations in a loop
    0
    """

    cell: NARXCell

    def __init__(
        self,
        input_size: int,
        output_size: int,
        input_delays: Delays | None = None,
        feedback_delays: Delays = 2,
        *,
        f: Callable[..., Any] | None = None,
        hidden_size: int | None = None,
        dtype: npt.DTypeLike = np.float32,
        mode: Mode = "scan",
    ) -> None:
        cell = NARXCell(input_size, output_size, input_delays, feedback_delays, f=f, hidden_size=hidden_size, dtype=dtype)
        super().__init__(cell, mode)

    @property
    def reach(self) -> int:
        """The longest delay: how many past steps a prediction depends on."""
        return max(self.cell.longest.values())

    def history(self, xs: TensorLike | None, ys: TensorLike) -> State:
        """The state after these inputs and outputs, the oldest first.

        Parameters
        ----------
        xs : array_like, shape (n, batch, input_size), or None without an input
            The past inputs, the oldest first.
        ys : array_like, shape (m, batch, output_size)
            The past outputs, the oldest first. Of xs and of ys, only the most recent values are used, as many as the longest
            delay of each.

        Raises
        ------
        DataError
            If there are fewer values than the longest delay.
        """
        inputs = self._inputs(xs)
        return self.cell.history(y=ys) if inputs is None else self.cell.history(x=inputs, y=ys)

    def prepare(self, xs: Any, ys: Any) -> tuple[Any, State, Any]:
        """Split data into a history and the steps after it: ``narx.one_step(*narx.prepare(xs, ys))``.

        Parameters
        ----------
        xs : array_like, shape (T, batch, input_size), or None without an input
            The inputs.
        ys : array_like, shape (T, batch, output_size)
            The measured outputs.

        Returns
        -------
        xs : array_like or None
            The steps after the first `reach` steps. If you use `lengths`, subtract `reach` from
            each length.
        history : State
            The state after the first `reach` steps.
        ys : array_like
            The outputs at the same steps.

        Raises
        ------
        DataError
            If there are fewer than `reach` steps.
        ShapeError
            If xs and ys have different lengths.
        """
        n, T = self.reach, len(ys)
        self._inputs(xs, T)
        if n > T:
            raise DataError(
                f"there {'is' if T == 1 else 'are'} {counted(T, 'step')}, but the longest delay needs a history of {n}"
            )
        before, after = (None, None) if xs is None else (xs[:n], xs[n:])
        return after, self.history(before, ys[:n]), ys[n:]

    def forward(  # type: ignore[override]
        self, xs: TensorLike | None, history: State | None = None, ys: TensorLike | None = None, **options: Any
    ) -> tuple[Tensor, State]:
        """Run the model in open loop if the measured outputs are given, otherwise in closed loop.

        Parameters
        ----------
        xs : array_like, shape (T, batch, input_size), or None without an input
            The inputs.
        history : State
            The state before the first step, from :meth:`history`, :meth:`prepare`, or an earlier
            run. Only in a stream it need not be given.
        ys : array_like, shape (T, batch, output_size), optional
            The measured outputs, which are fed back in place of the model's outputs.
        **options
            `steps`, `lengths`, `force_mask` and `final_state_only`, as in :class:`Recurrent`.
            ``force_mask``, shape (T,) or (T, batch), is True where ys is fed back, and False where
            the model's outputs are fed back.

        Returns
        -------
        predictions : Tensor, shape (T, batch, output_size)
        state : State
            The history for a run over the next steps.

        Raises
        ------
        ShapeError
            If an argument has another shape than the model needs, or the history is missing.
        """
        steps = None
        if ys is not None:
            steps = len(sequence(ys, "ys", self.cell.output_size))
            options |= {"force": {"y_1": as_input(ys)}, "steps": steps}
        self._inputs(xs, steps)
        return super().forward(None if xs is None else as_input(xs), history, **options)  # arrays are inputs in pictures

    def one_step(
        self, xs: TensorLike | None, history: State, ys: TensorLike, *, lengths: npt.ArrayLike | None = None
    ) -> Tensor:
        """Predict each y_t from the measured outputs up to y_{t-1} (open loop).

        Parameters
        ----------
        xs : array_like, shape (T, batch, input_size), or None without an input
            The inputs.
        history : State
            The values before the first step, as :meth:`prepare` or :meth:`history` returns them.
        ys : array_like, shape (T, batch, output_size)
            The measured outputs.
        lengths : array_like of int, shape (batch,), optional
            How many steps of each session are real; the predictions are zero after its end.

        Returns
        -------
        Tensor, shape (T, batch, output_size)
            The predictions of ys.
        """
        return self(xs, history, ys, lengths=lengths)[0]

    def free_run(
        self, xs: TensorLike | None, history: State, *, steps: int | None = None, lengths: npt.ArrayLike | None = None
    ) -> Tensor:
        """Predict all y_t from the history and the inputs alone (closed loop).

        Parameters
        ----------
        xs : array_like, shape (T, batch, input_size), or None without an input
            The inputs.
        history : State
            The values before the first step, as :meth:`prepare` or :meth:`history` returns them.
        steps : int, optional
            T, for a model without an input.
        lengths : array_like of int, shape (batch,), optional
            The length of each sequence, if the sequences are padded.

        Returns
        -------
        Tensor, shape (T, batch, output_size)
        """
        return self(xs, history, steps=steps, lengths=lengths)[0]

    def n_step(
        self, n: int, xs: TensorLike | None, history: State, ys: TensorLike, *, lengths: npt.ArrayLike | None = None
    ) -> Tensor:
        """Predict each y_t from the measured outputs up to y_{t-n}, and from predictions after t - n.

        The runs of n steps, one from each step of the data, are computed as one batch. With n = 1
        the result is that of `one_step`; with n = T it is the last prediction of `free_run`.

        Parameters
        ----------
        n : int
            Number of steps ahead.
        xs : array_like, shape (T, batch, input_size), or None without an input
            All inputs up to x_t are known.
        history : State
            The values before the first step, as :meth:`prepare` or :meth:`history` returns them.
        ys : array_like, shape (T, batch, output_size)
            The measured outputs.
        lengths : array_like of int, shape (batch,), optional
            The length of each sequence, if the sequences are padded.

        Returns
        -------
        Tensor, shape (T - n + 1, batch, output_size)
            Compare them with ``ys[n - 1:]``: the first prediction is of y_n, the last of y_T.

        Raises
        ------
        ValueError
            If n is not one of 1, …, T.
        """
        outputs = sequence(ys, "ys", self.cell.output_size)
        T, B = outputs.shape[:2]
        inputs = self._inputs(xs, T)
        if not is_int(n) or n > T:
            raise ValueError(f"n must be a number of steps from 1 to {T}, not {n!r}")
        starts, rows = T - n + 1, None
        if lengths is not None:
            real = sequence_mask(lengths, T, B)
            outputs = mask_padding(outputs, real)
            inputs = None if inputs is None else mask_padding(inputs, real)
            rows = n * mask_values(real)[n - 1 :].reshape(starts * B)

        def windows(data: Tensor, start: int) -> Tensor:
            """Rows data[start + s, b] for all starts s and sequences b."""
            return data[start : start + starts].reshape(starts * B, data.shape[2])

        slots: list[Tensor] = []
        for longest, data in zip(self.cell.longest.values(), (inputs, outputs), strict=True):
            if data is not None and longest:
                past = self._checked(history)[len(slots) : len(slots) + longest]
                whole = concatenate([stack(past[::-1]), data])
                slots += [windows(whole, longest - k) for k in range(1, longest + 1)]
        ahead = None if inputs is None else stack([windows(inputs, j) for j in range(n)])
        found = self.free_run(ahead, self.cell.state_shape._make(slots), steps=n, lengths=rows)
        return found[-1].reshape(starts, B, self.cell.output_size)

    def _inputs(self, xs: TensorLike | None, steps: int | None = None) -> Tensor | None:
        """The input sequence, checked against the input size and the number of steps of ys."""
        check_input(xs, self.cell.input_size)
        if xs is None:
            return None
        inputs = sequence(xs, "xs", self.cell.input_size)
        if steps not in (None, len(inputs)):
            raise ShapeError(f"xs and ys must have the same length, but have {len(inputs)} and {counted(steps, 'step')}")
        return inputs
