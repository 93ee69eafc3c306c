"""Say whether two checkouts of this repository do the same, bit for bit: ``python tools/same.py OLD NEW``.

OLD and NEW are folders or revisions of git, such as ``main`` and ``.``. Each is run in a process of its own, on the same
cases: random cells and all layers, in both modes; the pictures and equations of all models; the docs' gallery. Compared
are arrays up to gradients of gradients, numbers of kernel calls, graphs in words, plans, DOT sources and equations. A
case that raises an error is compared by its message.

The random cells are drawn here, by the generator of the checkout that this file is in, and are run by a small interpreter
that uses public names only (`same_cases.py`). So OLD and NEW run the same cells, whatever generators they have.

The exit code is 1 if there are differences beyond those that ``--expect`` names.
"""

from __future__ import annotations

import argparse
import io
import os
import pickle
import re
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).parents[1]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


class Difference(NamedTuple):
    """One fact that is not the same in both checkouts.

    Attributes
    ----------
    case, fact : str
    told : str
        Where the two first differ.
    """

    case: str
    fact: str
    told: str

    def __str__(self) -> str:
        return f"{self.case}: {self.fact}: {self.told}"


# -- the cells -----------------------------------------------------------------------------


def draw_cells(count: int, seed: int) -> list[dict[str, Any]]:
    """Random cells with the ways to run them, in builtin types and arrays, as `same_cases.WrittenCell` reads them."""
    sys.path.insert(0, str(ROOT))
    from tinygrad_rnn.testing.choices import RandomChoices
    from tinygrad_rnn.testing.random_cells import random_cell

    return [_written(random_cell(RandomChoices(seed + i), lengths=True), seed + i) for i in range(count)]


def _written(drawn: Any, seed: int) -> dict[str, Any]:
    recipe, rng = drawn.cell.recipe, np.random.default_rng(seed)
    inputs = None if recipe.inputs is None else _leaves(drawn.inputs())
    state = None if drawn.state is None else _leaves(drawn.state)
    return {
        "text": repr(drawn),
        "program": {
            "inputs": recipe.inputs,
            "state": _plain(recipe.state),
            "output": recipe.output,
            "equations": [(e.name, e.operation, e.arguments, e.options) for e in recipe.equations],
            "after": recipe.after,
            "shapes": dict(recipe.shapes),
        },
        "fields": getattr(recipe.state, "_fields", None),
        "parameters": {name: value.numpy() for name, value in drawn.cell.named_parameters()},
        "captured": {k: (False, v) if isinstance(v, np.ndarray) else (True, v.numpy()) for k, v in drawn.captured.items()},
        "start": drawn.cell.start,
        "inputs": inputs,
        "state": state,
        **{name: getattr(drawn, name) for name in ("T", "batch_size", "force", "force_mask", "lengths", "reverse")},
        "cotangents": drawn.cotangents,
        "options": {
            "dtype": str(rng.choice(["float64", "float64", "float32"])),
            "checkpoint": [None, None, 1, 2][rng.integers(4)],
            "call": str(rng.choice(["call", "call", "recorded", "final state only"])),
            "backward": bool(rng.random() < 0.5),
            "work": bool(rng.random() < 0.3),
        },
    }


def _leaves(nested: Any) -> list[Any]:
    return [leaf for part in nested for leaf in _leaves(part)] if isinstance(nested, tuple) else [nested]


def _plain(nested: Any) -> Any:
    """Named tuples as plain ones."""
    return tuple(_plain(part) for part in nested) if isinstance(nested, tuple) else nested


# -- the two checkouts ---------------------------------------------------------------------


def checkout(given: str, stack: ExitStack) -> Path:
    """A folder with this checkout or revision; what is unpacked is removed with the stack."""
    if (folder := Path(given).resolve()).is_dir():
        if not (folder / "tinygrad_rnn").is_dir():
            raise SystemExit(f"{given} is a folder without tinygrad_rnn in it: give a checkout or a revision of git")
        return folder
    command = ["git", "-C", str(ROOT), "archive", "--format=tar", "--end-of-options", given, "tinygrad_rnn"]
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        raise SystemExit(f"{given} is no folder, and git says: {done.stderr.decode(errors='replace').strip()}")
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="same-")))
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def started(folder: Path, cells: Path, only: str, stack: ExitStack) -> subprocess.Popen[bytes]:
    """A process that runs the cases in a checkout and writes what they come to."""
    environment = os.environ | dict.fromkeys(THREADS, "1") | {"PYTHONPATH": str(folder), "PYTHONHASHSEED": "0"}
    command = [sys.executable, str(ROOT / "tools" / "same_cases.py"), str(cells), only]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=folder)
    stack.callback(process.wait)
    stack.callback(process.kill)  # called first: a process that has ended is not disturbed
    return process


def results(process: subprocess.Popen[bytes], folder: Path) -> Iterator[Any]:
    """The number of cases, then each case's name and facts."""
    assert process.stdout is not None
    try:
        imported, count = pickle.load(process.stdout)
        if Path(imported).resolve() != folder:
            raise SystemExit(f"{folder} was to be run, and Python imports tinygrad_rnn from {imported}")
        yield count
        for _ in range(count):
            yield pickle.load(process.stdout)
    except EOFError:
        raise SystemExit(f"the run of {folder} ended early, with exit code {process.wait()}; its message is above") from None


# -- comparing -----------------------------------------------------------------------------


def differences(case: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    """What differs between the facts of a case, in their order; first an error, after which there are none."""
    for fact in dict.fromkeys(["raises"] * ("raises" in {**old, **new}) + [*old, *new]):
        if fact not in new or fact not in old:
            value = old.get(fact, new.get(fact))
            told = f": {value}" if fact == "raises" else ""
            yield Difference(case, fact, f"only {'OLD' if fact in old else 'NEW'} has it{told}")
        elif told := unlike(old[fact], new[fact]):
            yield Difference(case, fact, told)


def unlike(old: Any, new: Any) -> str:
    """Where two facts first differ; empty if they don't."""
    if isinstance(old, np.ndarray) and isinstance(new, np.ndarray):
        return _unlike_arrays(old, new)
    if isinstance(old, str) and isinstance(new, str):
        return "" if old == new else _unlike_texts(old.splitlines(), new.splitlines())
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        changed = [f"{key} {old.get(key, 0)}, not {new.get(key, 0)}" for key in {**old, **new} if old.get(key) != new.get(key)]
        return "; ".join(f"{text} in NEW" for text in changed[:3]) + " …" * (len(changed) > 3)
    return "" if old == new else f"{old} in OLD, {new} in NEW"


def _unlike_arrays(old: Any, new: Any) -> str:
    if (old.dtype, old.shape) != (new.dtype, new.shape):
        return f"{old.dtype} {old.shape} in OLD, {new.dtype} {new.shape} in NEW"
    size = old.dtype.itemsize
    bits = [np.frombuffer(np.ascontiguousarray(a).tobytes(), np.uint8).reshape(-1, size) for a in (old, new)] if size else []
    wrong = np.flatnonzero((bits[0] != bits[1]).any(axis=1)) if old.size else []
    if not len(wrong):
        return ""
    where = ", ".join(map(str, np.unravel_index(wrong[0], old.shape)))
    first = f"[{where}] is {old.ravel()[wrong[0]]!r} in OLD, {new.ravel()[wrong[0]]!r} in NEW"
    with np.errstate(all="ignore"):
        largest = np.nanmax(np.abs(old.astype(float) - new.astype(float)), initial=0)
    return f"{first}; {len(wrong)} of {old.size} numbers differ, by {largest:.1e} at most"


def _unlike_texts(old: list[str], new: list[str]) -> str:
    lines = zip(old, new, strict=False)
    at = next((i for i, (a, b) in enumerate(lines) if a != b), min(len(old), len(new)))
    a, b = (lines[at].strip() if at < len(lines) else "nothing" for lines in (old, new))
    return f"line {at + 1} is {a!r} in OLD, {b!r} in NEW" + (f"; {len(old)} lines, {len(new)}" if len(old) != len(new) else "")


class Expected:
    """Differences that are known.

    Parameters
    ----------
    given : iterable of str
        Patterns of ``case: fact``, in which ``*`` stands for anything; or files with a pattern a line.
    """

    def __init__(self, given: Iterable[str]) -> None:
        self.used: dict[str, int] = {}
        for each in given:
            lines = Path(each).read_text(encoding="utf-8").splitlines() if Path(each).is_file() else [each]
            self.used |= {line.strip(): 0 for line in lines if line.strip() and not line.startswith("#")}

    def __contains__(self, found: Difference) -> bool:
        hits = [p for p in self.used if re.fullmatch(pattern(p), f"{found.case}: {found.fact}")]
        for hit in hits:
            self.used[hit] += 1
        return bool(hits)


def pattern(text: str) -> str:
    """A regular expression for a text in which ``*`` stands for anything."""
    return ".*".join(map(re.escape, text.split("*")))


def report(found: list[list[Difference]], cells: list[dict[str, Any]], limit: int) -> None:
    """Print the first difference of each case, how often each fact differs, and the shortest cell that shows something."""
    for first, *others in found[:limit]:
        more = f" (and {len(others)} more: {', '.join(d.fact for d in others[:4])}{' …' * (len(others) > 4)})" if others else ""
        print(f"{first}{more}")
    if len(found) > limit:
        print(f"… and {len(found) - limit} more cases; --limit shows more")
    facts = Counter(re.sub(r"\[.*\]|(?<=grad ).*|(?<=backward ).*|(?<=initial ).*", "…", one[0].fact) for one in found)
    print("first differences:", ", ".join(f"{fact} {n}" for fact, n in facts.most_common()))
    numbers = [int(one[0].case.split()[1].strip(",")) for one in found if one[0].case.startswith("cell ")]
    if numbers:
        shortest = min(numbers, key=lambda i: len(cells[i]["text"]))
        print(f"\ncell {shortest}, the shortest of them, {cells[shortest]['options']}:\n{cells[shortest]['text']}")


def main(arguments: list[str] | None = None) -> int:
    """Compare two checkouts; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", metavar="OLD", help="a folder, or a revision of git")
    parser.add_argument("new", metavar="NEW", help="a folder, or a revision of git")
    parser.add_argument("--cells", type=int, default=2000, metavar="N", help="how many random cells (2000)")
    parser.add_argument("--seed", type=int, default=0, help="of the random cells (0)")
    parser.add_argument("--only", action="append", metavar="PATTERN", help="run these cases only, such as 'layer GRU*'")
    parser.add_argument(
        "--expect", action="append", default=[], metavar="FILE", help="a file of known differences, or a pattern of one"
    )
    parser.add_argument("--limit", type=int, default=20, help="how many cases to print (20)")
    given = parser.parse_args(arguments)
    cells = draw_cells(given.cells, given.seed)
    expected = Expected(given.expect)
    with ExitStack() as stack:
        file = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="same-"))) / "cells"
        file.write_bytes(pickle.dumps(cells))
        folders = [checkout(text, stack) for text in (given.old, given.new)]
        only = "|".join(map(pattern, given.only or ["*"]))
        runs = [results(started(folder, file, only, stack), folder) for folder in folders]
        count, _ = (next(run) for run in runs)
        found = []
        for (case, old), (_, new) in progress(zip(*runs, strict=True), count):
            if rest := [d for d in differences(case, old, new) if d not in expected]:
                found.append(rest)
    if found:
        report(found, cells, given.limit)
    print(f"{len(found)} of {count} cases differ" if found else f"{count} cases are the same")
    for text, uses in expected.used.items():
        print(f"expected: {text}: {uses} times" if uses else f"expected, and not seen: {text}")
    return 1 if found or not count else 0


def progress(each: Iterable[Any], count: int) -> Iterable[Any]:
    """The same, with a bar if tqdm is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return each
    return tqdm(each, total=count, unit="case", leave=False, disable=None)


if __name__ == "__main__":
    sys.exit(main())
