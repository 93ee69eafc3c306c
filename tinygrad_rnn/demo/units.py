"""Hidden units worth showing: those that correlate with a visible feature of the text."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Unit", "features", "interesting", "passage"]

Floats = npt.NDArray[np.float64]

CLEAR = 0.15  # correlations below it are not shown
QUOTES = {'"': '"', "“": "”", "«": "»", "(": ")", "[": "]"}


class Unit(NamedTuple):
    """A hidden unit, and the feature of the text with which it correlates.

    Attributes
    ----------
    number : int
    feature : str
    correlation : float
        Over the text, between the unit's state and the feature.
    """

    number: int
    feature: str
    correlation: float


def features(text: str) -> dict[str, Floats]:
    """Features that hold or do not hold at each character of a text, such as "a word begins".

    Examples
    --------
    >>> features("I am")["a word begins"]
    array([1., 0., 1., 0.])
    """
    before, after = " " + text[:-1], text[1:] + " "
    inside = {opening: _inside(text, opening) for opening in QUOTES}
    found = {
        "a space": [c.isspace() for c in text],
        "a vowel": [c.lower() in "aeiouäöüàâáåéèêëíîïóôúûyаеёиоуыэюя" for c in text],
        "a capital": [c.isupper() for c in text],
        "a word begins": [c.isalnum() and not b.isalnum() for b, c in zip(before, text, strict=True)],
        "a word ends here": [c.isalnum() and not n.isalnum() for c, n in zip(text, after, strict=True)],
        "fifth letter of a word, or later": _since(text, str.isalnum) > 4,
        "soon after a sentence's start": _since(text, lambda c: c not in ".!?\n") < 12,
        "between quotation marks": np.any([inside[mark] for mark in '"“«'], axis=0),
        "in brackets": np.any([inside[mark] for mark in "(["], axis=0),
    }
    arrays = {name: np.asarray(values, float) for name, values in found.items()}
    return {name: array for name, array in arrays.items() if array.std() > 0}


def _since(text: str, keeps_on: Callable[[str], bool]) -> Floats:
    """For each character, how many characters in a row up to it are of a kind."""
    counts, run = [], 0
    for c in text:
        run = run + 1 if keeps_on(c) else 0
        counts.append(run)
    return np.array(counts, float)


def _inside(text: str, opening: str) -> list[bool]:
    """Whether each character stands between a pair of marks; the end of a line closes a pair."""
    closing, open_, found = QUOTES[opening], False, []
    for c in text:
        if open_ and c in (closing, "\n"):
            open_ = False
        found.append(open_)
        if c == opening and not found[-1] and (c != closing or len(found) < 2 or not found[-2]):
            open_ = True
    return found


def interesting(hidden: npt.NDArray[np.float32], text: str) -> list[Unit]:
    """For each feature of a text, the hidden unit that correlates with it best.

    Parameters
    ----------
    hidden : ndarray, shape (characters, units)
        The states after each character of the text.
    text : str

    Returns
    -------
    list of Unit
        The clearest first, and no unit twice.

    Examples
    --------
    >>> text = "to be or not to be"
    >>> states = np.stack([np.zeros(len(text)), [-float(c == " ") for c in text]], 1).astype("float32")
    >>> [(unit.number, unit.feature, round(unit.correlation, 3)) for unit in interesting(states, text)]
    [(1, 'a space', -1.0)]
    """
    states = hidden.astype(float) - hidden.mean(0)
    size = np.sqrt((states**2).sum(0))
    names, rows = [], []
    for name, values in features(text).items():
        values = values - values.mean()
        names.append(name)
        rows.append(values @ states / np.maximum(size * np.sqrt((values**2).sum()), 1e-9))
    table = np.array(rows).reshape(len(names), hidden.shape[1])
    found = []
    while table.size and np.abs(table).max() > CLEAR:
        row, unit = np.unravel_index(np.abs(table).argmax(), table.shape)
        found.append(Unit(int(unit), names[row], float(table[row, unit])))
        table[row], table[:, unit] = 0, 0
    return found


def passage(text: str, length: int) -> slice:
    """The passage of a text, from the start of a line or word, that shows most features.

    Parameters
    ----------
    text : str
    length : int
    """
    values = np.array(list(features(text).values()))
    starts = [i + 1 for i, c in enumerate(text[: max(0, len(text) - length)]) if c.isspace()]
    if not starts or not values.size:
        return slice(0, length)
    # least rare feature counts: a passage with a little of everything, not with much of one
    shares = [values[:, start : start + length].mean(1) for start in starts]
    best = max(range(len(starts)), key=lambda i: float(np.sqrt(shares[i]).sum()))
    return slice(starts[best], starts[best] + length)
