"""Sunspots: the series for which autoregression was invented, and a small network for the same series.

    python examples/sunspots.py --out pictures

In 1927 Yule asked what makes the number of sunspots rise and fall about every eleven years, and never twice in the same
way. His answer was a pendulum that boys pelt with peas: each value follows from the two values before it, and from a
disturbance,

    y[t] = w_0 + w_1 y[t-1] + w_2 y[t-2] + noise.

This is `nn.AR(2)`, the first model here. It is fitted by maximum likelihood to Yule's years, and compared with Yule's
result. He found it by hand, from correlations and the numbers of his day.

The second model is a NAR network, which reads the nine years before. It adds four tanh units to a linear model, because
the cycles are not symmetric: they rise faster than they fall, and large cycles rise even faster. Both models learn from
1700 to 1920, and are judged on the years after 1920. (A random split would test them between years that they had seen.)
The network is fitted by the method of Levenberg and Marquardt. It minimises the errors of its predictions one year
ahead, plus a penalty on the weights of the tanh units. The strength of the penalty is chosen on the years from 1881 to
1920, with networks that have learnt from the years before 1881. Nothing was chosen on the years after 1920.

A prediction for n years ahead is a free run, and there is one from every year: after the first year, a model reads its
own predictions. The baselines predict the mean, or the last value.

This example does not show that the network is the better model of the sun. It beats Yule's AR(2). But a linear model
that also reads nine years is as good one year ahead, and better two and five years ahead. After 1920 the cycles were
larger than ever before, and no model has learnt anything about such cycles.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

import tinygrad_rnn as tr
from tinygrad_rnn import datasets, nn, optim
from tinygrad_rnn.sequences import windows

LAST = 1920  # the last year of the training data
AHEAD = 11  # years
YULE = "1.343  -0.655            15.41      10.60"  # equation 31: w_1, w_2, deviation of the disturbances, period


class LinearAndTanh(nn.Module):
    """A linear model of the regressor r plus some tanh units: w r + b + V tanh(A r + a)."""

    def __init__(self, size, units):
        super().__init__()
        self.linear = nn.Linear(size, 1, symbols=("w", "b"), dtype=float)
        self.A, self.V = nn.Linear(size, units, symbols=("A", "a"), dtype=float), nn.Linear(units, 1, bias=False, dtype=float)

    def forward(self, r):
        """Predict the next value from the nine values before it."""
        return self.linear(r) + self.V(tr.tanh(self.A(r)).named("h"))


def fit(series, strength, seed, iterations=50):
    """A NAR network, fitted to a series (time, 1, 1) by Levenberg–Marquardt on its one-step errors."""
    tr.seed(seed)
    nar = nn.NARX(0, 1, feedback_delays=9, f=LinearAndTanh(9, 4), dtype=float)
    _, history, ys = nar.prepare(None, series)
    penalised = [parameter for name, parameter in nar.named_parameters() if ".linear." not in name]

    def residuals():
        errors = nar.one_step(None, history, ys) - ys
        return tr.concatenate([errors.ravel(), *(strength * parameter.ravel() for parameter in penalised)])

    with tqdm(total=iterations, desc=f"penalty {strength}, start {seed}", disable=None, leave=False) as progress:
        optim.levenberg_marquardt(residuals, nar.parameters(), iterations, callback=lambda loss: progress.update())
    return nar


def forecasts(model, series):
    """Predictions of free runs: row n - 1, column t has value t predicted from n years before, NaN where there is none."""
    order = model.cell.longest["y"]
    before = windows(series[:, 0], order)  # (years, starts, 1): what is known, for every year at once
    if isinstance(model, nn.AR):
        runs = model.forecast(model.history(before), AHEAD)
    else:
        runs = model.free_run(None, model.history(None, before), steps=AHEAD)
    found = np.full((AHEAD, len(series)), np.nan)
    for n, run in enumerate(runs.data[..., 0]):
        target = slice(order + n, None)
        found[n, target] = run[: len(found[n, target])]
    return found


def rmse(predicted, numbers, judged):
    """The root of the mean squared error, in the test years."""
    return float(np.sqrt(np.mean((predicted - numbers)[judged] ** 2)))


def choose(series, numbers, years, strengths, seeds):
    """The penalty whose networks, fitted up to 1880, predict 1881 to 1920 best, one year ahead."""
    print("\npenalty   RMSE one year ahead, 1881 to 1920, by networks of 1700 to 1880")
    scores = []
    judged = (years > 1880) & (years <= LAST)
    for strength in strengths:
        nets = [fit(series[years <= 1880], strength, seed) for seed in seeds]
        scores.append(np.mean([rmse(scale(numbers) * forecasts(net, series)[0], numbers, judged) for net in nets]))
        print(f"{strength:7}   {scores[-1]:.1f}")
    return strengths[int(np.argmin(scores))]


def scale(numbers):
    """The number by which the series is divided for the network; it uses no year after 1880."""
    return numbers[:181].std()


def plot(path, years, numbers, found):
    """A figure of the test years, with predictions one and five years ahead."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots(2, 1, sharex=True)
    shown = years > LAST - 20
    for axis, n in zip(axes, (1, 5), strict=True):
        axis.plot(years[shown], numbers[shown], "k", label="measured")
        axis.plot(years[shown], found["AR(2)"][n - 1][shown], label="AR(2)")
        axis.plot(years[shown], found["NAR"][n - 1][shown], label="NAR")
        axis.axvline(LAST, color="grey", linestyle=":")
        axis.set_title(f"{n} year{'s' * (n > 1)} ahead", loc="left", fontsize=10)
    axes[0].legend(ncols=3, frameon=False, fontsize=9)
    figure.savefig(path, metadata={"Date": None})


def main():
    """Fit Yule's model to his years; then judge both models on years that they have not seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one penalty and one start instead of a choice")
    parser.add_argument("--seed", type=int, default=0, help="of the network's weights")
    parser.add_argument("--out", type=Path, help="folder for the pictures (none are drawn if not given)")
    chosen = parser.parse_args()

    years, numbers = datasets.sunspots()
    series = numbers[:, None, None]  # (time, one series, one variable)
    his = (years >= 1749) & (years <= 1924)
    ar = nn.AR(2, dtype=float).fit(series[his])
    period = 2 * np.pi / abs(np.angle(ar.poles()[0]))
    print("AR(2), 1749 to 1924        w_1    w_2     disturbances     period")
    print(f"  by maximum likelihood  {ar.w[0].item():.3f}  {ar.w[1].item():.3f}            {ar.sigma[0]:.2f}      {period:.2f}")
    print(f"  Yule, 1927             {YULE}")

    small = series / scale(numbers)
    starts = range(chosen.seed, chosen.seed + 3)
    strength = 1.0 if chosen.quick else choose(small, numbers, years, [0.3, 0.5, 1.0, 2.0], starts)
    learn = years <= LAST
    nar = fit(small[learn], strength, chosen.seed)
    size = sum(parameter.size for parameter in nar.parameters())
    print(f"\nthe network: {size} numbers, learnt from {learn.sum()} years with a penalty of {strength}")

    found = {"mean": np.full((AHEAD, len(years)), numbers[learn].mean())}
    found["last value"] = np.stack([np.roll(numbers, n) for n in range(1, AHEAD + 1)])
    found |= {f"AR({order})": forecasts(nn.AR(order, dtype=float).fit(series[learn]), series) for order in (2, 9)}
    found["NAR"] = scale(numbers) * forecasts(nar, small)
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        ar.draw(time="folded").save(chosen.out / "sunspots-ar.svg")
        plot(chosen.out / "sunspots.svg", years, numbers, found)
    print(f"\nRMSE of {LAST + 1} to {years[-1]}, by years ahead")
    print("                  1      2      5     11")
    for name, predicted in found.items():
        errors = [rmse(predicted[n - 1], numbers, ~learn) for n in (1, 2, 5, 11)]
        print(f"  {name:10}" + "".join(f"{error:7.1f}" for error in errors))


if __name__ == "__main__":
    main()
