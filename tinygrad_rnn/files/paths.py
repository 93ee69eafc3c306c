"""Paths: the system's errors about a path, converted to errors of this library."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import DataError, TinygradError

__all__ = ["AnyPath", "Damage", "Refused", "check_regular", "kind_of", "shown", "told", "undamaged"]

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


class Refused(OSError):
    """A path is refused by the library, though the operating system might allow it."""


class Damage(ValueError):
    """A file is damaged; the message describes the damage."""


def kind_of(found: os.stat_result) -> str:
    """The kind of a path that is not a regular file, in words."""
    return KINDS.get(stat.S_IFMT(found.st_mode), "something else")


@contextlib.contextmanager
def told(what: str, path: AnyPath) -> Iterator[None]:
    """Convert the system's errors about a path, inside the block, to errors of this library."""
    try:
        name = os.fsencode(path)
        if not name:
            raise Refused("the name is empty")
        if b"\0" in name:
            raise Refused("a name cannot have the character NUL")
        yield
    except OSError as error:
        why = WORDS.get(error.errno or 0) or error.strerror or str(error)
        raise DataError(f"cannot {what} {shown(path)}: {why}") from None
    except UnicodeEncodeError:
        raise DataError(f"cannot {what} {shown(path)}: the name has a character that file names cannot have") from None


@contextlib.contextmanager
def undamaged(path: AnyPath, kind: str) -> Iterator[None]:
    """Convert any error of a reader, inside the block, to an error about a damaged file.

    Parameters
    ----------
    path : str or path
    kind : str
        What the file should be: ``"an .npz file of arrays"``.
    """
    try:
        yield
    except TinygradError:
        raise
    except Exception as error:  # readers raise a dozen kinds of errors, most of them undocumented
        why = str(error) if isinstance(error, (Damage, zipfile.BadZipFile)) else f"{type(error).__name__}: {error}"
        raise DataError(f"{shown(path)} is not {kind}, or is damaged: {why:.200}") from None


def check_regular(path: AnyPath) -> None:
    """Raise if a path is a folder, a pipe or a device, from which nothing is read."""
    if not stat.S_ISREG((found := Path(path).stat()).st_mode):
        raise Refused(f"it is {kind_of(found)}, not a file")


def shown(path: AnyPath) -> str:
    """A path as error messages show it, in one line of limited length."""
    text = os.fsdecode(path)
    text = text if text.isprintable() and text.strip() else repr(text)
    return text if len(text) <= 300 else f"{text[:100]}…{text[-60:]}"
