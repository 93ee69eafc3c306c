"""The random generator that all of the library uses."""

from __future__ import annotations

import numpy as np

__all__ = ["generator", "seed", "use"]

_generator = np.random.default_rng()


def seed(n: int | None) -> None:
    """Make all random numbers of the library repeatable: initial weights, dropout and samples.

    Parameters
    ----------
    n : int or None
        The seed. If None, the system provides a random seed.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.seed(0)
    >>> first = tr.Parameter((2, 2)).data
    >>> tr.seed(0)
    >>> bool((tr.Parameter((2, 2)).data == first).all())
    True
    """
    use(np.random.default_rng(n))


def use(generator: np.random.Generator) -> None:
    """Draw all random numbers of the library from a given generator."""
    global _generator
    _generator = generator


def generator() -> np.random.Generator:
    """The generator that :func:`seed` sets."""
    return _generator
