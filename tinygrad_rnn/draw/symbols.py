r"""Labels: names in mathematical notation, with subscripts and superscripts, and the widths of labels.

A label is text with scripts in braces: ``W_{z}``, ``h^{(2)}_{t−1}``. Accents and Greek letters
are Unicode. A backslash marks a character that would otherwise begin or end a script: ``\_``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

__all__ = [
    "ACCENTS",
    "BASE",
    "COMMANDS",
    "LOWERED",
    "RAISED",
    "SMALLER",
    "indexed",
    "literal",
    "parts",
    "plain",
    "pretty",
    "stem",
    "text_width",
]

LOWERED, BASE, RAISED = -1, 0, 1
"""Levels of text: in a subscript, on the line, in a superscript."""
SMALLER = 0.75
"""Size of a script relative to its line."""
LONGEST = 60
"""Largest number of characters of a name that a picture shows."""

_GREEK = """alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi pi rho sigma tau phi chi psi omega
Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega prime"""
COMMANDS = dict(zip(_GREEK.split(), "αβγδεζηθκλμνξπρστφχψωΓΔΘΛΞΠΣΦΨΩ′", strict=True))
ACCENTS = {"hat": "\u0302", "tilde": "\u0303", "bar": "\u0304", "overline": "\u0304", "dot": "\u0307"}
_ARROWS = {"overrightarrow": "→", "overleftarrow": "←", "vec": "→"}
_SCRIPTS = {
    RAISED: ("^", str.maketrans("0123456789+-−=()", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾")),
    LOWERED: ("_", str.maketrans("0123456789+-−=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎")),
}
_PIECE = re.compile(
    r"\\(?P<escaped>[_^{}\\])"
    r"|\^(?:\{(?P<raised>(?:\\.|[^{}\\])*)\}|(?P<power>[^\s\\{}]))"
    r"|_\{(?P<lowered>(?:\\.|[^{}\\])*)\}|(?<=\S)_(?P<index>[^\W_]+)"
    r"|(?P<text>.)",
    re.DOTALL,
)

Part = tuple[str, int]
"""A piece of text and its level."""


@lru_cache(1024)
def parts(label: str) -> tuple[Part, ...]:
    r"""The text of a label in pieces with levels: 0 on the line, 1 in a superscript, −1 in a subscript.

    Examples
    --------
    >>> parts(r"h^{(2)}_{t−1} log\_softmax")
    (('h', 0), ('(2)', 1), ('t−1', -1), (' log_softmax', 0))
    """
    found: list[Part] = []
    for match in _PIECE.finditer(label):
        kind, text = match.lastgroup, match[match.lastgroup or 0]
        level = RAISED if kind in ("raised", "power") else LOWERED if kind in ("lowered", "index") else BASE
        text = (
            re.sub(r"\\(.)", r"\1", text) if kind in ("raised", "lowered") else "" if kind == "text" and text in "{}" else text
        )
        if text and found and found[-1][1] == level == BASE:
            found[-1] = (found[-1][0] + text, level)
        elif text:
            found.append((text, level))
    return tuple(found)


def literal(text: str) -> str:
    r"""A label that shows exactly the given text.

    Examples
    --------
    >>> literal("log_softmax")
    'log\\_softmax'
    """
    return re.sub(r"([_^{}\\])", r"\\\1", text)


def _label(found: Iterable[Part]) -> str:
    return "".join(literal(text) if level == BASE else f"{_SCRIPTS[level][0]}{{{literal(text)}}}" for text, level in found)


def plain(label: str) -> str:
    """A label as plain text, for tooltips and names; digits and signs in scripts become Unicode characters.

    Examples
    --------
    >>> plain("h^{(2)}_{10}"), plain("W_{z}"), plain("W_{out}")
    ('h⁽²⁾₁₀', 'W_z', 'W_out')
    """
    shown = []
    for text, level in parts(label):
        if level != BASE:
            sign, small = _SCRIPTS[level]
            text = text.translate(small) if all(ord(c) in small for c in text) else sign + text
        shown.append(text)
    return "".join(shown)


@lru_cache(1024)
def pretty(symbol: str) -> str:
    r"""The label of a symbol in TeX's syntax; a label is returned as it is.

    Examples
    --------
    >>> pretty("W_f"), pretty("W^{(2)}"), pretty(r"\alpha_1"), pretty(r"\hat{y}"), pretty("b'")
    ('W_{f}', 'W^{(2)}', 'α_{1}', 'ŷ', 'b′')
    """
    text = symbol.replace("$", "").replace("'", "′")
    text = re.sub(
        r"(?<!\\)\\([A-Za-z]+)\{(\w+)\}",
        lambda m: m[2] + ACCENTS[m[1]] if m[1] in ACCENTS else m[2] + _ARROWS[m[1]] if m[1] in _ARROWS else m[2],
        text,
    )
    text = re.sub(r"(?<!\\)\\([A-Za-z]+) ?", lambda m: COMMANDS.get(m[1], m[1]), text)
    found: list[Part] = []
    room = LONGEST
    for piece, level in parts(text):
        piece = unicodedata.normalize("NFC", piece)
        found.append((piece if len(piece) <= room else f"{piece[: max(0, room - 1)]}…", level))
        room -= len(piece)
        if room < 0:
            break
    return _label(found) or literal(symbol)


@lru_cache(1024)
def indexed(name: str, index: int | str | None) -> str:
    """The label of a name with a time subscript; the name's own index becomes a superscript, or precedes the time.

    Examples
    --------
    >>> indexed("h", 2), indexed("h_2", 10), indexed("W_z", 1), indexed("x", "t−1"), indexed("y", None)
    ('h_{2}', 'h^{(2)}_{10}', 'W_{z,1}', 'x_{t−1}', 'y')
    """
    if index is None:
        return pretty(name)
    time = str(index).replace("-", "−")
    numbered = [(text, level == LOWERED and text.isdecimal(), level) for text, level in parts(pretty(name))]
    found = [(f"({text})", RAISED) if number else (text, level) for text, number, level in numbered]
    if found[-1][1] == LOWERED:
        found[-1] = f"{found[-1][0]},{time}", LOWERED
        return _label(found)
    return _label([*found, (time, LOWERED)])


def stem(symbol: str) -> str:
    """A symbol without its indices, such as the common letter of all gates' matrices.

    Examples
    --------
    >>> stem("W_f"), stem("W^{(i)}"), stem("b'")
    ('W', 'W', 'b')
    """
    return re.split(r"[_^'′\d]", symbol, maxsplit=1)[0] or symbol


_NARROW = set("ijltfrI.,:;'!|()[]′ -")
_WIDE = set("mwMW→←…∗")


def text_width(label: str, size: float) -> float:
    """Approximate width of a label's line in points, rather too wide than too narrow.

    Examples
    --------
    >>> text_width("W", 12) < text_width("W_{f}", 12) < text_width("Wf", 12)
    True
    >>> text_width("隐藏状态", 13)
    52.0
    """
    return sum(size * (1.0 if level == BASE else SMALLER) * sum(_units(c) for c in text) for text, level in parts(label))


@lru_cache(1024)
def _units(c: str) -> float:
    """Width of a character, relative to the font size."""
    if unicodedata.combining(c):
        return 0.0
    if unicodedata.east_asian_width(c) in "WF":
        return 1.0
    return 0.42 if c in _NARROW else 0.95 if c in _WIDE else 0.66
