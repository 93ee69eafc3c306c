"""What every optimiser has: its parameters, and what it remembers of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..errors import StateDictError
from ..tensor import Parameter

__all__ = ["Optimizer"]

Array = npt.NDArray[Any]


def listed(parameters: Iterable[Parameter]) -> list[Parameter]:
    """Each parameter once.

    Raises
    ------
    ValueError
        If there are none.
    TypeError
        If they are not parameters.
    """
    found = list({id(parameter): parameter for parameter in parameters}.values())
    if not all(isinstance(parameter, Parameter) for parameter in found):
        raise TypeError("an optimiser takes parameters: model.parameters(), not named_parameters()")
    if not found:
        raise ValueError("an optimiser needs parameters: model.parameters()")
    return found


class Optimizer:
    """Base of the optimisers: goes over the parameters that have a gradient.

    Parameters
    ----------
    parameters : iterable of Parameter
    lr : float
        Learning rate; may be set at any time.

    Raises
    ------
    ValueError
        If there are no parameters, or the learning rate is negative.
    TypeError
        If they are not parameters.
    """

    remembers: ClassVar[tuple[str, ...]] = ()
    """Names of what is remembered of each parameter from step to step."""

    def __init__(self, parameters: Iterable[Parameter], lr: float) -> None:
        self.parameters = listed(parameters)
        if not lr >= 0:
            raise ValueError(f"the learning rate is not negative, and this one is {lr}")
        self.lr = lr
        self._memory: list[dict[str, Any]] = [{} for _ in self.parameters]

    def zero_grad(self) -> None:
        """Set every gradient to None."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Rebind every parameter that has a gradient; old graphs keep the old arrays."""
        for parameter, memory in zip(self.parameters, self._memory, strict=True):
            if parameter.grad is not None:
                parameter.data = parameter.data + self._change(parameter.data, parameter.grad.data, memory)

    def _change(self, data: Array, g: Array, memory: dict[str, Any]) -> Array:
        """What to add to the parameter; `memory` is its own, empty before the first step."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Array]:
        """A copy of what is remembered, by the parameter's number and a name, such as ``"0.v"``.

        ``np.savez`` stores it. The options, such as `lr`, are not in it.
        """
        return {f"{i}.{name}": np.array(value) for i, memory in enumerate(self._memory) for name, value in memory.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember what `state_dict` gave; all of it, or none.

        Parameters
        ----------
        state : Mapping of str to array_like

        Raises
        ------
        StateDictError
            If it is not of such an optimiser with parameters of these shapes.
        """
        memory: list[dict[str, Any]] = [{} for _ in self.parameters]
        for key, value in state.items():
            array = np.array(value)
            number, _, name = key.partition(".")
            i = int(number) if number.isdecimal() else -1
            if name not in self.remembers or not 0 <= i < len(self.parameters):
                raise StateDictError(
                    f"this state does not fit {type(self).__name__} of {len(self.parameters)} parameters: {key} is not known"
                )
            parameter = self.parameters[i]
            if name == "n":
                memory[i][name] = int(array)
            elif array.shape == parameter.shape:
                memory[i][name] = array.astype(parameter.dtype)
            else:
                raise StateDictError(
                    f"this state does not fit {type(self).__name__}: {key} has shape {array.shape}, "
                    f"and parameter {parameter.name or i} has {parameter.shape}"
                )
        self._memory = memory
