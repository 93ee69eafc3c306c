"""Equations are read from the graph; the printed BPTT equals the computed BPTT."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from latex_reader import Reader

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.explain.bptt import Backward
from tinygrad_rnn.explain.forward import Forward
from tinygrad_rnn.explain.system import of_cell
from tinygrad_rnn.explain.textbook import AS_WRITTEN, Form
from tinygrad_rnn.graph.node import ancestors
from tinygrad_rnn.tree import flatten, rebuild


class Gated(nn.Cell):
    def __init__(self, input_size=2, hidden_size=3):
        super().__init__()
        self.V = nn.Parameter((input_size, hidden_size), symbol="U")
        self.W = nn.Parameter((hidden_size, hidden_size), symbol="W^z")
        self.state_shape = ((hidden_size,), (input_size,))

    def step(self, x, state):
        h, before = state
        z = tr.sigmoid(x @ self.V + h @ self.W).named("z")
        h = (z * h + (1 - z) * tr.tanh(before @ self.V)).named("h")
        return h.sum(axis=-1, keepdims=True) / 2, (h, x)


def lines(text):
    return [line.removesuffix(r" \\").replace("&= ", "= ") for line in text.splitlines()[1:-1]]


def test_the_plain_cell_reads_as_in_the_textbook():
    assert lines(nn.RNNCell(2, 3).equations()) == [r"h_t = \tanh\left(U x_t + b + W h_{t-1} + b'\right)"]
    assert lines(nn.RNNCell(2, 3, bias=False, nonlinearity="sigmoid").equations()) == [
        r"h_t = \sigma\left(U x_t + W h_{t-1}\right)"
    ]


def test_its_backpropagation_through_time():
    delta = r"\delta^{h}_t \odot \left(1 - h_t \odot h_t\right)"
    assert lines(nn.RNNCell(2, 3, bias=False).equations(backward=True)) == [
        r"\delta^{h}_t = \frac{\partial \ell_t}{\partial h_t} + W^{\top} "
        r"\left(\delta^{h}_{t+1} \odot \left(1 - h_{t+1} \odot h_{t+1}\right)\right)",
        rf"\frac{{\partial L}}{{\partial U}} = \sum_t \left({delta}\right) x_t^{{\top}}",
        rf"\frac{{\partial L}}{{\partial W}} = \sum_t \left({delta}\right) h_{{t-1}}^{{\top}}",
    ]


def test_a_users_cell_with_gates_a_delay_and_an_unnamed_output():
    assert lines(Gated().equations()) == [
        r"z_t = \sigma\left(U^{\top} x_t + {W^z}^{\top} h_{t-1}\right)",
        r"h_t = z_t \odot h_{t-1} + \left(1 - z_t\right) \odot \tanh\left(U^{\top} x_{t-1}\right)",
        r"o_t = \frac{\sum h_t}{2}",
    ]
    backward = Gated().equations(backward=True)
    for part in (r"\delta^{o}_t &= \frac{\partial \ell_t}{\partial o_t}", r"\delta^{z}_t &=", r"W^z \left(\delta^{z}_{t+1}"):
        assert part in backward, backward


def test_the_printed_recursion_is_the_computed_one():
    """Compute the printed BPTT of the plain cell in NumPy, and compare."""
    T, H = 4, 3
    cell = nn.RNNCell(2, H, dtype="float64")
    xs = np.random.default_rng(1).normal(size=(T, 1, 2))
    outputs, _ = nn.Recurrent(cell)(xs)
    (outputs**2).sum().backward()
    h = [np.zeros(H), *outputs.data[:, 0]]
    W = cell.weight_hh.data
    delta = np.zeros((T + 2, H))
    for t in range(T, 0, -1):
        later = W.T @ (delta[t + 1] * (1 - h[t + 1] * h[t + 1])) if t < T else 0
        delta[t] = 2 * h[t] + later
    for parameter, factor in ((cell.weight_ih, xs[:, 0]), (cell.weight_hh, h[:-1])):
        total = sum(np.outer(delta[t] * (1 - h[t] * h[t]), factor[t - 1]) for t in range(1, T + 1))
        np.testing.assert_allclose(parameter.grad.data, total, atol=1e-12)


def test_a_cell_that_cannot_be_called_says_so():
    class Broken(nn.Cell):
        state_shape = (2,)

        def step(self, x, h):
            raise tr.errors.ShapeError("never fits")

    with pytest.raises(tr.errors.ShapeError, match="never fits"):
        Broken().equations()


# -- the printed recursion, computed -------------------------------------------------------


def carry_out(cell, T=5, seed=0, form=AS_WRITTEN):
    """Gradients of the parameters from the printed terms, and from the engine."""
    rng = np.random.default_rng(seed)
    found = Forward(of_cell(cell), form)
    system, backward = found.system, Backward(found)
    xs = rng.normal(size=(T, system.batch, cell.input_size))
    start = cell.initial_state(system.batch)
    slots = [rng.normal(size=slot.shape) for slot in flatten(start)]
    outputs, _ = nn.Recurrent(cell)(xs, rebuild(start, iter(map(tr.tensor, slots))))
    loss = sum((((o + 1) ** 2) / 2).sum() for o in flatten(outputs))
    expected = tr.grad(loss, cell.parameters())

    values = [{}]
    for t in range(1, T + 1):
        now = dict(zip(system.references, slots, strict=True))
        now |= {node: xs[t - 1] for node in found.nodes if node.role == "input"}
        for part, expression in found.parts.items():
            evaluate(expression, now)
            now[part] = now[expression]
        evaluate_all(system.ends, now)
        values.append(now)
        slots = [now[node] for node in system.ends[len(system.outputs) :]]
        for slot, (source, delay, _) in system.references.items():  # the meaning of the slots' symbols in the text
            assert t <= delay or source not in values[t - delay] or np.allclose(now[slot], values[t - delay][source])
    delta = [{node: np.zeros(node.shape) for node in found.named} for _ in range(T + 1)]
    terms = backward.terms()

    def total(node, t):
        result = 0.0
        for term in terms.get(node, ()):
            s = t + term.later
            if s <= T:
                known = {leaf: values[s][stood] for leaf, stood in backward.originals.items() if stood in values[s]}
                known |= {leaf: delta[s][stood] for leaf, stood in backward.deltas.items()}
                evaluate_all([term.value], known)
                result = result + known[term.value]
        return result

    for t in range(T, 0, -1):
        for node in reversed(found.named):
            direct = sum((values[t][node] + 1 for output in system.outputs if output is node), 0.0)
            delta[t][node] = delta[t][node] + direct + total(node, t)
    gradients = {p.node: np.zeros(p.shape) for p in cell.parameters()}
    for leaf in found.parameters:
        gradient = sum(total(leaf, t) for t in range(1, T + 1)) + np.zeros(leaf.shape)
        for parameter, share in shares(found.parts.get(leaf, leaf), gradient, cell):
            gradients[parameter] = gradients[parameter] + share
    return [(p.name, gradients[p.node], g.data) for p, g in zip(cell.parameters(), expected, strict=True)]


def shares(expression, gradient, cell):
    """The gradient of each parameter from the gradient of an expression of parameters."""
    own = [p for p in cell.parameters() if p.node in ancestors([expression])]
    stands = {p.node: p for p in own}
    for node in ancestors([expression]):
        if node.primitive is not None:
            stands[node] = tr.ops.apply(node.primitive, [stands[i] for i in node.inputs], node.attributes)
    return [(p.node, g.data) for p, g in zip(own, tr.grad((stands[expression] * gradient).sum(), own), strict=True)]


def evaluate_all(ends, known):
    for node in ancestors(ends):
        evaluate(node, known)


def evaluate(node, known):
    if node in known:
        return
    for source in node.inputs:
        evaluate(source, known)
    known[node] = (
        node.value if node.primitive is None else node.primitive.kernel(*[known[i] for i in node.inputs], **node.attributes)
    )


class Made(nn.Cell):
    """A cell with random parts: delays of delays, gates, joined and cut values, outputs of all kinds."""

    def __init__(self, seed, slots=3, size=3):
        super().__init__()
        self.input_size, self.state_shape, self.seed, self.size = size, ((size,),) * slots, seed, size
        for i in range(6):
            setattr(self, f"W{i}", nn.Parameter((size, size), symbol=f"W_{i}", dtype="float64"))
        self.both = nn.Parameter((2 * size, 2 * size), symbol="A", dtype="float64")
        self.b = nn.Parameter(np.full(size, 0.3), symbol="b")

    def step(self, x, state):
        rng = np.random.default_rng(self.seed)
        weights, pool, n = [getattr(self, f"W{i}") for i in range(6)], [x, *state], self.size
        made = []

        def some():
            return pool[rng.integers(len(pool))]

        for i in range(rng.integers(2, 6)):
            kind = rng.integers(6)
            if kind == 0:
                new = tr.tanh(some() @ weights[i] + some() @ weights[i - 1].T + self.b)
            elif kind == 1:
                gate = tr.sigmoid(some() @ weights[i])
                new = gate * some() + (1 - gate) * tr.tanh(some())
            elif kind == 2:
                fused = (tr.concatenate([some(), some()], axis=-1) @ self.both).named(f"f_{i}")
                new = tr.sigmoid(fused[:, :n]) * tr.tanh(fused[:, n:])
            elif kind == 3:
                d = some() + self.b
                d = d - d.mean(axis=-1, keepdims=True)
                new = d / tr.sqrt(d.var(axis=-1, keepdims=True) + 1.0)
            elif kind == 4:
                new = tr.sin(some() * tr.exp(self.b)) - some() / 2
            else:
                new = tr.tanh(some()) * tr.maximum(some(), 0.1)
            pool.append(new.named(f"v_{i}") if rng.random() < 0.5 else new)
            made.append(pool[-1])
        after = [made[-1], *[[x, *state, *made][rng.integers(len(made) + 4)] for _ in state[1:]]]
        order = rng.permutation(len(after))
        return (pool[rng.integers(len(pool))], some()), tuple(after[i] for i in order)


@pytest.mark.parametrize("seed", range(40))
def test_the_printed_recursion_of_any_cell_gives_the_engines_gradients(seed):
    for name, printed, expected in carry_out(Made(seed), seed=seed):
        np.testing.assert_allclose(printed, expected, rtol=1e-8, atol=1e-8 * abs(expected).max() + 1e-12, err_msg=name)


def cell_of(step, state=((3,),), **parameters):
    """A cell whose step is a given function of the cell, x and the state."""

    class Cell(nn.Cell):
        input_size = 3
        state_shape = state if len(state) > 1 else state[0]

        def __init__(self):
            super().__init__()
            for name, shape in parameters.items():
                setattr(self, name, nn.Parameter(shape, symbol=name, dtype="float64"))

    Cell.step = step
    return Cell()


def narx(self, x, state):
    before, earlier = state
    y = tr.tanh(x @ self.U + before @ self.W + earlier @ self.V).named("y")
    return y, (y, before)


def over_the_batch(self, x, h):
    h = ((h - h.mean(axis=0)) * self.g + tr.tanh(x @ self.U)).named("h")
    return h, h


def named_statistics(self, x, h):
    weights, mean = tr.softmax(self.U).named("w"), h.mean(axis=0).named("m")
    h = (tr.tanh(h - mean) @ weights + x.mean()).named("h")
    return h, h


PARTICULAR = {
    "what examples share has a name": lambda: cell_of(named_statistics, U=(3, 3)),
    "narx": lambda: cell_of(narx, ((3,), (3,)), U=(3, 3), W=(3, 3), V=(3, 3)),
    "output is what came": lambda: cell_of(lambda self, x, h: (h, tr.tanh(x @ self.U + h).named("h")), U=(3, 3)),
    "output is the input": lambda: cell_of(lambda self, x, h: ((x, h * 2), tr.tanh(x @ self.U + h)), U=(3, 3)),
    "a circle of slots": lambda: cell_of(lambda self, x, s: (tr.tanh(s[0] @ self.U + x), (s[1], s[0])), ((3,), (3,)), U=(3, 3)),
    "a parameter is carried": lambda: cell_of(
        lambda self, x, s: (s[0] * x, (tr.tanh(self.U * s[1]), s[0] + 0 * x)), ((3,), (3,)), U=(3,)
    ),
    "a statistic of the batch": lambda: cell_of(over_the_batch, g=(3,), U=(3, 3)),
}


@pytest.mark.parametrize("form", [Form("UW", one_bias=True, net="q"), Form("WU", joined=True, one_bias=True)])
@pytest.mark.parametrize("seed", range(40, 52))
def test_the_printed_recursion_of_any_cell_in_another_form(seed, form):
    for name, printed, expected in carry_out(Made(seed), seed=seed, form=form):
        np.testing.assert_allclose(printed, expected, rtol=1e-8, atol=1e-8 * abs(expected).max() + 1e-12, err_msg=name)


class Bare(nn.Cell):
    """Slots and an output without names."""

    state_shape, input_size = ((3,), (3,)), 3

    def step(self, x, state):
        a, b = state
        return a * x, (tr.tanh(a + b), sum([a, x]))


CELLS = {
    "rnn": lambda: nn.RNNCell(2, 3),
    "lstm": lambda: nn.LSTMCell(2, 4, proj_size=3),
    "gru": lambda: nn.GRUCell(2, 3),
    "jordan": lambda: nn.Jordan(2, 3, 2).cell,
    "time delay": lambda: nn.TimeDelayCell(2, 3, delays=[0, 2]),
    "narx": lambda: nn.NARXCell(2, 1),
    "ar": lambda: nn.AR(2).cell,
    "decoder": lambda: nn.DecoderCell(nn.Embedding(4, 3), nn.RNNCell(3, 5), nn.Linear(5, 4), start=0),
    "a user's": Gated,
    "bare": Bare,
}


@pytest.mark.parametrize("name", CELLS)
def test_a_layer_has_the_equations_of_its_cell(name):
    cell = CELLS[name]()
    for form in ({}, {"notation": "UW", "bias": "one"}, {"backward": True, "net": "q"}):
        of_layer, of_cell = nn.Recurrent(cell).equations(**form), cell.equations(**form)
        assert sorted(lines(of_layer)) == sorted(lines(of_cell))


def test_a_value_that_comes_back_in_its_shape_is_that_value():
    def step(self, x, h):
        h = tr.tanh(x @ self.U + h).named("h")
        again = h.reshape(-1, 1, 3).reshape(-1, 3)
        return (tr.concatenate([tr.stack([again, x])[0]], axis=-1) @ self.U).named("o"), h

    assert lines(cell_of(step, U=(3, 3)).equations()) == [
        r"h_t = \tanh\left(U^{\top} x_t + h_{t-1}\right)",
        r"o_t = U^{\top} h_t",
    ]


def test_values_without_names_have_letters():
    assert lines(Bare().equations()) == [
        r"o_t = h_{t-1} \odot x_t",
        r"h_t = \tanh\left(h_{t-1} + s_{t-1}\right)",
        "s_t = h_{t-1} + x_t",
    ]


@pytest.mark.parametrize("name", PARTICULAR)
def test_the_printed_recursion_where_slots_are_not_values(name):
    for parameter, printed, expected in carry_out(PARTICULAR[name]()):
        np.testing.assert_allclose(printed, expected, rtol=1e-8, atol=1e-9, err_msg=parameter)


def test_delays_are_followed_to_where_they_come_from():
    cell = PARTICULAR["narx"]()
    assert lines(cell.equations()) == [r"y_t = \tanh\left(U^{\top} x_t + W^{\top} y_{t-1} + V^{\top} y_{t-2}\right)"]
    delta = lines(cell.equations(backward=True))[0]
    assert r"W \left(\delta^{y}_{t+1}" in delta and r"V \left(\delta^{y}_{t+2}" in delta
    cell = PARTICULAR["output is what came"]()
    assert lines(cell.equations())[-1] == "o_t = h_{t-1}"
    assert lines(cell.equations(backward=True))[1].endswith(r"+ \delta^{o}_{t+1}")


# -- text ----------------------------------------------------------------------------------


def test_text_grows_with_the_graph():
    def powers(self, x, h):
        for _ in range(200):
            h = h * h
        return h, h + x

    def normed(self, x, h):
        h = tr.tanh(x @ self.U + h @ self.U)
        for _ in range(4):
            h = (h - h.mean(axis=-1, keepdims=True)) / tr.sqrt(h.var(axis=-1, keepdims=True) + 1e-5)
        return h, h

    def chain(self, x, h):
        for _ in range(2000):
            h = tr.tanh(h)
        return x, h

    for step in (powers, normed):
        cell = cell_of(step, U=(3, 3))
        assert len(cell.equations()) < 20_000 and len(cell.equations(backward=True)) < 60_000
    assert r"\tanh" in cell_of(chain).equations()


def test_long_values_that_are_used_twice_have_lines_of_their_own():
    def step(self, x, h):
        for _ in range(9):
            h = h * h
        return h, h

    printed = lines(cell_of(step).equations())
    names = [line.split("_t = ")[0] for line in printed]
    assert len(printed) > 1 and len(set(names)) == len(names)
    assert all(any(f"{name}_t" in line for line in printed[i + 1 :]) for i, name in enumerate(names[:-1]))


def test_one_name_for_one_thing():
    class Two(nn.Cell):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.out, self.aux = nn.RNNCell(2, 3), nn.RNNCell(3, 3), nn.Linear(3, 1), nn.Linear(3, 1)
            self.state_shape = ((3,), (3,))

        def step(self, x, state):
            _, a = self.first(x, state[0])
            _, b = self.second(a, state[1])
            return (self.out(b), self.aux(a)), (a, b)

    assert lines(Two().equations())[-1] == r"o_{2,t} = V_{\mathrm{aux}} h_{\mathrm{first},t} + c_{\mathrm{aux}}"
    left = [line.split(" = ")[0] for line in lines(Two().equations(backward=True))]
    assert len(left) == len(set(left)) and r"\frac{\partial L}{\partial U_{\mathrm{second}}}" in left


def test_indices_belong_to_values_as_they_are_stored():
    def step(self, x, h):
        a = tr.tanh(tr.concatenate([x, h], axis=-1) @ self.W).named("a")
        return a[:, :3], tr.sigmoid(a[:, 3:] @ self.V[:3, 1:4]).named("h")

    cell = cell_of(step, W=(6, 6), V=(4, 5))
    assert lines(cell.equations()) == [
        r"a_t = \tanh\left(W^{\top} \cdot \left[x_t, h_{t-1}\right]\right)",
        r"o_t = a_t{}_{[:3]}",
        r"h_t = \sigma\left(V{}_{[:3, 1:4]}^{\top} a_t{}_{[3:]}\right)",
    ]
    backward = "\n".join(lines(cell.equations(backward=True)))
    assert r"\left(W \left(\delta^{a}_{t+1} \odot \left(1 - a_{t+1} \odot a_{t+1}\right)\right)\right){}_{[3:6]}" in backward
    assert r"\operatorname{scatter}_{[:3, 1:4]}\left(a_t{}_{[3:]} {" in backward


def test_a_sum_over_examples_is_seen_where_the_step_makes_one():
    cell = PARTICULAR["a statistic of the batch"]()
    assert r"\frac{\sum_{\text{batch}} h_{t-1}}{B}" in cell.equations()
    assert r"\sum_t \sum_{\text{batch}}" in cell.equations(backward=True)
    backward = lines(PARTICULAR["what examples share has a name"]().equations(backward=True))
    assert any(line.startswith(r"\delta^{m}_t = \sum_{\text{batch}}") for line in backward)
    assert not re.search(r"\\sum_t .*\\text\{batch\}", backward[-1]), "δ of what examples share is a sum over them already"
    assert "batch" not in nn.RNNCell(2, 3).equations(backward=True)


def test_what_is_known_is_not_asked():
    backward = cell_of(lambda self, x, h: (h, (h**2 + x**3 + 1e-8).named("new_state"))).equations(backward=True)
    assert "cases" not in backward and r"new_{state,t}" in backward and "1e-08" not in backward
    assert r"2 \odot new_{state,t}" in backward


@pytest.mark.parametrize("wrong", [AttributeError, TypeError, ValueError, KeyError])
def test_a_mistake_in_the_step_is_told_as_it_is(wrong):
    def step(self, x, h):
        h = x @ self.U + h
        raise wrong("mine")

    with pytest.raises(wrong, match="mine"):
        cell_of(step, U=(3, 3)).equations()


def test_an_example_of_the_input_may_be_given():
    def step(self, x, h):
        a, b = x
        return h, tr.tanh(a @ self.U + self.V[b]).named("h")

    cell = cell_of(step, U=(2, 3), V=(5, 3))
    with pytest.raises(ValueError, match="unpack") as told:
        cell.equations()
    assert any("inputs=" in note for note in getattr(told.value, "__notes__", ["inputs="]))
    assert lines(cell.equations(inputs=(np.zeros((1, 2)), np.zeros(1, int))))[0] == (
        r"h_t = \tanh\left(U^{\top} x_{1,t} + V{}_{[x_{2,t}]}\right)"
    )
    with pytest.raises(tr.errors.ShapeError):
        cell.equations(inputs=(np.zeros((1, 4)), np.zeros(1, int)))


# -- formulas: every primitive, in every place ---------------------------------------------


ATTRIBUTES = {
    "sum": {"axis": (-1,), "keepdims": True},
    "max": {"axis": (-1,), "keepdims": True},
    "min": {"axis": (-1,), "keepdims": True},
    "logsumexp": {"axis": (-1,), "keepdims": True},
    "log_softmax": {"axis": (-1,)},
    "cumsum": {"axis": -1},
    "argmax": {"axis": -1, "keepdims": True},
    "argsort": {"axis": -1},
    "concatenate": {"axis": -1},
    "astype": {"dtype": np.dtype(float)},
}

# Operations that only change shapes; other tests check their printed form.
OF_SHAPES = {"reshape", "transpose", "broadcast_to", "getitem", "scatter", "stack", "einsum"}

PLACES = {
    "alone": lambda f, x, h, W: f,
    "in a product": lambda f, x, h, W: f * h,
    "after a product": lambda f, x, h, W: h * f,
    "in a sum": lambda f, x, h, W: f + h,
    "subtracted": lambda f, x, h, W: h - f,
    "negative": lambda f, x, h, W: h + -f * 1.0,
    "squared": lambda f, x, h, W: (f * 1.0) ** 2,
    "power of a power": lambda f, x, h, W: (x ** (f * 1.0)) ** 3,
    "an exponent": lambda f, x, h, W: 2.0**f,
    "divided": lambda f, x, h, W: (f / 2) ** 2,
    "times a negative number": lambda f, x, h, W: f * -2.0,
    "in a matrix product": lambda f, x, h, W: (f * h) @ W + (h + f) @ W,
    "compared": lambda f, x, h, W: ((f * 1.0 > h) & (h + f > x)) * h,
    "chosen": lambda f, x, h, W: tr.where(f * 1.0 > 0.5, f, h) * 2 + tr.where(h > 0.5, h, f),
    "in a function": lambda f, x, h, W: tr.tanh(f) + tr.log1p(tr.absolute(f) + tr.expm1(f)),
    "within itself": lambda f, x, h, W: (f + 1) * (f - 1) * tr.expm1(f * h) * h,
}


def applied(name, x, h):
    primitive = tr.ops.registry[name]
    if name.startswith("logical"):
        x, h = x > 0.5, h > x
    n = len(primitive.arguments)
    inputs = [x > 0.5, x, h] if name == "where" else [x, h] if primitive.arguments[-1][0] == "*" else [x, h][:n]
    return tr.ops.apply(primitive, [i * 1.0 if name == "astype" else i for i in inputs], ATTRIBUTES.get(name, {}))


def formulas():
    names = [name for name, p in tr.ops.registry.items() if p.__module__.startswith("tinygrad_rnn") and name not in OF_SHAPES]
    return [name for name in names if name not in ("matmul", "concatenate")]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", formulas())
def test_what_is_printed_is_what_is_computed(name, place):
    def step(self, x, h):
        f = applied(name, x, h)
        f = f if f.dtype.kind == "f" else f.astype(np.dtype(float))
        return PLACES[place](f, x, h, self.W).named("y"), (h + x).named("k")

    cell = cell_of(step, W=(3, 3))
    rng = np.random.default_rng(3)
    x, h = rng.uniform(0.2, 0.9, (2, 1, 3))
    expected = cell.step(tr.tensor(x), tr.tensor(h))[0].data[0]
    values = {"x_t": x[0], "k_{t-1}": h[0], "W": cell.W.data}
    line = next(line for line in lines(cell.equations()) if line.startswith("y_t"))
    reader = Reader(line.removeprefix("y_t = "), values.__getitem__)
    found = reader.open()
    assert not reader.next, line
    np.testing.assert_allclose(found * np.ones(expected.shape), expected, rtol=1e-6, err_msg=line)


def test_every_line_is_latex():
    mathtext = pytest.importorskip("matplotlib.mathtext").MathTextParser("path")
    path = Path(__file__).parents[2] / "docs" / "extension" / "formulas.py"
    spec = importlib.util.spec_from_file_location("docs_formulas", path)
    docs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(docs)

    def everything(self, x, h):
        total = h
        for name in formulas():
            f = applied(name, x, h)
            total = total + (f.astype(np.dtype(float)) if f.dtype.kind != "f" else f).named(f"v^{len(name)}_{name}") ** 2 * h
        total = total + tr.einsum("bi,ij->bj", x, self.W) + tr.concatenate([x, h], axis=-1)[:, 1:4]
        total = total + tr.stack([x, h], axis=1)[:, 0] ** 2 + self.W[tr.ops.astype(x > 0, dtype=np.dtype(int))[:, 0]]
        total = (total.reshape(-1, 3, 1) * 1e-8).reshape(-1, 3) * np.inf
        return total, total.named("new_state")

    cells = [
        cell_of(everything, W=(3, 3)),
        Gated(),
        *(Made(seed) for seed in range(3)),
        *(make() for make in PARTICULAR.values()),
    ]
    for cell in cells:
        for line in {*lines(cell.equations()), *lines(cell.equations(backward=True))}:
            assert not re.search(r"\de[-+]\d|…|(?<!\\)\bnan\b|\\begin\{cases\}\d[^&]*& [\d.]+ (=|<|>)", line), line
            mathtext.parse(f"${docs.spelt(line, False)}$")


class Choosing(nn.Cell):
    """Named values, some of which have no gradient."""

    state_shape = (3,)

    def __init__(self, names):
        super().__init__()
        self.W = nn.Parameter((3, 3), symbol="W")
        self.names = names

    def step(self, x, h):
        def called(value, name):
            return value.named(name) if name in self.names else value

        m = called(h > 0, "m")
        k = called((x > h).astype(int), "k")
        a = called(h @ self.W, "a")
        h = tr.where(m, tr.tanh(a), (x + h) * k).named("h")
        return h, h


@pytest.mark.parametrize("names", ["m", "k", "mk", "mka"])
def test_named_values_without_a_gradient_have_no_line_in_the_backward_equations(names):
    cell = Choosing(names)
    forward, backward = cell.equations(), cell.equations(backward=True)
    assert all(f"{name}_t &=" in forward for name in names)
    lines = [line.split("&=")[0].strip() for line in backward.splitlines() if "&=" in line]
    for name in "mk":
        assert not any(line.startswith(r"\delta") and f"{name}" in line.replace("delta", "") for line in lines)
    assert len(lines) == 2 + ("a" in names)  # δ of h, of a if it is named, and the gradient of W
    assert all(re.search(rf"\b{name}_(t|{{t)", backward) for name in names if name in "mk")


class Wide(nn.Cell):
    """A length of the cell in a formula must not be confused with the number of examples."""

    def __init__(self, width, by):
        super().__init__()
        self.by = {"parameter": lambda h: h / width, "attribute": lambda h: h / width, "features": lambda h: h.mean(axis=-1)}[
            by
        ]
        if by != "attribute":
            self.w = nn.Parameter((width,), symbol="w")
        self.input_size, self.is_mean = width, by == "features"
        self.state_shape = (width,)

    def step(self, x, h):
        h = h * self.w if hasattr(self, "w") else h
        h = (x + self.by(h).reshape(-1, 1) if self.is_mean else x + self.by(h)).named("h")
        return h, h


@pytest.mark.parametrize("by", ["parameter", "attribute", "features"])
@pytest.mark.parametrize("width", [997, 999, 1994])
def test_a_length_of_the_cell_is_not_taken_for_the_number_of_examples(width, by):
    for backward in (False, True):
        assert Wide(width, by).equations(backward).replace(str(width), "7") == Wide(7, by).equations(backward)
