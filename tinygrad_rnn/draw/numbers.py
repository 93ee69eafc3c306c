"""Numbers on nodes: small arrays written out, large ones summed up."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph.node import Node

__all__ = ["described"]

SMALL = 4


def described(node: Node) -> list[str]:
    """The value of a node, and its gradient if it has one, a line each."""
    lines = [] if not isinstance(node.value, np.ndarray) else [_array(node.value)]
    tensor = node.leaf() if node.leaf is not None else None
    if tensor is not None and tensor.grad is not None:
        lines.append(f"∂ {_array(tensor.grad.data)}")
    return lines


def _array(value: Any) -> str:
    """A small array in full; shape, least, mean and largest value of a larger one.

    Examples
    --------
    >>> _array(np.array([[0.5, -1.0]]))
    '0.5 −1'
    >>> _array(np.arange(100.0).reshape(10, 10))
    '10×10: 0 … 49.5 … 99'
    """
    if value.size == 0:
        return "×".join(map(str, value.shape)) + ": empty"
    if value.size <= SMALL:
        return " ".join(_number(x) for x in value.ravel())
    ends = (value.min(), value.mean(), value.max())
    return f"{'×'.join(map(str, value.shape))}: " + " … ".join(map(_number, ends))


def _number(x: Any) -> str:
    return f"{float(x):.3g}".replace("-", "−")
