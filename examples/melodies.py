"""One to many: a melody from a class, major or minor, written as notes and as sound.

    python examples/melodies.py --out pictures

Before the first beat the decoder gets a vector, [1, 0] for major or [0, 1] for minor. From then on it draws a symbol
for each beat, and reads this symbol before it draws the next. A symbol is one of the thirteen notes from C to C', or
"-", which holds the note before.

The training melodies are made by rules. A melody has four bars of four beats, in C major or in C minor. It goes up and
down the scale by small steps. The third bar repeats the first bar, and the last bar comes
home: it ends on C. Nobody tells the network
these rules. It has to remember the class until the last beat, and the first bar for eight beats.

A judge says for each drawn melody which class it belongs to. The judge is a GRU from a melody to its class, trained on
other melodies made by the rules. The baseline is random notes. The table also counts how often each rule is kept, and
how many melodies were not in the training data.

With --out, two melodies are also written as sound, `major.wav` and `minor.wav`, by Python's own library. Whether they
sound good is a matter of taste, and is not measured.
"""

from __future__ import annotations

import argparse
import itertools
import wave
from pathlib import Path

import numpy as np
from tqdm import trange

import tinygrad_rnn as tr
from tinygrad_rnn import explain, nn, optim
from tinygrad_rnn.sequences import Vocabulary

NOTES = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B", "C'"]
SYMBOLS = Vocabulary(["-", *NOTES])  # the code of a note is its distance from the C, in semitones, plus 1
CLASSES = ["major", "minor"]
SCALES = np.array([[0, 2, 4, 5, 7, 9, 11, 12], [0, 2, 3, 5, 7, 8, 10, 12]])
RHYTHMS = ["xxxx", "x-xx", "xxx-", "x-x-"]
BEATS = 16


def bar(rhythm, degree, rng):
    """One bar: degrees of the scale, from a given degree on, with -1 where a note is held; and the degree at its end."""
    found = []
    for beat in rhythm:
        if beat == "x":
            degree += rng.choice([-2, -1, 1, 2])
            degree = abs(degree) if degree <= 7 else 14 - degree
        found.append(degree if beat == "x" else -1)
    return found, degree


def melody(scale, rng):
    """A melody made by the rules, as codes, (16,)."""
    first, at = bar(rng.choice(RHYTHMS), rng.choice([0, 2, 4, 7]), rng)
    second, _ = bar(rng.choice(RHYTHMS), at, rng)
    home = rng.choice([[4, 3, 2, 0], [4, 2, 1, 0], [2, 1, 0, -1], [4, 6, 7, -1], [5, 6, 7, -1]])
    degrees = np.array([*first, *second, *first, *home])
    return np.where(degrees < 0, 0, scale[degrees] + 1)


def melodies(count, rng):
    """Melodies made by the rules, (16, count), and their classes, (count,)."""
    classes = rng.integers(0, 2, count)
    return np.stack([melody(SCALES[c], rng) for c in classes], axis=1), classes


def make_composer(hidden):
    """A decoder from a class to a melody."""
    n = len(SYMBOLS)
    return nn.Decoder(
        nn.Embedding(n, 16), nn.GRUCell(16, hidden), nn.Linear(hidden, n), start=SYMBOLS["-"], context_size=2, at="start"
    )


class Judge(nn.Module):
    """Logits of major and minor from a melody."""

    def __init__(self, hidden=16):
        super().__init__()
        self.embedding, self.gru, self.output = nn.Embedding(len(SYMBOLS), 8), nn.GRU(8, hidden), nn.Linear(hidden, 2)

    def forward(self, codes):
        """Codes (time, batch) give logits (batch, 2)."""
        _, h = self.gru(self.embedding(codes), final_state_only=True)
        return self.output(h[0])


def vectors(classes):
    """Classes as vectors, (count, 2)."""
    return np.eye(2, dtype="float32")[classes]


def train(loss, parameters, name, updates, rate=0.01):
    """Minimise `loss()`, which draws a new batch each time, by Adam, with a learning rate that falls to zero."""
    optimizer = optim.Adam(parameters)
    for update in trange(updates, desc=name, disable=None, leave=False):
        optimizer.lr = rate * (1 - update / updates)
        optimizer.zero_grad()
        loss().backward()
        optim.clip_grad_norm(parameters, 1.0)
        optimizer.step()


def kept(codes, classes, judge, known):
    """The shares of melodies that the judge puts into the right class, that keep each rule, and that are new."""
    with tr.no_grad():
        agreed = judge(codes).data.argmax(axis=-1) == classes
    held = codes == 0
    in_scale = np.array([[code - 1 in SCALES[c] for code in column] for column, c in zip(codes.T, classes, strict=True)]).T
    last = np.array([column[column > 0][-1] if column.any() else 0 for column in codes.T])
    return {
        "judged right": agreed.mean(),
        "notes in scale": in_scale[~held].mean(),
        "bar 3 is bar 1": (codes[:4] == codes[8:12]).all(axis=0).mean(),
        "comes home": np.isin(last, (1, 13)).mean(),
        "new": np.mean([tuple(column) not in known for column in codes.T]),
    }


def sound(codes, path, beat=0.3, rate=22_050):
    """Write a melody as a WAV file, mono, 16 bits: a few overtones that fade."""
    starts = [*np.flatnonzero(codes), len(codes)]
    samples = np.zeros(round(beat * rate * len(codes)))
    for start, end in itertools.pairwise(starts):
        begin, stop = round(start * beat * rate), round(end * beat * rate)
        t = np.arange(stop - begin) / rate
        pitch = 261.63 * 2 ** ((codes[start] - 1) / 12)
        tone = sum(np.sin(2 * np.pi * k * pitch * t) / k**2 for k in (1, 2, 3))
        samples[begin:stop] = tone * np.minimum(1, 100 * t) * np.exp(-3 * t) * np.minimum(1, 100 * t[::-1])
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 20_000).astype("<i2").tobytes())


def written(codes):
    """The notes of a melody as text, bar by bar."""
    return " | ".join(" ".join(f"{SYMBOLS.symbols[code]:2}" for code in part) for part in codes.reshape(4, 4)).rstrip()


def draw(codes, classes, out):
    """How often each symbol is drawn at each beat: a row for each symbol, the highest note on top."""
    for c, name in enumerate(CLASSES):
        shares = np.stack([(codes[:, classes == c] == code).mean(axis=1) for code in range(len(SYMBOLS))], axis=1)
        heatmap = explain.heatmap(shares[:, ::-1], labels=SYMBOLS.symbols[::-1], bound=1, title=f"symbols drawn in {name}")
        heatmap.save(out / f"{name}.svg")


def main():
    """Learn, compose, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="150 updates of 32 melodies instead of 1000 of 64")
    parser.add_argument("--seed", type=int, default=0, help="of the weights, of the rules' melodies and of what is drawn")
    parser.add_argument("--out", type=Path, help="folder for the pictures and the sounds (none are made if not given)")
    chosen = parser.parse_args()
    hidden, updates, batch, count = (64, 150, 32, 100) if chosen.quick else (96, 1000, 64, 1000)

    tr.seed(chosen.seed)
    rng = np.random.default_rng(chosen.seed)
    codes, classes = melodies(4000, rng)
    others, their_classes = melodies(1000, rng)
    composer, judge = make_composer(hidden), Judge()

    def of_composer():
        drawn = rng.integers(len(classes), size=batch)
        return nn.cross_entropy(composer(codes[:, drawn], vectors(classes[drawn])), codes[:, drawn])

    def of_judge():
        drawn = rng.integers(len(their_classes), size=32)
        return nn.cross_entropy(judge(others[:, drawn]), their_classes[drawn])

    asked = np.arange(count) % 2
    before = composer.sample(vectors(asked), max_steps=BEATS).ys
    train(of_judge, judge.parameters(), "judge", 60)
    train(of_composer, composer.parameters(), "composer", updates)
    after = composer.sample(vectors(asked), max_steps=BEATS).ys

    known = {tuple(column) for column in codes.T}
    new_codes, new_classes = melodies(count, rng)
    found = {
        "the rules": kept(new_codes, new_classes, judge, known),
        "decoder": kept(after, asked, judge, known),
        "decoder, untrained": kept(before, asked, judge, known),
        "random notes": kept(rng.integers(0, len(SYMBOLS), (BEATS, count)), asked, judge, known),
    }
    print("drawn by the decoder:")
    for k in range(6):
        print(f"  {CLASSES[asked[k]]}  {written(after[:, k])}")
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        for k, name in enumerate(CLASSES):
            sound(after[:, k], chosen.out / f"{name}.wav")
        composer.draw(time="unrolled").save(chosen.out / "melodies.svg")
        draw(after, asked, chosen.out)

    print(f"\n{'melodies by':20}" + "".join(f"{name:>16}" for name in found["decoder"]))
    for name, shares in found.items():
        print(f"{name:20}" + "".join(f"{share:16.1%}" for share in shares.values()))


if __name__ == "__main__":
    main()
