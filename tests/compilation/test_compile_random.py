"""Compiled and uncompiled steps are compared: random models, and sequences of calls with changes in between."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compiled_twins import CELLS, CLIPPING, OPTIMIZERS, E, Twin, V, difference
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn.scan.native import libraries

# calls with NaN are run by Python, and a warning says so
pytestmark = pytest.mark.filterwarnings("ignore:.*the compiled program cannot compute this call:RuntimeWarning")

SHAPES = ((3, 2), (4, 1), (3, 2), (1, 2))
EVENTS = (
    "call", "call", "call", "numbers", "state", "scale", "accumulate", "evaluate", "another dtype",
    "a class that does not exist", "NaN", "freeze", "unfreeze", "learning rate", "eval", "train", "new optimiser", "rebind",
    "state dict", "no gradients",
)  # fmt: skip


def happen(twin: Twin, event: str, k: int) -> Any:
    """Apply an event to a twin, and return the result."""
    random = np.random.default_rng(k)
    T, B = SHAPES[k % len(SHAPES)]
    x, y = random.integers(0, V, (T, B)), random.integers(0, V, (T, B))
    numbers = random.normal(size=(T, B, E)).astype(twin.dtype)
    parameter = twin.parameters[k % len(twin.parameters)]
    match event:
        case "call":
            return twin.call("step", x, y)
        case "numbers":
            return twin.call("step", numbers, y)
        case "state":
            first = twin.call("step", x, y)
            return first if isinstance(first, tuple) or twin.cell == "unrolled" else twin.call("evaluate", x, y)
        case "scale":
            return twin.call("step", x, y, scale=0.5 + k)
        case "accumulate":
            return twin.call("step", x, y, accumulate=True)
        case "evaluate":
            return twin.call("evaluate", x, y)
        case "another dtype":
            return twin.call("step", x.astype(np.int8), tr.tensor(y))
        case "a class that does not exist":
            return twin.call("step", x, y + V)
        case "NaN":
            return twin.call("step", np.where(numbers > 1, np.nan, numbers).astype(twin.dtype), y)
        case "freeze" | "unfreeze":
            parameter.requires_grad_(event == "unfreeze")
        case "learning rate":
            twin.chosen.opt.lr = 0.001 * (k + 1)
        case "eval" | "train":
            twin.model.train(event == "train")
        case "new optimiser":
            twin.new_optimizer(sorted(OPTIMIZERS)[k % len(OPTIMIZERS)])
        case "rebind":
            parameter.data = parameter.data * 1.5
        case "state dict":
            twin.chosen.opt.load_state_dict(twin.chosen.opt.state_dict())
        case "no gradients":
            twin.model.zero_grad()
    return None


Events = list[tuple[str, int]]


def hold_together(cell: str, optimizer: str, clipping: str, dtype: Any, events: Events, tolerance: float) -> None:
    """Two twins that get the same events have the same results."""
    plain, compiled = (Twin(compiled, cell, optimizer, clipping, dtype) for compiled in (False, True))
    for n, (event, k) in enumerate(events):
        told = f"{events[: n + 1]}"
        assert not difference(happen(plain, event, k), happen(compiled, event, k), tolerance), told
        found = difference(plain.facts(), compiled.facts(), tolerance)
        assert not found, f"{told}: {found}"


events = st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 6)), min_size=2, max_size=8)


@given(st.sampled_from(CELLS), st.sampled_from(sorted(OPTIMIZERS)), st.sampled_from(CLIPPING), events)
@settings(max_examples=12)
def test_a_compiled_step_does_the_same(cell: str, optimizer: str, clipping: str, events: list[tuple[str, int]]) -> None:
    hold_together(cell, optimizer, clipping, float, [("call", 0), *events, ("call", 0)], 1e-9)


@pytest.mark.parametrize("cell, optimizer, clipping", [("GRU", "own", "norm"), ("own", "Adam", "value")])
def test_a_natively_compiled_step_does_the_same(
    cell: str, optimizer: str, clipping: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "LEVEL", "-O0")  # compilation takes a fifth of the time
    told = ["call", "call", "evaluate", "learning rate", "call", "NaN", "a class that does not exist", "call", "freeze", "call"]
    with tr.use("native"):
        hold_together(cell, optimizer, clipping, float, [(event, 0) for event in told], 1e-9)
