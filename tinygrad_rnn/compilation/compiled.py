"""compile: a function that is recorded once for each kind of call, and then runs as one program."""

from __future__ import annotations

import functools
import math
import threading
import types
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np

from ..errors import SideEffectError, TraceError
from ..graph.context import current
from ..guards import Guard, Unread, Watch, guard
from ..ops.core import constant
from ..random import generator
from ..scan.use import backend_name, backend_named
from ..tensor import Tensor, leaf_of, leave_grad, rebind
from .arguments import kind_of
from .plan import StepPlan, argument_names
from .recording import Computed, Recording, TableValue, record
from .state import ANEW, Snapshot, State

__all__ = ["CompiledFunction", "compile"]

P = ParamSpec("P")
R = TypeVar("R")

KEPT = 32
"""Largest number of recordings that a function keeps; the oldest is dropped first."""

_one_thread = threading.RLock()


class _Known:
    """Recordings that hold while a guard of the function is unchanged."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.state = State(guard)
        self.recordings: dict[Any, Recording] = {}


class _Cache:
    """The recordings of a compiled function between calls."""

    def __init__(self) -> None:
        self.watch = Watch(ANEW)
        self.known: list[_Known] = []
        self.has_warned = False

    def __reduce__(self) -> Any:
        return type(self), ()  # a copy is of another function, which reaches other parameters


class CompiledFunction(Generic[P, R]):
    """A compiled function, as :func:`compile` makes it.

    Parameters
    ----------
    function : callable
        The function that is compiled.

    Attributes
    ----------
    function : callable
        The function that was compiled.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> twice = CompiledFunction(lambda x: x * 2)
    >>> twice(np.ones(2))
    tensor([2., 2.])
    """

    def __init__(self, function: Callable[P, R]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self._name = getattr(function, "__name__", repr(function))
        self._reads: Any = function
        self._cache = Unread(_Cache())
        self._methods: Unread = Unread({})

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """The compiled method of an object. Its recordings are kept as long as the object lives, and do not hold the object."""
        if instance is None:
            return self
        bound: Any = CompiledFunction(types.MethodType(self.function, instance))
        bound._reads = instance, self.function
        caches = self._methods.value
        if id(instance) not in caches:
            caches[id(instance)] = bound._cache
            weakref.finalize(instance, caches.pop, id(instance), None)
        bound._cache = caches[id(instance)]
        return bound

    def __repr__(self) -> str:
        return f"<compiled {self.function!r}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function. Once it is recorded, it runs as one program; if the program fails, Python runs the function."""
        context = current()
        if context.tracing or context.debugging:
            return self.function(*args, **kwargs)
        recording, state, leaves, snapshot = self._prepared((args, kwargs))
        source: Any = generator().bit_generator if recording.draws else None
        before = source.state if source is not None else None
        try:
            values, computed = recording.run(snapshot.arrays, snapshot.numbers)
            right = all(map(_is_finite, [values[k] for k in recording.finite]))
        except Exception:
            right = False
        if not right:  # the function itself then raises the error, or computes the values that the program leaves out
            if source is not None:
                source.state = before
            found = self.function(*args, **kwargs)
            self._warn_of_python()
            return found
        with _one_thread:
            _commit(recording, state, leaves, values, computed)
        result: R = _built(recording.result, values, computed)
        return result

    def _warn_of_python(self) -> None:
        """Warn once that a call was run by Python, which is slower."""
        if not self._cache.value.has_warned:
            self._cache.value.has_warned = True
            warnings.warn(
                f"{self._name}: the compiled program cannot compute this call, since a value is NaN or inf or an operation "
                "failed, so Python ran the function itself; such calls are slower",
                RuntimeWarning,
                stacklevel=3,
            )

    def plan(self, *args: P.args, **kwargs: P.kwargs) -> StepPlan:
        """The plan for calls of this kind: sections that run once, and scans, in order. Nothing is run or changed.

        A plan prints as a list, has the program's `source`, and draws itself.

        Parameters
        ----------
        *args
            The arguments of a call.
        **kwargs
            The arguments, as for a call.

        Returns
        -------
        StepPlan

        Examples
        --------
        >>> import numpy as np
        >>> from tinygrad_rnn import nn
        >>> rnn = nn.RNN(2, 3)
        >>> print(compile(lambda x: rnn(x)[0].sum()).plan(np.zeros((5, 1, 2), "float32")))
        <lambda>: 2 calls
        1  scan     of 5 steps, ...
        2  section  1 operation: sum
        """
        recording, *_ = self._prepared((args, kwargs))
        return StepPlan(self._name, recording, argument_names(self.function, args, kwargs))

    def _prepared(self, arguments: tuple[Any, Any]) -> tuple[Recording, State, list[Any], Snapshot]:
        """The recording for calls of this kind, and its arguments."""
        leaves: list[Any] = []
        kind = kind_of(arguments, leaves)
        with _one_thread:  # while another thread records, parameters have no values
            known = self._find()
            snapshot = known.state.snapshot(leaves)
            key = kind, snapshot.key, current().recording, backend_name()
            recording = known.recordings.get(key)
            if recording is None:
                recording = self._record(known, key, arguments, leaves)
        return recording, known.state, leaves, snapshot

    def _find(self) -> _Known:
        """The recordings that hold for the present values of everything that the function reads."""
        found = self._cache.value.watch.guard(self._reads)
        for known in self._cache.value.known:
            if known.guard is found:
                return known
        for known in self._cache.value.known:
            if known.guard.key == found.key and known.guard.valid:
                known.guard = found
                return known
        if not found.complete:
            raise TraceError(
                f"{self._name} reads {found.unknown}, which is not an argument, and tr.compile cannot tell "
                "whether it changes between calls; make it an argument, a tr.tensor if it is an array, or use it "
                "outside of the compiled function"
            )
        known = _Known(found)
        self._cache.value.known = [known, *self._cache.value.known[: KEPT - 1]]
        return known

    def _record(self, known: _Known, key: Any, arguments: tuple[Any, Any], leaves: Sequence[Any]) -> Recording:
        before = guard(self._reads, ANEW)
        made = record(self.function, arguments, leaves, known.state, backend_named(backend_name(), to_run=True))
        changed = before.change(guard(self._reads, ANEW))
        if changed is not None:
            raise SideEffectError(
                f"{self._name} changes {changed}. A compiled function runs as Python code only once, when it is recorded, so "
                "later calls would not change it. Return the changed value, and give it as an argument to the next call"
            )
        recordings = known.recordings
        recordings[key] = made
        while len(recordings) > KEPT:
            recordings.pop(next(iter(recordings)))
        return made


def _is_finite(value: Any) -> bool:
    return math.isfinite(np.vdot(value, value)) or bool(np.isfinite(value).all())


def _commit(recording: Recording, state: State, leaves: Sequence[Any], values: Sequence[Any], computed: Sequence[Any]) -> None:
    """Apply all changes that the function makes."""
    effects = recording.effects
    parameters: list[Any] = state.parameters(leaves)
    for k, place in effects.parameters:
        rebind(parameters[k], leaf_of(parameters[k], values[place]))
    for k, grad in effects.gradients:
        leave_grad(parameters[k], None if grad is None else values[grad])
    optimizers = state.optimizers()
    for k, lr in effects.rates:
        optimizers[k].lr = computed[lr.place] if isinstance(lr, Computed) else lr
    for k, memories in effects.memories:
        optimizers[k].memories[:] = [
            {name: values[x.place] if type(x) is TableValue else _built(x, values, computed) for name, x in memory.items()}
            for memory in memories
        ]


def _built(result: Any, values: Sequence[Any], computed: Sequence[Any]) -> Any:
    """The return value of the function, built from computed values."""
    if isinstance(result, TableValue):
        node = constant(values[result.place])
        node.name, node.role = result.name, result.role
        return Tensor(node)
    if isinstance(result, Computed):
        return computed[result.place]
    if isinstance(result, (tuple, list)):
        parts = [_built(part, values, computed) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    if isinstance(result, Mapping):
        return type(result)((key, _built(part, values, computed)) for key, part in result.items())  # type: ignore[call-arg]
    return np.array(result) if type(result) is np.ndarray else result


def compile(function: Callable[P, R]) -> CompiledFunction[P, R]:
    """Record a function once for each kind of call, and run it as one program on the chosen backend.

    The compiled function computes the same results as the function and makes the same changes (to parameters, their
    gradients and the memories of optimisers). It draws the same random numbers and raises the same errors.

    Parameters
    ----------
    function : callable
        A function of arrays, tensors, numbers and texts, and of lists, tuples and dicts of them. It may call models,
        `backward`, clipping and optimisers. Inside the function arrays are tensors. The returned tensors have no graph.

    Returns
    -------
    CompiledFunction

    Raises
    ------
    TraceError
        At the first call of a kind, if the function needs the value of a tensor; the message names the line.
    SideEffectError
        If the function changes anything else that it reads.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> w = tr.Parameter([1.0, 2.0])
    >>> adam = tr.optim.Adam([w], lr=0.1)
    >>> @tr.compile
    ... def step(x):
    ...     adam.zero_grad()
    ...     loss = tr.mse(w * x, np.ones(2, "float32"))
    ...     loss.backward()
    ...     adam.step()
    ...     return loss
    >>> [round(step(np.float32([1, 3])).item(), 3) for _ in range(3)]
    [12.5, 11.045, 9.683]
    """
    return CompiledFunction(function)
