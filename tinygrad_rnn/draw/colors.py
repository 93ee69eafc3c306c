"""Colours of numbers: viridis for magnitudes, blue to white to red for signed values, and a readable text colour for each."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .numbers import short_number
from .style import CARD, INK

__all__ = ["HIGH", "LOW", "Scale", "ink_on", "magnitudes", "signed"]

LOW, HIGH = 1e-6, 10.0
"""The scale of gradients; all pictures use the same scale, so that models can be compared."""
VIRIDIS = ("#440154", "#482878", "#3E4A89", "#31688E", "#26828E", "#1F9E89", "#35B779", "#6DCD59", "#B4DE2C", "#FDE725")
DIVERGING = ("#2166AC", "#4393C3", "#92C5DE", "#D1E5F0", "#F7F7F7", "#FDDBC7", "#F4A582", "#D6604D", "#B2182B")


class Scale(NamedTuple):
    """A map from numbers to colours; a number outside the range has the colour of the nearer end.

    Attributes
    ----------
    low, high : float
        The numbers of the first and the last colour.
    colors : tuple of str
        Colours at equal distances on the scale.
    logarithmic : bool

    Examples
    --------
    >>> scale = magnitudes(1e-4, 1.0)
    >>> scale.color(1.0), scale.color(0.01), scale.color(1e-9)
    ('#fde725', '#22908c', '#440154')
    >>> scale.ticks()
    [0.0001, 0.001, 0.01, 0.1, 1.0]
    """

    low: float
    high: float
    colors: tuple[str, ...]
    logarithmic: bool = False

    def place(self, number: float) -> float:
        """Position of a number on the scale, from 0 to 1."""
        low, high, x = (math.log10(max(v, 1e-300)) if self.logarithmic else v for v in (self.low, self.high, number))
        return min(max((x - low) / (high - low or 1.0), 0.0), 1.0)

    def color(self, number: float) -> str:
        """Colour of a number that is not NaN."""
        at = self.place(number) * (len(self.colors) - 1)
        k = min(int(at), len(self.colors) - 2)
        ends = [np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)]) for c in self.colors[k : k + 2]]
        return "#" + "".join(f"{int(c):02x}" for c in np.round(ends[0] + (at - k) * (ends[1] - ends[0])))

    def at(self, place: float) -> float:
        """Number at a position from 0 to 1."""
        if self.logarithmic:
            return float(self.low * (self.high / self.low) ** place)
        return self.low + (self.high - self.low) * place

    def ticks(self) -> list[float]:
        """Numbers written next to the scale: powers of ten, or the two ends and the middle."""
        if not self.logarithmic:
            return [self.low, (self.low + self.high) / 2, self.high]
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        return [float(f"1e{power}") for power in range(first, last + 1, max(1, (last - first) // 6))]

    def words(self) -> str:
        """The scale in words."""
        kind = "log scale" if self.logarithmic else "scale"
        return f"{kind} from {short_number(self.low)} to {short_number(self.high)}"


def magnitudes(low: float, high: float) -> Scale:
    """A logarithmic colour scale for non-negative numbers."""
    return Scale(low, high, VIRIDIS, True)


def signed(bound: float) -> Scale:
    """A colour scale from -bound to bound, white at zero."""
    return Scale(-bound, bound, DIVERGING)


def ink_on(color: str) -> str:
    """Black or white, whichever is readable on a colour.

    Examples
    --------
    >>> ink_on("#440154"), ink_on("#fde725") == INK
    ('white', True)
    """
    red, green, blue = (_linear(int(color[i : i + 2], 16) / 255) for i in (1, 3, 5))
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return CARD if luminance < 0.2 else INK


def _linear(channel: float) -> float:
    """Linear light intensity of one channel of an sRGB colour."""
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)
