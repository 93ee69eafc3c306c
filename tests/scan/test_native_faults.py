"""Faults planted in the writer of C, each of which random cells must find.

Each fault runs in a separate process: a wrong address may kill the process, which also counts as found.
"""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import settings
from native_cases import agree_closely, natively
from planting import Edit, drop, negate, planted, replace
from scan_cases import Difference, patched, quietly, sample

import tinygrad_rnn as tr
from tinygrad_rnn.scan.native import executable
from tinygrad_rnn.testing import GradientCheckError, random_cases
from tinygrad_rnn.testing.c_check import check_c, has_compiler

pytestmark = pytest.mark.skipif(not (has_compiler() and hasattr(os, "fork")), reason="there is no C compiler, or no fork")

THOROUGH = settings().max_examples > 40
CASES = 96 if THOROUGH else 24
"""Number of random cells in which a fault must be found."""
TOGETHER = 8
"""Number of cells that are compiled at once."""


class Fault(NamedTuple):
    """An edit of a function, which is found by its qualified name.

    `rows` is the number of rows in a chunk. With `primitives`, the cases of these primitives are enough to find the fault.
    Parts of the batch run in `threads`.
    """

    name: str
    function: str
    edit: Edit
    rows: int = 256
    primitives: tuple[str, ...] = ()
    threads: int = 1


ROWS = "f'{kind} *{name} = {name}_all + start * {factor(self.row(memory))}{own};'"
ADDED = "f'{self.page.name(place.memory)}[{at}] += {self.page.element(x, variables)};'"
FOLLOW = "place.memory.over_time and math.prod(place.memory.spec.shape) == node.shape[0] * place.strides[0]"
SAME = "not once and len(b.shape) == 2 and page.places.partition.is_invariant(b)"

FAULTS = [
    # -- places
    Fault("a slot is read after its step", "CPlaces._place_slots", replace("int(loop.reverse)", "int(not loop.reverse)")),
    Fault("pieces of a concatenation lie on each other", "CPlaces._parts", drop("start += 1 if stacks else piece.shape[axis]")),
    Fault("what is read at all steps is overwritten", "CPlaces.keep_rows", replace("('chunk', True)", "('step', False)")),
    Fault("a copy is never made", "CPlaces._copy", drop("self.copies.append((stage, made))")),
    Fault(
        "a view begins where its input does",
        "CPlaces._viewed",
        replace("place.offset + offset - first", "place.offset"),
        primitives=("getitem", "concatenate"),
    ),
    Fault("a piece that is made elsewhere is no copy", "CPlaces._is_free", replace("node not in self._found", "True")),
    # -- groups
    Fault("an operation does not wait", "Groups._needs", drop("self._makers(i, own, found, set())")),
    Fault("a delay is read before it is filled", "Groups._makers", drop("found.add(filler)")),
    Fault("a group reads its own values elsewhere", "Groups._fits", replace("not elsewhere", "True")),
    # -- the page
    Fault(
        "all steps lie where those of a chunk do", "_moves", replace("('input', 'result', 'whole')", "('input', 'result')"), 2
    ),
    Fault("a loop in reverse goes forward", "Page.steps", replace("self.backwards", "False")),
    Fault("an axis of one element is gone along", "Page.at", replace("n != 1", "True"), primitives=("add", "where")),
    Fault("the offset of a part is lost", "Page.at", replace("str(place.offset)", "'0'"), primitives=("concatenate",)),
    Fault(
        "a chunk begins where the first one does",
        "Page.rows_of_chunk",
        replace(ROWS, "f'{kind} *{name} = {name}_all;'"),
        2,
    ),
    # -- elementwise
    Fault(
        "operands change places",
        "_expression",
        replace(
            "zip(node.primitive.named_arguments, node.inputs, strict=True)",
            "zip(node.primitive.named_arguments, node.inputs[::-1], strict=True)",
        ),
        primitives=("subtract", "divide"),
    ),
    Fault("brackets are left out", "_expression", replace("f'({text})'", "text")),
    Fault(
        "an index begins with the first element",
        "_gathered",
        replace("place.offset + found.offset", "place.offset"),
        primitives=("getitem",),
    ),
    Fault("an index array has no stride", "write_pointers", replace("f'{at} * {stride}'", "at"), primitives=("getitem",)),
    # -- loops
    Fault("a scatter adds to what was there", "write_scatter", negate("zero"), primitives=("scatter",)),
    Fault("a line has gaps", "write_line", replace("page.places[x].strides[-1] == 1", "True"), primitives=("sum", "argmax")),
    Fault("a factor is left out", "write_sum_over", replace("' * '.join(factors)", "factors[0]"), primitives=("einsum",)),
    Fault(
        "a reshape reads backwards",
        "write_flat",
        replace("range(len(x.shape))", "range(len(x.shape))[::-1]"),
        primitives=("reshape",),
    ),
    # -- products
    Fault("a sum of products is not turned", "Products.write_sum", replace("time_sum.kind == 'flipped product'", "False")),
    Fault("rows that do not follow are taken together", "Products._rows_follow", replace(FOLLOW, "place.memory.over_time")),
    Fault("a matrix that changes is packed once", "Products.write", replace(SAME, "not once and len(b.shape) == 2")),
    # -- the function
    Fault("the state does not cross a chunk's border", "CSource._written", replace("self._carry(False)", "None"), 2),
    Fault("chunks of a reverse loop go forward", "CSource._written", negate("self.loop.reverse"), 2),
    Fault("a sum does not start from zero", "CSource._starts", replace("time_sum.kind == 'steps'", "True")),
    Fault("a sum is that of its last step", "CSource._sums", replace(ADDED, ADDED.replace("+=", "="))),
    # -- parts of a batch
    Fault("each part begins with the first sequence", "_first", replace("'first'", "'0'"), threads=3),
    Fault("rows of other parts do not lie between those of a part", "Page.row", replace("'S'", "'B'"), threads=3),
    Fault(
        "rows of other parts are taken for those of a part",
        "Products._joined",
        replace("not page.is_shared(memory)", "True"),
        threads=3,
    ),
    Fault(
        "sums of the parts are not added up",
        "NativeExecutable._run_parts",
        replace("kind == 'part'", "kind == 'parts'"),
        threads=3,
    ),
    # -- the run
    Fault(
        "a residual begins where its memory does",
        "array_at",
        replace("start + place.row", "start"),
    ),
]

SOME = FAULTS if THOROUGH else FAULTS[::16]
"""All faults in the profiles "thorough" and "scan"."""


@pytest.fixture(scope="module")
def cases():
    """Cells, and their results in NumPy."""
    return [(drawn, quietly(drawn, "scan", 1)) for drawn in sample(CASES)]


def finds(fault: Fault, cases, folder) -> str:
    """The sign of a fault: a difference, a failure, or nothing."""
    failures = 0
    with patched(planted(fault.function, fault.edit), (executable, "CHUNK_ROWS", fault.rows)):
        for name in fault.primitives:
            try:
                check_c((tr.ops.registry[name], case) for case in random_cases(tr.ops.registry[name], 30))
            except GradientCheckError:
                return "difference"
        for start in range(0, 0 if fault.primitives else CASES, TOGETHER):
            some = cases[start : start + TOGETHER]
            place = folder / str(start)
            place.mkdir()
            try:
                for (_, expected), (_, _, found) in zip(
                    some, natively([cell for cell, _ in some], place, order=1, threads=fault.threads), strict=True
                ):
                    agree_closely(expected, found)
            except Difference:
                return "difference"
            except Exception as error:
                failures += 1
                print(f"{fault.name}: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
    return "failure" if 0 < failures < CASES // TOGETHER else "nothing"


@pytest.mark.parametrize("fault", SOME, ids=lambda fault: fault.name)
def test_random_cells_find_a_planted_fault(fault, cases, tmp_path):
    child = os.fork()
    if not child:
        status = 3
        try:
            status = {"difference": 0, "failure": 0, "nothing": 1}[finds(fault, cases, tmp_path)]
        finally:
            sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"none of {CASES} random cells shows that {fault.name}"


def test_without_a_fault_they_agree(cases, tmp_path):
    some = cases[:TOGETHER]
    for (_, expected), (_, _, found) in zip(some, natively([cell for cell, _ in some], tmp_path, order=1), strict=True):
        agree_closely(expected, found)
        assert not any(np.shares_memory(x, y) for x, y in zip(expected.values(), found.values(), strict=True))
