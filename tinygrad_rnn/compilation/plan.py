"""StepPlan: how a compiled function runs, as text and as source."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence

from ..console import counted
from .program import ScanCall, Section

__all__ = ["StepPlan"]


class StepPlan:
    """The plan of a compiled function for one kind of call; see :meth:`CompiledFunction.plan`.

    Parameters
    ----------
    name : str
        Name of the function.
    calls : sequence of Section or ScanCall
        The calls, in the order in which they run.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> print(tr.compile(lambda x: tr.tanh(x * 2) + 1).plan(np.zeros((2, 3))))
    <lambda>: one call
    1  section  3 operations: multiply, tanh, add
    """

    def __init__(self, name: str, calls: Sequence[Section | ScanCall]) -> None:
        self.name = name
        self.calls = list(calls)

    @property
    def source(self) -> str:
        """The programs of all calls, in Python or in C."""
        return "\n\n".join(call.executable.source for call in self.calls)

    def __str__(self) -> str:
        many = f"{len(self.calls)} calls" if len(self.calls) != 1 else "one call"
        lines = [f"{self.name}: {many}"]
        width = len(str(len(self.calls)))
        for k, call in enumerate(self.calls, 1):
            done = call.executable.operations()
            operations = Counter(one.kind if one.node.primitive is None else one.node.operation for one in done)
            kinds = ", ".join(name if n == 1 else f"{n} {name}" for name, n in operations.items())
            text = f"{counted(operations.total(), 'operation')}: {kinds}"
            kind = "section"
            if isinstance(call, ScanCall):
                backwards = ", in reverse" if call.executable.schedule.loop.reverse else ""
                kind, text = "scan", f"of {counted(call.steps, 'step')}{backwards}, {text}"
            head = f"{k:{width}}  {kind:7}  "
            lines += textwrap.wrap(head + text, 110, subsequent_indent=" " * len(head), break_on_hyphens=False)
        return "\n".join(lines)

    __repr__ = __str__
