"""What the benchmarks share: cores and threads, interleaved rounds, what the machine is."""

from __future__ import annotations

import gc
import os
import platform
import random
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = ("numpy", "torch", "jax", "jaxlib", "mygrad", "autograd", "numba")


def restrict(threads: int) -> None:
    """Keep this process, and what it starts, to that many cores and threads; before NumPy is imported."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(threads)
    os.environ["TINYGRAD_RNN_THREADS"] = str(threads)
    eigen = "false" if threads == 1 else "true"
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={eigen} intra_op_parallelism_threads={threads}"
    os.environ["JAX_PLATFORMS"] = "cpu"
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < threads:
            raise SystemExit(f"{threads} threads need {threads} cores, and this process may use {len(cores)}")
        os.sched_setaffinity(0, cores[:threads])


def clock(run: Callable[[], object], calls: int = 1) -> float:
    """Seconds per call. What others left is collected first; a short call is made once more, so that caches are warm."""
    gc.collect()
    if calls > 1:
        run()
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def interleaved(turns: Mapping[str, Callable[[], float]], rounds: Mapping[str, int]) -> dict[str, list[float]]:
    """What each turn returned in its rounds. The order is shuffled; who has fewer rounds has them spread over all."""
    shuffle = random.Random(0).shuffle
    found: dict[str, list[float]] = {name: [] for name in turns}
    total = max(rounds.values(), default=0)
    for i in range(total):
        due = [name for name in turns if (i + 1) * rounds[name] // total > i * rounds[name] // total]
        shuffle(due)
        for name in due:
            found[name].append(turns[name]())
    return found


def machine() -> dict[str, Any]:
    """Processor, cores in use, load at the start, Python and the versions of the libraries that are installed."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "system": platform.platform(),
        "cores": cores,
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "libraries": versions,
    }
