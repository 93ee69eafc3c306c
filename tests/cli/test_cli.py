"""The command as a newcomer types it: its output, its files, and its exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim
from tinygrad_rnn.cli import main
from tinygrad_rnn.demo import CharModel
from tinygrad_rnn.errors import DataError
from tinygrad_rnn.lookup import find_cell
from tinygrad_rnn.sequences import CharVocabulary
from tinygrad_rnn.testing import GradientCheckError, KinkError, UndecidedError
from tinygrad_rnn.testing.cells import check_cell, make_cell

CELLS = '''
import numpy as np
import tinygrad_rnn as tr
from tinygrad_rnn import nn


class Good(nn.Cell):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.U = nn.Parameter((input_size, hidden_size), symbol="U")
        self.W = nn.Parameter((hidden_size, hidden_size), symbol="W")
        self.state_shape = (hidden_size,)

    def squash(self, a):
        return tr.tanh(a)

    def step(self, x, h):
        h = self.squash(x @ self.U + h @ self.W).named("h")
        return h, h


@tr.primitive(gradient=(lambda g, y, x: g * (1 - y),), formula=r"\\mathrm{{squash}} {x}")
def NAME(x, *, out=None):
    return np.tanh(x, out=out)


class Wrong(Good):
    """The gradient rule of its primitive forgot a square."""

    def squash(self, a):
        return NAME(a)


class Leaky(Good):
    """Right at the first step: what goes wrong is the gradient that is carried back in time."""

    def step(self, x, h):
        h = self.squash(x @ self.U + NAME(h) @ self.W).named("h")
        return h, h


class Misshaped(Good):
    def step(self, x, h):
        h = self.squash(x @ self.U + x @ self.W)
        return h, h


class Failing(Good):
    def step(self, x, h):
        return self.nothing, h


class Idle(Good):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.b = nn.Parameter((hidden_size,), symbol="b")


class Codes(nn.Cell):
    """Takes integers."""

    def __init__(self):
        super().__init__()
        self.look_up = nn.Embedding(4, 2)
        self.state_shape = (2,)

    def step(self, x, h):
        h = tr.tanh(self.look_up(x) + 0.5 * h)
        return h, h


class Alone(nn.Cell):
    """Takes no input, and starts from a state of its own."""

    def __init__(self):
        super().__init__()
        self.W = nn.Parameter(np.array([[0.5, 1.0], [-1.0, 0.3]]), symbol="W")
        self.h = nn.Parameter(np.array([0.5, -0.5]), symbol="start")

    def initial_state(self, batch_size, dtype=None):
        return tr.broadcast_to(self.h, (batch_size, 2))

    def step(self, x, h):
        h = tr.sin(h @ self.W)
        return h, h


class Kinked(Good):
    def squash(self, a):
        return tr.relu(a)


def factory():
    return Good(2, 3)


def no_cell():
    return 5


def needs(a, b, c):
    return Good(a, b)


instance = Good(2, 3)
layer = nn.RNN(2, 3)
number = 5
'''


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cells") / "my_cells_of_the_test.py"
    path.write_text(CELLS.replace("NAME", "squash_of_the_test"))
    return path


@pytest.fixture(autouse=True)
def _no_primitives_left_over() -> None:
    from tinygrad_rnn import ops

    ops.registry.pop("squash_of_the_test", None)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("The quick brown fox jumps over the lazy dog.\n" * 60)
    return path


def command(*arguments: object, cwd: Path | None = None, **options: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "tinygrad_rnn", *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, cwd=cwd, timeout=60, env=os.environ | options)


# -- help and complaints -------------------------------------------------------------------


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["--help"], ["tinygrad-rnn demo", "tinygrad-rnn check mycells.py:MyCell"]),
        (["demo", "--help"], ["held out", "bits per character", "Ctrl-C", "examples:"]),
        (["draw", "--help"], ["black squares", "--time", "examples:"]),
        (["check", "--help"], ["Exit status", "(input_size, hidden_size)"]),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 0
        said = " ".join(capsys.readouterr().out.split())
        for word in words:
            assert word in said


def test_nothing_asked_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: tinygrad-rnn" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("tinygrad-rnn 0.")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fly"], "invalid choice"),
        (["demo", "--batch", "many"], "invalid int value"),
        (["demo", "--batch", "0"], "batch must be at least 1, not 0"),
        (["demo", "--hidden", "-3"], "hidden must be at least 1, not -3"),
        (["demo", "--rate", "0"], "rate must be more than 0"),
        (["demo", "--backend", "gpu"], "invalid choice: 'gpu' (choose from"),
        (["demo", "--seconds", "nan"], "seconds must be more than 0"),
        (["demo", "--temperature", "-1"], "temperatures must be at least 0"),
        (["demo", "--text", "no/such/file"], "cannot read no/such/file"),
        (["demo", "--text", os.devnull], "is empty"),
        (["demo", "--text", sys.executable], "is not a text file"),
        (["demo", "--batch", "10000"], "the text is too short"),
        (["draw"], "required: CELL"),
        (["draw", "GRUU"], "RNNCell"),
        (["draw", "RNNCell", "--steps", "0"], "must be a whole number, at least 1"),
        (["draw", "RNNCell", "--time", "twice"], "invalid choice"),
        (["check", "no_such_module:Cell"], "there is no module 'no_such_module'"),
        (["check", "no/such/file.py:Cell"], "there is no file"),
        (["check", "tinygrad_rnn.nn:Linear"], "Linear"),
        (["check", "math:cos"], "cos"),
        (["check", "json:nothing"], "json has no cell 'nothing'"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith("tinygrad-rnn: ") and said.err.count("\n") == 1
    assert words in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a folder that this user may not write to")
def test_an_output_folder_without_permission(text: Path, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    assert main(["demo", "--text", str(text), "--out", str(tmp_path / "closed")]) == 2


def test_no_traceback_reaches_a_shell(text: Path, tmp_path: Path) -> None:
    done = command("demo", "--text", text, "--out", text / "below-a-file")
    assert done.returncode == 2
    assert "cannot write to the output folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


# -- demo ----------------------------------------------------------------------------------

SMALL = ["--batch", "4", "--length", "8", "--hidden", "6", "--embedding", "4", "--sample", "10"]


def test_demo_from_a_shell(text: Path, tmp_path: Path) -> None:
    done = command("demo", "--text", text, "--out", "here", "--updates", 5, "--temperature", 0.5, 1, *SMALL, cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    for words in ("trigram", "this network", "temperature 0.5:", "temperature 1:", "here/report.html".replace("/", os.sep)):
        assert words in done.stdout
    assert "training 5/5" in done.stderr
    assert (tmp_path / "here" / "report.html").exists()


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals")
def test_a_terminal_gets_a_progress_bar(text: Path, tmp_path: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    call = [sys.executable, "-m", "tinygrad_rnn", "demo", "--text", str(text), "--updates", "20", "--out", "out", *SMALL]
    process = subprocess.Popen(call, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 1024):
            shown += part
    except OSError:  # the other end was closed
        pass
    os.close(ours)
    assert process.wait(timeout=60) == 0
    last = shown.decode().replace("\r", "\n").strip().splitlines()[-1]
    assert last.startswith("training: 100%") and "20/20" in last and "bits/char" in last


@pytest.mark.skipif(os.name == "nt", reason="signals of a shell")
def test_ctrl_c_stops_cleanly_and_keeps_what_was_learnt(text: Path, tmp_path: Path) -> None:
    call = [sys.executable, "-m", "tinygrad_rnn", "demo", "--text", str(text), "--updates", "1000000", "--out", "out", *SMALL]
    process = subprocess.Popen(call, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("model"):  # training is about to start
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "interrupted" in out and "held-out bits per character" in out
    assert "Stopping" in err and "Traceback" not in err
    assert "was interrupted after" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    model = tr.load(tmp_path / "out" / "model.safetensors", classes=[CharModel])
    assert model.sizes == {"embedding": 4, "hidden": 6}


@pytest.mark.skipif(os.name == "nt", reason="signals of a shell")
def test_a_second_ctrl_c_quits(text: Path, tmp_path: Path) -> None:
    call = [sys.executable, "-m", "tinygrad_rnn", "demo", "--text", str(text), "--out", "out", *SMALL]
    call += ["--updates", "1000000", "--sample", "100000000"]
    process = subprocess.Popen(call, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("model"):
            process.send_signal(signal.SIGINT)
        if "this network" in line:  # the command is now writing a very long sample
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert (tmp_path / "out" / "model.safetensors").exists()


# -- draw ----------------------------------------------------------------------------------


@pytest.mark.parametrize("time", ["folded", "unrolled", "step"])
def test_draw_writes_dot_for_a_cell_by_name_and_by_file(
    time: str, cells: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i, name in enumerate(("RNNCell", f"{cells}:Good", f"{cells}:factory")):
        out = tmp_path / f"{i}.gv"
        _no_primitive()
        assert main(["draw", name, "--time", time, "--steps", "3", "--out", str(out)]) == 0, capsys.readouterr().err
        assert "digraph" in out.read_text(encoding="utf-8")
    assert capsys.readouterr().out.splitlines()[-1] == str(out)


def test_draw_without_a_name_for_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["draw", "RNNCell"]) == 0
    assert "<svg" in (tmp_path / "RNNCell-folded.svg").read_text(encoding="utf-8")


# -- model files ---------------------------------------------------------------------------


def test_a_model_file_is_as_good_as_a_cell(cells: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "m.safetensors")
    tr.save(nn.Sequential(nn.Embedding(4, 3), nn.GRU(3, 5), nn.Linear(5, 4)), path, unit="mV")
    for command, word in (
        (["draw", path, "--out", str(tmp_path / "m.gv")], "m.gv"),
        (["equations", path], "\\begin{aligned}"),
        (["equations", path, "--backward"], "\\delta"),
        (["plan", path, "--steps", "7"], "T = 7, B = 1"),
        (["check", path, "--examples", "5"], "RIGHT"),
        (["show", path], "nn.Sequential(nn.Embedding(4, 3), nn.GRU(3, 5), nn.Linear(5, 4))"),
    ):
        assert main(command) == 0, capsys.readouterr().err
        assert word in capsys.readouterr().out
    assert "digraph" in (tmp_path / "m.gv").read_text(encoding="utf-8")


def test_the_same_commands_for_a_cell(cells: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _no_primitive()
    assert main(["equations", f"{cells}:Good"]) == main(["plan", "LSTMCell", "--steps", "9", "--batch", "2"]) == 0
    assert "LSTMCell, T = 9, B = 2" in capsys.readouterr().out


def test_a_model_of_own_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "own.py"
    source.write_text("from tinygrad_rnn import nn\nclass Own(nn.GRUCell):\n    pass\n")
    path = str(tmp_path / "m.safetensors")
    tr.save(nn.Recurrent(type("Own", (nn.GRUCell,), {})(3, 4)), path)
    assert main(["equations", path]) == 2
    assert "it needs the class 'Own'" in capsys.readouterr().err
    assert main(["equations", path, "--classes", str(source)]) == 0
    assert main(["show", path]) == 0
    assert "nn.Recurrent(Own(3, 4))" in capsys.readouterr().out


def test_show_tells_all_that_is_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = nn.Sequential(nn.Linear(2, 1), tr.tanh).eval()
    model[0].bias.requires_grad_(False)
    path = tmp_path / "m.safetensors"
    training = {"optimizer": optim.Adam(model.parameters()), "update": 3}
    tr.save(model, path, vocabulary=CharVocabulary("ab"), **{"esc\x1b[31m": 1}, training=training)
    assert main(["show", str(path)]) == 0
    said = capsys.readouterr().out
    for words in (
        "nn.Sequential(nn.Linear(2, 1), tanh)",
        "training = False",
        "0.bias    float32  (1,)  frozen",
        "\\x1b",
        "CharVocabulary",
    ):
        assert words in said
    assert "dict: optimizer, update" in said and "\x1b" not in said
    model.save(path)
    assert main(["show", str(path)]) == 0
    assert "arrays alone, without an architecture" in capsys.readouterr().out
    path.write_bytes(b"no file")
    assert main(["show", str(path)]) == 2
    assert "is not a .safetensors file, or is damaged" in capsys.readouterr().err


def test_a_check_is_of_one_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tr.save(nn.LSTM(2, 3, num_layers=2), tmp_path / "m.safetensors")
    assert main(["check", str(tmp_path / "m.safetensors")]) == 2
    assert "must have one cell to check, but has 2: l0.cell, l1.cell" in capsys.readouterr().err


# -- check ---------------------------------------------------------------------------------


def _no_primitive() -> None:
    from tinygrad_rnn import ops

    ops.registry.pop("squash_of_the_test", None)


def verdict(cells: Path, name: str, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    _no_primitive()
    status = main(["check", f"{cells}:{name}", "--examples", "10", *options])
    said = capsys.readouterr()
    return status, said.out + said.err


@pytest.mark.parametrize("name", ["Good", "factory", "instance", "Codes", "Alone", "Kinked"])
def test_right_gradients(name: str, cells: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = verdict(cells, name, capsys)
    assert (status, said[:5]) == (0, "RIGHT"), said
    assert "warning" not in said


def test_right_gradients_of_second_order(cells: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = verdict(cells, "Good", capsys, "--order", "2", "--examples", "8", "--input-size", "1")
    assert status == 0, said
    assert "to order 2" in said


def test_a_parameter_that_is_never_used_is_told(cells: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = verdict(cells, "Idle", capsys)
    assert status == 0
    assert "nothing ever depended on b" in said


def test_a_wrong_rule_is_found_named_and_shrunk(cells: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = verdict(cells, "Wrong", capsys)
    assert (status, said[:5]) == (1, "WRONG"), said
    assert "squash_of_the_test" in said and "is wrong by itself" in said
    assert "Wrong(1, 1)" in said and "U = [[" in said


def test_a_wrong_gradient_through_time_is_found(cells: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = verdict(cells, "Leaky", capsys)
    assert status == 1
    assert "squash_of_the_test" in said and "step t=" in said


def test_a_cell_that_cannot_be_run_says_why(cells: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = verdict(cells, "Misshaped", capsys)
    assert status == 1
    assert "cannot be run" in said and "matmul" in said and "step t=1" in said
    status, said = verdict(cells, "Failing", capsys)
    assert status == 1
    assert "cannot be run" in said and "nothing" in said


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_cell", "must make a cell, not of type int"),
        ("needs", "must take (input_size, hidden_size), or no arguments"),
        ("number", "has no cell"),
        ("Goood", "its cells are Alone, Codes"),
        ("layer", "must be a cell, which computes one time step, not of type RNN; its cells are Alone, Codes"),
    ],
)
def test_what_is_no_cell(name: str, words: str, cells: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = verdict(cells, name, capsys)
    assert status == 2
    assert words in said


def test_a_file_without_a_name_tells_its_cells(cells: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _no_primitive()
    assert main(["check", str(cells)]) == 2
    assert f"give the name of the cell, {cells}:Name; its cells are Alone, Codes" in capsys.readouterr().err
    assert main(["check", ":Cell"]) == 2
    assert "there is no cell ':Cell'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [(GradientCheckError, 1, "WRONG"), (KinkError, 3, "KINK"), (UndecidedError, 3, "UNDECIDED")],
)
def test_every_verdict_has_its_word_and_its_status(
    error: type[GradientCheckError],
    status: int,
    word: str,
    cells: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def judge(self: object, order: int) -> None:
        raise error("as the checker says it")

    monkeypatch.setattr("tinygrad_rnn.testing.cells.cell_check._Trial.check", judge)
    found, said = verdict(cells, "Good", capsys)
    assert (found, said.split()[0]) == (status, word)
    assert said.startswith(f"{word}  {cells}:Good: ")


def test_a_file_that_fails_when_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.py").write_text("x = 1\ny = x / 0\n")
    assert main(["check", f"{tmp_path / 'broken.py'}:Cell"]) == 2
    assert "cannot be imported: ZeroDivisionError: division by zero (broken.py:2)" in capsys.readouterr().err


def test_modules_of_the_present_folder_are_found(cells: Path) -> None:
    done = command("check", f"{cells.stem}:Good", "--examples", "3", cwd=cells.parent)
    assert done.returncode == 0, done.stderr
    assert not (cells.parent / ".hypothesis").exists()


def test_checking_leaves_random_numbers_and_parameters_alone() -> None:
    from tinygrad_rnn import nn, random

    before = random.generator()
    cell = nn.RNNCell(2, 3)
    arrays = cell.state_dict()
    check_cell(lambda: cell, examples=3)
    assert random.generator() is before
    for name, array in cell.state_dict().items():
        assert (array == arrays[name]).all()


def test_errors_are_of_the_library_s_kind_in_code_too() -> None:
    with pytest.raises(DataError):
        find_cell("nothing")
    with pytest.raises(DataError):
        make_cell(lambda: 3)  # type: ignore[arg-type,return-value]
    with pytest.raises(DataError):
        check_cell(lambda: 3, examples=1)  # type: ignore[arg-type,return-value]
    assert issubclass(GradientCheckError, AssertionError)


@pytest.mark.parametrize("name", ["LSTM", "lstm", "lstmcell"])
def test_a_cell_is_found_by_what_people_type(name, tmp_path):
    done = command("draw", name, "-o", "a.gv", cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "a.gv").read_text(encoding="utf-8").startswith("digraph LSTMCell")


MODELS = """
from tinygrad_rnn import nn


def make_model():
    return nn.Sequential(nn.RNN(2, 3), nn.Linear(3, 2))


not_a_model = 3
"""


def test_a_class_of_ones_own_may_be_called_as_the_demos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, file = tmp_path / "own.py", tmp_path / "own.safetensors"
    source.write_text("from tinygrad_rnn import nn\nclass CharModel(nn.Sequential):\n    pass\n")
    own = type("CharModel", (nn.Sequential,), {})
    tr.save(own(nn.RNN(2, 3), nn.Linear(3, 2)), file)
    assert main(["equations", str(file), "--classes", str(source)]) == 0, capsys.readouterr().err
    assert r"o_t &=" in capsys.readouterr().out


def test_explain_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, series, text, file = (tmp_path / name for name in ("models.py", "series.csv", "text.txt", "model.safetensors"))
    source.write_text(MODELS)
    series.write_text("a,b\n" + "\n".join(f"{k % 3},{k % 5}" for k in range(20)))
    text.write_text("to be or not to be")
    tr.save(CharModel(CharVocabulary("to be or not to be"), 3, 4), file)
    out = tmp_path / "page.html"
    for command, words in (
        ([f"{source}:make_model", "--csv", str(series)], "19 steps of a series"),
        ([str(file), "--text", str(text)], "17 symbols of a text"),  # the demo's class is known
    ):
        assert main(["explain", *command, "--out", str(out)]) == 0, capsys.readouterr().err
        assert words in capsys.readouterr().out
        assert words in out.read_text(encoding="utf-8")
    for command, words in (
        (["foo", "--csv", str(series)], "a model must be given as a file"),
        ([f"{source}:not_a_model", "--csv", str(series)], "not of type int"),
        ([f"{source}:make_model"], "one of the arguments --text --csv is required"),
        ([f"{source}:make_model", "--text", str(text)], "needs a vocabulary"),
        ([f"{source}:make_model", "--csv", str(text)], "has no row of numbers"),
    ):
        assert main(["explain", *command, "--out", str(out)]) == 2
        assert words in capsys.readouterr().err
