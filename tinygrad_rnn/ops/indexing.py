"""Indexing: read parts of an array, and scatter their cotangents. Dual pairs stand together, such as getitem and scatter."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DtypeError, ShapeError, TraceError
from ..graph.context import current
from ..graph.node import Spec
from .axes import negative_axis
from .core import Sparse, TensorLike, apply, as_tensor, filled, primitive
from .domains import REAL, Choose, Domain, Interval, Shape
from .facts import Facts
from .messages import OutOfRange
from .shapes import expand_dims, squeeze

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = ["getitem", "take", "take_along_axis"]

# An index is stored as a template. Integers, slices, None and Ellipsis stand in it as they are. Integer arrays
# are inputs like any other; an IndexArray marks the place of each of them, in order.


@dataclass(frozen=True)
class IndexArray:
    """Placeholder for an integer array in the template of an index.

    Attributes
    ----------
    codes, counted : str or None
        The array holds codes, none of which is negative. `codes` is the name of the codes, and `counted` the name
        of the things that they number. The kernel checks the codes, since their values are known wherever the kernel
        runs, in an explicit graph and in a compiled loop. None for an index by NumPy's rules, where -1 is the last.

    Examples
    --------
    >>> IndexArray("codes", "embeddings").codes
    'codes'
    """

    codes: str | None = None
    counted: str | None = None

    def __repr__(self) -> str:
        return "array"


ARRAY = IndexArray()

_BASIC = {int, slice, type(None), type(...)}
"""Types that the parts of an index without arrays may have."""


def is_index_array(part: Any) -> bool:
    """Whether a part of an index template is the placeholder of an array.

    Examples
    --------
    >>> is_index_array(ARRAY), is_index_array(slice(None))
    (True, False)
    """
    return isinstance(part, IndexArray)


def _with_arrays(template: tuple[Any, ...], arrays: Sequence[Any]) -> tuple[Any, ...]:
    rest = iter(arrays)
    return tuple(next(rest) if is_index_array(part) else part for part in template)


def _check_codes(template: tuple[Any, ...], index: tuple[Any, ...], shape: Shape) -> None:
    """Raise if codes are not valid positions along their axis."""
    for part, codes, n in zip(template, index, shape, strict=False):
        if not is_index_array(part) or part.codes is None or not codes.size:
            continue
        unsigned = codes.view(codes.dtype.str.replace("i", "u"))  # as unsigned integers, negative codes are the largest
        if unsigned.max() >= n:
            raise OutOfRange(f"{part.codes} go from {codes.min()} to {codes.max()}, but there are only {n} {part.counted}")


def _indexed(x: Spec, *arrays: Spec, index: tuple[Any, ...]) -> Spec:
    nothing = np.broadcast_to(np.empty((), x.dtype), x.shape)  # no memory: every stride is 0
    zeros = [np.zeros(a.shape, np.intp) for a in arrays]
    return Spec(nothing[_with_arrays(index, zeros)].shape, x.dtype)


def _getitem_shapes(choose: Choose) -> list[Shape]:
    if choose.flag():
        return [choose.shape(1)]
    return [(choose.integer(2, 3), *choose.shape(0, 2)), choose.shape(0, 2)]


def _getitem_index(choose: Choose, x: Shape, *arrays: Shape) -> Mapping[str, Any]:
    return {"index": (ARRAY, *choose.index(x[1:])) if arrays else choose.index(x)}


@primitive(
    gradient=lambda positions, g, y, x, *arrays, index: [None if i else Sparse(g, index, arrays) for i in positions],
    formula=r"{x:symbol,own}{{}}_{{{index:index}}}",
    facts=Facts(reads="index"),
    shape=_indexed,
    domain=Domain(REAL, Interval(-1, 2, "int"), shapes=_getitem_shapes, attributes=_getitem_index),
    leading=lambda attributes, shapes: (
        NotImplemented if any(map(is_index_array, attributes["index"])) else {"index": (slice(None), *attributes["index"])}
    ),
    view=lambda attributes, shape: not any(map(is_index_array, attributes["index"])),
)
def _getitem(x, *arrays, index, out=None):
    if not arrays:
        return x[index] if out is None else filled(x[index], out)
    found = _with_arrays(index, arrays)
    _check_codes(index, found, x.shape)
    return filled(x[found], out)


def getitem(x: TensorLike, index: Any) -> Tensor:
    """``x[index]``, with NumPy's rules for basic and advanced indexing.

    Raises
    ------
    ShapeError
        If an index is out of bounds, or there are more indices than axes.
    DtypeError
        If an index is not made of integers, booleans, slices, None or Ellipsis.

    Examples
    --------
    >>> getitem([[1.0, 2.0], [3.0, 4.0]], (slice(None), 1))
    tensor([2., 4.])
    """
    x = as_tensor(x)
    if index is None or index.__class__ is int:
        return apply(_getitem, (x,), {"index": (index,)})
    return _read(x, index)


def _read(x: Tensor, index: Any, arrays_are: IndexArray = ARRAY) -> Tensor:
    """Compute ``x[index]``; `arrays_are` is the placeholder of arrays in the index template."""
    parts = index if isinstance(index, tuple) else (index,)
    if not _BASIC.issuperset(map(type, parts)):
        _check_masks(x.shape, parts)
    template: list[Any] = []
    arrays: list[Any] = []
    for part in parts:
        if part is None or part is Ellipsis or part.__class__ is int:
            template.append(part)
        elif isinstance(part, slice):
            template.append(
                slice(*[None if end is None else operator.index(end) for end in (part.start, part.stop, part.step)])
            )
        elif isinstance(part, np.integer):
            template.append(int(part))
        else:
            for array in _index_arrays(part):
                template.append(arrays_are)
                arrays.append(array)
    return apply(_getitem, (x, *arrays), {"index": tuple(template)})


def look_up(table: Tensor, codes: TensorLike, names: IndexArray) -> Tensor:
    """The rows of a table at integer codes.

    Parameters
    ----------
    table : Tensor
    codes : array_like of int
    names : IndexArray
        The names of the codes and of the rows in errors.

    Raises
    ------
    ShapeError
        If a code is negative, or not less than the number of rows.

    Examples
    --------
    >>> look_up(as_tensor([[1.0], [2.0]]), [1, 0], IndexArray("codes", "rows"))
    tensor([[2.],
            [1.]])
    """
    return _read(table, (codes,), names)


def pick(x: Tensor, codes: Tensor, names: IndexArray) -> Tensor:
    """The element of the last axis at each code; see :func:`look_up` for errors.

    Examples
    --------
    >>> pick(as_tensor([[1.0, 2.0], [3.0, 4.0]]), as_tensor([1, 0]), IndexArray("classes", "logits"))
    tensor([2., 3.])
    """
    return squeeze(_along_axis(x, expand_dims(codes, -1), -1, names), -1)


def _check_masks(shape: Shape, parts: tuple[Any, ...]) -> None:
    """Check that a boolean mask has the shape of the axes that it indexes."""
    arrays = [part if hasattr(part, "dtype") else np.asarray(part) for part in parts]
    masks = [array.shape if array.dtype.kind == "b" else None for array in arrays]
    if not any(mask is not None for mask in masks):
        return
    takes = [
        len(mask) if mask is not None else int(part is not None and part is not Ellipsis)
        for part, mask in zip(parts, masks, strict=True)
    ]
    axis = 0
    for part, mask, n in zip(parts, masks, takes, strict=True):
        if mask is not None and (mask == () or mask != shape[axis : axis + n]):
            raise ShapeError(f"getitem: a mask of shape {mask} does not fit the axes {shape[axis : axis + n]} of {shape}")
        axis += len(shape) - sum(takes) if part is Ellipsis else n


def _index_arrays(part: Any) -> list[Any]:
    """The integer arrays that are equivalent to an index array of integers or booleans."""
    array = part if hasattr(part, "_node") else np.asarray(part)
    if array.dtype.kind == "b":
        if current().tracing and hasattr(part, "_node"):
            raise TraceError(
                "a step is recorded before there are values, so the number of True values in this mask is unknown; "
                'use tr.where(mask, a, b), or nn.Recurrent(cell, mode="unroll")'
            )
        return list(np.asarray(array).nonzero())
    if array.size == 0 and not hasattr(part, "_node"):
        array = array.astype(np.intp)
    if array.dtype.kind not in "iu":
        raise DtypeError(f"an index must be made of integers, booleans, slices, None or ..., not of {array.dtype}")
    return [array]


def _scatter_parts(inputs: Sequence[Any], indices: tuple[tuple[Any, ...], ...]) -> list[tuple[tuple[Any, ...], Any, list[Any]]]:
    """Each index of a scatter, with its value and its arrays."""
    rest = iter(inputs)
    return [(index, next(rest), [next(rest) for part in index if is_index_array(part)]) for index in indices]


def _scattered(*inputs: Spec, indices: tuple[tuple[Any, ...], ...], shape: Shape) -> Spec:
    return Spec(shape, np.result_type(*[value.dtype for _, value, _ in _scatter_parts(inputs, indices)]))


def _scatter_rules(positions: list[int], g: Any, y: Any, *inputs: Any, indices: Any, shape: Shape) -> list[Any]:
    found: list[Any] = [None] * len(inputs)
    wanted, start = set(positions), 0
    for index in indices:
        stop = start + 1 + sum(map(is_index_array, index))
        if start in wanted:
            found[start] = apply(_getitem, (g, *inputs[start + 1 : stop]), {"index": index})
        start = stop
    return [found[i] for i in positions]


def _scatter_case(choose: Choose, *shapes: Shape) -> Mapping[str, Any]:
    n = shapes[0][0]
    return {"indices": ((slice(0, n),), (slice(1, n + 1),)), "shape": (n + 1, *shapes[0][1:])}


def _scatter_leading(attributes: Mapping[str, Any], shapes: list[Shape]) -> Any:
    if any(is_index_array(part) for index in attributes["indices"] for part in index):
        return NotImplemented
    indices = tuple((slice(None), *index) for index in attributes["indices"])
    return {"indices": indices, "shape": (shapes[0][0], *attributes["shape"])}


@primitive(
    gradient=_scatter_rules,
    formula=r"\operatorname{{scatter}}_{{{indices:index}}}\left({rest:own}\right)",
    facts=Facts(linear="jointly"),
    shape=_scattered,
    domain=Domain(REAL, shapes=lambda choose: [choose.shape(1)] * 2, attributes=_scatter_case),
    leading=_scatter_leading,
)
def _scatter(*inputs, indices, shape, out=None):
    """Zeros with each value added at its index: the transpose of reading slices.

    The inputs are, for one index after another, the value and then the index's integer arrays.
    """
    parts = _scatter_parts(inputs, indices)
    dtype = np.result_type(*[value.dtype for _, value, _ in parts])
    wide = np.promote_types(dtype, np.float32) if dtype == np.float16 else dtype
    if out is None or out.dtype != wide:
        found = np.zeros(shape, wide)
    else:
        found = out
        found[...] = 0
    for index, value, arrays in parts:
        if not arrays:
            found[index] += value
        elif all(map(is_index_array, index)) and found.flags.c_contiguous:
            _add_elements(found, arrays, value)
        else:
            np.add.at(found, _with_arrays(index, arrays), value)
    return found if found is out else filled(found.astype(dtype, copy=False), out)


def _add_elements(found: Any, arrays: Sequence[Any], value: Any) -> None:
    """Add elements like ``np.add.at``, for arrays that index the leading axes; ``np.add.at`` is fast for vectors only."""
    numbers: Any = 0
    for array, n in zip(arrays, found.shape, strict=False):
        array = array.astype(np.intp)  # products of small integers would wrap around
        numbers = numbers * n + np.where(array < 0, array + n, array)
    width = math.prod(found.shape[len(arrays) :])
    if width != 1:
        numbers = numbers[..., None] * width + np.arange(width)
    np.add.at(found.reshape(-1), numbers.ravel(), value.ravel())


def scatter(parts: Sequence[Sparse], shape: Shape) -> Tensor:
    """Zeros of `shape` with each part added at its index: the sum of sparse cotangents."""
    inputs = [tensor for part in parts for tensor in (part.value, *part.arrays)]
    return apply(_scatter, inputs, {"indices": tuple(part.at for part in parts), "shape": shape})


def take(x: TensorLike, indices: TensorLike, axis: int | None = None) -> Tensor:
    """Elements at positions along an axis, or of the flattened array if no axis is given.

    Parameters
    ----------
    x : array_like
    indices : array_like of int
        The positions; negative positions count from the end.
    axis : int or None
        The axis; None for the flattened array.

    Examples
    --------
    >>> take([[1.0, 2.0], [3.0, 4.0]], [1, 1, 0], axis=0)
    tensor([[3., 4.],
            [3., 4.],
            [1., 2.]])
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = x.reshape(x.size), 0
    a = negative_axis("take", axis, x.ndim)
    return getitem(x, (*[slice(None)] * (x.ndim + a), indices))


def take_along_axis(x: TensorLike, indices: TensorLike, axis: int | None) -> Tensor:
    """Elements selected along an axis by an array of indices, or from the flattened array if the axis is None.

    Parameters
    ----------
    x : array_like
    indices : array_like of int
        The positions, in an array with as many axes as `x`.
    axis : int or None
        The axis; None for the flattened array.

    Examples
    --------
    >>> take_along_axis([[1.0, 2.0], [3.0, 4.0]], [[1], [0]], axis=1)
    tensor([[2.],
            [3.]])
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = x.reshape(x.size), 0
    return _along_axis(x, indices, axis, ARRAY)


def _along_axis(x: Tensor, indices: TensorLike, axis: int, arrays_are: IndexArray) -> Tensor:
    a = negative_axis("take_along_axis", axis, x.ndim)
    found: Any = indices if hasattr(indices, "_node") else np.asarray(indices)
    if found.ndim != x.ndim:
        raise ShapeError(f"take_along_axis: indices of shape {found.shape} must have as many axes as x of shape {x.shape}")
    grid: list[Any] = []
    for i, n in enumerate(x.shape):
        along = [1] * x.ndim
        along[i] = -1
        grid.append(found if i - x.ndim == a else np.arange(n).reshape(along))
    return _read(x, tuple(grid), arrays_are)
