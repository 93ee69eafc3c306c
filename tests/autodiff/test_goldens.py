"""Values, gradients and second derivatives are PyTorch's, as ``goldens/make.py`` wrote them down."""

import functools
import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tinygrad_rnn as tr

HERE = Path(__file__).parent / "goldens"


def _load():
    spec = importlib.util.spec_from_file_location("make_goldens", HERE / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = _load()


@functools.cache
def stored():
    found, at = {}, 0
    with np.load(make.FILE) as file:
        values = file["values"]
        for line in str(file["contents"]).splitlines():
            key, _, lengths = line.rpartition("|")
            shape = tuple(map(int, lengths.split(","))) if lengths else ()
            size = int(np.prod(shape, dtype=int))
            found[key] = values[at : at + size].reshape(shape)
            at += size
    return found


def same(ours, theirs):
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12 * max(1.0, np.abs(theirs).max(initial=0)))


@pytest.mark.parametrize("name", make.CASES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_as_pytorch_says(name, dtype):
    function, arrays = make.CASES[name]
    inputs = [tr.tensor(stored()[f"{name}/input {k}"], dtype=dtype) for k in range(len(arrays))]
    y = function(tr, *inputs)
    first = tr.grad(y, inputs, make.weights(y.shape))
    contracted = sum((g * make.weights(g.shape, 1).astype(dtype)).sum() for g in first)
    second = tr.grad(contracted, inputs)
    if dtype == np.float32:
        assert {t.dtype for t in (y, *first, *second)} == {np.dtype(np.float32)}
        largest = np.abs(stored()[f"{name}/value"]).max()
        np.testing.assert_allclose(y.data, stored()[f"{name}/value"], rtol=1e-4, atol=1e-5 * largest)
        return
    same(y.data, stored()[f"{name}/value"])
    for k in range(len(inputs)):
        same(first[k].data, stored()[f"{name}/gradient {k}"])
        same(second[k].data, stored()[f"{name}/second {k}"])


def test_the_file_is_small_and_complete():
    assert make.FILE.stat().st_size < 1_000_000
    assert {key.rpartition("/")[0] for key in stored()} == set(make.CASES) | set(make.LAYERS)
