"""Open loop, closed loop, or both in turn: who predicts one step, and who simulates.

    python examples/open_and_closed.py --out pictures

A model that reads its own last outputs can be trained on measured ones, in open loop, which asks for the next step alone.
Or it is trained on its own predictions, in closed loop, as it runs when nobody measures. The first is quick, and
nothing in it says what becomes of an error that is fed back. For Cascaded Tanks, a plant that many have modelled, others
report a NARX network with 0.08 V one step ahead and 2 V in a free run; see docs/published.md. This is the
same contrast, on plants that the library generates and on the sunspots.

Four models, small enough to be fitted to all data at once by L-BFGS: AR is linear in the delayed inputs and outputs; NARX adds a layer
of tanh units; GRU and LSTM read the input and the last output, and have a state of their own. All are trained in three ways: open loop,
closed loop, and closed loop after open loop. Closed loops run in sessions side by side, each of which begins with some measured
steps that do not count. The iteration counts whose free run is best on the last fifth of the training data.

Judged is later data, by the root of the mean squared error over the standard deviation of the output: one step ahead,
and in a free run after the first measured steps. 1 is as good as the mean; "grows" is a free run without bound.

The two tanks and NARMA-10 have a known input and noise in what is measured; the sunspots have no input, and are driven by what nobody
knows, so that a free run of decades cannot be good and is judged in stretches of eleven years.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

import tinygrad_rnn as tr
from tinygrad_rnn import datasets, nn, optim

WAYS = ("open", "closed", "open, closed")


class Problem(NamedTuple):
    """Sequences (time, sessions, features) in standard units; the first `start` steps of each are measured in a free run."""

    train: tuple
    check: tuple
    test: tuple
    start: int


class Fed(nn.Cell):
    """A cell that reads the input and the last output, and a linear layer that makes the next one."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.head = inner, nn.Linear(inner.hidden_size, 1, dtype=float)
        self.state_shape = {"y": (1,), "inner": inner.state_shape}

    def step(self, x, state):
        """The next output, and what is carried on."""
        read = tr.concatenate([x, state["y"]], axis=-1)
        out, inner = self.inner(read, state["inner"])
        y = self.head(out).named("y")
        return y, {"y": y, "inner": inner}
