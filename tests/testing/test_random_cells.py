"""Random cells run, have moderate values, shrink, and cover all kinds of cells that a way to run cells may get wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from cell_kinds import cycles, kinds_of
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn.testing import KinkError, UndecidedError, check_gradients
from tinygrad_rnn.testing import strategies as gen
from tinygrad_rnn.testing.cases import random_cases
from tinygrad_rnn.testing.cells.product_motifs import _lying
from tinygrad_rnn.testing.cells.recipe import Equation, Recipe
from tinygrad_rnn.testing.choices import RandomChoices
from tinygrad_rnn.testing.random_cells import CellRun, layer_of, leaves, outcome, random_cell, run
from tinygrad_rnn.tree import flatten, rebuild

EXAMPLES = settings().max_examples
LARGEST = 1e4

# -- they run --------------------------------------------------------------------------------


def expected_shapes(drawn: CellRun) -> dict[str, tuple[int, ...]]:
    """The sizes of final states, of gradients, and of gradients of gradients."""
    recipe = drawn.cell.recipe
    shapes = {f"state[{slot}]": (drawn.batch_size, *recipe.shapes[slot][1:]) for slot in recipe.slots}
    values = {name: value.shape for name, value in leaves(drawn).items() if value.dtype.kind == "f"}
    shapes |= {f"grad {name}": shape for name, shape in values.items()}
    shapes |= {f"grad grad {name}": shape for name, shape in values.items()}
    return shapes | {f"grad grad cotangent {name}": array.shape for name, array in drawn.cotangents.items()}


@settings(max_examples=2 * EXAMPLES)
@given(gen.cells(lengths=True))
def test_every_cell_runs_forward_and_backward(drawn):
    found = run(drawn, "unroll", order=2)
    shapes = expected_shapes(drawn)
    assert {name: found[name].shape for name in shapes} == shapes
    for name, array in found.items():
        assert np.isfinite(array).all() and np.abs(array).max(initial=0) < LARGEST, name
    outputs = [name for name in found if name.startswith("output")]
    assert len(outputs) == len(flatten(drawn.cell.recipe.output))
    assert all(len(found[name]) == drawn.T for name in outputs)
    assert all(found[name].shape == array.shape for name, array in drawn.cotangents.items())


@given(gen.cells())
def test_two_runs_agree_exactly(drawn):
    first, second = run(drawn), run(drawn)
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("seed", range(20))
def test_one_draw_is_one_cell(seed):
    one, other = (random_cell(RandomChoices(seed)) for _ in range(2))
    assert repr(one) == repr(other) and kinds_of(one) == kinds_of(other)
    assert all(np.array_equal(a, b) for a, b in zip(run(one).values(), run(other).values(), strict=True))


@given(gen.cells(), st.integers(0, 6))
def test_another_length_begins_alike(drawn, T):
    n = min(T, drawn.T)
    for own, other in zip(flatten(drawn.inputs()), flatten(drawn.inputs(T)), strict=True):
        assert (own is None) == (drawn.cell.recipe.inputs is None)
        assert own is None or (len(other) == T and np.array_equal(own[:n], other[:n]))


@given(gen.cells(lengths=True))
def test_lengths_are_drawn_when_asked_for(drawn):
    assert ("lengths" in kinds_of(drawn)) == (drawn.lengths is not None)
    if drawn.lengths is not None:
        assert drawn.lengths.shape == (drawn.batch_size,)
        assert (drawn.lengths >= 0).all() and (drawn.lengths <= drawn.T).all()
        assert "across_the_batch" not in kinds_of(drawn)


# -- their gradients -------------------------------------------------------------------------


def test_gradients_are_those_of_numbers():
    """Cells that cut their graph cannot be compared; a kink at a given point is no fault."""
    judged = 0
    for seed in range(4 * EXAMPLES):
        drawn = random_cell(RandomChoices(seed))
        own, layer = dict(drawn.cell.named_parameters()), layer_of(drawn)
        values = {name: x for name, x in leaves(drawn).items() if x.dtype.kind == "f" and name not in own}
        if "detach" in kinds_of(drawn) or not drawn.cotangents or not (values or own):
            continue

        def ends(*tensors, drawn=drawn, values=values, layer=layer):
            given = leaves(drawn) | dict(zip(values, tensors, strict=True))
            drawn.captured.update({name: given[name] for name in drawn.captured if name in given})
            found = outcome(drawn, given, layer)
            return [found[name] for name in drawn.cotangents]

        wrt = [*range(len(values)), *own.values()]
        try:
            check_gradients(ends, *values.values(), wrt=wrt, order=1, directions=1)
        except (KinkError, UndecidedError):
            continue
        judged += 1
    assert judged >= 2 * EXAMPLES


# -- what they cover -------------------------------------------------------------------------

KINDS = """
    0 slots, 1 slots, 2 slots, 3 slots, 4 slots, named state, single state, nested state, scalar slot, matrix slot,
    slot of one feature, T=0, T=1, T=2, T=3, T=5, B=1, B=2, B=3

    no cycle, a cycle, several slots in a cycle, three slots in a cycle, independent cycles, one cycle feeds another,
    one matrix in two cycles, delay, delay of an input, delay of a cycle, delay chain, tapped delay line,
    attention over delays, delay into a cycle, slot passed unchanged, slots swapped, slot never read,
    slot not in the output, slot only in the output, slot of a constant, one value in two slots,
    additive slot, linear slot, diagonal slot, leaky slot, gated slot

    no input, integer codes, several inputs, several outputs, nested outputs, constant output, a number for an output,
    integer output, output of an input, output of an old slot, one output twice, identity, no parameter, dead code,
    captured tensor, captured array, learnt start, given state, forced, forced by a mask, reverse,
    no gradient from some end

    sliced_gates, repeated slices, overlapping slices, slices apart, adjacent slices, reordered slices, slices of a part,
    equal gates, strided, stack of gates, concatenation of gates, joined_product, padded

    masked_weight, transposed_weight, weight_softmax, scaled_weight, weight_product, gram_matrix,
    diagonal, scalar weight, one_matrix_twice, several_matrices

    sum over features, mean over features, max over features, min over features, logsumexp over features,
    cumsum over features, argsort over features, running_sum, ordered, stepped, softmax over features, distribution, normalised,
    reduction with its axis, reduction without its axis, across_the_batch

    attention, read_matrix, outer product, part of a matrix, interpolation, used_twice, clip, chosen, where, detach,
    lookup, one-hot codes, features by position, through a transpose, through another rank, einsum
"""

NOT_IN_A_STEP = {
    "scatter": "only in gradients: what reading a part pulls back",
    "scan": "what a step becomes, not what it is made of",
    "sample": "random numbers: no two runs are alike",
}


@pytest.fixture(scope="module")
def kinds(drawn_cells) -> Counter[str]:
    """Number of drawn cells of each kind, and with each primitive in their traced steps."""
    return Counter(kind for drawn in drawn_cells for kind in kinds_of(drawn))


@pytest.fixture(scope="module")
def drawn_cells() -> list[CellRun]:
    found: list[CellRun] = []

    @settings(
        max_examples=600,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(gen.cells())
    def collect(drawn):
        found.append(drawn)

    collect()
    return found


def table(counts: Mapping[str, int], names: Iterable[str]) -> str:
    return "\n".join(f"{counts[name]:5d}  {name}" for name in sorted(names, key=lambda name: (counts[name], name)))


def test_all_kinds_occur(drawn_cells, kinds):
    wanted = {kind.strip() for kind in KINDS.replace("\n", ",").split(",")} - {""}
    print(f"\nof {len(drawn_cells)} cells, as many are or have\n{table(kinds, wanted)}")
    assert not wanted - set(kinds)


def test_all_primitives_occur(drawn_cells, kinds):
    own = {name for name, p in tr.ops.registry.items() if getattr(p, "__module__", "").startswith("tinygrad_rnn.")}
    counts = {kind.removeprefix("primitive "): n for kind, n in kinds.items() if kind.startswith("primitive ")}
    print(f"\nof {len(drawn_cells)} traced steps, as many have\n{table(Counter(counts), own)}")
    assert not own - set(counts) - set(NOT_IN_A_STEP)
    assert not set(counts) & set(NOT_IN_A_STEP)


def test_cells_differ(drawn_cells):
    sizes = [len(drawn.cell.recipe.equations) for drawn in drawn_cells]
    assert len({repr(drawn.cell) for drawn in drawn_cells}) > 0.9 * len(drawn_cells)
    assert 10 < np.mean(sizes) < 40


LYING = [  # where slices of one width start, in a product of so many columns
    ([0, 2], 2, 4, "adjacent slices"),
    ([2, 0], 2, 4, "adjacent slices, reordered slices"),
    ([0, 0], 2, 2, "repeated slices"),
    ([0, 1], 2, 3, "overlapping slices"),
    ([0, 3], 2, 5, "slices apart, slices of a part"),
    ([0, 2], 2, 5, "adjacent slices, slices of a part"),
    ([1, 0, 1], 1, 3, "adjacent slices, repeated slices, reordered slices, slices of a part"),
]


@pytest.mark.parametrize(("starts", "width", "whole", "expected"), LYING)
def test_how_slices_lie_is_said_rightly(starts, width, whole, expected):
    assert sorted(_lying(starts, width, whole)) == sorted(expected.split(", "))


@pytest.fixture(scope="module")
def runs() -> list[CellRun]:
    return [random_cell(RandomChoices(seed), True) for seed in range(300)]


def spread(runs: Iterable[CellRun]) -> dict[str, int]:
    """Number of runs with each feature of the numbers."""
    counts: Counter[str] = Counter()
    for one in runs:
        start = np.concatenate([np.ravel(a) for a in flatten(one.state)]) if one.state is not None else np.zeros(0)
        rows = [] if one.lengths is None else list(one.lengths)
        counts["starts below zero"] += bool((start < -0.1).any())
        counts["starts above zero"] += bool((start > 0.1).any())
        counts["different starts"] += len(set(start)) > 2
        counts["a row without steps"] += bool(one.T and 0 in rows)
        counts["a full row"] += bool(one.T and one.T in rows)
        counts["rows of different lengths"] += len(set(rows)) > 1
        counts["a mask of both"] += one.force_mask is not None and len(np.unique(one.force_mask)) == 2
        counts["forced by data of both signs"] += any((a > 0).any() and (a < 0).any() for a in one.force.values())
        counts["reversed with lengths"] += one.reverse and bool(rows)
        for T in (0, 1, 2):
            counts[f"{T} steps"] += one.T == T
    return counts


def test_the_numbers_of_a_run_are_spread(runs):
    counts = spread(runs)
    assert min(counts.values()) >= 5, counts


POORER = {
    "starts of ones": lambda d: {"state": None if d.state is None else map_nested(np.ones_like, d.state)},
    "full rows": lambda d: {"lengths": None if d.lengths is None else np.full_like(d.lengths, d.T)},
    "masks of one value": lambda d: {"force_mask": None if d.force_mask is None else np.ones_like(d.force_mask)},
    "no reverse": lambda d: {"reverse": False},
    "two steps at least": lambda d: {"T": max(d.T, 2)},
}


def map_nested(f, nested):
    return rebuild(nested, iter([f(a) for a in flatten(nested)]))


@pytest.mark.parametrize("name", POORER)
def test_a_poorer_draw_is_noticed(name, runs):
    assert min(spread(replace(drawn, **POORER[name](drawn)) for drawn in runs).values()) < 5


def test_labels_of_a_run_are_those_of_its_numbers(runs):
    for drawn in runs[:100]:
        recipe, said = drawn.cell.recipe, kinds_of(drawn)
        outputs = flatten(recipe.output)
        assert f"T={drawn.T}" in said and f"B={drawn.batch_size}" in said and f"{len(recipe.slots)} slots" in said
        for label, holds in {
            "given state": drawn.state is not None,
            "reverse": drawn.reverse,
            "lengths": drawn.lengths is not None,
            "forced by a mask": drawn.force_mask is not None,
            "forced": bool(drawn.force) and drawn.force_mask is None,
            "no input": recipe.inputs is None,
            "no parameter": not any(name[0] in "Ww" for name in recipe.shapes),
            "several outputs": len(outputs) > 1,
            "identity": len(recipe.equations) == 0,
            "learnt start": bool(drawn.cell.start),
        }.items():
            assert (label in said) == holds, (label, drawn)


def test_axes_of_every_length_are_drawn_for_einsum():
    cases = list(random_cases(tr.ops.registry["einsum"], 200))
    lengths = Counter(n for case in cases for x in case.inputs for n in x.shape)
    assert min(lengths[n] for n in (1, 2, 3)) > 50
    assert any(1 in x.shape and max(x.shape) > 1 for case in cases for x in case.inputs)


# -- what is shown, and how they shrink ------------------------------------------------------


@pytest.mark.parametrize("kind, most", [("several slots in a cycle", 4), ("overlapping slices", 12)])
def test_shrinks_to_a_few_equations(kind, most):
    quiet = settings(max_examples=2000, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    drawn = find(gen.cells(), lambda drawn: kind in kinds_of(drawn), settings=quiet)
    assert len(drawn.cell.recipe.equations) <= most, drawn


def test_the_step_is_printed_as_equations():
    drawn = next(d for d in map(random_cell, map(RandomChoices, range(500))) if "overlapping slices" in kinds_of(d))
    lines = repr(drawn.cell).splitlines()
    equations = drawn.cell.recipe.equations
    assert lines[1 : 1 + len(equations)] == [str(equation) for equation in equations]
    assert lines[-1].startswith("return ") and repr(drawn).startswith(repr(drawn.cell))


def recipe(after: Mapping[str, list[str]]) -> Recipe:
    """Slots, each of whose next values is a sum of other slots."""
    equations = tuple(Equation(f"a{i}", "add", tuple(read)) for i, read in enumerate(after.values()))
    shapes = dict.fromkeys(("x", *after), ("B", 1))
    return Recipe("x", tuple(after), equations, "x", tuple(equation.name for equation in equations), shapes)


def test_cycles_are_those_of_the_slots():
    two = recipe({"h1": ["h1", "x"], "h2": ["h3", "h1"], "h3": ["h2", "x"], "h4": ["h3", "x"]})
    assert cycles(two) == [{"h1"}, {"h2", "h3"}]
    assert not cycles(recipe({"h1": ["x"], "h2": ["h1"], "h3": ["h1", "h2"]}))


def test_pruning_leaves_what_is_read():
    one = recipe({"h1": ["h1", "x"]})
    longer = Recipe(one.inputs, one.state, (*one.equations, Equation("a9", "tanh", ("h1",))), "x", one.after, one.shapes)
    assert longer.pruned() == one
