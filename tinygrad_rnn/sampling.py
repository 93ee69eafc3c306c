"""Random numbers inside a step: fresh at every step, whichever way the step is run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .graph.node import Node, Spec
from .graph.place import context
from .ops.core import constant
from .random import generator
from .tensor import Tensor

__all__ = ["sample"]


def sample(draw: Callable[[np.random.Generator], npt.NDArray[Any]]) -> Tensor:
    """Random numbers, drawn anew at every call, and at every step of a cell.

    A cell's step is traced once; this is how its trace knows what to draw for each step.

    Parameters
    ----------
    draw : callable
        ``draw(generator) -> array``, always of one shape and dtype. The generator is the
        library's own, which :func:`seed` sets.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.seed(0)
    >>> sample(lambda generator: generator.integers(0, 10, 3)).shape
    (3,)
    """
    state = context.state
    if not state.tracing:
        return Tensor(constant(np.array(draw(generator()))))
    like = np.asarray(draw(np.random.default_rng(0)))
    node = Node(None, (), {"draw": draw}, Spec(like.shape, like.dtype), state.place)
    if state.draws is not None:
        state.draws.append(node)
    return Tensor(node)
