"""Messages: errors of kernels and shape rules, explained with the layer, the step and the names of the inputs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DtypeError, NonFiniteError, ShapeError, TinygradError, TraceError
from ..graph.context import current
from ..graph.node import Node, Spec

if TYPE_CHECKING:
    from .core import Primitive

__all__ = ["DETACHED", "OutOfRange", "describe", "explained", "no_gradient", "report_non_finite"]

DETACHED = "the detached"


def describe(node: Node) -> str:
    """A value in an error message: its name if it has one, and its shape."""
    name, source = node.name, node.cut
    if source is not None:
        return f"{DETACHED} {describe(source)}"
    if node.primitive is not None and name is None:
        (first, *more) = node.inputs
        name = node.operation if more or first.name is None else f"{node.operation}({first.name})"
    return f"{name} {node.shape}" if name else str(node.shape)


def no_gradient(what: str, dtype: np.dtype[Any]) -> str:
    """Text of an error about a value that is not made of floats."""
    return f"{what} has dtype {dtype}, and only floats have a gradient; make it of floats, such as by dtype=float"


class OutOfRange(IndexError):
    """Codes of a kernel's input that are not valid positions; the message omits the primitive's name."""


def explained(primitive: Primitive, nodes: tuple[Node, ...], attributes: Mapping[str, Any], error: Exception) -> TinygradError:
    """Extend an error of a kernel or shape rule by the primitive, the layer, the step and the inputs."""
    where = current().location.describe()
    names = list(primitive.named_arguments)
    names += [f"input {i}" for i in range(len(names), len(nodes))]
    shown = ", ".join(f"{name} = {describe(node)} {node.dtype}" for name, node in zip(names, nodes, strict=False))
    given = "".join(f", {key}={value!r}" for key, value in attributes.items())
    head = f"{primitive.name}{where}: "
    if not current().tracing and (kept := [node for node in nodes if isinstance(node.value, Spec)]):
        return TraceError(
            f"{head}{describe(kept[0])} has no value: a cell's step kept it while the step was recorded, before there were "
            "values. Return it from the step as an output, or read it by states(xs)"
        )
    try:
        primitive.shape(*[node.spec for node in nodes], **attributes)
    except Exception as ruled:  # the error of the shape rule is clearer
        return (DtypeError if isinstance(ruled, DtypeError) else ShapeError)(f"{head}{ruled} ({shown}{given})")
    if isinstance(error, OutOfRange):
        return ShapeError(f"{error}{where} ({shown})")
    if isinstance(error, IndexError):
        return ShapeError(f"{head}{error} ({shown}{given})")
    return DtypeError(f"{head}NumPy cannot compute with these inputs: {error} ({shown}{given})")


def report_non_finite(primitive: Primitive, nodes: tuple[Node, ...], value: Any) -> None:
    """Raise for a NaN or inf result, with the line of the user's code that requested the operation.

    Raises
    ------
    NonFiniteError
        The message names the first such element, or the leaf among the inputs that already holds one.
    """
    held = next((i for i in nodes if i.primitive is None and not np.isfinite(i.value).all()), None)
    if held is not None:
        raise NonFiniteError(f"{describe(held)}, an input of {primitive.name}{current().location.describe()}, has NaN or inf")
    bad = np.argwhere(~np.isfinite(value))[0]
    what = value[tuple(bad)]
    frame = sys._getframe()
    package = __name__.partition(".")[0]
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame = frame.f_back
    shown = ", ".join(describe(node) for node in nodes)
    kind = "first appeared in the gradient of" if current().location.origin is not None else "first appeared in"
    raise NonFiniteError(
        f"{what} {kind} {primitive.name}({shown}){current().location.describe()}, at index {tuple(map(int, bad))}; "
        f"computed at {frame.f_code.co_filename}:{frame.f_lineno}"
    )
