"""Checks of options that many layers and functions have."""

from __future__ import annotations

import numpy as np

__all__ = ["whole"]


def whole(name: str, value: int, least: int = 1) -> int:
    """The value of an option, if it is a whole number and at least this.

    Raises
    ------
    ValueError
        If it is not; with the option's name.

    Examples
    --------
    >>> whole("width", np.int32(4))
    4
    """
    if not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} is a whole number, {least} at least, not {value!r}")
    return int(value)
