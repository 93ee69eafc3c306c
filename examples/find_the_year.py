"""Find the year in a sentence, wherever it stands: why a network shares a step's parameters over time.

    python examples/find_the_year.py --out pictures

    In 2009, I went to Nepal.        I went to Nepal in 2009.

Both sentences answer the question "in which year?", though the year is at the beginning of the first and at the end of
the second (Goodfellow, Bengio and Courville, Deep Learning, 2016, chapter 10). The sentences of this example are made
of a dozen phrases in random order. They are read word by word, and numbers digit by digit. Some sentences have a second
number, such as "for 14 days", so finding digits is not enough. The answer is the four digits of the year.

Three networks learn from the same sentences of at most 16 words:

- a GRU, which has the same parameters at each word, and answers after the last word;
- a feed-forward network over the first 16 words, which has its own parameters for each place in this window;
- a bag of vectors: the mean of the vectors of all words, which has no order at all.

In training the year is never at the sixth to eighth word. The test sentences and their years are not in the training
data. There are four kinds of test sentences: sentences like those in training, sentences with the year at the places
left out, sentences of 17 to 32 words, and sentences of 33 to 64 words.

The window has never seen a year at the places left out, so its parameters there have learnt nothing about years. The
window does not see the end of a longer sentence at all. The bag knows which digits there are, but not their order, nor
the number that they belong to.

The pictures show the state of the GRU after each word of two long sentences: a row for each word, a column for each of
sixteen units. If the year comes first, its digits set most units, and later words hardly change them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tqdm import trange

import tinygrad_rnn as tr
from tinygrad_rnn import explain, nn, optim
from tinygrad_rnn.sequences import Vocabulary, pad

WHO = ["I", "we", "my sister", "an old friend", "the whole family"]
WENT = ["went to", "came back from", "flew to", "saw"]
PLACES = ["Nepal", "Peru", "Ghana", "Japan", "the Alps", "the North Sea"]
MORE = ["by train", "with a friend", "without a map", "in spring", "in the rain", "for work", "at last", "on foot"]
NUMBERS = ["for {} days", "with {} others", "past {} villages"]
YEARS = range(1900, 2100)
LEFT_OUT = range(6, 9)  # places at which no year begins in training
WINDOW = 16  # words of the longest sentence in training


def spelt(text):
    """A text as a list of its words and of the single digits of its numbers."""
    return [symbol for word in text.split() for symbol in (word if word.isdigit() else [word])]


VOCABULARY = Vocabulary(
    sorted({symbol for text in [*WHO, *WENT, *PLACES, *MORE, *NUMBERS, "in 0123456789"] for symbol in spelt(text)} - {"{}"}),
    specials=["<pad>"],
)


def one_of(phrases, rng):
    """A random phrase."""
    return phrases[rng.integers(len(phrases))]


def sentence(year, words, rng):
    """A sentence of at most `words` words, as a list of symbols, and the place of its year, counted from 1."""
    phrases = [spelt(" ".join(one_of(part, rng) for part in (WHO, WENT, PLACES)))]
    room, second = words - len(phrases[0]) - 5, rng.random() < 0.5
    while room > 0:
        phrase = spelt(one_of(NUMBERS, rng).format(rng.integers(2, 3000)) if second else one_of(MORE, rng))
        second = False
        room -= len(phrase)
        if room >= 0:
            phrases.insert(rng.integers(len(phrases) + 1), phrase)
    at = rng.integers(len(phrases) + 1)
    place = sum(map(len, phrases[:at])) + 2  # after the words before, and after "in"
    phrases.insert(at, spelt(f"in {year}"))
    return [symbol for phrase in phrases for symbol in phrase], place


def sentences(count, years, shortest, longest, rng, places=None):
    """Sentences as codes, and the digits of their years, (count, 4); the year is at one of the `places`, if given."""
    codes, digits = [], []
    while len(codes) < count:
        year = one_of(years, rng)
        found, place = sentence(year, rng.integers(shortest, longest + 1), rng)
        if shortest <= len(found) and (places is None or place in places):
            codes.append(VOCABULARY.encode(found))
            digits.append([int(digit) for digit in str(year)])
    return codes, np.array(digits)


class Reader(nn.Module):
    """A GRU over the words, with logits of four digits from the state after the last word."""

    def __init__(self, hidden=64):
        super().__init__()
        self.embedding = nn.Embedding(len(VOCABULARY), 24)
        self.gru = nn.GRU(24, hidden)
        self.output = nn.Linear(hidden, 40)

    def forward(self, codes, lengths):
        """Codes (time, batch) and lengths (batch,) give logits (batch, 4, 10)."""
        _, h = self.gru(self.embedding(codes), lengths=lengths, final_state_only=True)
        return self.output(h[0]).reshape(-1, 4, 10)


class Window(nn.Module):
    """The vectors of the first words side by side, and one hidden layer."""

    def __init__(self, hidden=64):
        super().__init__()
        self.embedding = nn.Embedding(len(VOCABULARY), 24)
        self.hidden, self.output = nn.Linear(WINDOW * 24, hidden), nn.Linear(hidden, 40)

    def forward(self, codes, lengths):
        """As `Reader`."""
        seen = np.pad(codes[:WINDOW], ((0, max(0, WINDOW - len(codes))), (0, 0)))  # code 0 is <pad>
        side_by_side = self.embedding(seen.T).reshape(len(lengths), -1)
        return self.output(tr.tanh(self.hidden(side_by_side))).reshape(-1, 4, 10)


class Bag(nn.Module):
    """The mean of the words' vectors, and one hidden layer."""

    def __init__(self, hidden=64):
        super().__init__()
        self.embedding = nn.Embedding(len(VOCABULARY), 24)
        self.hidden, self.output = nn.Linear(24, hidden), nn.Linear(hidden, 40)

    def forward(self, codes, lengths):
        """As `Reader`."""
        real = (np.arange(len(codes))[:, None] < lengths)[..., None] / np.float32(1)
        mean = (self.embedding(codes) * real).sum(axis=0) / lengths[:, None].astype("float32")
        return self.output(tr.tanh(self.hidden(mean))).reshape(-1, 4, 10)


def train(model, name, codes, digits, updates, batch, rng):
    """Train on random batches, with a learning rate that falls to zero."""
    optimizer = optim.Adam(model.parameters())
    for update in trange(updates, desc=name, disable=None, leave=False):
        optimizer.lr = 0.01 * (1 - update / updates)
        chosen = rng.integers(len(codes), size=batch)
        loss = nn.cross_entropy(model(*pad([codes[i] for i in chosen])), digits[chosen])
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()


def right(model, codes, digits):
    """The share of the sentences for which all four digits are right."""
    with tr.no_grad():
        return float((model(*pad(codes)).data.argmax(axis=-1) == digits).all(axis=-1).mean())


def draw(model, text, path):
    """A picture of the sixteen units of the state that change most: a row for the state after each word."""
    words = spelt(text)
    found = explain.states(model, VOCABULARY.encode(words)[:, None], lengths=[len(words)])["h"]
    units = np.sort(np.argsort(-found.var(axis=0))[:16])
    explain.heatmap(found[:, units].T, list(map(str, units)), labels=words, bound=1, title=f"h over: {text}").save(path)


def main():
    """Train the three networks, and test them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 updates of 64 sentences instead of 1000 of 128")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the sentences")
    parser.add_argument("--out", type=Path, help="folder for the pictures (none are drawn if not given)")
    chosen = parser.parse_args()
    updates, batch, count, asked = (200, 64, 2000, 100) if chosen.quick else (1000, 128, 8000, 1000)

    rng = np.random.default_rng(chosen.seed)
    years = rng.permutation(YEARS)
    new, known = years[:40], years[40:]
    seen = set(range(WINDOW)) - set(LEFT_OUT)
    codes, digits = sentences(count, known, 8, WINDOW, rng, seen)
    questions = {
        "as in training": sentences(asked, new, 8, WINDOW, rng, seen),
        "at new places": sentences(asked, new, 8, WINDOW, rng, LEFT_OUT),
        "17 to 32 words": sentences(asked, new, WINDOW + 1, 2 * WINDOW, rng),
        "33 to 64 words": sentences(asked, new, 2 * WINDOW + 1, 4 * WINDOW, rng),
    }
    print(f"{count} sentences of 8 to {WINDOW} words to learn from, such as")
    for sentence_codes in codes[:4]:
        print("  " + VOCABULARY.decode(sentence_codes))

    print("\nyears found, all four digits, in years that were in no sentence of the training:")
    print(f"{'':10}{'numbers to learn':>18}" + "".join(f"{name:>17}" for name in questions))
    for name, model_of in {"GRU": Reader, "window": Window, "bag": Bag}.items():
        tr.seed(chosen.seed)
        model = model_of()
        train(model, name, codes, digits, updates, batch, rng)
        shares = [right(model, *asked_for) for asked_for in questions.values()]
        size = sum(p.size for p in model.parameters())
        print(f"{name:10}{size:18,}" + "".join(f"{share:17.1%}" for share in shares))
        if name == "GRU" and chosen.out:
            chosen.out.mkdir(parents=True, exist_ok=True)
            tail = "by train with a friend in the rain"
            draw(model, f"in 2009 I went to Nepal {tail}", chosen.out / "year_first.svg")
            draw(model, f"I went to Nepal {tail} in 2009", chosen.out / "year_last.svg")
    print(f"guessing: {1 / len(YEARS):.1%}")


if __name__ == "__main__":
    main()
