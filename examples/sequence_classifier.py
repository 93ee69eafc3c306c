"""From a sound to its script: words of different lengths, one answer for each word.

    python examples/sequence_classifier.py --out pictures

Python knows the Unicode name of every character. In syllabic writing systems the last word of the name says how the
character sounds:

    HANGUL SYLLABLE GGYONJ      YI SYLLABLE NRYX          VAI SYLLABLE GBON
    ETHIOPIC SYLLABLE QWAA      BAMUM LETTER NGKWAEN      CANADIAN SYLLABICS TLHE

The network reads this word letter by letter, and says which of seven scripts it comes from. Sounds that occur in
several scripts are left out. Some words have one letter, others more than ten. `pad` puts the words side by side into
one array, and returns their lengths. With these lengths the layer stops each word at its own end, so the padding
changes nothing. Only the state after the last letter is needed, so the example sets `final_state_only=True`: no outputs
are made for the steps before.

There are two baselines. The first always answers with the most frequent script. The second counts the letters and
weighs the counts: softmax regression on a bag of letters. It knows that an X is most often Yi and a Q Bamum, but not
where in the word the letters stand. If the network is better than this baseline, it has used the order of the letters.
"""

from __future__ import annotations

import argparse
import re
import sys
import unicodedata
from collections import defaultdict
from pathlib import Path

import numpy as np
from tqdm import trange

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim
from tinygrad_rnn.sequences import CharVocabulary, pad

SCRIPTS = ["HANGUL", "YI", "ETHIOPIC", "BAMUM", "CANADIAN", "VAI", "CUNEIFORM"]


def sounds(most, rng):
    """Pairs (sound, number of its script), in random order, with a limited number of pairs for each script."""
    found = defaultdict(set)
    for code in range(sys.maxunicode + 1):
        words = unicodedata.name(chr(code), "").split()
        if words and words[0] in SCRIPTS and re.fullmatch("[A-Z]+", words[-1]):
            found[words[-1]].add(SCRIPTS.index(words[0]))
    clear = [(sound, *scripts) for sound, scripts in sorted(found.items()) if len(scripts) == 1]
    of_each = [[pair for pair in clear if pair[1] == script] for script in range(len(SCRIPTS))]
    kept = [pairs[i] for pairs in of_each for i in rng.permutation(len(pairs))[:most]]
    return [kept[i] for i in rng.permutation(len(kept))]


class Reader(nn.Module):
    """A network that reads a letter at each step, and gives logits of the scripts after the last letter."""

    def __init__(self, letters, hidden):
        super().__init__()
        self.embedding = nn.Embedding(letters, 16)
        self.lstm = nn.LSTM(16, hidden)
        self.output = nn.Linear(hidden, len(SCRIPTS))

    def forward(self, codes, lengths):
        """Codes (time, batch) and lengths (batch,) give logits (batch, scripts)."""
        _, (h, _) = self.lstm(self.embedding(codes), lengths=lengths, final_state_only=True)
        return self.output(h[0])


class Bag(nn.Module):
    """Softmax regression on how often each letter occurs."""

    def __init__(self, letters):
        super().__init__()
        self.output = nn.Linear(letters, len(SCRIPTS))

    def forward(self, codes, lengths):
        """Codes (time, batch) and lengths (batch,) give logits (batch, scripts)."""
        one_hot = np.eye(self.output.input_size, dtype="float32")[codes]
        real = np.arange(len(codes))[:, None] < lengths
        return self.output((one_hot * real[..., None]).sum(axis=0))


def train(model, name, words, scripts, epochs, rate, rng):
    """Train on batches of 64 words, in random order."""
    optimizer = optim.Adam(model.parameters(), lr=rate)
    for _ in trange(epochs, desc=name, disable=None, leave=False):
        order = rng.permutation(len(words))
        for chosen in np.split(order, range(64, len(order), 64)):
            codes, lengths = pad([words[i] for i in chosen])
            loss = nn.cross_entropy(model(codes, lengths), scripts[chosen])
            optimizer.zero_grad()
            loss.backward()
            optim.clip_grad_norm(model.parameters(), 1.0)
            optimizer.step()


def answers(model, words):
    """The script that the model predicts for each word."""
    with tr.no_grad():
        return model(*pad(words)).data.argmax(axis=-1)


def draw(true, said, out):
    """A figure of which script is mistaken for which."""
    from matplotlib.figure import Figure

    table = np.zeros((len(SCRIPTS), len(SCRIPTS)), int)
    np.add.at(table, (true, said), 1)
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(table / table.sum(axis=1, keepdims=True), cmap="Blues", vmin=0, vmax=1)
    for (row, column), n in np.ndenumerate(table):
        axes.text(column, row, n, ha="center", va="center", color="white" if n > table[row].sum() / 2 else "black")
    names = [name.capitalize() for name in SCRIPTS]
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="what the network says", ylabel="script")
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "sequence_classifier.svg", metadata={"Date": None})


def main():
    """Train the network and the regression, and compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer passes over the words")
    parser.add_argument("--seed", type=int, default=0, help="of the weights, of the choice of words and of their order")
    parser.add_argument("--out", type=Path, help="folder for a table of mistakes (none is drawn if not given)")
    chosen = parser.parse_args()
    hidden, epochs = (32, 12) if chosen.quick else (64, 40)

    rng = np.random.default_rng(chosen.seed)
    pairs = sounds(600, rng)
    vocabulary = CharVocabulary("".join(sound for sound, _ in pairs), specials=["<pad>"])
    words, scripts = [vocabulary.encode(sound) for sound, _ in pairs], np.array([script for _, script in pairs])
    held_out = len(pairs) // 5  # the pairs are in random order, so any fifth will do
    counts = np.bincount(scripts[held_out:])
    lengths = [len(word) for word in words]
    print(
        f"{len(pairs)} sounds of {min(lengths)} to {max(lengths)} letters, {held_out} of them held out; "
        + ", ".join(f"{name.capitalize()} {n}" for name, n in zip(SCRIPTS, np.bincount(scripts), strict=True))
    )

    tr.seed(chosen.seed)
    models = {"bag of letters": (Bag(len(vocabulary)), 2e-2), "LSTM": (Reader(len(vocabulary), hidden), 5e-3)}
    said, right = {}, {}
    for name, (model, rate) in models.items():
        train(model, name, words[held_out:], scripts[held_out:], epochs, rate, rng)
        said[name] = answers(model, words[:held_out])
        right[name] = (said[name] == scripts[:held_out]).mean()
    for i in range(8):
        print(
            f"  {pairs[i][0]:10} {SCRIPTS[scripts[i]].capitalize():10} the network says {SCRIPTS[said['LSTM'][i]].capitalize()}"
        )
    if chosen.out:
        draw(scripts[:held_out], said["LSTM"], chosen.out)
    most = (scripts[:held_out] == counts.argmax()).mean()
    print(
        f"LSTM: {right['LSTM']:.1%} of the held-out sounds right, bag of letters: {right['bag of letters']:.1%}, "
        f"always the most frequent script: {most:.1%}"
    )


if __name__ == "__main__":
    main()
