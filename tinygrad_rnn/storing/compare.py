"""Compare: the attributes in which a model differs from the result of its constructor."""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..graph.structure import exact
from ..nn import Module
from ..nn.module import attributes_of
from ..tensor import Parameter, Tensor

__all__ = ["TwinComparison"]

Keys = tuple[str | int, ...]


class TwinComparison:
    """Compares a model with its twin, a model built from its description.

    Neither the numbers of parameters are compared, nor whether parameters are frozen. A module or
    parameter that has two paths in the model must have the same two paths in the twin.

    Parameters
    ----------
    model, twin : Module

    Attributes
    ----------
    alike : bool
        Whether both are of one class, so that their attributes were compared.
    different : list of (tuple, str, value)
        Attributes of modules that differ: the path of the module, the name, and the model's value.
    gone : list of (tuple, str)
        Attributes that only the twin has.
    places : dict of int to dict
        Descriptions of the paths, in the twin, of the counterparts of the model's modules and parameters.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> model = nn.Sequential(nn.RNN(3, 5), nn.Linear(5, 2)).eval()
    >>> model[1].unit = "mV"
    >>> twin = nn.Sequential(nn.RNN(3, 5), nn.Linear(5, 2)).eval()
    >>> TwinComparison(model, twin).different
    [(('1',), 'unit', 'mV')]
    """

    def __init__(self, model: Module, twin: Module) -> None:
        self.different: list[tuple[Keys, str, Any]] = []
        self.gone: list[tuple[Keys, str]] = []
        self.places: dict[int, dict[str, Any]] = {}
        self._pairs: dict[int, Any] = {}
        self._taken: set[int] = set()
        self._above: set[int] = set()
        self.alike = self._same(model, twin, ())

    def _same(self, mine: Any, other: Any, keys: Keys) -> bool:
        if isinstance(mine, (Module, Parameter)):
            return self._same_object(mine, other, keys)
        if mine is other:
            return True
        if type(mine) is not type(other):
            return False
        if id(mine) in self._above:  # a container that contains itself
            return False
        self._above.add(id(mine))
        try:
            return self._same_content(mine, other, keys)
        finally:
            self._above.discard(id(mine))

    def _same_object(self, mine: Module | Parameter, other: Any, keys: Keys) -> bool:
        """Whether two modules or parameters are counterparts; modules' attributes are compared once."""
        if id(mine) in self._pairs or id(other) in self._taken:
            return self._pairs.get(id(mine)) is other
        if type(mine) is not type(other):
            return False
        if isinstance(mine, Parameter) and (mine.node.spec != other.node.spec or mine.symbol != other.symbol):
            return False
        self._pairs[id(mine)] = other
        self._taken.add(id(other))
        self.places[id(mine)] = {"at": list(keys)}
        if isinstance(mine, Module) and isinstance(other, Module):
            own, others = attributes_of(mine), attributes_of(other)
            self.gone += [(keys, name) for name in others if name not in own]
            for name, value in own.items():
                if name not in others or not self._same(value, others[name], (*keys, name)):
                    self.different.append((keys, name, value))
        return True

    def _same_content(self, mine: Any, other: Any, keys: Keys) -> bool:
        if isinstance(mine, (list, tuple)):
            return self._same_parts(dict(enumerate(mine)), dict(enumerate(other)), keys)
        if isinstance(mine, dict):
            return self._same_parts(mine, other, keys)
        if isinstance(mine, Tensor):
            return mine.requires_grad == other.requires_grad and exact(mine.node.value) == exact(other.node.value)
        if isinstance(mine, np.ndarray):
            return mine.dtype.kind != "O" and exact(mine) == exact(other)
        if isinstance(mine, np.random.Generator):
            return exact(mine.bit_generator.state) == exact(other.bit_generator.state)
        if (parts := _parts_of_function(mine)) is not None:
            return self._same(parts, _parts_of_function(other), keys)
        if hasattr(mine, "__dict__") and not _has_own_equality(type(mine)):
            return self._same_parts(vars(mine), vars(other), keys)
        return exact(mine) == exact(other)

    def _same_parts(self, mine: Mapping[Any, Any], other: Mapping[Any, Any], keys: Keys) -> bool:
        same = [exact(key) for key in mine] == [exact(key) for key in other]
        return same and all(self._same(value, other[key], (*keys, key)) for key, value in mine.items())


def _parts_of_function(value: Any) -> Sequence[Any] | None:
    """All parts of a function that decide its behaviour; None if the function is compared by identity."""
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return [value.__code__, value.__defaults__, value.__kwdefaults__, cells]
    if isinstance(value, types.MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    return None


def _has_own_equality(kind: type) -> bool:
    return any("__eq__" in vars(base) for base in kind.__mro__ if base is not object)
