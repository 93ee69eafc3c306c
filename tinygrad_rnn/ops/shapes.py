"""Shape, order and joining."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DtypeError, ShapeError
from ..graph.node import Spec
from .axes import Axis, index_along, negative_axes, negative_axis
from .core import TensorLike, apply, as_tensor, filled, primitive
from .domains import REAL, Choose, Domain, Shape
from .facts import Facts
from .formula import Formula

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "broadcast_to",
    "concatenate",
    "expand_dims",
    "flip",
    "moveaxis",
    "pad",
    "reshape",
    "roll",
    "split",
    "squeeze",
    "stack",
    "swapaxes",
    "tile",
    "transpose",
]


# -- shape and order -----------------------------------------------------------------------


def _reshaped(x: Spec, shape: Shape) -> Spec:
    if math.prod(x.shape) != math.prod(shape):
        raise ShapeError(f"{x.shape} has {math.prod(x.shape)} elements, and {shape} needs {math.prod(shape)}")
    return Spec(shape, x.dtype)


def _splits(shape: Shape, into: Shape) -> bool:
    """Whether each axis of `into` is a part of one axis of `shape`, so that a view exists in any memory layout."""
    rest = iter([n for n in into if n != 1])
    for n in shape:
        while n != 1:
            part = next(rest, None)
            if not part or n % part:
                return False
            n //= part
    return True


@primitive(
    gradient=(lambda g, y, x, shape: g.reshape(x.shape),),
    formula="{x}",
    facts=Facts(copies=True),
    shape=_reshaped,
    domain=Domain(REAL, attributes=lambda choose, x: {"shape": choose.pick([x, (math.prod(x),), (1, *x), (*x[::-1], 1)])}),
    leading=lambda attributes, shapes: {"shape": (shapes[0][0], *attributes["shape"])},
    view=lambda attributes, shape: _splits(shape, attributes["shape"]),
)
def _reshape(x, *, shape, out=None):
    return x.reshape(shape) if out is None else filled(x.reshape(shape), out)


def reshape(x: TensorLike, shape: int | Sequence[int]) -> Tensor:
    """The elements of `x` in the same order, in another shape.

    Parameters
    ----------
    x : array_like
    shape : int or sequence of int
        The new shape. One length may be -1: it follows from the number of elements.

    Raises
    ------
    ShapeError
        If the number of elements would change.

    Examples
    --------
    >>> reshape([1.0, 2.0, 3.0, 4.0], (2, -1))
    tensor([[1., 2.],
            [3., 4.]])
    """
    x = as_tensor(x)
    lengths = [shape] if isinstance(shape, (int, np.integer)) else list(shape)
    if -1 in lengths:
        known = math.prod(n for n in lengths if n != -1)
        if lengths.count(-1) > 1 or known == 0 or x.size % known:
            why = "only one length can be -1" if lengths.count(-1) > 1 else f"it has {x.size} elements, no multiple of {known}"
            raise ShapeError(f"reshape: {x.shape} cannot become {tuple(lengths)}: {why}")
        lengths[lengths.index(-1)] = x.size // known
    return apply(_reshape, (x,), {"shape": tuple(map(operator.index, lengths))})


@primitive(
    gradient=(lambda g, y, x, axes: apply(_transpose, (g,), _back(axes)),),
    formula=Formula("{x:T}", transposed="{x}"),
    facts=Facts(reorders="axes"),
    shape=lambda x, axes: Spec(tuple(x.shape[a] for a in axes), x.dtype),
    domain=Domain(REAL, attributes=lambda choose, x: {"axes": tuple(i - len(x) for i in choose.permutation(len(x)))}),
    leading=lambda attributes, shapes: {"axes": (-len(shapes[0]), *attributes["axes"])},
    view=lambda attributes, shape: True,
)
def _transpose(x, *, axes, out=None):
    return x.transpose(axes) if out is None else filled(x.transpose(axes), out)


@functools.lru_cache(1024)
def _back(axes: tuple[int, ...]) -> Mapping[str, Any]:
    """The attributes of the transpose that undoes another one."""
    return {"axes": tuple([axes.index(i) - len(axes) for i in range(-len(axes), 0)])}


def transpose(x: TensorLike, axes: Sequence[int] | None = None) -> Tensor:
    """The array with its axes permuted; reversed if no order is given.

    Parameters
    ----------
    x : array_like
    axes : sequence of int, optional
        For each axis of the result, the axis of `x`. If not given, the axes are reversed.

    Raises
    ------
    ShapeError
        If `axes` is not an order of all axes.

    Examples
    --------
    >>> transpose([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 3.],
            [2., 4.]])
    """
    x = as_tensor(x)
    n = x.ndim
    if n == 2 and axes is None:
        return apply(_transpose, (x,), {"axes": (-1, -2)})
    order = tuple(range(-1, -n - 1, -1)) if axes is None else tuple(operator.index(a) for a in _several(axes))
    if sorted(a % n if n and -n <= a < n else -1 for a in order) != list(range(n)):
        raise ShapeError(f"transpose: the axes {order} must name each of the {n} axes of {x.shape} once")
    return apply(_transpose, (x,), {"axes": tuple(a % n - n for a in order)})


def _several(axes: Any) -> tuple[Any, ...]:
    """Axes as a tuple; they may be given as one integer, a tuple or a list."""
    return tuple(axes) if isinstance(axes, (tuple, list)) else (axes,)


def swapaxes(x: TensorLike, axis1: int, axis2: int) -> Tensor:
    """The array with two axes exchanged.

    Parameters
    ----------
    x : array_like
    axis1, axis2 : int
        The axes that are exchanged.

    Examples
    --------
    >>> swapaxes([[1.0, 2.0]], 0, 1).shape
    (2, 1)
    """
    x = as_tensor(x)
    a, b = negative_axis("swapaxes", axis1, x.ndim), negative_axis("swapaxes", axis2, x.ndim)
    order = list(range(-x.ndim, 0))
    order[a], order[b] = order[b], order[a]
    return transpose(x, order)


def moveaxis(x: TensorLike, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """The array with axes moved to other positions; the remaining axes keep their order.

    Parameters
    ----------
    x : array_like
    source, destination : int or sequence of int
        The axes of `x`, and their positions in the result.

    Examples
    --------
    >>> import numpy as np
    >>> moveaxis(np.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    x = as_tensor(x)
    sources, destinations = ([negative_axis("moveaxis", a, x.ndim) for a in _several(given)] for given in (source, destination))
    if len(sources) != len(destinations) or len(set(sources)) < len(sources) or len(set(destinations)) < len(destinations):
        raise ShapeError(f"moveaxis: cannot move {source} to {destination}; give equally many axes in both, each only once")
    order = [a for a in range(-x.ndim, 0) if a not in sources]
    for to, a in sorted(zip(destinations, sources, strict=True)):
        order.insert(to + x.ndim, a)
    return transpose(x, order)


def expand_dims(x: TensorLike, axis: int | tuple[int, ...]) -> Tensor:
    """The array with new axes of length 1 at given positions of the result.

    Parameters
    ----------
    x : array_like
    axis : int or tuple of int
        Positions of the new axes, counted in the result.

    Examples
    --------
    >>> expand_dims([1.0, 2.0], 0).shape
    (1, 2)
    """
    x = as_tensor(x)
    axes = _several(axis)
    n = x.ndim + len(axes)
    new = negative_axes("expand_dims", axes, n)
    old = iter(x.shape)
    return reshape(x, tuple(1 if i - n in new else next(old) for i in range(n)))


def squeeze(x: TensorLike, axis: Axis = None) -> Tensor:
    """The array without axes of length 1: without all of them, or the given ones.

    Parameters
    ----------
    x : array_like
    axis : int or tuple of int, optional
        The axes to remove; all axes of length 1 if not given.

    Raises
    ------
    ShapeError
        If an axis that was named is longer than 1.

    Examples
    --------
    >>> squeeze([[1.0, 2.0]]).shape
    (2,)
    """
    x = as_tensor(x)
    if axis is None:
        return reshape(x, tuple(n for n in x.shape if n != 1))
    gone = negative_axes("squeeze", axis, x.ndim)
    if any(x.shape[a] != 1 for a in gone):
        raise ShapeError(f"squeeze: axis {axis} of {x.shape} must have length 1")
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if i - x.ndim not in gone))


@primitive(
    gradient=(lambda g, y, x, shape: g,),  # `pullback` undoes the broadcast
    formula="{x}",
    facts=Facts(copies=True),
    shape=lambda x, shape: (
        Spec(np.broadcast_to(np.empty(()), np.broadcast_shapes(x.shape, shape)).shape, x.dtype)
        if np.broadcast_shapes(x.shape, shape) == shape
        else _cannot_broadcast(x, shape)
    ),
    domain=Domain(
        REAL,
        shapes=lambda choose: [tuple(1 if choose.flag() else n for n in choose.shape())],
        attributes=lambda choose, x: {"shape": tuple(choose.integer(0, 3) if n == 1 else n for n in x)},
    ),
    leading=lambda attributes, shapes: {"shape": (shapes[0][0], *attributes["shape"])},
    view=lambda attributes, shape: True,
)
def _broadcast_to(x, *, shape, out=None):
    if out is None and x.size == 1 and x.ndim <= len(shape):  # faster than np.broadcast_to
        view = np.ndarray(shape, x.dtype, x, 0, (0,) * len(shape))
        view.flags.writeable = False
        return view
    return filled(np.broadcast_to(x, shape), out)


def _cannot_broadcast(x: Spec, shape: Shape) -> Spec:
    raise ShapeError(f"{x.shape} cannot be broadcast to {shape}")


def broadcast_to(x: TensorLike, shape: int | Sequence[int]) -> Tensor:
    """The array repeated, without a copy, to a shape that `x` broadcasts to.

    Parameters
    ----------
    x : array_like
    shape : int or sequence of int
        The shape of the result.

    Raises
    ------
    ShapeError
        If `x` does not broadcast to the shape.

    Examples
    --------
    >>> broadcast_to([1.0, 2.0], (2, 2))
    tensor([[1., 2.],
            [1., 2.]])
    """
    x = as_tensor(x)
    lengths = tuple(map(operator.index, (shape,) if isinstance(shape, (int, np.integer)) else shape))
    if len(lengths) > x.ndim:  # make the ranks equal first, so that a further leading axis can pass through
        x = x.reshape((1,) * (len(lengths) - x.ndim) + x.shape)
    return apply(_broadcast_to, (x,), {"shape": lengths})


def tile(x: TensorLike, reps: int | Sequence[int]) -> Tensor:
    """The array repeated along each axis.

    Parameters
    ----------
    x : array_like
    reps : int or sequence of int
        The number of repetitions along each axis, the last axis last.

    Examples
    --------
    >>> tile([1.0, 2.0], 2)
    tensor([1., 2., 1., 2.])
    """
    x = as_tensor(x)
    times = (reps,) if isinstance(reps, (int, np.integer)) else tuple(reps)
    n = max(x.ndim, len(times))
    times = (1,) * (n - len(times)) + times
    shape = (1,) * (n - x.ndim) + x.shape
    apart = x.reshape([length for pair in shape for length in (1, pair)])
    repeated = broadcast_to(apart, [length for r, s in zip(times, shape, strict=True) for length in (r, s)])
    return repeated.reshape([r * s for r, s in zip(times, shape, strict=True)])


# -- joining -------------------------------------------------------------------------------


def _joined(*specs: Spec, axis: int) -> Spec:
    shapes = [list(spec.shape) for spec in specs]
    if any(len(s) != len(shapes[0]) or len(s) < -axis for s in shapes):
        raise ShapeError(f"the inputs differ in their number of dimensions, or have no axis {axis}")
    total = sum(s[axis] for s in shapes)
    differ = [i for i in range(-len(shapes[0]), 0) if len({s[i] for s in shapes}) > 1]
    if set(differ) - {axis}:
        hint = f"; they can be joined along axis {differ[0]}" if len(differ) == 1 else ""
        raise ShapeError(f"the inputs must have the same shape, except along axis {axis}{hint}")
    shapes[0][axis] = total
    return Spec(tuple(shapes[0]), np.result_type(*[spec.dtype for spec in specs]))


def _listed(name: str, xs: Sequence[TensorLike], axis: Any) -> list[Tensor]:
    if getattr(axis, "ndim", 0):  # the second array, passed in place of an axis
        raise ShapeError(f"{name}: give the arrays to join as one list, tr.{name}([a, b])")
    tensors = [as_tensor(x) for x in xs]
    if not tensors:
        raise ShapeError(f"{name}: give at least one array")
    return tensors


def _slices(positions: list[int], g: Any, y: Any, *xs: Any, axis: int) -> list[Any]:
    ends = list(itertools.accumulate((x.shape[axis] for x in xs), initial=0))
    return [g[index_along(axis, slice(ends[i], ends[i + 1]))] for i in positions]


def _alike(choose: Choose) -> list[Shape]:
    base = choose.shape(1)
    return [(*base[:-1], choose.integer(0, 3)) for _ in range(choose.integer(1, 3))]


@primitive(
    gradient=_slices,
    formula=r"\left[{rest:own}\right]",
    facts=Facts(joins="axis"),
    shape=_joined,
    domain=Domain(REAL, shapes=_alike, attributes=lambda choose, *shapes: {"axis": -1}),
)
def _concatenate(*xs, axis, out=None):
    return np.concatenate(xs, axis=axis, out=out)


def concatenate(xs: Sequence[TensorLike], axis: int | None = 0) -> Tensor:
    """Arrays joined along an existing axis, or flattened and joined if the axis is None.

    Parameters
    ----------
    xs : sequence of array_like
        The arrays; their shapes are equal except along `axis`.
    axis : int or None
        The axis along which the arrays are joined; None joins the flattened arrays.

    Raises
    ------
    ShapeError
        If there are no arrays, or they differ along another axis.

    Examples
    --------
    >>> concatenate([[1.0, 2.0], [3.0]])
    tensor([1., 2., 3.])
    """
    tensors = _listed("concatenate", xs, axis)
    if axis is None:
        tensors, axis = [x.flatten() for x in tensors], 0
    return apply(_concatenate, tensors, {"axis": negative_axis("concatenate", axis, tensors[0].ndim)})


def _stacked(*specs: Spec, axis: int) -> Spec:
    shape = specs[0].shape
    if any(spec.shape != shape for spec in specs):
        raise ShapeError("the inputs must have the same shape")
    at = len(shape) + 1 + axis
    return Spec((*shape[:at], len(specs), *shape[at:]), np.result_type(*[spec.dtype for spec in specs]))


@primitive(
    gradient=lambda positions, g, y, *xs, axis: [g[index_along(axis, i)] for i in positions],
    formula=r"\left[{rest:own}\right]",
    facts=Facts(joins="axis"),
    shape=_stacked,
    domain=Domain(
        REAL,
        shapes=lambda choose: [choose.shape()] * choose.integer(1, 3),
        attributes=lambda choose, *shapes: {"axis": choose.integer(-len(shapes[0]) - 1, -1)},
    ),
)
def _stack(*xs, axis, out=None):
    return np.stack(xs, axis=axis, out=out)


def stack(xs: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Arrays of one shape, joined along a new axis.

    Parameters
    ----------
    xs : sequence of array_like
        The arrays, of one shape.
    axis : int
        Position of the new axis in the result.

    Raises
    ------
    ShapeError
        If there are no arrays, or their shapes differ.

    Examples
    --------
    >>> stack([[1.0, 2.0], [3.0, 4.0]], axis=1)
    tensor([[1., 3.],
            [2., 4.]])
    """
    tensors = _listed("stack", xs, axis)
    return apply(_stack, tensors, {"axis": negative_axis("stack", axis, tensors[0].ndim + 1)})


def split(x: TensorLike, sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Parts of an array along an axis: equal parts, or the parts between given positions.

    Parameters
    ----------
    x : array_like
    sections : int or sequence of int
        The number of equal parts, or the positions at which parts begin, without the first position 0.
    axis : int
        The axis along which the array is split.

    Raises
    ------
    ShapeError
        If the length cannot be divided evenly.

    Examples
    --------
    >>> split([1.0, 2.0, 3.0], [1])
    [tensor([1.]), tensor([2., 3.])]
    """
    x = as_tensor(x)
    a = negative_axis("split", axis, x.ndim)
    n = x.shape[a]
    if isinstance(sections, (int, np.integer)):
        if sections < 1 or n % sections:
            raise ShapeError(f"split: {x.shape} cannot be divided into {sections} equal parts along axis {axis}")
        positions = [n // int(sections) * i for i in range(int(sections) + 1)]
    else:
        positions = [0, *sections, n]
    return [x[index_along(a, slice(start, stop))] for start, stop in itertools.pairwise(positions)]


def flip(x: TensorLike, axis: Axis = None) -> Tensor:
    """The elements in reverse order along axes.

    Parameters
    ----------
    x : array_like
    axis : int or tuple of int, optional
        The axes; all axes if not given.

    Examples
    --------
    >>> flip([1.0, 2.0, 3.0])
    tensor([3., 2., 1.])
    """
    x = as_tensor(x)
    axes = negative_axes("flip", axis if axis is None else _several(axis), x.ndim)
    index = (..., *[slice(None, None, -1 if i - x.ndim in axes else None) for i in range(x.ndim)])
    return x[index]


def roll(x: TensorLike, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Tensor:
    """The elements shifted along axes; elements that leave at the end return at the start.

    Parameters
    ----------
    x : array_like
    shift : int or sequence of int
        Number of places for each axis; negative towards the start.
    axis : int or sequence of int, optional
        Axes of the shift. If not given, the array is flattened for the shift.

    Raises
    ------
    ShapeError
        If an axis does not exist.

    Examples
    --------
    >>> roll([1.0, 2.0, 3.0], 1)
    tensor([3., 1., 2.])
    """
    x = as_tensor(x)
    if axis is None:
        return roll(x.reshape(x.size), shift, 0).reshape(x.shape)
    try:
        moves = [(int(by), negative_axis("roll", along, x.ndim)) for by, along in np.broadcast(shift, np.array(axis, object))]
    except ShapeError:
        raise
    except ValueError:
        raise ShapeError(f"roll: the number of shifts, {shift}, must be the number of axes, {axis}") from None
    for by, a in moves:
        at = -by % x.shape[a] if x.shape[a] else 0
        if at:
            x = concatenate([x[index_along(a, slice(at, None))], x[index_along(a, slice(None, at))]], a)
    return x


def pad(x: TensorLike, pad_width: int | Sequence[Any], constant_values: float = 0.0) -> Tensor:
    """The array with a border of a constant value.

    Parameters
    ----------
    x : array_like
    pad_width : int, (before, after), or one such pair for each axis
        Width of the border.
    constant_values : float
        The value of the border.

    Raises
    ------
    ShapeError
        If a width is negative, or the number of pairs is not the number of axes.

    Examples
    --------
    >>> pad([1.0, 2.0], (1, 0))
    tensor([0., 1., 2.])
    """
    x = as_tensor(x)
    try:
        widths = [tuple(map(int, pair)) for pair in np.broadcast_to(np.asarray(pad_width), (x.ndim, 2))]
    except ValueError:
        raise ShapeError(
            f"pad: pad_width must be one width, one pair, or a pair for each axis of {x.shape}, not {pad_width}"
        ) from None
    if any(n < 0 for pair in widths for n in pair):
        raise ShapeError(f"pad: widths must be at least 0, not {pad_width}")
    try:
        border = np.array(constant_values, x.dtype)
    except (ValueError, TypeError, OverflowError):
        raise DtypeError(f"pad: x has dtype {x.dtype}, which cannot hold constant_values={constant_values!r:.80}") from None
    for i, (before, after) in enumerate(widths):
        around = [np.full((*x.shape[:i], n, *x.shape[i + 1 :]), border) for n in (before, after)]
        if before or after:
            x = concatenate([around[0], x, around[1]], axis=i)
    return x
