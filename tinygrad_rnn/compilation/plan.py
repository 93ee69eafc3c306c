"""StepPlan: how a compiled function runs, as text, as source and as a picture."""

from __future__ import annotations

import inspect
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..console import counted, preformatted
from .arguments import kind_of
from .program import ScanCall, Section
from .recording import Recording

if TYPE_CHECKING:
    from ..draw import Drawing

__all__ = ["Datum", "StepPlan", "argument_names"]


class Datum(NamedTuple):
    """An array that goes from one call to another, or into or out of the function.

    Attributes
    ----------
    kind : str
        For an array that is given to the function: "argument", "parameter", "gradient", "memory" of an optimiser, "number",
        "random number" or "constant". For an array that leaves the function: "result", "parameter", "gradient" or "memory".
        For an array between two calls: "value", or "residual" if it stays in the memory of the first call.
    name : str or None
    source, target : int or None
        Numbers of the calls that write and read the array; None outside of the function.
    """

    kind: str
    name: str | None
    source: int | None
    target: int | None


class StepPlan:
    """The plan of a compiled function for one kind of call; see :meth:`CompiledFunction.plan`.

    Parameters
    ----------
    name : str
        Name of the function.
    recording : Recording
    arguments : sequence of str
        Names of the arrays among the arguments, in order.

    Attributes
    ----------
    calls : list of Section or ScanCall
        The calls, in the order in which they run.
    data : list of Datum
        The arrays that each call reads, and the arrays that leave the function.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> plan = tr.compile(lambda x: tr.tanh(x * 2) + 1).plan(np.zeros((2, 3)))
    >>> print(plan)
    <lambda>: one call
    1  section  3 operations: multiply, tanh, add
    >>> [(datum.kind, datum.name, datum.source, datum.target) for datum in plan.data]
    [('argument', 'x', None, 0), ('result', None, 0, None)]
    """

    def __init__(self, name: str, recording: Recording, arguments: Sequence[str] = ()) -> None:
        self.name = name
        program = recording.program
        self.calls: list[Section | ScanCall] = list(program.calls)
        kinds = [*recording.given_kinds, *["constant"] * len(program.constants)]
        writer = {place: k for k, call in enumerate(self.calls) for place in call.writes}
        self.data: list[Datum] = []
        for k, call in enumerate(self.calls):
            for place, read in dict(zip(call.reads, call.loop.inputs, strict=True)).items():
                known = arguments[place] if place < len(arguments) else program.name_of(place) or read.name
                kind = kinds[place] if place not in writer else "residual" if program.stays(place) else "value"
                self.data.append(Datum(kind, known, writer.get(place), k))
        for kind, end, number in recording.ends:
            place = program.places[number]
            self.data.append(Datum(kind, end or program.name_of(place), writer.get(place), None))

    @property
    def source(self) -> str:
        """The programs of all calls, in Python or in C."""
        return "\n\n".join(call.executable.source for call in self.calls)

    def draw(self) -> Drawing:
        """A picture of the calls, the first lowest, with the data between them.

        Examples
        --------
        >>> import numpy as np
        >>> import tinygrad_rnn as tr
        >>> drawing = tr.compile(lambda x: tr.tanh(x * 2) + 1).plan(np.zeros((2, 3))).draw()
        >>> [vertex.label for vertex in drawing.sketch.vertices]
        ['1  section\\n3 operations', 'x', 'result']
        """
        from ..draw import draw_calls

        return draw_calls(self)

    def _repr_html_(self) -> str:
        return preformatted(str(self)) + self.draw().svg()

    def __str__(self) -> str:
        many = f"{len(self.calls)} calls" if len(self.calls) != 1 else "one call"
        lines = [f"{self.name}: {many}"]
        width = len(str(len(self.calls)))
        for k, call in enumerate(self.calls, 1):
            kind, steps = words(call)
            head = f"{k:{width}}  {kind:7}  "
            text = f"{f'of {steps}, ' if steps else ''}{operations(call)}"
            lines += textwrap.wrap(head + text, 110, subsequent_indent=" " * len(head), break_on_hyphens=False)
        return "\n".join(lines)

    __repr__ = __str__


def words(call: Section | ScanCall) -> tuple[str, str]:
    """The kind of a call, and the number of steps of a scan."""
    if not isinstance(call, ScanCall):
        return "section", ""
    return "scan", counted(call.steps, "step") + (", in reverse" if call.executable.schedule.loop.reverse else "")


def operations(call: Section | ScanCall) -> str:
    """The number of operations of a call, and the names of the operations."""
    found = Counter(one.kind if one.node.primitive is None else one.node.operation for one in call.executable.operations())
    names = ", ".join(name if n == 1 else f"{n} {name}" for name, n in found.items())
    return f"{counted(found.total(), 'operation')}: {names}"


def argument_names(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
    """For each array or tensor among the arguments of a call, the name of its argument.

    Examples
    --------
    >>> import numpy as np
    >>> a = np.zeros(3)
    >>> argument_names(lambda x, n, *rest: None, [(a, a), 3, a, 0.5], {"y": a})
    ['x', 'x', 'rest', 'y']
    """
    parameters = list(inspect.signature(function).parameters.values())
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    others = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL] * max(0, len(args) - len(positional))
    found: list[str] = []
    for name, value in [*zip([*positional, *others], args, strict=False), *kwargs.items()]:
        leaves: list[Any] = []
        kind_of(value, leaves)
        found += [name] * sum(type(leaf) is not float for leaf in leaves)
    return found
