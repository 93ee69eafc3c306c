"""One step's parameters for all steps, or each step its own: what sharing is worth.

    python examples/sharing.py --out pictures

A bit comes in at each step, and the answer at each step is whether it differs from the bit before (N to N).
The rule is the same at every step.

Two networks learn it from the same few sequences of ten steps. Both make the same kind of step, h_t = tanh(U x_t +
W h_{t-1} + b), o_t = V h_t + c; but the recurrent one has one U, W, b, V and c, and the other has ten of each, as a
feed-forward net over the whole sequence would. The second can be whatever the first can, and more. Two questions:

1. How many sequences does it take? Ten steps of a sequence are ten examples for parameters that are shared, and one
   example for each of those that are not.
2. What of sequences of fifty steps? Shared parameters fit any number of them. The other net has none for step 11.

The baseline is to guess, which is wrong half the time: the answers are as random as the bits.

What it doesn't show is that sharing is always right: where a rule does depend on the place, each place wants
parameters of its own, or an input that tells the place.
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
        """Logits of "the same" and "another one", and the state."""
        _, h = self.cell(x, h)
        return self.output(h), h


class PerStep(nn.Module):
    """A step for each of ten, each with parameters of its own; called as nn.Recurrent is."""

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
    """Random bits as ±1, (time, batch, 1), and whether each differs from the one before, (time, batch)."""
    bits = generator.integers(0, 2, (steps + 1, count))
    bits[0] = 0  # what stands before the first step
    return (2.0 * bits[1:, :, None] - 1).astype("float32"), (bits[1:] != bits[:-1]).astype(int)


def train(model, xs, ys, updates):
    """Adam on all sequences at once, with a rate that falls to zero."""
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
    """The share of the answers that is wrong."""
    with tr.no_grad():
        return float((model(xs)[0].argmax(axis=-1) != ys).mean())


def main():
    """Learn from ever more sequences, and ask for new ones, of ten steps and of fifty."""
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
