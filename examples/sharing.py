"""One step's parameters for all steps, or separate parameters for each step: what sharing is worth.

    python examples/sharing.py --out pictures

The network reads a bit at each step. The answer at each step is whether this bit differs from the bit before (N to N).
The rule is the same at every step.

Two networks learn the rule from the same few sequences of ten steps. Both make the same kind of step, h_t = tanh(U x_t
+ W h_{t-1} + b), o_t = V h_t + c. The recurrent network has one U, W, b, V and c. The other network has ten of each,
like a feed-forward network over the whole sequence. The other network can compute everything that the recurrent network
can, and more. There are two questions:

1. How many sequences are needed? Ten steps of a sequence are ten examples for shared parameters, and only one example
   for each set of separate parameters.
2. What about sequences of fifty steps? Shared parameters fit sequences of any length. The other network has no
   parameters for step 11.

The baseline is to guess, which is wrong half the time: the answers are as random as the bits.

This example does not show that sharing is always right. If a rule depends on the place, each place needs its own
parameters, or an input that tells the place.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim

STEPS = 10


class Step(nn.Cell):
    """h_t = tanh(U x_t + W h_{t-1} + b), with o_t = V h_t + c."""

    def __init__(self, hidden=8):
        super().__init__()
        self.cell, self.output = nn.RNNCell(1, hidden), nn.Linear(hidden, 2)
        self.state_shape = (hidden,)

    def step(self, x, h):
        """Logits of the answers "the same bit" and "another bit", and the state."""
        _, h = self.cell(x, h)
        return self.output(h), h


class PerStep(nn.Module):
    """Ten steps, each with its own parameters; called in the same way as nn.Recurrent."""

    def __init__(self):
        super().__init__()
        for t in range(STEPS):
            setattr(self, str(t), Step())

    def forward(self, xs):
        """Logits at each step, (time, batch, 2), and the last state."""
        logits, h = [], getattr(self, "0").initial_state(xs.shape[1])
        for t, x in enumerate(xs):
            o, h = getattr(self, str(t))(x, h)
            logits.append(o)
        return tr.stack(logits), h


def sequences(count, steps, generator):
    """Random bits as ±1, (time, batch, 1), and whether each bit differs from the bit before, (time, batch)."""
    bits = generator.integers(0, 2, (steps + 1, count))
    bits[0] = 0  # what stands before the first step
    return (2.0 * bits[1:, :, None] - 1).astype("float32"), (bits[1:] != bits[:-1]).astype(int)


def train(model, xs, ys, updates):
    """Train by Adam on all sequences at once, with a learning rate that falls to zero."""
    optimizer = optim.Adam(model.parameters())
    for update in tqdm(range(updates), disable=None, leave=False):
        optimizer.lr = 0.02 * (1 - update / updates)
        logits, _ = model(xs)
        loss = nn.cross_entropy(logits, ys)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()


def wrong(model, xs, ys):
    """The share of wrong answers."""
    with tr.no_grad():
        return float((model(xs)[0].argmax(axis=-1) != ys).mean())


def main():
    """Train on more and more sequences, and test on new sequences of ten and of fifty steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100 updates instead of 600, and fewer sizes")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the sequences")
    parser.add_argument("--out", type=Path, help="folder for the picture (none is drawn if not given)")
    chosen = parser.parse_args()

    tr.seed(chosen.seed)
    generator = np.random.default_rng(chosen.seed)
    new, longer = sequences(1000, STEPS, generator), sequences(200, 50, generator)
    sizes = {name: sum(p.size for p in make.parameters()) for name, make in (("shared", Step()), ("per step", PerStep()))}
    print("numbers to learn: " + ", ".join(f"{name} {size:,}" for name, size in sizes.items()))
    print("\nanswers that are wrong, in sequences never seen (guessing: 50%):")
    print(f"{'':26}{'ten steps':>20}{'fifty steps':>25}")
    print(f"{'learnt from':26}{'shared':>10}{'per step':>10}{'shared':>15}{'per step':>10}")
    for count in (4, 32) if chosen.quick else (2, 4, 8, 16, 32, 64, 128):
        xs, ys = sequences(count, STEPS, generator)
        shared, per_step = nn.Recurrent(Step()), PerStep()
        for model in (shared, per_step):
            train(model, xs, ys, 100 if chosen.quick else 600)
        ten, fifty = [wrong(model, *new) for model in (shared, per_step)], wrong(shared, *longer)
        print(f"{count:4} sequences of ten     {ten[0]:10.1%}{ten[1]:10.1%}{fifty:15.1%}{'none':>10}")

    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        shared.draw(time="unrolled").save(chosen.out / "sharing.svg")


if __name__ == "__main__":
    main()
