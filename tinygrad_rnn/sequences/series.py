"""Cutting one long series: into windows, sessions, chronological parts, and chunks for truncated BPTT."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..console import counted
from ..errors import DataError, DtypeError
from .padding import pad

__all__ = ["sessions", "split", "tbptt_chunks", "windows"]

Array = npt.NDArray[Any]


def windows(
    series: npt.ArrayLike, length: int, step: int = 1, ahead: int = 0, starts: npt.ArrayLike = (0,)
) -> Array | tuple[Array, Array]:
    """Cut all windows of one length out of a series, as a batch.

    Parameters
    ----------
    series : array_like, shape (n, …)
        The series, with time as the first axis.
    length : int
        Steps in a window.
    step : int
        Number of steps from the beginning of a window to the beginning of the next window.
    ahead : int
        If not 0, targets are returned too: for each element of a window, the element `ahead`
        steps later. With 1, ``targets[-1]`` is the element right after the window.
    starts : array_like of int, shape (sessions,)
        Positions in the series at which sessions begin. No window, and no target, reaches from
        one session into another.

    Returns
    -------
    inputs : ndarray, shape (length, batch, …)
        The windows: a read-only view of the series if it is one session, otherwise a copy.
    targets : ndarray, shape (length, batch, …)
        The targets, only if `ahead` is not 0.

    Raises
    ------
    DataError
        If no session is long enough for a window and its targets, or starts do not fit.
    ValueError
        If length or step is less than 1, or ahead is negative.

    Examples
    --------
    >>> windows([1, 2, 3, 4, 5], 3).T
    array([[1, 2, 3],
           [2, 3, 4],
           [3, 4, 5]])
    >>> x, y = windows([1, 2, 3, 4, 5, 6], 3, step=2, ahead=1)
    >>> print(x.T.tolist(), y.T.tolist())
    [[1, 2, 3], [3, 4, 5]] [[2, 3, 4], [4, 5, 6]]
    >>> windows([1, 2, 3, 10, 20, 30], 2, starts=[0, 3]).T
    array([[ 1,  2],
           [ 2,  3],
           [10, 20],
           [20, 30]])
    """
    if length < 1 or step < 1 or ahead < 0:
        raise ValueError(f"length and step must be at least 1, and ahead at least 0, not {length}, {step} and {ahead}")
    (series,) = _in_step([series])
    ends = itertools.pairwise(_bounds(starts, series))
    first = np.concatenate([np.arange(start, end - length - ahead + 1, step) for start, end in ends])
    if not len(first):
        raise DataError(
            f"a window needs {length + ahead} elements, and no session of this series of "
            f"{counted(len(series), 'element')} has as "
            "many; give a smaller length or ahead"
        )
    # a slice gives a view, an array of indices a copy
    chosen: Any = slice(None, len(series) - length - ahead + 1, step) if np.size(starts) == 1 else first
    view = np.moveaxis(np.lib.stride_tricks.sliding_window_view(series, length, axis=0), -1, 0)
    inputs = view[:, chosen]
    return (inputs, view[:, ahead:][:, chosen]) if ahead else inputs


def sessions(*series: npt.ArrayLike, starts: npt.ArrayLike) -> tuple[Array, ...]:
    """Cut a series where its sessions begin, and stack them as a padded batch.

    Each session is a row of the batch with its own length. A layer that is given the lengths
    starts each row from its own initial state, so no information passes from one session to another.

    Parameters
    ----------
    *series : array_like, shape (n, …)
        One or several series, such as inputs and targets, all cut at the same positions.
    starts : array_like of int, shape (sessions,)
        Positions at which sessions begin, in increasing order; the first is 0.

    Returns
    -------
    *padded : ndarray, shape (T, sessions, …)
        The padded sessions of each series; shorter sessions are filled up with zeros.
    lengths : ndarray of int64, shape (sessions,)

    Raises
    ------
    DataError
        If the series differ in length, or the starts do not fit.

    See Also
    --------
    pad : For sessions that are separate arrays already.

    Examples
    --------
    >>> padded, lengths = sessions([1, 2, 3, 10, 20], starts=[0, 3])
    >>> padded
    array([[ 1, 10],
           [ 2, 20],
           [ 3,  0]])
    >>> lengths
    array([3, 2])
    """
    arrays = _in_step(series)
    cut = [pad(np.split(array, _bounds(starts, array)[1:-1])) for array in arrays]
    return (*(padded for padded, _ in cut), cut[0][1])


def split(
    series: npt.ArrayLike | tuple[npt.ArrayLike, ...],
    fractions: Sequence[float] = (0.7, 0.15, 0.15),
    gap: int = 0,
    shuffle: bool = False,
) -> list[Any]:
    """Cut a series in order of time into parts for training, validation and test.

    Parameters
    ----------
    series : array_like, shape (n, …), or a tuple of them
        A tuple has several series with the same time steps, such as inputs and targets.
    fractions : sequence of float
        The sizes of the parts, which add up to 1.
    gap : int
        Number of elements that are left out between two parts. Use the number of steps that a
        model looks back, if the parts must have nothing in common.
    shuffle : bool
        Must be False. After a random split, test elements would lie between neighbours that the
        model was trained on, and the test error would say nothing about the future.

    Returns
    -------
    list of ndarray, or of tuples of ndarray
        The parts, in order of time; views.

    Raises
    ------
    DataError
        If a part would be empty, if the series differ in length, or if the elements of a series
        overlap in memory, as those of :func:`windows` do: the same numbers would be in
        several parts. Split first, and make windows of each part.
    ValueError
        If `shuffle` is True, the fractions do not add up to 1, or the gap is negative.

    Examples
    --------
    >>> split(np.arange(10), [0.6, 0.2, 0.2])
    [array([0, 1, 2, 3, 4, 5]), array([6, 7]), array([8, 9])]
    >>> (x, y), (later_x, later_y) = split((np.arange(6), np.arange(6) ** 2), [0.5, 0.5], gap=1)
    >>> x, later_y
    (array([0, 1]), array([ 9, 16, 25]))
    """
    if shuffle:
        raise ValueError(
            "a series cannot be split at random: a model that was trained on the neighbours of each test value seems better "
            "than it is. Leave shuffle out; the parts are then in order of time"
        )
    shares = np.asarray(fractions, float)
    if shares.ndim != 1 or not (shares > 0).all() or not np.isclose(shares.sum(), 1):
        raise ValueError(f"fractions must be positive and add up to 1, not {fractions}")
    if gap < 0:
        raise ValueError(f"gap must be at least 0, not {gap}")
    arrays = _in_step(series if isinstance(series, tuple) else (series,))
    if any(_overlapping(array) for array in arrays):
        raise DataError(
            "the windows overlap, so the parts would share elements; split the series first, then make windows of each part"
        )
    n = len(arrays[0])
    bounds = np.round(np.cumsum([0, *shares]) * n).astype(int)
    starts, ends = bounds[:-1], np.append(bounds[1:-1] - gap, n)
    if not (starts < ends).all():
        raise DataError(f"a series of {n} elements is too short for the parts {fractions} with a gap of {gap}")
    parts = [tuple(array[start:end] for array in arrays) for start, end in zip(starts, ends, strict=True)]
    return parts if isinstance(series, tuple) else [part for (part,) in parts]


def tbptt_chunks(codes: npt.ArrayLike, batch_size: int, length: int) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """Cut a long sequence into chunks for truncated backpropagation through time.

    The sequence is cut into `batch_size` rows that run in parallel. Each chunk continues where
    the chunk before ended, so carry the state over, detached.

    Parameters
    ----------
    codes : array_like, shape (n, …)
        The sequence.
    batch_size : int
        Number of rows that run side by side.
    length : int
        Steps in a chunk; the last chunk may be shorter.

    Yields
    ------
    inputs, targets : ndarray, shape (length, batch_size, …)
        The targets are the inputs one step later.

    Raises
    ------
    DataError
        If the sequence is too short for one step of each row, or a size is not positive.

    Examples
    --------
    >>> for x, y in tbptt_chunks(range(7), batch_size=2, length=2):
    ...     print(x.T.tolist(), y.T.tolist())
    [[0, 1], [3, 4]] [[1, 2], [4, 5]]
    [[2], [5]] [[3], [6]]
    """
    codes = np.asarray(codes)
    if batch_size < 1 or length < 1:
        raise DataError(f"batch_size and length must be at least 1, not {batch_size} and {length}")
    rows = (len(codes) - 1) // batch_size
    if rows < 1:
        raise DataError(
            f"a sequence of {counted(len(codes), 'element')} is too short for a batch of {counted(batch_size, 'row')}, "
            "each with "
            "a step and its target; give a longer sequence, or a smaller batch_size"
        )

    def laid_out(start: int) -> npt.NDArray[Any]:
        part = codes[start : start + rows * batch_size]
        return part.reshape(batch_size, rows, *codes.shape[1:]).swapaxes(0, 1)

    inputs, targets = laid_out(0), laid_out(1)
    return ((inputs[i : i + length], targets[i : i + length]) for i in range(0, rows, length))


def _in_step(series: Sequence[npt.ArrayLike]) -> list[Array]:
    """Several series as arrays, after a check that all have one length."""
    arrays = [np.asarray(one) for one in series]
    if not arrays or any(array.ndim == 0 for array in arrays):
        raise DataError("give at least one series, an array with a time axis")
    if len({len(array) for array in arrays}) > 1:
        raise DataError(f"the series must have the same length, but have {', '.join(str(len(array)) for array in arrays)}")
    return arrays


def _bounds(starts: npt.ArrayLike, series: Array) -> Array:
    """The starts of sessions and the end of the series, checked."""
    found = np.asarray(starts)
    if found.dtype.kind not in "iu":
        raise DtypeError(f"starts must be integers, positions in the series, not {found.dtype}")
    bounds = np.append(found, len(series)) if found.ndim == 1 else found
    if bounds.ndim != 1 or bounds[0] != 0 or not (np.diff(bounds) > 0).all():
        raise DataError(
            f"starts of sessions must rise from 0 and stay below {len(series)}, the length of the series, not {found}"
        )
    return bounds


def _overlapping(array: Array) -> bool:
    """Whether elements of an array share memory, except along axes that are broadcast."""
    distinct = array[tuple(slice(1) if stride == 0 else slice(None) for stride in array.strides)]
    low, high = np.lib.array_utils.byte_bounds(distinct)
    return high - low < distinct.nbytes
