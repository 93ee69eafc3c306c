"""How the suite is spread over processes."""

from pathlib import Path
from types import SimpleNamespace

import conftest
import pytest

TESTS = Path(__file__).parents[1]


def test_the_longest_files_are_there():
    assert [name for name in conftest.LONGEST if not list(TESTS.rglob(f"{name}.py"))] == []


def test_all_examples_are_run_by_one_process_and_other_files_by_any():
    files = [path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py")]
    scopes = {file: conftest._scope(f"tests/{file}::test_it[a::b]") for file in files}
    others = {file: scope for file, scope in scopes.items() if not file.startswith("examples/")}
    assert set(others.values()) == {f"tests/{file}" for file in others}
    readers = {file for file in files if "\nfrom example_runs import" in (TESTS / file).read_text("utf-8")}
    assert {scopes[file] for file in readers} == {"test_examples"}


@pytest.mark.parametrize(
    ("arguments", "workers"),
    [
        (["tests/graph/test_fold.py"], 0),
        (["tests/graph/test_fold.py::test_a", "tests/graph/test_fold.py::test_b"], 0),
        (["tests/graph/test_fold.py", "tests/graph/test_graph.py"], None),
        (["tests"], None),
        (["tests", "tinygrad_rnn"], None),
    ],
)
def test_a_single_file_needs_no_other_process(arguments, workers):
    assert conftest.pytest_xdist_auto_num_workers(SimpleNamespace(args=arguments)) == workers
