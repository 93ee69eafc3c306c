"""Optimisers, which rebind parameters, and gradient clipping."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from .tensor import Parameter, tensor

__all__ = ["SGD", "Adam", "Optimizer", "clip_grad_norm", "clip_grad_value"]


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

    def __init__(self, parameters: Iterable[Parameter], lr: float) -> None:
        self.parameters = list({id(parameter): parameter for parameter in parameters}.values())
        if not all(isinstance(parameter, Parameter) for parameter in self.parameters):
            raise TypeError("an optimiser takes parameters: model.parameters(), not named_parameters()")
        if not self.parameters:
            raise ValueError("an optimiser needs parameters: model.parameters()")
        if not lr >= 0:
            raise ValueError(f"the learning rate is not negative, and this one is {lr}")
        self.lr = lr
        self._memory: dict[int, Any] = {}

    def zero_grad(self) -> None:
        """Set every gradient to None."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Rebind every parameter that has a gradient; old graphs keep the old arrays."""
        for i, parameter in enumerate(self.parameters):
            if parameter.grad is not None:
                change, self._memory[i] = self._change(parameter.data, parameter.grad.data, self._memory.get(i))
                parameter.data = parameter.data + change

    def _change(self, data: npt.NDArray[Any], g: npt.NDArray[Any], memory: Any) -> tuple[npt.NDArray[Any], Any]:
        raise NotImplementedError


class SGD(Optimizer):
    """Gradient descent, with momentum: v ← μ v + g, θ ← θ - lr v.

    Parameters
    ----------
    parameters : iterable of Parameter
    lr : float
    momentum : float
        μ.
    weight_decay : float
        Adds this much of the parameter to its gradient.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> w = tr.Parameter([1.0])
    >>> optimizer = SGD([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8], dtype=float32, requires_grad=True)
    """

    def __init__(
        self, parameters: Iterable[Parameter], lr: float = 0.01, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, lr)
        self.momentum, self.weight_decay = momentum, weight_decay

    def _change(self, data: npt.NDArray[Any], g: npt.NDArray[Any], memory: Any) -> tuple[npt.NDArray[Any], Any]:
        if self.weight_decay:
            g = g + self.weight_decay * data
        v = g if memory is None else self.momentum * memory + g
        return -self.lr * v, v if self.momentum else None


class Adam(Optimizer):
    """Adaptive moments (Kingma and Ba, 2015).

    Parameters
    ----------
    parameters : iterable of Parameter
    lr : float
    betas : pair of float
        How much of the running means of g and of g² is kept at each step.
    eps : float

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> w = tr.Parameter([1.0])
    >>> optimizer = Adam([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9], dtype=float32, requires_grad=True)
    """

    def __init__(
        self, parameters: Iterable[Parameter], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        super().__init__(parameters, lr)
        self.betas, self.eps = betas, eps

    def _change(self, data: npt.NDArray[Any], g: npt.NDArray[Any], memory: Any) -> tuple[npt.NDArray[Any], Any]:
        b1, b2 = self.betas
        n, m, v = memory or (0, np.zeros_like(g), np.zeros_like(g))
        n, m, v = n + 1, b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        scale = self.lr / (1 - b1**n)
        return -scale * m / (np.sqrt(v / (1 - b2**n)) + self.eps), (n, m, v)


def clip_grad_norm(parameters: Iterable[Parameter], max_norm: float) -> float:
    """Scale all gradients together, so that their joint Euclidean norm is at most `max_norm`.

    Returns
    -------
    float
        The norm before (Pascanu, Mikolov and Bengio, 2013).

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> w = tr.Parameter([3.0, 4.0])
    >>> (w * w / 2).sum().backward()
    >>> clip_grad_norm([w], 1.0)
    5.0
    >>> w.grad
    tensor([0.6, 0.8], dtype=float32)
    """
    having = [p for p in parameters if p.grad is not None]
    norm = float(np.sqrt(sum(float(np.vdot(g := _array(p), g)) for p in having)))
    if norm > max_norm:
        for p in having:
            p.grad = tensor(_array(p) * (max_norm / norm), dtype=p.dtype)
    return norm


def clip_grad_value(parameters: Iterable[Parameter], max_value: float) -> None:
    """Limit every element of every gradient to [-max_value, max_value].

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> w = tr.Parameter([3.0, 0.5])
    >>> (w * w / 2).sum().backward()
    >>> clip_grad_value([w], 1.0)
    >>> w.grad
    tensor([1. , 0.5], dtype=float32)
    """
    for p in parameters:
        if p.grad is not None:
            p.grad = tensor(p.grad.data.clip(-max_value, max_value))


def _array(p: Parameter) -> npt.NDArray[Any]:
    assert p.grad is not None
    return p.grad.data.astype(float)
