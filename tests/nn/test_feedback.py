"""Output feedback, residual states and dynamical systems: compared with a calculation by hand; plans and gradients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ShapeError
from tinygrad_rnn.scan.partition import partition_of
from tinygrad_rnn.testing import check_cell
from tinygrad_rnn.tree import flatten

sizes = st.integers(1, 4)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@given(sizes, sizes, sizes, sizes, sizes, st.sampled_from(["free", "forced", "mixed"]), st.booleans(), st.integers(0, 9))
def test_jordan_by_hand(T, B, I, H, O, way, bias, seed):
    jordan = nn.Jordan(I, H, O, bias=bias, dtype="float64")
    cell = jordan.cell
    b, c = (cell.bias_h.data, cell.bias_o.data) if bias else (0.0, 0.0)
    xs, ys = normal(seed, T, B, I), normal(seed + 1, T, B, O)
    mask = np.random.default_rng(seed).random((T, B)) < {"free": 0.0, "forced": 1.0, "mixed": 0.5}[way]
    o, expected = np.zeros((B, O)), []
    for x, y, m in zip(xs, ys, mask, strict=True):
        h = np.tanh(x @ cell.weight_ih.data.T + o @ cell.weight_oh.data.T + b)
        expected.append(h @ cell.weight_ho.data.T + c)
        o = np.where(m[:, None], y, expected[-1])
    outputs, state = jordan(xs, force={"o": ys}, force_mask=mask)
    np.testing.assert_allclose(outputs.data, expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(state.data, o, rtol=1e-11, atol=1e-13)
    if way == "free":
        np.testing.assert_allclose(jordan(xs)[0].data, expected, rtol=1e-11, atol=1e-13)
    if way == "forced":
        np.testing.assert_allclose(jordan(xs, force={"o": ys})[0].data, expected, rtol=1e-11, atol=1e-13)


def test_teacher_forcing_takes_the_recurrence_out():
    jordan = nn.Jordan(3, 5, 2)
    free, forced = jordan.plan(T=50, B=4), jordan.plan(T=50, B=4, force=["o"])
    assert [plan.forward.slots[0].kind for plan in (free, forced)] == ["cycle", "delay"]
    assert free.forward.counts.products == 2  # W o and V h, at each step; U x for all at once
    assert forced.forward.counts.products == 0
    # the same in numbers: the output of a step does not depend on an earlier input
    xs = tr.tensor(normal(0, 6, 1, 3), requires_grad=True)
    ys = normal(1, 6, 1, 2)
    wide = nn.Jordan(3, 5, 2, dtype="float64")
    forced_gradient = tr.grad(wide(xs, force={"o": ys})[0][-1].sum(), xs).data
    assert (forced_gradient[:-1] == 0).all() and (forced_gradient[-1] != 0).any()
    assert (tr.grad(wide(xs)[0][-1].sum(), xs).data != 0).all()


FUNCTIONS = {"tanh": np.tanh, "relu": lambda a: np.maximum(a, 0), "sigmoid": lambda a: 1 / (1 + np.exp(-a))}


@given(sizes, sizes, sizes, sizes, st.booleans(), st.sampled_from(list(FUNCTIONS)), st.integers(0, 9))
def test_a_residual_state_is_added_to(T, B, I, H, recurrent, nonlinearity, seed):
    f = FUNCTIONS[nonlinearity]
    cell = nn.ResidualCell(I, H, recurrent=recurrent, nonlinearity=nonlinearity, dtype="float64")
    xs = normal(seed, T, B, I)
    U, *others = (p.data for p in (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh) if p is not None)
    h, expected = np.zeros((B, H)), []
    for x in xs:
        a = x @ U.T + others[-2 if recurrent else -1] + (h @ others[0].T + others[-1] if recurrent else 0)
        h = h + f(a)
        expected.append(h)
    outputs, _ = nn.Recurrent(cell)(xs)
    np.testing.assert_allclose(outputs.data, expected, rtol=1e-11, atol=1e-13)
    assert len(cell.parameters()) == (4 if recurrent else 2)
    if not recurrent:
        np.testing.assert_allclose(outputs.data, np.cumsum(f(xs @ U.T + others[-1]), axis=0), rtol=1e-11, atol=1e-13)


def test_a_residual_state_without_recurrence_keeps_its_gradient():
    xs = tr.tensor(normal(0, 40, 1, 2) / 10, requires_grad=True)
    tr.seed(0)
    kept, vanishing = nn.ResidualCell(2, 3, recurrent=False, dtype="float64"), nn.RNNCell(2, 3, dtype="float64")
    norms = {}
    for cell in (kept, vanishing):
        g = tr.grad(nn.Recurrent(cell)(xs)[0][-1].sum(), xs).data
        norms[cell] = np.linalg.norm(g[0]) / np.linalg.norm(g[-1])
    assert norms[vanishing] < 1e-3 < 0.3 < norms[kept]


@given(sizes, sizes, st.integers(0, 3), sizes, st.integers(0, 9))
def test_a_system_by_hand(T, B, I, n, seed):
    cell = nn.SystemCell(I, n, hidden_size=3, dtype="float64")
    taps, output = cell.f[0], cell.f[2]
    W, U, b, V, c = taps.W.data, taps.U.data if I else 0, taps.b.data, output.weight.data, output.bias.data
    s = start = normal(seed, B, n)
    xs = normal(seed, T, B, I) if I else None
    expected = []
    for t in range(T):
        s = np.tanh(b + s @ W.T + (xs[t] @ U.T if I else 0)) @ V.T + c
        expected.append(s)
    found, _ = nn.Recurrent(cell)(xs, tr.tensor(start), steps=None if I else T)
    np.testing.assert_allclose(found.data, expected, rtol=1e-11, atol=1e-13)


def test_a_system_of_ones_own_function():
    rotation = np.array([[0.0, 1.0], [-1.0, 0.0]])
    cell = nn.SystemCell(2, 2, f=lambda s, x: s @ rotation + x)
    found, _ = nn.Recurrent(cell)(np.zeros((4, 1, 2)), tr.tensor([[1.0, 0.0]]))
    np.testing.assert_allclose(found.data[:, 0], [[0, 1], [-1, 0], [0, -1], [1, 0]])


@pytest.mark.parametrize("mode", ["scan", "unroll"])
@pytest.mark.parametrize("f", [None, lambda s, *x: s / 2])
def test_an_input_is_neither_lost_nor_made_up(f, mode):
    alone, driven = (nn.Recurrent(nn.SystemCell(size, 2, f=f), mode) for size in (0, 1))
    s, xs = tr.tensor(np.ones((4, 2), "f4")), np.ones((3, 4, 1), "f4")
    for options in ({}, {"steps": 3}):
        with pytest.raises(ShapeError, match=r"has no input, its input_size is 0; give None for xs, and steps=T"):
            alone(xs, s, **options)
    with pytest.raises(ShapeError, match="xs is missing: this model has an input of 1 feature"):
        driven(None, s, steps=3)
    for run in (alone, driven):
        with pytest.raises(ShapeError, match="steps must be the number of steps"):
            run(None, s)
    assert alone(None, s, steps=3)[0].shape == driven(xs, s)[0].shape == (3, 4, 2)


def test_units_are_of_the_function_that_is_made():
    assert nn.SystemCell(1, 2).f[0].W.shape == (10, 2)
    with pytest.raises(ValueError, match="hidden_size=99 is for the layer that is made without f"):
        nn.SystemCell(0, 2, f=lambda s: s, hidden_size=99)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.TimeDelay(3, 4, 2, 1, "relu"),
        lambda: nn.TimeDelayCell(3, 4, 2, 1),
        lambda: nn.AR(2, 1, float),
        lambda: nn.NARX(1, 1, 2, 2, nn.Linear(5, 1)),
        lambda: nn.SystemCell(0, 2, lambda s: s),
        lambda: nn.ResidualCell(3, 5, False),
        lambda: nn.Jordan(3, 5, 2, "relu"),
        lambda: nn.JordanCell(3, 5, 2, "relu"),
    ],
)
def test_options_have_names(make):
    with pytest.raises(TypeError, match="positional argument"):
        make()


@pytest.mark.parametrize(
    ("make", "fans"),
    [
        (lambda: nn.JordanCell(40, 50, 60), dict.fromkeys(("weight_ih", "weight_oh", "weight_ho", "bias_h", "bias_o"), 50)),
        (lambda: nn.ResidualCell(40, 50), dict.fromkeys(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), 50)),
        (
            lambda: nn.SystemCell(40, 50, hidden_size=60),
            {"f.0.W": 90, "f.0.U": 90, "f.0.b": 90, "f.2.weight": 60, "f.2.bias": 60},
        ),
        (lambda: nn.TimeDelayCell(40, 50, [0, 3]), {"weights.W_0": 80, "weights.W_3": 80, "weights.b": 80}),
        (lambda: nn.ARCell(2, 40), {"weights.w_1": 80, "weights.w_2": 80, "weights.w_0": 80}),
        (
            lambda: nn.NARXCell(40, 50, [1], [2], hidden_size=60),
            {"f.0.A_1": 90, "f.0.B_2": 90, "f.0.b": 90, "f.2.weight": 60, "f.2.bias": 60},
        ),
    ],
    ids=["jordan", "residual", "system", "time delay", "ar", "narx"],
)
def test_parameters_start_uniform(make, fans):
    """Weights are within ±1/√fan and reach nearly this bound: more closely with many numbers than with the 40 of a bias."""
    tr.seed(0)
    found = dict(make().named_parameters())
    assert set(found) == set(fans)
    for name, fan in fans.items():
        least = 0.98 if found[name].size > 1000 else 0.8
        assert least < abs(found[name].data).max() * fan**0.5 <= 1 + 1e-6, name


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Jordan(3, 0, 2),
        lambda: nn.Jordan(3, 5, 0),
        lambda: nn.ResidualCell(3, 0),
        lambda: nn.ResidualCell(-1, 3),
        lambda: nn.SystemCell(0, 0),
        lambda: nn.SystemCell(0, 2, hidden_size=0),
        lambda: nn.SystemCell(0, 2, hidden_size=2.5),
        lambda: nn.NARX(1, 1, hidden_size=0),
        lambda: nn.NARX(1, 0),
        lambda: nn.AR(2, 0),
        lambda: nn.TimeDelay(3, 0),
        lambda: nn.Linear(3, 0),
    ],
)
def test_sizes_that_cannot_be(make):
    with pytest.raises(ValueError, match=r"sizes must be whole numbers, .* at least 1 unit: \w+ cannot have shape"):
        make()


def test_what_is_not_used_is_not_drawn():
    tr.seed(0)
    cell, after = nn.ResidualCell(3, 5, recurrent=False), nn.Linear(5, 1)
    assert [name for name, _ in cell.named_parameters()] == ["weight_ih", "bias_ih"]
    tr.seed(0)
    numbers = [tr.init.uniform(p.shape, 5**-0.5).astype("f4") for p in (*cell.parameters(), *after.parameters())]
    for parameter, expected in zip([*cell.parameters(), *after.parameters()], numbers, strict=True):
        np.testing.assert_array_equal(parameter.data, expected)


each_cell = pytest.mark.parametrize(
    "make",
    [
        lambda: nn.JordanCell(2, 3, 2),
        lambda: nn.JordanCell(2, 2, 1, nonlinearity="sigmoid", bias=False),
        lambda: nn.ResidualCell(2, 2),
        lambda: nn.ResidualCell(2, 2, recurrent=False),
        lambda: nn.SystemCell(0, 2, hidden_size=3),
        lambda: nn.SystemCell(2, 2, hidden_size=3),
    ],
    ids=["jordan", "jordan without bias", "residual", "residual of x", "system", "driven system"],
)


@each_cell
def test_gradients_are_right_to_second_order(make):
    report = check_cell(make, order=2, examples=settings().max_examples // 2)
    assert report.runs and not report.unreached


@each_cell
@pytest.mark.parametrize("reverse", [False, True])
@given(st.integers(0, 5), st.integers(0, 9))
def test_scan_is_unroll(make, reverse, T, seed):
    cell = make()
    start = tr.tensor(normal(seed, 3, *cell.state_shape), requires_grad=True)
    xs = tr.tensor(normal(seed, T, 3, 2), requires_grad=True) if cell.input_size else None
    lengths = np.random.default_rng(seed).integers(0, T + 1, 3)
    wanted = [start, *([] if xs is None else [xs]), *cell.parameters()]
    found = []
    for mode in ("scan", "unroll"):
        outputs, state = nn.Recurrent(cell, mode, reverse)(xs, start, steps=T, lengths=lengths)
        gradients = tr.grad((outputs**2).sum() + (state**3).sum(), wanted)
        found.append([x.data for x in (outputs, state, *gradients)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@given(st.integers(1, 6), st.booleans(), st.integers(0, 9))
def test_padding_makes_no_recurrence_of_a_delay(T, forced, seed):
    """Past the end of a row nothing reads a delay, so the delay is not held; its last value is looked up."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, T + 1, 3)
    padding = np.arange(T)[:, None] >= lengths
    xs, ys = normal(seed, T, 3, 2), normal(seed + 1, T, 3, 2)
    xs[padding], ys[padding] = np.nan, np.nan
    run = nn.Jordan(2, 3, 2, dtype="float64") if forced else nn.TimeDelay(2, 2, [0, 1, 3], dtype="float64")
    force = {"o": ys} if forced else None
    start = tr.tensor(normal(seed, 3, 2)) if forced else run.history(normal(seed, 3, 3, 2))
    found = []
    for mode in ("scan", "unroll"):
        run.mode = mode
        outputs, state = run(xs, start, lengths=lengths, force=force)
        slots = flatten(state)
        gradients = tr.grad((outputs**2).sum() + sum((slot**2).sum() for slot in slots), run.parameters())
        found.append([x.data for x in (outputs, *slots, *gradients)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)
    run.mode = "scan"
    scan = run(xs, start, lengths=lengths, force=force)[0].node.inputs[0]
    assert not partition_of(scan.attributes["plan"].traced).cycle
    free = run.plan(T) if forced else None
    assert free is None or free.forward.slots[0].kind == "cycle"


def test_forced_data_tell_the_batch_where_there_is_no_input():
    outputs, s = nn.Recurrent(nn.SystemCell(0, 2))(None, steps=3, force={"s": np.zeros((3, 5, 2), "float32")})
    assert outputs.shape == (3, 5, 2) and s.shape == (5, 2)
    assert "s[1]" in nn.SystemCell(0, 2).draw(time="unrolled", force=["s"]).source


def test_slots_are_held_past_the_end_of_a_row_by_a_step_that_cannot_be_traced():
    class Looks(nn.Cell):
        state_shape = (2,)

        def step(self, x, h):
            h = (h / 2 + (x if float(x.data.sum()) < 1e9 else -x)).named("h")
            return h, h

    outputs, h = nn.Recurrent(Looks(), mode="unroll")(normal(0, 4, 2, 2), lengths=[4, 2])
    np.testing.assert_array_equal(h.data, [outputs.data[3, 0], outputs.data[1, 1]])


def test_a_second_run_with_lengths_makes_the_graph_of_the_first():
    layer, xs = nn.TimeDelay(2, 3, mode="unroll"), normal(0, 4, 2, 2)
    graphs = [tr.graph(outputs, *state) for outputs, state in (layer(xs, lengths=[4, 2]) for _ in range(2))]
    assert graphs[0] == graphs[1]
