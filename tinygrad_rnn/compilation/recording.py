"""Recording: call a function once with symbolic tensors, and note the values it computes, returns and changes."""

from __future__ import annotations

import linecache
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import SideEffectError, TinygradError, TraceError
from ..graph.context import change, current, mode
from ..graph.node import Node, Spec
from ..graph.recorder import Recorder
from ..guards import is_ours, rule_of
from ..random import generator
from ..scan.backend import Backend
from ..tensor import Tensor
from .arguments import outline, with_leaves
from .number import Arithmetic, Number
from .program import Program
from .state import State, Symbols

__all__ = ["Recording", "record"]

Array = npt.NDArray[Any]


class TableValue(NamedTuple):
    """Reference to an array in the program's table of values."""

    place: int
    name: str | None = None
    role: str | None = None


class Computed(NamedTuple):
    """Reference to a computed number."""

    place: int


class Effects(NamedTuple):
    """Changes that a function makes; each place is an index of the table of values.

    Attributes
    ----------
    parameters : list of (int, int)
        Numbers of parameters, and the places of their new values.
    gradients : list of (int, int or None)
        Numbers of parameters, and the places of their new gradients; None for a gradient that is removed.
    rates : list of (int, Any)
        Numbers of optimisers, and their new learning rates.
    memories : list of (int, list of dict)
        Numbers of optimisers, and their memories for each parameter.
    """

    parameters: list[tuple[int, int]]
    gradients: list[tuple[int, int | None]]
    rates: list[tuple[int, Any]]
    memories: list[tuple[int, list[dict[str, Any]]]]


class Recording:
    """A recorded function, ready to run.

    Attributes
    ----------
    program : Program
    draws : list of (list of int, callable)
        Random numbers, in the order in which the function draws them: places in the table, and the function that draws.
    scalars : list of (int, dtype)
        Numbers that are used with tensors: their places among the computed numbers, and their dtypes.
    arithmetic : Arithmetic
    result : Any
        Return value of the function, with :class:`TableValue` and :class:`Computed` in place of tensors and numbers.
    effects : Effects
    finite : list of int
        Places of values that must be finite.
    given_kinds : list of str
        The kind of each array that is given to the program; see :class:`~tinygrad_rnn.compilation.plan.Datum`.
    ends : list of (str, str or None, int)
        Kind, name and place of each array that the function returns or changes.
    """

    def __init__(
        self,
        symbols: Symbols,
        recorder: Recorder,
        draws: Sequence[Any],
        result: Any,
        changed: Mapping[str, Any],
        backend: Backend,
    ) -> None:
        self._nodes: dict[Node, int] = {}
        self._numbers: dict[Number, int] = {}
        self.result = self._told(result)
        self.effects = Effects(
            [(k, self._place(node)) for k, node in changed["parameters"]],
            [(k, None if grad is None else self._place(grad.node)) for k, grad in changed["gradients"]],
            [(k, self._told(lr)) for k, lr in changed["rates"]],
            [(k, self._told(memories)) for k, memories in changed["memories"]],
        )
        self.finite = [self._place(node) for node in recorder.finite]
        groups = [(one if isinstance(one, tuple) else ([one], _drawn_once(one))) for one in draws]
        scalars = [(self._number(number), node.dtype) for (number, _), node in recorder.numbers.items()]
        drawn = [node for nodes, _ in groups for node in nodes]
        given = [*symbols.nodes, *recorder.numbers.values(), *drawn]
        self.given_kinds = [*symbols.kinds, *["number"] * len(recorder.numbers), *["random number"] * len(drawn)]
        self.ends = self._ends([p.name for p in symbols.parameters])
        self.scalars = scalars
        self.draws = [(len(nodes), draw) for nodes, draw in groups]
        self.arithmetic = Arithmetic(symbols.numbers, self._numbers)
        self.program = Program(given, list(self._nodes), recorder.made, backend)

    def _ends(self, parameters: Sequence[str | None]) -> list[tuple[str, str | None, int]]:
        effects = self.effects
        return [
            *[("result", name, place) for name, place in _places(self.result)],
            *[("parameter", parameters[k], place) for k, place in effects.parameters],
            *[("gradient", parameters[k], place) for k, place in effects.gradients if place is not None],
            *[("memory", None, place) for _, place in _places(effects.memories)],
        ]

    def _place(self, node: Node) -> int:
        return self._nodes.setdefault(node, len(self._nodes))

    def _number(self, number: Number) -> int:
        return self._numbers.setdefault(number, len(self._numbers))

    def _told(self, value: Any) -> Any:
        """A result with references in place of tensors and numbers."""
        if isinstance(value, Tensor):
            node = value.node
            return TableValue(self._place(node), node.name, node.role) if isinstance(node.value, Spec) else value
        if isinstance(value, Number):
            return Computed(self._number(value))
        if isinstance(value, (tuple, list)):
            parts = [self._told(part) for part in value]
            return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
        if type(value) in (dict, OrderedDict):
            return type(value)((key, self._told(part)) for key, part in value.items())
        if isinstance(value, np.ndarray) or rule_of(type(value)).is_number:
            return value
        raise TraceError(
            f"a compiled function returns a {type(value).__name__}, and the next call would return the same one; return "
            "tensors, numbers and texts, or tuples, lists and dicts of them"
        )

    def run(self, arrays: Sequence[Array], numbers: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Compute all values; nothing is changed yet.

        Returns
        -------
        values : list of numpy.ndarray
            Arrays by their places, which `result` and `effects` refer to.
        computed : list of int or float
        """
        computed = self.arithmetic.run(numbers)
        given = [*arrays, *[np.array(computed[k], dtype) for k, dtype in self.scalars]]
        for count, draw in self.draws:
            given += _flat(draw(), count)
        return self.program.run(given), computed


def _places(result: Any, key: str | None = None) -> Iterator[tuple[str | None, int]]:
    """Name and place of each array of a result; an array without a name has its key in a dict, or its role."""
    if isinstance(result, TableValue):
        yield result.name or key or result.role, result.place
    elif isinstance(result, dict):
        for name, part in result.items():
            yield from _places(part, name if isinstance(name, str) else key)
    elif isinstance(result, (tuple, list)) and not isinstance(result, Computed):
        for part in result:
            yield from _places(part, key)


def _drawn_once(node: Node) -> Callable[[], Any]:
    draw = node.attributes["draw"]
    return lambda: ([np.asarray(draw(generator()))], [])


def _flat(drawn: tuple[list[Array], list[Array]], count: int) -> list[Array]:
    found = [*drawn[0], *drawn[1]]
    assert len(found) == count
    return found


def record(
    function: Callable[..., Any], arguments: tuple[Any, Any], leaves: Sequence[Any], state: State, backend: Backend
) -> Recording:
    """Call a function with symbolic tensors in place of arrays, and with leaves in place of its state.

    Raises
    ------
    TraceError
        If the function needs a value; the message names the line.
    """
    symbols = Symbols(state, leaves)
    recorder, draws = Recorder(), []  # type: ignore[var-annotated]
    args, kwargs = with_leaves(arguments, iter(symbols.arguments))
    given = outline((args, kwargs))
    before, source = current(), generator()
    random = repr(source.bit_generator.state)
    with symbols.in_place():
        parameters = symbols.parameters
        nodes = [p.node for p in parameters]
        wanting = [node.leaf is not None for node in nodes]
        grads = [p.grad for p in parameters]
        rates = [optimizer.lr for optimizer in symbols.optimizers]
        change(draws=draws, looked=None, recorder=recorder)
        try:
            with mode(tracing=True):
                result = function(*args, **kwargs)
        except TinygradError as error:
            line = _line_of(error)
            if line and isinstance(error, TraceError):
                error.args = (f"{error.args[0]}\n{line}", *error.args[1:])
            raise
        finally:
            change(draws=before.draws, looked=before.looked, recorder=before.recorder)
        if [p.node.leaf is not None for p in parameters] != wanting:
            raise TraceError(
                "a compiled function cannot freeze or unfreeze parameters; call requires_grad_() before the function"
            )
        if generator() is not source:
            raise TraceError("a compiled function cannot call tr.seed; call it outside")
        if outline((args, kwargs)) != given:
            raise SideEffectError(
                "a compiled function cannot change a list or a dict among its arguments; return what is new, and change it "
                "outside"
            )
        changed = {
            "parameters": _others(nodes, [p.node for p in parameters]),
            "gradients": _others(grads, [p.grad for p in parameters]),
            "rates": _others(rates, [optimizer.lr for optimizer in symbols.optimizers]),
            "memories": list(enumerate([optimizer.memories for optimizer in symbols.optimizers])),
        }
        made = Recording(symbols, recorder, draws, result, changed, backend)
        if repr(source.bit_generator.state) != random:
            raise TraceError("a compiled function draws random numbers by tr.sample(lambda generator: …), anew at each call")
        return made


def _line_of(error: BaseException) -> str:
    """The innermost line of the user's code that led to an error."""
    frames = traceback.walk_tb(error.__traceback__)
    own = [(frame.f_code.co_filename, line) for frame, line in frames if not is_ours(frame.f_globals.get("__name__"))]
    return "  in line {1} of {0}: {2}".format(*own[-1], linecache.getline(*own[-1]).strip()) if own else ""


def _others(before: Sequence[Any], after: Sequence[Any]) -> list[tuple[int, Any]]:
    """The values that were replaced, each with its index."""
    return [(k, new) for k, (old, new) in enumerate(zip(before, after, strict=True)) if new is not old]
