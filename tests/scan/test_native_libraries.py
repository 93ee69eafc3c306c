"""Compiled programs are kept, shared and repaired; if something fails, NumPy runs the cell, and one message says why."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.cli import main
from tinygrad_rnn.scan.native import compiler, executable, libraries
from tinygrad_rnn.testing.c_check import has_compiler

pytestmark = pytest.mark.skipif(not has_compiler(), reason="there is no C compiler")

XS = np.random.default_rng(0).normal(size=(6, 2, 3)).astype("float32")


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    """An empty folder, and a process that has compiled nothing and given no message."""
    place = tmp_path / "cache"
    monkeypatch.setenv("TINYGRAD_RNN_CACHE", str(place))
    monkeypatch.setattr(libraries, "LEVEL", "-O0")
    monkeypatch.setattr(libraries, "_loaded", {})
    monkeypatch.setattr(libraries, "_told", {"slow"})
    monkeypatch.setattr(libraries, "PRODUCT_LEVEL", "-O0")
    return place


def outputs(backend="native", cell=None):
    tr.seed(0)
    return nn.Recurrent(cell or nn.GRUCell(3, 4), backend=backend)(XS)[0].data


def told(call):
    """The result of a call, and its warnings."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        result = call()
    return result, [str(warning.message) for warning in found]


def programs(place):
    return sorted(path for path in place.glob("program_*.so"))


def test_a_program_is_compiled_once_and_found_again(fresh, monkeypatch):
    first = outputs()
    np.testing.assert_allclose(first, outputs("numpy"), rtol=1e-5)
    (path,) = programs(fresh)
    written = path.stat().st_mtime_ns
    monkeypatch.setattr(libraries, "_loaded", {})
    monkeypatch.setattr(compiler, "_call", None)  # a call of the compiler would be an error
    assert np.array_equal(outputs(), first)
    assert path.stat().st_mtime_ns == written
    assert {file.name.rpartition(".")[2] for file in fresh.iterdir()} == {"so", "o", "sum"}


def test_programs_of_other_batch_sizes_are_one(fresh):
    layer = nn.Recurrent(nn.GRUCell(3, 4), backend="native")
    for batch in (2, 5, 7):
        layer(np.zeros((6, batch, 3), "float32"))
    assert len(programs(fresh)) == 1


@pytest.mark.parametrize("damage", [b"", b"no library", "half", "one byte"])
def test_a_damaged_file_is_made_again(damage, fresh, monkeypatch):
    first = outputs()
    (path,) = programs(fresh)
    whole = path.read_bytes()
    changed = bytes([*whole[:400], whole[400] ^ 1, *whole[401:]])
    path.unlink()  # the loaded file is not changed
    path.write_bytes({"half": whole[: len(whole) // 2], "one byte": changed}.get(damage, damage))
    monkeypatch.setattr(libraries, "_loaded", {})
    found, words = told(outputs)
    assert np.array_equal(found, first) and not words
    assert programs(fresh)[0].read_bytes() == whole


@pytest.mark.parametrize("part", ["version", "command", "processor", "flags", "source"])
def test_the_key_holds_all_that_a_program_depends_on(part, fresh, monkeypatch):
    outputs()
    found = compiler.find_compiler()
    monkeypatch.setattr(libraries, "_loaded", {})
    if part in ("version", "command"):
        other = found._replace(**{part: "another" if part == "version" else ("/usr/bin/env", *found.command)})
        monkeypatch.setattr(libraries, "find_compiler", lambda: other)
    elif part == "processor":
        monkeypatch.setattr(libraries, "processor", lambda: "another")
    elif part == "flags":
        monkeypatch.setattr(libraries, "LEVEL", "-O1")
    outputs(cell=nn.RNNCell(3, 4) if part == "source" else None)
    assert len(programs(fresh)) == 2


def test_threads_that_make_one_program_at_once_agree(fresh):
    found = []
    cell = nn.GRUCell(3, 4)
    threads = [threading.Thread(target=lambda: found.append(outputs(cell=cell))) for _ in range(4)]
    expected = outputs("numpy", cell)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for other in found:
        np.testing.assert_allclose(other, expected, rtol=1e-5)


PROCESS = """
import numpy as np, tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.cli import main
from tinygrad_rnn.scan.native import libraries
libraries.LEVEL = libraries.PRODUCT_LEVEL = "-O0"
tr.seed(0)
with tr.use("native"):
    print(nn.Recurrent(nn.GRUCell(3, 4))(np.ones((6, 2, 3), "float32"))[0].data.tobytes().hex())
"""


def test_processes_that_make_one_program_at_once_agree(fresh):
    command = [sys.executable, "-W", "error", "-c", PROCESS]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    found = [process.communicate()[0] for process in started]
    assert all(process.returncode == 0 for process in started) and len(set(found)) == 1 and len(found[0]) > 100
    assert len(programs(fresh)) == 1
    assert not [path for path in fresh.iterdir() if path.is_dir()]


# -- the command ---------------------------------------------------------------------------


def test_the_command_tells_tries_shows_and_clears(fresh, capsys):
    outputs()
    assert main(["backend"]) == 0
    said = capsys.readouterr().out
    assert "backend    numpy" in said and "gives right numbers" in said and str(fresh) in said and "1 program, " in said
    (fresh / "of the user.txt").write_text("stays")
    assert main(["backend", "--clear"]) == 0
    assert "files removed" in capsys.readouterr().out and [path.name for path in fresh.iterdir()] == ["of the user.txt"]


def test_the_command_without_a_compiler(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda name: None)
    assert main(["backend"]) == 0
    assert "fails: there is no C compiler" in capsys.readouterr().out


# -- failures ------------------------------------------------------------------------------


def stand_in(folder: Path, script: str) -> str:
    """A PATH with another `cc`, and nothing else."""
    folder.mkdir()
    program = folder / "cc"
    program.write_text(f"#!/bin/sh\n{textwrap.dedent(script)}\n")
    program.chmod(0o755)
    return str(folder)


def falls_back(words):
    expected = outputs("numpy")
    found, said = told(lambda: [outputs(), outputs(cell=nn.RNNCell(3, 4)), outputs()])
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)
    assert len(said) == 1 and words in said[0] and said[0].startswith("native backend: ") and "NumPy" in said[0], said


def test_without_a_compiler_numpy_runs_the_cell(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda name: None)
    falls_back("there is no C compiler")
    assert np.array_equal(outputs(), outputs("numpy"))  # the very same program


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ('[ "$1" = --version ] || { echo "x.c:1: error: no luck"; exit 3; }', "cc ended with status 3: x.c:1: error: no luck"),
        ('[ "$1" = --version ] || sleep 30', "cc did not finish within 0.2 s"),
        ('[ "$1" = --version ] || exit 0', "cannot be used"),  # the compiler reports success, but has made no file
        ("exit 1", "cc ended with status 1"),
        ("kill -9 $$", "cc ended with status -9"),
    ],
    ids=["fails", "hangs", "lies", "has no version", "is killed"],
)
def test_a_compiler_that_fails(script, words, tmp_path, monkeypatch):
    monkeypatch.setattr(compiler, "TIMEOUT", 0.2)
    monkeypatch.setenv("PATH", stand_in(tmp_path / "bin", script) + os.pathsep + "/bin" + os.pathsep + "/usr/bin")
    falls_back(words)


def test_a_compiler_that_hangs_is_waited_for_once(tmp_path, monkeypatch):
    calls = tmp_path / "calls"
    script = f'[ "$1" = --version ] || {{ echo x >> {calls}; sleep 30; }}'
    monkeypatch.setattr(compiler, "TIMEOUT", 0.2)
    monkeypatch.setenv("PATH", stand_in(tmp_path / "bin", script) + os.pathsep + "/bin" + os.pathsep + "/usr/bin")
    falls_back("cc did not finish")
    assert calls.read_text() == "x\n"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="of POSIX")
def test_a_folder_that_cannot_be_used(fresh, monkeypatch):
    fresh.write_text("a file")
    falls_back("set the environment variable TINYGRAD_RNN_CACHE")


def test_a_full_folder(fresh, monkeypatch):
    def full(*given, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(libraries.tempfile, "mkdtemp", full)
    falls_back("No space left on device")


def test_a_library_that_cannot_be_loaded(monkeypatch):
    def refused(path):
        raise OSError(f"{path}: cannot open shared object")

    monkeypatch.setattr(libraries.ctypes, "CDLL", refused)
    falls_back("cannot open shared object")


def test_an_operation_without_c_is_named_once():
    @tr.primitive(gradient=(lambda g, y, x: g * 3 * x * x,), formula="{x}^3")
    def cubed_without_c(x, *, out=None):
        return np.power(x, 3, out=out)

    class Own(nn.Cell):
        input_size, state_shape = 3, (3,)

        def step(self, x, h):
            h = tr.tanh(cubed_without_c(h) + x)
            return h, h

    try:
        expected = nn.Recurrent(Own())(XS)[0].data
        (found, again), said = told(lambda: [nn.Recurrent(Own(), backend="native")(XS)[0].data for _ in range(2)])
        assert np.array_equal(found, expected) and np.array_equal(again, expected)
        assert len(said) == 1 and "cubed_without_c has no C" in said[0]
    finally:
        del tr.ops.registry["cubed_without_c"]


def test_an_operation_without_c_outside_the_cycles_is_called_from_c(monkeypatch):
    @tr.primitive(gradient=(lambda g, y, x: g * 3 * x * x,), formula="{x}^3")
    def cubed_by_numpy(x, *, out=None):
        if not np.isfinite(x).all():
            raise ValueError("no infinite cubes")
        return np.power(x, 3, out=out)

    class Own(nn.Cell):
        input_size, state_shape = 3, (3,)

        def __init__(self):
            super().__init__()
            self.W = nn.Parameter((3, 3), symbol="W")

        def step(self, x, h):
            h = tr.tanh(h @ cubed_by_numpy(self.W) + cubed_by_numpy(x))
            return cubed_by_numpy(h) + x, h

    def run(backend):
        x = tr.tensor(np.concatenate([XS] * 50), requires_grad=True)
        outputs, h = nn.Recurrent(own, backend=backend)(x)
        return [outputs.data, h.data, *[g.data for g in tr.grad((outputs * outputs).sum() + h.sum(), [x, own.W])]]

    own = Own()
    monkeypatch.setattr(executable, "CHUNK_ROWS", 64)
    try:
        for expected, found in zip(run("numpy"), run("native"), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        assert "has no C */" in nn.Recurrent(own, backend="native").plan(T=4).source
        with pytest.raises(Exception, match="no infinite cubes"):
            nn.Recurrent(own, backend="native")(np.full_like(XS, np.inf))
    finally:
        del tr.ops.registry["cubed_by_numpy"]


def test_a_dtype_without_c_is_named_once():
    class Half(nn.Cell):
        input_size, state_shape = 3, (3,)

        def step(self, x, h):
            h = tr.tanh(h.astype(np.float16) + x).astype(np.float32)
            return h, h

    expected = nn.Recurrent(Half())(XS)[0].data
    (found, _), said = told(lambda: [nn.Recurrent(Half(), backend="native")(XS)[0].data for _ in range(2)])
    assert np.array_equal(found, expected)
    assert said == ["native backend: C has no type for float16; NumPy runs the cell instead"]


def test_compiling_longer_than_a_second_says_so_once(monkeypatch, capsys):
    monkeypatch.setattr(libraries, "_told", set())
    times = iter(range(0, 1000, 3))
    monkeypatch.setattr(libraries.time, "monotonic", lambda: next(times))
    outputs(), outputs(cell=nn.RNNCell(3, 4))
    assert capsys.readouterr().err.startswith("tinygrad_rnn: compiling a cell took 3.0 s; the program is kept in ")
    assert not capsys.readouterr().err


def test_inputs_that_lie_in_memory_in_any_way_are_read_right():
    tr.seed(0)
    layer = nn.Recurrent(nn.GRUCell(3, 4), backend="native")
    expected = layer(XS)[0].data
    turned, wide = tr.tensor(XS[::-1].copy()), tr.tensor(np.stack([XS, XS + 1], -1))
    for xs in (turned[::-1], wide[..., 0], tr.tensor(XS.T.copy()).T):
        assert not xs.data.flags.c_contiguous
        assert np.array_equal(layer(xs)[0].data, expected)
