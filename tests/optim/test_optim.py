"""Optimisers, the schedule and clipping equal PyTorch and NumPy; second-order fits equal NumPy and SciPy."""

import copy
import functools
import inspect
import io
import pickle
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim
from tinygrad_rnn.errors import GradientError, MissingExtraError, NonFiniteError, ShapeError, StateDictError

SHAPES = [(3, 2), (4,), (), (2, 0)]
decays = st.sampled_from([0.0, 0.1, 0.5])
means = st.floats(0.05, 0.999)
rates = st.floats(1e-3, 0.5)

OPTIONS = {
    "SGD": st.fixed_dictionaries({"lr": rates, "momentum": st.sampled_from([0.0, 0.5, 0.9]), "weight_decay": decays}),
    "RMSProp": st.fixed_dictionaries(
        {
            "lr": rates,
            "alpha": means,
            "eps": st.floats(1e-8, 1e-2),
            "weight_decay": decays,
            "momentum": st.sampled_from([0.0, 0.9]),
            "centered": st.booleans(),
        }
    ),
    "Adam": st.fixed_dictionaries(
        {"lr": rates, "betas": st.tuples(means, means), "eps": st.floats(1e-8, 1e-2), "weight_decay": decays}
    ),
}
OPTIONS["AdamW"] = OPTIONS["Adam"]


def gradients(data, steps):
    """Random gradients for each step, some of them None, and initial values of the parameters."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    missing = data.draw(st.sets(st.tuples(st.integers(0, steps - 1), st.integers(0, len(SHAPES) - 1)), max_size=3))
    start = [rng.normal(size=shape) for shape in SHAPES]
    scale = 10.0 ** rng.integers(-2, 3)
    return start, [
        [None if (n, i) in missing else scale * rng.normal(size=shape) for i, shape in enumerate(SHAPES)] for n in range(steps)
    ]


def stepped(optimizer, parameters, gs, tensor):
    for step in gs:
        for p, g in zip(parameters, step, strict=True):
            p.grad = None if g is None else tensor(g)
        optimizer.step()


@pytest.mark.parametrize("name", OPTIONS)
@given(st.data())
def test_equal_to_torch(name, data):
    torch = pytest.importorskip("torch")
    options = data.draw(OPTIONS[name])
    start, gs = gradients(data, steps=7)
    ours = [nn.Parameter(x) for x in start]
    theirs = [torch.nn.Parameter(torch.tensor(x)) for x in start]
    stepped(getattr(optim, name)(ours, **options), ours, gs, tr.tensor)
    stepped(getattr(torch.optim, {"RMSProp": "RMSprop"}.get(name, name))(theirs, **options), theirs, gs, torch.tensor)
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found.data, expected.detach().numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", OPTIONS)
def test_defaults_are_torchs(name):
    torch = pytest.importorskip("torch")
    ours, theirs = nn.Parameter(np.ones(2)), torch.nn.Parameter(torch.ones(2, dtype=float))
    kind = getattr(torch.optim, {"RMSProp": "RMSprop"}.get(name, name))
    rate = {"lr": 1e-3} if name == "SGD" else {}  # torch has no default before 2.2
    gs = [[np.array([1.0, -1e-6])]] * 3
    stepped(getattr(optim, name)([ours], **rate), [ours], gs, tr.tensor)
    stepped(kind([theirs], **rate), [theirs], gs, torch.tensor)
    np.testing.assert_allclose(ours.data, theirs.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", OPTIONS)
@given(st.data())
def test_a_stored_state_goes_on(name, data):
    """An optimiser that is stopped, stored in a file and continued gives the same as one that is not stopped."""
    options = data.draw(OPTIONS[name])
    start, gs = gradients(data, steps=6)
    whole, first = [nn.Parameter(x) for x in start], [nn.Parameter(x) for x in start]
    stepped(getattr(optim, name)(whole, **options), whole, gs, tr.tensor)
    optimizer = getattr(optim, name)(first, **options)
    stepped(optimizer, first, gs[:3], tr.tensor)
    file = io.BytesIO()
    np.savez(file, **optimizer.state_dict())
    file.seek(0)
    again = getattr(optim, name)(first, **options)
    with np.load(file) as stored:
        again.load_state_dict(stored)
    stepped(again, first, gs[3:], tr.tensor)
    for found, expected in zip(first, whole, strict=True):
        np.testing.assert_array_equal(found.data, expected.data)


def remembered(optimizer: optim.Optimizer) -> dict[str, np.ndarray]:
    """The state without the options."""
    return {key: array for key, array in optimizer.state_dict().items() if "." in key}


@pytest.mark.parametrize("name", OPTIONS)
@given(st.data())
def test_a_state_has_the_options(name, data):
    """A state that is loaded into an optimiser with other options continues with the state's options."""
    options, others = data.draw(OPTIONS[name]), data.draw(OPTIONS[name])
    start, gs = gradients(data, steps=4)
    whole, first = [nn.Parameter(x) for x in start], [nn.Parameter(x) for x in start]
    stepped(getattr(optim, name)(whole, **options), whole, gs, tr.tensor)
    optimizer = getattr(optim, name)(first, **options)
    stepped(optimizer, first, gs[:2], tr.tensor)
    again = getattr(optim, name)(first, **others)
    again.load_state_dict(optimizer.state_dict())
    assert again.options == optimizer.options
    for one in (again, copy.deepcopy(again), pickle.loads(pickle.dumps(again))):
        assert one.state_dict().keys() == optimizer.state_dict().keys()
    stepped(again, first, gs[2:], tr.tensor)
    for found, expected in zip(first, whole, strict=True):
        np.testing.assert_array_equal(found.data, expected.data)


@pytest.mark.parametrize(
    "state", [{"lr": [0.1]}, {"lr": "fast"}, {"betas": 0.9}, {"betas": (0.9,)}, {"lr": True}, {"rate": 1.0}]
)
def test_options_of_another_kind_change_nothing(state):
    optimizer = optim.Adam([nn.Parameter([1.0, 2.0])], lr=0.5)
    before = optimizer.state_dict()
    with pytest.raises(StateDictError):
        optimizer.load_state_dict({"eps": 0.25, **state})
    np.testing.assert_equal(optimizer.state_dict(), before)


@pytest.mark.parametrize("name", OPTIONS)
def test_float32_stays(name):
    p = nn.Parameter((2,), dtype="float32")
    optimizer = getattr(optim, name)([p], lr=np.float64(0.1))
    for _ in range(2):
        p.grad = np.ones(2)
        optimizer.step()
        again = getattr(optim, name)([p])
        again.load_state_dict(optimizer.state_dict())
        for one in (optimizer, again):
            assert all(array.dtype == "float32" for key, array in remembered(one).items() if not key.endswith(".n"))
    assert p.dtype == p.data.dtype == "float32"


ADAMS = {"0.n": 3, "0.m": np.zeros(2), "0.v": np.zeros(2)}


@pytest.mark.parametrize(
    "state, said",
    [
        ({"0.m": np.zeros(2), "1.v": np.zeros(2)}, "nothing called '1.v'"),
        ({"0.x": np.zeros(2)}, "nothing called '0.x'"),
        ({"m": np.zeros(2)}, "nothing called 'm'"),
        ({"-1.m": np.zeros(2)}, "nothing called '-1.m'"),
        ({"01.m": np.zeros(2)}, "nothing called '01.m'"),
        ({**ADAMS, "0.m": np.zeros(3)}, r"0.m has shape \(3,\), but parameter w has \(2,\)"),
        ({**ADAMS, "0.v": ["a", "b"]}, "0.v has dtype <U1, but parameter w has float32"),
        ({**ADAMS, "0.v": [[1.0], [1.0, 2.0]]}, "inhomogeneous"),
        ({**ADAMS, "0.v": [1e300, 1.0]}, "0.v has numbers outside the range of float32"),
        ({**ADAMS, "0.n": 0}, "0.n must be a number of steps, at least 1, not 0"),
        ({**ADAMS, "0.n": [3, 3]}, "0.n must be a number of steps"),
        ({"0.m": np.zeros(2)}, "the state has 0.m, but 0.n is missing"),
        ({"0.n": 3, "0.m": np.zeros(2)}, "the state has 0.n, but 0.v is missing"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(state, said):
    optimizer = optim.Adam([nn.Parameter([1.0, 2.0], symbol="w")])
    optimizer.load_state_dict({"0.n": 1, "0.m": np.ones(2), "0.v": np.ones(2)})
    with pytest.raises(StateDictError, match=said):
        optimizer.load_state_dict(state)
    assert optimizer.state_dict()["0.n"] == 1


REMEMBERS = [
    optim.SGD,
    functools.partial(optim.SGD, momentum=0.9),
    optim.RMSProp,
    functools.partial(optim.RMSProp, centered=True),
    functools.partial(optim.RMSProp, momentum=0.5),
    functools.partial(optim.RMSProp, centered=True, momentum=0.5),
    optim.Adam,
]


@given(st.sampled_from(REMEMBERS), st.sampled_from(REMEMBERS), st.lists(st.booleans(), min_size=3, max_size=3))
def test_a_state_fits_only_what_remembers_the_same(one, other, stepped_on):
    """Parameters that never had a gradient have no state, and this does not count as a missing state."""
    ps = [nn.Parameter([1.0, 2.0]) for _ in stepped_on]
    for p, on in zip(ps, stepped_on, strict=True):
        p.grad = np.ones(2) if on else None
    optimizer, second = one(ps), other(ps)
    optimizer.step()
    state = remembered(optimizer)
    assert set(state) == {f"{i}.{name}" for i, on in enumerate(stepped_on) if on for name in optimizer.state_names}
    if not state or optimizer.state_names == second.state_names:
        second.load_state_dict(state)
        assert set(remembered(second)) == set(state)
    else:
        with pytest.raises(StateDictError):
            second.load_state_dict(state)


# -- options -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, options, said",
    [
        ("SGD", {"momentum": 1.0}, "momentum must be at least 0 and below 1, not 1.0"),
        ("RMSProp", {"momentum": -1}, "momentum must be .* not -1"),
        ("RMSProp", {"alpha": 1.0}, "alpha must be at least 0 and below 1"),
        ("RMSProp", {"eps": -1e-9}, "eps must be at least 0 and finite"),
        ("Adam", {"betas": (1.5, 0.9)}, "the first of betas must be at least 0 and below 1, not 1.5"),
        ("AdamW", {"betas": (0.9, -0.1)}, "the second of betas must be .* not -0.1"),
        ("Adam", {"eps": np.nan}, "eps must be .* not nan"),
        *[(kind, {"weight_decay": -0.1}, "weight_decay must be .* not -0.1") for kind in OPTIONS],
        *[(kind, {"lr": lr}, f"lr must be .* not {lr}") for kind in OPTIONS for lr in (-1.0, np.nan, np.inf)],
    ],
)
def test_options_out_of_range(kind, options, said):
    with pytest.raises(ValueError, match=said):
        getattr(optim, kind)([nn.Parameter((1,))], **options)


# -- the schedule --------------------------------------------------------------------------


@given(st.integers(0, 8), st.integers(1, 12), rates, st.sampled_from([0.0, 1e-4]))
def test_the_schedule_is_torchs_two_in_sequence(warmup, rest, lr, final):
    torch = pytest.importorskip("torch")
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=lr)
    schedules = torch.optim.lr_scheduler
    cosine = schedules.CosineAnnealingLR(theirs, rest, eta_min=final)
    if warmup:
        theirs.param_groups[0]["lr"] = theirs.param_groups[0]["initial_lr"] = lr
        rising = schedules.LinearLR(theirs, 1 / (warmup + 1), 1.0, warmup)
        schedule = schedules.SequentialLR(theirs, [rising, cosine], [warmup])
    else:
        schedule = cosine
    ours = optim.SGD([nn.Parameter((1,))], lr=lr)
    own = optim.WarmupCosine(ours, warmup + rest, warmup, final)
    for n in range(warmup + rest + 1):
        assert ours.lr == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-9, abs=1e-12)
        late = optim.SGD([nn.Parameter((1,))], lr=lr)
        optim.WarmupCosine(late, warmup + rest, warmup, final, updates=n)
        assert late.lr == ours.lr
        theirs.step()
        schedule.step()
        own.step()
    for _ in range(3):
        own.step()
        assert ours.lr == final


@pytest.mark.parametrize("options", [{"total": 3, "warmup": 3}, {"total": 3, "warmup": -1}, {"total": 0}])
def test_a_schedule_that_is_none(options):
    with pytest.raises(ValueError, match="warmup must be at least 0 and less than total"):
        optim.WarmupCosine(optim.SGD([nn.Parameter((1,))]), **options)
    for name in ("final", "updates"):
        with pytest.raises(ValueError, match=f"{name} must be at least 0 .* not -1"):
            optim.WarmupCosine(optim.SGD([nn.Parameter((1,))]), 3, **{name: -1})


# -- clipping ------------------------------------------------------------------------------


@given(st.data(), st.sampled_from([0.0, 1e-3, 1.0, 1e9]))
def test_clipping_by_norm(data, limit):
    start, (gs,) = gradients(data, steps=1)
    ps = [nn.Parameter(x) for x in start]
    for p, g in zip(ps, gs, strict=True):
        p.grad = g
    whole = np.concatenate([g.ravel() for g in gs if g is not None])
    norm = np.linalg.norm(whole)
    assert optim.clip_grad_norm(ps, limit) == pytest.approx(norm, rel=1e-12)
    for p, g in zip(ps, gs, strict=True):
        assert (p.grad is None) == (g is None)
        if g is not None:
            np.testing.assert_allclose(p.grad.data, g * limit / norm if norm > limit else g, rtol=1e-12)


@given(st.data(), st.sampled_from([0.0, 1e-3, 1.0, 1e9]))
def test_clipping_by_value(data, limit):
    start, (gs,) = gradients(data, steps=1)
    ps = [nn.Parameter(x) for x in start]
    for p, g in zip(ps, gs, strict=True):
        p.grad = g
    optim.clip_grad_value(ps, limit)
    for p, g in zip(ps, gs, strict=True):
        assert (p.grad is None) == (g is None)
        if g is not None:
            np.testing.assert_array_equal(p.grad.data, np.minimum(np.maximum(g, -limit), limit))


def test_a_norm_too_large_for_its_square():
    p = nn.Parameter(np.zeros(2))
    p.grad = np.array([3e200, 4e200])
    assert optim.clip_grad_norm([p], 1.0) == pytest.approx(5e200)
    np.testing.assert_allclose(p.grad.data, [0.6, 0.8])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_is_named_and_left(bad):
    p, q = nn.Parameter([0.0, 0.0], symbol="W"), nn.Parameter([0.0], symbol="b")
    p.grad, q.grad = np.array([bad, 4.0]), np.array([3.0])
    with pytest.raises(NonFiniteError, match="gradient of W has"):
        optim.clip_grad_norm([p, q], 1.0)
    np.testing.assert_array_equal(p.grad.data, np.array([bad, 4.0], "float32"))
    assert q.grad.data == 3.0


def test_clipping_nothing():
    assert optim.clip_grad_norm([nn.Parameter((2,))], 1.0) == 0.0


@pytest.mark.parametrize("limit", [-1.0, np.nan])
def test_limits_that_are_none_change_nothing(limit):
    p = nn.Parameter([0.0, 0.0])
    p.grad = np.array([3.0, -4.0])
    for clip, name in ((optim.clip_grad_norm, "max_norm"), (optim.clip_grad_value, "max_value")):
        with pytest.raises(ValueError, match=f"{name} must be at least 0, not {limit}"):
            clip([p], limit)
    np.testing.assert_array_equal(p.grad.data, [3.0, -4.0])


def test_limits_that_are_infinite_or_wide_leave_the_gradient_and_its_dtype():
    p = nn.Parameter([0.0, 0.0], dtype="float32")
    p.grad = np.array([3.0, -4.0])
    assert optim.clip_grad_norm([p], np.inf) == 5.0
    optim.clip_grad_value([p], np.float64(5.0))
    assert p.grad.dtype == "float32"
    np.testing.assert_array_equal(p.grad.data, [3.0, -4.0])


# -- fits ----------------------------------------------------------------------------------


@pytest.fixture
def scipy():
    return pytest.importorskip("scipy.optimize")


FITS = {
    "lbfgs": lambda residuals, parameters, **options: optim.lbfgs(
        lambda: (residuals() ** 2).sum(), parameters, **{"tolerance": 1e-14, "max_iterations": 500, **options}
    ),
    "levenberg_marquardt": optim.levenberg_marquardt,
}


class Narx(nn.Cell):
    """y_t of a small network of x_t, x_{t-1}, y_{t-1} and y_{t-2}."""

    def __init__(self, hidden):
        super().__init__()
        self.f, self.g = nn.Linear(4, hidden, dtype=float), nn.Linear(hidden, 1, dtype=float)
        self.state_shape = ((1,), (1,), (1,))

    def step(self, x, state):
        x1, y1, y2 = state
        y = self.g(tr.tanh(self.f(tr.concatenate([x, x1, y1, y2], -1))))
        return y, (x, y, y1)


def narx(T, hidden=2, seed=0):
    tr.seed(seed)
    model, other = nn.Recurrent(Narx(hidden)), nn.Recurrent(Narx(hidden))
    xs = np.random.default_rng(seed).normal(size=(T, 1, 1))
    ys = other(xs)[0].data
    return model, lambda: model(xs)[0] - ys


@pytest.mark.parametrize("T", [3, 40])
def test_jacobians_by_rows_and_by_columns(T):
    """The Jacobian equals differences, with fewer and with more residuals than parameters."""
    from tinygrad_rnn.optim.second_order import parameter_jacobian

    model, residuals = narx(T)
    parameters = model.parameters()
    found = parameter_jacobian(residuals(), parameters)
    assert found.shape == (T, sum(p.size for p in parameters))
    column, eps = 0, 1e-6
    for p in parameters:
        start = p.data
        for at in np.ndindex(p.shape):
            ends = []
            for sign in (1, -1):
                moved = start.copy()
                moved[at] += sign * eps
                p.data = moved
                ends.append(residuals().data.ravel())
            np.testing.assert_allclose(found[:, column], (ends[0] - ends[1]) / (2 * eps), rtol=1e-5, atol=1e-8)
            column += 1
        p.data = start


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
@given(seed=st.integers(0, 99), rows=st.integers(1, 8), columns=st.integers(1, 5))
def test_a_linear_model_is_fitted_as_by_least_squares(scipy, fit, seed, rows, columns):
    rng = np.random.default_rng(seed)
    A, y = rng.normal(size=(rows, columns)), rng.normal(size=rows)
    w, b = nn.Parameter(rng.normal(size=(columns, 1))), nn.Parameter(rng.normal(size=()))
    found = fit(lambda: (A @ w)[:, 0] + b - y, [w, b])
    whole = np.hstack([A, np.ones((rows, 1))])
    best = np.sum((whole @ np.linalg.lstsq(whole, y)[0] - y) ** 2)
    assert found.loss == pytest.approx(best, rel=1e-6, abs=1e-8)
    assert found.loss == pytest.approx(np.sum(((A @ w.data)[:, 0] + b.data - y) ** 2), rel=1e-9, abs=1e-20)


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_a_recurrent_network_recovers_its_teacher(scipy, fit):
    model, residuals = narx(60)
    before = float((residuals().data ** 2).sum())
    found = fit(residuals, model.parameters(), max_iterations=300)
    assert found.loss < 1e-6 * before
    assert found.loss == pytest.approx(float((residuals().data ** 2).sum()), rel=1e-9)


def test_levenberg_marquardt_is_scipys_with_our_jacobian(scipy):
    """Rosenbrock's valley: as many trials as with SciPy's own differences, and each trial is evaluated once."""
    p = nn.Parameter(np.array([-1.2, 1.0]))
    calls = []

    def residuals():
        calls.append(p.data)
        return tr.stack([10 * (p[1] - p[0] ** 2), 1 - p[0]])

    fit = optim.levenberg_marquardt(residuals, [p])
    expected = scipy.least_squares(lambda v: [10 * (v[1] - v[0] ** 2), 1 - v[0]], [-1.2, 1.0], method="lm", x_scale="jac")
    np.testing.assert_allclose(p.data, expected.x, rtol=1e-7)
    assert fit.converged and len(calls) == expected.nfev and fit.iterations <= len(calls)


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_float32_parameters(scipy, fit):
    p = nn.Parameter([3.0, -2.0], dtype="float32")
    fit(lambda: (p - [1.0, 2.0]) * [1.0, 5.0], [p])
    assert p.dtype == "float32"
    np.testing.assert_allclose(p.data, [1.0, 2.0], rtol=1e-4)


def broken_off(fit, last, error):
    """Rosenbrock's valley up to a given trial: its parameters, and the earlier trials with their losses."""
    p, q = nn.Parameter(np.array(-1.2)), nn.Parameter(np.array([1.0]))
    seen = []

    def residuals():
        found = tr.concatenate([10 * (q - p**2), 1 - p.reshape(1)])
        seen.append((float((found.data**2).sum()), p.data, q.data))
        if len(seen) == last:
            p.data = np.nan  # q is not changed yet
            raise error
        return found

    with pytest.raises(error):
        fit(residuals, [p, q])
    return p, q, seen[:-1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_the_best_seen_stays_when_it_is_broken_off(scipy, fit, error):
    latest_was_best = set()
    for last in range(2, 12):
        p, q, seen = broken_off(fit, last, error)
        _, *best = min(seen, key=lambda trial: trial[0])
        assert p.data == best[0] and q.data == best[1]
        latest_was_best.add(seen[-1][1] == best[0])
    assert latest_was_best == {True, False}


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_limits_and_callbacks(scipy, fit):
    model, residuals = narx(30)
    losses = []
    found = fit(residuals, model.parameters(), max_iterations=4, callback=losses.append)
    assert found.iterations == len(losses) == 4 and not found.converged
    assert losses == sorted(losses, reverse=True) and found.loss <= losses[-1]

    def stop(loss):
        if loss < 0.9 * losses[-1]:
            raise StopIteration

    assert not fit(residuals, model.parameters(), callback=stop).converged


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_no_iterations_move_nothing(scipy, fit):
    model, residuals = narx(30)
    before = model.state_dict()
    losses = []
    found = fit(residuals, model.parameters(), max_iterations=0, callback=losses.append)
    assert found.iterations == 0 and not found.converged and losses == [] and "limit of 0" in found.message
    assert found.loss == pytest.approx(float((residuals().data ** 2).sum()), rel=1e-12)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_a_tolerance_of_zero_goes_on_as_far_as_it_can(scipy, fit, rows):
    p = nn.Parameter(np.array([3.0, -2.0]))
    A = np.array([[1.0, 2.0], [0.0, 1.0], [1.0, 1.0]])[:rows]
    found = fit(lambda: A @ p - 1.0, [p], tolerance=0.0)
    best = np.linalg.lstsq(A, np.ones(rows))[0]
    assert found.loss == pytest.approx(((A @ best - 1) ** 2).sum(), abs=1e-13)


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
@pytest.mark.parametrize(
    "options, said",
    [
        ({"max_iterations": -1}, "max_iterations must be a whole number, at least 0, not -1"),
        ({"max_iterations": 2.5}, "max_iterations must be .* not 2.5"),
        ({"tolerance": -1e-8}, "tolerance must be at least 0 and finite, not -1e-08"),
        ({"tolerance": np.nan}, "tolerance must be .* not nan"),
    ],
)
def test_options_of_fits_out_of_range(scipy, fit, options, said):
    p = nn.Parameter(np.array([1.0]))
    with pytest.raises(ValueError, match=said):
        fit(lambda: p * 1, [p], **options)


@pytest.mark.parametrize("history", [0, -1, 1.5])
def test_a_history_of_no_steps(scipy, history):
    p = nn.Parameter(np.array([1.0]))
    with pytest.raises(ValueError, match="history must be a whole number, at least 1"):
        optim.lbfgs(lambda: (p * p).sum(), [p], history=history)


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_points_without_a_finite_loss_are_avoided(scipy, fit):
    p, visited = nn.Parameter(np.array([0.5])), []

    def residuals():
        visited.append(p.item())
        return tr.log(p) - np.log(1e-3)

    with np.errstate(all="ignore"):
        found = fit(residuals, [p])
    assert min(visited) < 0 and p.data == pytest.approx([1e-3], rel=1e-3) and found.loss < 1e-6
    p.data = [-1.0]
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match="the fit cannot start: the loss is nan"):
        fit(lambda: tr.log(p), [p])
    assert p.data == [-1.0]


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_a_loss_that_is_cut_off_is_refused(scipy, fit):
    p = nn.Parameter(np.array([1.0]))
    with pytest.raises(GradientError, match=r"\(\) returned a tensor that does not depend on a parameter"):
        fit(lambda: p.detach() * 2, [p])
    with tr.no_grad():  # the caller's mode has no effect
        assert fit(lambda: p - 3.0, [p]).converged
    assert p.data == pytest.approx([3.0])


def test_what_cannot_be_fitted(scipy):
    p = nn.Parameter(np.array([1.0, 2.0]))
    with pytest.raises(GradientError, match="starts from a single number"):
        optim.lbfgs(lambda: p * 2, [p])
    for nothing in (None, 1.0, np.ones(2)):
        with pytest.raises(GradientError, match="must return a tensor that is computed from the parameters"):
            optim.lbfgs(lambda x=nothing: x, [p])
        with pytest.raises(GradientError, match="must return a tensor that is computed from the parameters"):
            optim.levenberg_marquardt(lambda x=nothing: x, [p])
    with pytest.raises(ShapeError, match="a tensor without elements"):
        optim.levenberg_marquardt(lambda: p[:0], [p])
    with pytest.raises(ValueError, match="needs at least one parameter"):
        optim.lbfgs(lambda: p.sum(), [])


def test_without_scipy_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    p = nn.Parameter(np.array([1.0]))
    for fit in FITS.values():
        with pytest.raises(MissingExtraError, match=r"pip install scipy, .*\[scipy\]"):
            fit(lambda: p * 1, [p])


@pytest.mark.parametrize("take", [optim.Adam, optim.clip_grad_norm, optim.clip_grad_value])
def test_one_parameter_alone_and_a_module_are_told(take):
    layer = nn.Linear(2, 1)
    for parameters in (layer, layer.weight):
        with pytest.raises(TypeError, match=r"a list of parameters, \[w\] or model.parameters\(\)"):
            take(parameters, 1.0)


def test_a_loss_is_no_residual():
    pytest.importorskip("scipy")
    w = tr.Parameter([0.0], dtype=float)
    with pytest.raises(ShapeError, match=r"a single number, such as a loss; return the errors that are squared"):
        optim.levenberg_marquardt(lambda: ((w - 1) ** 2).sum(), [w])


# -- frozen parameters, units, and what stays finite ---------------------------------------------------

FIRST_ORDER = [kind for kind in vars(optim).values() if isinstance(kind, type) and issubclass(kind, optim.Optimizer)]
FIRST_ORDER.remove(optim.Optimizer)
SECOND_ORDER = [
    f
    for f in vars(optim).values()
    if inspect.isfunction(f) and {"parameters", "max_iterations"} <= inspect.signature(f).parameters.keys()
]
CLIPPING = [f for name, f in vars(optim).items() if name.startswith("clip_")]


def test_all_optimisers_are_listed():
    assert {optim.Adam, optim.SGD} < set(FIRST_ORDER) and len(SECOND_ORDER) == 2 and len(CLIPPING) == 2


def all_options(kind):
    """All options of the optimiser are used: momentum, decay, centring."""
    known = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.5, "centered": True}
    return {name: value for name, value in known.items() if name in inspect.signature(kind).parameters}


@pytest.mark.parametrize("kind", FIRST_ORDER)
@given(st.lists(st.booleans(), min_size=1, max_size=6), st.booleans(), st.sampled_from([np.float32, np.float64]))
def test_a_frozen_parameter_stays_and_then_goes_on(kind, frozen, clipped, dtype):
    p, q = (nn.Parameter(np.array([1.0, -2.0], dtype)) for _ in range(2))
    optimizer = kind([p, q], **all_options(kind))
    ((p - q) ** 2 + p * q).sum().backward()
    optimizer.step()  # momentum builds up
    for stays in frozen:
        q.requires_grad_(not stays)
        before, moved = q.data, p.data
        q.grad = tr.tensor(np.array([3.0, 4.0], dtype))  # a gradient from before the freezing
        p.grad = tr.tensor(np.array([1.0, 1.0], dtype))
        if clipped:
            norm = optim.clip_grad_norm([p, q], 1.0)
            assert norm == pytest.approx(np.sqrt(2) if stays else np.sqrt(27))
            np.testing.assert_allclose(q.grad.data, [3, 4] if stays else np.array([3, 4]) / norm, rtol=1e-6)
        optimizer.step()
        assert (q.data == before).all() == stays and (p.data != moved).any()
        assert q.requires_grad != stays


@pytest.mark.parametrize("fit", SECOND_ORDER)
@given(st.sets(st.integers(0, 2), max_size=2), st.sampled_from([np.float32, np.float64]))
def test_a_fit_leaves_frozen_parameters(fit, frozen, dtype):
    pytest.importorskip("scipy")
    ps = [nn.Parameter(np.array([1.0, 2.0, 3.0][i : i + 1], dtype)) for i in range(3)]
    arrays, t = [p.data for p in ps], np.arange(6.0)

    def residuals():
        return ps[0] + ps[1] * t + ps[2] * t * t - 5 * t

    for i in frozen:
        ps[i].requires_grad_(False)
    fit(residuals if fit is optim.levenberg_marquardt else lambda: (residuals() ** 2).sum(), ps)
    for i, (p, array) in enumerate(zip(ps, arrays, strict=True)):
        assert np.array_equal(p.data, array) == (i in frozen)
        assert p.requires_grad == (i not in frozen)


@pytest.mark.parametrize("fit", SECOND_ORDER)
def test_a_fit_of_frozen_parameters_alone(fit):
    pytest.importorskip("scipy")
    p = nn.Parameter(np.array([1.0, 2.0])).requires_grad_(False)
    with pytest.raises(GradientError, match="all parameters are frozen"):
        fit(lambda: p - 1, [p])


@pytest.mark.parametrize("fit", SECOND_ORDER)
@pytest.mark.parametrize("columns", [2, 5])
@pytest.mark.parametrize("unit", [1e-30, 1e-12, 1e-6, 1e6, 1e12, 1e30])
def test_a_fit_is_the_same_in_every_unit(fit, unit, columns):
    pytest.importorskip("scipy")
    X, y = (np.random.default_rng(0).normal(size=shape) for shape in ((4, columns), 4))

    def fitted(unit):
        p = nn.Parameter(np.full(columns, 0.1), dtype=float)

        def residuals():
            return (tr.tanh(X @ p) + X @ p - y) * unit

        found = fit(residuals if fit is optim.levenberg_marquardt else lambda: (residuals() ** 2).sum(), [p])
        return p.data, found.loss / unit**2, found.converged

    (p, loss, converged), (expected, least, _) = fitted(unit), fitted(1.0)
    assert converged
    np.testing.assert_allclose(p, expected, rtol=1e-4, atol=1e-6)
    assert loss == pytest.approx(least, rel=1e-4, abs=1e-10)


@given(
    st.integers(1, 3000),
    st.floats(0.5, 0.999),
    st.sampled_from([np.float16, np.float32, np.float64]),
    st.sampled_from([0.0, 1e-3, 0.1, 1.0]),
)
def test_the_variance_of_centred_rmsprop_is_that_of_two_passes(steps, alpha, dtype, spread):
    g = (0.7 + spread * np.random.default_rng(steps).normal(size=steps)).astype(dtype)
    p = nn.Parameter(np.zeros(1, dtype))
    optimizer = optim.RMSProp([p], 1e-3, alpha=alpha, eps=1e-2, centered=True)
    for x in g:
        p.grad = tr.tensor(np.full(1, x))
        optimizer.step()
    weights = (1 - alpha) * alpha ** np.arange(steps)[::-1]
    exact = g.astype(float)
    mean = weights @ exact
    # the means start at 0, which keeps the remaining weight
    expected = weights @ (exact - mean) ** 2 + alpha**steps * mean**2
    found = optimizer.state_dict()["0.variance"]
    assert found >= 0 and np.isfinite(p.data).all()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-11)


def test_an_optimiser_says_which_of_its_entries_count_steps():
    """Counters are found in `counters`, not by name; `n` may be an array."""

    class Slowing(optim.SGD):
        state_names = ("age", "n")
        counters = ("age",)

        def update(self, data, g, memory):
            memory["age"] = memory.get("age", 0) + 1
            memory["n"] = memory.get("n", 0.0) + g
            return -self.lr / memory["age"] * memory["n"]

    w = tr.Parameter([1.0, 2.0])
    one, two = Slowing([w], lr=0.1), Slowing([w], lr=0.1)
    w.grad = tr.tensor([1.0, -1.0])
    one.step()
    two.load_state_dict(one.state_dict())
    assert two.memories[0]["age"] == 1 and two.memories[0]["n"].shape == (2,)
    with pytest.raises(StateDictError, match=r"0\.age must be a number of steps, at least 1, not 0"):
        two.load_state_dict({"0.age": 0, "0.n": np.zeros(2)})


def test_optimisers_take_each_parameter_once():
    w = tr.Parameter([1.0])
    assert len(tr.optim.SGD([w, w]).parameters) == 1
    with pytest.raises(TypeError, match="named_parameters"):
        tr.optim.SGD(nn.Linear(1, 1).named_parameters())


# -- against the papers' formulas -----------------------------------------------------------

pairs_of_numbers = st.lists(st.lists(st.floats(-2, 2), min_size=2, max_size=2), min_size=1, max_size=6)


def after_steps(optimizer, parameter, gs):
    for g in gs:
        parameter.grad = np.array(g)
        optimizer.step()
    return parameter.data


@given(pairs_of_numbers, st.sampled_from([0.0, 0.9]), st.sampled_from([0.0, 0.1]))
def test_sgd_with_momentum(gs, mu, decay):
    p = nn.Parameter(np.array([1.0, -1.0]))
    found = after_steps(optim.SGD([p], lr=0.1, momentum=mu, weight_decay=decay), p, gs)
    theta, v = np.array([1.0, -1.0]), np.zeros(2)
    for g in gs:
        v = mu * v + np.array(g) + decay * theta
        theta = theta - 0.1 * v
    np.testing.assert_allclose(found, theta, atol=1e-12)


@given(pairs_of_numbers)
def test_adam(gs):
    p = nn.Parameter(np.array([1.0, -1.0]))
    found = after_steps(optim.Adam([p], lr=0.1, betas=(0.8, 0.95)), p, gs)
    theta, m, v = np.array([1.0, -1.0]), np.zeros(2), np.zeros(2)
    for n, g in enumerate(map(np.array, gs), 1):
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        theta = theta - 0.1 * (m / (1 - 0.8**n)) / (np.sqrt(v / (1 - 0.95**n)) + 1e-8)
    np.testing.assert_allclose(found, theta, atol=1e-12)


def test_a_step_leaves_old_graphs_right_and_skips_what_has_no_gradient():
    p, q = nn.Parameter(np.array([3.0])), nn.Parameter(np.array([5.0]))
    loss = (p * p).sum()
    loss.backward()
    optimizer = optim.SGD([p, q], lr=0.5)
    optimizer.step()
    assert p.data == [0.0] and q.data == [5.0]
    optimizer.zero_grad()
    loss.backward()
    assert p.grad.data == [6.0]  # gradient at the value with which the loss was computed


def test_optimisers_refuse_nonsense():
    with pytest.raises(ValueError, match="parameters"):
        optim.Adam([])
    with pytest.raises(ValueError, match="lr must be at least 0"):
        optim.SGD([nn.Parameter((1,))], lr=-1)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=5), st.floats(0.1, 20))
def test_one_gradient_is_clipped_by_its_norm(values, limit):
    p = nn.Parameter(np.zeros(len(values)), dtype="float64")
    p.grad = np.array(values)
    norm = optim.clip_grad_norm([p], limit)
    assert norm == pytest.approx(np.linalg.norm(values))
    expected = np.array(values) * min(1, limit / norm if norm else 1)
    np.testing.assert_allclose(p.grad.data, expected, rtol=1e-12)


def test_a_small_network_learns():
    tr.seed(0)
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(6, 32, 1)).astype("float32")
    ys = np.cumsum(xs, axis=0)
    model = nn.Sequential(nn.Recurrent(nn.RNNCell(1, 16)), nn.Linear(16, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(150):
        loss = nn.mse(model(xs), ys)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]
