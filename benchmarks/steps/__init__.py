"""One training step of a model of characters in each library, each written as its user would write it.

A module has ``make(problem, …)``, which returns ``step(x, y) -> loss``: embedding, recurrent layer, linear layer,
cross-entropy, gradients, their norm clipped, Adam.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Step = Callable[[Array, Array], Any]

GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
LEARNING_RATE, CLIP, EPSILON = 1e-3, 1.0, 1e-8
VOCABULARY = 64
BATCHES = 4


@dataclass(frozen=True)
class Problem:
    """A layer and its sizes, and with them parameters and batches of codes."""

    cell: str
    T: int
    B: int
    E: int
    H: int
    parameters: dict[str, Array] = field(init=False)
    batches: list[tuple[Array, Array]] = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        gates, bound = GATES[self.cell] * self.H, 1 / np.sqrt(self.H)
        shapes = {
            "embedding": (VOCABULARY, self.E),
            "weight_ih_l0": (gates, self.E), "weight_hh_l0": (gates, self.H), "bias_ih_l0": (gates,), "bias_hh_l0": (gates,),
            "weight": (VOCABULARY, self.H), "bias": (VOCABULARY,),
        }  # fmt: skip
        parameters = {name: rng.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()}
        codes = rng.integers(0, VOCABULARY, (BATCHES, 2, self.T, self.B))
        object.__setattr__(self, "parameters", parameters)
        object.__setattr__(self, "batches", [(x, y) for x, y in codes])
