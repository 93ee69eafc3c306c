"""Tolerances of gradient checks, each with its reason."""

import numpy as np

__all__ = ["AGREES", "EPS", "ROUNDING", "SEES", "TERMS", "UNSTEADY"]

EPS = float(np.finfo(np.float64).eps)

SEES = 0.05
"""Largest relative error of a derivative that an oracle can judge: a wrong sign, factor or missing term is visible."""

AGREES = 10.0
"""Factor of the errors within which two estimates agree: an error is also an estimate, and may be too small."""

ROUNDING = 1e2
"""Largest effect of rounding, as a multiple of the effect of one last digit: a function rounds at each operation."""

TERMS = 1e5 * EPS
"""Largest difference of a sum in another order, as a fraction of the sum of the terms' sizes: each term has an error."""

UNSTEADY = 64.0
"""Largest change caused by the last digit of an argument, as a multiple of one measured change."""
