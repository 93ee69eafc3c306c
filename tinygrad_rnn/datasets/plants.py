"""Plants: machines with an input and a measured output, simulated."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["two_tanks"]

Floats = npt.NDArray[np.float64]
SECONDS = 16.0
"""Seconds from one row to the next."""


def two_tanks(steps: int, *, noise: float = 0.02, rng: int | np.random.Generator | None) -> tuple[Floats, Floats]:
    """Two tanks, one above the other: a pump fills the upper one, and the level of the lower one is measured.

    x₁' = -k √x₁ + p u and x₂' = k √x₁ - k √x₂, where k = 0.05 and p = 0.04. The tanks have height 10; water above this level
    is lost. The voltage u of the pump changes at random times to random values. Rows are 16 seconds apart.

    Parameters
    ----------
    steps : int
        Number of measurements.
    noise : float
        Standard deviation of the measurement noise.
    rng : int, Generator or None
        A seed, or the generator of the random numbers; None for other numbers at each call.

    Returns
    -------
    u, y : ndarray of float64, shape (steps,)
        The voltage of the pump, and the level of the lower tank. ``y[t]`` depends on u at positions before t.

    Raises
    ------
    ValueError
        If steps or noise is negative.

    References
    ----------
    The equations are those of Schoukens and Noël, "Three benchmarks addressing open challenges in nonlinear system
    identification", 2017; the constants are our own.

    Examples
    --------
    >>> u, y = two_tanks(500, rng=0)
    >>> u.shape, bool(y.min() > -0.1), bool(y.max() < 10.2)
    ((500,), True, True)
    """
    if steps < 0 or noise < 0:
        raise ValueError(f"steps and noise must be at least 0, not {steps} and {noise}")
    generator = np.random.default_rng(rng)
    holds = generator.integers(5, 40, size=steps // 5 + 1)
    u = np.repeat(generator.uniform(1, 4.5, size=len(holds)), holds)[:steps]
    y, upper, lower = np.empty(steps), 3.0, 3.0
    for t in range(steps):
        y[t] = lower
        for _ in range(4):  # four steps of Euler's method
            out_of_upper, out_of_lower = 0.05 * upper**0.5, 0.05 * lower**0.5
            upper = min(max(upper + SECONDS / 4 * (0.04 * u[t] - out_of_upper), 0.0), 10.0)
            lower = min(max(lower + SECONDS / 4 * (out_of_upper - out_of_lower), 0.0), 10.0)
    return u, y + generator.normal(scale=noise, size=steps)
