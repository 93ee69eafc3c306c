"""Checks that the declared facts of a primitive hold for its kernel, each on one case."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ops.core import Primitive
from ..ops.indexing import is_index_array
from .cases import Array, Case
from .gradients.verdicts import GradientCheckError

__all__ = ["hold_to_facts"]


def hold_to_facts(primitive: Primitive, case: Case) -> None:
    """Compare each declared fact of a primitive with its kernel.

    Parameters
    ----------
    primitive : Primitive
    case : Case

    Raises
    ------
    GradientCheckError
        If a fact does not hold. The message names the fact, and the shapes and attributes of the case.

    Examples
    --------
    >>> import numpy as np, tinygrad_rnn as tr
    >>> hold_to_facts(tr.subtract, Case((np.ones(3), np.ones(3)), {}))
    """
    with np.errstate(all="ignore"):
        value = np.asarray(primitive.kernel(*case.inputs, **case.attributes))
        for fact, check in CHECKS.items():
            declared = getattr(primitive.facts, fact)
            if declared and not _holds(check, primitive, case, value):
                shapes = ", ".join(str(x.shape) for x in case.inputs)
                given = "".join(f", {key}={value!r}" for key, value in case.attributes.items())
                raise GradientCheckError(
                    f"{primitive.name} declares {fact}={declared!r}, but this is wrong for inputs of shapes {shapes}{given}"
                )
        for group in primitive.facts.linear_groups(primitive.arguments, len(case.inputs)):
            if value.dtype.kind == "f" and not _is_linear(primitive, case, group):
                names = [primitive.arguments[min(i, len(primitive.arguments) - 1)] for i in group]
                raise GradientCheckError(
                    f"{primitive.name} declares that it is linear in {', '.join(names)}, but its kernel is not"
                )


def _holds(check: Callable[[Primitive, Case, Array], bool], primitive: Primitive, case: Case, value: Array) -> bool:
    try:
        return check(primitive, case, value)
    except (ValueError, TypeError, IndexError):  # such inputs contradict the declaration
        return False


def _equal(found: Any, expected: Any) -> bool:
    """Whether two arrays have the same shape, and equal values up to rounding."""
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        return False
    return np.allclose(found, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max(initial=1.0), equal_nan=True)


def _is_elementwise(primitive: Primitive, case: Case, value: Array) -> bool:
    """Whether half of the elements, permuted and alone, give the same results as together with all other elements."""
    inputs = [x.ravel() for x in np.broadcast_arrays(*case.inputs)]
    some = np.random.default_rng(0).permutation(inputs[0].size)[: (inputs[0].size + 1) // 2]
    found = primitive.kernel(*[x[some] for x in inputs], **case.attributes)
    return value.size == inputs[0].size and _equal(found, value.ravel()[some])


def _is_copy(primitive: Primitive, case: Case, value: Array) -> bool:
    (x,) = [x.astype(value.dtype) for x in case.inputs]
    if x.size == value.size:
        return np.array_equal(value.ravel(), x.ravel(), equal_nan=value.dtype.kind == "f")
    return np.array_equal(value, np.broadcast_to(x, value.shape))


def _is_sum(primitive: Primitive, case: Case, value: Array) -> bool:
    terms = [x if sign > 0 else -x for sign, x in zip(primitive.facts.signs, case.inputs, strict=True)]
    return _equal(value, np.broadcast_to(sum(terms), value.shape))


def _is_product(primitive: Primitive, case: Case, value: Array) -> bool:
    return _equal(value, np.einsum("...ij,...jk->...ik", *case.inputs))


def _reorders(primitive: Primitive, case: Case, value: Array) -> bool:
    (x,) = case.inputs
    return np.array_equal(value, np.transpose(x, _attribute(primitive, case, "reorders")))


def _reads(primitive: Primitive, case: Case, value: Array) -> bool:
    x, *rest = case.inputs
    arrays = iter(rest)
    index = tuple(next(arrays) if is_index_array(part) else part for part in _attribute(primitive, case, "reads"))
    return np.array_equal(value, x[index]) and next(arrays, None) is None


def _joins(primitive: Primitive, case: Case, value: Array) -> bool:
    axis = _attribute(primitive, case, "joins")
    join: Callable[..., Any] = np.concatenate if value.ndim == case.inputs[0].ndim else np.stack
    return np.array_equal(value, join(case.inputs, axis=axis))


def _reduces(primitive: Primitive, case: Case, value: Array) -> bool:
    (x,), axes = case.inputs, _axes(primitive, case, "reduces")
    kept = tuple(1 if a in axes else n for a, n in zip(range(-x.ndim, 0), x.shape, strict=True))
    gone = tuple(n for a, n in zip(range(-x.ndim, 0), x.shape, strict=True) if a not in axes)
    if value.shape not in (kept, gone):
        return False
    if len(axes) > 1:
        one_by_one = x
        for axis in sorted(axes):  # from the first: an axis that is gone does not change the numbers of those behind it
            attributes = {**case.attributes, primitive.facts.reduces or "": (axis,)}
            one_by_one = np.asarray(primitive.kernel(one_by_one, **attributes))
        if not _equal(value, one_by_one):
            return False
    return _is_apart(primitive, case, value.reshape(kept), axes)


def _sums(primitive: Primitive, case: Case, value: Array) -> bool:
    (x,) = case.inputs
    return _equal(value.ravel(), np.add.reduce(x, axis=_axes(primitive, case, "reduces")).ravel())


def _goes_along(primitive: Primitive, case: Case, value: Array) -> bool:
    (x,), axes = case.inputs, _axes(primitive, case, "along")
    if value.shape != x.shape or not _is_apart(primitive, case, value, axes):
        return False
    return all(x.size == 0 or x.shape[a] < 2 or not _is_apart(primitive, case, value, axes, [a]) for a in axes)


def _is_apart(primitive: Primitive, case: Case, value: Array, axes: Sequence[int], others: Sequence[int] | None = None) -> bool:
    """Whether results at one position of an axis ignore all other positions, for each axis that is not declared."""
    (x,) = case.inputs
    for axis in range(-x.ndim, 0) if others is None else others:
        if others is None and axis in axes:
            continue
        for t in range(x.shape[axis]):
            part = np.asarray(primitive.kernel(np.take(x, [t], axis), **case.attributes))
            expected = np.take(value, [t], axis)
            if not _equal(part.reshape(expected.shape) if part.size == expected.size else part, expected):
                return False
    return True


def _is_bounded(primitive: Primitive, case: Case, value: Array) -> bool:
    low, high = primitive.facts.bounds or (0, 0)
    known = value[~np.isnan(value)]
    return bool(np.all((known >= low) & (known <= high)))


def _attribute(primitive: Primitive, case: Case, fact: str) -> Any:
    return case.attributes[getattr(primitive.facts, fact)]


def _axes(primitive: Primitive, case: Case, fact: str) -> tuple[int, ...]:
    axes = _attribute(primitive, case, fact)
    ndim = case.inputs[0].ndim
    return tuple(a % ndim - ndim for a in (axes if isinstance(axes, tuple) else (axes,)))


CHECKS: dict[str, Callable[[Primitive, Case, Array], bool]] = {
    "elementwise": _is_elementwise,
    "copies": _is_copy,
    "signs": _is_sum,
    "product": _is_product,
    "reorders": _reorders,
    "reads": _reads,
    "joins": _joins,
    "reduces": _reduces,
    "sums": _sums,
    "along": _goes_along,
    "bounds": _is_bounded,
}
"""For each fact except linearity, the check of whether it holds for a kernel."""


def _is_linear(primitive: Primitive, case: Case, group: Sequence[int]) -> bool:
    """Whether f(2 u − 3 v) = 2 f(u) − 3 f(v) in the float inputs of a group, with the other inputs held fixed."""
    rng = np.random.default_rng(0)

    def at(inputs: Sequence[Array]) -> Array:
        return np.asarray(primitive.kernel(*inputs, **case.attributes))

    varied = {i for i in group if case.inputs[i].dtype.kind == "f"}
    other = [x * rng.uniform(0.5, 1, x.shape) if i in varied else x for i, x in enumerate(case.inputs)]
    both = [2 * u - 3 * v if i in varied else u for i, (u, v) in enumerate(zip(case.inputs, other, strict=True))]
    return not varied or _equal(at(both), 2 * at(case.inputs) - 3 * at(other))
