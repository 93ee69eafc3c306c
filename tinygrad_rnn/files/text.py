"""Text files in UTF-8, and advice for files in another encoding."""

from __future__ import annotations

import shlex
from pathlib import Path

from ..errors import DataError
from .paths import AnyPath, shown, told

__all__ = ["read_text"]


def read_text(path: AnyPath, most: int = 5_000_000) -> str:
    r"""Read a UTF-8 text file, with line ends as ``"\n"`` and without a byte order mark.

    Parameters
    ----------
    path : str or path
    most : int
        Largest number of characters that are read; the rest of a longer text is left out.

    Raises
    ------
    DataError
        If the file cannot be read, is not text, or is in another encoding; in the last case the
        message has a command that converts the file.
    """
    with told("read", path), Path(path).open("rb") as file:
        data = file.read(4 * most + 4)  # no character has more than four bytes
    try:
        text = data[: 4 * most].decode("utf-8")
    except UnicodeDecodeError as error:
        if len(data) <= 4 * most or error.start < 4 * most - 3:  # otherwise only the cut split a character
            raise _not_text(path, data, error.start) from None
        text = data[: error.start].decode("utf-8")
    if "\0" in text:
        raise _not_text(path, data, data.index(0))
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")[:most]


def _not_text(path: AnyPath, data: bytes, position: int) -> DataError:
    encoding, said = _guessed(data)
    if encoding is None:
        return DataError(
            f"{shown(path)} is not a text file: it is not valid UTF-8 at byte {position}; "
            "if it is text in another encoding, save it as UTF-8 in an editor"
        )
    old = Path(path)
    new = old.with_name(f"{old.stem}-utf8{old.suffix}")
    line = data.count(b"\n", 0, position) + 1
    where = "" if encoding.startswith("UTF-") else f" in line {line}"
    return DataError(
        f"{shown(path)} is not UTF-8{where}: it looks like {said}; to convert it, save it as UTF-8 in an editor, or: "
        f"iconv -f {encoding} -t UTF-8 {shlex.quote(str(old))} > {shlex.quote(str(new))}"
    )


def _guessed(data: bytes) -> tuple[str | None, str]:
    """The likely encoding of a text that is not UTF-8, as iconv's name and in words; None for binary data."""
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
