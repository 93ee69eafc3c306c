"""Digits read along both dimensions: each row pixel by pixel, then the rows' summaries from the top down.

    python examples/digits_two_dimensions.py --out pictures

If an image is read row by row, it is a sequence of vectors, and the network does not know which pixels are side by
side. If the columns of all images were shuffled in the same way, the network would learn just as well. In this example
the columns are a sequence too. A GRU reads each row, one pixel at a time, in both directions; its two last states are
the summary of the row. A second GRU reads the eight summaries from the top down, and its last state says which digit it
is:

    along   s_t     = GRU over the pixels of row t, from the left and from the right
    down    h_t     = GRU(s_t, h_{t-1})
            digit   = softmax(V h_8 + c)

The first GRU has the same parameters in every row, and no row waits for another row. So the rows are a batch for the
first GRU: 8 rows of 64 images are 512 sequences, with one pixel at each step. Two dimensions need nothing but a change
of axes. In the picture, 1 and 2 are the two directions along the rows, whose time is x. 3 is the direction from the top
down, whose time is y.

The baseline reads row by row, and has about as many parameters. Images, split and training are the same. The shares
that are dropped at random were chosen for each network on the last part of the training images.

The network learns to read 64 steps of one pixel each, and gets about as many digits right as the baseline. It is not
better. In such small images it helps little to know which pixels are side by side, since eight columns can be learnt by
heart. A difference of one point is four or five held-out images, as much as another seed makes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from tqdm import tqdm

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim


class RowReader(nn.Module):
    """The baseline: a GRU that takes a whole row at a time."""

    def __init__(self, hidden=128):
        super().__init__()
        self.noise = nn.Dropout(0.2)
        self.gru = nn.GRU(8, hidden)
        self.dropout = nn.Dropout(0.5)
        self.output = nn.Linear(hidden, 10)

    def forward(self, rows):
        """Rows (time, batch, pixels) give logits (batch, digits)."""
        hs, _ = self.gru(self.noise(rows))
        return self.output(self.dropout(hs[-1]))


class TwoDimensions(nn.Module):
    """A GRU along every row, in both directions, and a GRU over the rows' summaries, from the top down."""

    def __init__(self, along=32, down=96):
        super().__init__()
        self.noise = nn.Dropout(0.1)
        self.along = nn.GRU(1, along, bidirectional=True)
        self.down = nn.GRU(2 * along, down)
        self.dropout = nn.Dropout(0.5)
        self.output = nn.Linear(down, 10)

    def forward(self, rows):
        """Rows (time, batch, pixels) give logits (batch, digits)."""
        height, batch, width = rows.shape
        pixels = self.noise(rows).reshape(height * batch, width).T[:, :, None]  # (time, rows of all images, one pixel)
        _, (from_left, from_right) = self.along(pixels)
        summaries = tr.concatenate([from_left, from_right], axis=-1).reshape(height, batch, -1)
        hs, _ = self.down(self.dropout(summaries))
        return self.output(self.dropout(hs[-1]))


def accuracy(model, rows, digits):
    """The share of the images that the model gets right."""
    with tr.no_grad():
        return float((model(rows).argmax(axis=-1) == digits).mean())


def train(model, rows, digits, passes, generator, rate=3e-3):
    """Train by Adam on batches of 64, with a learning rate that falls to 0."""
    optimizer = optim.Adam(model.parameters(), lr=rate)
    for number in (progress := tqdm(range(passes), disable=None)):  # a bar on a terminal, nothing in a file
        optimizer.lr = rate * (1 - number / passes)
        losses = []
        for batch in np.array_split(generator.permutation(len(digits)), len(digits) // 64):
            loss = nn.cross_entropy(model(rows[:, batch]), digits[batch])
            optimizer.zero_grad()
            loss.backward()
            optim.clip_grad_norm(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
        if (number + 1) % max(1, passes // 4) == 0:
            progress.write(f"  pass {number + 1:3}   loss {np.mean(losses):.4f}")


def main():
    """Train both readers on the same images, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="8 passes through the images instead of 60")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the order of the images")
    parser.add_argument("--out", type=Path, help="folder for the picture of the model (none is drawn if not given)")
    chosen = parser.parse_args()

    data = load_digits()
    rows, digits = (data.images / 16).astype("float32").swapaxes(0, 1), data.target  # (time, batch, pixels)
    border = len(digits) * 3 // 4  # the end of the file is held out, unshuffled: see digits_rows.py
    readers = {"row by row": RowReader, "along both dimensions": TwoDimensions}
    found = {}
    for name, reader in readers.items():
        tr.seed(chosen.seed)
        model = reader()
        print(f"{name}: {sum(p.size for p in model.parameters()):,} numbers to learn, {border} images to learn from")
        generator = np.random.default_rng(chosen.seed)
        train(model, rows[:, :border], digits[:border], 8 if chosen.quick else 60, generator)
        model.eval()
        found[name] = accuracy(model, rows[:, border:], digits[border:])

    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        model.draw(detail="slots", inputs=rows[:, :1]).save(chosen.out / "digits_two_dimensions.svg")
    print(f"\nof the {len(digits) - border} held-out images are right:")
    for name, share in found.items():
        print(f"  {name:22} {share:.1%}")


if __name__ == "__main__":
    main()
