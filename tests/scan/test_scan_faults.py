"""Faults planted in the scan compiler, each of which random cells must find."""

from __future__ import annotations

import ast
from typing import NamedTuple

import numpy as np
import pytest
from first_difference import first_difference
from planting import Edit, NotPlanted, drop, located, negate, planted, replace, swap
from scan_cases import Difference, agree, chunks, patched, quietly, sample, unrolled

import tinygrad_rnn as tr
from tinygrad_rnn import nn

CASES = 120
"""Number of random cells in which a fault must be found."""


class Fault(NamedTuple):
    """An edit of a function, which is found by its qualified name; `chunk` is the number of steps in a chunk."""

    name: str
    function: str
    edit: Edit
    chunk: int | None = None


PLACED = """
for product in products:
    start, end = end, end + product.shape[-1]
    instead[product] = builder.part(whole, start, end)
"""
FAULTS = [
    # -- rewrites
    Fault("slices that are no neighbours are merged", "_runs", replace("before[1] == after[0]", "before[1] <= after[0]")),
    Fault(
        "a gate's argument is not halved",
        "_Gates.replaced",
        replace(
            "self._scaled(node, self._vector(node, halved, 0.5, 1.0), True)",
            "self._scaled(node, self._vector(node, halved, 1.0, 1.0), True)",
        ),
    ),
    Fault(
        "a gate's half is not undone",
        "_Gates.replaced",
        replace("(squashed, self._vector(node, halved, 0.5, 1.0))", "(squashed, self._vector(node, halved, 1.0, 1.0))"),
    ),
    Fault("a half is not added to a gate alone", "_Gates.alone", replace("make(_MULTIPLY, (squashed, half))", "squashed")),
    Fault(
        "overlapping pads are joined",
        "_joined",
        replace("if start < end or stop == start: return None", "if start < end: continue\nif stop == start: return None"),
    ),
    Fault(
        "pads lose the zeros between them",
        "_joined",
        replace(
            "[_zeros(builder, node, axis, start - end)] if start > end else []",
            "[_zeros(builder, node, axis, start - end)] if start > end + 9 else []",
        ),
    ),
    Fault(
        "a coefficient is dropped",
        "_Associate._total",
        replace("atom if coefficient is None else make(_MULTIPLY, (atom, coefficient))", "atom"),
    ),
    Fault(
        "a scale is lost",
        "_Associate._parts",
        replace("self._sum(i, root, own)", "self._sum(i, root, None)"),
    ),
    Fault(
        "a quotient's divisor is a factor",
        "_Associate._parts",
        drop("other = self.builder.make(primitive, (self._number(1.0, other), other))"),
    ),
    Fault(
        "matrices side by side change places",
        "concat_matrices",
        replace(PLACED, PLACED.replace("in products", "in products[::-1]")),
    ),
    Fault(
        "a concatenation's rows are split at the wrong place",
        "split_concat",
        replace("builder.part(weight, start, end, axis=-2)", "builder.part(weight, 0, end - start, axis=-2)"),
    ),
    Fault(
        "a factor's first part goes to every piece",
        "scale_concat",
        replace("builder.part(factor, start, end, axis)", "builder.part(factor, 0, end - start, axis)"),
    ),
    Fault(
        "a sum over features has no ones but twos",
        "_folded",
        replace("builder.constant(1.0, x.dtype)", "builder.constant(2.0, x.dtype)"),
    ),
    # -- canonical form, partition, sums over time
    Fault(
        "a slice of a slice forgets where it starts",
        "NodeBuilder._part",
        replace("self.part(x.inputs[0], inner[1] + start, inner[1] + stop, axis)", "self.part(x.inputs[0], start, stop, axis)"),
    ),
    Fault("a stage comes too early", "first_batched", replace("stage + stage % 2", "stage - stage % 2")),
    Fault(
        "a product's sum is turned",
        "TimeSums._time_sum",
        replace("self._leaf('product', node, *inputs)", "self._leaf('flipped product', node, *inputs[::-1])"),
    ),
    Fault(
        "a difference of sums is a sum",
        "TimeSums._time_sum",
        replace(
            "make(node.primitive, parts, node.attributes)",
            "make(registry['add'] if len(facts.signs) == 2 else node.primitive, parts, node.attributes)",
        ),
    ),
    # -- differentiation
    Fault("the reverse runs forward", "differentiate", negate("not forward.reverse")),
    Fault("a residual is another one", "_Backward.loop", replace("reverse.read", "reverse.read[::-1]")),
    Fault(
        "the order of states is swapped",
        "_Backward.loop",
        replace(
            "[ends[i] if i in ends else _zeros(self.state[i]) for i in reverse.slots]",
            "[ends[i] if i in ends else _zeros(self.state[i]) for i in reverse.slots[::-1]]",
        ),
    ),
    Fault(
        "a slot's cotangent is forgotten",
        "_slots_with_cotangents",
        replace("node in reached and node.dtype.kind == 'f'", "i and node in reached and node.dtype.kind == 'f'"),
    ),
    # -- scheduling and memory
    Fault(
        "memory is given away while it is read",
        "lifetimes",
        replace("last[root] = max(last.get(root, 0), 2 * until + (node is target))", "last.setdefault(root, 2 * i + 1)"),
    ),
    Fault(
        "an operand is overwritten that is read later",
        "Placement._overwritten",
        replace("self.readers.only(operand) is not node", "node not in self.readers[operand]"),
    ),
    Fault(
        "a piece of two concatenations is made in one",
        "Placement._copy_pieces",
        replace("self.storage.get(piece) != storage", "self.storage[piece].kind != 'piece'"),
    ),
    Fault("a delay is shifted by none", "Memory._find", replace("kind == 'before'", "kind == 'neither'")),
    Fault("the state does not cross a chunk's border", "SourceWriter._unpacked", replace("'ends = lasts'", "'pass'"), 2),
    Fault(
        "sums over time are those of the last chunk",
        "SourceWriter._time_sums",
        replace(
            "f'{name} = part if {name} is None else add({name}, part, {name})'", "f'{name} = part if {name} is None else part'"
        ),
        2,
    ),
    Fault("a loop in reverse goes forward", "Memory.table", replace("array[::-1]", "array"), 2),
    Fault("a running sum starts from its first term", "accumulate", drop("np.add(before[0, ...], first, first)")),
    Fault("a running sum in reverse goes forward", "SourceWriter._running_sum", negate("self.loop.reverse")),
]


@pytest.fixture(scope="module")
def cases():
    return sample(CASES)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_random_cells_find_a_planted_fault(fault, cases):
    change, errors = planted(fault.function, fault.edit), 0
    for order in (1, 2):  # most faults are in first gradients too, which take a third of the time
        for drawn in cases:
            expected = unrolled(drawn, order)
            try:
                with patched(change), chunks(fault.chunk or 10**6):
                    agree(expected, quietly(drawn, "scan", order))
            except Difference:
                agree(expected, quietly(drawn, "scan", order))  # without the fault
                return
            except Exception:  # wrong shapes also show a fault, but a fault that fails with every cell is planted wrongly
                errors += 1
    assert 0 < errors < 2 * len(cases), f"of {len(cases)} random cells {errors} fail, and none shows that {fault.name}"


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
    with patched(planted(fault.function, fault.edit)):
        drawing = first_difference(*nn.Recurrent(Gated())(xs))
    assert drawing is not None and "gate[1] is the first value" in drawing.title
    assert [(arc.source.name, arc.target.name) for arc in drawing.sketch.arcs if arc.stroke.width == 4] == [
        ("cell.matmul[1]", "cell.gate[1]")
    ]
    assert [vertex.name for vertex in drawing.sketch.vertices if vertex.color] == ["cell.gate[1]"]
    assert "z^{−1}" in [vertex.label for vertex in drawing.sketch.vertices]


# -- planting ------------------------------------------------------------------------------

WRITTEN = """
def f(a, b):
    # a comment
    if (a <
            b):
        g(a, b, key='k')
        return [a - b for b in a]
    return a
"""


OF_TWO_LINES = "g(a, b, key='k')\n        return [a - b for b in a]"


@pytest.mark.parametrize(
    ("edit", "line", "instead"),
    [
        (replace("a<b", "a <= b"), "if a < b:", "if a <= b:"),
        (replace('"k"', "'j'"), "key='k'", "key='j'"),
        (negate("a < b"), "if a < b:", "if not a < b:"),
        (drop("g(a, b, key='k')"), "g(a, b, key='k')", "pass"),
        (swap("g(a, b, key='k')"), "g(a, b, key='k')", "g(b, a, key='k')"),
        (replace("return [a - b for b in a]", "return b"), "return [a - b for b in a]", "return b"),
        (replace("g(a, b, key='k')\nreturn [a - b for b in a]", "return b"), OF_TWO_LINES, "return b"),
    ],
)
def test_an_edit_is_of_the_syntax_tree_whatever_the_format(edit, line, instead):
    (function,) = ast.parse(WRITTEN).body
    assert isinstance(function, ast.FunctionDef)
    before = ast.unparse(function)
    assert line in before
    assert ast.unparse(edit(function)) == before.replace(line, instead)
    assert ast.unparse(function) == before


@pytest.mark.parametrize("edit", [replace("a > b", "a"), replace("a", "b"), drop("return b")])
def test_what_is_not_there_once_is_not_edited(edit):
    (function,) = ast.parse(WRITTEN).body
    assert isinstance(function, ast.FunctionDef)
    with pytest.raises(NotPlanted, match=r"f has \d+ times .* and the fault needs it once"):
        edit(function)


def test_a_fault_is_planted_in_whatever_file_its_function_is(tmp_path):
    (tmp_path / "room").mkdir()
    for path in ("one.py", "room/two.py"):
        (tmp_path / path).write_text("def f(a):\n    return a\n")
    (tmp_path / "room" / "three.py").write_text(f"class C:\n{WRITTEN.replace(chr(10), chr(10) + '    ')}\n")
    place, _ = located("C.f", replace("a < b", "a > b"), tmp_path)
    assert place.path.name == "three.py"
    (tmp_path / "room" / "three.py").rename(tmp_path / "four.py")
    place, _ = located("C.f", replace("a < b", "a > b"), tmp_path)
    assert place.path.name == "four.py"
    with pytest.raises(NotPlanted, match=r"no function C\.g: plant the fault anew"):
        located("C.g", drop("pass"), tmp_path)
    with pytest.raises(NotPlanted, match="2 functions f can be edited so: plant the fault anew"):
        located("f", drop("return a"), tmp_path)
    with pytest.raises(NotPlanted, match="0 functions f can be edited so: plant the fault anew; f has 0 times “return b”"):
        located("f", drop("return b"), tmp_path)
