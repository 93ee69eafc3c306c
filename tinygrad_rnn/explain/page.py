"""HTML of a page without external files: skeleton, style sheet, tables and inline pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["definitions", "figure", "formulas", "inline_svg", "page", "section", "table"]

STYLE = """
:root { --ink: #24292f; --soft: #5d636b; --line: #e3e5e8; --blue: #0072B2; --pink: #b0568a; --paper: #fff; color-scheme: light }
* { box-sizing: border-box }
html { background: #f6f7f8 }
body { margin: 0 auto; max-width: 62rem; padding: 2.5rem clamp(1rem, 5vw, 4rem) 4rem; background: var(--paper);
       color: var(--ink); font: 1rem/1.6 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif }
h1 { margin: 0 0 .4rem; font-size: 1.9rem; line-height: 1.25; letter-spacing: -.01em }
h2 { margin: 3rem 0 .6rem; padding-top: 1.1rem; border-top: 1px solid var(--line); font-size: 1.25rem }
p { max-width: 44rem; margin: .6rem 0 } .lead { font-size: 1.12rem; color: var(--soft) }
.notice { max-width: 44rem; border-left: 3px solid #E69F00; padding: .3rem 1rem; background: #fff9ec }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .88em }
pre { margin: .4rem 0 1rem; padding: .8rem 1rem; background: #f6f7f8; border-radius: 6px; white-space: pre-wrap;
      overflow-wrap: anywhere; line-height: 1.5 }
figure { margin: 1.4rem 0 } figcaption { max-width: 44rem; color: var(--soft); font-size: .92rem }
.picture { overflow-x: auto; padding: .4rem 0 }
.picture svg { display: block; max-width: 100%; max-height: 42rem; height: auto }
.wide svg { min-width: 46rem }
.formula { overflow-x: auto; padding: .15rem 0 .15rem 3rem; text-indent: -2rem; line-height: 2 }
.formula math { text-indent: 0; font-size: 1.1rem }
table { border-collapse: collapse; width: 100%; max-width: 44rem; font-variant-numeric: tabular-nums }
thead th:nth-child(n + 2) { text-align: right }
th, td { padding: .35rem .8rem .35rem 0; text-align: left; border-bottom: 1px solid var(--line); font-weight: normal }
thead th { color: var(--soft); font-size: .88rem } .number { text-align: right; white-space: nowrap }
.own { color: var(--pink); font-weight: 600 } .bar { width: 55% }
.bar i { display: block; height: .7rem; border-radius: 2px; background: #c3c8ce }
.own .bar i { background: var(--pink) }
dl { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .15rem 1.5rem; margin: .6rem 0 }
dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere }
mark { background: none; color: var(--blue); font-weight: 600 }
@media (max-width: 36rem) { dl { grid-template-columns: 1fr } dd { margin-bottom: .4rem } .bar { width: 35% } }
@media print { html { background: none } body { padding: 0; max-width: none } h2 { margin-top: 1.2rem }
               figure, table, pre, dl, .formula { break-inside: avoid } pre { break-before: avoid }
               h2, section > p { break-after: avoid; break-inside: avoid }
               .picture svg { max-height: 9.5cm } .wide svg { min-width: 0 } .formula, .picture { overflow: visible } }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """The complete HTML document.

    Parameters
    ----------
    title : str
    parts : iterable of str
        The parts of the body, as HTML.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A section of the page: a heading and its HTML content."""
    return "\n".join([f"<section>\n<h2>{escape(title)}</h2>", *parts, "</section>"])


def figure(content: str, caption: str, wide: bool = False, code: str = "") -> str:
    """A picture with a caption and the code that draws it; a wide picture can be scrolled."""
    kind = "picture wide" if wide else "picture"
    below = f"\n<pre>{escape(code)}</pre>" if code else ""
    return f'<figure>\n<div class="{kind}">{content}</div>\n<figcaption>{escape(caption)}</figcaption>{below}\n</figure>'


def formulas(lines: Iterable[str]) -> str:
    """Equations as HTML, with possible line breaks in each equation."""
    return "\n".join(f'<div class="formula">{line}</div>' for line in lines)


def table(head: Sequence[str], rows: Iterable[tuple[str, str]]) -> str:
    """An HTML table of rows of cells; each row has a class."""
    heads = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "\n".join(f'<tr class="{kind}">{cells}</tr>' for kind, cells in rows)
    return f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """An HTML list of names with their values."""
    return "<dl>\n" + "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs) + "\n</dl>"


def inline_svg(svg: str, alt: str, prefix: str) -> str:
    """An SVG picture as part of a page, with a text for screen readers and ids that are unique on the page.

    Parameters
    ----------
    svg : str
    alt : str
    prefix : str
        Text before every id, which makes ids unique if several pictures are on one page.

    Examples
    --------
    >>> inline_svg('<?xml version="1.0"?><svg width="1"><path id="a"/><use href="#a"/></svg>', "a dot", "p")
    '<svg role="img" aria-label="a dot" width="1"><path id="p-a"/><use href="#p-a"/></svg>'
    """
    svg = svg[re.search(r"<svg\b", svg).start() :].strip()  # type: ignore[union-attr]
    svg = re.sub(r'(\sid|(?:xlink:)?href)="(#?)([^":/]+)"', lambda m: _own_id(m, prefix), svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1)


def _own_id(found: re.Match[str], prefix: str) -> str:
    attribute, mark, value = found.groups()
    is_reference = attribute.endswith("href")
    return f'{attribute}="{mark}{prefix}-{value}"' if not is_reference or mark else found.group()
