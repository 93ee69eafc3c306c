"""Padding: sequences of different lengths in one array, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import DataError, DtypeError, ShapeError
from ..ops.lengths import sequence_mask
from ..tensor import Tensor

__all__ = ["pad", "reverse_padded", "unpad"]

Array = npt.NDArray[Any]
ArrayOrTensor = TypeVar("ArrayOrTensor", Array, Tensor)


def pad(sequences: Sequence[npt.ArrayLike], value: float = 0, batch_first: bool = False) -> tuple[Array, npt.NDArray[np.int64]]:
    """Stack sequences of different lengths into one array, padded at the ends.

    Parameters
    ----------
    sequences : sequence of array_like, shape (length, …)
        The shapes are equal except for the length. The shape and dtype of an empty sequence are
        ignored, unless all sequences are empty.
    value : scalar
        The value of the padding. With ``lengths=`` given to a layer and a loss, this value has
        no effect.
    batch_first : bool
        Whether the batch is the first axis, and time the second.

    Returns
    -------
    padded : ndarray, shape (T, batch, …), or (batch, T, …) if `batch_first`
        The sequences; T is the greatest length.
    lengths : ndarray of int64, shape (batch,)

    Raises
    ------
    DataError
        If there are no sequences.
    ShapeError
        If the elements of the sequences differ in shape.
    DtypeError
        If elements are not numbers, if some sequences are of integers and others of floats, or
        if `value` does not fit their dtype.

    See Also
    --------
    unpad : The inverse.

    Examples
    --------
    >>> padded, lengths = pad([[1, 2, 3], [4], []])
    >>> padded
    array([[1, 4, 0],
           [2, 0, 0],
           [3, 0, 0]])
    >>> lengths
    array([3, 1, 0])
    """
    arrays = [np.asarray(sequence) for sequence in sequences]
    if not arrays:
        raise DataError("there are no sequences to pad; give at least one")
    for i, array in enumerate(arrays):
        if array.ndim == 0:
            raise ShapeError(f"sequence {i} must be an array with a time axis, not the number {array}")
    # the dtype and the element shape of an empty sequence, such as [], mean nothing
    telling = {i: array for i, array in enumerate(arrays) if len(array)} or dict(enumerate(arrays))
    first = next(iter(telling.values()))
    for i, array in telling.items():
        if array.dtype.kind not in "biufc":
            raise DtypeError(f"sequence {i} must have numbers, not {array.dtype}; encode a text by sequences.Vocabulary first")
        if array.dtype.kind != first.dtype.kind:
            raise DtypeError(f"sequence {i} has dtype {array.dtype}, but others have {first.dtype}; convert all to one dtype")
        if array.shape[1:] != first.shape[1:]:
            raise ShapeError(
                f"the elements of sequence {i} have shape {array.shape[1:]}, but those of others {first.shape[1:]}"
            )
    dtype = np.result_type(*telling.values())
    fill = _in_dtype(value, dtype)
    if fill is None:
        raise DtypeError(f"the sequences have dtype {dtype}, so the padding cannot be {value!r}; give another value")
    lengths = np.array([len(array) for array in arrays], np.int64)
    padded = np.full((lengths.max(), len(arrays), *first.shape[1:]), fill, dtype)
    for b, array in enumerate(arrays):
        if len(array):
            padded[: len(array), b] = array
    return (padded.swapaxes(0, 1) if batch_first else padded), lengths


def _in_dtype(value: Any, dtype: np.dtype[Any]) -> Array | None:
    """A number converted to a dtype, or None if the dtype cannot hold it."""
    given = np.asarray(value)
    if given.dtype.kind not in ("biufc" if dtype.kind == "c" else "biuf"):
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        found = given.astype(dtype)
    same = found == given if dtype.kind in "biu" else np.isfinite(found) == np.isfinite(given)
    return found if same.all() else None


def unpad(padded: npt.ArrayLike, lengths: npt.ArrayLike, batch_first: bool = False) -> list[Array]:
    """The sequences of a padded array, each with its own length, as views.

    Parameters
    ----------
    padded : array_like, shape (T, batch, …), or (batch, T, …) if `batch_first`
        The padded sequences.
    lengths : array_like of int, shape (batch,)
        The length of each sequence.
    batch_first : bool
        Whether the batch is the first axis, and time the second.

    Returns
    -------
    list of ndarray, shape (length, …)

    Raises
    ------
    ShapeError, DtypeError
        If the lengths do not fit.

    Examples
    --------
    >>> unpad([[1, 4], [2, 0], [3, 0]], [3, 1])
    [array([1, 2, 3]), array([4])]
    """
    array = np.asarray(padded)
    rows = (array if batch_first else array.swapaxes(0, 1)) if array.ndim > 1 else array
    found = _lengths(lengths, array.shape, batch_first)
    return [row[:n] for row, n in zip(rows, found, strict=True)]


def reverse_padded(padded: ArrayOrTensor, lengths: npt.ArrayLike, batch_first: bool = False) -> ArrayOrTensor:
    """Reverse each sequence of a padded array over its length; the padding stays in place.

    Parameters
    ----------
    padded : ndarray or Tensor, shape (T, batch, …), or (batch, T, …) if `batch_first`
        The padded sequences.
    lengths : array_like of int, shape (batch,)
        The length of each sequence.
    batch_first : bool
        Whether the batch is the first axis, and time the second.

    Returns
    -------
    ndarray or Tensor, as `padded`
        The reversed sequences. The gradient of a Tensor is reversed back.

    Raises
    ------
    ShapeError, DtypeError
        If the lengths do not fit.

    Examples
    --------
    >>> reverse_padded(np.array([[1, 4], [2, 0], [3, 0]]), [3, 1])
    array([[3, 4],
           [2, 0],
           [1, 0]])
    """
    found = _lengths(lengths, padded.shape, batch_first)
    t = np.arange(padded.shape[1 if batch_first else 0])[:, None]
    times, rows = np.where(t < found, found - 1 - t, t), np.arange(len(found))
    return padded[rows[:, None], times.T] if batch_first else padded[times, rows]


def _lengths(lengths: npt.ArrayLike, shape: tuple[int, ...], batch_first: bool) -> npt.NDArray[np.int64]:
    """The lengths as an array, checked against the shape of the padded array."""
    if len(shape) < 2:
        raise ShapeError(f"padded sequences must have shape (time, batch, …), or (batch, time, …), not {shape}")
    batch_size, T = shape[:2] if batch_first else shape[1::-1]
    return sequence_mask(lengths, T, batch_size).data.sum(axis=0)
