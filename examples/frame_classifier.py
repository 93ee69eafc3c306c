"""An answer for every frame: which of three regimes is the signal in?

    python examples/frame_classifier.py --out pictures

A signal x_1, x_2, ... follows x_t = a x_{t-1} + noise. Now and then, a switches between three values. In the smooth
regime, a = 0.9, each value is close to the value before. In the alternating regime, a = -0.9, each value is close to
the negative of the value before. In the free regime, a = 0, a value does not depend on the value before. Nobody says
when a switches. The task is to name the regime at every step. Tasks with speech, gestures and heartbeats have this
form: a class for each frame.

A single frame tells little: a large value makes the free regime unlikely, and that is all. The baseline is a network
without memory, which sees x_t alone and can do no better. The movement of the signal tells more, but a network needs a
state to see it. An LSTM in one direction knows the past. An LSTM in both directions also knows the values afterwards,
so it can see a switch where it happened instead of some steps later.

For this problem the best possible answers are known. The signal is a Markov chain with hidden regimes, so Bayes' rule
gives the probability of each regime. The filter (the forward pass) computes it from the past, the smoother (forward and
backward) from the whole signal. Filter and smoother know the three values of a, the noise and the probability of a
switch. The networks have to learn all this from examples. Except by luck, no network in one direction is better than
the filter, and no network at all is better than the smoother.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tqdm import trange

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim

REGIMES = {"smooth": 0.9, "free": 0.0, "alternating": -0.9}
A = np.array([*REGIMES.values()])
SWITCH = 0.04  # the probability that a step is in another regime than the step before
TRANSITION = np.where(np.eye(3, dtype=bool), 1 - SWITCH, SWITCH / 2)


def signals(steps, batch, rng):
    """Signals (time, batch, 1) and the regime of each frame (time, batch)."""
    regimes = np.empty((steps, batch), int)
    xs = np.zeros((steps, batch))
    regimes[0] = rng.integers(0, 3, batch)
    xs[0] = rng.normal(size=batch)
    for t in range(1, steps):
        switches = rng.random(batch) < SWITCH
        regimes[t] = (regimes[t - 1] + switches * rng.integers(1, 3, batch)) % 3
        xs[t] = A[regimes[t]] * xs[t - 1] + rng.normal(size=batch)
    return xs[..., None].astype("float32"), regimes


def filter_and_smoother(xs):
    """The exact probabilities (time, batch, regime), given the past, and given the whole signal."""
    x = xs[..., 0].astype(float)
    likelihood = np.ones((*x.shape, 3))  # of x_t in each regime, given x_{t-1}; x_1 is equally likely in all regimes
    likelihood[1:] = np.exp(-0.5 * (x[1:, :, None] - A * x[:-1, :, None]) ** 2)
    past = np.empty_like(likelihood)
    belief = np.full(likelihood.shape[1:], 1 / 3)
    for t in range(len(x)):
        belief = (belief @ TRANSITION if t else belief) * likelihood[t]
        belief /= belief.sum(axis=-1, keepdims=True)
        past[t] = belief
    future = np.ones_like(likelihood)
    for t in range(len(x) - 2, -1, -1):
        future[t] = (likelihood[t + 1] * future[t + 1]) @ TRANSITION.T
        future[t] /= future[t].sum(axis=-1, keepdims=True)
    whole = past * future
    return past, whole / whole.sum(axis=-1, keepdims=True)


class Frames(nn.Module):
    """An LSTM, and logits of the regimes from its output at every step."""

    def __init__(self, hidden, bidirectional):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, bidirectional=bidirectional)
        self.output = nn.Linear(2 * hidden if bidirectional else hidden, 3)

    def forward(self, xs):
        """Signals (time, batch, 1) give logits (time, batch, regime)."""
        outputs, _ = self.lstm(xs)
        return self.output(outputs)


def train(model, name, updates, steps, rng):
    """Train on new signals for every update."""
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    for update in trange(updates, desc=name, disable=None, leave=False):
        optimizer.lr = 1e-2 * min(1.0, 2 * (1 - update / updates))  # constant for the first half, then falling
        xs, regimes = signals(steps, 32, rng)
        loss = nn.cross_entropy(model(xs), regimes)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()


def probabilities(model, xs):
    """The regime that the model gives to each frame."""
    with tr.no_grad():
        return tr.softmax(model(xs)).data


def draw(x, regimes, found, out):
    """A figure of one signal, its regimes, and the answers of each method."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1 + 0.7 * (len(found) + 3)), layout="constrained")
    axes = figure.subplots(len(found) + 2, 1, sharex=True, height_ratios=[3, *[1] * (len(found) + 1)])
    axes[0].plot(x, linewidth=0.8, color="black")
    axes[0].set_ylabel("x")
    rows = {"regime": np.eye(3)[regimes], **found}
    for panel, (name, p) in zip(axes[1:], rows.items(), strict=True):
        panel.imshow(p.T, aspect="auto", cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        panel.set_yticks(range(3), REGIMES, fontsize=6)
        panel.set_title(name, fontsize=8, loc="left", pad=2)
    axes[-1].set_xlabel("step")
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "frame_classifier.svg", metadata={"Date": None})


def main():
    """Train the three networks, and compare them with the best possible answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer updates and fewer hidden units")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the signals")
    parser.add_argument("--out", type=Path, help="folder for a picture of one signal (none is drawn if not given)")
    chosen = parser.parse_args()
    hidden, updates, steps = (16, 200, 60) if chosen.quick else (32, 1500, 100)

    xs, regimes = signals(200, 200, np.random.default_rng(10_000 + chosen.seed))
    print(f"signals of {steps} frames to learn from, {updates} updates of 32; tested on 200 signals of {len(xs)} frames")
    tr.seed(chosen.seed)
    models = {
        "each frame alone": nn.Sequential(nn.Linear(1, hidden), tr.tanh, nn.Linear(hidden, 3)),
        "LSTM": Frames(hidden, bidirectional=False),
        "bidirectional LSTM": Frames(hidden, bidirectional=True),
    }
    found = {}
    for name, model in models.items():
        train(model, name, updates, steps, np.random.default_rng(chosen.seed))
        found[name] = probabilities(model, xs)
    found["exact filter"], found["exact smoother"] = filter_and_smoother(xs)
    if chosen.out:
        draw(xs[:, 0, 0], regimes[:, 0], {name: p[:, 0] for name, p in found.items()}, chosen.out)
    right = {name: (p.argmax(axis=-1) == regimes).mean() for name, p in found.items()}
    alone = f"each frame alone: {right['each frame alone']:.1%}"
    print(f"LSTM: {right['LSTM']:.1%} of the frames right, {alone}, exact filter: {right['exact filter']:.1%}")
    print(
        f"bidirectional LSTM: {right['bidirectional LSTM']:.1%} of the frames right, {alone}, "
        f"exact smoother: {right['exact smoother']:.1%}"
    )


if __name__ == "__main__":
    main()
