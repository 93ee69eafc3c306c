"""Comparison of cells: the gradient flow through each cell, in the same task and on the same scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ..checks import check_int, one_of
from ..draw import Drawing
from ..errors import ShapeError, TinygradError
from ..nn.cell import Cell
from ..nn.layers import Sequential
from ..nn.module import Module
from ..nn.recurrent import Recurrent
from ..tensor import Parameter, Tensor
from .gradient_flow import GradientFlow, gradient_flow
from .heatmaps import draw_decay
from .jacobians import exponents
from .model_run import Loss, run_model
from .result import Result

__all__ = ["Comparison", "compare"]

CellMaker: TypeAlias = Callable[[int, int], Cell]
"""A function that makes a cell from (input_size, hidden_size)."""


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Result):
    """Measurements of :func:`compare`, by the names of the models.

    Attributes
    ----------
    flows : dict of str to GradientFlow
        The gradient flow of each model. ``flows["LSTM"].decay`` is 1 at lag 0 for every model, which is the common scale.
    exponents : dict of str to float
        The largest Lyapunov exponent of each model, in nats per step.
    parameters : dict of str to int
        The number of parameters of each model.
    models : dict of str to Module

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import explain, nn
    >>> decaying = {f"{d}": nn.Recurrent(nn.SystemCell(1, 1, f=lambda s, x, d=d: d * s + x)) for d in (0.5, 0.9)}
    >>> explain.compare(decaying, (np.ones((9, 1, 1)), None, lambda s, _: s.sum(axis=-1)), at="s")
         parameters      γ    R²  ‖δ(T,1)‖ / ‖δ(T,T)‖  exponent
    0.5           0  0.500  1.00              3.9e-03    -0.693
    0.9           0  0.900  1.00              4.3e-01    -0.105
    """

    flows: Mapping[str, GradientFlow]
    exponents: Mapping[str, float]
    parameters: Mapping[str, int]
    models: Mapping[str, Module]

    @property
    def gammas(self) -> dict[str, float]:
        """γ of each model."""
        return {name: flow.gamma for name, flow in self.flows.items()}

    def draw(self) -> Drawing:
        """Draw the gradient that remains after each lag: a row for each model, on one scale."""
        return draw_decay({name: flow.decay for name, flow in self.flows.items()}, "‖δ(t,t−n)‖ / ‖δ(t,t)‖")

    def __repr__(self) -> str:
        width = max(map(len, self.flows))
        lines = [f"{'':{width}}  parameters      γ    R²  ‖δ(T,1)‖ / ‖δ(T,T)‖  exponent"]
        for name, flow in self.flows.items():
            far = flow.norms[-1, 0] / flow.norms[-1, -1]
            lines.append(
                f"{name:{width}}  {self.parameters[name]:10,}  {flow.gamma:5.3f}  {flow.r_squared:4.2f}  {far:19.1e}"
                f"  {self.exponents[name]:8.3f}"
            )
        return "\n".join(lines)


def compare(
    models: Mapping[str, Module | CellMaker],
    task: tuple[Any, Any, Loss],
    at: str | Mapping[str, str] = "h",
    *,
    hidden_size: int = 32,
    equal: Literal["width", "parameters"] = "parameters",
    max_bytes: int = 1 << 28,
    progress: bool | None = None,
) -> Comparison:
    """Measure how the gradient flows through several models, in the same task and on the same scale.

    Parameters
    ----------
    models : mapping of str to Module, or to a callable
        Each item is a model, or a function that makes a cell from an input size and a hidden size, such as the class
        `nn.LSTMCell`. Such a cell gets a linear readout.
    task : tuple of (xs, targets, loss)
        As for :func:`gradient_flow`. The number of a readout's outputs is the number of features, or classes, of the targets.
    at : str, or mapping of str to str
        The value whose gradient is measured, for all models or for each.
    hidden_size : int
        Hidden size of all new cells if `equal` is ``"width"``, otherwise only of the first new cell.
    equal : {"parameters", "width"}
        The quantity that is equal in all new cells. With ``"parameters"``, the hidden size of each further cell is chosen
        so that the model's number of parameters is closest to that of the first model.
    max_bytes, progress
        As for :func:`gradient_flow`.

    Returns
    -------
    Comparison
        It prints as a table.

    Raises
    ------
    ValueError
        If there is no model, or `equal` is neither of the two.
    TinygradError
        If a model is neither a Module nor a function that makes a cell, or if :func:`gradient_flow` raises this error.

    References
    ----------
    Hochreiter, *Untersuchungen zu dynamischen neuronalen Netzen*, 1991. Pascanu, Mikolov and Bengio, "On the difficulty of
    training recurrent neural networks", 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import explain, nn
    >>> xs = np.sin(np.arange(20.0)).reshape(20, 1, 1)
    >>> task = xs[:-1], xs[1:], lambda outputs, targets: ((outputs - targets) ** 2).sum(axis=-1)
    >>> found = explain.compare({"RNN": nn.RNNCell, "LSTM": nn.LSTMCell}, task, hidden_size=20)
    >>> found.parameters["RNN"], found.parameters["LSTM"], found.models["LSTM"][0].cell.hidden_size
    (481, 442, 9)
    """
    if not models:
        raise ValueError("compare needs at least one model, a dict from names to models")
    if equal not in ("width", "parameters"):
        raise ValueError(one_of("equal", equal, ("width", "parameters")))
    check_int("hidden_size", hidden_size)
    xs, targets, loss = task
    made: dict[str, Module] = {}
    parameters = 0  # number of the first new model, if all get the same number
    for name, model in models.items():
        if isinstance(model, Module):
            made[name] = model
        elif not parameters:
            made[name] = _of_size(name, model, hidden_size, xs, targets)
            parameters = _count(made[name]) if equal == "parameters" else 0
        else:
            made[name] = _closest(name, model, parameters, xs, targets)
    flows, largest = {}, {}
    for name, model in made.items():
        value = at if isinstance(at, str) else at[name]
        flows[name] = gradient_flow(model, xs, targets, loss, value, max_bytes=max_bytes, progress=progress)
        part, _ = run_model(model, xs, targets, loss).place(value)
        largest[name] = float(exponents(part, 1, max_bytes)[0])
    return Comparison(flows, largest, {name: _count(model) for name, model in made.items()}, made)


class Readout(Module):
    """The readout of a compared cell: o_t = V h_t + c."""

    def __init__(self, hidden_size: int, output_size: int, dtype: npt.DTypeLike) -> None:
        super().__init__()
        self.V = Parameter((hidden_size, output_size), symbol="V", dtype=dtype)
        self.c = Parameter((output_size,), symbol="c", dtype=dtype)

    def forward(self, hs: Tensor) -> Tensor:
        """Outputs of all steps."""
        return hs @ self.V + self.c


def _of_size(name: str, make: CellMaker, hidden_size: int, xs: Any, targets: Any) -> Module:
    """A recurrent model: a cell of a hidden size over the sequence, and a readout."""
    if not callable(make):
        raise TinygradError(
            f"{name} must be a Module, or a function of (input_size, hidden_size) that makes a cell, not {make!r:.80}"
        )
    inputs, wanted = np.asarray(xs), np.asarray(targets)
    if inputs.ndim != 3 or wanted.ndim < 2:
        raise ShapeError(
            f"{name}: to make a cell, xs must have shape (T, batch, features), not {inputs.shape}; give such xs, or a Module"
        )
    outputs = wanted.shape[-1] if wanted.dtype.kind == "f" else int(wanted.max()) + 1
    cell = make(inputs.shape[-1], hidden_size)
    if not isinstance(cell, Cell):
        raise TinygradError(f"{name}: the function must make a cell, not of type {type(cell).__name__}")
    dtype = next((p.dtype for p in cell.parameters()), np.dtype(np.float32))
    return Sequential(Recurrent(cell), Readout(getattr(cell, "output_size", hidden_size), outputs, dtype))


def _count(model: Module) -> int:
    return sum(p.size for p in model.parameters())


def _closest(name: str, make: CellMaker, parameters: int, xs: Any, targets: Any) -> Module:
    """The model with a number of parameters closest to a target."""
    most = 1
    while _count(_of_size(name, make, most, xs, targets)) < parameters and most < parameters:
        most *= 2
    least = most // 2 or 1
    while most - least > 1:
        middle = (least + most) // 2
        if _count(_of_size(name, make, middle, xs, targets)) < parameters:
            least = middle
        else:
            most = middle
    return min((_of_size(name, make, n, xs, targets) for n in (least, most)), key=lambda m: abs(_count(m) - parameters))
