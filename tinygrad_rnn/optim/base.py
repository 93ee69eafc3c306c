"""Base class of the optimisers: their parameters, and the state kept for each parameter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..console import counted
from ..errors import StateDictError
from ..graph.context import mode
from ..graph.node import Spec
from ..ops.dtypes import accumulator, fits
from ..tensor import Parameter, Tensor

__all__ = ["Optimizer"]

Array = npt.NDArray[Any]


def each(parameters: Iterable[Parameter]) -> list[Parameter]:
    """The parameters as a list without repetitions.

    Raises
    ------
    TypeError
        If the objects are not parameters, or if a single parameter was given.
    """
    if isinstance(parameters, Tensor) or not isinstance(parameters, Iterable):
        raise TypeError("an optimiser needs a list of parameters, [w] or model.parameters(), not a single one")
    found = list({id(parameter): parameter for parameter in parameters}.values())
    if not all(isinstance(parameter, Parameter) for parameter in found):
        wrong = next(type(parameter).__name__ for parameter in found if not isinstance(parameter, Parameter))
        raise TypeError(f"an optimiser needs parameters, not a {wrong}: give model.parameters(), not named_parameters()")
    return found


def check_parameters(parameters: Iterable[Parameter]) -> list[Parameter]:
    """The parameters as a list without repetitions, after a check that the list is not empty.

    Raises
    ------
    ValueError
        If there are no parameters.
    """
    found = each(parameters)
    if not found:
        raise ValueError("an optimiser needs at least one parameter, but the list is empty; give model.parameters()")
    return found


def trainable(parameters: Iterable[Parameter]) -> list[Parameter]:
    """The parameters that are not frozen."""
    return [parameter for parameter in parameters if parameter.requires_grad]


def values_of(x: Tensor, dtype: npt.DTypeLike) -> Any:
    """The values of a tensor in a dtype: an array, or a tensor within a function that :func:`compile` records."""
    values: Any = Tensor(x.node) if isinstance(x.node.value, Spec) else x.data
    return values if values.dtype == dtype else values.astype(dtype)


def check_range(name: str, value: float, below: float = math.inf) -> float:
    """Return the value of an option, or raise if it is negative or not below a limit.

    Raises
    ------
    ValueError
        If the value is out of range; the message has the option's name and its range.
    """
    if not 0 <= value < below:
        limit = "finite" if below == math.inf else f"below {below:g}"
        raise ValueError(f"{name} must be at least 0 and {limit}, not {value}")
    return value


def _is_option(value: Any) -> bool:
    """Whether a value is a number or a tuple of numbers."""
    if isinstance(value, tuple):
        return all(map(_is_option, value))
    return isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating))


class Optimizer:
    """Base class of all optimisers, which update every parameter that has a gradient.

    An optimiser of your own overrides :meth:`update`, and :attr:`state_names` if it keeps arrays between steps.

    Parameters
    ----------
    parameters : iterable of Parameter
        The parameters that the optimiser updates.
    lr : float
        Learning rate; may be set at any time.

    Attributes
    ----------
    memories : list of dict
        For each parameter, the values that `update` keeps.

    Raises
    ------
    ValueError
        If there are no parameters, or the learning rate is negative or not finite.
    TypeError
        If an object is not a parameter.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> class SignMomentum(Optimizer):
    ...     state_names = ("m",)
    ...     def update(self, data, g, memory):
    ...         memory["m"] = 0.9 * memory.get("m", 0.0) + 0.1 * g
    ...         return -self.lr * np.sign(memory["m"])
    >>> w = tr.Parameter([1.0, -2.0])
    >>> optimizer = SignMomentum([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.data.tolist(), list(optimizer.state_dict())
    ([0.5, -1.5], ['lr', '0.m'])
    """

    counters: ClassVar[tuple[str, ...]] = ()
    """Names in `state_names` whose values are counts of steps. All others are arrays of the parameter's shape."""

    def __init__(self, parameters: Iterable[Parameter], lr: float) -> None:
        self.parameters = check_parameters(parameters)
        self.lr = check_range("lr", lr)
        self.memories: list[dict[str, Any]] = [{} for _ in self.parameters]

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the values that the optimiser remembers for each parameter between steps."""
        return ()

    def zero_grad(self) -> None:
        """Set every gradient to None."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Rebind every parameter that has a gradient and is not frozen; old graphs keep the old arrays.

        The state of a frozen parameter stays as it is.
        """
        with mode(recording=False):
            for parameter, memory in zip(self.parameters, self.memories, strict=True):
                if parameter.grad is not None and parameter.node.leaf is not None:
                    dtype = accumulator(parameter.dtype)
                    data, g = values_of(parameter, dtype), values_of(parameter.grad, dtype)
                    parameter.data = data + self.update(data, g, memory)

    def update(self, data: Array, g: Array, memory: dict[str, Any]) -> Array:
        """Return the array to add to a parameter.

        Parameters
        ----------
        data, g : numpy.ndarray
            Values and gradient of the parameter, in at least float32: ε and squares of gradients vanish in float16.
            While :func:`compile` records a step, both are tensors; so compute with operators and NumPy's functions.
        memory : dict
            Values that this method keeps for this parameter, under the names in `state_names`; empty before the first step.

        Returns
        -------
        numpy.ndarray
        """
        raise NotImplementedError

    @property
    def options(self) -> dict[str, Any]:
        """The numbers and tuples of numbers among the attributes, such as `lr` and `betas`."""
        return {name: value for name, value in vars(self).items() if _is_option(value)}

    def state_dict(self) -> dict[str, Array]:
        """Copies of the options and of all state; the keys of state have a parameter's number and a name: ``"0.v"``.

        ``np.savez`` can store the dict.
        """
        return {name: np.array(value) for name, value in self.options.items()} | self._remembered()

    def _remembered(self) -> dict[str, Array]:
        return {f"{i}.{name}": np.array(value) for i, memory in enumerate(self.memories) for name, value in memory.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace options and state by those from `state_dict`, completely or not at all.

        Parameters
        ----------
        state : mapping of str to array_like
            For each parameter, all values of `state_names`; or none of them, as before the first step.
            Options that the mapping does not have keep their values.

        Raises
        ------
        StateDictError
            If the state does not belong to such an optimiser with parameters of these shapes.
        """
        try:
            arrays = {key: np.array(value) for key, value in state.items()}
        except ValueError as error:  # the list is ragged
            raise self._misfit(f"{error}") from None
        before = self.options
        options = {name: self._option(name, arrays[name], like) for name, like in before.items() if name in arrays}
        vars(self).update(options)  # the values that an optimiser keeps depend on its options
        try:
            self.memories = self._checked_memory({key: array for key, array in arrays.items() if key not in options})
        except BaseException:
            vars(self).update(before)
            raise

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Set all attributes from a copy or a file, after a check of the remembered values."""
        if strange := [name for name in state if hasattr(type(self), name)]:
            raise StateDictError(
                f"the state sets {strange[0]!r:.60}, which belongs to the class {type(self).__name__} and not to an "
                "optimiser's "
                "state"
            )
        older = {"_memory": "memories"}
        vars(self).update({older.get(name, name): value for name, value in state.items()})
        self.parameters, self.lr = check_parameters(self.parameters), check_range("lr", self.lr)
        self.memories = self._checked_memory(self._remembered())

    def _option(self, name: str, array: Array, like: Any) -> Any:
        """The value of an option, after a check of its type."""
        if array.shape != np.shape(like) or array.dtype.kind not in ("b" if np.asarray(like).dtype.kind == "b" else "iuf"):
            raise self._misfit(f"the option {name} is {like!r}, but the state has {array!s:.60}")
        value = array.tolist()
        return tuple(value) if isinstance(like, tuple) else value

    def _checked_memory(self, state: Mapping[str, Array]) -> list[dict[str, Any]]:
        """Remembered values of each parameter, after a check of their shapes."""
        memory = [
            {name: state[key] for name in self.state_names if (key := f"{i}.{name}") in state}
            for i in range(len(self.parameters))
        ]
        known = {f"{i}.{name}" for i, found in enumerate(memory) for name in found}
        if strange := [key for key in state if key not in known]:
            raise self._misfit(f"the optimiser has nothing called {strange[0]!r}")
        for i, (parameter, found) in enumerate(zip(self.parameters, memory, strict=True)):
            if found and (missing := [name for name in self.state_names if name not in found]):
                raise self._misfit(f"the state has {i}.{next(iter(found))}, but {i}.{missing[0]} is missing")
            for name, array in found.items():
                (self._check_counter if name in self.counters else self._check)(f"{i}.{name}", array, parameter)
        return [
            {n: int(a) if n in self.counters else a.astype(accumulator(parameter.dtype)) for n, a in found.items()}
            for parameter, found in zip(self.parameters, memory, strict=True)
        ]

    def _check_counter(self, key: str, array: Array, _: Parameter) -> None:
        if array.dtype.kind not in "iu" or array.shape or array < 1:
            raise self._misfit(f"{key} must be a number of steps, at least 1, not {array}")

    def _check(self, key: str, array: Array, parameter: Parameter) -> None:
        if array.shape != parameter.shape:
            raise self._misfit(f"{key} has shape {array.shape}, but parameter {parameter.name} has {parameter.shape}")
        elif not np.can_cast(array.dtype, parameter.dtype, "same_kind"):
            raise self._misfit(f"{key} has dtype {array.dtype}, but parameter {parameter.name} has {parameter.dtype}")
        elif not fits(array, accumulator(parameter.dtype)):
            raise self._misfit(f"{key} has numbers outside the range of {accumulator(parameter.dtype)}")

    def _misfit(self, why: str) -> StateDictError:
        return StateDictError(
            f"this state does not fit {type(self).__name__} of {counted(len(self.parameters), 'parameter')}: {why}"
        )
