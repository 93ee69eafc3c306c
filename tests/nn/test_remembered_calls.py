"""A layer remembers facts about similar calls; after any change, it still gives the same results as a new layer."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import TinygradError

SCALE = 1.0
XS = np.random.default_rng(0).normal(size=(6, 3, 4)).astype("float32")


class Scaled(nn.Cell):
    """h = tanh(x U + h W) times an attribute, a global and a number in a tuple; with dropout, and a counter in a slot."""

    factor = 1.0

    def __init__(self) -> None:
        super().__init__()
        generator = np.random.default_rng(1)
        self.U, self.W = (nn.Parameter(generator.normal(0, 0.4, (4, 4)).astype("float32")) for _ in range(2))
        self.state_shape = ((4,), (1,))
        self.powers = (1, (2, 3.0))
        self.weights = [1.0]
        self.drop = nn.Dropout(0.0)

    def step(self, x: tr.Tensor, state: tuple[tr.Tensor, tr.Tensor]) -> tuple[tr.Tensor, tuple[tr.Tensor, tr.Tensor]]:
        h, n = state
        a = tr.tanh(x @ self.U + self.drop(h) @ self.W) * SCALE * self.factor * self.weights[0] + self.powers[1][1]
        h = (a * 2 if self.training else a).named("h")
        return h, (h, n + self.W.requires_grad)


def tell(layer: nn.Recurrent, **values: Any) -> None:
    for name, value in values.items():
        setattr(layer.cell, name, value)


def rebind(layer: nn.Recurrent) -> None:
    layer.cell.W.data = layer.cell.W.data * 0.5


def drop(layer: nn.Recurrent) -> None:
    layer.cell.drop.p = 0.5


def weigh(layer: nn.Recurrent) -> None:
    layer.cell.weights[0] = 3.0


def patch(layer: nn.Recurrent) -> None:
    Scaled.factor = 2.0


def scale(layer: nn.Recurrent) -> None:
    globals()["SCALE"] = 0.5


def patch_dropout(layer: nn.Recurrent) -> None:
    nn.Dropout.forward = lambda self, x: x * 2


CHANGES = {
    "a patched class of the library": patch_dropout,
    "a rebound parameter": rebind,
    "a frozen parameter": lambda layer: layer.cell.W.requires_grad_(False),
    "another parameter": lambda layer: tell(layer, W=nn.Parameter(np.eye(4, dtype="float32"))),
    "a parameter of another dtype": lambda layer: tell(layer, W=nn.Parameter(np.eye(4))),
    "eval": lambda layer: layer.eval(),
    "dropout": drop,
    "an attribute": lambda layer: tell(layer, factor=3.0),
    "an attribute that is equal, of another type": lambda layer: tell(layer, factor=np.float64(1)),
    "a tuple": lambda layer: tell(layer, powers=(1, (2, 4.0))),
    "an item of a list": weigh,
    "an attribute of the class": patch,
    "a global": scale,
    "the direction": lambda layer: setattr(layer, "reverse", True),
    "a checkpoint": lambda layer: setattr(layer, "checkpoint", 2),
    "a loop in Python": lambda layer: setattr(layer, "mode", "unroll"),
}
CALLS: dict[str, dict[str, Any]] = {
    "a longer sequence": {"xs": np.concatenate([XS, XS])},
    "a larger batch": {"xs": np.concatenate([XS, XS], axis=1)},
    "float64": {"xs": XS.astype(float)},
    "integers": {"xs": np.ones((6, 3, 4), int)},
    "a sequence of columns": {"xs": np.asfortranarray(XS)},
    "a sequence that is spread": {"xs": np.broadcast_to(XS[:1], XS.shape)},
    "too many features": {"xs": np.ones((6, 3, 5), "float32")},
    "no batch": {"xs": XS[:, 0]},
    "lengths": {"lengths": [6, 2, 0]},
    "too long lengths": {"lengths": [7, 2, 0]},
    "force": {"force": {"h": XS}},
    "force at some steps": {"force": {"h": XS}, "force_mask": [True, False] * 3},
    "force of another slot": {"force": {"g": XS}},
    "a state": {"state": (XS[0], np.zeros((3, 1), "float32"))},
    "a state of another shape": {"state": (XS[0, :2], np.zeros((3, 1), "float32"))},
    "no outputs": {"final_state_only": True},
}


FORWARD = nn.Dropout.forward


def restore() -> None:
    Scaled.factor = 1.0
    nn.Dropout.forward = FORWARD
    globals()["SCALE"] = 1.0


@pytest.fixture(autouse=True)
def unchanged():
    yield
    restore()


def found(layer: nn.Recurrent, call: dict[str, Any]) -> list[np.ndarray] | str:
    """All results of a call and its gradients, or the error."""
    tr.seed(0)
    layer.zero_grad()
    arguments = {"xs": XS} | call
    xs = arguments.pop("xs")
    x = tr.tensor(xs, requires_grad=xs.dtype.kind == "f")
    try:
        outputs, state = layer(x, **arguments)
    except TinygradError as error:
        return str(error)
    results = [*state] if outputs is None else [outputs, *state]
    tr.sum(results[0] * results[0]).backward()
    gradients = [t.grad for t in (x, *layer.parameters())]
    return [t.data for t in results] + [np.zeros(0) if g is None else g.data for g in gradients]


def check(change, call: dict[str, Any]) -> None:
    layer = nn.Recurrent(Scaled())
    before = found(layer, {})
    for _ in range(3):  # the third call of a kind is the first that is completely remembered
        again = found(layer, {})
    change(layer)
    now = found(layer, call)
    expected = found(copy.deepcopy(layer), call)
    after = found(layer, call)  # now the changed call is remembered
    assert equal(before, again)
    assert equal(now, expected) and equal(after, expected)


def equal(one: list[np.ndarray] | str, other: list[np.ndarray] | str) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_after_remembered_calls_is_seen(name):
    check(CHANGES[name], {})


@pytest.mark.parametrize("name", CALLS)
def test_another_call_after_remembered_ones_is_checked(name):
    check(lambda layer: None, CALLS[name])


@pytest.mark.parametrize("name", ["a sequence of columns", "a sequence that is spread"])
def test_c_reads_arrays_of_any_layout(name):
    layer, xs = nn.Recurrent(nn.RNNCell(4, 4)), CALLS[name]["xs"]
    h = np.asfortranarray(XS[0])
    with tr.use("native"):
        for x, start in ((xs, h), (xs, np.broadcast_to(XS[0, :1], h.shape))):
            outputs = layer(x, start)[0]
            assert np.array_equal(outputs.data, layer(np.array(x, order="C"), np.array(start, order="C"))[0].data)


def test_what_a_change_changes_is_seen_in_the_numbers():
    """The changes do change results; otherwise the tests above would compare a call with itself."""
    same = []
    for name, change in CHANGES.items():
        layer = nn.Recurrent(Scaled())
        before = found(layer, {})
        change(layer)
        if equal(before, found(layer, {})):
            same.append(name)
        restore()
    assert set(same) <= {"a checkpoint", "a loop in Python"}
