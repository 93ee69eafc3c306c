"""Many to many: dates as people write them become ISO 8601, character by character.

    python examples/written_dates.py

"Friday, March 4, 2011", "4 Mar 2011" and "the 4th of March 2011" all have to become "2011-03-04". The encoder reads the
characters in both directions. Its last states together are the context of the decoder: the decoder starts from the
context, and reads it again at every step (Cho et al., 2014). Both parts are GRUs.

The loss is the negative log-likelihood of the right date, so exp(-loss) is a probability. So you can ask the model how
sure it is: the beam search returns several dates, each with its probability.

No date of the test is in the training set, in any spelling. The baseline is the date of the most similar string of the
training set. It can be right in all characters but one, and never in all.
"""

from __future__ import annotations

import argparse
import datetime
import re
from pathlib import Path

import numpy as np
from tqdm import tqdm

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim
from tinygrad_rnn.datasets import written_dates
from tinygrad_rnn.sequences import CharVocabulary, pad

ISO = CharVocabulary("0123456789-", specials=("<start>", "<end>"))


def make_model(vocabulary, hidden):
    """An encoder that reads characters in both directions, and a decoder that writes digits and dashes."""
    decoder = nn.Decoder(
        nn.Embedding(len(ISO), 16),
        nn.GRUCell(16, hidden),
        nn.Linear(hidden, len(ISO)),
        start=ISO["<start>"],
        end=ISO["<end>"],
        context_size=2 * hidden,
        at="both",
    )
    return nn.Seq2Seq(nn.GRU(32, hidden, bidirectional=True), decoder, embedding=nn.Embedding(len(vocabulary), 32))


def train(model, xs, lengths, ys, updates, generator, batch_size=64, rate=4e-3):
    """Train with teacher forcing: each character is predicted from the right characters before it."""
    optimizer = optim.Adam(model.parameters(), lr=rate)
    progress = tqdm(range(1, updates + 1), disable=None)  # a bar on a terminal, nothing in a file
    for update in progress:
        optimizer.lr = rate * min(1.0, 2 * (1 - update / updates))  # constant for the first half, then falling to 0
        some = generator.choice(len(lengths), batch_size)
        longest = lengths[some].max()
        loss = nn.cross_entropy(model(xs[:longest, some], ys[:, some], lengths=lengths[some]), ys[:, some])
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        if update % max(1, updates // 5) == 0:
            progress.write(f"update {update:5}   loss {loss.item():.3f}")


def texts(ys, lengths):
    """The dates that the model writes."""
    return [ISO.decode(y[:n], specials=False) for y, n in zip(ys.T, lengths, strict=True)]


def most_similar(unseen, pairs):
    """The baseline: the date of the training string that shares most words and numbers with the given string."""
    known = [(set(re.findall(r"[a-zA-Z]+|[0-9]+", text)), iso) for text, iso in pairs]
    sets = [set(re.findall(r"[a-zA-Z]+|[0-9]+", text)) for text, _ in unseen]
    return [max(known, key=lambda other: len(mine & other[0]) / len(mine | other[0]))[1] for mine in sets]


def score(name, written, truth):
    """How many dates are right, and how many of their characters."""
    exact = np.mean([a == b for a, b in zip(written, truth, strict=True)])
    same = np.mean([[x == y for x, y in zip(a.ljust(10), b, strict=False)] for a, b in zip(written, truth, strict=True)])
    print(f"  {name:20} {exact:7.1%} of the dates, {same:6.1%} of their characters")


def main():
    """Train the model, let it write, and compare it with the baseline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the dates of five years only, and a smaller model")
    parser.add_argument("--seed", type=int, default=0, help="of the dates, the weights and the batches")
    parser.add_argument("--out", type=Path, help="folder for a picture of the network (none is drawn if not given)")
    chosen = parser.parse_args()
    training, test, hidden, updates = (1500, 100, 64, 280) if chosen.quick else (2000, 1000, 96, 1000)
    years = {"first": datetime.date(2020, 1, 1), "last": datetime.date(2024, 12, 31)} if chosen.quick else {}

    tr.seed(chosen.seed)
    generator = np.random.default_rng(chosen.seed)
    pairs = written_dates(training + test, rng=generator, **years)
    vocabulary = CharVocabulary("".join(text for text, _ in pairs), specials=("<pad>",))
    xs, lengths = pad([vocabulary.encode(text) for text, _ in pairs])
    ys, _ = pad([ISO.encode([*iso, "<end>"]) for _, iso in pairs])  # all of one length
    model = make_model(vocabulary, hidden)
    print(
        f"{training:,} dates to learn from, {test:,} others to be tested on, from {min(iso for _, iso in pairs)} to "
        f"{max(iso for _, iso in pairs)}; {sum(p.size for p in model.parameters()):,} numbers to learn"
    )
    train(model, xs[:, :training], lengths[:training], ys[:, :training], updates, generator)

    unseen = pairs[training:]
    truth = [iso for _, iso in unseen]
    greedy = model.greedy(xs[:, training:], max_steps=12, lengths=lengths[training:])
    beam = model.beam(xs[:, training:], width=5, max_steps=12, lengths=lengths[training:])
    print("\nthe likeliest dates of the beam, with their probabilities:")
    for i in range(4):
        found = zip(texts(beam.ys[:, i], beam.lengths[i]), np.exp(beam.log_likelihood[i]), strict=True)
        print(f"  {unseen[i][0]:30} {', '.join(f'{iso} {p:.3f}' for iso, p in list(found)[:3])}")

    print(f"\nright, of {test:,} dates never seen:")
    score("most similar string", most_similar(unseen, pairs[:training]), truth)
    score("greedy", texts(greedy.ys, greedy.lengths), truth)
    score("beam of width 5", texts(beam.ys[..., 0], beam.lengths[:, 0]), truth)
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        logits = model(tr.tensor(xs[:3, :1]).named("x"), tr.tensor(ys[:3, :1]).named("y"))  # three characters of each
        tr.graph(logits).draw(time="unrolled").save(chosen.out / "written_dates.svg")


if __name__ == "__main__":
    main()
