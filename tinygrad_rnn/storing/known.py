"""The classes and functions that a file may name: the library's own, and classes that a user passes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .. import nn, ops, optim, sequences
from ..errors import DataError
from ..ops.core import registry

__all__ = ["CLASSES", "FUNCTIONS", "LIBRARY", "NUMBERS", "by_name", "class_name", "function_name"]

CLASSES: dict[str, type] = {
    f"{room.__name__.rpartition('.')[2]}.{name}": getattr(room, name)
    for room in (nn, optim, sequences)
    for name in room.__all__
    if inspect.isclass(getattr(room, name))
}
"""The library's public classes, by room and name: ``nn.LSTM``, ``optim.Adam``."""

FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(ops, name) for name in ops.functions},
    **{name: getattr(nn, name) for name in nn.__all__ if inspect.isfunction(getattr(nn, name))},
}
"""The library's public functions of tensors, by name."""

NUMBERS: dict[str, type] = {
    **{kind.__name__: kind for kind in (bool, int, float)},
    **{f"numpy.{kind.__name__}": kind for kind in set(np.sctypeDict.values()) if np.dtype(kind).kind in "biuf"},
}
"""Types that stand for a dtype."""

LIBRARY: dict[type, str] = {kind: name for name, kind in CLASSES.items()}
"""The names of the library's classes."""


def class_name(kind: type) -> str:
    """The name of a class in a file: with its module for a class of the library, alone for a user's."""
    return LIBRARY.get(kind, kind.__name__)


def function_name(function: Any) -> str | None:
    """The name of a library function or a registered primitive; None for any other function."""
    known = {**registry, **FUNCTIONS}
    name = getattr(function, "name", getattr(function, "__name__", None))
    return name if isinstance(name, str) and known.get(name) is function else None


def by_name(classes: Iterable[type]) -> Mapping[str, type]:
    """All classes that a file may name, among them those that a user passes.

    Raises
    ------
    TypeError
        If an element is not a class.
    DataError
        If two classes have the same name.
    """
    found = dict(CLASSES)
    for kind in classes:
        if not isinstance(kind, type):
            raise TypeError(f"classes must be a list of classes, such as [MyCell], but it has {kind!r}")
        if found.setdefault(class_name(kind), kind) is not kind:
            raise DataError(
                f"two of the classes have the name {kind.__name__}; rename one, for a file names classes only by name"
            )
    return found
