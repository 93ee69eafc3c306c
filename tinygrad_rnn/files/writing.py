"""Files written completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from .paths import AnyPath, Refused, kind_of, told

__all__ = ["check_folder", "check_writable", "make_folder", "replacing", "write_bytes"]


def check_writable(path: AnyPath, what: str = "") -> None:
    """Check that a file can be written, before the work that makes its content.

    Parameters
    ----------
    path : str or path
    what : str
        Words for the content, for the error: ``"the drawing"``.

    Raises
    ------
    DataError
        If the path is not a name for a file, if its folder does not exist, or if a folder, a
        pipe, a device or a read-only file has this name.

    Examples
    --------
    >>> check_writable("no/such/folder/model.npz")
    Traceback (most recent call last):
        ...
    tinygrad_rnn.errors.DataError: cannot write to no/such/folder/model.npz: there is no such folder
    """
    with told(_to_write(what), path):
        _target(path)


def check_folder(path: AnyPath, what: str = "the folder") -> None:
    """Check that a folder can be written to, or made, before the work that makes its content; nothing is left behind.

    Parameters
    ----------
    path : str or path
    what : str
        Words for the folder, for the error.

    Raises
    ------
    DataError
        If the folder cannot be made, or files cannot be written to it.

    Examples
    --------
    >>> check_folder("setup.cfg")
    Traceback (most recent call last):
        ...
    tinygrad_rnn.errors.DataError: cannot write to the folder setup.cfg: File exists
    """
    with told(f"write to {what}", path):
        missing = [folder for folder in (Path(path), *Path(path).parents) if not folder.exists()]
    try:
        make_folder(path, what)
    finally:
        for folder in missing:
            with contextlib.suppress(OSError):
                folder.rmdir()


def make_folder(path: AnyPath, what: str = "the folder") -> Path:
    """Make a folder with its parents if needed, and check that it can be written to.

    Parameters
    ----------
    path : str or path
    what : str
        Words for the folder, for the error.

    Raises
    ------
    DataError
        If the folder cannot be made, or files cannot be written to it.

    Examples
    --------
    >>> make_folder("setup.cfg")
    Traceback (most recent call last):
        ...
    tinygrad_rnn.errors.DataError: cannot write to the folder setup.cfg: File exists
    """
    folder = Path(path)
    with told(f"write to {what}", path):
        folder.mkdir(parents=True, exist_ok=True)
        number, part = _part(folder, 0o600)
        os.close(number)
        part.unlink()
    return folder


@contextlib.contextmanager
def replacing(path: AnyPath, what: str = "") -> Iterator[IO[bytes]]:
    """Open a new file that replaces an existing file when the block ends without an error.

    Until then, and if the block fails, the existing file stays as it was. A symbolic link is
    followed, the permissions of the existing file are kept, and no temporary file is left behind.
    If several writers write at once, the file of the last writer to end is kept.

    Parameters
    ----------
    path : str or path
    what : str
        Words for the content, for the error: ``"the drawing"``.

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
    ...     Path(f"{folder}/numbers.txt").read_bytes()
    b'1 2 3'
    """
    with told(_to_write(what), path):
        target, before = _target(path)
        # a new file has the permissions that the umask allows; a replacement is private until it gets those of the old file
        number, part = _part(target.parent, 0o666 if before is None else 0o600)
        try:
            with io.FileIO(number, "wb") as raw, io.BufferedWriter(raw) as file:
                yield cast("IO[bytes]", file)
                file.flush()
                os.fsync(number)  # a full disk may cause no error before this call
            if before is not None:
                _take_over(part, before)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


def write_bytes(path: AnyPath, content: bytes, what: str = "") -> Path:
    """Write a file, completely or not at all; see :func:`replacing`."""
    with replacing(path, what) as file:
        file.write(content)
    return Path(path)


def _target(path: AnyPath) -> tuple[Path, os.stat_result | None]:
    """The file at the end of a path's symbolic links, and its status if it exists."""
    target = Path(os.path.realpath(path))
    try:
        found = target.stat()
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise Refused("there is no such folder") from None
        return target, None
    if not stat.S_ISREG(found.st_mode):
        raise Refused(f"it is {kind_of(found)}, not a file")
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return target, found


def _part(folder: Path, mode: int) -> tuple[int, Path]:
    """Make a new file in a folder, under a name that no other writer uses."""
    part = folder / f".{secrets.token_hex(8)}.part"
    return os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode), part


def _take_over(part: Path, before: os.stat_result) -> None:
    """Copy the owner and the permissions of the replaced file to the new file."""
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):  # only root may change the owner of a file
            os.chown(part, before.st_uid, before.st_gid)
    part.chmod(stat.S_IMODE(before.st_mode))


def _to_write(what: str) -> str:
    return f"write {what} to" if what else "write to"
