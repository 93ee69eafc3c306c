"""The demo's loss curve, as SVG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..plots import BLUE, GREY, PINK, figure_svg, new_figure
from .baselines import Score

__all__ = ["loss_curve"]

LINE = 0.06
"""Height of a label in the plot."""


def loss_curve(bits: Sequence[float], scores: Sequence[Score]) -> str:
    """The loss of every update, its running mean, and the held-out results as horizontal lines.

    Parameters
    ----------
    bits : sequence of float
    scores : sequence of Score
    """
    figure, axes = new_figure(8, 3.6, extra="demo")
    updates = np.arange(1, len(bits) + 1)
    axes.plot(updates, bits, color=BLUE, alpha=0.25, linewidth=0.7)
    axes.plot(updates, _running_mean(bits), color=BLUE, linewidth=1.6)
    top = max([*(score.bits for score in scores), *list(bits)[:1]])
    height = 0.0  # height of the label before
    levels = sorted(scores, key=lambda score: score.bits)
    for score in levels:
        own = score is scores[-1]
        height = max(score.bits, height + LINE * top)
        for other in levels:  # no line may cross a label
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
    return figure_svg(figure)


def _running_mean(values: Sequence[float], window: int = 50) -> npt.NDArray[np.float64]:
    total = np.concatenate([[0.0], np.cumsum(values)])
    end = np.arange(1, len(values) + 1)
    start = end - np.minimum(window, 1 + end // 5)  # short at first, where the loss falls fast
    return (total[end] - total[start]) / (end - start)
