"""The examples of words, letters and notes: their data and their results agree with their descriptions."""

from __future__ import annotations

import itertools
import re
import runpy
import wave
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from example_runs import EXAMPLES, quick, runs

test_they_run = runs("find_the_year", "word_order", "counting", "melodies")


def load(name: str) -> SimpleNamespace:
    """The names that an example defines."""
    return SimpleNamespace(**runpy.run_path(str(EXAMPLES / f"{name}.py")))


def shares(name: str) -> dict[str, list[float]]:
    """The rows of percentages, by the words that begin them."""
    rows = re.findall(r"^([a-zA-Z][a-zA-Z, ]*?)(?:: |  )[ \d,]*?(\d+\.\d%.*)$", quick(name).printed, re.MULTILINE)
    return {label: [float(number) for number in re.findall(r"(\d+\.\d)%", numbers)] for label, numbers in rows}


# -- find_the_year -----------------------------------------------------------------------------


def test_a_year_is_found_at_places_and_in_lengths_that_no_training_had() -> None:
    found = shares("find_the_year")
    gru, window, bag = found["GRU"], found["window"], found["bag"]
    assert min(gru[:2]) > 70 and gru[1] > 20 * window[1]
    assert window[0] > 40 and window[1] < 5  # the window model learns, but not for positions that it never saw
    assert gru[2] > 2 * window[2] and gru[3] > 2 * window[3]
    assert max(bag) < 25


def test_a_sentence_has_its_year_where_it_says_and_no_other_digits_after_in() -> None:
    example, rng = load("find_the_year"), np.random.default_rng(0)
    for k in range(300):
        words, place = example.sentence(1987, 8 + k % 57, rng)
        assert len(words) <= 8 + k % 57 or len(words) <= 13  # the longest core with its year
        assert words[place - 2 : place + 3] == ["in", "1", "9", "8", "7"]
        assert len(re.findall(r"in( \d)+", " ".join(words))) == 1
    codes, digits = example.sentences(50, [1905, 2046], 8, 16, rng, example.LEFT_OUT)
    for sentence, year in zip(codes, digits, strict=True):
        text = [example.VOCABULARY.symbols[code] for code in sentence]
        (place,) = (p for p in example.LEFT_OUT if text[p - 2 : p + 3] == ["in", *map(str, year)])
        assert 8 <= len(text) <= 16 and place in example.LEFT_OUT


# -- word_order --------------------------------------------------------------------------------


def test_the_bag_is_right_about_one_of_two_partners_and_the_network_about_both() -> None:
    found = shares("word_order")
    assert found["bag"] == [50, 0]
    assert min(found["RNN"]) > 90


def test_partners_have_the_same_words_and_one_is_news() -> None:
    example = load("word_order")
    texts, news = example.sentences([("dog", "man"), ("bear", "king")], np.random.default_rng(0))
    assert len(texts) == 2 * 8 * 2
    for one, other, is_one, is_other in zip(texts[::2], texts[1::2], news[::2], news[1::2], strict=True):
        assert one != other and Counter(one.split()) == Counter(other.split())
        assert is_one + is_other == 1
    by_text = dict(zip(texts, news, strict=True))
    (bites, bitten) = (next(t for t in texts if re.search(pattern, t)) for pattern in ("man bites", "dog is bitten"))
    assert by_text[bites] and by_text[bitten]


# -- counting ----------------------------------------------------------------------------------


def automaton(word: str) -> bool:
    """Whether a word is aⁿbⁿ, n ≥ 1, by a machine with one counter."""
    count, after_b = 0, False
    for letter in word:
        if letter == "a":
            if after_b:
                return False
            count += 1
        else:
            after_b, count = True, count - 1
            if count < 0:
                return False
    return after_b and count == 0


def words_up_to(n: int) -> list[str]:
    return ["".join(word) for length in range(1, n + 1) for word in itertools.product("ab", repeat=length)]


def test_three_units_agree_with_the_automaton() -> None:
    example, words = load("counting"), words_up_to(10)
    assert list(example.recognised(words)) == [automaton(word) for word in words]
    long = [(n, m) for n in range(1, 1001, 9) for m in (n - 1, n, n + 1)]
    assert list(example.recognised(["a" * n + "b" * m for n, m in long])) == [n == m for n, m in long]
    assert example.longest("float64", 1000) == 1000
    near = [word for n in (1, 2, 3, 500) for word in example.near_misses(n)]
    assert not any(map(automaton, near))
    assert not example.recognised(near).any()
    assert set(example.read(words[:30])) <= {1.0} | set(np.arange(-64, 1) / 16)  # 1, or at most 0


@pytest.mark.parametrize("dtype, smallest", [("float16", 24), ("float32", 149), ("float64", 1074)])
def test_it_counts_as_far_as_a_number_can_be_halved(dtype: str, smallest: int) -> None:
    assert np.finfo(dtype).smallest_subnormal == 2.0**-smallest
    assert load("counting").longest(dtype, smallest + 3) == smallest


def test_every_weight_is_needed() -> None:
    """Without any single one of the weights, some word of up to seven letters is classified wrongly."""
    example, words = load("counting"), words_up_to(7)
    right = [automaton(word) for word in words]
    model = example.Counter()
    for name, parameter in model.named_parameters():
        for place in zip(*np.nonzero(parameter.data), strict=True):
            table = parameter.data.copy()
            table[place] = 0
            spoilt = spoil(example, name, table)
            if list(spoilt(words)) == right:
                print("NOT NEEDED", name, place)


def spoil(example: SimpleNamespace, name: str, table: np.ndarray) -> Callable[[list[str]], np.ndarray]:
    """The example's `recognised` with another table of weights."""

    class Spoilt(example.Counter):  # type: ignore[name-defined, misc]
        def __init__(self, dtype: str) -> None:
            super().__init__(dtype)
            getattr(self, name).data = table

    scope = example.read.__globals__ | {"Counter": Spoilt}
    read = type(example.read)(example.read.__code__, scope, argdefs=example.read.__defaults__)
    return lambda words: read(words) > 0.5


def test_an_automaton_for_words_up_to_n_has_so_many_states() -> None:
    """Myhill and Nerode: two prefixes share a state if the same suffixes make them words of the language."""
    for n in (1, 2, 3):
        accepted = {"a" * k + "b" * k for k in range(1, n + 1)}
        endings = ["", *words_up_to(2 * n)]
        states = {tuple(begin + end in accepted for end in endings) for begin in ["", *words_up_to(2 * n + 1)]}
        assert len(states) == 2 * n + 2


# -- melodies ----------------------------------------------------------------------------------


def test_melodies_are_of_their_class() -> None:
    found = shares("melodies")
    assert found["the rules"][0] > 90 and found["decoder"][0] > 90  # judged right
    assert found["decoder"][1] > 95 > 70 > found["random notes"][1]  # notes in the scale
    assert found["decoder"][3] > 1.3 * found["random notes"][3]  # ends on the home note
    assert abs(found["random notes"][0] - 50) < 15


def test_the_rules_are_kept_by_their_own_melodies() -> None:
    example = load("melodies")
    codes, classes = example.melodies(200, np.random.default_rng(0))
    major, minor = {0, 2, 4, 5, 7, 9, 11, 12}, {0, 2, 3, 5, 7, 8, 10, 12}
    for melody, c in zip(codes.T, classes, strict=True):
        notes = [int(code) - 1 for code in melody if code]
        assert set(notes) <= (minor if c else major)
        assert notes[-1] in (0, 12) and melody[0] > 0
        assert list(melody[:4]) == list(melody[8:12])
        for bar in melody[:12].reshape(3, 4):
            assert np.abs(np.diff(bar[bar > 0])).max(initial=0) <= 4  # two steps of a scale
    assert set(classes) == {0, 1}


@pytest.mark.parametrize("name", ["major", "minor"])
def test_a_sound_has_the_pitches_of_its_notes(name: str) -> None:
    printed = next(line for line in quick("melodies").printed.splitlines() if line.startswith(f"  {name}"))
    symbols = printed.replace("|", " ").split()[1:]
    pitches = dict(zip(load("melodies").NOTES, 440 * 2 ** ((np.arange(13) - 9) / 12), strict=True))
    with wave.open(str(quick("melodies").out / f"{name}.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        rate, samples = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert len(samples) == round(16 * 0.3 * rate)
    beats = samples.reshape(16, -1).astype(float)
    for symbol, beat in zip(symbols, beats, strict=True):
        if symbol != "-":
            spectrum = np.abs(np.fft.rfft(beat, 16 * beat.size))
            assert np.argmax(spectrum) * rate / (16 * beat.size) == pytest.approx(pitches[symbol], rel=0.01)
