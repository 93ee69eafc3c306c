r"""TikZ: the sketch for papers and slides; TeX sets the labels in the font of the surrounding text.

The file is a picture for ``\input``, which needs only the package ``tikz``. The file is also a complete
document: ``pdflatex net.tex`` makes a page of the picture's size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np

from .marks import extent, head, layers, marks, shaft
from .sketch import Arc, Points, Sketch, Vertex
from .style import EDGE_FONT, LOOKS, NODE_FONT, PAD
from .tex import tex

__all__ = ["tikz"]

SCALE = 9 / NODE_FONT
"""Scale of the picture: the letters of nodes are TeX's \normalsize, 10 points in most documents, smaller than on a screen."""
SIZES = ((NODE_FONT, r"\normalsize"), (EDGE_FONT, r"\small"), (0.0, r"\footnotesize"))
"""TeX's size commands, each with the smallest font size in points for which it is used."""
EAST = 0x2E80
"""The first character of East Asian scripts, which pdflatex does not support."""
DASHES = {"dashed": "dash pattern=on 3.5bp off 1.5bp", "dotted": "dash pattern=on 1bp off 3.5bp"}

BEFORE = r"""\expandafter\ifx\csname @nodocument\endcsname\relax\let\endpicturefile\relax\else  %% a document of its own
\documentclass{article}
\usepackage{tikz}
\usepackage[papersize={%(width)sbp,%(height)sbp},margin=0bp,noheadfoot]{geometry}
%(letters)s\pagestyle{empty}\parindent0pt\topskip0pt\parskip0pt
\def\endpicturefile{\end{document}}
\begin{document}
\fi
"""
LETTERS = r"""\ifx\Umathchar\undefined
\errmessage{The names in this picture have letters that pdflatex does not know: run lualatex or xelatex}
\else
\usepackage{fontspec}
\IfFontExistsTF{Noto Serif CJK SC}{\setmainfont{Noto Serif CJK SC}}{\setmainfont{FandolSong}}
\fi
"""


def tikz(sketch: Sketch, title: str = "") -> str:
    """A sketch, whose nodes have positions and whose edges have paths, as TikZ for LaTeX.

    Nodes have the same names as in SVG, so that later TikZ code can refer to ``(h-1)``.

    Parameters
    ----------
    sketch : Sketch
    title : str
        The content of the picture in one line, for a comment.
    """
    box = extent(sketch)
    drawn = [*_drawn(sketch)]
    colors = dict.fromkeys(re.findall(r"\bc([0-9A-F]{6})\b", "\n".join(drawn)))
    corners = (box[0] - PAD, box[1] - PAD, box[2] + PAD, box[3] + PAD)
    width, height = (corners[2] - corners[0]) * SCALE, (corners[3] - corners[1]) * SCALE
    letters = LETTERS if any(ord(c) >= EAST for line in drawn for c in line) else ""
    return "\n".join(
        [
            f"% {' '.join(title.split())}" if title else "%",
            r"% \usepackage{tikz}, then \input this file, or \resizebox{\linewidth}{!}{\input{…}}",
            BEFORE % {"width": _n(width + 0.5), "height": _n(height + 0.5), "letters": letters}
            + rf"\begin{{tikzpicture}}[x={SCALE:.4f}bp,y={SCALE:.4f}bp,line join=round,inner sep=0pt,outer sep=0pt]",
            *(rf"\definecolor{{c{color}}}{{HTML}}{{{color}}}" for color in colors),
            rf"\useasboundingbox {_at(corners[:2])} rectangle {_at(corners[2:])};",
            *drawn,
            r"\end{tikzpicture}",
            r"\endpicturefile",
            "",
        ]
    )


def _drawn(sketch: Sketch) -> Iterator[str]:
    """The lines of a TikZ picture, in drawing order."""
    frames, others = layers(sketch)
    yield from (line for vertex in frames for line in _node(vertex))
    yield from (line for arc in sketch.arcs for line in _edge(arc))
    yield from (line for vertex in [*others, *marks(sketch)] for line in _node(vertex))


def _n(number: float) -> str:
    return f"{round(float(number), 1) + 0.0:.1f}".removesuffix(".0")


def _at(point: Iterable[float]) -> str:
    return f"({','.join(map(_n, point))})"


def _color(color: str) -> str:
    return "c" + {"black": "000000", "white": "FFFFFF"}.get(color, color.removeprefix("#")).upper()


def _node(vertex: Vertex) -> Iterator[str]:
    look, shape = LOOKS[vertex.kind], vertex.shape
    x, y, w, h = vertex.x, vertex.y, vertex.width / 2, vertex.height / 2
    paint = []
    if shape != "plaintext" or "filled" in look.style:
        paint.append(f"fill={_color(vertex.fill)}")
    if shape != "plaintext":
        paint += [f"draw={_color(vertex.border)}", f"line width={look.width * SCALE:.2g}bp"]
        paint += [dashes for style, dashes in DASHES.items() if style in look.style]
    name = re.sub(r"[^\w]+", "-", vertex.name).strip("-")
    size = [f"minimum width={2 * w * SCALE:.1f}bp", f"minimum height={2 * h * SCALE:.1f}bp"]
    if shape in ("circle", "point"):
        size = ["circle", f"minimum size={2 * w * SCALE:.1f}bp"]
    elif shape == "ellipse":
        yield rf"\path[{','.join(paint)}] {_at((x, y))} ellipse[x radius={_n(w)},y radius={_n(h)}];"
        paint = []
    elif shape == "diamond":
        corners = ((x, y + h), (x + w, y), (x, y - h), (x - w, y))
        yield rf"\path[{','.join(paint)}] {' -- '.join(map(_at, corners))} -- cycle;"
        paint = []
    elif vertex.boxed or "rounded" in look.style:
        paint.append(f"rounded corners={min(12.0, 2 * w / 3, 2 * h / 3) * SCALE:.1f}bp")
    label = _text(vertex.label, vertex.font, vertex.ink)
    yield rf"\node[{','.join([*size, *paint])}] ({name}) at {_at((x, y))} {{{label}}};"


def _edge(arc: Arc) -> Iterator[str]:
    body, color = shaft(arc), _color(arc.stroke.color)
    paint = [f"draw={color}", f"line width={arc.stroke.width * SCALE:.2g}bp"]
    paint += [dashes for style, dashes in DASHES.items() if style == arc.stroke.style]
    yield rf"\path[{','.join(paint)}] {_path(body)};"
    if arc.head:
        yield rf"\fill[{color}] {' -- '.join(map(_at, head(arc, body)))} -- cycle;"
    if arc.label and arc.label_at is not None and not arc.cut and not arc.label_on:
        yield rf"\node at {_at(arc.label_at)} {{{_text(arc.label, EDGE_FONT, arc.stroke.color)}}};"


def _path(points: Points) -> str:
    """Curves in TikZ's syntax, straight curves as lines."""
    text = _at(points[0])
    for k in range(0, len(points) - 1, 3):
        a, b, c, d = points[k : k + 4]
        bend = np.abs([b - a - (d - a) / 3, d - c - (d - a) / 3]).max()
        text += f" -- {_at(d)}" if bend < 0.05 else f" .. controls {_at(b)} and {_at(c)} .. {_at(d)}"
    return text


def _text(label: str, size: float, ink: str) -> str:
    """A label in its size and colour as TeX, line by line."""
    if not label:
        return ""
    command = next(command for least, command in SIZES if size >= least)
    lines = r"\\".join(tex(line) for line in label.split("\n"))
    if "\n" in label:
        lines = rf"\shortstack{{{lines}}}"
    return rf"{command}\color{{{_color(ink)}}}{lines}"
