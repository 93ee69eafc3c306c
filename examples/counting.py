"""A network that counts: three units with weights set by hand recognise aⁿbⁿ.

    python examples/counting.py --out pictures

The words ab, aabb, aaabbb, ... form the simplest language that no finite automaton recognises. After n letters a, the
automaton would have to know n, but it has a fixed number of states. A recurrent network also has a fixed number of
units, but its state consists of numbers. Here the activation function is σ(z) = min(max(z, 0), 1), so the numbers are
between 0 and 1. The count n is kept as the number q = 2⁻ⁿ:

    p = σ(p/2 + a - 1)           an a was read: the count is one more, and q is halved
    r = σ(2p + 2r + 2b - 2)      a b was read: the count is one less, and q is doubled
    v = σ(2p + 2r + b - 2)       a b was read, and the count was 0 already
    o = 2r - v - 1               1 for a word aⁿbⁿ with n ≥ 1, and at most 0 for any other

After an equals sign, p, r and v are the values of the step before. Only the line of o uses the values of the
present step. The input a is 1 if the letter a was read, and 0 otherwise; so is b for the letter b. At the start p is 1.
The number q is p as long as letters a are read, and is r afterwards. If an a comes after a b, p and r are 0 from then
on, and no word is recognised any more. This is Elman's network, h_t = σ(W h_{t-1} + U x_t + b), o_t = V h_t + c. None
of its weights can be left out.

As long as no number has to be rounded, the network is right about every word. Halving a floating-point number is exact
down to the smallest number, 2⁻¹⁰⁷⁴ in float64. Beyond that, q is rounded to 0, and the count is lost. The table has the
longest word that is recognised in each precision. A finite automaton that recognises all these words up to n, and no
other words, needs at least 2n + 2 states.

With two stacks of such numbers in place of one counter, networks of this kind simulate any Turing machine, step by step
(Siegelmann and Sontag, "On the computational power of neural nets", 1995). This is a statement about weights and exact
rational numbers. It does not say that training finds such weights, nor that float64 is precise enough: the more memory
is used, the more precision is needed.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np

import tinygrad_rnn as tr
from tinygrad_rnn import explain, nn
from tinygrad_rnn.sequences import CharVocabulary, pad

LETTERS = CharVocabulary("ab")
UNITS = "prv"
U = [[1, 0], [0, 2], [0, 1]]  # columns for the letters a and b, a row for each unit
W = [[0.5, 0, 0], [2, 2, 0], [2, 2, 0]]
b = [-1, -2, -2]
V, c = [[0, 2, -1]], [-1]


class Counter(nn.Cell):
    """h_t = σ(W h_{t-1} + U x_t + b), o_t = V h_t + c, with the weights above."""

    def __init__(self, dtype="float64"):
        super().__init__()
        for name, table in {"U": U, "W": W, "b": b, "V": V, "c": c}.items():
            setattr(self, name, nn.Parameter(np.array(table, dtype), symbol=name))
        self.state_shape = (len(UNITS),)

    def initial_state(self, batch_size, dtype=None):
        """The state of the count 0: p is 1."""
        start = np.zeros((batch_size, len(UNITS)), dtype or self.b.dtype)
        start[:, 0] = 1
        return tr.tensor(start)

    def step(self, x, h):
        """A letter (batch, 2) and the state (batch, 3) give o (batch, 1) and the next state."""
        # the letter's own terms come first: where q counts, they are 0, and nothing is rounded
        h = tr.minimum(tr.maximum(h @ self.W.T + (x @ self.U.T + self.b), 0), 1).named("h")
        return (h @ self.V.T + self.c).named("o"), h


def read(words, dtype="float64"):
    """The output o after the last letter of each word; words must not be empty."""
    codes, lengths = pad([LETTERS.encode(word) for word in words])
    with tr.no_grad():
        outputs, _ = nn.Recurrent(Counter(dtype))(np.eye(2, dtype=dtype)[codes], lengths=lengths)
    return outputs.data[lengths - 1, np.arange(len(words)), 0]


def recognised(words, dtype="float64"):
    """Whether the network takes each word to be some aⁿbⁿ."""
    return read(words, dtype) > 0.5


def longest(dtype, most):
    """The largest n, up to `most`, such that the network recognises aᵏbᵏ for all k ≤ n."""
    said = recognised(["a" * n + "b" * n for n in range(1, most + 1)], dtype)
    return most if said.all() else int(said.argmin())


def near_misses(n):
    """Words that are almost aⁿbⁿ."""
    A, B = "a" * n, "b" * n
    return [A, B, B + A, A + B + "a", A + B + "b", "a" + A + B, "b" + A + B, A + B + A + B, A + "b" + A + "bb"]


def main():
    """Show how the network counts, and how far."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="words up to 8 letters and n up to 200, instead of 12 and 1200")
    parser.add_argument("--seed", type=int, default=0, help="changes nothing: the weights are set by hand")
    parser.add_argument("--out", type=Path, help="folder for the pictures (none are drawn if not given)")
    chosen = parser.parse_args()
    letters, most = (8, 200) if chosen.quick else (12, 1200)

    word = "aaabbb"
    model = nn.Recurrent(Counter())
    xs = np.eye(2)[LETTERS.encode(word)][:, None]
    states = explain.states(model, xs)
    print("     " + "".join(f"{unit:>7}" for unit in UNITS) + f"{'o':>8}")
    for letter, h, o in zip(word, states["h"], states["o"], strict=True):
        print(f"  {letter}  " + "".join(f"{value:7g}" for value in h) + f"{o[0]:8g}")
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        model.cell.draw().save(chosen.out / "counting.svg")
        heatmap = explain.heatmap(states["h"], word, labels=UNITS, bound=1, title=f"h over {word}")
        heatmap.save(chosen.out / f"{word}.svg")

    words = ["".join(word) for n in range(1, letters + 1) for word in itertools.product("ab", repeat=n)]
    counted = [f"{'a' * n}{'b' * n}" for n in range(1, letters // 2 + 1)]
    found = [word for word, yes in zip(words, recognised(words), strict=True) if yes]
    print(f"\nof all {len(words):,} words of up to {letters} letters it recognises {', '.join(found)}")
    assert found == counted

    upto = min(most, 1000)
    yes = recognised(["a" * n + "b" * n for n in range(1, upto + 1)]).sum()
    wrong = [word for n in (1, 2, 10, upto - 1, upto) for word in near_misses(n)]
    print(f"aⁿbⁿ recognised for n = 1 to {upto}: {yes} of {upto}; near misses: {recognised(wrong).sum()} of {len(wrong)}\n")
    for dtype in ("float16", "float32", "float64"):
        n = longest(dtype, most)
        more = " and more" if n == most else ""
        print(f"{dtype}: n up to {n:4}{more:9}   an automaton needs {2 * n + 2:4} states, the network 3 units")


if __name__ == "__main__":
    main()
