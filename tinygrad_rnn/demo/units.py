"""Which hidden units are worth looking at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Unit", "interesting"]


class Unit(NamedTuple):
    """A hidden unit, and how much of it the present character explains.

    Attributes
    ----------
    number : int
    explained : float
        The part, 0 to 1, of the variance of its state that is between characters; the
        rest is what the unit makes of those before.
    """

    number: int
    explained: float


def interesting(hidden: npt.NDArray[np.float32], codes: npt.NDArray[np.int64], count: int) -> list[Unit]:
    """The lively units that are least explained by the present character, and those most.

    Parameters
    ----------
    hidden : ndarray, shape (T, units)
    codes : ndarray of int, shape (T,)
        What was read at each step.
    count : int
        How many; half of each kind, from the least explained to the most.

    Examples
    --------
    >>> codes = np.array([0, 1, 0, 1])
    >>> detector, memory = np.array([-1.0, 1, -1, 1]), np.array([-1.0, -1, 1, 1])
    >>> [unit.number for unit in interesting(np.stack([detector, memory], 1).astype("float32"), codes, 2)]
    [1, 0]
    """
    states = hidden.astype(float)
    states = states - states.mean(0)
    variance = (states**2).mean(0)
    sizes = np.bincount(codes)
    sums = np.zeros((len(sizes), states.shape[1]))
    np.add.at(sums, codes, states)
    between = (sums**2 / np.maximum(sizes, 1)[:, None]).sum(0) / max(1, len(codes))
    explained = between / np.maximum(variance, 1e-12)
    lively = np.flatnonzero(variance >= np.median(variance))
    order = lively[np.argsort(explained[lively], kind="stable")]
    chosen = order if len(order) <= count else np.concatenate([order[: (count + 1) // 2], order[len(order) - count // 2 :]])
    return [Unit(int(i), float(explained[i])) for i in chosen]
