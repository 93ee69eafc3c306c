"""How many Python functions a small call passes, and in how many files: what is left when the arithmetic is small.

    python benchmarks/python_calls.py
    python benchmarks/python_calls.py --list "LSTM forward"

A count is the same in every run and on every machine, so it says at once what a change costs. The
first calls of a layer trace and compile its step; the counts are those of a later call.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_rnn as tr
from tinygrad_rnn import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
from counting import calls_of

T, B, H = 50, 1, 16


class ThreeLines(nn.Cell):
    """h = tanh(x U + h W)."""

    def __init__(self) -> None:
        super().__init__()
        self.U = nn.Parameter((H, H), symbol="U")
        self.W = nn.Parameter((H, H), symbol="W")
        self.state_shape = (H,)

    def step(self, x: tr.Tensor, h: tr.Tensor) -> tuple[tr.Tensor, tr.Tensor]:
        """Next h, twice."""
        h = tr.tanh(x @ self.U + h @ self.W).named("h")
        return h, h


def cases() -> dict[str, Callable[[], Callable[[], object]]]:
    """What is counted: each makes ready what is not counted, and returns what is."""
    xs = tr.tensor(np.zeros((T, B, H), np.float32))
    lstm, cell = nn.LSTM(H, H), nn.Recurrent(ThreeLines())

    def backward(layer: Callable[[Any], Any]) -> Callable[[], object]:
        loss = layer(xs)[0].sum()
        return loss.backward

    return {
        "LSTM forward": lambda: lambda: lstm(xs),
        "LSTM backward": lambda: backward(lstm),
        "three-line cell forward": lambda: lambda: cell(xs),
        "three-line cell backward": lambda: backward(cell),
    }


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", metavar="CASE", choices=list(cases()), help="also list the functions of a case")
    asked = parser.parse_args()
    for name, ready in cases().items():
        for _ in range(3):
            ready()()
        found = calls_of(ready())
        own = Counter({code: n for code, n in found.items() if not code.co_filename.startswith("<")})
        files = {code.co_filename for code in own}
        print(f"{name:26}{sum(found.values()):5} calls in {len(files):2} files")
        if name == asked.list:
            for code, n in found.most_common():
                print(f"{n:9}  {Path(code.co_filename).name}:{code.co_firstlineno}  {code.co_qualname}")


if __name__ == "__main__":
    main()
