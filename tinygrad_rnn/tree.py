"""Nested tuples and named tuples: the structure of inputs, states and outputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["flatten", "nesting", "rebuild"]


def flatten(nested: Any) -> list[Any]:
    """The leaves of nested tuples, in order.

    Examples
    --------
    >>> flatten(((1, 2), 3))
    [1, 2, 3]
    """
    if not isinstance(nested, tuple):
        return [nested]
    return [leaf for part in nested for leaf in flatten(part)]


def rebuild(like: Any, leaves: Iterator[Any], depth: int | None = None) -> Any:
    """Nested tuples of the same structure, named tuples included, with other leaves.

    Examples
    --------
    >>> rebuild(((1, 2), 3), iter("abc"))
    (('a', 'b'), 'c')
    """
    if not isinstance(like, tuple) or depth == 0:
        return next(leaves)
    parts = [rebuild(part, leaves, None if depth is None else depth - 1) for part in like]
    return type(like)(*parts) if hasattr(like, "_fields") else tuple(parts)


def nesting(nested: Any) -> Any:
    """The structure of nested tuples as a hashable value, which includes the positions of None.

    Examples
    --------
    >>> nesting(((1, 2), 3)) == nesting((("a", "b"), "c")), nesting((1, 2)) == nesting((1, None))
    (True, False)
    """
    return (type(nested), *map(nesting, nested)) if isinstance(nested, tuple) else nested is None
