r"""Equations as MathML, which a browser shows without scripts; converted from the LaTeX of the printer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from .names import TEXT
from .plain_text import SYMBOLS

__all__ = ["mathml"]

TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|\S")
LINE_END = re.compile(r"\\\\(?:\[[^\]]*\])?|\\(?:begin|end)\{[a-z]+\*?\}")
MARKS = {
    **SYMBOLS,
    **{r"\top": "⊤", r"\prime": "′", r"\times": "×", r"\oplus": "⊕", r"\pm": "±", r"\mp": "∓", r"\ast": "∗"},
    **{r"\star": "⋆", r"\circ": "∘", r"\nabla": "∇", r"\hbar": "ℏ", r"\sim": "∼", r"\wedge": "∧", r"\vee": "∨"},
    **{r"\leftarrow": "←", r"\rightarrow": "→", r"\leftrightarrow": "↔", r"\perp": "⊥", r"\bot": "⊥", r"\varepsilon": "ε"},
    **{r"\dagger": "†", r"\backslash": "\\", "-": "−", "'": "′"},
}
OVER = {"hat": "^", "widehat": "^", "tilde": "~", "widetilde": "~", "bar": "¯", "overline": "¯", "dot": "˙", "ddot": "¨"}
OVER |= {"vec": "→", "overrightarrow": "→", "overleftarrow": "←"}


def mathml(latex: str) -> list[str]:
    r"""Equations as MathML, in pieces between which a browser may break the line.

    Parameters
    ----------
    latex : str
        Lines of an ``aligned`` environment, or a single formula.

    Examples
    --------
    >>> for piece in mathml(r"\begin{aligned} h_t &= \tanh\left(a_t\right) \end{aligned}")[0].splitlines():
    ...     print(piece)
    <math><msub><mi>h</mi><mi>t</mi></msub></math>
    <math><mo form="infix">=</mo><mi>tanh</mi><mo>(</mo><msub><mi>a</mi><mi>t</mi></msub><mo>)</mo></math>
    """
    return ["\n".join(f"<math>{piece}</math>" for piece in _pieces(line)) for line in LINE_END.split(latex) if line.strip()]


def _pieces(line: str) -> Iterator[str]:
    """Pieces of an equation; each begins with a sign outside of parentheses."""
    piece, depth, after_sign = "", 0, True
    for element in _Reader(line).row():
        depth += (element in ("<mo>(</mo>", "<mo>[</mo>")) - (element in ("<mo>)</mo>", "<mo>]</mo>"))
        is_sign = depth == 0 and element in ("<mo>=</mo>", "<mo>+</mo>", "<mo>−</mo>")
        if is_sign and not after_sign:
            yield piece
            piece, element = "", element.replace("<mo>", '<mo form="infix">')
        piece, after_sign = piece + element, is_sign
    yield piece


class _Reader:
    """Reads the tokens of a formula one after another."""

    def __init__(self, latex: str) -> None:
        self.latex, self.at = re.sub(r"(?<!\\)&", "", latex), 0

    def token(self) -> str:
        found = TOKEN.search(self.latex, self.at)
        self.at = found.end() if found else len(self.latex)
        return found[0] if found else ""

    def row(self) -> list[str]:
        """MathML elements up to the end of a group, each with its scripts."""
        found: list[list[str]] = []
        while (token := self.token()) not in ("", "}"):
            if token in "_^'":
                script = self.element(token) if token == "'" else self.argument()
                found = found or [["<mrow></mrow>", "", ""]]
                found[-1][1 if token == "_" else 2] += script
            else:
                found.append([self.element(token), "", ""])
        return [_scripted(*parts) for parts in found if parts[0]]

    def argument(self) -> str:
        return self.element(self.token())

    def element(self, token: str) -> str:
        """The MathML element that begins with a token."""
        command = token[1:]
        if token == "{":
            return _one(self.row())
        if token in (r"\left", r"\right"):
            mark = self.token().lstrip("\\")
            return "" if mark == "." else f"<mo>{escape(mark)}</mo>"
        if command == "frac":
            return f"<mfrac>{self.argument()}{self.argument()}</mfrac>"
        if command in OVER:
            return f'<mover accent="true">{self.argument()}<mo>{OVER[command]}</mo></mover>'
        if command in TEXT or command[:4] == "math":
            words = self.words()
            return self.argument() if words is None else f"<mi>{escape(words)}</mi>"
        shown = MARKS.get(token, command if len(token) > 1 and token[0] == "\\" else token)
        kind = "mn" if shown[:1].isdigit() else "mi" if shown.isalpha() and shown != "Σ" else "mo"
        return f"<{kind}>{escape(shown)}</{kind}>" if shown else ""

    def words(self) -> str | None:
        """The text of a group without commands; None for a group that contains other groups."""
        found = re.compile(r"\s*\{((?:[^{}\\]|\\.)*)\}").match(self.latex, self.at)
        if found is None:
            return None
        self.at = found.end()
        return re.sub(r"\\([A-Za-z]+ ?|.)", lambda m: MARKS.get(m[0].strip(), m[1]), found[1])


def _one(elements: list[str]) -> str:
    return elements[0] if len(elements) == 1 else f"<mrow>{''.join(elements)}</mrow>"


def _scripted(base: str, below: str, above: str) -> str:
    above = f"<mrow>{above}</mrow>" if above.count("</") > 1 and not above.startswith("<mrow>") else above
    if below and above:
        return f"<msubsup>{base}{below}{above}</msubsup>"
    return f"<msub>{base}{below}</msub>" if below else f"<msup>{base}{above}</msup>" if above else base
