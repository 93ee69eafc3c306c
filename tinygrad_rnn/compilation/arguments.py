"""Arguments of a call: the part that is the same for all calls of a kind, and the arrays, tensors and numbers that differ."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np

from ..errors import TraceError
from ..tensor import Parameter, Tensor

__all__ = ["kind_of", "outline", "with_leaves"]

_STATIC = frozenset({int, bool, str, type(None)})


def kind_of(value: Any, leaves: list[Any]) -> Hashable:
    """A key shared by arguments of one kind; the arrays, tensors and floats in the argument are appended to `leaves`.

    Raises
    ------
    TraceError
        If the argument is of no kind that a compiled function takes.

    Examples
    --------
    >>> leaves = []
    >>> kind_of([np.zeros((2, 3)), "train", 0.5], leaves)
    (<class 'list'>, (((2, 3), dtype('float64')), (<class 'str'>, 'train'), <class 'float'>))
    >>> len(leaves)
    2
    """
    kind = type(value)
    if kind is np.ndarray:
        leaves.append(value)
        return value.shape, value.dtype
    if kind in _STATIC:
        return kind, value
    if kind is float:
        leaves.append(value)
        return float
    if kind is Tensor:
        node = value.node
        if node.leaf is None and node.primitive is not None and value.requires_grad:
            raise TraceError(
                f"an argument of shape {node.value.shape} was computed from parameters, and a compiled function passes no "
                "gradient back to its arguments; give x.detach(), or compute the value inside the function"
            )
        leaves.append(value)
        return "tensor", node.value.shape, node.value.dtype, node.leaf is not None
    if isinstance(value, (tuple, list)):
        return kind, tuple([kind_of(part, leaves) for part in value])
    if isinstance(value, dict):
        return kind, tuple([(key, kind_of(part, leaves)) for key, part in value.items()])
    if isinstance(value, (np.number, np.bool_)):
        leaves.append(np.asarray(value))
        return "number", value.dtype
    if isinstance(value, Parameter):
        raise TraceError(
            "a parameter cannot be an argument of a compiled function; let the function use the parameter from outside, as in "
            "lambda x: model(x)"
        )
    raise TraceError(
        f"an argument of a compiled function cannot be of type {kind.__name__}; give arrays, tensors, numbers, strings, or "
        "lists, tuples and dicts of them. A model or another object is used without being an argument, as in lambda x: model(x)"
    )


def with_leaves(value: Any, leaves: Iterator[Any]) -> Any:
    """The argument with other arrays, tensors and floats in place of its own."""
    kind = type(value)
    if kind is np.ndarray or kind is float or kind is Tensor or isinstance(value, (np.number, np.bool_)):
        return next(leaves)
    if isinstance(value, (tuple, list)):
        parts = [with_leaves(part, leaves) for part in value]
        return kind(*parts) if hasattr(kind, "_fields") else kind(parts)
    if isinstance(value, dict):
        return {key: with_leaves(part, leaves) for key, part in value.items()}
    return value


def outline(value: Any) -> Any:
    """The structure of an argument and the identities of its leaves; equal until someone changes a list or a dict in it."""
    if isinstance(value, (tuple, list)):
        return [outline(part) for part in value]
    if isinstance(value, dict):
        return [(key, outline(part)) for key, part in value.items()]
    return id(value)
