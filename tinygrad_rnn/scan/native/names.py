"""Names: the names of values in C, close to their names in the cell."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

__all__ = ["Names", "identifier", "plural"]

RESERVED = set(
    re.findall(
        r"\w+",
        """auto break case char const continue default do double else enum extern float for goto if inline int long register
        restrict return short signed sizeof static struct switch typedef union unsigned void volatile while asm typeof
        main run T B S t n k b i j first data length memory inputs results start failed total numpy
        linux unix i386 mips sun WIN32 WIN64 WINNT""",
    )
)
"""Words of the language, names in every program, macros of some compilers, and names of functions, such as ``tanh_f``."""
for _file in ("kernels.c", "product.c"):
    _text = (Path(__file__).parent / _file).read_text(encoding="utf-8")
    RESERVED |= {stem + end for stem in re.findall(r"\b(\w+_)(?:num|[fdi])\(", _text) for end in "fdi"}


SIGNS = {"∂": "d", "⁻": "_before"}


class Names:
    """Names of which each is given out only once.

    Examples
    --------
    >>> names = Names()
    >>> [names.new(name) for name in ("h", "h", "W'", "δ_h", "if", "tanh_f", "W_f", "x; exit(1)", None)]
    ['h', 'h_2', 'W_1', 'delta_h', 'if_2', 'tanh_f_2', 'W_f', 'x_exit_1', 'v']
    """

    def __init__(self) -> None:
        self._given = set(RESERVED)

    def new(self, name: str | None) -> str:
        """A name that is not in use yet, in letters and digits of ASCII."""
        stem = identifier(name or "") or "v"
        stem += "_" * stem.endswith("_all")  # xs_all is the array of which xs is a chunk
        found, k = stem, 1
        while found in self._given:
            k += 1
            found = f"{stem}_{k}"
        self._given.add(found)
        return found


def identifier(name: str) -> str:
    """A name as an identifier of C: characters that are not letters or digits of ASCII are replaced.

    Examples
    --------
    >>> identifier("W'"), identifier("h⁻"), identifier("*/ exit(1); /*"), identifier("1")
    ('W_1', 'h_before', 'exit_1', 'v_1')
    """
    spelt = "".join(_letter(c) for c in name.replace("'", "_1"))
    stem = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9_]", "_", spelt)).strip("_")[:40]
    return stem if stem[:1].isalpha() and not re.fullmatch(r"at\d+|i\d+|i_.", stem) else f"v_{stem}" if stem else ""


def _letter(c: str) -> str:
    """A Greek letter or a sign of calculus by its name; any other character unchanged."""
    words = unicodedata.name(c, "").split()
    return words[-1].lower() if words[:1] == ["GREEK"] and "LETTER" in words else SIGNS.get(c, c)


def plural(name: str) -> str:
    """The name of the values of all steps.

    Examples
    --------
    >>> plural("h"), plural("h⁻")
    ('hs', 'hs⁻')
    """
    return re.sub("(?<!⁻)(?=⁻*$)", "s", name)
