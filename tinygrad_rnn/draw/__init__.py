"""Pictures of computation graphs: folded and unrolled, from values down to operations."""

from .call_view import draw_calls
from .drawing import Drawing
from .pictures import draw, draw_module, draw_with_gradients
from .plan_view import draw_plan
from .row import Drawings

__all__ = ["Drawing", "Drawings", "draw", "draw_calls", "draw_module", "draw_plan", "draw_with_gradients"]
