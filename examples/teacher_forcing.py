"""Targets fed back, its own outputs fed back, or something in between: Jordan's network three times.

    python examples/teacher_forcing.py --out pictures

A tank is filled by a pump, x_t, and empties through a hole; its level, y_t, is measured with some noise. In Jordan's
network nothing comes back but the output: h_t = tanh(U x_t + W o_{t-1} + b), o_t = V h_t + c. It is to predict the
level over a hundred steps from what the pump does, without a look at the measurements: the network in *deployment* feeds
back its own outputs. In *training* there is a choice, which `force` makes:

- teacher forcing: the measured y_{t-1} stands in place of o_{t-1}. Nothing is recurrent then, and all steps are
  computed at once; but the network never meets its own mistakes, and learns from noisy levels what comes after clean ones.
- free running: as in deployment. Every step depends on all before.
- scheduled (Bengio et al., 2015): o_{t-1} replaces y_{t-1} at random steps, at few in the beginning, at nearly all in the end.

The number is the root mean square error of the level over new sequences, in free running; the baseline is the mean level. What
teacher forcing is asked in training, one step from the measured level, is in the table as well: a network may be
good at that and bad at the other.

What it doesn't show is that teacher forcing is bad. It is the easiest to train, and the usual start: a quarter as many updates
of free running, from where it ended, make the last row. Where measurements are clean, it may be all that is needed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim

NOISE = 0.1


def tank(count, steps, generator):
    """What the pump does, the level as it is measured, and as it is: each (time, batch, 1)."""
    pump = np.repeat(generator.uniform(0, 1, (steps // 5 + 1, count, 1)), 5, axis=0)[:steps]
    level, levels = np.full((count, 1), 0.5), []
    for x in pump:
        level = np.maximum(level + 0.25 * x - 0.2 * np.sqrt(level), 0)  # it runs out as the root of the level (Torricelli)
        levels.append(level)
    clean = np.array(levels)
    return pump.astype("float32"), (clean + NOISE * generator.normal(size=clean.shape)).astype("float32"), clean


def forcing(way, done, shape, generator):
    """Where y_{t-1} stands in place of o_{t-1}, when this part of the training is done."""
    share = {"teacher forcing": 1.0, "free running": 0.0, "scheduled": 1 - done}[way]
    return generator.random(shape) < share


def train(model, way, updates, generator, rate=0.01):
    """Adam on 20 new sequences of fifty steps at each update."""
    optimizer = optim.Adam(model.parameters())
    for update in tqdm(range(updates), desc=way, disable=None, leave=False):
        optimizer.lr = rate * (1 - update / updates)
        xs, ys, _ = tank(20, 50, generator)
        if way == "teacher forcing":
            outputs, _ = model(xs, force={"o": ys})  # everywhere: the compiler finds no recurrence
        elif way == "free running":
            outputs, _ = model(xs)
        else:
            outputs, _ = model(xs, force={"o": ys}, force_mask=forcing(way, update / updates, xs.shape[:2], generator))
        loss = nn.mse(outputs, ys)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()


def errors(model, xs, ys, clean):
    """Root mean square errors of the level: one step from the measured one, and in free running."""
    with tr.no_grad():
        one_step, free = model(xs, force={"o": ys})[0].data, model(xs)[0].data
    return [float(np.sqrt(np.mean((found - clean) ** 2))) for found in (one_step, free)]


def main():
    """Train in each way, and deploy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="150 updates instead of 2000")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the sequences")
    parser.add_argument("--out", type=Path, help="folder for the two pictures, training and deployment (none if not given)")
    chosen = parser.parse_args()
    updates = 150 if chosen.quick else 2000

    new = tank(200, 100, np.random.default_rng([chosen.seed, 1]))
    jordan = nn.Jordan(1, 16, 1)
    print("products of matrices at each of T steps that wait for the step before:")
    print(f"  training, teacher forced   {jordan.plan(T=50, B=20, force=['o']).forward.counts.products}")
    print(f"  deployment                 {jordan.plan(T=50, B=20).forward.counts.products}")

    rows = {}
    for way in ("teacher forcing", "scheduled", "free running"):
        tr.seed(chosen.seed)
        model = nn.Jordan(1, 16, 1)
        train(model, way, updates, np.random.default_rng(chosen.seed))
        rows[way] = errors(model, *new)
        if way == "teacher forcing":
            start = model.state_dict()
    model.load_state_dict(start)
    train(model, "free running", updates // 4, np.random.default_rng(chosen.seed), rate=0.003)
    rows["teacher forcing, then free"] = errors(model, *new)

    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        model.draw(time="unrolled", loss=nn.mse).save(chosen.out / "deployment.svg")
        model.draw(time="unrolled", loss=nn.mse, force=["o"]).save(chosen.out / "training.svg")

    level = np.std(new[2])
    print(f"\n{'error of the level':30}{'one step':>10}{'free':>10}")
    for way, (one_step, free) in {"the mean level": (level, level), **rows}.items():
        print(f"{way:30}{one_step:10.4f}{free:10.4f}")


if __name__ == "__main__":
    main()
