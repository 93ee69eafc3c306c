"""Random numbers inside a step: new ones at every step, however the step is run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .graph.context import current
from .graph.node import Node, Spec
from .ops.core import constant
from .random import generator
from .tensor import Tensor

__all__ = ["sample"]

Draw = Callable[[np.random.Generator], npt.NDArray[Any]]


def sample(draw: Draw, once: bool = False) -> Tensor:
    """Draw random numbers, new ones at every call and at every step of a cell.

    A cell's step is traced once. `sample` tells the trace which numbers are to be drawn again at each step.

    Parameters
    ----------
    draw : callable
        ``draw(generator) -> array``. The array must always have the same shape and dtype. The
        generator is the one of the library, which :func:`seed` sets.
    once : bool
        Whether to draw only at the first step of a sequence, and to use the same numbers at all
        other steps.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.seed(0)
    >>> sample(lambda generator: generator.integers(0, 10, 3)).shape
    (3,)
    """
    return _shared(draw) if once and current().location.unrolling is not None else _drawn(draw, once)


def _drawn(draw: Draw, once: bool) -> Tensor:
    state = current()
    if not state.tracing:
        return Tensor(constant(np.array(draw(generator()))))
    like = np.asarray(draw(np.random.default_rng(0)))
    node = Node(None, (), {"draw": draw, "once": once}, Spec(like.shape, like.dtype), state.location)
    if state.draws is not None:
        state.draws.append(node)
    return Tensor(node)


def _shared(draw: Draw) -> Tensor:
    """The random numbers that a draw gave at the first step of the run, to be shared by all steps."""
    location = current().location
    assert location.unrolling is not None
    draws = location.unrolling.draws
    n = draws.calls[1] if draws.calls[0] == location.t else 0
    draws.calls = location.t, n + 1
    if n == len(draws.drawn):
        outer = location.unrolling.outer
        draws.drawn.append(_drawn(draw, outer is None or outer.unrolling is None))  # anew at each outer step
    found: Tensor = draws.drawn[n]
    return found
