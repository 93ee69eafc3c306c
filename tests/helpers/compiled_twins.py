"""Two equal models, one with a compiled step and one without, and the events that both of them get."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim
from tinygrad_rnn.random import generator, use


class Leaky(nn.Cell):
    """A user's cell: a leaky integrator with a forgetful second slot, noise, and a normalised input."""

    def __init__(self, input_size: int, hidden_size: int, dtype: Any) -> None:
        super().__init__()
        self.state_shape = ((hidden_size,), (hidden_size,))
        self.U = nn.Parameter((hidden_size, input_size), symbol="U", dtype=dtype)
        self.a = nn.Parameter((hidden_size,), symbol="a", dtype=dtype)
        self.noise = nn.Dropout(0.2)
        self.output_size = hidden_size

    def step(self, x: Any, state: Any) -> Any:
        h, s = state
        keep = tr.sigmoid(self.a)
        s = 0.5 * s + tr.square(h)
        h = keep * h + (1 - keep) * tr.tanh(x @ self.U.T + self.noise(s)) * tr.softmax(h)
        return h, (h, s)


class SignMomentum(optim.Optimizer):
    """A user's optimiser, with a count of steps and NumPy's functions."""

    state_names = ("m", "k")
    counters = ("k",)

    def update(self, data: Any, g: Any, memory: dict[str, Any]) -> Any:
        k = memory["k"] = memory.get("k", 0) + 1
        m = memory["m"] = 0.9 * memory.get("m", 0.0) + np.sqrt(0.01 / k) * np.maximum(g, -1.0)
        return -self.lr / (1 + 0.1 * k) * m / (np.abs(m) + 1e-3)


OPTIMIZERS: Mapping[str, Callable[[Any], optim.Optimizer]] = {
    "SGD": lambda p: optim.SGD(p, lr=0.05),
    "momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
    "RMSProp": lambda p: optim.RMSProp(p, lr=0.01, momentum=0.5),
    "centered": lambda p: optim.RMSProp(p, lr=0.01, centered=True),
    "Adam": lambda p: optim.Adam(p, lr=0.01, weight_decay=0.01),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01),
    "own": lambda p: SignMomentum(p, lr=0.01),
}
CELLS = ("LSTM", "GRU", "RNN", "stacked", "both ways", "own", "unrolled")
CLIPPING = ("norm", "value", "none")
V, E, H = 7, 3, 4


class Model(nn.Module):
    """A model from codes or numbers to scores."""

    def __init__(self, cell: str, dtype: Any) -> None:
        super().__init__()
        options: dict[str, Any] = {"dtype": dtype}
        self.embedding = nn.Embedding(V, E, dtype=dtype)
        if cell == "own":
            self.rnn: Any = nn.Recurrent(Leaky(E, H, dtype))
        elif cell == "stacked":
            self.rnn = nn.LSTM(E, H, num_layers=2, dropout=0.3, **options)
        elif cell == "both ways":
            self.rnn = nn.GRU(E, H, bidirectional=True, recurrent_dropout=0.2, **options)
        elif cell == "unrolled":
            self.rnn = nn.RNN(E, H, mode="unroll", **options)
        else:
            self.rnn = getattr(nn, cell)(E, H, **options)
        self.dropout = nn.Dropout(0.25)
        self.out = nn.Linear(2 * H if cell == "both ways" else H, V, dtype=dtype)

    def forward(self, x: Any, state: Any = None) -> Any:
        if x.dtype.kind in "iu":
            x = self.embedding(x)
        h, state = self.rnn(x, state)
        return self.out(self.dropout(h)), state


@dataclass
class Twin:
    """A model with an optimiser, and a step that is compiled or not."""

    compiled: bool
    cell: str
    optimizer: str
    clipping: str
    dtype: Any
    chosen: SimpleNamespace = field(default_factory=SimpleNamespace)

    def __post_init__(self) -> None:
        use(np.random.default_rng(5))
        self.model = Model(self.cell, self.dtype)
        self.parameters = self.model.parameters()
        self.new_optimizer(self.optimizer)
        self.random = np.random.default_rng(7)
        step, evaluate = self._functions()
        self.step, self.evaluate = (tr.compile(f) if self.compiled else f for f in (step, evaluate))

    def _functions(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        model, parameters, clipping, chosen = self.model, self.parameters, self.clipping, self.chosen

        def step(x: Any, y: Any, state: Any = None, scale: float = 1.0, accumulate: bool = False) -> Any:
            if not accumulate:
                model.zero_grad()
            scores, state = model(x, state)
            loss = scale * tr.cross_entropy(scores, y)
            loss.backward()
            if clipping == "norm":
                optim.clip_grad_norm(parameters, 0.5)
            elif clipping == "value":
                optim.clip_grad_value(parameters, 0.05)
            if not accumulate:
                chosen.opt.step()
            return {"loss": loss, "state": tr.tree.flatten(state)[0].detach(), "all": (scores.argmax(-1), None, "text")}

        def evaluate(x: Any, y: Any) -> Any:
            with tr.no_grad():
                scores, _ = model(x)
                return tr.cross_entropy(scores, y, reduction="none"), scores.max(axis=-1)

        return step, evaluate

    def new_optimizer(self, name: str) -> None:
        self.chosen.opt = OPTIMIZERS[name](self.parameters)

    def call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        """Call the step, with this twin's own random numbers; an error is also a result."""
        before = generator()
        use(self.random)
        try:
            return getattr(self, function)(*args, **kwargs)
        except tr.errors.TinygradError as error:
            return type(error), str(error)
        finally:
            use(before)

    def facts(self) -> dict[str, Any]:
        """All values that a step changes."""
        names = [name for name, _ in self.model.named_parameters()]
        found: dict[str, Any] = {name: p.data for name, p in zip(names, self.parameters, strict=True)}
        found |= {f"{name}'": p.grad for name, p in zip(names, self.parameters, strict=True)}
        return found | self.chosen.opt.state_dict() | {"generator": self.random.bit_generator.state["state"]["state"]}


def difference(one: Any, other: Any, tolerance: float, path: str = "") -> str | None:
    """The first difference of two results; None if they are equal."""
    if isinstance(one, tr.Tensor) and isinstance(other, tr.Tensor):
        one, other = one.data, other.data
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        if one.shape != other.shape or one.dtype != other.dtype:
            return f"{path}: {one.dtype} {one.shape}, {other.dtype} {other.shape}"
        finite = np.abs(one[np.isfinite(one)]) if one.dtype.kind == "f" else np.abs(one)
        scale = max(1.0, float(finite.max(initial=0.0)))
        return None if np.allclose(one, other, 0, tolerance * scale, equal_nan=True) else f"{path}: {one}, {other}"
    if type(one) is not type(other):
        return f"{path}: {type(one)}, {type(other)}"
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return f"{path}: {list(one)}, {list(other)}"
        parts = [difference(one[key], other[key], tolerance, f"{path}.{key}") for key in one]
    elif isinstance(one, (tuple, list)):
        if len(one) != len(other):
            return f"{path}: {one}, {other}"
        parts = [difference(a, b, tolerance, f"{path}.{k}") for k, (a, b) in enumerate(zip(one, other, strict=True))]
    else:
        return None if one == other else f"{path}: {one}, {other}"
    return next((part for part in parts if part is not None), None)
