"""Data sets are compared with their definitions, computed in another way."""

from __future__ import annotations

import calendar
import datetime
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn import datasets
from tinygrad_rnn.errors import DataError

# -- series --------------------------------------------------------------------------------


def test_sunspot_numbers_are_the_published_ones():
    years, numbers = datasets.sunspots()
    np.testing.assert_array_equal(years, np.arange(1700, 2009))
    known = {1700: 5.0, 1712: 0.0, 1778: 154.4, 1816: 45.8, 1870: 139.0, 1900: 9.5, 1957: 190.2, 1989: 157.6, 2008: 2.9}
    assert {year: numbers[year - 1700] for year in known} == known
    # known facts about this table, from statsmodels and pandas
    np.testing.assert_allclose([numbers.mean(), numbers.std(ddof=1)], [49.752104, 40.452595], atol=1e-6)
    np.testing.assert_allclose(np.percentile(numbers, [0, 25, 50, 75, 100]), [0.0, 16.0, 40.0, 69.8, 190.2])


def test_sunspots_have_their_period_of_eleven_years():
    _, numbers = datasets.sunspots()
    power = np.abs(np.fft.rfft(numbers - numbers.mean())) ** 2
    assert 10.5 < 1 / np.fft.rfftfreq(len(numbers))[power.argmax()] < 11.5


@given(st.integers(0, 200), st.integers(0, 10**6))
def test_narma10_is_its_recurrence(steps, seed):
    u, y = datasets.narma10(steps, rng=seed)
    assert u.shape == y.shape == (steps,)
    assert ((u >= 0) & (u <= 0.5)).all()
    assert not y[:10].any()
    for t in range(9, steps - 1):
        past = np.sum([y[t - i] for i in range(10)])
        np.testing.assert_allclose(y[t + 1], 0.3 * y[t] + 0.05 * y[t] * past + 1.5 * u[t - 9] * u[t] + 0.1, rtol=1e-12)


def test_narma10_says_when_it_diverges(monkeypatch):
    class Loud:
        def uniform(self, low, high, steps):
            return np.full(steps, 2.0)

    monkeypatch.setattr(np.random, "default_rng", lambda rng: Loud())
    with pytest.raises(DataError, match="without bound"):
        datasets.narma10(500, rng=0)


def delayed_equation(steps, tau=17, a=0.2, b=0.1, n=10, x0=1.2):
    """Integrate with SciPy from delay to delay: in each interval the delayed value is a known function."""
    integrate = pytest.importorskip("scipy.integrate")
    found, before, start = [x0], (lambda t: x0), x0
    for stretch in range(-(-steps // tau)):
        times = np.arange(tau + 1) + stretch * tau

        def slope(t, x, before=before):
            delayed = before(t - tau)
            return a * delayed / (1 + delayed**n) - b * x

        done = integrate.solve_ivp(slope, times[[0, -1]], [start], rtol=1e-10, atol=1e-12, dense_output=True, method="DOP853")
        found += [done.sol(t)[0] for t in times[1:]]
        before, start = (lambda t, sol=done.sol: sol(t)[0]), found[-1]
    return np.array(found[:steps])


@pytest.mark.parametrize("tau, n", [(17, 10), (5, 10), (1, 4)])
def test_mackey_glass_is_what_scipy_finds(tau, n):
    np.testing.assert_allclose(datasets.mackey_glass(60, tau=tau, n=n), delayed_equation(60, tau=tau, n=n), atol=2e-5)


def test_the_error_of_mackey_glass_falls_with_the_fourth_power_of_the_step():
    fine = datasets.mackey_glass(120, substeps=32)
    errors = [np.abs(datasets.mackey_glass(120, substeps=s) - fine).max() for s in (2, 4, 8)]
    assert errors[0] / errors[1] > 10 and errors[1] / errors[2] > 10, errors


def test_mackey_glass_is_chaotic_and_bounded():
    series = datasets.mackey_glass(3000)
    later = series[500:]
    assert 0.2 < later.min() < 0.5 and 1.2 < later.max() < 1.5
    other = datasets.mackey_glass(3000, x0=1.2 + 1e-6)
    assert np.abs(series - other)[:200].max() < 1e-4 and np.abs(series - other)[-500:].max() > 0.1


@pytest.mark.parametrize("steps", [0, 1, 5, 18])
def test_mackey_glass_has_as_many_steps_as_asked_for(steps):
    np.testing.assert_array_equal(datasets.mackey_glass(steps, substeps=2), datasets.mackey_glass(40, substeps=2)[:steps])


def test_mackey_glass_refuses_no_delay():
    with pytest.raises(ValueError, match="tau"):
        datasets.mackey_glass(10, tau=0)
    with pytest.raises(ValueError, match="substeps"):
        datasets.mackey_glass(10, substeps=0)


@pytest.mark.parametrize(
    "make",
    [
        datasets.mackey_glass,
        lambda steps: datasets.narma10(steps, rng=0),
        lambda steps: datasets.adding_problem(9, steps, rng=0),
        lambda steps: datasets.copy_memory(9, steps, rng=0),
    ],
)
def test_less_than_nothing_is_refused(make):
    assert np.size(make(0)[0] if isinstance(make(0), tuple) else make(0)) == 0
    with pytest.raises(ValueError, match=r"-2|negative"):
        make(-2)


def test_shapes_and_dtypes_are_those_that_the_page_says():
    series = [*datasets.sunspots()[1:], *datasets.narma10(20, rng=0), datasets.mackey_glass(20)]
    assert all(found.ndim == 1 and found.dtype == np.float64 for found in series)
    xs, _ = datasets.adding_problem(20, batch_size=3, rng=0)
    codes = datasets.copy_memory(20, batch_size=3, rng=0)
    assert xs.shape == (20, 3, 2) and xs.dtype == np.float32
    assert all(found.shape == (40, 3) and found.dtype == np.int64 for found in codes)


# -- long memory ---------------------------------------------------------------------------


@given(st.integers(2, 30), st.integers(0, 5), st.integers(0, 10**6))
def test_the_adding_problem_marks_one_number_in_each_half(steps, batch, seed):
    inputs, targets = datasets.adding_problem(steps, batch, rng=seed)
    assert inputs.shape == (steps, batch, 2) and targets.shape == (batch, 1)
    assert inputs.dtype == targets.dtype == np.float32
    for b in range(batch):
        first, second = np.flatnonzero(inputs[:, b, 1])
        assert first < steps // 2 <= second
        assert inputs[:, b, 1].sum() == 2
        assert targets[b, 0] == inputs[first, b, 0] + inputs[second, b, 0]


def test_the_adding_problem_has_the_baseline_that_it_says():
    inputs, targets = datasets.adding_problem(10, 100_000, rng=0)
    np.testing.assert_allclose(((targets - 1) ** 2).mean(), 1 / 6, rtol=0.02)
    counts = inputs[..., 1].mean(axis=1)
    np.testing.assert_allclose(counts, 0.2, atol=0.01)  # all steps of a half are equally likely
    with pytest.raises(ValueError, match="steps must be at least 2, not"):
        datasets.adding_problem(1, 2, rng=0)


@given(st.integers(1, 20), st.integers(0, 4), st.integers(1, 6), st.integers(1, 9), st.integers(0, 10**6))
def test_copy_memory_asks_for_what_it_has_shown(delay, batch, length, symbols, seed):
    inputs, targets = datasets.copy_memory(delay, batch, rng=seed, length=length, symbols=symbols)
    for b in range(batch):
        shown = inputs[:length, b].tolist()
        assert all(1 <= symbol <= symbols for symbol in shown)
        assert inputs[:, b].tolist() == shown + [0] * (delay - 1) + [symbols + 1] * (length + 1)
        assert targets[:, b].tolist() == [0] * (delay + length) + shown
    with pytest.raises(ValueError, match="at least 1"):
        datasets.copy_memory(0, batch, rng=seed)


def test_copy_memory_has_the_baseline_that_it_says():
    _, targets = datasets.copy_memory(50, 200, rng=0)
    p = np.where(np.arange(70)[:, None] < 60, 1.0, 1 / 8)  # knows the step of the symbol, but not the symbol
    loss = -np.log(np.broadcast_to(p, targets.shape)).mean()
    np.testing.assert_allclose(loss, 10 * np.log(8) / 70)
    assert set(np.unique(targets[-10:])) == set(range(1, 9))


# -- words ---------------------------------------------------------------------------------

UNITS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen"
VALUES = {word: n for n, word in enumerate(re.findall(r"\w+", UNITS), 1)} | {"nineteen": 19}
VALUES |= {
    word: 10 * n for n, word in enumerate(re.findall(r"\w+", "twenty thirty forty fifty sixty seventy eighty ninety"), 2)
}


def value_of(text: str) -> int:
    """Convert the output of `in_words` back to a number."""
    total = part = 0
    for word in re.findall(r"[a-z]+", text):
        if word == "hundred":
            part *= 100
        elif word in ("thousand", "million"):
            total, part = total + part * {"thousand": 1000, "million": 1_000_000}[word], 0
        elif word not in ("and", "zero"):
            part += VALUES[word]
    return total + part


@given(st.one_of(st.integers(0, 2000), st.integers(0, 999_999_999)))
def test_a_number_in_words_can_be_read(n):
    assert value_of(datasets.in_words(n)) == n


def test_all_numbers_below_a_thousand_are_written_as_people_do():
    all_ = [datasets.in_words(n) for n in range(1000)]
    assert len(set(all_)) == 1000 and list(map(value_of, all_)) == list(range(1000))
    assert [all_[n] for n in (0, 13, 40, 99, 100, 110, 999)] == [
        "zero",
        "thirteen",
        "forty",
        "ninety-nine",
        "one hundred",
        "one hundred and ten",
        "nine hundred and ninety-nine",
    ]
    assert datasets.in_words(12_345) == "twelve thousand three hundred and forty-five"
    assert datasets.in_words(1100) == "one thousand one hundred"
    assert datasets.in_words(1_002_000) == "one million two thousand"
    for n in (-1, 10**9):
        with pytest.raises(ValueError, match="999,999,999"):
            datasets.in_words(n)


@given(st.dates(datetime.date(1, 1, 1), datetime.date(9999, 12, 31)), st.integers(0, 6))
def test_a_date_in_words_can_be_read(date, style):
    text = datasets.date_in_words(date, style)
    (day,) = re.findall(r"\b(\d{1,2})(?:st|nd|rd|th)?\b(?!$)", text)
    (year,) = re.findall(r"\d+$", text)
    (month,) = (i for i, name in enumerate(calendar.month_name) if i and re.search(rf"\b({name}|{name[:3]})\b", text))
    assert (int(year), month, int(day)) == (date.year, date.month, date.day)
    if "day," in text:
        assert text.startswith(calendar.day_name[date.weekday()])


@pytest.mark.parametrize(
    "day, said", [(1, "1st"), (2, "2nd"), (3, "3rd"), (11, "11th"), (12, "12th"), (13, "13th"), (22, "22nd"), (30, "30th")]
)
def test_ordinal_numbers(day, said):
    assert datasets.date_in_words(datetime.date(2011, 3, day), 3).startswith(f"{said} ")


def test_pairs_come_once_each():
    numbers = datasets.written_numbers(1000, rng=0)
    assert sorted(int(digits) for _, digits in numbers) == list(range(1000))
    assert all(value_of(words) == int(digits) for words, digits in numbers)
    first, last = datetime.date(2011, 1, 1), datetime.date(2011, 12, 31)
    dates = datasets.written_dates(365, rng=0, first=first, last=last)
    assert len({iso for _, iso in dates}) == 365
    assert {iso[:4] for _, iso in dates} == {"2011"}
    for text, iso in dates:
        assert text in {datasets.date_in_words(datetime.date.fromisoformat(iso), style) for style in range(7)}
    with pytest.raises(ValueError, match="not 366"):
        datasets.written_dates(366, rng=0, first=first, last=last)
    with pytest.raises(ValueError, match="not 11"):
        datasets.written_numbers(11, rng=0, below=10)


@pytest.mark.parametrize("style", [-1, 7])
def test_a_style_that_is_none(style):
    with pytest.raises(ValueError, match=f"style must be from 0 to 6, not {style}"):
        datasets.date_in_words(datetime.date(2011, 3, 4), style)


# -- chance --------------------------------------------------------------------------------

RANDOM = {
    "narma10": lambda rng: datasets.narma10(50, rng=rng),
    "adding_problem": lambda rng: datasets.adding_problem(9, 3, rng=rng),
    "copy_memory": lambda rng: datasets.copy_memory(9, 3, rng=rng),
    "written_numbers": lambda rng: datasets.written_numbers(20, rng=rng),
    "written_dates": lambda rng: datasets.written_dates(20, rng=rng),
}


@pytest.mark.parametrize("make", RANDOM.values(), ids=RANDOM)
def test_a_seed_repeats_and_a_generator_goes_on(make):
    def same(a, b):
        return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))

    rng = np.random.default_rng(5)
    assert same(make(5), make(5))
    assert same(make(5), make(rng))
    assert not same(make(5), make(rng))
    assert not same(make(5), make(6))
    assert not same(make(None), make(None))
