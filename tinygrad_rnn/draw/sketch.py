"""A sketch: the nodes and edges of a drawing, before and after they have places."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from .colors import ink_on
from .style import CARD, CUT, INK, LOOKS, NODE, NODE_FONT, Kind, Stroke, lighter
from .symbols import text_width

__all__ = ["Arc", "Box", "Points", "Sketch", "Vertex"]

Points = npt.NDArray[np.float64]
"""Control points of Bézier curves, (3n + 1, 2)."""
Box = tuple[float, float, float, float]
"""The left, bottom, right and top border."""


@dataclass(eq=False)
class Vertex:
    """A node of a drawing.

    Attributes
    ----------
    name : str
        A unique and readable name, used as id in SVG and as name in DOT.
    family : hashable
        A key that is the same for one value at all steps.
    kind : Kind
    label : str
        Text on the node, line by line; see :mod:`tinygrad_rnn.draw.symbols`.
    base : str
        The label without step, layer and numbers.
    step : int or None
        The step in the label.
    column : int or None
        The time of the node; None if the node belongs to no step.
    run : int or None
        Number of the node's unrolling.
    color : str or None
        A colour instead of the colour of the node's kind.
    boxed : bool
        Whether the node is a box with room for lines of text, instead of the shape of its kind.
    faint : bool
        Whether the node is pale, because other nodes are highlighted or because the node is only a copy of the state before.
    """

    name: str
    family: Hashable
    kind: Kind
    label: str = ""
    column: int | None = None
    run: int | None = None
    tooltip: str = ""
    width: float = NODE
    height: float = NODE
    color: str | None = None
    row: float = 0.0
    x: float = 0.0
    y: float = 0.0
    font: float = NODE_FONT
    boxed: bool = False
    base: str = ""
    step: int | None = None
    faint: bool = False

    @property
    def border(self) -> str:
        """Colour of the node's outline."""
        if self.kind is Kind.CELL:
            return LOOKS[self.kind].color
        color = self.color or LOOKS[self.kind].color
        return lighter(color) if self.faint else color

    @property
    def fill(self) -> str:
        """Fill colour of the node, light enough for text."""
        look = LOOKS[self.kind]
        if self.faint:
            return self.border if self.kind is Kind.JUNCTION else CARD
        if self.kind is Kind.CELL:
            return self.color or look.fill
        if self.color is None or self.kind in (Kind.INITIAL, Kind.FRAME) or look.shape == "plaintext":
            return look.fill
        return self.color if self.kind is Kind.JUNCTION else lighter(self.color)

    @property
    def ink(self) -> str:
        """Colour of the node's label."""
        look = LOOKS[self.kind]
        if self.kind is Kind.DELAY:
            return CARD
        if self.kind is Kind.CELL:
            return ink_on(self.fill)
        if self.kind is Kind.LOST:
            return CUT
        if look.shape == "plaintext":
            return self.border
        return lighter(INK) if self.faint else INK

    @property
    def shape(self) -> str:
        """Shape of the node, by Graphviz's name."""
        return "box" if self.boxed else LOOKS[self.kind].shape

    @property
    def round(self) -> bool:
        """Whether the node is a circle."""
        return self.shape in ("circle", "point")

    def fit(self, padding: float = 16.0) -> None:
        """Widen the node to its label."""
        lines = self.label.split("\n")
        self.width = max(self.width, max(text_width(line, self.font) for line in lines) + padding)
        self.height = self.width if self.round else max(self.height, len(lines) * self.font * 1.3 + 10)


@dataclass(eq=False)
class Arc:
    """An edge of a drawing.

    Attributes
    ----------
    lag : int
        Number of steps between source and target; at least 1 for a recurrent edge.
    label : str
    plain : bool
        Whether the edge has no parameter.
    cut : bool
        Whether a ``.detach()`` keeps the gradient from passing.
    head : bool
        Whether the edge ends in an arrowhead.
    label_on : bool
        Whether the label is on the edge, not next to it.
    held : bool
        Whether the edge only holds a value, through a mask.
    gradient : ndarray or None
        The gradient that flows back along the edge, in a picture of the backward pass.
    path : Points or None
        Curves from border to border, set by routing; the last point is the tip.
    """

    source: Vertex
    target: Vertex
    stroke: Stroke
    lag: int = 0
    label: str = ""
    tooltip: str = ""
    plain: bool = True
    cut: bool = False
    head: bool = True
    path: Points | None = None
    label_at: tuple[float, float] | None = None
    label_on: bool = False
    held: bool = False
    gradient: npt.NDArray[np.float64] | None = None

    def between(self, source: Vertex, target: Vertex, lag: int = 0) -> Arc:
        """The same edge between other nodes, without a path; the edge of a mask has no lag."""
        lag = 0 if source.kind is Kind.MASK else lag
        return replace(self, source=source, target=target, lag=lag, path=None, label_at=None, held=False)


@dataclass
class Sketch:
    """Nodes and edges of a drawing, with its texts and options.

    Attributes
    ----------
    vertices : list of Vertex
    arcs : list of Arc
    description : str
        The content of the picture, in words.
    owners : dict of str to list of hashable
        Maps each parameter's symbol to the families of the values computed with the parameter.
    numbers : dict of str to list of str
        Maps each parameter's symbol to lines with its value and its gradient.
    backwards : set of int
        Numbers of the runs that go from the end of the sequence to its start.
    numbered : list of int
        Steps whose numbers a folded drawing shows.
    aspect : float or None
        Width of the picture divided by its height; None for no wanted ratio.
    page : Box or None
        The bounding box, if it differs from the bounding box of the nodes and edges.
    """

    vertices: list[Vertex] = field(default_factory=list)
    arcs: list[Arc] = field(default_factory=list)
    description: str = ""
    owners: dict[str, list[Hashable]] = field(default_factory=dict)
    numbers: dict[str, list[str]] = field(default_factory=dict)
    backwards: set[int] = field(default_factory=set)
    numbered: list[int] = field(default_factory=list)
    aspect: float | None = None
    page: Box | None = None
