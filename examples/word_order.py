"""Man bites dog: what a bag of vectors loses, and a recurrent network keeps.

    python examples/word_order.py --out pictures

    the dog bites the man                 happens every day
    the man bites the dog                 is news

Both sentences have the same words. A network that adds up the vectors of the words gives the same answer to both,
whatever it does with the sum. So it is right about exactly one of them. In this example each sentence has such a
partner, in the active or in the passive voice ("the man is bitten by the dog"); some sentences have further words. A
sentence is news if a human does it to an animal. So the bag is right in 50.0% of the sentences, with any parameters:
there is nothing that it could learn.

A recurrent network reads word after word. Its step has the same matrices for all words, but the state at a word depends
on the words before. So the network can tell who bites whom. It is tested on pairs of an animal and a human that are in
no training sentence.

The pictures show the state of the recurrent network after each word, for two partner sentences: a row for each word, a
column for each unit.

For other tasks the bag is a good baseline: for the topic of a text, the order of the words matters little.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tqdm import trange

import tinygrad_rnn as tr
from tinygrad_rnn import explain, nn, optim
from tinygrad_rnn.sequences import WordVocabulary, pad

ANIMALS = ["dog", "cat", "bear", "goose", "horse", "monkey", "parrot", "shark"]
HUMANS = ["man", "woman", "child", "teacher", "farmer", "postman", "sailor", "king"]
VERBS = ["bites", "is bitten by", "chases", "is chased by", "hears", "is heard by", "paints", "is painted by"]
BEFORE = ["", "today ", "in the park ", "nobody knows why "]
AFTER = ["", " again", " at night", " in the rain"]


def is_news(doer, verb):
    """Whether a human does it; `doer` is the noun before the verb."""
    return (doer in HUMANS) != verb.startswith("is ")


def sentences(pairs, rng):
    """Sentences, and whether they are news: for each pair and verb a sentence and its partner, which has the same words."""
    texts, news = [], []
    for animal, human in pairs:
        for verb in VERBS:
            before, after = rng.choice(BEFORE), rng.choice(AFTER)
            for first, second in ((animal, human), (human, animal)):
                texts.append(f"{before}the {first} {verb} the {second}{after}")
                news.append(is_news(first, verb))
    return texts, np.array(news, int)


class Bag(nn.Module):
    """The bag: the mean of the words' vectors, and a hidden layer."""

    def __init__(self, words, hidden=16):
        super().__init__()
        self.embedding, self.hidden, self.output = nn.Embedding(words, 8), nn.Linear(8, hidden), nn.Linear(hidden, 2)

    def forward(self, codes, lengths):
        """Codes (time, batch) and lengths (batch,) give logits (batch, 2)."""
        real = (np.arange(len(codes))[:, None] < lengths)[..., None].astype("float32")
        mean = (self.embedding(codes) * real).sum(axis=0) / lengths[:, None].astype("float32")
        return self.output(tr.tanh(self.hidden(mean)))


class Reader(nn.Module):
    """The recurrent network: it reads the words' vectors one after another, and answers from its last state."""

    def __init__(self, words, hidden=16):
        super().__init__()
        self.embedding, self.rnn, self.output = nn.Embedding(words, 8), nn.RNN(8, hidden), nn.Linear(hidden, 2)

    def forward(self, codes, lengths):
        """As `Bag`."""
        _, h = self.rnn(self.embedding(codes), lengths=lengths, final_state_only=True)
        return self.output(h[0])


def train(model, name, words, news, updates):
    """Train by Adam on all sentences at once, with a learning rate that falls to zero."""
    optimizer = optim.Adam(model.parameters())
    batch = pad(words)
    for update in trange(updates, desc=name, disable=None, leave=False):
        optimizer.lr = 0.02 * (1 - update / updates)
        loss = nn.cross_entropy(model(*batch), news)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()


def probabilities(model, words):
    """The probability that each sentence is news; rounded, because sums in another order differ by a rounding error."""
    with tr.no_grad():
        return tr.softmax(model(*pad(words))).data[:, 1].round(6)


def right(p, news):
    """The share of right answers, and the share of partners of which both are right."""
    found = ((p > 0.5) == news).reshape(-1, 2)
    return found.mean(), found.all(axis=1).mean()


def main():
    """Train both networks, and test them on new pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="60 updates instead of 300")
    parser.add_argument("--seed", type=int, default=0, help="of the weights, of the choice of pairs and of the further words")
    parser.add_argument("--out", type=Path, help="folder for the pictures (none are drawn if not given)")
    chosen = parser.parse_args()

    rng = np.random.default_rng(chosen.seed)
    pairs = rng.permutation([(animal, human) for animal in ANIMALS for human in HUMANS])
    texts, news = sentences(pairs[16:], rng)
    new_texts, new_news = sentences(pairs[:16], rng)
    vocabulary = WordVocabulary(" ".join(texts + new_texts), specials=["<pad>"])
    words, new_words = ([vocabulary.encode(text) for text in each] for each in (texts, new_texts))
    print(f"{len(texts)} sentences of 48 pairs to learn from, {len(new_texts)} of 16 other pairs to ask about\n")

    found, models = {}, {"bag": Bag, "RNN": Reader}
    for name, model_of in models.items():
        tr.seed(chosen.seed)
        models[name] = model = model_of(len(vocabulary))
        train(model, name, words, news, 60 if chosen.quick else 300)
        found[name] = probabilities(model, new_words)
    print(f"{'how probable it is that this is news':56}" + "".join(f"{name:>8}" for name in found))
    for i in range(8):
        print(f"  {new_texts[i]:54}" + "".join(f"{p[i]:8.3f}" for p in found.values()) + ("   (news)" if new_news[i] else ""))

    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        for text in ("the dog bites the man", "the man bites the dog"):
            states = explain.states(models["RNN"], vocabulary.encode(text)[:, None], lengths=[5])["h"]
            units = [str(unit) for unit in range(states.shape[1])]
            heatmap = explain.heatmap(states.T, units, labels=text.split(), bound=1, title=f"h over: {text}")
            heatmap.save(chosen.out / f"{text.split()[1]}_bites.svg")

    print("\nright about sentences of new pairs:")
    for name, p in found.items():
        print("{}: {:.1%}, about both partners: {:.1%}".format(name, *right(p, new_news)))
    print("guessing: 50.0%, about both partners: 25.0%")


if __name__ == "__main__":
    main()
