"""Losses: functions that compare a network's output with a target."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..checks import one_of
from ..errors import DtypeError, NonFiniteError, ShapeError
from ..graph.context import current
from ..graph.node import Spec
from .activations import log_softmax
from .arithmetic import maximum, square
from .core import TensorLike, as_tensor, holds_a_tensor
from .dtypes import accumulator, as_float
from .indexing import IndexArray, pick
from .lengths import expand_mask, mask_padding, mask_values, sequence_mask
from .messages import describe
from .reductions import mean, sum

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["cross_entropy", "mse"]

Reduction = Literal["mean", "sum", "none"]


def _outputs(name: str, given: TensorLike) -> Tensor:
    if isinstance(given, tuple) and holds_a_tensor(given):
        raise DtypeError(
            f"{name}: the prediction is a tuple, such as a recurrent layer returns; unpack it, outputs, state = model(xs), "
            "and give the outputs"
        )
    return as_tensor(given)


def check_target(name: str, target: Tensor, real: Tensor | None = None) -> None:
    """Refuse NaN and inf in a target: they would make every parameter NaN at the next update.

    Parameters
    ----------
    name : str
        Name of the loss.
    target : Tensor
        The target. It is not checked if it is the output of a model and has a gradient.
    real : Tensor of bool, optional
        Where there is no padding, over the leading axes; everywhere if not given.

    Raises
    ------
    NonFiniteError
        The message has the number of such values, and the position of the first.

    Examples
    --------
    >>> check_target("mse", as_tensor([1.0, np.nan]), as_tensor([True, False]))
    >>> check_target("mse", as_tensor([1.0, np.nan]))
    Traceback (most recent call last):
        ...
    tinygrad_rnn.errors.NonFiniteError: mse: 1 of the 2 values of the target (2,) is NaN or inf, the first at index (1,); ...
    """
    value = target.node.value
    recorder = current().recorder
    if recorder is not None and isinstance(value, Spec) and value.dtype.kind == "f":
        recorder.finite.append(mask_padding(target, real).node)
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or np.isfinite(value).all():
        return
    bad = np.argwhere(~np.isfinite(value) if real is None else ~np.isfinite(value) & expand_mask(real, target).data)
    if len(bad) and not target.requires_grad:
        raise NonFiniteError(
            f"{name}: {len(bad)} of the {value.size} values of the target {describe(target.node)} "
            f"{'is' if len(bad) == 1 else 'are'} NaN or inf, the first at index {tuple(map(int, bad[0]))}; "
            "leave these values out, or end their sequences before them by lengths="
        )


def _widened(*tensors: Tensor) -> tuple[np.dtype[Any], list[Tensor]]:
    """The dtype of a loss, and the tensors converted to the dtype in which the loss is computed."""
    common = np.result_type(*[x.dtype for x in tensors])
    wide = accumulator(common)
    return as_float(common), [x if wide == common else x.astype(wide) for x in tensors]


def _real(name: str, losses: tuple[int, ...], lengths: TensorLike | None, batch_first: bool) -> Tensor | None:
    """Mask of losses at steps that are not padding; None if there is no padding."""
    if lengths is None:
        return None
    if len(losses) < 2:
        raise ShapeError(f"{name}: lengths need losses with axes of time and batch, but the losses have shape {losses}")
    batch_size, T = losses[:2] if batch_first else losses[1::-1]
    real = sequence_mask(lengths, T, batch_size)
    return real.T if batch_first else real


def _reduce(losses: Tensor, reduction: Reduction, real: Tensor | None, dtype: np.dtype[Any]) -> Tensor:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(one_of("reduction", reduction, ("mean", "sum", "none")))
    if real is None:
        reduced = {"mean": mean, "sum": sum}.get(reduction, lambda x: x)(losses)
    else:
        losses = mask_padding(losses, real)
        reduced = losses if reduction == "none" else sum(losses)
        if reduction == "mean":
            reduced = reduced / _number_of(real, math.prod(losses.shape[2:]), reduced.dtype)
    if reduced.dtype != dtype:
        reduced = reduced.astype(dtype)
    reduced.node.role = "loss"
    return reduced


def _number_of(real: Tensor, size: int, dtype: np.dtype[Any]) -> TensorLike:
    """The number of losses that are not padding, or 1 if there is none; a tensor while a function is compiled."""
    count = mask_values(real).sum() * size
    return max(1, int(count)) if isinstance(count, np.integer) else maximum(count, 1).astype(dtype)


def cross_entropy(
    logits: TensorLike,
    targets: TensorLike,
    reduction: Reduction = "mean",
    lengths: TensorLike | None = None,
    batch_first: bool = False,
) -> Tensor:
    """Cross-entropy of softmax(logits) over the last axis, in nats.

    Parameters
    ----------
    logits : array_like, shape (..., n)
        The outputs before the softmax, with n classes along the last axis.
    targets : array_like
        Integers of shape (...), the true classes, or probabilities of shape (..., n).
    reduction : {"mean", "sum", "none"}
        ``"sum"`` adds the losses of all elements that are not padding. ``"mean"`` divides this sum by the
        number of these elements. ``"none"`` leaves one loss for each element, 0 in the padding.
    lengths : array_like of int, shape (batch,), optional
        Length of each row, from 0 to T, where the leading axes are (time, batch). If not given, there
        is no padding. The contents of the padding, such as NaN or a class that does not exist,
        change no result and no gradient.
    batch_first : bool
        Whether the leading axes are (batch, time).

    Returns
    -------
    Tensor
        A scalar, or shape (...) without a reduction. The mean is over all positions of the
        shape (...), so over real steps for (time, batch); it is 0 if all lengths are 0.

    Raises
    ------
    ShapeError, DtypeError
        If the targets fit neither form, a class does not exist, the logits are a tuple
        of outputs and state, or the lengths do not fit.
    NonFiniteError
        If a probability, or a class given as a float, is NaN or inf outside the padding.

    Examples
    --------
    >>> cross_entropy([[0.0, 0.0]], [1])
    tensor(0.69314718)

    Two rows, of three steps and of one; the codes 9 are padding:

    >>> classes = [[0, 1], [1, 9], [0, 9]]
    >>> cross_entropy(np.zeros((3, 2, 2)), classes, reduction="sum", lengths=[3, 1])
    tensor(2.77258872)
    """
    scores, wanted = _outputs("cross_entropy", logits), as_tensor(targets)
    real = _real("cross_entropy", scores.shape[:-1], lengths, batch_first)
    if wanted.dtype.kind == "f":
        if wanted.shape == scores.shape[:-1]:
            check_target("cross_entropy", wanted, real)
            raise DtypeError(
                f"cross_entropy: targets that are classes must be integers, not {wanted.dtype}; give targets.astype(int)"
            )
        if wanted.shape != scores.shape:
            raise ShapeError(
                f"cross_entropy: targets that are probabilities must have the shape of the logits, {scores.shape}, "
                f"not {wanted.shape}"
            )
        check_target("cross_entropy", wanted, real)
        dtype, (scores, wanted) = _widened(scores, wanted)
        scores, wanted = log_softmax(mask_padding(scores, real)), mask_padding(wanted, real)
        return _reduce(-sum(wanted * scores, axis=-1), reduction, real, dtype)
    if wanted.dtype.kind == "b":
        raise DtypeError(
            "cross_entropy: targets must be integers, which are classes, or floats, which are probabilities, not booleans; "
            "give targets.astype(int)"
        )
    if wanted.shape != scores.shape[:-1]:
        raise ShapeError(
            f"cross_entropy: for logits of shape {scores.shape}, targets that are classes must have shape "
            f"{scores.shape[:-1]}, not {wanted.shape}"
        )
    dtype, (scores,) = _widened(scores)
    scores, wanted = log_softmax(mask_padding(scores, real)), mask_padding(wanted, real)
    return _reduce(-pick(scores, wanted, IndexArray("cross_entropy: classes", "logits")), reduction, real, dtype)


def mse(
    prediction: TensorLike,
    target: TensorLike,
    reduction: Reduction = "mean",
    lengths: TensorLike | None = None,
    batch_first: bool = False,
) -> Tensor:
    """Squared error.

    Parameters
    ----------
    prediction, target : array_like
        Arrays of one shape: broadcasting them would nearly always be a mistake.
    reduction : {"mean", "sum", "none"}
        ``"sum"`` adds the losses of all elements that are not padding. ``"mean"`` divides this sum by the
        number of these elements. ``"none"`` leaves one loss for each element, 0 in the padding.
    lengths : array_like of int, shape (batch,), optional
        Length of each row, from 0 to T, where the leading axes are (time, batch). If not given, there
        is no padding. The contents of the padding, also NaN, change no result and no gradient.
    batch_first : bool
        Whether the leading axes are (batch, time).

    Returns
    -------
    Tensor
        A scalar, or the shape of the prediction without a reduction. The mean is over single
        numbers, so over real steps times features; it is 0 if all lengths are 0.

    Raises
    ------
    ShapeError
        If the shapes differ, or the lengths do not fit.
    DtypeError
        If the prediction is a tuple of outputs and state, or the lengths are not integers.
    NonFiniteError
        If the target has NaN or inf outside the padding.

    Examples
    --------
    >>> mse([1.0, 2.0], [0.0, 0.0])
    tensor(2.5)
    """
    prediction, target = _outputs("mse", prediction), as_tensor(target)
    if prediction.shape != target.shape:
        raise ShapeError(
            f"mse: prediction and target must have the same shape, but have {prediction.shape} and {target.shape}; reshape one"
        )
    real = _real("mse", prediction.shape, lengths, batch_first)
    check_target("mse", target, real)
    dtype, (prediction, target) = _widened(prediction, target)
    return _reduce(square(mask_padding(prediction, real) - mask_padding(target, real)), reduction, real, dtype)
