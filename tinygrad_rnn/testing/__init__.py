"""Gradient checks: oracles that judge a gradient, and hypothesis strategies that draw the cases.

>>> import numpy as np, tinygrad_rnn as tr
>>> from tinygrad_rnn.testing import check_gradients
>>> print(check_gradients(lambda x: (x * x).sum(), np.array([1.0, 2.0])))
gradients are right to order 2 in x (2,): within ...

`check_gradients` needs only NumPy. `check_cell`, `check_primitive` and the module
`strategies` need hypothesis (the extra ``test``).
"""

from .bptt_check import BpttError, BpttReport, Mistake, check_bptt
from .cases import Case, random_cases
from .cells.cell_check import CellReport, check_cell
from .gradients.function_check import check_gradients
from .gradients.verdicts import GradientCheckError, KinkError, PrimitiveReport, Report, UndecidedError
from .primitives import check_case, check_primitive
from .structure import ReceptiveField, assert_causal, assert_shared, difference, receptive_field

__all__ = [
    "BpttError",
    "BpttReport",
    "Case",
    "CellReport",
    "GradientCheckError",
    "KinkError",
    "Mistake",
    "PrimitiveReport",
    "ReceptiveField",
    "Report",
    "UndecidedError",
    "assert_causal",
    "assert_shared",
    "check_bptt",
    "check_case",
    "check_cell",
    "check_gradients",
    "check_primitive",
    "difference",
    "random_cases",
    "receptive_field",
]
