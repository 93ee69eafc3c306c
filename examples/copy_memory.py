"""Copy memory: read some digits, wait, and write them down again.

    python examples/copy_memory.py --out pictures

The network reads five digits from 1 to 8, then zeros, then nines. The nines ask for the answer: the five digits, in
their order. At all steps before the answer, the network writes 0. With n digits and a delay of T there are T + 2n
steps:

    read    3 1 4 1 5  0 0 0 ... 0 0 0  9 9 9 9 9 9
    write   0 0 0 0 0  0 0 0 ... 0 0 0  0 3 1 4 1 5

In the meantime only the state can hold the digits. The baseline is a network that knows when to answer, but has
forgotten the digits. It guesses among eight digits at n of the steps, so its cross-entropy is n ln 8 / (T + 2n). The
time of the answer is easy to learn, and is learnt in the first hundred updates. After that, the error falls only as
fast as the network learns to recall the digits. With ten digits and delays of a hundred steps and more, some networks
are known never to leave the baseline (Arjovsky, Shah and Bengio, 2016). This example has fewer digits and a shorter
delay, so you can watch some networks leave it. As in the adding problem, the LSTM's forget gate starts open.

The example also counts the share of the digits that are recalled. A guess is right for one digit in eight.
"""

from __future__ import annotations

import argparse
import math
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import trange

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim
from tinygrad_rnn.datasets import copy_memory

SYMBOLS = 8
LAYERS = {"tanh RNN": nn.RNN, "LSTM": partial(nn.LSTM, forget_bias=1.0), "GRU": nn.GRU}


class Copier(nn.Module):
    """A recurrent layer over one-hot digits, and logits of a digit at every step."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.output = nn.Linear(layer.hidden_size, SYMBOLS + 2)

    def forward(self, codes):
        """Codes (time, batch) give logits (time, batch, digits)."""
        one_hot = np.eye(SYMBOLS + 2, dtype="float32")[codes]
        outputs, _ = self.layer(one_hot)
        return self.output(outputs)


def train(model, name, updates, delay, length, rate, rng):
    """Train on new sequences for every update; return the loss of each update."""
    optimizer = optim.Adam(model.parameters(), lr=rate)
    losses = []
    for _ in trange(updates, desc=name, disable=None, leave=False):
        codes, targets = copy_memory(delay, 64, rng=rng, length=length)
        loss = nn.cross_entropy(model(codes), targets)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def score(model, delay, length, rng):
    """Cross-entropy and the share of the digits that are recalled, on 500 new sequences."""
    codes, targets = copy_memory(delay, 500, rng=rng, length=length)
    with tr.no_grad():
        logits = model(codes)
        loss = nn.cross_entropy(logits, targets).item()
    answers = logits.data[-length:].argmax(axis=-1)
    return loss, (answers == targets[-length:]).mean()


def draw(losses, baseline, out):
    """A figure of the three losses, with the mean of twenty updates for each point, and of the baseline."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    for name, found in losses.items():
        axes.plot(np.arange(10, len(found), 20), np.reshape(found, (-1, 20)).mean(axis=1), label=name)
    axes.axhline(baseline, color="black", linestyle="--", linewidth=0.8, label="without memory")
    axes.set(xlabel="update", ylabel="cross-entropy, nats per step", ylim=(0, 2 * baseline))
    axes.legend()
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "copy_memory.svg", metadata={"Date": None})


def main():
    """Train the three networks, and compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three digits and a delay of 8 instead of five and 20")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the digits")
    parser.add_argument("--out", type=Path, help="folder for the curves (none are drawn if not given)")
    chosen = parser.parse_args()
    length, delay, hidden, updates, rate = (3, 8, 48, 500, 1e-2) if chosen.quick else (5, 20, 64, 3000, 1e-2)

    baseline = length * math.log(SYMBOLS) / (delay + 2 * length)
    print(f"{length} digits, a delay of {delay}, {hidden} hidden units, {updates} updates of 64 sequences")
    losses, scores = {}, {}
    for name, layer in LAYERS.items():
        tr.seed(chosen.seed)
        model = Copier(layer(SYMBOLS + 2, hidden))
        losses[name] = train(model, name, updates, delay, length, rate, np.random.default_rng(chosen.seed))
        scores[name] = score(model, delay, length, np.random.default_rng(10_000 + chosen.seed))
    if chosen.out:
        draw(losses, baseline, chosen.out)
    for name, (loss, recalled) in scores.items():
        print(f"{name}: {recalled:.0%} of the digits recalled, test cross-entropy {loss:.4f}, without memory: {baseline:.4f}")


if __name__ == "__main__":
    main()
