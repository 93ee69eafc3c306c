"""Searches and many series on one process and on two: how much a second process brings, from which size on.

    pip install -e ".[dask]"
    python benchmarks/sweeps.py --json benchmarks/results/sweeps.json
    python benchmarks/sweeps.py --read benchmarks/results/sweeps.json

Each job is a number of fits of one size. It is run by a loop, by joblib on its own processes, and by joblib on
a local Dask cluster. The processes run before anything is timed, and have one thread each. Rounds are interleaved, and the
least time of each counts. What Dask costs is counted in processor time, which other work on the machine disturbs less: that of
the workers, and that of this process, which holds the client and the scheduler.
"""

from __future__ import annotations

import argparse
import functools
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
MANY, WORKERS = 10_000, 100  # of the arithmetic
JOBS = {  # fits, rows of each series, and what is fitted
    "AR(2)": (60, 1000, ARRegressor(order=2)),
    "ARX": (24, 1000, NARXRegressor(hidden_size=0, closed_loop=False, max_iter=3)),
    "NARX, open loop": (8, 1000, NARXRegressor(hidden_size=4, closed_loop=False, restarts=1, max_iter=10, random_state=0)),
    "NARX, both loops": (6, 1000, NARXRegressor(hidden_size=4, restarts=1, max_iter=10, random_state=0)),
}


def fit(model: Any, u: Any, y: Any) -> float:
    """One fit of a sweep; what comes back is small."""
    found = model.fit(u[:, None] if model.reads_inputs else None, y)
    return float(found.residuals_.std())


def measure(rounds: int) -> dict[str, Any]:
    """Least seconds of each job in each way."""
    from distributed import Client, LocalCluster

    options = {"n_workers": PROCESSES, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": logging.ERROR}
    result: dict[str, Any] = {"machine": machine(), "processes": PROCESSES, "jobs": {}}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        for name, (fits, rows, model) in JOBS.items():
            series = [datasets.two_tanks(rows, rng=seed) for seed in range(fits)]

            def timed(way: str, model: Any = model, series: Any = series) -> tuple[float, float, float]:
                workers = sum(client.run(time.process_time).values())
                start, own = time.perf_counter(), time.process_time()
                if way == "loop":
                    found = [fit(model, u, y) for u, y in series]
                else:
                    flat = [data for pair in series for data in pair]
                    options = {"scatter": flat} if way == "dask" else {"backend": "loky", "n_jobs": PROCESSES}
                    with joblib.parallel_config(**{"backend": "dask", **options}):
                        found = joblib.Parallel()(joblib.delayed(fit)(model, u, y) for u, y in series)
                assert len(found) == len(series)
                passed = time.perf_counter() - start, time.process_time() - own
                return *passed, sum(client.run(time.process_time).values()) - workers

            kept = client.scatter([data for pair in series for data in pair], broadcast=True)  # noqa: F841
            turns = {way: functools.partial(timed, way) for way in ("loop", "joblib", "dask")}
            for run in turns.values():
                run()  # processes begin, and import
            times = interleaved(turns, dict.fromkeys(turns, rounds))
            least = {way: [min(column) for column in zip(*found, strict=True)] for way, found in times.items()}
            result["jobs"][name] = {"fits": fits, "rows": rows, "wall": {way: found[0] for way, found in least.items()}}
            result["jobs"][name] |= {"own": least["loop"][1], "main": least["dask"][1], "workers": least["dask"][2]}
            print(f"{name}: done", file=sys.stderr)
    return result


def table(result: dict[str, Any]) -> str:
    """What is measured, and what it says of 100 workers."""
    lines = [
        f"{result['machine']['processor']}; {result['processes']} processes of one thread; least of interleaved rounds",
        "",
    ]
    lines.append(f"{'':18}{'times as fast':>15}    processor time of a fit by Dask, ms")
    lines.append(f"{'':18}{'joblib':>9}{'dask':>6}{'the fit itself':>19}{'beside it':>12}{'in your process':>18}")
    for name, job in result["jobs"].items():
        gains = [job["wall"]["loop"] / job["wall"][way] for way in ("joblib", "dask")]
        own, main, workers = (1000 * job[key] / job["fits"] for key in ("own", "main", "workers"))
        lines.append(f"{name:18}{gains[0]:9.2f}{gains[1]:6.2f}{own:19.1f}{max(workers - own, 0):12.1f}{main:18.1f}")
    lines += ["", f"{MANY:,} fits, in minutes{'a loop':>12}{WORKERS:>8} workers{'workers busy':>15}"]
    for name, job in result["jobs"].items():
        own, main, workers = (job[key] / job["fits"] for key in ("own", "main", "workers"))
        found = max(workers / WORKERS, main)
        lines.append(f"{name:24}{MANY * own / 60:12.1f}{MANY * found / 60:16.1f}{min(workers / main, WORKERS):15.0f}")
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
