"""Rewrites: each takes a loop and gives another that computes the same, in fewer or cheaper operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

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
"""What is done before a loop is differentiated, so that its gradient is simpler too."""

AFTER: dict[str, Rewrite] = {
    "concat scatters": concat_scatters,
    "fold linear": fold_linear,
    "scale concat": scale_concat,
    "associate": associate,
    "sigmoid as tanh": sigmoid_as_tanh,
    "merge": merge,
    "prebroadcast": prebroadcast,
}
"""What is done before a loop is run. None of it matters to anybody but the one who runs it."""

REWRITES = tuple(dict.fromkeys([*BEFORE, *AFTER]))
"""The names of all of them, in the order in which they are tried."""

_off: ContextVar[frozenset[str]] = ContextVar("off", default=frozenset())


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Leave rewrites out of the plans that are made inside: to see what they do, and to test them.

    Parameters
    ----------
    *names : str
        Of :data:`REWRITES`.

    Raises
    ------
    ValueError
        If there is no such rewrite.

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
            raise ValueError(f"there is no rewrite {name!r}; there are {', '.join(REWRITES)}")
    token = _off.set(_off.get() | frozenset(names))
    try:
        yield
    finally:
        _off.reset(token)


def switched_off() -> frozenset[str]:
    """The rewrites that are left out here."""
    return _off.get()


def rewrite(loop: Loop, rewrites: Mapping[str, Rewrite], off: frozenset[str], fired: dict[str, int]) -> Loop:
    """Try rewrites one after another, each as long as it finds something.

    Parameters
    ----------
    loop : Loop
    rewrites : mapping of str to Rewrite
    off : frozenset of str
        Left out.
    fired : dict of str to int
        Where the values that each replaced are counted.
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
