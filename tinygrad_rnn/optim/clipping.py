"""Gradient clipping."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np

from ..errors import NonFiniteError
from ..graph.context import current, mode
from ..tensor import Parameter, Tensor, tensor
from .base import each, trainable, values_of

__all__ = ["clip_grad_norm", "clip_grad_value"]


def clip_grad_norm(parameters: Iterable[Parameter], max_norm: float) -> float:
    """Scale all gradients together, so that their joint Euclidean norm is at most `max_norm`.

    Parameters
    ----------
    parameters : iterable of Parameter
        The parameters. Those that are frozen or have no gradient are skipped.
    max_norm : float
        Limit of the norm, 0 or more; with inf the norm is only measured.

    Returns
    -------
    float
        The norm before clipping (Pascanu, Mikolov and Bengio, 2013); in a function that :func:`compile` records, a tensor.

    Raises
    ------
    NonFiniteError
        If a gradient has NaN or inf, which no scaling can repair; the gradients then stay unchanged.
    ValueError
        If the limit is negative, or NaN.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> w = tr.Parameter([3.0, 4.0])
    >>> (w * w / 2).sum().backward()
    >>> clip_grad_norm([w], 1.0)
    5.0
    >>> w.grad
    tensor([0.6, 0.8], dtype=float32)
    """
    _check_limit("max_norm", max_norm)
    clipped = [p for p in trainable(each(parameters)) if p.grad is not None]
    with mode(recording=False):
        found = [values_of(p.grad, float) for p in clipped if p.grad is not None]
        norm = _norm(found, scaled=any(p.dtype.itemsize > 4 for p in clipped))
        recorder = current().recorder
        if recorder is not None and isinstance(norm, Tensor):
            recorder.finite.append(norm.node)
            factor = np.where(norm > max_norm, max_norm / norm, 1.0)
        elif not np.isfinite(norm):
            bad = [p.name or str(p.shape) for p, g in zip(clipped, found, strict=True) if not np.isfinite(g).all()]
            raise NonFiniteError(
                f"the gradient of {', '.join(bad)} has NaN or inf; run the model under tr.debug() to find the first one"
            )
        elif norm > max_norm:
            factor = max_norm / norm
        else:
            return float(norm)
        for p, g in zip(clipped, found, strict=True):
            p.grad = tensor(g * factor, dtype=p.dtype)
    return cast(float, norm) if isinstance(norm, Tensor) else float(norm)


def _norm(gradients: Sequence[Any], scaled: bool) -> Any:
    """The joint norm of gradients in float64, scaled where squares of numbers as large as 1e200 could overflow."""
    if not scaled:
        return np.sqrt(sum(np.sum(g * g) for g in gradients))
    largest: Any = functools.reduce(np.maximum, [np.max(np.abs(g)) for g in gradients if g.size] or [np.zeros(())])
    scale = np.where(largest > 0, largest, 1.0)
    return largest * np.sqrt(sum(np.sum(np.square(g / scale)) for g in gradients))


def clip_grad_value(parameters: Iterable[Parameter], max_value: float) -> None:
    """Limit every element of every gradient to [-max_value, max_value]; NaN stays NaN.

    Parameters
    ----------
    parameters : iterable of Parameter
        The parameters. Those that are frozen or have no gradient are skipped.
    max_value : float
        Limit of each element, 0 or more.

    Raises
    ------
    ValueError
        If the limit is negative, or NaN.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> w = tr.Parameter([3.0, 0.5])
    >>> (w * w / 2).sum().backward()
    >>> clip_grad_value([w], 1.0)
    >>> w.grad
    tensor([1. , 0.5], dtype=float32)
    """
    _check_limit("max_value", max_value)
    with mode(recording=False):
        for p in trainable(each(parameters)):
            if p.grad is not None:
                p.grad = tensor(np.clip(values_of(p.grad, p.dtype), -max_value, max_value), dtype=p.dtype)


def _check_limit(name: str, value: float) -> None:
    if not value >= 0:
        raise ValueError(f"{name} must be at least 0, not {value}")
