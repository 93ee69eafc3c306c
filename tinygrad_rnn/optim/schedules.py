"""A schedule of the learning rate."""

from __future__ import annotations

import math

from .base import Optimizer, check_range

__all__ = ["WarmupCosine"]


class WarmupCosine:
    """Linear warm-up to the optimiser's learning rate, then half a cosine down (Loshchilov and Hutter, 2017).

    Making the schedule sets ``optimizer.lr`` for the first update. Each :meth:`step` sets ``optimizer.lr``
    for the next update.

    Parameters
    ----------
    optimizer : Optimizer
        The optimiser. Its learning rate is the peak.
    total : int
        Number of updates until `final` is reached.
    warmup : int
        Number of updates before the peak: update n, n = 1, 2, …, has n / (warmup + 1) of the peak.
    final : float
        The learning rate after `total` updates, and from then on.
    updates : int
        Number of updates that were made before, to continue from there.

    Raises
    ------
    ValueError
        If not 0 <= warmup < total, or `final` or `updates` is negative or not finite.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> from tinygrad_rnn import optim
    >>> optimizer = optim.SGD([tr.Parameter([1.0])], lr=0.4)
    >>> schedule = WarmupCosine(optimizer, total=5, warmup=1)
    >>> for _ in range(6):
    ...     print(f"{optimizer.lr:.2f}", end=" ")
    ...     optimizer.step()
    ...     schedule.step()
    0.20 0.40 0.34 0.20 0.06 0.00
    """

    def __init__(self, optimizer: Optimizer, total: int, warmup: int = 0, final: float = 0.0, updates: int = 0) -> None:
        if not 0 <= warmup < total:
            raise ValueError(f"warmup must be at least 0 and less than total={total} updates, not {warmup}")
        self.optimizer, self.peak = optimizer, optimizer.lr
        check_range("updates", updates)
        self.total, self.warmup, self.final, self.updates = total, warmup, check_range("final", final), updates
        optimizer.lr = self.rate(updates)

    def rate(self, n: int) -> float:
        """The learning rate after n updates."""
        if n < self.warmup:
            return self.peak * (n + 1) / (self.warmup + 1)
        done = min(1.0, (n - self.warmup) / (self.total - self.warmup))
        return self.final + (self.peak - self.final) * (1 + math.cos(math.pi * done)) / 2

    def step(self) -> None:
        """Count an update; call it after ``optimizer.step()``."""
        self.updates += 1
        self.optimizer.lr = self.rate(self.updates)
