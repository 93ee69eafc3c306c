"""Mackey-Glass: a chaotic series, predicted 1 step and 84 steps ahead.

    python examples/mackey_glass.py --out pictures

In a model of 1977, the number of blood cells depends on the number 17 days ago:

    dx/dt = 0.2 x(t-17) / (1 + x(t-17)^10) - 0.1 x(t).

The series is smooth and chaotic. Each value is easy to predict from the values before it, but no model is right for
long, since errors grow. So an error one step ahead says little about a model, and 84 steps ahead are the usual test.
The series has no noise: its past determines all of it. So it tests what a network can learn.

There are four models:

- a linear autoregression of 18 values, fitted by least squares;
- a TDNN, which reads the values 0, 6, 12 and 18 steps ago, and predicts the value 84 steps later directly;
- a NAR network, which reads the values 1, 6, 12 and 18 steps ago, and is trained to predict one step. For 84 steps it
  runs freely: after the first step it reads its own predictions;
- the last value, repeated.

The networks are trained by the method of Levenberg and Marquardt, on the first part of the series. All models are
judged on the thousand values after this part. The error is the NRMSE: the root of the mean squared error, divided by
the standard deviation. Always predicting the mean has an error of 1.

The result: the linear model is the best of all at one step, and has lost the series at 84 steps.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

import tinygrad_rnn as tr
from tinygrad_rnn import datasets, nn, optim
from tinygrad_rnn.sequences import windows

AHEAD = 84
BACK = 18  # the longest delay of all
JUDGED = 1000


def fit(residuals, model, iterations, name):
    """Train by Levenberg–Marquardt, with a progress bar on a terminal."""
    with tqdm(total=iterations, desc=name, disable=None) as progress:
        return optim.levenberg_marquardt(residuals, model.parameters(), iterations, callback=lambda loss: progress.update())


def nar_network(series, units, iterations):
    """y[t] from y[t-1], y[t-6], y[t-12] and y[t-18], trained in open loop."""
    nar = nn.NARX(0, 1, feedback_delays=[1, 6, 12, 18], hidden_size=units, dtype=float)
    _, history, ys = nar.prepare(None, series)
    fit(lambda: nar.one_step(None, history, ys) - ys, nar, iterations, "NAR")
    return nar


def tdnn_network(series, units, iterations):
    """y[t+84] from y[t], y[t-6], y[t-12] and y[t-18]."""
    tdnn = nn.Sequential(nn.TimeDelay(1, units, delays=3, dilation=6, dtype=float), nn.Linear(units, 1, dtype=float))
    inputs, targets = series[:-AHEAD], series[BACK + AHEAD :]
    fit(lambda: tdnn(inputs)[BACK:] - targets, tdnn, iterations, "TDNN")  # the first values have no complete past
    return tdnn


def nrmse(predicted, true):
    """NRMSE of predictions, the last of which predicts the last true value."""
    true = true[-len(predicted) :]
    return float(np.sqrt(np.mean((np.asarray(predicted) - true) ** 2) / true.var()))


def linear_forecasts(ar, series, n):
    """Predictions of the value n steps later, from every place of the series at once."""
    before = windows(series[:-n, 0], BACK)
    return ar.forecast(ar.history(before), n).data[-1][:, None]


def plot(path, series, nar, ar):
    """A figure of one free run of each of two models, from the same history."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    axis = figure.subplots()
    axis.plot(series[BACK : BACK + 400, 0, 0], "k", label="the series")
    axis.plot(nar.free_run(None, nar.history(None, series[:BACK]), steps=400).data[:, 0, 0], label="NAR, running freely")
    axis.plot(ar.forecast(ar.history(series[:BACK]), 400).data[:, 0, 0], label=f"AR({BACK})")
    axis.axvline(AHEAD, color="grey", linestyle=":")
    axis.set_ylim(top=2.6)
    axis.legend(ncols=3, frameon=False, loc="upper right", fontsize=9)
    figure.savefig(path, metadata={"Date": None})


def main():
    """Train on the first part of the series, and predict the rest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a shorter series, smaller networks, fewer iterations")
    parser.add_argument("--seed", type=int, default=0, help="of the networks' weights")
    parser.add_argument("--out", type=Path, help="folder for the pictures (none are drawn if not given)")
    chosen = parser.parse_args()
    count, units, iterations = (600, 8, 25) if chosen.quick else (2000, 12, 150)

    xs = datasets.mackey_glass(300 + count + JUDGED)[300:, None, None]  # without the steps before it settles
    ys = (xs - xs[:count].mean()) / xs[:count].std()
    learn, later = ys[:count], ys[count:]

    tr.seed(chosen.seed)
    nar = nar_network(learn, units, iterations)
    tdnn = tdnn_network(learn, units, iterations)
    ar = nn.AR(BACK, dtype=float).fit(learn)
    print(f"{count} values to learn from, {JUDGED} later ones to predict; networks of {units} tanh units")
    plan = nar.plan(T=count, force=["y_1"])
    print(f"training in open loop: {plan.forward.counts.inside} operations in a loop over time")

    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        nar.draw().save(chosen.out / "mackey_glass-nar.svg")
        plot(chosen.out / "mackey_glass.svg", later, nar, ar)
    _, history, true = nar.prepare(None, later)
    with tr.no_grad():
        rows = {
            "last value": [nrmse(later[:-n], later[n:]) for n in (1, 6, AHEAD)],
            f"AR({BACK})": [nrmse(linear_forecasts(ar, later, n), later) for n in (1, 6, AHEAD)],
            "TDNN": [np.nan, np.nan, nrmse(tdnn(later)[BACK:-AHEAD].data, later)],
            "NAR": [nrmse(nar.n_step(n, None, history, true).data, true) for n in (1, 6, AHEAD)],
        }
    print("\nNRMSE by steps ahead       1        6       84")
    for name, errors in rows.items():
        print(f"  {name:16}" + "".join("        –" if np.isnan(e) else f"{e:9.4f}" for e in errors))


if __name__ == "__main__":
    main()
