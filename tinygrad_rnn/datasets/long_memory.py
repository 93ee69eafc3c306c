"""Problems that need a long memory: adding, and copying."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["adding_problem", "copy_memory"]

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


def adding_problem(steps: int, batch_size: int, *, rng: int | np.random.Generator | None) -> tuple[Floats, Floats]:
    """The adding problem: two of many numbers are marked, and the target is their sum.

    Parameters
    ----------
    steps : int
        The length of the sequences, at least 2.
    batch_size : int
        Number of sequences in the batch.
    rng : int, Generator or None
        A seed, or the generator of the random numbers; None for other numbers at each call.

    Returns
    -------
    inputs : ndarray of float32, shape (steps, batch_size, 2)
        At each step a number, uniform in [0, 1], and a mark. The mark is 1 at one step of the first
        half and at one step of the second half, and 0 elsewhere.
    targets : ndarray of float32, shape (batch_size, 1)
        The sum of the two marked numbers. A model that always answers 1 has a mean squared error of
        1/6, the variance of the sum.

    Raises
    ------
    ValueError
        If `steps` is less than 2, or `batch_size` is negative.

    References
    ----------
    Hochreiter and Schmidhuber, "Long short-term memory", 1997. One mark in each half is the form
    of Arjovsky, Shah and Bengio, "Unitary evolution recurrent neural networks", 2016.

    Examples
    --------
    >>> inputs, targets = adding_problem(100, 8, rng=0)
    >>> inputs.shape, targets.shape
    ((100, 8, 2), (8, 1))
    >>> bool(np.allclose(targets[:, 0], (inputs[..., 0] * inputs[..., 1]).sum(axis=0)))
    True
    """
    if steps < 2:
        raise ValueError(f"steps must be at least 2, not {steps}: the adding problem marks two steps")
    rng = np.random.default_rng(rng)
    numbers = rng.random((steps, batch_size), np.float32)
    half, rows = steps // 2, np.arange(batch_size)
    marked = rng.integers(0, half, batch_size), rng.integers(half, steps, batch_size)
    marks = np.zeros_like(numbers)
    marks[marked, rows] = 1
    return np.stack([numbers, marks], axis=-1), numbers[marked, rows].sum(axis=0)[:, None]


def copy_memory(
    delay: int, batch_size: int, *, rng: int | np.random.Generator | None, length: int = 10, symbols: int = 8
) -> tuple[Codes, Codes]:
    """The copy memory problem: read some symbols, wait, and repeat them on a signal.

    Parameters
    ----------
    delay : int
        T, the number of steps from the last symbol to the request, at least 1.
    batch_size : int
        Number of sequences in the batch.
    rng : int, Generator or None
        A seed, or the generator of the random numbers; None for other numbers at each call.
    length : int
        Number of symbols to remember.
    symbols : int
        Number of different symbols 1, 2, …, `symbols`. 0 is a blank, and `symbols` + 1 is the
        request for the answer.

    Returns
    -------
    inputs : ndarray of int64, shape (delay + 2 length, batch_size)
        `length` random symbols, then delay - 1 blanks, then the request length + 1 times.
    targets : ndarray of int64, shape (delay + 2 length, batch_size)
        Blanks, and at the last `length` steps the symbols. A model that forgets the symbols, but
        knows when to answer, has a mean cross-entropy of length ln(symbols) / (delay + 2 length).

    Raises
    ------
    ValueError
        If delay, length or symbols is less than 1, or `batch_size` is negative.

    References
    ----------
    Hochreiter and Schmidhuber, "Long short-term memory", 1997, in the form of Arjovsky, Shah
    and Bengio, "Unitary evolution recurrent neural networks", 2016.

    Examples
    --------
    >>> inputs, targets = copy_memory(4, 1, rng=0, length=3)
    >>> print(inputs[:, 0], targets[:, 0])
    [7 6 5 0 0 0 9 9 9 9] [0 0 0 0 0 0 0 7 6 5]
    """
    if min(delay, length, symbols) < 1:
        raise ValueError(f"delay, length and symbols must be at least 1, not {delay}, {length} and {symbols}")
    inputs = np.zeros((delay + 2 * length, batch_size), np.int64)
    inputs[:length] = np.random.default_rng(rng).integers(1, symbols + 1, (length, batch_size))
    inputs[-length - 1 :] = symbols + 1
    targets = np.zeros_like(inputs)
    targets[-length:] = inputs[:length]
    return inputs, targets
