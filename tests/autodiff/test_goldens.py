"""Values, gradients and second derivatives equal PyTorch's, which ``pytorch_goldens.py`` has stored."""

import numpy as np
import pytest
import pytorch_goldens as goldens
from pytorch_goldens import stored

import tinygrad_rnn as tr


def same(ours, theirs):
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12 * max(1.0, np.abs(theirs).max(initial=0)))


@pytest.mark.parametrize("name", goldens.CASES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_as_pytorch_says(name, dtype):
    function, arrays = goldens.CASES[name]
    inputs = [tr.tensor(stored()[f"{name}/input {k}"], dtype=dtype) for k in range(len(arrays))]
    y = function(tr, *inputs)
    first = tr.grad(y, inputs, goldens.weights(y.shape))
    contracted = sum((g * goldens.weights(g.shape, 1).astype(dtype)).sum() for g in first)
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
    assert goldens.FILE.stat().st_size < 1_000_000
    assert {key.rpartition("/")[0] for key in stored()} == set(goldens.CASES) | set(goldens.LAYERS)
