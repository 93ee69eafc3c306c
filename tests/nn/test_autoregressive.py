"""Autoregression: a filter, least squares, a density; poles, forecasts and samples."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn, optim
from tinygrad_rnn.errors import DataError, NonFiniteError, ShapeError
from tinygrad_rnn.testing import check_cell, check_gradients

orders = st.integers(1, 3)
sizes = st.integers(1, 3)
seeds = st.integers(0, 99)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def made(order, size=1, seed=0):
    """A stationary model with random weights and noise."""
    tr.seed(seed)
    ar = nn.AR(order, size, dtype=float)
    rng = np.random.default_rng(seed)
    w = {f"cell.weights.w_{k}": rng.uniform(-1, 1, (size, size)) * 0.8 / (order * size) for k in range(1, order + 1)}
    ar.load_state_dict({"log_sigma": rng.uniform(-1, 0.5, size), "cell.weights.w_0": rng.normal(size=size)} | w)
    return ar


def means(ar, past, ys):
    """The expected value of each y_t, step by step."""
    line, found = list(past), []
    for y in ys:
        found.append(ar.w_0 + sum(line[-k] @ ar.w[k - 1].T for k in range(1, ar.cell.order + 1)))
        line.append(y)
    return np.array(found)


@given(orders, sizes, st.integers(1, 3), st.integers(1, 6), seeds)
def test_one_step_likelihood_and_forecast_by_hand(order, size, B, T, seed):
    ar = made(order, size, seed)
    past, ys = normal(seed, order, B, size), normal(seed + 1, T, B, size)
    expected = means(ar, past, ys)
    np.testing.assert_allclose(ar.one_step(ys, ar.history(past)).data, expected, atol=1e-12)
    densities = np.exp(-(((ys - expected) / ar.sigma) ** 2) / 2) / np.sqrt(2 * np.pi) / ar.sigma
    likelihood = ar.log_likelihood(ys, ar.history(past))
    assert likelihood.shape == (B,)
    np.testing.assert_allclose(likelihood.data, np.log(densities).sum(axis=(0, 2)), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ar.log_likelihood(np.concatenate([past, ys])).data, likelihood.data, rtol=1e-12)
    line = past
    for _ in range(T):
        line = np.concatenate([line, means(ar, line[-order:], line[-1:])])
    np.testing.assert_allclose(ar.forecast(ar.history(past), T).data, line[order:], atol=1e-12)


def test_the_sum_of_conditionals_is_the_joint_density():
    stats = pytest.importorskip("scipy.stats")
    ar, T = made(2, seed=3), 6
    past, ys = normal(0, 2, 1, 1), normal(1, T, 1, 1)
    impulses = np.eye(T)[:, :, None]  # the response to each noise alone
    bare = copy.deepcopy(ar)
    bare.load_state_dict(ar.state_dict() | {"cell.weights.w_0": [0.0]})
    L = bare(impulses, ar.history(np.zeros((2, T, 1))))[0].data[..., 0]
    mean = ar.forecast(ar.history(past), T).data.ravel()
    joint = stats.multivariate_normal(mean, ar.sigma**2 * L @ L.T).logpdf(ys.ravel())
    np.testing.assert_allclose(ar.log_likelihood(ys, ar.history(past)).item(), joint, rtol=1e-10)


@given(orders, st.integers(1, 8), seeds)
def test_noise_is_filtered(order, T, seed):
    signal = pytest.importorskip("scipy.signal")
    ar = made(order, seed=seed)
    ar.load_state_dict(ar.state_dict() | {"cell.weights.w_0": [0.0]})
    a = np.concatenate([[1.0], -ar.w.ravel()])
    noise, past = normal(seed, T), normal(seed + 1, order)
    expected, _ = signal.lfilter([1.0], a, noise, zi=signal.lfiltic([1.0], a, past[::-1]))
    found, _ = ar(noise[:, None, None], ar.history(past[:, None, None]))
    np.testing.assert_allclose(found.data.ravel(), expected, atol=1e-12)


@given(orders, sizes, st.integers(1, 3), seeds)
def test_the_fit_is_least_squares_and_the_top_of_the_likelihood(order, size, B, seed):
    ys = normal(seed, order + 30, B, size).cumsum(axis=0) / 3
    ar = nn.AR(order, size, dtype=float)
    assert ar.fit(ys) is ar
    for i in range(size):  # by the normal equations, one variable at a time
        rows = [np.concatenate([[1.0], *ys[t - order : t, b][::-1]]) for b in range(B) for t in range(order, len(ys))]
        targets = np.array([ys[t, b, i] for b in range(B) for t in range(order, len(ys))])
        X = np.array(rows)
        solution = np.linalg.solve(X.T @ X, X.T @ targets)
        found = np.concatenate([ar.w_0[i : i + 1], ar.w[:, i].ravel()])
        np.testing.assert_allclose(found, solution, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(ar.sigma[i] ** 2, np.mean((targets - X @ solution) ** 2), rtol=1e-9)
    ar.zero_grad()
    ar.log_likelihood(ys).sum().backward()
    scale = ys.size * max(1.0, abs(ys).max()) / ar.sigma.min() ** 2
    for parameter in ar.parameters():
        assert abs(parameter.grad.data).max() < 1e-10 * scale


def test_a_history_of_its_own_is_fitted_to():
    ys = normal(0, 40, 2, 1).cumsum(axis=0)
    whole, split = nn.AR(2, dtype=float).fit(ys), nn.AR(2, dtype=float)
    split.fit(ys[2:], split.history(ys[:2]))
    np.testing.assert_array_equal(whole.w, split.w)


def test_series_of_different_lengths_are_fitted_together():
    ys = normal(0, 30, 3, 2).cumsum(axis=0)
    lengths = [30, 17, 1]
    padded = np.where((np.arange(30)[:, None] < lengths)[..., None], ys, np.nan)
    ar = nn.AR(2, 2, dtype=float).fit(padded, lengths=lengths)
    X = np.concatenate(
        [np.concatenate([np.ones((n - 2, 1)), y[1:-1], y[:-2]], 1) for n, y in ((30, ys[:, 0]), (17, ys[:17, 1]))]
    )
    solution, *_ = np.linalg.lstsq(X, np.concatenate([ys[2:, 0], ys[2:17, 1]]), rcond=None)
    np.testing.assert_allclose(np.concatenate([ar.w_0[None], *ar.w.swapaxes(1, 2)]), solution, atol=1e-9)
    alone = [ar.log_likelihood(ys[:, :1]).item(), ar.log_likelihood(ys[:17, 1:2]).item(), 0.0]
    each = ar.log_likelihood(padded, lengths=lengths)
    np.testing.assert_allclose(each.data, alone, rtol=1e-12)
    each.sum().backward()
    assert all(abs(parameter.grad.data).max() < 1e-7 for parameter in ar.parameters())
    means_ = ar.one_step(padded[2:], ar.history(ys[:2]), lengths=[28, 15, 0]).data
    assert not means_[15:, 1].any() and not means_[:, 2].any() and np.isfinite(means_).all()


def test_a_long_series_is_fitted_as_yule_and_walker_would():
    linalg = pytest.importorskip("scipy.linalg")
    ar = made(2)
    ar.load_state_dict(
        {"log_sigma": [0.3], "cell.weights.w_0": [2.0], "cell.weights.w_1": [[1.2]], "cell.weights.w_2": [[-0.6]]}
    )
    tr.seed(1)
    ys = ar.sample(ar.history(np.full((2, 1, 1), 5.0)), 20000).data
    fitted = nn.AR(2, dtype=float).fit(ys)
    y = ys.ravel() - ys.mean()
    covariance = [np.mean(y[: len(y) - k] * y[k:]) for k in range(3)]
    phi = linalg.solve_toeplitz(covariance[:2], covariance[1:])
    np.testing.assert_allclose(fitted.w.ravel(), phi, atol=1e-3)
    np.testing.assert_allclose(fitted.sigma**2, covariance[0] - phi @ covariance[1:], rtol=1e-3)
    np.testing.assert_allclose(fitted.w.ravel(), [1.2, -0.6], atol=0.02)
    np.testing.assert_allclose(fitted.sigma, np.exp(0.3), rtol=0.02)
    np.testing.assert_allclose(ys.mean(), 2.0 / (1 - 1.2 + 0.6), rtol=0.05)


def test_samples():
    ar = made(2, 2)
    history = ar.history(normal(0, 2, 5000, 2))
    tr.seed(7)
    ys = ar.sample(history, 3)
    tr.seed(7)
    np.testing.assert_array_equal(ys.data, ar.sample(history, 3).data)
    assert not np.array_equal(ys.data, ar.sample(history, 3).data)
    noise = ys.data - means(ar, [slot.data for slot in history[::-1]], ys.data)
    np.testing.assert_allclose(noise.std(axis=(0, 1)), ar.sigma, rtol=0.03)
    np.testing.assert_allclose(noise.mean(axis=(0, 1)), 0, atol=0.03)
    correlations = np.corrcoef(noise.swapaxes(0, 1).reshape(len(ys[0]), -1).T)
    assert abs(correlations - np.eye(6)).max() < 0.06
    assert ar.sample(ar.history(normal(0, 2, 1, 2)), 3).shape == (3, 1, 2)


def test_it_is_trained_by_gradients_as_well():
    ys = normal(0, 60, 4, 1).cumsum(axis=0) / 4
    fitted, trained = nn.AR(2, dtype=float).fit(ys), made(2)
    optimizer = optim.Adam(trained.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        (-trained.log_likelihood(ys).sum() / ys.size).backward()
        optimizer.step()
    assert (fitted.log_likelihood(ys) - trained.log_likelihood(ys)).sum().item() == pytest.approx(0, abs=0.05)
    np.testing.assert_allclose(trained.w, fitted.w, atol=0.02)


def test_gradients_of_the_model():
    report = check_cell(nn.ARCell, order=2, examples=settings().max_examples // 2)
    assert report.runs and not report.unreached
    ar, past = made(2, 2), normal(1, 2, 3, 2)

    def run(ys, past):
        history = ar.history(past)
        return ar.log_likelihood(ys, history), ar.forecast(history, 3)

    check_gradients(run, normal(0, 4, 3, 2), past, wrt=[0, 1, *ar.parameters()])


def test_measured_values_leave_no_loop():
    ar = nn.AR(3, 2)
    assert [slot.kind for slot in ar.plan(50).forward.slots] == ["linear"] * 3
    forced = ar.plan(50, force=["y_1"])
    assert forced.forward.counts.inside == forced.backward.counts.inside == 0


@given(orders, seeds)
def test_poles_are_the_roots_of_the_polynomial(order, seed):
    ar = made(order, seed=seed)
    poly = np.roots(np.concatenate([[1.0], -ar.w.ravel()]))
    np.testing.assert_allclose(np.sort(abs(ar.poles())), np.sort(abs(poly)), atol=1e-9)
    np.testing.assert_allclose(np.poly(ar.poles()).real, np.concatenate([[1.0], -ar.w.ravel()]), atol=1e-9)
    assert ar.is_stationary()
    ar.load_state_dict(ar.state_dict() | {"cell.weights.w_1": [[2.5]]})
    assert not ar.is_stationary()


@given(st.permutations([0.9, -0.8, 0.5, -0.1]), st.integers(2, 4))
def test_the_largest_pole_is_first(roots, order):
    ar = nn.AR(order, dtype=float)
    weights = -np.poly(roots[:order])[1:]
    ar.load_state_dict(ar.state_dict() | {f"cell.weights.w_{k}": [[w]] for k, w in enumerate(weights, start=1)})
    np.testing.assert_allclose(ar.poles(), sorted(roots[:order], key=abs, reverse=True), atol=1e-9)


def test_poles_of_several_variables():
    ar = made(2, 2)
    z = ar.poles()[0]
    determinant = np.linalg.det(z**2 * np.eye(2) - z * ar.w[0] - ar.w[1])
    assert abs(determinant) < 1e-9


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda ar: ar.fit(np.zeros((4, 1, 1))), DataError, "ys is too short: 3 weights are fitted to the 2 values after"),
        (lambda ar: ar.fit(np.full((9, 1, 1), np.nan)), DataError, "ys has NaN or inf"),
        (
            lambda ar: ar.fit(np.zeros((9, 1, 1)), ar.history(np.zeros((2, 2, 1)))),
            ShapeError,
            r"\(1, 1\) at .* the history has \(2, 1\)",
        ),
        (lambda ar: ar.one_step(np.zeros((9, 1, 2)), None), ShapeError, r"ys has shape \(9, 1, 2\).*1 feature"),
        (lambda ar: ar.forecast(None, 3), ShapeError, "history must be .* y_1, y_2, not of type NoneType"),
        (lambda ar: ar.sample(np.zeros((2, 1, 1)), 3), ShapeError, "y_2, not of type ndarray"),
        (lambda ar: ar.sample(3, ar.history(np.zeros((2, 1, 1)))), ShapeError, "y_2, not of type int"),
        (lambda ar: ar.forecast(3, ar.history(np.zeros((2, 1, 1)))), ShapeError, "y_2, not of type int"),
        (
            lambda ar: ar.one_step(ar.history(np.zeros((2, 1, 1))), np.zeros((9, 1, 1))),
            ShapeError,
            "ys must be a sequence, but here is a history",
        ),
        (lambda ar: ar(np.zeros((9, 1, 1))), ShapeError, "history must be what the model's method history returns"),
        (lambda ar: ar(None, steps=3), ShapeError, "history must be what the model's method history returns"),
        (lambda ar: ar.states(np.zeros((9, 1, 1))), ShapeError, "history must be what the model's method history returns"),
        (lambda ar: ar.recorded(np.zeros((0, 1, 1))), ShapeError, "history must be what the model's method history returns"),
        (lambda ar: ar.one_step(np.zeros((9, 1, 1)), nn.AR(1).history(np.zeros((2, 1, 1)))), ShapeError, "y_2, not 1 tensor,?"),
        (lambda ar: ar.forecast(ar.history(np.zeros((2, 1, 1))), -1), ShapeError, "steps must be the number of steps"),
    ],
)
def test_what_cannot_be_done(call, error, message):
    with pytest.raises(error, match=message):
        call(nn.AR(2, dtype=float))


def test_a_series_without_noise_is_fitted_exactly():
    ys = (0.5 ** np.arange(8.0))[:, None, None]
    ar = nn.AR(1).fit(ys)
    np.testing.assert_allclose(ar.w.ravel(), 0.5, rtol=1e-6)
    assert np.isfinite(ar.log_sigma.data).all() and ar.sigma < 1e-6


@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.lists(st.sampled_from([1e-12, 1e-6, 1e-3, 1.0, 1e3, 1e12]), min_size=3, max_size=3),
    st.lists(st.sampled_from([0.0, -3.0, 1e3]), min_size=3, max_size=3),
    seeds,
)
def test_the_fit_is_the_same_in_every_unit_and_from_every_zero(order, size, units, levels, seed):
    unit, level = np.array(units[:size]), np.array(levels[:size])
    ys = normal(seed, 60, 2, size).cumsum(axis=0) * 0.3 + normal(seed + 1, 60, 2, size)
    plain, other = (nn.AR(order, size, dtype=float).fit(y) for y in (ys, (ys + level) * unit))
    np.testing.assert_allclose(other.w * unit / unit[:, None], plain.w, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(other.sigma, plain.sigma * unit, rtol=1e-7)
    np.testing.assert_allclose(other.w_0 / unit, plain.w_0 + level - plain.w.sum(axis=0) @ level, rtol=1e-6, atol=1e-6)
    likelihoods = [ar.log_likelihood(y).data for ar, y in ((plain, ys), (other, (ys + level) * unit))]
    np.testing.assert_allclose(likelihoods[1], likelihoods[0] - (60 - order) * np.log(unit).sum(), rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("unit", [1e-12, 1e-3, 1.0, 1e6, 1e12, 1e30])
def test_the_fit_of_parameters_in_float32_in_every_unit(unit):
    ys = normal(0, 200, 1, 1).cumsum(axis=0) * 0.1 + normal(1, 200, 1, 1)
    plain, other = nn.AR(2).fit(ys), nn.AR(2).fit(ys * unit)
    np.testing.assert_allclose(other.w, plain.w, rtol=1e-5)
    np.testing.assert_allclose(other.w_0, plain.w_0 * unit, rtol=1e-5)
    shift = other.log_likelihood(ys * unit).item() - plain.log_likelihood(ys).item()
    assert shift == pytest.approx(-198 * np.log(unit), abs=0.05)


@pytest.mark.parametrize("level", [0.0, 0.1, -7.3, 1e-12, 1e12])
def test_a_constant_series_is_its_level(level):
    ar = nn.AR(2, 2, dtype=float).fit(np.stack([np.full((30, 1), level), normal(0, 30, 1)], -1))
    assert not ar.w[:, :, 0].any() and not ar.w[:, 0].any() and ar.w_0[0] == pytest.approx(level)
    assert np.isfinite(ar.log_sigma.data).all()


def test_a_small_variance_at_a_high_level():
    ys = np.zeros((400, 1, 1))
    for t in range(1, 400):
        ys[t] = 0.8 * ys[t - 1] + np.random.default_rng(t).normal()
    plain, high = nn.AR(1, dtype=float).fit(ys), nn.AR(1, dtype=float).fit(1e8 + 1e-3 * ys)
    np.testing.assert_allclose(high.w, plain.w, rtol=1e-4)
    np.testing.assert_allclose(high.sigma, plain.sigma * 1e-3, rtol=1e-4)


@given(st.sets(st.sampled_from(["w_0", "w_1", "w_2"])), sizes, seeds, st.sampled_from([1.0, 1e9]))
def test_frozen_parameters_stay_and_the_others_are_the_best_beside_them(frozen, size, seed, unit):
    ys = (normal(seed, 50, 1, size).cumsum(axis=0) + 3) * unit
    ar = made(2, size, seed)
    before = {name: value.copy() for name, value in ar.state_dict().items()}
    for name in frozen:
        getattr(ar.cell.weights, name).requires_grad_(False)
    ar.fit(ys)
    for name in ("w_0", "w_1", "w_2"):
        parameter = getattr(ar.cell.weights, name)
        assert np.array_equal(parameter.data, before[f"cell.weights.{name}"]) == (name in frozen)
    ar.log_likelihood(ys).sum().backward()
    for name, parameter in ar.named_parameters():
        if parameter.requires_grad:
            scale = ar.sigma if name.endswith("w_0") else 1.0
            np.testing.assert_allclose(parameter.grad.data * scale, 0, atol=1e-5)


def test_values_that_are_not_finite_have_no_likelihood():
    ys, ar = normal(0, 10, 2, 1), made(2)
    ys[4, 1] = np.nan
    with pytest.raises(NonFiniteError, match="log_likelihood: 1 of the 16 values"):
        ar.log_likelihood(ys)
    assert np.isfinite(ar.log_likelihood(ys, lengths=[10, 4]).data).all()
