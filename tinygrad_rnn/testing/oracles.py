"""Three ways to know a derivative without its rule, each with an estimate of its own error.

All of them give the Jacobian times a direction, one number for each output. None is
trusted alone: `judge` lets central differences, which need nothing but the function, decide
whether a sharper one may speak.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..graph.node import Node, ancestors
from .subject import Evaluation, Subject, Vector, flat, split

__all__ = ["EPS", "Estimate", "adjoint", "complex_step", "differences", "judge", "kinks", "replay"]

EPS = float(np.finfo(np.float64).eps)
Function = Callable[[Vector], Vector]


class Estimate(NamedTuple):
    """A derivative along a direction, by one oracle.

    Attributes
    ----------
    oracle : str
    value : numpy.ndarray
    error : numpy.ndarray
        The oracle's own estimate of how wrong each value may be.
    """

    oracle: str
    value: Vector
    error: Vector


def differences(f: Function, x: Vector, v: Vector, y: Vector, scale: float = 0.0, widest: float = 0.5) -> Estimate:
    """Central differences at ever smaller steps, extrapolated to step zero (Richardson, Ridders).

    The error is how much the extrapolation still moves, and the rounding at that step, where
    `scale` is the size of what cancels inside the function. A step that leaves the domain is
    passed over.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([0.5])
    >>> _, slope, error = differences(np.exp, x, np.array([1.0]), np.exp(x))
    >>> bool(abs(slope[0] - np.exp(0.5)) <= error[0] < 1e-11)
    True
    """
    best = np.zeros_like(y)
    error = np.full_like(y, np.inf)
    before: list[Vector] = []
    reach = np.abs(x).max(initial=1.0)
    for level in range(15):
        h = widest / 2**level
        up, down = f(x + h * v), f(x - h * v)
        row = [(up - down) / (2 * h)]
        if not np.isfinite(row[0]).all():
            before = []
            continue
        noise = EPS / h * (np.abs(up) + np.abs(down) + scale + reach * np.abs(row[0]))
        for k, old in enumerate(before[:6]):
            row.append(row[k] + (row[k] - old) / (4.0 ** (k + 1) - 1))
            moved = np.maximum(np.abs(row[k + 1] - row[k]), np.abs(row[k + 1] - old)) + noise
            better = moved < error
            best = np.where(better, row[k + 1], best)
            error = np.where(better, moved, error)
        before = row
        if len(row) > 3 and (error <= 4 * noise + 1e-12 * np.abs(best)).all():
            break
    return Estimate("central differences", best, error)


def adjoint(f: Function, x: Vector, v: Vector, y: Vector) -> Estimate | None:
    """The change along the whole direction, where the function is affine: no differencing.

    With it, a gradient is judged by the adjoint identity ⟨u, Jv⟩ = ⟨Jᵀu, v⟩ alone.
    """
    up, down, half = f(x + v), f(x - v), f(x + v / 2)
    rounding = 16 * EPS * (np.abs(up) + np.abs(down) + np.abs(y))
    affine = (np.abs(up - 2 * y + down) <= rounding) & (np.abs(up + y - 2 * half) <= rounding)
    return Estimate("the adjoint identity", (up - down) / 2, rounding) if affine.all() else None


def replay(order: Sequence[Node], values: dict[Node, Any]) -> dict[Node, Any]:
    """Run a recorded graph again, with other values for some of its nodes.

    Parameters
    ----------
    order : sequence of Node
        As `ancestors` gives them.
    values : dict from Node to array
        Completed, in place, with all nodes that depend on these.
    """
    for node in order:
        if node in values or node.primitive is None or values.keys().isdisjoint(node.inputs):
            continue
        arrays = [values.get(i, i.value) for i in node.inputs]
        found = np.asarray(node.primitive.kernel(*arrays, **node.attributes))
        if node.dtype.kind == "f" and any(a.dtype.kind == "c" for a in arrays) and found.dtype.kind != "c":
            raise TypeError(f"{node.primitive.name} is not analytic")
        values[node] = found
    return values


def complex_step(evaluation: Evaluation, v: Vector) -> Estimate | None:
    """Im f(x + ihv) / h, by running the recorded graph on complex numbers: exact to rounding.

    None where a kernel refuses complex numbers, or makes real ones out of them.
    """
    h = 1e-30
    inputs, outputs = ([t.node for t in ts] for ts in evaluation)
    steps = split(v, evaluation.inputs)
    values: dict[Node, Any] = {node: node.value + 1j * h * step for node, step in zip(inputs, steps, strict=True)}
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("error")  # an imaginary part that is thrown away is only a warning
            replay(ancestors(outputs), values)
    except Exception:  # whatever a kernel has against complex numbers, this oracle stays silent
        return None
    found = flat([np.imag(values[y]) / h if y in values else np.zeros(y.shape) for y in outputs])
    error = 32 * EPS * np.abs(found) + 1e-45  # what is left of h² where the derivative is zero
    return Estimate("the complex step", found, error) if np.isfinite(found).all() else None


def judge(f: Subject, evaluation: Evaluation, x: Vector, v: Vector) -> Estimate:
    """The sharpest estimate that central differences do not contradict."""
    y = evaluation.value
    measured = differences(f, x, v, y, f.scale)
    if not _holds_close_by(f, x, v, y, f.scale, measured):
        measured = differences(f, x, v, y, f.scale, widest=1e-4)
    with np.errstate(all="ignore"):
        for sharper in (adjoint(f, x, v, y), complex_step(evaluation, v)):
            if sharper is None:
                continue
            doubt = 10 * measured.error + sharper.error + 1e-10 * np.abs(measured.value).max(initial=0)
            if (np.abs(sharper.value - measured.value) <= doubt).all():
                return sharper
    return measured


def _holds_close_by(f: Function, x: Vector, v: Vector, y: Vector, scale: float, measured: Estimate) -> bool:
    """Whether a slope found at wide steps is that of close neighbours: a kink may lie in between.

    Where it does, the function may be smooth on the far side of it, at both ends of every
    wide step, and the extrapolation then agrees with itself on the slope over there.
    """
    h = 1e-5
    up, down = f(x + h * v), f(x - h * v)
    slope = (up - down) / (2 * h)
    doubt = 1e2 * EPS / h * (np.abs(up) + np.abs(down) + scale) + 1e-3 * (np.abs(slope) + np.abs(measured.value)).max(initial=0)
    return bool((np.abs(slope - measured.value) <= doubt + measured.error).all())


def kinks(f: Function, x: Vector, v: Vector, y: Vector) -> npt.NDArray[np.bool_]:
    """Outputs whose slopes from the two sides stay apart, or that jump, as the step shrinks.

    In a smooth function the gap between both slopes shrinks with the step.
    """
    bends, slopes = [], []
    for h in (1e-4, 1e-5):
        up, down = f(x + h * v), f(x - h * v)
        bends.append(np.abs(up - 2 * y + down) / h)
        slopes.append(np.abs(up - down) / (2 * h))
    noise = 1e-8 * np.abs(y).max(initial=0) + 1e-10
    bent = (bends[1] > 0.5 * bends[0]) & (bends[1] > 1e-4 * slopes[1] + noise)
    torn = (slopes[1] > 3 * slopes[0]) & (slopes[1] > noise)
    return bent | torn
