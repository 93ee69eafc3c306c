"""A cell's step as data: equations, and a cell that evaluates the equations."""

from __future__ import annotations

import numbers
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from ... import nn, ops
from ...ops.core import as_tensor
from ...tensor import Parameter, Tensor, tensor
from ...tree import flatten, rebuild

__all__ = ["BATCH", "Equation", "Interpreted", "Recipe", "Structure", "structures"]

Array = npt.NDArray[Any]
Structure = Any
"""A name, or nested tuples (including named tuples) of names."""

BATCH = "B"
"""Placeholder for the batch size in a shape."""

_JOINING: dict[str, Callable[..., Tensor]] = {
    "concatenate": lambda *xs, axis: ops.concatenate(xs, axis),
    "stack": lambda *xs, axis: ops.stack(xs, axis),
    "einsum": lambda *xs, subscripts: ops.einsum(subscripts, *xs),
    "detach": lambda x: as_tensor(x).detach(),
}

_INFIX = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "matmul": "@",
    "power": "**",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
    "equal": "==",
    "not_equal": "!=",
    "logical_and": "&",
    "logical_or": "|",
}


class Equation(NamedTuple):
    """One line of a step: an operation, with its values given by name.

    Attributes
    ----------
    name : str
        Name of the result.
    operation : str
        A function of ``tinygrad_rnn.ops``.
    arguments : tuple of (str or float)
        Names of values, or numbers.
    options : tuple of (str, object)
        Keyword arguments; ``"B"`` in a shape is the batch size.
    kinds : frozenset of str
        The motifs of which the equation, together with the equations that it needs, is an instance.

    Examples
    --------
    >>> print(Equation("y", "add", ("x", 1.5)))
    y = x + 1.5
    >>> print(Equation("z", "getitem", ("y",), (("index", (slice(None), slice(0, 2))),)))
    z = y[:, 0:2]
    >>> Equation("y", "add", ("x", 1.5))({"x": 2.0}, 1)
    tensor(3.5)
    """

    name: str
    operation: str
    arguments: tuple[str | float, ...]
    options: tuple[tuple[str, Any], ...] = ()
    kinds: frozenset[str] = frozenset()

    @property
    def needs(self) -> list[str]:
        """Names of the values that the equation reads."""
        return [a for a in self.arguments if isinstance(a, str)]

    def __call__(self, values: Mapping[str, Any], batch: int) -> Tensor:
        """Evaluate the equation with these values for its arguments."""
        arguments = [values[a] if isinstance(a, str) else a for a in self.arguments]
        options = {key: _sized(value, batch) for key, value in self.options}
        function = _JOINING.get(self.operation) or getattr(ops, self.operation)
        return function(*arguments, **options)

    def __str__(self) -> str:
        arguments = [a if isinstance(a, str) else f"{a:.4g}" for a in self.arguments]
        if self.operation in _INFIX:
            right = f" {_INFIX[self.operation]} ".join(arguments)
        elif self.operation == "getitem":
            right = f"{arguments[0]}[{', '.join(map(_index_text, dict(self.options)['index']))}]"
        else:
            options = [f"{key}={_option_text(value)}" for key, value in self.options]
            right = f"{self.operation}({', '.join(arguments + options)})"
        return f"{self.name} = {right}"


def _sized(option: Any, batch: int) -> Any:
    if not isinstance(option, tuple):
        return option
    return tuple(batch if isinstance(n, str) and n == BATCH else n for n in option)


def _index_text(part: Any) -> str:
    if not isinstance(part, slice):
        return "..." if part is Ellipsis else str(part)
    ends = ["" if end is None else str(end) for end in (part.start, part.stop, part.step)]
    return ":".join(ends if part.step is not None else ends[:2])


def _option_text(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(str, value))}{',' * (len(value) == 1)})"
    if isinstance(value, float):
        return f"{value:.4g}"
    return repr(value) if isinstance(value, str) else str(value)


@dataclass(frozen=True)
class Recipe:
    """The step of a cell as data: inputs, state slots, equations, output and next state.

    Attributes
    ----------
    inputs : structure of names, or None
        Of ``x``.
    state : structure of names
        The slots.
    equations : tuple of Equation
        The equations, in order.
    output : structure of names and numbers
    after : tuple of str
        The next value of each slot, in order.
    shapes : Mapping
        Shapes of inputs, slots, parameters and captured values, by name; ``"B"`` is the batch size.

    Examples
    --------
    >>> shapes = {"x": ("B", 2), "h1": ("B", 2)}
    >>> recipe = Recipe("x", "h1", (Equation("a1", "add", ("x", "h1")),), "a1", ("a1",), shapes)
    >>> print(recipe)
    x (B, 2), h1 (B, 2)
    a1 = x + h1
    return a1, a1
    >>> sorted(recipe.reads("a1"))
    ['a1', 'h1', 'x']
    """

    inputs: Structure
    state: Structure
    equations: tuple[Equation, ...]
    output: Structure
    after: tuple[str, ...]
    shapes: Mapping[str, tuple[Any, ...]]

    @property
    def slots(self) -> list[str]:
        """Names of the state slots, in order."""
        return flatten(self.state)

    def reads(self, *names: Any) -> set[str]:
        """Names of all values that the given values depend on, including themselves."""
        found = {name for name in names if isinstance(name, str)}
        for equation in reversed(self.equations):
            if equation.name in found:
                found.update(equation.needs)
        return found

    def pruned(self) -> Recipe:
        """The same step without the equations that neither output nor state needs."""
        alive = self.reads(*flatten(self.output), *self.after)
        alive |= {*self.slots, *(() if self.inputs is None else flatten(self.inputs))}
        equations = tuple(e for e in self.equations if e.name in alive)
        shapes = {name: shape for name, shape in self.shapes.items() if name in alive}
        return Recipe(self.inputs, self.state, equations, self.output, self.after, shapes)

    def __str__(self) -> str:
        shapes = ", ".join(f"{name} {_option_text(shape)}" for name, shape in self.shapes.items())
        after = rebuild(self.state, iter(self.after))
        returned = f"return {_structure_text(self.output)}, {_structure_text(after)}"
        return "\n".join([shapes or "nothing", *map(str, self.equations), returned])


def _structure_text(structure: Structure) -> str:
    if not isinstance(structure, tuple):
        return f"{structure:.4g}" if isinstance(structure, numbers.Real) else str(structure)
    fields = getattr(structure, "_fields", None)
    parts = [_structure_text(part) for part in structure]
    if fields:
        return f"State({', '.join(f'{f}={p}' for f, p in zip(fields, parts, strict=True))})"
    return f"({', '.join(parts)}{',' * (len(parts) == 1)})"


_recipes: WeakKeyDictionary[nn.Cell, Recipe] = WeakKeyDictionary()
"""Recipes of all cells. If the recipe were an attribute, each call of the cell would check the recipe for changes."""


class Interpreted(nn.Cell):
    """A cell whose step is a recipe.

    Parameters
    ----------
    recipe : Recipe
    parameters : Mapping of str to numpy.ndarray
    captured : Mapping of str to (numpy.ndarray or Tensor)
        Values that the step uses and that are not parameters.
    start : Mapping of str to str, optional
        Slots whose initial value is a parameter, the same for every row.

    Examples
    --------
    >>> import numpy as np
    >>> shapes = {"x": ("B", 2), "h1": ("B", 2), "W1": (2,)}
    >>> equations = Equation("a1", "multiply", ("h1", "W1")), Equation("a2", "add", ("x", "a1"))
    >>> cell = Interpreted(Recipe("x", "h1", equations, "a2", ("a2",), shapes), {"W1": np.ones(2)}, {})
    >>> outputs, h = nn.Recurrent(cell)(np.ones((3, 1, 2)))
    >>> h
    tensor([[3., 3.]])
    """

    def __init__(
        self,
        recipe: Recipe,
        parameters: Mapping[str, Array],
        captured: Mapping[str, Array | Tensor],
        start: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        _recipes[self] = recipe
        for name, value in parameters.items():
            setattr(self, name, Parameter(value, symbol=name, dtype=value.dtype))
        self.captured = dict(captured)
        self.start = dict(start or {})

    @property
    def recipe(self) -> Recipe:
        """The recipe of the step, which never changes."""
        return _recipes[self]

    def initial_state(self, batch_size: int, dtype: npt.DTypeLike | None = None) -> Any:
        """Zeros, or the parameters that the recipe names as initial values of slots."""
        return rebuild(self.recipe.state, iter([self._first(slot, batch_size) for slot in self.recipe.slots]))

    def _first(self, slot: str, batch_size: int) -> Tensor:
        shape = (batch_size, *self.recipe.shapes[slot][1:])
        if slot in self.start:
            return ops.broadcast_to(getattr(self, self.start[slot]), shape)
        return tensor(np.zeros(shape))

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """Evaluate the equations, in order."""
        recipe = self.recipe
        values: dict[str, Any] = {**dict(self.named_parameters()), **self.captured}
        given = dict(zip(recipe.slots, flatten(state), strict=True))
        if recipe.inputs is not None:
            given |= zip(flatten(recipe.inputs), flatten(x), strict=True)
        values |= given
        batch = next((value.shape[0] for value in given.values()), 1)
        for equation in recipe.equations:
            values[equation.name] = equation(values, batch)
        return self._returned(values)

    def _returned(self, values: dict[str, Any]) -> tuple[Any, Any]:
        """Output and next state; slots of a state without names are named by their values."""
        recipe = self.recipe
        made = {equation.name for equation in recipe.equations}

        def get(name: Any) -> Any:
            return values[name] if isinstance(name, str) else name

        after = []
        for slot, name in zip(recipe.slots, recipe.after, strict=True):
            value = get(name)
            if not hasattr(recipe.state, "_fields") and name in made:
                value = value.named(slot)
            after.append(value)
        output = rebuild(recipe.output, iter([get(name) for name in flatten(recipe.output)]))
        return output, rebuild(recipe.state, iter(after))

    def __repr__(self) -> str:
        return str(self.recipe)


def structures(names: list[str]) -> Iterator[Structure]:
    """All possible structures of a state with these slots: a single tensor, named tuple, tuple, nested tuple.

    Examples
    --------
    >>> list(structures(["h1"]))
    ['h1', State(h1='h1'), ('h1',)]
    """
    if len(names) == 1:
        yield names[0]
    if names:
        yield namedtuple("State", names)(*names)
    yield tuple(names)
    if len(names) > 2:
        yield (tuple(names[:2]), *names[2:])
