"""NARXCell: one step of a nonlinear autoregressive model with an input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..ops import concatenate
from ..tensor import Tensor
from .cell import State
from .delays import DelayCell, Delays, as_delays, check_input
from .layers import Sequential, f_or_units

__all__ = ["NARXCell"]


class NARXCell(DelayCell):
    """NARX cell: y_t = f(x_t, x_{t-1}, …, y_{t-1}, y_{t-2}, …), over some delays of each.

    Parameters
    ----------
    input_size, output_size : int
        With input_size=0 there is no input, and the model is a NAR.
    input_delays : int or sequence of int, optional
        K for 0, 1, …, K; or a list, such as ``[0, 3, 6]``. 0, 1, 2 if not given.
    feedback_delays : int or sequence of int
        K for 1, …, K; or a list.
    f : callable, optional
        A Module, or a function, of the regressor. The regressor has the delayed values side by
        side, first x and then y, each from the smallest delay to the largest; shape (batch,
        regressor_size).
        Default: h_t = tanh(b + Σ_k A_k x_{t-k} + Σ_k B_k y_{t-k}), y_t = c + V h_t.
    hidden_size : int, optional
        The length of h_t if f is not given; 10 by default.
    dtype : dtype
        Dtype of the parameters.

    Attributes
    ----------
    f.0.A_0, …, f.0.B_1, …, f.0.b, f.2.weight, f.2.bias : Parameter
        The parameters of the default f: A_k, shape (hidden_size, input_size), and B_k, shape
        (hidden_size, output_size), each numbered by its delay; b; V and c.
    regressor_size : int

    Raises
    ------
    ValueError
        If delays are negative, repeated, unsorted or not integers; if a feedback delay
        is 0, because y_t cannot be computed from itself; if input_delays are given without an
        input; or if both f and hidden_size are given.

    References
    ----------
    Leontaritis and Billings, "Input-output parametric models for non-linear systems", 1985.
    Narendra and Parthasarathy, "Identification and control of dynamical systems using neural
    networks", 1990, for the two ways to feed y back.

    Examples
    --------
    >>> import numpy as np
    >>> cell = NARXCell(1, 1, input_delays=[0, 2], feedback_delays=1)
    >>> cell.regressor_size, cell.state_shape._fields
    (3, ('x_1', 'x_2', 'y_1'))
    >>> y, state = cell(np.ones((4, 1), "float32"), cell.initial_state(batch_size=4))
    >>> y.shape
    (4, 1)
    """

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
    ) -> None:
        feedback = as_delays(feedback_delays, "feedback_delays", first=1)
        if input_size == 0 and input_delays is not None:
            raise ValueError(f"input_delays={input_delays!r} needs an input, but input_size is 0; leave input_delays out")
        inputs = as_delays(2 if input_delays is None else input_delays, "input_delays") if input_size else ()
        super().__init__(x=(max(inputs, default=0), input_size), y=(feedback[-1], output_size))
        self.input_size, self.output_size = input_size, output_size
        self.input_delays, self.feedback_delays = inputs, feedback
        self.regressor_size = len(inputs) * input_size + len(feedback) * output_size
        sizes = {f"A_{k}": input_size for k in inputs} | {f"B_{k}": output_size for k in feedback}
        own = None if f is None else Sequential(_regressor, f)
        self.f = f_or_units(own, hidden_size, sizes, output_size, dtype)

    def step(self, x: Tensor | None, history: Any) -> tuple[Tensor, State]:
        """Compute y_t from x_t, shape (batch, input_size) or None, and past values of x and y."""
        check_input(x, self.input_size)
        longest = self.longest["x"]
        xs, ys = (x, *history[:longest]), history[longest:]
        y = self.f(*(xs[k] for k in self.input_delays), *(ys[k - 1] for k in self.feedback_delays)).named("y")
        return y, history._make((*xs[:-1], y, *ys[:-1]))


def _regressor(*delayed: Tensor) -> Tensor:
    return concatenate(delayed, axis=-1)
