"""`tools/same.py` finds faults planted in a copy of the package, and names their place."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from planting import plant, replace

ROOT = Path(__file__).parents[2]


def same(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "same.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=240)


FAULTS = {
    "a last bit": (
        ("relu", replace("np.maximum(x, False, out=out)", "np.nextafter(np.maximum(x, False), 0, out=out)")),
        "layer RNN(3, 5, nonlinearity='relu'), unroll",
        r"result\[0\]: \[\d+, \d+, \d+\] is .* in OLD, .* in NEW; \d+ of 75 numbers differ, by \d\.\de-\d\d at most",
    ),
    "a kernel call": (
        ("LSTMCell.step", replace("o * tanh(c)", "o * tanh(c) * 1.5")),
        "layer Recurrent(LSTMCell(3, 5)), scan",
        r"kernel calls, forward: \d+ in OLD, \d+ in NEW",
    ),
    "one more at each step": (
        None,
        "plan Recurrent(LSTMCell(3, 5))",
        r"counts forward: inside \d+, not \d+ in NEW",
    ),
    "a node": (
        ("ResidualCell.step", replace("h + self.f(a)", "self.f(a) + h")),
        "layer Recurrent(ResidualCell(3, 5)), unroll",
        r"graph: line \d+ is 'cell\.h\[1\] .* in OLD, 'cell\.h\[1\] ",
    ),
    "a label": (
        ("JordanCell.step", replace("'h'", "'η'")),
        "picture Jordan(3, 5, 2), unrolled, values",
        r"dot: line \d+ is .*h.* in OLD, .*η.* in NEW",
    ),
    "a name": (
        None,
        "layer Jordan(3, 5, 2), scan",
        r"graph: line \d+ is 'cell\.h\[1\] .* in OLD, 'cell\.η\[1\] .* in NEW \(and .*recorded h\[0\]",
    ),
    "an equation": (
        ("Printer.print", replace(r"rf'\left({latex}\right)'", "f'({latex})'")),
        "equations Recurrent(GRUCell(3, 5)), forward",
        r"equations: line \d+ is .* in OLD, .* in NEW",
    ),
    "an error": (
        ("SystemCell.step", replace("self.f(s, x)", "self.f(s, x[:, :2])")),
        "layer Recurrent(SystemCell(3, 5)), scan",
        r"raises: only NEW has it: .*Error: ",
    ),
}
"""The planted fault, or None for another trace of the fault before; the case that shows the fault; and the output."""


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A checkout with a fault of each kind."""
    folder = tmp_path_factory.mktemp("copied")
    shutil.copytree(ROOT / "tinygrad_rnn", folder / "tinygrad_rnn", ignore=shutil.ignore_patterns("__pycache__"))
    for planted, _, _ in FAULTS.values():
        if planted is not None:
            plant(*planted, folder)
    return folder


@pytest.fixture(scope="module")
def found(copied):
    """The output for this checkout, with two more cases that show nothing."""
    cases = [f"--only={case}" for _, case, _ in FAULTS.values()]
    done = same(ROOT, copied, "--cells=2", "--only=cell *", "--only=layer Recurrent(RNNCell(3, 5)), scan", *cases)
    assert done.returncode == 1, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_where_it_is(name, found):
    _, case, told = FAULTS[name]
    assert any(re.match(re.escape(case) + ": " + told, line) for line in found), "\n".join(found)


def test_nothing_else_is_found(found):
    cases = {case for _, case, _ in FAULTS.values()}
    assert found[-1] == f"{len(cases)} of {len(cases) + 5} cases differ"


def test_known_differences_are_expected(copied, tmp_path):
    known = tmp_path / "known"
    known.write_text("# the letter of the hidden layer\npicture Jordan*: dot\n")
    done = same(
        ROOT, copied, "--cells=0", "--only=picture Jordan(3, 5, 2), unrolled, *", f"--expect={known}", "--expect=cell *"
    )
    assert done.returncode == 0, done.stdout
    same_ones, seen, unseen = done.stdout.splitlines()
    assert same_ones == "4 cases are the same" and unseen == "expected, and not seen: cell *"
    assert re.fullmatch(r"expected: picture Jordan\*: dot: [2-4] times", seen)


@pytest.mark.parametrize("wrong", ["no such revision", "--output=here", "/"])
def test_what_is_no_checkout_is_told(wrong):
    done = same("HEAD", "--cells=0", "--", wrong) if wrong[0] == "-" else same(ROOT, wrong, "--cells=0")
    assert done.returncode and "Traceback" not in done.stderr
