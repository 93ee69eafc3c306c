"""Numbers on nodes: small arrays in full, large arrays summarised, and their gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..autodiff import grad, no_grad
from ..graph.graph import is_constant
from ..graph.node import Node, ancestors
from ..tensor import Tensor
from .symbols import literal

__all__ = ["described", "gradients_of", "short_number", "symbols_of"]

SMALL = 4
"""Largest number of elements of an array that is written in full."""


def gradients_of(nodes: Iterable[Node], outputs: Iterable[Node], seeds: Mapping[Node, Any] | None = None) -> dict[Node, Any]:
    """Gradients of the single scalar output of a graph with respect to all values before it.

    Parameters
    ----------
    nodes : iterable of Node
    outputs : iterable of Node
    seeds : mapping of Node to array_like, optional
        Cotangents of other values, instead of the cotangent 1 of the scalar output.

    Returns
    -------
    dict
        The gradients. The dict is empty if the graph does not have exactly one scalar output, or if the graph is symbolic.
    """
    numbers = [node for node in outputs if node.shape == () and node.dtype.kind == "f"]
    if seeds is not None:
        numbers = list(seeds)
    elif len(numbers) != 1:
        return {}
    reached = set(ancestors(numbers))
    if not all(isinstance(node.value, np.ndarray) for node in reached):
        return {}
    wanted = [node for node in nodes if node in reached and node.dtype.kind == "f" and not is_constant(node)]
    with no_grad():
        cotangents = [np.broadcast_to(1.0 if seeds is None else seeds[node], node.shape) for node in numbers]
        found = grad([Tensor(node) for node in numbers], [Tensor(node) for node in wanted], cotangents)
    return {node: gradient.data for node, gradient in zip(wanted, found, strict=True)}


def described(node: Node, gradients: Mapping[Node, Any]) -> list[str]:
    """The value of a node and its gradient, if any, on one line each."""
    lines = [_array(node.value)] if isinstance(node.value, np.ndarray) else []
    if node in gradients:
        lines.append(f"∂ {_array(gradients[node])}")
    return lines


def symbols_of(node: Node, letters: Sequence[str]) -> list[str]:
    """Symbols of the codes in a small integer array, on one line; no line for other values.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> symbols_of(tr.tensor([2, 0]).node, "abc"), symbols_of(tr.tensor([0.5]).node, "abc")
    (['“c” “a”'], [])
    """
    codes = node.value
    if not isinstance(codes, np.ndarray) or codes.dtype.kind not in "iu" or not 0 < codes.size <= SMALL:
        return []
    if codes.min() < 0 or codes.max() >= len(letters):
        return []
    return [" ".join(literal(f"“{letters[code]}”") for code in codes.ravel().tolist())]


def _array(value: Any) -> str:
    """A small array in full; shape, minimum, mean and maximum of a larger array.

    Examples
    --------
    >>> _array(np.array([[0.5, -1.0]]))
    '0.5 −1'
    >>> _array(np.arange(100.0).reshape(10, 10))
    '10×10: 0 … 49.5 … 99'
    """
    shape = "×".join(map(str, value.shape))
    if value.size == 0:
        return f"{shape}: empty"
    if value.size <= SMALL:
        return " ".join(_number(x) for x in value.ravel())
    return f"{shape}: " + " … ".join(map(_number, (value.min(), value.mean(), value.max())))


def short_number(x: float) -> str:
    """A number in a few characters.

    Examples
    --------
    >>> short_number(0.0), short_number(0.123), short_number(-0.00013), short_number(1234.0), short_number(np.inf)
    ('0', '0.12', '−1.3e−4', '1.2e3', '∞')
    """
    mantissa, _, power = (f"{x:.1e}" if 0 < abs(x) < 0.01 else f"{x:.2g}").partition("e")
    text = f"{mantissa.removesuffix('.0')}e{int(power)}" if power else mantissa
    return text.replace("-", "−").replace("inf", "∞").replace("nan", "NaN")


def _number(x: Any) -> str:
    return f"{float(x):.3g}".replace("-", "−")
