"""Names as people write them: LaTeX-like symbols in Unicode, indices, and how wide text is."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

__all__ = ["indexed", "pretty", "stem", "text_width"]

_RAISED = dict(zip("0123456789+-=()abcdefghijklmnoprstuvwxyz", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ", strict=True)) | dict(
    zip("ABDEGHIJKLMNOPRTUVW", "ᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁⱽᵂ", strict=True)
)
_LOWERED = dict(zip("0123456789+-=()", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎", strict=True))
_GREEK = """alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi pi rho sigma tau phi chi psi omega
Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega prime"""
_COMMANDS = dict(zip(_GREEK.split(), "αβγδεζηθκλμνξπρστφχψωΓΔΘΛΞΠΣΦΨΩ′", strict=True))
_ACCENTS = {"hat": "\u0302", "tilde": "\u0303", "bar": "\u0304", "overline": "\u0304", "dot": "\u0307"}
_ARROWS = {"overrightarrow": "→", "overleftarrow": "←", "vec": "→"}


LONGEST = 60
"""Characters of a name that a picture shows at the most."""


def raised(text: str) -> str:
    """Text as a superscript, where Unicode has all of its letters.

    Examples
    --------
    >>> raised("(2)"), raised("f"), raised("Q")
    ('⁽²⁾', 'ᶠ', '^Q')
    """
    return "".join(_RAISED[c] for c in text) if all(c in _RAISED for c in text) else f"^{text}"


def lowered(text: str) -> str:
    """Text as a subscript; letters go up, as in the Deep Learning book's gates.

    Examples
    --------
    >>> lowered("10"), lowered("f")
    ('₁₀', 'ᶠ')
    """
    return "".join(_LOWERED[c] for c in text) if all(c in _LOWERED for c in text) else raised(text).replace("^", "_")


@lru_cache(1024)
def pretty(symbol: str) -> str:
    r"""A symbol of TeX's kind as plain Unicode.

    Examples
    --------
    >>> pretty("W_f"), pretty("W^{(2)}"), pretty(r"\alpha_1"), pretty(r"\hat{y}"), pretty("b'")
    ('Wᶠ', 'W⁽²⁾', 'α₁', 'ŷ', 'b′')
    """
    text = symbol.replace("$", "")
    text = re.sub(
        r"\\(\w+)\{(\w+)\}",
        lambda m: m[2] + _ACCENTS[m[1]] if m[1] in _ACCENTS else m[2] + _ARROWS[m[1]] if m[1] in _ARROWS else m[2],
        text,
    )
    text = re.sub(r"\\([A-Za-z]+) ?", lambda m: _COMMANDS.get(m[1], m[1]), text)
    text = re.sub(r"\^(?:\{([^{}]*)\}|(\S))", lambda m: raised(m[1] or m[2] or ""), text)
    text = re.sub(r"(?<=\S)_(?:\{([^{}]*)\}|([^\W_]+))", lambda m: lowered(m[1] or m[2] or ""), text)
    text = unicodedata.normalize("NFC", text.replace("'", "′").replace("{", "").replace("}", "")) or symbol
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


@lru_cache(1024)
def _raised_index(name: str) -> str:
    return pretty(re.sub(r"_\{?(\d+)\}?", r"^{(\1)}", name))


def indexed(name: str, index: int | None) -> str:
    """A name with a time below it; an index of the name's own goes up, out of the way.

    Examples
    --------
    >>> indexed("h", 2), indexed("h_2", 10), indexed("x", -1), indexed("y", None)
    ('h₂', 'h⁽²⁾₁₀', 'x₋₁', 'y')
    """
    if index is None:
        return pretty(name)
    return _raised_index(name) + lowered(str(index))


def stem(symbol: str) -> str:
    """A symbol without its indices: what the matrices of all gates have in common.

    Examples
    --------
    >>> stem("W_f"), stem("W^{(i)}"), stem("b'")
    ('W', 'W', 'b')
    """
    return re.split(r"[_^'′\d]", symbol, maxsplit=1)[0] or symbol


_SMALL = set(_RAISED.values()) | set(_LOWERED.values())
_NARROW = set("ijltfrI.,:;'!|()[]′ -")
_WIDE = set("mwMW→←…∗")


def text_width(text: str, size: float) -> float:
    """About how wide a line of text is, in points: too wide rather than too narrow.

    Examples
    --------
    >>> text_width("W", 12) < text_width("Wᶠ", 12) < text_width("WW", 12)
    True
    """
    units = 0.0
    for c in text:
        if c in _SMALL:
            units += 0.5
        elif c in _NARROW:
            units += 0.42
        elif c in _WIDE:
            units += 0.95
        else:
            units += 0.66
    return units * size
