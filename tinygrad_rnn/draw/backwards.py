"""The backward pass: an unrolled picture whose edges are turned round, as wide as the gradients that come back by them."""

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
"""Data: no gradient goes on from there."""
THINNEST, DECADE, THICKEST = 1.0, 0.8, 9.0
"""Widths in points: of the norm LOW and of what is smaller, what ten times the norm adds, and of all that is very large."""


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

    A gradient that is exactly zero is dashed, one that is NaN is dotted and red, one that is cut off
    has scissors and no number, and a tiny one is thin and has a number.

    Parameters
    ----------
    sketch : Sketch
        With places and paths, which stay as they are, and with the gradients of its edges.
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
    route(sketch)  # the new labels get their places
    add_note(sketch, f"what comes back by each edge, or its norm; width on a log scale from {short_number(LOW)}")


def _turn(arc: Arc) -> None:
    assert arc.path is not None
    arc.head = arc.source.kind is not Kind.JUNCTION
    arc.source, arc.target, arc.path = arc.target, arc.source, arc.path[::-1].copy()


def _stroke(norm: float) -> Stroke:
    if np.isnan(norm):
        return Stroke(CUT, 2.0, "dotted")
    return Stroke(VERMILION, width_of(norm)) if norm else Stroke(GREY, style="dashed")
