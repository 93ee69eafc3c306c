"""The adding problem: which network remembers a number for a hundred steps?

    python examples/adding_problem.py --out pictures

At each step the network reads a number between 0 and 1 and a mark. Two of the marks are 1, one in the first half
of the sequence and one in the second; all others are 0. After the last step it has to say the sum of the two
marked numbers. So it must keep the first of them over dozens of steps of numbers that do not matter.

Whoever always answers 1, the mean of the sum, has a mean squared error of 1/6 = 0.1667. That is what a tanh
network learns to do, and then it is stuck: on the way back from the answer to the first mark its gradient is
multiplied, at each step, by W and by the slope of tanh, and vanishes. LSTM and GRU carry their state on by
addition and decide by gates what to add. After a while at the baseline they find out how, and the error falls.

All three are trained alike: new sequences for every update, Adam, gradients clipped at a norm of 1. The LSTM's
forget gate starts open (a bias of 1), so that it remembers before it has learnt what. The error is measured on
2000 sequences that nobody was trained on.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import trange

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim
from tinygrad_rnn.datasets import adding_problem

BASELINE = 1 / 6
LAYERS = {"tanh RNN": nn.RNN, "LSTM": partial(nn.LSTM, forget_bias=1.0), "GRU": nn.GRU}


class Adder(nn.Module):
    """A recurrent layer, and one output after the last step."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.output = nn.Linear(layer.hidden_size, 1)

    def forward(self, xs):
        """Sequences (time, batch, 2) give answers (batch, 1)."""
        outputs, _ = self.layer(xs)
        return self.output(outputs[-1])


def train(model, name, updates, steps, batch, rate, rng):
    """New sequences for every update; the loss of each."""
    optimizer = optim.Adam(model.parameters(), lr=rate)
    losses = []
    for _ in trange(updates, desc=name, disable=None, leave=False):
        xs, targets = adding_problem(steps, batch, rng=rng)
        loss = nn.mse(model(xs), targets)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def draw(losses, out):
    """The three losses, each point the mean of twenty updates, and the baseline."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    for name, found in losses.items():
        axes.semilogy(np.arange(10, len(found), 20), np.reshape(found, (-1, 20)).mean(axis=1), label=name)
    axes.axhline(BASELINE, color="black", linestyle="--", linewidth=0.8, label="always answering 1")
    axes.set(xlabel="update", ylabel="mean squared error")
    axes.legend()
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "adding_problem.svg", metadata={"Date": None})


def main():
    """Train the three, and compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="sequences of 25 steps instead of 100, and fewer updates")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the sequences")
    parser.add_argument("--out", type=Path, help="folder for the curves (none are drawn if not given)")
    chosen = parser.parse_args()
    steps, hidden, updates, batch, rate = (25, 32, 360, 32, 1e-2) if chosen.quick else (100, 32, 3000, 32, 5e-3)

    xs, targets = adding_problem(steps, 2000, rng=10_000 + chosen.seed)
    print(f"sequences of {steps} steps, {hidden} hidden units, {updates} updates of {batch} sequences")
    losses, errors = {}, {}
    for name, layer in LAYERS.items():
        tr.seed(chosen.seed)
        model = Adder(layer(2, hidden))
        losses[name] = train(model, name, updates, steps, batch, rate, np.random.default_rng(chosen.seed))
        with tr.no_grad():
            errors[name] = nn.mse(model(xs), targets).item()
    if chosen.out:
        draw(losses, chosen.out)
    for name, error in errors.items():
        print(f"{name}: test mean squared error {error:.4f}, always answering 1: {BASELINE:.4f}")


if __name__ == "__main__":
    main()
