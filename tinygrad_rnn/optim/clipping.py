"""Gradient clipping."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..errors import NonFiniteError
from ..tensor import Parameter, tensor
from .base import each, trainable

__all__ = ["clip_grad_norm", "clip_grad_value"]


def clip_grad_norm(parameters: Iterable[Parameter], max_norm: float) -> float:
    """Scale all gradients together, so that their joint Euclidean norm is at most `max_norm`.

    Parameters
    ----------
    parameters : iterable of Parameter
        Those that are frozen or have no gradient are passed over.
    max_norm : float
        0 or more; inf only measures.

    Returns
    -------
    float
        The norm before (Pascanu, Mikolov and Bengio, 2013).

    Raises
    ------
    NonFiniteError
        If a gradient has NaN or inf, which no scaling makes good; the gradients stay as they are.
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
    found = [(p, p.grad.data.astype(float)) for p in trainable(each(parameters)) if p.grad is not None]
    largest = max((float(np.abs(g).max(initial=0.0)) for _, g in found), default=0.0)
    if bad := [p.name or str(p.shape) for p, g in found if not np.isfinite(g).all()]:
        raise NonFiniteError(f"the gradient of {', '.join(bad)} has NaN or inf; tr.debug() finds where it comes from")
    if largest == 0:
        return 0.0
    # the squares of numbers as large as 1e200 would overflow
    norm = largest * float(np.sqrt(sum(float(np.vdot(g / largest, g / largest)) for _, g in found)))
    if norm > max_norm:
        for p, g in found:
            p.grad = tensor(g * (max_norm / norm), dtype=p.dtype)
    return norm


def clip_grad_value(parameters: Iterable[Parameter], max_value: float) -> None:
    """Limit every element of every gradient to [-max_value, max_value]; NaN stays NaN.

    Parameters
    ----------
    parameters : iterable of Parameter
        Those that are frozen or have no gradient are passed over.
    max_value : float
        0 or more.

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
    for p in trainable(each(parameters)):
        if p.grad is not None:
            p.grad = tensor(p.grad.data.clip(-max_value, max_value), dtype=p.dtype)


def _check_limit(name: str, value: float) -> None:
    if not value >= 0:
        raise ValueError(f"{name} is 0 or more, not {value}")
