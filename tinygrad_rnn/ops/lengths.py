"""Masks of lengths: where the rows of a padded batch have not ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..console import counted
from ..errors import DtypeError, ShapeError, TraceError
from ..graph.context import current, mode
from ..graph.node import Spec
from .arithmetic import clip, equal, less, where
from .core import TensorLike, as_tensor

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["expand_mask", "mask_padding", "mask_values", "sequence_mask"]


def sequence_mask(lengths: TensorLike, T: int, batch_size: int) -> Tensor:
    """A mask that is True at steps within each row's length.

    Parameters
    ----------
    lengths : array_like of int, shape (batch,)
        Lengths of the rows, from 0 to T.
    T, batch_size : int

    Returns
    -------
    Tensor of bool, shape (T, batch)

    Raises
    ------
    DtypeError
        If the lengths are not integers.
    TraceError
        If the lengths are symbolic, and no function is being compiled.
    ShapeError
        If there is not one length for each row, or a length is negative or longer than T.

    Examples
    --------
    >>> sequence_mask([2, 0], T=3, batch_size=2).data.T
    array([[ True,  True, False],
           [False, False, False]])
    """
    given = as_tensor(lengths)
    if given.dtype.kind not in "iu" and given.size:
        raise DtypeError(f"lengths must be integers, not {given.dtype}")
    if given.shape != (batch_size,):
        raise ShapeError(
            f"lengths have shape {given.shape}, but a batch of {batch_size} needs one for each row: ({batch_size},)"
        )
    found = given.node.value
    if isinstance(found, Spec):
        return _symbolic_mask(given, T)
    if found.size and not 0 <= found.min() <= found.max() <= T:
        raise ShapeError(f"lengths go from {found.min()} to {found.max()}, but the sequence has {counted(T, 'step')}")
    return as_tensor(np.arange(T)[:, None] < found)


def _symbolic_mask(lengths: Tensor, T: int) -> Tensor:
    """The mask in a function that is being compiled; each run checks the lengths."""
    recorder = current().recorder
    if recorder is None:
        raise TraceError(
            "lengths cannot be used inside of a cell's step, which is recorded before there are values; give them to the layer"
        )
    whole = lengths.astype(np.int64)
    recorder.finite.append(where(equal(clip(whole, 0, T), whole), 0.0, np.inf).node)  # inf: the run does not count
    with mode(recording=False):  # the mask is data, like the mask of known lengths
        return less(np.arange(T)[:, None], whole)


def mask_values(mask: Tensor) -> Any:
    """The array of a mask; while a function is compiled, the values are not known, and the mask itself is returned.

    Examples
    --------
    >>> mask_values(sequence_mask([2, 0], T=3, batch_size=2)).sum(axis=0)
    array([2, 0])
    """
    value = mask.node.value
    return value if isinstance(value, np.ndarray) else mask


def expand_mask(mask: Tensor, x: Tensor) -> Tensor:
    """A mask with axes of length 1 added, so that it broadcasts against x.

    Examples
    --------
    >>> expand_mask(as_tensor([True, False]), as_tensor(np.zeros((2, 5, 3)))).shape
    (2, 1, 1)
    """
    return mask if mask.ndim == x.ndim else mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))


def mask_padding(x: Tensor, real: Tensor | None) -> Tensor:
    """Values with zeros where a mask of lengths is False; unchanged without a mask.

    Examples
    --------
    >>> mask_padding(as_tensor([[1.0, 2.0], [3.0, 4.0]]), sequence_mask([2, 1], T=2, batch_size=2))
    tensor([[1., 2.],
            [3., 0.]])
    """
    return x if real is None else where(expand_mask(real, x), x, 0)
