"""Style: the colours, sizes and shapes of all pictures."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

__all__ = ["FONTS", "GREY", "INK", "LOOKS", "TINTS", "Kind", "Look", "Stroke"]

FONTS = ("Helvetica", "Arial", "Liberation Sans", "sans-serif")
"""Fonts; the first installed font is used. DOT names only one font, because Graphviz measures lists wrongly."""
INK = "#24292f"
GREY = "#8c959f"
BLUE = "#0072B2"
GREEN = "#009E73"
OCHRE = "#B07D00"
VERMILION = "#D55E00"
PINK = "#CC79A7"
PURPLE = "#6F4E9C"
FORCED = "#E69F00"
CUT = "#CF222E"
CARD = "white"

TINTS = (GREEN, BLUE, VERMILION, "#CC79A7", "#E69F00", "#56B4E9", PURPLE, "#7A5C00")
"""Colours that distinguish parameters, in the order in which the parameters appear."""

NODE = 44.0
"""Diameter of a round node, in points."""
SQUARE = 14.0
"""Side of a delay's square."""
PITCH = 106.0
"""Smallest distance of two columns; wide labels increase it."""
RISE = 80.0
"""Distance of two rows."""
NODE_FONT = 13.0
EDGE_FONT = 12.0
NOTE_FONT = 11.0
ARROW = 7.6
"""Length of an arrow's head."""
LINE = 1.2
"""Width of a node's outline, and of most edges."""
PAD = 14.4
"""Empty border of a picture."""
DASHES = {"dashed": "5,2", "dotted": "1,5"}
"""Lengths of dash and gap, as in Graphviz."""


class Kind(str, Enum):
    """Kinds of nodes in a drawing."""

    INPUT = "input"
    STATE = "state"
    VALUE = "value"
    OUTPUT = "output"
    LOSS = "loss"
    TARGET = "target"
    INITIAL = "initial"
    MASK = "mask"
    DELAY = "delay"
    JUNCTION = "junction"
    LAYER = "layer"
    START = "start"
    OPERATION = "operation"
    PRODUCT = "product"
    PARAMETER = "parameter"
    GRADIENT = "gradient"
    FRAME = "frame"
    FUNCTION = "function"
    PORT = "port"
    ELISION = "elision"
    STEPWISE = "stepwise"
    BATCHED = "batched"
    ONCE = "once"
    DATA = "data"
    KEPT = "kept"
    NOTE = "note"
    LABEL = "label"
    SCISSORS = "scissors"
    CELL = "cell"
    ZERO = "zero"
    LOST = "lost"
    ABSENT = "absent"


STARTS = (Kind.INITIAL, Kind.START)
"""The kinds of values that exist before the first step."""


class Look(NamedTuple):
    """Style of one kind of node; plain text is written in the style's colour."""

    color: str
    fill: str
    shape: str = "circle"
    style: str = "filled"
    width: float = LINE


LOOKS = {
    Kind.INPUT: Look(GREEN, "#E3F4EE"),
    Kind.STATE: Look(BLUE, "#E1EEF7"),
    Kind.VALUE: Look(OCHRE, "#FFF4DF"),
    Kind.OUTPUT: Look(VERMILION, "#FBE9DF"),
    Kind.LOSS: Look(PINK, "#F8EAF2"),
    Kind.TARGET: Look(GREY, "#FFFFFF", style="filled,dashed"),
    Kind.INITIAL: Look(BLUE, "#FFFFFF", style="filled,dashed"),
    Kind.MASK: Look(PURPLE, "#F0EAF7", shape="diamond"),
    Kind.DELAY: Look("black", "black", shape="square"),
    Kind.JUNCTION: Look(INK, INK, shape="point"),
    Kind.LAYER: Look(BLUE, "#E1EEF7", shape="box", style="filled,rounded"),
    Kind.START: Look(BLUE, "#FFFFFF", shape="box", style="filled,rounded,dashed"),
    Kind.OPERATION: Look(GREY, "#F6F8FA", shape="box", style="filled,rounded"),
    Kind.PRODUCT: Look(GREY, "#F6F8FA", shape="box", style="filled,rounded"),
    Kind.PARAMETER: Look(GREY, "#F6F8FA", shape="box", style="filled,rounded"),
    Kind.GRADIENT: Look(VERMILION, "#FBE9DF", shape="box", style="filled,rounded"),
    Kind.FRAME: Look("#D0D7DE", "#F6F8FA", shape="box", style="filled,rounded"),
    Kind.FUNCTION: Look(GREY, "#FFFFFF", shape="ellipse"),
    Kind.STEPWISE: Look(VERMILION, "#F2CBAD", shape="box", width=2.4),
    Kind.BATCHED: Look(BLUE, "#E1EEF6", shape="box", style="filled,rounded"),
    Kind.ONCE: Look(GREY, CARD, shape="box", style="filled,rounded,dashed"),
    Kind.DATA: Look(INK, CARD, shape="ellipse"),
    Kind.KEPT: Look(INK, CARD, shape="ellipse", style="filled,dashed"),
    Kind.PORT: Look(INK, CARD, shape="plaintext", style=""),
    Kind.ELISION: Look(GREY, CARD, shape="plaintext", style=""),
    Kind.NOTE: Look(INK, CARD, shape="plaintext", style=""),
    Kind.LABEL: Look(INK, CARD, shape="plaintext"),
    Kind.SCISSORS: Look(CUT, CARD, shape="plaintext", style=""),
    Kind.CELL: Look(CARD, CARD, shape="box", width=0.5),
    Kind.ZERO: Look(GREY, CARD, shape="box", style="filled,dashed", width=0.5),
    Kind.ABSENT: Look(GREY, CARD, shape="plaintext", style=""),
    Kind.LOST: Look("#E1E4E8", CARD, shape="box", width=0.5),
}


class Stroke(NamedTuple):
    """Style of one kind of edge."""

    color: str
    width: float = LINE
    style: str = "solid"


PLAIN = Stroke(GREY)
FROM_INPUT = Stroke(GREEN)
FROM_STATE = Stroke(BLUE)
FROM_VALUE = Stroke(OCHRE)
INTO_OUTPUT = Stroke(VERMILION)
FROM_BUNDLE = Stroke(INK)
FROM_TARGET = Stroke(GREY, style="dashed")
FROM_MASK = Stroke(PURPLE, style="dashed")
FROM_FORCED = Stroke(FORCED, 2.4)
HELD = "dotted"
THICK = 1.8
"""Width of a recurrent edge."""
WIDEST = 2.4
"""Largest width of an edge whose arrowhead has the usual size."""


def lighter(color: str, share: float = 0.78) -> str:
    """A colour mixed with white.

    Examples
    --------
    >>> lighter("#000000", 0.5)
    '#808080'
    """
    channels = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(c + (255 - c) * share):02x}" for c in channels)
