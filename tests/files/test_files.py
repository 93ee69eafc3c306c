"""Files: written completely or not at all, and read without trust; only in a temporary folder, without devices."""

from __future__ import annotations

import io
import os
import re
import shlex
import socket
import stat
import subprocess
import threading
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import damaged, damages
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.demo import read_text
from tinygrad_rnn.errors import DataError, StateDictError, TinygradError
from tinygrad_rnn.files import check_writable, make_folder, write_arrays, write_bytes

posix = pytest.mark.skipif(os.name == "nt", reason="files of POSIX")


# All functions of the package that write a file, by their suffix.
WRITERS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "write_bytes": ("any", lambda path: write_bytes(path, b"content")),
    "Module.save": ("npz", lambda path: nn.Linear(2, 3).save(path)),
    "Module.save, safetensors": ("safetensors", lambda path: nn.Linear(2, 3).save(path)),
    "save": ("safetensors", lambda path: tr.save(nn.Linear(2, 3), path)),
    "Drawing.save": ("gv", lambda path: nn.RNNCell(2, 3).draw().save(path)),
}


def writers(test: Any) -> Any:
    cases = [pytest.param(suffix, write, id=name) for name, (suffix, write) in WRITERS.items()]
    return pytest.mark.parametrize(("suffix", "write"), cases)(test)


def only(folder: Path, *names: str) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


# -- writing -------------------------------------------------------------------------------


@writers
def test_a_new_file_and_its_replacement(suffix, write, tmp_path):
    path = tmp_path / f"a.{suffix}"
    write(path)
    written = path.read_bytes()
    path.write_bytes(b"older")
    write(str(path))
    assert path.read_bytes()[:4] == written[:4]
    only(tmp_path, path.name)


@posix
@writers
def test_symbolic_links_are_followed(suffix, write, tmp_path):
    real, middle, link = (tmp_path / f"{name}.{suffix}" for name in ("real", "middle", "link"))
    (tmp_path / "elsewhere").mkdir()
    real = tmp_path / "elsewhere" / real.name
    middle.symlink_to(Path("elsewhere") / real.name)  # relative to the link; the target does not exist yet
    link.symlink_to(middle)
    for _ in range(2):
        write(link)
        assert link.is_symlink() and middle.is_symlink()
        assert real.is_file() and not real.is_symlink() and real.stat().st_size
    only(tmp_path, "elsewhere", middle.name, link.name)
    only(tmp_path / "elsewhere", real.name)


@posix
@writers
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755, 0o606])
def test_permissions_are_kept(suffix, write, mode, tmp_path):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"older")
    path.chmod(mode)
    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_bytes() != b"older"


@posix
@writers
def test_a_new_file_gets_what_the_umask_leaves(suffix, write, tmp_path):
    for mask in (0o022, 0o077, 0o002):
        before = os.umask(mask)
        try:
            write(tmp_path / f"{mask}.{suffix}")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / f"{mask}.{suffix}").stat().st_mode) == 0o666 & ~mask


def _folder(path: Path) -> None:
    path.mkdir()


def _link_to_folder(path: Path) -> None:
    path.with_name("folder").mkdir()
    path.symlink_to("folder")


def _link_to_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def _socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # the length of a socket's path is limited
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(before)


def _circle(path: Path) -> None:
    path.symlink_to("other")
    path.with_name("other").symlink_to(path.name)


def _link_to_no_folder(path: Path) -> None:
    path.symlink_to("no/such/folder")


@posix
@writers
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_folder, "it is a folder"),
        (_link_to_folder, "it is a folder"),
        (os.mkfifo, "it is a pipe"),
        (_link_to_pipe, "it is a pipe"),
        (_socket, "it is a socket"),
        (_circle, "circle"),
        (_link_to_no_folder, "no such folder"),
    ],
)
def test_what_is_no_file_is_refused_and_stays(suffix, write, make, words, tmp_path):
    path = tmp_path / f"a.{suffix}"
    make(path)
    before = {p.name: (p.lstat().st_ino, p.lstat().st_mode) for p in tmp_path.iterdir()}
    with pytest.raises(DataError, match=rf"(?s)cannot write .*a\.{suffix}.*{words}") as caught:
        write(path)
    assert "\n" not in str(caught.value)
    assert {p.name: (p.lstat().st_ino, p.lstat().st_mode) for p in tmp_path.iterdir()} == before


@writers
@pytest.mark.parametrize(
    "name", ["", ".", "..", "x" * 256, "x" * 70_000, "a\0b", "no/folder/a", "file/a", "\ud800", "a\nb/c", "/"]
)
def test_names_that_cannot_be_written_to(suffix, write, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    if name and name[-1] not in "./":
        name = f"{name}.{suffix}"
    with pytest.raises(DataError) as caught:
        write(name)
    assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)
    only(tmp_path, "file")


@pytest.mark.parametrize("length", [200, 246, 250, 251])
def test_a_name_may_be_as_long_as_the_system_lets_it(length, tmp_path):
    path = tmp_path / ("x" * length + ".npz")
    nn.Linear(1, 1).save(path)
    only(tmp_path, path.name)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("of the content")])
def test_a_writer_that_fails_leaves_the_older_file_and_nothing_else(error, tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    nn.Linear(1, 1).save(path)
    before = path.read_bytes()

    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(np.lib.format, "write_array", fails)
    with pytest.raises(DataError if isinstance(error, OSError) else type(error)):
        nn.Linear(1, 1).save(path)
    assert path.read_bytes() == before
    only(tmp_path, "a.npz")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs what this user may not write to")
@writers
def test_what_may_not_be_written_to(suffix, write, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(DataError, match="Permission denied"):
        write(tmp_path / "closed" / f"a.{suffix}")
    (tmp_path / f"b.{suffix}").write_bytes(b"kept")
    (tmp_path / f"b.{suffix}").chmod(0o400)
    with pytest.raises(DataError, match="Permission denied"):
        write(tmp_path / f"b.{suffix}")
    assert (tmp_path / f"b.{suffix}").read_bytes() == b"kept"


def test_writers_at_the_same_time_leave_one_whole_file(tmp_path):
    path = tmp_path / "a.npz"
    models = [nn.Linear(50, 50) for _ in range(4)]

    def saves(model: nn.Linear) -> None:
        for _ in range(20):
            model.save(path)

    threads = [threading.Thread(target=saves, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = nn.Linear(50, 50)
    found.load(path)
    assert any((found.weight.data == model.weight.data).all() for model in models)
    only(tmp_path, "a.npz")


def test_a_folder_that_is_no_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for name in ("file", "file/below", "x" * 300, "a\0b"):
        with pytest.raises(DataError, match=r"cannot write to .*folder"):
            make_folder(tmp_path / name)
    only(tmp_path, "file")
    assert make_folder(tmp_path / "new" / "er").is_dir()
    only(tmp_path / "new" / "er")


def test_every_writer_of_the_package_is_the_one_in_files():
    """Only `files` opens, renames or writes files; except that programs are made in a separate folder, and moved."""
    import tinygrad_rnn

    folder = Path(tinygrad_rnn.__file__).parent
    writes = re.compile(
        r"(?<![\w.])open\(|\.write_(?:text|bytes)\(|\bnp\.save\w*\(|\bos\.(?:rename|replace)\(|\.(?:to_?file|rename)\(|\bnp\.load\b"
    )
    found = {
        f"{path.relative_to(folder)}: {line.strip()}"
        for path in folder.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if writes.search(line) and path.parent.name not in ("files", "native")
    }
    assert not found


# -- reading text --------------------------------------------------------------------------

GERMAN = "Schöne Grüße aus Köln,\nund noch eine Zeile für später.\n" * 20


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_text_is_read_as_it_was_meant(encoding, newline, tmp_path):
    (tmp_path / "a.txt").write_bytes(GERMAN.replace("\n", newline).encode(encoding))
    assert read_text(tmp_path / "a.txt") == GERMAN


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252"])
@pytest.mark.parametrize("name", ["a.txt", "a b's.txt"])
def test_text_in_another_encoding_is_told_with_a_command_that_converts_it(encoding, name, tmp_path):
    path = tmp_path / name
    text = GERMAN + "“quoted” – 5 €\n" * (encoding != "latin-1")
    path.write_bytes(text.encode(encoding))
    with pytest.raises(DataError, match="is not UTF-8") as caught:
        read_text(path)
    command = str(caught.value).partition("or: ")[2]
    assert command.startswith("iconv -f ")
    *call, arrow, new = shlex.split(command)
    assert arrow == ">"
    try:
        done = subprocess.run(call, capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("there is no iconv here")
    Path(new).write_bytes(done.stdout)
    assert read_text(new) == text


@pytest.mark.parametrize(
    "content", [b"\x7fELF\x02\x01\0\0" + bytes(range(256)) * 4, b"PK\x03\x04" + os.urandom(200) + b"\0\1\xff"]
)
def test_what_is_no_text(content, tmp_path):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(DataError, match="is not a text file"):
        read_text(tmp_path / "a")


@given(st.binary(max_size=60))
def test_any_bytes_are_text_or_told(folder, content):
    (folder / "bytes.txt").write_bytes(content)
    try:
        assert isinstance(read_text(folder / "bytes.txt"), str)
    except DataError as error:
        assert "\n" not in str(error)


def test_a_long_text_is_not_read_whole(tmp_path):
    from tinygrad_rnn.files import read_text as read

    for text in ("ab" * 500, "ä€𝄞" * 400):
        (tmp_path / "a.txt").write_text(text, encoding="utf-8")
        for most in (1, 7, 10, 299, 300, 301, 5000):
            assert read(tmp_path / "a.txt", most) == text[:most]


# -- reading arrays ------------------------------------------------------------------------


def model() -> nn.Linear:
    """A file so small that damage to every byte can be tested."""
    made = nn.Linear(3, 2)
    made.load_state_dict({"weight": np.arange(6.0).reshape(2, 3), "bias": [7.0, 8.0]})
    return made


def refused(content: bytes, path: Path, kinds: Any = TinygradError) -> str:
    """The error for a file with this content; the error leaves the module unchanged."""
    path.write_bytes(content)
    loads = model()
    before = loads.state_dict()
    with pytest.raises(kinds) as caught:
        loads.load(path)
    for name, array in loads.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert len(str(caught.value)) < 4000
    return str(caught.value)


def npy(array: Any, version: tuple[int, int] = (1, 0)) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asanyarray(array), version, allow_pickle=True)
    return stream.getvalue()


def headed(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    width = 2 if version == b"\x01\x00" else 4
    text = header.encode("latin-1")
    return b"\x93NUMPY" + version + len(text).to_bytes(width, "little") + text + data


def npz(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


BIAS = npy(np.array([7.0, 8.0], "f4"))
WEIGHT = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8", "<f2", "=f4", "longdouble", "<i4", ">i2", "u1", "int64"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_what_fits_is_read(dtype, order, version, tmp_path):
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        weight = npy(np.asarray(WEIGHT.astype(dtype), order=order), version)
        (tmp_path / "a.npz").write_bytes(npz({"weight.npy": weight, "bias.npy": BIAS}, method))
        loaded = nn.Linear(3, 2).load(tmp_path / "a.npz")
        np.testing.assert_array_equal(loaded.weight.data, WEIGHT)
        assert loaded.weight.dtype == np.float32


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
        "{'shape':(2,3),'fortran_order':False,'descr':'<f4'}",
        '{"descr": "<f4", "fortran_order": False, "shape": (2, 3)}   \n',
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }",
    ],
)
def test_headers_of_other_writers(header, tmp_path):
    member = headed(header, WEIGHT.astype("<f4").tobytes())
    (tmp_path / "a.npz").write_bytes(npz({"weight.npy": member, "bias.npy": BIAS}))
    np.testing.assert_array_equal(nn.Linear(3, 2).load(tmp_path / "a.npz").weight.data, WEIGHT)


FLOATS = WEIGHT.astype("<f4").tobytes()
HUGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (2000000000000,), }"


@pytest.mark.parametrize(
    "member",
    [
        b"",
        b"\x93NUM",
        npy(WEIGHT)[:20],
        npy(WEIGHT)[:-1],
        npy(WEIGHT) + b"x",
        npy(np.array([{"a": 1}], dtype=object)),
        npy(np.zeros(6, "f4,i4")),
        npy(np.array(["text"] * 6)),
        npy(WEIGHT + 1j),
        npy(WEIGHT.astype("M8[s]")),
        headed(HUGE),
        headed(HUGE.replace("2000000000000", "9" * 4000)),
        headed(HUGE.replace("2000000000000", "-6")),
        headed(HUGE.replace("2000000000000,", "2, 3"), FLOATS, b"\x04\x00"),
        headed("(" * 9000),
        headed("[" * 60_000),
        headed("{'descr': '<f4', 'fortran_order': False, 'shape': " + "-" * 9000 + "1}"),
        headed("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)", FLOATS),
        headed("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'shape': (2, 3) }}", FLOATS),
        headed("{'descr': '<f4', 'fortran_order': False}", FLOATS),
        headed("{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3)}", FLOATS),
        headed("{'descr': '<z4', 'fortran_order': False, 'shape': (2, 3)}", FLOATS),
        headed("{'descr': '<f3', 'fortran_order': False, 'shape': (2, 3)}", FLOATS),
        headed("{'descr': '|O', 'fortran_order': False, 'shape': (2, 3)}", FLOATS),
        headed("{'descr': '<U999999999', 'fortran_order': False, 'shape': (2, 3)}", FLOATS),
        headed("__import__('os').abort()"),
        headed("'" * 3 + "\\", FLOATS),
        headed("\x00\xff\xfe" * 9),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b"x" * 50,
    ],
    ids=lambda member: member[:30].decode("latin-1"),
)
def test_arrays_that_are_none_are_told(member, tmp_path):
    tracemalloc.start()
    said = refused(npz({"weight.npy": member, "bias.npy": BIAS}), tmp_path / "a.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
    assert "weight" in said or "an array in it" in said


def _flagged(flag: int, member: str = "weight.npy") -> bytes:
    """A good file, with a flag of one member set in the directory and in the member's header."""
    content = bytearray(good())
    name = member.encode()
    local, directory = content.index(name) - 30, content.rindex(name) - 46
    assert content[local:][:4] == b"PK\x03\x04" and content[directory:][:4] == b"PK\x01\x02"
    for at in (local + 6, directory + 8):
        content[at : at + 2] = (int.from_bytes(content[at : at + 2], "little") | flag).to_bytes(2, "little")
    return bytes(content)


def _packed(method: int) -> bytes:
    content = bytearray(good())
    local, directory = content.index(b"weight.npy") - 30, content.rindex(b"weight.npy") - 46
    content[local + 8 : local + 10] = content[directory + 10 : directory + 12] = method.to_bytes(2, "little")
    return bytes(content)


def good(method: int = zipfile.ZIP_STORED) -> bytes:
    return npz({"weight.npy": npy(WEIGHT.astype("f4")), "bias.npy": BIAS}, method)


@pytest.mark.parametrize("bit", range(16))
def test_flags_of_archives(bit, tmp_path):
    content = _flagged(1 << bit)
    try:
        (tmp_path / "a.npz").write_bytes(content)
        np.testing.assert_array_equal(nn.Linear(3, 2).load(tmp_path / "a.npz").weight.data, WEIGHT)
        assert bit not in (0, 5, 6)
    except DataError:
        refused(content, tmp_path / "a.npz", DataError)
    if bit == 0:
        assert "encrypted" in refused(content, tmp_path / "a.npz", DataError)


@pytest.mark.parametrize("method", [1, 6, 9, 12, 14, 93, 95, 99, 65535])
def test_ways_to_pack_that_numpy_does_not_use(method, tmp_path):
    assert "'weight.npy'" in refused(_packed(method), tmp_path / "a.npz", DataError)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_do_not_belong(tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in ("weight.npy", "bias.npy", "bias.npy"):
            archive.writestr(name, BIAS)
    assert "twice" in refused(stream.getvalue(), tmp_path / "a.npz", DataError)
    weight = npy(WEIGHT.astype("f4"))
    assert "'readme'" in refused(npz({"weight.npy": weight, "bias.npy": BIAS, "readme": b"!"}), tmp_path / "a.npz", DataError)
    many = {f"layer{i}\x1b[31m.npy": BIAS for i in range(3000)}
    said = refused(npz(many), tmp_path / "a.npz", StateDictError)
    assert "missing: weight, bias" in said and "and 2980 more" in said and "\x1b" not in said


def test_an_array_that_does_not_fit_is_refused_before_it_is_unpacked(tmp_path):
    zeros = np.zeros((4000, 4000), "f4")  # 64 MB, packed to 64 kB
    np.savez_compressed(tmp_path / "a.npz", weight=zeros, bias=np.zeros(2, "f4"))
    content = (tmp_path / "a.npz").read_bytes()
    del zeros
    tracemalloc.start()
    said = refused(content, tmp_path / "a.npz", StateDictError)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "weight is (2, 3) and the state has (4000, 4000)" in said
    assert peak < 2_000_000


def test_a_member_that_unpacks_to_more_than_it_claims(tmp_path):
    """The header and the directory fit; the packed data are 50 MB of zeros."""
    header = npy(WEIGHT.astype("f4"))[:128]
    content = bytearray(npz({"weight.npy": header + bytes(50_000_000), "bias.npy": BIAS}, zipfile.ZIP_DEFLATED))
    size = (152).to_bytes(4, "little")
    for at in (content.index(b"weight.npy") - 30 + 22, content.rindex(b"weight.npy") - 46 + 24):
        content[at : at + 4] = size
    tracemalloc.start()
    refused(bytes(content), tmp_path / "a.npz", DataError)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


@posix
@pytest.mark.parametrize("name", ["a\0b", "n" * 70_000, "\ud800"], ids=["NUL", "long", "half a character"])
def test_names_of_arrays_that_no_archive_keeps(name, tmp_path):
    module = nn.Module()
    module.parts = {name: nn.Linear(2, 3)}
    with pytest.raises(DataError, match="cannot write the parameters to"):
        module.save(tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a/b", "../a", "/a", "a.b", "é", "a:b", " ", "a.npy", "a\\b", "a\nb"])
def test_names_of_arrays_that_look_like_paths_come_back(name, tmp_path):
    module = nn.Module()
    module.parts = {name: nn.Linear(2, 3)}
    before = module.state_dict()
    module.save(tmp_path / "a.npz")
    for parameter in module.parameters():
        parameter.data = np.zeros(parameter.shape)
    module.load(tmp_path / "a.npz")
    np.testing.assert_equal(module.state_dict(), before)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


@posix
def test_reading_from_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # nothing ever writes to this pipe
    for name, words in (
        ("pipe", "it is a pipe"),
        (".", "it is a folder"),
        ("a\0b", "NUL"),
        ("x" * 999, "too long"),
        ("\ud800", "name"),
    ):
        with pytest.raises(DataError, match=words):
            nn.Linear(3, 2).load(tmp_path / name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@given(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]), st.lists(damages, min_size=1, max_size=4))
def test_damage_is_told_or_did_no_harm(folder, method, several):
    """A damaged file gives the right arrays, or one error of the library, and needs little memory."""
    content = good(method)
    for damage in several:
        content = damaged(content or b"x", *damage)
    path = folder / "a.npz"
    path.write_bytes(content)
    loads = model()
    loads.load_state_dict({"weight": np.full((2, 3), -1.0), "bias": [-1.0, -1.0]})
    tracemalloc.start()
    try:
        loads.load(path)
    except (DataError, StateDictError) as error:
        assert str(path) in str(error) or isinstance(error, StateDictError)
        right: Any = (np.full((2, 3), -1.0), [-1.0, -1.0])
    else:
        right = (WEIGHT, [7.0, 8.0])
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    np.testing.assert_array_equal(loads.weight.data, right[0])
    np.testing.assert_array_equal(loads.bias.data, right[1])
    assert peak < 3_000_000


def test_numbers_too_large_for_the_parameter(tmp_path):
    write_arrays(tmp_path / "a.npz", {"weight": np.full((2, 3), 1e300), "bias": np.zeros(2)})
    loads = model()
    with pytest.raises(StateDictError, match="weight has numbers beyond float32"):
        loads.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(loads.bias.data, [7.0, 8.0])
    write_arrays(tmp_path / "a.npz", {"weight": np.full((2, 3), np.inf), "bias": np.array([np.nan, -np.inf])})
    loads.load(tmp_path / "a.npz")
    assert np.isinf(loads.weight.data).all()


def test_a_ragged_list_is_no_state():
    linear = nn.Linear(2, 1)
    before = linear.state_dict()
    with pytest.raises(StateDictError, match="inhomogeneous"):
        linear.load_state_dict({"weight": [[1.0], [1.0, 2.0]], "bias": [0.0]})
    np.testing.assert_equal(linear.state_dict(), before)


# -- others --------------------------------------------------------------------------------


def test_checking_writes_nothing(tmp_path):
    check_writable(tmp_path / "a.npz")
    only(tmp_path)


def test_files_and_names(tmp_path):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.file = nn.Parameter([1.0])

    model = Named()
    model.save(tmp_path / "m.npz")
    model.file.data = [2.0]
    model.load(tmp_path / "m.npz")
    assert model.file.data == [1.0]
    content = bytearray((tmp_path / "m.npz").read_bytes())
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    np.save(tmp_path / "array.npy", np.ones(1))
    for name in ("cut.npz", "array.npy"):
        with pytest.raises(tr.errors.DataError, match=r"not an \.npz file"):
            model.load(tmp_path / name)
