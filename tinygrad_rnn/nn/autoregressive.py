"""Autoregressive models: a series that is a linear function of its own past, plus noise."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checks import check_int
from ..console import counted
from ..errors import DataError, ShapeError
from ..ops import TensorLike, exp
from ..ops.core import as_tensor
from ..ops.lengths import mask_padding, sequence_mask
from ..ops.losses import check_target
from ..sampling import sample
from ..tensor import Parameter, Tensor
from .cell import State
from .delays import DelayCell, FromHistory, sequence
from .layers import TapSum
from .recurrent import Mode

__all__ = ["AR", "ARCell"]


class ARCell(DelayCell):
    """Autoregressive cell: y_t = w_0 + Σ_k w_k y_{t-k} + ε_t, for k = 1, …, order.

    The noise ε_t is the cell's input. Without an input there is no noise, and y_t is the mean. The
    output is y_t, and the state is y_{t-1}, …, y_{t-order}.

    Parameters
    ----------
    order : int
        Number of earlier values that each prediction reads.
    size : int
        Number of variables of a series; with several, the w_k are matrices.
    dtype : dtype
        Dtype of the parameters.

    Attributes
    ----------
    weights.w_1, weights.w_2, … : Parameter, shape (size, size)
    weights.w_0 : Parameter, shape (size,)

    Raises
    ------
    ValueError
        If the order is not a positive integer.

    References
    ----------
    Yule, "On a method of investigating periodicities in disturbed series", 1927.

    Examples
    --------
    >>> cell = ARCell(2)
    >>> y, history = cell(None, cell.initial_state(batch_size=4))
    >>> y.shape, history._fields
    ((4, 1), ('y_1', 'y_2'))
    """

    input_name = "ε"

    def __init__(self, order: int, size: int = 1, *, dtype: npt.DTypeLike = np.float32) -> None:
        order = check_int("order", order)
        super().__init__(y=(order, size))
        self.order, self.size, self.input_size = order, size, size
        self.weights = TapSum({f"w_{k}": size for k in range(1, order + 1)}, size, "w_0", dtype)

    def step(self, noise: Tensor | None, history: Any) -> tuple[Tensor, State]:
        """Compute y_t from ε_t, shape (batch, size) or None, and y_{t-1}, …, y_{t-order}."""
        y = self.weights(*history)
        y = (y if noise is None else y + noise).named("y")
        return y, history._make((y, *history[:-1]))


class AR(FromHistory):
    """Autoregressive model: y_t = w_0 + Σ_k w_k y_{t-k} + ε_t, with ε_t ~ N(0, σ²).

    `fit` estimates the parameters; `one_step`, `forecast` and `sample` use them. A call of the
    model turns noise into a series: ``ar(noise, history) -> (ys, state)``.

    Parameters
    ----------
    order : int
        Number of earlier values that each prediction reads.
    size : int
        Number of variables of a series; with several, the w_k are matrices, and the noises
        of the variables are independent, each with its own σ.
    dtype : dtype
        Dtype of the parameters.
    mode : {"scan", "unroll"}
        How a sequence is run; see :class:`Recurrent`.

    Attributes
    ----------
    cell : ARCell
        The cell, which has the w_k.
    log_sigma : Parameter, shape (size,)
        ln σ, initially 0.

    Raises
    ------
    ValueError
        If the order is not a positive integer.

    Examples
    --------
    >>> import numpy as np, tinygrad_rnn as tr
    >>> from tinygrad_rnn import nn
    >>> tr.seed(0)
    >>> ar = nn.AR(order=1, dtype=float)
    >>> ar.load_state_dict({"log_sigma": [0.0], "cell.weights.w_1": [[0.8]], "cell.weights.w_0": [1.0]})
    >>> ys = ar.sample(ar.history(np.full((1, 1, 1), 5.0)), 5000)
    >>> again = nn.AR(order=1, dtype=float).fit(ys)
    >>> again.w.round(2), again.sigma.round(2)
    (array([[[0.8]]]), array([1.]))
    """

    cell: ARCell

    def __init__(self, order: int, size: int = 1, *, dtype: npt.DTypeLike = np.float32, mode: Mode = "scan") -> None:
        super().__init__(ARCell(order, size, dtype=dtype), mode)
        self.log_sigma = Parameter((size,), "ln σ", dtype)

    @property
    def w(self) -> npt.NDArray[Any]:
        """The weights w_1, w_2, …, shape (order, size, size)."""
        return np.stack([getattr(self.cell.weights, name).data for name in self.cell.weights.names])

    @property
    def w_0(self) -> npt.NDArray[Any]:
        """The constant w_0, shape (size,)."""
        return self.cell.weights.w_0.data

    @property
    def sigma(self) -> npt.NDArray[Any]:
        """The standard deviation σ of the noise, shape (size,)."""
        return np.exp(self.log_sigma.data)

    def history(self, ys: TensorLike) -> State:
        """The state after past values of the series, the oldest first: (n, batch, size).

        Raises
        ------
        DataError
            If there are fewer than `order` values.
        """
        return self.cell.history(y=ys)

    def one_step(self, ys: TensorLike, history: State, *, lengths: npt.ArrayLike | None = None) -> Tensor:
        """The mean of each y_t, given the measured values before t.

        Parameters
        ----------
        ys : array_like, shape (T, batch, size)
            The measured series.
        history : State
            The values before ys, as a state made by :meth:`history`.
        lengths : array_like of int, shape (batch,), optional
            How many values of each series are real; the means are zero after the end of a series.

        Returns
        -------
        Tensor, shape (T, batch, size)
        """
        ys = sequence(ys, "ys", self.cell.size)
        return self(None, history, steps=len(ys), lengths=lengths, force={"y_1": ys})[0]

    def forecast(self, history: State, steps: int) -> Tensor:
        """The means of the next values of the series, given its history: (steps, batch, size)."""
        return self(None, self._checked(history), steps=steps)[0]

    def sample(self, history: State, steps: int) -> Tensor:
        """Draw a series from the model: (steps, batch, size).

        :func:`tinygrad_rnn.seed` makes the random numbers reproducible.
        """
        shape = (steps, len(self._checked(history)[0]), self.cell.size)
        noise = sample(lambda generator: generator.standard_normal(shape).astype(self.log_sigma.dtype))
        return self((noise * exp(self.log_sigma)).named("ε", "input"), history)[0]

    def log_likelihood(self, ys: TensorLike, history: State | None = None, *, lengths: npt.ArrayLike | None = None) -> Tensor:
        """The log-likelihood ln p(y_1, …, y_T | history) of each series.

        Parameters
        ----------
        ys : array_like, shape (T, batch, size)
            The measured series.
        history : State, optional
            The values before ys, as a state made by :meth:`history`. If not given, the first `order`
            values of ys are the history, and the likelihood is that of the other values.
        lengths : array_like of int, shape (batch,), optional
            How many values of each series are real; the others are ignored.

        Returns
        -------
        Tensor, shape (batch,)
            The log-likelihoods, differentiable with respect to all parameters, also ln σ.
        """
        history, ys, real = self._after_history(ys, history, lengths)
        for values in (*history, ys):
            check_target("log_likelihood", as_tensor(values))
        errors = (ys - self.one_step(ys, history)) * exp(-self.log_sigma)
        densities = -(errors * errors + math.log(2 * math.pi)) / 2 - self.log_sigma
        return mask_padding(densities, real).sum(axis=(0, 2))

    def fit(self, ys: TensorLike, history: State | None = None, *, lengths: npt.ArrayLike | None = None) -> AR:
        """Set the parameters to the maximum-likelihood estimate, given the history.

        With normal noise the estimate of w is the least squares solution, which is computed in
        closed form, and σ² = RSS / n, where RSS is the sum of squared residuals over all n values
        of a variable. For the estimate of σ² without bias, multiply σ² by n / (n - p), where
        p = 1 + order · size is the number of weights of a variable. In another
        unit, c · ys, the w_k are the same. Frozen parameters keep their values, and the other
        parameters are fitted with these values.

        Parameters
        ----------
        ys : array_like, shape (T, batch, size)
            One or several series; several series are fitted together.
        history, lengths : optional
            As in :meth:`log_likelihood`.

        Returns
        -------
        AR
            This model.

        Raises
        ------
        DataError
            If there are no more values than weights, or values that are not finite.
        """
        order = self.cell.order
        history, ys, real = self._after_history(ys, history, lengths)
        series = np.concatenate([*(slot.data[None] for slot in history[::-1]), ys.data]).astype(float)
        if not np.isfinite(series).all():
            raise DataError("ys has NaN or inf; fill these values in, or leave them out, before the fit")
        lagged = [series[order - k : len(series) - k][real.data] for k in range(1, order + 1)]
        Y = series[order:][real.data]
        weights, w, size = self.cell.weights, self.w.astype(float), self.cell.size
        free, offset = np.array([getattr(weights, name).requires_grad for name in weights.names]), weights.w_0.requires_grad
        # Least squares lose differences that are smaller than the rounding of the largest number. So each variable is
        # shifted by its lowest value and scaled. It is not shifted if w_0 is frozen, since the level is then fixed.
        low, unit = _units(np.concatenate([*lagged, Y]), from_zero=not offset)
        target, lags = (Y - low) / unit, [(y - low) / unit for y in lagged]
        if not offset:
            target = target - weights.w_0.data / unit
        for y, w_k in zip(itertools.compress(lags, ~free), w[~free], strict=True):
            target = target - y @ (w_k * unit / unit[:, None]).T
        X = np.concatenate([*itertools.compress(lags, free), np.ones((len(Y), int(offset)))], axis=1)
        if len(Y) <= X.shape[1]:
            raise DataError(
                f"ys is too short: {X.shape[1]} weights are fitted to the {counted(len(Y), 'value')} after the history; give "
                "more steps, or a smaller order"
            )
        solution, *_ = np.linalg.lstsq(X, target, rcond=None)
        solution[~X.any(axis=0)] = 0  # exactly 0: a variable that never changes determines no weight
        sigma = unit * np.sqrt(np.square(target - X @ solution).mean(axis=0))
        w[free] = solution[: free.sum() * size].reshape(-1, size, size).swapaxes(1, 2) * unit[:, None] / unit
        for name, w_k in itertools.compress(zip(weights.names, w, strict=True), free):
            getattr(weights, name).data = w_k
        if offset:
            weights.w_0.data = low + unit * solution[-1] - w.sum(axis=0) @ low
        if self.log_sigma.requires_grad:
            self.log_sigma.data = np.log(np.maximum(sigma, _rounding(series, self.log_sigma.dtype)))
        return self

    def poles(self) -> npt.NDArray[Any]:
        """The complex roots of z^order - Σ_k w_k z^(order-k), the largest first.

        Each root is a mode of the series. The root r e^{iω} is an oscillation with a period of
        2π / ω steps, which decays by a factor r at each step. With several variables the poles are
        the eigenvalues of the companion matrix.
        """
        size, order = self.cell.size, self.cell.order
        companion = np.eye(order * size, k=-size)
        companion[:size] = np.concatenate(list(self.w), axis=1)
        found = np.linalg.eigvals(companion).astype(complex)
        return found[np.argsort(-abs(found), kind="stable")]

    def is_stationary(self) -> bool:
        """Whether all poles lie within the unit circle, so that the distant past is forgotten."""
        return bool((abs(self.poles()) < 1).all())

    def _after_history(
        self, ys: TensorLike, history: State | None, lengths: npt.ArrayLike | None
    ) -> tuple[State, Tensor, Tensor]:
        """The history, later values, and the mask of values that are not padding."""
        ys = sequence(ys, "ys", self.cell.size)
        T, B = ys.shape[:2]
        real = sequence_mask(np.full(B, T) if lengths is None else lengths, T, B)
        ys = mask_padding(ys, real)
        if history is None:
            order = self.cell.order
            return self.history(ys[:order]), ys[order:], real[order:]
        if any(slot.shape != ys.shape[1:] for slot in self._checked(history)):
            raise ShapeError(f"ys has shape {ys.shape[1:]} at each step, but the history has {history[0].shape}")
        return history, ys, real


def _units(values: npt.NDArray[Any], from_zero: bool) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Offset and unit of each variable, which map all values to [0, 1], or to [-1, 1] without an offset."""
    low = np.zeros(values.shape[1]) if from_zero else values.min(axis=0)
    span = np.abs(values - low).max(axis=0)
    return low, np.where(span > 0, span, 1.0)


def _rounding(series: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The least σ of each variable that exceeds the rounding of its largest value."""
    largest = np.abs(series).reshape(-1, series.shape[-1]).max(axis=0)
    return np.maximum(np.finfo(float).eps * largest, np.finfo(dtype).tiny)
