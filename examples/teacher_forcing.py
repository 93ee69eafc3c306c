"""Targets fed back, outputs fed back, or something in between: Jordan's network, trained in three ways.

    python examples/teacher_forcing.py --out pictures

A pump, x_t, fills a tank, which empties through a hole. The level of the tank, y_t, is measured with some noise. In
Jordan's network only the output is fed back: h_t = tanh(U x_t + W o_{t-1} + b), o_t = V h_t + c. The network has to
predict the level over a hundred steps from the pump alone, without measurements. So in *deployment* it feeds back its
own outputs. In *training* there is a choice, which `force` makes:

- teacher forcing: the measured y_{t-1} replaces o_{t-1}. Then nothing is recurrent, and all steps are computed at once.
  But the network never meets its own mistakes, and it reads noisy levels in training, and clean levels in deployment.
- free running: as in deployment. Every step depends on all steps before.
- scheduled sampling (Bengio et al., 2015): o_{t-1} replaces y_{t-1} at random steps: at few steps in the beginning, at
  nearly all steps in the end.

The result is the root mean square error of the level over new sequences, in free running. The baseline is the mean
level. The table also has the error one step from the measured level, which is the task of teacher forcing. A network
may be good at this task and bad at the other.

This example does not show that teacher forcing is bad. It is the easiest way to train, and the usual start: for the
last row, training in free running continues from the forced network, for a quarter of the updates. If measurements are
clean, teacher forcing may be enough.
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
    """The pump, the measured level and the true level, each (time, batch, 1)."""
    pump = np.repeat(generator.uniform(0, 1, (steps // 5 + 1, count, 1)), 5, axis=0)[:steps]
    level, levels = np.full((count, 1), 0.5), []
    for x in pump:
        level = np.maximum(level + 0.25 * x - 0.2 * np.sqrt(level), 0)  # outflow: the root of the level (Torricelli)
        levels.append(level)
    clean = np.array(levels)
    return pump.astype("float32"), (clean + NOISE * generator.normal(size=clean.shape)).astype("float32"), clean


def forcing(way, done, shape, generator):
    """The mask of the steps at which y_{t-1} replaces o_{t-1}, after a given part of the training."""
    share = {"teacher forcing": 1.0, "free running": 0.0, "scheduled": 1 - done}[way]
    return generator.random(shape) < share


def train(model, way, updates, generator, rate=0.01):
    """Train by Adam on 20 new sequences of fifty steps at each update."""
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
    """Root mean square errors of the level: one step from the measured level, and in free running."""
    with tr.no_grad():
        one_step, free = model(xs, force={"o": ys})[0].data, model(xs)[0].data
    return [float(np.sqrt(np.mean((found - clean) ** 2))) for found in (one_step, free)]


def main():
    """Train in each way, and run freely."""
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
