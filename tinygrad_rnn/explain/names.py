r"""Names in LaTeX: the name of each value becomes a symbol that TeX accepts.

A name in TeX's syntax, such as ``W_f`` or ``\hat{y}``, becomes this symbol. Any other name, such as
``coef_`` or ``50 %``, is shown letter by letter.
"""

from __future__ import annotations

import re

__all__ = ["subscripted", "word"]

_GREEK = """alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega
Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"""
_SYMBOLS = """varepsilon vartheta varphi varrho varsigma ell hbar infty partial nabla prime star ast circ dagger top bot perp
parallel odot oplus otimes cdot times pm mp to leftarrow rightarrow leftrightarrow uparrow downarrow wedge vee sim ldots"""
_ACCENTS = """hat tilde bar overline underline dot ddot vec widehat widetilde overrightarrow overleftarrow
mathbf mathrm mathit mathcal mathsf mathtt mathbb mathfrak boldsymbol"""
GREEK = dict(zip("αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ", _GREEK.split(), strict=True))
SYMBOLS = {*_GREEK.split(), *_SYMBOLS.split()}
ACCENTS = set(_ACCENTS.split())
"""Commands that change the look of the next group."""
TEXT = {"text", "textbf", "textit", "textrm", "operatorname"}
SPECIAL = {
    "\\": r"\backslash ",
    "^": r"{\wedge}",
    "~": r"{\sim}",
    "*": r"{\ast}",
    "`": r"{\text{‘}}",
    **{c: c for c in "<>|"},
    **{c: f"\\{c}" for c in "{}_%#$&"},
}
"""LaTeX for characters that have a special meaning in TeX."""
DEEPEST = 4
"""Largest depth of nested groups; a name with deeper groups is shown letter by letter."""


class _NoTeXError(Exception):
    """A name is not in TeX's syntax."""


def subscripted(name: str, *more: str) -> str:
    r"""The LaTeX of a name, with further subscripts in LaTeX.

    Examples
    --------
    >>> print(subscripted("h", "t"), subscripted("a^f", "t-1"), subscripted("new_state", "t"), subscripted("forget gate"))
    h_t a^f_{t-1} new_{state,t} \text{forget gate}
    >>> print(subscripted("W_", "t"), subscripted("z^"), subscripted("Ω_1"), subscripted("隐藏"))
    {\text{W}\_}_t {\text{z}{\wedge}} \Omega_{1} \text{隐藏}
    """
    try:
        stem, above, below = _parsed(name, 0)
    except _NoTeXError:
        stem, above, below = _as_written(name), [], []
    marked, below = bool(below), [*below, *more]
    if above:
        joined = ",".join(above)
        stem += f"^{joined}" if len(joined) == 1 else f"^{{{joined}}}"
    if below:
        joined = ",".join(below)
        stem += f"_{joined}" if len(joined) == 1 and not marked else f"_{{{joined}}}"
    return stem


def word(text: str) -> str:
    r"""The LaTeX of a word that is not a symbol, such as a path, in upright letters.

    Examples
    --------
    >>> print(word("cells.fast_1"), word("50 %"))
    \mathrm{cells.fast\_1} {\text{50 }\%}
    """
    return rf"\mathrm{{{text}}}".replace("_", r"\_") if re.fullmatch(r"[A-Za-z0-9_.]+", text) else _as_written(text)


def _parsed(name: str, depth: int) -> tuple[str, list[str], list[str]]:
    """Stem, superscripts and subscripts of a name in TeX's syntax."""
    stem, primes, at = "", 0, 0
    scripts: dict[str, list[str]] = {"^": [], "_": []}
    while at < len(name):
        c = name[at]
        if c in scripts:
            if not stem:
                raise _NoTeXError
            inside, at = _script(name, at + 1)
            scripts[c].append(_inner(inside, depth))
        elif c == "'":
            primes, at = primes + 1, at + 1
        else:
            atom, at = _atom(name, at, depth)
            stem += atom
    if not stem:
        raise _NoTeXError
    if primes and scripts["^"]:
        scripts["^"].insert(0, r"\prime" * primes)
        return stem, scripts["^"], scripts["_"]
    return stem + "'" * primes, scripts["^"], scripts["_"]


def _inner(text: str, depth: int) -> str:
    """The LaTeX of the content of a group."""
    if depth == DEEPEST:
        raise _NoTeXError
    stem, above, below = _parsed(text, depth + 1)
    return stem + (f"^{{{','.join(above)}}}" if above else "") + (f"_{{{','.join(below)}}}" if below else "")


def _script(name: str, at: int) -> tuple[str, int]:
    """The content of a subscript or superscript, a group or a few characters, and where it ends."""
    if name[at : at + 1] == "{":
        return _group(name, at)
    found = re.match(r"\\[A-Za-z]+|[^_^{}'\\]+", name[at:])
    if found is None:
        raise _NoTeXError
    return found[0], at + found.end()


def _group(name: str, at: int) -> tuple[str, int]:
    """The content of a pair of braces, and where the pair ends."""
    level = 0
    for end in range(at, len(name)):
        level += {"{": 1, "}": -1}.get(name[end], 0)
        if level == 0:
            return name[at + 1 : end], end + 1
    raise _NoTeXError


def _atom(name: str, at: int, depth: int) -> tuple[str, int]:
    """The LaTeX of one atom of a name, such as a letter or a group, and where it ends."""
    c = name[at]
    if c == "{":
        inside, end = _group(name, at)
        return f"{{{_inner(inside, depth)}}}", end
    if c == "\\":
        return _command(name, at, depth)
    if c.isascii() and (c.isalnum() or c in "+-=()/.,:;!?<>|"):
        return c, at + 1
    if c in GREEK:
        return _spaced(f"\\{GREEK[c]}", name, at + 1), at + 1
    found = re.match(rf"[^\W_a-zA-Z0-9{''.join(GREEK)}]+", name[at:])
    if found is None:
        raise _NoTeXError
    return rf"\text{{{found[0]}}}", at + found.end()


def _command(name: str, at: int, depth: int) -> tuple[str, int]:
    found = re.match(r"\\([A-Za-z]+) ?", name[at:])
    if found is None:
        raise _NoTeXError
    command, end = found[1], at + found.end()
    if command in SYMBOLS:
        return _spaced(f"\\{command}", name, end), end
    if command not in ACCENTS | TEXT or end == len(name):
        raise _NoTeXError
    if name[end] == "{":
        inside, end = _group(name, end)
    else:
        inside, end = name[end], end + 1
    if command not in TEXT:
        return rf"\{command}{{{_inner(inside, depth)}}}", end
    if not inside or any(c in SPECIAL or c in GREEK for c in inside):
        raise _NoTeXError
    return rf"\{command}{{{inside}}}", end


def _spaced(command: str, name: str, end: int) -> str:
    """A LaTeX command, with a space if a letter follows."""
    return command + (" " if name[end : end + 1].isalpha() else "")


def _as_written(name: str) -> str:
    """LaTeX of a name shown letter by letter, as text and symbols."""
    pieces = []
    own = re.escape("".join([*SPECIAL, *GREEK]))
    for run in re.findall(f"[{own}]|[^{own}]+", name):
        pieces.append(SPECIAL.get(run) or (f"{{\\{GREEK[run]}}}" if run in GREEK else rf"\text{{{run}}}"))
    latex = "".join(pieces)
    return latex if len(pieces) == 1 and latex.startswith(r"\text") else f"{{{latex}}}"
