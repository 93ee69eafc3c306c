"""The native backend agrees with NumPy on random cells: outputs, states, gradients, and gradients of gradients."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import settings
from native_cases import (
    agree_closely,
    agree_in_float32,
    broken,
    collecting,
    compiled,
    in_float32,
    natively,
)
from scan_cases import patched, quietly, sample

from tinygrad_rnn.scan.native import executable

pytestmark = pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="there is no C compiler")

SHARE = max(1, settings().max_examples // 40)
"""Fraction of the work of continuous integration, whose profile has 40 examples."""


def test_random_cells_agree_to_second_order(tmp_path):
    for _, expected, found in natively(sample(20 * SHARE), tmp_path):
        agree_closely(expected, found)


@pytest.mark.parametrize("options", [{"checkpoint": 1}, {"checkpoint": 2}, {"final_state_only": True}], ids=str)
def test_what_is_kept_changes_no_number(options, tmp_path):
    for _, expected, found in natively(sample(8 * SHARE)[-4 * SHARE :], tmp_path, order=1, **options):
        agree_closely(expected, found)


def test_chunks_of_one_and_two_steps_change_no_number(tmp_path):
    cells = sample(14 * SHARE)[-7 * SHARE :]
    with collecting() as programs:
        expected = [quietly(drawn, "scan", 1) for drawn in cells]
    functions = programs.compile(tmp_path)
    for rows in (1, 6):
        with compiled(functions), patched((executable, "CHUNK_ROWS", rows)):
            for drawn, one in zip(cells, expected, strict=True):
                agree_closely(one, quietly(drawn, "scan", 1))


def test_nan_and_infinities_are_where_numpy_has_them(tmp_path):
    cells = [broken(drawn) for drawn in sample(8 * SHARE)]
    for _, expected, found in natively(cells, tmp_path, order=1):
        agree_closely(expected, found)


def test_float32_is_as_exact_as_with_numpy_and_the_same_in_every_run(tmp_path):
    exact = sample(8 * SHARE)
    singles = [in_float32(drawn) for drawn in exact]
    with collecting() as programs:
        expected = [quietly(drawn, "scan", 1) for drawn in singles]
    functions = programs.compile(tmp_path)
    with compiled(functions):
        found, again = ([quietly(drawn, "scan", 1) for drawn in singles] for _ in range(2))
    for drawn, one, other, more in zip(exact, expected, found, again, strict=True):
        agree_in_float32(quietly(drawn, "scan", 1), one, other)
        assert all(np.array_equal(other[name], more[name], equal_nan=other[name].dtype.kind == "f") for name in other)
