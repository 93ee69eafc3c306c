"""Optimisers that follow the gradient: SGD, RMSProp, Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..tensor import Parameter
from .base import Array, Optimizer, check_range

__all__ = ["SGD", "Adam", "AdamW", "RMSProp"]


class SGD(Optimizer):
    """Gradient descent, with momentum: v ← μ v + g, θ ← θ - lr v.

    Parameters
    ----------
    parameters : iterable of Parameter
        The parameters that the optimiser updates.
    lr : float
        Learning rate.
    momentum : float
        μ, at least 0 and below 1.
    weight_decay : float
        This factor times the parameter is added to the parameter's gradient.

    Raises
    ------
    ValueError
        If there are no parameters, or an option is out of its range.
    TypeError
        If an object is not a parameter.

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
        self, parameters: Iterable[Parameter], lr: float = 1e-3, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, lr)
        self.momentum = check_range("momentum", momentum, below=1)
        self.weight_decay = check_range("weight_decay", weight_decay)

    @property
    def state_names(self) -> tuple[str, ...]:
        """Name of the velocity, ``v``, if there is momentum."""
        return ("v",) if self.momentum else ()

    def update(self, data: Array, g: Array, memory: dict[str, Any]) -> Array:
        """Return the change of a parameter; see :meth:`Optimizer.update`."""
        g = _decayed(data, g, self.weight_decay)
        if self.momentum:
            g = memory["v"] = self.momentum * memory.get("v", 0.0) + g
        return -self.lr * g


class RMSProp(Optimizer):
    """RMSProp: steps scaled by a running mean of g² (Tieleman and Hinton, 2012), as PyTorch defines them.

    s ← α s + (1 - α) g², v ← μ v + g / (√s + ε), θ ← θ - lr v. If `centered` is true, s is the
    running variance of g, s ← α (s + (1 - α) (g - m)²), and m the running mean of g. The variance is not
    computed as a difference of running means, because rounding could make the difference negative.

    Parameters
    ----------
    parameters : iterable of Parameter
        The parameters that the optimiser updates.
    lr : float
        Learning rate.
    alpha : float
        α, the part of the running means that is kept at each step: at least 0 and below 1.
    eps : float
        ε, which keeps the denominator away from 0.
    weight_decay : float
        This factor times the parameter is added to the parameter's gradient.
    momentum : float
        μ, at least 0 and below 1.
    centered : bool
        Whether √s estimates the standard deviation of g (Graves, 2013).

    Raises
    ------
    ValueError
        If there are no parameters, or an option is out of its range.
    TypeError
        If an object is not a parameter.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> w = tr.Parameter([1.0])
    >>> optimizer = RMSProp([w], lr=0.05)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.5], dtype=float32, requires_grad=True)
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(parameters, lr)
        self.alpha, self.eps = check_range("alpha", alpha, below=1), check_range("eps", eps)
        self.weight_decay = check_range("weight_decay", weight_decay)
        self.momentum, self.centered = check_range("momentum", momentum, below=1), centered

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the running mean of g², of variance and mean if centred, and of the velocity."""
        return (*(("variance", "m") if self.centered else ("s",)), *(("v",) if self.momentum else ()))

    def update(self, data: Array, g: Array, memory: dict[str, Any]) -> Array:
        """Return the change of a parameter; see :meth:`Optimizer.update`."""
        g, keep = _squarable(_decayed(data, g, self.weight_decay)), self.alpha
        if self.centered:
            m = memory.get("m", 0.0)
            s = memory["variance"] = keep * (memory.get("variance", 0.0) + (1 - keep) * (g - m) ** 2)
            memory["m"] = m + (1 - keep) * (g - m)
        else:
            s = memory["s"] = keep * memory.get("s", 0.0) + (1 - keep) * g * g
        v = g / (np.sqrt(s) + self.eps)
        if self.momentum:
            v = memory["v"] = self.momentum * memory.get("v", 0.0) + v
        return -self.lr * v


class Adam(Optimizer):
    """Adam: steps scaled by running means of g and of g² (Kingma and Ba, 2015).

    Parameters
    ----------
    parameters : iterable of Parameter
        The parameters that the optimiser updates.
    lr : float
        Learning rate.
    betas : pair of float
        The parts of the running means of g and of g² that are kept at each step: each at least 0
        and below 1.
    eps : float
        ε, which keeps the denominator away from 0.
    weight_decay : float
        This factor times the parameter is added to the parameter's gradient; :class:`AdamW` adds nothing to the gradient.

    Raises
    ------
    ValueError
        If there are no parameters, or an option is out of its range.
    TypeError
        If an object is not a parameter.

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
        self,
        parameters: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr)
        b1, b2 = betas
        self.betas = check_range("the first of betas", b1, below=1), check_range("the second of betas", b2, below=1)
        self.eps, self.weight_decay = check_range("eps", eps), check_range("weight_decay", weight_decay)

    counters = ("n",)

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the step count and of the two running means."""
        return "n", "m", "v"

    def update(self, data: Array, g: Array, memory: dict[str, Any]) -> Array:
        """Return the change of a parameter; see :meth:`Optimizer.update`."""
        return self._moments(_decayed(data, g, self.weight_decay), memory)

    def _moments(self, g: Array, memory: dict[str, Any]) -> Array:
        g = _squarable(g)
        b1, b2 = self.betas
        n = memory["n"] = memory.get("n", 0) + 1
        m = memory["m"] = b1 * memory.get("m", 0.0) + (1 - b1) * g
        v = memory["v"] = b2 * memory.get("v", 0.0) + (1 - b2) * g * g
        scale = self.lr / (1 - b1**n)
        return -scale * m / (np.sqrt(v / (1 - b2**n)) + self.eps)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    The decay is not part of the gradient, so the moments do not scale the decay: at each step, θ is also
    reduced by lr · weight_decay · θ.

    Parameters
    ----------
    parameters : iterable of Parameter
        The parameters that the optimiser updates.
    lr : float
        Learning rate.
    betas : pair of float
        The parts of the running means of g and of g² that are kept at each step: each at least 0
        and below 1.
    eps : float
        ε, which keeps the denominator away from 0.
    weight_decay : float
        At each update the parameter is multiplied by 1 - lr · weight_decay.

    Raises
    ------
    ValueError
        If there are no parameters, or an option is out of its range.
    TypeError
        If an object is not a parameter.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> w = tr.Parameter([1.0])
    >>> optimizer = AdamW([w], lr=0.1, weight_decay=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.85], dtype=float32, requires_grad=True)
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def update(self, data: Array, g: Array, memory: dict[str, Any]) -> Array:
        """Return the change of a parameter; see :meth:`Optimizer.update`."""
        return self._moments(g, memory) - self.lr * self.weight_decay * data


def _decayed(data: Array, g: Array, weight_decay: float) -> Array:
    """The gradient with weight decay, g + weight_decay · θ."""
    return g + weight_decay * data if weight_decay else g


def _squarable(g: Array) -> Array:
    """The gradient, clipped so that the squares of its finite elements are finite."""
    most = np.sqrt(np.finfo(g.dtype).max) / 4
    if isinstance(g, np.ndarray) and np.abs(g).max(initial=0) <= most:
        return g
    return np.where(g - g == 0, np.clip(g, -most, most), g)  # inf - inf is NaN
