"""Axes and shapes: counting from the end, keeping, expanding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ShapeError
from .domains import Choose, Shape

__all__ = ["AXES", "Axis", "expand_to", "kept", "negative_axes"]

Axis = int | tuple[int, ...] | None


def negative_axes(name: str, axis: Axis, ndim: int) -> tuple[int, ...]:
    """Axes counted from the end and sorted, so that a further leading axis leaves them as they are.

    Examples
    --------
    >>> negative_axes("sum", (0, -1), 3)
    (-3, -1)
    """
    axes = range(ndim) if axis is None else (axis,) if isinstance(axis, (int, np.integer)) else tuple(axis)
    for a in axes:
        if not -ndim <= a < ndim:
            raise ShapeError(f"{name}: axis {a} is out of bounds for a tensor of {ndim} dimensions")
    found = tuple(sorted({int(a) % ndim - ndim for a in axes}))
    if len(found) != len(tuple(axes)):
        raise ShapeError(f"{name}: an axis is repeated in {axis}")
    return found


def kept(shape: Shape, axes: tuple[int, ...]) -> Shape:
    """The shape with length 1 along the axes."""
    return tuple(1 if i - len(shape) in axes else n for i, n in enumerate(shape))


def expand_to(y: Any, x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    """A reduction's result, with its axes back as length 1, ready to broadcast against x."""
    return y if keepdims or not axis else y.reshape(kept(x.shape, axis))


def AXES(choose: Choose, shape: Shape) -> Mapping[str, Any]:
    """Attributes of a reduction, for the tests that draw them."""
    return {"axis": choose.axes(len(shape)), "keepdims": choose.flag()}
