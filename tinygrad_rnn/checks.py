"""Checks of options that many layers and functions share."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from typing import TypeGuard

import numpy as np

__all__ = ["check_int", "clean_name", "is_int", "no_such", "one_of"]


LISTED = 30  # names that an error lists at most


def clean_name(name: str) -> str:
    """A name for a value, parameter, module or scope, without control characters.

    Pictures, text forms and equations show names, and XML allows no control characters. So
    each control character is replaced by a visible symbol. A name that is only spaces counts as no name.

    Raises
    ------
    TypeError
        If the name is not a string.

    Examples
    --------
    >>> clean_name("forget gate"), clean_name("new\\nline"), clean_name(" ")
    ('forget gate', 'new␊line', '')
    """
    if not isinstance(name, str):
        raise TypeError(f'a name must be a string, such as "h", not {name!r}')
    if name.isprintable() and not name.isspace():
        return name
    clean = "".join(map(_clean, name))
    return "" if clean.isspace() else clean


def _clean(c: str) -> str:
    if ord(c) < 32:
        return chr(0x2400 + ord(c))
    hidden = unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or ord(c) & 0xFFFE == 0xFFFE
    return "\N{REPLACEMENT CHARACTER}" if hidden else c


def is_int(value: object, least: int = 1) -> TypeGuard[int]:
    """Whether a value is an integer, of Python or of NumPy, and not less than `least`.

    Examples
    --------
    >>> is_int(np.int64(2)), is_int(0), is_int(2.0)
    (True, False, False)
    """
    return isinstance(value, (int, np.integer)) and bool(value >= least)


def check_int(name: str, value: int, least: int = 1) -> int:
    """Return the value of an option as an int, or raise an error if the value is not an integer, or is less than `least`.

    Raises
    ------
    ValueError
        If the value is not such an integer; the message names the option.

    Examples
    --------
    >>> check_int("width", np.int32(4))
    4
    """
    if not is_int(value, least):
        raise ValueError(f"{name} must be a whole number, at least {least}, not {value!r}")
    return int(value)


def no_such(kind: str, name: object, known: Iterable[object]) -> str:
    """Text of an error about a name that does not exist; it lists the existing names, and proposes the closest one.

    Examples
    --------
    >>> no_such("column", "temp", ["time", "Temp", "u"])
    "there is no column 'temp'; there are 'time', 'Temp', 'u'; did you mean 'Temp'?"
    """
    names = list(known)
    shown = [*map(repr, names[:LISTED]), *([f"and {len(names) - LISTED} more"] if len(names) > LISTED else [])]
    are = "is" if len(names) == 1 else "are"
    return f"there is no {kind} {name!r}; there {are} {', '.join(shown) or 'none'}{_near(name, names)}"


def one_of(name: str, value: object, known: Iterable[object]) -> str:
    """Text of an error about an unknown value of an option; it lists the known values, and proposes the closest one.

    Examples
    --------
    >>> one_of("time", "fold", ["folded", "unrolled", "step"])
    "time must be 'folded', 'unrolled' or 'step', not 'fold'; did you mean 'folded'?"
    """
    names = list(known)
    *first, last = map(repr, names)
    return f"{name} must be {', '.join(first)}{' or ' * bool(first)}{last}, not {value!r}{_near(value, names)}"


def _near(name: object, known: Iterable[object]) -> str:
    lower = {str(other).lower(): other for other in known}
    found = difflib.get_close_matches(str(name).lower(), lower, n=1)
    return f"; did you mean {lower[found[0]]!r}?" if found else ""
