"""Arrays in ``.npz`` files, read without trust in the sizes that the files declare."""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from .paths import AnyPath, Damage, Refused, check_regular, told, undamaged
from .writing import replacing

__all__ = ["Stored", "read_npz", "write_arrays"]

HEADER = 10_000
"""Most bytes that are read of the header of an ``.npy`` file, as in NumPy."""
LONGEST = 60_000
"""Most bytes of an array's name; the format allows 65,535 for the name and its additional fields."""
DIRECTORY = 4 << 20
"""Most bytes that are read of the directory of an ``.npz`` file: enough for some ten thousand arrays."""
KIND = "an .npz file of arrays"
PART = 1 << 20
"""Bytes of an array that are read at a time."""


def write_arrays(path: AnyPath, arrays: Mapping[str, npt.NDArray[Any]], what: str = "") -> None:
    """Write arrays to an ``.npz`` file, completely or not at all; see :func:`replacing`."""
    with replacing(path, what) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            if "\0" in name or len(name.encode()) > LONGEST:
                raise Refused(
                    f"an array in a file cannot have the name {name!r:.80}, which has the character NUL or is too long"
                )
            with archive.open(f"{name}.npy", "w", force_zip64=array.nbytes > 1 << 30) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


class Stored(NamedTuple):
    """Shape and dtype of an array in a file, and a function that reads the array.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    read : callable
        Returns the array. No memory is taken for the array before this call.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], npt.NDArray[Any]]


@contextlib.contextmanager
def read_npz(path: AnyPath) -> Iterator[dict[str, Stored]]:
    """Open an ``.npz`` file of arrays; shapes and dtypes are known before an array is read.

    So a caller that knows the expected shapes can refuse the file before an array is read, and no
    file can take more memory than expected. Nothing in a file is executed.

    Parameters
    ----------
    path : str or path

    Raises
    ------
    DataError
        If the file cannot be read, is not an ``.npz`` file, or is damaged.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_arrays(f"{folder}/a.npz", {"a": np.ones((2, 3))})
    ...     with read_npz(f"{folder}/a.npz") as stored:
    ...         stored["a"].shape, stored["a"].read().sum()
    ((2, 3), np.float64(6.0))
    """
    with contextlib.ExitStack() as stack:
        with told("read", path):
            check_regular(path)
            file = stack.enter_context(_Cautious(io.FileIO(path)))
        with undamaged(path, KIND):
            archive = stack.enter_context(zipfile.ZipFile(file))
            stored: dict[str, Stored] = {}
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if name in stored:
                    raise Damage(f"{name!r:.80} is in it twice")
                stored[name] = _stored(path, archive, member)
        yield stored


class _Cautious(io.BufferedReader):
    """A file that refuses very large reads, since the sizes in a file's directory cannot be trusted."""

    def read(self, size: int | None = -1) -> bytes:
        there = os.fstat(self.fileno()).st_size - self.tell()  # a reader allocates all that is asked for
        size = there if size is None or size < 0 else min(size, there)
        if size > DIRECTORY:
            raise Damage("its directory is too large")
        return super().read(max(0, size))


def _stored(path: AnyPath, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Stored:
    name = member.filename
    if not name.endswith(".npy"):
        raise Damage(f"{name!r:.80} in it is not an array")
    if member.flag_bits & 0x41:
        raise Damage(f"{name!r:.80} in it is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Damage(f"{name!r:.80} in it is compressed by a method that NumPy does not use")
    with archive.open(member) as file:
        shape, dtype, fortran, length = _header(file)
    size = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or size != member.file_size - length:
        what = "Python objects" if dtype.hasobject else f"{member.file_size - length} bytes for {size}"
        raise Damage(f"{name!r:.80} in it has {what}")

    def read() -> npt.NDArray[Any]:
        with undamaged(path, KIND), cast(io.BufferedIOBase, archive.open(member)) as file:
            file.read(length)
            array = np.empty(shape[::-1] if fortran else shape, dtype)
            content: Any = memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
            done = 0
            while done < size:
                got = file.readinto(content[done : done + PART])
                if not got:
                    raise Damage(f"{name!r:.80} in it is cut off")
                done += got
            file.read(1)  # reading to the end compares the checksum
            return array.T if fortran else array

    return Stored(shape, dtype, read)


_FIELD = re.compile(
    r"""\s*(['"])(?P<key>descr|fortran_order|shape)\1\s*:"""
    r"""\s*(?:(['"])(?P<descr>[<>|=]?[biufcSUVmMO]\d{0,9})\3|(?P<fortran_order>True|False)|\((?P<shape>[\d\s,L]*)\))\s*(?:,\s*|(?=\}))"""
)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    """Shape, dtype, Fortran order and byte length of an ``.npy`` header, parsed without evaluating Python."""
    start = file.read(8)
    width = {b"\x93NUMPY\x01\x00": 2, b"\x93NUMPY\x02\x00": 4, b"\x93NUMPY\x03\x00": 4}.get(start)
    if width is None:
        raise Damage("an array in it does not begin as .npy files do")
    length = int.from_bytes(file.read(width), "little")
    if length > HEADER:
        raise Damage(f"an array in it has a header of {length} bytes")
    text = file.read(length).decode("utf-8", "replace").strip()
    fields: dict[str, str] = {}
    at = 1
    while text.startswith("{") and (found := _FIELD.match(text, at)) and found[found["key"]] is not None:
        fields[found["key"]] = found[found["key"]]
        at = found.end()
    if len(fields) != 3 or text[at:] != "}":
        raise Damage(f"an array in it has the header {text[:100]!r}")
    shape = tuple(int(n.strip().removesuffix("L")) for n in fields["shape"].split(",") if n.strip())
    try:
        dtype = np.dtype(fields["descr"])
    except TypeError:
        raise Damage(f"an array in it has the unknown dtype {fields['descr']!r}") from None
    return shape, dtype, fields["fortran_order"] == "True", 8 + width + length
