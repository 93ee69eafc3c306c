"""Describe: values as JSON, with arrays stored separately. A module is described by its constructor's arguments."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..nn import Module
from ..nn.module import BESIDE, arguments_of
from ..optim import Optimizer
from ..tensor import Parameter, Tensor
from .known import LIBRARY, NUMBERS, class_name, function_name

__all__ = ["LARGEST_INT", "Describer", "Json"]

Json = Any
"""A value that JSON can hold: None, a boolean, a number, a string, or a list or a dictionary of such values."""

LARGEST_INT = 1 << 600
"""Limit of whole numbers: a file holds only smaller numbers."""


class Describer:
    """Describes values as JSON for one file.

    A description is JSON. None, booleans, numbers and strings stand for themselves. Any other
    value is a dictionary whose first key is its kind, such as ``{"tuple": [1, 2]}``. Modules,
    parameters, arrays and other objects stand in a list; each object stands after its parts.
    ``{"#": 3}`` refers to the fourth object, so shared objects are shared again after loading.

    Parameters
    ----------
    names : mapping of int to str
        From the identity of each parameter of the model to the name of its array in the file.
    classes : collection of type
        Classes whose objects are described by their attributes, in addition to the library's classes.

    Attributes
    ----------
    arrays : dict of str to numpy.ndarray
        Arrays that are not parameters of the model.
    used : dict of type to None
        The classes that are named in the file.
    takes_modules : bool
        Whether modules and their parts may be described. Additional values may contain modules of the model only.
    places : mapping of int to JSON
        From the identity of each object that exists already when the description is read, to its path.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> describer = Describer({}, [])
    >>> describer.of(nn.RNNCell(3, 5, nonlinearity="relu"), "cell")
    {'#': 0}
    >>> describer.take_objects()
    [{'module': 'nn.RNNCell', 'args': [3, 5], 'kwargs': {'nonlinearity': 'relu'}}]
    """

    def __init__(self, names: Mapping[int, str], classes: Collection[type]) -> None:
        self._objects: list[Json] = []
        self._count = 0
        self.arrays: dict[str, npt.NDArray[Any]] = {}
        self.used: dict[type, None] = {}
        self.takes_modules = True
        self.places: Mapping[int, Json] = {}
        self._names = names
        self._taken = set(names.values())
        self._classes = tuple(classes)
        self._described: dict[int, tuple[Any, Json]] = {}  # keeps the object, so that no other object gets the same id
        self._within: set[int] = set()

    def of(self, value: Any, path: str) -> Json:
        """The description of a value.

        Parameters
        ----------
        value : Any
        path : str
            Path of the value, for errors.

        Raises
        ------
        DataError
            If a file cannot hold such a value; the message has its path.
        """
        kind = type(value)
        if value is None or kind is bool or kind is str:
            return value
        if kind is int and abs(value) < LARGEST_INT:
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if id(value) in self.places:
            return self.places[id(value)]
        if id(value) in self._described:
            return self._described[id(value)][1]
        if id(value) in self._within:
            raise DataError(f"{path} contains itself")
        self._within.add(id(value))
        try:
            return self._container(value, path) or self._constant(value, path) or self._object(value, path)
        finally:
            self._within.discard(id(value))

    def take_objects(self) -> list[Json]:
        """The descriptions of the objects that were found since the last call."""
        taken, self._objects = self._objects, []
        return taken

    def _container(self, value: Any, path: str) -> Json:
        kind = type(value)
        if kind is list:
            return {"list": [self.of(part, f"{path}[{i}]") for i, part in enumerate(value)]}
        if kind is tuple or (issubclass(kind, tuple) and kind in LIBRARY):
            parts = [self.of(part, f"{path}[{i}]") for i, part in enumerate(value)]
            return {"tuple": parts} if kind is tuple else {"named tuple": [self._named(kind), parts]}
        if kind is dict:
            return {"dict": [[self.of(key, path), self.of(part, f"{path}[{key!r:.40}]")] for key, part in value.items()]}
        return None

    def _constant(self, value: Any, path: str) -> Json:
        if isinstance(value, np.generic) and value.dtype.kind in "biuf" and type(value.item()) in (bool, int, float):
            return {"scalar": [value.dtype.str, self.of(value.item(), path)]}
        if isinstance(value, np.dtype) and value.kind in "biuf":
            return {"dtype": value.str}
        if isinstance(value, type):
            number = next((name for name, known in NUMBERS.items() if known is value), None)
            if number is not None:
                return {"type": number}
            return {"class": self._named(value)} if issubclass(value, Module) else None
        name = function_name(value) if callable(value) and not isinstance(value, Module) else None
        return None if name is None else {"function": name}

    def _object(self, value: Any, path: str) -> Json:
        kind = type(value)
        if isinstance(value, Module):
            if not self.takes_modules:
                raise DataError(f"{path} is a {kind.__name__} that is not a part of the model; save it to a file of its own")
            described = self._module(value, path)
        elif isinstance(value, Parameter):
            name = self._names.get(id(value)) or self._stored(value.data, path)
            described = {"parameter": name, "symbol": value.symbol, "frozen": not value.requires_grad}
        elif isinstance(value, Tensor) and isinstance(value.node.value, np.ndarray):
            described = {"tensor": self._stored(value.data, path), "requires_grad": value.requires_grad}
        elif kind is np.ndarray and value.dtype.kind in "biufc":
            described = {"array": self._stored(value, path)}
        elif isinstance(value, np.random.Generator):
            bits = value.bit_generator
            described = {"generator": type(bits).__name__, "state": self.of(bits.state, path)}
        elif isinstance(value, Optimizer) or kind in self._classes or kind in LIBRARY:
            described = {"object": self._named(kind), "state": self.of(_state_of(value, path), path)}
        else:
            raise DataError(f"{path} is {_kind_of(value)}")
        self._objects.append(described)
        reference = {"#": self._count}
        self._count += 1
        self._described[id(value)] = value, reference
        return reference

    def _module(self, module: Module, path: str) -> Json:
        args, kwargs = arguments_of(module)
        named = zip(_argument_names(type(module), len(args)), args, strict=True)
        return {
            "module": self._named(type(module)),
            "args": [self.of(value, f"{path}.{name}") for name, value in named],
            "kwargs": {name: self.of(value, f"{path}.{name}") for name, value in kwargs.items()},
        }

    def _named(self, kind: type) -> str:
        self.used[kind] = None
        return class_name(kind)

    def _stored(self, array: npt.NDArray[Any], path: str) -> str:
        """Store an array that is not a parameter of the model, under a new name."""
        name, n = f"{BESIDE}{path}", 1
        while name in self._taken:
            name, n = f"{BESIDE}{path} ({n + 1})", n + 1
        self._taken.add(name)
        self.arrays[name] = array
        return name


def _argument_names(kind: type, count: int) -> Iterator[str]:
    """Names of the first positional arguments of a class."""
    known = list(inspect.signature(kind).parameters.values())
    for i in range(count):
        last = min(i, next((k for k, parameter in enumerate(known) if parameter.kind is parameter.VAR_POSITIONAL), i))
        name = known[last].name if last < len(known) else "arguments"
        yield name if last < len(known) and known[last].kind is not known[last].VAR_POSITIONAL else f"{name}[{i - last}]"


def _state_of(value: Any, path: str) -> Any:
    """The attributes of an object, or the state that its ``__getstate__`` returns."""
    own = getattr(type(value), "__getstate__", None)
    if own is not None and own is not getattr(object, "__getstate__", None):
        return own(value)
    if not hasattr(value, "__dict__"):
        raise DataError(f"{path} is {_kind_of(value)} without a __dict__")
    return dict(vars(value))


def _kind_of(value: Any) -> str:
    """Words for a value that a file cannot hold, with advice."""
    if callable(value) and not isinstance(value, type):
        called = getattr(value, "__qualname__", type(value).__name__)
        return (
            f"the function {called}, and a file cannot hold code; write a class derived from nn.Module with a forward "
            "method, or a primitive, or use a function of the library such as tr.tanh"
        )
    if isinstance(value, (np.ndarray, np.generic)):
        return f"of dtype {value.dtype}, which a file does not hold"
    if isinstance(value, int):
        return "a number of more than 180 digits"
    kind = value if isinstance(value, type) else type(value)
    return (
        f"{'the class' if isinstance(value, type) else 'of class'} {kind.__qualname__}; a file can hold numbers, strings, "
        "booleans, None, dtypes, tuples, lists, dicts, arrays, modules, parameters, vocabularies, optimisers, and objects of "
        "the classes in classes=[…]"
    )
