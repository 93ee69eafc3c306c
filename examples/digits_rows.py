"""Digits read row by row: a whole sequence in, one answer out (N to 1).

    python examples/digits_rows.py --out pictures

An image of 8 by 8 pixels is a sequence of eight rows, from the top down. Each row is an input of eight numbers. A GRU
reads the rows, and the output layer sees only the state after the last row. So everything in the upper rows that
distinguishes a 3 from an 8 has to be carried down to the last row.

The images are scikit-learn's, 1797 of them. The last quarter of the file is held out, without shuffling. Digits that
are close to each other in the file look alike, as if one person had written them, and shuffling would put digits of
each person into both parts. (Shuffling makes every number here better, by about five points for logistic regression.)

During training, a fifth of the pixels and half of the last state are dropped at random, since a network can learn 1347
images by heart. These shares were chosen on the last part of the training images, not on the held-out images.

There are two baselines. The first always answers with the most frequent digit. The second is logistic regression on the
64 pixels. It has a weight for each pixel and digit, and does not know which pixel is above which.

This example does not show that reading in order is the best way to look at an image. It shows that a network can reduce
a sequence to one vector, and that the digit can be read off this vector.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim


class RowReader(nn.Module):
    """Logits of the ten digits, from the state of a GRU after the last row."""

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


def as_sequence(images):
    """Images (batch, rows, pixels) as a sequence of rows (time, batch, pixels)."""
    return images.swapaxes(0, 1)


def accuracy(model, images, digits):
    """The share of the images that the model gets right."""
    with tr.no_grad():
        return float((model(as_sequence(images)).argmax(axis=-1) == digits).mean())


def train(model, images, digits, passes, generator, rate=3e-3):
    """Train by Adam on batches of 64, with a learning rate that falls to 0."""
    optimizer = optim.Adam(model.parameters(), lr=rate)
    for number in (progress := tqdm(range(passes), disable=None)):  # a bar on a terminal, nothing in a file
        optimizer.lr = rate * (1 - number / passes)
        losses = []
        for batch in np.array_split(generator.permutation(len(images)), len(images) // 64):
            loss = nn.cross_entropy(model(as_sequence(images[batch])), digits[batch])
            optimizer.zero_grad()
            loss.backward()
            optim.clip_grad_norm(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
        if (number + 1) % max(1, passes // 5) == 0:
            progress.write(f"pass {number + 1:3}   loss {np.mean(losses):.4f}")


def main():
    """Train the model, compare it with the baselines, and show its mistakes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 passes through the images instead of 60")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the order of the images")
    parser.add_argument("--out", type=Path, help="folder for the picture of the model (none is drawn if not given)")
    chosen = parser.parse_args()

    data = load_digits()
    images, digits = (data.images / 16).astype("float32"), data.target
    border = len(images) * 3 // 4
    learn, held_out = slice(border), slice(border, None)

    tr.seed(chosen.seed)
    model = RowReader()
    size = sum(p.size for p in model.parameters())
    print(f"{border} images to learn from, {len(images) - border} held out; {size:,} numbers to learn")
    train(model, images[learn], digits[learn], 20 if chosen.quick else 60, np.random.default_rng(chosen.seed))
    model.eval()

    print("\na held-out image, and what the output layer makes of the state after each row:")
    with tr.no_grad():
        hs, _ = model.gru(as_sequence(images[held_out][:1]))
        guesses = tr.softmax(model.output(hs))[:, 0].data
    for row, p in zip(images[border], np.asarray(guesses), strict=True):
        print("  " + "".join(" .:oO#"[int(5 * pixel)] * 2 for pixel in row) + f"  {p.argmax()} ({p.max():.0%})")

    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        model.draw(time="unrolled", steps=8).save(chosen.out / "digits_rows.svg")
    pixels = images.reshape(len(images), 64)
    usual = np.bincount(digits[learn]).argmax()
    logistic = LogisticRegression(max_iter=1000).fit(pixels[learn], digits[learn])
    print("\nheld-out images that are right:")
    print(f"  always {usual}             {(digits[held_out] == usual).mean():.1%}")
    print(f"  logistic regression  {logistic.score(pixels[held_out], digits[held_out]):.1%}")
    print(f"  GRU, row by row      {accuracy(model, images[held_out], digits[held_out]):.1%}")


if __name__ == "__main__":
    main()
