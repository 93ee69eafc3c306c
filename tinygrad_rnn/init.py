"""Initial values of parameters, as arrays of a shape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .random import generator

__all__ = ["glorot_uniform", "normal", "orthogonal", "uniform", "zeros"]

Shape = tuple[int, ...]


def zeros(shape: Shape) -> npt.NDArray[Any]:
    """An array of zeros."""
    return np.zeros(shape)


def uniform(shape: Shape, bound: float) -> npt.NDArray[Any]:
    """Uniform numbers in (-bound, bound); PyTorch's recurrent layers take 1/√hidden_size.

    Examples
    --------
    >>> bool((abs(uniform((3, 3), 0.5)) <= 0.5).all())
    True
    """
    return generator().uniform(-bound, bound, shape)


def normal(shape: Shape, std: float = 1.0) -> npt.NDArray[Any]:
    """Gaussian numbers of mean 0."""
    return generator().normal(0.0, std, shape)


def glorot_uniform(shape: Shape) -> npt.NDArray[Any]:
    """Uniform numbers within √(6 / (fan in + fan out)) of 0 (Glorot and Bengio, 2010).

    What a Parameter given by its shape starts with, since it does not matter which of the
    two axes is the input.

    Examples
    --------
    >>> glorot_uniform((2, 4)).shape
    (2, 4)
    """
    fans = shape[-1] + shape[-2] if len(shape) > 1 else 2 * max(1, *shape, 1)
    return uniform(shape, math.sqrt(6 / max(1, fans)))


def orthogonal(shape: Shape, gain: float = 1.0) -> npt.NDArray[Any]:
    """A matrix with orthonormal rows or columns (Saxe, McClelland and Ganguli, 2014).

    Examples
    --------
    >>> W = orthogonal((3, 3))
    >>> bool(np.allclose(W @ W.T, np.eye(3)))
    True
    """
    rows, columns = shape
    q, r = np.linalg.qr(generator().normal(size=(max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))
    return gain * (q if rows >= columns else q.T)
