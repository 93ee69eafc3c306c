"""Write the tables and pictures of docs/performance.md from the files in benchmarks/results/.

A table stands on the page between ``<!-- name: made by benchmarks/pictures.py -->`` and ``<!-- end -->``; all else on the
page is written by hand.

    python benchmarks/pictures.py
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
PART = re.compile(r"(<!-- (\w+): made by benchmarks/pictures\.py -->\n).*?(<!-- end -->)", re.DOTALL)

NUMPY, NATIVE, COMPILED = "ours", "ours, native", "native, compiled"
CELLS = ("RNN", "LSTM", "GRU", "MGU", "LN-LSTM")
NAMES = {NUMPY: "ours, NumPy", NATIVE: "native", "jax": "JAX", "torch": "PyTorch"}
RESULTS = ("recurrent", "steps", "threads", "overhead")
"""The files of `run_all.py`."""
Times = dict[str, float]
Reports = dict[str, dict[str, Any]]


# -- results ---------------------------------------------------------------------------------


def read(folder: Path) -> Reports:
    """The results that the page shows, by the names of their files."""
    reports = {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in RESULTS}
    for report in reports.values():
        for result in report["results"]:
            result.setdefault("size", [result.get(name) for name in "TBH"])
    return reports


def times(report: dict[str, Any]) -> dict[tuple[str, str], Times]:
    """The milliseconds of all contestants, by cell and sizes."""
    return {(r["cell"], ", ".join(map(str, r["size"]))): r["milliseconds"] for r in report["results"]}


def ratios(report: dict[str, Any], cell: str, theirs: str, ours: str) -> list[float]:
    """Their time over ours, for all sizes of a cell that both were timed at."""
    return [t[theirs] / t[ours] for (name, _), t in times(report).items() if name == cell and theirs in t and ours in t]


# -- tables ----------------------------------------------------------------------------------


def digits(value: float | None) -> str:
    """Three digits; a dash for what was not timed."""
    return "–" if value is None else f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def mean(values: Sequence[float]) -> str:
    """The geometric mean, and the least."""
    return f"{digits(statistics.geometric_mean(values))} ({digits(min(values))})" if values else "–"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, with numbers to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def layers(reports: Reports) -> str:
    """Means over the sizes."""
    report = reports["recurrent"]
    peers = ("torch.nn", "torch loop", "jax")
    head = ["", *[f"{NAMES.get(name, name)} / {ours}" for ours in ("native", "NumPy") for name in peers], "floor / native"]
    pairs = [*[(name, ours) for ours in (NATIVE, NUMPY) for name in peers], ("floor", NATIVE)]
    return table(head, [[cell, *[mean(ratios(report, cell, *pair)) for pair in pairs]] for cell in present(report)])


def present(report: dict[str, Any]) -> list[str]:
    """The cells of a report."""
    return list(dict.fromkeys(result["cell"] for result in report["results"]))


def sizes(reports: Reports) -> str:
    """Milliseconds of both backends at each size."""
    report = reports["recurrent"]
    found = times(report)

    def entry(cell: str, size: str) -> str:
        there = found.get((cell, size), {})
        return f"{digits(there.get(NUMPY))} → {digits(there.get(NATIVE))}"

    rows = [[size, *[entry(cell, size) for cell in present(report)]] for size in dict.fromkeys(size for _, size in found)]
    return table(["T, B, I = H", *present(report)], rows)


def steps(reports: Reports) -> str:
    """Milliseconds of a training step, and ratios."""
    report = reports["steps"]
    found = times(report)
    names = list(dict.fromkeys(name for there in found.values() for name in there))
    peers = [name for name in ("torch", "jax") if name in names]
    over = [f"{NAMES[name]} / {COMPILED}" for name in peers]
    rows = [
        [cell, size, *[digits(there.get(name)) for name in names], *[digits(divided(there, name, COMPILED)) for name in peers]]
        for (cell, size), there in found.items()
    ]
    rows += [
        [cell, "mean (least)", *["" for _ in names], *[mean(ratios(report, cell, name, COMPILED)) for name in peers]]
        for cell in present(report)
    ]
    return table(["", "T, B, E, H", *[NAMES.get(name, name) for name in names], *over], rows)


def divided(there: Times, theirs: str, ours: str) -> float | None:
    """A ratio, if both were timed."""
    return there[theirs] / there[ours] if theirs in there and ours in there else None


def overhead(reports: Reports) -> str:
    """Milliseconds in C and in Python."""
    rows = [
        [cell, size, digits(there["C"]), digits(there["Python"]), f"{there['Python'] / sum(there.values()):.0%}"]
        for (cell, size), there in times(reports["overhead"]).items()
    ]
    return table(["", "T, B, H or T, B, E, H", "in C, ms", "in Python, ms", "Python's part"], rows)


def threads(reports: Reports) -> str:
    """Two threads: against others with two, and against one thread of the same library."""
    one, two = times(reports["recurrent"]), times(reports["threads"])
    peers = ("torch.nn", "jax")

    def gain(key: tuple[str, str], name: str) -> float | None:
        return one[key][name] / two[key][name] if name in one.get(key, {}) and name in two[key] else None

    rows = [
        [
            *key,
            *[digits(divided(there, name, NATIVE)) for name in peers],
            *[digits(gain(key, name)) for name in (NATIVE, *peers)],
        ]
        for key, there in two.items()
    ]
    head = [f"{NAMES.get(name, name)} / native" for name in peers]
    gains = [f"gain of {NAMES.get(name, name)}" for name in (NATIVE, *peers)]
    return table(["", "T, B, I = H", *head, *gains], rows)


def behind(reports: Reports) -> str:
    """Where the native backend is slower than PyTorch or JAX."""
    found = []
    for name, ours, what in (
        ("recurrent", NATIVE, "layer"),
        ("steps", COMPILED, "training step"),
        ("threads", NATIVE, "two threads"),
    ):
        for (cell, size), there in times(reports[name]).items():
            for theirs in ("torch.nn", "torch", "torch loop", "jax"):
                if (value := divided(there, theirs, ours)) is not None and value < 0.995:
                    found.append([what, cell, size, NAMES.get(theirs, theirs), digits(value)])
    return (
        table(["", "cell", "sizes", "faster is", "its time / ours"], found)
        if found
        else "None: the native backend was the fastest at each size."
    )


def machine(reports: Reports) -> str:
    """What was measured on."""
    where = reports["recurrent"]["machine"]
    libraries = ", ".join(f"{name} {version}" for name, version in where["libraries"].items() if name != "jaxlib")
    trials = [name for name, report in reports.items() if report.get("quick")]
    busy = [name for name, report in reports.items() if is_busy(report)]
    notes = [f"{', '.join(trials)}: a trial with `--quick`, of few sizes and rounds."] * bool(trials)
    notes += [f"{', '.join(busy)}: the machine was busy with other work."] * bool(busy)
    warning = f"\n\n**Do not quote these times.** {' '.join(notes)}" if notes else ""
    return f"{where['processor']}, {where['system']}; Python {where['python']}, {libraries}; float32.{warning}"


def is_busy(report: dict[str, Any]) -> bool:
    """Whether there was more to run than the processors and the benchmark before it can explain."""
    where = report["machine"]
    return (where.get("load") or 0) > (where.get("processors") or 1) + 1


TABLES: dict[str, Callable[[Reports], str]] = {
    part.__name__: part for part in (machine, layers, sizes, steps, overhead, threads, behind)
}


def filled(text: str, reports: Reports) -> str:
    """The page, with all tables made anew."""
    return PART.sub(lambda found: f"{found[1]}\n{TABLES[found[2]](reports)}\n\n{found[3]}", text)


# -- pictures --------------------------------------------------------------------------------

STYLES = {  # colours that the colour-blind can tell apart, after Okabe and Ito
    NATIVE: ("#000000", "o"),
    COMPILED: ("#000000", "o"),
    NUMPY: ("#56B4E9", "o"),
    "native": ("#999999", "o"),
    "numpy": ("#56B4E9", "v"),
    "numpy, compiled": ("#56B4E9", "o"),
    "torch.nn": ("#D55E00", "s"),
    "torch": ("#D55E00", "s"),
    "torch loop": ("#E69F00", "D"),
    "jax": ("#0072B2", "^"),
}
TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)


def draw_ratios(report: dict[str, Any], base: str, letters: str, path: Path) -> None:
    """A panel for each cell: each contestant's time divided by the base's; the floor as a shade."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator

    cells, found = present(report), times(report)
    columns = min(3, len(cells))
    lines = -(-len(cells) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.6 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, sharey=True, squeeze=False)
    panels = list(axes.flatten())
    every = [1.0]
    for cell, panel in zip(cells, panels, strict=False):
        rows = {size: there for (name, size), there in found.items() if name == cell}
        for name in ("floor", *STYLES):
            known = [(k, y) for k, there in enumerate(rows.values()) if (y := divided(there, name, base)) is not None]
            if not known:
                continue
            x, y = zip(*known, strict=True)
            every += y
            if name == "floor":
                panel.bar(x, y, width=1, color="#e6e6e6", label="matrix products alone")
                continue
            colour, marker = STYLES[name]
            panel.plot(
                x,
                y,
                color=colour,
                marker=marker,
                markersize=5.5,
                linewidth=2.2 if name == base else 1.3,
                label=NAMES.get(name, name),
            )
        panel.set_title(cell, loc="left", fontweight="bold")
        panel.set_xticks(range(len(rows)), [size.replace(", ", "\n") for size in rows])
        panel.set_xlim(-0.5, len(rows) - 0.5)
        name_sizes(panel, letters)
        panel.set_yscale("log")
        panel.grid(axis="y", color="#dddddd", linewidth=0.6)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(length=0)
    panels[0].set_ylim(0.8 * min(every), 1.25 * max(every))
    panels[0].yaxis.set_major_locator(FixedLocator([tick for tick in TICKS if min(every) <= tick <= max(every)]))
    panels[0].yaxis.set_minor_locator(NullLocator())
    panels[0].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for panel in axes[:, 0]:
        panel.set_ylabel(f"time relative to: {NAMES.get(base, base)}")
    for panel in panels[len(cells) :]:
        panel.axis("off")
    entries = {label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    options = {"loc": "outside right upper", "frameon": False, "title": "up: slower", "alignment": "left"}
    figure.legend(entries.values(), entries.keys(), **options)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def name_sizes(panel: Any, letters: str) -> None:
    """Letters left of the sizes below a panel."""
    where = {"ha": "right", "va": "top", "color": "#666666"}
    panel.annotate("\n".join(letters), (0, 0), (-8, -3.5), "axes fraction", "offset points", **where)


def draw_overhead(report: dict[str, Any], path: Path) -> None:
    """Bars of the time in C and in Python, a panel for layers and steps."""
    from matplotlib.figure import Figure

    found, kinds = times(report), present(report)
    figure = Figure(figsize=(4.2 * len(kinds), 3.4), layout="constrained")
    for kind, panel in zip(kinds, figure.subplots(1, len(kinds), sharey=True), strict=True):
        rows = {size: there for (name, size), there in found.items() if name == kind}
        parts = [100 * there["C"] / sum(there.values()) for there in rows.values()]
        panel.bar(range(len(rows)), parts, color="#0072B2", label="in C")
        panel.bar(range(len(rows)), [100 - part for part in parts], bottom=parts, color="#E69F00", label="in Python")
        for k, there in enumerate(rows.values()):
            panel.annotate(
                f"{digits(sum(there.values()))}", (k, 101), ha="center", fontsize=8, color="#666666", annotation_clip=False
            )
        panel.set_title(f"{report['of']}, {kind}", loc="left", fontweight="bold", pad=16)
        panel.set_xticks(range(len(rows)), [size.replace(", ", "\n") for size in rows])
        name_sizes(panel, "TBH" if kind == "layer" else "TBEH")
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(length=0)
        panel.set_ylim(0, 100)
    first = figure.axes[0]
    first.set_ylabel("percent of the time;\nabove: milliseconds")
    figure.legend(*first.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def draw(reports: Reports, folder: Path) -> None:
    """All pictures of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    draw_ratios(reports["recurrent"], NATIVE, "TBH", folder / "layers.png")
    draw_ratios(reports["steps"], COMPILED, "TBEH", folder / "steps.png")
    draw_ratios(reports["threads"], NATIVE, "TBH", folder / "threads.png")
    draw_overhead(reports["overhead"], folder / "overhead.png")


def main() -> None:
    """Write the page and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="DIR", help="default: benchmarks/results")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE", help="default: docs/performance.md")
    options = parser.parse_args()
    reports = read(options.results)
    options.page.write_text(filled(options.page.read_text(encoding="utf-8"), reports), encoding="utf-8")
    draw(reports, options.page.parent / "pictures" / "performance")
    print(f"written: {options.page} and its pictures")


if __name__ == "__main__":
    main()
