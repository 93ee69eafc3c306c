"""The backward pass: an unrolled picture with reversed edges, whose width shows the gradient that flows along each edge."""

from __future__ import annotations

import numpy as np

from .colors import LOW
from .finish import add_note
from .numbers import short_number
from .route import route
from .sketch import Arc, Sketch
from .style import CUT, GREY, VERMILION, Kind, Stroke, lighter

__all__ = ["turn_round", "width_of"]

GIVEN = (Kind.INPUT, Kind.TARGET, Kind.MASK)
"""Kinds of nodes that are data: gradients end at these nodes."""
THINNEST, DECADE, THICKEST = 1.0, 0.8, 9.0
"""Widths in points: for norms up to LOW, the increase for each factor of ten, and the largest width."""


def width_of(norm: float) -> float:
    """The width of an edge for a gradient's norm, on one logarithmic scale for all pictures.

    Examples
    --------
    >>> [width_of(norm) for norm in (1e-9, 1e-6, 1e-3, 1.0, np.inf)]
    [1.0, 1.0, 3.4, 5.8, 9.0]
    """
    decades = np.log10(max(norm, LOW) / LOW)
    return round(float(min(THINNEST + DECADE * decades, THICKEST)), 2)


def turn_round(sketch: Sketch) -> None:
    """Reverse the edges through which a gradient returns, label them with the gradient or its norm, and fade all others.

    An edge is dashed if its gradient is exactly zero, and dotted and red if its gradient is NaN. An
    edge that is cut off has scissors and no number. A tiny gradient has a thin edge and a number.

    Parameters
    ----------
    sketch : Sketch
        A sketch with places and paths, which do not change, and with the gradients of its edges.
    """
    for arc in sketch.arcs:
        arc.label_at = None
        if arc.cut:
            _turn(arc)
        elif arc.gradient is None or arc.source.kind in GIVEN:
            arc.stroke = arc.stroke._replace(color=lighter(arc.stroke.color, 0.6))
        else:
            norm = float(np.linalg.norm(arc.gradient))
            arc.label = short_number(float(arc.gradient.item()) if arc.gradient.size == 1 else norm)
            arc.stroke, arc.label_on = _stroke(norm), False
            arc.tooltip = f"what comes back: {arc.label}"
            _turn(arc)
    route(sketch)  # gives the new labels their places
    add_note(sketch, f"what comes back by each edge, or its norm; width on a log scale from {short_number(LOW)}")


def _turn(arc: Arc) -> None:
    assert arc.path is not None
    arc.head = arc.source.kind is not Kind.JUNCTION
    arc.source, arc.target, arc.path = arc.target, arc.source, arc.path[::-1].copy()


def _stroke(norm: float) -> Stroke:
    if np.isnan(norm):
        return Stroke(CUT, 2.0, "dotted")
    return Stroke(VERMILION, width_of(norm)) if norm else Stroke(GREY, style="dashed")
