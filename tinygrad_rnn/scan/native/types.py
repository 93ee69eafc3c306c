"""Types: dtypes in C, and the C templates of operations."""

from __future__ import annotations

import math
import string
from typing import Any

import numpy as np

from ...graph.node import Node
from ...ops.core import registry
from ...ops.facts import facts_of
from .places import literal_of

__all__ = ["C_TYPES", "form_of", "line_dtype", "literal", "numbers_of", "operand_dtype", "suffix", "template_of"]

C_TYPES = {
    np.dtype(np.float32): "float",
    np.dtype(np.float64): "double",
    np.dtype(np.bool_): "_Bool",
    np.dtype(np.int8): "signed char",
    np.dtype(np.uint8): "unsigned char",
    np.dtype(np.int16): "short",
    np.dtype(np.uint16): "unsigned short",
    np.dtype(np.int32): "int",
    np.dtype(np.uint32): "unsigned",
    np.dtype(np.int64): "long long",
    np.dtype(np.uint64): "unsigned long long",
}
"""The dtypes that programs in C have."""

_SCATTER, _EINSUM = registry["scatter"], registry["einsum"]


def suffix(dtype: np.dtype[Any]) -> str:
    """The ending of function names for a dtype.

    Examples
    --------
    >>> suffix(np.dtype("float32")), suffix(np.dtype("float64")), suffix(np.dtype("int8"))
    ('f', 'd', 'i')
    """
    return {"float32": "f", "float64": "d"}.get(dtype.name, "i")


def operand_dtype(node: Node) -> np.dtype[Any]:
    """The dtype in which an elementwise operation reads its operands."""
    return node.dtype if node.dtype.kind != "b" else np.result_type(*[i.dtype for i in node.inputs])


def line_dtype(node: Node) -> np.dtype[Any]:
    """The dtype of the line of elements that a reduction reads."""
    wide = node.dtype if node.dtype.kind == "f" else node.inputs[0].dtype
    return wide if wide.kind == "f" else np.dtype(np.int64)


def template_of(node: Node) -> str | None:
    """The C template of an operation for its dtype; None if there is none."""
    c = node.primitive.c if node.primitive is not None else None
    if c is None or isinstance(c, str):
        return c
    kind = (line_dtype(node) if facts_of(node).reduces or facts_of(node).along else operand_dtype(node)).kind
    return next((template for kinds, template in c.items() if kind in kinds), None)


def form_of(node: Node) -> str | None:
    """The way in which an operation is written in C; None if it cannot be.

    Returns
    -------
    str or None
        "element": an expression for each element. "gather": an expression with an index. "line": a function of a line of
        elements. "product", "einsum", "scatter". "flat": a copy in another shape.
    """
    primitive, facts = node.primitive, facts_of(node)
    assert primitive is not None
    if any(i.dtype not in C_TYPES for i in (node, *node.inputs)):
        return None
    if literal_of(node) is not None:
        return "element"
    template = template_of(node)
    if template is not None:
        if facts.reduces or facts.along:
            return "line" if "n" in _fields(template) else None
        return "element" if primitive.elementwise and _fields(template) <= {*primitive.arguments, *numbers_of(node)} else None
    if facts.reads and len(node.inputs) > 1:
        return "gather"
    if facts.product:
        return "product"
    if primitive is _EINSUM:
        return "einsum"
    if primitive is _SCATTER:
        return "scatter"
    return "flat" if facts.copies and math.prod(node.shape) == math.prod(node.inputs[0].shape) else None


def _fields(template: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(template) if field is not None}


def numbers_of(node: Node) -> dict[str, Any]:
    """The attributes of an operation that are numbers; only these are written into a source.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> numbers_of(tr.tensor([1.0]).sum(0).node)
    {'keepdims': False}
    """
    return {name: value for name, value in node.attributes.items() if isinstance(value, (bool, int, float, np.number))}


def literal(value: Any, dtype: np.dtype[Any]) -> str:
    """A number in C.

    Examples
    --------
    >>> literal(0.5, np.dtype("float32")), literal(1, np.dtype("float64")), literal(-2, np.dtype("int64"))
    ('0.5f', '1.0', '(-2LL)')
    >>> literal(-np.inf, np.dtype("float32"))
    '(-__builtin_inff())'
    """
    if dtype.kind != "f":
        end = "ULL" if dtype == np.uint64 else "LL" if dtype.itemsize == 8 else ""
        number = int(value)
        text = f"{number}{end}" if number > -(2**63) else "(-9223372036854775807LL - 1)"
    else:
        end, number = "f" if dtype.itemsize == 4 else "", dtype.type(value)
        if np.isnan(number):
            return f'__builtin_nan{end}("")'
        text = f"{number}{end}" if np.isfinite(number) else f"{'-' * bool(number < 0)}__builtin_inf{end}()"
    return f"({text})" if text.startswith("-") else text
