"""Pictures of measured numbers: states over a text, a text coloured by one unit, gradients from step to step, embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..console import counted
from ..draw import Drawing
from ..draw.colors import HIGH, LOW, magnitudes, signed
from ..draw.heatmap import blocks, heatmap_of, scatter, shown, text_page
from ..errors import DataError
from ..tensor import Tensor
from .loop_run import Array

__all__ = ["colored_text", "draw_decay", "draw_embedding", "draw_singular_values", "heatmap", "triangle"]


def heatmap(
    states: Any,
    text: str | Sequence[str] | None = None,
    *,
    units: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    bound: float | None = None,
    width: int = 60,
    title: str = "states",
) -> Drawing:
    """Draw the units of a named value over a text: a row for each unit, a column for each character.

    Parameters
    ----------
    states : array_like, shape (T, units)
        The values, such as ``explain.states(model, text)["h"]``. NaN, as at padded steps, is a dot.
    text : str or sequence of str, optional
        A label for each step; if not given, the number of the step.
    units : sequence of int, optional
        Numbers of the units that are drawn, in this order; if not given, all units.
    labels : sequence of str, optional
        A label for each drawn unit; if not given, the number of the unit.
    bound : float, optional
        Colours go from −bound to bound. If not given, the bound is the largest absolute value.
    width : int
        Largest number of columns side by side.
    title : str
        Title of the picture.

    Returns
    -------
    Drawing

    Raises
    ------
    DataError
        If there are no numbers, or if the number of labels or of characters is wrong.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import explain
    >>> drawing = explain.heatmap(np.array([[0.9, -0.2], [0.1, 0.5]]), "hi")
    >>> drawing
    <Drawing of states>
    >>> [vertex.tooltip for vertex in drawing.sketch.vertices if vertex.family == "cell"]
    ['unit 0, 1 h: 0.9', 'unit 0, 2 i: 0.1', 'unit 1, 1 h: −0.2', 'unit 1, 2 i: 0.5']
    """
    table = _table(states, 2)
    steps = [str(t) for t in range(1, len(table) + 1)] if text is None else list(text)
    chosen = list(range(table.shape[1])) if units is None else list(units)
    rows = [f"unit {unit}" for unit in chosen] if labels is None else list(labels)
    _check_length("text", steps, len(table))
    _check_length("labels", rows, len(chosen))
    tips = steps if text is None else [f"{t} {shown(step)}" for t, step in enumerate(steps, 1)]
    scale = signed(bound or _largest(table))
    return heatmap_of(table[:, chosen].T, rows, list(map(shown, steps)), scale, title, columns_said=tips, wrap=width)


def colored_text(numbers: Any, text: str, *, bound: float | None = None, width: int = 60, title: str = "one unit") -> Drawing:
    """Draw a text in which the background of each character shows a number, such as the state of one unit.

    Parameters
    ----------
    numbers : array_like, shape (T,)
        The numbers, such as ``explain.states(model, text)["h"][:, 3]``. A character whose number is NaN has no colour.
    text : str
        The text; it has a character for each number.
    bound : float, optional
        Colours go from −bound to bound. If not given, the bound is the largest absolute value.
    width : int
        Number of characters in a line.
    title : str
        Title of the picture.

    Returns
    -------
    Drawing

    Raises
    ------
    DataError
        If there are no numbers, or if their count is not the number of characters.

    References
    ----------
    Karpathy, Johnson and Fei-Fei, "Visualizing and understanding recurrent networks", 2015.

    Examples
    --------
    >>> from tinygrad_rnn import explain
    >>> [vertex.fill for vertex in explain.colored_text([1.0, -1.0, float("nan")], "abc").sketch.vertices[:3]]
    ['#b2182b', '#2166ac', 'white']
    """
    row = _table(numbers, 1)
    _check_length("text", text, len(row))
    return text_page(row, text, signed(bound or _largest(row)), title, width)


def triangle(norms: Array, low: float, high: float, reaches: Array | None = None, title: str = "‖δ(t,k)‖") -> Drawing:
    """Draw, for the loss of each step t, its gradient at each step k.

    Parameters
    ----------
    norms : ndarray, shape (T, T)
        The norms, as ``norms[t - 1, k - 1]``; NaN if the loss does not depend on the step.
    low, high : float
        The ends of the logarithmic scale of colours.
    reaches : ndarray of bool, shape (T, T), optional
        True if truncation does not cut the gradient off.
    title : str
        Title of the picture.

    Returns
    -------
    Drawing
        The picture. More than 40 steps are drawn in blocks, each with the colour of its largest norm.

    Examples
    --------
    >>> found = triangle(np.array([[1.0, np.nan], [0.0, 2.0]]), LOW, HIGH)
    >>> [(vertex.kind.value, vertex.tooltip) for vertex in found.sketch.vertices[:3]]
    [('cell', 't = 1, k = 1: 1'), ('zero', 't = 2, k = 1: 0'), ('cell', 't = 2, k = 2: 2')]
    """
    table, n = blocks(norms)
    cut = None if reaches is None else blocks(reaches.astype(float))[0] == 0
    t, k = [_spans(size, n) for size in norms.shape]
    said = [f"t = {step}" for step in t], [f"k = {step}" for step in k]
    title = title if n == 1 else f"{title}, the largest of {n} × {n} each"
    axes = "t", "k, the step that the gradient has come back to"
    return heatmap_of(table, t, k, magnitudes(low, high), title, axes, *said, cut)


def _spans(size: int, n: int) -> list[str]:
    """Labels of groups of n steps.

    Examples
    --------
    >>> _spans(3, 1), _spans(3, 2)
    (['1', '2', '3'], ['1…2', '3'])
    """
    ends = [(start, min(start + n - 1, size)) for start in range(1, size + 1, n)]
    return [f"{start}…{end}" if start < end else f"{start}" for start, end in ends]


def draw_singular_values(sizes: Array, title: str) -> Drawing:
    """Draw singular values over time: white is 1, red stretches, blue shrinks.

    Parameters
    ----------
    sizes : ndarray, shape (T, D)
        The singular values of each step, the largest first.
    title : str
        Title of the picture.
    """
    rows, columns = ([f"{k}" for k in range(1, n + 1)] for n in sizes.T.shape)
    said = [f"singular value {k}" for k in rows], [f"t = {t}" for t in columns]
    scale = magnitudes(0.01, 100.0)._replace(colors=signed(1.0).colors)
    return heatmap_of(sizes.T, rows, columns, scale, title, ("", "t"), *said)


def draw_decay(decays: Mapping[str, Array], title: str) -> Drawing:
    """Draw the gradient that remains after each lag: a row for each model, on the same scale.

    Parameters
    ----------
    decays : mapping of str to ndarray, shape (T,)
    title : str
        Title of the picture.
    """
    lags = [f"{lag}" for lag in range(max(map(len, decays.values())))]
    table = np.array([np.pad(decay, (0, len(lags) - len(decay)), constant_values=np.nan) for decay in decays.values()])
    said = [f"lag {lag}" for lag in lags]
    axes = "", "lag t − k"
    return heatmap_of(table, list(decays), lags, magnitudes(LOW, HIGH), title, axes, list(decays), said)


def draw_embedding(vectors: Any, symbols: Sequence[str], *, title: str = "embedding") -> Drawing:
    """Draw symbols as points in the plane of the two main directions of their vectors.

    Parameters
    ----------
    vectors : array_like, shape (n, features)
        The vectors, such as ``model[0].weight``.
    symbols : sequence of str
        One symbol for each vector, such as ``vocabulary.symbols``.
    title : str
        Title of the picture.

    Returns
    -------
    Drawing
        The picture. A note says which part of the variance the two principal components explain.

    Raises
    ------
    DataError
        If there is not one symbol for each vector.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_rnn import explain
    >>> drawing = explain.draw_embedding(np.eye(3), "abc")
    >>> [vertex.label for vertex in drawing.sketch.vertices][:3]
    ['a', 'b', 'c']
    """
    table = _table(vectors, 2)
    _check_length("symbols", symbols, len(table))
    centred = table - table.mean(axis=0)
    left, sizes, _ = np.linalg.svd(np.pad(centred, ((0, 0), (0, max(0, 2 - centred.shape[1])))), full_matrices=False)
    points = np.zeros((len(table), 2))
    points[:, : sizes.size] = (left * sizes)[:, :2]
    shares = sizes**2 / ((sizes**2).sum() or 1.0)
    axes = [f"component {k + 1}, {share:.0%} of the variance" for k, share in enumerate([*shares, 0.0][:2])]
    return scatter(points, list(symbols), title, (axes[0], axes[1]))


def _table(numbers: Any, ndim: int) -> Array:
    """Numbers as an array with a given number of axes, after a check that at least one number is not NaN."""
    found = np.asarray(numbers.data if isinstance(numbers, Tensor) else numbers, float)
    if found.ndim != ndim:
        raise DataError(f"the numbers must have {counted(ndim, 'axis', 'axes')}, but have shape {found.shape}")
    if not np.isfinite(found).any():
        raise DataError(f"an array of shape {found.shape} has no finite number to draw")
    return found


def _largest(table: Array) -> float:
    """The largest finite absolute value; 1 if all are zero."""
    return float(np.abs(table[np.isfinite(table)]).max()) or 1.0


def _check_length(what: str, given: Sequence[Any], n: int) -> None:
    if len(given) != n:
        raise DataError(f"{what} must have one entry for each of the {counted(n, 'number')}, but {len(given)} were given")
