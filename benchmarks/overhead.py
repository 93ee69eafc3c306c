"""Where the time goes on the native backend: in C, or in the Python around it.

A layer's forward and backward pass as in `recurrent.py`, and training steps as in `training_step.py`, compiled by
`tr.compile` and not. Each call of C is timed; Python's part is the rest of the call. Python's part of a step that is
not compiled holds the embedding, the loss and the optimiser, which are calls of NumPy.

    python benchmarks/overhead.py
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _timing import clock, machine, restrict

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--cell", choices=("LSTM", "GRU", "RNN"), default="LSTM")
parser.add_argument("--quick", action="store_true", help="ends within seconds: the smaller sizes, few calls")
parser.add_argument("--json", type=Path, metavar="FILE", help="write the results, and what machine it was")
OPTIONS = parser.parse_args()
restrict(1)

import gc
import statistics
import time

import contestants
import contestants.ours
import steps
import steps.ours

from tinygrad_rnn.scan.native.executable import NativeExecutable
from tinygrad_rnn.scan.native.together import Together

LAYERS = ((50, 1, 16), (100, 1, 64), (50, 8, 32), (100, 32, 64), (100, 32, 128), (100, 32, 256), (35, 20, 650))
STEPS = ((16, 1, 8, 16), (32, 8, 16, 32), (32, 32, 64, 128), (64, 32, 64, 256))
BLOCKS = 5 if OPTIONS.quick else 25
BLOCK = 0.01
"""Seconds that a block of calls takes at least."""


class Watched:
    """A compiled function, and the seconds that were spent in all of them."""

    total = 0.0

    def __init__(self, run: Callable[..., Any]) -> None:
        self.run = run

    def __call__(self, *arguments: Any) -> Any:
        """Call the function, and add up its time."""
        start = time.perf_counter()
        found = self.run(*arguments)
        Watched.total += time.perf_counter() - start
        return found


def measure(run: Callable[[], object]) -> dict[str, float]:
    """Milliseconds of a call in C, and in Python; medians of warm blocks."""
    for _ in range(3):  # everything is traced, compiled and bound
        run()
    for thing in gc.get_objects():
        if isinstance(thing, (NativeExecutable, Together)) and thing._run and not isinstance(thing._run, Watched):
            thing._run = Watched(thing._run)
    calls = max(1, round(BLOCK / clock(run)))
    found = []
    for _ in range(BLOCKS):
        run()
        Watched.total = 0.0
        start = time.perf_counter()
        for _ in range(calls):
            run()
        found.append(((time.perf_counter() - start) / calls, Watched.total / calls))
    inside = statistics.median(c for _, c in found)
    return {"C": 1e3 * inside, "Python": 1e3 * statistics.median(whole - c for whole, c in found)}


def cases() -> dict[tuple[str, tuple[int, ...]], Callable[[], object]]:
    """What is measured, by its name and sizes."""
    found: dict[tuple[str, tuple[int, ...]], Callable[[], object]] = {}
    for size in LAYERS[:3] if OPTIONS.quick else LAYERS:
        layer = contestants.Problem(OPTIONS.cell, *size)
        found["layer", size] = lambda layer=layer: contestants.ours.run(layer, "ours, native")
    for name, compiled in (("step", False), ("step, compiled", True)):
        for sizes in STEPS[:2] if OPTIONS.quick else STEPS:
            problem = steps.Problem(OPTIONS.cell, *sizes)

            def make(problem: steps.Problem = problem, compiled: bool = compiled) -> Callable[[], object]:
                step = steps.ours.make(problem, "native", compiled)
                return lambda: step(*problem.batches[0])

            found[name, sizes] = make
    return found


def main() -> None:
    """Measure, print and write."""
    where, results = machine(), []
    print(f"{where['processor']}; one thread, one core; {OPTIONS.cell}; milliseconds of a call, medians of warm blocks")
    for (name, size), make in cases().items():
        times = measure(make())
        results.append({"cell": name, "size": size, "milliseconds": times})
        shown = "".join(f"{value:10.3f} in {part}" for part, value in times.items())
        print(f"{name:16}{', '.join(map(str, size)):16}{shown}", flush=True)
    if OPTIONS.json:
        report = {"machine": where, "of": OPTIONS.cell, "quick": OPTIONS.quick, "results": results}
        OPTIONS.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
