"""The tree of a beam search: the prefixes that were kept, with the log-probability of each symbol."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..draw import Drawing
from ..draw.numbers import short_number
from ..draw.route import route
from ..draw.sketch import Arc, Sketch, Vertex
from ..draw.style import INTO_OUTPUT, PITCH, PLAIN, WIDEST, Kind
from ..draw.symbols import literal
from ..nn import Decoder
from ..ops import log_softmax
from ..ops.core import as_tensor

__all__ = ["draw_beams"]

Path = tuple[int, ...]
"""The symbols of a prefix."""
RISE = 56.0
"""Distance between two sequences."""


def draw_beams(
    decoder: Decoder, context: Any = None, *, width: int = 4, max_steps: int = 10, labels: Iterable[str] | None = None
) -> Drawing:
    """Draw the sequences that a beam search finds, as a tree of their common prefixes.

    An edge shows the log-probability of its symbol given all symbols before. The sum along a path is written at the end
    of the path. The best sequence has bold edges.

    Parameters
    ----------
    decoder : Decoder
        The decoder.
    context : array_like, shape (1, context_size), optional
        The context, if the decoder has one.
    width, max_steps : int
        As in :meth:`tinygrad_rnn.nn.Decoder.beam`.
    labels : iterable of str, optional
        Texts that are shown for the symbols 0, 1, 2, ….

    Returns
    -------
    Drawing

    Examples
    --------
    >>> from tinygrad_rnn import explain, nn
    >>> decoder = nn.Decoder(nn.Embedding(4, 3), nn.GRUCell(3, 5), nn.Linear(5, 4), start=0, end=1)
    >>> explain.draw_beams(decoder, width=3, max_steps=4, labels="␂␃ab")
    <Drawing of the best 3 sequences>
    """
    names = None if labels is None else list(labels)
    found = decoder.beam(context, max_steps, width)
    ys, lengths, totals = found.ys[:, 0], found.lengths[0], found.log_likelihood[0]
    kept = np.flatnonzero(lengths)
    ys, lengths, totals = ys[:, kept], lengths[kept], totals[kept]
    repeated = None if context is None else np.repeat(as_tensor(context).data, len(kept), axis=0)
    log_p = np.take_along_axis(log_softmax(decoder(ys, repeated)).data, ys[:, :, None], axis=-1)[:, :, 0]
    sequences = [tuple(ys[: lengths[k], k].tolist()) for k in range(len(kept))]
    said = [[str(y) if names is None else names[y] for y in sequence] for sequence in sequences]
    below: dict[Path, list[int]] = {}  # the sequences that begin with each prefix
    for k, sequence in enumerate(sequences):
        for t in range(len(sequence) + 1):
            below.setdefault(sequence[:t], []).append(k)
    order = sorted(range(len(kept)), key=lambda k: [below[sequences[k][:t]][0] for t in range(len(sequences[k]) + 1)])
    places = {k: -RISE * row for row, k in enumerate(order)}
    sketch = Sketch()
    shown: dict[Path, Vertex] = {}
    for path, ks in below.items():
        k, t = ks[0], len(path)
        vertex = _node(said[k][t - 1] if path else "start", Kind.OUTPUT if path else Kind.INITIAL, path)
        vertex.x, vertex.y = t * PITCH, sum(places[k] for k in ks) / len(ks)
        shown[path] = vertex
        if path:
            label = short_number(float(log_p[t - 1, k]))
            stroke = PLAIN if k else INTO_OUTPUT._replace(width=WIDEST)
            sketch.arcs.append(Arc(shown[path[:-1]], vertex, stroke, label=label, tooltip=f"log-probability {label}"))
    sketch.vertices += shown.values()
    for k, sequence in enumerate(sequences):
        total = _node(short_number(float(totals[k])), Kind.NOTE, sequence)
        total.x, total.y = shown[sequence].x + 46, places[k]
        sketch.vertices.append(total)
    route(sketch)
    found_in_words = "; ".join(f"{' '.join(s)}: {short_number(float(total))}" for s, total in zip(said, totals, strict=True))
    return Drawing(sketch, f"the best {len(kept)} sequences", f"Log-probabilities: {found_in_words}.", name="beams")


def _node(label: str, kind: Kind, path: Path) -> Vertex:
    vertex = Vertex(f"{kind.value} {' '.join(map(str, path))}", path, kind, literal(label))
    vertex.width = vertex.height = 34.0
    if kind is Kind.NOTE:
        vertex.height = 16.0
    vertex.fit(10.0)
    return vertex
