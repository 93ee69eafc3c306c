"""One to many: the number on an image is put into words, letter by letter.

    python examples/digit_captions.py --out pictures

An image has two of scikit-learn's handwritten digits side by side, with 8 by 8 pixels each. The captions are "zero" to
"ninety-nine". A decoder writes a caption one letter at a time, and reads each letter that it wrote before it writes the
next. The image can enter at two places. This makes two models, and a third model that uses both places:

    at the start      h_0 = R_0 x + b_0: the state has to keep the image while the decoder writes
    at every step     R x + b is read together with each letter, as in figure 10.9 of the Deep Learning book

No digit image of the test is part of a training image. There are two baselines. The first is the most frequent caption.
The second is the nearest centroid: each of the hundred numbers has a mean image, and the answer is the caption of the
closest one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from tqdm import tqdm

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim
from tinygrad_rnn.datasets import in_words
from tinygrad_rnn.sequences import CharVocabulary, pad

CAPTIONS = [in_words(n) for n in range(100)]
LETTERS = CharVocabulary("".join(CAPTIONS), specials=("<pad>", "<start>", "<end>"))
CODES, LENGTHS = pad([LETTERS.encode([*caption, "<end>"]) for caption in CAPTIONS])  # (letters, 100), (100,)


def numbers(images, digits, count, generator):
    """Two random digits side by side, and the number that they make: shapes (count, 128) and (count,)."""
    tens, ones = generator.integers(0, len(digits), (2, count))
    pixels = np.concatenate([images[tens], images[ones]], axis=2)  # (count, 8, 16)
    return pixels.reshape(count, -1), 10 * digits[tens] + digits[ones]


def make_model(at, hidden):
    """A decoder from an image to letters."""
    return nn.Decoder(
        nn.Embedding(len(LETTERS), 16),
        nn.GRUCell(16, hidden),
        nn.Linear(hidden, len(LETTERS)),
        start=LETTERS["<start>"],
        end=LETTERS["<end>"],
        context_size=128,
        at=at,
    )


def train(model, batch, updates, batch_size=64, rate=4e-3):
    """Train with teacher forcing: each letter is predicted from the image and the right letters before it."""
    optimizer = optim.Adam(model.parameters(), lr=rate)
    for update in tqdm(range(updates), disable=None):  # a bar on a terminal, nothing in a file
        optimizer.lr = rate * min(1.0, 2 * (1 - update / updates))  # constant for the first half, then falling to 0
        xs, classes = batch(batch_size)
        ys, lengths = CODES[:, classes], LENGTHS[classes]
        loss = nn.cross_entropy(model(ys, xs, lengths=lengths), ys, lengths=lengths)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()


def written(sequences):
    """The captions that a model writes, as text."""
    return [LETTERS.decode(y[:n], specials=False) for y, n in zip(sequences.ys.T, sequences.lengths, strict=True)]


def nearest_centroid(train_xs, train_classes, xs):
    """For each image the number whose mean image is the closest."""
    centroids = np.stack([train_xs[train_classes == n].mean(axis=0) for n in range(100)])
    return ((xs[:, None] - centroids) ** 2).sum(axis=-1).argmin(axis=1)


def draw(xs, captions, truth, path):
    """A figure of some images with the written captions below; wrong captions are orange."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots(5, 5)
    for place, x, caption, right in zip(axes.flat, xs, captions, truth, strict=False):
        place.imshow(x.reshape(8, 16), cmap="gray_r")
        place.set_title(caption, y=-0.4, fontsize=9, color="black" if caption == right else "#D55E00")
        place.set_axis_off()
    figure.savefig(path)


def main():
    """Train the models, let them write captions, and compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one of the three models, smaller, and fewer updates")
    parser.add_argument("--seed", type=int, default=0, help="of the split, the weights and the batches")
    parser.add_argument("--out", type=Path, help="folder for some images with their captions (none are drawn if not given)")
    chosen = parser.parse_args()
    places, hidden, updates = (("both",), 64, 800) if chosen.quick else (("start", "every_step", "both"), 128, 1500)

    tr.seed(chosen.seed)
    generator = np.random.default_rng(chosen.seed)
    images, digits = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8).astype("float32") / 16
    shuffled = generator.permutation(len(digits))
    learnt, held_out = shuffled[:1200], shuffled[1200:]
    test_xs, test_classes = numbers(images[held_out], digits[held_out], 1000, generator)
    truth = [CAPTIONS[n] for n in test_classes]
    print(f"{len(learnt)} digits to learn from and {len(held_out)} others for 1000 test images; {len(LETTERS)} symbols")

    def batch(count):
        return numbers(images[learnt], digits[learnt], count, generator)

    results = {}
    for at in places:
        model = make_model(at, hidden)
        train(model, batch, updates)
        results[f"context at {at.replace('_', ' ')}"] = captions = written(model.greedy(test_xs, max_steps=20))
        print(f"\n{at}: {sum(p.size for p in model.parameters()):,} numbers to learn")
        for i in range(4):
            drawn = written(model.sample(test_xs[i : i + 1].repeat(3, axis=0), max_steps=20))
            print(f"  {truth[i]}: written {captions[i]!r}; drawn {', '.join(map(repr, drawn))}")

    many_xs, many_classes = batch(10_000)
    results["most frequent caption"] = [CAPTIONS[np.bincount(many_classes).argmax()]] * len(truth)
    results["nearest centroid"] = [CAPTIONS[n] for n in nearest_centroid(many_xs, many_classes, test_xs)]
    print("\ncaptions that are right to the letter, of 1000 images never seen:")
    for name, captions in results.items():
        print(f"  {name:24} {np.mean([a == b for a, b in zip(captions, truth, strict=True)]):6.1%}")
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        draw(test_xs, results["context at both"], truth, chosen.out / "digit_captions.png")


if __name__ == "__main__":
    main()
