"""What the docs need of Sphinx: formulas without a script, drawings with tooltips, the reference, and pages from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes

from . import elsewhere, formulas, reference

WIDE = ("models/gallery", "zh/models/gallery")
"""Pages that have the room of the table of contents too, so that two pictures stand side by side."""


def _read(app: Any, docname: str, source: list[str]) -> None:
    """Links lead to built pages, and lists of pages are the side bar."""
    if docname.startswith("generated/"):
        return
    path = Path(app.srcdir) / f"{docname}.md"
    source[0] = elsewhere.linked(source[0], path, docname)
    if docname in ("index", "reference", "zh/index"):
        source[0] += elsewhere.side_bar(source[0])


def _draw(app: Any, doctree: nodes.document) -> None:
    """A drawing stands in the page itself, and not as an image: its tooltips and its text stay alive."""
    folder = Path(app.env.doc2path(app.env.docname)).parent
    for image in list(doctree.findall(nodes.image)):
        path = folder / image["uri"]
        if path.suffix == ".svg" and path.parent.parent.name == "pictures":
            app.env.note_dependency(str(path))
            svg = path.read_text(encoding="utf-8")
            html = f'<span class="drawing">{svg[svg.index("<svg") :]}</span>'
            image.parent["classes"] = ["drawings"]
            image.replace_self(nodes.raw("", html, format="html"))


def _widen(app: Any, docname: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if docname in WIDE:
        context["furo_hide_toc"] = True


def _tell_language(app: Any, docname: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """What fonts are chosen by, and what a page is read aloud in."""
    if docname.startswith("zh/"):
        context["language"] = "zh-CN"


def _inline(self: Any, node: nodes.math) -> None:
    self.body.append(formulas.svg(node.astext(), False))
    raise nodes.SkipNode


def _block(self: Any, node: nodes.math_block) -> None:
    self.body.append(formulas.block(node.astext()))
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathtext", (_inline, None), (_block, None))
    app.connect("builder-inited", reference.write)
    app.connect("builder-inited", elsewhere.write)
    app.connect("source-read", _read)
    app.connect("doctree-read", _draw, priority=400)  # before Sphinx copies the images
    app.connect("html-page-context", _widen, priority=900)  # after the theme
    app.connect("html-page-context", _tell_language)
    app.connect("autodoc-process-docstring", reference.facts)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
