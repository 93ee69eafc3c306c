"""Losses: what a network's output is judged by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import DtypeError, ShapeError
from .activations import log_softmax
from .arithmetic import square
from .core import TensorLike, _holds_a_tensor, as_tensor
from .reductions import mean, sum
from .shapes import expand_dims, squeeze, take_along_axis

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["cross_entropy", "mse"]

Reduction = Literal["mean", "sum", "none"]


def _outputs(name: str, given: TensorLike) -> Tensor:
    if isinstance(given, tuple) and _holds_a_tensor(given):
        raise DtypeError(
            f"{name}: this is a tuple, such as a recurrent layer returns; unpack it: outputs, state = model(xs), "
            "and give the outputs"
        )
    return as_tensor(given)


def _reduce(losses: Any, reduction: Reduction) -> Any:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction is 'mean', 'sum' or 'none', not {reduction!r}")
    reduced = {"mean": mean, "sum": sum}.get(reduction, lambda x: x)(losses)
    reduced._node.role = "loss"
    return reduced


def cross_entropy(logits: TensorLike, targets: TensorLike, reduction: Reduction = "mean") -> Tensor:
    """Cross-entropy of softmax(logits) over the last axis, in nats.

    Parameters
    ----------
    logits : array_like, shape (..., n)
    targets : array_like
        Integers of shape (...), the true classes, or probabilities of shape (..., n).
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor
        A scalar, or shape (...) without a reduction.

    Raises
    ------
    ShapeError, DtypeError
        If the targets fit neither form, a class does not exist, or the logits are a tuple
        of outputs and state.

    Examples
    --------
    >>> cross_entropy([[0.0, 0.0]], [1])
    tensor(0.69314718)
    """
    scores = log_softmax(_outputs("cross_entropy", logits))
    wanted = as_tensor(targets)
    if wanted.dtype.kind == "f":
        if wanted.shape != scores.shape:
            raise ShapeError(f"cross_entropy: probabilities {wanted.shape} for logits {scores.shape}; give both one shape")
        return _reduce(-sum(wanted * scores, axis=-1), reduction)
    if wanted.dtype.kind == "b":
        raise DtypeError("cross_entropy: the targets are booleans; give integers, the classes, or probabilities")
    if wanted.shape != scores.shape[:-1]:
        raise ShapeError(
            f"cross_entropy: classes {wanted.shape} for logits {scores.shape}; "
            f"give {scores.shape[:-1]}, or probabilities {scores.shape}"
        )
    known = wanted._node.value
    if isinstance(known, np.ndarray) and known.size and not (known.min() >= 0 and known.max() < scores.shape[-1]):
        raise ShapeError(
            f"cross_entropy: classes go from {known.min()} to {known.max()}, and there are {scores.shape[-1]} logits"
        )
    return _reduce(-squeeze(take_along_axis(scores, expand_dims(wanted, -1), -1), -1), reduction)


def mse(prediction: TensorLike, target: TensorLike, reduction: Reduction = "mean") -> Tensor:
    """Squared error.

    Parameters
    ----------
    prediction, target : array_like
        Of one shape: a broadcast here is nearly always a mistake.
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ShapeError
        If the shapes differ.
    DtypeError
        If the prediction is a tuple of outputs and state.

    Examples
    --------
    >>> mse([1.0, 2.0], [0.0, 0.0])
    tensor(2.5)
    """
    prediction, target = _outputs("mse", prediction), as_tensor(target)
    if prediction.shape != target.shape:
        raise ShapeError(f"mse: prediction {prediction.shape} and target {target.shape} differ; reshape one of them")
    return _reduce(square(prediction - target), reduction)
