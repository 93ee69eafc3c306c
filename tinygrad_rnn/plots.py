"""Plots by matplotlib, without a display: empty figures, their colours, and their SVG."""

from __future__ import annotations

import io
import warnings
from typing import Any

from .extras import optional

__all__ = ["BLUE", "GREY", "INK", "PINK", "figure_svg", "new_figure"]

BLUE, GREY, INK, PINK = "#0072B2", "#8a8f98", "#24292f", "#b0568a"


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, *, extra: str) -> tuple[Any, Any]:
    """An empty figure of a size in inches, with its axes, which opens no window.

    Parameters
    ----------
    width, height : float
    rows, columns : int
        Number of rows and columns of axes in the figure.
    extra : str
        The extra that installs matplotlib, for the error message.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    module = optional("matplotlib.figure", extra, "a plot needs")
    figure = module.Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns)


def figure_svg(figure: Any) -> str:
    """The figure as SVG, its text drawn as paths; as text if a glyph is missing here, which the reader's fonts may have."""
    import matplotlib

    stream = io.StringIO()
    for kind in ("path", "none"):
        look: Any = {"svg.hashsalt": "tinygrad_rnn", "svg.fonttype": kind, "mathtext.fontset": "cm"}
        with matplotlib.rc_context(look), warnings.catch_warnings(record=kind == "path") as found:
            warnings.filterwarnings("always" if kind == "path" else "ignore", "Glyph .* missing")
            stream = io.StringIO()
            figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
        if not found:
            break
    return stream.getvalue()
