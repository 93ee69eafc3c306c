"""The same five cells in each library, each written as its user would write it.

A module has a step for every cell, ``(parameters, x, state) -> next state``, whose first slot is
the output, and a function that makes of a `Problem` a run: a call that returns the sum of the
outputs, and its gradients for the input and for each parameter, as NumPy arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Run = Callable[[], list[Array]]

GATES = {"RNN": 1, "LSTM": 4, "GRU": 3, "MGU": 2, "LN-LSTM": 4}
SLOTS = {"RNN": 1, "LSTM": 2, "GRU": 1, "MGU": 1, "LN-LSTM": 2}
EPSILON = 1e-5
GAINS = {"gain_ih": 0.1, "gain_hh": 0.1, "gain_c": 1.0}  # with 1 for all, gradients explode, and float32 is off by 1e-4


class Missing(Exception):
    """The library does not have this cell."""


def shapes(cell: str, I: int, H: int) -> dict[str, tuple[int, ...]]:  # noqa: E741
    """Shape of each parameter: PyTorch's names and layout, one row for each unit of each gate."""
    G = GATES[cell] * H
    if cell == "MGU":
        return {"weight_ih": (G, I), "weight_hf": (H, H), "weight_hn": (H, H), "bias": (G,)}
    if cell == "LN-LSTM":
        norms = {"gain_ih": (G,), "gain_hh": (G,), "gain_c": (H,), "bias_c": (H,)}
        return {"weight_ih": (G, I), "weight_hh": (G, H), "bias": (G,), **norms}
    return {"weight_ih": (G, I), "weight_hh": (G, H), "bias_ih": (G,), "bias_hh": (G,)}


@dataclass(frozen=True)
class Problem:
    """A cell, its sizes (I = H) and dtype, and with them the input and the parameters."""

    cell: str
    T: int
    B: int
    H: int
    dtype: str = "float32"
    x: Array = field(init=False)
    parameters: dict[str, Array] = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        bound = 1 / np.sqrt(self.H)
        x = rng.normal(size=(self.T, self.B, self.H))
        parameters = {
            name: (GAINS.get(name, 0.0) + rng.uniform(-bound, bound, shape) * GAINS.get(name, 1.0)).astype(self.dtype)
            for name, shape in shapes(self.cell, self.H, self.H).items()
        }
        object.__setattr__(self, "x", x.astype(self.dtype))
        object.__setattr__(self, "parameters", parameters)

    @property
    def slots(self) -> int:
        """How many tensors (B, H) the state has."""
        return SLOTS[self.cell]
