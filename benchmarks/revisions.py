"""How fast two checkouts of this repository are beside each other: ``python benchmarks/revisions.py OLD NEW``.

OLD and NEW are folders or revisions of git, such as ``main`` and ``.``. Each runs in a process of its own, and the
processes take turns in short warm blocks, so that both meet the same noise of the machine. Printed are medians and the
median of the ratios of blocks next to each other.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from _timing import restrict

SIZES = ((50, 1, 16), (100, 1, 64), (50, 8, 32), (100, 32, 64))
BLOCK = 0.02
"""Seconds of a block, about."""


def work() -> dict[str, Any]:
    """Return each case as a function of no arguments; only public names, so that older revisions run it too."""
    import numpy as np

    import tinygrad_rnn as tr
    from tinygrad_rnn import nn

    class ThreeLines(nn.Cell):
        """A cell as a user writes one."""

        def __init__(self, size: int) -> None:
            super().__init__()
            generator = np.random.default_rng(0)
            self.U, self.W = (nn.Parameter(generator.normal(0, 0.1, (size, size)).astype("float32")) for _ in range(2))
            self.state_shape = (size,)

        def step(self, x: tr.Tensor, h: tr.Tensor) -> tuple[tr.Tensor, tr.Tensor]:
            z = tr.sigmoid(x @ self.U + h @ self.W)
            h = z * h + (1 - z) * x
            return h, h

    def forward(layer: nn.Module, xs: np.ndarray) -> None:
        layer(xs)

    def both(layer: nn.Module, xs: np.ndarray) -> None:
        layer(xs)[0].sum().backward()
        for parameter in layer.parameters():
            parameter.grad = None

    cases: dict[str, Any] = {}
    for T, B, H in SIZES:
        xs = np.random.default_rng(1).normal(size=(T, B, H)).astype("float32")
        layers = {"RNN": nn.RNN(H, H), "LSTM": nn.LSTM(H, H), "GRU": nn.GRU(H, H), "three lines": nn.Recurrent(ThreeLines(H))}
        for name, layer in layers.items():
            for what, run in (("forward", forward), ("both", both)):
                cases[f"{name:12} {T:4} {B:3} {H:3}  {what:8}"] = lambda run=run, layer=layer, xs=xs: run(layer, xs)
    return cases


def serve() -> None:
    """Answer on standard output how long a call took in a block, for each name of a case on standard input."""
    cases = work()
    print("\n".join(cases), "", sep="\n", flush=True)
    calls: dict[str, int] = {}
    for line in sys.stdin:
        run = cases[line.rstrip("\n")]
        if line not in calls:
            run()
            run()
            start = time.perf_counter()
            run()
            calls[line] = max(1, int(BLOCK / (time.perf_counter() - start)))
        run()
        start = time.perf_counter()
        for _ in range(calls[line]):
            run()
        print((time.perf_counter() - start) / calls[line], flush=True)


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", metavar="OLD", help="a folder, or a revision of git")
    parser.add_argument("new", metavar="NEW", help="a folder, or a revision of git")
    parser.add_argument("--rounds", type=int, default=15, help="blocks of each case for each of the two (default: 15)")
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
    from same import checkout

    restrict(1)
    with ExitStack() as stack:
        servers = []
        for given in (options.old, options.new):
            environment = os.environ | {"PYTHONPATH": str(checkout(given, stack))}
            command = [sys.executable, __file__, "--serve"]
            server = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.callback(server.kill)
            servers.append(server)
        names = [iter(server.stdout.readline, "\n") for server in servers if server.stdout]
        old, new = ([line.rstrip("\n") for line in lines] for lines in names)
        if not old or old != new:
            raise SystemExit("the two have not the same cases")

        def block(server: subprocess.Popen[str], case: str) -> float:
            assert server.stdin and server.stdout
            print(case, file=server.stdin, flush=True)
            return float(server.stdout.readline())

        print(f"{'':12} {'T':>4} {'B':>3} {'H':>3}  {'':8} {'old µs':>10} {'new µs':>10} {'new/old':>8}")
        ratios = []
        for case in old:
            pairs = [[block(server, case) for server in servers] for _ in range(options.rounds + 1)][1:]
            ratios.append(statistics.median(after / before for before, after in pairs))
            before, after = (statistics.median(times) * 1e6 for times in zip(*pairs, strict=True))
            print(f"{case} {before:10,.0f} {after:10,.0f} {ratios[-1]:8.2f}", flush=True)
        print(f"{'geometric mean of the ratios':56}{statistics.geometric_mean(ratios):8.2f}")


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["--serve"] else main()
