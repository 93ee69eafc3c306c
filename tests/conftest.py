"""Hypothesis profiles, and how the suite is run.

The profiles "suite" and "ci" have the same examples in every run; "thorough" and "scan" find more.

Random numbers are the same in every run; ``TEST_SEED=1`` draws other numbers. Each test file runs in one of several
processes, the longest files first. Tests that need `dot` are skipped if `dot` is missing.
"""

from __future__ import annotations

import gc
import os
import shutil
import zlib
from importlib.util import find_spec

import pytest
from hypothesis import HealthCheck, Phase, settings

# before NumPy is imported, here and in programs that tests start
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
os.environ |= dict.fromkeys(THREADS, "1")  # each process uses one core
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # otherwise each program would compile the library again

import tinygrad_rnn as tr  # noqa: E402

TEST_SEED = int(os.environ.get("TEST_SEED", "0"))
tr.seed(TEST_SEED)  # for random numbers drawn while test files are imported

PHASES = tuple(phase for phase in Phase if phase is not Phase.explain)
"""All phases except "explain", for which hypothesis traces every line of every example, which doubles the time."""

COMMON = {"phases": PHASES, "deadline": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("suite", max_examples=10, derandomize=True, database=None, **COMMON)
settings.register_profile("ci", max_examples=30, derandomize=True, database=None, **COMMON)
settings.register_profile("thorough", max_examples=400, derandomize=False, **COMMON)
settings.register_profile("scan", max_examples=2000, derandomize=False, print_blob=True, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


collect_ignore_glob = [] if find_spec("sklearn") else ["estimators/*"]  # without scikit-learn there are no estimators

LONGEST = (
    "test_pages",
    "test_checker",
    "test_gradients",
    "test_examples",
    "test_examples_problems",
    "test_draw_graphs",
    "test_examples_shapes",
    "test_random_cells",
    "test_scan_faults",
    "test_native_random",
    "test_sweeps",
    "test_draw_zoo",
    "test_plan",
    "test_scan",
    "test_equations",
    "test_whole_models",
    "test_truncated",
    "test_report",
    "test_draw_cells",
    "test_cache",
    "test_cli",
    "test_habits",
    "test_recurrent_layers",
    "test_feedback",
    "test_scan_random",
    "test_scan_last_steps",
    "test_open",
    "test_native_libraries",
    "test_examples_systems",
    "test_seq2seq",
    "test_draw_step",
    "test_draw_layout",
    "test_examples_symbols",
    "test_console",
    "test_decoder",
)
"""The slowest files, in this order: files that start last should be short, so that all processes end at the same time."""


@pytest.fixture(autouse=True)
def seeded(request: pytest.FixtureRequest) -> None:
    """Seed the library, so that each test draws the same initial weights in every run, alone or with other tests."""
    tr.seed(zlib.crc32(request.node.nodeid.encode()) + TEST_SEED)


@pytest.fixture(autouse=True, scope="module")
def frozen() -> None:
    """What earlier files of tests keep is not looked through at each collection of garbage: that took up to a second."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Start no other process for a single file: it would not help, and starting a process takes a second."""
    files = {argument.split("::")[0] for argument in config.args}
    return 0 if len(files) == 1 and files.pop().endswith(".py") else None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Exclude the objects that exist after imports and test collection from garbage collection."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest files first; skip tests of dot or PyTorch if these are missing, and tests of TeX unless requested."""
    order = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))
    missing = {"dot": shutil.which("dot") is None, "torch": find_spec("torch") is None}
    missing["tex"] = "tex" not in config.getoption("markexpr")
    if out := [item for item in items if any(missing[mark] and item.get_closest_marker(mark) for mark in missing)]:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]
