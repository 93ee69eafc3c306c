"""Formulas as SVG, by matplotlib's mathtext: no LaTeX, no script, nothing from the network."""

from __future__ import annotations

import functools
import html
import re

SIZE = 12.0


@functools.cache
def svg(latex: str, display: bool) -> str:
    """One line of LaTeX as an inline SVG in the colour of the text, standing on its baseline."""
    from matplotlib import rc_context
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import MathTextParser
    from matplotlib.textpath import TextPath

    with rc_context({"mathtext.fontset": "cm"}):
        font = FontProperties(size=SIZE)
        text = f"${spelt(latex, display)}$"
        try:
            width, height, depth, *_ = MathTextParser("path").parse(text, dpi=72, prop=font)
            path = TextPath((0, 0), text, size=SIZE, prop=font)
        except ValueError as error:
            raise ValueError(f"mathtext cannot set {latex}: {error}") from None
    commands = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}
    d = "".join(
        commands[int(code)] + (" ".join(f"{c:.2f}" for c in points * _flips(len(points))) if code != 79 else "")
        for points, code in path.iter_segments(simplify=False)
    )
    pad = 0.6
    box = f"{-pad:.2f} {-height + depth - pad:.2f} {width + 2 * pad:.2f} {height + 2 * pad:.2f}"
    em = SIZE * (1.0 if display else 1.04)
    wide, high, low = ((n + 2 * pad) / em for n in (width, height, depth - pad))
    style = f"width:{wide:.3f}em;height:{high:.3f}em;vertical-align:{-low:.3f}em"
    said = html.escape(latex, quote=True)
    return (
        f'<svg class="formula" role="img" aria-label="{said}" viewBox="{box}" style="{style}">'
        f'<title>{said}</title><path fill="currentColor" d="{d}"/></svg>'
    )


def _flips(length: int) -> list[int]:
    """SVG's y goes down."""
    return [1, -1] * (length // 2)


# What mathtext calls otherwise.
WORDS = {
    "tfrac": "frac",
    "le": "leq",
    "ge": "geq",
    "ne": "neq",
    "lnot": "neg",
    "land": "wedge",
    "lor": "vee",
    "bmod": "mathrm{\\ mod\\ }",
}

SUM = re.compile(r"\\sum((?:[_^](?:\{[^}]*\}|\\[a-z]+|\w))*)")


def spelt(latex: str, display: bool) -> str:
    """The same formula in the words that mathtext knows."""
    latex = " ".join(latex.split())
    latex = re.sub(r"\\begin\{cases\}(.*?)\\end\{cases\}", _cases, latex)
    latex = re.sub(r"\\([a-z]+)", lambda m: "\\" + WORDS.get(m[1], m[1]), latex)
    latex = re.sub(r"\\text\{([^}]*)\}", lambda m: r"\mathrm{" + m[1].replace(" ", r"\ ") + "}", latex)
    if display:
        latex = re.sub(r"\\frac\b", r"\\dfrac", latex)
    return SUM.sub(lambda m: (m[0] if display else rf"{{\sum}}{m[1]}") + r"\,", latex)


def _cases(found: re.Match[str]) -> str:
    """Cases in one line: a (if this), b (else)."""
    rows = [row.partition("&") for row in found[1].split(r"\\")]
    return r",\; ".join(rf"{value.strip()}\;({when.strip()})" for value, _, when in rows)


def block(latex: str) -> str:
    """A displayed formula: one line, or those of an ``aligned`` environment with their ``&``."""
    inside = re.fullmatch(r"\s*\\begin\{aligned\}(.*)\\end\{aligned\}\s*", latex, re.DOTALL)
    lines = [line.strip() for line in (inside[1] if inside else latex).split(r"\\") if line.strip()]
    rows = []
    for line in lines:
        left, found, right = line.partition("&")
        cells = [left, "{}" + right] if found else [line]
        rows.append("<tr>" + "".join(f"<td>{svg(cell.strip(), True) if cell.strip() else ''}</td>" for cell in cells) + "</tr>")
    return f'<div class="formulas"><table>{"".join(rows)}</table></div>'
