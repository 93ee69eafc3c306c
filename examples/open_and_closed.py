"""Open loop, closed loop, or both in turn: which model predicts one step best, and which simulates best?

    python examples/open_and_closed.py --out pictures

A model that reads its own previous outputs can be trained in two ways. In open loop it reads measured outputs, and
learns to predict the next step only. In closed loop it reads its own predictions, as in later use, when nobody
measures. Open loop is quick, but does not train what happens to an error that is fed back. For Cascaded Tanks, a plant
that many have modelled, others report a NARX network with 0.08 V one step ahead and 2 V in a free run; see
docs/published.md. This example shows the same contrast, on plants that the library generates and on the sunspots.

Four models are small enough to be fitted to all data at once, by L-BFGS. AR is linear in the delayed inputs and
outputs. NARX has a layer of tanh units. GRU and LSTM read the input and the previous output, and have a state of their
own. All models are trained in three ways: in open loop, in closed loop, and in closed loop after open loop. Closed
loops run in sessions side by side; each session begins with some measured steps, which do not count. The last
fifth of the data before the test is held back from the fit, and chooses the parameters: those with the least error there,
in the loop of the training, are kept.

The models are judged on later data, one step ahead, and in a free run after the first measured steps. The error is the
root of the mean squared error, divided by the standard deviation of the output. The mean has an error of 1; "grows"
means that the free run grows without bound.

The two tanks and NARMA-10 have a known input, and their outputs are measured with noise. The sunspots have no input,
and are driven by unknown causes. So a free run over decades cannot be good, and free runs of eleven years are judged.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

import tinygrad_rnn as tr
from tinygrad_rnn import datasets, nn, optim

NAMES = ("AR", "NARX", "GRU", "LSTM")
WAYS = ("open", "closed", "open, closed")


class Problem(NamedTuple):
    """Sequences (time, sessions, features) in standard units; the first `start` steps of each are measured in a free run."""

    train: tuple
    check: tuple
    test: tuple
    start: int


class State(NamedTuple):
    """The state of `Fed`: the previous output, and the state of the inner cell."""

    y: Any
    inner: Any


class Fed(nn.Cell):
    """A cell that reads the input and the previous output, and a linear layer that makes the next output."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.head = inner, nn.Linear(inner.hidden_size, 1, dtype=float)
        self.state_shape = State((1,), inner.state_shape)

    def step(self, x, state):
        """Return the next output and the next state."""
        read = state.y if x is None else tr.concatenate([x, state.y], axis=-1)
        out, inner = self.inner(read, state.inner)
        y = self.head(out).named("y")
        return y, State(y, inner)


def predict(model, part, start, closed):
    """Predictions of all steps after the first `start`, from measured outputs or, in a closed loop, from predicted ones."""
    xs, ys = part
    if isinstance(model, nn.NARX):
        skip = start - model.reach
        xs, history, ys = model.prepare(None if xs is None else xs[skip:], ys[skip:])
        return model.free_run(xs, history, steps=len(ys)) if closed else model.one_step(xs, history, ys)
    measured = np.arange(len(ys)) < start if closed else np.ones(len(ys), bool)
    return model(xs, steps=len(ys), force={"y": ys}, force_mask=measured)[0][start:]


def error(model, part, start, closed):
    """The root mean square error; the outputs have deviation 1."""
    with tr.no_grad(), np.errstate(all="ignore"):
        found = predict(model, part, start, closed).data - part[1][start:]
        return float(np.sqrt(np.mean(found**2)))


def fit(model, problem, closed, iterations, name):
    """Fit by L-BFGS in one loop; keep the parameters with the least error, in the same loop, on the data held back."""
    parameters = model.parameters()
    best = [np.inf, [p.data for p in parameters]]

    def loss():
        return nn.mse(predict(model, problem.train, problem.start, closed), problem.train[1][problem.start :])

    with tqdm(total=iterations, desc=name, disable=None, leave=False) as progress:

        def compare(_):
            progress.update()
            now = error(model, problem.check, problem.start, closed)
            if now < best[0]:
                best[:] = now, [p.data for p in parameters]

        compare(None)
        optim.lbfgs(loss, parameters, iterations, callback=compare)
    for p, array in zip(parameters, best[1], strict=True):
        p.data = array


def models(inputs, delays, units):
    """Functions that make a new model, by name; without an input, the delays are of the output alone."""
    ways = {"feedback_delays": delays, "dtype": float} | ({"input_delays": delays} if inputs else {})
    size = len(delays) * (1 + inputs)
    return {
        "AR": lambda: nn.NARX(inputs, 1, f=nn.Linear(size, 1, dtype=float), **ways),
        "NARX": lambda: nn.NARX(inputs, 1, hidden_size=units, **ways),
        "GRU": lambda: nn.Recurrent(Fed(nn.GRUCell(1 + inputs, units, dtype=float))),
        "LSTM": lambda: nn.Recurrent(Fed(nn.LSTMCell(1 + inputs, units, dtype=float))),
    }


def sessions(series, length, hop):
    """Pieces of a series, one every `hop` steps, side by side: (length, sessions, 1)."""
    if series is None:
        return None
    starts = range(0, len(series) - length + 1, hop)
    return np.stack([series[k : k + length] for k in starts], axis=1)[..., None]


def problem(u, y, ends, start, free, hop, test):
    """Cut a series at two places, for training, checking and the test; `test` is the length of its free runs."""
    scaled = [None if data is None else (data - data[: ends[0]].mean()) / data[: ends[0]].std() for data in (u, y)]

    def part(begin, end, length, every):
        found = [None if data is None else data[begin:end] for data in scaled]
        return tuple(sessions(data, min(length, end - begin), every) for data in found)

    n = len(y)
    return Problem(
        part(0, ends[0], start + free, hop),
        part(ends[0] - start, ends[1], start + free, hop),
        part(ends[1] - start, n, start + test, hop if test <= free else n),
        start,
    )


def problems(quick, seed):
    """The two plants and the sunspots, with the delays of NARX and AR."""
    rows = 500 if quick else 1250
    u, y = datasets.two_tanks(rows + 1000, rng=seed)
    yield "two tanks", problem(u, y, (rows * 4 // 5, rows), 10, 90, 90, 1000), [1, 2, 3]
    if not quick:
        u, y = datasets.narma10(rows + 1000, rng=seed)
        y = y + 0.2 * y.std() * np.random.default_rng(seed).normal(size=len(y))
        yield "NARMA-10", problem(u, y, (rows * 4 // 5, rows), 10, 90, 90, 1000), list(range(1, 11))
    years, numbers = datasets.sunspots()
    ends = int((years <= 1880).sum()), int((years <= 1920).sum())
    yield "sunspots", problem(None, numbers, ends, 10, 11, 1, 11), list(range(1, 10))


def shown(number):
    """A number of the table."""
    return f"{number:9.3f}" if number < 10 else "    grows"


def plot(path, found):
    """A figure of both errors of each model after each training, with a pair of axes for each problem."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for axis, (title, rows) in zip(figure.subplots(1, len(found)), found.items(), strict=True):
        for (name, way), (one_step, free) in rows.items():
            k = WAYS.index(way)
            axis.plot(one_step, min(free, 2), "os^"[k], color=f"C{NAMES.index(name)}", fillstyle="none")
        axis.set(title=title, xlabel="one step")
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=0)
    figure.axes[0].set_ylabel("free run")
    for k, name in enumerate(NAMES):
        figure.axes[-1].plot([], [], "s", color=f"C{k}", label=name)
    for mark, way in zip("os^", WAYS, strict=True):
        figure.axes[-1].plot([], [], mark, color="grey", fillstyle="none", label=way)
    figure.legend(*figure.axes[-1].get_legend_handles_labels(), loc="outside lower center", ncols=7, frameon=False, fontsize=9)
    figure.savefig(path, metadata={"Date": None})


def main():
    """Train each model in three ways on each problem."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter series, a few iterations, no LSTM and no NARMA-10")
    parser.add_argument("--seed", type=int, default=0, help="of the plants and of the weights")
    parser.add_argument("--out", type=Path, help="folder for the picture (none is drawn if not given)")
    chosen = parser.parse_args()
    iterations, found = (6 if chosen.quick else 200), {}

    for title, data, delays in problems(chosen.quick, chosen.seed):
        print(f"\n{title:14}{'trained in':14} one step  free run")
        found[title] = rows = {}
        for name, make in models(0 if data.train[0] is None else 1, delays, 4).items():
            if chosen.quick and name == "LSTM":
                continue
            opened = {}
            for way in WAYS:
                tr.seed(chosen.seed)
                model = make()
                if way == "open, closed":
                    model.load_state_dict(opened)
                fit(model, data, way != "open", iterations, f"{title}, {name}, {way}")
                opened = opened or model.state_dict()
                rows[name, way] = [error(model, data.test, data.start, closed) for closed in (False, True)]
                print(f"  {name:12}{way:14}" + " ".join(map(shown, rows[name, way])))
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        plot(chosen.out / "open_and_closed.svg", found)


if __name__ == "__main__":
    main()
