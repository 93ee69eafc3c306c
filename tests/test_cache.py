"""The memory that layers keep between calls is bounded in the whole process."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from counting import allocated

import tinygrad_rnn as tr
from tinygrad_rnn import cache, nn

MB = 2**20


@pytest.fixture(autouse=True)
def emptied() -> Iterator[None]:
    """Start with an empty cache, and restore the limit at the end."""
    before = tr.cache_limit()
    tr.cache_limit(0)
    gc.collect()
    tr.cache_limit(before)
    yield
    tr.cache_limit(before)


def train(layer: nn.Module, T: int, B: int) -> np.ndarray:
    outputs, _ = layer(np.ones((T, B, 3), "float32"))
    outputs.sum().backward()
    found = [p.grad.data for p in layer.parameters()]
    for p in layer.parameters():
        p.grad = None
    return np.concatenate([outputs.data.ravel(), *[g.ravel() for g in found]])


@pytest.mark.parametrize("limit", [0, 2 * MB])
def test_the_bytes_that_are_held_stay_below_the_limit(limit):
    """The limit holds for several layers with many shapes."""
    layers = [nn.GRU(3, 24), nn.LSTM(3, 8, 2), nn.Recurrent(nn.RNNCell(3, 16), checkpoint=1), nn.RNN(3, 8, bidirectional=True)]
    for layer in layers:
        train(layer, 3, 1)
    tr.cache_limit(limit)
    gc.collect()
    tracemalloc.start()
    try:
        start, most = allocated(), 0
        for B in range(1, 5):
            for layer in layers:
                train(layer, 150 + 11 * B, B)
                assert cache.held() <= limit
            gc.collect()
            most = max(most, allocated() - start)
        assert most < 1.2 * limit + MB / 2
        if limit:
            assert most > limit / 3  # and the cache is used
    finally:
        tracemalloc.stop()


def test_what_is_counted_is_what_is_held():
    layers = [nn.GRU(3, 32), nn.LSTM(3, 8)]
    for layer in layers:
        train(layer, 3, 1)
    gc.collect()
    tracemalloc.start()
    try:
        start, counted = allocated(), cache.held()
        for B in (1, 2, 5):
            for layer in layers:
                train(layer, 300, B)
        gc.collect()
        taken = allocated() - start
        assert 0.8 * taken < cache.held() - counted < 1.2 * taken
        del layers, layer
        gc.collect()
        assert allocated() - start < taken / 20
    finally:
        tracemalloc.stop()


def test_layers_that_are_gone_release_what_was_kept_for_them():
    layers = [nn.GRU(3, 8) for _ in range(3)]
    gc.collect()
    before = cache.held()
    for layer in layers:
        train(layer, 20, 2)
    each = (cache.held() - before) / 3
    assert each > 0
    layers.pop()
    del layer
    gc.collect()
    assert cache.held() - before < 2.1 * each
    layers.clear()
    gc.collect()
    assert cache.held() <= before


def test_a_program_that_needs_more_than_the_limit_runs_and_is_not_kept():
    layer = nn.GRU(3, 8)
    expected = train(layer, 40, 4)
    for limit in (0, 1000, 10**5):
        tr.cache_limit(limit)
        for _ in range(2):
            assert np.array_equal(train(layer, 40, 4), expected)
        assert cache.held() <= limit


def test_what_was_used_least_recently_goes_first():
    one, other = nn.GRU(3, 8), nn.GRU(3, 8)
    train(one, 200, 4)
    size = cache.held()
    train(other, 200, 4)
    train(one, 200, 4)
    tr.cache_limit(int(size * 1.1))
    of = {layer: [entry.value for kept in caches(layer)[::2] for entry in kept.values()] for layer in (one, other)}
    assert of[one][0] is not None and of[other] == [None]


def caches(layer: nn.Module) -> list[dict]:
    from tinygrad_rnn.nn.trace_cache import _caches

    found = [_caches[m] for _, m in layer.modules() if m in _caches]
    return [kept for found_in in found for kept in (found_in.steps, found_in.plans)]


def test_a_shape_that_turns_up_again_is_not_compiled_again():
    layer = nn.GRU(3, 8)
    train(layer, 20, 2)
    plans = [e.value for kept in caches(layer) for e in kept.values()]
    for T in (30, 20, 10):
        train(layer, T, 2)
    assert [e.value for kept in caches(layer) for e in kept.values()] == plans


def test_threads_may_share_layers_while_the_limit_changes():
    layer = nn.GRU(3, 8)
    expected = {B: train(layer, 20, B) for B in range(1, 6)}
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for B in np.random.default_rng(seed).integers(1, 6, 30):
                outputs, _ = layer(np.ones((20, B, 3), "float32"))
                assert np.array_equal(outputs.data.ravel(), expected[int(B)][: outputs.size])
                tr.cache_limit(int(B) * 30_000)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert cache.held() <= tr.cache_limit()


@pytest.mark.parametrize("limit", [-1, 1.5, "1 GB"])
def test_a_limit_is_a_number_of_bytes(limit):
    with pytest.raises(ValueError, match="the limit must be a whole number, at least 0"):
        tr.cache_limit(limit)
