"""The adding problem: which network remembers a number for a hundred steps?

    python examples/adding_problem.py --out pictures

At each step the network reads a number between 0 and 1, and a mark. The mark is 1 at two steps, one in the first half
of the sequence and one in the second half. At all other steps it is 0. After the last step the network outputs the sum
of the two marked numbers. So it must keep the first marked number for dozens of steps, and ignore all numbers in
between.

The baseline always answers 1, the mean of the sum. Its mean squared error is 1/6 = 0.1667. A tanh network learns this
answer, and then gets stuck: on the way back from the answer to the first mark, each step multiplies the gradient by W
and by the slope of tanh, so the gradient vanishes. LSTM and GRU add to their state, and gates decide what is added.
They stay at the baseline for a while. Then they learn to keep the number, and their error falls.

All three networks are trained in the same way: new sequences for every update, Adam, gradients clipped at a norm of 1.
The LSTM's forget gate starts open (a bias of 1), so the LSTM remembers before it has learnt what to remember. The error
is measured on 2000 sequences that were not used in training.
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
    """Train on new sequences for every update; return the loss of each update."""
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
    """A figure of the three losses, with the mean of twenty updates for each point, and of the baseline."""
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
    """Train the three networks, and compare them."""
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
