"""Sums and other reductions over axes, and the cumulative sum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ShapeError
from ..graph.node import Spec
from .arithmetic import divide, equal, multiply, sqrt
from .axes import AXES, AXIS, NOT_EMPTY, Axis, expand_to, kept, negative_axes, negative_axis, no_elements
from .core import Primitive, TensorLike, apply, as_tensor, filled, primitive
from .domains import REAL, Choose, Domain, Shape
from .dtypes import accumulator, as_float, narrowed, widened
from .facts import Facts
from .formula import TERM, Formula
from .indexing import take_along_axis
from .shapes import concatenate, flip

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["argmax", "argsort", "cumsum", "max", "mean", "min", "prod", "sort", "std", "sum", "var"]


def reduced(x: Spec, axis: tuple[int, ...], keepdims: bool, floating: bool = False) -> Spec:
    """Shape rule of a reduction."""
    if axis and -axis[0] > len(x.shape):
        raise ShapeError(f"axis {axis[0]} is out of bounds for a tensor of {len(x.shape)} dimensions")
    shape = kept(x.shape, axis) if keepdims else tuple(n for i, n in enumerate(x.shape) if i - len(x.shape) not in axis)
    return Spec(shape, as_float(x.dtype) if floating else x.dtype)


@primitive(
    gradient=(lambda g, y, x, axis, keepdims: expand_to(g, x, axis, keepdims).broadcast_to(x.shape),),
    formula=Formula(r"\sum{over} {x:product}", TERM),
    facts=Facts(reduces="axis", sums=True, symbol="Σ"),
    shape=lambda x, axis, keepdims: reduced(x, axis, keepdims)._replace(dtype=_summed_dtype(x.dtype)),
    domain=Domain(REAL, attributes=AXES),
    accumulates=True,
    c="sum_({n}, {x})",
)
def _sum(x, *, axis, keepdims, out=None):
    return np.add.reduce(x, axis=axis, keepdims=keepdims, out=out)


def _summed_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype if dtype.kind == "f" else np.add.reduce(np.zeros(1, dtype)).dtype


def sum(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Sum over axes.

    Parameters
    ----------
    x : array_like
    axis : int or tuple of int, optional
        Axes to sum over; all axes if not given.
    keepdims : bool
        Whether the summed axes stay in the result, with length 1.

    Raises
    ------
    ShapeError
        If an axis does not exist.

    Examples
    --------
    >>> sum([[1.0, 2.0], [3.0, 4.0]], axis=0)
    tensor([4., 6.])
    """
    x = as_tensor(x)
    return apply(_sum, (x,), {"axis": negative_axes("sum", axis, x.ndim), "keepdims": keepdims})


def _gap(x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    """Distance of the largest element from the second largest: the maximum has a kink where the distance is 0."""
    if not axis:
        return np.ones(())
    first = -x.ndim
    moved = np.moveaxis(x, axis, range(first, first + len(axis)))
    flat = np.sort(moved.reshape(-1, *moved.shape[len(axis) :]), axis=0)
    return flat[-1] - flat[-2] if len(flat) > 1 else np.ones(())


def _gap_below(x: Any, **attributes: Any) -> Any:
    return _gap(-x, **attributes)


def _of_the_winners(g: Any, y: Any, x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    ties = equal(x, expand_to(y, x, axis, keepdims)).astype(accumulator(x.dtype))
    return expand_to(g, x, axis, keepdims) * (ties / sum(ties, axis, keepdims=True))


def _winner(name: str, ufunc: np.ufunc, kinks: Any) -> Primitive:
    """A reduction by a function that selects one of two values."""

    def kernel(x, *, axis, keepdims, out=None):
        return ufunc.reduce(x, axis=axis, keepdims=keepdims, out=out)

    kernel.__name__ = name
    return primitive(
        gradient=(_of_the_winners,),
        formula=rf"\{name}{{over}}\left({{x}}\right)",
        facts=Facts(reduces="axis"),
        shape=reduced,
        domain=Domain(REAL, shapes=NOT_EMPTY, attributes=AXES, kinks=kinks),
        c=f"{name}_({{n}}, {{x}})",
    )(kernel)


_max = _winner("max", np.maximum, _gap)
_min = _winner("min", np.minimum, _gap_below)  # not by negatives: unsigned integers and booleans have none


def _extreme(primitive: Primitive, x: TensorLike, axis: Axis, keepdims: bool) -> Tensor:
    x = as_tensor(x)
    axes = negative_axes(primitive.name, axis, x.ndim)
    if any(x.shape[a] == 0 for a in axes):
        raise ShapeError(no_elements(primitive.name, x.shape, axes))
    return apply(primitive, (x,), {"axis": axes, "keepdims": keepdims})


def max(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Largest element over axes; equal elements share the gradient evenly.

    Parameters
    ----------
    x : array_like
    axis : int or tuple of int, optional
        The axes; all axes if not given.
    keepdims : bool
        Whether the axes stay in the result, with length 1.

    Raises
    ------
    ShapeError
        If an axis does not exist or has no elements.

    Examples
    --------
    >>> max([[1.0, 5.0], [3.0, 4.0]], axis=1)
    tensor([5., 4.])
    """
    return _extreme(_max, x, axis, keepdims)


def min(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Smallest element over axes; equal elements share the gradient evenly.

    Parameters
    ----------
    x : array_like
    axis : int or tuple of int, optional
        The axes; all axes if not given.
    keepdims : bool
        Whether the axes stay in the result, with length 1.

    Raises
    ------
    ShapeError
        If an axis does not exist or has no elements.

    Examples
    --------
    >>> min([[1.0, 5.0], [3.0, 4.0]], axis=1)
    tensor([1., 3.])
    """
    return _extreme(_min, x, axis, keepdims)


@primitive(
    gradient=(None,),
    formula=r"\operatorname{{argmax}}{over}\left({x}\right)",
    facts=Facts(reduces="axis"),
    shape=lambda x, axis, keepdims: reduced(x, (axis,), keepdims)._replace(dtype=np.dtype(np.intp)),
    domain=Domain(
        REAL,
        shapes=NOT_EMPTY,
        attributes=lambda choose, shape: {**AXIS(choose, shape), "keepdims": choose.integer(0, 1) == 1},
        kinks=lambda x, axis, keepdims: _gap(x, axis=(axis,), keepdims=keepdims),
    ),
    c="argmax_({n}, {x})",
)
def _argmax(x, *, axis, keepdims, out=None):
    return np.argmax(x, axis=axis, keepdims=keepdims, out=out)


def argmax(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Positions of the largest elements along an axis, or in the flattened array; integers, without a gradient.

    Among equal elements the first is taken.

    Parameters
    ----------
    x : array_like
    axis : int or None
        The axis; None for the flattened array.
    keepdims : bool
        Whether the axis stays in the result, with length 1.

    Raises
    ------
    ShapeError
        If the axis does not exist or has no elements.

    Examples
    --------
    >>> argmax([[1.0, 5.0], [3.0, 3.0]], axis=-1)
    tensor([1, 0])
    """
    x = as_tensor(x)
    if axis is None:
        found = argmax(x.reshape(x.size), 0)
        return found.reshape((1,) * x.ndim) if keepdims else found
    axis = negative_axis("argmax", axis, x.ndim)
    if x.shape[axis] == 0:
        raise ShapeError(no_elements("argmax", x.shape, axis))
    return apply(_argmax, (x,), {"axis": axis, "keepdims": keepdims})


def _with_axes(choose: Choose) -> list[Shape]:
    return [choose.shape(1)]


def _along(name: str, x: TensorLike, axis: int | None) -> tuple[Tensor, int]:
    """A tensor with one of its axes; the flattened tensor if no axis is given."""
    x = as_tensor(x)
    if axis is None:
        x, axis = x.reshape(x.size), 0
    return x, negative_axis(name, axis, x.ndim)


@primitive(
    gradient=(None,),
    formula=r"\operatorname{{argsort}}{over}\left({x}\right)",
    facts=Facts(along="axis"),
    shape=lambda x, axis: reduced(x, (axis,), True)._replace(shape=x.shape, dtype=np.dtype(np.intp)),
    domain=Domain(REAL, shapes=_with_axes, attributes=AXIS, kinks=lambda x, axis: np.diff(np.sort(x, axis), axis=axis)),
    c="argsort_({n}, {x}, {y})",
)
def _argsort(x, *, axis, out=None):
    return filled(np.argsort(x, axis, kind="stable"), out)


def argsort(x: TensorLike, axis: int | None = -1) -> Tensor:
    """Positions of the elements in ascending order along an axis, or of the flattened array; integers, without a gradient.

    Equal elements keep their order.

    Parameters
    ----------
    x : array_like
    axis : int or None
        The axis; None for the flattened array.

    Raises
    ------
    ShapeError
        If the axis does not exist.

    Examples
    --------
    >>> argsort([3.0, 1.0, 2.0])
    tensor([1, 2, 0])
    """
    x, axis = _along("argsort", x, axis)
    return apply(_argsort, (x,), {"axis": axis})


def sort(x: TensorLike, axis: int | None = -1) -> Tensor:
    """Elements in ascending order along an axis, or of the flattened array; the gradient follows each element.

    Parameters
    ----------
    x : array_like
    axis : int or None
        The axis; None for the flattened array.

    Raises
    ------
    ShapeError
        If the axis does not exist.

    Examples
    --------
    >>> sort([3.0, 1.0, 2.0])
    tensor([1., 2., 3.])
    """
    x, axis = _along("sort", x, axis)
    return take_along_axis(x, argsort(x, axis), axis)


def _count(x: Any, axis: Axis) -> int:
    return int(np.prod([x.shape[a] for a in negative_axes("mean", axis, x.ndim)], dtype=int))


def mean(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Mean over axes.

    Parameters
    ----------
    x : array_like
    axis : int or tuple of int, optional
        The axes; all axes if not given.
    keepdims : bool
        Whether the axes stay in the result, with length 1.

    Raises
    ------
    ShapeError
        If an axis does not exist or has no elements.

    Examples
    --------
    >>> mean([[1.0, 2.0], [3.0, 4.0]], axis=0)
    tensor([2., 3.])
    """
    x = as_tensor(x)
    n = _count(x, axis)
    if n == 0:
        raise ShapeError(no_elements("mean", x.shape, axis))
    return narrowed(divide(sum(widened(x), axis, keepdims), n), x)


def var(x: TensorLike, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """Variance over axes, with n - `ddof` in the denominator.

    Parameters
    ----------
    x : array_like
    axis : int or tuple of int, optional
        The axes; all axes if not given.
    ddof : int
        The number that is subtracted from n in the denominator: 0 for the variance of the values themselves,
        1 for an unbiased estimate.
    keepdims : bool
        Whether the axes stay in the result, with length 1.

    Raises
    ------
    ShapeError
        If an axis does not exist, or does not have more than `ddof` elements.

    Examples
    --------
    >>> var([1.0, 2.0, 3.0, 4.0])
    tensor(1.25)
    """
    x = as_tensor(x)
    return narrowed(_variance(widened(x), axis, ddof, keepdims), x)


def _variance(x: Tensor, axis: Axis, ddof: int, keepdims: bool) -> Tensor:
    n = _count(x, axis) - ddof
    if n <= 0:
        raise ShapeError(f"var needs more than ddof={ddof} elements, but x of shape {x.shape} has {n + ddof} along {axis}")
    centred = x - mean(x, axis, keepdims=True)
    return divide(sum(multiply(centred, centred), axis, keepdims), n)


def std(x: TensorLike, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """Standard deviation over axes; its gradient is not finite where all values are equal.

    Parameters
    ----------
    x : array_like
    axis : int or tuple of int, optional
        The axes; all axes if not given.
    ddof : int
        As in :func:`var`.
    keepdims : bool
        Whether the axes stay in the result, with length 1.

    Examples
    --------
    >>> std([1.0, 3.0])
    tensor(1.)
    """
    x = as_tensor(x)
    return narrowed(sqrt(_variance(widened(x), axis, ddof, keepdims)), x)


def prod(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Product over axes, computed by halves, so that its gradient is also right where elements are 0.

    Parameters
    ----------
    x : array_like
    axis : int or tuple of int, optional
        The axes; all axes if not given.
    keepdims : bool
        Whether the axes stay in the result, with length 1.

    Examples
    --------
    >>> prod([[1.0, 2.0], [0.0, 4.0]], axis=1)
    tensor([2., 0.])
    """
    x = as_tensor(x)
    dtype = _summed_dtype(x.dtype)
    wide = accumulator(dtype) if dtype.kind == "f" else dtype
    if x.dtype != wide:
        y = prod(x.astype(wide), axis, keepdims)
        return y if wide == dtype else y.astype(dtype)
    axes = negative_axes("prod", axis, x.ndim)
    shape = kept(x.shape, axes)
    free = [a for a in range(-x.ndim, 0) if a not in axes]
    y = x.transpose((*axes, *free)).reshape(-1 if x.size else _count(x, axis), *[x.shape[a] for a in free])
    if y.shape[0] == 0:
        return as_tensor(np.ones(shape if keepdims else y.shape[1:], x.dtype))
    while (n := y.shape[0]) > 1:
        half = multiply(y[: n // 2], y[n // 2 : n - n % 2])
        y = half if n % 2 == 0 else concatenate([half, y[n - 1 :]])
    return y.reshape(shape if keepdims else y.shape[1:])


@primitive(
    gradient=(lambda g, y, x, axis: flip(cumsum(flip(g, axis), axis), axis),),
    formula=r"\operatorname{{cumsum}}{over}\left({x}\right)",
    facts=Facts(along="axis", linear="jointly"),
    shape=lambda x, axis: reduced(x, (axis,), True)._replace(shape=x.shape, dtype=_summed_dtype(x.dtype)),
    domain=Domain(REAL, shapes=_with_axes, attributes=AXIS),
    accumulates=True,
    c="cumsum_({n}, {x}, {y})",
)
def _cumsum(x, *, axis, out=None):
    return np.add.accumulate(x, axis=axis, out=out)


def cumsum(x: TensorLike, axis: int | None = None) -> Tensor:
    """Cumulative sum along an axis, or over the flattened array.

    Parameters
    ----------
    x : array_like
    axis : int or None
        The axis; None for the flattened array.

    Raises
    ------
    ShapeError
        If the axis does not exist.

    Examples
    --------
    >>> cumsum([1.0, 2.0, 3.0])
    tensor([1., 3., 6.])
    """
    x, axis = _along("cumsum", x, axis)
    return apply(_cumsum, (x,), {"axis": axis})
