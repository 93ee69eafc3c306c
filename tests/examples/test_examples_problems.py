"""The examples of problems: each beats its baseline, and the values for comparison are right."""

from __future__ import annotations

import itertools
import re
import runpy
from types import SimpleNamespace

import numpy as np
import pytest
from example_runs import EXAMPLES, quick, runs

test_they_run = runs("adding_problem", "copy_memory", "frame_classifier", "sequence_classifier")


def load(name: str) -> SimpleNamespace:
    """The names that an example defines."""
    return SimpleNamespace(**runpy.run_path(str(EXAMPLES / f"{name}.py")))


def last_lines(name: str, n: int) -> list[str]:
    return quick(name).printed.splitlines()[-n:]


def test_gated_networks_add_and_the_plain_one_does_not() -> None:
    errors = {}
    for line in last_lines("adding_problem", 3):
        name, error, baseline = re.fullmatch(r"(.+): test mean squared error (\S+), always answering 1: (\S+)", line).groups()
        errors[name] = float(error)
        assert baseline == "0.1667"
    assert list(errors) == ["tanh RNN", "LSTM", "GRU"]
    assert errors["LSTM"] < 0.05 and errors["GRU"] < 0.05
    assert errors["tanh RNN"] > 0.1


def test_gated_networks_recall_and_the_plain_one_does_not() -> None:
    losses = {}
    for line in last_lines("copy_memory", 3):
        pattern = r"(.+): (\d+)% of the digits recalled, test cross-entropy (\S+), without memory: (\S+)"
        name, recalled, loss, baseline = re.fullmatch(pattern, line).groups()
        losses[name] = float(loss)
        assert float(baseline) == pytest.approx(3 * np.log(8) / 14, abs=1e-4)
        assert (int(recalled) > 25) == (name != "tanh RNN")  # a guess is right with probability 1/8
    assert list(losses) == ["tanh RNN", "LSTM", "GRU"]
    assert max(losses["LSTM"], losses["GRU"]) < 0.9 * float(baseline) < losses["tanh RNN"]


def test_frames_are_told_by_those_around_them() -> None:
    found = []
    for line, name, bound in zip(
        last_lines("frame_classifier", 2), ("LSTM", "bidirectional LSTM"), ("filter", "smoother"), strict=True
    ):
        pattern = rf"{name}: (\S+)% of the frames right, each frame alone: (\S+)%, exact {bound}: (\S+)%"
        found.append([float(n) for n in re.fullmatch(pattern, line).groups()])
    (one, alone, best), (both, _, best_of_all) = found
    assert alone + 20 < one < best + 1  # for 40,000 frames, random variation is some tenths of a percent
    assert one < both < best_of_all + 1


def test_the_order_of_letters_tells_the_script() -> None:
    (line,) = last_lines("sequence_classifier", 1)
    pattern = r"LSTM: (\S+)% of the held-out sounds right, bag of letters: (\S+)%, always the most frequent script: (\S+)%"
    right, bag, most = (float(n) for n in re.fullmatch(pattern, line).groups())
    assert right > bag + 10 and bag > most + 10


@pytest.mark.parametrize("name", ["adding_problem", "copy_memory", "frame_classifier", "sequence_classifier"])
def test_a_picture_is_drawn(name: str) -> None:
    assert (quick(name).out / f"{name}.svg").read_text(encoding="utf-8").count("<path") > 10


def test_filter_and_smoother_are_what_enumeration_gives() -> None:
    """All paths of regimes through a short signal, each with its probability."""
    example = load("frame_classifier")
    xs, _ = example.signals(5, 2, np.random.default_rng(0))
    past, whole = example.filter_and_smoother(xs)
    for b in range(2):
        x = xs[:, b, 0].astype(float)
        for t_end, exact in ((3, past[2, b]), (5, whole[2, b])):  # the regime of the third frame, given t_end frames
            p = np.zeros(3)
            for path in itertools.product(range(3), repeat=t_end):
                joint = 1 / 3
                for t in range(1, t_end):
                    joint *= 1 - example.SWITCH if path[t] == path[t - 1] else example.SWITCH / 2
                    joint *= np.exp(-((x[t] - example.A[path[t]] * x[t - 1]) ** 2) / 2)
                p[path[2]] += joint
            np.testing.assert_allclose(exact, p / p.sum(), rtol=1e-10)


def test_a_signal_has_the_regimes_that_it_says() -> None:
    example = load("frame_classifier")
    xs, regimes = example.signals(3000, 20, np.random.default_rng(0))
    assert np.mean(regimes[1:] != regimes[:-1]) == pytest.approx(example.SWITCH, abs=0.005)
    x = xs[..., 0]
    for regime, a in enumerate(example.A):
        here = regimes[1:] == regime
        assert (x[1:] * x[:-1])[here].sum() / (x[:-1] ** 2)[here].sum() == pytest.approx(a, abs=0.02)
        assert (x[1:] - a * x[:-1])[here].std() == pytest.approx(1, abs=0.02)


def test_sounds_are_of_one_script_and_no_padding_reaches_the_network() -> None:
    example = load("sequence_classifier")
    pairs = example.sounds(50, np.random.default_rng(0))
    assert len({sound for sound, _ in pairs}) == len(pairs)
    assert all(sum(script == n for _, script in pairs) <= 50 for n in range(7))
    model = example.Reader(10, 4)
    codes = [np.array([1, 2, 3, 4, 5]), np.array([6, 7])]
    padded, lengths = example.pad(codes, value=9)
    together = model(padded, lengths).data
    for i, word in enumerate(codes):
        np.testing.assert_allclose(model(word[:, None], [len(word)]).data[0], together[i], rtol=1e-5, atol=1e-6)
    bag = example.Bag(10)
    np.testing.assert_allclose(bag(*example.pad(codes, value=9)).data, bag(*example.pad(codes)).data, rtol=1e-5, atol=1e-6)
