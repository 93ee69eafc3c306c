"""One thread for matrix products: on small matrices more of them only wait for each other."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["one_blas_thread"]

FOLDERS = ("../numpy.libs", ".dylibs")  # where NumPy's wheels keep their libraries
SPELLINGS = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")


@contextmanager
def one_blas_thread() -> Iterator[bool]:
    """Let the OpenBLAS that NumPy brought with it use one thread inside the block.

    A step of a small network multiplies matrices for some microseconds at a time. A second
    thread gains nothing then; and where another program has the second core, each product
    waits until that thread gets its turn, which was measured to cost a factor of 10 to 50.

    Yields
    ------
    bool
        Whether it could be done. Other BLAS libraries are left as they are.

    Examples
    --------
    >>> with one_blas_thread() as done:
    ...     isinstance(done, bool)
    True
    """
    library = _openblas()
    if library is None:
        yield False
        return
    get, put = library
    before = get()
    put(1)
    try:
        yield True
    finally:
        put(before)


def _openblas() -> tuple[Any, Any] | None:
    """The functions that tell and set its number of threads."""
    home = Path(np.__file__).parent
    for file in (file for folder in FOLDERS for file in sorted((home / folder).glob("*openblas*"))):
        try:
            library = ctypes.CDLL(str(file.resolve()))  # it is loaded already: this is a handle of the same one
        except OSError:
            continue
        for spelling in SPELLINGS:
            names = [spelling.format(name) for name in ("get_num_threads", "set_num_threads")]
            if all(hasattr(library, name) for name in names):
                get, put = (getattr(library, name) for name in names)
                return get, put
    return None
