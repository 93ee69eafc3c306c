"""SVG: the sketch as one element of a page; needs no other installed program."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator
from html import escape

import numpy as np

from .marks import extent, head, layers, marks, shaft
from .sketch import Arc, Points, Sketch, Vertex
from .style import CARD, DASHES, EDGE_FONT, FONTS, LOOKS, PAD
from .symbols import BASE, LOWERED, RAISED, SMALLER, parts, plain

__all__ = ["svg"]

SHIFT = {LOWERED: -0.2, BASE: 0.0, RAISED: 0.35}
"""Vertical shift of the letters of each level, in font sizes."""


def svg(sketch: Sketch, name: str, title: str = "", description: str = "") -> str:
    """A sketch, whose nodes have positions and whose edges have paths, as an SVG element.

    Each node is a group with the class ``node`` and a class for its kind. Each edge is a group with
    the class ``edge`` and classes for the kinds of its ends: ``edge from-input to-state``. A group
    has a tooltip, and an id made of its name that is unique among the figures of a page.

    Parameters
    ----------
    sketch : Sketch
    name, title, description : str
        The name of the picture, its content in one line, and its whole content in words.
    """
    left, bottom, right, top = extent(sketch)
    width, height = right - left + 2 * PAD, top - bottom + 2 * PAD
    groups = [*_arranged(sketch)]
    prefix = f"{_slug(name)}-{zlib.crc32(repr(((name, title), *groups)).encode('utf-8', 'replace')):08x}"
    seen: Counter[str] = Counter()
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_n(width)}pt" height="{_n(height)}pt"'
        f' viewBox="{_n(left - PAD)} {_n(-top - PAD)} {_n(width)} {_n(height)}"'
        f' font-family="{", ".join(FONTS)}" text-anchor="middle" role="img" aria-label="{escape(title or name)}">',
        f"<desc>{escape(description or title or name)}</desc>",
        f'<rect x="{_n(left - PAD)}" y="{_n(-top - PAD)}" width="{_n(width)}" height="{_n(height)}" fill="{CARD}"/>',
    ]
    for kind, called, tooltip, drawn in groups:
        slug = _slug(called)
        seen[slug] += 1
        unique = f"{prefix}-{slug}" if seen[slug] == 1 else f"{prefix}-{slug}.{seen[slug]}"
        lines.append(f'<g id="{unique}" class="{kind}"><title>{escape(tooltip)}</title>{drawn}</g>')
    return "\n".join([*lines, "</svg>"])


def _arranged(sketch: Sketch) -> Iterator[tuple[str, str, str, str]]:
    """Class, name, tooltip and content of each SVG group, in drawing order."""
    frames, others = layers(sketch)
    yield from map(_node, frames)
    yield from map(_edge, sketch.arcs)
    yield from map(_node, [*others, *marks(sketch)])


def _slug(name: str) -> str:
    """A name as part of an id, without characters that ids cannot have: h[1] becomes h-1."""
    return re.sub(r"[^\w.]+", "-", name).strip("-") or "unnamed"


def _n(number: float) -> str:
    """A coordinate as text, rounded to a tenth of a point."""
    return f"{round(float(number), 1) + 0.0:.1f}".removesuffix(".0")


def _points(points: Points) -> str:
    """Points as text, with y downwards as in SVG."""
    return " ".join(f"{_n(x)},{_n(-y)}" for x, y in points)


def _node(vertex: Vertex) -> tuple[str, str, str, str]:
    tooltip = vertex.tooltip or plain(vertex.label) or vertex.name
    return f"node {vertex.kind.value}", vertex.name, tooltip, _outline(vertex) + _vertex_text(vertex)


def _outline(vertex: Vertex) -> str:
    """The SVG element of a node's outline."""
    look = LOOKS[vertex.kind]
    shape = vertex.shape
    x, y, w, h = vertex.x, -vertex.y, vertex.width, vertex.height
    paint = f'fill="{vertex.fill}"'
    if shape != "plaintext":
        paint += f' stroke="{vertex.border}" stroke-width="{look.width:g}"'
        paint += next((f' stroke-dasharray="{DASHES[style]}"' for style in look.style.split(",") if style in DASHES), "")
    elif "filled" not in look.style:
        return ""
    if shape in ("circle", "point", "ellipse"):
        return f'<ellipse cx="{_n(x)}" cy="{_n(y)}" rx="{_n(w / 2)}" ry="{_n(h / 2)}" {paint}/>'
    if shape == "diamond":
        corners = np.array([[x, -y + h / 2], [x + w / 2, -y], [x, -y - h / 2], [x - w / 2, -y]])
        return f'<polygon points="{_points(corners)}" {paint}/>'
    corner = f' rx="{_n(min(12.0, w / 3, h / 3))}"' if vertex.boxed or "rounded" in look.style else ""
    return f'<rect x="{_n(x - w / 2)}" y="{_n(y - h / 2)}" width="{_n(w)}" height="{_n(h)}"{corner} {paint}/>'


def _vertex_text(vertex: Vertex) -> str:
    return "".join(_lines(vertex.label, vertex.x, vertex.y, vertex.font, vertex.ink)) if vertex.label else ""


def _lines(label: str, x: float, y: float, size: float, ink: str) -> Iterator[str]:
    """The text elements of a label's lines, centred at a point."""
    lines = label.split("\n")
    for k, line in enumerate(lines):
        baseline = -y + size * (0.34 + 1.2 * (k - (len(lines) - 1) / 2))
        yield f'<text x="{_n(x)}" y="{_n(baseline)}" font-size="{size:g}" fill="{ink}">{"".join(_runs(line, size))}</text>'


def _runs(line: str, size: float) -> Iterator[str]:
    """The text spans of a line, with smaller letters in subscripts and superscripts."""
    risen = 0.0
    for text, level in parts(line):
        rise = size * SHIFT[level]
        shift = f' dy="{_n(risen - rise)}"' if risen != rise else ""
        small = f' font-size="{size * SMALLER:.1f}"' if level != BASE else ""
        yield f"<tspan{shift}{small}>{escape(text)}</tspan>" if shift or small else escape(text)
        risen = rise


def _edge(arc: Arc) -> tuple[str, str, str, str]:
    kinds = [f"edge from-{arc.source.kind.value} to-{arc.target.kind.value}"]
    kinds += [word for word, holds in (("recurrent", arc.lag > 0), ("held", arc.held), ("cut", arc.cut)) if holds]
    body, stroke = shaft(arc), arc.stroke
    dashes = f' stroke-dasharray="{DASHES[stroke.style]}"' if stroke.style in DASHES else ""
    drawn = f'<path d="M{_points(body[:1])} C{_points(body[1:])}" fill="none" stroke="{stroke.color}"'
    drawn += f' stroke-width="{stroke.width:g}"{dashes}/>'
    if arc.head:
        drawn += f'<polygon points="{_points(head(arc, body))}" fill="{stroke.color}"/>'
    if arc.label and arc.label_at is not None and not arc.cut and not arc.label_on:
        drawn += "".join(_lines(arc.label, *arc.label_at, EDGE_FONT, stroke.color))
    return " ".join(kinds), f"{arc.source.name} to {arc.target.name}", arc.tooltip or "no parameter", drawn
