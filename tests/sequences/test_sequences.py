"""Sequences are compared with loops by hand: no element is lost or added, and no window crosses a border."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.errors import DataError, DtypeError, ShapeError
from tinygrad_rnn.sequences import (
    CharVocabulary,
    Vocabulary,
    WordVocabulary,
    pad,
    reverse_padded,
    sessions,
    split,
    tbptt_chunks,
    unpad,
    windows,
)

SPECIALS = ("<pad>", "<start>", "<end>")

# -- vocabularies --------------------------------------------------------------------------


@given(st.text(min_size=1))
def test_characters_come_back_and_special_symbols_are_apart(text):
    vocabulary = CharVocabulary(text, SPECIALS)
    codes = vocabulary.encode(["<start>", *text, "<end>"])
    assert codes[0] == vocabulary["<start>"] and codes[-1] == vocabulary["<end>"]
    assert codes[1:-1].min() >= len(SPECIALS)
    np.testing.assert_array_equal(codes[1:-1], vocabulary.encode(text))
    assert vocabulary.decode(codes) == f"<start>{text}<end>"
    assert vocabulary.decode([*codes, 0, 0], specials=False) == text
    assert [vocabulary.symbols[code] for code in codes[1:-1]] == list(text)
    assert vocabulary.characters == "".join(sorted(set(text)))


words = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "the"]), min_size=1)


@given(words, st.integers(1, 5), st.integers(1, 3))
def test_words_are_those_that_are_frequent(found, size, min_count):
    counts = Counter(found)
    if max(counts.values()) < min_count:
        min_count = 1
    vocabulary = WordVocabulary(" ".join(found), size, min_count, SPECIALS, unknown="<unknown>")
    assert vocabulary.symbols[:4] == (*SPECIALS, "<unknown>")
    kept = vocabulary.symbols[4:]
    assert len(kept) == min(size, sum(n >= min_count for n in counts.values()))
    in_order = [counts[word] for word in kept]
    assert in_order == sorted(in_order, reverse=True)
    assert all(counts[word] >= min_count for word in kept)
    assert all(counts[left] <= counts[word] for left in set(counts) - set(kept) for word in kept if counts[left] >= min_count)
    assert vocabulary.decode(vocabulary.encode(found)) == " ".join(w if w in kept else "<unknown>" for w in found)


def test_a_vocabulary_of_words_takes_tokens_as_well_as_a_text():
    assert WordVocabulary(["to be", "or", "to be"]).symbols == ("to be", "or")
    assert WordVocabulary("to be or to be").symbols == ("to", "be", "or")
    assert list(WordVocabulary("a b", unknown="<u>")) == ["<u>", "a", "b"]
    assert WordVocabulary("a <u> b", unknown="<u>").symbols == ("<u>", "a", "b")
    assert "a" in WordVocabulary("a") and "b" not in WordVocabulary("a")


def test_what_is_not_in_a_vocabulary_is_named_with_its_position():
    with pytest.raises(DataError, match="word 'cow' at position 1"):
        WordVocabulary("the cat").encode("the cow")
    with pytest.raises(DataError, match="character 'z' at position 3"):
        CharVocabulary("abc", SPECIALS).encode(["<start>", "a", "b", "z"])
    with pytest.raises(DataError, match="'<end>' is not in"):
        CharVocabulary("abc")["<end>"]
    with pytest.raises(DataError, match=r"codes of this vocabulary must be from 0 to .*, not 3"):
        WordVocabulary("the cat").decode([0, 3])
    with pytest.raises(DataError, match="must be from 0 to 1, not -1"):
        WordVocabulary("the cat").decode([-1])


@pytest.mark.parametrize("codes", [[1.5], np.zeros((2, 3), int), ["cat"], [None]], ids=str)
def test_what_is_no_code(codes):
    with pytest.raises(DataError, match=r"a code must be an integer, .* batch"):
        WordVocabulary("the cat").decode(codes)


@pytest.mark.parametrize(
    "make, error, said",
    [
        (lambda: WordVocabulary(" \n "), DataError, "at least one word"),
        (lambda: WordVocabulary("<u>", unknown="<u>"), DataError, "at least one word"),
        (lambda: CharVocabulary("", SPECIALS), DataError, "at least one character"),
        (lambda: WordVocabulary("once", min_count=2, unknown="<u>"), DataError, "none of the 1 word occurs 2 times"),
        (lambda: CharVocabulary("ab", ["a"]), DataError, "the vocabulary has 'a' twice"),
        (lambda: WordVocabulary("a <end> b", specials=["<end>"]), DataError, "the vocabulary has '<end>' twice"),
        (lambda: Vocabulary("ab", ["<e>", "<e>"]), DataError, "the vocabulary has '<e>' twice"),
        (lambda: WordVocabulary(["a", 5]), DataError, "not 5 of type int"),
        (lambda: WordVocabulary(["a", 0]), DataError, "not 0 of type int"),
        (lambda: WordVocabulary("a", size=0), ValueError, "at least 1"),
        (lambda: WordVocabulary("a", min_count=0), ValueError, "at least 1"),
    ],
)
def test_no_vocabulary_is_made_of(make, error, said):
    with pytest.raises(error, match=said):
        make()


# -- padding -------------------------------------------------------------------------------

lengths = st.lists(st.integers(0, 5), min_size=1, max_size=5)


def of_lengths(given_lengths, features=(), dtype=float):
    """Sequences whose elements are all different and not 0."""
    rng = np.random.default_rng(0)
    total = sum(given_lengths) * int(np.prod(features))
    values = rng.permutation(total) + 1
    found, start = [], 0
    for n in given_lengths:
        stop = start + n * int(np.prod(features))
        found.append(values[start:stop].reshape(n, *features).astype(dtype))
        start = stop
    return found


@given(lengths, st.sampled_from([(), (2,), (2, 3)]), st.booleans(), st.sampled_from([float, "float32", int, "uint8"]))
def test_what_is_padded_comes_back(given_lengths, features, batch_first, dtype):
    sequences = of_lengths(given_lengths, features, dtype)
    padded, found = pad(sequences, value=7, batch_first=batch_first)
    T, B = max(given_lengths), len(given_lengths)
    assert padded.shape == ((B, T) if batch_first else (T, B)) + features
    assert padded.dtype == np.dtype(dtype)
    assert found.tolist() == given_lengths
    for b, sequence in enumerate(sequences):
        for t in range(T):
            element = padded[(b, t) if batch_first else (t, b)]
            np.testing.assert_array_equal(element, sequence[t] if t < len(sequence) else np.full(features, 7))
    back = unpad(padded, found, batch_first)
    assert len(back) == B
    for one, sequence in zip(back, sequences, strict=True):
        np.testing.assert_array_equal(one, sequence)
        assert one.dtype == sequence.dtype


@given(lengths, st.sampled_from([(), (2,)]), st.booleans())
def test_each_row_is_reversed_over_its_real_part(given_lengths, features, batch_first):
    sequences = of_lengths(given_lengths, features)
    padded, found = pad(sequences, value=-1, batch_first=batch_first)
    expected, _ = pad([sequence[::-1] for sequence in sequences], value=-1, batch_first=batch_first)
    reversed_ = reverse_padded(padded, found, batch_first)
    np.testing.assert_array_equal(reversed_, expected)
    np.testing.assert_array_equal(reverse_padded(reversed_, found, batch_first), padded)
    x, weights = tr.tensor(padded, requires_grad=True), np.arange(padded.size).reshape(padded.shape)
    turned = reverse_padded(x, found, batch_first)
    np.testing.assert_array_equal(turned.data, expected)
    (turned * weights).sum().backward()
    np.testing.assert_array_equal(x.grad.data, reverse_padded(weights, found, batch_first))  # it is its own transpose


def test_a_reversed_sequence_runs_as_the_reverse_direction_does():
    cell = nn.RNNCell(2, 3, dtype="float64")
    padded, found = pad(of_lengths([4, 0, 2], (2,)))
    backwards, _ = nn.Recurrent(cell, reverse=True)(padded, lengths=found)
    outputs, _ = nn.Recurrent(cell)(reverse_padded(padded, found), lengths=found)
    np.testing.assert_allclose(reverse_padded(outputs, found).data, backwards.data, rtol=1e-12)


def test_an_empty_sequence_tells_no_dtype_and_no_shape():
    padded, found = pad([[], [1, 2]])
    assert padded.dtype.kind == "i" and found.tolist() == [0, 2]
    assert pad([[], [[1.0, 2.0]]])[0].shape == (1, 2, 2)
    assert pad([np.zeros((0, 3))])[0].shape == (0, 1, 3)
    assert pad([[], []])[0].shape == (0, 2)
    assert pad([[True], []])[0].dtype == bool
    assert np.isnan(pad([[1.0], []], value=np.nan)[0][0, 1])
    assert pad([np.ones(1, "float32"), np.ones(1)])[0].dtype == float


@pytest.mark.parametrize(
    "call, error, said",
    [
        (lambda: pad([]), DataError, "no sequences"),
        (lambda: pad([1.0, 2.0]), ShapeError, "sequence 0 must be .* not the number 1.0"),
        (
            lambda: pad([np.zeros((2, 3)), np.zeros((2, 4))]),
            ShapeError,
            r"1 have shape \(4,\), but those of others \(3,\)",
        ),
        (lambda: pad([[[1]], [2]]), ShapeError, r"sequence 1 have shape \(\)"),
        (lambda: pad([["a", "b"]]), DtypeError, "encode a text by sequences.Vocabulary first"),
        (lambda: pad([[1, 2], [0.5]]), DtypeError, "sequence 1 has dtype float64, but others have int64"),
        (lambda: pad([[1, 2]], value=0.5), DtypeError, "the padding cannot be 0.5"),
        (lambda: pad([[1, 2]], value=2**70), DtypeError, "the padding cannot be"),
        (lambda: pad([[1.0, 2.0]], value=None), DtypeError, "the padding cannot be None"),
        (lambda: pad([[1.0, 2.0]], value="a"), DtypeError, "the padding cannot be 'a'"),
        (lambda: pad([[1.0, 2.0]], value=1j), DtypeError, "the padding cannot be 1j"),
        (lambda: pad([np.ones(2, np.float16)], value=1e9), DtypeError, "the padding cannot be"),
        (lambda: pad([[1, 2]], value=np.nan), DtypeError, "the padding cannot be nan"),
        (lambda: pad([np.zeros(2, "uint8")], value=-1), DtypeError, "the padding cannot be -1"),
        (lambda: pad([np.zeros(2, "uint8")], value=256), DtypeError, "the padding cannot be 256"),
        (lambda: unpad([1, 2], [1]), ShapeError, "time, batch"),
        (lambda: unpad([[1, 2]], [1]), ShapeError, r"lengths have shape \(1,\), but a batch of 2"),
        (lambda: unpad([[1, 2]], [1, 2]), ShapeError, "from 1 to 2, but the sequence has 1"),
        (lambda: unpad([[1, 2]], [1, -1]), ShapeError, "from -1 to 1"),
        (lambda: unpad([[1, 2]], [1.0, 1.0]), DtypeError, "lengths must be integers"),
        (lambda: reverse_padded(np.zeros((3, 2)), [1, 2, 3]), ShapeError, "a batch of 2 needs one for each row"),
        (lambda: reverse_padded(np.zeros((3, 2)), [3, 3], batch_first=True), ShapeError, "a batch of 3 needs one for each row"),
    ],
)
def test_padding_says_what_does_not_fit(call, error, said):
    with pytest.raises(error, match=said):
        call()


# -- windows and sessions ------------------------------------------------------------------

series_sessions = st.lists(st.integers(1, 9), min_size=1, max_size=4)


@given(series_sessions, st.integers(1, 5), st.integers(1, 3), st.integers(0, 3), st.sampled_from([(), (2,)]))
def test_windows_are_those_of_a_loop_and_stay_within_a_session(given_lengths, length, step, ahead, features):
    each = of_lengths(given_lengths, features)
    series, starts = np.concatenate(each), np.cumsum([0, *given_lengths[:-1]])
    inputs, targets = [], []
    for one in each:
        i = 0
        while i + length + ahead <= len(one):
            inputs.append(one[i : i + length])
            targets.append(one[i + ahead : i + ahead + length])
            i += step
    if not inputs:
        with pytest.raises(DataError, match=f"needs {length + ahead} elements"):
            windows(series, length, step, ahead, starts)
        return
    found = windows(series, length, step, ahead, starts)
    x, y = found if ahead else (found, found)
    np.testing.assert_array_equal(x, np.stack(inputs, axis=1))
    np.testing.assert_array_equal(y, np.stack(targets, axis=1))
    if len(each) == 1:
        assert np.shares_memory(x, series) and not x.flags.writeable


@given(series_sessions, st.sampled_from([(), (2,)]))
def test_sessions_are_rows_with_nothing_of_the_others(given_lengths, features):
    each = of_lengths(given_lengths, features)
    series, starts = np.concatenate(each), np.cumsum([0, *given_lengths[:-1]])
    x, y, found = sessions(series, -series, starts=starts)
    assert found.tolist() == given_lengths
    for b, one in enumerate(each):
        np.testing.assert_array_equal(x[: len(one), b], one)
        assert not x[len(one) :, b].any()
    np.testing.assert_array_equal(y, -x)


def test_no_session_changes_the_run_or_the_gradient_of_another():
    cell = nn.RNNCell(1, 3, dtype="float64")
    series, starts = np.random.default_rng(0).normal(size=(9, 1)), [0, 4, 6]
    padded, found = sessions(series, starts=starts)
    outputs, last = nn.Recurrent(cell)(padded, lengths=found)
    (outputs * outputs).sum().backward()
    gradient = cell.weight_hh.grad.data
    cell.zero_grad()
    for b, one in enumerate(np.split(series, starts[1:])):
        alone, state = nn.Recurrent(cell)(one[:, None])
        (alone * alone).sum().backward()
        np.testing.assert_allclose(outputs.data[: len(one), b], alone.data[:, 0], rtol=1e-12)
        np.testing.assert_allclose(last.data[b], state.data[0], rtol=1e-12)
    np.testing.assert_allclose(cell.weight_hh.grad.data, gradient, rtol=1e-10)


@pytest.mark.parametrize(
    "call, error, said",
    [
        (lambda: windows([1, 2, 3], 0), ValueError, "at least 1"),
        (lambda: windows([1, 2, 3], 1, step=0), ValueError, "at least 1"),
        (lambda: windows([1, 2, 3], 1, ahead=-1), ValueError, "at least 0"),
        (lambda: windows(5, 1), DataError, "time axis"),
        (lambda: windows([], 1), DataError, "starts"),
        (lambda: windows([1, 2, 3], 3, ahead=1), DataError, "needs 4 elements"),
        (lambda: sessions([1, 2, 3], starts=[1]), DataError, "rise from 0"),
        (lambda: sessions([1, 2, 3], starts=[0, 2, 2]), DataError, "rise from 0"),
        (lambda: sessions([1, 2, 3], starts=[0, 3]), DataError, "below 3"),
        (lambda: sessions([1, 2, 3], starts=[0.0, 1.0]), DtypeError, "integers"),
        (lambda: sessions([1, 2, 3], starts=0), DataError, "starts"),
        (lambda: sessions([1, 2, 3], starts=[]), DtypeError, "integers"),
        (lambda: sessions([1, 2, 3], [1, 2], starts=[0]), DataError, "3, 2"),
        (lambda: sessions(starts=[0]), DataError, "at least one series"),
    ],
)
def test_windows_and_sessions_say_what_does_not_fit(call, error, said):
    with pytest.raises(error, match=said):
        call()


# -- splits --------------------------------------------------------------------------------


@given(st.integers(1, 60), st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 3))
def test_a_split_keeps_the_order_and_loses_the_gap_only(n, shares, gap):
    fractions = [share / sum(shares) for share in shares]
    series = np.arange(n)
    sizes = np.diff(np.round(np.cumsum([0, *fractions]) * n)).astype(int)
    sizes[:-1] -= gap
    if (sizes < 1).any():
        with pytest.raises(DataError, match="too short"):
            split(series, fractions, gap)
        return
    parts = split(series, fractions, gap)
    assert [len(part) for part in parts] == sizes.tolist()
    assert parts[0][0] == 0 and parts[-1][-1] == n - 1
    for before, after in itertools.pairwise(parts):
        assert after[0] - before[-1] == gap + 1
    assert all(np.shares_memory(part, series) and (np.diff(part) == 1).all() for part in parts)
    for (x, y), part in zip(split((series, series[:, None] * 2), fractions, gap), parts, strict=True):
        np.testing.assert_array_equal(x, part)
        np.testing.assert_array_equal(y, part[:, None] * 2)


def test_a_series_is_not_shuffled():
    with pytest.raises(ValueError, match="trained on the neighbours of each test value"):
        split(np.arange(10), shuffle=True)


@pytest.mark.parametrize("length, step", [(3, 1), (3, 2), (2, 1)])
def test_windows_that_overlap_are_not_split(length, step):
    found = windows(np.arange(20.0).reshape(10, 2), length, step)
    for axes in (found, found.swapaxes(0, 1), found[::-1]):
        with pytest.raises(DataError, match="split the series first, then make windows"):
            split(axes, [0.5, 0.5])


def test_what_does_not_overlap_is_split_however_it_lies():
    base = np.arange(24.0).reshape(6, 4)
    found = windows(np.arange(12), 3, step=3)  # adjacent windows, without overlap
    for series in (base[::-1], base[::2], base.T, base[:, 1], np.asfortranarray(base), found.swapaxes(0, 1)):
        np.testing.assert_array_equal(np.concatenate(split(series, [0.5, 0.5])), series)
    constant = np.broadcast_to(1.0, (6, 2))
    assert len(split((base, constant), [0.5, 0.5])) == 2


@pytest.mark.parametrize("fractions", [[], [0.5], [0.5, 0.4], [1.5, -0.5], [1.0, 0.0], 1.0 / 3, [[1.0]], [np.nan, 1.0]])
def test_fractions_are_positive_and_add_up_to_one(fractions):
    with pytest.raises(ValueError, match="add up to 1"):
        split(np.arange(10), fractions)


def test_series_that_are_split_in_step_have_one_length():
    with pytest.raises(DataError, match="10, 9"):
        split((np.arange(10), np.arange(9)))
    with pytest.raises(ValueError, match="gap"):
        split(np.arange(10), gap=-1)


@given(st.text(min_size=1))
def test_a_vocabulary_encodes_and_decodes(text):
    vocabulary = CharVocabulary(text)
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert len(vocabulary) == len(set(text))


def test_a_vocabulary_names_what_it_does_not_know():
    vocabulary = CharVocabulary("abc")
    with pytest.raises(DataError, match="'z' at position 2"):
        vocabulary.encode("abz")
    with pytest.raises(DataError, match=r"codes of this vocabulary must be from 0 to .*, not 3"):
        vocabulary.decode([0, 3])
    with pytest.raises(DataError, match="empty"):
        CharVocabulary("")


@given(st.integers(2, 60), st.integers(1, 5), st.integers(1, 7))
def test_chunks_go_on_where_the_last_one_ended(n, batch, length):
    codes = np.arange(n)
    if (n - 1) // batch < 1:
        with pytest.raises(DataError, match="too short"):
            tbptt_chunks(codes, batch, length)
        return
    chunks = list(tbptt_chunks(codes, batch, length))
    inputs, targets = (np.concatenate([chunk[i] for chunk in chunks]) for i in (0, 1))
    rows = (n - 1) // batch
    assert inputs.shape == (rows, batch)
    np.testing.assert_array_equal(inputs.T.ravel(), codes[: rows * batch])
    np.testing.assert_array_equal(targets, inputs + 1)
    assert all(len(x) <= length for x, _ in chunks)
