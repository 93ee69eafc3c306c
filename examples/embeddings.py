"""Embeddings: words that are used in similar ways get similar vectors, though nobody says what a word means.

    python examples/embeddings.py --out pictures

For the network a word is a code, 0, 1, 2, ...; the codes of "may" and "must" have no more in common than any two codes.
An embedding gives each word a vector of 64 numbers. The vectors are learnt together with all other parameters, while a
GRU learns to predict the next word of the prose in Python's help texts. If a text goes on in similar ways after two
words, then similar vectors of these words help to predict it.

There are two results, each with its baselines.

The first result is the perplexity of held-out text: 2 to the power of the mean of -log2 p, where p is the probability
that the model gave to each word. A model of perplexity n is as unsure as a model that chooses among n words at random.
The baselines are models that count words, pairs and triples.

The second result says whether neighbours make sense. It is judged by spelling, because the network never sees the
spelling. Of the words that end in -ing, how many of the five nearest neighbours (by the cosine of the angle between the
vectors) end in
-ing too? The baseline is the share of words in -ing among all words, which random neighbours would have. The endings
-ed, -ly and -s are judged in the same way.

The vectors hold more grammar than meaning: "may" is near "must", "is" is near "are". For meaning, 43,000 words are too
few. Two things blur the second result. Rare words hardly move from where they started, but count as much as other
words. And an ending like -s says nothing about the use of words such as "is" or "class". The map has the most frequent
words, in the two directions in which their vectors differ most.
"""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

import numpy as np
from tqdm import tqdm

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim
from tinygrad_rnn.demo import NGram, Score, bits_per_character, prose
from tinygrad_rnn.sequences import WordVocabulary, tbptt_chunks

WORD = r"[a-z]+(?:'[a-z]+)?|[0-9]+|[.,;:()]"
ENDINGS = ("ing", "ed", "ly", "s")


class WordModel(nn.Module):
    """Logits of the next word, after each word: embedding, GRU, linear layer."""

    def __init__(self, words, size, hidden):
        super().__init__()
        self.embedding = nn.Embedding(words, size)
        self.embedding.weight.data = 0.3 * self.embedding.weight.data  # near 0, so that what is learnt outweighs the start
        self.gru = nn.GRU(size, hidden)
        self.dropout = nn.Dropout(0.5)
        self.output = nn.Linear(hidden, words)

    def forward(self, codes, state=None):
        """Codes (time, batch) give logits (time, batch, words), and the state after the last word."""
        hs, state = self.gru(self.dropout(self.embedding(codes)), state)
        return self.output(self.dropout(hs)), state


def train(model, codes, passes, rate=3e-3):
    """Truncated backpropagation through time, 32 words at a time."""
    optimizer = optim.Adam(model.parameters(), lr=rate)
    for number in (progress := tqdm(range(passes), disable=None)):  # a bar on a terminal, nothing in a file
        optimizer.lr = rate * min(1.0, 2 * (1 - number / passes))
        state, losses = None, []
        for inputs, targets in tbptt_chunks(codes, batch_size=16, length=32):
            logits, state = model(inputs, state)
            loss = nn.cross_entropy(logits, targets)
            optimizer.zero_grad()
            loss.backward()
            optim.clip_grad_norm(model.parameters(), 1.0)
            optimizer.step()
            state = state.detach()  # the next chunk goes on from here, and its gradient stops here
            losses.append(loss.item() / math.log(2))
        if (number + 1) % max(1, passes // 6) == 0:
            progress.write(f"pass {number + 1:3}   perplexity of what is learnt from {2 ** np.mean(losses):.1f}")


def score(model, codes, before):
    """The probability that the model gives to each code, after it has read all codes before."""
    found, state = [], None
    with tr.no_grad():
        for inputs, targets in tbptt_chunks(np.concatenate([before, codes]), 1, 500):
            logits, state = model(inputs, state)
            probabilities = tr.softmax(logits).data[:, 0]
            found.append(probabilities[np.arange(len(targets)), targets[:, 0]])
    return np.concatenate(found)[-len(codes) :]


def nearest(vectors, count):
    """For each vector the codes of the nearest other vectors, by cosine, the nearest first."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    return np.argsort(-cosine, axis=1)[:, :count]


def word_map(vectors, words):
    """A figure of the two directions in which the vectors differ most, with each word in its place."""
    from matplotlib.figure import Figure

    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    centred = unit - unit.mean(axis=0)
    places = centred @ np.linalg.svd(centred)[2][:2].T
    figure = Figure(figsize=(9, 7), layout="constrained")
    axes = figure.subplots()
    axes.scatter(*places.T, s=6)
    for place, word in zip(places, words, strict=True):
        axes.annotate(word, place, xytext=(3, 3), textcoords="offset points", fontsize=8)
    axes.set_axis_off()
    return figure


def main():
    """Train the model, and show its nearest neighbours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 passes through the text instead of 24, and a smaller model")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of dropout")
    parser.add_argument("--out", type=Path, help="folder for a map of frequent words (none is drawn if not given)")
    chosen = parser.parse_args()
    hidden, passes = (64, 2) if chosen.quick else (128, 24)

    words = re.findall(WORD, prose().lower())
    border = len(words) * 9 // 10
    vocabulary = WordVocabulary(words[:border], min_count=3, unknown="<unknown>")
    codes = vocabulary.encode(words)
    training, held_out = codes[:border], codes[border:]
    tr.seed(chosen.seed)
    model = WordModel(len(vocabulary), 64, hidden)
    print(
        f"{len(training):,} words to learn from, {len(held_out):,} held out, {len(vocabulary):,} different ones; "
        f"{hidden} hidden units, {sum(p.size for p in model.parameters()):,} numbers to learn"
    )
    started = nearest(model.embedding.weight.data, 5)
    train(model, training, passes)
    model.eval()

    neighbours = nearest(model.embedding.weight.data, 5)
    symbols = np.array(vocabulary.symbols)
    print("\nthe five nearest words:")
    for word in ("may", "is", "not", "returns", "function", "objects", "first", "two", "calling", "called"):
        if word in vocabulary:
            print(f"  {word:10} {', '.join(symbols[neighbours[vocabulary.encode([word])[0]]])}")

    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        frequent = slice(1, 121)  # the most frequent come first, after <unknown>
        figure = word_map(model.embedding.weight.data[frequent], symbols[frequent])
        figure.savefig(chosen.out / "embeddings.svg", metadata={"Date": None})

    before = training[-100:]
    scores = [
        Score(name, bits_per_character(NGram(training, n, len(vocabulary)).score(held_out, before)))
        for n, name in enumerate(("unigram", "bigram", "trigram"), start=1)
    ]
    scores.append(Score("GRU", bits_per_character(score(model, held_out, before))))
    print("\nneighbours that end alike:       before   after   share of all words")
    for ending in ENDINGS:
        alike = np.array([word.endswith(ending) for word in symbols])
        shares = f"{alike[started[alike]].mean():5.0%}   {alike[neighbours[alike]].mean():5.0%}   {alike.mean():5.0%}"
        print(f"  {np.count_nonzero(alike):4} words in -{ending:16}  {shares}")
    print("\nperplexity of held-out text:")
    for name, bits in scores:
        print(f"  {name:8} {2**bits:.1f}")


if __name__ == "__main__":
    main()
