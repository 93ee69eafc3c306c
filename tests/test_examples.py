"""Every example runs, and does what its first lines say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, *arguments: object, **environment: str) -> str:
    call = [sys.executable, "-W", "error", str(EXAMPLES / name), *map(str, arguments)]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_tested_and_told_of() -> None:
    names = {path.name for path in EXAMPLES.glob("*.py")}
    assert names == {"hello.py"}
    told = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"[{name}]({name})" in told for name in names)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_hello_learns_to_spell_and_draws(seed: int, tmp_path: Path) -> None:
    out = tmp_path / "hello.gv"
    said = run("hello.py", "--seed", seed, "--out", out)
    assert "after:  hello" in said
    losses = [float(loss) for loss in re.findall(r"loss (\d+\.\d+)", said)]
    assert losses[0] > 3
    assert losses[-1] < 0.05
    source = out.read_text(encoding="utf-8")
    for name in ("h₁", "h₄", "L₁", "L₄"):
        assert name in source or name.replace("₁", "[1]").replace("₄", "[4]") in source


def test_hello_says_the_same_in_every_run(tmp_path: Path) -> None:
    assert run("hello.py", "--out", tmp_path / "a.gv") == run("hello.py", "--out", tmp_path / "a.gv")
