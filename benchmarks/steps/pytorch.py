"""PyTorch."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn

from . import CLIP, EPSILON, LEARNING_RATE, VOCABULARY, Array, Problem, Step

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def make(problem: Problem) -> Step:
    """The step; tensors share the memory of the arrays."""
    embedding = nn.Embedding(VOCABULARY, problem.E)
    rnn = getattr(nn, problem.cell)(problem.E, problem.H)
    out = nn.Linear(problem.H, VOCABULARY)
    values = {name: torch.tensor(value) for name, value in problem.parameters.items()}
    embedding.load_state_dict({"weight": values.pop("embedding")})
    out.load_state_dict({name: values.pop(name) for name in ("weight", "bias")})
    rnn.load_state_dict(values)
    parameters = [*embedding.parameters(), *rnn.parameters(), *out.parameters()]
    adam = torch.optim.Adam(parameters, lr=LEARNING_RATE, eps=EPSILON)

    def step(x: Array, y: Array) -> Any:
        adam.zero_grad()
        outputs, _ = rnn(embedding(torch.from_numpy(x)))
        loss = nn.functional.cross_entropy(out(outputs).flatten(0, 1), torch.from_numpy(y).flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, CLIP)
        adam.step()
        return loss.detach()

    return step
