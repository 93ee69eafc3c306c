"""Networks for the tests of drawings; none of them is in the library."""

import numpy as np

import tinygrad_rnn as tr
from tinygrad_rnn import nn

F4 = np.dtype("float32")
FORCED = (
    np.zeros((4, 1, 3), F4),
    tr.tensor(np.zeros((4, 1, 2), F4)).named("y"),
    tr.tensor(np.zeros(4, bool)).named("m"),
)


def add_parameters(module, shapes):
    for symbol, shape in shapes.items():
        setattr(module, symbol.replace("'", "_"), nn.Parameter(shape, symbol=symbol))


class TwoSlots(nn.Cell):
    """An LSTM under another name."""

    def __init__(self, input_size=3, hidden_size=5):
        super().__init__()
        self.input_size = input_size
        shapes = {"U": (input_size, hidden_size), "W": (hidden_size, hidden_size), "b": (hidden_size,)}
        for gate in "figo":
            add_parameters(self, {f"{s}_{gate}": shape for s, shape in shapes.items()})
        self.state_shape = ((hidden_size,), (hidden_size,))

    def gate(self, name, x, h):
        return x @ getattr(self, f"U_{name}") + h @ getattr(self, f"W_{name}") + getattr(self, f"b_{name}")

    def step(self, x, state):
        h, c = state
        f, i, o = (tr.sigmoid(self.gate(name, x, h)).named(name) for name in "fio")
        g = tr.tanh(self.gate("g", x, h)).named("g")
        c = (f * c + i * g).named("c")
        h = (o * tr.tanh(c)).named("h")
        return h, (h, c)


class Gated(nn.Cell):
    """A GRU under another name."""

    def __init__(self, n=4):
        super().__init__()
        self.input_size = n
        add_parameters(self, {f"{s}_{gate}": (n, n) for gate in "rzn" for s in "UW"})
        self.state_shape = (n,)

    def step(self, x, h):
        r = tr.sigmoid(x @ self.U_r + h @ self.W_r).named("r")
        z = tr.sigmoid(x @ self.U_z + h @ self.W_z).named("z")
        n = tr.tanh(x @ self.U_n + (r * h) @ self.W_n).named("n")
        h = ((1 - z) * n + z * h).named("h")
        return h, h


class DelayLine(nn.Cell):
    """A time-delay network: its state has only earlier inputs."""

    def __init__(self, taps=2, n=4):
        super().__init__()
        self.taps, self.input_size = taps, n
        add_parameters(self, {f"W_{k}": (n, n) for k in range(taps + 1)} | {"V": (n, 2)})
        self.state_shape = ((n,),) * taps

    def step(self, x, line):
        total = x @ self.W_0
        for k, earlier in enumerate(line, 1):
            total = total + earlier @ getattr(self, f"W_{k}")
        h = tr.tanh(total).named("h")
        return (h @ self.V).named("o"), (x, *line[:-1])


class InputsAndOutputs(nn.Cell):
    """NARX: two earlier inputs, two earlier outputs."""

    def __init__(self, n=4):
        super().__init__()
        self.input_size = n
        add_parameters(self, dict.fromkeys(("A_0", "A_1", "A_2", "B_1", "B_2", "V"), (n, n)))
        self.state_shape = ((n,),) * 4

    def step(self, x, state):
        x1, x2, y1, y2 = state
        h = tr.tanh(x @ self.A_0 + x1 @ self.A_1 + x2 @ self.A_2 + y1 @ self.B_1 + y2 @ self.B_2).named("h")
        y = (h @ self.V).named("y")
        return y, (x, x1, y, y1)


class OutputFeedback(nn.Cell):
    """Jordan's network."""

    def __init__(self, n=3, out=2):
        super().__init__()
        self.input_size = n
        add_parameters(self, {"U": (n, n), "W": (out, n), "b": (n,), "V": (n, out)})
        self.state_shape = (out,)

    def step(self, x, o):
        h = tr.tanh(x @ self.U + o @ self.W + self.b).named("h")
        o = (h @ self.V).named("o")
        return o, o


class Residual(nn.Cell):
    """A cell that adds to h instead of replacing h."""

    def __init__(self, n=3):
        super().__init__()
        self.input_size = n
        add_parameters(self, {"U": (n, n), "W": (n, n)})
        self.state_shape = (n,)

    def step(self, x, h):
        h = (h + tr.tanh(x @ self.U + h @ self.W)).named("h")
        return h, h


class Odd(nn.Cell):
    """A cell with an unusual structure."""

    def __init__(self, n=4):
        super().__init__()
        self.input_size = n
        add_parameters(self, dict.fromkeys("UABCDV", (n, n)))
        self.state_shape = ((n,),) * 4

    def step(self, x, state):
        a, m, q, q2 = state
        g = tr.sigmoid(x @ self.U + a @ self.A).named("g")
        a = tr.tanh(x @ self.U + m @ self.B).named("a")
        m = (m + g * a).named("m")
        new = (x * tr.relu(m @ self.C + q2 @ self.D)).named("q")
        return ((new * a) @ self.V).named("o"), (a, m, new, q)


class Masked(nn.Cell):
    """A cell that holds its state if the mask is not set."""

    def __init__(self, n=3):
        super().__init__()
        self.input_size = n
        add_parameters(self, {"U": (n, n), "W": (n, n), "V": (n, 2)})
        self.state_shape = (n,)

    def step(self, x, h):
        x, mask = x
        h = tr.where(mask, tr.tanh(x @ self.U + h @ self.W), h).named("h")
        return (h @ self.V).named("o"), h


class Decoder(nn.Cell):
    """A cell whose only input is its own last output."""

    def __init__(self, n=5, out=2):
        super().__init__()
        add_parameters(self, {"E": (out, n), "W'": (n, n), "V": (n, out)})
        self.state_shape = ((n,), (out,))

    def step(self, x, state):
        s, y = state
        s = tr.tanh(y @ self.E + s @ self.W_).named("s")
        y = (s @ self.V).named("y")
        return y, (s, y)


class EncoderDecoder(nn.Module):
    def __init__(self, steps=3):
        super().__init__()
        self.steps = steps
        self.encoder, self.decoder = nn.Recurrent(nn.RNNCell(3, 5)), nn.Recurrent(Decoder())

    def forward(self, xs):
        _, h = self.encoder(xs)
        return self.decoder(None, (h, tr.tensor(np.zeros((h.shape[0], 2), F4))), steps=self.steps)[0]


class Bidirectional(nn.Module):
    """Two recurrent layers, one of which runs in reverse."""

    def __init__(self):
        super().__init__()
        self.forwards = nn.Recurrent(nn.RNNCell(3, 5))
        self.backwards = nn.Recurrent(nn.RNNCell(3, 5), reverse=True)
        self.out = nn.Linear(10, 2)

    def forward(self, xs):
        return self.out(tr.concatenate([self.forwards(xs)[0], self.backwards(xs)[0]], axis=-1))


class ManyToOne(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.Recurrent(nn.RNNCell(3, 5)), nn.Linear(5, 2)

    def forward(self, xs):
        return self.out(self.rnn(xs)[1])


class Forced(nn.Module):
    """Data instead of the output, where a mask is set."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.Recurrent(OutputFeedback())

    def forward(self, xs):
        x, y, mask = xs
        return self.rnn(x, force={"o": y}, force_mask=mask)[0]


def elman():
    return nn.Sequential(nn.Recurrent(nn.RNNCell(3, 5)), nn.Linear(5, 2))


def stacked():
    return nn.Sequential(nn.Recurrent(TwoSlots(3, 5)), nn.Recurrent(TwoSlots(5, 5)), nn.Linear(5, 2))


NETWORKS = {
    "elman": (elman, {"loss": nn.cross_entropy}),
    "two-slots": (TwoSlots, {}),
    "gated": (Gated, {}),
    "delay-line": (DelayLine, {"steps": 5}),
    "narx": (InputsAndOutputs, {}),
    "jordan": (OutputFeedback, {"loss": nn.mse}),
    "residual": (Residual, {}),
    "odd": (Odd, {}),
    "mask": (Masked, {"inputs": (np.zeros((4, 2, 3), F4), np.zeros((4, 2, 1), bool))}),
    "forced": (Forced, {"inputs": FORCED}),
    "encoder-decoder": (EncoderDecoder, {}),
    "bidirectional": (Bidirectional, {}),
    "stacked": (stacked, {}),
    "many-to-one": (ManyToOne, {"loss": nn.cross_entropy}),
}


def network(name, **options):
    make, own = NETWORKS[name]
    return make().draw(**{**own, **options})


def loop(T=4, cut_at=None, names=True):
    """A student's own loop, with numbers."""
    U = tr.Parameter(np.full((1, 2), 0.5), symbol="U")
    W = tr.Parameter(np.eye(2) / 2, symbol="W")
    V = tr.Parameter(np.ones((2, 1)), symbol="V")
    xs = tr.tensor(np.linspace(0, 1, T).reshape(T, 1, 1)).named("x")
    ys = tr.tensor(np.ones((T, 1, 1))).named("y")
    h = tr.tensor(np.zeros((1, 2)))
    total = 0.0
    for t, x, y in tr.steps(xs, ys):
        if t == cut_at:
            h = h.detach()
        h = tr.tanh(x @ U + h @ W)
        o = h @ V
        if names:
            h, o = h.named("h"), o.named("o")
        total = total + tr.mse(o, y)
    return total, [U, W, V]
