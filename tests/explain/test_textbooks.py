r"""Models print the equations of textbooks, symbol by symbol, with calls of at most five lines.

Sums may be in another order: the books themselves have `W h + U x` in one place and `U x + W h` in another.
"""

import re

import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn

OLAH = {"c": "C", "g": r"\tilde{C}", "W_g": "W_C", "b_g": "b_C"}
NNDL_LSTM = {"g": r"\tilde{c}", "U_g": "W_c", "W_g": "U_c", "b_g": "b_c"}
NNDL_GRU = {"n": r"\tilde{h}", "U_n": "W_h", "W_n": "U_h", "b_n": "b_h"}


class Elman(nn.Module):
    """A network whose output layer reads only the last state."""

    def __init__(self):
        super().__init__()
        self.rnn, self.output = nn.RNN(3, 5), nn.Linear(5, 2)

    def forward(self, xs):
        _, h = self.rnn(xs)
        return tr.softmax(self.output(h[0]))


def elman(output=tr.softmax):
    return nn.Sequential(nn.RNN(3, 5), nn.Linear(5, 2), output)


def chapter_10():
    return {"notation": "UW", "bias": "one"}


def chinese():
    return {"notation": "WU", "bias": "one"}


BOOKS = {
    "Goodfellow 10.8 to 10.11": (
        lambda: elman().equations(net="a", **chapter_10()),
        r"""
        a_t = b + W h_{t-1} + U x_t
        h_t = \tanh(a_t)
        o_t = c + V h_t
        \hat{y}_t = \operatorname{softmax}(o_t)""",
    ),
    "Goodfellow, one output at the end": (
        lambda: Elman().equations(net="a", **chapter_10()),
        r"""
        a_t = b + W h_{t-1} + U x_t
        h_t = \tanh(a_t)
        o = c + V h_T
        \hat{y} = \operatorname{softmax}(o)""",
    ),
    "Goodfellow, output fed back": (
        lambda: nn.Jordan(3, 5, 2).equations(net="a", **chapter_10()),
        r"""
        a_t = b + W o_{t-1} + U x_t
        h_t = \tanh(a_t)
        o_t = c + V h_t""",
    ),
    "Goodfellow 10.40 to 10.44, with tanh": (
        lambda: nn.LSTMCell(3, 5).equations(symbols={"i": "g", "g": "u", "c": "s", "o": "q"}, **chapter_10()),
        r"""
        g_t = \sigma(b_i + U_i x_t + W_i h_{t-1})
        f_t = \sigma(b_f + U_f x_t + W_f h_{t-1})
        u_t = \tanh(b_g + U_g x_t + W_g h_{t-1})
        q_t = \sigma(b_o + U_o x_t + W_o h_{t-1})
        s_t = f_t \odot s_{t-1} + g_t \odot u_t
        h_t = q_t \odot \tanh(s_t)""",
    ),
    "Goodfellow, a vector to a sequence": (
        lambda: nn.Decoder(
            nn.Embedding(4, 3), nn.RNNCell(3, 5), nn.Linear(5, 4), start=0, context_size=6, at="every_step"
        ).equations(**chapter_10()),
        r"""
        h_t = \tanh(b_{\mathrm{cell}} + W h_{t-1} + U (b_{\mathrm{R}} + R x + E{}_{[y_{t-1}]}))
        o_t = c + V h_t""",
    ),
    "Goodfellow, both directions": (
        lambda: nn.Sequential(nn.RNN(3, 5, bidirectional=True), nn.Linear(10, 2)).equations(**chapter_10()),
        r"""
        \overrightarrow{h}_t = \tanh(\overrightarrow{b} + \overrightarrow{W} \overrightarrow{h}_{t-1} + \overrightarrow{U} x_t)
        \overleftarrow{h}_t = \tanh(\overleftarrow{b} + \overleftarrow{W} \overleftarrow{h}_{t+1} + \overleftarrow{U} x_t)
        o_t = c + V \cdot [\overrightarrow{h}_t, \overleftarrow{h}_t]""",
    ),
    "Olah, LSTM": (
        lambda: nn.LSTMCell(3, 5).equations(form="joined", symbols=OLAH),
        r"""
        i_t = \sigma(W_i \cdot [h_{t-1}, x_t] + b_i)
        f_t = \sigma(W_f \cdot [h_{t-1}, x_t] + b_f)
        \tilde{C}_t = \tanh(W_C \cdot [h_{t-1}, x_t] + b_C)
        o_t = \sigma(W_o \cdot [h_{t-1}, x_t] + b_o)
        C_t = f_t \odot C_{t-1} + i_t \odot \tilde{C}_t
        h_t = o_t \odot \tanh(C_t)""",
    ),
    "Olah, GRU, with the roles of z and 1 - z exchanged": (
        lambda: nn.GRUCell(3, 5, bias=False, reset_after=False).equations(
            form="joined", symbols={"n": r"\tilde{h}", "W_n": "W"}
        ),
        r"""
        r_t = \sigma(W_r \cdot [h_{t-1}, x_t])
        z_t = \sigma(W_z \cdot [h_{t-1}, x_t])
        \tilde{h}_t = \tanh(W \cdot [r_t \odot h_{t-1}, x_t])
        h_t = (1 - z_t) \odot \tilde{h}_t + z_t \odot h_{t-1}""",
    ),
    "Chinese, simple recurrent network": (
        lambda: nn.Sequential(nn.RNN(3, 5), nn.Linear(5, 2, bias=False)).equations(net="z", symbols={"o": "y"}, **chinese()),
        r"""
        z_t = U h_{t-1} + W x_t + b
        h_t = \tanh(z_t)
        y_t = V h_t""",
    ),
    "Chinese, LSTM": (
        lambda: nn.LSTMCell(3, 5).equations(symbols=NNDL_LSTM, **chinese()),
        r"""
        i_t = \sigma(W_i x_t + U_i h_{t-1} + b_i)
        f_t = \sigma(W_f x_t + U_f h_{t-1} + b_f)
        \tilde{c}_t = \tanh(W_c x_t + U_c h_{t-1} + b_c)
        o_t = \sigma(W_o x_t + U_o h_{t-1} + b_o)
        c_t = f_t \odot c_{t-1} + i_t \odot \tilde{c}_t
        h_t = o_t \odot \tanh(c_t)""",
    ),
    "Chinese, GRU": (
        lambda: nn.GRUCell(3, 5, reset_after=False).equations(symbols=NNDL_GRU, **chinese()),
        r"""
        r_t = \sigma(W_r x_t + U_r h_{t-1} + b_r)
        z_t = \sigma(W_z x_t + U_z h_{t-1} + b_z)
        \tilde{h}_t = \tanh(W_h x_t + U_h (r_t \odot h_{t-1}) + b_h)
        h_t = z_t \odot h_{t-1} + (1 - z_t) \odot \tilde{h}_t""",
    ),
    "Chinese, layers": (
        lambda: nn.RNN(3, 5, num_layers=2).equations(**chinese()),
        r"""
        h^{(1)}_t = \tanh(U^{(1)} h^{(1)}_{t-1} + W^{(1)} x_t + b^{(1)})
        h^{(2)}_t = \tanh(U^{(2)} h^{(2)}_{t-1} + W^{(2)} h^{(1)}_t + b^{(2)})""",
    ),
    "Chinese, time delay": (
        lambda: nn.Sequential(nn.TimeDelay(4, 3, delays=1), nn.TimeDelay(3, 2, delays=[0, 2])).equations(notation="WU"),
        r"""
        h^{(1)}_t = \tanh(W^{(1)}_0 x_t + W^{(1)}_1 x_{t-1} + b^{(1)})
        h^{(2)}_t = \tanh(W^{(2)}_0 h^{(1)}_t + W^{(2)}_2 h^{(1)}_{t-2} + b^{(2)})""",
    ),
    "Chinese, autoregressive": (
        lambda: nn.AR(2).equations(notation="WU"),
        r"y_t = w_0 + w_1 y_{t-1} + w_2 y_{t-2} + \epsilon_t",
    ),
    "Chinese, NARX": (
        lambda: nn.NARX(1, 1, input_delays=1, feedback_delays=2).equations(notation="WU"),
        r"""
        h_t = \tanh(A_0 x_t + A_1 x_{t-1} + B_1 y_{t-1} + B_2 y_{t-2} + b)
        y_t = V h_t + c""",
    ),
    "a layer": (
        lambda: nn.Sequential(nn.Linear(3, 2, symbols=("W", "b")), tr.relu).equations(),
        r"y = \operatorname{relu}(W x + b)",
    ),
    "Chinese names": (
        lambda: nn.RNNCell(3, 5, bias=False).equations(symbols={"h": "隐", "x": "输入"}),
        r"\text{隐}_t = \tanh(U \text{输入}_t + W \text{隐}_{t-1})",
    ),
}


def spelt(latex):
    """A line in the usual style: plain brackets, no braces around a single letter."""
    latex = re.sub(r"\\(left|right)(?![a-z])", "", latex.replace("&=", "=").removesuffix(r" \\"))
    latex = re.sub(r"([_^])\{(\w)\}", r"\1\2", latex)
    return re.sub(r"\s+", " ", latex).strip()


def ordered(latex):
    """A line with the summands of each sum in alphabetical order."""
    while True:
        inner = re.search(r"[(\[]([^()\[\]]*)[)\]]", latex)
        if inner is None:
            left, _, right = latex.partition(" = ")
            return left, sorted(right.split(" + ")) if right else sorted(left.split(" + "))
        inside = " + ".join(sorted(inner[1].split(" + "))).replace(" ", "~").replace("+", "⊕")
        brackets = {"(": "⟨{}⟩", "[": "⟦{}⟧"}[inner[0][0]]
        latex = latex[: inner.start()] + brackets.format(inside) + latex[inner.end() :]


@pytest.mark.parametrize("book", BOOKS)
def test_the_equations_of_a_textbook(book):
    call, expected = BOOKS[book]
    printed = [spelt(line) for line in call().splitlines()[1:-1]]
    written = [spelt(line) for line in expected.strip().splitlines()]
    assert [ordered(line) for line in printed] == [ordered(line) for line in written]


def test_the_plain_network_has_the_order_of_its_notation():
    model = nn.Sequential(nn.RNN(3, 5), nn.Linear(5, 2))
    assert spelt(model.equations(net="a", **chapter_10()).splitlines()[1]) == "a_t = b + W h_{t-1} + U x_t"
    assert spelt(model.equations(net="z", **chinese()).splitlines()[1]) == "z_t = U h_{t-1} + W x_t + b"
