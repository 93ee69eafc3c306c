"""States and gates over a text or a series: the values a network keeps, their saturation, and what units respond to."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..checks import no_such
from ..console import counted
from ..draw import Drawing
from ..errors import DataError, ShapeError, TinygradError
from ..graph.context import Unrolling, mode
from ..graph.graph import outer_step
from ..graph.node import Node, ancestors
from ..nn.cell import Cell
from ..nn.module import Module
from ..nn.recurrent import standalone
from ..ops.core import as_tensor
from ..ops.facts import facts_of
from ..scan.compiled import CompiledScan
from ..scan.loop import Output
from ..sequences import Vocabulary
from ..tree import flatten
from .by_hand import Array, read_whole
from .heatmaps import heatmap
from .model_run import Model, RecurrentPart, is_batch_first, parts_of
from .properties import PROPERTIES, Property, measure

__all__ = ["Saturation", "States", "Unit", "neighbours", "states"]

CLEAR = 0.15
"""Default smallest correlation that is reported."""


class Unit(NamedTuple):
    """A unit of a named value, and the property with which it correlates.

    Attributes
    ----------
    value : str
        The named value, such as ``"h"``.
    number : int
    property : str
    correlation : float
        The correlation between the unit and the property, over the text.

    Examples
    --------
    >>> print(Unit("h", 3, "a space", -0.81))
    unit 3 of h: a space, correlation -0.81
    """

    value: str
    number: int
    property: str
    correlation: float

    def __str__(self) -> str:
        return f"unit {self.number} of {self.value}: {self.property}, correlation {self.correlation:.2f}"


class Saturation(NamedTuple):
    """How often each unit of a bounded value is near a bound.

    Attributes
    ----------
    low, high : ndarray, shape (units,)
        The fraction of the steps, from 0 to 1, at which the unit is near the lower or the upper bound.

    Examples
    --------
    >>> Saturation(np.array([0.0, 0.5]), np.array([0.25, 0.0])).share
    0.375
    """

    low: Array
    high: Array

    @property
    def share(self) -> float:
        """Fraction of all units and steps near a bound."""
        return float(np.mean(self.low + self.high))


@dataclass(frozen=True, eq=False, repr=False)
class States:
    """All named values of a network over a text or a series.

    Attributes
    ----------
    source : str or array_like
        The text or series that the network read.
    values : dict of str to ndarray, shape (T, units)
        The named values, in the order in which the network computes them.
    bounds : dict of str to (float, float)
        The bounds of values computed by a bounded function, such as a sigmoid.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> found = states(nn.LSTM(2, 3), np.ones((5, 1, 2), "float32"))
    >>> found
    <States over 5 steps: i (3), f (3), g (3), o (3), c (3), h (3)>
    >>> found["f"].shape, found.bounds["g"]
    ((5, 3), (-1, 1))
    """

    source: Any
    values: Mapping[str, Array]
    bounds: Mapping[str, tuple[float, float]]

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} ({array.shape[1]})" for name, array in self.values.items())
        return f"<States over {counted(self.steps, 'step')}: {parts}>"

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(next(iter(self.values.values())))

    def __getitem__(self, name: str) -> Array:
        """One named value, shape (T, units).

        Raises
        ------
        ShapeError
            If no value has this name; the message lists the names.
        """
        if name not in self.values:
            raise ShapeError(no_such("value", name, self.values))
        return self.values[name]

    def draw(self, name: str, units: Sequence[int] | None = None, width: int = 60) -> Drawing:
        """Draw one named value over the input: a row for each unit, a column for each step.

        Parameters
        ----------
        name : str
            Name of the value, such as ``"h"``.
        units : sequence of int, optional
            Numbers of the units that are drawn, in this order; if not given, all units.
        width : int
            Largest number of columns side by side.
        """
        text = self.source if isinstance(self.source, str) else None
        bound = max(map(abs, self.bounds[name])) if name in self.bounds else None
        return heatmap(
            self[name], text, units=units, bound=bound, width=width, title=f"{name} over {counted(self.steps, 'step')}"
        )

    def saturation(self, margin: float = 0.1) -> dict[str, Saturation]:
        """The fraction of steps at which the units of bounded values are near a bound.

        Parameters
        ----------
        margin : float
            The distance that counts as near, as a fraction of the range. A margin of 0.1 means
            below 0.1 or above 0.9 for a sigmoid, and below −0.8 or above 0.8 for a tanh.

        Returns
        -------
        dict of str to Saturation

        Examples
        --------
        >>> found = States(None, {"f": np.array([[0.05, 0.5], [0.99, 0.5]])}, {"f": (0, 1)})
        >>> found.saturation()["f"]
        Saturation(low=array([0.5, 0. ]), high=array([0.5, 0. ]))
        """
        found = {}
        for name, (low, high) in self.bounds.items():
            near = margin * (high - low)
            value = self.values[name]
            found[name] = Saturation((value < low + near).mean(0), (value > high - near).mean(0))
        return found

    def units(
        self, properties: Mapping[str, Property] | Property | None = None, values: Sequence[str] = (), least: float = CLEAR
    ) -> list[Unit]:
        """For each property of the input, the unit that correlates best with it; units are not repeated.

        Parameters
        ----------
        properties : callable, or mapping of str to callable, optional
            ``property(source, position)`` gives a number, or whether the property holds at this position. If not
            given, the properties are those of :data:`~tinygrad_rnn.explain.properties.PROPERTIES`.
        values : sequence of str
            Names of the values whose units are compared; if not given, all named values.
        least : float
            Smallest correlation that is reported.

        Returns
        -------
        list of Unit
            The units, those with the largest correlation first.

        Examples
        --------
        >>> from tinygrad_rnn.explain import after_space
        >>> text = "to be or not to be"
        >>> h = np.stack([np.zeros(len(text)), [float(c == " ") for c in " " + text[:-1]]], 1)
        >>> print(States(text, {"h": h}, {}).units(after_space)[0])
        unit 1 of h: after_space, correlation 1.00
        """
        if properties is None:
            if not isinstance(self.source, str):
                raise DataError("give properties={name: numbers}, for the default properties need a text")
            properties = PROPERTIES
        if not isinstance(properties, Mapping):
            properties = {getattr(properties, "__name__", "property"): properties}
        measured = measure(self.source, properties)
        columns = {name: self[name] for name in values or self.values}
        table = np.array([_correlations(np.hstack(list(columns.values())), row) for row in measured.values()])
        places = [(name, unit) for name, array in columns.items() for unit in range(array.shape[1])]
        names, found = list(measured), []
        while table.size and np.abs(table).max() > least:
            row, column = (int(k) for k in np.unravel_index(np.abs(table).argmax(), table.shape))
            found.append(Unit(*places[column], names[row], float(table[row, column])))
            table[row], table[:, column] = 0, 0
        return found

    def to_dict(self) -> dict[str, Any]:
        """Values as plain lists, with the input if it is a text."""
        text = self.source if isinstance(self.source, str) else None
        return {"text": text, "values": {name: array.tolist() for name, array in self.values.items()}}


def states(
    model: Model,
    text_or_xs: Any,
    *,
    names: Collection[str] = (),
    vocabulary: Vocabulary | None = None,
    example: int = 0,
    **options: Any,
) -> States:
    """Run a network over a text or a series, and keep every named value of every step, such as states and gates.

    Parameters
    ----------
    model : Module or callable
        A cell, a layer or a network, in one or both directions, with any number of layers; or a function of the input, such
        as ``lambda xs: narx.free_run(xs, history)``.
    text_or_xs : str or array_like
        A text, or an input of the model, such as an array (T, batch, features).
    names : collection of str
        Hidden names of further values that are kept, such as the net input ``"a"``.
    vocabulary : Vocabulary, optional
        The vocabulary that encodes the text; if not given, the model's attribute `vocabulary`.
    example : int
        The row of the batch that is kept.
    **options
        Options of the model, such as ``state``.

    Returns
    -------
    States
        All named values. The names of values of several layers include the layer, as in ``h_l1``.

    Raises
    ------
    DataError
        If the text is empty, has symbols that are not in the vocabulary, or there is no vocabulary.
    TinygradError
        If the model has no recurrence.
    ShapeError
        If there is no step, or the model cannot take the input.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> from tinygrad_rnn.sequences import CharVocabulary
    >>> model = nn.Sequential(nn.Embedding(4, 2), nn.RNN(2, 3, num_layers=2))
    >>> states(model, "hello", vocabulary=CharVocabulary("hello"))
    <States over 5 steps: h_l0 (3), h_l1 (3)>
    """
    xs = text_or_xs
    if isinstance(xs, str):
        vocabulary = vocabulary or getattr(model, "vocabulary", None)
        if vocabulary is None:
            raise DataError("a text needs a vocabulary; give vocabulary=…, or set model.vocabulary")
        codes = vocabulary.encode(xs)
        first = is_batch_first(model)
        xs = codes[None] if first else codes[:, None]
    if any(np.size(part) == 0 for part in flatten(xs)):
        raise DataError(f"the {'text' if isinstance(text_or_xs, str) else 'sequence'} is empty; give at least one step")
    with mode(recording=True):
        outputs = (standalone(model) if isinstance(model, Cell) else model)(xs, **options)
    runs = _runs([as_tensor(part).node for part in flatten(outputs) if part is not None], names)
    found = {
        f"{name}_{run.label}" if run.label and len(runs) > 1 else name: each
        for run in runs
        for name, each in run.values.items()
    }
    if not found:
        raise TinygradError(f"{type(model).__name__} has no recurrent part; a cell becomes one by nn.Recurrent(cell)")
    if unknown := [name for name in names if name not in found and not any(name in run.values for run in runs)]:
        raise ShapeError(no_such("value", unknown[0], found))
    rows = {name: _row(array, example) for name, (_, array) in found.items()}
    bounds = {name: limits for name, (node, _) in found.items() if (limits := _bounds(node)) is not None}
    return States(text_or_xs, rows, bounds)


def neighbours(model: Any, symbol: str, n: int = 5, *, vocabulary: Vocabulary | None = None) -> list[tuple[str, float]]:
    """Symbols whose embedding vectors are most similar to that of a given symbol.

    Parameters
    ----------
    model : Module or array_like, shape (symbols, features)
        An embedding, a network with one, or a matrix of vectors.
    symbol : str
        A symbol of the vocabulary.
    n : int
        Largest number of symbols.
    vocabulary : Vocabulary, optional
        The vocabulary of the codes; if not given, the model's attribute `vocabulary`.

    Returns
    -------
    list of (str, float)
        Symbols, each with the cosine of the angle between its vector and the given symbol's; the most similar first.

    Raises
    ------
    DataError
        If the symbol is not in the vocabulary, or there is no vocabulary.
    TinygradError
        If the network has no embedding, or several embeddings.

    Examples
    --------
    >>> from tinygrad_rnn.sequences import CharVocabulary
    >>> vectors = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]])
    >>> [(symbol, round(cosine, 3)) for symbol, cosine in neighbours(vectors, "a", vocabulary=CharVocabulary("abc"))]
    [('c', 0.995), ('b', 0.0)]
    """
    vocabulary = vocabulary or getattr(model, "vocabulary", None)
    if vocabulary is None:
        raise DataError("a symbol needs a vocabulary; give vocabulary=…, or set model.vocabulary")
    vectors = _vectors(model).astype(float)
    if len(vectors) != len(vocabulary):
        raise DataError(
            f"the vocabulary has {counted(len(vocabulary), 'symbol')}, but the model has {counted(len(vectors), 'vector')}"
        )
    sizes = np.maximum(np.linalg.norm(vectors, axis=1), 1e-30)
    code = vocabulary[symbol]
    cosines = vectors @ vectors[code] / (sizes * sizes[code])
    order = [k for k in np.argsort(-cosines, kind="stable") if k != code][: max(n, 0)]
    return [(vocabulary.symbols[k], float(cosines[k])) for k in order]


# -- what a run has made -----------------------------------------------------------------------


class _RunValues(NamedTuple):
    """One run of a cell or a loop: the path of the layer, and its named values, each with the array of all steps."""

    label: str
    values: dict[str, tuple[Node, Array]]


def _runs(ends: Sequence[Node], names: Collection[str]) -> list[_RunValues]:
    """Runs that some results depend on, with the values that have a name, or a hidden name among the given names."""
    order = ancestors(ends)
    return [*(_of_scan(part, names) for part in parts_of(order)), *_of_loops(order, ends, names)]


def _of_scan(part: RecurrentPart, names: Collection[str]) -> _RunValues:
    """Values of a compiled run, computed again by a loop that outputs each of them."""
    whole = read_whole(part.loop.body, [*part.loop.next_carry, *(output.node for output in part.loop.outputs)])
    inside = {
        name: node
        for name, node in part.values.items()
        if node.primitive is not None
        and (name in names or f"{name}_{part.label}" in names or (node.hidden is None and node in whole))
    }
    asked = CompiledScan(part.loop.asking([Output("stack", node) for node in inside.values()]))
    arrays, _ = asked.executable(False)(part.inputs, part.steps)
    stacks = arrays[len(arrays) - len(inside) :]
    return _RunValues(part.label, {name: (node, array) for (name, node), array in zip(inside.items(), stacks, strict=True)})


def _of_loops(order: Sequence[Node], ends: Sequence[Node], names: Collection[str]) -> Iterator[_RunValues]:
    """Values of Python loops, in whose steps each operation has a node."""
    loops: dict[Unrolling, dict[tuple[str, str], dict[int, Node]]] = {}
    whole = read_whole(order, ends)
    for node in order:
        moment, name = outer_step(node), node.hidden if node.hidden in names else node.name if node in whole else None
        if moment is not None and node.primitive is not None and name is not None and node.role != "input":
            steps = loops.setdefault(moment[0], {}).setdefault((node.scope, name), {})
            steps.setdefault(moment[1], node)
    for unrolling, columns in loops.items():
        T = max(len(steps) for steps in columns.values())
        found: dict[str, tuple[Node, Array]] = {}
        for (_, name), steps in columns.items():
            nodes = [steps[t] for t in sorted(steps, reverse=unrolling.reverse)]
            if len(nodes) == T and len({node.shape for node in nodes}) == 1:
                found.setdefault(name, (nodes[0], np.stack([node.value for node in nodes])))
        yield _RunValues(unrolling.scope, found)


def _row(array: Array, example: int) -> Array:
    """One row of a batch of values, (T, units)."""
    if array.ndim > 1 and not -array.shape[1] <= example < array.shape[1]:
        raise ShapeError(f"example must be from 0 to {array.shape[1] - 1}, a row of the batch, not {example}")
    row = array[:, example] if array.ndim > 1 else array
    return np.array(row.reshape(len(row), -1))


def _bounds(node: Node) -> tuple[float, float] | None:
    """Bounds of the function that computes a value; operations that only move elements are ignored."""
    while facts_of(node).bounds is None and (facts_of(node).reads or facts_of(node).copies or facts_of(node).reorders):
        node = node.inputs[0]
    return facts_of(node).bounds


def _correlations(columns: Array, row: Array) -> Array:
    columns, row = columns.astype(float) - columns.mean(0), row - row.mean()
    sizes = np.sqrt((columns**2).sum(0)) * np.sqrt((row**2).sum())
    return np.asarray(row @ columns / np.maximum(sizes, 1e-9))


def _vectors(model: Any) -> Array:
    if not isinstance(model, Module):
        return np.asarray(as_tensor(model).data)
    tables = [p for _, m in model.modules() if isinstance(m.codes, int) for p in m.parameters() if p.shape[:1] == (m.codes,)]
    if len(tables) != 1:
        raise TinygradError(
            f"{type(model).__name__} must have one layer with a vector for each symbol, an embedding, but has "
            f"{len(tables) or 'none'}"
        )
    return tables[0].data
