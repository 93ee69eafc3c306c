"""Distribution of the test suite over processes."""

from pathlib import Path
from types import SimpleNamespace

import conftest
import pytest

TESTS = Path(__file__).parents[1]


def test_the_longest_files_are_there():
    assert [name for name in conftest.LONGEST if not list(TESTS.rglob(f"{name}.py"))] == []


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
