"""A network that remembers: patterns are the states in which it comes to rest.

    python examples/memory.py --out pictures

The dynamical system s_t = sign(W s_{t-1}) has no input: only the state from which it starts decides the result.
Hopfield's W is the sum of the products p pᵀ of some patterns p of ±1. With this W each pattern is a state that maps to
itself, and states near a pattern move to the pattern. So you can ask the network with a part of a pattern, and it
answers with the whole pattern.

Letters of 7 by 5 pixels are stored, and each letter is asked for with some of its pixels turned over. Letters look
alike, and the sum of products (Hebb's rule) stores similar patterns badly. The projection onto the patterns, W = P P⁺,
stores them well (Personnaz, Guyon and Dreyfus, 1986). The example compares both. The last table has random patterns of
100 elements, for which Hebb's rule is known to hold about 0.14 patterns per element (Amit, Gutfreund and Sompolinsky,
1985).

The baseline is the share of the question that was right already: without a network, the question itself would be the
answer.

Nothing is trained here: W is written down. This is a memory for a few patterns, and not a good one. How a network
learns what to remember, and when, is the subject of all other examples.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import tinygrad_rnn as tr
from tinygrad_rnn import nn

LETTERS = {
    "R": "####. #...# #...# ####. #.#.. #..#. #...#",
    "N": "#...# ##..# #.#.# #.#.# #..## #...# #...#",
    "T": "##### ..#.. ..#.. ..#.. ..#.. ..#.. ..#..",
    "S": ".#### #.... #.... .###. ....# ....# ####.",
    "O": ".###. #...# #...# #...# #...# #...# .###.",
}


class Memory(nn.Recurrent):
    """s_t = sign(W s_{t-1}), with W of one of two rules; sign(0) is told to be the element as it was."""

    def __init__(self, patterns, rule):
        W = (
            patterns.T @ patterns - len(patterns) * np.eye(patterns.shape[1])
            if rule == "Hebb"
            else np.linalg.pinv(patterns) @ patterns
        )
        self.W = tr.tensor(W / abs(W).max()).named("W")
        super().__init__(nn.SystemCell(0, len(W), f=self.settle))

    def settle(self, s):
        """One step, s_t = sign(W s_{t-1}): each element depends on all others."""
        a = s @ self.W
        return tr.where(tr.absolute(a) < 1e-9, s, tr.sign(a))

    def recall(self, questions, steps=20):
        """The questions and all states after them, (steps + 1, batch, n)."""
        with tr.no_grad():
            states, _ = self(None, tr.tensor(questions), steps=steps)
        return np.concatenate([questions[None], states.data])


def disturbed(patterns, share, generator):
    """The patterns with a share of their elements turned over."""
    found = patterns.copy()
    for row in found:
        row[generator.choice(len(row), round(share * len(row)), replace=False)] *= -1
    return found


def right(patterns, share, times, generator):
    """Whether each element is right, (times, patterns, n): in the questions, with a share turned over, and in the answers."""
    questions = np.array([disturbed(patterns, share, generator) for _ in range(times)])
    found = {"as asked": questions}
    for rule in ("Hebb", "projection"):
        found[rule] = Memory(patterns, rule).recall(questions.reshape(-1, patterns.shape[1]))[-1].reshape(questions.shape)
    return {name: states == patterns for name, states in found.items()}


def shown(states):
    """Letters side by side, as text."""
    rows = np.where(states.reshape(len(states), 7, 5) > 0, "#", ".")
    return "\n".join("   " + "   ".join("".join(letter[i]) for letter in rows) for i in range(7))


def main():
    """Store patterns, ask for them, and find out how many patterns are too many."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the questions")
    parser.add_argument("--seed", type=int, default=0, help="of the questions and of the random patterns")
    parser.add_argument("--out", type=Path, help="folder for the picture of the system (none is drawn if not given)")
    chosen = parser.parse_args()
    generator = np.random.default_rng(chosen.seed)
    asked = 20 if chosen.quick else 200

    letters = np.array([[1.0 if pixel == "#" else -1.0 for pixel in text.replace(" ", "")] for text in LETTERS.values()])
    memory = Memory(letters, "projection")
    questions = disturbed(letters, 0.15, generator)
    states = memory.recall(questions)
    settled = next(t for t in range(len(states)) if (states[t] == states[-1]).all())
    print(f"asked, with 15% of the pixels turned over, and after {settled} steps, when nothing changes any more:\n")
    print(shown(questions) + "\n\n" + shown(states[-1]))
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        memory.cell.draw(time="unrolled").save(chosen.out / "memory.svg")

    print("\nletters recalled without a fault:")
    for share in (0.05, 0.1, 0.15, 0.2, 0.3):
        found = right(letters, share, asked // len(letters), generator)
        whole = {name: same.all(axis=2).mean() for name, same in found.items()}
        print(f"  {share:4.0%} turned over   " + "   ".join(f"{name} {part:4.0%}" for name, part in whole.items()))

    n = 100
    print(f"\nelements right, of random patterns of {n}, asked for with 10% turned over:")
    for count in (5, 10, 14, 20, 40):
        found = right(generator.choice([-1.0, 1.0], (count, n)), 0.1, 1, generator)
        print(f"  {count:2} patterns   " + "   ".join(f"{name} {same.mean():6.1%}" for name, same in found.items()))


if __name__ == "__main__":
    main()
