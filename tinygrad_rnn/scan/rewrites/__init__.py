"""Rewrites: functions from a loop to an equivalent loop with fewer or cheaper operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from ...checks import no_such
from ...graph.node import Node
from ..canonical import canonical
from ..loop import Loop
from .associate import associate
from .concat_scatters import concat_scatters
from .fold_linear import fold_linear
from .merge import merge
from .prebroadcast import prebroadcast
from .products import concat_matrices, split_concat
from .scale_concat import scale_concat
from .sigmoid_as_tanh import sigmoid_as_tanh

__all__ = ["AFTER", "BEFORE", "REWRITES", "rewrite", "without"]

Rewrite = Callable[[Loop], Mapping[Node, Node]]

BEFORE: dict[str, Rewrite] = {"split concat": split_concat, "concat matrices": concat_matrices, "merge": merge}
"""Rewrites that are tried before a loop is differentiated, so that its gradient becomes simpler too."""

AFTER: dict[str, Rewrite] = {
    "concat scatters": concat_scatters,
    "fold linear": fold_linear,
    "scale concat": scale_concat,
    "associate": associate,
    "sigmoid as tanh": sigmoid_as_tanh,
    "merge": merge,
    "prebroadcast": prebroadcast,
}
"""Rewrites that are tried before a loop is run."""

REWRITES = tuple(dict.fromkeys([*BEFORE, *AFTER]))
"""The names of all rewrites, in the order in which they are tried."""

_off: ContextVar[frozenset[str]] = ContextVar("off", default=frozenset())


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Leave some rewrites out of the plans that are made in this context, to see or to test their effect.

    Parameters
    ----------
    *names : str
        Names in :data:`REWRITES`.

    Raises
    ------
    ValueError
        If no rewrite has this name.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> with without("sigmoid as tanh"):
    ...     plan = nn.LSTMCell(3, 5).plan(T=10)
    >>> "sigmoid as tanh" in plan.fired
    False
    """
    for name in names:
        if name not in REWRITES:
            raise ValueError(no_such("rewrite", name, REWRITES))
    token = _off.set(_off.get() | frozenset(names))
    try:
        yield
    finally:
        _off.reset(token)


def switched_off() -> frozenset[str]:
    """The names of the rewrites that are left out in this context."""
    return _off.get()


def rewrite(loop: Loop, rewrites: Mapping[str, Rewrite], off: frozenset[str], fired: dict[str, int]) -> Loop:
    """Try rewrites one after another, each of them as long as it changes the loop.

    Parameters
    ----------
    loop : Loop
    rewrites : mapping of str to Rewrite
    off : frozenset of str
        Names of rewrites to leave out.
    fired : dict of str to int
        Number of values that each rewrite replaced; the counts of this call are added.
    """
    for name, find in rewrites.items():
        if name in off:
            continue
        for _ in range(8):
            instead = find(loop)
            if not instead:
                break
            fired[name] = fired.get(name, 0) + len(instead)
            for node, better in instead.items():
                if better.primitive is not None and better.name is None:
                    better.name = node.name
            loop = canonical(loop, instead)
    return loop
