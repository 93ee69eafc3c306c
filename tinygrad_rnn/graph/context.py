"""Where a node was made: its scope (module path), its step, its forward origin."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ContextDecorator, contextmanager
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, NamedTuple

from ..checks import clean_name
from .source_loops import Asker, is_left

if TYPE_CHECKING:
    from .node import Node
    from .recorder import Recorder

__all__ = ["Location", "Unrolling", "current", "scope"]


class SharedDraws:
    """Random numbers drawn at the first step of an unrolling for all of its steps."""

    __slots__ = ("drawn", "calls")

    def __init__(self) -> None:
        self.drawn: list[Any] = []
        self.calls: tuple[int | None, int] = (None, 0)  # a step, and the number of its draws so far


class Unrolling:
    """One sequence that a cell, or a user's own loop, runs over.

    Parameters
    ----------
    scope : str
        Module path under which the sequence was started.
    outer : Location, optional
        Location where the sequence was started; for a loop within a loop, a step of the outer loop.
    reverse : bool
        Whether the steps run from the end of the sequence to the start.
    """

    __slots__ = ("scope", "outer", "reverse", "over", "draws", "askers")

    def __init__(self, scope: str = "", outer: Location | None = None, reverse: bool = False) -> None:
        self.scope = scope
        self.outer = outer
        self.reverse = reverse
        self.over = False  # set when the last step is done
        self.draws = SharedDraws()
        self.askers: list[Asker] | None = None  # frames of the user's code that asked for the last step

    def __repr__(self) -> str:
        return f"<Unrolling of {self.scope or 'a loop'}>"


class Location(NamedTuple):
    """Scope, step and forward origin of a node.

    Attributes
    ----------
    scope : str
        Module path such as ``"encoder.layers.0"``, or ``""``.
    unrolling : Unrolling or None
    t : int or None
        The step within the unrolling; steps count from 1.
    origin : Node or None
        The forward node that a gradient's node belongs to.
    """

    scope: str = ""
    unrolling: Unrolling | None = None
    t: int | None = None
    origin: Node | None = None

    def describe(self) -> str:
        """The location in words, for the end of an error message.

        Examples
        --------
        >>> Location("encoder", Unrolling(), 3).describe()
        " in 'encoder' at step t=3"
        """
        layer = f" in {self.scope!r}" if self.scope else ""
        step = f" at step t={self.t}" if self.t is not None else ""
        return layer + step


NOWHERE = Location()


class Context(NamedTuple):
    """State of `ops.apply` in one thread or asyncio task: its mode and location.

    `eager` is False while tracing (all operations are recorded, none is run) and while debugging (every
    result is checked). Both are rare, so the fast path tests this one flag.
    """

    location: Location = NOWHERE
    recording: bool = True
    tracing: bool = False
    debugging: bool = False
    eager: bool = True
    draws: list[Any] | None = None  # draws that a trace records, at each step of a cell or in a whole function
    looked: list[Node] | None = None  # nodes whose numbers a trace has read
    given: frozenset[Node] = frozenset()  # nodes that were given to the step of a cell that is being made
    recorder: Recorder | None = None  # recorder of a whole function that is being recorded


_INITIAL = Context()
_context: ContextVar[Context] = ContextVar("tinygrad_rnn", default=_INITIAL)

# A context is replaced and never changed: tasks and threads that begin with the same context do not see changes of others.
current: Callable[[], Context] = _context.get
"""The context of this thread or task."""


def _set(context: Context) -> None:
    """Make a context the current one of the thread or task.

    Before Python 3.12, ``ContextVar.set`` may collect garbage. If a loop over steps is freed then, the loop sets
    the variable as well, and could free the mapping that the interpreter is copying. So this function holds the mapping.
    """
    held = copy_context() if sys.version_info < (3, 12) else None
    _context.set(context)
    del held


def change(**new: Any) -> None:
    """Replace fields of the current context of the thread or task."""
    _set(current()._replace(**new))


def move(location: Location) -> None:
    """Set the location of nodes that are made from now on."""
    _set(Context(location, *current()[1:]))


def restore(location: Location) -> None:
    """Return to a location; if its loop has ended, to the location where the loop was started."""
    scope = location.scope
    while location.unrolling is not None and location.unrolling.over:
        location = (location.unrolling.outer or NOWHERE)._replace(scope=scope)
    move(location)


def outside_left_loops() -> Location:
    """The current location; a loop that the user's code has left counts as ended, even if its iterator still exists."""
    location = current().location
    unrolling = location.unrolling
    if unrolling is None:
        return location
    while unrolling is not None:
        if unrolling.askers is not None and is_left(unrolling.askers):
            unrolling.over = True
        unrolling = unrolling.outer.unrolling if unrolling.outer is not None else None
    restore(location)
    return current().location


class at:
    """Set the location of nodes that are made inside the block."""

    def __init__(self, location: Location) -> None:
        self._location = location

    def __enter__(self) -> None:
        self._before = current().location
        move(self._location)

    def __exit__(self, *error: object) -> None:
        restore(self._before)


@contextmanager
def scope(name: str) -> Iterator[None]:
    """Tag the nodes made inside the block with a module path.

    Parameters
    ----------
    name : str
        One or more parts joined by dots; the path is appended to the enclosing scope.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> with tr.scope("encoder"):
    ...     y = tr.tanh(tr.tensor([0.0]))
    >>> tr.graph(y).nodes[-1].scope
    'encoder'
    """
    inside = ".".join(part for part in (current().location.scope, clean_name(name)) if part)
    with at(current().location._replace(scope=inside)):
        yield


class mode(ContextDecorator):
    """Change the mode of `apply` inside the block, in this thread or task only."""

    def __init__(self, *, recording: bool | None = None, tracing: bool | None = None, debugging: bool | None = None) -> None:
        self._changes = recording, tracing, debugging

    def _recreate_cm(self) -> mode:
        recording, tracing, debugging = self._changes
        return mode(recording=recording, tracing=tracing, debugging=debugging)

    def __enter__(self) -> None:
        self._before = before = current()
        recording, tracing, debugging = self._changes
        _set_mode(
            before.recording if recording is None else recording,
            before.tracing if tracing is None else tracing,
            before.debugging if debugging is None else debugging,
        )

    def __exit__(self, *error: object) -> None:
        _set_mode(self._before.recording, self._before.tracing, self._before.debugging)


def _set_mode(recording: bool, tracing: bool, debugging: bool) -> None:
    location, _, _, _, _, draws, looked, given, recorder = current()
    _set(Context(location, recording, tracing, debugging, not (tracing or debugging), draws, looked, given, recorder))
