r"""Labels in TeX: names become formulas, words become upright text, and scripts stay scripts."""

from __future__ import annotations

import re
import unicodedata

from .symbols import ACCENTS, BASE, COMMANDS, RAISED, parts

__all__ = ["tex"]

SIGNS = {
    "−": "{-}",
    "⁻": "^{-}",
    "→": r"{\rightarrow}",
    "←": r"{\leftarrow}",
    "∗": "{*}",
    "·": r"\cdot ",
    "×": r"\times ",
    "⊙": r"\odot ",
    "∂": r"\partial ",
    "…": r"\ldots ",
    "✂": r"{/}\!{/}",
    "′": "'",
    "“": r"\mbox{``}",
    "”": r"\mbox{''}",
    " ": r"\ ",
    "\\": r"\backslash ",
    "^": r"{\wedge}",
    "~": r"{\sim}",
    ":": "{:}",
    **{c: f"\\{c}" for c in "{}_%#$&"},
    **{sign: rf"\{command} " for command, sign in COMMANDS.items() if sign != "′"},
}
"""TeX commands for characters."""
OVER = {accent: command for command, accent in ACCENTS.items() if command != "overline"}
PIECE = re.compile(f"[A-Za-z]{{2,}}|.[{''.join(OVER)}]|[^\0-\u036f{re.escape(''.join(SIGNS))}]+|.", re.DOTALL)
"""A word, a letter with an accent, letters that formulas do not have, or one character."""


def tex(label: str) -> str:
    r"""One line of a label as TeX.

    Examples
    --------
    >>> print(tex("h^{(2)}_{t−1}"), tex("softmax c_{1}"), tex("ŷ_{3}"), tex("“50 %”"), tex("隐藏_{1}"))
    $h^{(2)}_{t{-}1}$ $\mathrm{softmax}\ c_{1}$ $\hat{y}_{3}$ $\mbox{``}50\ \%\mbox{''}$ $\mbox{隐藏}_{1}$
    """
    written, before = "", {BASE}
    for text, level in parts(label):
        formula = "".join(_formula(piece, level) for piece in PIECE.findall(unicodedata.normalize("NFD", text)))
        if level == BASE:
            written, before = written + formula, {BASE}
        else:  # TeX allows a second superscript only on an empty base
            written += f"{'{}' * (level in before)}{'^' if level == RAISED else '_'}{{{formula}}}"
            before = {level} if level in before else {*before, level}
    return f"${written}$"


def _formula(piece: str, level: int) -> str:
    if piece in SIGNS:
        return SIGNS[piece]
    if len(piece) == 2 and piece[1] in OVER:
        return rf"\{OVER[piece[1]]}{{{_formula(piece[0], level)}}}"
    if piece.isascii():
        return rf"\mathrm{{{piece}}}" if len(piece) > 1 else piece
    small = "" if level == BASE else r"\scriptsize "
    return rf"\mbox{{{small}{unicodedata.normalize('NFC', piece)}}}"
