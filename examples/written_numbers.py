"""Many to many: numbers in words become digits, by an encoder that reads and a decoder that writes.

    python examples/written_numbers.py

"two hundred and five" has to become "205". The encoder is a GRU that reads the words. The decoder gets only the
encoder's last state. The decoder, another GRU, starts from this state and writes digit after digit, until it writes the
symbol for the end. At each step it reads the previous digit. In training this is the right previous digit, not the
decoder's own: teacher forcing.

The place of a digit depends on words that come later, or are missing. The first digit of "four thousand and seven"
counts thousands, and the zeros have no word at all. The numbers of the test were never seen in training.

Two ways to write are compared. The greedy way takes the most likely digit each time. A beam search keeps the most
likely beginnings, and may find a number that is more likely as a whole. The baseline needs no learning: the digits of
the most similar sentence of the training set. It is never right, since that sentence has another number. So the table
also has the share of digits that are right at their places.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim
from tinygrad_rnn.datasets import written_numbers
from tinygrad_rnn.sequences import CharVocabulary, WordVocabulary, pad

DIGITS = CharVocabulary("0123456789", specials=("<pad>", "<start>", "<end>"))


def words(text):
    """The words of a number; "twenty-one" is two words."""
    return text.replace("-", " ").split()


def make_model(vocabulary, hidden):
    """An encoder that reads words, and a decoder that writes digits."""
    decoder = nn.Decoder(
        nn.Embedding(len(DIGITS), 32),
        nn.GRUCell(32, hidden),
        nn.Linear(hidden, len(DIGITS)),
        start=DIGITS["<start>"],
        end=DIGITS["<end>"],
    )
    return nn.Seq2Seq(nn.GRU(32, hidden), decoder, embedding=nn.Embedding(len(vocabulary), 32))


def encoded(pairs, vocabulary):
    """Padded codes of the words and of the digits with their end, and the lengths of both."""
    xs, lengths = pad([vocabulary.encode(words(text)) for text, _ in pairs])
    ys, target_lengths = pad([DIGITS.encode([*digits, "<end>"]) for _, digits in pairs])
    return xs, ys, lengths, target_lengths


def train(model, pairs, vocabulary, updates, generator, batch_size=128, rate=4e-3):
    """Train with teacher forcing; the loss is the negative log-likelihood per digit."""
    optimizer = optim.Adam(model.parameters(), lr=rate)
    progress = tqdm(range(1, updates + 1), disable=None)  # a bar on a terminal, nothing in a file
    for update in progress:
        optimizer.lr = rate * min(1.0, 2 * (1 - update / updates))  # constant for the first half, then falling to 0
        chosen = generator.choice(len(pairs), batch_size)
        xs, ys, lengths, target_lengths = encoded([pairs[i] for i in chosen], vocabulary)
        logits = model(xs, ys, lengths=lengths, target_lengths=target_lengths)
        loss = nn.cross_entropy(logits, ys, lengths=target_lengths)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        if update % max(1, updates // 5) == 0:
            progress.write(f"update {update:5}   loss {loss.item():.3f}")


def texts(ys, lengths):
    """The numbers that the model writes."""
    return [DIGITS.decode(y[:n], specials=False) for y, n in zip(ys.T, lengths, strict=True)]


def most_similar(unseen, pairs):
    """The baseline: the digits of the training sentence that shares most words with the given sentence."""
    known = [(set(words(text)), digits) for text, digits in pairs]
    sets = [set(words(text)) for text, _ in unseen]
    return [max(known, key=lambda other: len(mine & other[0]) / len(mine | other[0]))[1] for mine in sets]


def score(name, written, truth):
    """How many numbers are right, and how many of their digits."""
    exact = np.mean([a == b for a, b in zip(written, truth, strict=True)])
    digits = sum(x == y for a, b in zip(written, truth, strict=True) for x, y in zip(a, b, strict=False))
    print(f"  {name:22} {exact:7.1%} of the numbers, {digits / sum(map(len, truth)):6.1%} of the digits")


def draw(model, vocabulary, folder):
    """Draw the unrolled network as it reads "two hundred and five" and is trained to write 205."""
    xs, ys, *_ = encoded([("two hundred and five", "205")], vocabulary)
    folder.mkdir(parents=True, exist_ok=True)
    logits = model(tr.tensor(xs).named("x"), tr.tensor(ys).named("y"))
    tr.graph(logits).draw(time="unrolled").save(folder / "written_numbers.svg")


def main():
    """Train the model, let it write, and compare it with the baseline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="numbers below a thousand only, and a smaller model")
    parser.add_argument("--seed", type=int, default=0, help="of the numbers, the weights and the batches")
    parser.add_argument("--out", type=Path, help="folder for a picture of the network (none is drawn if not given)")
    chosen = parser.parse_args()
    below, training, test, hidden, updates = (1000, 600, 100, 48, 250) if chosen.quick else (1_000_000, 3000, 1000, 96, 1500)

    tr.seed(chosen.seed)
    generator = np.random.default_rng(chosen.seed)
    pairs = written_numbers(training + test, rng=generator, below=below)
    pairs, unseen = pairs[:training], pairs[training:]
    vocabulary = WordVocabulary([word for text, _ in pairs for word in words(text)], specials=("<pad>",))
    model = make_model(vocabulary, hidden)
    print(
        f"{training:,} numbers below {below:,} to learn from, {test:,} others to be tested on; {len(vocabulary)} words, "
        f"{sum(p.size for p in model.parameters()):,} parameters"
    )
    train(model, pairs, vocabulary, updates, generator)

    truth = [digits for _, digits in unseen]
    xs, _, lengths, _ = encoded(unseen, vocabulary)
    greedy = model.greedy(xs, max_steps=12, lengths=lengths)
    beam = model.beam(xs, width=5, max_steps=12, lengths=lengths)
    best = texts(beam.ys[..., 0], beam.lengths[:, 0])
    print("\nthe likeliest three of the beam, with their probabilities:")
    for i in range(3):
        found = [
            f"{y} {np.exp(p):.2f}" for y, p in zip(texts(beam.ys[:, i], beam.lengths[i]), beam.log_likelihood[i], strict=True)
        ]
        print(f"  {unseen[i][0]}: {', '.join(found[:3])}")
    print(f"\nright, of {test:,} numbers never seen:")
    score("most similar sentence", most_similar(unseen, pairs), truth)
    score("greedy", texts(greedy.ys, greedy.lengths), truth)
    score("beam of width 5", best, truth)
    if chosen.out:
        draw(model, vocabulary, chosen.out)


if __name__ == "__main__":
    main()
