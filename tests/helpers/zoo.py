"""A zoo of networks, each drawn in all ways: networks of the library, and networks that a user may write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from draw_networks import NETWORKS as OWN
from draw_networks import Gated, Odd, TwoSlots, add_parameters, loop, network

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.draw.drawing import Drawing

__all__ = ["DETAILS", "STEPS", "TIMES", "ZOO", "drawn"]

DETAILS = ("slots", "values", "ops", "layers")
TIMES = {"folded": 4, "unrolled": 4, "elided": 12}
"""Ways to draw over time, with their numbers of steps."""


class Attention(nn.Cell):
    """A cell that reads its last states, each with its own weights."""

    def __init__(self, n: int = 4, back: int = 3) -> None:
        super().__init__()
        self.input_size = n
        add_parameters(self, dict.fromkeys(("U", "W", "Q"), (n, n)))
        self.state_shape = ((n,),) * back

    def step(self, x: Any, state: Any) -> Any:
        query = x @ self.Q
        scores = tr.stack([(query * h).sum(-1) for h in state], axis=-1)
        weights = tr.softmax(scores, axis=-1).named("a")
        context = sum(weights[..., k : k + 1] * h for k, h in enumerate(state)).named("c")
        h = tr.tanh(x @ self.U + context @ self.W).named("h")
        return h, (h, *state[:-1])


class Clockwork(nn.Cell):
    """Two groups of units: the slow group is updated at every second step."""

    def __init__(self, n: int = 3) -> None:
        super().__init__()
        self.input_size = n
        add_parameters(self, dict.fromkeys(("U_1", "U_2", "W_1", "W_2", "W_s"), (n, n)))
        self.state_shape = ((n,), (n,), (1,))

    def step(self, x: Any, state: Any) -> Any:
        fast, slow, clock = state
        updated = tr.tanh(x @ self.U_2 + slow @ self.W_2)
        slow = (clock * updated + (1 - clock) * slow).named("s")
        fast = tr.tanh(x @ self.U_1 + fast @ self.W_1 + slow @ self.W_s).named("f")
        return fast, (fast, slow, (1 - clock).named("k"))


class Both(nn.Module):
    """A layer in both directions, and a summary of its last outputs."""

    def __init__(self, layer: Callable[..., Any]) -> None:
        super().__init__()
        self.rnn, self.out = layer(3, 5), nn.Linear(5, 2)

    def forward(self, xs: Any) -> Any:
        return self.out(self.rnn(xs)[1][0])


def _decoder(cell: nn.Cell, **options: Any) -> nn.Decoder:
    return nn.Decoder(nn.Embedding(4, 3), cell, nn.Linear(5, 4), start=0, end=1, **options)


def _codes(steps: int) -> tr.Tensor:
    return tr.tensor(np.full((steps, 1), 2)).named("y")


def _writer(cell: Callable[..., Any], at: Any, lossy: bool = False) -> Callable[[int], tr.Graph]:
    def graph(steps: int) -> tr.Graph:
        x, ys = tr.tensor(np.ones((1, 3), "float32")).named("x"), _codes(steps)
        logits = _decoder(cell(3, 5), context_size=3, at=at)(ys, x)
        return tr.graph(nn.cross_entropy(logits, ys) if lossy else logits)

    return graph


def _translator(layer: Callable[..., Any], cell: Callable[..., Any], **options: Any) -> Callable[[int], tr.Graph]:
    def graph(steps: int) -> tr.Graph:
        xs = tr.tensor(np.ones((steps, 1, 3), "float32")).named("x")
        return tr.graph(nn.Seq2Seq(layer(3, 5), _decoder(cell(3, 5), **options))(xs, _codes(max(2, steps - 1))))

    return graph


def _shapes(at: str) -> Callable[[int], tr.Graph]:
    """A plain loop with a vector that is the initial state, or that every step reads."""

    def graph(steps: int) -> tr.Graph:
        writer = nn.Recurrent(nn.RNNCell(5, 5))
        x, R = tr.tensor(np.ones((1, 3), "float32")).named("x"), nn.Parameter((3, 5), symbol="R")
        if at == "start":
            zeros = tr.tensor(np.ones((steps, 1, 5), "float32")).named("u")
            return tr.graph(writer(zeros, x @ R)[0])
        return tr.graph(writer(tr.broadcast_to(x @ R, (steps, 1, 5)))[0])

    return graph


def _module(make: Callable[[], nn.Module], **options: Any) -> Callable[..., Drawing]:
    def draw(time: str, detail: str, steps: int) -> Drawing:
        return make().draw(time=time, detail=detail, steps=steps, **options)

    return draw


def _graph(make: Callable[[int], tr.Graph]) -> Callable[..., Drawing]:
    def draw(time: str, detail: str, steps: int) -> Drawing:
        return make(steps).draw(time=time, detail=detail)

    return draw


def _layers() -> Iterator[tuple[str, Callable[..., Drawing]]]:
    for kind in (nn.RNN, nn.LSTM, nn.GRU):
        for layers in (1, 2, 3):
            for both in (False, True):
                name = f"{kind.__name__} {layers}{' both ways' if both else ''}"

                def make(kind: Any = kind, layers: int = layers, both: bool = both) -> nn.Module:
                    return kind(3, 5, num_layers=layers, bidirectional=both)

                def behind(make: Any = make, both: bool = both) -> nn.Module:
                    return nn.Sequential(make(), nn.Linear(10 if both else 5, 2))

                yield name, _module(make)
                yield f"{name}, loss", _module(behind, loss=nn.cross_entropy)


ZOO: dict[str, Callable[..., Drawing]] = dict(_layers())
"""Maps a name to ``draw(time, detail, steps)``."""

ZOO |= {
    "Jordan": _module(lambda: nn.Jordan(3, 5, 2)),
    "Jordan, loss": _module(lambda: nn.Jordan(3, 5, 2), loss=nn.mse),
    "Jordan, forced": _module(lambda: nn.Jordan(3, 5, 2), loss=nn.mse, force=["o"]),
    "NARX": _module(lambda: nn.NARX(3, 2)),
    "NARX, loss": _module(lambda: nn.NARX(3, 2), loss=nn.mse),
    "NARX 1 3": _module(lambda: nn.NARX(3, 2, input_delays=1, feedback_delays=3)),
    "NARX 3 1": _module(lambda: nn.NARX(3, 2, input_delays=3, feedback_delays=1), loss=nn.mse),
    "NARX hidden": _module(lambda: nn.NARX(3, 2, input_delays=2, feedback_delays=2, hidden_size=4), loss=nn.mse),
    "NARX without input": _module(lambda: nn.NARX(0, 2, feedback_delays=[1, 3])),
    "AR": _module(lambda: nn.AR(3)),
    "AR cell": _module(lambda: nn.ARCell(3), inputs=np.zeros((4, 1, 1), "float32")),
    "TDNN": _module(lambda: nn.TimeDelay(3, 2, 2)),
    "TDNN 5": _module(lambda: nn.TimeDelay(3, 2, 5)),
    "TDNN dilated": _module(lambda: nn.TimeDelay(3, 5, delays=[0, 2], dilation=2)),
    "two TDNNs": _module(lambda: nn.Sequential(nn.TimeDelay(3, 3, 1), nn.TimeDelay(3, 2, 2)), loss=nn.mse),
    "residual": _module(lambda: nn.ResidualCell(3, 5)),
    "residual without recurrence": _module(lambda: nn.ResidualCell(3, 5, recurrent=False)),
    "system": _module(lambda: nn.SystemCell(2, 3)),
    "system alone": _module(lambda: nn.SystemCell(0, 3)),
    "GRU, reset before": _module(lambda: nn.GRUCell(3, 5, reset_after=False)),
    "LSTM, projected": _module(lambda: nn.LSTMCell(3, 5, proj_size=2)),
    "reverse RNN": _module(lambda: nn.Recurrent(nn.RNNCell(3, 5), reverse=True)),
    "reverse LSTM": _module(lambda: nn.Recurrent(nn.LSTMCell(3, 5), reverse=True)),
    "reverse GRU": _module(lambda: nn.Recurrent(nn.GRUCell(3, 5), reverse=True)),
    "reverse GRU, loss": _module(
        lambda: nn.Sequential(nn.Recurrent(nn.GRUCell(3, 5), reverse=True), nn.Linear(5, 2)), loss=nn.cross_entropy
    ),
    "attention": _module(Attention),
    "clockwork": _module(Clockwork),
    "odd": _module(Odd),
    "two slots": _module(TwoSlots),
    "gated": _module(Gated),
    "many to one, RNN": _module(lambda: Both(nn.RNN), loss=nn.cross_entropy),
    "many to one, GRU": _module(lambda: Both(nn.GRU)),
    "decoder cell": _module(lambda: nn.DecoderCell(nn.Embedding(4, 3), nn.GRUCell(3, 5), nn.Linear(5, 4), start=0)),
    "decoder over inputs": _module(
        lambda: nn.Sequential(
            nn.Linear(2, 3, symbols=("R", "b")),
            nn.Recurrent(nn.DecoderCell(nn.Embedding(4, 3), nn.RNNCell(3, 5), nn.Linear(5, 4), start=0)),
        )
    ),
    "one to many, start": _graph(_writer(nn.RNNCell, "start")),
    "one to many, every step": _graph(_writer(nn.RNNCell, "every_step")),
    "one to many, both": _graph(_writer(nn.GRUCell, "both")),
    "one to many, loss": _graph(_writer(nn.LSTMCell, "both", lossy=True)),
    "vector as the state": _graph(_shapes("start")),
    "vector at every step": _graph(_shapes("every step")),
    "translator RNN": _graph(_translator(nn.RNN, nn.RNNCell)),
    "translator LSTM": _graph(_translator(nn.LSTM, nn.LSTMCell)),
    "translator GRU, context": _graph(_translator(nn.GRU, nn.GRUCell, context_size=5, at="every_step")),
    "loop": _graph(lambda steps: tr.graph(loop(steps)[0])),
    "loop, cut": _graph(lambda steps: tr.graph(loop(steps, cut_at=2)[0])),
}


def _own(name: str) -> Callable[..., Drawing]:
    def draw(time: str, detail: str, steps: int) -> Drawing:
        fixed = "inputs" in OWN[name][1]  # inputs with a fixed number of steps
        return network(name, time=time, detail=detail, **({} if fixed else {"steps": max(steps, 5)}))

    return draw


ZOO |= {f"own {name}": _own(name) for name in OWN}

STEPS: dict[str, Callable[[], nn.Cell]] = {
    "RNN": lambda: nn.RNNCell(3, 5),
    "LSTM": lambda: nn.LSTMCell(3, 5),
    "LSTM, projected": lambda: nn.LSTMCell(3, 5, proj_size=2),
    "LSTM, dropout": lambda: nn.LSTMCell(3, 5, recurrent_dropout=0.5),
    "GRU": lambda: nn.GRUCell(3, 5),
    "GRU, reset before": lambda: nn.GRUCell(3, 5, reset_after=False),
    "Jordan": lambda: nn.JordanCell(3, 5, 2),
    "residual": lambda: nn.ResidualCell(3, 5),
    "residual without recurrence": lambda: nn.ResidualCell(3, 5, recurrent=False),
    "system": lambda: nn.SystemCell(2, 3),
    "system alone": lambda: nn.SystemCell(0, 3),
    "TDNN": lambda: nn.TimeDelayCell(3, 5),
    "TDNN dilated": lambda: nn.TimeDelayCell(3, 5, delays=[0, 3], dilation=2),
    "NARX": lambda: nn.NARXCell(3, 2),
    "NARX 5 6": lambda: nn.NARXCell(2, 1, 5, 6),
    "NARX without input": lambda: nn.NARXCell(0, 2),
    "AR": lambda: nn.ARCell(3),
    "decoder RNN": lambda: nn.DecoderCell(nn.Embedding(4, 3), nn.RNNCell(3, 5), nn.Linear(5, 4), start=0),
    "decoder LSTM": lambda: nn.DecoderCell(nn.Embedding(4, 3), nn.LSTMCell(3, 5), nn.Linear(5, 4), start=0),
    "decoder GRU": lambda: nn.DecoderCell(nn.Embedding(4, 3), nn.GRUCell(3, 5), nn.Linear(5, 4), start=0),
    "two slots": TwoSlots,
    "gated": Gated,
    "odd": Odd,
    "attention": Attention,
    "clockwork": Clockwork,
}
"""Cells whose step is drawn gate by gate."""


def drawn(name: str, time: str, detail: str) -> Drawing:
    """One picture of the zoo; `time` is one of `TIMES`."""
    return ZOO[name]("folded" if time == "folded" else "unrolled", detail, TIMES[time])
