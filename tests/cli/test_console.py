"""The command in all kinds of shells: encodings, closed pipes, Ctrl-C at any time, and failing code of a user."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tinygrad_rnn.cli import main
from tinygrad_rnn.console import counted, forgiving

CELL = '''
import tinygrad_rnn as tr
from tinygrad_rnn import nn


class Cell(nn.Cell):
    """Right, with names that few terminals can show."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.U = nn.Parameter((input_size, hidden_size), symbol="Ω")
        self.W = nn.Parameter((hidden_size, hidden_size), symbol="隐藏")
        STATE

    def step(self, x, h):
        h = tr.tanh(x @ self.U + h @ self.W).named("h")
        return h, h
'''
RIGHT = CELL.replace("STATE", "self.state_shape = (hidden_size,)")


def command(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    call = [sys.executable, "-m", "tinygrad_rnn", *map(str, arguments)]
    found = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | environment
    return subprocess.run(call, capture_output=True, cwd=cwd, timeout=120, env=found)


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_counts_have_the_right_noun(n):
    assert counted(n, "step") == ("1 step" if n == 1 else f"{n:,} steps")
    assert counted(n, "axis", "axes") == ("1 axis" if n == 1 else f"{n:,} axes")


# -- encodings -----------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "ascii:surrogateescape", "utf-16", "cp437", "utf-8"])
def test_a_right_cell_is_right_on_every_terminal(encoding, tmp_path):
    (tmp_path / "cells.py").write_text(RIGHT, encoding="utf-8")
    done = command("check", "cells.py:Cell", "--examples", 2, cwd=tmp_path, PYTHONIOENCODING=encoding)
    said = done.stdout.decode(encoding.partition(":")[0])
    assert (done.returncode, said[:5], done.stderr) == (0, "RIGHT", b"")
    assert "Ω" in said or r"\u03a9" in said


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_the_demo_and_errors_on_every_terminal(encoding, tmp_path):
    (tmp_path / "text").write_text("Größe → Länge, “so” 隐藏 weiter.\n" * 60, encoding="utf-8")
    small = ["--updates", 3, "--batch", 4, "--length", 8, "--hidden", 6, "--embedding", 4, "--sample", 10]
    done = command("demo", "--text", "text", "--out", "Ω→", *small, cwd=tmp_path, PYTHONIOENCODING=encoding, PYTHONUTF8="1")
    assert done.returncode == 0, done.stderr
    assert b"####" in done.stdout and b"\\u2588" not in done.stdout
    done = command("check", "隐藏.py:Ω", cwd=tmp_path, PYTHONIOENCODING=encoding, PYTHONUTF8="1")
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1 and done.stderr.startswith(b"tinygrad-rnn: there is no file")


def test_streams_are_as_they_were_afterwards():
    before = sys.stdout.errors, sys.stderr.errors
    with forgiving():
        pass
    assert (sys.stdout.errors, sys.stderr.errors) == before


# -- pipes ---------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="pipes of a POSIX shell")
@pytest.mark.parametrize(
    "arguments", [["draw", "RNNCell", "-o", "a.gv"], ["plan", "RNNCell"], ["--help"], ["--version"], ["nothing"], []]
)
def test_a_closed_pipe_is_no_accident(arguments, tmp_path):
    for closed in ("stdout", "stderr", "both"):
        reading, writing = os.pipe()
        os.close(reading)
        streams = {name: writing if closed in (name, "both") else subprocess.PIPE for name in ("stdout", "stderr")}
        call = [sys.executable, "-m", "tinygrad_rnn", *arguments]
        done = subprocess.run(
            call, cwd=tmp_path, timeout=60, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}, **streams
        )
        os.close(writing)
        assert done.returncode in (0, 2, 141)
        assert not any(word in (done.stderr or b"") for word in (b"Traceback", b"Exception", b"BrokenPipe"))


# -- Ctrl-C --------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="signals of a shell")
def test_ctrl_c_during_the_imports(tmp_path):
    """The signal arrives during an import that all commands need, long before `main` runs."""
    for module in ("numpy", "tinygrad_rnn.nn.module", "tinygrad_rnn.cli"):
        code = (
            "import os, runpy, signal, sys\n"
            "class Finder:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            f"        if name == {module!r}:\n"
            "            os.kill(os.getpid(), signal.SIGINT)\n"
            "sys.orig_argv[1:] = ['-m', 'tinygrad_rnn', 'draw', 'RNNCell']\n"
            "sys.meta_path.insert(0, Finder())\n"
            "runpy.run_module('tinygrad_rnn', run_name='__main__', alter_sys=True)\n"
        )
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=tmp_path, timeout=60, env=environment)
        assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"tinygrad-rnn: interrupted\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="signals of a shell")
def test_ctrl_c_in_code_of_a_user_s_own(tmp_path):
    (tmp_path / "cells.py").write_text("import time\nprint('here', flush=True)\ntime.sleep(60)\n")
    call = [sys.executable, "-m", "tinygrad_rnn", "draw", "cells.py:Cell"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(call, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    assert process.stdout is not None and process.stdout.readline() == b"here\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"tinygrad-rnn: interrupted\n")


def test_a_process_that_only_uses_the_library_keeps_its_ctrl_c(tmp_path):
    code = "import signal, tinygrad_rnn; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=tmp_path, timeout=60, env=environment)
    assert done.stdout.split() == [b"True"]


# -- code of a user's own ------------------------------------------------------------------

FAILING = {
    "no state_shape": (CELL.replace("STATE", ""), "state_shape"),
    "a syntax error": ("x = 1\nclass Cell(:\n", "SyntaxError"),
    "a missing module": ("import no_such_module_anywhere\n", "no_such_module_anywhere"),
    "an error when it is imported": ("x = {}\ny = x['key']\n", "KeyError: 'key' (cells.py:2)"),
    "a clean exit": ("import sys\nsys.exit(0)\n", "SystemExit: 0 (cells.py:2)"),
    "an exit of no words": ("raise SystemExit\n", "SystemExit (cells.py:1)"),
    "another exception": ("class E(BaseException): pass\nraise E('one\\ntwo')\n", "E: one two (cells.py:2)"),
    "not UTF-8": ("class Größe: pass\n".encode("latin-1"), "not UTF-8 in line 1"),
    "UTF-16": ("class Cell: pass\n".encode("utf-16"), "it looks like UTF-16"),
    "NUL": (b"\0" * 100, "null bytes"),
    "nothing": ("", "has no cell 'Cell'"),
    "too deep": ("x = " + "(" * 500 + ")" * 500, "SyntaxError"),
    "arguments": (
        "from tinygrad_rnn import nn\nclass Cell(nn.Cell):\n    def __init__(self, a, b, c): pass\n",
        "must take (input_size, hidden_size), or no arguments",
    ),
    "no super": (
        "from tinygrad_rnn import nn\nclass Cell(nn.Cell):\n    def __init__(self): self.x = nn.Parameter((2,))\n",
        "super",
    ),
    "an exit when made": ("import sys\nclass Cell:\n    def __init__(self): sys.exit(0)\n", "SystemExit: 0 (cells.py:3)"),
    "attributes that raise": ("def __getattr__(name):\n    raise OSError('of its own')\n", "OSError: of its own"),
    "an assertion": ("assert False, 'words'\n", "AssertionError: words (cells.py:1)"),
    "an initial state that fails": (
        RIGHT + "\n    def initial_state(self, b, dtype=None):\n        return 1 / 0\n",
        "ZeroDivisionError",
    ),
}


@pytest.mark.parametrize("case", FAILING)
@pytest.mark.parametrize("task", ["check", "draw"])
def test_whatever_fails_is_one_line(task, case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source, words = FAILING[case]
    (tmp_path / "cells.py").write_bytes(source if isinstance(source, bytes) else source.encode())
    assert main([task, "cells.py:Cell"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("tinygrad-rnn: ") and said.err.count("\n") == 1 and words in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    "name", ["", ":", "a:", ":a", "..:a", "..a:b", "a.py", "folder.py:Cell", "pipe.py:Cell", "\0.py:C", "a" * 5000 + ".py:C"]
)
def test_names_of_no_cell_are_one_line(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.py").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.py")
    assert main(["check", name]) == 2
    said = capsys.readouterr().err
    assert said.startswith("tinygrad-rnn: ") and said.count("\n") == 1
