"""Files: written whole or not at all, and read without trust in their content."""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import re
import secrets
import shlex
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from .errors import DataError, TinygradError

__all__ = ["Stored", "check_writable", "make_folder", "read_arrays", "read_text", "replacing", "write_arrays", "write_bytes"]

AnyPath = str | os.PathLike[str]

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
WORDS = {
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "its symbolic links lead round in a circle",
}
HEADER = 10_000
"""Bytes of the header of an ``.npy`` file that are read at the most, as in NumPy."""
LONGEST = 60_000
"""Bytes of an array's name at the most; the format ends at 65,535 with what stands beside it."""
DIRECTORY = 4 << 20
"""Bytes of the directory of an ``.npz`` file that are read at the most: some ten thousand arrays."""
PART = 1 << 20
"""Bytes of an array that are read at a time."""


# -- writing -------------------------------------------------------------------------------


def check_writable(path: AnyPath, what: str = "") -> None:
    """Check that a file can be written, before the work that makes its content.

    Parameters
    ----------
    path : str or path
    what : str
        What is to be written, for the error: ``"the drawing"``.

    Raises
    ------
    DataError
        If the path is no name of a file, or there is no folder to hold it, or a folder, a
        pipe, a device or a read-only file has that name.

    Examples
    --------
    >>> check_writable("no/such/folder/model.npz")
    Traceback (most recent call last):
        ...
    tinygrad_rnn.errors.DataError: cannot write to no/such/folder/model.npz: there is no such folder
    """
    with _told(_to_write(what), path):
        _target(path)


def make_folder(path: AnyPath, what: str = "the folder") -> Path:
    """Make a folder with its parents if needed, and check that it can be written to.

    Parameters
    ----------
    path : str or path
    what : str
        What it is called in the error.

    Raises
    ------
    DataError
        If it cannot be made, or takes no files.

    Examples
    --------
    >>> make_folder("setup.cfg")
    Traceback (most recent call last):
        ...
    tinygrad_rnn.errors.DataError: cannot write to the folder setup.cfg: File exists
    """
    folder = Path(path)
    with _told(f"write to {what}", path):
        folder.mkdir(parents=True, exist_ok=True)
        number, part = _part(folder, 0o600)
        os.close(number)
        part.unlink()
    return folder


@contextlib.contextmanager
def replacing(path: AnyPath, what: str = "") -> Iterator[IO[bytes]]:
    """Open a new file, which replaces the file of this name when the block ends without an error.

    Until then, and if the block fails, the older file stays as it was. A symbolic link is
    followed, the older file's permissions are kept, and no other file is left behind. Of
    several writers at once the last one to end wins.

    Parameters
    ----------
    path : str or path
    what : str
        What is written, for the error: ``"the drawing"``.

    Raises
    ------
    DataError
        If the file cannot be written; see :func:`check_writable`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(f"{folder}/numbers.txt") as file:
    ...         _ = file.write(b"1 2 3")
    ...     read_text(f"{folder}/numbers.txt")
    '1 2 3'
    """
    with _told(_to_write(what), path):
        target, before = _target(path)
        # a new file gets what the umask leaves; one that replaces another is private until it is that other
        number, part = _part(target.parent, 0o666 if before is None else 0o600)
        try:
            with io.FileIO(number, "wb") as raw, io.BufferedWriter(raw) as file:
                yield cast("IO[bytes]", file)
                file.flush()
                os.fsync(number)  # a full disk may tell no earlier
            if before is not None:
                _take_over(part, before)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


def write_bytes(path: AnyPath, content: bytes, what: str = "") -> Path:
    """Write a file, whole or not at all; see :func:`replacing`."""
    with replacing(path, what) as file:
        file.write(content)
    return Path(path)


def write_arrays(path: AnyPath, arrays: Mapping[str, npt.NDArray[Any]], what: str = "") -> None:
    """Write arrays to an ``.npz`` file, whole or not at all; see :func:`replacing`."""
    with replacing(path, what) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            if "\0" in name or len(name.encode()) > LONGEST:
                raise _Refused(f"{name!r:.80} is no name for an array in a file, for it holds NUL or is too long")
            with archive.open(f"{name}.npy", "w", force_zip64=array.nbytes > 1 << 30) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _target(path: AnyPath) -> tuple[Path, os.stat_result | None]:
    """The end of a path's symbolic links, and the status of the file there, if there is one."""
    target = Path(os.path.realpath(path))
    try:
        found = target.stat()
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise _Refused("there is no such folder") from None
        return target, None
    if not stat.S_ISREG(found.st_mode):
        raise _Refused(f"it is {_kind(found)}, not a file")
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return target, found


def _part(folder: Path, mode: int) -> tuple[int, Path]:
    """Make a new file in a folder, under a name that no other writer has."""
    part = folder / f".{secrets.token_hex(8)}.part"
    return os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode), part


def _take_over(part: Path, before: os.stat_result) -> None:
    """Give a file the owner and the permissions of the file that it replaces."""
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):  # only root may give a file away
            os.chown(part, before.st_uid, before.st_gid)
    part.chmod(stat.S_IMODE(before.st_mode))


def _kind(found: os.stat_result) -> str:
    return KINDS.get(stat.S_IFMT(found.st_mode), "something else")


@contextlib.contextmanager
def _told(what: str, path: AnyPath) -> Iterator[None]:
    """Within the block, errors of the system about a path become errors of this library."""
    try:
        name = os.fsencode(path)
        if not name:
            raise _Refused("the name is empty")
        if b"\0" in name:
            raise _Refused("a name cannot hold the character NUL")
        yield
    except OSError as error:
        why = WORDS.get(error.errno or 0) or error.strerror or str(error)
        raise DataError(f"cannot {what} {_shown(path)}: {why}") from None
    except UnicodeEncodeError:
        raise DataError(f"cannot {what} {_shown(path)}: a name cannot hold half a character") from None


class _Refused(OSError):
    """Raised for a path that this module refuses, though the system might not."""


def _to_write(what: str) -> str:
    return f"write {what} to" if what else "write to"


def _shown(path: AnyPath) -> str:
    """A path as a message shows it, in one line of limited length."""
    text = os.fsdecode(path)
    text = text if text.isprintable() and text.strip() else repr(text)
    return text if len(text) <= 300 else f"{text[:100]}…{text[-60:]}"


# -- reading text --------------------------------------------------------------------------


def read_text(path: AnyPath, most: int = 5_000_000) -> str:
    r"""Read a UTF-8 text file, with line ends as ``"\n"`` and without a byte order mark.

    Parameters
    ----------
    path : str or path
    most : int
        Characters after which a longer text is cut off; the rest is not read.

    Raises
    ------
    DataError
        If it cannot be read, or is not text, or is text in another encoding; the message
        then has a command that converts it.
    """
    with _told("read", path), Path(path).open("rb") as file:
        data = file.read(4 * most + 4)  # no character has more than four bytes
    try:
        text = data[: 4 * most].decode("utf-8")
    except UnicodeDecodeError as error:
        if len(data) <= 4 * most or error.start < 4 * most - 3:  # otherwise it is only the cut
            raise _not_text(path, data, error.start) from None
        text = data[: error.start].decode("utf-8")
    if "\0" in text:
        raise _not_text(path, data, data.index(0))
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")[:most]


def _not_text(path: AnyPath, data: bytes, position: int) -> DataError:
    encoding, said = _guessed(data)
    if encoding is None:
        return DataError(
            f"{_shown(path)} is not a text file: it is not valid UTF-8 at byte {position}; "
            "if it is text in another encoding, save it as UTF-8 in an editor"
        )
    old = Path(path)
    new = old.with_name(f"{old.stem}-utf8{old.suffix}")
    line = data.count(b"\n", 0, position) + 1
    where = "" if encoding.startswith("UTF-") else f" in line {line}"
    return DataError(
        f"{_shown(path)} is not UTF-8{where}: it looks like {said}; to convert it, save it as UTF-8 in an editor, or: "
        f"iconv -f {encoding} -t UTF-8 {shlex.quote(str(old))} > {shlex.quote(str(new))}"
    )


def _guessed(data: bytes) -> tuple[str | None, str]:
    """The likely encoding of a text that is not UTF-8, as iconv calls it and in words; None if it is no text."""
    for mark, encoding in (
        (b"\xff\xfe\0\0", "UTF-32"),
        (b"\0\0\xfe\xff", "UTF-32"),
        (b"\xff\xfe", "UTF-16"),
        (b"\xfe\xff", "UTF-16"),
    ):
        if data.startswith(mark):
            return encoding, encoding
    start = data[:4096]
    for first, encoding in ((1, "UTF-16LE"), (0, "UTF-16BE")):
        if 2 * start[first::2].count(0) > len(start[first::2]) and not start[1 - first :: 2].count(0):
            return encoding, f"{encoding[:6]} without a byte order mark"
    foreign = sum(byte > 127 for byte in start)
    if 3 * foreign > len(start) or any(byte < 32 and byte not in b"\t\n\v\f\r\x1b" for byte in data):
        return None, ""
    try:
        data.decode("cp1252")
    except UnicodeDecodeError:
        return "ISO-8859-1", "Latin-1"
    return "WINDOWS-1252", "Latin-1 (Windows-1252)"


# -- reading arrays ------------------------------------------------------------------------


class Stored(NamedTuple):
    """Shape and dtype of an array in a file, and a function that reads the array.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    read : callable
        Gives the array. Nothing of its size exists before.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], npt.NDArray[Any]]


@contextlib.contextmanager
def read_arrays(path: AnyPath) -> Iterator[dict[str, Stored]]:
    """Open an ``.npz`` file of arrays, whose shapes and dtypes are known before an array is read.

    So whoever knows what to expect can refuse the file first, and no file can take more
    memory than what was expected. Nothing in a file is executed.

    Parameters
    ----------
    path : str or path

    Raises
    ------
    DataError
        If it cannot be read, or is no such file, or is damaged.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_arrays(f"{folder}/a.npz", {"a": np.ones((2, 3))})
    ...     with read_arrays(f"{folder}/a.npz") as stored:
    ...         stored["a"].shape, stored["a"].read().sum()
    ((2, 3), np.float64(6.0))
    """
    with contextlib.ExitStack() as stack:
        with _told("read", path):
            if not stat.S_ISREG((found := Path(path).stat()).st_mode):
                raise _Refused(f"it is {_kind(found)}, not a file")
            file = stack.enter_context(_Cautious(io.FileIO(path)))
        with _undamaged(path):
            archive = stack.enter_context(zipfile.ZipFile(file))
            stored: dict[str, Stored] = {}
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if name in stored:
                    raise _Damage(f"{name!r:.80} is in it twice")
                stored[name] = _stored(path, archive, member)
        yield stored


class _Damage(ValueError):
    """Raised for a damaged file, with words for the damage."""


class _Cautious(io.BufferedReader):
    """A file that refuses to read large parts, since the size of a directory is only a claim of the file."""

    def read(self, size: int | None = -1) -> bytes:
        there = os.fstat(self.fileno()).st_size - self.tell()  # a reader makes room for all that is asked for
        size = there if size is None or size < 0 else min(size, there)
        if size > DIRECTORY:
            raise _Damage("its directory is too large")
        return super().read(max(0, size))


@contextlib.contextmanager
def _undamaged(path: AnyPath) -> Iterator[None]:
    """Within the block, any error of Python's readers becomes an error about a damaged file."""
    try:
        yield
    except TinygradError:
        raise
    except Exception as error:  # they raise a dozen kinds, of which few are documented
        why = str(error) if isinstance(error, (_Damage, zipfile.BadZipFile)) else f"{type(error).__name__}: {error}"
        raise DataError(f"{_shown(path)} is not an .npz file of arrays, or is damaged: {why:.200}") from None


def _stored(path: AnyPath, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Stored:
    name = member.filename
    if not name.endswith(".npy"):
        raise _Damage(f"{name!r:.80} in it is no array")
    if member.flag_bits & 0x41:
        raise _Damage(f"{name!r:.80} in it is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _Damage(f"{name!r:.80} in it is packed by a method that NumPy does not use")
    with archive.open(member) as file:
        shape, dtype, fortran, length = _header(file)
    size = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or size != member.file_size - length:
        what = "Python objects" if dtype.hasobject else f"{member.file_size - length} bytes for {size}"
        raise _Damage(f"{name!r:.80} in it has {what}")

    def read() -> npt.NDArray[Any]:
        with _undamaged(path), cast(io.BufferedIOBase, archive.open(member)) as file:
            file.read(length)
            array = np.empty(shape[::-1] if fortran else shape, dtype)
            content: Any = memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
            done = 0
            while done < size:
                got = file.readinto(content[done : done + PART])
                if not got:
                    raise _Damage(f"{name!r:.80} in it is cut off")
                done += got
            file.read(1)  # at its end the checksum is compared
            return array.T if fortran else array

    return Stored(shape, dtype, read)


_FIELD = re.compile(
    r"""\s*(['"])(?P<key>descr|fortran_order|shape)\1\s*:"""
    r"""\s*(?:(['"])(?P<descr>[<>|=]?[biufcSUVmMO]\d{0,9})\3|(?P<fortran_order>True|False)|\((?P<shape>[\d\s,L]*)\))\s*(?:,\s*|(?=\}))"""
)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    """Shape, dtype, Fortran order and length in bytes of an ``.npy`` header, parsed as text, not as Python."""
    start = file.read(8)
    width = {b"\x93NUMPY\x01\x00": 2, b"\x93NUMPY\x02\x00": 4, b"\x93NUMPY\x03\x00": 4}.get(start)
    if width is None:
        raise _Damage("an array in it does not begin as arrays do")
    length = int.from_bytes(file.read(width), "little")
    if length > HEADER:
        raise _Damage(f"an array in it has a header of {length} bytes")
    text = file.read(length).decode("utf-8", "replace").strip()
    fields: dict[str, str] = {}
    at = 1
    while text.startswith("{") and (found := _FIELD.match(text, at)) and found[found["key"]] is not None:
        fields[found["key"]] = found[found["key"]]
        at = found.end()
    if len(fields) != 3 or text[at:] != "}":
        raise _Damage(f"an array in it has the header {text[:100]!r}")
    shape = tuple(int(n.strip().removesuffix("L")) for n in fields["shape"].split(",") if n.strip())
    try:
        dtype = np.dtype(fields["descr"])
    except TypeError:
        raise _Damage(f"an array in it is of {fields['descr']!r}, which is no dtype") from None
    return shape, dtype, fields["fortran_order"] == "True", 8 + width + length
