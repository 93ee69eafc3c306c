"""Rules for dtypes: sums are computed in float32 at least, and functions of floats take integers as float64."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "accumulator",
    "as_float",
    "fits",
    "makes_floats",
    "narrowed",
    "takes_integers_as_floats",
    "widened",
    "widens_halves",
]

Array = npt.NDArray[Any]
Kernel = Callable[..., Any]

_HALF, _SINGLE, _DOUBLE = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)


def as_float(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Dtype of the result of a function of floats: float64 for integer and boolean inputs.

    NumPy gives float16 for integers of 8 bits, and float32 for those of 16 bits: exp(12) would overflow.

    Examples
    --------
    >>> as_float(np.dtype("int8")), as_float(np.dtype("float32"))
    (dtype('float64'), dtype('float32'))
    """
    return _DOUBLE if dtype.kind in "iub" else dtype


def accumulator(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Dtype in which values are averaged: float64 for integers, float32 for float16.

    Examples
    --------
    >>> accumulator(np.dtype("float16")), accumulator(np.dtype("int8")), accumulator(np.dtype("float32"))
    (dtype('float32'), dtype('float64'), dtype('float32'))
    """
    return _SINGLE if dtype == _HALF else as_float(dtype)


def fits(array: Array, dtype: np.dtype[Any]) -> bool:
    """Whether all finite numbers of an array stay finite in another float dtype.

    Examples
    --------
    >>> fits(np.array([1e3, np.inf]), np.dtype("float16")), fits(np.array([1e6]), np.dtype("float16"))
    (True, False)
    """
    with np.errstate(over="ignore"):
        return np.array_equal(np.isfinite(array.astype(dtype)), np.isfinite(array))


def widened(x: Tensor) -> Tensor:
    """A tensor converted to the dtype in which its values are averaged; see :func:`accumulator`.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> widened(tr.tensor([1.0], dtype="float16")).dtype
    dtype('float32')
    """
    dtype = accumulator(x.dtype)
    return x if x.dtype == dtype else x.astype(dtype)


def narrowed(y: Tensor, x: Tensor) -> Tensor:
    """The result of a computation on ``widened(x)``, converted back to the result dtype; see :func:`as_float`.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.tensor([1.0], dtype="float16")
    >>> narrowed(widened(x) / 3, x).dtype
    dtype('float16')
    """
    dtype = as_float(x.dtype)
    return y if y.dtype == dtype else y.astype(dtype)


def makes_floats(ufunc: np.ufunc) -> bool:
    """Whether a NumPy function returns floats for integers.

    Examples
    --------
    >>> makes_floats(np.exp), makes_floats(np.divide), makes_floats(np.add), makes_floats(np.less)
    (True, True, False, False)
    """
    pairs = [kinds.split("->") for kinds in ufunc.types]
    return not any(set(inputs) <= set("?bBhHiIlLqQ") and set(outputs) <= set("?bBhHiIlLqQ") for inputs, outputs in pairs)


def takes_integers_as_floats(kernel: Kernel) -> Kernel:
    """A kernel that converts inputs to float64 if all of them are integers or booleans.

    Examples
    --------
    >>> np.exp(np.array([1], "int8")).dtype, takes_integers_as_floats(np.exp)(np.array([1], "int8")).dtype
    (dtype('float16'), dtype('float64'))
    """
    if isinstance(kernel, np.ufunc) and kernel.nin == 1:

        def of_one(x: Array, out: Array | None = None) -> Any:
            return kernel(x.astype(_DOUBLE) if x.dtype.kind in "iub" else x, out)

        return of_one
    if isinstance(kernel, np.ufunc) and kernel.nin == 2:

        def of_two(a: Array, b: Array, out: Array | None = None) -> Any:
            if a.dtype.kind in "iub" and b.dtype.kind in "iub":
                a, b = a.astype(_DOUBLE), b.astype(_DOUBLE)
            return kernel(a, b, out)

        return of_two

    @functools.wraps(kernel)
    def of_any(*xs: Array, out: Array | None = None, **attributes: Any) -> Any:
        kinds = [x.dtype.kind for x in xs]
        if "f" not in kinds and "c" not in kinds:  # complex numbers occur in checks of gradients
            xs = tuple([x.astype(_DOUBLE) for x in xs])
        return kernel(*xs, out=out, **attributes)

    return of_any


def widens_halves(kernel: Kernel) -> Kernel:
    """A kernel that computes float16 inputs in float32, and rounds the result to the inputs' common dtype.

    Examples
    --------
    >>> x = np.full((5000, 2), 0.5, np.float16)
    >>> np.add.reduce(x, axis=0), widens_halves(np.add.reduce)(x, axis=0)
    (array([1.024e+03, 1.024e+03], dtype=float16), array([2.5e+03, 2.5e+03], dtype=float16))
    """

    @functools.wraps(kernel)
    def wide(*xs: Array, out: Array | None = None, **attributes: Any) -> Any:
        for x in xs:
            if x.dtype.char == "e":  # "e" is float16 in NumPy's letters; comparing letters is faster than comparing dtypes
                break
        else:
            return kernel(*xs, out=out, **attributes)
        y = kernel(*[x.astype(_SINGLE) if x.dtype == _HALF else x for x in xs], **attributes)
        if out is None:
            return y.astype(np.result_type(*xs))
        np.copyto(out, y, casting="same_kind")
        return out

    return wide
