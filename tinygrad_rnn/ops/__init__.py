"""The primitives by family, each with its gradient, and the function `apply`, which applies all of them."""

from . import activations, arithmetic, core, domains, formula, indexing, linalg, losses, reductions, shapes
from .activations import *
from .arithmetic import *
from .core import *
from .domains import *
from .facts import Facts
from .formula import *
from .indexing import *
from .linalg import *
from .losses import *
from .reductions import *
from .shapes import *

families = (activations, arithmetic, indexing, linalg, losses, reductions, shapes)
functions = tuple(name for family in families for name in family.__all__)
"""Names of the differentiable functions."""

__all__ = ["Facts"]
__all__ += activations.__all__
__all__ += arithmetic.__all__
__all__ += core.__all__
__all__ += domains.__all__
__all__ += formula.__all__
__all__ += indexing.__all__
__all__ += linalg.__all__
__all__ += losses.__all__
__all__ += reductions.__all__
__all__ += shapes.__all__
