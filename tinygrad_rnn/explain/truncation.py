"""Truncated backpropagation through time: which losses reach which steps, and the missing part of the gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..checks import is_int
from ..draw import Drawing
from ..draw.colors import HIGH, LOW
from ..errors import GradientError, NonFiniteError
from ..nn.module import Module
from ..tensor import Parameter
from .first_nan import nan_began
from .gradient_flow import GradientFlow
from .heatmaps import triangle
from .loop_run import Array
from .model_run import Loss, Model, run_model
from .result import Result

__all__ = ["Truncation", "truncation"]


@dataclass(frozen=True, eq=False, repr=False)
class Truncation(Result):
    """The gradient of truncated BPTT, and the whole gradient for comparison.

    Attributes
    ----------
    k1, k2 : int
        Number of steps from one update to the next, and number of steps that the gradient goes back from the last step.
    reaches : ndarray of bool, shape (T, T)
        ``reaches[t - 1, k - 1]`` says whether the gradient of the loss at step t reaches step k.
    whole, truncated : dict of str to ndarray
        For each parameter, the gradient of the sum of all losses, without and with truncation.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import explain, nn
    >>> sums = nn.Recurrent(nn.ResidualCell(1, 1, recurrent=False, nonlinearity="relu", dtype=np.float64))
    >>> sums.cell.weight_ih.data, sums.cell.bias_ih.data = np.ones((1, 1)), np.zeros(1)
    >>> found = explain.truncation(sums, np.ones((6, 1, 1)), None, lambda h, _: h.sum(axis=-1), k1=2, k2=3)
    >>> found
    <Truncation with k1 = 2, k2 = 3, T = 6: 13 of 21 pairs of loss and step; bias 38% of ‖∂L/∂W‖ at most, cell.weight_ih>
    >>> found.whole["cell.weight_ih"], found.truncated["cell.weight_ih"]
    (array([[21.]]), array([[13.]]))
    """

    k1: int
    k2: int
    reaches: Array
    whole: Mapping[str, Array]
    truncated: Mapping[str, Array]

    @cached_property
    def bias(self) -> dict[str, Array]:
        """Truncated minus whole gradient, for each parameter."""
        return {name: self.truncated[name] - whole for name, whole in self.whole.items()}

    @cached_property
    def relative_bias(self) -> dict[str, float]:
        """Norm of the bias divided by the norm of the whole gradient, for each parameter."""
        sizes = {name: float(np.linalg.norm(whole)) for name, whole in self.whole.items()}
        return {name: float(np.linalg.norm(x)) / (sizes[name] or 1.0) for name, x in self.bias.items()}

    def draw(self, flow: GradientFlow) -> Drawing:
        """Draw the triangle of a gradient flow of the same sequence, with scissors at the truncation."""
        title = f"‖δ(t,k)‖ at {flow.at}, truncated with k1 = {self.k1}, k2 = {self.k2}"
        return triangle(flow.norms, LOW, HIGH, self.reaches, title)

    def __repr__(self) -> str:
        T = len(self.reaches)
        worst = max(self.relative_bias, key=self.relative_bias.__getitem__)
        pairs = f"{int(self.reaches.sum())} of {T * (T + 1) // 2} pairs of loss and step"
        bias = f"bias {self.relative_bias[worst]:.0%} of ‖∂L/∂W‖ at most, {worst}"
        return f"<Truncation with k1 = {self.k1}, k2 = {self.k2}, T = {T}: {pairs}; {bias}>"


def truncation(
    model: Model, xs: Any, targets: Any, loss: Loss, k1: int, k2: int | None = None, *, parameters: Sequence[Parameter] = ()
) -> Truncation:
    """Compute exactly the part of the gradient that truncated BPTT leaves out.

    As in :func:`nn.truncated_bptt`, the losses of k1 steps are differentiated together, and their gradient goes k2 steps
    back from the last of these steps. The parameters are not updated in between, so the difference from the whole gradient
    is only the bias of truncation.

    Parameters
    ----------
    model, xs, targets, loss
        As for :func:`gradient_flow`.
    k1 : int
        Number of steps from one update to the next.
    k2 : int, optional
        If not given, k2 is k1.
    parameters : sequence of Parameter, optional
        The parameters of a model that is not a Module.

    Returns
    -------
    Truncation

    Raises
    ------
    ValueError
        If not 1 <= k1 <= k2, or a recurrent part runs backwards in time.
    ShapeError
        If the loss is not one number for each step, or T is 0.
    GradientError
        If no loss depends on a parameter.
    NonFiniteError
        If a gradient is NaN.

    References
    ----------
    Williams and Peng, "An efficient gradient-based algorithm for on-line training of recurrent network trajectories",
    1990. Tallec and Ollivier, "Unbiasing truncated backpropagation through time", 2017, for the bias.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import explain, nn
    >>> model = nn.Sequential(nn.LSTM(3, 5), nn.Linear(5, 1))
    >>> found = explain.truncation(model, np.ones((8, 2, 3), "float32"), None, lambda o, _: (o**2).sum(axis=-1), k1=2, k2=4)
    >>> found.reaches[7].astype(int)
    array([0, 0, 0, 0, 1, 1, 1, 1])
    >>> sorted(found.bias) == sorted(name for name, _ in model.named_parameters())
    True
    """
    k2 = k1 if k2 is None else k2
    if not (is_int(k1) and is_int(k2) and k1 <= k2):
        raise ValueError(f"truncated BPTT needs whole numbers of steps with 1 <= k1 <= k2, not k1={k1!r}, k2={k2!r}")
    own = dict(model.named_parameters()) if isinstance(model, Module) else {}
    own |= {p.name or f"parameter {k}": p for k, p in enumerate(parameters, 1)}
    run = run_model(model, xs, targets, loss)
    if any(part.loop.reverse for part in run.parts):
        raise ValueError("truncated BPTT needs a model that runs forwards in time only, and a recurrent part runs backwards")
    T = len(run.losses)
    nodes = {name: parameter.node for name, parameter in own.items()}
    reaches = np.zeros((T, T), bool)

    def gradients(steps: slice, window: tuple[int, int] | None) -> dict[str, Array]:
        """Gradients of the losses at some steps, truncated to a window."""
        seeds = np.zeros((1, *run.losses.shape), run.losses.dtype)
        seeds[:, steps] = 1
        found = run.pull(seeds, tuple(nodes.values()), window)
        return {name: found[node][0] for name, node in nodes.items() if node in found}

    whole = gradients(slice(None), None)
    if not whole:
        raise GradientError("the loss does not depend on any parameter of the model; check what the loss computes from")
    if any(np.isnan(x).any() for x in whole.values()):
        raise NonFiniteError(nan_began(run, np.ones((1, *run.losses.shape), run.losses.dtype)))
    truncated = {name: np.zeros_like(x) for name, x in whole.items()}
    for start in range(0, T, k1):
        stop = min(start + k1, T)
        begin = max(0, stop - k2)
        for t in range(start, stop):
            reaches[t, begin : t + 1] = True
        for name, x in gradients(slice(start, stop), (begin, stop)).items():
            truncated[name] += x
    return Truncation(k1, k2, reaches, whole, truncated)
