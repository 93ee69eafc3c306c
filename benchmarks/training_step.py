"""How fast whole training steps are: embedding, recurrent layer, output, loss, gradients, clipping, Adam.

Ours in both backends, compiled by `tr.compile` and not; PyTorch; and JAX, whose whole step is under one jit. All are
given NumPy arrays of codes. Before anything is timed, the losses of all have to agree through several steps.

    pip install -e ".[bench]" && python benchmarks/training_step.py
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from _timing import clock, interleaved, machine, restrict

CELLS = ("LSTM", "GRU", "RNN")
SIZES = ((16, 1, 8, 16), (32, 8, 16, 32), (32, 32, 64, 128), (64, 32, 64, 256))
COMPILED = "native, compiled"
CONTESTANTS: dict[str, tuple[Any, ...]] = {  # name: module, arguments
    "numpy": ("ours", "numpy", False),
    "numpy, compiled": ("ours", "numpy", True),
    "native": ("ours", "native", False),
    COMPILED: ("ours", "native", True),
    "torch": ("pytorch",),
    "jax": ("jax_jit",),
}
PEERS = ("numpy, compiled", "native", "torch", "jax")
CHECKED = 20
"""Steps through which all have to agree."""
TOLERANCE = 1e-3
BLOCK = 0.004
"""Seconds that a block of calls takes at least, so that the caches are warm."""


def size(text: str) -> tuple[int, ...]:
    """The numbers T,B,E,H."""
    T, B, E, H = (int(number) for number in text.split(","))
    return T, B, E, H


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--cells", nargs="+", choices=CELLS, default=CELLS)
parser.add_argument("--sizes", nargs="+", type=size, metavar="T,B,E,H", help="steps, batch, embedding, hidden size")
parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS), metavar="NAME")
parser.add_argument("--seconds", type=float, help="time for each contestant, cell and size, about (default: 3)")
parser.add_argument("--quick", action="store_true", help="ends within a minute: the two smaller sizes, few rounds")
parser.add_argument("--json", type=Path, metavar="FILE", help="write the results, and what machine it was")
parser.add_argument("--read", type=Path, metavar="FILE", help="measure nothing; print what --json wrote")
OPTIONS = parser.parse_args()
OPTIONS.sizes = OPTIONS.sizes or (SIZES[:2] if OPTIONS.quick else SIZES)
OPTIONS.seconds = OPTIONS.seconds or (0.1 if OPTIONS.quick else 3.0)
restrict(1)

import gc
import importlib
import statistics
import sys

from steps import Problem, Step


def makers() -> dict[str, Callable[[Problem], Step]]:
    """Those who can be imported, by name; says who cannot."""
    found: dict[str, Callable[[Problem], Step]] = {}
    for name in OPTIONS.contestants:
        module, *rest = CONTESTANTS[name]
        try:
            make = importlib.import_module(f"steps.{module}").make
        except ImportError as error:
            print(f"{name}: left out ({error})", file=sys.stderr)
            continue
        found[name] = lambda problem, make=make, rest=rest: make(problem, *rest)
    return found


def agreed(steps: dict[str, Step], problem: Problem) -> float:
    """The greatest difference of two losses, over all steps; ends the program if it is too large."""
    worst = 0.0
    for n in range(CHECKED):
        x, y = problem.batches[n % len(problem.batches)]
        losses = {name: float(step(x, y)) for name, step in steps.items()}
        lowest, highest = min(losses, key=losses.__getitem__), max(losses, key=losses.__getitem__)
        worst = max(worst, losses[highest] - losses[lowest])
        if not worst <= TOLERANCE:
            sys.exit(f"{problem.cell}, step {n}: the loss of {lowest} is {losses[lowest]}, and of {highest} {losses[highest]}")
    return worst


def measure(cell: str, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Compare, then time in blocks that take turns."""
    problem = Problem(cell, *sizes)
    steps = {name: make(problem) for name, make in makers().items()}
    deviation = agreed(steps, problem)
    gc.collect()
    gc.freeze()  # so that collections between turns are short
    x, y = problem.batches[0]
    turns, rounds = {}, {}
    for name, step in steps.items():
        run = partial(step, x, y)
        once = min(clock(run) for _ in range(5))
        calls = max(2, round(BLOCK / once))
        turns[name] = partial(clock, run, calls)
        rounds[name] = max(5, round(OPTIONS.seconds / (once * (calls + 1) + 0.02)))
    times = interleaved(turns, rounds)
    gc.unfreeze()
    found = {name: 1e3 * statistics.median(values) for name, values in times.items()}
    return {"cell": cell, "size": sizes, "milliseconds": found, "deviation": deviation}


def heading(names: list[str]) -> str:
    """The first line of a table."""
    ratios = [f"{name} /ours" for name in PEERS if name in names] if COMPILED in names else []
    return f"{'T, B, E, H':16}" + "".join(f"{name:>23}" for name in [*names, *ratios])


def row(result: dict[str, Any]) -> str:
    """The times of one size, and their ratios to ours."""
    times = result["milliseconds"]
    cells = [f"{value:23.3g}" for value in times.values()]
    cells += [f"{times[name] / times[COMPILED]:23.2f}" for name in PEERS if name in times and COMPILED in times]
    return f"{', '.join(map(str, result['size'])):16}" + "".join(cells)


def means(results: list[dict[str, Any]]) -> str:
    """Geometric means of the ratios."""
    found = []
    for name in PEERS:
        ratios = [r["milliseconds"][name] / r["milliseconds"][COMPILED] for r in results if name in r["milliseconds"]]
        if ratios:
            found.append(
                f"{name} / {COMPILED}: {statistics.geometric_mean(ratios):.2f} in the mean, {min(ratios):.2f} at least"
            )
    return "\n".join(found)


def main() -> None:
    """Measure or read, and print."""
    if OPTIONS.read:
        stored = json.loads(OPTIONS.read.read_text(encoding="utf-8"))
        results, where = stored["results"], stored["machine"]
    else:
        results, where = [], machine()
    print(f"{where['processor']}; one thread, one core; float32; milliseconds of a step, medians of warm blocks in turn")
    for cell in OPTIONS.cells:
        rows = [result for result in results if result["cell"] == cell]
        for k, sizes in enumerate(OPTIONS.sizes if not OPTIONS.read else [r["size"] for r in rows]):
            if not OPTIONS.read:
                results.append(measure(cell, sizes))
                rows.append(results[-1])
            if not k:
                print(f"\n{cell}\n{heading(list(rows[0]['milliseconds']))}")
            print(row(rows[k]), flush=True)
    if all(COMPILED in result["milliseconds"] for result in results):
        print(f"\n{means(results)}")
    if OPTIONS.json:
        report = {"machine": where, "quick": OPTIONS.quick, "results": results}
        OPTIONS.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
