"""Scan equals unroll on random cells: outputs, final states, gradients, and gradients of gradients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from first_difference import first_difference
from hypothesis import Phase, given, settings
from scan_cases import check, chunks, plans, quietly, sample

import tinygrad_rnn as tr
from tinygrad_rnn.scan.partition import partition_of
from tinygrad_rnn.scan.rewrites import REWRITES, without
from tinygrad_rnn.testing.random_cells import CellRun, leaves, outcome
from tinygrad_rnn.testing.strategies import cells

RARE = 0.02  # smallest fraction of the cells in which a rewrite finds its pattern
SHARE = settings().max_examples / 40  # fraction of the work of continuous integration, whose profile has 40


def examples(count: int) -> settings:
    return settings(max_examples=int(count * SHARE), phases=(Phase.generate, Phase.shrink), report_multiple_bugs=False)


@pytest.fixture
def shown(tmp_path: Path) -> Callable[[Callable[[CellRun], None]], None]:
    """Test a property of random cells; the smallest failing cell is shown with a picture."""

    def prove(holds: Callable[[CellRun], None], count: int) -> None:
        last: list[CellRun] = []

        @examples(count)
        @given(cells(lengths=True))
        def each(drawn: CellRun) -> None:
            last[:] = [drawn]
            holds(drawn)

        try:
            each()
        except Exception as error:
            raise AssertionError(f"{error}\n{last[0]!r}\n{picture_of(last[0], tmp_path)}") from error

    return prove


def picture_of(drawn: CellRun, folder: Path) -> str:
    """A picture of the fault, and the path of the picture."""
    try:
        return _picture_of(drawn, folder)
    except Exception as error:  # report the fault itself, not this error
        return f"no picture could be made: {error}"


def _picture_of(drawn: CellRun, folder: Path) -> str:
    values = leaves(drawn)
    ends = outcome(drawn, values, "scan")
    floats = [value for value in values.values() if value.dtype.kind == "f"]
    totals = [(end * end).sum() for end in ends.values() if end.dtype.kind == "f"] + [(0.0 * value).sum() for value in floats]
    drawing = first_difference(*ends.values(), *tr.grad(totals, floats))
    if drawing is None:
        return "each program does what its loop says: look at the trace and at how it was differentiated"
    path = drawing.save(folder / "first_difference.svg")
    return f"{drawing.title}: {path}"


def test_scan_equals_unroll_to_second_order(shown):
    shown(check, 200)


@pytest.mark.parametrize("options", [{"checkpoint": 1}, {"checkpoint": 2}, {"final_state_only": True}], ids=str)
def test_what_is_kept_changes_no_number(options, shown):
    shown(lambda drawn: check(drawn, **options), 30)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_chunks_change_no_number(steps, shown):
    with chunks(steps):
        shown(check, 25)


@pytest.mark.parametrize("names", [*[(name,) for name in REWRITES], REWRITES], ids=lambda names: ", ".join(names[:3]))
def test_each_rewrite_switched_off_changes_no_number(names, shown):
    with without(*names):
        shown(check, 25)


# -- coverage ------------------------------------------------------------------------------


def test_random_cells_reach_every_rewrite_kind_of_slot_and_primitive(capsys):
    count = int(200 * min(max(SHARE, 0.5), 5))
    fired, slots, primitives, loops = (Counter[str]() for _ in range(4))
    for drawn in sample(count):
        with plans() as made:
            quietly(drawn, "scan", 1)
        fired.update({name for plan in made for name in plan.fired})
        for where, some in (("forward", made[:1]), ("reverse", made[1:])):
            found = [partition_of(plan.loop) for plan in some]
            slots.update({f"{partition_of(p.loop).kind(i)}, {where}" for p in some for i in range(len(p.loop.carry))})
            loops.update({f"{p.stages // 2}, {where}" for p in found})
            primitives.update({node.primitive.name for p in found for node in p.nodes if node.primitive is not None})
    with capsys.disabled():
        print(f"\nof {count} random cells:")
        for title, counts in (("rewrites", fired), ("slots", slots), ("loops", loops), ("primitives", primitives)):
            print(f"  {title}: " + " · ".join(f"{name} {n}" for name, n in sorted(counts.items())))
    assert {name: fired[name] for name in REWRITES if fired[name] < count * RARE} == {}
    kinds = [f"{kind}, {where}" for kind in ("cycle", "delay") for where in ("forward", "reverse")]
    assert min(slots[kind] for kind in kinds) > count / 10
    assert min(loops[f"{n}, forward"] for n in (0, 1, 2)) > count / 20
    assert primitives.keys() >= {
        "matmul",
        "concatenate",
        "getitem",
        "scatter",
        "where",
        "sigmoid",
        "tanh",
        "einsum",
        "sum",
        "reshape",
    }
    assert len(primitives) > 40
