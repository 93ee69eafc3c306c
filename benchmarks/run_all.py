"""Measure everything that docs/performance.md shows, and write its tables and pictures: nine minutes on an idle machine.

pip install -e ".[bench]" && python benchmarks/run_all.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
OURS = ["ours", "ours, native"]
PEERS = ["torch.nn", "jax"]
LOOP = ["torch loop", "floor"]
LAYERS = ["RNN", "LSTM", "GRU"]
RUNS = {  # name of the results: command
    "recurrent": ["recurrent.py", "--seconds", "1.5", "--contestants", *OURS, *PEERS, *LOOP],
    "threads": ["recurrent.py", "--threads", "2", "--seconds", "2", "--cells", *LAYERS, "--contestants", *OURS, *PEERS],
    "steps": ["training_step.py", "--seconds", "0.6"],
    "overhead": ["overhead.py"],
}


def main() -> None:
    """Run one after another; the machine should have nothing else to do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS), metavar="NAME", help=f"of {', '.join(RUNS)}")
    parser.add_argument("--quick", action="store_true", help="a trial of two minutes: smaller sizes, few rounds")
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="DIR", help="default: benchmarks/results")
    parser.add_argument("--page", type=Path, metavar="FILE", help="default: docs/performance.md")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    for name in options.only:
        command = list(RUNS[name])
        if options.quick and "--seconds" in command:
            del command[(i := command.index("--seconds")) : i + 2]
        call(command + ["--quick"] * options.quick + ["--json", str((options.results / f"{name}.json").resolve())])
        print(f"\n{name}: {time.perf_counter() - begin:.0f} s since the start\n", flush=True)
    page = [] if options.page is None else ["--page", str(options.page.resolve())]
    call(["pictures.py", "--results", str(options.results.resolve()), *page])


def call(command: list[str]) -> None:
    """Run a program of this folder; ends this one if it fails."""
    print(f"$ python benchmarks/{' '.join(command)}", flush=True)
    if code := subprocess.run([sys.executable, HERE / command[0], *command[1:]], check=False).returncode:
        sys.exit(f"benchmarks/{command[0]} failed with {code}; the results before it are kept")


if __name__ == "__main__":
    main()
