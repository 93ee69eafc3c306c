r"""Equations as plain text: the LaTeX of the printer, converted to Unicode."""

from __future__ import annotations

import re
import unicodedata

from .names import GREEK

__all__ = ["plain"]

SYMBOLS = {
    **{f"\\{word}": letter for letter, word in GREEK.items()},
    r"\odot": "⊙",
    r"\otimes": "⊗",
    r"\cdot": "·",
    r"\partial": "∂",
    r"\sum": "Σ",
    r"\ell": "ℓ",
    r"\infty": "∞",
    r"\top": "ᵀ",
    r"\to": "→",
    r"\ldots": "…",
    r"\left": "",
    r"\right": "",
    "&": "",
}
ACCENTS = {"hat": "\u0302", "tilde": "\u0303", "bar": "\u0304"}
COMMAND = re.compile(r"\\[A-Za-z]+")
WORDS = re.compile(r"\\(?:operatorname|mathrm|text|mathbf|mathit)\{([^{}]*)\}")


def plain(latex: str) -> str:
    r"""A line of LaTeX as plain text.

    Examples
    --------
    >>> print(plain(r"\delta^{h}_t &= W^{\top} \left(\delta^{h}_{t+1} \odot \left(1 - h_{t+1} \odot h_{t+1}\right)\right)"))
    δh_t = Wᵀ (δh_{t+1} ⊙ (1 - h_{t+1} ⊙ h_{t+1}))
    >>> print(plain(r"\frac{\partial L}{\partial W} &= \sum_t \frac{h_t + 1}{2} \operatorname{softmax}\left(o_t\right)"))
    ∂L/∂W = Σ_t (h_t + 1)/2 softmax(o_t)
    >>> print(plain(r"a_{r,t} &= \delta^{a_{r}}_{t+1} + \delta^{\hat{y}}_t"))
    a_{r,t} = δa_{r,t+1} + δŷ_t
    """
    text = WORDS.sub(r"\1", latex)
    text = re.sub(r"\\(hat|tilde|bar)\{(\w)\}", lambda found: unicodedata.normalize("NFC", found[2] + ACCENTS[found[1]]), text)
    text = _fractions(text)
    text = COMMAND.sub(lambda found: SYMBOLS.get(found[0], found[0][1:]), text).replace("&", "")
    text = re.sub(r"_\{(\[[^{}]*\])\}", r"\1", text)  # an index
    text = re.sub(r"_\{(\w)\}", r"_\1", text).replace("^{ᵀ}", "ᵀ").replace("{}_", "_")
    text = re.sub(r"δ\^\{([^{}_]+)_(?:\{([^{}]+)\}|(\w+))\}_(?:\{([^{}]*)\}|(\w))", _delta, text)
    text = re.sub(r"δ\^\{([^{}]*)\}", r"δ\1", text)
    text = re.sub(r"(?<![_^])\{((?:[^{}]|_\{[^{}]*\})*)\}", r"\1", text)
    return re.sub(r"∂ (?=\w)", "∂", " ".join(text.split()))


def _delta(found: re.Match[str]) -> str:
    """Symbol of δ with the value's name as subscript, at a step, as plain text."""
    stem, long, short, at, t = found.groups()
    return f"δ{stem}_{{{long or short},{at or t}}}"


def _fractions(text: str) -> str:
    r"""Convert \frac{a}{b} to a/b, with parentheses around sums and products."""
    at = text.rfind(r"\frac{")
    while at >= 0:
        above, middle = _group(text, at + 5)
        below, end = _group(text, middle)
        parts = [part if re.fullmatch(r"(\\partial )?\S+", part) else f"({part})" for part in (above, below)]
        text = f"{text[:at]}{parts[0]}/{parts[1]}{text[end:]}"
        at = text.rfind(r"\frac{")
    return text


def _group(text: str, at: int) -> tuple[str, int]:
    """Content of the brace pair that begins here, and the pair's end."""
    level = 0
    for end in range(at, len(text)):
        level += {"{": 1, "}": -1}.get(text[end], 0)
        if level == 0:
            return text[at + 1 : end], end + 1
    return text[at + 1 :], len(text)
