"""Sigmoid and its relatives, and the softmax family: stable for any finite input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ShapeError
from .arithmetic import exp, greater
from .axes import AXES, NOT_EMPTY, expand_to, negative_axes, no_elements
from .core import TensorLike, apply, as_tensor, filled, primitive
from .domains import REAL, Domain
from .dtypes import narrowed, widened
from .facts import Facts
from .reductions import reduced, sum

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["log_softmax", "logsumexp", "relu", "sigmoid", "softmax", "softplus"]


@primitive(
    gradient=(lambda g, y, x: g * y * (1 - y),),
    formula=r"\sigma\left({x}\right)",
    facts=Facts(elementwise=True, bounds=(0, 1), symbol="σ"),
    floating=True,
    c="sigmoid_({x})",
)
def sigmoid(x, *, out=None):
    """Logistic sigmoid 1 / (1 + exp(-x)), elementwise.

    Examples
    --------
    >>> sigmoid([-1000.0, 0.0, 1000.0])
    tensor([0. , 0.5, 1. ])
    """
    # the complex step of gradient checks needs an analytic function, and the absolute value is none
    small = np.exp(-np.abs(x) if x.dtype.kind != "c" else np.where(x.real >= 0, -x, x))
    return np.divide(np.where(x >= 0, 1.0, small).astype(small.dtype, copy=False), 1 + small, out=out)


@primitive(
    gradient=(lambda g, y, x: g * greater(x, 0),),
    formula=r"\operatorname{{relu}}\left({x}\right)",
    facts=Facts(elementwise=True),
    domain=Domain(REAL, kinks=lambda x: x),
    c="{x} > 0 || {x} != {x} ? {x} : 0",
)
def relu(x, *, out=None):
    """max(x, 0), elementwise; its derivative at 0 is taken as 0.

    Examples
    --------
    >>> relu([-1.0, 2.0])
    tensor([0., 2.])
    """
    return np.maximum(x, False, out=out)  # False is a zero of every dtype: 0 would make int64 of booleans


@primitive(
    gradient=(lambda g, y, x: g * sigmoid(x),),
    formula=r"\log\left(1 + e^{{{x}}}\right)",
    facts=Facts(elementwise=True),
    floating=True,
    c="softplus_({x})",
)
def softplus(x, *, out=None):
    """log(1 + exp(x)), elementwise.

    Examples
    --------
    >>> softplus([-1000.0, 0.0, 1000.0])
    tensor([0.00000000e+00, 6.93147181e-01, 1.00000000e+03])
    """
    return np.logaddexp(x, np.zeros((), x.dtype), out=out)


def _largest(x: Any, axis: tuple[int, ...]) -> Any:
    """The largest elements along axes, which are kept; for many short rows, the transpose is used, which is faster."""
    if axis == (-1,) and x.shape[-1] < 128 <= x.size // x.shape[-1]:
        columns = np.ascontiguousarray(x.reshape(-1, x.shape[-1]).T)
        return np.maximum.reduce(columns, axis=0).reshape(*x.shape[:-1], 1)
    return np.maximum.reduce(x, axis=axis, keepdims=True)


@primitive(
    gradient=(lambda g, y, x, axis, keepdims: expand_to(g, x, axis, keepdims) * exp(x - expand_to(y, x, axis, keepdims)),),
    formula=r"\log\sum{over}\exp\left({x}\right)",
    facts=Facts(reduces="axis"),
    shape=lambda x, axis, keepdims: reduced(x, axis, keepdims, floating=True),
    floating=True,
    accumulates=True,
    domain=Domain(REAL, shapes=NOT_EMPTY, attributes=AXES),
    c="logsumexp_({n}, {x})",
)
def _logsumexp(x, *, axis, keepdims, out=None):
    top = _largest(x, axis)
    shift = np.where(np.isfinite(top), top, 0).astype(top.dtype, copy=False)
    with np.errstate(divide="ignore"):  # if all elements are -inf: the log of an empty sum is -inf
        y = np.log(np.sum(np.exp(x - shift), axis=axis, keepdims=True)) + shift
    return filled(y if keepdims else y.squeeze(axis), out)


def logsumexp(x: TensorLike, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) over axes, without overflow.

    Parameters
    ----------
    x : array_like
    axis : int or tuple of int, optional
        Axes to sum over; all axes if not given.
    keepdims : bool
        Whether the axes stay in the result, with length 1.

    Raises
    ------
    ShapeError
        If an axis does not exist, or has no elements.

    Examples
    --------
    >>> logsumexp([1000.0, 1000.0])
    tensor(1000.69314718)
    """
    x = as_tensor(x)
    axes = negative_axes("logsumexp", axis, x.ndim)
    if any(x.shape[a] == 0 for a in axes):
        raise ShapeError(no_elements("logsumexp", x.shape, axes))
    return narrowed(apply(_logsumexp, (widened(x),), {"axis": axes, "keepdims": keepdims}), x)


def softmax(x: TensorLike, axis: int | tuple[int, ...] = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along an axis.

    Examples
    --------
    >>> softmax([0.0, 0.0])
    tensor([0.5, 0.5])
    """
    x = as_tensor(x)
    return narrowed(exp(log_softmax(widened(x), axis)), x)


@primitive(
    gradient=(lambda g, y, x, axis: g - exp(y) * sum(g, axis, keepdims=True),),
    formula=r"\log\operatorname{{softmax}}{over}\left({x}\right)",
    facts=Facts(along="axis"),
    shape=lambda x, axis: reduced(x, axis, True, floating=True)._replace(shape=x.shape),
    floating=True,
    accumulates=True,
    domain=Domain(
        REAL,
        shapes=NOT_EMPTY,
        attributes=lambda choose, shape: {"axis": choose.axes(len(shape)) or (-1,)},
    ),
    c="log_softmax_({n}, {x}, {y})",
)
def _log_softmax(x, *, axis, out=None):
    shifted = np.subtract(x, _largest(x, axis), out=out)
    return np.subtract(shifted, np.log(np.add.reduce(np.exp(shifted), axis=axis, keepdims=True)), out=shifted)


def log_softmax(x: TensorLike, axis: int | tuple[int, ...] = -1) -> Tensor:
    """Logarithm of the softmax along an axis.

    Raises
    ------
    ShapeError
        If the axis does not exist.

    Examples
    --------
    >>> log_softmax([0.0, 0.0])
    tensor([-0.69314718, -0.69314718])
    """
    x = as_tensor(x)
    axes = negative_axes("log_softmax", axis, x.ndim)
    y = widened(x)
    return narrowed(y if y.size == 0 else apply(_log_softmax, (y,), {"axis": axes}), x)
