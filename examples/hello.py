"""The textbook case: a network of three hidden units learns to spell "hello".

    python examples/hello.py --out pictures

The vocabulary is h, e, l, o. The network reads "hell" and has to output "ello": after each letter the next letter.
After the first l the answer is l, after the second l it is o. So the network has to remember its place in the word. A
network without a memory can do no better than to give l and o the same probability after each l; its loss is then -log
1/2 at both places. After the training the network runs freely: it reads "h", and from then on its own predictions.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim
from tinygrad_rnn.sequences import CharVocabulary

WORD = "hello"
vocabulary = CharVocabulary(WORD)  # e, h, l, o


def one_hot(codes):
    """One-hot vectors: a row for each code, with a 1 in the column of the code and 0 elsewhere."""
    return np.eye(len(vocabulary), dtype="float32")[codes]


class Hello(nn.Module):
    """a = b + W h + U x,  h' = tanh a,  o = c + V h'."""

    def __init__(self, hidden=3):
        super().__init__()
        n = len(vocabulary)
        self.U = nn.Parameter((n, hidden), symbol="U")
        self.W = nn.Parameter((hidden, hidden), symbol="W")
        self.b = nn.Parameter((hidden,), symbol="b")
        self.V = nn.Parameter((hidden, n), symbol="V")
        self.c = nn.Parameter((n,), symbol="c")

    def start(self):
        """The state before the first letter: zeros."""
        return tr.tensor(np.zeros((1, len(self.b.data)), "float32")).named("h", role="initial")

    def step(self, x, h):
        """One time step: the logits of the next letter, and the next state."""
        h = tr.tanh(x @ self.U + h @ self.W + self.b).named("h")
        o = (h @ self.V + self.c).named("o", role="output")
        return o, h


def total_loss(model, inputs, targets):
    """Run the network over the whole word; the loss is the sum of -log softmax(o) of the right letter over all steps."""
    xs = tr.tensor(one_hot(inputs)[:, None]).named("x")  # (time, batch of 1, letters)
    ys = tr.tensor(targets[:, None]).named("y")
    h = model.start()
    losses = []
    for _t, x, y in tr.steps(xs, ys):  # tells the graph which step each operation belongs to
        o, h = model.step(x, h)
        losses.append(nn.cross_entropy(o, y).named("L"))
    return sum(losses[1:], losses[0]), losses


def run_freely(model, first, length):
    """Run freely: read one letter, then the network's own predictions."""
    text, h = first, model.start()
    with tr.no_grad():
        while len(text) < length:
            x = one_hot(vocabulary.encode(text[-1]))
            o, h = model.step(x, h)
            text += vocabulary.decode(o.argmax(axis=-1))
    return text


def main():
    """Train the network, let it spell, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="50 updates instead of 150")
    parser.add_argument("--seed", type=int, default=0, help="of the initial weights")
    parser.add_argument("--out", type=Path, help="folder for the picture (a temporary one if not given)")
    chosen = parser.parse_args()
    updates = 50 if chosen.quick else 150

    tr.seed(chosen.seed)
    model = Hello()
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    codes = vocabulary.encode(WORD)
    inputs, targets = codes[:-1], codes[1:]

    print(
        f"vocabulary {' '.join(vocabulary.characters)}, {len(model.b.data)} hidden units, "
        f"{sum(p.size for p in model.parameters())} numbers to learn"
    )
    print(f"before: {run_freely(model, 'h', len(WORD))}")
    for update in range(1, updates + 1):
        loss, losses = total_loss(model, inputs, targets)
        optimizer.zero_grad()
        loss.backward()  # backpropagation through time: through all four steps, down to the first letter
        optimizer.step()
        if update in (1, 2, 5, 10, 20, 50, 100) or update == updates:
            steps = "  ".join(f"{vocabulary.decode([c])} {one.item():.3f}" for c, one in zip(targets, losses, strict=True))
            print(f"update {update:4}  loss {loss.item():.4f}   by step: {steps}")
    print(f"after:  {run_freely(model, 'h', len(WORD))}")

    folder = chosen.out or Path(tempfile.mkdtemp(prefix="hello-"))
    folder.mkdir(parents=True, exist_ok=True)
    tr.graph(*losses).draw(time="unrolled", values=True).save(folder / "hello.svg")
    print(f"the unrolled graph, with the loss at each step: {folder / 'hello.svg'}")
    print(f"loss of the four letters together: {loss.item():.4f}; without a memory {2 * np.log(2):.4f} at best")


if __name__ == "__main__":
    main()
