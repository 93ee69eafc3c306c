"""A NARX model in open and in closed loop over many sessions: its errors, and their Jacobian in closed loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import nn
from ..autodiff import grad, no_grad
from ..optim.second_order import parameter_jacobian
from ..sequences import pad
from ..tensor import Tensor, tensor
from .splitting import Part

__all__ = ["ClosedLoop", "OpenLoop"]

Array = npt.NDArray[Any]


class OpenLoop:
    """Objective of predictions one step ahead from measured values.

    In open loop no step depends on another step. So all rows of all sessions are one batch of a single step.

    Parameters
    ----------
    model : NARX
    parts : list of Part
        Parts in standardised units, each longer than the longest delay of the model.

    Attributes
    ----------
    jacobian : None
        Always None: the search computes its own Jacobian, which is already fast.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import nn
    >>> x, y = np.random.default_rng(0).normal(size=(2, 20, 1))
    >>> narx = nn.NARX(1, 1, dtype=float)
    >>> found = OpenLoop(narx, [Part(x, y)]).residuals()
    >>> whole = narx.prepare(x[:, None], y[:, None])
    >>> found.shape, np.allclose(found.data, (narx.one_step(*whole) - whole[2]).data[:, 0])
    ((18, 1), True)
    """

    jacobian: Callable[[], Array] | None = None

    def __init__(self, model: nn.NARX, parts: list[Part]) -> None:
        self.cell = model.cell
        rows = [_delayed(model, part.x[:, None], part.y[:, None]) for part in parts]
        self.x, self.history = (
            _flat([x for x, _ in rows]),
            [_flat(list(slot)) for slot in zip(*[h for _, h in rows], strict=True)],
        )
        self.ys = np.concatenate([part.y[model.reach :] for part in parts])

    def residuals(self) -> Tensor:
        """Predictions minus measurements, shape (rows of all sessions, outputs)."""
        return _one_step(self.cell, self.x, self.history) - self.ys

    def error(self) -> float:
        """Mean of the squared residuals."""
        return float(np.square(self.residuals().data).mean())


class ClosedLoop:
    """Objective of free runs from the first measured values of each session.

    Parameters
    ----------
    model, parts
        As for :class:`OpenLoop`.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import nn
    >>> x, y = np.random.default_rng(0).normal(size=(2, 20, 1))
    >>> narx = nn.NARX(1, 1, hidden_size=3, dtype=float)
    >>> run = ClosedLoop(narx, [Part(x, y)])
    >>> exact = parameter_jacobian(run.residuals(), list(narx.parameters()))
    >>> exact.shape, np.allclose(run.jacobian(), exact)
    ((18, 22), True)
    """

    def __init__(self, model: nn.NARX, parts: list[Part]) -> None:
        self.model = model
        whole, lengths = pad([part.y for part in parts])
        xs = pad([part.x for part in parts])[0] if model.cell.input_size else None
        self.whole_x, self.before = xs, whole[: model.reach]
        self.xs, self.history, self.ys = model.prepare(xs, whole)
        self.real = lengths - model.reach
        self.lengths = None if (self.real == len(self.ys)).all() else self.real

    def residuals(self) -> Tensor:
        """Predictions minus measurements, shape (steps, sessions, outputs); zero beyond the end of a session."""
        return self.model.free_run(self.xs, self.history, steps=len(self.ys), lengths=self.lengths) - self.ys

    def error(self) -> float:
        """Mean of the squared residuals."""
        with no_grad():
            found = self.residuals().data
        return float(np.square(found).sum() / (self.real.sum() * found.shape[2]))

    def jacobian(self) -> Array:
        """Derivatives of residuals with respect to parameters: ∂y_t/∂θ = ∂f_t/∂θ + Σ_k ∂f_t/∂y_{t-k} ∂y_{t-k}/∂θ.

        The partial derivatives are derivatives of single steps, so all steps are computed at once. Only the sum needs a
        loop over time (Narendra and Parthasarathy, "Identification and control of dynamical systems using neural networks",
        1990). This is several times faster than a run of the reversed loop for each parameter.
        """
        with no_grad():
            ys = self.residuals().data + self.ys
        (T, B, size), reach = ys.shape, self.model.reach
        x, history = _delayed(self.model, self.whole_x, np.concatenate([self.before, ys]))
        longest = self.model.cell.longest["y"]
        slots = [tensor(slot, requires_grad=True) for slot in history[len(history) - longest :]]
        out = _one_step(self.model.cell, x, [*history[: len(history) - longest], *slots])
        found = parameter_jacobian(out, [p for p in self.model.parameters() if p.requires_grad]).reshape(T, B, size, -1)
        units = [np.broadcast_to(unit, out.shape) for unit in np.eye(size)]
        with no_grad():
            by_past = [[slope.data for slope in grad(out, slots, unit)] for unit in units]
        feedback = np.array(by_past).reshape(size, longest, T, B, size).transpose(2, 1, 3, 0, 4)
        for t in range(1, T):
            for k in range(1, min(t, longest) + 1):
                found[t] += feedback[t, k - 1] @ found[t - k]
        found[np.arange(T)[:, None] >= self.real] = 0
        assert reach >= longest
        return found.reshape(T * B * size, -1)


def _delayed(model: nn.NARX, xs: Array | None, ys: Array) -> tuple[Array | None, list[Array]]:
    """Inputs x_t and history slots, a row for each step and session after the first `reach` steps."""
    reach, T = model.reach, len(ys) - model.reach

    def rows(data: Array, k: int) -> Array:
        return data[reach - k : reach - k + T].reshape(-1, data.shape[2])

    longest = model.cell.longest
    slots = [rows(xs, k) for k in range(1, longest["x"] + 1)] if xs is not None else []
    return None if xs is None or not xs.shape[2] else rows(xs, 0), [*slots, *(rows(ys, k) for k in range(1, longest["y"] + 1))]


def _flat(parts: list[Array | None]) -> Array | None:
    return None if parts[0] is None else np.concatenate(parts)  # type: ignore[arg-type]


def _one_step(cell: nn.NARXCell, x: Array | None, history: list[Any]) -> Tensor:
    return cell.step(None if x is None else tensor(x), cell.state_shape._make(history))[0]
