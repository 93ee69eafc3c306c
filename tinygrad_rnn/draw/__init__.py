"""Pictures of computation graphs: folded and unrolled, from values down to operations."""

from .drawing import Drawing
from .pictures import draw, draw_module

__all__ = ["Drawing", "draw", "draw_module"]
