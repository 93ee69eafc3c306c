"""How fast whole recurrent networks are: forward and backward of the sum of the outputs.

Ours in every backend, torch.nn, a Python loop in PyTorch, JAX's jit(scan), MyGrad and HIPS
autograd compute the gradients for the parameters and the input, for RNN, LSTM, GRU and two
cells that nobody ships: the minimal gated unit (MGU; Zhou et al., 2016) and an LSTM with
layer-normalised gates (LN-LSTM; Ba et al., 2016). Each starts from a NumPy array (T, B, I) and
ends with contiguous NumPy arrays in PyTorch's layout; what that costs is timed with it. Beside
them the floor: the same matrix products alone. All have to agree before anything is timed.

    pip install -e ".[bench]" && python benchmarks/recurrent.py
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from _timing import clock, interleaved, machine, restrict

CELLS = ("RNN", "LSTM", "GRU", "MGU", "LN-LSTM")
SIZES = ((50, 1, 16), (100, 1, 64), (50, 8, 32), (100, 32, 64), (100, 32, 128), (100, 32, 256), (35, 20, 650))
QUICK = SIZES[:4]
FLOOR = "floor"
CONTESTANTS = {  # name: module, function, arguments
    FLOOR: ("floor", "products"),
    "ours": ("ours", "run", "ours"),
    "ours, native": ("ours", "run", "ours, native"),
    "ours, unrolled": ("ours", "run", "ours, unrolled"),
    "torch.nn": ("pytorch", "built_in"),
    "torch loop": ("pytorch", "loop"),
    "jax": ("jax_scan", "run"),
    "MyGrad": ("mygrad_loop", "run"),
    "autograd": ("autograd_loop", "run"),
}
COMPILED = ("ours", "ours, native")  # our backends that the others' times are divided by
PEERS = ("torch.nn", "torch loop", "jax")  # whose times are
ALWAYS = (FLOOR, *COMPILED, "torch.nn", "jax")  # timed; others where a call takes at most a PARTth of the time for a size
PART = 4
REFERENCES = ("torch loop", "jax", "autograd", "MyGrad", "ours, unrolled", "ours", "ours, native", "torch.nn")
TOLERANCES = {"float64": 1e-9, "float32": 1e-4}
EXACT, EXACT_QUICK = 500_000, 20_000  # all are compared in float64, too, where T·B·H² is at most this
Size = tuple[int, int, int]
Result = dict[str, Any]


def arguments() -> argparse.Namespace:
    """The options."""

    def size(text: str) -> Size:
        T, B, H = (int(number) for number in text.split(","))
        return T, B, H

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--cells", nargs="+", choices=CELLS, default=CELLS, metavar="CELL", help=f"of {', '.join(CELLS)} (default: all)")
    add("--sizes", nargs="+", type=size, metavar="T,B,H", help="steps, batch, input and hidden size (default: the seven)")
    add(
        "--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS), metavar="NAME",
        help=f"of {', '.join(map(repr, CONTESTANTS))} (default: all)",
    )  # fmt: skip
    add("--seconds", type=float, help="time for each cell and size, about, shared by the contestants (default: 4)")
    add("--rounds", type=int, help="at most so many rounds for each cell and size (default: 40)")
    add("--threads", type=int, default=1, help="with more than 1, each contestant has a process of its own (default: 1)")
    add("--quick", action="store_true", help="ends within a minute: the four smaller sizes, few rounds")
    add("--json", type=Path, metavar="FILE", help="write medians, deviations and what machine it was")
    add("--read", type=Path, metavar="FILE", help="measure nothing; print what --json wrote")
    options = parser.parse_args()
    options.sizes = options.sizes or (QUICK if options.quick else SIZES)
    options.seconds = options.seconds or (0.4 if options.quick else 4)
    options.rounds = options.rounds or (10 if options.quick else 40)
    return options


OPTIONS = arguments()
restrict(OPTIONS.threads)

import gc
import importlib
import multiprocessing
import statistics
import time
import warnings
from contextlib import suppress

import numpy as np
from contestants import Array, Missing, Problem, Run

# -- who computes ---------------------------------------------------------------------------


class Contestant:
    """One library and the problem it has at hand, in this process."""

    def __init__(self, name: str) -> None:
        module, function, *rest = CONTESTANTS[name]
        warnings.simplefilter("ignore")
        self.make: Callable[..., Run] = getattr(importlib.import_module(f"contestants.{module}"), function)
        self.rest = rest

    def solve(self, problem: Problem) -> list[Array]:
        """Set the problem up and compute it once: sum of the outputs, gradients for input and parameters."""
        run = self.make(problem, *self.rest)
        self.run = lambda: [np.ascontiguousarray(value) for value in run()]
        return self.run()

    def time(self, calls: int) -> float:
        """Seconds per call."""
        return clock(self.run, calls)

    def settle(self) -> None:
        """Exempt what is there from collections, so that those between turns are short."""
        gc.collect()
        gc.freeze()


class Apart:
    """A contestant in a process of its own: two thread pools in one process spoil each other's times."""

    def __init__(self, name: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        context.Process(target=serve, args=(name, theirs), daemon=True).start()
        self._answer()

    def _answer(self) -> Any:
        answer = self.pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _ask(self, method: str, *arguments: Any) -> Any:
        self.pipe.send((method, arguments))
        return self._answer()

    def solve(self, problem: Problem) -> list[Array]:
        """As a contestant's."""
        return self._ask("solve", problem)

    def time(self, calls: int) -> float:
        """As a contestant's, when the threads of the one before no longer spin."""
        time.sleep(0.02)
        return self._ask("time", calls)

    def settle(self) -> None:
        """As a contestant's."""
        self._ask("settle")


def serve(name: str, pipe: Any) -> None:
    """Answer what `Apart` asks, with a result or an exception."""
    try:
        contestant = Contestant(name)
        pipe.send(None)
        while True:
            method, arguments = pipe.recv()
            try:
                pipe.send(getattr(contestant, method)(*arguments))
            except Missing as missing:
                pipe.send(missing)
    except EOFError:
        return
    except Exception as error:
        pipe.send(error)


Contestants = dict[str, Contestant | Apart]


def gather() -> Contestants:
    """Those that can be imported, by name; says who cannot."""
    found: Contestants = {}
    for name in OPTIONS.contestants:
        try:
            found[name] = Contestant(name) if OPTIONS.threads == 1 else Apart(name)
        except ImportError as error:
            print(f"{name}: left out ({error}); pip install -e '.[bench]' has it")
    return found


# -- one cell, one size ----------------------------------------------------------------------


def answer(contestants: Contestants, problem: Problem) -> tuple[str, list[Array]]:
    """What the first of the references says that has this cell, and its name."""
    for name in REFERENCES:
        with suppress(KeyError, Missing):
            return name, contestants[name].solve(problem)
    return "", []


def compare(
    contestants: Contestants, problem: Problem, reference: str, right: list[Array]
) -> tuple[dict[str, float], dict[str, str]]:
    """Each contestant's greatest deviation, relative to the greatest value of that array; and why some are missing."""
    names = ["sum", "x", *problem.parameters]
    deviations: dict[str, float] = {}
    missing: dict[str, str] = {}
    for name, contestant in contestants.items():
        try:
            values = contestant.solve(problem)
        except Missing as reason:
            missing[name] = str(reason)
            continue
        if name == FLOOR:
            continue
        for what, value, expected in zip(names, values, right, strict=True):
            if value.shape != expected.shape or value.dtype != problem.dtype:
                sys.exit(f"{name}: {problem.cell}, {what}: {value.dtype} {value.shape}, not {problem.dtype} {expected.shape}")
            deviation = float(np.abs(value - expected).max() / np.abs(expected).max())
            deviations[name] = max(deviation, deviations.get(name, 0.0))
            if not deviation <= TOLERANCES[problem.dtype]:
                where = f"{problem.cell}, T={problem.T}, B={problem.B}, I=H={problem.H}, {problem.dtype}, {what}"
                sys.exit(f"{name} disagrees with {reference}: {where}: off by {deviation:.1e}")
    return deviations, missing


def measure(contestants: Contestants, cell: str, size: Size) -> Result:
    """Compare, then time."""
    T, B, H = size
    exact, problem = Problem(cell, *size, "float64"), Problem(cell, *size)
    reference, right = answer(contestants, exact)
    deviations: dict[str, dict[str, float]] = {}
    work = T * B * H * H
    if work <= (EXACT_QUICK if OPTIONS.quick else EXACT):
        deviations["float64"], _ = compare(contestants, exact, reference, right)
    deviations["float32"], missing = compare(contestants, problem, reference, right)
    there = {name: contestant for name, contestant in contestants.items() if name not in missing}
    for contestant in there.values():
        contestant.settle()
    once = {name: contestant.time(1) for name, contestant in there.items()}
    timed = [name for name in there if name in ALWAYS or once[name] <= OPTIONS.seconds / PART]
    calls = {name: min(10, max(1, round(0.01 / once[name]))) for name in timed}
    turn = {name: once[name] * (calls[name] + (calls[name] > 1)) for name in timed}
    rounds = {name: round(OPTIONS.seconds / len(timed) / turn[name]) for name in timed}
    rounds = {name: min(OPTIONS.rounds, max(3, n)) for name, n in rounds.items()}
    times = interleaved({name: partial(there[name].time, calls[name]) for name in timed}, rounds)
    gc.unfreeze()
    return {
        "cell": cell, "T": T, "B": B, "H": H,
        "milliseconds": {name: 1e3 * statistics.median(values) for name, values in times.items()},
        "rounds": rounds,
        "calls": calls,
        "untimed": {name: once[name] for name in there if name not in timed},
        "missing": missing,
        "reference": reference,
        "deviations": deviations,
    }  # fmt: skip


# -- what is printed -------------------------------------------------------------------------

Column = tuple[str, Callable[[Result], "float | None"]]


def milliseconds(name: str) -> Column:
    """The column of a contestant."""
    return name, lambda result: result["milliseconds"].get(name)


def ratio(name: str, base: str) -> Column:
    """The column of one's time divided by another's."""

    def divided(result: Result) -> float | None:
        times = result["milliseconds"]
        return times[name] / times[base] if name in times and base in times else None

    return f"{name} /{base}", divided


def table(cell: str, names: list[str], results: Iterable[Result]) -> list[Result]:
    """Print a table, each row as soon as its result is there, and what there is to say about it."""
    times = [milliseconds(name) for name in names]
    per_backend = [
        [ratio(name, base) for name in PEERS if name in names] + ([ratio(base, FLOOR)] if FLOOR in names else [])
        for base in COMPILED
        if base in names
    ]
    ratios = per_backend[0] if per_backend else []
    print(f"\n{cell}, milliseconds{' and ratios' * bool(ratios)}")
    heading(times, ratios)
    found = []
    for result in results:
        found.append(result)
        row(result, times, ratios)
    means(found, times, ratios)
    for more in per_backend[1:]:
        heading([], more)
        for result in found:
            row(result, [], more)
        means(found, [], more)
    notes(found)
    return found


def heading(*groups: list[Column]) -> None:
    """Names over columns, a word on a line."""
    words = [[name.split(" ") for name, _ in group] for group in groups]
    height = max(len(parts) for group in words for parts in group)
    for line in range(height):
        cells = [[(["" for _ in range(height - len(parts))] + parts)[line] for parts in group] for group in words]
        print(joined("T, B, I=H" if line == height - 1 else "", cells))


def row(result: Result, *groups: list[Column]) -> None:
    """The numbers of one size."""
    cells = [[number(value(result), "" if absent(name, result) else "–") for name, value in group] for group in groups]
    print(joined(f"{result['T']}, {result['B']}, {result['H']}", cells), flush=True)


def absent(column: str, result: Result) -> bool:
    """Whether one of those that the column is about doesn't have this cell."""
    return any(name in result["missing"] for name in column.split(" /"))


def means(results: list[Result], times: list[Column], ratios: list[Column]) -> None:
    """Geometric means of the ratios, marked where a size is missing."""
    cells = []
    for _, value in ratios:
        known = [v for v in map(value, results) if v is not None]
        mark = "*" * (0 < len(known) < len(results))
        cells.append(mark + number(statistics.geometric_mean(known) if known else None, ""))
    if any(cells):
        starred = any(cell.startswith("*") for cell in cells)
        print(joined("mean", [["" for _ in times], cells]) + "   * of the sizes timed" * starred)


def joined(start: str, groups: list[list[str]]) -> str:
    """One line of the table."""
    return (f"{start:13}" + " |".join("".join(f"{cell:>9}" for cell in group) for group in groups if group)).rstrip()


def number(value: float | None, unknown: str = "–") -> str:
    """Three digits."""
    return unknown if value is None else f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def notes(results: list[Result]) -> None:
    """How well the gradients agree, and why numbers are missing."""
    for dtype in ("float64", "float32"):
        worst = [(value, name, r) for r in results for name, value in r["deviations"].get(dtype, {}).items()]
        if worst:
            value, name, r = max(worst, key=lambda found: found[0])
            sizes = sum(dtype in r["deviations"] for r in results)
            where = f"{name} at {r['T']}, {r['B']}, {r['H']}"
            print(
                f"  {dtype}: all within {value:.0e} of {r['reference']} in float64 ({where}; {sizes} of {len(results)} sizes)"
            )
    for name in dict.fromkeys(name for r in results for name in r["missing"]):
        print(f"  {name}: {next(r['missing'][name] for r in results if name in r['missing'])}")
    for name in dict.fromkeys(name for r in results for name in r["untimed"]):
        seconds = max(r["untimed"].get(name, 0) for r in results)
        print(f"  – {name}: compared, but not timed, where a call takes too long (up to {seconds:.1f} s)")


def main() -> None:
    """Measure or read, print and write."""
    if OPTIONS.read:
        report = json.loads(OPTIONS.read.read_text())
    else:
        contestants = gather()
        report = {
            "machine": machine(),
            "threads": OPTIONS.threads,
            "dtype": "float32",
            "quick": OPTIONS.quick,
            "seconds": OPTIONS.seconds,
            "contestants": list(contestants),
            "results": [],
        }
    threads = report["threads"]
    how = "one thread, one core" if threads == 1 else f"{threads} threads and cores, a process for each library"
    print(f"{report['machine']['processor']}; {how}; float32; medians of interleaved rounds")
    print("forward + backward of sum(outputs), gradients for parameters and input, as NumPy arrays; mean: geometric")

    def results(cell: str) -> Iterator[Result]:
        if OPTIONS.read:
            return (result for result in report["results"] if result["cell"] == cell)
        return (measure(contestants, cell, size) for size in OPTIONS.sizes)

    measured = []
    for cell in OPTIONS.cells:
        if not OPTIONS.read or any(result["cell"] == cell for result in report["results"]):
            measured += table(cell, report["contestants"], results(cell))
    report["results"] = measured
    if OPTIONS.json:
        OPTIONS.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
