"""NARX: every way to predict equals a loop by hand; open loop needs no loop; no data pass between sessions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim
from tinygrad_rnn.errors import DataError, ShapeError, TinygradError
from tinygrad_rnn.testing import check_cell, check_gradients
from tinygrad_rnn.tree import flatten

T = 7


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


class Case:
    """A model with delays of any kind, and data for the model."""

    def __init__(self, input_delays, feedback_delays, I, O, B, seed, custom=False):
        tr.seed(seed)
        inputs = input_delays if I else None
        width = (len(input_delays) if I else 0) * I + len(feedback_delays) * O
        f = nn.Sequential(nn.Linear(width, 3, dtype=float), tr.tanh, nn.Linear(3, O, dtype=float)) if custom else None
        self.narx = nn.NARX(I, O, inputs, feedback_delays, f=f, hidden_size=None if custom else 3, dtype=float)
        self.I, self.inputs, self.feedback = I, input_delays if I else [], feedback_delays
        n = self.narx.reach + T
        self.all_xs, self.all_ys = normal(seed, n, B, I) if I else None, normal(seed + 1, n, B, O)
        self.xs, self.history, self.ys = self.narx.prepare(self.all_xs, self.all_ys)

    def f(self, regressor):
        """The network in NumPy; the regressor has the columns of x, then the columns of y."""
        parameters = [p.data for p in self.narx.cell.f.parameters()]
        if len(parameters) == 4:
            W, b, V, c = parameters
        else:
            *taps, b, V, c = parameters
            W = np.concatenate(taps, axis=1)
        return np.tanh(regressor @ W.T + b) @ V.T + c

    def by_hand(self, measured):
        """Predictions of all steps; each output is fed back unless a measured value is given."""
        n = self.narx.reach
        line, found = list(self.all_ys[:n]), []
        for t in range(n, n + T):
            taps = [self.all_xs[t - d] for d in self.inputs] + [line[t - d] for d in self.feedback]
            found.append(self.f(np.concatenate(taps, axis=-1)))
            line.append(self.all_ys[t] if measured(t - n) else found[-1])
        return np.array(found)


@st.composite
def cases(draw):
    def delays(least):
        return draw(st.lists(st.integers(least, 4), min_size=1, max_size=3, unique=True).map(sorted))

    sizes = draw(st.integers(0, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    return Case(delays(0), delays(1), *sizes, draw(st.integers(0, 99)), draw(st.booleans()))


# -- the three ways to predict -------------------------------------------------------------


@given(cases())
def test_open_and_closed_loop_by_hand(case):
    narx = case.narx
    one_step, free_run = narx.one_step(case.xs, case.history, case.ys), narx.free_run(case.xs, case.history, steps=T)
    np.testing.assert_allclose(one_step.data, case.by_hand(lambda t: True), atol=1e-12)
    np.testing.assert_allclose(free_run.data, case.by_hand(lambda t: False), atol=1e-12)
    mask = np.array([True, False, False, True, False, True, False])
    mixed, _ = narx(case.xs, case.history, case.ys, force_mask=mask)
    np.testing.assert_allclose(mixed.data, case.by_hand(lambda t: mask[t]), atol=1e-12)
    again = narx.one_step(case.xs, case.history, free_run)  # a model is right about its own free run
    np.testing.assert_allclose(again.data, free_run.data, atol=1e-12)


@given(cases(), st.integers(1, T))
def test_n_steps_are_free_runs_from_every_step(case, n):
    narx, reach = case.narx, case.narx.reach
    expected = []
    for start in range(T - n + 1):
        past = slice(start, start + reach)
        history = narx.history(None if case.all_xs is None else case.all_xs[past], case.all_ys[past])
        ahead = None if case.all_xs is None else case.all_xs[start + reach : start + reach + n]
        expected.append(narx.free_run(ahead, history, steps=n).data[-1])
    found = narx.n_step(n, case.xs, case.history, case.ys)
    assert found.shape == case.ys[n - 1 :].shape
    np.testing.assert_allclose(found.data, expected, atol=1e-12)


@given(cases())
def test_one_step_and_free_run_are_its_ends(case):
    narx, given_ = case.narx, (case.xs, case.history, case.ys)
    np.testing.assert_allclose(narx.n_step(1, *given_).data, narx.one_step(*given_).data, atol=1e-12)
    last = narx.free_run(case.xs, case.history, steps=T).data[-1:]
    np.testing.assert_allclose(narx.n_step(T, *given_).data, last, atol=1e-12)


@given(cases(), st.integers(0, T))
def test_a_run_goes_on_from_the_state_of_the_one_before(case, cut):
    narx = case.narx
    first, rest = (None, None) if case.xs is None else (case.xs[:cut], case.xs[cut:])
    _, state = narx(first, case.history, case.ys[:cut])
    after = narx.history(None if case.all_xs is None else case.all_xs[: narx.reach + cut], case.all_ys[: narx.reach + cut])
    for one, other in zip(state, after, strict=True):
        np.testing.assert_array_equal(one.data, other.data)
    found = narx.free_run(rest, state, steps=T - cut)
    expected = case.by_hand(lambda t: t < cut)[cut:]
    np.testing.assert_allclose(found.data, expected.reshape(found.shape), atol=1e-12)


@settings(max_examples=20)
@given(cases())
def test_scan_is_unroll(case):
    narx = case.narx
    twin = nn.NARX(1, 1, mode="unroll")
    twin.cell = narx.cell
    lengths = (np.arange(case.ys.shape[1]) * 3) % (T + 1)
    results = []
    for model in (narx, twin):
        ys = tr.tensor(case.ys, requires_grad=True)
        past = [tr.tensor(slot.data, requires_grad=True) for slot in case.history]
        history = type(case.history)(*past)
        open_loop, state = model(case.xs, history, ys, lengths=lengths)
        closed, end = model(case.xs, history, steps=T, lengths=lengths)
        parts = [open_loop, closed, *flatten(state), *flatten(end)]
        total = sum(((k + 1) * part * part).sum() for k, part in enumerate(parts))
        results.append([*parts, *tr.grad(total, [ys, *past, *model.parameters()])])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one.data, other.data, atol=1e-11)


# -- gradients and plans -------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"hidden_size": 2}, {"input_delays": [1, 3], "feedback_delays": [2], "hidden_size": 2}, {"f": nn.Linear(5, 1)}]
)
def test_gradients_of_every_prediction(options):
    tr.seed(1)
    narx = nn.NARX(1, 1, **options)
    xs, ys = normal(0, 2, 8, 2, 1)

    def run(xs, ys):
        xs, history, ys = narx.prepare(xs, ys)
        return narx.one_step(xs, history, ys), narx.free_run(xs, history), narx.n_step(2, xs, history, ys)

    check_gradients(run, xs, ys, wrt=[0, 1, *narx.parameters()])


def test_gradients_of_the_cell():
    report = check_cell(nn.NARXCell, examples=10)
    assert report.runs and not report.unreached
    assert report.parameters == ["A_0", "A_1", "A_2", "B_1", "B_2", "b", "V", "c"]
    assert check_cell(lambda: nn.NARXCell(0, 2, feedback_delays=[2]), examples=5).parameters == ["B_2", "b", "V", "c"]


@pytest.mark.parametrize(("inputs", "feedback"), [(2, 2), ([0, 4], [1, 3]), ([1], [5])])
@pytest.mark.parametrize("f", [None, nn.Sequential])
def test_open_loop_has_no_loop(inputs, feedback, f):
    narx = nn.NARX(2, 1, inputs, feedback)
    if f is not None:
        layers = f(nn.Linear(narx.cell.regressor_size, 4), tr.tanh, nn.Linear(4, 1))
        narx = nn.NARX(2, 1, inputs, feedback, f=layers)
    open_loop, closed = narx.plan(50, 4, force=["y_1"]), narx.plan(50, 4)
    for one in (open_loop.forward, open_loop.backward):
        assert one.counts.inside == one.counts.products == one.counts.bytes_inside == 0
        assert {slot.kind for slot in one.slots} <= {"delay", "unused"}
    assert {slot.name: slot.kind for slot in closed.forward.slots}["y_1"] == "cycle"
    assert all(slot.kind == "delay" for slot in closed.forward.slots if slot.name.startswith("x"))
    assert closed.forward.counts.products <= narx.cell.regressor_size + 1


def test_what_the_free_run_reads():
    """A prediction reads no measured output after the history, and no input after its own step."""
    case = Case([0, 1], [1, 2], 1, 1, 1, seed=0)
    xs, ys = tr.tensor(case.all_xs, requires_grad=True), tr.tensor(case.all_ys, requires_grad=True)
    after, history, _ = case.narx.prepare(xs, ys)
    gx, gy = tr.grad(case.narx.free_run(after, history)[3].sum(), [xs, ys])
    assert np.flatnonzero(gx.data).tolist() == [1, 2, 3, 4, 5]
    assert np.flatnonzero(gy.data).tolist() == [0, 1]


# -- sessions ------------------------------------------------------------------------------


@settings(max_examples=15)
@given(cases(), st.lists(st.integers(0, T), min_size=3, max_size=3), st.integers(1, T))
def test_sessions_do_not_know_of_each_other(case, lengths, n):
    narx, B = case.narx, case.ys.shape[1]
    lengths = np.array(lengths[:B])
    padding = np.arange(T)[:, None] >= lengths
    xs, ys = (None if data is None else np.where(padding[..., None], np.nan, data) for data in (case.xs, case.ys))
    together = {
        "one": narx.one_step(xs, case.history, ys, lengths=lengths),
        "free": narx.free_run(xs, case.history, steps=T, lengths=lengths),
        "n": narx.n_step(n, xs, case.history, ys, lengths=lengths),
    }
    tr.grad(sum(found.sum() for found in together.values()), narx.parameters())
    for b, length in enumerate(lengths):
        history = type(case.history)(*(slot[b : b + 1] for slot in case.history))
        x = None if case.xs is None else case.xs[:length, b : b + 1]
        y = case.ys[:length, b : b + 1]
        alone = {"one": narx.one_step(x, history, y), "free": narx.free_run(x, history, steps=length)}
        if n <= length:
            alone["n"] = narx.n_step(n, x, history, y)
        for name, found in alone.items():
            np.testing.assert_allclose(
                together[name].data[: len(found), b], found.data.reshape(len(found), case.ys.shape[2]), atol=1e-12
            )
        assert not together["one"].data[length:, b].any() and not together["free"].data[length:, b].any()
        assert not together["n"].data[max(0, length - n + 1) :, b].any()


def test_padding_gets_no_gradient_and_spoils_none():
    case = Case([0, 1], [1, 2], 1, 1, 2, seed=0)
    gradients = []
    for filler in (0.0, np.nan):
        xs, ys = case.xs.copy(), case.ys.copy()
        xs[2:, 1] = ys[2:, 1] = filler
        xs, ys = tr.tensor(xs, requires_grad=True), tr.tensor(ys, requires_grad=True)
        found = [
            case.narx.one_step(xs, case.history, ys, lengths=[T, 2]),
            case.narx.n_step(3, xs, case.history, ys, lengths=[T, 2]),
            case.narx.free_run(xs, case.history, lengths=[T, 2]),
        ]
        gradients.append(tr.grad(sum((part * part).sum() for part in found), [xs, ys, *case.narx.parameters()]))
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_array_equal(one.data, other.data)
    assert not gradients[0][0].data[2:, 1].any() and not gradients[0][1].data[2:, 1].any()


# -- training ------------------------------------------------------------------------------


def test_training_goes_on_in_closed_loop_with_the_same_parameters():
    tr.seed(0)
    rng = np.random.default_rng(0)
    xs, ys = rng.uniform(-1, 1, (80, 4, 1)), np.zeros((80, 4, 1))
    for t in range(2, 80):  # measured with noise, which a one-step predictor fits; a free run then gets worse
        ys[t] = 0.7 * ys[t - 1] - 0.3 * ys[t - 2] + np.tanh(xs[t - 1]) + 0.2 * ys[t - 1] * xs[t]
    narx = nn.NARX(1, 1, 1, 2, hidden_size=6, dtype=float)
    _, _, true = narx.prepare(xs, ys)
    xs, history, ys = narx.prepare(xs, ys + 0.4 * rng.normal(size=ys.shape))
    names = list(narx.state_dict())

    def train(predict, updates):
        optimizer = optim.Adam(narx.parameters(), lr=0.02)
        for _ in range(updates):
            optimizer.zero_grad()
            nn.mse(predict(), ys).backward()
            optimizer.step()
        return nn.mse(narx.free_run(xs, history), true).item()

    after_open = train(lambda: narx.one_step(xs, history, ys), 150)
    after_closed = train(lambda: narx.free_run(xs, history), 100)
    assert after_closed < after_open / 2 < np.var(true) / 2
    assert list(narx.state_dict()) == names


# -- pictures and words --------------------------------------------------------------------


def test_drawings_are_chains_of_delays():
    narx = nn.NARX(1, 1)
    source = narx.draw().source
    assert source.count("z<SUP>−1</SUP>") == 4
    for symbol in ("A₀", "A₁", "A₂", "B₁", "B₂", "V"):
        assert symbol in source
    expected = r"h_t &= \tanh\left(A_{0} x_t + A_{1} x_{t-1} + A_{2} x_{t-2} + B_{1} y_{t-1} + B_{2} y_{t-2} + b\right)"
    assert expected in narx.cell.equations()
    unrolled = narx.draw(time="unrolled", steps=5).source
    assert "y[-1]" in unrolled or "y₋₁" in unrolled


def test_a_function_is_an_f_too():
    narx = nn.NARX(1, 1, [0], [1], f=lambda r: r[:, :1] * 2 + r[:, 1:] / 2)
    xs, history, _ = narx.prepare(np.ones((4, 1, 1)), np.zeros((4, 1, 1)))
    assert narx.free_run(xs, history).data.ravel().tolist() == [2.0, 3.0, 3.5]


@pytest.mark.parametrize("B", [0, 2])
@pytest.mark.parametrize("steps", [0, 3])
def test_nothing_is_a_sequence_too(B, steps):
    narx = nn.NARX(1, 1)
    xs, history, ys = narx.prepare(np.zeros((2 + steps, B, 1), "f4"), np.zeros((2 + steps, B, 1), "f4"))
    assert len(narx.one_step(xs, history, ys)) == len(narx.free_run(xs, history)) == steps


# -- invalid arguments ---------------------------------------------------------------------

MODEL = nn.NARX(2, 1, [0, 3], 2)
X, Y = np.zeros((9, 4, 2), "f4"), np.zeros((9, 4, 1), "f4")
XS, HISTORY, YS = MODEL.prepare(X, Y)
NAR = nn.NARX(0, 1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: MODEL.prepare(X[:2], Y[:2]), DataError, "there are 2 steps, but the longest delay needs a history of 3"),
        (lambda: MODEL.prepare(X[:8], Y), ShapeError, "xs and ys must have the same length, but have 8 and 9 steps"),
        (
            lambda: MODEL.history(X[:2], Y),
            DataError,
            "the history of x has 2 steps, but the longest delay is 3 steps; give at least 3",
        ),
        (
            lambda: MODEL.history(X, Y[:1]),
            DataError,
            "the history of y has 1 step, but the longest delay is 2 steps; give at least 2",
        ),
        (lambda: MODEL.history(X, X), ShapeError, r"the history of y has shape \(9, 4, 2\).*with 1 feature"),
        (lambda: MODEL.history(None, Y), ShapeError, "xs is missing"),
        (lambda: MODEL.free_run(XS, None), ShapeError, "history must be what .* returns, .* not of type NoneType"),
        (lambda: MODEL.free_run(XS, X), ShapeError, "history must be what .* returns, .* not of type ndarray"),
        (
            lambda: MODEL.free_run(XS, NAR.history(None, Y)),
            ShapeError,
            "5 tensors, x_1, x_2, x_3, y_1, y_2, not 2 tensors",
        ),
        (lambda: MODEL.free_run(XS[:, :3], HISTORY), ShapeError, r"shape \(4, 2\)|\(3, 2\)"),
        (lambda: MODEL.free_run(XS[..., :1], HISTORY), ShapeError, r"xs has shape \(6, 4, 1\).* with 2 features"),
        (lambda: MODEL.free_run(None, HISTORY, steps=3), ShapeError, "xs is missing"),
        (lambda: MODEL.one_step(XS, HISTORY, XS), ShapeError, r"ys has shape \(6, 4, 2\).*with 1 feature"),
        (
            lambda: MODEL.one_step(XS, HISTORY, YS[:4]),
            ShapeError,
            "xs and ys must have the same length, but have 6 and 4 steps",
        ),
        (
            lambda: MODEL.n_step(2, XS, HISTORY, YS[:4]),
            ShapeError,
            "xs and ys must have the same length, but have 6 and 4 steps",
        ),
        (lambda: MODEL.n_step(2, XS, XS, YS), ShapeError, "not of type ndarray"),
        (lambda: MODEL.n_step(0, XS, HISTORY, YS), ValueError, "n must be a number of steps from 1 to 6, not 0"),
        (lambda: MODEL.n_step(7, XS, HISTORY, YS), ValueError, "not 7"),
        (lambda: MODEL.n_step(1.0, XS, HISTORY, YS), ValueError, "not 1.0"),
        (lambda: MODEL.free_run(XS, HISTORY, lengths=[7, 1, 1, 1]), ShapeError, "lengths go from 1 to 7"),
        (lambda: MODEL.n_step(2, XS, HISTORY, YS, lengths=[7, 1, 1, 1]), ShapeError, "lengths go from 1 to 7"),
        (
            lambda: NAR.free_run(XS, NAR.history(None, Y), steps=6),
            ShapeError,
            "has no input, its input_size is 0; give None for xs",
        ),
        (lambda: NAR.free_run(None, NAR.history(None, Y)), ShapeError, "steps must be the number of steps"),
        (lambda: nn.NARX(0, 1, [0, 1], 2), ValueError, r"input_delays=\[0, 1\] needs an input, but input_size is 0"),
        (lambda: nn.NARX(1, 1, f=3), TinygradError, "must be a Module or a function"),
        (lambda: nn.NARX(1, 1, f=nn.Linear(5, 1), hidden_size=9), ValueError, "hidden_size=9 .* made without f"),
        (lambda: nn.Recurrent(NAR.cell)(XS, NAR.history(None, Y)), ShapeError, "has no input, its input_size is 0"),
        (lambda: nn.Recurrent(MODEL.cell)(None, HISTORY, steps=3), ShapeError, "xs is missing: this model has an input of 2"),
        # in another order than (xs, history, ys)
        (lambda: MODEL(XS, YS, HISTORY), ShapeError, "^NARX: ys must be a sequence, but here is a history"),
        (lambda: MODEL(HISTORY, XS, YS), ShapeError, "xs must be a sequence, but here is a history"),
        (lambda: MODEL.one_step(XS, YS, HISTORY), ShapeError, "ys must be a sequence, but here is a history"),
        (lambda: MODEL.n_step(2, XS, YS, HISTORY), ShapeError, "ys must be a sequence, but here is a history"),
        (lambda: MODEL.free_run(HISTORY, XS), ShapeError, "xs must be a sequence, but here is a history"),
        (lambda: MODEL.history(HISTORY, YS), ShapeError, "xs must be a sequence, but here is a history"),
        # a history has no default, in all ways to run the model
        (lambda: MODEL.states(XS), ShapeError, "history must be .* not of type NoneType"),
        (lambda: MODEL.recorded(XS), ShapeError, "history must be .* not of type NoneType"),
        (lambda: NAR.states(None, steps=3), ShapeError, "history must be what the model's method history returns"),
        (lambda: nn.NARX(1, 1, f=nn.Linear(4, 1)).free_run(XS[..., :1], HISTORY), ShapeError, "NARX"),
    ],
)
def test_what_does_not_fit_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
