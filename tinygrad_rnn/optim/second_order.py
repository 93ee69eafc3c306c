"""Second-order fits by SciPy, with this library's gradients and Jacobians: L-BFGS and Levenberg-Marquardt."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..autodiff import grad, no_grad
from ..checks import check_int
from ..errors import GradientError, NonFiniteError, ShapeError
from ..extras import optional
from ..graph.context import mode
from ..tensor import Parameter, Tensor, tensor
from .base import check_parameters, check_range, trainable

__all__ = ["Fit", "lbfgs", "levenberg_marquardt", "parameter_jacobian"]

Vector = npt.NDArray[np.float64]
Callback = Callable[[float], object]


class Fit(NamedTuple):
    """The result of a fit: best loss, number of iterations, and the reason why it ended.

    Attributes
    ----------
    loss : float
        The loss with the best values.
    iterations : int
    converged : bool
    message : str
        The reason why the search ended.
    """

    loss: float
    iterations: int
    converged: bool
    message: str


def lbfgs(
    loss: Callable[[], Tensor],
    parameters: Iterable[Parameter],
    max_iterations: int = 100,
    tolerance: float = 1e-8,
    history: int = 10,
    callback: Callback | None = None,
) -> Fit:
    """Minimise a loss by L-BFGS (Liu and Nocedal, 1989); requires the extra ``scipy``.

    Every value of the loss must be computed from all the data, with nothing random in it: no
    minibatches, and dropout in evaluation mode. The search itself is in float64. Parameters of float32
    work, but their rounding ends the search early, at a relative tolerance of about 1e-6.

    Parameters
    ----------
    loss : callable
        ``loss() -> Tensor``, one number.
    parameters : iterable of Parameter
        The parameters. They are rebound, except those that are frozen. However the search ends, also by
        Ctrl-C, the parameters have the best values afterwards.
    max_iterations : int
        Largest number of iterations. With 0, the loss is evaluated and the parameters stay as they are.
    tolerance : float
        The search has converged when an iteration improves the loss by less than this fraction of the
        loss, or when no element of the gradient is larger than this fraction of the loss at the start.
        With 0, the search continues until rounding ends it. Neither test depends on the unit of the loss.
    history : int
        Number of steps from which the curvature is estimated, at least 1.
    callback : callable, optional
        Called once in each iteration with the best loss so far; raise StopIteration there to end.

    Returns
    -------
    Fit

    Raises
    ------
    NonFiniteError
        If the loss is NaN or inf at the start. Later on, such points are avoided.
    GradientError
        If the loss is not one number, or depends on nothing that requires a gradient; or if all
        parameters are frozen.
    ValueError
        If there are no parameters, or an option is not in its range.
    MissingExtraError
        If SciPy is not installed.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> w = tr.Parameter([0.0, 0.0], dtype=float)
    >>> fit = lbfgs(lambda: ((w - [1.0, 2.0]) ** 4).sum(), [w], tolerance=1e-12)
    >>> fit.converged, w.data.round(2)
    (True, array([1., 2.]))
    """
    optimize = optional("scipy.optimize", "scipy", "L-BFGS needs")
    check_int("history", history)
    search = _Search(parameters, max_iterations, tolerance, callback)

    def value_and_gradient(vector: Vector) -> tuple[float, Vector]:
        search.move(vector)
        result = _differentiable("loss", loss)
        with no_grad():
            gradient = _flat(grad(result, search.parameters))
        value = search.seen(float(result.item()), bool(np.isfinite(gradient).all()))
        return value, np.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)

    def minimise() -> Any:
        value, gradient = start = value_and_gradient(search.vector)
        # In this unit, the search is the same for c times the loss. SciPy's tolerances are not relative below a loss of 1.
        unit = abs(value) or float(np.abs(gradient).max(initial=0.0)) or 1.0
        before = now = value / unit, gradient / unit

        def in_units(vector: Vector) -> tuple[float, Vector]:
            nonlocal now
            value, gradient = start if np.array_equal(vector, search.vector) else value_and_gradient(vector)
            now = value / unit, gradient / unit
            return now

        def iterated(_: Vector) -> None:  # right after the loss was evaluated at the new point
            nonlocal before
            search.iterated()
            (old, _), (new, gradient), before = before, now, now
            if old - new <= tolerance * max(abs(old), abs(new)):
                raise _Stop("the loss hardly falls any more", converged=True)
            end_where_flat(gradient)

        def end_where_flat(gradient: Vector) -> None:
            if np.abs(gradient).max(initial=0.0) <= tolerance:
                raise _Stop("the gradient is close to zero", converged=True)

        end_where_flat(before[1])
        options = {"maxcor": history, "ftol": 0.0, "gtol": 0.0, "maxiter": max_iterations, "maxfun": 10**9}
        return optimize.minimize(in_units, search.vector, jac=True, method="L-BFGS-B", callback=iterated, options=options)

    return search.run(minimise)


def levenberg_marquardt(
    residuals: Callable[[], Tensor],
    parameters: Iterable[Parameter],
    max_iterations: int = 100,
    tolerance: float = 1e-8,
    callback: Callback | None = None,
    jacobian: Callable[[], npt.NDArray[Any]] | None = None,
) -> Fit:
    """Minimise a sum of squares by Levenberg's (1944) and Marquardt's (1963) method; requires the extra ``scipy``.

    The method is MINPACK's lmder if there are at least as many residuals as parameters, otherwise
    SciPy's trust-region method. The Jacobian costs as much as about two gradients for each parameter,
    or one gradient for each residual, whichever is less. So the method is for small networks, where
    it converges far faster than any other.

    Parameters
    ----------
    residuals : callable
        ``residuals() -> Tensor``, of any shape: the values whose squares are summed, such as
        ``model(xs) - ys``. As for :func:`lbfgs`, the residuals are of all the data, with nothing random.
    parameters : iterable of Parameter
        The parameters, as for :func:`lbfgs`, with the same remark on float32.
    max_iterations : int
        Largest number of iterations, each with one Jacobian. With 0, the residuals are evaluated and
        the parameters stay as they are.
    tolerance : float
        The search has converged when the relative change of the sum of squares, the relative change of
        the parameters, or the cosine between residuals and Jacobian is below this number. A tolerance
        below the rounding of float64 is replaced by that rounding.
    callback : callable, optional
        Called once in each iteration with the best loss so far; raise StopIteration there to end.
    jacobian : callable, optional
        ``jacobian() -> ndarray``, shape (residuals, numbers in the parameters that are not frozen), for the present
        parameters, if you know a quicker way to compute it.

    Returns
    -------
    Fit
        The result; its loss is the sum of squares.

    Raises
    ------
    NonFiniteError
        If the residuals or their Jacobian have NaN or inf at the start. Later on,
        points with such residuals are avoided.
    GradientError
        If the residuals depend on nothing that requires a gradient, or all parameters are frozen.
    ValueError
        If there are no parameters, or an option is not in its range.
    ShapeError
        If there are no residuals, or a single number, which is a loss and not a residual.
    MissingExtraError
        If SciPy is not installed.

    Examples
    --------
    >>> import numpy as np, tinygrad_rnn as tr
    >>> a, k = tr.Parameter([1.0], dtype=float), tr.Parameter([0.0], dtype=float)
    >>> t = np.arange(5.0)
    >>> fit = levenberg_marquardt(lambda: a * tr.exp(k * t) - 3 * np.exp(-0.5 * t), [a, k])
    >>> fit.converged, a.item(), k.item()
    (True, 3.0, -0.5)
    """
    optimize = optional("scipy.optimize", "scipy", "Levenberg-Marquardt needs")
    search = _Search(parameters, max_iterations, tolerance, callback)
    latest: list[Any] = [None, None]  # a vector and its residuals, for the Jacobian at the same point

    def evaluated(vector: Vector) -> Tensor:
        if latest[0] is None or not np.array_equal(latest[0], vector):
            search.move(vector)
            latest[:] = vector.copy(), _differentiable("residuals", residuals)
        found: Tensor = latest[1]
        return found

    def values(vector: Vector) -> Vector:
        found = evaluated(vector).data.astype(float).ravel()
        with np.errstate(over="ignore"):
            loss = float(found @ found)
        search.seen(loss)  # both methods step back by themselves where the loss is not finite
        return found / unit

    def slopes(vector: Vector) -> Vector:
        search.iterated()
        found = evaluated(vector)
        return (parameter_jacobian(found, search.parameters) if jacobian is None else jacobian()) / unit

    start = evaluated(search.vector)
    shape = start.shape
    if not shape:
        raise ShapeError(
            "residuals() returned a single number, such as a loss; return the errors that are squared and summed, such as "
            "model(xs) - ys"
        )
    count = math.prod(shape)
    if not count:
        raise ShapeError(f"residuals() returned a tensor without elements, of shape {shape}; return at least one error")
    # the trust-region method compares the gradient with a fixed size, which depends on the unit of the residuals
    unit = math.ldexp(0.5, math.frexp(float(np.abs(start.data).max()))[1])  # a power of 2, so that scaling rounds nothing
    return search.run(
        lambda: optimize.least_squares(
            values,
            search.vector,
            slopes,
            method="lm" if count >= search.vector.size else "trf",
            x_scale="jac",
            **dict.fromkeys(("ftol", "xtol", "gtol"), max(tolerance, float(np.finfo(float).eps))),
            max_nfev=10**6,
        )
    )


class _Stop(Exception):
    """Exception that ends SciPy's search, with a reason."""

    def __init__(self, reason: str, converged: bool = False) -> None:
        super().__init__(reason)
        self.converged = converged


class _Search:
    """State of a search over all parameters as one vector; the best point is restored at the end."""

    def __init__(
        self, parameters: Iterable[Parameter], max_iterations: int, tolerance: float, callback: Callback | None
    ) -> None:
        self.parameters = trainable(check_parameters(parameters))
        if not self.parameters:
            raise GradientError("all parameters are frozen; call requires_grad_() of those to fit")
        check_range("tolerance", tolerance)
        self.max_iterations, self.callback = check_int("max_iterations", max_iterations, least=0), callback
        self.iterations = 0
        self.loss = math.inf
        self.arrays = [p.data for p in self.parameters]
        self.vector = np.concatenate([array.ravel() for array in self.arrays]).astype(np.float64)
        self.ceiling = math.inf

    def move(self, vector: Vector) -> None:
        ends = np.cumsum([p.size for p in self.parameters])
        for p, part in zip(self.parameters, np.split(vector, ends[:-1]), strict=True):
            p.data = part.reshape(p.shape)

    def seen(self, loss: float, finite: bool = True) -> float:
        """Record and return the loss at the current point, or a loss above the start's if it is not finite."""
        finite = finite and math.isfinite(loss)
        if self.loss == math.inf:
            if not finite:
                raise NonFiniteError(
                    f"the fit cannot start: the loss is {loss}, and the loss or its gradient has NaN or inf; compute the loss "
                    "under tr.debug() to find the first one"
                )
            self.ceiling = 10 * abs(loss) or 10.0
        if finite and loss < self.loss:
            self.loss, self.arrays = loss, [p.data for p in self.parameters]
        if not self.max_iterations:
            raise self._limit()
        return loss if finite else self.ceiling

    def iterated(self) -> None:
        if self.iterations == self.max_iterations:
            raise self._limit()
        self.iterations += 1
        if self.callback is not None:
            try:
                self.callback(self.loss)
            except StopIteration:
                raise _Stop("the callback ended it") from None

    def _limit(self) -> _Stop:
        return _Stop(f"the limit of {self.max_iterations} iterations was reached")

    def run(self, minimise: Callable[[], Any]) -> Fit:
        try:
            found = minimise()
            converged, message = bool(found.success), str(found.message)
        except _Stop as stop:
            converged, message = stop.converged, str(stop)
        finally:
            for p, array in zip(self.parameters, self.arrays, strict=True):
                p.data = array
        return Fit(self.loss, self.iterations, converged, message)


def _differentiable(name: str, function: Callable[[], Tensor]) -> Tensor:
    with mode(recording=True):
        result = function()
    if not isinstance(result, Tensor):
        raise GradientError(
            f"{name}() must return a tensor that is computed from the parameters, not of type {type(result).__name__}"
        )
    if not result.requires_grad:
        raise GradientError(
            f"{name}() returned a tensor that does not depend on a parameter which requires a gradient; compute it "
            "from the parameters, without .detach()"
        )
    return result


def _flat(parts: Iterable[Tensor]) -> Vector:
    return np.concatenate([part.data.ravel() for part in parts]).astype(np.float64)


def parameter_jacobian(residuals: Tensor, parameters: list[Parameter]) -> Vector:
    """The Jacobian, shape (residuals, parameters), by rows or by columns, whichever are fewer."""
    columns = sum(p.size for p in parameters)
    if residuals.size < columns:
        with no_grad():
            units = np.eye(residuals.size, dtype=residuals.dtype).reshape(-1, *residuals.shape)
            found = np.stack([_flat(grad(residuals, parameters, unit)) for unit in units])
    else:
        # a gradient is linear in its cotangent, so its derivative is the same for any cotangent; see `autodiff.jvp`
        cotangent = tensor(np.zeros(residuals.shape, residuals.dtype))
        with mode(recording=True):
            gradients = grad(residuals, parameters, cotangent)
        found = np.empty((residuals.size, columns))
        column = 0
        with no_grad():
            for p, gradient in zip(parameters, gradients, strict=True):
                for unit in np.eye(p.size, dtype=p.dtype).reshape(-1, *p.shape):
                    found[:, column] = grad(gradient, cotangent, unit).data.ravel()
                    column += 1
    if not np.isfinite(found).all():
        raise NonFiniteError(
            "the Jacobian of the residuals has NaN or inf; compute the residuals under tr.debug() to find the first one"
        )
    return found
