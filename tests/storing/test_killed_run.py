"""A run that is killed at any moment and continued gives the same bits as an uninterrupted run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim
from tinygrad_rnn.errors import DataError

UPDATES = 30

RUN = f"""
import sys
from pathlib import Path
import numpy as np, tinygrad_rnn as tr
from tinygrad_rnn import nn, optim

path = Path(sys.argv[1])
if path.exists():
    model, training = tr.load(path, "model", "training")
else:
    tr.seed(0)
    model = nn.Sequential(nn.Embedding(5, 3), nn.GRU(3, 4, num_layers=2, dropout=0.25), nn.Linear(4, 5))
    optimizer = optim.Adam(model.parameters(), lr=0.01, weight_decay=0.01)
    schedule = optim.WarmupCosine(optimizer, total={UPDATES}, warmup=5)
    training = {{"optimizer": optimizer, "schedule": schedule, "order": np.random.default_rng(1), "update": 0}}
optimizer, schedule, order = (training[name] for name in ("optimizer", "schedule", "order"))
for update in range(training["update"], {UPDATES}):
    codes = order.integers(0, 5, (6, 2))
    optimizer.zero_grad()
    loss = nn.cross_entropy(model(codes[:-1]), codes[1:])
    loss.backward()
    optim.clip_grad_norm(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    tr.save(model, path, training={{**training, "update": update + 1, "rng": True}})
    print(update, flush=True)
"""


def start(path: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(tr.__file__).parents[1])}
    return subprocess.Popen([sys.executable, "-c", RUN, str(path)], stdout=subprocess.PIPE, text=True, env=environment)


def finished(path: Path) -> bytes:
    with start(path) as run:
        assert run.stdout is not None and run.stdout.read().strip().endswith(str(UPDATES - 1)) and run.wait() == 0
    return path.read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_killed_and_continued(tmp_path):
    moment = random.SystemRandom().uniform(0.0, 0.05)
    path = tmp_path / "killed.safetensors"
    with start(path) as run:
        assert run.stdout is not None and run.stdout.readline()  # the run has begun
        time.sleep(moment)
        os.kill(run.pid, signal.SIGKILL)
        done = run.stdout.read().split()
    assert not done or int(done[-1]) < UPDATES - 1, "the run ended before it was killed"
    assert tr.load(path, "training")["update"] >= 1
    assert finished(path) == finished(tmp_path / "whole.safetensors"), f"killed {moment} s after the first update"


def trained(model: nn.Module, optimizer: optim.Optimizer, xs: np.ndarray, updates: int) -> None:
    for _ in range(updates):
        optimizer.zero_grad()
        (model(xs) ** 2).mean().backward()
        optimizer.step()


KINDS = st.sampled_from(
    [
        (optim.SGD, {}),
        (optim.SGD, {"momentum": 0.5, "weight_decay": 0.1}),
        (optim.RMSProp, {"momentum": 0.5, "centered": True, "alpha": 0.5}),
        (optim.Adam, {"betas": (0.5, 0.75), "eps": 1e-3}),
        (optim.AdamW, {"weight_decay": 0.5}),
    ]
)


@given(KINDS, st.integers(0, 3), st.integers(1, 3), st.sampled_from([np.float16, np.float32, np.float64]), st.booleans())
def test_every_optimiser_goes_on(tmp_path_factory, kind, before, after, dtype, frozen):
    path = tmp_path_factory.getbasetemp() / "run.safetensors"
    make, options = kind
    model = nn.Sequential(nn.Linear(2, 3, dtype=dtype), nn.Dropout(0.5), nn.Linear(3, 1, dtype=dtype))
    model[0].bias.requires_grad_(not frozen)
    optimizer, xs = make(model.parameters(), lr=0.1, **options), np.ones((4, 2), dtype)
    trained(model, optimizer, xs, before)
    optimizer.lr = 0.25
    tr.save(model, path, training={"optimizer": optimizer, "rng": True})
    trained(model, optimizer, xs, after)
    again, training = tr.load(path, "model", "training")
    assert all(p is q for p, q in zip(training["optimizer"].parameters, again.parameters(), strict=True))
    trained(again, training["optimizer"], xs, after)
    np.testing.assert_equal(again.state_dict(), model.state_dict())
    np.testing.assert_equal(training["optimizer"].state_dict(), optimizer.state_dict())


class Signs(optim.Optimizer):
    """A user's own optimiser."""

    state_names = ("m",)

    def __init__(self, parameters, lr=0.1, decay=0.5):
        super().__init__(parameters, lr)
        self.decay = decay

    def update(self, data, g, memory):
        memory["m"] = self.decay * memory.get("m", 0.0) + g
        return -self.lr * np.sign(memory["m"])


def test_an_optimiser_of_ones_own(tmp_path):
    model = nn.Linear(2, 1)
    optimizer = Signs(model.parameters(), decay=0.25)
    trained(model, optimizer, np.ones((1, 2)), 2)
    tr.save(model, tmp_path / "m.safetensors", training={"optimizer": optimizer, "h": tr.tensor([[1.0]]), "best": float("inf")})
    training = tr.load(tmp_path / "m.safetensors", "training", classes=[Signs])
    assert type(training["optimizer"]) is Signs and training["optimizer"].decay == 0.25
    assert training["h"].data.tolist() == [[1.0]] and training["best"] == float("inf")
    with pytest.raises(DataError, match=r"give it as classes=\[Signs\]"):
        tr.load(tmp_path / "m.safetensors", "training")
    assert isinstance(tr.load(tmp_path / "m.safetensors"), nn.Linear)  # the optimiser's class is not needed for the model


def test_the_generator_is_put_into_use_only_with_the_training(tmp_path):
    tr.seed(5)
    tr.save(nn.Linear(2, 1), tmp_path / "m.safetensors", training={"rng": True})
    expected = tr.random.generator().random()
    tr.seed(6)
    before = tr.random.generator()
    tr.load(tmp_path / "m.safetensors")
    assert tr.random.generator() is before
    tr.load(tmp_path / "m.safetensors", "training")
    assert tr.random.generator().random() == expected
    tr.seed(None)
