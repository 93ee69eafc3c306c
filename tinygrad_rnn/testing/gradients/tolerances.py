"""Tolerances of gradient checks: each number stands here once, with its reason."""

import numpy as np

__all__ = ["AGREES", "EPS", "ROUNDING", "SEES", "TERMS", "UNSTEADY"]

EPS = float(np.finfo(np.float64).eps)

SEES = 0.05
"""An oracle sees a derivative whose error is a smaller part of it: a wrong sign, a factor or a missing term shows."""

AGREES = 10.0
"""Two estimates agree within so many times their errors: an error is an estimate too, and may be too small."""

ROUNDING = 1e2
"""Rounding makes up to so many times the derivative that one last digit makes: a function rounds at each operation."""

TERMS = 1e5 * EPS
"""A sum in another order may differ by this part of the sum of its terms' sizes: each term has errors of its own."""

UNSTEADY = 64.0
"""What moves with the last digit of an argument may move so many times as far as it was seen to move once."""
