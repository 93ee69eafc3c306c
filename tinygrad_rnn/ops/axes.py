"""Axes and shapes: counting from the end, keeping, expanding."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ShapeError
from .domains import Choose, Shape

__all__ = ["AXES", "AXIS", "NOT_EMPTY", "Axis", "expand_to", "index_along", "kept", "negative_axes", "negative_axis"]

Axis = int | tuple[int, ...] | None


def negative_axes(name: str, axis: Axis, ndim: int) -> tuple[int, ...]:
    """Axes counted from the end and sorted, so that adding a leading axis does not change them.

    Examples
    --------
    >>> negative_axes("sum", (0, -1), 3)
    (-3, -1)
    """
    if axis is None:
        return tuple(range(-ndim, 0))
    axes = [_integer(name, a) for a in (axis if isinstance(axis, tuple) else (axis,))]
    for a in axes:
        if not -ndim <= a < ndim:
            raise ShapeError(f"{name}: axis {a} is out of bounds for a tensor of {ndim} dimensions")
    found = tuple(sorted({a % ndim - ndim for a in axes}))
    if len(found) != len(axes):
        raise ShapeError(f"{name}: axis={axis} names an axis more than once")
    return found


def negative_axis(name: str, axis: Any, ndim: int) -> int:
    """One axis, counted from the end.

    Raises
    ------
    TypeError
        If several axes are given, or none.

    Examples
    --------
    >>> negative_axis("cumsum", 0, 3)
    -3
    """
    return negative_axes(name, _integer(name, axis), ndim)[0]


def _integer(name: str, axis: Any) -> int:
    """An axis as an integer; a boolean is refused, since it is likely `keepdims` in the wrong place."""
    try:
        if not isinstance(axis, (bool, np.bool_)):
            return operator.index(axis)
    except TypeError:
        pass
    raise TypeError(f"{name}: axis must be an integer, not {axis!r}")


def no_elements(name: str, shape: Shape, axis: Any) -> str:
    """Text of an error about a reduction that has nothing to reduce."""
    return f"{name} needs at least one element, but x of shape {shape} has none along {axis}"


def kept(shape: Shape, axes: tuple[int, ...]) -> Shape:
    """A shape with length 1 along some axes, as `keepdims` makes it."""
    return tuple(1 if i - len(shape) in axes else n for i, n in enumerate(shape))


def index_along(axis: int, part: Any) -> tuple[Any, ...]:
    """The index that takes a slice along one negative axis."""
    return (..., part, *[slice(None)] * (-axis - 1))


def expand_to(y: Any, x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    """A reduction's result with the reduced axes restored as length 1, ready to broadcast against x."""
    return y if keepdims or not axis else y.reshape(kept(x.shape, axis))


def NOT_EMPTY(choose: Choose) -> list[Shape]:
    """Draw the shape of an input that has elements, for tests."""
    return [tuple(n or 1 for n in choose.shape(1))]


def AXES(choose: Choose, shape: Shape) -> Mapping[str, Any]:
    """Draw the attributes of a reduction, for tests."""
    return {"axis": choose.axes(len(shape)), "keepdims": choose.flag()}


def AXIS(choose: Choose, shape: Shape) -> Mapping[str, Any]:
    """Draw the attributes of an operation along one axis, for tests."""
    return {"axis": choose.integer(-len(shape), -1)}
