"""Damaged and malicious files: each gives one error of the library, in bounded time and memory, and changes nothing."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import damaged, damages
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim, sequences
from tinygrad_rnn.errors import DataError, MissingExtraError, StateDictError
from tinygrad_rnn.storing.model_file import FILE_KEY, FORMAT
from tinygrad_rnn.storing.summary import summary


class File:
    """The parts of a file of a small model, with all kinds of additional data."""

    def __init__(self, path: Path) -> None:
        model = nn.Sequential(nn.Embedding(3, 2), nn.GRU(2, 2), nn.Linear(2, 3)).eval()
        model[2].bias.requires_grad_(False)
        model[2].unit = "mV"
        model.extra = nn.RNNCell(1, 2)
        optimizer = optim.Adam(model.parameters(), lr=0.5)
        schedule = optim.WarmupCosine(optimizer, 10)
        model(np.zeros((2, 1), int)).sum().backward()
        optimizer.step()
        training = {"optimizer": optimizer, "schedule": schedule, "update": 3, "rng": True}
        values = {"vocabulary": sequences.CharVocabulary("abc"), "mean": np.ones(2), "at": (1, [2.5, {"a": None}])}
        tr.save(model, path, training=training, **values)
        self.content = path.read_bytes()
        length = int.from_bytes(self.content[:8], "little")
        self.header = json.loads(self.content[8 : 8 + length])
        self.description = json.loads(self.header["__metadata__"][FILE_KEY])
        self.data = self.content[8 + length :]

    def with_text(self, text: str, **header: Any) -> bytes:
        """The file with another description, as text."""
        return sealed(json.dumps({**self.header, "__metadata__": {FILE_KEY: text}, **header}).encode(), self.data)

    def edited(self, edit: Callable[[Any], object]) -> bytes:
        """The file with an edited description."""
        description = copy.deepcopy(self.description)
        edit(description)
        return self.with_text(json.dumps(description))


def sealed(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "m.safetensors"


@pytest.fixture(scope="module")
def good(path: Path) -> File:
    return File(path)


@contextlib.contextmanager
def bounded(megabytes: float = 40.0) -> Iterator[None]:
    """Assert that the block does not use the library's random numbers, and stays within limits."""
    generator, state = tr.random.generator(), tr.random.generator().bit_generator.state
    tracemalloc.start()
    try:
        yield
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < megabytes * 1e6
    assert tr.random.generator() is generator and generator.bit_generator.state == state


NAMES = ("model", "training", "vocabulary", "mean", "at")


def refused(content: bytes, path: Path, words: str = ".", *names: str) -> str:
    path.write_bytes(content)
    with bounded(), pytest.raises((DataError, StateDictError), match=words) as caught:
        tr.load(path, *(names or NAMES))
    assert len(str(caught.value)) < 2000
    return str(caught.value)


# -- damage ----------------------------------------------------------------------------------


@given(st.lists(damages, min_size=1, max_size=4))
def test_damaged_bytes(good, path, several):
    content = good.content
    for damage in several:
        content = damaged(content or b"x", *damage)
    path.write_bytes(content)
    generator = tr.random.generator()
    try:
        with bounded():
            tr.load(path, "model", "vocabulary", "mean", "at")
    except (DataError, StateDictError) as error:
        assert "\n" not in str(error) or isinstance(error, StateDictError)
    assert tr.random.generator() is generator


@pytest.mark.parametrize("at", [0, 1, 7, 8, 9, 100, -1])
def test_truncated(good, path, at):
    refused(good.content[:at], path)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from(
        [0, -1, 1, 10**12, -(10**18), 10**150, 0.5, 1e308, "", "tanh", "nn.Linear", "nn.GRU", "0.weight", "forward"]
    )
    | st.sampled_from([{"#": 0}, {"#": 10**9}, {"#": -1}, {"at": []}, {"at": ["0", "weight"]}, {"at": ["_children"]}])
    | st.sampled_from([{"dtype": "|O"}, {"dtype": "<f8"}, {"type": "float"}, {"class": "nn.LSTM"}, {"function": "exp"}]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | inner.map(lambda value: {"tuple": [value] * 2})
        | inner.map(lambda value: {"dict": [["a", value]]})
    ),
    max_leaves=4,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """All places in nested lists and dictionaries."""
    for key, part in list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()):
        yield value, key
        yield from places(part)


@given(st.data())
def test_edited_descriptions(good, path, data):
    """Any part of the description is replaced or removed: the result is a model or an error, without harm."""
    description = copy.deepcopy(good.description)
    for _ in range(data.draw(st.integers(1, 3))):
        found = list(places(description))
        holder, key = found[data.draw(st.integers(0, len(found) - 1))]
        how = data.draw(st.sampled_from(["replace", "remove", "repeat"]))
        if how == "remove":
            del holder[key]
        elif how == "repeat" and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        else:
            holder[key] = copy.deepcopy(data.draw(values))
    path.write_bytes(good.with_text(json.dumps(description)))
    generator, names = tr.random.generator(), data.draw(st.sets(st.sampled_from(["vocabulary", "mean", "at"])))
    try:
        assert isinstance(np.ravel(np.array(tr.load(path, "model", *names), object))[0], nn.Module)
    except (DataError, StateDictError) as error:
        assert len(str(error)) < 2000
    with contextlib.suppress(DataError):
        assert all(line.isprintable() for line in summary(path).splitlines())
    assert tr.random.generator() is generator


# -- descriptions that request too much, or forbidden things ----------------------------------


def _model(kind: str, *args: Any, **kwargs: Any) -> Callable[[Any], object]:
    def edit(description: Any) -> None:
        objects = [{"module": f"nn.{kind}", "args": list(args), "kwargs": kwargs}]
        description["model"] = {"objects": objects, "value": {"#": 0}, "changes": []}

    return edit


BOMBS = {
    "huge layer": _model("Linear", 10**12, 10**12),
    "huge by overflow": _model("Linear", 2**40, 2**40),
    "large layer": _model("Linear", 60_000, 60_000),
    "huge embedding": _model("Embedding", 10**12, 3),
    "huge cell": _model("GRUCell", 3, 10**12),
    "negative": _model("GRUCell", 3, -4),
    "no number": _model("GRUCell", 3, "many"),
    "many layers": _model("LSTM", 1, 1, num_layers=10**9),
    "some many layers": _model("LSTM", 1, 1, num_layers=20_000),
    "sizes of layers": _model("RNN", 1, 1, num_layers={"tuple": [1] * 20_000}),
    "long delays": _model("TimeDelay", 1, 1, 10**9),
    "dilated delays": _model("TimeDelay", 1, 1, {"tuple": [0, 1]}, dilation=10**9),
    "twice dilated": _model("TimeDelay", 1, 1, {"tuple": [0, 60_000]}, dilation=60_000),
    "many delays": _model("NARX", 1, 1, 60_000, 60_000),
    "high order": _model("AR", 60_000),
    "hidden units": _model("NARX", 1, 1, hidden_size=10**12),
    "no such class": _model("Quantum", 1),
    "base class": _model("Module", 1),
    "a parameter": _model("Parameter", 1),
    "a named tuple": _model("LSTMState", 1, 2),
    "of itself": lambda d: d["model"]["objects"][0]["args"].append({"#": 0}),
    "a string for objects": lambda d: d["model"].update(objects="x" * 100),
    "other class": lambda d: d["model"]["changes"][0]["set"].append([[], "__class__", {"class": "nn.Linear"}]),
    "bookkeeping": lambda d: d["model"]["changes"][0]["set"].append([[], "_children", {"dict": []}]),
    "frozen": lambda d: d["frozen"].append("W"),
    "code": lambda d: d["model"]["objects"][0].update(module="os.system", args=["true"]),
    "generator": lambda d: d["values"]["objects"].insert(0, {"generator": "system", "state": 1}),
    "state of a generator": lambda d: d["values"]["objects"].insert(0, {"generator": "PCG64", "state": {"dict": [["a", 1]]}}),
    "dtype of objects": lambda d: d["values"]["named"].update(mean={"dtype": "|O"}),
    "array that is not there": lambda d: d["values"]["objects"].insert(0, {"array": "/none"}),
    "a vocabulary of numbers": lambda d: d["values"]["objects"].insert(
        0, {"object": "sequences.CharVocabulary", "state": {"dict": [["symbols", {"tuple": [1]}], ["specials", {"tuple": []}]]}}
    ),
    "an optimiser of nothing": lambda d: d["values"]["objects"].insert(0, {"object": "optim.Adam", "state": {"dict": []}}),
    "two of a key": lambda d: d["values"]["named"].update(mean={"dict": [["a", 1], ["a", 2]]}),
    "number of a word": lambda d: d["values"]["named"].update(mean={"float": "1e5"}),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs(good, path, bomb):
    said = refused(good.edited(BOMBS[bomb]), path)
    assert str(path) in said or "this state does not fit" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "damaged"),
        ("[" * 1_000_000, "nested too deeply|damaged"),
        ('{"format": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('{"format": 1, "format": 1}', "a key twice"),
        ('{"format": NaN}', "NaN, which is not JSON"),
        ('{"format": ' + "9" * 1_000_000 + "}", "a number of more than"),
        ('{"format": 1.0}', r"its format is 1\.0"),
        ('{"format": true}', "its format is True"),
        ('{"format": 0}', "its format is 0"),
        ("[]", "must be a JSON object"),
        ("{}", "its format is None"),
        ('{"format": 1}', "damaged"),
        ("\ud800", "damaged"),
    ],
    ids=lambda text: text[:20],
)
def test_descriptions_that_are_none(good, path, text, words):
    refused(good.with_text(text), path, words)


def test_deep_values(good, path):
    text = json.dumps(good.description).replace(
        '"mean": {', '"mean": ' + '{"tuple": [' * 900 + "1" + "]}" * 900 + ', "rest": {', 1
    )
    assert text.count("tuple") > 900
    path.write_bytes(good.with_text(text))
    with contextlib.suppress(DataError), bounded():
        tr.load(path, "mean")


HEADERS = {
    "no header": b"",
    "a longer header": (10**18).to_bytes(8, "little") + b"{}",
    "an endless header": b"\xff" * 8 + b"{}",
    "a large header": sealed(b'{"a":"' + b"x" * 9_000_000 + b'"}'),
    "many arrays": sealed(
        json.dumps({f"a{i}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(5_000)}).encode()
    ),
    "nested": sealed(b"[" * 100_000),
    "a huge shape": sealed(b'{"a":{"dtype":"F32","shape":[1099511627776,1099511627776],"data_offsets":[0,4]}}', b"1234"),
    "offsets outside": sealed(b'{"a":{"dtype":"F32","shape":[1000000],"data_offsets":[0,4000000]}}', b"1234"),
    "offsets backwards": sealed(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}', b"1234"),
    "negative shape": sealed(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', b"1234"),
    "twice": sealed(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}'
    ),
    "bfloat16": sealed(b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}', b"1234"),
    "no dtype": sealed(b'{"a":{"dtype":"OBJ","shape":[2],"data_offsets":[0,4]}}', b"1234"),
    "an archive": b"PK\x03\x04" + bytes(100),
}


@pytest.mark.parametrize("case", HEADERS)
def test_headers_that_are_none(path, case):
    said = refused(HEADERS[case], path)
    assert str(path) in said
    assert case != "a large header" or "bytes, 8388608 at most are read" in said
    assert case != "bfloat16" or "BF16, which NumPy does not have; convert it to F32 first" in said
    layer = nn.Linear(2, 1)
    before = layer.state_dict()
    with bounded(), pytest.raises((DataError, StateDictError)):
        layer.load(path)
    np.testing.assert_equal(layer.state_dict(), before)


def test_arrays_of_another_architecture(good, path):
    header = copy.deepcopy(good.header)
    name = next(name for name in header if name.endswith("weight_hh_l0"))
    header[name]["shape"] = header[name]["shape"][::-1]
    refused(sealed(json.dumps(header).encode(), good.data), path, "shape: 1.weight_hh_l0 is")
    header[f"{name}x"] = header.pop(name)
    refused(sealed(json.dumps(header).encode(), good.data), path, r"missing: 1\.weight_hh_l0")


def test_what_is_no_file(path):
    for name, words in ((path.parent, "it is a folder"), (path.parent / "none", "No such file"), ("a\0b", "NUL")):
        with pytest.raises(DataError, match=words):
            tr.load(name)


# -- versions --------------------------------------------------------------------------------


def test_a_newer_format_is_told(good, path):
    later = good.edited(lambda d: d.update(format=FORMAT + 1, library="9.0", model="of another kind"))
    refused(
        later,
        path,
        rf"version '9\.0' .* in format {FORMAT + 1}, but version .* reads only up to format {FORMAT}; install a newer version",
    )


def test_what_another_library_added_is_left_alone(good, path):
    path.write_bytes(
        good.with_text(json.dumps(good.description), __metadata__={FILE_KEY: json.dumps(good.description), "x": "y"})
    )
    assert isinstance(tr.load(path), nn.Sequential)


def test_a_file_of_the_first_format():
    """A file written by the first version that could write files; the file is never written again."""
    model, vocabulary, training = tr.load(Path(__file__).parent / "format-1.safetensors", "model", "vocabulary", "training")
    assert vocabulary.symbols == ("<end>", "e", "h", "l", "o") and training["update"] == 7
    assert training["optimizer"].parameters[0] is model[0].weight and training["optimizer"].lr == 0.125
    np.testing.assert_array_equal(model[0].weight.data, np.arange(10).reshape(5, 2))
    assert repr(model).startswith("Sequential(") and not model[1].training and not model[2].bias.requires_grad


# -- the system ------------------------------------------------------------------------------

FULL = """
import resource, signal, sys, numpy as np, tinygrad_rnn as tr
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
model = tr.nn.Linear(100, 100)
for write in (lambda: tr.save(model, sys.argv[1]), lambda: model.save(sys.argv[1]), lambda: model.save(sys.argv[2])):
    try:
        write()
    except tr.errors.DataError as error:
        print(error)
"""


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
def test_a_full_disk_leaves_the_older_file(tmp_path):
    """Limit files to 4 kB, as on a full disk."""
    older = tmp_path / "m.safetensors", tmp_path / "m.npz"
    tr.save(nn.Linear(2, 1), older[0])
    nn.Linear(2, 1).save(older[1])
    before = [path.read_bytes() for path in older]
    environment = {**os.environ, "PYTHONPATH": str(Path(tr.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", FULL, *older], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.count("cannot write the ") == 3 and done.stdout.count("File too large") == 3
    assert [path.read_bytes() for path in older] == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.npz", "m.safetensors"]


def test_without_the_library_one_error_names_the_extra(monkeypatch, path, tmp_path):
    tr.save(nn.Linear(2, 1), path)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    for call in (lambda: tr.save(nn.Linear(1, 1), path), lambda: tr.load(path), lambda: nn.Linear(2, 1).load(path)):
        with pytest.raises(MissingExtraError, match=r'safetensors: pip install safetensors, or .* "\.\[files\]"'):
            call()
    nn.Linear(2, 1).save(tmp_path / "m.npz")
    nn.Linear(2, 1).load(tmp_path / "m.npz")
