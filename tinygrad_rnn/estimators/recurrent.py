"""RecurrentRegressor and RecurrentClassifier: any cell between a table and its targets."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelEncoder, StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from .. import nn
from ..autodiff import no_grad
from ..checks import check_int
from ..console import progress_bar
from ..errors import DataError
from ..lookup import find_cell
from ..sequences import pad
from ..tensor import Tensor
from .fitting import EarlyStopping, search, seeded
from .series import SeriesEstimator, SeriesRegressor, check_constant
from .splitting import Part, split_in_time
from .tables import Table, read_table

__all__ = ["RecurrentClassifier", "RecurrentRegressor"]

Array = npt.NDArray[Any]


class RecurrentEstimator(SeriesEstimator):
    """Base of the recurrent regressor and classifier: a recurrent cell, a linear layer, and their training."""

    takes_one_value = True

    def __init__(
        self,
        cell: str | Callable[..., nn.Cell] = "gru",
        hidden_size: int = 16,
        *,
        window: int = 100,
        solver: str = "adam",
        learning_rate: float = 0.01,
        clip: float = 1.0,
        max_iter: int = 200,
        patience: int = 20,
        validation_fraction: float = 0.2,
        restarts: int = 1,
        groups: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.cell = cell
        self.hidden_size = hidden_size
        self.window = window
        self.solver = solver
        self.learning_rate = learning_rate
        self.clip = clip
        self.max_iter = max_iter
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.restarts = restarts
        self.groups = groups
        self.random_state = random_state
        self.verbose = verbose

    def _new(self, outputs: int) -> nn.Sequential:
        """A model with freshly initialised parameters."""
        make = find_cell(self.cell) if isinstance(self.cell, str) else self.cell
        size = check_int("hidden_size", self.hidden_size)
        cell = make(self.n_features_in_, size) if callable(make) else make
        if not isinstance(cell, nn.Cell):
            raise DataError(
                "cell must be a name such as 'gru', or a function of (input_size, hidden_size) that makes an nn.Cell; it "
                "made a "
                f"{type(cell).__name__}"
            )
        with no_grad():
            found, _ = cell(np.zeros((1, self.n_features_in_), np.float32), cell.initial_state(1))
        if not isinstance(found, Tensor) or found.ndim != 2:
            raise DataError(
                f"the cell {type(cell).__name__} must return an output of shape (batch, features), for the linear layer "
                "after it"
            )
        return nn.Sequential(nn.Recurrent(cell), nn.Linear(found.shape[1], outputs, dtype=found.dtype))

    def _train(self, table: Table, outputs: int) -> tuple[list[Part], list[Part]]:
        """Fit a model to standardised data, with parts for training and validation."""
        if not self.n_features_in_:
            raise DataError(
                f"{type(self).__name__} needs inputs X; for a series without inputs, use NARXRegressor or ARRegressor"
            )
        self.reach_ = 0
        whole = self.outputs_.one_value
        window = check_int("window", self.window)
        if whole:
            count = len(table.x) - round(self.validation_fraction * len(table.x))
            parts = [Part(x, y) for x, y in zip(table.x, table.y, strict=True)]
            train, later = parts[:count], parts[count:]
        else:
            train, later = split_in_time(table, self.validation_fraction, window)
        if sum(len(part.y) for part in train) < 2:
            raise DataError(
                f"the series is too short: n_samples = {sum(len(part.y) for part in train)} for training, and at least 2 are "
                "needed"
            )
        self._set_units(train)
        train, later = self._scaled(train), self._scaled(later)
        pieces = train if whole else _windows(train, window)
        starts, rng, best = check_int("restarts", self.restarts), check_random_state(self.random_state), None
        check_int("max_iter", self.max_iter, 0)
        self.n_iter_ = 0
        with progress_bar(starts * self.max_iter, "training", bool(self.verbose)) as bar:
            for _ in range(starts):
                with seeded(rng):
                    model = self._new(outputs)
                run, check = (_Runs(model, parts, whole) for parts in (pieces, later or pieces))
                error = functools.partial(self._error, check)
                stopping = EarlyStopping(list(model.parameters()), error, self.patience, bar)
                goal = self._goal(run)
                search(stopping, self.solver, self.max_iter, rate=self.learning_rate, clip=self.clip, **goal)
                self.n_iter_ += stopping.iterations
                if best is None or stopping.least < best[0]:
                    best = stopping.least, model
        assert best is not None  # at least one initial value was tried
        self.validation_error_, self.module_ = best
        return train, later

    def _goal(self, run: _Runs) -> dict[str, Any]:
        """The objective of a search: residuals, or a loss."""
        raise NotImplementedError

    def _error(self, run: _Runs) -> float:
        """The error on validation data."""
        raise NotImplementedError

    def _raw(self, xs: list[Array]) -> list[Array]:
        """Model outputs for sessions in standardised units: of each step, or of the last step."""
        one_value = self.outputs_.one_value
        with no_grad():
            run = _Runs(self.module_, [Part(self._scaled_x(x), np.zeros((len(x), 1))) for x in xs], one_value)
            found = run.outputs().data.astype(float)
        return list(found[:, None]) if one_value else [found[: len(x), b] for b, x in enumerate(xs)]

    def _form(self, table: Table, parts: list[Array]) -> Any:
        """Values in the form of X; an array if each sequence has one value."""
        if self.outputs_.one_value:
            whole = np.concatenate(parts)
            return whole[:, 0] if self.outputs_.flat else whole
        return table.restored(parts, self.outputs_.names, self.outputs_.flat)


class RecurrentRegressor(RecurrentEstimator, SeriesRegressor):
    """A recurrent cell and a linear layer that predict y from all inputs so far, at each step or once per sequence.

    Columns are scaled to mean 0 and standard deviation 1, and predictions are scaled back. For
    training, a long series is cut into windows, which run in parallel. The last part of each series
    is used for validation, as in :class:`NARXRegressor`. y is not fed back.

    Parameters
    ----------
    cell : str or callable
        A cell of ``tinygrad_rnn.nn``, such as ``"gru"``, ``"lstm"`` or ``"rnn"``; or your own class, called with
        (input_size, hidden_size).
    hidden_size : int
        Length of the cell's state.
    window : int
        Number of steps of a window. In all windows of a series except the first, the first quarter only warms up the state,
        and its errors are not used.
    solver : {"adam", "lbfgs", "lm"}
        The solver; each iteration uses all windows.
    learning_rate, clip : float
        Learning rate of Adam, and the norm to which the gradient is clipped.
    max_iter : int
        Largest number of iterations of the search.
    patience : int
        Number of iterations without a new smallest validation error after which training ends.
    validation_fraction : float
        Fraction for validation: of the rows at the end of each series, or, for five or more sequences, of the sequences.
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
    module_ : tinygrad_rnn.nn.Sequential
        The model, in standardised units.
    n_iter_ : int
    sessions_ : list of Session
    validation_error_ : float

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn.estimators import RecurrentRegressor
    >>> u = np.random.default_rng(0).uniform(-1, 1, (300, 1))
    >>> y = np.convolve(u[:, 0], [0.0, 1.0, 0.5])[:300]
    >>> model = RecurrentRegressor("rnn", 4, solver="lbfgs", max_iter=60, random_state=0).fit(u[:250], y[:250])
    >>> bool(model.score(u[250:], y[250:]) > 0.95)
    True

    One value for each of several sequences:

    >>> xs = [u[n : n + 3 + n % 5] for n in range(20)]
    >>> sums = RecurrentRegressor("rnn", 4, max_iter=20, random_state=0).fit(xs, [x.sum() for x in xs])
    >>> sums.predict(xs).shape
    (20,)
    """

    def _learn(self, table: Table) -> None:
        train, later = self._train(table, self.outputs_.size)
        run = _Runs(self.module_, later or train, self.outputs_.one_value)
        with no_grad():
            errors = run.outputs().data - run.ys
        kept = errors if self.outputs_.one_value else errors.swapaxes(0, 1)[run.mask.swapaxes(0, 1)[..., 0] > 0]
        self.residuals_ = -kept.astype(float) * self.y_scaler_.scale_

    def _goal(self, run: _Runs) -> dict[str, Any]:
        return {"residuals": lambda: (run.outputs() - run.ys) * run.mask}

    def _error(self, run: _Runs) -> float:
        found = (run.outputs().data - run.ys) * run.mask
        return float(np.square(found).sum() / (run.mask.sum() * run.ys.shape[-1]))

    def _check_known(self, table: Table, horizon: int | None) -> None:
        """Accept every horizon: the horizon has no effect, because y is not fed back."""

    def _run(self, table: Table, horizon: int | None) -> list[Array]:
        return [self.y_scaler_.inverse_transform(part) for part in self._raw(table.x)]

    def _restored(self, table: Table, parts: Any) -> Any:
        return self._form(table, parts)

    def _simulate(self, x: Array, past: Table, paths: int) -> tuple[Array, Array | None, Array | None]:
        (found,) = self._run(Table([np.concatenate([past.x[0], x])], [], [], [], [], [], "table"), None)
        mean = found[len(past.x[0]) :]
        errors = self.residuals_ - self.residuals_.mean(axis=0)
        length = min(
            len(x), max(len(errors) // 4, 1)
        )  # errors of neighbouring steps are correlated, so blocks of errors are drawn
        rng = check_random_state(self.random_state)
        starts = rng.randint(len(errors) - length + 1, size=(paths, -(-len(x) // length)))
        drawn = errors[(starts[..., None] + np.arange(length)).reshape(paths, -1)[:, : len(x)]]
        return mean, mean + drawn, None


class RecurrentClassifier(ClassifierMixin, RecurrentEstimator):  # type: ignore[misc]
    """A recurrent cell and a linear layer that predict a class from all inputs so far, at each step or per sequence.

    Parameters
    ----------
    cell, hidden_size, window, solver, learning_rate, clip, max_iter, patience, validation_fraction, restarts, groups
        As for :class:`RecurrentRegressor`; the solvers are ``"adam"`` and ``"lbfgs"``.
    random_state, verbose
        As for :class:`RecurrentRegressor`.

    Attributes
    ----------
    classes_ : ndarray
    module_ : tinygrad_rnn.nn.Sequential
        The model; its outputs are logits.
    n_iter_ : int
    sessions_ : list of Session
    validation_error_ : float
        The cross-entropy in nats.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn.estimators import RecurrentClassifier
    >>> rng = np.random.default_rng(0)
    >>> xs = [rng.normal(size=(n, 1)).cumsum(axis=0) for n in rng.integers(5, 20, 60)]
    >>> ends = ["up" if x[-1, 0] > 0 else "down" for x in xs]
    >>> model = RecurrentClassifier("gru", 8, max_iter=60, random_state=0).fit(xs[:40], ends[:40])
    >>> model.classes_, model.score(xs[40:], ends[40:]) > 0.8
    (array(['down', 'up'], dtype='<U4'), True)
    """

    def _encoded(self, y: Any, fitting: bool) -> Any:
        sequences = isinstance(y, (list, tuple)) and len(y) and np.ndim(y[0]) >= 1
        y = y if sequences or hasattr(y, "iloc") else np.asarray(y)
        if not sequences and y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        flat = np.concatenate([np.asarray(part).ravel() for part in y]) if sequences else np.asarray(y).ravel()
        if flat.dtype.kind == "f" and not np.isfinite(flat).all():
            raise DataError(f"y must have a class in each row, but row {int(np.argmin(np.isfinite(flat)))} has NaN or inf")
        if flat.dtype.kind == "O":
            if missing := [row for row, value in enumerate(flat) if value is None or value != value]:
                raise DataError(f"y must have a class in each row, but row {missing[0]} has {flat[missing[0]]!r}")
            flat = flat.astype(str) if all(isinstance(value, str) for value in flat) else flat  # a file holds texts, no objects
        check_classification_targets(flat)
        encoder = LabelEncoder().fit(flat)
        self.classes_ = encoder.classes_
        if len(self.classes_) == 1:
            raise DataError(f"y has only one class, {self.classes_[0]!r}; a classifier needs at least two")
        if sequences:
            return [encoder.transform(np.asarray(part).ravel()) for part in y]
        codes = encoder.transform(flat).reshape(np.shape(y))
        if hasattr(y, "index") and hasattr(y, "to_frame"):
            return type(y)(codes, index=y.index, name=y.name)
        return codes

    def _set_units(self, parts: Any) -> None:
        x = np.concatenate([part.x for part in parts])
        check_constant(x, list(getattr(self, "feature_names_in_", range(x.shape[1]))), "X")
        self.x_scaler_ = StandardScaler().fit(x)

    def _scaled(self, parts: Any) -> list[Part]:
        return [Part(self._scaled_x(x), y.astype(int), warmup) for x, y, warmup in parts]

    def _learn(self, table: Table) -> None:
        self._train(table, len(self.classes_))

    def _goal(self, run: _Runs) -> dict[str, Any]:
        return {"loss": lambda: self._cross_entropy(run)}

    def _cross_entropy(self, run: _Runs) -> Tensor:
        found = nn.cross_entropy(run.outputs(), run.ys[..., 0], "none")
        return (found * run.mask[..., 0]).sum() / run.mask.sum()

    def _error(self, run: _Runs) -> float:
        return float(self._cross_entropy(run).item())

    def _logits(self, X: Any) -> tuple[Table, list[Array]]:
        check_is_fitted(self)
        table = read_table(self, X, None, fitting=False)
        return table, self._raw(table.x)

    def predict(self, X: Any) -> Any:
        """The most probable class of each row or each sequence.

        Parameters
        ----------
        X : as for `fit`
        """
        table, logits = self._logits(X)
        return self._form(table, [self.classes_[part.argmax(axis=-1)][:, None] for part in logits])

    def predict_proba(self, X: Any) -> Any:
        """The probability of each class for each row or each sequence, along a last axis of classes.

        Parameters
        ----------
        X : as for `fit`
        """
        table, logits = self._logits(X)
        parts = []
        for part in logits:
            powers = np.exp(part - part.max(axis=-1, keepdims=True))
            parts.append(powers / powers.sum(axis=-1, keepdims=True))
        return np.concatenate(parts) if self.outputs_.one_value else table.restored(parts, self.classes_.tolist(), False)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # scikit-learn's test rows are not a series
        return tags


class _Runs:
    """Sessions as a batch, and the model's outputs on them.

    Parameters
    ----------
    model : Sequential
        A recurrent layer and a linear layer.
    parts : list of Part
        Parts in standardised units.
    one_value : bool
        Whether only the output of the last step is used.
    """

    def __init__(self, model: nn.Sequential, parts: list[Part], one_value: bool) -> None:
        self.rnn, self.head = model[0], model[1]
        self.xs, self.lengths = pad([part.x for part in parts])
        self.one_value = one_value
        dtype = self.head.weight.dtype
        self.xs = self.xs.astype(dtype)
        t = np.arange(len(self.xs))[:, None]
        if one_value:
            self.ys = np.concatenate([part.y[:1] for part in parts])
            self.mask = np.ones((len(parts), 1), dtype)
        else:
            self.ys = pad([part.y for part in parts])[0]
            self.mask = ((t >= [part.warmup for part in parts]) & (t < self.lengths))[..., None].astype(dtype)
        self.ys = self.ys if self.ys.dtype.kind in "iu" else self.ys.astype(dtype)

    def outputs(self) -> Tensor:
        """Outputs of each step, (time, batch, outputs), or of the last step, (batch, outputs)."""
        lengths = None if (self.lengths == len(self.xs)).all() else self.lengths
        found, _ = self.rnn(self.xs, lengths=lengths)
        return self.head(found[self.lengths - 1, np.arange(len(self.lengths))] if self.one_value else found)


def _windows(parts: list[Part], window: int) -> list[Part]:
    """Windows of a length, each with a quarter of that length before it as warm-up for the state."""
    warmup = window // 4
    pieces = []
    for x, y, _ in parts:
        for start in range(0, max(len(x) - warmup, 1), window - warmup):
            pieces.append(Part(x[start : start + window], y[start : start + window], warmup if start else 0))
    return pieces
