"""The picture of backpropagation through time: the unrolled network with the gradients that come back by its edges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from ..checks import check_int
from ..draw import Drawing, draw_with_gradients
from ..graph.graph import Graph
from ..tensor import Parameter, Tensor, tensor
from ..tree import flatten
from ..views import per_step
from ..views.letters import Letters, Notation
from .gradient_by_step import gradient_by_step, parameter_of
from .model_run import Loss, Model, run_losses

__all__ = ["draw_backward_pass"]

STEPS = 12
"""Steps that are drawn before the middle ones are left out, if nobody says how many."""


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

    All nodes have the places of the forward picture. An edge by which a gradient comes back is turned round, and its
    number is the gradient that its head gets by this edge, or the norm of this gradient. A value's gradient is the
    sum over the edges that end in it. The width of an edge goes with the logarithm of the norm, from 1e−6 on, in the same
    way in all pictures: pictures of several models can be compared. A gradient that is exactly zero is dashed, one
    that is NaN is dotted and red, and a cut has scissors. Edges from data, and edges by which none comes, are faint.

    Parameters
    ----------
    model, xs, targets, loss
        As for :func:`gradient_flow`.
    step : int, optional
        Which loss the gradients are of, from 1 to T; the sum of all losses if not given.
    parameters : sequence of Parameter or str
        Parameters of whose gradient the picture shows below each step the norm of what the use of the parameter
        in this step contributes.
    detail : {"slots", "values"}, optional
        Whether named values within a step are shown; up to two a step if not given.
    steps : int
        Most steps that are shown before the middle ones are left out.
    values : bool
        Whether nodes show their numbers, and their gradients below them, as on a board.
    labels, aspect, symbols, notation
        As :meth:`tinygrad_rnn.graph.Graph.draw` has them.

    Returns
    -------
    Drawing

    Raises
    ------
    ShapeError
        If the loss is not one number for each step, or T is 0.
    ValueError
        If `step` is none of the sequence, or `detail` is none of these.

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
        raise ValueError(f"step={step}, and there are {T} steps")
    outputs = [part.node for part in flatten(result) if isinstance(part, Tensor)]
    total = losses.named("L", role="loss")
    graph = per_step(Graph([*outputs, total.node]).opened())
    seeds = {node: 1.0 for k, node in enumerate(graph.outputs[-T:], 1) if step in (None, k)}
    title = f"the backward pass from {'all losses' if step is None else f'L_{step}'}"
    letters, rows = Letters(symbols, notation), {}
    for W in parameters:
        parameter = parameter_of(model, W)
        label = f"∂L/∂{letters(parameter.symbol or parameter.name or str(W))}"
        rows[label] = gradient_by_step(model, xs, targets, loss if step is None else _one_of(loss, step), parameter, norms=True)
    return draw_with_gradients(graph, seeds, rows, detail, steps, values, title, labels, aspect, symbols, notation)


def _one_of(loss: Loss, step: int) -> Loss:
    """Loss function that counts one step only, with zero at all others."""

    def alone(outputs: Any, targets: Any) -> Any:
        losses = loss(outputs, targets)
        chosen = np.zeros(losses.shape, losses.dtype)
        chosen[step - 1] = 1
        return losses * chosen

    return alone


def _named(targets: Any) -> Any:
    """Targets, named y if they are one array."""
    try:
        array = None if targets is None or isinstance(targets, Tensor) else np.asarray(targets)
    except ValueError:  # of several shapes
        array = None
    return targets if array is None or array.dtype.kind not in "fiub" else tensor(array).named("y", role="input")
