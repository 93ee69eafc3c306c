"""Searches and many series on one process and on two: how much a second process brings, from which size on.

    pip install -e ".[dask]"
    python benchmarks/sweeps.py --json benchmarks/results/sweeps.json
    python benchmarks/sweeps.py --read benchmarks/results/sweeps.json

Each job is a number of fits of one size. It is run by a loop, by joblib on its own processes, and by joblib on
a local Dask cluster. The processes run before anything is timed, and have one thread each. Rounds are interleaved, and the
least time of each counts. What a fit costs beside its own work is (P · time on P processes - time of the loop) / fits.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
os.environ |= dict.fromkeys(THREADS, "1")  # before NumPy is imported, here and in the processes

import joblib
from _timing import interleaved, machine

from tinygrad_rnn import datasets
from tinygrad_rnn.estimators import ARRegressor, NARXRegressor

PROCESSES = 2
JOBS = {  # fits, rows of each series, and what is fitted
    "AR(2)": (200, 1000, ARRegressor(order=2)),
    "ARX": (60, 1000, NARXRegressor(hidden_size=0, closed_loop=False, max_iter=3)),
    "NARX, open loop": (30, 1000, NARXRegressor(hidden_size=4, closed_loop=False, restarts=1, max_iter=10, random_state=0)),
    "NARX, both loops": (12, 1000, NARXRegressor(hidden_size=4, restarts=1, max_iter=10, random_state=0)),
}


def fit(model: Any, u: Any, y: Any) -> float:
    """One fit of a sweep; what comes back is small."""
    found = model.fit(u[:, None] if model.reads_inputs else None, y)
    return float(found.residuals_.std())


def measure(rounds: int) -> dict[str, Any]:
    """Least seconds of each job in each way."""
    from distributed import Client, LocalCluster

    options = {"n_workers": PROCESSES, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": logging.ERROR}
    result: dict[str, Any] = {"machine": machine(), "processes": PROCESSES, "jobs": {}}
    with LocalCluster(**options) as cluster, Client(cluster):
        for name, (fits, rows, model) in JOBS.items():
            series = [datasets.two_tanks(rows, rng=seed) for seed in range(fits)]

            def timed(backend: str | None, model: Any = model, series: Any = series) -> float:
                start = time.perf_counter()
                if backend is None:
                    found = [fit(model, u, y) for u, y in series]
                else:
                    flat = [data for pair in series for data in pair]
                    with joblib.parallel_config(backend, **({"scatter": flat} if backend == "dask" else {"n_jobs": PROCESSES})):
                        found = joblib.Parallel()(joblib.delayed(fit)(model, u, y) for u, y in series)
                assert len(found) == len(series)
                return time.perf_counter() - start

            turns = {"loop": lambda: timed(None), "joblib": lambda: timed("loky"), "dask": lambda: timed("dask")}
            for run in turns.values():
                run()  # processes begin, and import
            times = interleaved(turns, dict.fromkeys(turns, rounds))
            result["jobs"][name] = {"fits": fits, "rows": rows, **{way: min(found) for way, found in times.items()}}
            print(f"{name}: done", file=sys.stderr)
    return result


def extra(job: dict[str, Any], way: str, processes: int) -> float:
    """Seconds that a fit costs beside its own work, on all processes together."""
    return max(processes * job[way] - job["loop"], 0.0) / job["fits"]


def table(result: dict[str, Any]) -> str:
    """What is measured, and what it says of 100 workers."""
    P = result["processes"]
    lines = [f"{result['machine']['processor']}; {P} processes of one thread; least of interleaved rounds", ""]
    lines.append(f"{'':18}{'one fit':>9}   times as fast as a loop    extra for each fit")
    lines.append(f"{'':18}{'ms':>9}{'joblib':>13}{'dask':>8}{'joblib ms':>15}{'dask ms':>10}")
    for name, job in result["jobs"].items():
        own = 1000 * job["loop"] / job["fits"]
        gains = [job["loop"] / job[way] for way in ("joblib", "dask")]
        extras = [1000 * extra(job, way, P) for way in ("joblib", "dask")]
        lines.append(f"{name:18}{own:9.1f}{gains[0]:13.2f}{gains[1]:8.2f}{extras[0]:15.1f}{extras[1]:10.1f}")
    return "\n".join(lines)


def main() -> None:
    """Measure, or print an earlier run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="where the times go")
    parser.add_argument("--read", type=Path, help="print an earlier run")
    asked = parser.parse_args()
    result = json.loads(asked.read.read_text("utf-8")) if asked.read else measure(asked.rounds)
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
