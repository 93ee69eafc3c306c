"""This library, in either backend, compiled or not."""

from __future__ import annotations

from typing import Any

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim

from . import CLIP, EPSILON, LEARNING_RATE, VOCABULARY, Array, Problem, Step


def make(problem: Problem, backend: str, compiled: bool) -> Step:
    """The step."""
    embedding = nn.Embedding(VOCABULARY, problem.E)
    rnn = getattr(nn, problem.cell)(problem.E, problem.H)
    out = nn.Linear(problem.H, VOCABULARY)
    values = dict(problem.parameters)
    embedding.weight.data, out.weight.data, out.bias.data = (values.pop(name) for name in ("embedding", "weight", "bias"))
    rnn.load_state_dict(values)
    parameters = [*embedding.parameters(), *rnn.parameters(), *out.parameters()]
    adam = optim.Adam(parameters, lr=LEARNING_RATE, eps=EPSILON)

    def step(x: Array, y: Array) -> Any:
        adam.zero_grad()
        outputs, _ = rnn(embedding(x))
        loss = tr.cross_entropy(out(outputs), y)
        loss.backward()
        optim.clip_grad_norm(parameters, CLIP)
        adam.step()
        return loss

    run = tr.compile(step) if compiled else step

    def within(x: Array, y: Array) -> Any:
        with tr.use(backend):
            return run(x, y)

    return within
