# ruff: noqa: E501
"""Faults planted in the scan compiler, each of which random cells must find."""

from __future__ import annotations

import importlib
import inspect
import textwrap
from typing import Any, NamedTuple

import numpy as np
import pytest
from scan_cases import Difference, agree, chunks, patched, quietly, sample

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.testing.first_difference import first_difference

CASES = 120
"""Random cells that a fault is given to be found in."""


class Fault(NamedTuple):
    """A change of one line in a function of a module; `chunk` is how many steps go together."""

    name: str
    module: str
    where: str
    line: str
    instead: str
    chunk: int | None = None


FAULTS = [
    # -- rewrites
    Fault("slices that are no neighbours are merged", "rewrites.merge", "_runs", "before[1] == after[0] for", "before[1] <= after[0] for"),
    Fault("a gate's argument is not halved", "rewrites.gates", "_Gates.replaced", "halved, 0.5, 1.0), True", "halved, 1.0, 1.0), True"),
    Fault("a gate's half is not undone", "rewrites.gates", "_Gates.replaced", "(squashed, self._vector(node, halved, 0.5", "(squashed, self._vector(node, halved, 1.0"),
    Fault("a half is not added to a gate alone", "rewrites.gates", "_Gates.alone", "make(_MULTIPLY, (squashed, half)), half", "squashed, half"),
    Fault("overlapping pads are joined", "rewrites.pads", "_joined", "if start < end or stop == start:", "if start < end:\n            continue\n        if stop == start:"),
    Fault("pads lose the zeros between them", "rewrites.pads", "_joined", "if start > end else []", "if start > end + 9 else []"),
    Fault("a coefficient is dropped", "rewrites.associate", "_Associate._total", "if coefficient is None else", "if True else"),
    Fault("a scale is lost", "rewrites.associate", "_Associate._parts", "*self._sum(inputs[1], root, second)]", "*self._sum(inputs[1], root, None)]"),
    Fault("a quotient's divisor is a factor", "rewrites.associate", "_Associate._parts", "if primitive is _DIVIDE:", "if False:"),
    Fault("matrices side by side change places", "rewrites.products", "side_by_side", "for product in products:", "for product in products[::-1]:"),
    Fault("a concatenation's rows are split at the wrong place", "rewrites.products", "split_joins", "weight, start, end", "weight, 0, end - start"),
    Fault("a factor's first part goes to every piece", "rewrites.joins", "into_joins", "builder.part(factor, start, end, axis)", "builder.part(factor, 0, end - start, axis)"),
    Fault("a sum over features has no ones but twos", "rewrites.sums", "_folded", "builder.constant(1.0, x.dtype)", "builder.constant(2.0, x.dtype)"),
    # -- canonical form, partition, sums over time
    Fault("a slice of a slice forgets where it starts", "canonical", "Builder._part", "inner[1] + start, inner[1] + stop", "start, stop"),
    Fault("a stage comes too early", "partition", "_even", "stage + stage % 2", "stage - stage % 2"),
    Fault("a product's sum is turned", "totals", "Totals._total", 'self._leaf("product", node, left, right)', 'self._leaf("flipped product", node, right, left)'),
    Fault("a difference of sums is a sum", "totals", "Totals._total", "make(primitive, (self.of(inputs[0]), self.of(inputs[1])))", "make(_ADD, (self.of(inputs[0]), self.of(inputs[1])))"),
    # -- differentiation
    Fault("the reverse runs forward", "differentiate", "differentiate", "not forward.reverse", "forward.reverse"),
    Fault("a residual is another one", "primitive", "_reversed", "for i in reverse.read]", "for i in reverse.read[::-1]]"),
    Fault("the order of states is swapped", "primitive", "_reversed", "for i in reverse.slots]", "for i in reverse.slots[::-1]]"),
    Fault("a slot's cotangent is forgotten", "differentiate", "_slots_with_cotangents", "enumerate(forward.state) if", "enumerate(forward.state) if i and"),
    # -- scheduling and memory
    Fault("memory is given away while it is read", "schedule", "_Scheduler._share", "_end(section, i))", "min(i, last.get(buffer, i)))"),
    Fault("an operand is overwritten that is read later", "schedule", "_Scheduler._overwritten", "self._readers[operand] != [node]", "node not in self._readers[operand]"),
    Fault("a piece of two concatenations is made in one", "schedule", "_Scheduler._join", "if self.homes.get(piece) != home:", "if self.homes.get(piece) is None or self.homes[piece].kind != 'piece':"),
    Fault("a delay is shifted by none", "memory", "Memory._at", 'home.kind == "before"', 'home.kind == "neither"'),
    Fault("the state does not cross a chunk's border", "writer", "Writer._unpacked", '"ends = lasts"', '"pass"', 2),
    Fault("sums over time are those of the last chunk", "writer", "Writer._totals", "add({name}, part, {name})", "part", 2),
    Fault("a loop in reverse goes forward", "memory", "Memory.table", "array[::-1]", "array", 2),
]  # fmt: skip


def planted(fault: Fault) -> Any:
    """The function, and its code with the changed line: whoever holds the function runs it."""
    module = importlib.import_module(f"tinygrad_rnn.scan.{fault.module}")
    function: Any = module
    for name in fault.where.split("."):
        function = getattr(function, name)
    source = textwrap.dedent(inspect.getsource(function))
    assert fault.line in source, f"{fault.where} has changed: plant “{fault.name}” anew"
    space: dict[str, Any] = {}
    text = f"from __future__ import annotations\n{source.replace(fault.line, fault.instead)}"
    exec(compile(text, fault.name, "exec"), dict(vars(module)), space)
    return function, "__code__", space[function.__name__].__code__


@pytest.fixture(scope="module")
def cases():
    """Cells, and what unroll says of them: made once, since no fault is planted there."""
    found = [(drawn, quietly(drawn, "unroll")) for drawn in sample(CASES)]
    for drawn, expected in found:
        agree(expected, quietly(drawn, "scan"))
    return found


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_random_cells_find_a_planted_fault(fault, cases):
    errors = 0
    with patched(planted(fault)), chunks(fault.chunk or 10**6):
        for drawn, expected in cases:
            try:
                agree(expected, quietly(drawn, "scan"))
            except Difference:
                return
            except Exception:  # it need not be so blunt with every cell
                errors += 1
    pytest.fail(f"no one of {len(cases)} random cells shows that {fault.name}; {errors} fail otherwise")


def test_the_first_wrong_value_is_marked_in_a_picture():
    class Gated(nn.Cell):
        state_shape = (2,)

        def __init__(self):
            super().__init__()
            self.W = nn.Parameter(np.eye(2) - 0.4, symbol="W", dtype=np.float64)

        def step(self, x, h):
            gate = tr.sigmoid(h @ self.W).named("gate")
            h = (gate * h + tr.tanh(x)).named("h")
            return h, h

    xs = np.random.default_rng(0).uniform(-1, 1, (4, 1, 2))
    right = nn.Recurrent(Gated())(xs)
    assert first_difference(*right) is None
    (fault,) = [fault for fault in FAULTS if fault.name == "a gate's half is not undone"]
    with patched(planted(fault)):
        drawing = first_difference(*nn.Recurrent(Gated())(xs))
    assert drawing is not None and "gate[1] is the first value" in drawing.title
    edge, node = (line for line in drawing.source.splitlines() if "penwidth=4" in line)
    assert '"cell.matmul[1]" -> "cell.gate[1]"' in edge and "cell.gate[1]" in node
