"""The task of a model in a report: its input, its targets, and the loss of each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..console import counted
from ..errors import DataError, ShapeError
from ..nn.module import Module
from ..ops import cross_entropy, mse
from ..sequences import Vocabulary
from ..tensor import Tensor
from .by_hand import Array
from .model_run import Loss, Model, called, is_batch_first, run_losses
from .properties import PROPERTIES, Property, passage

__all__ = ["Task", "task_of"]

READ, SHOWN = 5000, 60
"""Number of steps that a report reads, and number of steps of the passage in its pictures."""
LAGS = (0, 1, 2, 4, 8)
"""Largest number of steps back for which a unit is tested as a memory of the input."""


@dataclass(frozen=True, eq=False)
class Task:
    """Input and targets of a model, with a loss.

    Attributes
    ----------
    source : str or ndarray
        The text, or the input of the model.
    steps : list of str, or None
        The symbol of each step of a text.
    every : tuple
        Inputs and targets of all steps that are read.
    xs, targets : ndarray
        Inputs and targets of the passage.
    size : str
        The amount of data that is read, in words.
    shown : slice
        The position of the passage.
    loss : callable
        ``loss(outputs, targets)`` gives the loss of each step.
    drawn : str
        The loss in pictures and equations, as a Python expression; empty for a user's own loss.
    baseline : tuple of (str, float)
        The name of a prediction without a network, and its mean loss; NaN if there is no such prediction.
    unit : str
        The unit of the losses.
    per_unit : float
        The number by which losses are divided to get this unit.
    """

    source: Any
    steps: list[str] | None
    every: tuple[Any, Any]
    xs: Any
    targets: Any
    size: str
    shown: slice
    loss: Loss
    drawn: str
    baseline: tuple[str, float]
    unit: str
    per_unit: float

    def mean_loss(self, model: Model) -> float:
        """Mean loss over all steps that are read, in `unit`."""
        return float(run_losses(model, *self.every, self.loss)[1].data.mean()) / self.per_unit

    def properties(self) -> tuple[Any, Mapping[str, Property]]:
        """Properties that units are compared with: properties of characters, or the input some steps back."""
        if self.steps is not None:
            return self.source, PROPERTIES if list(self.source) == self.steps else {}
        series = np.asarray(self.source, float)
        series = series.reshape(len(series), -1) if series.ndim != 3 else series[:, 0]
        return series, {
            f"x{f'[{feature}]' if series.shape[1] > 1 else ''}{f', {lag} steps back' if lag > 1 else ', a step back' * lag}": (
                lambda rows, t, lag=lag, feature=feature: rows[max(t - lag, 0)][feature]
            )
            for feature in range(min(series.shape[1], 3))
            for lag in LAGS
        }


def task_of(model: Module, run: Model, data: Any, targets: Any, loss: Loss | None, vocabulary: Vocabulary | None) -> Task:
    """The task of a model on a text or a series; `run` is the model, or a function that runs it.

    Raises
    ------
    DataError
        If a text has no vocabulary, or there are too few steps.
    ShapeError
        If the targets are unknown, or the model needs more than its input.
    """
    if isinstance(data, str):
        return _of_text(model, data, loss, vocabulary)
    return _of_series(model, run, np.asarray(data.data if isinstance(data, Tensor) else data), targets, loss)


def _of_text(model: Module, text: str, loss: Loss | None, vocabulary: Vocabulary | None) -> Task:
    vocabulary = vocabulary or getattr(model, "vocabulary", None)
    if vocabulary is None:
        raise DataError("a text needs a vocabulary; give vocabulary=…, or set model.vocabulary")
    steps = list(vocabulary.split(text[: 20 * READ]))[: READ + 1]
    if list(text[: len(steps)]) == steps:
        text = text[: len(steps)]
    if len(steps) < 3:
        raise DataError(f"a text of {counted(len(steps), 'symbol')} is too short; a report needs at least 3")
    codes = vocabulary.encode(text)[: len(steps)]
    n = min(SHOWN, len(steps) - 1)
    is_characters = list(text) == steps
    shown = passage(text[:-1], n) if is_characters else slice(0, n)
    to_input = _axes(model)
    every = to_input(codes[:-1, None]), to_input(codes[1:, None])
    after = slice(shown.start + 1, shown.stop + 1)
    return Task(
        text,
        steps,
        every,
        to_input(codes[shown, None]),
        to_input(codes[after, None]),
        f"{counted(len(steps) - 1, 'symbol')} of a text",
        shown,
        loss or (lambda outputs, y: cross_entropy(outputs, y, reduction="none")),
        "" if loss else "nn.cross_entropy",
        (
            f"a uniform guess among {len(vocabulary)} symbols",
            float("nan") if loss else float(np.log2(len(vocabulary))),
        ),
        "a step" if loss else "bits a symbol",
        1.0 if loss else float(np.log(2)),
    )


def _of_series(model: Module, run: Model, series: Array, targets: Any, loss: Loss | None) -> Task:
    to_input = _axes(model)
    if series.ndim < 3 and series.dtype.kind in "fiub":
        dtype = next((p.dtype for p in model.parameters()), np.dtype(float))
        series = to_input(series.astype(dtype).reshape(len(series), 1, -1))
    is_next = targets is None
    axis = 1 if is_batch_first(model) else 0
    if series.ndim < 2 or series.shape[axis] < 3:
        raise DataError(f"a series of shape {series.shape} is too short; a report needs at least 3 steps")
    n = min(series.shape[axis] - is_next, READ)

    def part(array: Array, start: int, stop: int) -> Array:
        return array[(slice(None),) * axis + (slice(start, stop),)]

    ys = part(series, 1, n + 1) if is_next else np.asarray(targets.data if isinstance(targets, Tensor) else targets)
    xs = part(series, 0, n)
    own: Callable[[Any, Any], Any] = lambda outputs, y: mse(outputs, y, reduction="none").mean(axis=-1)  # noqa: E731
    is_classes = ys.dtype.kind in "iu"
    if is_classes:
        own = lambda outputs, y: cross_entropy(outputs, y, reduction="none")  # noqa: E731
    used = loss or own
    try:
        called(run, part(xs, 0, 2))
    except (ShapeError, TypeError) as error:
        raise ShapeError(
            f"the model fails on the series ({error}); if the model needs more than its input, such as a history, give a "
            "function that runs it: report(model, xs, targets=…, run=lambda xs: …), which is called with xs of any length"
        ) from error
    try:
        run_losses(run, part(xs, 0, 2), part(ys, 0, 2), used)
    except ShapeError as error:
        if loss is not None or not is_next:
            raise
        raise ShapeError(
            f"without targets=…, a model must predict its own next input, and this model does not ({error}); give what it "
            "predicts, and a loss with a value for each step: report(model, xs, targets=…, loss=…)"
        ) from error
    T = min(SHOWN, n)
    read = part(ys, 0, n)
    baseline = ("", float("nan")) if loss else _repeated(xs, read) if is_next else _guessed(read)
    return Task(
        xs,
        None,
        (xs, read),
        part(xs, 0, T),
        part(ys, 0, T),
        f"{counted(n, 'step')} of a series",
        slice(0, T),
        used,
        "" if loss else "nn.cross_entropy" if is_classes else "nn.mse",
        baseline,
        "a step" if loss else "nats a step" if is_classes else "mean squared error",
        1.0,
    )


def _repeated(xs: Array, ys: Array) -> tuple[str, float]:
    """Name and loss of the prediction that each value is repeated."""
    return "a prediction that repeats the last value", float(np.mean((np.asarray(xs, float) - ys) ** 2))


def _guessed(ys: Array) -> tuple[str, float]:
    """Name and loss of a prediction that ignores the input: class frequencies, or the mean of the targets.

    Examples
    --------
    >>> _guessed(np.array([[0], [1], [1], [0]]))
    ('a guess by the class frequencies', 0.6931471805599453)
    >>> _guessed(np.array([[[1.0]], [[3.0]]]))
    ('a prediction of the mean', 1.0)
    """
    if ys.dtype.kind not in "iu":
        return "a prediction of the mean", float(np.mean((ys - np.mean(ys, axis=tuple(range(ys.ndim - 1)), dtype=float)) ** 2))
    shares = np.unique(ys, return_counts=True)[1] / ys.size
    return "a guess by the class frequencies", float(-(shares * np.log(shares)).sum())


def _axes(model: Module) -> Callable[[Array], Array]:
    """Convert (time, batch, …) to the model's order of axes."""
    return (lambda array: np.swapaxes(array, 0, 1)) if is_batch_first(model) else (lambda array: array)
