"""Gradient flow: the gradient of the loss at each step t with respect to a value at each step k."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import check_int
from ..console import progress_bar
from ..draw import Drawing
from ..draw.colors import HIGH, LOW
from ..errors import NonFiniteError
from ..scan.work import size_of
from ..tensor import Tensor
from .first_nan import nan_began
from .heatmaps import triangle
from .loop_run import Array, derived
from .model_run import Loss, Model, ModelRun, RecurrentPart, run_model
from .offsets import norm, run_with_offsets, slots_behind, with_offset_of_each_path, with_offsets
from .result import Result

__all__ = ["GradientFlow", "gradient_flow"]

CHUNK_BYTES = 1 << 14
"""Approximate bytes of one step's cotangents that are carried back together, so that they stay in the processor's cache."""
BLOCK = 1 << 18
"""Number of norms that are processed together in the fit of the line."""


@dataclass(frozen=True, eq=False, repr=False)
class GradientFlow(Result):
    """The norms of δ(t,k) = ∂L_t/∂z_k, where L_t is the loss at step t, and z_k a value at step k.

    Attributes
    ----------
    at : str
        The name of the value z.
    norms : ndarray, shape (T, T)
        ``norms[t - 1, k - 1]`` is the norm of δ(t,k), over the batch and all other axes of z. It is NaN for k > t, since
        the loss then comes before the value. For a layer that runs backwards in time, it is NaN for k < t. For a layer that
        follows layers of both directions, no norm is NaN. For an encoder of another length K, the shape is (T, K), and
        there is no NaN and no γ.
    totals : ndarray, shape (T,)
        The norms of Σ_t δ(t,k), the gradient of the whole loss.
    decay : ndarray, shape (T,)
        For each lag n, the geometric mean over t of ‖δ(t,t−n)‖ / ‖δ(t,t)‖.
    gamma : float
        γ of the line through the origin that fits log ‖δ(t,k)‖ / ‖δ(t,t)‖ ≈ (t − k) log γ for all t and k.
    r_squared : float
        The part of the variance of these logarithms that the line explains. It is 1 if ‖δ(t,k)‖ is exactly
        γ^(t−k) ‖δ(t,t)‖.
    paths : dict of str to ndarray, shape (T, T)
        For a value on which several state slots depend, the norms of the parts of δ(t,k). Each part flows back from
        step k + 1 through one slot. The part under ``"output"`` flows back through the output of step k.
    arrays : ndarray, shape (T, T, …), or None
        All δ(t,k), as ``arrays[t - 1, k - 1]``, if the option `arrays` was set.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import explain, nn
    >>> halving = nn.Recurrent(nn.SystemCell(1, 1, f=lambda s, x: s / 2 + x))
    >>> explain.gradient_flow(halving, np.ones((4, 1, 1)), None, lambda s, _: s.sum(axis=-1), at="s")
    <GradientFlow at s, T = 4: ‖δ(4,1)‖ = 0.12, ‖δ(4,4)‖ = 1, γ = 0.5 (R² = 1.00)>
    """

    at: str
    norms: Array
    totals: Array
    decay: Array
    gamma: float
    r_squared: float
    paths: Mapping[str, Array]
    arrays: Array | None = None

    @property
    def line(self) -> Array:
        """The fitted line γ^n for each lag n = 0, 1, …, T − 1."""
        return self.gamma ** np.arange(len(self.decay), dtype=float)

    def draw(self, low: float = LOW, high: float = HIGH) -> Drawing:
        """Draw the norms as a triangle, with a row for each loss t and a column for each step k.

        Parameters
        ----------
        low, high : float
            The ends of the logarithmic colour scale. If not given, all pictures have the same scale.

        Examples
        --------
        >>> import numpy as np
        >>> from tinygrad_rnn import explain, nn
        >>> halving = nn.Recurrent(nn.SystemCell(1, 1, f=lambda s, x: s / 2 + x))
        >>> flow = explain.gradient_flow(halving, np.ones((4, 1, 1)), None, lambda s, _: s.sum(axis=-1), at="s")
        >>> flow.draw()
        <Drawing of ‖δ(t,k)‖ at s>
        """
        return triangle(self.norms, low, high, title=f"‖δ(t,k)‖ at {self.at}")

    def __repr__(self) -> str:
        T, K = self.norms.shape
        pairs = [(1, K), (1, 1)] if np.isnan(self.norms[-1, 0]) else [(T, 1), (T, K)]
        shown = ", ".join(f"‖δ({t},{k})‖ = {self.norms[t - 1, k - 1]:.2g}" for t, k in pairs)
        return f"<GradientFlow at {self.at}, T = {T}: {shown}, γ = {self.gamma:.3g} (R² = {self.r_squared:.2f})>"


def gradient_flow(
    model: Model,
    xs: Any,
    targets: Any,
    loss: Loss,
    at: str = "h",
    *,
    arrays: bool = False,
    max_bytes: int = 1 << 28,
    progress: bool | None = None,
) -> GradientFlow:
    """Measure δ(t,k) = ∂L_t/∂z_k for the loss L_t of each step and a value z of each step.

    A gradient ∂L/∂W = Σ_t Σ_k δ(t,k) … is a sum over paths of all lengths. It may look healthy although the
    terms of all long paths have vanished. This function measures the terms. The model runs once. One loop goes
    back in time for many t at once, so nothing is unrolled.

    Parameters
    ----------
    model : Module or callable
        A recurrent layer, a model that contains a recurrent layer, or a function of the input, such as
        ``lambda xs: narx.free_run(xs, history)``.
    xs : array_like
        The input of the model.
    targets : Any
        The second argument of the loss.
    loss : callable
        ``loss(outputs, targets)`` gives the losses L_t, shape (T,), or the losses of each row of a batch, shape
        (T, batch). In the second case L_t is the sum of the rows' losses, and each row of δ(t,k) belongs to a row of the
        batch. If a layer is ``batch_first``, the shape is (batch, T).
    at : str
        The name of a state slot, or of any other named value of the step. If several layers have this name, the name
        with the layer: ``"h_l0"``. Built-in cells name their net input ``"a"``, a name that drawings do not show.
    arrays : bool
        Whether the result has the arrays δ(t,k) in addition to their norms.
    max_bytes : int
        Approximate largest memory of the cotangents, without the norms. A smaller limit means more and shorter runs.
    progress : bool, optional
        Whether a progress bar is shown. If not given, a bar is shown on a terminal if the work is long.

    Returns
    -------
    GradientFlow

    Raises
    ------
    ShapeError
        If no value has that name (the message lists the names); if the loss is not one number for each step; if T is 0.
    DtypeError
        If the value has an integer dtype.
    GradientError
        If no loss depends on the recurrent part.
    NonFiniteError
        If a gradient is NaN. The message names the step and the value in which the first NaN appeared.
    TinygradError
        If the model has no recurrent part.
    ValueError
        If the arrays take more than `max_bytes`.

    References
    ----------
    Bengio, Simard and Frasconi, "Learning long-term dependencies with gradient descent is difficult", 1994. Pascanu,
    Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013, equation 5.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import explain, nn
    >>> halving = nn.Recurrent(nn.SystemCell(1, 1, f=lambda s, x: s / 2 + x))
    >>> flow = explain.gradient_flow(halving, np.ones((4, 1, 1)), None, lambda s, _: s.sum(axis=-1), at="s")
    >>> flow.norms
    array([[1.   ,   nan,   nan,   nan],
           [0.5  , 1.   ,   nan,   nan],
           [0.25 , 0.5  , 1.   ,   nan],
           [0.125, 0.25 , 0.5  , 1.   ]])
    >>> flow.totals, round(flow.gamma, 12)
    (array([1.875, 1.75 , 1.5  , 1.   ]), 0.5)
    """
    check_int("max_bytes", max_bytes)
    run = run_model(model, xs, targets, loss)
    part, node = run.place(at)
    T = len(run.losses)
    size = T * part.steps * size_of(node.spec)
    if arrays and size > max_bytes:
        raise ValueError(
            f"all δ(t,k) need {size:,} bytes, but max_bytes is {max_bytes:,}; leave arrays=True out, or give a larger max_bytes"
        )
    behind = slots_behind(part.loop, node)
    paths = [*[part.slots[i] for i in behind], "output"] if len(behind) > 1 else []
    make = with_offset_of_each_path if paths else with_offsets
    reverse = run_with_offsets(part, derived(part.plan, (make, node), lambda loop: make(loop, node)))
    offsets = range(len(part.loop.sequences), len(reverse.loop.sequences))
    ask = _whole_and_norms if arrays else _norms

    def measured(start: int, rows: int) -> list[Array]:
        found = reverse.pull(run.outputs_of(part, _seeds(run.losses, start, rows)), offsets, ask)
        return [x for x in found if x is not None]  # none is None: each step has a wanted value

    rows = _rows_at_once(run, part, max_bytes)
    asked: list[Array] = []
    starts = range(0, T + 1, rows)
    with progress_bar(len(starts), "gradient flow", progress) as bar:
        for start in starts:
            found = measured(start, rows)
            asked = asked or [np.empty((T + 1, *x.shape[1:]), float if x.ndim == 2 else x.dtype) for x in found]
            for whole, x in zip(asked, found, strict=True):
                whole[start : start + rows] = x[: T + 1 - start]
            bar.update()
    norms, *others = asked
    # an infinite derivative at a later step, times the zero cotangent of an earlier loss, gives NaN
    for row in map(int, np.flatnonzero(np.isnan(norms).any(axis=1))):
        for whole, x in zip(asked, measured(row, 1), strict=True):
            whole[row] = x[0]
        if np.isnan(norms[row]).any():
            raise NonFiniteError(nan_began(run, _seeds(run.losses, row, 1)))
    absent = _absent(norms[:T])
    for x in (norms, *others[: len(paths)]):
        x[:T][absent] = np.nan
    limits = np.finfo(node.dtype)
    decay, gamma, r_squared = _decay(norms[:T], float(limits.tiny / limits.eps))
    by_path = {name: x[:T] for name, x in zip(paths, others, strict=False)}
    return GradientFlow(at, norms[:T], norms[T], decay, gamma, r_squared, by_path, others[-1][:T] if arrays else None)


def _norms(parts: Sequence[Tensor]) -> list[Tensor]:
    """Norm of a value's cotangent at one step, and norms of its parts if there are several."""
    whole = functools.reduce(operator.add, parts)
    return [norm(whole), *([norm(x) for x in parts] if len(parts) > 1 else [])]


def _whole_and_norms(parts: Sequence[Tensor]) -> list[Tensor]:
    return [*_norms(parts), functools.reduce(operator.add, parts)]


def _seeds(losses: Tensor, start: int, rows: int) -> Array:
    """Cotangents of the losses: row t selects loss t, row T selects all losses; 0 beyond a sequence's end."""
    T = len(losses)
    seeds = np.zeros((rows, *losses.shape), losses.dtype)
    for row, t in enumerate(range(start, start + rows)):
        if t < T:
            seeds[row, t] = 1
        elif t == T:
            seeds[row] = 1
    return seeds


def _rows_at_once(run: ModelRun, part: RecurrentPart, max_bytes: int) -> int:
    """Number of losses that are differentiated at once."""
    widest = max([size_of(slot.spec) for slot in part.loop.carry], default=1)
    T = len(run.losses)
    most = max(1, min(T + 1, max(8, CHUNK_BYTES // widest), max_bytes // run.bytes_behind(part)))
    return -(-(T + 1) // -(-(T + 1) // most))  # chunks of equal size


def _absent(norms: Array) -> Array:
    """Mask of pairs in which the value comes after the loss, so that the loss cannot depend on the value."""
    T, K = norms.shape
    every = np.ones((T, K), bool)
    if T != K:
        return ~every
    later, earlier = np.triu(every, 1), np.tril(every, -1)
    return later if not norms[later].any() else earlier if not norms[earlier].any() else ~every


def _decay(norms: Array, least: float) -> tuple[Array, float, float]:
    """Geometric mean of ‖δ(t,k)‖ / ‖δ(t,t)‖ for each lag, and γ and R² of a line fitted to its logarithm.

    The line is fitted to norms of at least `least`, because smaller floats lose digits.
    """
    T, K = norms.shape
    if T != K:
        return np.full(K, np.nan), np.nan, np.nan
    counts, sums = np.zeros(T), np.zeros(T)
    lag_log = lag_lag = total = square = points = 0.0
    rows = max(1, BLOCK // T)
    for t in range(0, T, rows):
        block = norms[t : t + rows]
        here = np.diagonal(block, t)[:, None]
        seen = np.isfinite(block) & (here > 0)
        lags = np.abs(np.subtract.outer(np.arange(t, t + len(block)), np.arange(T)))[seen]
        with np.errstate(all="ignore"):
            logs = (np.log(block) - np.log(here))[seen]
        counts += np.bincount(lags, minlength=T)
        sums += np.bincount(lags, logs, minlength=T)
        good = block[seen] >= least
        lag, log = lags[good].astype(float), logs[good]
        lag_log, lag_lag = lag_log + lag @ log, lag_lag + lag @ lag
        total, square, points = total + log.sum(), square + log @ log, points + len(log)
    decay = np.exp(np.divide(sums, counts, out=np.full(T, np.nan), where=counts > 0))
    if not lag_lag:
        return decay, 0.0 if counts[1:].any() else np.nan, np.nan
    slope = lag_log / lag_lag
    spread = square - total**2 / points
    left = square - slope * lag_log
    return decay, float(np.exp(slope)), float(1 - left / spread) if spread > 0 else 1.0
