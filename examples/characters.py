"""A character model: an LSTM learns to predict English prose, one character at a time.

    python examples/characters.py --out pictures

The text is the prose of the help texts that come with Python, a quarter of a megabyte. The models learn from the first
nine tenths of the text. The last tenth is held out, and every model predicts each of its characters. The score is in
bits per character: the mean of -log2 p, where p is the probability that the model gave to the character that came next.
A model of n bits is as unsure as a model that chooses among 2^n characters at random.

The training is truncated backpropagation through time. The text is laid out as 32 long rows, which are read side by
side, 64 characters at a time. The state is carried from chunk to chunk, so at each character the network has read the
whole row before it. But the state is detached, so gradients end where the chunk begins.

The baselines count. A unigram model knows how frequent each character is. A bigram model also sees the character
before, and a trigram model the two characters before. If the network is better than the trigram model, it uses
characters from further back. From so little text the network does not learn what sentences mean. Its samples have the
words, the rhythm and the grammar of documentation, but only for a few words at a time.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from tqdm import tqdm

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim
from tinygrad_rnn.demo import Score, bits_per_character, count_models, prose, split
from tinygrad_rnn.demo.figures import loss_curve
from tinygrad_rnn.sequences import tbptt_chunks


class CharacterModel(nn.Module):
    """Logits of the next character, after each character: embedding, LSTM, linear layer."""

    def __init__(self, characters, hidden):
        super().__init__()
        self.embedding = nn.Embedding(characters, 64)
        self.lstm = nn.LSTM(64, hidden)
        self.dropout = nn.Dropout(0.25)
        self.output = nn.Linear(hidden, characters)

    def forward(self, codes, state=None):
        """Codes (time, batch) give logits (time, batch, characters), and the state after the last character."""
        h, state = self.lstm(self.embedding(codes), state)
        return self.output(self.dropout(h)), state


def chunks(codes, batch_size, length):
    """Chunks without end, each with whether it begins the text anew; a shorter chunk at the end of the text is left out."""
    while True:
        for i, (inputs, targets) in enumerate(tbptt_chunks(codes, batch_size, length)):
            if len(inputs) == length:
                yield i == 0, inputs, targets


def train(model, codes, updates, rate=4e-3):
    """Train by truncated backpropagation through time; return the loss of every update, in bits."""
    optimizer = optim.Adam(model.parameters(), lr=rate)
    bits, state = [], None
    progress = tqdm(range(updates), disable=None)  # a bar on a terminal, nothing in a file
    for update, (begins, inputs, targets) in zip(progress, chunks(codes, 32, 64), strict=False):
        optimizer.lr = rate * min(1.0, 2 * (1 - update / updates))  # constant for the first half, then falling to 0
        logits, state = model(inputs, None if begins else state)
        loss = nn.cross_entropy(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        state = tuple(part.detach() for part in state)  # h and c go on, gradients do not
        bits.append(loss.item() / math.log(2))
        if (update + 1) % max(1, updates // 10) == 0:
            progress.write(f"update {update + 1:5}   {np.mean(bits[-50:]):.3f} bits per character")
    return bits


def score(model, codes, before):
    """The probability that the model gives to each code, after it has read all codes before."""
    found, state = [], None
    with tr.no_grad():
        for inputs, targets in tbptt_chunks(np.concatenate([before, codes]), 1, 1000):
            logits, state = model(inputs, state)
            probabilities = tr.softmax(logits).data[:, 0]
            found.append(probabilities[np.arange(len(targets)), targets[:, 0]])
    return np.concatenate(found)[-len(codes) :]


def write(model, vocabulary, prompt, length, temperature, generator):
    """Text that the model writes after a prompt; a low temperature makes likely characters even more likely."""
    text, codes, state = prompt, vocabulary.encode(prompt), None
    with tr.no_grad():
        for _ in range(length):
            logits, state = model(codes[:, None], state)
            p = tr.softmax(logits[-1, 0] / temperature).data.astype(float)
            codes = generator.choice(len(p), size=1, p=p / p.sum())
            text += vocabulary.decode(codes)
    return text


def main():
    """Train the model, compare it with the baselines, and let it write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smaller model, 150 updates, and fewer held-out characters")
    parser.add_argument("--seed", type=int, default=0, help="of the weights, of dropout and of the samples")
    parser.add_argument("--out", type=Path, help="folder for the training curve (none is drawn if not given)")
    chosen = parser.parse_args()
    hidden, updates = (64, 150) if chosen.quick else (192, 2400)

    corpus = split(prose())
    vocabulary, training = corpus.vocabulary, corpus.training
    held_out, before = corpus.held_out[: 5000 if chosen.quick else None], training[-1000:]
    tr.seed(chosen.seed)
    model = CharacterModel(len(vocabulary), hidden)
    print(
        f"{len(training):,} characters to learn from, {len(held_out):,} held out, {len(vocabulary)} different ones; "
        f"{hidden} hidden units, {sum(p.size for p in model.parameters()):,} numbers to learn"
    )
    bits = train(model, training, updates)

    model.eval()
    for temperature in (0.5, 1.0):
        text = write(model, vocabulary, "The ", 300, temperature, np.random.default_rng(chosen.seed))
        print(f"\nwritten at temperature {temperature}:\n{text}")

    counted = zip(("unigram", "bigram", "trigram"), count_models(corpus), strict=True)
    scores = [Score(name, bits_per_character(model.score(held_out, before))) for name, model in counted]
    scores.append(Score("LSTM", bits_per_character(score(model, held_out, before))))
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        (chosen.out / "characters.svg").write_text(loss_curve(bits, scores), encoding="utf-8")
    print("\nbits per held-out character:")
    for name, value in scores:
        print(f"  {name:8} {value:.3f}")


if __name__ == "__main__":
    main()
