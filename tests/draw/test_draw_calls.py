"""Pictures of compiled functions: the calls in order, and the data that they read and write."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim

SNAPSHOT = Path(__file__).parent / "pictures" / "training-step.gv"


class Leaky(nn.Cell):
    """A cell of no kind that the library has."""

    def __init__(self):
        super().__init__()
        self.state_shape = (3,)
        self.U, self.a = nn.Parameter((3, 2), symbol="U"), nn.Parameter((3,), symbol="a")

    def step(self, x, state):
        keep = tr.sigmoid(self.a).named("k")
        s = (keep * state + (1 - keep) * tr.tanh(x @ self.U.T)).named("s")
        return s, s


def training_step():
    """The plan of a training step with an optimiser, whose parameters have gradients already."""
    tr.seed(0)
    rnn, out = nn.Recurrent(Leaky()), nn.Linear(3, 2)
    sgd = optim.SGD([*rnn.parameters(), *out.parameters()], lr=0.1, momentum=0.9)

    @tr.compile
    def step(xs, lengths, scale, more):
        sgd.zero_grad()
        outputs, _ = rnn(xs, lengths=lengths)
        loss = tr.mse(out(outputs) * scale, more["ys"], lengths=lengths)
        loss.backward()
        sgd.step()
        return {"loss": loss, "last": outputs[-1]}

    xs = np.ones((5, 2, 2), "float32")
    given = (xs, np.array([5, 3]), 0.5, {"ys": xs})
    step(*given)
    return step.plan(*given)


def test_data_have_the_names_of_arguments_parameters_and_results():
    plan = training_step()
    kinds = [type(call).__name__ for call in plan.calls]
    forward, backward = (k for k, kind in enumerate(kinds) if kind == "ScanCall")
    read = {(datum.kind, datum.name) for datum in plan.data if datum.source is None}
    assert {name for kind, name in read if kind == "argument"} == {"xs", "lengths", "more"}
    assert {name for kind, name in read if kind == "parameter"} == {"U", "a", "V", "c"}
    assert sum(kind == "number" for kind, _ in read) and sum(datum.kind == "memory" for datum in plan.data) == 8
    kept = [datum for datum in plan.data if datum.kind == "residual"]
    assert {(datum.source, datum.target) for datum in kept} == {(forward, backward)}
    left = [(datum.kind, datum.name) for datum in plan.data if datum.target is None]
    assert left[:2] == [("result", "loss"), ("result", "last")]
    changed = {(kind, name) for kind in ("parameter", "gradient") for name in ("U", "a", "V", "c")}
    assert set(left[2:10]) == changed and left[10:] == [("memory", None)] * 4


def test_each_call_is_a_box_above_the_calls_before():
    plan = training_step()
    sketch = plan.draw().sketch
    boxes = sketch.vertices[: len(plan.calls)]
    assert [box.label.split("\n")[0] for box in boxes] == [
        f"{k}  {line.split()[1]}" for k, line in enumerate((line for line in str(plan).splitlines() if line[0].isdecimal()), 1)
    ]
    heights = [box.y for box in boxes]
    assert heights == sorted(set(heights))
    assert sketch.arcs and all(arc.source.y < arc.target.y for arc in sketch.arcs)
    assert [arc.label for arc in sketch.arcs if arc.stroke.style == "dashed"] == ["2 kept"]
    assert {"U, a", "lengths, xs", "∂U, ∂a", "loss, last", "4 memories"} <= {vertex.label for vertex in sketch.vertices}


def test_functions_of_no_calls_are_drawn():
    x = np.ones(2)
    for function in (lambda x: x, lambda x: None, lambda x: {"a": (x, x * 1.5)}):
        plan = tr.compile(function).plan(x)
        assert plan.draw().svg().startswith("<svg") and "<svg" in plan._repr_html_()


def test_the_dot_is_as_it_was():
    """Rewrite with ``PYTHONPATH=. python tests/draw/test_draw_calls.py`` after looking at the picture."""
    assert training_step().draw().source == SNAPSHOT.read_text(encoding="utf-8")


if __name__ == "__main__":
    SNAPSHOT.write_text(training_step().draw().source, encoding="utf-8")
    training_step().draw().save("training-step.png")
