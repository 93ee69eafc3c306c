"""Drawing: a sketch that can be viewed, saved, or shown in a notebook."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..console import counted
from ..errors import DataError, RendererError, TinygradError
from ..files import check_writable, write_bytes
from .build_up import built_up
from .dot import written
from .render import FORMATS, render
from .row import Drawings
from .sketch import Sketch
from .svg import svg
from .tikz import tikz

__all__ = ["Drawing"]


class Drawing:
    """A picture of a graph or a network.

    Attributes
    ----------
    sketch : Sketch
        The nodes and edges, with their places and paths.
    name : str
        Name of the DOT graph.
    title : str
        A title for screen readers, which says what the picture shows.
    description : str
        A description of the nodes in words, for screen readers.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> drawing = nn.RNNCell(3, 5).draw()
    >>> drawing.source.splitlines()[0]
    'digraph RNNCell {'
    >>> drawing.svg()[:4]
    '<svg'
    """

    def __init__(self, sketch: Sketch, title: str = "", description: str = "", name: str = "graph") -> None:
        self.sketch = sketch
        self.name = name
        self.title, self.description = map(_writable, (title, description))

    @property
    def source(self) -> str:
        """The DOT text of the picture; the same in every run."""
        return _writable(written(self.sketch, self.name))

    def svg(self) -> str:
        """The picture as an accessible SVG element with unique ids; needs no installed renderer."""
        return _writable(svg(self.sketch, self.name, self.title, self.description))

    def build_up(self) -> Drawings:
        """The picture after each step, for a series of slides; node positions do not change.

        Raises
        ------
        TinygradError
            If the picture is not unrolled.

        Examples
        --------
        >>> from tinygrad_rnn import nn
        >>> slides = nn.RNNCell(3, 5).draw(time="unrolled", steps=3).build_up()
        >>> [sum(vertex.kind == "state" for vertex in slide.sketch.vertices) for slide in slides]
        [1, 2, 3]
        """
        sketches = built_up(self.sketch)
        if len(sketches) < 2:
            raise TinygradError(
                f'only an unrolled drawing has steps to build up, and this is {self!r}; draw with time="unrolled"'
            )
        titles = [f"{self.title}, after {counted(k, 'step')}" for k in range(1, len(sketches))] + [self.title]
        return Drawings(
            Drawing(sketch, title, self.description, self.name) for sketch, title in zip(sketches, titles, strict=True)
        )

    def __or__(self, other: Drawing | Drawings) -> Drawings:
        return Drawings([self]) | other

    def tikz(self) -> str:
        r"""The picture for LaTeX: a text for ``\input`` that is also a complete document.

        TeX sets the labels. A document with the picture needs ``\usepackage{tikz}``, and
        ``\resizebox{\linewidth}{!}{\input{net}}`` makes it as wide as the text. Names in
        Chinese or Japanese letters need LuaLaTeX or XeLaTeX, and a font with these letters.

        Examples
        --------
        >>> from tinygrad_rnn import nn
        >>> print(nn.RNNCell(3, 5).draw().tikz().splitlines()[-3])
        \node[minimum width=15.2bp,minimum height=9.7bp] (h-z1-note) at (94,80) {\footnotesize\color{c24292F}$z^{{-}1}$};
        """
        return _writable(tikz(self.sketch, self.title))

    def save(self, path: str | Path) -> Path:
        """Write the picture to a file; the suffix decides the format.

        Parameters
        ----------
        path : str or Path
            A name that ends in .svg, .png, .pdf, .tex (for TikZ), or .gv (for the DOT text).

        Returns
        -------
        Path

        Raises
        ------
        DataError
            If the name has another suffix, or the file cannot be written.
        RendererError
            If a .png or .pdf is wanted and no renderer is installed. The DOT text is then saved in the
            same folder, with the suffix .gv.
        """
        check_writable(path, "the drawing")  # check first, before the picture is rendered
        path = Path(path)
        form = path.suffix.lower().lstrip(".")
        if form in ("gv", "dot"):
            return write_bytes(path, self.source.encode(), "the drawing")
        if form == "tex":
            return write_bytes(path, self.tikz().encode(), "the drawing")
        if form not in FORMATS:
            raise DataError(
                f"the name of a drawing's file must end in {', '.join('.' + f for f in FORMATS)}, .tex or .gv, not be "
                f"{path.name!r}"
            )
        try:
            content = self.svg().encode() if form == "svg" else render(self.source, form)
        except RendererError as error:
            beside = write_bytes(path.with_suffix(".gv"), self.source.encode(), "the drawing")
            raise RendererError(f"{error}; the DOT text is in {beside}") from None
        return write_bytes(path, content, "the drawing")

    def show(self) -> None:
        """Open the picture in the system's viewer."""
        import tempfile
        import webbrowser

        with tempfile.NamedTemporaryFile(suffix=".svg", delete=False) as file:
            path = Path(file.name)
        webbrowser.open(self.save(path).as_uri())

    def __repr__(self) -> str:
        return f"<Drawing of {self.title or 'a graph'}>"

    def __str__(self) -> str:
        return self.source

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "image/svg+xml": self.svg()}


def _writable(text: str) -> str:
    """A text in which characters that XML cannot hold are replaced."""
    return re.sub("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", "\N{REPLACEMENT CHARACTER}", text)
