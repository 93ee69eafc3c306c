"""Step Jacobians of a recurrent part, and its Lyapunov exponents as a dynamical system."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..checks import check_int, no_such
from ..draw import Drawing
from ..errors import DtypeError, NonFiniteError, ShapeError
from ..scan.differentiate import step_alone
from ..scan.loop import Loop, Output
from .heatmaps import draw_singular_values
from .loop_run import Array, LoopRun, derived
from .model_run import Model, RecurrentPart, run_part
from .result import Result

__all__ = ["Jacobians", "exponents", "jacobians", "lyapunov"]


@dataclass(frozen=True, eq=False, repr=False)
class Jacobians(Result):
    """The derivatives of the state after each step with respect to the state before it.

    Attributes
    ----------
    slots : dict of str to slice
        The elements of the state that belong to each slot, in the order of the state. Slots of integers have no
        derivative, and are left out.
    arrays : ndarray, shape (T, batch, D, D)
        J_t = ∂s_t/∂s_{t−1} of each row of the batch, as ``arrays[t - 1, row]``; s_t has D elements. For a layer that
        runs backwards, step 1 is the layer's first step, which reads the last element of the sequence.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import explain, nn
    >>> found = explain.jacobians(nn.LSTM(3, 5), np.ones((7, 2, 3), "float32"))
    >>> found
    <Jacobians of the state (h, c), T = 7, batch 2, D = 10>
    >>> found.block("c", "h").shape
    (7, 2, 5, 5)
    """

    slots: Mapping[str, slice]
    arrays: Array

    def block(self, of: str, by: str) -> Array:
        """Derivative of one slot with respect to another: ``block("c", "h")`` is ∂c_t/∂h_{t−1}.

        Raises
        ------
        ShapeError
            If there is no such slot.
        """
        if unknown := [name for name in (of, by) if name not in self.slots]:
            raise ShapeError(no_such("slot", unknown[0], self.slots))
        return self.arrays[:, :, self.slots[of], self.slots[by]]

    def draw(self, example: int = 0, running: bool = False) -> Drawing:
        """Draw the singular values of each step: white is 1, red stretches the state, blue shrinks it.

        Parameters
        ----------
        example : int
            The row of the batch.
        running : bool
            Whether the singular values are those of the running products J_t ⋯ J_1.
        """
        sizes = (self.running_singular_values if running else self.singular_values)[:, example]
        return draw_singular_values(sizes, f"singular values of {'J_t ⋯ J_1' if running else 'J_t'}")

    @property
    def singular_values(self) -> Array:
        """The singular values of each J_t, the largest first: shape (T, batch, D)."""
        values: Array = np.linalg.svd(self.arrays, compute_uv=False)
        return values

    @property
    def running_singular_values(self) -> Array:
        """The singular values of the running products J_t ⋯ J_1, the largest first: shape (T, batch, D).

        In double precision, singular values below 1e-16 times the largest one are rounding errors.
        """
        product, scale = np.eye(self.arrays.shape[-1]), np.zeros(self.arrays.shape[1])
        found = np.empty(self.arrays.shape[:-1])
        for t, jacobian in enumerate(self.arrays):
            product = jacobian @ product
            largest = np.abs(product).max(axis=(-2, -1), initial=0.0)
            largest[largest == 0] = 1
            product = product / largest[:, None, None]
            scale = scale + np.log(largest)
            with np.errstate(over="ignore", under="ignore"):
                found[t] = np.linalg.svd(product, compute_uv=False) * np.exp(scale)[:, None]
        return found

    def __repr__(self) -> str:
        T, B, D = self.arrays.shape[:3]
        return f"<Jacobians of the state ({', '.join(self.slots)}), T = {T}, batch {B}, D = {D}>"


def jacobians(model: Model, xs: Any, *, layer: str | None = None, max_bytes: int = 1 << 28, **options: Any) -> Jacobians:
    """The Jacobian of each step of a recurrent part, ∂s_t/∂s_{t−1}.

    The state of every step is recorded first. Each step then starts from its recorded state, so no step waits for another
    step, and one reverse pass over all steps gives all Jacobians.

    Parameters
    ----------
    model : Module or callable
        As for :func:`gradient_flow`.
    xs : array_like
        The input of the model.
    layer : str, optional
        The label of one of several recurrent parts, such as ``"l0"``.
    max_bytes : int
        Largest memory of the Jacobians, in bytes.
    **options
        Options of the model, such as `state` or `steps`.

    Returns
    -------
    Jacobians

    Raises
    ------
    ShapeError
        If T is 0, if there are several recurrent parts and `layer` names none of them, or if the rows of a batch depend
        on each other.
    DtypeError
        If the state has an integer dtype.
    NonFiniteError
        If a state is NaN or inf; the message names the step.
    TinygradError
        If the model has no recurrent part.
    ValueError
        If the Jacobians take more than `max_bytes`.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import explain, nn
    >>> halving = nn.Recurrent(nn.SystemCell(1, 1, f=lambda s, x: s / 2 + x))
    >>> explain.jacobians(halving, np.ones((3, 1, 1))).arrays.ravel()
    array([0.5, 0.5, 0.5])
    """
    check_int("max_bytes", max_bytes)
    steps = _Steps(run_part(model, xs, layer, **options))
    size = steps.size * steps.part.steps
    if size > max_bytes:
        raise ValueError(
            f"the Jacobians need {size:,} bytes, but max_bytes is {max_bytes:,}; give a shorter sequence, or a larger max_bytes"
        )
    return Jacobians(steps.slots, np.concatenate(list(steps.jacobians(max_bytes))))


def lyapunov(
    model: Model,
    xs: Any,
    k: int,
    state: Any = None,
    steps: int | None = None,
    *,
    layer: str | None = None,
    max_bytes: int = 1 << 28,
) -> Array:
    """The k largest Lyapunov exponents: the mean growth per step of small differences between two states.

    The step Jacobians carry a volume of k dimensions along the trajectory. At each step, a QR decomposition makes the axes
    of the volume orthogonal. The exponents are the mean logarithms of the lengths of the axes.

    Parameters
    ----------
    model : Module or callable
        As for :func:`gradient_flow`.
    xs : array_like or None
        The input of the model. None for a system without an input, which needs `steps` and `state`.
    k : int
        Number of exponents, from 1 to the number of elements of the state.
    state : State, optional
        The state before step 1.
    steps : int, optional
        The number of steps T, for a system without an input. The exponents are limits for large T; several initial states,
        in the rows of a batch, give a better estimate.
    layer : str, optional
        The label of one of several recurrent parts.
    max_bytes : int
        Approximate largest memory of the Jacobians at a time, in bytes.

    Returns
    -------
    ndarray, shape (k,)
        The exponents in nats per step, the largest first, averaged over the rows of a batch. An exponent is −inf if the
        step maps a direction to zero.

    Raises
    ------
    ValueError
        If k is not between 1 and the number of elements of the state.
    ShapeError, DtypeError, NonFiniteError, TinygradError
        As for :func:`jacobians`.

    References
    ----------
    Benettin, Galgani, Giorgilli and Strelcyn, "Lyapunov characteristic exponents for smooth dynamical systems", 1980.

    Examples
    --------
    The logistic map s ↦ 4 s (1 − s), whose exponent is ln 2 = 0.693…

    >>> import numpy as np
    >>> from tinygrad_rnn import explain, nn
    >>> logistic = nn.Recurrent(nn.SystemCell(0, 1, f=lambda s: 4 * s * (1 - s)))
    >>> explain.lyapunov(logistic, None, 1, state=np.array([[0.3]]), steps=5000).round(2)
    array([0.69])
    """
    given = {"state": state, "steps": steps}
    part = run_part(model, xs, layer, **{name: value for name, value in given.items() if value is not None})
    return exponents(part, k, max_bytes)


def exponents(part: RecurrentPart, k: int, max_bytes: int) -> Array:
    """The k largest Lyapunov exponents of a recurrent part's run; see :func:`lyapunov`."""
    check_int("max_bytes", max_bytes)
    found = _Steps(part)
    D = found.elements
    if not 1 <= check_int("k", k) <= D:
        raise ValueError(f"k, the number of exponents, must be from 1 to {D}, the number of elements of the state, not {k}")
    # random columns, which lie in no invariant subspace except by accident
    axes = np.linalg.qr(np.sin(1.0 + np.arange(D * k).reshape(D, k) ** 2))[0]
    sums: Any = 0.0
    for block in found.jacobians(max_bytes):
        for jacobian in block.astype(float):
            axes, lengths = np.linalg.qr(jacobian @ axes)
            with np.errstate(divide="ignore"):
                sums = sums + np.log(np.abs(np.diagonal(lengths, axis1=-2, axis2=-1)))
    means: Array = np.sort((sums / part.steps).mean(axis=0))[::-1]
    return means


class _Steps:
    """The steps of a recurrent part as separate runs, each from its recorded state."""

    def __init__(self, part: RecurrentPart) -> None:
        self.part = part
        loop = part.loop
        self._floats = [i for i, slot in enumerate(loop.carry) if slot.dtype.kind == "f"]
        if not self._floats:
            dtypes = ", ".join(f"{name} of {slot.dtype}" for name, slot in zip(part.slots, loop.carry, strict=True))
            raise DtypeError(f"a Jacobian needs a state of floats: {dtypes or 'there is no state'}")
        self.batch = loop.carry[self._floats[0]].shape[0]
        self.slots: dict[str, slice] = {}
        self.elements = 0
        for i in self._floats:
            n = math.prod(loop.carry[i].shape[1:])
            self.slots[part.slots[i]] = slice(self.elements, self.elements + n)
            self.elements += n
        recorded = LoopRun(derived(part.plan, "states", _recording_states), part.inputs, part.steps)
        self._states = [recorded.outputs[i] for i in range(len(loop.carry))]
        for i in self._floats:
            bad = ~np.isfinite(self._states[i].reshape(part.steps, -1)).all(axis=1)
            if bad.any():
                raise NonFiniteError(
                    f"{part.slots[i]} has NaN or inf before step t = {bad.argmax() + 1}: the state diverges; give a shorter "
                    "sequence, or smaller weights"
                )

    @property
    def size(self) -> int:
        """Size in bytes of the Jacobians of one step."""
        return self.batch * self.elements**2 * max(self.part.loop.carry[i].dtype.itemsize for i in self._floats)

    def jacobians(self, max_bytes: int) -> Iterator[Array]:
        """Blocks of the step Jacobians, shape (steps, batch, D, D), in running order."""
        T, rows = self.part.steps, max(1, min(BLOCK, max_bytes // (4 * self.size)))
        bounds = [(start, min(start + rows, T)) for start in range(0, T, rows)]
        backwards = self.part.loop.reverse
        for start, stop in bounds[::-1] if backwards else bounds:
            block = self._block(start, stop)
            yield block[::-1] if backwards else block

    def _block(self, start: int, stop: int) -> Array:
        part = self.part
        sequences, _, consts = part.loop.parts(part.inputs)
        inputs = [*[x[start:stop] for x in (*sequences, *self._states)], *consts]
        run = LoopRun(derived(part.plan, "step alone", _alone), inputs, stop - start)
        wanted = [len(sequences) + i for i in self._floats]
        found = run.pull(self._basis(stop - start), wanted, window=(0, stop - start))
        D, shape = self.elements, (stop - start, self.batch)
        columns = [
            np.zeros((D + 1, *shape, n)) if g is None else g.reshape(D + 1, *shape, n)
            for g, n in zip(found, [part_.stop - part_.start for part_ in self.slots.values()], strict=True)
        ]
        rows = np.concatenate(columns, axis=-1)
        if rows[D, :, 1:].any():
            raise ShapeError("in a step, rows of the batch depend on each other; give a batch of one row")
        return np.ascontiguousarray(np.moveaxis(rows[:D], 0, 2))

    def _basis(self, steps: int) -> dict[int, Array]:
        """A unit cotangent for each element of the state, and a last one for all elements of the first row."""
        found = {}
        for i, place in zip(self._floats, self.slots.values(), strict=True):
            slot = self.part.loop.carry[i]
            basis = np.zeros((self.elements + 1, 1, self.batch, place.stop - place.start), slot.dtype)
            basis[np.arange(place.start, place.stop), :, :, np.arange(place.stop - place.start)] = 1
            basis[-1, :, 0] = 1
            found[i] = np.broadcast_to(basis.reshape(-1, 1, *slot.shape), (self.elements + 1, steps, *slot.shape))
        return found


BLOCK = 512
"""Largest number of steps whose Jacobians are computed together."""


def _recording_states(loop: Loop) -> Loop:
    return replace(loop, outputs=tuple([Output("stack", slot) for slot in loop.carry]))


def _alone(loop: Loop) -> Loop:
    """The step without its loop: the next slot values are its outputs."""
    return step_alone(replace(loop, outputs=()))
