"""The tree of a beam search: its numbers equal the numbers of the search."""

import numpy as np

import tinygrad_rnn as tr
from tinygrad_rnn import explain, nn
from tinygrad_rnn.draw.numbers import short_number
from tinygrad_rnn.draw.style import Kind


def test_log_probabilities_along_a_path_sum_up_to_its_own():
    tr.seed(1)
    decoder = nn.Decoder(nn.Embedding(4, 3), nn.GRUCell(3, 5), nn.Linear(5, 4), start=0, end=1)
    for parameter in decoder.parameters():
        parameter.data = 2 * parameter.data
    found = decoder.beam(max_steps=5, width=4)
    sketch = explain.draw_beams(decoder, width=4, max_steps=5, labels="<>ab").sketch
    above = {arc.target.family: arc for arc in sketch.arcs}
    totals = {v.family: v.label for v in sketch.vertices if v.kind is Kind.NOTE}
    for k, total in enumerate(found.log_likelihood[0]):
        path = tuple(found.ys[: found.lengths[0, k], 0, k].tolist())
        assert totals[path] == short_number(total)
        along = [above[path[: t + 1]] for t in range(len(path))]
        assert [arc.target.label for arc in along] == ["<>ab"[y] for y in path]
        assert np.isclose(sum(float(arc.label.replace("−", "-")) for arc in along), total, rtol=0.03)
        assert all(arc.stroke.width > 2 for arc in along) == (k == 0)
    shown = [v for v in sketch.vertices if v.kind is not Kind.NOTE]
    assert len({v.family for v in shown}) == len(shown) == len(sketch.arcs) + 1  # a tree
