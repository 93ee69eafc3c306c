"""A dynamical system learned from its trajectories, by networks with more and more units.

    python examples/dynamics.py --out pictures

Van der Pol's oscillator (1926) has a state of two numbers, q' = p, p' = (1 - q²) p - q. Whatever state it starts from,
it ends on the same closed path. Observed every 0.1 units of time, the oscillator is a system s_t = f(s_{t-1}). A
network learns f from trajectories alone: s_t = c + V tanh(W s_{t-1} + b).

One layer with enough units approximates a continuous f on a bounded set as closely as you like (Cybenko, 1989). This
example shows the effect: with more units the error of one step is smaller, and the network can run by itself for
longer. It starts at a state that it has never met, and runs 100 steps, one and a half turns, from its own states alone.

The baseline is the best linear system, s_t = A s_{t-1} + a, fitted by least squares. It has no limit cycle: its
trajectories die out, or grow without end.

This example does not show extrapolation: the network knows nothing about states that are far from the training
trajectories.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim

STEP = 0.1


def velocity(s):
    """q' and p'."""
    q, p = s[..., 0], s[..., 1]
    return np.stack([p, (1 - q**2) * p - q], axis=-1)


def trajectories(count, steps, generator):
    """States, (steps + 1, count, 2), from random starts; by the Runge–Kutta method of fourth order."""
    states = [generator.uniform(-2.5, 2.5, (count, 2))]
    for _ in range(steps):
        s = states[-1]
        for _ in range(4):  # four small steps for each state that is kept
            d = STEP / 4
            k1 = velocity(s)
            k2 = velocity(s + d / 2 * k1)
            k3 = velocity(s + d / 2 * k2)
            k4 = velocity(s + d * k3)
            s = s + d / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        states.append(s)
    return np.array(states)


def train(model, known, iterations):
    """Train by L-BFGS on all windows of ten steps; each window starts from the true state."""
    windows = known[:-1].reshape(-1, 10, known.shape[1], 2).swapaxes(0, 1).reshape(10, -1, 2)
    targets = known[1:].reshape(-1, 10, known.shape[1], 2).swapaxes(0, 1).reshape(10, -1, 2)
    start = tr.tensor(windows[0])

    def loss():
        return nn.mse(model(None, start, steps=10)[0], targets)

    with tqdm(total=iterations, disable=None, leave=False) as progress:
        optim.lbfgs(loss, model.parameters(), iterations, tolerance=1e-12, callback=lambda _: progress.update())


def errors(run, new):
    """Root mean square errors: of one step from each true state, and after a free run of 100 steps."""
    one = run(new[:-1].reshape(-1, 2), 1)[0] - new[1:].reshape(-1, 2)
    return [float(np.sqrt(np.mean(e**2))) for e in (one, run(new[0], 100)[-1] - new[100])]


def picture(path, runs, new):
    """A figure of the trajectories of all systems from one start."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(runs), figsize=(3.2 * len(runs), 3.2), sharex=True, sharey=True, layout="constrained")
    for ax, (name, run) in zip(axes, runs.items(), strict=True):
        for start in range(3):
            path_of = np.concatenate([new[:1, start], run(new[0, start : start + 1], 100)[:, 0]])
            ax.plot(*new[:, start].T, color="0.75", linewidth=4)
            ax.plot(*path_of.T, color=f"C{start}", linewidth=1.2)
        ax.set(title=name, xlim=(-3.5, 3.5), ylim=(-4.5, 4.5), xlabel="q")
    axes[0].set_ylabel("p")
    figure.savefig(path)


def main():
    """Train networks with 2, 8 and 32 units, and let each run freely."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="150 iterations instead of 5000")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the trajectories")
    parser.add_argument("--out", type=Path, help="folder for the pictures (none are drawn if not given)")
    chosen = parser.parse_args()
    generator = np.random.default_rng(chosen.seed)
    known, new = trajectories(50, 100, generator), trajectories(100, 100, generator)

    before = np.concatenate([known[:-1].reshape(-1, 2), np.ones((known[1:, :, 0].size, 1))], axis=1)
    A = np.linalg.lstsq(before, known[1:].reshape(-1, 2), rcond=None)[0]

    def linear(s, steps):
        states = [s]
        for _ in range(steps):
            states.append(states[-1] @ A[:2] + A[2])
        return np.array(states[1:])

    runs = {"linear": linear}
    for units in (2, 8, 32):
        tr.seed(chosen.seed)
        model = nn.Recurrent(nn.SystemCell(0, 2, hidden_size=units, dtype="float64"))
        train(model, known, 150 if chosen.quick else 5000)

        def network(s, steps, model=model):
            with tr.no_grad():
                return model(None, tr.tensor(s), steps=steps)[0].data

        runs[f"{units} units"] = network

    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        model.cell.draw().save(chosen.out / "system.svg")
        picture(chosen.out / "dynamics.png", runs, new)

    print(f"{'root mean square error':26}{'of one step':>14}{'after 100 steps':>18}")
    for name, run in runs.items():
        one, hundred = errors(run, new)
        print(f"{name:26}{one:14.5f}{hundred:18.4f}")


if __name__ == "__main__":
    main()
