"""Initial values of parameters, as arrays of a shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import numpy.typing as npt

from .random import generator

__all__ = ["glorot_uniform", "normal", "orthogonal", "uniform", "without_numbers", "zeros"]

Shape = tuple[int, ...]
_check: ContextVar[Callable[[Shape], None] | None] = ContextVar("check of shapes", default=None)


@contextmanager
def without_numbers(check: Callable[[Shape], None]) -> Iterator[None]:
    """Inside the block, initial values are zeros that need no memory and no random numbers.

    So the shapes of a network can be checked before its weights are read from a file.

    Parameters
    ----------
    check : callable
        ``check(shape)``, called for each array before it is made; it may raise an error.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> with without_numbers(print):
    ...     W = tr.Parameter((1_000_000, 1_000_000))
    (1000000, 1000000)
    >>> W.shape
    (1000000, 1000000)
    """
    before = _check.set(check)
    try:
        yield
    finally:
        _check.reset(before)


def has_no_numbers(array: Any) -> bool:
    """Whether an array was made within :func:`without_numbers`, with one zero for all its elements."""
    return _check.get() is not None and isinstance(array, np.ndarray) and array.size > 1 and not any(array.strides)


def cast(array: npt.NDArray[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """A copy of an array in another dtype; an array of :func:`without_numbers` stays without memory."""
    return np.broadcast_to(np.zeros((), dtype), array.shape) if has_no_numbers(array) else array.astype(dtype)


def _filled(shape: Shape, fill: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    check = _check.get()
    if check is None:
        return fill()
    check(shape)
    return np.broadcast_to(np.zeros(()), shape)


def zeros(shape: Shape) -> npt.NDArray[Any]:
    """An array of zeros."""
    return _filled(shape, lambda: np.zeros(shape))


def uniform(shape: Shape, bound: float) -> npt.NDArray[Any]:
    """Uniform numbers in (-bound, bound); PyTorch's recurrent layers take 1/√hidden_size.

    Examples
    --------
    >>> bool((abs(uniform((3, 3), 0.5)) <= 0.5).all())
    True
    """
    return _filled(shape, lambda: generator().uniform(-bound, bound, shape))


def normal(shape: Shape, std: float = 1.0) -> npt.NDArray[Any]:
    """Gaussian numbers of mean 0."""
    return _filled(shape, lambda: generator().normal(0.0, std, shape))


def glorot_uniform(shape: Shape) -> npt.NDArray[Any]:
    """Uniform numbers within √(6 / (fan in + fan out)) of 0 (Glorot and Bengio, 2010).

    A Parameter that is given by its shape gets these values, because they do not depend on which
    of the two axes is the input.

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
    return _filled(shape, lambda: gain * _orthonormal(*shape))


def _orthonormal(rows: int, columns: int) -> npt.NDArray[Any]:
    q, r = np.linalg.qr(generator().normal(size=(max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))
    return q if rows >= columns else q.T
