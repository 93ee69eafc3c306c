"""State: the parameters, gradients and memories of optimisers that a function reads and changes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..graph.node import Node, Spec, leaf
from ..guards import Guard
from ..optim import Optimizer
from ..tensor import Parameter, Tensor, rebind, require_grad
from .number import Number

__all__ = ["ANEW", "Snapshot", "State", "Symbols"]

Array = npt.NDArray[Any]

ANEW: Mapping[type, Collection[str]] = {Optimizer: frozenset({"lr", "memories"})}
"""Attributes that are read at each call, so that a guard leaves them out."""


class Snapshot(NamedTuple):
    """The state and the arguments at one moment.

    Attributes
    ----------
    key : tuple
        The gradients and memories that exist, and their dtypes.
    arrays : list of numpy.ndarray
    numbers : list of int or float
    """

    key: tuple[Any, ...]
    arrays: list[Array]
    numbers: list[Any]


class State:
    """The parameters and optimisers that a function reaches, and tensor arguments that require a gradient.

    Parameters
    ----------
    guard : Guard
        The guard of the function.
    """

    def __init__(self, guard: Guard) -> None:
        found = dict.fromkeys(x for reference in guard.held if isinstance(x := reference(), (Parameter, Optimizer)))
        self._parameters: list[Callable[[], Any]] = [weakref.ref(x) for x in found if isinstance(x, Parameter)]
        self._optimizers: list[Callable[[], Any]] = [weakref.ref(x) for x in found if isinstance(x, Optimizer)]

    def parameters(self, leaves: Sequence[Any] = ()) -> list[Tensor]:
        """The parameters, and the tensor arguments that require a gradient."""
        wanting = [x for x in leaves if type(x) is Tensor and x.node.leaf is not None]
        return [reference() for reference in self._parameters] + wanting

    def optimizers(self) -> list[Optimizer]:
        """The optimisers."""
        return [reference() for reference in self._optimizers]

    def snapshot(self, leaves: Sequence[Any]) -> Snapshot:
        """The present values of the state and the arguments."""
        arrays: list[Array] = []
        numbers: list[Any] = []
        key: list[Any] = []
        for x in leaves:
            if type(x) is float:
                numbers.append(x)
            else:
                arrays.append(x if type(x) is np.ndarray else x.node.value)
        for parameter in self.parameters(leaves):
            arrays.append(parameter.node.value)
            grad = parameter.grad
            if grad is None:
                key.append(None)
            else:
                value = grad.node.value
                key.append(value.dtype)
                arrays.append(value)
        for optimizer in self.optimizers():
            numbers.append(optimizer.lr)
            key.append(type(optimizer.lr))
            first: dict[str, Any] = {}
            for memory in optimizer.memories:
                key.append(len(memory))
                for name, value in memory.items():
                    if isinstance(value, np.ndarray):
                        arrays.append(value)
                        key.append((name, value.shape, value.dtype))
                    elif name in first and type(first[name]) is type(value) and first[name] == value:
                        key.append(name)  # a count of steps is the same for all parameters
                    else:
                        first.setdefault(name, value)
                        numbers.append(value)
                        key.append((name, type(value)))
        return Snapshot(tuple(key), arrays, numbers)


class Symbols:
    """Placeholders, leaves and numbers, for a state and arguments while a function is recorded.

    Parameters
    ----------
    state : State
    leaves : sequence
        The arrays, tensors and floats of the arguments.

    Attributes
    ----------
    nodes : list of Node
        Placeholders for the arrays of a snapshot, in order.
    kinds : list of str
        For each of the nodes "argument", "parameter", "gradient" or "memory".
    numbers : list of Number
        Placeholders for the numbers of a snapshot.
    arguments : list of Tensor or Number
    parameters : list of Tensor
        The tensors of :meth:`State.parameters`; for an argument, its placeholder.
    """

    def __init__(self, state: State, leaves: Sequence[Any]) -> None:
        self.nodes: list[Node] = []
        self.kinds: list[str] = []
        self.numbers: list[Number] = []
        self.arguments: list[Any] = []
        self.optimizers = state.optimizers()
        wanting: list[Tensor] = []
        for x in leaves:
            if type(x) is float:
                self.arguments.append(self._number(x))
                continue
            given = Tensor(self._leaf("argument", x if type(x) is np.ndarray else x.node.value, None, "input"))
            if type(x) is Tensor:
                given.node.name, given.node.role = x.node.name, x.node.role
                if x.node.leaf is not None:
                    require_grad(given)
                    wanting.append(given)
            self.arguments.append(given)
        own = state.parameters()
        self.parameters: list[Tensor] = [*own, *wanting]
        self._before = [(p, p.node, p.grad) for p in state.parameters(leaves)]
        self._memories = [(optimizer, optimizer.lr, optimizer.memories) for optimizer in self.optimizers]

    def _leaf(self, kind: str, value: Array, name: str | None = None, role: str | None = None) -> Node:
        self.kinds.append(kind)
        self.nodes.append(leaf(Spec(value.shape, value.dtype), name, role))
        return self.nodes[-1]

    def _number(self, value: Any) -> Number:
        self.numbers.append(Number(value))
        return self.numbers[-1]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the placeholders into the parameters and optimisers themselves, inside the block."""
        try:
            for p, (_, node, grad) in zip(self.parameters, self._before, strict=True):
                made = self._leaf("parameter", node.value, node.name, node.role)
                if isinstance(p, Parameter):  # not a tensor that stands for an argument
                    made.location = node.location
                    rebind(p, made)
                p.grad = None if grad is None else Tensor(self._leaf("gradient", grad.node.value))
            for optimizer, lr, memories in self._memories:
                optimizer.lr = self._number(lr)  # type: ignore[assignment]
                first: dict[str, tuple[Any, Number]] = {}
                optimizer.memories = [
                    {name: self._remembered(name, value, first) for name, value in memory.items()} for memory in memories
                ]
            yield
        finally:
            for p, (given, node, grad) in zip(self.parameters, self._before, strict=True):
                if p is given:
                    p.grad = grad
                if isinstance(p, Parameter):
                    p.node.leaf = node.leaf  # the parameter may have been frozen
                    rebind(p, node)
            for optimizer, lr, memories in self._memories:
                optimizer.lr, optimizer.memories = lr, memories

    def _remembered(self, name: str, value: Any, first: dict[str, tuple[Any, Number]]) -> Any:
        if isinstance(value, np.ndarray):
            return Tensor(self._leaf("memory", value))
        known = first.get(name)
        if known is not None and type(known[0]) is type(value) and known[0] == value:
            return known[1]
        number = self._number(value)
        first.setdefault(name, (value, number))
        return number
