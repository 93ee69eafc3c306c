"""Properties of a text at each position, which a reader can see and to which units of a network may respond."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["PROPERTIES", "Property", "after_space", "inside_quotes", "measure", "passage", "position_in_line"]

Floats: TypeAlias = npt.NDArray[np.float64]

Property: TypeAlias = Callable[[Any, int], float]
"""A function of a text or series and a position; it returns a number, or whether a property holds."""

QUOTES = {'"': '"', "“": "”", "«": "»", "(": ")", "[": "]"}
VOWELS = "aeiouäöüàâáåéèêëíîïóôúûyаеёиоуыэюя"


def inside_quotes(text: str, position: int) -> bool:
    """Whether a character is between quotation marks; the end of the line closes open marks.

    Examples
    --------
    >>> text = 'I said "no".'
    >>> "".join(c for i, c in enumerate(text) if inside_quotes(text, i))
    'no'
    """
    return any(_inside(text, position, mark) for mark in '"“«')


def position_in_line(text: str, position: int) -> int:
    """Position of a character in its line, from 0.

    Examples
    --------
    >>> [position_in_line("to\\nbe", i) for i in range(5)]
    [0, 1, 2, 0, 1]
    """
    return position - text.rfind("\n", 0, position) - 1


def after_space(text: str, position: int) -> bool:
    """Whether a character follows a space or begins the text.

    Examples
    --------
    >>> [after_space("a b", i) for i in range(3)]
    [True, False, True]
    """
    return position == 0 or text[position - 1].isspace()


def _in_brackets(text: str, position: int) -> bool:
    return any(_inside(text, position, mark) for mark in "([")


def _begins_word(text: str, position: int) -> bool:
    return text[position].isalnum() and not (position and text[position - 1].isalnum())


def _ends_word(text: str, position: int) -> bool:
    return text[position].isalnum() and not text[position + 1 : position + 2].isalnum()


def _late_in_word(text: str, position: int) -> bool:
    letters = text[max(position - 4, 0) : position + 1]
    return len(letters) == 5 and letters.isalnum()


def _early_in_sentence(text: str, position: int) -> bool:
    return position < 11 or any(c in ".!?\n" for c in text[position - 11 : position + 1])


PROPERTIES: Mapping[str, Property] = MappingProxyType(
    {
        "a space": lambda text, i: text[i].isspace(),
        "a vowel": lambda text, i: text[i].lower() in VOWELS,
        "a capital": lambda text, i: text[i].isupper(),
        "a word begins": _begins_word,
        "a word ends here": _ends_word,
        "fifth letter of a word, or later": _late_in_word,
        "soon after a sentence's start": _early_in_sentence,
        "between quotation marks": inside_quotes,
        "in brackets": _in_brackets,
    }
)
"""Default properties of a text that are compared with units."""


def measure(text: Any, properties: Mapping[str, Property] = PROPERTIES) -> dict[str, Floats]:
    """Numbers of each property over a text, without constant properties.

    Examples
    --------
    >>> measure("I am")["a word begins"]
    array([1., 0., 1., 0.])
    """
    arrays = {name: np.array([holds(text, i) for i in range(len(text))], float) for name, holds in properties.items()}
    return {name: array for name, array in arrays.items() if array.size and array.std() > 0}


def passage(text: str, length: int) -> slice:
    """The passage of a text, from the start of a line or word, that shows the most properties.

    Parameters
    ----------
    text : str
        The whole text.
    length : int
        Length of the passage.

    Examples
    --------
    >>> text = "nothing at all, then (all) of it"
    >>> text[passage(text, 12)]
    'at all, then'
    """
    values = np.array(list(measure(text).values()))
    starts = [i + 1 for i, c in enumerate(text[: max(0, len(text) - length)]) if c.isspace()]
    if not starts or not values.size:
        return slice(0, length)
    # the score is the rarest property, so that the passage shows a little of every property
    shares = [values[:, start : start + length].mean(1) for start in starts]
    best = max(range(len(starts)), key=lambda i: float(np.sqrt(shares[i]).sum()))
    return slice(starts[best], starts[best] + length)


def _inside(text: str, position: int, opening: str) -> bool:
    """Whether a character is between a pair of marks in its line."""
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    line = text[start:] if end < 0 else text[start : end + 1]
    return _inside_of_line(line, opening)[position - start]


@functools.lru_cache(maxsize=16)
def _inside_of_line(line: str, opening: str) -> list[bool]:
    """Whether each character of one line is between a pair of marks."""
    closing, open_, found = QUOTES[opening], False, []
    for c in line:
        if open_ and c in (closing, "\n"):
            open_ = False
        found.append(open_)
        if c == opening and not found[-1] and (c != closing or len(found) < 2 or not found[-2]):
            open_ = True
    return found
