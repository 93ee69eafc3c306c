"""Arrays and texts in ``.safetensors`` files, read and written by the library safetensors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..extras import optional
from .npz import Stored, read_npz
from .paths import AnyPath, Damage, Refused, check_regular, told, undamaged
from .writing import replacing

__all__ = ["TensorFile", "read_arrays", "read_tensors", "write_tensors"]

KIND = "a .safetensors file"
NEEDED = "whole models and .safetensors files need"
HEADER = 8 << 20
"""Most bytes of the header, which has names, shapes and texts."""
DTYPES = {
    "BOOL": "?",
    **{f"{kind}{8 * size}": f"{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": f"f{size}" for size in (2, 4, 8)},
    "C64": "c8",
}
"""The dtypes that ``.safetensors`` files and NumPy have in common, by their names in files."""
WRITTEN = frozenset(map(np.dtype, DTYPES.values()))


class TensorFile(NamedTuple):
    """The contents of a ``.safetensors`` file.

    Attributes
    ----------
    texts : dict of str to str
        The file's metadata.
    arrays : dict of str to Stored
    """

    texts: dict[str, str]
    arrays: dict[str, Stored]


def write_tensors(
    path: AnyPath, arrays: Mapping[str, npt.NDArray[Any]], texts: Mapping[str, str] | None = None, what: str = ""
) -> None:
    """Write arrays and texts to a ``.safetensors`` file, completely or not at all; see :func:`replacing`.

    Raises
    ------
    DataError
        If the file cannot be written, or if the format does not allow the dtype or the name of an array.
    MissingExtraError
        If the library safetensors is not installed.
    """
    with told(f"write {what} to" if what else "write to", path):
        for name, array in arrays.items():
            if array.dtype not in WRITTEN:
                raise Refused(f"{name!r:.80} has dtype {array.dtype}, which {KIND} cannot hold; write an .npz file")
            if name == "__metadata__":
                raise Refused(f"an array in {KIND} cannot have the name {name!r}")
        little = {name: array.astype(array.dtype.newbyteorder("<"), order="C", copy=False) for name, array in arrays.items()}
        content = optional("safetensors.numpy", "files", NEEDED).save(little, dict(texts or {}) or None)
        if int.from_bytes(content[:8], "little") > HEADER:
            raise Refused(f"its names and texts take more than {HEADER >> 20} MB")
    with replacing(path, what) as file:
        file.write(content)


@contextlib.contextmanager
def read_tensors(path: AnyPath) -> Iterator[TensorFile]:
    """Open a ``.safetensors`` file; texts, shapes and dtypes are known before an array is read.

    Raises
    ------
    DataError
        If the file cannot be read, is not a ``.safetensors`` file, or is damaged.
    MissingExtraError
        If the library safetensors is not installed.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_tensors(f"{folder}/a.safetensors", {"a": np.ones((2, 3))}, {"unit": "mV"})
    ...     with read_tensors(f"{folder}/a.safetensors") as (texts, arrays):
    ...         texts["unit"], arrays["a"].shape, arrays["a"].read().sum()
    ('mV', (2, 3), np.float64(6.0))
    """
    with contextlib.ExitStack() as stack:
        with told("read", path):
            check_regular(path)
            with Path(path).open("rb") as raw:
                length = int.from_bytes(start := raw.read(8), "little")
            size = Path(path).stat().st_size
        with undamaged(path, KIND):
            if len(start) < 8 or length > size - 8:
                raise Damage(f"its header would be longer than its {size} bytes")
            if length > HEADER:
                raise Damage(f"its header has {length} bytes, {HEADER} at most are read")
        library = optional("safetensors", "files", NEEDED)
        with undamaged(path, KIND):
            file = stack.enter_context(library.safe_open(path, framework="numpy"))
            arrays = {name: _stored(path, file, name) for name in file.keys()}  # noqa: SIM118, it is not a mapping
            texts = dict(file.metadata() or {})
        yield TensorFile(texts, arrays)


@contextlib.contextmanager
def read_arrays(path: AnyPath) -> Iterator[dict[str, Stored]]:
    """Open an ``.npz`` or ``.safetensors`` file of arrays, whatever its suffix.

    Raises
    ------
    DataError
        If the file is of neither kind, or is damaged.
    MissingExtraError
        If the file is a ``.safetensors`` file, and the library safetensors is not installed.
    """
    with told("read", path):
        check_regular(path)
        with Path(path).open("rb") as file:
            start = file.read(9)
    if start[8:] == b"{":
        with read_tensors(path) as (_, arrays):
            yield arrays
    else:
        with read_npz(path) as arrays:
            yield arrays


def _stored(path: AnyPath, file: Any, name: str) -> Stored:
    part = file.get_slice(name)
    dtype = DTYPES.get(part.get_dtype())
    if dtype is None:
        raise Damage(f"{name!r:.80} in it is of {part.get_dtype()}, which NumPy does not have; convert it to F32 first")
    return Stored(tuple(part.get_shape()), np.dtype(dtype), partial(_read, path, file, name))


def _read(path: AnyPath, file: Any, name: str) -> npt.NDArray[Any]:
    with undamaged(path, KIND):
        return np.asarray(file.get_tensor(name))
