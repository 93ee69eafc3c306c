"""Write two_tanks.csv, a plant's log: 1,000 rows, one every 16 seconds, with a break of 40 minutes.

python examples/data/make_two_tanks.py
"""

from datetime import datetime, timedelta
from pathlib import Path

from tinygrad_rnn.datasets import two_tanks

u, y = two_tanks(1150, rng=7)
start = datetime(2026, 3, 2, 8)
rows = [f"{start + timedelta(seconds=16 * t)},{u[t]:.3f},{y[t]:.3f}" for t in range(1150) if not 400 <= t < 550]
Path(__file__).with_name("two_tanks.csv").write_text("\n".join(["time,pump_V,level_cm", *rows]) + "\n", encoding="utf-8")
