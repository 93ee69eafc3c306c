"""Fitting: a search that keeps the parameters with the smallest error on later data."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import random
from ..autodiff import no_grad
from ..checks import check_int, one_of
from ..errors import DataError, NonFiniteError
from ..optim import Adam, clip_grad_norm, lbfgs, levenberg_marquardt
from ..tensor import Parameter, Tensor

__all__ = ["SMALL", "EarlyStopping", "search", "seeded"]

SMALL, LARGEST = 600, 20_000_000
"""Largest number of parameters, and of elements of the Jacobian, for which Levenberg–Marquardt is chosen."""
SOLVERS = ("auto", "lm", "lbfgs", "adam")


class EarlyStopping:
    """A callback of a search that keeps the best parameters, and ends the search when their error stops falling.

    Parameters
    ----------
    parameters : sequence of Parameter
    error : callable
        ``error() -> float``, the error on data that are not used in the search.
    patience : int
        Number of iterations without a new smallest error after which the search ends.
    bar : progress bar

    Attributes
    ----------
    least : float
    iterations : int
    """

    def __init__(self, parameters: Sequence[Parameter], error: Callable[[], float], patience: int, bar: Any) -> None:
        self.parameters, self.error, self.bar = parameters, error, bar
        self.patience = check_int("patience", patience)
        self.least = math.inf
        self.iterations = 0
        self.since = 0
        self.arrays = [p.data for p in parameters]

    def compare(self) -> None:
        """Keep the current parameters if their error is smaller than all errors before."""
        with no_grad(), np.errstate(all="ignore"):
            error = self.error()
        self.since += 1
        if error < self.least:
            self.least, self.since, self.arrays = error, 0, [p.data for p in self.parameters]

    def __call__(self, loss: float) -> None:
        """Compare the current parameters with the best parameters so far.

        Raises
        ------
        StopIteration
            If the error has not become smaller for `patience` iterations.
        """
        self.compare()
        self.iterations += 1
        self.bar.set_postfix_str(f"error on later data {self.least:.3g}", refresh=False)
        self.bar.update()
        if self.since >= self.patience:
            raise StopIteration

    def restore(self) -> None:
        """Set the best parameters."""
        for p, array in zip(self.parameters, self.arrays, strict=True):
            p.data = array


def search(
    stopping: EarlyStopping,
    solver: str,
    iterations: int,
    *,
    residuals: Callable[[], Tensor] | None = None,
    jacobian: Callable[[], npt.NDArray[Any]] | None = None,
    loss: Callable[[], Tensor] | None = None,
    rate: float = 0.01,
    clip: float = 1.0,
) -> None:
    """Minimise a sum of squares or a loss, and keep the parameters with the smallest error on later data.

    Parameters
    ----------
    stopping : EarlyStopping
    solver : {"auto", "lm", "lbfgs", "adam"}
    iterations : int
    residuals : callable, optional
        ``residuals() -> Tensor``, the numbers that are squared and summed.
    jacobian : callable, optional
        As for :func:`levenberg_marquardt`.
    loss : callable, optional
        ``loss() -> Tensor``, a number; if not given, the mean square of the residuals.
    rate, clip : float
        Learning rate of Adam, and the norm to which the gradient is clipped.

    Raises
    ------
    DataError
        If the solver is unknown, or needs residuals but only a loss is given.
    """
    parameters = stopping.parameters
    if solver not in SOLVERS:
        raise DataError(one_of("solver", solver, SOLVERS))
    if solver == "auto":
        size = sum(p.size for p in parameters)
        with no_grad():
            elements = math.inf if residuals is None else size * residuals().size
        solver = "lm" if size <= SMALL and elements <= LARGEST else "lbfgs"

    def mean_square() -> Tensor:
        assert residuals is not None  # otherwise a loss was given
        found = residuals()
        return (found * found).mean()

    loss = loss or mean_square
    with np.errstate(all="ignore"), contextlib.suppress(NonFiniteError):  # a free run may grow without bound
        _run(solver, parameters, iterations, stopping, residuals, jacobian, loss, rate, clip)
    stopping.compare()
    stopping.restore()


def _run(
    solver: str,
    parameters: Sequence[Parameter],
    iterations: int,
    stopping: EarlyStopping,
    residuals: Callable[[], Tensor] | None,
    jacobian: Callable[[], npt.NDArray[Any]] | None,
    loss: Callable[[], Tensor],
    rate: float,
    clip: float,
) -> None:
    """Run the solver until the solver or the callback ends the search."""
    if solver == "lm":
        if residuals is None:
            raise DataError(
                "solver='lm' needs a loss that is a sum of squares, which a classifier does not have; give 'adam' or 'lbfgs'"
            )
        levenberg_marquardt(residuals, parameters, iterations, callback=stopping, jacobian=jacobian)
    elif solver == "lbfgs":
        lbfgs(loss, parameters, iterations, callback=stopping)
    else:
        adam = Adam(parameters, lr=rate)
        for _ in range(iterations):
            found = loss()
            adam.zero_grad()
            found.backward()
            clip_grad_norm(parameters, clip)
            adam.step()
            try:
                stopping(found.item())
            except StopIteration:
                break


@contextlib.contextmanager
def seeded(rng: Any) -> Iterator[None]:
    """Seed the library's random numbers from scikit-learn's generator, inside the block."""
    before = random.generator()
    try:
        random.use(np.random.default_rng(rng.randint(2**31)))
        yield
    finally:
        random.use(before)
