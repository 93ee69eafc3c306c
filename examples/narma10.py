"""NARMA-10: learn a system from noisy measurements, and simulate it.

    python examples/narma10.py --out pictures

The system has an input u and an output y. The output depends on the ten previous values of both:

    y[t+1] = 0.3 y[t] + 0.05 y[t] (y[t] + ... + y[t-9]) + 1.5 u[t-9] u[t] + 0.1.

u is known, and y is measured with an error of a fifth of its standard deviation. From these measurements a NARX network
learns the system: it computes y[t] from the ten values of u and of y before it. The baseline is an ARX, a linear model
with the same delays.

There are two ways to train the network. In open loop, the measured y are fed back. This is quick, since all steps are
computed at once. But the measured y are wrong by their noise, and the network learns not to rely on them. This caution
is a fault in a simulation, which reads no measurements. In closed loop, the network's own predictions are fed back, as
in a simulation. This is slower, so the training in closed loop starts from the parameters that were learnt in open
loop. The long series is cut into sessions of 200 steps, which run side by side. The ten steps before a session are its
history.

All models are judged on a thousand later steps, against the true y, which nobody has measured. The error is the NRMSE:
the root of the mean squared error, divided by the standard deviation of y. "One step" predicts each y from measured
values. "Free run" predicts all y from the first ten values and from u. A free run with an error below 0.2 knows y
better than it can be measured. The numbers of units and of iterations were chosen by a few trials.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

import tinygrad_rnn as tr
from tinygrad_rnn import datasets, nn, optim

LATER = 1000
NOISE = 0.2
DELAYS = range(1, 11)


def narx(units=None):
    """A NARX network with a number of tanh units, or a linear model."""
    f = None if units else nn.Linear(2 * len(DELAYS), 1, dtype=float)
    return nn.NARX(1, 1, input_delays=DELAYS, feedback_delays=DELAYS, f=f, hidden_size=units, dtype=float)


def fit(residuals, model, iterations, name):
    """Train by Levenberg–Marquardt, with a progress bar; a linear model in open loop needs one iteration."""
    with tqdm(total=iterations, desc=name, disable=None) as progress:
        optim.levenberg_marquardt(residuals, model.parameters(), iterations, callback=lambda loss: progress.update())


def train_open(model, u, y, iterations):
    """Train in open loop: measured values are fed back."""
    us, history, ys = model.prepare(u, y)
    fit(lambda: model.one_step(us, history, ys) - ys, model, iterations, "open loop")


def train_closed(model, u, y, iterations, length=200):
    """Train in closed loop: predictions are fed back, in sessions that run side by side."""
    sessions = [data.reshape(-1, length, 1).swapaxes(0, 1) for data in (u, y)]
    us, history, ys = model.prepare(*sessions)
    fit(lambda: model.free_run(us, history) - ys, model, iterations, "closed loop")


def errors(model, u, measured, true):
    """NRMSE of one step, of ten steps and of a free run, after a history of ten steps."""
    us, history, ys = model.prepare(u, measured)
    true = true[model.reach :]
    with tr.no_grad():
        found = model.one_step(us, history, ys), model.n_step(10, us, history, ys), model.free_run(us, history)
    return [float(np.sqrt(np.mean((y.data - true[-len(y.data) :]) ** 2) / true.var())) for y in found]


def plot(path, model, u, measured, true):
    """A figure of some steps of a free run."""
    from matplotlib.figure import Figure

    us, history, _ = model.prepare(u, measured)
    simulated = model.free_run(us, history).data[:120, 0, 0]
    figure = Figure(figsize=(9, 3), layout="constrained")
    axis = figure.subplots()
    axis.plot(measured[model.reach :, 0, 0][:120], ".", color="grey", label="measured")
    axis.plot(true[model.reach :, 0, 0][:120], "k", label="true")
    axis.plot(simulated, label="NARX, running freely")
    axis.legend(ncols=3, frameon=False, fontsize=9)
    figure.savefig(path, metadata={"Date": None})


def main():
    """Train in open loop, then in closed loop; compare both networks with a linear model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a shorter series, a smaller network, fewer iterations")
    parser.add_argument("--seed", type=int, default=0, help="of the input, the noise and the weights")
    parser.add_argument("--out", type=Path, help="folder for the pictures (none are drawn if not given)")
    chosen = parser.parse_args()
    count, units, opened, closed = (600, 3, 12, 4) if chosen.quick else (2000, 6, 60, 25)

    rng = np.random.default_rng(chosen.seed)
    u, true = (data[:, None, None] for data in datasets.narma10(count + LATER, rng=rng))  # (time, one series, one variable)
    u, true = ((data - data[:count].mean()) / data[:count].std() for data in (u, true))
    measured = true + NOISE * rng.normal(size=true.shape)
    later = slice(count, None)

    tr.seed(chosen.seed)
    linear, model, rows = narx(), narx(units), {}
    for name, one in (("ARX", linear), ("NARX", model)):
        train_open(one, u[:count], measured[:count], opened)
        rows[f"{name}, open loop"] = errors(one, u[later], measured[later], true[later])
    train_closed(model, u[:count], measured[:count], closed)
    rows["  then closed loop"] = errors(model, u[later], measured[later], true[later])

    size = sum(parameter.size for parameter in model.parameters())
    print(f"{count} steps to learn from, {LATER} later ones to predict; {units} tanh units, {size} numbers")
    for name, force in (("open", ["y_1"]), ("closed", [])):
        print(f"  in {name} loop {model.plan(T=count, force=force).forward.counts.inside} operations at each step of a loop")
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        plot(chosen.out / "narma10.svg", model, u[later], measured[later], true[later])
    print("\nNRMSE                  one step   10 steps   free run")
    for name, found in rows.items():
        print(f"  {name:20}" + "".join(f"{error:9.3f}  " for error in found).rstrip())


if __name__ == "__main__":
    main()
