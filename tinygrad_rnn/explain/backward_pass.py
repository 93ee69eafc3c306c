"""The picture of backpropagation through time: the unrolled network with the gradients that flow back along its edges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from ..checks import check_int
from ..draw import Drawing, draw_with_gradients
from ..graph.graph import Graph
from ..tensor import Parameter, Tensor, tensor
from ..tree import flatten
from ..views import per_step, with_held_states
from ..views.letters import Letters, Notation
from .gradient_by_step import gradient_by_step, parameter_of
from .model_run import Loss, Model, run_losses

__all__ = ["draw_backward_pass"]

STEPS = 12
"""Default number of steps that are all drawn; in a longer run, the middle steps are left out."""


def draw_backward_pass(
    model: Model,
    xs: Any,
    targets: Any,
    loss: Loss,
    step: int | None = None,
    *,
    parameters: Sequence[Parameter | str] = (),
    detail: Literal["slots", "values"] | None = None,
    steps: int = STEPS,
    values: bool = False,
    labels: Iterable[str] | None = None,
    aspect: float | None = None,
    symbols: Mapping[str, str] | None = None,
    notation: Notation | None = None,
) -> Drawing:
    """Draw backpropagation through time on the unrolled network, with the measured gradients.

    All nodes have the same places as in the forward picture. An edge along which a gradient flows back is reversed. Its
    number is the part of its head's gradient that flows along this edge, or the norm of this part. The gradient of a value
    is the sum over the edges that end at the value. The width of an edge grows with the logarithm of the norm, from 1e−6
    on. All pictures use the same widths, so pictures of several models can be compared. An edge is dashed if its gradient
    is exactly zero, and dotted and red if its gradient is NaN. A cut has scissors. Edges from data, and edges without a
    gradient, are faint. If all rows of a padded batch have ended, the state is a faint copy of the state before.

    Parameters
    ----------
    model, xs, targets, loss
        As for :func:`gradient_flow`.
    step : int, optional
        The step of the loss that is differentiated, from 1 to T. If not given, the sum of all losses is differentiated.
    parameters : sequence of Parameter or str
        Parameters whose gradients are split by step: below each step, the picture shows the norm of the step's
        contribution to the gradient of the parameter.
    detail : {"slots", "values"}, optional
        Whether named values within a step are shown. If not given, they are shown if a step has at most two.
    steps : int
        Largest number of steps that are all shown; in a longer run, the middle steps are left out.
    values : bool
        Whether each node shows its value, and its gradient below.
    labels, aspect, symbols, notation
        As in :meth:`tinygrad_rnn.graph.Graph.draw`.

    Returns
    -------
    Drawing

    Raises
    ------
    ShapeError
        If the loss is not one number for each step, or T is 0.
    ValueError
        If the sequence does not have this `step`, or `detail` is none of the allowed values.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import explain, nn
    >>> halving = nn.Recurrent(nn.SystemCell(1, 1, f=lambda s, x: s / 2 + x))
    >>> drawing = explain.draw_backward_pass(halving, np.ones((3, 1, 1)), None, lambda s, _: s.sum(axis=-1), step=3)
    >>> drawing
    <Drawing of the backward pass from L_3, unrolled over 3 steps>
    >>> [(arc.source.label, arc.target.label, arc.label) for arc in drawing.sketch.arcs if arc.lag]
    [('s_{1}', 's_{0}', '0.12'), ('s_{2}', 's_{1}', '0.25'), ('s_{3}', 's_{2}', '0.5')]
    """
    result, losses = run_losses(model, xs, _named(targets), loss)
    T = len(losses)
    if step is not None and check_int("step", step) > T:
        raise ValueError(f"step must be from 1 to {T}, the number of steps, not {step}")
    outputs = [part.node for part in flatten(result) if isinstance(part, Tensor)]
    total = losses.named("L", role="loss")
    graph = with_held_states(per_step(Graph([*outputs, total.node]).opened()))
    seeds = {node: 1.0 for k, node in enumerate(graph.outputs[-T:], 1) if step in (None, k)}
    title = f"the backward pass from {'all losses' if step is None else f'L_{step}'}"
    letters, rows = Letters(symbols, notation), {}
    for W in parameters:
        parameter = parameter_of(model, W)
        label = f"∂L/∂{letters(parameter.symbol or parameter.name or str(W))}"
        rows[label] = gradient_by_step(model, xs, targets, loss if step is None else _one_of(loss, step), parameter, norms=True)
    return draw_with_gradients(graph, seeds, rows, detail, steps, values, title, labels, aspect, symbols, notation)


def _one_of(loss: Loss, step: int) -> Loss:
    """Loss function that counts only one step; the losses of all other steps are zero."""

    def alone(outputs: Any, targets: Any) -> Any:
        losses = loss(outputs, targets)
        chosen = np.zeros(losses.shape, losses.dtype)
        chosen[step - 1] = 1
        return losses * chosen

    return alone


def _named(targets: Any) -> Any:
    """Targets, with the name y if they are a single array."""
    try:
        array = None if targets is None or isinstance(targets, Tensor) else np.asarray(targets)
    except ValueError:  # arrays of several shapes
        array = None
    return targets if array is None or array.dtype.kind not in "fiub" else tensor(array).named("y", role="input")
