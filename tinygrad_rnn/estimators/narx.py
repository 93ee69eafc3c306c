"""NARXRegressor: from a table to a nonlinear model with inputs, trained in open loop and then in closed loop."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, MutableMapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_random_state

from .. import nn
from ..autodiff import no_grad
from ..checks import check_int
from ..console import counted, progress_bar
from ..errors import DataError
from ..nn.delays import Delays
from ..tensor import Tensor
from .fitting import EarlyStopping, search, seeded
from .loops import ClosedLoop, OpenLoop
from .series import SeriesRegressor, check_long_enough
from .splitting import Part, split_in_time
from .tables import Table

__all__ = ["NARXRegressor"]

Array = npt.NDArray[Any]
WINDOW = 100
"""Number of steps of a free run in training; a longer series is cut into windows of this length, which run in parallel."""


DISTURBED: MutableMapping[nn.NARX, nn.Recurrent] = weakref.WeakKeyDictionary()
"""For each model, its runs with disturbances; they are kept so that their step is compiled once."""


class NARXRegressor(SeriesRegressor):
    """Nonlinear autoregressive model with inputs: y_t = f(x_t, x_{t-1}, …, y_{t-1}, y_{t-2}, …).

    Columns are scaled to mean 0 and standard deviation 1, and predictions are scaled back. The last
    part of each series is used for validation: its error decides when the search ends, and which of
    several initial values is best. The model is first trained in open loop, with measured y fed
    back, and then in closed loop, with its own predictions fed back, as in a free run.

    Parameters
    ----------
    input_delays : int or sequence of int
        K for the delays 0, 1, …, K; or a list, such as ``[1, 2]`` if the inputs of the same step are unknown.
    output_delays : int or sequence of int
        K for the delays 1, …, K; or a list.
    hidden_size : int
        The number of tanh units; with 0 the model is linear, an ARX.
    f : callable, optional
        ``f(regressor_size, output_size) -> Module`` makes the function of the delayed values, which
        replaces the tanh units; see :class:`tinygrad_rnn.nn.NARXCell`.
    closed_loop : bool
        Whether training ends in closed loop. Open loop alone is faster, and better for one step ahead.
    solver : {"auto", "lm", "lbfgs", "adam"}
        The solver; "auto" is Levenberg–Marquardt for up to 600 parameters, otherwise L-BFGS.
    max_iter : int
        Largest number of iterations in each loop.
    patience : int
        Number of iterations without a new smallest validation error after which training ends.
    validation_fraction : float
        Fraction of each series, at its end, for validation; with 0, the training error is used instead.
    restarts : int
        Number of random initial values.
    groups : str or int, optional
        The column of X that distinguishes several series: its name, or its number if X is an array.
    random_state : int, RandomState or None
        Seed of the initial weights, as in scikit-learn.
    verbose : int
        1 shows a progress bar.

    Attributes
    ----------
    module_ : tinygrad_rnn.nn.NARX
        The model, in standardised units; it has the methods that draw it and print its equations.
    n_iter_ : int
        Number of iterations, over all initial values and both loops.
    sessions_ : list of Session
        Stretches of the series without a gap in their times.
    reach_ : int
        The longest delay.
    validation_error_ : float
        The smallest error on the validation part, as a mean square in standardised units.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn.estimators import NARXRegressor
    >>> u = np.random.default_rng(0).uniform(-1, 1, (300, 1))
    >>> y = np.zeros(300)
    >>> for t in range(1, 300):
    ...     y[t] = 0.6 * y[t - 1] + np.tanh(2 * u[t - 1, 0])
    >>> model = NARXRegressor(input_delays=[1], output_delays=1, hidden_size=4, random_state=0).fit(u[:250], y[:250])
    >>> bool(model.score(u[250:], y[250:]) > 0.99)  # R² of a free run
    True
    >>> model.forecast(u[250:]).mean.shape
    (50,)
    """

    def __init__(
        self,
        input_delays: Delays = 2,
        output_delays: Delays = 2,
        hidden_size: int = 5,
        *,
        f: Callable[[int, int], Any] | None = None,
        closed_loop: bool = True,
        solver: str = "auto",
        max_iter: int = 50,
        patience: int = 10,
        validation_fraction: float = 0.2,
        restarts: int = 2,
        groups: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.input_delays = input_delays
        self.output_delays = output_delays
        self.hidden_size = hidden_size
        self.f = f
        self.closed_loop = closed_loop
        self.solver = solver
        self.max_iter = max_iter
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.restarts = restarts
        self.groups = groups
        self.random_state = random_state
        self.verbose = verbose

    def _new(self) -> nn.NARX:
        """A model with freshly initialised parameters."""
        sizes = self.n_features_in_, self.outputs_.size
        options: dict[str, Any] = {"dtype": np.float64, "feedback_delays": self.output_delays}
        if self.n_features_in_:
            options["input_delays"] = self.input_delays
        check_int("hidden_size", self.hidden_size, 0)
        if self.f is None and self.hidden_size:
            return nn.NARX(*sizes, hidden_size=self.hidden_size, **options)
        regressor_size = nn.NARXCell(*sizes, hidden_size=1, **options).regressor_size
        f = nn.Linear(regressor_size, sizes[1], dtype=np.float64) if self.f is None else self.f(regressor_size, sizes[1])
        return nn.NARX(*sizes, f=f, **options)

    def _learn(self, table: Table) -> None:
        self.reach_ = self._new().reach
        train, later = split_in_time(table, self.validation_fraction, self.reach_)
        train, later = ([part for part in parts if len(part.x) > self.reach_] for parts in (train, later))
        check_long_enough(table, sum(len(part.x) - self.reach_ for part in train), self.reach_)
        self._set_units(train)
        train, later = self._scaled(train), self._scaled(later)
        check_int("max_iter", self.max_iter, 0)
        starts = check_int("restarts", self.restarts) if self.f is not None or self.hidden_size else 1
        rng, best, self.n_iter_ = check_random_state(self.random_state), None, 0
        loops = (OpenLoop, ClosedLoop) if self.closed_loop else (OpenLoop,)
        with progress_bar(starts * len(loops) * self.max_iter, "training", bool(self.verbose)) as bar:
            for _ in range(starts):
                with seeded(rng):
                    model = self._new()
                for loop in loops:
                    run = loop(model, _windows(train, self.reach_))
                    check = loop(model, later or train)
                    stopping = EarlyStopping(list(model.parameters()), check.error, self.patience, bar)
                    search(stopping, self.solver, self.max_iter, residuals=run.residuals, jacobian=run.jacobian)
                    self.n_iter_ += stopping.iterations
                if best is None or stopping.least < best[0]:
                    best = stopping.least, model
        assert best is not None  # at least one initial value was tried
        self.validation_error_, self.module_ = best
        if not np.isfinite(self.validation_error_):
            warnings.warn(
                "when the model runs freely, on its own predictions, its outputs grow without bound; only its predictions one "
                "step ahead may be useful. Fewer delays, tanh units (hidden_size=5) or more data may help",
                stacklevel=3,
            )
        self.residuals_ = self._errors(train, later) * self.y_scaler_.scale_

    def _errors(self, train: list[Part], later: list[Part]) -> Array:
        """Errors one step ahead; training errors are inflated by degrees of freedom, as for new data.

        The factor is that of the final prediction error, (n + p) / (n - p) (Akaike, "Fitting autoregressive models for
        prediction", 1969).
        """
        model: nn.NARX = self.module_
        with no_grad():
            found = [-OpenLoop(model, parts).residuals().data for parts in (train, later) if parts]
        n, p = len(found[0]), sum(parameter.size for parameter in model.parameters()) / self.outputs_.size
        if n >= 2 * p:
            return np.concatenate([found[0] * np.sqrt((n + p) / (n - p)), *found[1:]])
        return found[-1]

    def _run(self, table: Table, horizon: int | None) -> list[Array]:
        lengths = np.array([len(x) for x in table.x])
        known = np.array([len(y) for y in table.y] or [0] * len(lengths))
        T, B = int(lengths.max()), len(lengths)
        xs = np.zeros((T, B, self.n_features_in_))
        ys = np.zeros((T, B, self.outputs_.size))
        for b, x in enumerate(table.x):
            xs[: len(x), b] = self._scaled_x(x)
            if known[b]:
                ys[: known[b], b] = self.y_scaler_.transform(table.y[b])
        model: nn.NARX = self.module_
        inputs = xs if self.n_features_in_ else None
        start = (np.repeat(data[:1], self.reach_, axis=0) for data in (xs, ys))
        past_x, past_y = start
        history = model.history(past_x if self.n_features_in_ else None, past_y)
        with no_grad():
            if horizon is None or horizon == 1:
                mask = np.arange(T)[:, None] < known
                if not known.any():
                    found = model.free_run(inputs, history, steps=T, lengths=lengths)
                elif (known >= lengths - 1).all():
                    found = model.one_step(inputs, history, ys, lengths=lengths)
                else:
                    found, _ = model(inputs, history, ys, force_mask=mask, lengths=lengths)
                values = found.data
            else:
                n = min(horizon, T)
                first = model.free_run(None if inputs is None else inputs[: n - 1], history, steps=n - 1).data
                values = np.concatenate([first, model.n_step(n, inputs, history, ys, lengths=lengths).data])
        return [self.y_scaler_.inverse_transform(values[:n, b]) for b, n in enumerate(lengths)]

    def _simulate(self, x: Array, past: Table, paths: int) -> tuple[Array, Array | None, Array | None]:
        steps = len(x)
        model: nn.NARX = self.module_
        known_x, known_y = self._scaled_x(past.x[0])[:, None], self.y_scaler_.transform(past.y[0])[:, None]
        if len(known_y) < self.reach_:
            raise DataError(
                f"y_past has {counted(len(known_y), 'row')}, but the longest delay is {self.reach_}; give at least "
                f"{self.reach_}"
            )
        history = model.history(known_x if self.n_features_in_ else None, known_y)
        inputs = self._scaled_x(x)[:, None] if self.n_features_in_ else None
        rng = check_random_state(self.random_state)
        errors = self.residuals_ / self.y_scaler_.scale_
        errors = errors - errors.mean(axis=0)
        drawn = errors[rng.randint(len(errors), size=(steps, paths))]
        noisy = DISTURBED.setdefault(model, nn.Recurrent(_Disturbed(model.cell)))
        with no_grad():
            mean = model.free_run(inputs, history, steps=steps).data[:, 0]
            many = type(history)(*(np.repeat(slot.data, paths, axis=0) for slot in history))
            given = (np.repeat(inputs, paths, axis=1), drawn) if inputs is not None else (drawn,)
            found = noisy(given, many)[0].data
        restored = self.y_scaler_.inverse_transform(found.reshape(-1, self.outputs_.size)).reshape(found.shape)
        return self.y_scaler_.inverse_transform(mean), restored.swapaxes(0, 1), None


class _Disturbed(nn.Cell):
    """A NARX cell with a disturbance e_t that is added to each output; the disturbed output is fed back."""

    def __init__(self, cell: nn.NARXCell) -> None:
        super().__init__()
        self.cell, self.state_shape = cell, cell.state_shape

    def step(self, given: tuple[Tensor, ...], history: Any) -> tuple[Tensor, Any]:
        """Compute y_t + e_t, from (x_t, e_t), or from (e_t,) without an input."""
        x, e = given if len(given) == 2 else (None, given[0])
        y, after = self.cell.step(x, history)
        y = y + e
        return y, after._replace(y_1=y)


def _windows(parts: list[Part], reach: int) -> list[Part]:
    """Windows of `WINDOW` steps, each with the history before the window."""
    return [
        Part(x[start : start + reach + WINDOW], y[start : start + reach + WINDOW])
        for x, y, _ in parts
        for start in range(0, len(x) - reach, WINDOW)
    ]
