"""The function under test, as a map from one flat vector to another, with its graph."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ...autodiff import grad, jvp
from ...checks import no_such
from ...errors import TinygradError
from ...graph.graph import graph
from ...graph.node import Node, leaf
from ...ops.core import constant
from ...tensor import Parameter, Tensor, rebind, require_grad
from .tolerances import EPS
from .verdicts import GradientCheckError

__all__ = ["DIRECTIONS", "Evaluation", "Gradient", "Subject", "Vector", "direction", "flat", "grad_or_zero", "split"]

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """One call of the function under test: its input tensors, and its float outputs."""

    inputs: list[Tensor]
    outputs: list[Tensor]

    @cached_property
    def explicit(self) -> list[Node]:
        """The output nodes of a graph in which every scan is expanded into its steps."""
        return list(graph(*self.outputs).opened().outputs)

    @property
    def value(self) -> Vector:
        """All outputs, concatenated to one vector."""
        return flat([y.data for y in self.outputs])

    def pull(self, u: Vector) -> Vector:
        """The product Jᵀu, by `grad`."""
        return flat([g.data for g in grad(self.outputs, self.inputs, split(u, self.outputs))])

    def push(self, v: Vector) -> Vector:
        """The product J v, by `jvp`."""
        return flat([dy.data for dy in jvp(self.outputs, self.inputs, split(v, self.inputs))])


def flat(arrays: Sequence[npt.NDArray[Any]]) -> Vector:
    """The arrays, concatenated to a new vector."""
    return np.concatenate([np.ravel(a) for a in arrays]) if arrays else np.zeros(0)


def split(vector: npt.NDArray[Any], like: Sequence[Any]) -> list[npt.NDArray[Any]]:
    """Split a vector into arrays of the shapes of the given arrays or tensors."""
    parts, end = [], 0
    for x in like:
        start, end = end, end + x.size
        parts.append(vector[start:end].reshape(x.shape))
    return parts


class Subject:
    """The function under test, as a function of the differentiated arguments; all other arguments are held fixed.

    Parameters
    ----------
    f : callable
    args : sequence
        The arguments of `f`.
    wrt : None, or one or several of int, str and Parameter
        Positions or names of arguments, or parameters that `f` uses directly; if None, all
        arguments of floats.
    """

    def __init__(self, f: Callable[..., Any], args: Sequence[Any], wrt: Any = None) -> None:
        self.f = f
        self.args = [Tensor(constant(np.array(a))) if _is_array(a) else a for a in args]
        called = _names(f, self.args)
        asked = [wrt] if isinstance(wrt, (int, str, Parameter)) else wrt
        if asked is None:
            asked = [i for i, a in enumerate(self.args) if isinstance(a, Tensor) and a.dtype.kind == "f"]
        self.sources: list[int | Parameter] = []
        self.names: list[str] = []
        for which in asked:
            if isinstance(which, Parameter) and not any(which is a for a in self.args):
                self.sources.append(which)
                self.names.append(which.name or f"parameter {len(self.names)}")
                continue
            position = _position(which, called, self.args)
            self.sources.append(position)
            self.names.append(called[position])
        self.point: list[Vector] = []
        for name, source in zip(self.names, self.sources, strict=True):
            x = self.args[source] if isinstance(source, int) else source
            if not isinstance(x, Tensor) or x.dtype.kind != "f":
                raise GradientCheckError(f"{name} must have floats; other values have no gradient to check")
            self.point.append(np.asarray(x.data, np.float64).copy(order="K"))
        if not self.point:
            raise GradientCheckError("there is nothing to check, for no argument has floats; give arrays of floats")

        self.size = 0
        self.grain: Vector | float = 0.0

    @property
    def x(self) -> Vector:
        """The point at which the function is judged, as one vector."""
        return flat(self.point)

    def run(self, x: Vector | None = None, *, requires_grad: bool = False) -> Evaluation:
        """Call the function at its point, or at the point x."""
        arrays = self.point if x is None else [a.copy() for a in split(x, self.point)]
        args = list(self.args)
        inputs: list[Tensor] = []
        with _bound() as bind:
            for source, array in zip(self.sources, arrays, strict=True):
                holder = self.args[source] if isinstance(source, int) else source
                if isinstance(holder, Parameter):
                    inputs.append(bind(holder, array))
                    continue
                t = Tensor(constant(array))
                if requires_grad:
                    require_grad(t)
                inputs.append(t)
                args[source] = t
            outputs = [y for y in _leaves(self.f(*args)) if y.dtype.kind == "f"]
        if not outputs:
            raise GradientCheckError("there is nothing to check, for the function returns no floats")
        if x is None:
            self.size = sum(y.size for y in outputs)
        return Evaluation(inputs, outputs)

    def __call__(self, x: Vector) -> Vector:
        """Map a point to the outputs, both as vectors; NaN where the function refuses the point."""
        with np.errstate(all="ignore"):
            try:
                value = self.run(x).value
            except (TinygradError, GradientCheckError, ValueError, ArithmeticError, IndexError):
                return np.full(self.size, np.nan)
        return value if value.size == self.size else np.full(self.size, np.nan)

    def moved(self, rng: np.random.Generator, by: float) -> Subject:
        """The same subject at a nearby point, where nothing is zero, equal or symmetric by chance."""
        other = copy.copy(self)
        other.point = [
            a + by * step for a, step in zip(self.point, split(direction(self.point, rng, 0), self.point), strict=True)
        ]
        return other


DIRECTIONS = 3
"""Kinds of directions; see `direction`."""


def direction(point: Sequence[Vector], rng: np.random.Generator, kind: int) -> Vector:
    """Draw a random direction in proportion to the numbers at the point.

    Parameters
    ----------
    point : sequence of numpy.ndarray
    rng : Generator
    kind : int
        How an element is scaled: 0 by its own size, 1 by the largest element of its array or
        by 1, 2 by the largest element. A derivative that rounding hides along one kind of
        direction may be visible along another kind.
    """
    found = []
    for a in point:
        sizes = np.abs(a)
        largest = sizes.max(initial=0) or 1.0
        if kind == 0:
            scale = np.where(sizes > 0, sizes, largest)
        else:
            scale = np.full(a.shape, max(largest, 1.0) if kind == 1 else largest)
        found.append(scale * rng.uniform(0.5, 1.5, a.shape) * rng.choice([-1.0, 1.0], a.shape))
    return flat(found)


class Gradient(Subject):
    """The gradient of a subject, contracted with a fixed cotangent: the subject of the next order.

    Attributes
    ----------
    grain : numpy.ndarray
        The size of a gradient caused by the last digits of the outputs; smaller jumps of the gradient are rounding.
    """

    def __init__(self, base: Subject, cotangent: Vector) -> None:
        self.base = base
        self.cotangent = cotangent
        self.size = base.x.size
        self.names = base.names
        self.point = base.point
        self.sources = base.sources
        size = np.abs(cotangent * base.run().value).sum()
        self.grain = EPS * size / np.where(base.x != 0, np.abs(base.x), np.inf)

    def run(self, x: Vector | None = None, *, requires_grad: bool = False) -> Evaluation:
        """Compute the gradient at the subject's point, or at the point x."""
        at = self.base.run(self.x if x is None else x, requires_grad=requires_grad)
        return Evaluation(at.inputs, grad(at.outputs, at.inputs, split(self.cotangent, at.outputs)))


def grad_or_zero(outputs: Sequence[Tensor], inputs: Sequence[Tensor], cotangents: Sequence[Any]) -> list[Tensor]:
    """The gradients, with zeros if every path to an input is cut, because inputs count as outputs too."""
    zeros = [np.zeros(x.shape, x.dtype) for x in inputs]
    return grad([*outputs, *inputs], inputs, [*cotangents, *zeros])


@contextmanager
def _bound() -> Iterator[Callable[[Parameter, Vector], Tensor]]:
    """Within the block, parameters are rebound to float64 values; at the end their old nodes are restored."""
    before: list[tuple[Parameter, Any]] = []

    def bind(parameter: Parameter, value: Vector) -> Tensor:
        old = parameter.node
        before.append((parameter, old))
        rebind(parameter, leaf(value, old.name, old.role, old.location))
        return Tensor(parameter.node)

    try:
        yield bind
    finally:
        for parameter, old in reversed(before):
            rebind(parameter, old)


def _is_array(a: Any) -> bool:
    """Whether an argument is an array of floats: an array, a float, or regular nested lists of numbers."""
    if isinstance(a, (list, tuple)) and _holds_a_number(a):
        try:
            return np.array(a).dtype.kind == "f"
        except ValueError:  # ragged lists: not an array of floats
            return False
    return isinstance(a, (np.ndarray, float, np.floating))


def _holds_a_number(a: Any) -> bool:
    """Whether all leaves of nested lists are plain numbers or arrays, and none is a tensor."""
    return all(map(_holds_a_number, a)) if isinstance(a, (list, tuple)) else isinstance(a, (int, float, np.number, np.ndarray))


def _names(f: Callable[..., Any], args: Sequence[Any]) -> list[str]:
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    known = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    named = []
    for i, a in enumerate(args):
        own = a.name if isinstance(a, Tensor) else None
        named.append(own or (known[i] if i < len(known) else f"argument {i}"))
    return named


def _position(which: Any, names: list[str], args: Sequence[Any]) -> int:
    if isinstance(which, int) and -len(args) <= which < len(args):
        return which % len(args)
    for i, (name, a) in enumerate(zip(names, args, strict=True)):
        if which is a or (isinstance(which, str) and which == name):
            return i
    raise GradientCheckError(f"wrt: {no_such('argument', which, names)}")


def _leaves(result: Any) -> list[Tensor]:
    """The tensors of a nested result, in order."""
    found: list[Tensor] = []
    pending = [result]
    while pending:
        y = pending.pop()
        if isinstance(y, Tensor):
            found.append(y)
        elif isinstance(y, (tuple, list)):
            pending.extend(reversed(y))
        elif isinstance(y, dict):
            pending.extend(reversed(list(y.values())))
        elif y is not None:
            raise GradientCheckError(
                f"the function must return tensors, not {type(y).__name__}; compute with functions of tinygrad_rnn from "
                "start to "
                "end"
            )
    return found
