"""The printed equations of a whole model are computed as written, and give the engine's outputs and gradients."""

import re

import numpy as np
import pytest
from latex_reader import Page

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.explain.bptt import Backward
from tinygrad_rnn.explain.forward import Forward
from tinygrad_rnn.explain.paths import Paths
from tinygrad_rnn.explain.system import unlike
from tinygrad_rnn.explain.textbook import AS_WRITTEN, Form
from tinygrad_rnn.explain.whole_model import of_module
from tinygrad_rnn.graph.node import Spec, ancestors
from tinygrad_rnn.views.letters import Letters

T = 4


class Readout(nn.Module):
    """A layer, and a function of its outputs."""

    def __init__(self, layer, size, function):
        super().__init__()
        self.layer, self.output, self.function = layer, nn.Linear(size, 2), function

    def forward(self, xs):
        found = self.function(*self.layer(xs))
        return found if self.output is None else self.output(found)

    def layer_alone(self):
        self.output = None
        return self


class Learned(nn.Module):
    """A layer with a learnt initial state, and a context that all steps read."""

    def __init__(self):
        super().__init__()
        self.layer, self.start = nn.Recurrent(nn.RNNCell(3, 4)), nn.Parameter(np.linspace(-1, 1, 4), symbol="s")

    def forward(self, xs):
        first = tr.tanh(self.start).named("k")
        return self.layer(xs, first.broadcast_to((xs.shape[1], 4)))[0] * first


class Unnamed(nn.Cell):
    """Two slots and an output without names, and a sum that begins with 0."""

    state_shape, input_size = ((3,), (3,)), 3

    def __init__(self):
        super().__init__()
        self.W = nn.Parameter((3, 3), symbol="W")

    def step(self, x, state):
        a, b = state
        return tr.tanh(a * b), (tr.tanh(a @ self.W + x), sum([a, b]) / 3)


def decoder(at=None, size=4, cell=nn.RNNCell):
    context = {} if at is None else {"context_size": size, "at": at}
    return nn.Decoder(nn.Embedding(5, 3), cell(3, 4), nn.Linear(4, 5), start=0, **context)


MODELS = {
    "rnn": lambda: nn.RNN(3, 4),
    "lstm": lambda: nn.LSTM(3, 4, proj_size=2),
    "gru": lambda: nn.Sequential(nn.GRU(3, 4), nn.Linear(4, 2)),
    "gru, reset before": lambda: nn.GRU(3, 4, reset_after=False),
    "layers": lambda: nn.Sequential(nn.GRU(3, 4, num_layers=2), nn.RNN(4, 2)),
    "both ways": lambda: nn.Sequential(nn.LSTM(3, 4, bidirectional=True), nn.Linear(8, 2)),
    "layers both ways": lambda: nn.RNN(3, 4, num_layers=2, bidirectional=True),
    "from the end": lambda: nn.Recurrent(nn.GRUCell(3, 4), reverse=True),
    "softmax": lambda: nn.Sequential(nn.RNN(3, 4), nn.Linear(4, 2), tr.softmax),
    "batch first": lambda: nn.Sequential(nn.RNN(3, 4, batch_first=True), nn.Linear(4, 2)),
    "tdnn": lambda: nn.Sequential(nn.TimeDelay(3, 4, delays=2), nn.TimeDelay(4, 2, delays=[0, 3])),
    "jordan": lambda: nn.Jordan(3, 4, 2),
    "narx": lambda: nn.NARX(3, 2, hidden_size=4),
    "ar": lambda: nn.AR(2, 3),
    "last": lambda: Readout(nn.RNN(3, 4), 4, lambda outputs, h: h[0]),
    "the last state": lambda: Readout(nn.GRU(3, 4), 4, lambda outputs, h: h[0]).layer_alone(),
    "last of layers": lambda: Readout(nn.GRU(3, 4, num_layers=2), 4, lambda outputs, h: h[-1]),
    "first from the end": lambda: Readout(nn.Recurrent(nn.RNNCell(3, 4), reverse=True), 4, lambda outputs, h: h),
    "last and first": lambda: Readout(nn.RNN(3, 4), 8, lambda ys, h: tr.concatenate([ys[-1], ys[0]], axis=-1)),
    "mean": lambda: Readout(nn.RNN(3, 4), 4, lambda outputs, h: outputs.mean(axis=0)),
    "learned": Learned,
    "unnamed": lambda: nn.Recurrent(Unnamed()),
    "linear": lambda: nn.Sequential(nn.Linear(3, 4, symbols=("W", "b")), tr.tanh, nn.Linear(4, 2)),
    "decoder": decoder,
    "context at the start": lambda: decoder("start"),
    "context at every step": lambda: decoder("every_step", cell=nn.GRUCell),
    "context at both": lambda: decoder("both"),
    "sequence to sequence": lambda: nn.Seq2Seq(nn.RNN(3, 4), decoder()),
    "sequence to sequence, lstm": lambda: nn.Seq2Seq(nn.LSTM(3, 4), decoder("both", 8, nn.LSTMCell)),
}

FORMS = {
    "as written": AS_WRITTEN,
    "UW": Form("UW", one_bias=True, net="q"),
    "WU": Form("WU", one_bias=True),
    "joined": Form("UW", one_bias=True, joined=True),
}


def carried_out(model, form, seed=0, **options):
    """The model's equations with values for all given symbols, and the same values as arguments of the model."""
    paths = {p.node: path for path, p in model.named_parameters()}
    found = Forward(of_module(model._drawn(), **options), form, Letters(notation=form.order), paths)
    batch, rng = found.system.batch, np.random.default_rng(seed)
    known = {p.node: p.data for p in model.parameters()}
    sequences, fixed, outside, arguments = {}, {}, {}, {}
    for node, symbol in found.symbols.items():
        if symbol.when:
            continue
        name = symbol._replace(delay=None).at(0).replace(" ", "")
        shape = node.shape[node.shape.index(batch) + 1 :] if batch in node.shape else node.shape
        outside[name] = outside[rf"\delta^{{{name}}}"] = np.zeros(shape)
        if node.role == "input":
            length = () if node in found.system.once else (T,)
            data = rng.integers(0, 2, (*length, *shape)) if node.dtype.kind in "iu" else rng.normal(size=(*length, *shape))
            (sequences if length else fixed)[name] = arguments[node.name] = data
        elif node.role == "parameter":
            fixed[name] = valued(found.parts.get(node, node), known)
    lines = [*found.lines(), *Backward(found).lines()]
    return found, Page(lines, T, fixed, sequences, outside), arguments


def valued(node, known):
    for inner in ancestors([node]):
        if inner not in known:
            inputs = [known[i] for i in inner.inputs]
            known[inner] = inner.value if inner.primitive is None else inner.primitive.kernel(*inputs, **inner.attributes)
    return known[node]


def run(model, arguments):
    """The outputs of the model for one example, time first."""
    batch_first = any(getattr(part, "batch_first", False) for _, part in model.modules())
    given = dict(arguments)
    x, y = given.pop("x", given.pop("ε", None)), given.pop("y", None)
    xs = None if x is None else x[None] if batch_first or x.ndim < 2 else x[:, None]
    ys = None if y is None else y[:, None]
    if isinstance(model, nn.Decoder):
        return model(ys, *([] if xs is None else [xs]))
    if isinstance(model, nn.Seq2Seq):
        return model(xs, ys)
    drawn = model._drawn()
    outputs = (nn.Recurrent(drawn) if isinstance(drawn, nn.Cell) else drawn)(xs)
    outputs = outputs[0] if isinstance(outputs, tuple) else outputs
    return tr.swapaxes(outputs, 0, 1) if batch_first else outputs


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_computes_what_its_equations_say(name, form):
    tr.seed(3)
    model = MODELS[name]()
    found, page, arguments = carried_out(model, FORMS[form])
    outputs = run(model, arguments)
    (output,) = found.system.outputs
    symbol = found.symbols[output]._replace(delay=None).at(0).replace(" ", "")
    is_once = output in found.system.once
    said = [page.value(symbol)] if is_once else [page.value(symbol, t) for t in range(1, T + 1)]
    np.testing.assert_allclose(np.stack(said).ravel(), outputs.data.ravel(), rtol=1e-5, atol=1e-6)

    compare_gradients(model, found, page, (((outputs + 1) ** 2) / 2).sum())


def test_the_start_has_only_what_comes_from_the_sequence():
    backward = Learned().equations(backward=True)
    assert r"\delta^{h}_0 &= W^{\top} \left(\delta^{h}_1 \odot \left(1 - h_1 \odot h_1\right)\right) \\" in backward


LOSSES = {
    "mse": (nn.mse, None),
    "sum": (lambda o, y: nn.mse(o, y, reduction="sum"), None),
    "of each": (lambda o, y: ((o - y) ** 4).mean(axis=-1), None),
    "cross-entropy": (nn.cross_entropy, None),
    "cross-entropy of classes": (nn.cross_entropy, Spec((T, 1), np.dtype(int))),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_and_its_derivatives_are_printed(name):
    loss, targets = LOSSES[name]
    model = nn.Sequential(nn.RNN(3, 4), nn.Linear(4, 2))
    if targets is not None:
        batch, steps = unlike(set(), 997), unlike(set(), 11)
        targets = Spec((steps, batch), targets.dtype)
    found, page, arguments = carried_out(model, Form("UW", net="a"), loss=loss, targets=targets)
    ys = arguments.pop("y")
    outputs = run(model, arguments)
    losses = [loss(o, y[None]).sum() for o, y in zip(outputs, ys, strict=True)]
    said = [np.sum(page.value("L", t)) for t in range(1, T + 1)]
    np.testing.assert_allclose(said, [float(one.data) for one in losses], rtol=1e-5)
    assert np.sum(page.value("L")) == pytest.approx(sum(said))
    compare_gradients(model, found, page, sum(losses))


def compare_gradients(model, found, page, loss):
    """Gradients of the parameters from the printed equations, and from the engine."""
    expected = dict(zip(model.parameters(), tr.grad(loss, model.parameters()), strict=True))
    gradients = {p.node: np.zeros(p.shape) for p in model.parameters()}
    for leaf in found.parameters:
        printed = found.symbols[leaf].at(0).replace(" ", "")
        if printed in page.gradients:
            for parameter, share in shares(found.parts.get(leaf, leaf), page.gradient(printed), model):
                gradients[parameter] = gradients[parameter] + share
    for parameter, gradient in expected.items():
        np.testing.assert_allclose(gradients[parameter.node], gradient.data, rtol=1e-4, atol=1e-5, err_msg=parameter.name)


def shares(expression, gradient, model):
    """The gradient of each parameter from the gradient of an expression of parameters."""
    own = [p for p in model.parameters() if p.node in ancestors([expression])]
    stands = {p.node: p for p in own}
    for node in ancestors([expression]):
        if node.primitive is not None:
            stands[node] = tr.ops.apply(node.primitive, [stands[i] for i in node.inputs], node.attributes)
    whole = stands[expression]
    return [(p.node, g.data) for p, g in zip(own, tr.grad((whole * np.reshape(gradient, whole.shape)).sum(), own), strict=True)]


def test_cuts_dropout_and_long_delays():
    class Cut(nn.Cell):
        state_shape, input_size = (3,), 3

        def __init__(self):
            super().__init__()
            self.W = nn.Parameter((3, 3), symbol="W")

        def step(self, x, h):
            h = tr.tanh(x + h.detach() @ self.W).named("h")
            return h, h

    for model in (Cut(), nn.Recurrent(Cut())):
        assert r"W^{\top} \operatorname{detach}\left(h_{t-1}\right)" in model.equations()
        assert r"\delta^{h}_{t+1}" not in model.equations(backward=True)
    model = nn.RNN(3, 4, recurrent_dropout=0.5)
    assert model.equations() == nn.RNN(3, 4).equations() and model.training and model.l0.cell.drop.training
    assert "W_{40} x_{t-40}" in nn.TimeDelay(3, 2, delays=[0, 40]).equations()
    with pytest.raises(tr.errors.TinygradError, match="delays of at most 63 steps"):
        nn.TimeDelay(3, 2, delays=[0, 90]).equations()


# -- what is not printed ---------------------------------------------------------------------


def test_a_value_that_reads_all_steps_has_no_backward_equations():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.q = nn.RNN(3, 4), nn.Parameter((4,), symbol="q")

        def forward(self, xs):
            hs, _ = self.rnn(xs)
            return (hs * tr.softmax(hs @ self.q, axis=0)[..., None]).sum(axis=0)

    assert r"\left[h_1, \ldots, h_T\right]" in Attention().equations()
    with pytest.raises(tr.errors.TinygradError, match="reads the values of h at all steps"):
        Attention().equations(backward=True)


def test_a_model_whose_equations_cannot_be_printed_says_why():
    class Third(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.RNN(3, 4)

        def forward(self, xs):
            return self.rnn(xs)[0][2]

    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.W = nn.Parameter((3, 3), symbol="W")

        def forward(self, xs):
            h = tr.tensor(np.zeros((xs.shape[1], 3)))
            for t, x in tr.steps(xs):
                h = tr.tanh(x @ self.W + h) if t == 1 else tr.tanh(x + h @ self.W)
            return h

    with pytest.raises(tr.errors.TinygradError, match="reads only step 3 of 11"):
        Third().equations()
    with pytest.raises(tr.errors.FoldError, match="differs from step 1"):
        Branching().equations()
    with pytest.raises(ValueError, match="bias must be None or 'one'"):
        nn.RNN(3, 4).equations(bias="two")
    with pytest.raises(ValueError, match='notation must be "UW"'):
        nn.RNN(3, 4).equations(notation="uw")
    with pytest.raises(ValueError, match="there is no name 'q'; there are 'x', 'U', 'W'"):
        nn.RNN(3, 4).equations(symbols={"q": "r"})


def test_a_notebook_shows_equations_typeset():
    text = nn.RNN(3, 4).equations()
    assert isinstance(text, str) and text.startswith(r"\begin{aligned}") and text._repr_latex_() == f"$${text}$$"


def test_a_symbol_set_by_hand_and_the_name_of_an_input_are_printed():
    cell = nn.RNNCell(3, 4, bias=False)
    cell.weight_ih.symbol = "权"
    assert r"h_t &= \tanh\left(\text{权} x_t + W h_{t-1}\right)" in cell.equations()
    noise = tr.tensor(np.zeros((1, 1), "float32")).named("e")
    assert "y_t &= w_{1} y_{t-1} + w_{0} + e_t" in nn.AR(1).cell.equations(inputs=noise)


# -- the loss of each step alone -------------------------------------------------------------

PATHS = {
    "rnn": lambda: nn.RNNCell(3, 4),
    "lstm": lambda: nn.LSTMCell(3, 4),
    "gru": lambda: nn.GRUCell(3, 4),
    "narx": lambda: nn.NARXCell(3, 2, hidden_size=4),
    "jordan": lambda: nn.Jordan(3, 4, 2).cell,
    "time delay": lambda: nn.TimeDelayCell(3, 4),
}


@pytest.mark.parametrize("net", [None, "q"])
@pytest.mark.parametrize("name", PATHS)
def test_the_paths_of_one_loss_give_its_gradient(name, net):
    """The printed recursion for the loss of a single step gives the engine's gradient."""
    cell = PATHS[name]()
    found, page, arguments = carried_out(nn.Recurrent(cell), Form(net=net))
    outputs = run(cell, arguments)
    printed = Paths(Forward(of_module(cell), Form(net=net))).lines()
    paths = [line for line in printed if not re.search(r"prod|approx|ij|t \\ge k", line)]
    for t in range(1, T + 1):
        once = []
        for line in paths:
            line = line.replace(r" \quad (k < t)", "").replace(r"\sum_t \sum_{k \le t}", r"\sum_t")
            if "_{t,t} &=" in line:  # at the step of the loss
                line = line.replace("_{t,t}", "_T").replace("_t", "_T").replace("_{t-", "_{T-")
            line = re.sub(r"_k(?![a-z])", "_t", line.replace("{t,k", "{k"))
            once.append(re.sub(r"\{k(?=[-+}])", "{t", line).replace(r"\ell_t", r"\ell_T"))
        alone = Page([*found.lines(), *once], t, page.constants, page.sequences, page.outside)
        compare_gradients(cell, found, alone, (((outputs[t - 1] + 1) ** 2) / 2).sum())


def test_the_state_is_handed_on_by_the_product_of_jacobians():
    lstm, rnn = nn.LSTMCell(3, 4).equations(backward="paths"), nn.RNNCell(3, 4).equations(backward="paths")
    assert r"\delta^{h}_{t,k} &= \left(\prod_{s=k+1}^{t} \left(\frac{\partial h_s}{\partial h_{s-1}}\right)" in rnn
    assert r"\partial \left[h_s, c_s\right]}{\partial \left[h_{s-1}, c_{s-1}\right]}" in lstm and r"\gamma^{t-1-k}" in lstm
    assert r"\frac{\partial L}{\partial W_{ij}} &= \sum_t \sum_{k \le t}" in rnn
    for model in (nn.RNN(3, 4, bidirectional=True), decoder("start")):
        with pytest.raises(tr.errors.TinygradError, match="needs a recurrent layer that runs forwards"):
            model.equations(backward="paths")
    with pytest.raises(ValueError, match="backward must be False, True"):
        rnn_cell = nn.RNNCell(3, 4)
        rnn_cell.equations(backward="path")


@pytest.mark.parametrize(
    "model",
    [nn.NARX(1, 1, feedback_delays=1, hidden_size=2), nn.Sequential(nn.LSTM(1, 2), nn.Linear(2, 1))],
    ids=["NARX", "gates"],
)
def test_what_a_model_says_of_its_target_y_has_a_hat(model: nn.Module) -> None:
    latex = str(model.equations(loss=nn.mse))
    assert r"\hat{y}_t &= V h_t" in latex and r"\left(\hat{y}_t - y_t\right)" in latex
    assert "y^{(" not in latex and "y^{(" not in str(model.equations(True, loss=nn.mse))
    assert r"\hat" not in str(model.equations())  # without a target there is one y, or o
