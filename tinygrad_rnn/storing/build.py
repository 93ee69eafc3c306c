"""Build: values from their description in a file. Nothing in the file is executed."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import random
from ..errors import DataError
from ..files import Stored
from ..init import without_numbers
from ..nn import Module
from ..nn.module import BESIDE, BOOKKEEPING
from ..ops.core import registry
from ..tensor import Parameter, Tensor, tensor
from .describe import LARGEST_INT, Json
from .known import FUNCTIONS, LIBRARY, NUMBERS

__all__ = ["Builder", "apart"]

GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
FEW = 1 << 16
"""Largest parameter, in numbers, and largest argument of a layer that are always allowed, however small the file is."""


class Builder:
    """Builds values from the descriptions that a :class:`Describer` made.

    A module is made by a call of its class. The parameters have no numbers at first, so a
    description of a large architecture takes no memory until its arrays are read.

    Parameters
    ----------
    arrays : mapping of str to Stored
        All arrays of the file.
    classes : mapping of str to type
        The classes that the file may name.

    Raises
    ------
    DataError
        In all methods, if a description is not valid, names an unknown class or function, or asks
        for more numbers than the file has.
    """

    def __init__(self, arrays: Mapping[str, Stored], classes: Mapping[str, type]) -> None:
        self._arrays = arrays
        self._classes = classes
        self._objects: list[Any] = []
        self._read: dict[str, npt.NDArray[Any]] = {}
        self._root: Module | None = None
        self._numbers = sum(int(np.prod(array.shape, dtype=object)) for array in arrays.values())
        self._most = max(FEW, self._numbers)
        self._made = 0

    def model(self, objects: Sequence[Json], value: Json, changes: Sequence[Json]) -> Module:
        """Make the model, and apply the changes that were made after its construction."""
        self.objects(objects)
        root = self.value(value)
        if not isinstance(root, Module):
            raise DataError("it describes a value that is not a model")
        self._root = root
        for change in changes:
            self.change(change)
        return root

    def change(self, change: Json) -> None:
        """Set and delete attributes of modules in the model; all values are made before the first one is set."""
        self.objects(change["objects"])
        found = [(self._module_at(keys), _attribute(name), self.value(value)) for keys, name, value in change["set"]]
        gone = [(self._module_at(keys), _attribute(name)) for keys, name in change["delete"]]
        for module, name, value in found:
            setattr(module, name, value)
        for module, name in gone:
            delattr(module, name)

    def objects(self, descriptions: Sequence[Json]) -> None:
        """Make the next objects, to which later descriptions refer by their number."""
        for description in descriptions:
            kind, make = self._one_of(description, self._OBJECTS)
            self._objects.append(make(self, kind, description))

    def value(self, description: Json) -> Any:
        """The value of a description."""
        if description is None or isinstance(description, (bool, str, float)):
            return description
        if isinstance(description, int):
            return _limited(description)
        content, make = self._one_of(description, self._VALUES)
        return make(self, content)

    def _one_of(self, description: Json, ways: Mapping[str, Callable[..., Any]]) -> tuple[Any, Callable[..., Any]]:
        """The content of a description, and the method that builds a value of its kind."""
        kind = next(iter(description), "") if isinstance(description, dict) else ""
        if kind not in ways:
            raise DataError(f"it describes a value as {description!r:.60}")
        return description[kind], ways[kind]

    # -- values ----------------------------------------------------------------------------

    def _list(self, parts: Sequence[Json]) -> list[Any]:
        return [self.value(part) for part in parts]

    def _tuple(self, parts: Sequence[Json]) -> tuple[Any, ...]:
        return tuple(self._list(parts))

    def _named_tuple(self, content: Json) -> Any:
        name, parts = content
        kind = self._class(name)
        if not issubclass(kind, tuple) or not hasattr(kind, "_make"):
            raise DataError(f"it takes {name!r:.60} for a named tuple")
        return kind._make(self._list(parts))

    def _dict(self, items: Sequence[Json]) -> dict[Any, Any]:
        found = {self.value(key): self.value(part) for key, part in items}
        if len(found) != len(items):
            raise DataError("it has a key of a dictionary twice")
        return found

    def _float(self, text: str) -> float:
        if text not in ("inf", "-inf", "nan"):
            raise DataError(f"it describes a number as {text!r:.60}")
        return float(text)

    def _scalar(self, content: Json) -> Any:
        dtype, value = content
        return self._dtype(dtype).type(self.value(value))

    def _dtype(self, name: str) -> np.dtype[Any]:
        if not (isinstance(name, str) and len(name) < 9 and name[:1] in "<>|=" and name[1:2] in "biuf"):
            raise DataError(f"it describes a dtype as {name!r:.60}")
        return np.dtype(name)

    def _type(self, name: str) -> type:
        return NUMBERS[name]

    def _class(self, name: str) -> type:
        if name not in self._classes:
            raise DataError(
                f"it needs the class {name!r:.60}, which this library does not have; give it as "
                f"classes=[{str(name).rpartition('.')[2]:.60}]"
            )
        return self._classes[name]

    def _function(self, name: str) -> Any:
        found = FUNCTIONS.get(name) or registry.get(name)
        if found is None:
            raise DataError(f"it needs the primitive {name!r:.60}, which does not exist yet; import the module that defines it")
        return found

    def _reference(self, number: int) -> Any:
        if not isinstance(number, int) or not 0 <= number < len(self._objects):
            raise DataError(f"it refers to an object {number!r:.60} that it does not have")
        return self._objects[number]

    def _at(self, keys: Sequence[str | int]) -> Any:
        """The value at a path in the model: keys of attributes and of containers."""
        found: Any = self._root
        for key in keys:
            if isinstance(found, Module):
                found = vars(found)[_attribute(key)]
            elif isinstance(found, (list, tuple, dict)):
                found = found[key]  # type: ignore[index]
            else:
                raise DataError(f"there is nothing at {keys!r:.60} in the model")
        return found

    def _module_at(self, keys: Sequence[str | int]) -> Module:
        found = self._at(keys)
        if not isinstance(found, Module):
            raise DataError(f"there is no module at {keys!r:.60} in the model")
        return found

    _VALUES: Mapping[str, Callable[..., Any]] = {
        "#": _reference,
        "at": _at,
        "class": _class,
        "dict": _dict,
        "dtype": _dtype,
        "float": _float,
        "function": _function,
        "list": _list,
        "named tuple": _named_tuple,
        "scalar": _scalar,
        "tuple": _tuple,
        "type": _type,
    }

    # -- objects ---------------------------------------------------------------------------

    def _module(self, name: str, description: Json) -> Module:
        kind = self._class(name)
        if not issubclass(kind, Module):
            raise DataError(f"it takes {name!r:.60} for a module")
        args = self._list(description["args"])
        kwargs = {_attribute(key): self.value(value) for key, value in description["kwargs"].items()}
        large = [n for n in (*args, *kwargs.values()) if isinstance(n, int) and n > self._most]
        if large and kind in LIBRARY:
            raise DataError(f"{name} with the argument {large[0]:.3g} needs more numbers than the file has")
        try:
            with without_numbers(self._check_shape):
                return kind(*args, **kwargs)
        except DataError:
            raise
        except Exception as error:
            raise DataError(f"{name} cannot be made from its arguments: {type(error).__name__}: {error!s:.300}") from error

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a parameter with more numbers than the file holds."""
        self._made += 1
        if np.prod(shape, dtype=object) > self._most:
            raise DataError(f"it describes a parameter of shape {shape!s:.80}, and has {self._numbers} numbers in all")
        if self._made > 10 * len(self._arrays) + 100:
            raise DataError(f"it describes more than {self._made - 1} parameters, and has {len(self._arrays)} arrays")

    def _parameter(self, name: str, description: Json) -> Parameter:
        stored = self._stored(name)
        if stored.dtype.kind != "f":
            raise DataError(f"the array {name!r:.60} has dtype {stored.dtype}, but a parameter must have floats")
        self._check_shape(stored.shape)
        if name.startswith(BESIDE):  # not a parameter of the model; those get their numbers when the model is made
            made = Parameter(self.array(name), description["symbol"])
        else:
            with without_numbers(lambda shape: None):
                made = Parameter(np.broadcast_to(np.zeros((), stored.dtype), stored.shape), description["symbol"])
        return made.requires_grad_(not description["frozen"])

    def _tensor(self, name: str, description: Json) -> Tensor:
        return tensor(self.array(name), requires_grad=bool(description["requires_grad"]))

    def _array(self, name: str, _: Json) -> npt.NDArray[Any]:
        return self.array(name)

    def array(self, name: str) -> npt.NDArray[Any]:
        """An array of the file, read at most once."""
        if name not in self._read:
            self._read[name] = self._stored(name).read()
        return self._read[name]

    def _stored(self, name: str) -> Stored:
        if not isinstance(name, str) or name not in self._arrays:
            raise DataError(f"it has no array {name!r:.60}")
        return self._arrays[name]

    def _generator(self, name: str, description: Json) -> np.random.Generator:
        if name not in GENERATORS:
            raise DataError(f"there is no random generator {name!r:.60}")
        bits = getattr(np.random, name)(0)
        bits.state = self.value(description["state"])
        return np.random.Generator(bits)

    def _object(self, name: str, description: Json) -> Any:
        kind = self._class(name)
        if issubclass(kind, (Module, Tensor, tuple)):
            raise DataError(f"it takes {name!r:.60} for a plain object")
        state = self.value(description["state"])
        made = kind.__new__(kind)
        restore = getattr(made, "__setstate__", None)
        if restore is not None:
            restore(state)
        else:
            made.__dict__.update({_attribute(key): value for key, value in state.items()})
        return made

    _OBJECTS: Mapping[str, Callable[..., Any]] = {
        "array": _array,
        "generator": _generator,
        "module": _module,
        "object": _object,
        "parameter": _parameter,
        "tensor": _tensor,
    }


def _attribute(name: Any) -> str:
    if not isinstance(name, str) or name in BOOKKEEPING or name.startswith("__"):
        raise DataError(f"it calls an attribute {name!r:.60}")
    return name


def _limited(number: int) -> int:
    if abs(number) >= LARGEST_INT:
        raise DataError("it has a number of more than 180 digits")
    return number


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Undo side effects of constructors after the block: random generators are restored, warnings are dropped."""
    ours, numpys = random.generator(), np.random.get_state()  # noqa: NPY002
    try:
        random.use(np.random.default_rng(0))
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        random.use(ours)
        np.random.set_state(numpys)  # noqa: NPY002
