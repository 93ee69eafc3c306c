"""Heatmaps: tables of numbers as coloured cells, with a colour scale.

The colour is not the only information in a cell. Small tables show numbers. Larger tables show a minus sign if a number is
clearly negative. Every cell has a tooltip. In a table of magnitudes, an exact zero is a dashed cell, and NaN has no cell. In
a table of signed numbers, NaN is a dot. A number that was cut off has scissors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .colors import Scale
from .drawing import Drawing
from .numbers import short_number
from .sketch import Sketch, Vertex
from .style import NOTE_FONT, STARTS, Kind
from .symbols import literal, plain, text_width

__all__ = ["add_rows", "blocks", "cells", "heatmap_of", "scatter", "shown", "text_page"]

Array = npt.NDArray[Any]

NUMBERED = 14
"""Largest numbers of rows and columns of a table whose cells show their numbers."""
MOST = 40
"""Largest number of rows and columns of a square table; in a larger table, each cell represents a block."""
CELL = (38.0, 24.0)
"""Smallest width, and height, of a cell with a number."""
SMALL = (13.0, 15.0)
"""Width and height of a cell without a number."""
FONT = 10.0
PLANE = 420.0
"""Width of a plane with points."""
MARKS = {Kind.LOST: "✂", Kind.ABSENT: "·"}
SAID = {Kind.LOST: "cut off", Kind.ABSENT: "no number"}
STEPS = 24
"""Cells of the bar that shows the scale."""


def heatmap_of(
    table: Array,
    rows: Sequence[str],
    columns: Sequence[str],
    scale: Scale,
    title: str,
    axes: tuple[str, str] = ("", ""),
    rows_said: Sequence[str] | None = None,
    columns_said: Sequence[str] | None = None,
    cut: Array | None = None,
    wrap: int = MOST,
) -> Drawing:
    """Draw a table of numbers as coloured cells.

    Parameters
    ----------
    table : ndarray, shape (rows, columns)
        The numbers; NaN for no number.
    rows, columns : sequence of str
        Labels of the rows and columns.
    scale : Scale
    title : str
    axes : (str, str)
        Names of the two axes, in words.
    rows_said, columns_said : sequence of str, optional
        Labels in tooltips, if they are longer than the written labels.
    cut : ndarray of bool, shape (rows, columns), optional
        True for numbers that are cut off.
    wrap : int
        Largest number of columns side by side. Further columns follow below, like lines of text.

    Examples
    --------
    >>> from tinygrad_rnn.draw.colors import magnitudes
    >>> drawing = heatmap_of(np.array([[1.0, np.nan], [0.1, 0.0]]), "12", "12", magnitudes(1e-3, 1.0), "norms")
    >>> [(v.kind.value, v.label) for v in drawing.sketch.vertices[:3]]
    [('cell', '1'), ('cell', '0.1'), ('zero', '0')]
    """
    numbered = len(rows) <= NUMBERED and len(columns) <= NUMBERED
    width, height = _cell(table) if numbered else SMALL
    said = rows_said or rows, columns_said or columns
    wrap = -(-len(columns) // -(-len(columns) // wrap))  # lines of equal length
    sketch = Sketch()
    top = 0.0
    for start in range(0, len(columns), wrap):
        part = slice(start, start + wrap)
        lost = None if cut is None else cut[:, part]
        tips = said[0], said[1][part]
        sketch.vertices += cells(table[:, part], (0.0, top), (width, height), scale, numbered, lost, *tips)
        for k in _spaced(rows, height, FONT):
            note = _note(rows[k], 0.0, top - (k + 0.5) * height)
            note.x = -width / 2 - 4 - note.width / 2
            sketch.vertices.append(note)
        for k in _spaced(columns[part], width, max(text_width(literal(label), FONT) for label in columns[part])):
            sketch.vertices.append(_note(columns[start + k], k * width, top - len(rows) * height - 10))
        top -= len(rows) * height + 30
    right = (min(wrap, len(columns)) - 0.5) * width
    if axes[1]:
        sketch.vertices.append(_note(axes[1], (right - width / 2) / 2, top))
    if axes[0]:
        sketch.vertices.append(_note(axes[0], -width / 2 - 12, 10))
    sketch.vertices += _bar(scale, right + 26, min(-len(rows) * height, -110.0))
    known = [(float(x), f"{said[0][i]}, {said[1][j]}") for (i, j), x in np.ndenumerate(table) if not np.isnan(x)]
    least, most = (f"{short_number(number)}, {where}" for number, where in (min(known), max(known)))
    words = f"{title}, {scale.words()}; the smallest number is {least}; the largest is {most}."
    return Drawing(sketch, title, words, name="heatmap")


def _cell(table: Array) -> tuple[float, float]:
    """Width and height of a cell with room for the longest number of a table."""
    widest = max((text_width(literal(short_number(x)), FONT) for x in table.ravel() if not np.isnan(x)), default=0.0)
    return max(CELL[0], widest + 8), CELL[1]


def _spaced(labels: Sequence[str], distance: float, room: float) -> range:
    """The labels to write: all, or every second, third, … if there is too little room."""
    return range(0, len(labels), max(1, int(np.ceil((room + 3) / distance))))


def cells(
    table: Array,
    corner: tuple[float, float],
    size: tuple[float, float],
    scale: Scale,
    numbered: bool,
    cut: Array | None,
    rows: Sequence[str],
    columns: Sequence[str],
) -> Iterator[Vertex]:
    """The cells of a table, row by row from the top.

    Parameters
    ----------
    table : ndarray, shape (rows, columns)
    corner : (float, float)
        The middle of the left side's first column, and the top.
    size : (float, float)
        Width and height of a cell.
    scale : Scale
    numbered : bool
        Whether cells show their numbers.
    cut : ndarray of bool or None
    rows, columns : sequence of str
        Labels in tooltips.
    """
    for (i, j), number in np.ndenumerate(table):
        kind = _kind(float(number), cut is not None and bool(cut[i, j]), scale)
        if kind is None:
            continue
        name = f"{rows[i]}, {columns[j]}"
        text = MARKS.get(kind) or (short_number(number) if numbered else "−" if number < min(scale.low / 2, 0.0) else "")
        vertex = Vertex(name, "cell", kind, text, width=size[0], height=size[1], font=FONT)
        vertex.x, vertex.y = corner[0] + j * size[0], corner[1] - (i + 0.5) * size[1]
        vertex.color = scale.color(number) if kind is Kind.CELL else None
        vertex.tooltip = f"{name}: {SAID.get(kind) or short_number(number)}"
        yield vertex


def _kind(number: float, is_cut: bool, scale: Scale) -> Kind | None:
    """The kind of cell for a number; None where a table of magnitudes has no number."""
    if np.isnan(number):
        return None if scale.logarithmic else Kind.ABSENT
    if is_cut:
        return Kind.LOST
    return Kind.CELL if number or not scale.logarithmic else Kind.ZERO


def add_rows(sketch: Sketch, rows: Mapping[str, Array], scale: Scale) -> None:
    """Add rows of coloured cells below an unrolled picture, each number below the column of its step.

    Parameters
    ----------
    sketch : Sketch
        A sketch with places.
    rows : mapping of str to ndarray, shape (T,)
        The numbers of each row, by the row's label.
    scale : Scale
    """
    columns: dict[int, float] = {}
    for v in sorted(sketch.vertices, key=lambda v: v.kind is not Kind.STATE):
        if v.step is not None and v.kind not in STARTS:
            columns.setdefault(v.step, v.x)
    left = min(v.x - v.width / 2 for v in sketch.vertices)
    top = min(v.y - v.height / 2 for v in sketch.vertices) - 12
    for k, (label, numbers) in enumerate(rows.items()):
        for t, x in columns.items():
            corner = x, top - k * (CELL[1] + 4)
            size = CELL[0] + 14, CELL[1]
            sketch.vertices += cells(numbers[None, t - 1 : t], corner, size, scale, True, None, [label], [f"t = {t}"])
        note = _note(label, left, top - k * (CELL[1] + 4) - CELL[1] / 2)
        note.x += note.width / 2
        sketch.vertices.append(note)


def text_page(numbers: Array, text: str, scale: Scale, title: str, width: int = 60) -> Drawing:
    """Draw a text in which the background colour of each character shows a number.

    Parameters
    ----------
    numbers : ndarray, shape (characters,)
        A number for each character; NaN for a character without a number.
    text : str
    scale : Scale
    title : str
    width : int
        Characters in a line.
    """
    sketch = Sketch()
    row = column = 0
    w, h = 10.0, 19.0
    for k, character in enumerate(text):
        number = float(numbers[k])
        vertex = Vertex(f"{k + 1}", "cell", Kind.ABSENT if np.isnan(number) else Kind.CELL, width=w, height=h, font=12.0)
        vertex.label = literal(shown(character))
        vertex.color = None if np.isnan(number) else scale.color(number)
        vertex.tooltip = f"{k + 1}, {shown(character)}: {short_number(number)}"
        vertex.x, vertex.y = column * w, -row * (h + 3)
        sketch.vertices.append(vertex)
        column += 1
        if column == width or character == "\n":
            row, column = row + 1, 0
    sketch.vertices += _bar(scale, (min(width, len(text)) + 1.5) * w, min(-110.0, -row * (h + 3)))
    return Drawing(sketch, title, f"{title}, {scale.words()}. {text}", name="text")


def scatter(points: Array, labels: Sequence[str], title: str, axes: tuple[str, str]) -> Drawing:
    """Draw labels at points of the plane.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
    labels : sequence of str
    title : str
    axes : (str, str)
        Names of the first and the second coordinate.
    """
    sketch = Sketch()
    spread = float(np.ptp(points, axis=0).max()) or 1.0
    for k, ((x, y), label) in enumerate(zip((points - points.mean(0)) / spread * PLANE, labels, strict=True)):
        vertex = Vertex(f"{k}", "point", Kind.NOTE, literal(shown(label)), font=12.0)
        vertex.fit(2.0)
        vertex.x, vertex.y, vertex.height = round(float(x), 1), round(float(y), 1), 15.0
        vertex.tooltip = f"{shown(label)}: {short_number(points[k][0])}, {short_number(points[k][1])}"
        sketch.vertices.append(vertex)
    low = min(v.y for v in sketch.vertices) - 26
    sketch.vertices += [_note(f"across: {axes[0]}; upwards: {axes[1]}", 0.0, low)]
    return Drawing(sketch, title, f"{title}: {', '.join(map(shown, labels))}", name="plane")


def shown(character: str) -> str:
    """A visible symbol for a character such as a space.

    Examples
    --------
    >>> "".join(map(shown, "a b\\n"))
    'a␣b↵'
    """
    return {" ": "␣", "\n": "↵", "\t": "⇥"}.get(
        character, character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
    )


def blocks(table: Array, most: int = MOST) -> tuple[Array, int]:
    """The largest number of each block of n × n cells, for a table with too many cells; and n."""
    n = -(-max(table.shape) // most)
    if n <= 1:
        return table, 1
    padded = np.full([-(-size // n) * n for size in table.shape], np.nan)
    padded[: table.shape[0], : table.shape[1]] = table
    parts = padded.reshape(padded.shape[0] // n, n, padded.shape[1] // n, n)
    return np.where(np.isnan(parts).all((1, 3)), np.nan, np.fmax.reduce(np.fmax.reduce(parts, 3), 1)), n


def _bar(scale: Scale, x: float, bottom: float) -> Iterator[Vertex]:
    """A bar that explains the colour scale, with low values at the bottom."""
    height = -bottom / STEPS
    for k in range(STEPS):
        cell = Vertex(f"scale {k}", "scale", Kind.CELL, width=14.0, height=height + 0.5)
        cell.x, cell.y = x, bottom + (k + 0.5) * height
        cell.color = scale.color(scale.at((k + 0.5) / STEPS))
        cell.tooltip = scale.words()
        yield cell
    for tick in scale.ticks():
        note = _note(short_number(tick), x, bottom - bottom * scale.place(tick))
        note.x += 11 + note.width / 2
        yield note


def _note(text: str, x: float, y: float) -> Vertex:
    label = literal(text)
    note = Vertex(f"{plain(label)} at {x:.0f} {y:.0f}", "note", Kind.NOTE, label, font=FONT, height=NOTE_FONT * 1.3)
    note.width = text_width(label, FONT)
    note.x, note.y = x, y
    return note
