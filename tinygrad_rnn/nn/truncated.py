"""Truncated backpropagation through time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..checks import is_int
from ..errors import ShapeError
from ..graph.node import leaf
from ..ops import concatenate
from ..tensor import Tensor
from ..tree import flatten, rebuild
from ..unrolling import as_input
from .cell import State

__all__ = ["truncated_bptt"]

At = slice | tuple[slice, slice]


def truncated_bptt(
    layer: Callable[..., tuple[Any, State]], xs: Any, k1: int, k2: int | None = None, state: State | None = None
) -> Iterator[tuple[At, Any]]:
    """Iterate over a long sequence k1 steps at a time, with gradients that reach k2 steps back.

    At each turn the layer runs over the last k2 steps, from an initial state that is detached
    from earlier steps. The turn yields the outputs of its last k1 steps, for a loss and an update.
    If k2 is larger than k1, turns overlap: the k2 - k1 steps before the k1 new steps are run again,
    with the updated parameters.

    Parameters
    ----------
    layer : callable
        ``layer(xs, state) -> (outputs, state)``, such as :class:`Recurrent` or :class:`LSTM`,
        or a module of your own. A layer that runs backwards in time, or in both directions, cannot
        be truncated.
    xs : array_like, shape (T, batch, …), or nested tuples of them
        The input sequences; shape (batch, T, …) if the layer is ``batch_first``.
    k1 : int
        Steps from one update to the next; the last turn may have fewer.
    k2 : int, optional
        Number of steps that the gradient goes back, counted from the last step of a turn; k1 if
        not given. With k2 = T nothing is truncated.
    state : State, optional
        The state before step 1. It is not detached, since an initial state may be learnt; detach
        a state that comes from an earlier run yourself.

    Yields
    ------
    at : slice, or tuple of two
        Index of the k1 steps in sequences as long as `xs`: their targets are ``ys[at]``.
    outputs : Tensor, shape (k1, batch, …), or nested tuples of them

    Raises
    ------
    ValueError
        If not 1 <= k1 <= k2, or the layer does not only run forwards in time.
    ShapeError
        If the input sequences differ in length.

    References
    ----------
    Williams and Peng, "An efficient gradient-based algorithm for on-line training of
    recurrent network trajectories", 1990, where the method is called BPTT(k2; k1). Sutskever, *Training
    recurrent neural networks*, 2013, section 2.8.6, for the names k1 and k2.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import nn, optim
    >>> rnn, head = nn.Recurrent(nn.RNNCell(1, 4)), nn.Linear(4, 1)
    >>> adam = optim.Adam([*rnn.parameters(), *head.parameters()])
    >>> xs = np.sin(np.arange(8.0)).reshape(8, 1, 1)
    >>> for at, outputs in truncated_bptt(rnn, xs[:-1], k1=3, k2=5):
    ...     loss = nn.mse(head(outputs), xs[1:][at])
    ...     adam.zero_grad()
    ...     loss.backward()
    ...     adam.step()
    ...     print(at, outputs.shape)
    slice(0, 3, None) (3, 1, 4)
    slice(3, 6, None) (3, 1, 4)
    slice(6, 7, None) (1, 1, 4)
    """
    k2 = k1 if k2 is None else k2
    if not (is_int(k1) and is_int(k2) and k1 <= k2):
        raise ValueError(f"truncated BPTT needs whole numbers of steps with 1 <= k1 <= k2, not k1={k1!r}, k2={k2!r}")
    if getattr(layer, "reverse", False) or getattr(layer, "bidirectional", False):
        raise ValueError("truncated BPTT needs a layer that runs forwards in time only, and this layer also runs backwards")
    inputs = [as_input(x) for x in flatten(xs)]
    axis = 1 if getattr(layer, "batch_first", False) and inputs[0].ndim > 2 else 0
    lengths = {x.shape[axis : axis + 1] for x in inputs}
    if len(lengths) != 1 or lengths == {()}:
        raise ShapeError(f"the sequences must have the same length, but have shapes {', '.join(str(x.shape) for x in inputs)}")
    ((T,),) = lengths
    return _turns(layer, rebuild(xs, iter(inputs)), axis, T, k1, k2, state)


def _turns(
    layer: Callable[..., tuple[Any, State]], xs: Any, axis: int, T: int, k1: int, k2: int, state: State | None
) -> Iterator[tuple[At, Any]]:
    since = 0  # `state` is the state before this step
    for start in range(0, T, k1):
        stop = min(start + k1, T)
        upcoming = max(0, min(stop + k1, T) - k2)  # where the next window starts
        parts, after = [], state
        for begin, end in ((since, upcoming), (upcoming, stop)):
            if begin == end:
                continue
            outputs, after = layer(_between(xs, begin, end, axis), after)
            if end > start:
                parts.append(_between(outputs, max(start - begin, 0), end - begin, axis))
            if end == upcoming:
                state = rebuild(after, iter([slot.detach() for slot in flatten(after)]))
        since = upcoming
        columns = zip(*[flatten(part) for part in parts], strict=True)
        yield _at(start, stop, axis), rebuild(parts[0], (_joined(column, axis) for column in columns))


def _at(start: int, stop: int, axis: int) -> At:
    return (slice(None), slice(start, stop)) if axis else slice(start, stop)


def _between(nested: Any, start: int, stop: int, axis: int) -> Any:
    """The steps of sequences from start to stop; a part of an input is an input too, so that drawings name it."""

    def part(x: Tensor) -> Tensor:
        if (start, stop) == (0, x.shape[axis]):
            return x
        node, at = x.node, _at(start, stop, axis)
        if node.primitive is None and node.leaf is None and isinstance(node.value, np.ndarray):
            return Tensor(leaf(node.value[at], node.name, node.role))
        return x[at]

    return rebuild(nested, iter([part(x) for x in flatten(nested)]))


def _joined(parts: tuple[Tensor, ...], axis: int) -> Tensor:
    return parts[0] if len(parts) == 1 else concatenate(parts, axis)
