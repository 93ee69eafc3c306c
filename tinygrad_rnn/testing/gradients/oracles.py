"""Three oracles that compute a derivative without its rule, each with an estimate of the oracle's error.

Each oracle gives the Jacobian times a direction, one number for each output. No oracle is
trusted alone. Central differences need only the function, so `judge` uses a more exact oracle
only if central differences confirm it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...autodiff import grad
from ...graph.node import Node, ancestors
from .subject import Evaluation, Subject, Vector, flat, split
from .tolerances import AGREES, EPS, ROUNDING, SEES, UNSTEADY

__all__ = [
    "Estimate",
    "Mask",
    "complex_step",
    "differences",
    "is_analytic",
    "judge",
    "kinks",
    "lost_digits",
    "part",
    "replay",
]

SMALLEST = 2.0**-48
"""The step, as a fraction of the direction, below which the arguments themselves are too coarse."""

COLUMNS = 6
"""Number of extrapolations of the estimates."""

COMPLEX_STEP, DIFFERENCES = "the complex step", "central differences"
Function = Callable[[Vector], Vector]
Mask = npt.NDArray[np.bool_]


class Estimate(NamedTuple):
    """An oracle's derivative of each output along a direction v, with its error.

    Attributes
    ----------
    oracle : str
    value, error : numpy.ndarray
        The first derivative, and the oracle's own estimate of its error.
    rounding : numpy.ndarray
        The largest derivative that rounding alone can cause, at the best step.
    curvature, curvature_error : numpy.ndarray
        The second derivative along the same direction, by differences of the function.
    kinks : numpy.ndarray of bool
        Outputs that bend or jump at the point.
    """

    oracle: str
    value: Vector
    error: Vector
    rounding: Vector
    curvature: Vector
    curvature_error: Vector
    kinks: Mask


class _Pair(NamedTuple):
    """The function at x + t v and x - t v, with the slope and the second difference."""

    t: float
    up: Vector
    down: Vector
    noise: Vector
    slope: Vector
    bend: Vector

    @property
    def change(self) -> Vector:
        return np.abs(self.up - self.down) + np.abs(self.bend * self.t)

    @classmethod
    def at(cls, f: Function, x: Vector, v: Vector, y: Vector, t: float, noise: Vector | float) -> _Pair:
        up, down = f(x + t * v), f(x - t * v)
        noise = noise + EPS * (np.abs(up) + np.abs(down) + np.abs(y)) + 5e-324
        return cls(t, up, down, noise, (up - down) / (2 * t), (up - 2 * y + down) / t)


WIDE = 2.0**-8
"""A step at which most functions are smooth and rounding is small; used with the first probe to confirm another oracle."""

CLOSE = 2.0**-15
"""A step that confirms another oracle where the function bends so much that the first probe is too far away."""

PROBES = (2.0**-13, 2.0**-23, 2.0**-28, 2.0**-33)
"""Steps at which kinks and noise are visible, and at which estimates from wide steps are tested."""


def differences(
    f: Function,
    x: Vector,
    v: Vector,
    y: Vector,
    noise: Vector | float = 0.0,
    reference: Vector | None = None,
    grain: Vector | float = 0.0,
) -> Estimate:
    """Central differences at ever smaller steps, extrapolated to step zero (Richardson, Ridders).

    The direction v sets the largest step, so each element of v should be about as large as that of x.
    The step of each output is found by halving: the estimate with the smallest error is used. The
    error is the last change of the extrapolation, plus the noise: of the last digits, other known
    noise, and the scatter of slopes at very small steps. If these slopes contradict the estimate, a
    kink, or a period shorter than the step, misled the estimate. It is then computed again from
    smaller steps, unless `reference`, the derivative by another oracle, agrees. If two steps confirm
    the reference, no further steps are tried.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([0.5])
    >>> found = differences(np.exp, x, np.array([1.0]), np.exp(x))
    >>> bool(abs(found.value[0] - np.exp(0.5)) <= found.error[0] < 1e-11)
    True
    """
    probes = [_Pair.at(f, x, v, y, t, noise) for t in PROBES]
    bent = _kinks(y, probes, grain)
    if reference is not None and not bent.any():
        wide = _Pair.at(f, x, v, y, WIDE, noise)
        confirmed = _confirmed(reference, wide, probes[0], probes[0], y, grain)
        if confirmed is None:
            confirmed = _confirmed(reference, wide, _Pair.at(f, x, v, y, CLOSE, noise), probes[0], y, grain)
        if confirmed is not None:
            return confirmed
    oracle, best = _extrapolated(f, x, v, y, noise, 1.0, probes)
    # no change at all within small steps: a flat region, or numbers too coarse for these steps
    flat = (best.value[0] == 0) & (probes[0].slope != 0) & (best.width[0] < 0.5) & (best.error[0] < np.inf)
    if reference is not None:
        best.error[:, flat & (np.abs(reference) > AGREES * best.error[0])] = np.inf
    for probe in probes:
        misled = _contradicted(best, probe)
        if reference is not None:
            misled &= ~(np.abs(reference - best.value[0]) <= AGREES * best.error[0] + 1e-6 * np.abs(reference))
        if misled.any():
            scatter = [np.abs(other.slope - probe.slope) * other.t for other in probes if other.t < probe.t]
            oracle, closer = _extrapolated(f, x, v, y, noise + np.max([0 * y, *scatter], axis=0), probe.t, probes)
            flat = closer.error[0] < 0.1 * np.abs(best.value[0])
            closer.error[:, ~(closer.relative[0] < 0.1)] = np.inf  # flat or coarse numbers: cannot be distinguished
            misled &= flat | (closer.relative[0] < 0.1)  # otherwise noise
            best.replace(np.array([misled, misled]), closer)
    (value, curvature), (error, curvature_error) = best.value, best.error
    rough = 16 * probes[0].noise / probes[0].t ** 2 + 1e-3 * np.abs(curvature)
    unconfirmed = ~(np.abs(probes[0].bend / probes[0].t - curvature) <= rough + 4 * curvature_error)
    curvature_error = np.where(unconfirmed, np.inf, curvature_error)
    rounding = EPS / best.width[0] * np.abs(y) + EPS / best.width[0] * best.change + noise / best.width[0] + 1e-320
    steep = probes[0].change / probes[0].t
    rounding = rounding + np.where(np.abs(value) < 1e-6 * steep, 1e-10 * steep, 0)  # zero compared with nearby slopes
    return Estimate(oracle, value, error, rounding + UNSTEADY * grain, curvature, curvature_error, bent)


def _confirmed(reference: Vector, wide: _Pair, close: _Pair, probe: _Pair, y: Vector, grain: Vector | float) -> Estimate | None:
    """An estimate from two steps, if they agree with another oracle in all outputs to a millionth; otherwise None.

    The curvature is that of the wide step, with its distance from that of the probe as its error.
    """
    correction, size = (close.slope - wide.slope) / ((wide.t / close.t) ** 2 - 1), np.abs(reference)
    slope, error = close.slope + correction, np.abs(correction) + 4 * close.noise / close.t
    rounding = (wide.noise + EPS * wide.change) / wide.t + UNSTEADY * grain
    seen = (np.abs(slope - reference) <= AGREES * error) & (error <= 1e-6 * size) & (ROUNDING * rounding <= 1e-8 * size)
    nothing = (reference == 0) & (np.abs(wide.slope) <= 4 * rounding) & (np.abs(slope) <= AGREES * error)
    if not (seen | nothing).all():
        return None
    error = np.where(nothing, 4 * rounding, error)
    curvature = wide.bend / wide.t
    curvature_error = np.abs(curvature - probe.bend / probe.t) + 16 * wide.noise / wide.t**2
    return Estimate(DIFFERENCES, slope, error, rounding, curvature, curvature_error, np.zeros(y.size, bool))


def _extrapolated(
    f: Function, x: Vector, v: Vector, y: Vector, noise: Vector | float, widest: float, probes: list[_Pair]
) -> tuple[str, _Best]:
    """The best estimates from steps that are halved again and again."""
    moved = v != 0
    reach = 1.0 + np.abs(x[moved] / v[moved]).max(initial=0)  # an argument's own rounding, in units of the step
    sure, sharp = _Best(y), _Best(y)  # smallest error, and smallest error relative to the value
    before: list[Vector] = []
    stalled, t, smooth, strictly, loose, span = 0, widest, *np.zeros((4, y.size))
    pair, gaps = probes[0], [np.full(y.size, np.inf if widest == 1 else 0.0)] * 4
    while t > SMALLEST:
        wider, pair = pair, _Pair.at(f, x, v, y, t, noise)
        # the gap between the slopes of both sides shrinks with the step twice as fast as the step; otherwise there is a
        # kink or a jump. Noise does not shrink at all.
        gap = np.abs(pair.bend) * t
        shrunk = 0.375 * np.abs(wider.bend * wider.t) + 8 * pair.noise
        strictly = np.where(gap <= shrunk, strictly + 1, 0)
        span = np.fmax(span, np.where(np.isfinite(pair.change), pair.change, 0))
        loose = np.where((strictly > 2) & ((gap > 0) | (loose > 1e-3 * span)), 0, loose)
        loose = np.where(gap > 0.6 * np.max(gaps, axis=0), np.fmax(loose, gap), loose)
        smooth = np.where(gap <= shrunk + 8 * loose, smooth + 1, 0)
        gaps = [*gaps[1:], gap]
        last_digits = pair.noise + EPS * reach * np.abs(pair.slope)
        floor = (last_digits + loose) * np.array([[1 / t], [2 / t**2]])
        row = [np.array([pair.slope, pair.bend / t])]
        if t == 0.5 and before and _affine(row[0], before[0], floor):
            sure.value, sure.error, sure.change = np.array([pair.slope, 0 * y]), 8 * floor, pair.change
            return "the adjoint identity", _with_scatter(sure, pair, probes)
        for k, old in enumerate(before[:COLUMNS]):
            row.append(row[k] + (row[k] - old) / (4.0 ** (k + 1) - 1))
        stalled, settled = stalled + 1, sharp.error[0] <= 1e-10 * np.abs(sharp.value[0])
        if before:
            values, fine, coarse = np.array(row[1:]), np.array(row[:-1]), np.array(before[: len(row) - 1])
            moves = np.maximum(np.abs(values - fine), np.abs(values - coarse)) + floor
            trusted = (smooth > np.arange(len(values))[:, None]) & ~(loose > 1e-3 * span)
            errors = np.where(trusted[:, None] & (moves < np.inf), moves, np.inf)
            sizes = np.abs(values)
            relative = np.where((errors < np.inf) & (sizes > 0), errors / sizes, np.inf)
            settled = settled | ((errors[:, 0] < np.inf) & (errors[:, 0] <= 4 * last_digits / t)).any(0)
            if (relative[:, 0].min(0) < 0.5 * sharp.relative[0]).any() or (errors[:, 0].min(0) < 0.5 * sure.error[0]).any():
                stalled = 0
            sure.take(values, errors, errors, pair)
            sharp.take(values, errors, relative, pair)
        before = row
        if (len(row) > 3 and settled.all()) or (stalled > 5 and (sharp.relative[0] <= 1e-3).all()):
            break
        t /= 2
    misled = (sharp.relative < 0.1) & (sharp.width < sure.width)
    sure.replace(misled & (np.abs(sharp.value - sure.value) > sharp.error + sure.error), sharp)
    return DIFFERENCES, _with_scatter(sure, pair, probes)


def _affine(row: Vector, before: Vector, noise: Vector) -> bool:
    """Whether two steps have the same slope, so that no extrapolation is needed."""
    return bool((np.abs(row[0] - before[0]) <= 4 * noise[0]).all() and (np.abs([row[1], before[1]]) <= 4 * noise[1]).all())


def _contradicted(best: _Best, probe: _Pair) -> Mask:
    """Where the slope at a smaller step differs from an estimate by more than noise."""
    rough = 1e2 * probe.noise / probe.t + max(1e-4, 2e-12 / probe.t) * np.abs(probe.slope)
    return (probe.t < best.width[0]) & (np.abs(probe.slope - best.value[0]) > rough + 8 * best.error[0])


def _with_scatter(best: _Best, last: _Pair, probes: list[_Pair]) -> _Best:
    """Add to the errors the scatter of slopes at very small steps, which shows how rough the function is."""
    found = np.zeros_like(best.change)
    for probe in probes:
        if probe.t < last.t:
            curved = 2 * np.abs(last.slope - best.value[0]) * (probe.t / last.t) ** 2
            off = (np.abs(probe.slope - best.value[0]) - np.where(np.isfinite(curved), curved, 0)) * probe.t
            found = np.fmax(found, off)
    best.error = best.error + 4 * found / best.width ** np.array([[1], [2]])
    return best


class _Best:
    """The best estimates of slope and curvature so far, with the steps that gave them."""

    def __init__(self, y: Vector) -> None:
        self.value = np.zeros((2, y.size))
        self.error = np.full((2, y.size), np.inf)
        self.least = self.error  # smallest measure that `take` compares
        self.width = np.ones((2, y.size))
        self.change = np.zeros(y.size)

    @property
    def relative(self) -> Vector:
        size = np.abs(self.value)
        return np.where(size > 0, self.error / size, np.inf)

    def take(self, values: Vector, errors: Vector, by: Vector, source: _Pair) -> None:
        """Keep the estimates of one step whose measure `by` is less than the smallest so far."""
        column = by.argmin(0)[None]
        least, value, error = (np.take_along_axis(table, column, 0)[0] for table in (by, values, errors))
        better = least < self.least
        self.least = np.where(better, least, self.least)
        self._put(better, value, error, source.t, source.change)

    def replace(self, which: Mask, other: _Best) -> None:
        """Replace the selected estimates by those of another table."""
        self._put(which, other.value, other.error, other.width, other.change)

    def _put(self, which: Mask, value: Vector, error: Vector, width: Vector | float, change: Vector) -> None:
        self.value = np.where(which, value, self.value)
        self.error = np.where(which, error, self.error)
        self.width = np.where(which, width, self.width)
        self.change = np.where(which[0], change, self.change)


def kinks(f: Function, x: Vector, v: Vector, y: Vector) -> Mask:
    """Find outputs that bend or jump: slopes from both sides stay apart as the step shrinks."""
    return _kinks(y, [_Pair.at(f, x, v, y, t, 0.0) for t in PROBES])


def _kinks(y: Vector, probes: list[_Pair], grain: Vector | float = 0.0) -> Mask:
    """Find outputs that bend or jump, by how the gap between the slopes of both sides changes with the step.

    In a smooth function the gap shrinks with the step; noise makes the gap grow. So a gap of equal size at two steps is a
    bend, unless the gap is gone at a smaller step.
    """
    wide, close, _, closest = probes
    bends = [np.abs(p.bend) for p in (wide, close, closest)]
    visible = (bends[1] * close.t > 1e3 * close.noise) & (bends[1] > 1e-4 * np.abs(close.slope))
    bent = visible & (bends[1] > 0.3 * bends[0]) & (bends[1] < 3 * bends[0])
    alike = (bends[2] > 0.3 * bends[1]) & (bends[2] < 3 * bends[1])
    hidden = bends[1] * closest.t < 10 * closest.noise
    jumps = [np.maximum(np.abs(p.up - y), np.abs(p.down - y)) for p in (close, closest)]
    torn = (np.abs(jumps[0] - jumps[1]) <= 1e-2 * jumps[1]) & (jumps[1] > 1e6 * closest.noise + UNSTEADY * grain)
    return (bent & (alike | hidden)) | torn


def replay(order: Sequence[Node], values: dict[Node, Any]) -> dict[Node, Any]:
    """Run a recorded graph again, with other values for some of its nodes.

    Parameters
    ----------
    order : sequence of Node
        The nodes, as returned by `ancestors`.
    values : dict from Node to array
        The new values. The function adds, in place, the values of all nodes that depend on them.
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


def complex_step(evaluation: Evaluation, v: Vector) -> Vector | None:
    """The derivative Im f(x + ihv) / h, exact to rounding, by running the recorded graph on complex numbers.

    The steps of a scan are run one by one. The result is None if a kernel refuses complex
    numbers, or converts them to real numbers.
    """
    h = 1e-30
    inputs, outputs = [t.node for t in evaluation.inputs], evaluation.explicit
    steps = split(v, evaluation.inputs)
    values: dict[Node, Any] = {node: node.value + 1j * h * step for node, step in zip(inputs, steps, strict=True)}
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy only warns if it discards an imaginary part
            replay(ancestors(outputs), values)
    except Exception:  # a kernel that fails on complex numbers: this oracle gives no estimate
        return None
    return flat([np.imag(values[y]) / h if y in values else np.zeros(y.shape) for y in outputs])


def lost_digits(evaluation: Evaluation, u: Vector) -> Vector:
    """The rounding error of each element of the gradient Jᵀu, measured by running the gradient's graph with more digits."""
    gradients = grad(evaluation.outputs, evaluation.inputs, split(u, evaluation.outputs))
    values: dict[Node, Any] = {t.node: t.data.astype(np.longdouble) for t in evaluation.inputs}
    try:
        replay(ancestors([g.node for g in gradients]), values)
    except Exception:  # a kernel may refuse numbers of more digits
        return flat([np.zeros(g.shape) for g in gradients])
    return flat([np.asarray(values.get(g.node, g.data) - g.data, np.float64) for g in gradients])


def is_analytic(evaluation: Evaluation, v: Vector) -> bool:
    """Whether all operations from inputs to outputs are smooth: they declare no kinks and accept complex numbers."""
    order = ancestors(evaluation.explicit)
    reached = {t.node for t in evaluation.inputs}
    for node in order:
        if node.primitive is not None and not reached.isdisjoint(node.inputs):
            reached.add(node)
            if node.dtype.kind != "f" or node.primitive.domain.kinks is not None or node.primitive.domain.stops:
                return False
    return complex_step(evaluation, v) is not None


def judge(f: Subject, evaluation: Evaluation, x: Vector, v: Vector, noise: Vector | float = 0.0) -> Estimate:
    """Estimate by central differences, or by the more exact complex step if the differences confirm it.

    The complex step only sees operations in the graph. So it may replace a derivative that the
    differences know roughly, but not a derivative that the differences cannot see.
    """
    found = complex_step(evaluation, v)
    measured = differences(f, x, v, evaluation.value, noise, found, f.grain)
    if measured.oracle != DIFFERENCES:
        return measured
    if found is None or not (np.abs(found - measured.value) <= AGREES * measured.error + 1e-10 * np.abs(measured.value)).all():
        return measured
    seen = measured.error <= np.maximum(SEES * np.abs(measured.value), ROUNDING * measured.rounding)
    value = np.where(seen, found, measured.value)
    error = np.where(seen, _last_digits(found) + EPS * measured.error, measured.error)
    return measured._replace(oracle=COMPLEX_STEP if seen.all() else measured.oracle, value=value, error=error)


def part(whole: Estimate, f: Subject, evaluation: Evaluation, x: Vector, v: Vector) -> Estimate:
    """Estimate along a part of a direction, by the complex step alone if differences confirmed it along the whole direction."""
    found = complex_step(evaluation, v) if whole.oracle == COMPLEX_STEP else None
    if found is None:
        return judge(f, evaluation, x, v)
    nothing = np.zeros_like(found)
    return whole._replace(value=found, error=_last_digits(found), rounding=nothing)


def _last_digits(found: Vector) -> Vector:
    """The rounding error of the complex step, which subtracts nothing."""
    return 32 * EPS * np.abs(found)
