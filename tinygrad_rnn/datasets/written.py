"""Numbers and dates in English words, each with its digits: pairs to translate."""

from __future__ import annotations

import datetime

import numpy as np

__all__ = ["date_in_words", "in_words", "written_dates", "written_numbers"]

# fmt: off
UNITS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SCALES = [(1_000_000, "million"), (1000, "thousand"), (100, "hundred")]

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
]
# fmt: on
STYLES = (
    "{day} {month} {year}",
    "{month} {day}, {year}",
    "{day} {short} {year}",
    "{day}{th} {month} {year}",
    "the {day}{th} of {month} {year}",
    "{weekday}, {day} {month} {year}",
    "{weekday}, {month} {day}, {year}",
)


def in_words(n: int) -> str:
    """A number in English words.

    Parameters
    ----------
    n : int
        From 0 to 999,999,999.

    Raises
    ------
    ValueError
        If n is outside this range.

    Examples
    --------
    >>> in_words(205), in_words(21), in_words(1_000_003)
    ('two hundred and five', 'twenty-one', 'one million and three')
    """
    if not 0 <= n < 1_000_000_000:
        raise ValueError(f"n must be from 0 to 999,999,999, not {n}")
    if n < 20:
        return UNITS[n]
    if n < 100:
        return TENS[n // 10 - 2] + (f"-{UNITS[n % 10]}" if n % 10 else "")
    scale, name = next(one for one in SCALES if n >= one[0])
    whole, rest = divmod(n, scale)
    words = f"{in_words(whole)} {name}"
    return words + (" and " if rest < 100 else " ") + in_words(rest) if rest else words


def written_numbers(count: int, *, rng: int | np.random.Generator | None, below: int = 1000) -> list[tuple[str, str]]:
    """Numbers in English words with their digits, without repetition.

    Parameters
    ----------
    count : int
        Number of examples.
    rng : int, Generator or None
        A seed, or the generator of the random numbers; None for other numbers at each call.
    below : int
        The numbers are 0, …, below - 1, all equally likely.

    Returns
    -------
    list of (words, digits)

    Raises
    ------
    ValueError
        If there are fewer different numbers than `count`.

    Examples
    --------
    >>> for words, digits in written_numbers(3, rng=0):
    ...     print(digits, "is", words)
    636 is six hundred and thirty-six
    511 is five hundred and eleven
    848 is eight hundred and forty-eight
    """
    return [(in_words(n), str(n)) for n in _different(count, below, rng)]


def date_in_words(date: datetime.date, style: int = 0) -> str:
    """A date as people write it.

    Parameters
    ----------
    date : datetime.date
        The date.
    style : int
        The number of the style: 0, …, 6, in the order of the example.

    Raises
    ------
    ValueError
        If style is not one of these numbers.

    Examples
    --------
    >>> for style in range(7):
    ...     print(date_in_words(datetime.date(2011, 3, 4), style))
    4 March 2011
    March 4, 2011
    4 Mar 2011
    4th March 2011
    the 4th of March 2011
    Friday, 4 March 2011
    Friday, March 4, 2011
    """
    if style not in range(len(STYLES)):
        raise ValueError(f"style must be from 0 to {len(STYLES) - 1}, not {style}")
    day, month = date.day, MONTHS[date.month - 1]
    th = "th" if 4 <= day <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return STYLES[style].format(day=day, th=th, month=month, short=month[:3], year=date.year, weekday=DAYS[date.weekday()])


def written_dates(
    count: int,
    *,
    rng: int | np.random.Generator | None,
    first: datetime.date = datetime.date(1900, 1, 1),
    last: datetime.date = datetime.date(2099, 12, 31),
) -> list[tuple[str, str]]:
    """Dates in a random style with their ISO 8601 form, without repetition.

    Parameters
    ----------
    count : int
        Number of examples.
    rng : int, Generator or None
        A seed, or the generator of the random numbers; None for other numbers at each call.
    first, last : datetime.date
        All days from the first to the last are equally likely.

    Returns
    -------
    list of (text, ISO date)

    Raises
    ------
    ValueError
        If there are fewer different days than `count`.

    Examples
    --------
    >>> for text, iso in written_dates(3, rng=1):
    ...     print(iso, "is", text)
    2002-05-13 is May 13, 2002
    1994-08-21 is Sunday, 21 August 1994
    2051-01-13 is Friday, January 13, 2051
    """
    rng = np.random.default_rng(rng)
    dates = [first + datetime.timedelta(days=n) for n in _different(count, (last - first).days + 1, rng)]
    styles = rng.integers(0, len(STYLES), count).tolist()
    return [(date_in_words(date, style), date.isoformat()) for date, style in zip(dates, styles, strict=True)]


def _different(count: int, below: int, rng: int | np.random.Generator | None) -> list[int]:
    """Draw distinct numbers from 0, …, below - 1."""
    if not 0 <= count <= below:
        raise ValueError(f"at most {max(0, below)} different examples can be drawn, not {count}")
    return np.random.default_rng(rng).choice(below, count, replace=False).tolist()
