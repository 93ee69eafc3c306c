"""Plots as SVG, by matplotlib, without a display."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..extras import optional
from .baselines import Score

__all__ = ["loss_curve", "matplotlib_figure"]

BLUE, GREY, INK = "#0072B2", "#8a8f98", "#24292f"
PINK = "#b0568a"
LINE = 0.06
"""Height of a label in the plot."""


def matplotlib_figure(width: float, height: float) -> Any:
    """An empty matplotlib figure of a size in inches, which opens no window.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    figure = optional("matplotlib.figure", "demo", "the plots of the report need")
    return figure.Figure(figsize=(width, height), layout="constrained")


def _svg(figure: Any, **options: Any) -> str:
    """The figure as SVG, its text drawn as paths."""
    import matplotlib

    stream = io.StringIO()
    look: Any = {"svg.hashsalt": "tinygrad_rnn", "svg.fonttype": "path", "mathtext.fontset": "cm"}
    with matplotlib.rc_context(look), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's fonts may have it
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None}, **options)
    return stream.getvalue()


def loss_curve(bits: Sequence[float], scores: Sequence[Score]) -> str:
    """The loss of every update, its running mean, and the held-out results as levels.

    Parameters
    ----------
    bits : sequence of float
    scores : sequence of Score
    """
    figure = matplotlib_figure(8, 3.6)
    axes = figure.subplots()
    updates = np.arange(1, len(bits) + 1)
    axes.plot(updates, bits, color=BLUE, alpha=0.25, linewidth=0.7)
    axes.plot(updates, _running_mean(bits), color=BLUE, linewidth=1.6)
    top = max([*(score.bits for score in scores), *list(bits)[:1]])
    height = 0.0  # of the label before
    levels = sorted(scores, key=lambda score: score.bits)
    for score in levels:
        own = score is scores[-1]
        height = max(score.bits, height + LINE * top)
        for other in levels:  # no line goes through a label
            height = other.bits if height < other.bits < height + LINE * top else height
        axes.axhline(score.bits, color=PINK if own else GREY, linewidth=1.1, linestyle="-" if own else (0, (4, 3)))
        label = f"{score.name}, held out: {score.bits:.2f}"
        axes.annotate(
            label,
            (1, height),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 3),
            textcoords="offset points",
            ha="right",
            fontsize=8.5,
            color=PINK if own else "#5d636b",
        )
    axes.set_xlabel("update")
    axes.set_ylabel("bits per character")
    axes.set_xlim(1, max(2, len(bits)))
    lowest = min([*(score.bits for score in scores), *bits])
    axes.set_ylim(0.85 * lowest, 1.04 * top)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return _svg(figure)


def _running_mean(values: Sequence[float], window: int = 50) -> npt.NDArray[np.float64]:
    total = np.concatenate([[0.0], np.cumsum(values)])
    end = np.arange(1, len(values) + 1)
    start = end - np.minimum(window, 1 + end // 5)  # short at first, where the loss falls fast
    return (total[end] - total[start]) / (end - start)
