"""A state that is added to, and a state that is replaced: which of them can keep score?

    python examples/residual.py --out pictures

A walker makes steps to the left and to the right, in random order. The network reads one step at a time. After the last
of up to a hundred steps, it answers on which side of the start the walker stands, and how far away (N to 1). So the
state has to keep score.

- residual: h_t = h_{t-1} + tanh(U x_t + b). The state is the sum of what the network has read, and the gradient reaches
  the first step unchanged. The slot is not a recurrence but a running sum, as the plan says.
- residual with its state: h_t = h_{t-1} + tanh(U x_t + b + W h_{t-1} + b').
- plain: h_t = tanh(U x_t + b + W h_{t-1} + b'). This cell has to keep the sum in a state that each step replaces.

The table has two results for each cell. The first is measured before training: how much of the gradient is left a
hundred steps back, |∂h_T/∂x_1| / |∂h_T/∂x_T|. The second is the root mean square error after training, on walks of a
hundred steps, and on walks of four hundred steps, which were not in training. The baseline answers 0, the mean position
of a walker.

A gradient that does not vanish may explode. It explodes in the second cell: its Jacobian is 1 plus another term, and
the product of such Jacobians grows. On short walks this cell is better than the baseline, on long walks much worse.

This example does not show that residual states are better: they keep everything, also what should be forgotten. In an
LSTM or a GRU, a gate decides at each step what is kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim

CELLS = {
    "residual": lambda: nn.ResidualCell(1, 8, recurrent=False),
    "residual with its state": lambda: nn.ResidualCell(1, 8),
    "plain": lambda: nn.RNNCell(1, 8),
}


class Scorer(nn.Module):
    """A model that predicts the end of a walk from the last state."""

    def __init__(self, cell):
        super().__init__()
        self.rnn, self.output = nn.Recurrent(cell), nn.Linear(8, 1)

    def forward(self, xs):
        """The predicted ends (batch, 1) of walks (time, batch, 1), in tens of steps."""
        _, h = self.rnn(xs, final_state_only=True)
        return self.output(h)


def walks(count, steps, generator):
    """Walks, in steps of ±1, and their ends, in tens of steps."""
    xs = generator.choice(np.array([-1, 1], "float32"), (steps, count, 1))
    return xs, xs.sum(axis=0) / 10


def gradient_left(model, steps, generator):
    """|∂h_T/∂x_1| over |∂h_T/∂x_T|: the Frobenius norms, of one walk."""
    xs = tr.tensor(walks(1, steps, generator)[0], requires_grad=True)
    h = model.rnn(xs)[1]
    rows = np.array([tr.grad(h[0, i], xs).data[:, 0, 0] for i in range(h.shape[1])])
    return float(np.linalg.norm(rows[:, 0]) / np.linalg.norm(rows[:, -1]))


def train(model, updates, generator):
    """Train by Adam on 50 new walks of 50 to 100 steps at each update."""
    optimizer = optim.Adam(model.parameters())
    for update in tqdm(range(updates), disable=None, leave=False):
        optimizer.lr = 0.01 * (1 - update / updates)
        xs, ys = walks(50, generator.integers(50, 101), generator)
        loss = nn.mse(model(xs), ys)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()


def error(model, xs, ys):
    """Root mean square error, in steps."""
    with tr.no_grad():
        return 10 * float(np.sqrt(nn.mse(model(xs), ys).data))


def main():
    """Measure the gradients, train the cells, and test them on longer walks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="300 updates instead of 3000")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the walks")
    parser.add_argument("--out", type=Path, help="folder for the pictures (none are drawn if not given)")
    chosen = parser.parse_args()
    new = [walks(1000, steps, np.random.default_rng([chosen.seed, steps])) for steps in (100, 400)]

    rows = {}
    for name, make in CELLS.items():
        tr.seed(chosen.seed)
        generator = np.random.default_rng(chosen.seed)
        model = Scorer(make())
        left, slot = gradient_left(model, 100, generator), model.rnn.plan(T=100).forward.slots[0]
        train(model, 300 if chosen.quick else 3000, generator)
        rows[name] = f"{slot!s:16}{left:16.2g}{error(model, *new[0]):12.2f}{error(model, *new[1]):12.2f}"
        if chosen.out:
            chosen.out.mkdir(parents=True, exist_ok=True)
            model.draw(time="unrolled").save(chosen.out / f"{name.replace(' ', '_')}.svg")

    print(f"{'':26}{'slot':16}{'gradient left':>16}{'100 steps':>12}{'400 steps':>12}")
    print(f"{'answer 0':26}{'':16}{'':16}" + "".join(f"{10 * np.sqrt((ys**2).mean()):12.2f}" for _, ys in new))
    for name, row in rows.items():
        print(f"{name:26}{row}")


if __name__ == "__main__":
    main()
