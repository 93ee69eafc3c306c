"""The graphical model of a network: the variables that the distribution of each target depends on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..checks import check_int
from ..draw import Drawing
from ..draw.graphical_model import graphical_model
from ..draw.numbers import short_number
from ..errors import TinygradError
from ..nn.module import Module
from ..tensor import Tensor
from ..views import traced
from ..views.contraction import Contraction, contract
from ..views.dependences import Dependences, dependences

__all__ = ["draw_graphical_model"]


def draw_graphical_model(
    model: Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    steps: int = 4,
    *,
    states: bool = False,
    shifted: bool = False,
    inputs: Any = None,
    targets: Any = None,
    force: Sequence[str] = (),
) -> Drawing:
    """Draw a network's targets as random variables, with edges from all variables that they depend on.

    The edges are the paths of the network's own graph. No data is needed.

    Parameters
    ----------
    model : Module
    loss : callable
        ``loss(output, target)`` gives the loss of one step.
    steps : int
        Number of steps that are drawn.
    states : bool
        Whether the states, through which the targets depend on each other, are drawn.
    shifted : bool
        Whether the input of each step is the target of the step before, as in a language model.
    inputs, targets, force
        As in :meth:`tinygrad_rnn.nn.Module.draw`.

    Returns
    -------
    Drawing
        The picture. If the targets are classes, a note compares the size of a table of all their probabilities with the
        number of the network's parameters.

    Raises
    ------
    TinygradError
        If the loss has no target.

    References
    ----------
    Goodfellow, Bengio and Courville, *Deep Learning*, 2016, section 10.2.3 and figures 10.7 to 10.9.

    Examples
    --------
    >>> from tinygrad_rnn import explain, nn
    >>> model = nn.Sequential(nn.Embedding(10, 3), nn.RNN(3, 4), nn.Linear(4, 10))
    >>> drawing = explain.draw_graphical_model(model, nn.cross_entropy, 3, shifted=True)
    >>> print(*drawing.description.split(". "), sep="\\n")
    y[1] depends on y[0]; y[2] depends on y[0], y[1]; y[3] depends on y[0], y[1], y[2]
    A table of the probabilities of all sequences: 10^3 − 1 = 999 numbers
    This network: 116 parameters, for any T.
    """
    contraction = contract(traced(model, check_int("steps", steps), inputs, loss, targets, force), "slots")
    found = dependences(contraction, states, shifted)
    if not found.targets:
        raise TinygradError(
            "a graphical model needs a loss with a target, a function loss(output, target), such as nn.cross_entropy"
        )
    name = f"{type(model).__name__}, graphical model"
    return graphical_model(contraction, found, _notes(model, contraction, found), f"{name} with states" if states else name)


def _notes(model: Module, contraction: Contraction, found: Dependences) -> list[str]:
    """Notes on whether targets depend on each other, and on the size of a table of their probabilities."""
    if not any(p in found.targets for parents in found.parents.values() for p in parents):
        return ["Given x, the targets are independent of each other."]
    classes = {
        edge.source.node.shape[-1]
        for edge in contraction.edges
        if edge.target in found.targets.values() and edge.source not in found.targets
    }
    if len(classes) != 1 or any(y.node.dtype.kind not in "iu" for y in found.starts or found.targets):
        return []
    k, T = classes.pop(), len(found.targets)
    numbers = f"{k**T - 1:,}" if k**T < 1e15 else short_number(float(k) ** T)
    own = sum(p.data.size for p in model.parameters())
    table = f"A table of the probabilities of all sequences: {k}^{T} − 1 = {numbers} numbers."
    return [table, f"This network: {own:,} parameters, for any T."]
