"""What these pages need of Sphinx: blocks that run, formulas without a script, the reference, and a page for each example."""

from __future__ import annotations

from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from . import examples, formulas, reference
from .page import Block, Page, PageError

log = logging.getLogger(__name__)

_pages: dict[str, Page] = {}


class Run(SphinxDirective):
    """Show a block of code, run it, and show what came of it."""

    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {
        "raises": directives.unchanged,  # the error that is the point of the block
        "show": directives.unchanged,  # "code", "output" or both
        "as": directives.unchanged,  # "math": what is printed is LaTeX
        "write": directives.unchanged,  # the file of the page's folder that holds the code as well
        "status": directives.unchanged,  # of a command
        "picture": directives.unchanged,  # the SVG that a command writes
    }

    def run(self) -> list[nodes.Node]:
        """The nodes that Sphinx puts in the directive's place."""
        kind = self.name
        code = "\n".join(self.content)
        options = {key: value or "" for key, value in self.options.items()}
        page = _pages.setdefault(self.env.docname, Page(self.env.docname))
        show = options.get("show", "both")
        shown: list[nodes.Node] = []
        if show != "output" and kind == "python-run":
            literal = nodes.literal_block(code, code, language="python")
            if "write" in options:
                shown.append(_caption(options["write"]))
            shown.append(literal)
        try:
            text, pictures = page.run(Block(kind, code, options))
        except PageError as error:
            log.warning("%s", error, location=self.get_location())
            return shown
        if show == "code":
            return shown
        if text and options.get("as") == "math":
            shown.append(nodes.math_block(text, text, number=None, nowrap=True, docname=self.env.docname))
        elif text:
            shown.append(nodes.literal_block(text, text, language="text", classes=["output"]))
        return [*shown, *(_picture(svg) for svg in pictures)]


def _picture(svg: str) -> nodes.Node:
    """The SVG itself, not an image of it: its tooltips and its text stay alive."""
    svg = svg[svg.index("<svg") :]
    return nodes.raw("", f'<div class="drawing">{svg}</div>', format="html")


def _caption(text: str) -> nodes.Node:
    return nodes.paragraph("", "", nodes.literal(text, text), classes=["file"])


def _close(app: Any, doctree: Any) -> None:
    page = _pages.pop(app.env.docname, None)
    if page is not None:
        page.close()


def _inline(self: Any, node: nodes.math) -> None:
    self.body.append(formulas.svg(node.astext(), False))
    raise nodes.SkipNode


def _block(self: Any, node: nodes.math_block) -> None:
    self.body.append(formulas.block(node.astext()))
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("python-run", Run)
    app.add_directive("shell-run", Run)
    app.add_html_math_renderer("mathtext", (_inline, None), (_block, None))
    app.connect("doctree-read", _close)
    app.connect("builder-inited", reference.write)
    app.connect("builder-inited", examples.write)
    app.connect("autodoc-process-docstring", reference.facts)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
